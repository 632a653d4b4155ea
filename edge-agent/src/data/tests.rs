#![allow(clippy::unwrap_used)]

use common::features::InputShape;
use common::npz::{self, Array, Values};
use common::task::{ArrayInput, InputKind};
use proptest::prelude::*;

use super::*;

pub(super) fn schema() -> Schema {
    let shape = InputShape::new(vec![2]).unwrap();
    Schema::new(shape, vec!["cat".to_owned(), "dog".to_owned()]).unwrap()
}

fn parse_csv(text: &str) -> Result<Dataset, ParseError> {
    Dataset::parse(Path::new("a.csv"), text.as_bytes(), &schema())
}

fn parse_npz(arrays: &[(&str, &Array)]) -> Result<Dataset, ParseError> {
    let bytes = npz::write(arrays).unwrap();
    Dataset::parse(Path::new("a.npz"), &bytes, &schema())
}

fn array(shape: &[usize], values: Values) -> Array {
    Array::new(shape.to_vec(), values).unwrap()
}

fn cell(line: u64, column: &str, problem: Problem) -> Result<Dataset, ParseError> {
    let column = column.to_owned();
    Err(ParseError::At {
        place: Place::Cell { line, column },
        problem,
    })
}

#[test]
fn csv_labels_are_read_by_name_or_number() {
    let data = parse_csv("\u{feff}a,label,b\n1, dog ,2\n\n3,,4e-1\n5,0,-6\n").unwrap();
    assert_eq!(
        data.inputs(),
        ndarray::array![[1.0, 2.0], [3.0, 0.4], [5.0, -6.0]]
    );
    assert_eq!(data.labels(), [Some(1), None, Some(0)]);
    assert_eq!(data.class_counts(2), [1, 1]);
}

#[test]
fn csv_line_of_another_length_is_named() {
    for (text, found) in [
        ("a,b,label\n1,2,cat\n1,2\n", 2),
        ("a,b,label\n1,2,cat\n1,2,3,4\n", 4),
    ] {
        assert_eq!(
            parse_csv(text),
            Err(ParseError::At {
                place: Place::Line(3),
                problem: Problem::ColumnCount { expected: 3, found }
            })
        );
    }
}

#[test]
fn csv_text_in_a_number_is_named() {
    let found = "1.2.3".to_owned();
    let expected = cell(2, "b", Problem::NotANumber { found });
    assert_eq!(parse_csv("a,b,label\n1,1.2.3,cat\n"), expected);
    let empty = cell(2, "a", Problem::Missing);
    assert_eq!(parse_csv("a,b,label\n,1,cat\n"), empty);
}

#[test]
fn csv_nan_infinity_and_fill_values_are_named() {
    for found in ["9.96921e36", "-1e20", "1e99"] {
        let problem = Problem::TooLarge {
            found: found.to_owned(),
        };
        let text = format!("a,b,label\n1,2,cat\n{found},1,cat\n");
        assert_eq!(parse_csv(&text), cell(3, "a", problem));
    }
    for found in ["nan", "NaN", "inf", "-infinity", "1e999"] {
        let problem = Problem::NotFinite {
            found: found.to_owned(),
        };
        let text = format!("a,b,label\n1,2,cat\n{found},1,cat\n");
        assert_eq!(parse_csv(&text), cell(3, "a", problem));
    }
}

#[test]
fn csv_unknown_class_is_named_with_those_there_are() {
    let refused = parse_csv("a,b,label\n1,2,cow\n").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "line 2, column \"label\": class \"cow\" is not one of the task's (cat, dog) nor a number \
         from 0 to 1; correct it, leave it empty for an unlabelled row, or say what it means \
         (labels = { \"cow\" = \"CLASS\" } under [data] in agent.toml)"
    );
    assert!(parse_csv("a,b,label\n1,2,2\n").is_err());
}

#[test]
fn csv_headers_that_do_not_fit_are_refused() {
    assert_eq!(parse_csv(""), Err(ParseError::NoHeader));
    assert_eq!(parse_csv("1,2,0\n3,4,1\n"), Err(ParseError::NumericHeader));
    assert!(matches!(
        parse_csv("a b label\n1 2 0\n"),
        Err(ParseError::Separator { .. })
    ));
    assert!(matches!(
        parse_csv("a,b\n1,2\n"),
        Err(ParseError::NoLabelColumn { .. })
    ));
    assert!(matches!(
        parse_csv("label,b,label\n1,2,3\n"),
        Err(ParseError::ColumnTwice { .. })
    ));
    assert!(matches!(
        parse_csv("a,label\n1,cat\n"),
        Err(ParseError::ValueColumns {
            expected: 2,
            found: 1,
            ..
        })
    ));
}

