//! Devices whose owner has a model in ONNX: rows without a label are labelled by
//! it where it is good, and a model that is not good or not whole is said to be so.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use common::npz::{Array, Values, write};
use common::round::Kind;
use coordinator::status::OutcomeStatus;
use lab::data::Dataset;
use lab::demo::program;
use lab::metrics::accuracy;
use ndarray::Axis;
use onnx::tiny::Tiny;
use serde_json::Value;
use tests::agent::AgentProcess;
use tests::fixtures::wait_connected;
use tests::rig::{Running, agent, look_until, three_agents};

/// A linear classifier of digits, whose output `at` is the nearness to the mean of
/// the class that stands there.
fn nearest_mean(data: &Dataset, classes: &[usize]) -> Vec<u8> {
    let width = data.train.inputs.ncols();
    let (mut weights, mut bias) = (vec![0.0f32; width * classes.len()], Vec::new());
    for (at, &class) in classes.iter().enumerate() {
        let rows: Vec<usize> = (0..data.train.labels.len())
            .filter(|&row| usize::from(data.train.labels[row]) == class)
            .collect();
        let inputs = data.train.inputs.select(Axis(0), &rows);
        let mean = inputs.mean_axis(Axis(0)).unwrap();
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

/// Rows of digits as a file, with labels or without.
fn rows_file(path: &Path, data: &Dataset, rows: &[usize], labelled: bool) {
    let inputs = data.train.inputs.select(Axis(0), rows);
    let inputs = Array::new(
        vec![rows.len(), 8, 8],
        Values::F32(inputs.iter().copied().collect()),
    );
    let inputs = inputs.unwrap();
    let labels = rows.iter().map(|&row| data.train.labels[row]).collect();
    let labels = Array::new(vec![rows.len()], Values::U16(labels)).unwrap();
    let arrays = match labelled {
        true => vec![("X", &inputs), ("y", &labels)],
        false => vec![("X", &inputs)],
    };
    fs::write(path, write(&arrays).unwrap()).unwrap();
}

/// Starts a device of a fleet again, with `labelled` of its rows labelled and a
/// model of these bytes.
fn with_model(running: &mut Running, index: usize, labelled: usize, model: &[u8]) -> AgentProcess {
    running.fleet.kill_agent(index).unwrap();
    let home = running.fleet.agent_home(index);
    let data = &running.data;
    fs::remove_file(home.join("data").join("rows.npz")).unwrap();
    let rows: Vec<usize> = (index..data.train.labels.len()).step_by(3).collect();
    let (own, others) = rows.split_at(labelled);
    if !own.is_empty() {
        rows_file(&home.join("data").join("own.npz"), data, own, true);
    }
    rows_file(&home.join("data").join("others.npz"), data, others, false);
    fs::write(home.join("model.onnx"), model).unwrap();
    let text = "[teacher]\nkind = \"onnx\"\nfile = \"model.onnx\"\nanswers = \"logits\"\n";
    fs::write(home.join("agent.toml"), text).unwrap();
    let log = fs::File::create(home.join("model.log")).unwrap();
    AgentProcess::start(&home, |command| {
        command.stderr(log);
    })
}

/// A command of a device with a model, with its configuration.
fn ask(running: &Running, index: usize, arguments: &[&str]) -> (Option<i32>, String, String) {
    let home = running.fleet.agent_home(index);
    let config = home.join("agent.toml").display().to_string();
    let data = home.join("data").display().to_string();
    let all = [&["--config", &config, "--data", &data], arguments].concat();
    agent(running, index, &all)
}

fn log_of(running: &Running, index: usize) -> String {
    fs::read_to_string(running.fleet.agent_home(index).join("model.log")).unwrap()
}

/// Runs a round, which all three devices have a part in, and returns the share of
/// test rows that the student is right on.
fn student_of_a_round(running: &mut Running) -> f64 {
    let task = running.task.clone();
    wait_connected(&mut running.client, 3);
    running.client.run_round(Some(&task), |_| {}).unwrap();
    let status = running.client.status().unwrap();
    let ended = status.tasks[0].history.last().unwrap();
    let completed = matches!(ended.outcome, OutcomeStatus::Completed { .. });
    assert!(completed, "{:?}", ended.outcome);
    for kind in [Kind::Profile, Kind::Summary, Kind::Labels, Kind::Moments] {
        assert_eq!(ended.accepted.get(&kind), Some(&3), "{kind}");
    }
    let data = &running.data;
    let test = running.fleet.folder().join("test.npz");
    let values = Values::F32(data.test.inputs.iter().copied().collect());
    let inputs = Array::new(vec![data.test.len(), 8, 8], values).unwrap();
    fs::write(&test, write(&[("X", &inputs)]).unwrap()).unwrap();
    let path = test.display().to_string();
    // A device may still be installing the student when the round has ended.
    let mut said = Value::Null;
    look_until(
        || {
            let (code, out, _) = agent(running, 0, &["predict", "--input", &path, "--json"]);
            said = serde_json::from_str(&out).unwrap_or_default();
            code == Some(0)
        },
        || "no student came".to_owned(),
    );
    let rows = said.as_array().or_else(|| said["rows"].as_array()).unwrap();
    let class = |row: &Value| {
        let name = row["class"].as_str().unwrap();
        name.trim_start_matches("class-").parse().unwrap()
    };
    let classes: Vec<u16> = rows.iter().map(class).collect();
    accuracy(&classes, &data.test.labels)
}

#[test]
fn devices_without_a_label_take_part_by_their_model() {
    let mut running = three_agents();
    let model = nearest_mean(&running.data, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let agents = [0, 1, 2].map(|index| {
        let labelled = if index == 0 { 200 } else { 0 };
        with_model(&mut running, index, labelled, &model)
    });
    let right = student_of_a_round(&mut running);
    assert!(right > 0.85, "{right}");
    for index in [1, 2] {
        let (code, out, err) = ask(&running, index, &["status", "--json"]);
        assert_eq!(code, Some(0), "{err}");
        let status: Value = serde_json::from_str(&out).unwrap();
        let teacher = &status["teachers"][0];
        assert_eq!(teacher["used"], true, "{out}");
        assert_eq!(teacher["labelled"], teacher["unlabelled"]);
        assert!(teacher["labelled"].as_u64().unwrap() > 300, "{teacher}");
        assert_eq!(teacher["local_right"], Value::Null);
        let (code, out, _) = ask(&running, index, &["data", "check"]);
        assert_eq!(code, Some(0), "{out}");
        assert!(out.contains("rows without a label for task"), "{out}");
        assert!(out.contains("; 0 unlabelled;"), "{out}");
    }
    drop(agents);
}

#[test]
fn a_model_that_is_worse_or_broken_is_not_used() {
    let mut running = three_agents();
    let turned = nearest_mean(&running.data, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
    let whole = nearest_mean(&running.data, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let agents = [
        with_model(&mut running, 1, 300, &turned),
        with_model(&mut running, 2, 300, &whole[..whole.len() / 2]),
    ];
    let right = student_of_a_round(&mut running);
    assert!(right > 0.85, "{right}");
    for (index, told) in [(1, "the local teacher on"), (2, "is no ONNX model")] {
        let (_, out, _) = ask(&running, index, &["status"]);
        let line = out.lines().find(|line| line.starts_with("teacher"));
        let line = line.unwrap_or_else(|| panic!("{out}"));
        assert!(line.contains("NOT USED") && line.contains(told), "{line}");
        let (_, out, _) = ask(&running, index, &["data", "check"]);
        assert!(out.contains("NOT USED") && out.contains(told), "{out}");
        let (_, out, _) = ask(&running, index, &["doctor"]);
        assert!(out.contains("teacher") && out.contains(told), "{out}");
        let log = log_of(&running, index);
        assert!(log.contains("NOT USED") && log.contains(told), "{log}");
    }
    drop(agents);
}

/// What `data check` says of a model that is no file of the fleet.
fn checked(folder: &Path, teacher: &str) -> String {
    fs::write(folder.join("agent.toml"), format!("[teacher]\n{teacher}\n")).unwrap();
    let output = Command::new(program("alambic-agent").unwrap())
        .arg("--config")
        .arg(folder.join("agent.toml"))
        .arg("--state")
        .arg(folder.join("state"))
        .args(["data", "check", "--task"])
        .arg(folder.join("task.toml"))
        .arg(folder.join("data"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{teacher}");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let data = Dataset::open("digits").unwrap();
    let task = "name = \"t\"\n[input]\nshape = [8, 8]\n[classes]\nnames = [\"a\", \"b\", \"c\"]\n\
                [normaliser]\nrange = [0.0, 255.0]\n";
    fs::write(home.join("task.toml"), task).unwrap();
    fs::create_dir(home.join("data")).unwrap();
    let rows: Vec<usize> = (0..100).collect();
    rows_file(&home.join("data").join("rows.npz"), &data, &rows, false);
    let linear = |outputs: usize| {
        Tiny::of(&[None, Some(64)])
            .constant("w", &[64, outputs], &vec![0.1; 64 * outputs])
            .node("MatMul", &["x", "w"], "y")
            .bytes(&["y"])
    };
    let strange = Tiny::of(&[None, Some(64)])
        .node("Frobnicate", &["x"], "y")
        .bytes(&["y"]);
    let narrow = Tiny::of(&[None, Some(60)]).node("Relu", &["x"], "y");
    for (name, bytes) in [
        ("three.onnx", linear(3)),
        ("five.onnx", linear(5)),
        ("strange.onnx", strange),
        ("narrow.onnx", narrow.bytes(&["y"])),
        ("text.onnx", b"this is no model".to_vec()),
        ("large.onnx", vec![0; (1 << 20) + 1]),
    ] {
        fs::write(home.join(name), bytes).unwrap();
    }
    let named = |file: &str| format!("kind = \"onnx\"\nfile = \"{file}\"\n");
    for (teacher, told) in [
        (named("none.onnx"), "No such file"),
        (named("text.onnx"), "is no ONNX model"),
        (named("strange.onnx"), "no implementation of Frobnicate"),
        (named("narrow.onnx"), "takes 60 values, and a row has 64"),
        (named("five.onnx"), "answers with 5 values"),
        (named("large.onnx") + "mib_max = 1", "raise teacher.mib_max"),
        (
            named("three.onnx") + "map = { \"a\" = \"d\" }",
            "\"d\", which the task has not",
        ),
        (
            named("three.onnx") + "classes = [\"x\", \"y\", \"z\"]",
            "none of its classes is one of the task's",
        ),
        (named("three.onnx") + "layout = \"hwc\"", "nchw or nhwc"),
        (named("three.onnx") + "hidden = [3]", "absent unless"),
        ("kind = \"onnx\"".to_owned(), "teacher.file"),
        ("file = \"three.onnx\"".to_owned(), "absent unless"),
    ] {
        let text = checked(home, &teacher);
        assert!(text.contains(told), "{told} in {text}");
    }
}
