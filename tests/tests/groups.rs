//! A task for a group of devices, with real programs: only they hear of it, are
//! waited for and get its student.
#![allow(clippy::unwrap_used)]

use common::ids::TaskHash;
use coordinator::status::{OutcomeStatus, Status};
use lab::data::{Partition, partition};
use lab::progress::Progress;
use serde_json::Value;
use tests::rig::{Running, Terms, agent, look_until, operator, start, task_text, wait_until};

/// Lets two devices into a group, beside those that are in none.
fn two_more(running: &mut Running, group: &str) {
    let made = operator(
        running,
        &["token", "create", "--group", group, "--uses", "2", "--json"],
    );
    let made: Value = serde_json::from_str(&made.1).unwrap();
    let token = made["token"].as_str().unwrap().to_owned();
    let (data, mut quiet) = (&running.data, Progress::new(true));
    let parts = partition(&data.train, data.classes.len(), Partition::Iid, 4, 1).unwrap();
    let fleet = &mut running.fleet;
    fleet
        .add_agents(data, &parts[2..], &token, &mut quiet)
        .unwrap();
    fleet
        .wait_connected(&mut running.client, 4, &mut quiet)
        .unwrap();
}

/// What a device knows of itself: its students and their tasks.
fn known(running: &Running, index: usize) -> String {
    let (code, out, err) = agent(running, index, &["status", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    out
}

#[test]
fn a_groups_task_reaches_its_devices_alone() {
    let terms = Terms {
        agents: 2,
        ..Terms::default()
    };
    let mut running = start(terms.clone());
    two_more(&mut running, "pumps");
    let file = task_text(&terms, &running.data);
    let head = format!("name = {:?}", running.task);
    assert!(file.contains(&head), "{file}");
    let of = |name: &str, group: &str| {
        file.replacen(&head, &format!("name = {name:?}\ngroups = [{group:?}]"), 1)
    };

    // A slip of the pen is told, with the groups that there are.
    let folder = running.fleet.folder().join("slip.toml");
    std::fs::write(&folder, of("slip", "pump")).unwrap();
    let (code, _, err) = operator(&running, &["task", "create", folder.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("warning: no device is in pump"), "{err}");
    assert!(err.contains("the groups that there are: pumps"), "{err}");

    let made = running.client.create_task(&of("pumping", "pumps")).unwrap();
    assert_eq!(made.warning, None);
    running.client.start_round(Some("pumping"), false).unwrap();
    let of_task = |status: &Status, task: TaskHash| {
        let mut tasks = status.tasks.iter();
        tasks.find(|one| one.task == task).cloned().unwrap()
    };
    wait_until(
        &running.fleet,
        |status| !of_task(status, made.task).history.is_empty(),
        "the group's round did not end",
    );
    let status = running.client.status().unwrap();
    let task = of_task(&status, made.task);
    let ended = &task.history[0];
    assert!(
        matches!(ended.outcome, OutcomeStatus::Completed { .. }),
        "{ended:?}"
    );
    assert_eq!(task.releases[0].lineage, 2);
    assert_eq!(ended.absent, [], "nobody else was waited for");
    assert_eq!((status.members().0, status.members_of(&task)), (4, (2, 2)));

    let student = |running: &mut Running, label: &str| {
        let status = running.client.status().unwrap();
        let found = status.devices.iter().find(|one| one.label == label);
        let students = &found.unwrap().students;
        students.iter().any(|one| one.task == "pumping")
    };
    for label in ["device-02", "device-03"] {
        look_until(
            || student(&mut running, label),
            || format!("{label} has no student"),
        );
    }
    for label in ["device-00", "device-01"] {
        assert!(!student(&mut running, label), "{label} is no pump");
    }

    // The lists say whose it is.
    let (_, listed, _) = operator(&running, &["task", "list", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let row = listed.as_array().unwrap().iter();
    let row = row.clone().find(|one| one["name"] == "pumping").unwrap();
    assert_eq!(row["groups"], serde_json::json!(["pumps"]));
    assert_eq!(row["devices"], 2);
    let (_, shown, _) = operator(&running, &["task", "show", "pumping"]);
    assert!(shown.contains("for pumps: 2 devices"), "{shown}");
    assert!(!known(&running, 0).contains(&made.task.to_string()));
    assert!(known(&running, 2).contains(&made.task.to_string()));
}