#[test]
fn csv_columns_may_be_numbered() {
    assert_eq!(parse_csv("0,1,label\n3,4,cat\n").unwrap().rows(), 1);
    let unlabelled = schema().with_labels(LabelSource::None);
    let data = Dataset::parse(Path::new("a.csv"), b"0,1\n3,4\n", &unlabelled).unwrap();
    assert_eq!(data.labels(), [None]);
}

#[test]
fn csv_for_prediction_needs_no_label_column() {
    let schema = schema().with_optional_labels();
    let parse = |text: &[u8]| Dataset::parse(Path::new("a.csv"), text, &schema).unwrap();
    assert_eq!(parse(b"a,b\n1,2\n").labels(), [None]);
    assert_eq!(parse(b"a,b,label\n1,2,dog\n").labels(), [Some(1)]);
}

#[test]
fn csv_that_is_no_text_is_refused() {
    let refused = Dataset::parse(Path::new("a.csv"), b"a,b,label\n1,2,\xff\n", &schema());
    assert!(matches!(
        refused,
        Err(ParseError::At {
            place: Place::Line(2),
            problem: Problem::Text { .. }
        })
    ));
}

#[test]
fn npz_is_read_with_scale_and_labels() {
    let x = array(&[2, 2], Values::I16(vec![1, 2, -3, 4]));
    let scale = array(&[2], Values::F32(vec![0.5, 2.0]));
    let y = array(&[2], Values::I64(vec![1, -1]));
    let data = parse_npz(&[("X_train", &x), ("scale", &scale), ("y_train", &y)]).unwrap();
    assert_eq!(data.inputs(), ndarray::array![[0.5, 4.0], [-1.5, 8.0]]);
    assert_eq!(data.labels(), [Some(1), None]);
    let y = array(&[2], Values::F64(vec![f64::NAN, 0.0]));
    let data = parse_npz(&[("X", &x), ("y", &y)]).unwrap();
    assert_eq!(data.labels(), [None, Some(0)]);
    assert_eq!(parse_npz(&[("X", &x)]).unwrap().labels(), [None, None]);
}

#[test]
fn npz_without_inputs_says_what_there_is() {
    let x = array(&[1], Values::U8(vec![0]));
    assert_eq!(
        parse_npz(&[("images", &x)]),
        Err(ParseError::NoInputs {
            wanted: "X, X_train".to_owned(),
            names: "images".to_owned()
        })
    );
}

#[test]
fn npz_of_other_shapes_is_refused() {
    let y = array(&[1], Values::U8(vec![0]));
    for shape in [&[2][..], &[1, 1, 2], &[2, 1]] {
        let count = shape.iter().product();
        let x = array(shape, Values::F32(vec![0.0; count]));
        assert!(matches!(
            parse_npz(&[("X", &x), ("y", &y)]),
            Err(ParseError::InputShape { .. })
        ));
    }
    let x = array(&[2, 2], Values::F32(vec![0.0; 4]));
    assert!(matches!(
        parse_npz(&[("X", &x), ("y", &y)]),
        Err(ParseError::LabelCount { rows: 2, .. })
    ));
    let scale = array(&[3], Values::F32(vec![1.0; 3]));
    assert!(matches!(
        parse_npz(&[("X", &x), ("scale", &scale)]),
        Err(ParseError::Scale { found: 3, .. })
    ));
}

#[test]
fn npz_value_that_is_not_finite_is_named() {
    let x = array(&[2, 2], Values::F32(vec![0.0, 0.0, 0.0, f32::NAN]));
    assert_eq!(
        parse_npz(&[("X", &x)]).unwrap_err().to_string(),
        "array \"X\", row 1, value 1: NaN is not a finite number; fill the gap or remove the row"
    );
    for fill in [1e300, 9.969_21e36, -1e15 * 1.1] {
        let wide = array(&[1, 2], Values::F64(vec![0.0, fill]));
        assert!(
            matches!(
                parse_npz(&[("X", &wide)]),
                Err(ParseError::At {
                    place: Place::Element {
                        row: 0,
                        index: 1,
                        ..
                    },
                    ..
                })
            ),
            "{fill}"
        );
    }
}

#[test]
fn npz_with_an_unknown_class_is_refused() {
    let x = array(&[1, 2], Values::F32(vec![0.0; 2]));
    for value in [2.0, -2.0, 0.5, f64::INFINITY] {
        let y = array(&[1], Values::F64(vec![value]));
        assert!(matches!(
            parse_npz(&[("X", &x), ("y", &y)]),
            Err(ParseError::At {
                problem: Problem::UnknownClass { .. },
                ..
            })
        ));
    }
}

