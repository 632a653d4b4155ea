#![allow(clippy::unwrap_used)]

use common::npz::{Array, Values, write};
use onnx::tiny::Tiny;

use super::*;

/// Reddish and bluish pictures of 4 × 4, as an NPZ file in `folder`.
fn pictures(folder: &Path) -> String {
    let part = |rows: usize| {
        let labels: Vec<u8> = (0..rows).map(|row| (row % 2) as u8).collect();
        let pixel = |row: usize| match row % 2 {
            0 => [200u8, (row % 50) as u8, 10],
            _ => [10, (row % 50) as u8, 200],
        };
        let pixels = (0..rows).flat_map(|row| (0..16).flat_map(move |_| pixel(row)));
        let inputs = Array::new(vec![rows, 4, 4, 3], Values::U8(pixels.collect())).unwrap();
        (inputs, Array::new(vec![rows], Values::U8(labels)).unwrap())
    };
    let ((x, y), (x_test, y_test)) = (part(40), part(10));
    let arrays = [
        ("X_train", &x),
        ("y_train", &y),
        ("X_test", &x_test),
        ("y_test", &y_test),
    ];
    let path = folder.join("pictures.npz");
    std::fs::write(&path, write(&arrays).unwrap()).unwrap();
    path.display().to_string()
}

/// The mean of each channel, as an ONNX file in `folder`.
fn means(folder: &Path) -> String {
    let sides = [None, Some(3), None, None];
    let graph = Tiny::of(&sides).node("GlobalAveragePool", &["x"], "mean");
    let path = folder.join("means.onnx");
    std::fs::write(&path, graph.bytes(&["mean"])).unwrap();
    path.display().to_string()
}

#[test]
fn a_data_set_is_what_the_model_gives_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (pictures(folder.path()), means(folder.path()));
    let kept = folder.path().join("kept");
    let option = format!("{model}@6,mean=0,std=255");
    let mut progress = Progress::new(true);
    let mut seen =
        |option: &str| seen_keeping(&data, Asked::Class, option, Some(&kept), &mut progress);
    let found = seen(&option).unwrap();
    assert_eq!(found.shape, [3]);
    assert_eq!(
        (found.train.inputs.nrows(), found.test.inputs.nrows()),
        (40, 10)
    );
    assert!((found.train.inputs[[0, 0]] - 200.0 / 255.0).abs() < 1e-4);
    assert!((found.train.inputs[[1, 2]] - 200.0 / 255.0).abs() < 1e-4);
    let files = || std::fs::read_dir(&kept).unwrap().count();
    assert_eq!(files(), 2);
    let again = seen(&option).unwrap();
    assert_eq!(again.train.inputs, found.train.inputs);
    assert_eq!(files(), 2, "the second pass read what the first kept");
    let other = seen(&format!("{model}@6,mean=0,std=128")).unwrap();
    assert_ne!(other.train.inputs, found.train.inputs);
    assert_eq!(files(), 4);
}

#[test]
fn what_cannot_be_seen_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut progress = Progress::new(true);
    let model = means(folder.path());
    let empty = folder.path().display().to_string();
    let mut seen = |data: &str, option: &str| {
        let seen = seen_keeping(data, Asked::Class, option, None, &mut progress);
        seen.unwrap_err().to_string()
    };
    let error = seen(&empty, &model);
    assert!(error.contains("train/CLASS/FILE"), "{error}");
    let error = seen("digits", "nowhere.onnx");
    assert!(error.contains("nowhere.onnx"), "{error}");
}
