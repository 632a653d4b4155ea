#![allow(clippy::unwrap_used)]

use common::ids::BlobHash;
use common::task::RawTask;
use ndarray::array;
use onnx::tiny::Tiny;

use super::*;

/// A model of two values that gives their doubles and their sum's.
fn model() -> Vec<u8> {
    Tiny::of(&[None, Some(2)])
        .constant("w", &[2, 3], &[2.0, 0.0, 2.0, 0.0, 2.0, 2.0])
        .node("MatMul", &["x", "w"], "y")
        .bytes(&["y"])
}

fn task(model: BlobHash, bytes: usize, width: u32) -> Task {
    let text = format!(
        "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\n\
         stage = \"onnx\"\nmodel = \"{model}\"\nbytes = {bytes}\nwidth = {width}\n"
    );
    RawTask::parse(&text).unwrap()
}

fn state_with(bytes: &[u8]) -> (tempfile::TempDir, StateDir, Cache, BlobHash) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::create(folder.path()).unwrap();
    let cache = Cache::open(&state.file(crate::cache::FOLDER), 0).unwrap();
    let blob = BlobHash::of(bytes);
    let mut partial = cache.begin(blob).unwrap();
    partial.append(bytes).unwrap();
    cache.complete(partial).unwrap();
    cache.keep(blob).unwrap();
    (folder, state, cache, blob)
}

#[test]
fn rows_go_through_the_model_once() {
    let bytes = model();
    let (_folder, state, cache, blob) = state_with(&bytes);
    let task = task(blob, bytes.len(), 3);
    let rows = array![[1.0f32, 2.0], [0.5, 0.0]];
    let expected = array![[2.0f32, 4.0, 6.0], [1.0, 0.0, 1.0]];
    let made = seen(
        &state,
        &task,
        &[rows.view(), rows.slice(ndarray::s![1.., ..])],
    );
    let made = made.unwrap().unwrap();
    assert_eq!(
        made,
        [
            expected.clone(),
            expected.slice(ndarray::s![1.., ..]).to_owned()
        ]
    );
    // Rows that are known need no model any more.
    cache.keep_only(&Default::default()).unwrap();
    assert_eq!(
        seen(&state, &task, &[rows.view()]).unwrap().unwrap(),
        [expected]
    );
    let new = array![[7.0f32, 7.0]];
    let error = seen(&state, &task, &[new.view()]).unwrap_err();
    assert!(
        matches!(error, BackboneError::NotAtHand(lost) if lost == blob),
        "{error}"
    );
}

#[test]
fn a_model_that_is_not_as_the_task_says_is_refused() {
    let bytes = model();
    let (_folder, state, _, blob) = state_with(&bytes);
    let rows = array![[1.0f32, 2.0]];
    let error = seen(&state, &task(blob, bytes.len(), 4), &[rows.view()]).unwrap_err();
    assert!(
        matches!(
            error,
            BackboneError::Width {
                expected: 4,
                found: 3
            }
        ),
        "{error}"
    );
    let text = b"this is no model".as_slice();
    let (_folder, state, _, blob) = state_with(text);
    let error = seen(&state, &task(blob, text.len(), 3), &[rows.view()]).unwrap_err();
    assert!(matches!(error, BackboneError::Model(_)), "{error}");
}

#[test]
fn an_owner_bounds_the_size_of_models() {
    let task = task(BlobHash([1; 32]), 1_000, 3);
    assert!(permitted(&task, 1_000).is_ok());
    let error = permitted(&task, 999).unwrap_err();
    let large = matches!(
        error,
        BackboneError::TooLarge {
            bytes: 1_000,
            bytes_max: 999,
            ..
        }
    );
    assert!(
        large && error.advice().contains("policy.model_bytes_max"),
        "{error}"
    );
}

#[test]
fn what_no_task_needs_is_removed() {
    let bytes = model();
    let (_folder, state, cache, blob) = state_with(&bytes);
    let task = task(blob, bytes.len(), 3);
    seen(&state, &task, &[array![[1.0f32, 2.0]].view()]).unwrap();
    let file = state.file(&kept_rows(&task));
    keep_only(&state, &cache, std::slice::from_ref(&task)).unwrap();
    assert!(cache.read(blob).is_ok() && file.exists());
    keep_only(&state, &cache, &[]).unwrap();
    assert!(cache.read(blob).is_err() && !file.exists());
}
