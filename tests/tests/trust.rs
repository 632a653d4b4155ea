//! A day in the life of a fleet, with the real binaries: devices join, one is
//! stolen, one was switched off for too long, a key is exchanged, and a bad
//! student is stopped before it does harm.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use common::ids::{BlobHash, TaskHash, Version};
use common::math::network::Network as _;
use common::model::Release;
use common::trust::keys::SigningKey;
use common::trust::release::SignedRelease;
use common::weights::RawWeights;
use coordinator::journal::LogEntry;
use coordinator::round::{Event, TaskEvent};
use coordinator::status::{DeviceStatus, Forgetting, Progress as Step, Standing, TaskStatus};
use coordinator::store::{SledStore, Store as _};
use serde_json::Value;
use tests::rig::{Running, agent, agents, operator};

const CONFIGURATION: &str = "
[certificate]
device_lifetime = \"40s\"
[rollout]
releases = \"held\"
soak = \"0s\"
";
const DEVICES: usize = 5;
const STOLEN: usize = 4;
const DRAWER: usize = 3;
const WAIT: Duration = Duration::from_secs(90);

/// Asks until the answer is yes.
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < WAIT, "{what} did not happen");
        std::thread::yield_now();
    }
}

fn device(running: &mut Running, index: usize) -> DeviceStatus {
    let label = format!("device-{index:02}");
    let devices = running.client.status().unwrap().devices;
    devices.into_iter().find(|one| one.label == label).unwrap()
}

fn task(running: &mut Running) -> TaskStatus {
    running.client.status().unwrap().tasks.remove(0)
}

fn good(said: (Option<i32>, String, String)) -> String {
    let (code, out, err) = said;
    assert_eq!(code, Some(0), "{out}{err}");
    out
}

/// The version that a device uses.
fn in_use(running: &Running, index: usize) -> Option<String> {
    let (_, out, _) = agent(running, index, &["student", "current", "--json"]);
    let said: Value = serde_json::from_str(&out).ok()?;
    Some(said.get(0)?.get("version")?.as_str()?.to_owned())
}

fn rollout_state(running: &mut Running) -> String {
    let out = good(operator(running, &["rollout", "status", "--json"]));
    let said: Value = serde_json::from_str(&out).unwrap();
    said[0]["rollout"]["state"]
        .as_str()
        .unwrap_or("none")
        .to_owned()
}