#[test]
fn truncated_npz_is_refused_at_every_length() {
    let x = array(&[1, 2], Values::F32(vec![1.0, 2.0]));
    let bytes = npz::write(&[("X", &x)]).unwrap();
    for length in 0..bytes.len() {
        let refused = Dataset::parse(Path::new("a.npz"), &bytes[..length], &schema());
        assert!(
            matches!(
                refused,
                Err(ParseError::Numpy(_) | ParseError::Array { .. })
            ),
            "{length} bytes"
        );
    }
}

/// One table, as each format writes it.
fn in_each_format(classes: &[&str], labels: &[f64]) -> Vec<Result<Vec<Option<u16>>, ParseError>> {
    let shape = InputShape::new(vec![1]).unwrap();
    let classes = classes.iter().map(|&name| name.to_owned()).collect();
    let schema = Schema::new(shape, classes).unwrap();
    let rows = labels.len();
    let mut files = Vec::new();
    for points in [0, 1] {
        let mut text = "a,label\n".to_owned();
        for label in labels {
            text.push_str(&format!("1,{label:.points$}\n"));
        }
        files.push(("a.csv", text.into_bytes()));
    }
    let x = array(&[rows, 1], Values::U8(vec![1; rows]));
    let texts = labels.iter().map(|label| format!("{label:.1}")).collect();
    for y in [
        Values::F64(labels.to_vec()),
        Values::I64(labels.iter().map(|&label| label as i64).collect()),
        Values::Text(texts),
    ] {
        let y = array(&[rows], y);
        files.push(("a.npz", npz::write(&[("X", &x), ("y", &y)]).unwrap()));
    }
    let read = |(name, bytes): (&str, Vec<u8>)| {
        let data = Dataset::parse(Path::new(name), &bytes, &schema)?;
        Ok(data.labels().to_vec())
    };
    files.into_iter().map(read).collect()
}

#[test]
fn a_label_means_the_same_in_every_format() {
    for (classes, labels, expected) in [
        (
            &["1", "2", "3"][..],
            &[1.0, 3.0, -1.0][..],
            Some(vec![Some(0), Some(2), None]),
        ),
        (&["1", "0"], &[0.0, 1.0], Some(vec![Some(1), Some(0)])),
        (
            &["off", "on"],
            &[0.0, 1.0, -1.0],
            Some(vec![Some(0), Some(1), None]),
        ),
        (&["-1", "1"], &[-1.0, 1.0], Some(vec![Some(0), Some(1)])),
        (&["1", "2", "3"], &[0.0], None),
        (&["off", "on"], &[2.0], None),
    ] {
        for found in in_each_format(classes, labels) {
            assert_eq!(found.ok(), expected, "{labels:?} of {classes:?}");
        }
    }
}

#[test]
fn what_was_decided_of_labels_is_said() {
    let bytes = b"a,b,label\n1,2,1.0\n1,2,-1\n1,2,cat\n";
    let read = Dataset::read(Path::new("a.csv"), bytes, &schema(), Ending::Open);
    let FileRows { data, notes, .. } = read.unwrap();
    assert_eq!(data.labels(), [Some(1), None, Some(0)]);
    let meanings = "1 is \"dog\"".to_owned();
    assert_eq!(
        notes,
        [
            Note::MinusOne { rows: 1 },
            Note::Indexed { rows: 1, meanings }
        ]
    );
}

#[test]
fn a_files_own_class_names_come_before_the_tasks_order() {
    let x = array(&[3, 2], Values::U8(vec![0; 6]));
    let y = array(&[3], Values::I64(vec![0, 1, -1]));
    let own = array(&[2], Values::Text(vec!["dog".to_owned(), "cat".to_owned()]));
    let arrays = [("X", &x), ("y", &y), ("class_names", &own)];
    assert_eq!(
        parse_npz(&arrays).unwrap().labels(),
        [Some(1), Some(0), None]
    );
    let y = array(&[3], Values::I64(vec![0, 1, 2]));
    let arrays = [("X", &x), ("y", &y), ("class_names", &own)];
    assert!(matches!(parse_npz(&arrays), Err(ParseError::At { .. })));
}

