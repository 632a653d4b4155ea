//! A standing task with real processes: of twenty agents at most three are awake
//! at any moment, and only until the coordinator has what they brought.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use common::ids::TaskHash;
use common::model::Release;
use common::round::Kind;
use common::trust::release::SignedRelease;
use coordinator::admin::Client;
use coordinator::status::{OutcomeStatus, Progress as Step};
use lab::data::Partition;
use lab::metrics::accuracy;
use rand::seq::SliceRandom as _;
use serde_json::Value;
use tests::rig::{self, Running, Terms, agent, look_until, operator, task_text};

const AGENTS: usize = 20;
/// Agents that run at a time.
const AWAKE_MAX: usize = 3;
/// How far the student may be from the one of a synchronous round of the same
/// fleet, as a share of the 359 test rows.
const DISTANCE_MAX: f64 = 0.03;

fn terms() -> Terms {
    Terms {
        agents: AGENTS,
        // A device describes only classes of which it has some twenty rows.
        partition: Partition::Shards(2),
        budget: [120, 6, 8, 40],
        contribute: "points",
        ..Terms::default()
    }
}

#[test]
fn devices_that_are_never_awake_together_get_a_student() {
    let mut running = rig::start(terms());
    let at_once = running.task.clone();
    running.client.run_round(Some(&at_once), |_| {}).unwrap();
    let ended = running.client.status().unwrap().tasks[0].history[0].clone();
    assert!(
        matches!(ended.outcome, OutcomeStatus::Completed { .. }),
        "{ended:?}"
    );
    let synchronous = right(&mut running, &at_once);
    let devices = indices(&mut running);
    for index in 0..AGENTS {
        running.fleet.stop_agent(index).unwrap();
    }
    let (code, out, err) = operator(&running, &["task", "archive", &at_once]);
    assert_eq!(code, Some(0), "{out}{err}");

    let mut watcher = running.fleet.client().unwrap();
    watcher.set_patience(PATIENCE).unwrap();
    watcher.watch().unwrap();
    let task = running.client.create_task(&standing(&running)).unwrap();
    let (visits, students) = days(&mut running, &mut watcher, task.task, &devices);
    let kinds = |kind: Kind| {
        visits
            .iter()
            .filter(|(_, brought)| *brought == kind)
            .count()
    };
    assert!(kinds(Kind::Profile) >= DEVICES_MIN, "{visits:?}");
    let brought: BTreeSet<usize> = { visits.iter() }
        .filter(|(_, kind)| *kind == Kind::Summary)
        .map(|(index, _)| *index)
        .collect();
    assert_eq!(brought.len(), AGENTS, "every device contributed");
    assert_eq!(students.last(), Some(&AGENTS), "the last student is of all");
    let standing = right(&mut running, &task.name);
    assert!(
        (standing - synchronous).abs() <= DISTANCE_MAX,
        "{standing} of a standing task, {synchronous} of one round"
    );
    println!(
        "{AGENTS} agents, {AWAKE_MAX} awake: {} visits, students of {students:?} devices; \
         {:.2} % right, {:.2} % after one round of all at once",
        visits.len(),
        100.0 * standing,
        100.0 * synchronous
    );
    gets_the_student(&mut running, &task.name);
}

/// The same task, for devices that sleep.
fn standing(running: &Running) -> String {
    let text = task_text(&terms(), &running.data);
    let (before, _) = text.split_once("[rounds]").unwrap();
    let before = before.replace("name = \"digits\"", "name = \"asleep\"");
    format!(
        "{before}[rounds]\nmode = \"standing\"\ndevices_min = {DEVICES_MIN}\ngrace_s = 0.1\n\
         rows_new = 400\ninterval_s = 2.0\n"
    )
}

/// Lets devices wake, in an order drawn from a seed, until a student is of all of
/// them: what each visit brought, and of how many devices the students are.
fn days(
    running: &mut Running,
    watcher: &mut Client,
    task: TaskHash,
    devices: &BTreeMap<String, usize>,
) -> (Vec<(usize, Kind)>, Vec<usize>) {
    let mut order: Vec<usize> = (0..AGENTS).collect();
    order.shuffle(&mut common::math::random::rng(1, "wake"));
    let mut asleep: VecDeque<usize> = order.into();
    let mut awake = BTreeSet::new();
    let (mut visits, mut students) = (Vec::new(), Vec::new());
    while students.last() != Some(&AGENTS) {
        while awake.len() < AWAKE_MAX
            && let Some(index) = asleep.pop_front()
        {
            running.fleet.start_agent(index).unwrap();
            awake.insert(index);
        }
        match watcher.next_progress().unwrap() {
            Step::Accepted {
                task: of,
                device,
                kind,
                ..
            } if of == task => {
                let index = devices[&device.label];
                visits.push((index, kind));
                if awake.remove(&index) {
                    running.fleet.stop_agent(index).unwrap();
                }
                // Points that are still to come need another visit, unless they came
                // in what was left of this one.
                match kind {
                    Kind::Profile => asleep.push_back(index),
                    _ => asleep.retain(|other| *other != index),
                }
            }
            Step::RoundOpened { task: of, .. } if of == task => {
                students.extend(newest_is_of(running, task));
            }
            Step::Withheld { text, .. } => panic!("a device withholds: {text}"),
            _ => {}
        }
    }
    (visits, students)
}

/// Of how many devices the newest student is; none where there is no student yet.
fn newest_is_of(running: &mut Running, task: TaskHash) -> Option<usize> {
    let status = running.client.status().unwrap();
    let found = status.tasks.iter().find(|one| one.task == task).unwrap();
    let ended = found.history.last()?;
    assert!(
        matches!(ended.outcome, OutcomeStatus::Completed { .. }),
        "{ended:?}"
    );
    let standing = found.round.as_ref()?.standing.as_ref()?;
    Some(standing.devices - standing.devices_new)
}

/// A device that wakes once more installs the newest student.
fn gets_the_student(running: &mut Running, task: &str) {
    let (newest, _) = running.client.release(Some(task), None).unwrap();
    running.fleet.start_agent(0).unwrap();
    let newest = newest.to_string();
    look_until(
        || {
            let (_, out, _) = agent(running, 0, &["student", "current", "--json"]);
            let said: Value = serde_json::from_str(&out).unwrap_or_default();
            let all = said.as_array().cloned().unwrap_or_default();
            all.iter()
                .any(|one| one["name"] == task && one["version"] == newest.as_str())
        },
        || agent(running, 0, &["student", "current", "--json"]).1,
    );
}

/// The number of each device's agent, by the name that the coordinator has for it.
fn indices(running: &mut Running) -> BTreeMap<String, usize> {
    let devices = running.client.status().unwrap().devices;
    let label = |device: &coordinator::status::DeviceStatus| {
        let number = device.label.strip_prefix("device-").unwrap().parse();
        (device.label.clone(), number.unwrap())
    };
    devices.iter().map(label).collect()
}

/// The share of the test rows that a task's newest student has right.
fn right(running: &mut Running, task: &str) -> f64 {
    let (_, bytes) = running.client.release(Some(task), None).unwrap();
    let key = running.fleet.release_key().unwrap();
    let signed = SignedRelease::from_bytes(&bytes).unwrap();
    let release = Release::from_bytes(signed.verify(&[key]).unwrap()).unwrap();
    let test = &running.data.test;
    accuracy(&release.predict(test.inputs.view()).unwrap(), &test.labels)
}

const DEVICES_MIN: usize = 4;
/// What is waited for must have happened by then.
const PATIENCE: Duration = Duration::from_secs(60);
