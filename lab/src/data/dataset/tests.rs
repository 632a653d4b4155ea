#![allow(clippy::unwrap_used)]
use super::*;
use common::npz::{Array, Values};

#[test]
fn a_class_left_out_leaves_no_row() {
    let har = Dataset::open("har").unwrap();
    let (data, novel) = har.without_class("sitting").unwrap();
    assert_eq!(data.classes.len(), 5);
    assert_eq!(data.test.len() + novel.len(), har.test.len());
    let of = |data: &Dataset, name: &str| {
        let class = data.classes.iter().position(|one| one == name).unwrap();
        let labels = data.train.labels.iter();
        labels.filter(|&&label| usize::from(label) == class).count()
    };
    for name in &data.classes {
        assert_eq!(of(&data, name), of(&har, name), "{name}");
    }
    assert!(har.without_class("flying").is_none());
    let number = har.class("sitting").unwrap();
    assert_eq!(har.class(&number.to_string()), Some(number));
    assert_eq!(har.class("6"), None);
}

#[test]
fn the_carried_data_sets_open() {
    let har = Dataset::open("har").unwrap();
    assert_eq!((har.train.len(), har.test.len()), (7_415, 2_996));
    assert_eq!(har.shape, [128, 6]);
    assert_eq!(har.classes.len(), 6);
    let digits = Dataset::open("digits").unwrap();
    assert_eq!(digits.range, Some([0.0, 255.0]));
    assert_eq!(digits.classes.len(), 10);
}

#[test]
fn how_numbers_are_stored_says_nothing() {
    let stored = |shape: &[usize], values: fn(Vec<u8>) -> Values| {
        let (rows, one): (usize, usize) = (6, shape.iter().product());
        let bytes = (0..rows * one).map(|at| (at * 41 % 250) as u8).collect();
        let x = Array::new([&[rows], shape].concat(), values(bytes)).unwrap();
        let y = Array::new(vec![rows], Values::U8(vec![0, 1, 0, 1, 0, 1])).unwrap();
        let arrays = [
            ("X_train", &x),
            ("y_train", &y),
            ("X_test", &x),
            ("y_test", &y),
        ];
        Dataset::parse("odd", &common::npz::write(&arrays).unwrap(), Asked::Class).unwrap()
    };
    let floats = |bytes: Vec<u8>| Values::F32(bytes.into_iter().map(f32::from).collect());
    for (shape, stage) in [
        (&[30][..], "lifted/1"),
        (&[40, 3], "window/1"),
        (&[24, 2], "lifted/1"),
        (&[16, 16], "patches/1"),
    ] {
        let (narrow, wide) = (stored(shape, Values::U8), stored(shape, floats));
        assert_eq!(narrow.range, wide.range, "{shape:?}");
        assert_eq!(narrow.train.inputs, wide.train.inputs);
        for data in [narrow, wide] {
            assert_eq!(crate::stage::auto_stage(&data, false).to_string(), stage);
        }
    }
}

fn small(rows: usize, labels: Values) -> Result<Dataset, DatasetError> {
    let x = Array::new(vec![rows, 1], Values::F32(vec![1.0; rows])).unwrap();
    let y = Array::new(vec![rows], labels).unwrap();
    let test = y.select(&[0]).unwrap();
    let one = x.select(&[0]).unwrap();
    let arrays = [
        ("X_train", &x),
        ("y_train", &y),
        ("X_test", &one),
        ("y_test", &test),
    ];
    Dataset::parse("odd", &common::npz::write(&arrays).unwrap(), Asked::Class)
}

#[test]
fn labels_of_any_kind_become_classes_in_their_order() {
    let numbers = small(4, Values::I64(vec![900, -1, 7, 900])).unwrap();
    assert_eq!(numbers.classes, ["class--1", "class-7", "class-900"]);
    assert_eq!(numbers.train.labels, [2, 0, 1, 2]);
    assert_eq!(numbers.test.labels, [2]);
    let texts = ["dog", "ant", "dog"].map(str::to_owned).to_vec();
    let texts = small(3, Values::Text(texts)).unwrap();
    assert_eq!(texts.classes, ["ant", "dog"]);
    assert_eq!(texts.train.labels, [1, 0, 1]);
    let alone = small(3, Values::U8(vec![4; 3])).unwrap_err();
    assert!(alone.to_string().contains("1 distinct labels"), "{alone}");
    let fraction = small(2, Values::F64(vec![0.5, 1.0])).unwrap_err();
    assert!(fraction.to_string().contains("y_train"), "{fraction}");
}

fn labelled(train: Values, test: Values, names: Option<&[&str]>) -> Result<Dataset, DatasetError> {
    let x = Array::new(vec![3, 1], Values::F32(vec![0.0; 3])).unwrap();
    let y = Array::new(vec![3], train).unwrap();
    let more = Array::new(vec![3], test).unwrap();
    let names = names.map(|names| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Array::new(vec![names.len()], Values::Text(names)).unwrap()
    });
    let users = ["b", "a", "b"].map(str::to_owned).to_vec();
    let users = Array::new(vec![3], Values::Text(users)).unwrap();
    let mut arrays = vec![
        ("X_train", &x),
        ("y_train", &y),
        ("X_test", &x),
        ("y_test", &more),
        ("user_train", &users),
    ];
    arrays.extend(names.as_ref().map(|names| ("class_names", names)));
    Dataset::parse("odd", &common::npz::write(&arrays).unwrap(), Asked::Class)
}

