//! Real programs on state directories that the disk has damaged: each file of
//! coordinator and agent in turn is torn or has a bit changed. Either nothing
//! that counts is other than before, or the program names the file and says
//! what to do; and it never serves as if nothing were.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use coordinator::status::{OutcomeStatus, Progress as Step};
use lab::demo::DemoError;
use tests::rig::{Running, Terms, agent, look_until, operator, start};

/// What the disk does to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// The second half is gone.
    Torn,
    /// One bit is another, at this many hundredths of its length.
    Bit(usize),
}

static ALL: [Damage; 3] = [Damage::Torn, Damage::Bit(30), Damage::Bit(70)];

impl Damage {
    fn strike(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Torn => bytes.truncate(bytes.len() / 2),
            Self::Bit(hundredths) => {
                let at = bytes.len() * hundredths / 100;
                bytes[at] ^= 1 << (at % 7);
            }
        }
        fs::write(path, bytes).unwrap();
    }
}

/// A fleet that has had a round, and whose programs are down.
fn after_a_round(agents: usize) -> Running {
    let mut running = start(Terms {
        agents,
        // A device that abstains is not one of the quorum.
        quorum: 0.5,
        grace_s: 1.0,
        ..Terms::default()
    });
    completes(&mut running);
    for index in 0..agents {
        running.fleet.kill_agent(index).unwrap();
    }
    running
}

fn completes(running: &mut Running) {
    let task = running.task.clone();
    let ended = running.client.run_round(Some(&task), |_| {}).unwrap();
    let Step::Ended { outcome, .. } = ended else {
        panic!("not an end")
    };
    assert!(
        matches!(outcome, OutcomeStatus::Completed { .. }),
        "{outcome:?}"
    );
}

/// Every regular file below a folder that holds something, by its path there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && entry.metadata().unwrap().len() > 0 {
                found.push(entry.path().strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// A copy of a state directory, to begin again from.
struct Pristine {
    of: PathBuf,
    copy: tempfile::TempDir,
}

impl Pristine {
    fn take(of: PathBuf) -> Self {
        let copy = tempfile::tempdir().unwrap();
        copy_files(&of, copy.path());
        Self { of, copy }
    }

    fn restore(&self) {
        fs::remove_dir_all(&self.of).unwrap();
        copy_files(self.copy.path(), &self.of);
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy_files(&path, &target);
        } else if kind.is_file() {
            fs::copy(&path, &target).unwrap();
        }
    }
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
}

