//! The state of every earlier minor version is opened and goes on.
//!
//! `tests/state/VERSION.tar.gz` was made by `scripts/make-state.sh` with that
//! version's programs: a coordinator and two agents after two rounds, and what
//! one of them predicted.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::fixtures::{agent, archives, completed_round, coordinator, serve, unpack};

#[test]
fn states_of_every_earlier_minor_are_opened() {
    for archive in archives() {
        println!("{}", archive.display());
        let home = unpack(&archive);
        a_device_knows_what_it_knew(home.path());
        the_fleet_goes_on(home.path());
    }
}

/// Students, their answers and the record of what left are as they were.
fn a_device_knows_what_it_knew(home: &Path) {
    let told = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(home.join(name)).unwrap()).unwrap()
    };
    let says = |arguments: &[&str]| -> Value {
        let output = agent(home, 0).args(arguments).arg("--json").output();
        let output = output.unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {err}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let rows = home.join("new.csv").display().to_string();
    let (before, now) = (
        told("predictions.json"),
        says(&["predict", "--input", &rows]),
    );
    let (before, now) = (
        before["rows"].as_array().unwrap(),
        now["rows"].as_array().unwrap(),
    );
    assert_eq!(before.len(), now.len());
    for (before, now) in before.iter().zip(now) {
        assert_eq!(before["class"], now["class"]);
        let value = |row: &Value| row["probability"].as_f64().unwrap();
        assert!((value(before) - value(now)).abs() < 1e-5);
    }
    let named = |list: &Value, keys: &[&str]| -> Vec<Vec<Value>> {
        let pick = |row: &Value| keys.iter().map(|key| row[*key].clone()).collect();
        list.as_array().unwrap().iter().map(pick).collect()
    };
    let keys = ["task", "version", "current", "whole"];
    assert_eq!(
        named(&told("students.json"), &keys),
        named(&says(&["student", "list"]), &keys)
    );
    let keys = ["time", "round", "phase", "kind", "rows", "blob", "outcome"];
    assert_eq!(
        named(&told("sent.json"), &keys),
        named(&says(&["sent", "list"]), &keys)
    );
}

/// The log folds to the same fleet, and both devices take part in a round
/// whose student is above all before.
fn the_fleet_goes_on(home: &Path) {
    let (_server, mut client, address) = serve(home);
    let status = client.status().unwrap();
    let task = &status.tasks[0];
    assert_eq!((status.devices.len(), task.history.len()), (2, 2));
    let newest = task.releases.last().unwrap().version;
    let audit = coordinator(home).args(["audit", "verify"]).output();
    let audit = audit.unwrap();
    let err = String::from_utf8_lossy(&audit.stderr);
    assert!(audit.status.success(), "{err}");

    let (status, _agents) = completed_round(&mut client, address, |index| agent(home, index));
    assert!(status.tasks[0].releases.last().unwrap().version > newest);
}
