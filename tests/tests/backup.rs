//! A backup of a running coordinator, and the fleet on what was restored of it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use common::round::Kind;
use coordinator::status::{OutcomeStatus, Progress as Step};
use lab::demo::program;
use serde_json::Value;
use tests::rig::{operator, three_agents, wait_until_ended};

#[test]
fn a_backup_in_mid_round_restores_a_working_fleet() {
    let mut running = three_agents();
    let task = running.task.clone();
    running.client.run_round(Some(&task), |_| {}).unwrap();
    let before = running.client.status().unwrap();

    // The second round asks for labels and moments; the backup is made as they
    // come.
    let (send, seen) = mpsc::channel();
    let mut watcher = running.fleet.client().unwrap();
    let of = task.clone();
    let watching = thread::spawn(move || {
        watcher.run_round(Some(&of), |step| {
            let _ = send.send(step.clone());
        })
    });
    let is_first = |step: &Step| matches!(step, Step::Accepted { .. });
    assert!(seen.iter().any(|step| is_first(&step)));
    let archive = running.fleet.folder().join("backup.tar");
    let path = archive.display().to_string();
    let (code, out, err) = operator(&running, &["backup", "--out", &path, "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let written: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        fs::metadata(&archive).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        written["bytes"].as_u64().unwrap(),
        fs::metadata(&archive).unwrap().len()
    );
    let (code, _, err) = operator(&running, &["backup", "--out", &path]);
    assert_eq!(code, Some(2), "{err}");
    watching.join().unwrap().unwrap();
    let lost = running.client.status().unwrap();
    let newest = lost.tasks[0].releases.last().unwrap().version;

    // Checked by a program that knows no state directory.
    let checked = Command::new(program("alambic-coordinator").unwrap())
        .args(["restore", "--verify", "--json", "--from", &path])
        .env_remove("ALAMBIC_STATE")
        .env_remove("ALAMBIC_CONFIG")
        .output()
        .unwrap();
    assert!(checked.status.success());
    let checked: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(checked["manifest"], written["manifest"]);

    // The machine is lost, and with it what came after the backup.
    running.fleet.kill_coordinator().unwrap();
    let state = running.fleet.folder().join("coordinator");
    let restore = ["restore", "--verify", "--json", "--from", &path];
    let (code, _, err) = operator(&running, &restore);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("is not empty"), "{err}");
    fs::remove_dir_all(&state).unwrap();
    let (code, out, err) = operator(&running, &restore);
    assert_eq!(code, Some(0), "{err}");
    let restored: Value = serde_json::from_str(&out).unwrap();
    assert!(restored["restored"]["epoch"].as_u64().unwrap() > u64::from(before.epoch));

    running.fleet.start_coordinator().unwrap();
    wait_until_ended(&running.fleet, 2);
    let mut client = running.fleet.client().unwrap();
    let status = client.status().unwrap();
    let ended = &status.tasks[0].history[1];
    assert!(
        matches!(ended.outcome, OutcomeStatus::Completed { .. }),
        "{:?}",
        ended.outcome
    );
    assert!(ended.accepted.values().all(|count| *count <= 3));
    assert_eq!(ended.accepted.get(&Kind::Moments), Some(&3));
    let released = status.tasks[0].releases.last().unwrap().version;
    assert!(released > newest, "{released} is above {newest}");
    assert_eq!(status.devices.len(), 3);
}

#[test]
fn an_idle_store_is_backed_up_and_damage_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (state, archive) = (path("state"), path("backup.tar"));
    let run = |arguments: &[&str]| {
        let output = Command::new(program("alambic-coordinator").unwrap())
            .args(arguments)
            .env_remove("ALAMBIC_STATE")
            .env_remove("ALAMBIC_CONFIG")
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), err)
    };
    let backup = ["backup", "--state", &state, "--out", &archive];
    assert_eq!(run(&backup).0, Some(3), "there is neither server nor store");
    assert_eq!(run(&["init", "--state", &state]).0, Some(0));
    coordinator::store::SledStore::open(format!("{state}/store")).unwrap();
    assert_eq!(run(&backup), (Some(0), String::new()));

    let (other, cut) = (path("other"), path("cut.tar"));
    let whole = fs::read(&archive).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let (code, err) = run(&["restore", "--from", &cut, "--state", &other]);
    assert_eq!(code, Some(7), "{err}");
    assert!(err.contains("is cut off"), "{err}");
    assert!(!folder.path().join("other").exists());
    let missing = path("missing.tar");
    assert_eq!(run(&["restore", "--from", &missing, "--verify"]).0, Some(5));
    let (code, err) = run(&["restore", "--from", &archive, "--state", &other, "--verify"]);
    assert_eq!(code, Some(0), "{err}");
}