#[test]
fn a_test_label_that_is_no_class_is_named() {
    let train = || Values::U8(vec![0, 1, 1]);
    let data = labelled(train(), Values::U8(vec![1, 0, 0]), None).unwrap();
    assert_eq!(data.classes, ["class-0", "class-1"]);
    assert_eq!(data.train.users, Some(vec![1, 0, 1]));
    let unknown = labelled(train(), Values::U8(vec![1, 5, 0]), None).unwrap_err();
    let text = unknown.to_string();
    assert!(
        text.contains("y_test") && text.contains("label 5 in row 1"),
        "{text}"
    );
    let named = labelled(train(), Values::U8(vec![2, 1, 0]), Some(&["a", "b", "c"]));
    assert_eq!(named.unwrap().test.labels, [2, 1, 0]);
}

#[test]
fn labels_find_class_names_as_on_a_device() {
    let data = labelled(
        Values::F64(vec![1.0, 2.0, 3.0]),
        Values::F64(vec![3.0, 1.0, 2.0]),
        Some(&["1", "2", "3"]),
    );
    let data = data.unwrap();
    assert_eq!(data.train.labels, [0, 1, 2]);
    assert_eq!(data.test.labels, [2, 0, 1]);
    let inverted = labelled(
        Values::U8(vec![0, 1, 1]),
        Values::U8(vec![1, 0, 0]),
        Some(&["1", "0"]),
    );
    assert_eq!(inverted.unwrap().train.labels, [1, 0, 0]);
    let beyond = labelled(
        Values::U8(vec![1, 2, 1]),
        Values::U8(vec![1, 2, 1]),
        Some(&["a", "b"]),
    );
    let text = beyond.unwrap_err().to_string();
    assert!(text.contains("label 2 in row 1"), "{text}");
}

#[test]
fn an_offset_beyond_single_precision_is_subtracted() {
    let rows = 60;
    let wave = |row: usize| 1e-3 * (row as f64 * 0.7).sin();
    let wide: Vec<f64> = (0..rows)
        .flat_map(|row| [1e6 + wave(row), wave(row)])
        .collect();
    let x = Array::new(vec![rows, 2], Values::F64(wide)).unwrap();
    let y = Array::new(
        vec![rows],
        Values::U8((0..rows).map(|row| (row % 2) as u8).collect()),
    );
    let y = y.unwrap();
    let arrays = [
        ("X_train", &x),
        ("y_train", &y),
        ("X_test", &x),
        ("y_test", &y),
    ];
    let data = Dataset::parse("far", &common::npz::write(&arrays).unwrap(), Asked::Class).unwrap();
    let offset = data.offset.unwrap();
    assert!(
        (offset[0] - 1e6).abs() < 1.0 && offset[1] == 0.0,
        "{offset:?}"
    );
    for row in 0..rows {
        let found = f64::from(data.train.inputs[[row, 0]]) + offset[0] - 1e6;
        assert!((found - wave(row)).abs() < 1e-8, "row {row}: {found}");
        assert_eq!(data.test.inputs[[row, 0]], data.train.inputs[[row, 0]]);
    }
}

#[test]
fn numbers_that_single_precision_loses_are_refused() {
    let numbers = |offset: f64| {
        let x = Array::new(vec![40, 1], Values::F32((0..40u8).map(f32::from).collect())).unwrap();
        let y: Vec<f64> = (0..40)
            .map(|row| offset + 1e-3 * f64::from(row % 7))
            .collect();
        let y = Array::new(vec![40], Values::F64(y)).unwrap();
        let arrays = [
            ("X_train", &x),
            ("y_train", &y),
            ("X_test", &x),
            ("y_test", &y),
        ];
        Dataset::parse(
            "meter",
            &common::npz::write(&arrays).unwrap(),
            Asked::Number,
        )
    };
    let refused = numbers(1e6).unwrap_err().to_string();
    assert!(
        refused.contains("y_train") && refused.contains("subtract"),
        "{refused}"
    );
    assert!(numbers(10.0).is_ok());
}

#[test]
fn a_fill_value_is_named() {
    let x = Array::new(vec![2, 2], Values::F32(vec![0.0, 0.0, 0.0, 9.969_21e36])).unwrap();
    let y = Array::new(vec![2], Values::U8(vec![0, 1])).unwrap();
    let arrays = [
        ("X_train", &x),
        ("y_train", &y),
        ("X_test", &x),
        ("y_test", &y),
    ];
    let error =
        Dataset::parse("fill", &common::npz::write(&arrays).unwrap(), Asked::Class).unwrap_err();
    assert!(error.to_string().contains("row 1, value 1"), "{error}");
}

#[test]
fn labels_that_do_not_fit_are_refused_by_name() {
    let x = Array::new(vec![3, 2], Values::F32(vec![0.0; 6])).unwrap();
    let y = Array::new(vec![3], Values::U8(vec![0, 1, 1])).unwrap();
    let short = Array::new(vec![2], Values::U8(vec![0, 1])).unwrap();
    let arrays = [
        ("X_train", &x),
        ("y_train", &short),
        ("X_test", &x),
        ("y_test", &y),
    ];
    let bytes = common::npz::write(&arrays).unwrap();
    let error = Dataset::parse("odd", &bytes, Asked::Class).unwrap_err();
    assert!(
        matches!(
            error,
            DatasetError::Array {
                array: "y_train",
                ..
            }
        ),
        "{error}"
    );
    let missing = common::npz::write(&[("X_train", &x)]).unwrap();
    assert!(matches!(
        Dataset::parse("odd", &missing, Asked::Class),
        Err(DatasetError::Npz { .. })
    ));
}
