#![allow(clippy::unwrap_used)]

use ndarray::{Array2, Axis};
use onnx::tiny::Tiny;

use super::server::Question;
use crate::data::{Dataset, Part};
use crate::plan::{TaskOptions, task};
use common::task::{ConsensusRule, StudentSpec};

use super::*;

const PRIVACY: Privacy = Privacy {
    rows_min: 20,
    cluster_size_min: 5,
    rows_per_direction: 15,
};

fn digits() -> (Dataset, Task, Vec<Vec<usize>>) {
    let data = Dataset::open("digits").unwrap();
    let task = task(&data, &digits_options()).unwrap();
    let rows = data.train.labels.len();
    let parts = (0..2)
        .map(|device| (device..rows).step_by(2).collect())
        .collect();
    (data, task, parts)
}

fn digits_options() -> TaskOptions {
    TaskOptions {
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
    }
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
    let fleet = Fleet {
        data: &data,
        task: &task,
        parts: &parts,
        privacy: PRIVACY,
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

#[test]
fn means_of_a_list_keep_the_units_of_its_columns() {
    let (mut data, ..) = digits();
    let units = [1.0f32, 30.0, 1_000.0];
    let inputs = Array2::from_shape_fn((400, 3), |(row, at)| {
        units[at] * (((row * (7 + 4 * at)) % 101) as f32 / 101.0)
    });
    data.shape = vec![3];
    data.range = None;
    data.classes.truncate(2);
    data.train = std::sync::Arc::new(Part {
        labels: (0..400).map(|row| row % 2).collect(),
        inputs: inputs.clone(),
        numbers: None,
        users: None,
        groups: None,
    });
    let task = task(&data, &digits_options()).unwrap();
    let rows: Vec<usize> = (0..400).collect();
    let question = Question::of((&data, &task, &rows), PRIVACY, 100_000, 0);
    let question = question.unwrap().unwrap();
    for group in 0..question.means.nrows() {
        let mine: Vec<usize> = (0..400)
            .filter(|&row| question.group[row] == group)
            .collect();
        let mean = inputs.select(Axis(0), &mine).mean_axis(Axis(0)).unwrap();
        for (at, unit) in units.iter().enumerate() {
            let apart = (question.means[[group, at]] - mean[at]).abs();
            assert!(
                apart < unit / 20.0,
                "column {at} of group {group} is {apart} away"
            );
        }
    }
}
