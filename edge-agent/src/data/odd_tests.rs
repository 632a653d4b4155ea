//! Files as they are found in the field: read where they can mean one thing only,
//! refused by what is wrong with them where not.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use common::features::InputShape;
use common::npz::{self, Array, Values};

use super::schema::{ParseError, Problem, Schema};
use super::source::{BadRows, Mapping};
use super::{Dataset, Ending, FileRows, Unused};

/// Two values, `a` and `b`, and one of these classes.
fn schema(classes: &[&str]) -> Schema {
    let shape = InputShape::new(vec![2]).unwrap();
    let classes = classes.iter().map(|&class| class.to_owned()).collect();
    Schema::new(shape, classes).unwrap()
}

fn read(name: &str, bytes: &[u8], schema: &Schema) -> Result<FileRows, ParseError> {
    Dataset::read(Path::new(name), bytes, schema, Ending::Closed)
}

fn csv(text: &str) -> Result<FileRows, ParseError> {
    read("a.csv", text.as_bytes(), &schema(&["cat", "dog"]))
}

fn skipping(text: &str) -> Result<FileRows, ParseError> {
    let skip = Mapping {
        bad_rows: BadRows::Skip,
        ..Mapping::default()
    };
    let schema = schema(&["cat", "dog"]).with_mapping(skip);
    read("a.csv", text.as_bytes(), &schema)
}

fn values(found: &FileRows) -> Vec<f32> {
    found.data.inputs().iter().copied().collect()
}