#[test]
fn a_day_in_the_life() {
    let mut running = agents(DEVICES, 2.0, Some(CONFIGURATION));
    let devices: Vec<_> = (0..DEVICES).map(|at| device(&mut running, at)).collect();

    // The token is used up: anyone who finds it gets nowhere.
    let address = running.client.status().unwrap().address.to_string();
    let thief = tempfile::tempdir().unwrap();
    let state = thief.path().join("state");
    let joined = std::process::Command::new(lab::demo::program("alambic-agent").unwrap())
        .arg("--state")
        .arg(&state)
        .args(["enrol", "--coordinator", &address])
        .env("ALAMBIC_TOKEN", &running.token)
        .output()
        .unwrap();
    assert_eq!(joined.status.code(), Some(4), "{joined:?}");

    // One device is stolen in mid-round: its session ends at once, and the
    // round goes on without it.
    let mut watcher = running.fleet.client().unwrap();
    let name = running.task.clone();
    let (send, seen) = std::sync::mpsc::channel();
    let round = std::thread::spawn(move || {
        watcher.run_round(Some(&name), |step| {
            let _ = send.send(step.clone());
        })
    });
    assert!(
        seen.iter()
            .any(|step| matches!(step, Step::Accepted { .. }))
    );
    let stolen = devices[STOLEN].device;
    let ordered = Instant::now();
    let revoke = [
        "device",
        "revoke",
        &stolen.to_string(),
        "--reason",
        "stolen",
    ];
    good(operator(&running, &revoke));
    until("the cut", || !device(&mut running, STOLEN).connected);
    let cut = ordered.elapsed();
    assert!(cut < Duration::from_secs(5), "{cut:?}");
    println!("a revoked device's session is gone {cut:?} after the order");
    round.join().unwrap().unwrap();
    assert_eq!(device(&mut running, STOLEN).standing, Standing::Revoked);

    // Its student is held until the operator rolls it out.
    let ended = task(&mut running);
    let first = ended.releases.first();
    let first = first
        .unwrap_or_else(|| panic!("{:?}", ended.history))
        .clone();
    assert!(first.held);
    assert_eq!(in_use(&running, 0), None);
    let first = first.version;
    good(operator(
        &running,
        &["rollout", "start", &first.to_string(), "--stages", "100"],
    ));
    let everyone = |running: &mut Running, version: Version| {
        let version = Some(version.to_string());
        until("everyone's student", || {
            (0..STOLEN).all(|at| in_use(running, at) == version)
        });
    };
    everyone(&mut running, first);
    until("the end of the rollout", || {
        rollout_state(&mut running) == "completed"
    });

    // One device is switched off until its certificate is over, and comes
    // back by itself.
    running.fleet.kill_agent(DRAWER).unwrap();
    let before = device(&mut running, DRAWER);
    until("the end of its certificate", || {
        running.client.status().unwrap().now > before.expires.unwrap()
    });
    running.fleet.start_agent(DRAWER).unwrap();
    until("its return", || {
        let now = device(&mut running, DRAWER);
        now.connected && now.certificate != before.certificate
    });

    // A release key is exchanged and the old one revoked: what it signed is
    // signed again, and the devices follow.
    good(operator(&running, &["key", "rotate", "--revoke"]));
    running.fleet.crash_coordinator().unwrap();
    running.client = running.fleet.client().unwrap();
    until("the new signature", || {
        task(&mut running).releases.last().unwrap().version > first
    });
    let renewed = task(&mut running).releases.last().unwrap().version;
    everyone(&mut running, renewed);

    // Someone slips in a student that answers nonsense.
    let sabotaged = sabotage(&mut running);
    let stage = [
        "rollout",
        "start",
        &sabotaged.to_string(),
        "--stages",
        "1,100",
    ];
    good(operator(&running, &stage));
    until("the halt", || rollout_state(&mut running) == "halted");
    let rollout = task(&mut running).rollout.unwrap();
    assert_eq!(rollout.unwanted_by.len(), 1, "the pilot alone: {rollout:?}");
    for at in 0..STOLEN {
        assert_eq!(in_use(&running, at), Some(renewed.to_string()));
    }
    let page = running.client.status().unwrap().page.unwrap();
    let shown = get(page, "/rollouts");
    assert!(shown.contains("halted") && shown.contains(&sabotaged.to_string()));
    let metrics = get(page, "/metrics");
    let halted = metrics
        .lines()
        .find(|line| line.contains("state=\"halted\""));
    assert!(halted.is_some_and(|line| line.ends_with(" 1.0") || line.ends_with(" 1")));
    let out = good(operator(&running, &["rollout", "rollback", "--json"]));
    let said: Value = serde_json::from_str(&out).unwrap();
    let again: Version = version(&said["version"]);
    assert_eq!(version(&said["from"]), renewed);
    everyone(&mut running, again);

    // All of it is on record, and no secret is anywhere in sight.
    good(operator(&running, &["audit", "verify"]));
    let record = good(operator(&running, &["audit", "export"]));
    for event in [
        "revoked",
        "rollout_started",
        "rollout_changed",
        "re_released",
        "tried",
    ] {
        assert!(record.contains(event), "{event} is on record");
    }
    nothing_secret(&running, &record);
}

#[test]
fn a_forgotten_device_leaves_student_and_store() {
    let mut running = tests::rig::three_agents();
    let name = running.task.clone();
    running.client.run_round(Some(&name), |_| {}).unwrap();
    let gone = device(&mut running, 1).device;
    let out = good(operator(
        &running,
        &["device", "forget", &gone.to_string(), "--json"],
    ));
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(said["forgotten"], "partial");
    // Its profile, summary, labels and moments, and the normaliser, transfer
    // set, teacher and student that stood on them. Its report too, unless
    // another device's is the same.
    assert!([8, 9].map(Value::from).contains(&said["blobs"]), "{out}");
    let transfer = task(&mut running);
    assert_eq!((transfer.transfer, transfer.normaliser), (None, None));
    running.client.run_round(Some(&name), |_| {}).unwrap();
    let now = device(&mut running, 1);
    assert_eq!(now.standing, Standing::Revoked);
    assert_eq!(now.forgotten, Some(Forgetting::Complete));
    let out = good(operator(&running, &["model", "lineage"]));
    assert!(!out.contains(&gone.to_string()), "{out}");
    good(operator(&running, &["audit", "verify"]));
    // The record tells of it, and a restart finds nothing more to delete.
    running.fleet.crash_coordinator().unwrap();
    let again = good(operator(
        &running,
        &["device", "forget", &gone.to_string(), "--json"],
    ));
    let said: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(
        (&said["blobs"], &said["forgotten"]),
        (&0.into(), &"complete".into())
    );
}

