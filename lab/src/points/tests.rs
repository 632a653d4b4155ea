#![allow(clippy::unwrap_used)]
use super::*;
use common::features::Atom;
use common::task::RawTask;

fn task(stage: &str) -> Task {
    let text = format!(
        "name = \"t\"\n[input]\nshape = [4]\n[classes]\nnames = [\"a\", \"b\"]\n\
         [features]\nstage = {stage:?}"
    );
    RawTask::parse(&text).unwrap()
}

fn rows() -> Array2<f32> {
    Array2::from_shape_fn((60, 4), |(row, column)| {
        let wave = ((row * 7 + column * 3) as f32).sin();
        if column == 1 {
            (3.0 * wave).exp()
        } else {
            100.0 + 5.0 * wave
        }
    })
}

#[test]
fn what_was_subtracted_from_inputs_is_added_to_points() {
    let table = PointTable {
        inputs: ndarray::array![[0.25, 1.5], [-0.25, 2.5]],
        labels: ndarray::array![[1.0, 0.0], [0.0, 1.0]],
        weights: vec![1.0; 2],
        spreads: vec![0.0; 2],
        names: vec!["x0".into(), "x1".into()],
        classes: vec!["a".into(), "b".into()],
        is_class: true,
        space: INPUT_SPACE.to_owned(),
        sides: vec![2],
        offset: Vec::new(),
        is_of_any_length: false,
    };
    let moved = table.clone().moved_by(Some(&[1e9, 0.0]));
    assert_eq!(
        moved.inputs(),
        Values::F64(vec![1e9 + 0.25, 1.5, 1e9 - 0.25, 2.5])
    );
    let text = String::from_utf8(moved.csv().unwrap()).unwrap();
    assert!(text.contains("\n1000000000.25,1.5,a,"), "{text}");
    assert_eq!(table.inputs(), Values::F32(vec![0.25, 1.5, -0.25, 2.5]));
    // Features of a stage were never in the file.
    let features = PointTable {
        space: "window/1".to_owned(),
        ..table.clone()
    };
    assert_eq!(features.clone().moved_by(Some(&[1e9, 0.0])), features);
}

#[test]
fn points_of_measurements_are_inputs_again() {
    let (task, rows) = (task("lifted"), rows());
    let stage = &task.definition().features;
    let features = stage.compute(task.input_shape(), rows.view()).unwrap();
    let wide = features.mapv(f64::from);
    let (mean, variance) = (
        wide.mean_axis(Axis(0)).unwrap(),
        wide.var_axis(Axis(0), 0.0),
    );
    let heavy = wide.column(1);
    let mut atoms: Vec<Atom> = { heavy.iter() }
        .map(|&value| Atom { value, rows: 1.0 })
        .collect();
    let transform = QuantileTransform::of(1, &mut atoms, 1e3).unwrap();
    let normaliser = stage.normaliser(&mean.to_vec(), &variance.to_vec(), 5.0, vec![transform]);
    let normaliser = normaliser.unwrap();
    let points = normaliser.apply(features.view()).unwrap();
    let seen = Seen {
        task: &task,
        normaliser: &normaliser,
    };
    let table = seen.table(points.view(), Array2::from_elem((60, 2), 0.5));
    assert_eq!((table.space.as_str(), &table.sides), ("input", &vec![4]));
    assert_eq!(table.names, ["x0", "x1", "x2", "x3"]);
    for (found, expected) in table.inputs.column(0).iter().zip(rows.column(0)) {
        assert!(
            (found - expected).abs() < 1e-2,
            "{found} instead of {expected}"
        );
    }
    // Whatever they are, they are seen as the same points.
    let again = stage
        .compute(task.input_shape(), table.inputs.view())
        .unwrap();
    let again = normaliser.apply(again.view()).unwrap();
    assert!((&again - &points).iter().all(|gap| gap.abs() < 1e-3));
}

#[test]
fn both_files_hold_every_sample() {
    let task = task("raw");
    let normaliser = Normaliser::of_range(4, 0.0, 1.0).unwrap();
    let points = normaliser.apply(rows().view()).unwrap();
    let labels = Array2::from_shape_fn((60, 2), |(row, class)| ((row + class) % 2) as f32);
    let table = Seen {
        task: &task,
        normaliser: &normaliser,
    }
    .table(points.view(), labels);
    assert!(table.inputs.iter().all(|value| (0.0..=1.0).contains(value)));
    // Rows of a unit that the range does not tell.
    let small = &table.inputs * 0.3;
    let as_long = table.clone().as_long_as(small.view());
    let square = |rows: &Array2<f32>| rows.iter().map(|value| value * value).sum::<f32>();
    let same = square(&as_long.inputs) / square(&small);
    assert!((same - 1.0).abs() < 1e-3, "{same}");
    let again = normaliser.apply(as_long.inputs.view()).unwrap();
    assert!((&again - &points).iter().all(|gap| gap.abs() < 1e-3));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("points.npz");
    table.write(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let archive = npz::Archive::open(&bytes).unwrap();
    assert_eq!(archive.array("X").unwrap().shape(), [60, 4]);
    assert_eq!(
        archive.array("label").unwrap().to_integers().unwrap()[..2],
        [1, 0]
    );
    let path = folder.path().join("points.csv");
    table.write(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("x0,x1,x2,x3,label,weight,spread,p:a,p:b\n"));
    assert_eq!(text.lines().count(), 61);
    let refused = table.write(&folder.path().join("points.txt"));
    assert!(matches!(refused, Err(PointTableError::Ending(_))));
    assert_eq!(value_names(&[2, 2]), ["x0_0", "x0_1", "x1_0", "x1_1"]);
}