#[test]
fn a_header_in_the_middle_is_no_row() {
    let text = "a,b,label\n1,2,cat\na,b,label\n\u{feff}a,b,label\n3,4,dog\n";
    let found = csv(text).unwrap();
    assert_eq!(values(&found), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(found.account.unused[&Unused::HeaderAgain].0, 2);
    assert_eq!(found.account.rows, 2);
    for other in ["b,a,label\n4,3,dog\n", "a,b,c,label\n3,4,5,dog\n"] {
        let text = format!("a,b,label\n1,2,cat\n{other}");
        for read in [csv(&text), skipping(&text)] {
            assert_eq!(read, Err(ParseError::HeaderChanged { line: 3 }), "{other}");
        }
    }
}

#[test]
fn a_column_that_is_there_twice_is_not_chosen() {
    let names = Mapping {
        time_column: Some("t".to_owned()),
        ..Mapping::default()
    };
    let schema = schema(&["cat", "dog"]).with_mapping(names);
    let twice = read("a.csv", b"t,t,a,b,label\n1,2,3,4,cat\n", &schema);
    let name = "t".to_owned();
    assert_eq!(twice, Err(ParseError::ColumnTwice { name }));
}

#[test]
fn rows_that_are_comments_are_told() {
    let text = "# from pump 7\na,b,label\n1,2,cat\n#3,4,dog\n# a word\n5,6,dog\n";
    let found = csv(text).unwrap();
    assert_eq!(values(&found), [1.0, 2.0, 5.0, 6.0]);
    let (count, places) = &found.account.unused[&Unused::Commented];
    assert_eq!((*count, places.as_slice()), (1, &["line 4".to_owned()][..]));
}

#[test]
fn an_open_quote_costs_its_line_only() {
    let text = "a,b,label\n1,2,cat\n\"3,4,dog\n5,6,dog\n7,8,cat\n";
    assert!(csv(text).is_err());
    let found = skipping(text).unwrap();
    assert_eq!(values(&found), [1.0, 2.0, 5.0, 6.0, 7.0, 8.0]);
    let (count, places) = &found.account.unused[&Unused::Columns];
    assert_eq!((*count, places.as_slice()), (1, &["line 3".to_owned()][..]));
}

#[test]
fn numbers_that_may_be_two_are_asked_for() {
    let rows = "1,5;2,5;cat\n".repeat(300);
    let late = csv(&format!("a;b;label\n{rows}1.234;2;dog\n")).unwrap_err();
    let ParseError::At { problem, .. } = late else {
        panic!("{late}");
    };
    let found = "1.234".to_owned();
    assert_eq!(problem, Problem::Ambiguous { found });
    let told = Mapping {
        decimal: Some(b','),
        ..Mapping::default()
    };
    let schema = schema(&["cat", "dog"]).with_mapping(told);
    let read = read("a.csv", b"a;b;label\n1.234;2,5;dog\n", &schema);
    assert_eq!(values(&read.unwrap()), [1234.0, 2.5]);
}

#[test]
fn spreadsheets_say_their_separator() {
    for text in [
        "sep=;\na;b;label\n1;2;cat\n",
        "\"sep=|\"\r\na|b|label\r\n1|2|cat\r\n",
    ] {
        let found = csv(text).unwrap();
        assert_eq!(values(&found), [1.0, 2.0], "{text:?}");
        assert_eq!(found.notes, [], "{text:?}");
    }
    let bad = csv("sep=;\na;b;label\n1;x;cat\n").unwrap_err();
    assert!(bad.to_string().starts_with("line 3,"), "{bad}");
}

#[test]
fn old_line_ends_count_lines() {
    let bad = csv("a,b,label\r1,2,cat\r1,x,dog\r").unwrap_err();
    assert!(bad.to_string().starts_with("line 3,"), "{bad}");
}

#[test]
fn a_file_without_a_header_is_told_so() {
    let rows = "1.5,2.5,cat\n3,4,dog\n5,6,cat\n";
    assert_eq!(csv(rows), Err(ParseError::NumericHeader));
    let wavelengths = csv("400.5,401.5,class\n3,4,dog\n5,6,cat\n");
    assert!(matches!(wavelengths, Err(ParseError::NoLabelColumn { .. })));
}

#[test]
fn what_is_no_table_is_named() {
    for (bytes, said) in [
        (&b"PK\x03\x04\x14\0\x06\0"[..], "Excel"),
        (b"\x1f\x8b\x08\0\0", "gzip"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "LFS",
        ),
    ] {
        let refused = read("a.csv", bytes, &schema(&["cat"])).unwrap_err();
        assert!(refused.to_string().contains(said), "{refused}");
    }
}

/// Truth values as NumPy writes them.
fn truths(values: &[u8]) -> Vec<u8> {
    let array = Array::new(vec![values.len()], Values::U8(values.to_vec())).unwrap();
    let mut bytes = array.encode().unwrap();
    let at = bytes.windows(3).position(|part| part == b"|u1").unwrap();
    bytes[at..at + 3].copy_from_slice(b"|b1");
    bytes
}

/// An NPZ file of two rows with these labels.
fn labelled(labels: &[u8]) -> Vec<u8> {
    use std::io::{Cursor, Write as _};
    let inputs = Array::new(vec![2, 2], Values::U8(vec![1, 2, 3, 4])).unwrap();
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in [("X.npy", &inputs.encode().unwrap()[..]), ("y.npy", labels)] {
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file(name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn a_truth_value_is_no_place_of_a_class() {
    let npz = labelled(&truths(&[1, 0]));
    for (classes, expected) in [
        (["true", "false"], Some([0, 1])),
        (["False", "True"], Some([1, 0])),
        (["1", "0"], Some([0, 1])),
        (["fault", "fine"], None),
    ] {
        let own = schema(&classes);
        let expected = expected.map(|labels| labels.map(Some).to_vec());
        let text = b"a,b,label\n1,2,True\n3,4,False\n";
        for (name, bytes) in [("a.npz", &npz[..]), ("a.csv", text)] {
            let labels = read(name, bytes, &own).ok();
            let labels = labels.map(|found| found.data.labels().to_vec());
            assert_eq!(labels, expected, "{name} {classes:?}");
        }
    }
}

#[test]
fn names_that_are_numbers_do_not_count_themselves() {
    let inputs = Array::new(vec![2, 2], Values::U8(vec![1, 2, 3, 4])).unwrap();
    let labels = Array::new(vec![2], Values::I64(vec![1, 2])).unwrap();
    let schema = schema(&["1", "2", "3"]);
    for (own, is_read) in [(vec![0, 1, 2], true), (vec![1, 2, 3], false)] {
        let own = Array::new(vec![3], Values::I64(own)).unwrap();
        let arrays = [("X", &inputs), ("y", &labels), ("class_names", &own)];
        let found = read("a.npz", &npz::write(&arrays).unwrap(), &schema);
        match is_read {
            true => assert_eq!(found.unwrap().data.labels(), [Some(0), Some(1)]),
            false => assert!(matches!(found, Err(ParseError::NumberedNames { .. }))),
        }
    }
}

#[test]
fn bad_rows_of_arrays_cost_themselves_where_told() {
    let inputs = vec![1.0, 2.0, f32::NAN, 4.0, 5.0, 6.0, 7.0, 1e20];
    let inputs = Array::new(vec![4, 2], Values::F32(inputs)).unwrap();
    let labels = ["cat", "dog", "cow", "cat"].map(str::to_owned).to_vec();
    let labels = Array::new(vec![4], Values::Text(labels)).unwrap();
    let bytes = npz::write(&[("X", &inputs), ("y", &labels)]).unwrap();
    let schema = schema(&["cat", "dog"]);
    assert!(read("a.npz", &bytes, &schema).is_err());
    let skip = Mapping {
        bad_rows: BadRows::Skip,
        ..Mapping::default()
    };
    let found = read("a.npz", &bytes, &schema.with_mapping(skip)).unwrap();
    assert_eq!(values(&found), [1.0, 2.0]);
    assert_eq!((found.account.rows, found.account.used), (4, 1));
    assert_eq!(found.account.unused[&Unused::OutOfRange].0, 2);
    assert_eq!(found.account.unused[&Unused::UnknownClass].0, 1);
}
