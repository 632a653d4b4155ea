//! A task whose inputs go through a frozen model: the coordinator shares it, devices
//! fetch it once, learn behind it and predict through it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::npz::{Array, Values, write};
use common::round::Kind;
use coordinator::status::OutcomeStatus;
use lab::demo::program;
use lab::metrics::accuracy;
use onnx::tiny::Tiny;
use serde_json::{Value, json};
use tests::agent::AgentProcess;
use tests::fixtures::wait_connected;
use tests::rig::{Running, agent, look_until, operator, three_agents};

/// Values that the model makes of a digit.
const WIDTH: usize = 48;

/// Rectified sums of pixels with fixed weights.
fn backbone(input: usize) -> Vec<u8> {
    let weight = |at: usize| ((at * 7_919 + at / WIDTH * 104_729) % 1_009) as f32 / 504.5 - 1.0;
    let weights: Vec<f32> = (0..input * WIDTH).map(weight).collect();
    let bias: Vec<f32> = (0..WIDTH).map(|at| 4.0 - at as f32 / 6.0).collect();
    Tiny::of(&[None, Some(input)])
        .constant("weights", &[input, WIDTH], &weights)
        .constant("bias", &[WIDTH], &bias)
        .node("MatMul", &["x", "weights"], "product")
        .node("Add", &["product", "bias"], "sum")
        .node("Relu", &["sum"], "features")
        .bytes(&["features"])
}

/// A task of the name "seen".
fn task(model: &str, more: &str) -> String {
    let names: Vec<String> = (0..10).map(|class| format!("\"class-{class}\"")).collect();
    format!(
        "name = \"seen\"\ncontribute = \"both\"\n[input]\nshape = [8, 8]\n[classes]\nnames = [{}]\n\
         [features]\nstage = \"onnx\"\nmodel = \"{model}\"\nscale = 0.0625\n{more}\n\
         [student]\nhidden = [32]\n[budget]\npoints_per_device = 40\npoints_max = 200\n\
         uplink_bytes_max = 1000000\n[distillation]\nsteps = 800\n\
         [rounds]\ngrace_s = 30.0\nquorum = 1.0\n",
        names.join(", ")
    )
}

/// What the operator's program says, which has to end with this exit code.
fn asked(running: &Running, code: i32, arguments: &[&str]) -> String {
    let (found, out, err) = operator(running, arguments);
    assert_eq!(found, Some(code), "{arguments:?}: {out}{err}");
    out + &err
}