/// The position where the log goes on, as `audit verify` finds it.
fn log_end(running: &Running) -> u64 {
    let (code, out, err) = operator(running, &["audit", "verify", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let said: serde_json::Value = serde_json::from_str(&out).unwrap();
    said["next"].as_u64().unwrap()
}

#[test]
#[ignore = "a minute or two of starts and ends; run by hand"]
fn a_coordinator_on_damaged_files_names_them_or_mends_them() {
    let mut running = after_a_round(1);
    let before = log_end(&running);
    running.fleet.kill_coordinator().unwrap();
    let state = running.fleet.folder().join("coordinator");
    let log = PathBuf::from(running.fleet.coordinator_log());
    let pristine = Pristine::take(state.clone());
    let (mut refused, mut served) = (0, 0);
    for file in files(&state) {
        // What a person writes may be anything; a lock file holds nothing, and
        // whom to remind after a crash is a hint.
        let mute = ["coordinator.toml", "lock", "sessions"];
        if mute.iter().any(|name| file.ends_with(name)) {
            continue;
        }
        let is_blob = file.starts_with("store/blobs");
        let damages = if is_blob { &ALL[1..2] } else { &ALL[..] };
        for &damage in damages {
            pristine.restore();
            damage.strike(&state.join(&file));
            let from = fs::metadata(&log).unwrap().len() as usize;
            let told = || String::from_utf8_lossy(&fs::read(&log).unwrap()[from..]).into_owned();
            match running.fleet.start_coordinator() {
                Err(DemoError::Fleet(_)) => {
                    refused += 1;
                    is_named_with_a_way_out(&file, damage, &told());
                }
                Err(other) => panic!("{file:?} {damage:?}: {other}"),
                Ok(()) => {
                    served += 1;
                    if !file.starts_with("store/log") {
                        wait_until_named(&file, damage, &told);
                    }
                    // A start writes nothing to the log: all of it is there.
                    assert_eq!(log_end(&running), before, "{file:?} {damage:?}");
                    let (code, _, err) = agent(&running, 0, &["pull"]);
                    assert_eq!(code, Some(0), "{file:?} {damage:?}: {err}");
                    running.fleet.kill_coordinator().unwrap();
                }
            }
        }
    }
    println!("coordinator: {refused} refused to start and said why, {served} served and said so");
    pristine.restore();
    running.fleet.start_coordinator().unwrap();
    running.client = running.fleet.client().unwrap();
    running.fleet.start_agent(0).unwrap();
    completes(&mut running);
}

/// The name by which a file is spoken of: those of the database by its folder,
/// a student by that of its task.
fn spoken_of(file: &Path) -> String {
    let is_student = file.extension().is_some_and(|ending| ending == "student");
    let named = match file.parent() {
        Some(folder) if is_student => folder,
        _ => file,
    };
    match file.starts_with("store/log") {
        true => "store".to_owned(),
        false => named.file_name().unwrap().to_string_lossy().into_owned(),
    }
}

fn is_named_with_a_way_out(file: &Path, damage: Damage, told: &str) {
    assert!(
        told.contains(&spoken_of(file)),
        "{file:?} {damage:?} is not named: {told}"
    );
    let ways_out = ["restore", "create the file", "what to do:"];
    assert!(
        ways_out.iter().any(|way| told.contains(way)),
        "{file:?} {damage:?}, and what now? {told}"
    );
    assert!(
        !told.contains("panicked"),
        "{file:?} {damage:?} is a panic: {told}"
    );
}

/// Blobs are read one after the other once the coordinator serves.
fn wait_until_named(file: &Path, damage: Damage, told: &dyn Fn() -> String) {
    let name = spoken_of(file);
    look_until(
        || told().contains(&name),
        || format!("{file:?} {damage:?} is not named: {}", told()),
    );
}

#[test]
#[ignore = "a minute or two of starts and ends; run by hand"]
fn an_agent_on_damaged_files_names_them_or_mends_them() {
    damage_agent(&ALL[1..2]);
}

/// `cargo test --release -p tests --test damage -- --ignored`
#[test]
#[ignore = "the long form: a round for each of three damages of each file"]
fn an_agent_survives_every_damage_of_its_files() {
    damage_agent(&ALL);
}

fn damage_agent(damages: &[Damage]) {
    let mut running = after_a_round(2);
    running.fleet.start_agent(1).unwrap();
    let home = running.fleet.agent_home(0);
    let state = home.join("state");
    let pristine = Pristine::take(state.clone());
    let (mut refused, mut served) = (0, 0);
    for file in files(&state) {
        // Nobody asks for these before they are read again, and then they are
        // held against their names.
        let is_copy = file.starts_with("cache")
            || file.starts_with("ledger/payloads")
            || file.ends_with("current.copy");
        // Locks hold nothing; the status is written anew at the start.
        let is_nothing = file.extension().is_some_and(|ending| ending == "lock")
            || file.ends_with("lock")
            || file.ends_with("status.json");
        if is_nothing || (is_copy && damages.len() == 1) {
            continue;
        }
        for &damage in damages {
            pristine.restore();
            damage.strike(&state.join(&file));
            let log = home.join("agent.log");
            let from = fs::metadata(&log).unwrap().len() as usize;
            running.fleet.start_agent(0).unwrap();
            let told = || String::from_utf8_lossy(&fs::read(&log).unwrap()[from..]).into_owned();
            if !comes_up(&mut running, 0) {
                refused += 1;
                is_named_with_a_way_out(&file, damage, &told());
                continue;
            }
            served += 1;
            completes(&mut running);
            if !is_copy {
                wait_until_named(&file, damage, &told);
            }
            let rows = home.join("data").join("rows.npz").display().to_string();
            let predict = ["predict", "--input", &rows, "--json"];
            let (code, _, err) = agent(&running, 0, &predict);
            if code != Some(0) {
                is_named_with_a_way_out(&file, damage, &err);
            }
            assert!(!told().contains("panicked"), "{file:?}: {}", told());
            running.fleet.kill_agent(0).unwrap();
        }
    }
    println!("agent: {refused} refused to start and said why, {served} served and said so");
    pristine.restore();
    running.fleet.start_agent(0).unwrap();
    completes(&mut running);
}

/// Waits until a device is connected, or its process has ended.
fn comes_up(running: &mut Running, index: usize) -> bool {
    let label = format!("device-{index:02}");
    let (fleet, client) = (&mut running.fleet, &mut running.client);
    let mut is_up = false;
    look_until(
        || {
            let status = client.status().unwrap();
            let device = status.devices.iter().find(|device| device.label == label);
            is_up = device.is_some_and(|device| device.connected);
            is_up || fleet.agent_has_ended(index)
        },
        || "neither up nor ended".to_owned(),
    );
    is_up
}

#[test]
fn a_damaged_transfer_set_is_learnt_anew() {
    let mut running = start(Terms {
        agents: 3,
        quorum: 0.5,
        grace_s: 1.0,
        ..Terms::default()
    });
    completes(&mut running);
    let state = running.fleet.folder().join("coordinator");
    let strikes: [&dyn Fn(&Path); 2] = [&|file| Damage::Bit(60).strike(file), &|file| {
        fs::remove_file(file).unwrap();
    }];
    for strike in strikes {
        let before = running.client.status().unwrap();
        let set = before.tasks[0].transfer.unwrap().to_string();
        let of_it = |file: &PathBuf| file.file_name().unwrap().to_string_lossy() == set[..];
        let file = files(&state).into_iter().find(of_it).unwrap();
        strike(&state.join(file));
        // The round that finds it may fail; none after it does.
        let task = running.task.clone();
        running.client.run_round(Some(&task), |_| {}).unwrap();
        look_until(
            || running.client.status().unwrap().tasks[0].transfer.is_none(),
            || "the damaged transfer set is still the one that counts".to_owned(),
        );
        completes(&mut running);
        let after = running.client.status().unwrap();
        assert!(after.devices.iter().all(|device| device.strikes == 0));
    }
}