/// An NPZ file of raw NPY parts: what `npz::write` never writes.
fn archive(parts: &[(&str, Vec<u8>)]) -> Vec<u8> {
    use std::io::{Cursor, Write as _};
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file(format!("{name}.npy"), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

#[test]
fn byte_labels_are_read() {
    let x = || ("X", npy("'|u1'", "(2, 2)", &[1, 2, 3, 4]));
    let parse =
        |parts: &[(&str, Vec<u8>)]| Dataset::parse(Path::new("a.npz"), &archive(parts), &schema());
    let bytes = ("y", npy("'|S3'", "(2,)", b"dogcat"));
    assert_eq!(parse(&[x(), bytes]).unwrap().labels(), [Some(1), Some(0)]);
    let objects = ("y", npy("'|O'", "(2,)", b"\x80\x04\x95"));
    assert_eq!(
        parse(&[x(), objects]),
        Err(ParseError::Array {
            array: "y".to_owned(),
            error: npz::NpzError::Objects
        })
    );
    let fields = ("X", npy("[('a', '<f4'), ('b', '<f4')]", "(2,)", &[0; 16]));
    assert_eq!(
        parse(&[fields]),
        Err(ParseError::Array {
            array: "X".to_owned(),
            error: npz::NpzError::Structured
        })
    );
}

#[test]
fn columns_that_lie_apart_have_to_be_held_whole() {
    let schema = schema().with_values_max(10);
    let parse = |name: &str, bytes: &[u8]| Dataset::parse(Path::new(name), bytes, &schema);
    // NumPy's order of columns first.
    let apart = |shape: &str, data: &[u8]| {
        let mut bytes = npy("'|u1'", shape, data);
        let at = bytes.windows(5).position(|part| part == b"False").unwrap();
        bytes.splice(at..at + 5, *b"True ");
        bytes
    };
    let size = Err(ParseError::Size {
        rows_max: 5,
        values: 2,
    });
    assert_eq!(parse("a.npy", &apart("(6, 2)", &[0; 12])), size);
    let few = parse("a.npy", &apart("(2, 2)", &[1, 2, 3, 4])).unwrap();
    assert_eq!(few.inputs(), ndarray::array![[1.0, 3.0], [2.0, 4.0]]);
    // Rows one after the other are read in blocks; what is not there is missed.
    let rows: Vec<u8> = (0..12).collect();
    let read = parse("a.npy", &npy("'|u1'", "(6, 2)", &rows)).unwrap();
    assert_eq!(read.rows_read(), 6);
    let huge = npy("'|u1'", "(500000000, 2)", &[]);
    assert!(parse("a.npy", &huge).is_err());
}

#[test]
fn arrays_of_many_rows_are_sampled_as_a_table_of_them_is() {
    let rows = 5_000;
    let value = |row: usize| (row * 37 % 1_009) as i32;
    let x: Vec<i32> = (0..rows).flat_map(|row| [value(row), row as i32]).collect();
    let y: Vec<u8> = (0..rows).map(|row| u8::from(value(row) > 900)).collect();
    let mut table = "a,b,label\n".to_owned();
    for row in 0..rows {
        let label = ["cat", "dog"][usize::from(y[row])];
        table.push_str(&format!("{},{row},{label}\n", value(row)));
    }
    let x = array(&[rows, 2], Values::I32(x));
    let y = array(&[rows], Values::U8(y));
    let bytes = npz::write(&[("X", &x), ("y", &y)]).unwrap();
    let schema = schema().with_held_max(2 * 400, 400);
    let parse = |name: &str, bytes: &[u8], schema: &Schema| {
        Dataset::parse(Path::new(name), bytes, schema).unwrap()
    };
    let of_table = parse("a.csv", table.as_bytes(), &schema);
    // However the blocks fall.
    for values_max in [1 << 20, 2 * 999, 2] {
        let of_arrays = parse("a.npz", &bytes, &schema.clone().with_values_max(values_max));
        assert_eq!(of_arrays.rows_read(), rows as u64);
        assert!(of_arrays.rows() <= 400);
        assert_eq!(of_arrays, of_table);
    }
    // A fault late in the file is named by its row.
    let mut wild = x.to_f64().unwrap();
    wild[2 * 4_321 + 1] = f64::INFINITY;
    let wild = array(&[rows, 2], Values::F64(wild));
    let bytes = npz::write(&[("X", &wild)]).unwrap();
    let error = Dataset::parse(Path::new("a.npz"), &bytes, &schema).unwrap_err();
    assert!(error.to_string().contains("4321"), "{error}");
}

#[test]
fn wide_numbers_are_scaled_before_they_are_narrowed() {
    let x = array(&[2, 2], Values::F64(vec![1e17, 1.0, -1e17, 2.0]));
    let scale = array(&[2], Values::F64(vec![1e-17, 1.0]));
    let data = parse_npz(&[("X", &x), ("scale", &scale)]).unwrap();
    assert_eq!(data.inputs(), ndarray::array![[1.0, 1.0], [-1.0, 2.0]]);
}

#[test]
fn an_offset_beyond_single_precision_is_named() {
    let wave = |row: usize| 1e6 + 1e-3 * (row as f64 * 0.7).sin();
    let mut text = "a,b,label\n".to_owned();
    for row in 0..50 {
        text.push_str(&format!("{row},{:.7},cat\n", wave(row)));
    }
    let wide: Vec<f64> = (0..50).flat_map(|row| [row as f64, wave(row)]).collect();
    let bytes = npz::write(&[("X", &array(&[50, 2], Values::F64(wide)))]).unwrap();
    for (name, bytes, named) in [
        ("a.csv", text.as_bytes(), "\"b\""),
        ("a.npz", &bytes, "1 of"),
    ] {
        let read = Dataset::read(Path::new(name), bytes, &schema(), Ending::Open);
        let notes = read.unwrap().notes;
        assert!(
            matches!(&notes[..], [Note::Lost { column, .. }] if column.starts_with(named)),
            "{notes:?}"
        );
    }
}

fn open(text: &str) -> (Dataset, Vec<Note>) {
    let read = Dataset::read(Path::new("a.csv"), text.as_bytes(), &schema(), Ending::Open);
    let FileRows { data, notes, .. } = read.unwrap();
    (data, notes)
}

#[test]
fn a_line_that_is_being_written_waits() {
    let table = "a,b,label\n1,2,cat\n";
    for half in ["3", "3,2.0", "3,2.04,", "3,2.04,d", "3,2.04,dog,"] {
        let (data, notes) = open(&format!("{table}{half}"));
        assert_eq!(data.rows(), 1, "{half}");
        assert_eq!(notes, [Note::Unfinished { line: 3 }], "{half}");
    }
    assert_eq!(open(&format!("{table}3,2.04,dog")).0.rows(), 2);
    let closed = parse_csv(&format!("{table}3,2.04,")).unwrap();
    assert_eq!(closed.rows(), 2, "a closed file is what it is");
    let (data, notes) = open("a,b,la");
    assert_eq!(
        (data.rows(), notes),
        (0, vec![Note::Unfinished { line: 1 }])
    );
    let ten: Vec<String> = (0..11).map(|class| class.to_string()).collect();
    let ten = Schema::new(InputShape::new(vec![1]).unwrap(), ten).unwrap();
    let read = Dataset::read(Path::new("a.csv"), b"a,label\n1,1", &ten, Ending::Open);
    assert_eq!(read.unwrap().data.rows(), 0, "1 may become 10");
}

#[test]
fn comments_and_index_columns_are_skipped() {
    let expected = parse_csv("a,b,label\n1,2,cat\n3,4,dog\n").unwrap();
    for text in [
        "# logger v1\na,b,label\n1,2,cat\n3,4,dog\n",
        "# a,b,label\n1,2,0\n3,4,1\n",
        "a,b,label\n1,2,cat\n# restarted\n3,4,dog\n",
        "a,b,label,\n1,2,cat,\n3,4,dog,\n",
        "a,b,label\n1,2,cat,\n3,4,dog,\n",
        ",a,b,label\n0,1,2,cat\n1,3,4,dog\n",
        "Unnamed: 0,a,b,label\n0,1,2,cat\n1,3,4,dog\n",
        "a,b,label\r\n1,2,cat\r\n3,4,dog\r\n",
    ] {
        assert_eq!(parse_csv(text).as_ref(), Ok(&expected), "{text:?}");
    }
    let wrong = parse_csv("# one\n# two\na,b,label\n1,2,cat\n# three\n1,x,cat\n");
    let found = "x".to_owned();
    assert_eq!(wrong, cell(6, "b", Problem::NotANumber { found }));
    let found = "x".to_owned();
    let wrong = parse_csv("a,b,label\r\n1,2,cat\r\n\r\n\r\n1,x,cat\r\n");
    assert_eq!(wrong, cell(5, "b", Problem::NotANumber { found }));
}

#[test]
fn utf_16_and_trailing_nuls_are_read() {
    let table = "a,b,label\n1,2,cat\n";
    let wide: Vec<u8> = table.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cut = format!("{table}3,4,d{}", "\0".repeat(40)).into_bytes();
    for bytes in [wide, cut] {
        let read = Dataset::parse(Path::new("a.csv"), &bytes, &schema()).unwrap();
        assert_eq!(read.rows(), 1);
    }
    let inside = format!("{table}3,\0\0\n5,6,cat\n");
    assert_eq!(
        parse_csv(&inside),
        Err(ParseError::At {
            place: Place::Line(3),
            problem: Problem::Nul
        })
    );
}

#[test]
fn npy_holds_unlabelled_rows() {
    let x = array(&[3, 2], Values::U8(vec![1, 2, 3, 4, 5, 6]));
    let bytes = x.encode().unwrap();
    let data = Dataset::parse(Path::new("a.NPY"), &bytes, &schema()).unwrap();
    assert_eq!(data.labels(), [None; 3]);
    assert_eq!(data.select(&[2]).inputs(), ndarray::array![[5.0, 6.0]]);
}

#[test]
fn other_endings_are_refused() {
    let refused = Dataset::parse(Path::new("a.xlsx"), b"", &schema());
    assert_eq!(refused, Err(ParseError::Format));
}

#[test]
fn equal_rows_have_distinct_names() {
    let one = parse_csv("a,b,label\n1,2,0\n1,2,0\n1,2,1\n").unwrap();
    let other = parse_csv("a,b,label\n1,2,1\n1,2,0\n1,2,0\n").unwrap();
    let (mut a, mut b) = (one.row_names(), other.row_names());
    assert_ne!(a[0], a[1]);
    assert_ne!(a[0], a[2]);
    a.sort_unstable();
    b.sort_unstable();
    assert_eq!(a, b);
}

/// Rows that differ from one another.
pub(super) fn numbered(range: std::ops::Range<usize>) -> Dataset {
    let rows = range.flat_map(|row| [row as f32, 0.5]).collect::<Vec<_>>();
    let labels = vec![Some(0); rows.len() / 2];
    Dataset::from_rows(2, rows, labels).unwrap()
}

#[test]
fn one_block_in_ten_is_held_out_and_guarded() {
    let split = SplitRule::default().rows(&numbered(0..1000));
    // One of the first five, one of each ten after that; the last five may
    // or may not hold one.
    assert!([890, 900].contains(&split.training.len()));
    assert!((80..=110).contains(&split.held_out.len()));
    for &row in &split.held_out {
        let neighbours = [row.wrapping_sub(1), row + 1];
        assert!(neighbours.iter().all(|row| !split.training.contains(row)));
    }
}

#[test]
fn nothing_is_held_out_when_the_rule_says_so() {
    let rule = SplitRule {
        one_in: 0,
        ..SplitRule::default()
    };
    let split = rule.rows(&numbered(0..30));
    assert_eq!((split.training.len(), split.held_out.len()), (30, 0));
}

proptest! {
    #[test]
    fn appended_rows_move_no_row_to_the_other_side(start in 0usize..1000, rows in 0usize..200, more in 0usize..200) {
        let rule = SplitRule::default();
        let before = rule.rows(&numbered(start..start + rows));
        let after = rule.rows(&numbered(start..start + rows + more));
        let old = |part: &[usize]| part.iter().copied().filter(|&row| row < rows).collect::<Vec<_>>();
        prop_assert_eq!(&old(&after.training), &before.training);
        prop_assert_eq!(&old(&after.held_out), &before.held_out);
        prop_assert!(before.training.iter().all(|row| !before.held_out.contains(row)));
    }

    #[test]
    fn any_bytes_are_answered_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for name in ["a.csv", "a.npz", "a.npy", "a.csv.gz", "a.npz.zst"] {
            let _ = Dataset::parse(Path::new(name), &bytes, &schema());
        }
    }

    #[test]
    fn any_table_is_answered_without_panic(text in "([a-z0-9.,;\" -]|\n){0,80}") {
        let _ = parse_csv(&format!("a,b,label\n{text}"));
        let _ = parse_csv(&text);
    }

    #[test]
    fn written_tables_are_read_back(rows in proptest::collection::vec((-1e6f32..1e6, -1e6f32..1e6, 0u16..2), 0..20)) {
        let mut text = "a,b,label\n".to_owned();
        for (a, b, label) in &rows {
            text.push_str(&format!("{a},{b},{label}\n"));
        }
        let data = parse_csv(&text).unwrap();
        prop_assert_eq!(data.rows(), rows.len());
        for (row, (a, b, label)) in rows.into_iter().enumerate() {
            prop_assert_eq!(data.inputs().row(row).to_vec(), vec![a, b]);
            prop_assert_eq!(data.labels()[row], Some(label));
        }
    }
}

/// Files after public bug reports, where they are at hand.
#[test]
fn files_from_the_field_are_read_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/field");
    if !folder.is_dir() {
        eprintln!("SKIPPED: {} is not there", folder.display());
        return;
    }
    let shape = InputShape::new(vec![4]).unwrap();
    let schema = Schema::new(shape, vec!["off".to_owned(), "on".to_owned()]).unwrap();
    let read = |name: &str| {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let read = Dataset::read(Path::new(name), &bytes, &schema, Ending::Open);
        read.map(|file| (file.data, file.notes))
    };
    let (plain, _) = read("01-plain.csv").unwrap();
    for name in ["06-utf16nobom.csv", "07-trailcomma.csv", "16-comment.csv"] {
        assert_eq!(read(name).unwrap().0, plain, "{name}");
    }
    for name in [
        "18-pandas-floatlabel.csv",
        "19-pandas-index.csv",
        "40-plain.npz",
        "49-bytelabels.npz",
    ] {
        let (data, _) = read(name).unwrap();
        // One row has another label there, or none.
        let pairs = data.labels().iter().zip(plain.labels());
        let alike = pairs.filter(|(label, right)| label == right).count();
        assert!(alike + 1 >= plain.rows(), "{name}");
        let apart = (&data.inputs() - &plain.inputs()).mapv(f32::abs);
        assert!(apart.iter().all(|&apart| apart < 1e-3), "{name}");
    }
    let (minus, notes) = read("35-neg1.csv").unwrap();
    let unlabelled = minus
        .labels()
        .iter()
        .filter(|label| label.is_none())
        .count();
    assert!(
        notes.contains(&Note::MinusOne { rows: unlabelled }),
        "{notes:?}"
    );
    // By place, x3 would be taken for x0: a task that names its values reads
    // them by name.
    let names = ["x0", "x1", "x2", "x3"].map(str::to_owned).to_vec();
    let named = schema
        .clone()
        .with_input(InputKind::Array(ArrayInput { names }));
    let bytes = std::fs::read(folder.join("26-reordered.csv")).unwrap();
    let reordered = Dataset::parse(Path::new("26-reordered.csv"), &bytes, &named).unwrap();
    assert_eq!(reordered, plain);
    for (name, array, error) in [
        ("41-obj-labels.npz", "y", npz::NpzError::Objects),
        ("56-struct.npz", "X", npz::NpzError::Structured),
    ] {
        let array = array.to_owned();
        assert_eq!(
            read(name),
            Err(ParseError::Array { array, error }),
            "{name}"
        );
    }
}