fn file(running: &Running, name: &str, bytes: &[u8]) -> String {
    let path = running.fleet.folder().join(name);
    fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

/// Starts a device of a fleet again with this configuration.
fn configured(running: &mut Running, index: usize, text: &str) -> AgentProcess {
    running.fleet.kill_agent(index).unwrap();
    let home = running.fleet.agent_home(index);
    fs::write(home.join("agent.toml"), text).unwrap();
    let log = fs::File::create(home.join("own.log")).unwrap();
    AgentProcess::start(&home, |command| {
        command.stderr(log);
    })
}

fn kept_model(running: &Running, index: usize, model: &str) -> PathBuf {
    let state = running.fleet.agent_home(index).join("state");
    state.join("models").join(model)
}

/// Runs a round of the task in which two devices have a part.
fn round(running: &mut Running) {
    running.client.run_round(Some("seen"), |_| {}).unwrap();
    let status = running.client.status().unwrap();
    let task = status
        .tasks
        .iter()
        .find(|task| task.name == "seen")
        .unwrap();
    let ended = task.history.last().unwrap();
    let completed = matches!(ended.outcome, OutcomeStatus::Completed { .. });
    assert!(completed, "{:?}", ended.outcome);
    for kind in [Kind::Summary, Kind::Labels, Kind::Moments, Kind::Report] {
        assert_eq!(ended.accepted.get(&kind), Some(&2), "{kind}");
    }
}

/// The classes that a device's student gives the test rows.
fn predicted(running: &Running, index: usize, path: &str) -> Option<Vec<u16>> {
    let arguments = ["predict", "--task", "seen", "--input", path, "--json"];
    let (code, out, _) = agent(running, index, &arguments);
    let said: Value = serde_json::from_str(&out).unwrap_or_default();
    (code == Some(0)).then(|| said["rows"].as_array().unwrap().iter().map(class).collect())
}

fn class(row: &Value) -> u16 {
    let name = row["class"].as_str().unwrap();
    name.trim_start_matches("class-").parse().unwrap()
}

fn test_rows(running: &Running) -> String {
    let data = &running.data;
    let values = Values::F32(data.test.inputs.iter().copied().collect());
    let inputs = Array::new(vec![data.test.len(), 8, 8], values).unwrap();
    file(running, "test.npz", &write(&[("X", &inputs)]).unwrap())
}

/// Adds the model and creates the task; the model's hash.
fn shared(running: &mut Running, model: &[u8]) -> String {
    let path = file(running, "tiny.onnx", model);
    let added = asked(running, 0, &["backbone", "add", &path, "--json"]);
    let added: Value = serde_json::from_str(added.lines().next().unwrap()).unwrap();
    let hash = added["model"].as_str().unwrap().to_owned();
    let text = file(running, "seen.toml", task(&hash, "").as_bytes());
    asked(running, 0, &["task", "create", &text]);
    hash
}

#[test]
fn a_fleet_learns_behind_a_model_and_predicts_through_it() {
    let mut running = three_agents();
    let bytes = backbone(64);
    let model = shared(&mut running, &bytes);
    let small = format!("[policy]\nmodel_bytes_max = {}\n", bytes.len() - 1);
    let socket = "[predictions]\nsocket = \"predict.sock\"\n";
    let refusing = configured(&mut running, 2, &small);
    let _answering = configured(&mut running, 0, socket);
    wait_connected(&mut running.client, 3);
    round(&mut running);

    // The devices that learn have the model, the owner who does not want it has not.
    assert_eq!(fs::read(kept_model(&running, 0, &model)).unwrap(), bytes);
    assert!(kept_model(&running, 1, &model).exists());
    assert!(!kept_model(&running, 2, &model).exists());
    let status = asked(&running, 0, &["status", "--json"]);
    assert!(status.contains("policy.model_bytes_max is"), "{status}");
    let (_, owner, _) = agent(&running, 2, &["status"]);
    assert!(owner.contains("policy.model_bytes_max is"), "{owner}");

    let path = test_rows(&running);
    let mut found = None;
    look_until(
        || {
            found = predicted(&running, 0, &path);
            found.is_some()
        },
        || "no student came".to_owned(),
    );
    let found = found.unwrap();
    let right = accuracy(&found, &running.data.test.labels);
    // Chance is 0.1; runs of two devices with few rows each differ around 0.8.
    assert!(right > 0.7, "{right}");
    assert_eq!(streamed(&running, 1, 20), found[..20]);
    assert_eq!(over_socket(&running, 0, 20), found[..20]);

    // Without that rule, as the command has none, the model comes with the student.
    drop(refusing);
    let tasks = running.client.status().unwrap().tasks;
    let seen = tasks.iter().find(|task| task.name == "seen").unwrap();
    let (code, _, err) = agent(&running, 2, &["pull", "--task", &seen.task.to_string()]);
    assert_eq!(code, Some(0), "{err}");
    assert!(kept_model(&running, 2, &model).exists());
    assert_eq!(predicted(&running, 2, &path).unwrap(), found);

    let told = asked(
        &running,
        1,
        &["model", "export", "--task", "seen", "--out", "s.onnx"],
    );
    assert!(told.contains("begins behind the model"), "{told}");
    let told = asked(&running, 1, &["backbone", "remove", &model[..8]]);
    assert!(told.contains("a task needs model"), "{told}");
    asked(&running, 0, &["task", "archive", "seen"]);
    asked(&running, 0, &["task", "delete", "seen", "--yes"]);
    asked(&running, 0, &["backbone", "remove", "tiny.onnx"]);
    assert_eq!(
        asked(&running, 0, &["backbone", "list", "--json"]).trim(),
        "[]"
    );
}

/// Adds a task of the name with these keys and runs a round of it: how many of the test
/// rows its student gets right, and the bytes of all contributions of the first device.
fn reached(running: &mut Running, model: &str, name: &str, more: &str) -> (f64, u64) {
    let text = task(model, more).replace("name = \"seen\"", &format!("name = \"{name}\""));
    let path = file(running, "more.toml", text.as_bytes());
    asked(running, 0, &["task", "create", &path]);
    running.client.run_round(Some(name), |_| {}).unwrap();
    let path = test_rows(running);
    let arguments = ["predict", "--task", name, "--input", &path, "--json"];
    let mut found = Vec::new();
    look_until(
        || {
            let (code, out, _) = agent(running, 0, &arguments);
            let said: Value = serde_json::from_str(&out).unwrap_or_default();
            if code == Some(0) {
                found = said["rows"].as_array().unwrap().iter().map(class).collect();
            }
            !found.is_empty()
        },
        || format!("no student of {name} came"),
    );
    let shown = asked(running, 0, &["task", "show", name, "--json"]);
    let shown: Value = serde_json::from_str(shown.lines().next().unwrap()).unwrap();
    let hash = shown["task"].as_str().unwrap();
    let (_, sent, _) = agent(running, 0, &["sent", "list", "--json"]);
    let sent: Vec<Value> = serde_json::from_str(&sent).unwrap();
    let own = sent.iter().filter(|one| one["task"] == hash);
    let bytes = own.map(|one| one["bytes"].as_u64().unwrap()).sum();
    (accuracy(&found, &running.data.test.labels), bytes)
}

#[test]
fn learnt_directions_beat_drawn_ones_of_as_many_bytes() {
    let mut running = three_agents();
    let path = file(&running, "tiny.onnx", &backbone(64));
    let added = asked(&running, 0, &["backbone", "add", &path, "--json"]);
    let added: Value = serde_json::from_str(added.lines().next().unwrap()).unwrap();
    let model = added["model"].as_str().unwrap().to_owned();
    let learning = "directions = 8\nlearn_directions = true";
    let (learnt, bytes) = reached(&mut running, &model, "learnt", learning);
    let drawing = "directions = 12\n[normaliser]\nquantiles = false";
    let (drawn, drawn_bytes) = reached(&mut running, &model, "drawn", drawing);
    println!("{learnt} {bytes} {drawn} {drawn_bytes}");
    assert!(
        bytes <= drawn_bytes,
        "{bytes} of learnt, {drawn_bytes} of drawn"
    );
    assert!(
        learnt > drawn + 0.05,
        "{learnt} of learnt, {drawn} of drawn"
    );

    // Releases carry the directions, so a stream is answered as a table is.
    let shown = asked(&running, 0, &["task", "show", "learnt", "--json"]);
    let shown: Value = serde_json::from_str(shown.lines().next().unwrap()).unwrap();
    assert_eq!(shown["definition"]["learns_directions"], true);
}

/// The classes of the first test rows as a stream.
fn streamed(running: &Running, index: usize, rows: usize) -> Vec<u16> {
    look_until(
        || {
            agent(running, index, &["student", "list"])
                .1
                .contains("seen")
        },
        || "no student came".to_owned(),
    );
    let state = running.fleet.agent_home(index).join("state");
    let mut child = Command::new(program("alambic-agent").unwrap())
        .arg("--state")
        .arg(state)
        .args(["predict", "--task", "seen", "--follow", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut text: String = (0..64).map(|at| format!("v{at},")).collect();
    for row in running.data.test.inputs.rows().into_iter().take(rows) {
        text = text.trim_end_matches(',').to_owned() + "\n";
        text.extend(row.iter().map(|value| format!("{value},")));
    }
    let text = text.trim_end_matches(',').to_owned() + "\n";
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let rows = said.lines().map(|line| serde_json::from_str(line).unwrap());
    rows.map(|row: Value| class(&row)).collect()
}

/// The same by the agent's socket.
fn over_socket(running: &Running, index: usize, rows: usize) -> Vec<u16> {
    let state = running.fleet.agent_home(index).join("state");
    let socket = state.join("predict.sock");
    let inputs = running.data.test.inputs.rows().into_iter().take(rows);
    let inputs: Vec<Vec<f32>> = inputs.map(|row| row.to_vec()).collect();
    let body = json!({ "inputs": inputs, "task": "seen" }).to_string();
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(
        stream,
        "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let (_, json) = said.split_once("\r\n\r\n").unwrap();
    let said: Value = serde_json::from_str(json).unwrap_or_else(|_| panic!("{said}"));
    said["rows"]
        .as_array()
        .unwrap_or_else(|| panic!("{said}"))
        .iter()
        .map(class)
        .collect()
}

#[test]
fn a_damaged_model_on_a_device_is_fetched_again() {
    let mut running = three_agents();
    let bytes = backbone(64);
    let model = shared(&mut running, &bytes);
    let small = "[policy]\nmodel_bytes_max = 10\n";
    let _refusing = configured(&mut running, 2, small);
    wait_connected(&mut running.client, 3);
    round(&mut running);
    let kept = kept_model(&running, 0, &model);
    let rows = running.fleet.agent_home(0).join("state");
    let is_rows = |name: &str| name.starts_with("backbone-rows-");
    let files = fs::read_dir(&rows).unwrap();
    let names = files.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let seen: Vec<String> = names.filter(|name| is_rows(name)).collect();
    assert_eq!(seen.len(), 1, "what the model made of rows is kept once");
    fs::write(&kept, &bytes[..bytes.len() / 2]).unwrap();
    let path = test_rows(&running);
    let arguments = ["predict", "--task", "seen", "--input", &path];
    let (code, _, err) = agent(&running, 0, &arguments);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains("is not at hand") && err.contains("alambic-agent run"),
        "{err}"
    );
    round(&mut running);
    look_until(
        || fs::read(&kept).is_ok_and(|found| found == bytes),
        || "the model did not come again".to_owned(),
    );
    assert!(predicted(&running, 0, &path).is_some());
}

#[test]
fn a_task_is_created_only_with_a_model_that_runs() {
    let running = three_agents();
    let whole = backbone(64);
    let strange = Tiny::of(&[None, Some(64)]).node("Frobnicate", &["x"], "y");
    for (name, bytes, told) in [
        (
            "half.onnx",
            whole[..whole.len() / 2].to_vec(),
            "is no ONNX model",
        ),
        (
            "strange.onnx",
            strange.bytes(&["y"]),
            "no implementation of Frobnicate",
        ),
    ] {
        let path = file(&running, name, &bytes);
        let said = asked(&running, 2, &["backbone", "add", &path]);
        assert!(said.contains(told), "{told} in {said}");
    }
    assert_eq!(
        asked(&running, 0, &["backbone", "list", "--json"]).trim(),
        "[]"
    );
    let add = |name: &str, bytes: &[u8]| {
        let path = file(&running, name, bytes);
        let said = asked(&running, 0, &["backbone", "add", &path, "--json"]);
        let said: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
        said["model"].as_str().unwrap().to_owned()
    };
    let (good, narrow) = (add("good.onnx", &whole), add("narrow.onnx", &backbone(60)));
    let absent = "ab".repeat(32);
    for (model, more, told) in [
        (&absent, "", "backbone add"),
        (&narrow, "", "takes 60 values, and a row has 64"),
        (&good, "width = 47", "features.width is 47, allowed is 48"),
        (&good, "layout = \"hwc\"", "nchw or nhwc"),
        (&good, "output = \"none\"", "no output or node"),
        (&good, "directions = 49", "features.directions"),
    ] {
        let text = file(&running, "task.toml", task(model, more).as_bytes());
        let said = asked(&running, 2, &["task", "create", &text]);
        assert!(said.contains(told), "{told} in {said}");
    }
    let text = file(
        &running,
        "task.toml",
        task(&good, "directions = 8").as_bytes(),
    );
    asked(&running, 0, &["task", "create", &text]);
    let shown = asked(&running, 0, &["task", "show", "seen", "--json"]);
    let shown: Value = serde_json::from_str(shown.lines().next().unwrap()).unwrap();
    assert_eq!(shown["definition"]["backbone"]["width"], WIDTH);
    assert!(Path::new(&text).exists());
}
