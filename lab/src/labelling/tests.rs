#![allow(clippy::unwrap_used)]

use onnx::tiny::Tiny;

use crate::data::Dataset;
use crate::plan::{TaskOptions, task};
use common::task::{ConsensusRule, StudentSpec};

use super::*;

fn digits() -> (Dataset, Task, Vec<Vec<usize>>) {
    let data = Dataset::open("digits").unwrap();
    let task_options = TaskOptions {
        features: None,
        student: StudentSpec::Mlp { hidden: vec![16] },
        points: 100,
        points_per_device: 50,
        auto_budget: false,
        bits: 8,
        contribute: "points".into(),
        consensus: ConsensusRule::Weighted,
        uplink_bytes_max: 100_000,
        rank_max: 0,
        novelty: false,
        landmarks: None,
        steps: 100,
        refinement_steps: 0,
        seed: 0,
        deadline_s: 60,
        grace_s: 5.0,
    };
    let task = task(&data, &task_options).unwrap();
    let rows = data.train.labels.len();
    let parts = (0..2)
        .map(|device| (device..rows).step_by(2).collect())
        .collect();
    (data, task, parts)
}

/// A linear classifier of digits: a row of the mean picture of each class, less
/// half its square, answers with the nearest mean.
fn nearest_mean(data: &Dataset, classes: &[usize]) -> Vec<u8> {
    let width = data.train.inputs.ncols();
    let (mut weights, mut bias) = (vec![0.0f32; width * classes.len()], Vec::new());
    for (at, &class) in classes.iter().enumerate() {
        let rows: Vec<usize> = (0..data.train.labels.len())
            .filter(|&row| usize::from(data.train.labels[row]) == class)
            .collect();
        let mean = data
            .train
            .inputs
            .select(Axis(0), &rows)
            .mean_axis(Axis(0))
            .unwrap();
        for (value, mean) in mean.iter().enumerate() {
            weights[value * classes.len() + at] = *mean;
        }
        bias.push(-0.5 * mean.dot(&mean));
    }
    Tiny::of(&[None, Some(width)])
        .constant("weights", &[width, classes.len()], &weights)
        .constant("bias", &[classes.len()], &bias)
        .node("MatMul", &["x", "weights"], "product")
        .node("Add", &["product", "bias"], "logits")
        .bytes(&["logits"])
}

fn told(asked: &Asked) -> Result<(Labelling, Value), LabellingError> {
    let (data, task, parts) = digits();
    let mut progress = Progress::new(true);
    let privacy = Privacy {
        rows_min: 20,
        cluster_size_min: 5,
        rows_per_direction: 15,
    };
    let fleet = Fleet {
        data: &data,
        task: &task,
        parts: &parts,
        privacy,
        uplink_bytes: 5_000,
    };
    let labelled = label(fleet, asked, 1, &mut progress)?.unwrap();
    for sent in &labelled.sent {
        assert!(sent.iter().sum::<u64>() <= 5_000 + 100, "{sent:?}");
        assert_eq!(sent.is_empty(), asked.server_teacher.is_none());
    }
    Ok((labelled.labelling, labelled.told))
}

#[test]
fn devices_keep_as_many_labels_as_asked() {
    let asked = Asked {
        labelled: Some(20),
        ..Asked::default()
    };
    let (labelling, told) = told(&asked).unwrap();
    assert_eq!(told["labelled"], 40);
    assert_eq!(labelling.own.iter().filter(|own| **own).count(), 40);
    for (learnt, own) in labelling.learnt.iter().zip(&labelling.own) {
        assert_eq!(learnt.is_some(), *own);
    }
}

#[test]
fn a_model_labels_what_has_no_label() {
    let folder = tempfile::tempdir().unwrap();
    let (data, ..) = digits();
    let path = folder.path().join("teacher.onnx");
    std::fs::write(&path, nearest_mean(&data, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])).unwrap();
    for labelled in [0, 20] {
        let asked = Asked {
            labelled: Some(labelled),
            device_teacher: Some(path.display().to_string()),
            ..Asked::default()
        };
        let (labelling, told) = told(&asked).unwrap();
        assert_eq!(told["device_teacher"]["devices_used"], 2);
        assert!(labelling.learnt.iter().all(Option::is_some));
        let right = told["device_teacher"]["labels_right"].as_f64().unwrap();
        assert!(right > 0.85, "{right}");
    }
}

#[test]
fn a_model_worse_than_the_local_teacher_is_unused() {
    let folder = tempfile::tempdir().unwrap();
    let (data, ..) = digits();
    let path = folder.path().join("teacher.onnx");
    std::fs::write(&path, nearest_mean(&data, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 0])).unwrap();
    let asked = Asked {
        labelled: Some(200),
        device_teacher: Some(path.display().to_string()),
        ..Asked::default()
    };
    let (labelling, told) = told(&asked).unwrap();
    assert_eq!(told["device_teacher"]["devices_refused"], 2);
    assert_eq!(told["device_teacher"]["rows_labelled"], 0);
    assert_eq!(labelling.learnt.iter().flatten().count(), 400);
}

#[test]
fn other_classes_need_names() {
    let folder = tempfile::tempdir().unwrap();
    let (data, ..) = digits();
    let path = folder.path().join("teacher.onnx");
    std::fs::write(&path, nearest_mean(&data, &[3, 7])).unwrap();
    let asked = |option: String| Asked {
        labelled: Some(0),
        device_teacher: Some(option),
        server_teacher: None,
    };
    let error = told(&asked(path.display().to_string())).unwrap_err();
    assert!(error.to_string().contains("2 values"), "{error}");
    let names = format!("{}@classes={}/else", path.display(), data.classes[3]);
    let (labelling, _) = told(&asked(names)).unwrap();
    assert!(labelling.learnt.iter().flatten().all(|&label| label == 3));
    assert!(labelling.learnt.iter().any(Option::is_none));
}

#[test]
fn a_coordinators_model_labels_group_means() {
    let folder = tempfile::tempdir().unwrap();
    let (data, ..) = digits();
    let path = folder.path().join("teacher.onnx");
    std::fs::write(&path, nearest_mean(&data, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])).unwrap();
    let asked = Asked {
        labelled: Some(0),
        server_teacher: Some(path.display().to_string()),
        ..Asked::default()
    };
    let (labelling, told) = told(&asked).unwrap();
    assert_eq!(told["server_teacher"]["devices_used"], 2);
    assert!(labelling.learnt.iter().all(Option::is_some));
    let right = told["server_teacher"]["labels_right"].as_f64().unwrap();
    assert!(right > 0.8, "{right}");
}