/// The same rows in nine exports.
#[test]
fn exports_of_the_same_rows_are_those_rows_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/field/duplicates");
    if !folder.is_dir() {
        eprintln!("SKIPPED: {} is not there", folder.display());
        return;
    }
    let shape = InputShape::new(vec![4]).unwrap();
    let schema = Schema::new(shape, vec!["off".to_owned(), "on".to_owned()]).unwrap();
    let mut exports = Folder::new(folder.join("d2"), schema);
    let scan = exports.scan().unwrap();
    let read: usize = scan.files.iter().map(|file| file.rows).sum();
    let rows = exports.dataset();
    let kept = originals(rows.inputs(), rows.labels(), &Resolution::of(rows.inputs()));
    let mut names: Vec<u64> = (0..rows.rows()).map(|row| rows.row_hash(row, 0)).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(kept.len(), names.len(), "of {read} rows");
    assert!(kept.len() <= 80 && read >= 320, "{} of {read}", kept.len());
}

fn of_numbers() -> Schema {
    let text = "name = \"t\"\n[input]\nshape = [2]\n[target]\nkind = \"number\"\n\
                values = [\"load\", \"life\"]";
    let task = common::task::RawTask::parse(text).unwrap();
    Schema::of_task(&task).unwrap()
}

#[test]
fn target_columns_are_no_inputs() {
    let text = "a,life,b,load\n1,10,2,0.5\n3,,4,0.25\n5,30,6,-1e3\n";
    let data = Dataset::parse(Path::new("a.csv"), text.as_bytes(), &of_numbers()).unwrap();
    assert_eq!(
        data.inputs(),
        ndarray::array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    );
    assert_eq!(data.labels(), [Some(0), None, Some(0)]);
    let numbers = data.numbers().unwrap();
    assert_eq!(numbers.row(0), ndarray::array![0.5, 10.0]);
    assert_eq!(numbers.row(2), ndarray::array![-1000.0, 30.0]);
    let parse =
        |text: &str, schema: &Schema| Dataset::parse(Path::new("a.csv"), text.as_bytes(), schema);
    let missing = parse("a,b,load\n1,2,3\n", &of_numbers());
    assert!(
        matches!(&missing, Err(ParseError::NoNumberColumn { name, .. }) if name == "life"),
        "{missing:?}"
    );
    let word = parse("a,life,b,load\n1,high,2,0.5\n", &of_numbers());
    let problem = Problem::NotANumber {
        found: "high".to_owned(),
    };
    assert_eq!(word, cell(2, "life", problem));
    let none = parse("a,b\n1,2\n", &of_numbers().with_optional_labels()).unwrap();
    assert_eq!(none.labels(), [None]);
}

