#![allow(clippy::unwrap_used)]
use super::*;
use crate::task::{RawTask, Task, TaskFileError};

fn task(input: &str) -> Result<Task, TaskFileError> {
    RawTask::parse(&format!(
        "name = \"t\"\n[classes]\nnames = [\"off\", \"on\"]\n[input]\n{input}"
    ))
}

const TABLE: &str = "kind = \"table\"
columns = [\"flow\", { name = \"pressure\", unit = \"bar\" }, { name = \"mode\", values = [\"auto\", \"manual\", \"off\"] }]
missing = \"skip-row\"";
const SERIES: &str = "kind = \"series\"
channels = [\"x\", \"y\", \"z\"]
rate_hz = 50
window_s = 2.56";

#[test]
fn a_plain_array_has_the_bytes_it_always_had() {
    let plain = task("shape = [4]").unwrap();
    let named = task("kind = \"array\"\nshape = [4]").unwrap();
    assert_eq!(plain.bytes(), named.bytes());
    let names = task("shape = [2]\nnames = [\"a\", \"b\"]").unwrap();
    let two = task("shape = [2]").unwrap();
    assert_ne!(names.hash(), two.hash());
    assert_eq!(&names.bytes()[..two.bytes().len()], two.bytes());
}

#[test]
fn a_table_has_a_value_a_number_and_one_for_each_word() {
    let task = task(TABLE).unwrap();
    assert_eq!(task.input_shape().sides(), [5]);
    let names = task.input().value_names(5).unwrap();
    assert_eq!(
        names,
        ["flow", "pressure", "mode=auto", "mode=manual", "mode=off"]
    );
    assert_eq!(Task::from_bytes(task.bytes()).unwrap(), task);
}

#[test]
fn names_that_look_the_same_are_the_same() {
    for name in [
        "Lu\u{308}fter",
        "l\u{fc}fter",
        "\u{feff}LÜFTER",
        "lüf\u{ad}ter\u{200b} ",
    ] {
        assert_eq!(folded(name), "l\u{fc}fter", "{name:?}");
    }
    assert_eq!(folded("a - b"), "a_b");
    assert_ne!(folded("m²"), folded("m2"));
}

#[test]
fn a_series_has_windows_of_channels() {
    let task = task(SERIES).unwrap();
    assert_eq!(task.input_shape().sides(), [128, 3]);
    let InputKind::Series(series) = task.input() else {
        panic!("{:?}", task.input());
    };
    assert_eq!(
        (series.window(), series.hop(), series.overlapping()),
        (128, 64, 1)
    );
    assert!((series.gap_s - 0.07).abs() < 1e-12);
    assert_eq!(Task::from_bytes(task.bytes()).unwrap(), task);
}

#[test]
fn what_follows_a_task_is_known_or_refused() {
    for text in [TABLE, SERIES, "shape = [2]\nnames = [\"a\", \"b\"]"] {
        let bytes = task(text).unwrap().bytes().to_vec();
        for length in 0..bytes.len() {
            if let Ok(short) = Task::from_bytes(&bytes[..length]) {
                // A plain array is what stands before.
                assert_eq!(short.bytes(), &bytes[..length]);
                assert!(short.input().is_plain());
            }
        }
        let section = {
            let plain = task("shape = [2]").unwrap();
            bytes[plain.bytes().len().min(bytes.len())..].to_vec()
        };
        for more in [&[0][..], &[2], &section] {
            assert!(
                Task::from_bytes(&[&bytes[..], more].concat()).is_err(),
                "{more:?}"
            );
        }
    }
}

#[test]
fn a_key_of_another_kind_or_value_is_named() {
    for (input, key) in [
        ("shape = [2]\nmissing = \"mean\"", "input.missing"),
        ("shape = [2]\nnames = [\"a\"]", "input.names"),
        ("shape = [2]\nnames = [\"a b\", \"A_b\"]", "input.names"),
        ("kind = \"table\"", "input.columns"),
        (
            "kind = \"table\"\nshape = [1]\ncolumns = [\"a\"]",
            "input.shape",
        ),
        (
            "kind = \"table\"\ncolumns = [\"a\", \"A\"]",
            "input.columns",
        ),
        ("kind = \"table\"\ncolumns = [\" a\"]", "input.columns"),
        (
            "kind = \"table\"\ncolumns = [{ name = \"a\", values = [\"x\"] }]",
            "input.columns",
        ),
        (
            "kind = \"series\"\nchannels = [\"a\"]\nrate_hz = 50",
            "input.window_s",
        ),
        (
            "kind = \"series\"\nchannels = [\"a\"]\nrate_hz = 50\nwindow_s = 0.01",
            "input.window_s",
        ),
        (
            "kind = \"series\"\nchannels = [\"a\"]\nrate_hz = 50\nwindow_s = 2\nhop_s = 0",
            "input.hop_s",
        ),
        (
            "kind = \"series\"\nchannels = [\"a\"]\nrate_hz = 50\nwindow_s = 2\nlabel_share = 0.5",
            "input.label_share",
        ),
    ] {
        match task(input) {
            Err(TaskFileError::Task(TaskError::Value { key: named, .. })) => {
                assert_eq!(named, key, "{input}");
            }
            other => panic!("{input}: {other:?}"),
        }
    }
    let error =
        task("kind = \"table\"\ncolumns = [{ name = \"a\", units = \"bar\" }]").unwrap_err();
    assert!(error.to_string().contains("units"), "{error}");
}
