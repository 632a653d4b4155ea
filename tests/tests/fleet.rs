//! The real binaries as processes over loopback QUIC.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::sync::mpsc;
use std::thread;

use common::round::{Kind, Phase};
use coordinator::admin::Client;
use coordinator::status::{OutcomeStatus, Progress as Step};
use lab::metrics::accuracy;
use serde_json::Value;
use tests::rig::{Terms, agent, look_until, start, three_agents, wait_until_ended};

fn completed(client: &mut Client, round: usize) -> bool {
    let status = client.status().unwrap();
    let ended = status.tasks[0].history.get(round - 1);
    ended.is_some_and(|ended| matches!(ended.outcome, OutcomeStatus::Completed { .. }))
}

#[test]
fn three_agents_distil_a_student_install_it_and_predict() {
    let mut running = three_agents();
    let task = running.task.clone();
    running.client.run_round(Some(&task), |_| {}).unwrap();
    assert!(completed(&mut running.client, 1));

    let status = running.client.status().unwrap();
    let ended = &status.tasks[0].history[0];
    for kind in Kind::ALL {
        // Nothing is refined here.
        let expected = (kind != Kind::Gradient).then_some(&3);
        assert_eq!(ended.accepted.get(&kind), expected, "{kind}");
    }
    assert!(ended.phase_ms.contains_key(&Phase::Distil));
    assert_eq!(status.tasks[0].releases[0].lineage, 3);
    assert!(
        status
            .devices
            .iter()
            .all(|device| device.uplink_bytes > 1_000)
    );

    let test = running.fleet.folder().join("test.npz");
    let data = &running.data;
    let shape = vec![data.test.len(), 8, 8];
    let values = common::npz::Values::F32(data.test.inputs.iter().copied().collect());
    let inputs = common::npz::Array::new(shape, values).unwrap();
    std::fs::write(&test, common::npz::write(&[("X", &inputs)]).unwrap()).unwrap();
    let path = test.display().to_string();
    let (code, out, err) = agent(&running, 0, &["predict", "--input", &path, "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let said: Value = serde_json::from_str(&out).unwrap();
    let classes: Vec<u16> = find_classes(&said);
    let right = accuracy(&classes, &data.test.labels);
    assert!(right > 0.9, "{right}");

    let (code, out, _) = agent(&running, 1, &["status", "--json"]);
    assert_eq!(code, Some(0));
    serde_json::from_str::<Value>(&out).unwrap();
    let (code, out, _) = agent(&running, 2, &["sent", "list"]);
    assert_eq!(code, Some(0));
    for kind in ["profile", "summary", "labels", "moments"] {
        assert!(
            out.contains(kind),
            "{kind} left the device and is listed: {out}"
        );
    }
}

/// The class index of each prediction, wherever the answer keeps its rows.
fn find_classes(said: &Value) -> Vec<u16> {
    let rows = said
        .as_array()
        .or_else(|| said.get("predictions").and_then(Value::as_array));
    let rows = rows
        .or_else(|| said.get("rows").and_then(Value::as_array))
        .unwrap();
    rows.iter()
        .map(|row| {
            let class = row.get("class").unwrap();
            let name = class
                .as_str()
                .map(|name| name.trim_start_matches("class-").to_owned());
            name.unwrap_or_else(|| class.to_string()).parse().unwrap()
        })
        .collect()
}

#[test]
fn a_budget_is_planned_from_the_devices_that_came() {
    let mut running = start(Terms {
        auto_budget: true,
        ..Terms::default()
    });
    let task = running.task.clone();
    assert_eq!(running.client.status().unwrap().tasks[0].budget, None);
    running.client.run_round(Some(&task), |_| {}).unwrap();
    assert!(completed(&mut running.client, 1));
    let status = running.client.status().unwrap();
    let planned = status.tasks[0].budget.clone().unwrap();
    let rows: u64 = { running.data.train.labels.len() as u64 };
    assert_eq!(planned.devices, 3);
    assert!(
        planned.rows > rows / 2 && planned.rows <= rows,
        "{planned:?}"
    );
    // The devices followed it: what they sent fits, and the next round's plan is the same.
    let points = u64::from(planned.plan.points_max);
    assert!(points >= 3 * u64::from(planned.plan.points_per_device));
    assert_ne!(
        planned.plan.points_per_device, 15,
        "what the rig says elsewhere"
    );
    running.fleet.crash_coordinator().unwrap();
    let mut client = running.fleet.client().unwrap();
    assert_eq!(client.status().unwrap().tasks[0].budget, Some(planned));
}

#[test]
fn devices_refine_a_student_and_say_when_to_stop() {
    let mut running = start(Terms {
        refinement_steps: 2,
        ..Terms::default()
    });
    let task = running.task.clone();
    running.client.run_round(Some(&task), |_| {}).unwrap();
    wait_until_ended(&running.fleet, 2);
    let status = running.client.status().unwrap();
    let task = &status.tasks[0];
    assert_eq!(task.history[0].accepted.get(&Kind::Gradient), Some(&3));
    let refined = &task.history[1];
    // A step that held-out rows do not gain by is taken back, under a version of its own.
    assert!(matches!(
        refined.outcome,
        OutcomeStatus::Completed { version } if [2, 3].contains(&version.number)
    ));
    // It was judged against the first, on the same rows.
    let report = refined.report.unwrap();
    assert!(
        report.devices > 0 && report.previous.is_some(),
        "{report:?}"
    );
}

#[test]
fn an_agent_answers_the_stream_of_its_configuration() {
    let mut running = three_agents();
    let task = running.task.clone();
    running.fleet.kill_agent(0).unwrap();
    let state = running.fleet.agent_home(0).join("state");
    let (live, answers) = (state.join("live.csv"), state.join("predictions.jsonl"));
    let header: Vec<String> = (0..64).map(|value| format!("v{value}")).collect();
    let row = |at: usize| {
        let row = running.data.test.inputs.row(at);
        let row: Vec<String> = row.iter().map(f32::to_string).collect();
        format!("{}\n", row.join(","))
    };
    // What was there before the agent is not answered.
    std::fs::write(&live, format!("{}\n{}", header.join(","), row(0))).unwrap();
    let config = state.join("agent.toml");
    std::fs::write(&config, "[predictions]\nfollow = \"live.csv\"\n").unwrap();
    let mut child = std::process::Command::new(lab::demo::program("alambic-agent").unwrap())
        .args(["run", "--config"])
        .arg(&config)
        .arg("--state")
        .arg(&state)
        .spawn()
        .unwrap();
    running.client.run_round(Some(&task), |_| {}).unwrap();
    assert!(completed(&mut running.client, 1));
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&live)
        .unwrap();
    let read = || std::fs::read_to_string(&answers).unwrap_or_default();
    let sent = std::cell::Cell::new(1);
    // The agent looks for its student every few seconds, and goes on from there.
    look_until(
        || {
            file.write_all(row(sent.get()).as_bytes()).unwrap();
            sent.set(sent.get() + 1);
            read().lines().count() >= 3
        },
        || format!("{} rows were written, and answered: {}", sent.get(), read()),
    );
    let answered = read();
    for line in answered.lines() {
        let said: Value = serde_json::from_str(line).unwrap();
        assert!(said["class"].is_string(), "{line}");
        let classes = said["classes"].as_object().map(serde_json::Map::len);
        assert_eq!(classes, Some(10), "{line}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_coordinator_finishes_its_round() {
    let mut running = three_agents();
    let (send, seen) = mpsc::channel();
    let mut watcher = running.fleet.client().unwrap();
    let task = running.task.clone();
    let watching = thread::spawn(move || {
        // Ends when the coordinator is killed.
        let _ = watcher.run_round(Some(&task), |step| {
            let _ = send.send(step.clone());
        });
    });
    let first = seen.iter().find(|step| {
        matches!(
            step,
            Step::Accepted {
                kind: Kind::Labels | Kind::Moments,
                ..
            }
        )
    });
    assert!(first.is_some(), "the contribute phase was reached");
    running.fleet.crash_coordinator().unwrap();
    watching.join().unwrap();

    let mut client = running.fleet.client().unwrap();
    wait_until_ended(&running.fleet, 1);
    assert!(
        completed(&mut client, 1),
        "{:?}",
        client.status().unwrap().tasks[0].history
    );
    let status = client.status().unwrap();
    let ended = &status.tasks[0].history[0];
    assert_eq!(ended.accepted.get(&Kind::Labels), Some(&3));
    assert_eq!(ended.accepted.get(&Kind::Moments), Some(&3));
    for index in 0..3 {
        let (_, out, _) = agent(&running, index, &["sent", "list"]);
        let lines = |kind: &str| out.lines().filter(|line| line.contains(kind)).count();
        for kind in ["profile", "summary", "labels", "moments"] {
            assert_eq!(
                lines(kind),
                1,
                "{kind} of device {index} was made once: {out}"
            );
        }
    }
}

#[test]
fn a_killed_agents_work_counts_once() {
    let mut running = three_agents();
    let (send, seen) = mpsc::channel();
    let mut watcher = running.fleet.client().unwrap();
    let task = running.task.clone();
    let watching = thread::spawn(move || {
        watcher.run_round(Some(&task), |step| {
            let _ = send.send(step.clone());
        })
    });
    assert!(
        seen.iter()
            .any(|step| matches!(step, Step::Accepted { .. }))
    );
    running.fleet.crash_agent(1).unwrap();
    watching.join().unwrap().unwrap();
    assert!(completed(&mut running.client, 1));
    let status = running.client.status().unwrap();
    assert_eq!(
        status.tasks[0].history[0].accepted.get(&Kind::Moments),
        Some(&3)
    );
}