#[test]
fn arrays_of_numbers_have_one_row_an_input() {
    let x = array(&[3, 2], Values::F32(vec![1.0; 6]));
    let parse = |y: &Array| {
        let bytes = npz::write(&[("X", &x), ("y", y)]).unwrap();
        Dataset::parse(Path::new("a.npz"), &bytes, &of_numbers())
    };
    let y = array(
        &[3, 2],
        Values::F64(vec![1.0, 2.0, f64::NAN, 4.0, 5.0, 6.0]),
    );
    let data = parse(&y).unwrap();
    assert_eq!(data.labels(), [Some(0), None, Some(0)]);
    assert_eq!(data.numbers().unwrap().row(2), ndarray::array![5.0, 6.0]);
    let narrow = parse(&array(&[3], Values::F32(vec![1.0; 3])));
    assert!(
        matches!(narrow, Err(ParseError::NumberCount { numbers: 2, .. })),
        "{narrow:?}"
    );
    let far = parse(&array(&[3, 2], Values::F64(vec![1e300; 6])));
    assert!(matches!(far, Err(ParseError::At { .. })), "{far:?}");
}

#[test]
fn numbers_stay_with_their_rows() {
    let text = "a,life,b,load\n1,10,2,0.5\n3,20,4,0.25\n5,30,6,1\n";
    let mut data = Dataset::parse(Path::new("a.csv"), text.as_bytes(), &of_numbers()).unwrap();
    let chosen = data.select(&[2, 0]);
    assert_eq!(
        chosen.numbers().unwrap().column(1),
        ndarray::array![30.0, 10.0]
    );
    let rest = data.split_off(1);
    assert_eq!(data.numbers().unwrap().column(1), ndarray::array![10.0]);
    assert_eq!(
        rest.numbers().unwrap().column(1),
        ndarray::array![20.0, 30.0]
    );
    let joined = Dataset::joined(2, vec![data, rest]);
    assert_eq!(
        joined.numbers().unwrap().column(1),
        ndarray::array![10.0, 20.0, 30.0]
    );
}