/// What the coordinator's page says at this path.
fn get(page: std::net::SocketAddr, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(page).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

fn version(value: &Value) -> Version {
    serde_json::from_value(value.clone()).unwrap()
}

/// Puts a release into the coordinator's store whose student is the newest one
/// with its answers mixed up, signed with the right key: what a bug in the
/// coordinator or an intruder on its machine would make.
fn sabotage(running: &mut Running) -> Version {
    let status = task(running);
    let newest = status.releases.last().unwrap().clone();
    let signed = running.client.release(None, None).unwrap().1;
    running.fleet.kill_coordinator().unwrap();
    let home = running.fleet.folder().join("coordinator");
    let key = std::fs::read_to_string(home.join("release-key.pem")).unwrap();
    let key = SigningKey::from_pem(&key).unwrap();
    let signed = SignedRelease::from_bytes(&signed).unwrap();
    let payload = signed.verify(&[key.verifying_key()]).unwrap();
    let release = Release::from_bytes(payload).unwrap();
    let mut raw = release.as_raw().clone();
    raw.version.number += 1;
    let mut weights = release.student().parameters().to_vec();
    weights.reverse();
    raw.weights = RawWeights::encode(release.task().student(), &weights).unwrap();
    let version = raw.version;
    let payload = Release::check(raw).unwrap().to_bytes();
    let bytes = SignedRelease::sign(&key, payload).unwrap().to_bytes();
    let store = SledStore::open(home.join("store")).unwrap();
    let epoch = store.open_epoch().unwrap();
    let blob: BlobHash = store.put_blob(&bytes).unwrap();
    let event = |event: Event| entry(status.task, event);
    let events = [
        event(Event::Held { version }),
        event(Event::Released {
            version,
            blob,
            bytes: bytes.len() as u64,
            lineage: Vec::new(),
            at: newest.released,
        }),
    ];
    let next = store.head().unwrap().next;
    store.append(epoch, Some(next), &events).unwrap();
    drop(store);
    running.fleet.start_coordinator().unwrap();
    running.client = running.fleet.client().unwrap();
    let connected = |running: &mut Running| {
        let devices = running.client.status().unwrap().devices;
        devices.iter().filter(|one| one.connected).count()
    };
    until("their return", || connected(running) == STOLEN);
    version
}

fn entry(task: TaskHash, event: Event) -> Vec<u8> {
    LogEntry::Task(TaskEvent { task, event }).to_bytes()
}

/// No private key and no token in a log, in the record, or among what
/// anybody on the machine can see of the processes.
fn nothing_secret(running: &Running, record: &str) {
    let folder = running.fleet.folder();
    let mut secrets = vec![running.token.clone()];
    let coordinator = folder.join("coordinator");
    let mut files: Vec<_> = [
        "ca-key.pem",
        "server-key.pem",
        "release-key.pem",
        "root-key.pem",
    ]
    .iter()
    .map(|name| coordinator.join(name))
    .collect();
    let mut seen = vec![record.to_owned()];
    seen.push(std::fs::read_to_string(folder.join("coordinator.log")).unwrap());
    for at in 0..DEVICES {
        let home = running.fleet.agent_home(at);
        files.push(home.join("state").join("device.key"));
        seen.push(std::fs::read_to_string(home.join("agent.log")).unwrap());
    }
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("-----"));
        secrets.extend(lines.map(str::to_owned));
    }
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        seen.push(String::from_utf8_lossy(&line).into_owned());
    }
    assert!(secrets.len() > DEVICES);
    for secret in secrets.iter().filter(|secret| secret.len() >= 16) {
        for text in &seen {
            assert!(!text.contains(secret.as_str()), "a secret is in sight");
        }
    }
}