#[test]
fn a_long_table_is_read_in_blocks() {
    let mut mapping = Mapping {
        group_column: Some("who".to_owned()),
        ..Mapping::default()
    };
    mapping.names = None;
    let schema = schema()
        .with_mapping(mapping)
        .with_held_max(1 << 28, 1 << 28);
    let mut text = "a,b,who,label\n".to_owned();
    let rows = 60_000;
    for row in 0..rows {
        // A cell of several lines, some of which are cut by the end of a block.
        let who = format!("\"person {}\n\nat \"\"home\"\",\"", row % 3);
        text.push_str(&format!("{row},{},{who},cat\n\n", row % 7));
    }
    let read =
        |text: &str, ending| Dataset::read(Path::new("a.csv"), text.as_bytes(), &schema, ending);
    assert!(text.len() > 2 << 20);
    let found = read(&text, Ending::Open).unwrap();
    let first: Vec<f32> = found.data.inputs().column(0).to_vec();
    assert_eq!(first, (0..rows).map(|row| row as f32).collect::<Vec<_>>());
    // Four line ends a row, and the header's.
    let broken = format!("{text}1,x,me,cat\n");
    let line = 4 * rows as u64 + 2;
    match read(&broken, Ending::Closed).unwrap_err() {
        ParseError::At { place, .. } => assert_eq!(
            place,
            Place::Cell {
                line,
                column: "b".to_owned()
            }
        ),
        other => panic!("{other}"),
    }
    let open = format!("{text}1,2,me");
    let notes = read(&open, Ending::Open).unwrap().notes;
    assert_eq!(notes, [Note::Unfinished { line }]);
    let quoted = format!("a,b,who,label\n1,2,\"{}", "x\n".repeat(6 << 20));
    let refused = read(&quoted, Ending::Closed).unwrap_err().to_string();
    assert!(
        refused.contains("line 2") && refused.contains("quoted"),
        "{refused}"
    );
}
