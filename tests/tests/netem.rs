//! Real programs over bad networks: loss, long ways, thin uplinks, outages in
//! mid-transfer, addresses that change, small packets, UDP that is blocked.
//!
//! The network is a relay of the tests' own (`tests::relay`), which needs no
//! rights; what only a kernel can do runs in network namespaces and is skipped,
//! visibly, without the rights to make them.
#![allow(clippy::unwrap_used)]

use std::net::UdpSocket;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::limits::CHUNK_BYTES;
use common::round::Kind;
use coordinator::status::{OutcomeStatus, Progress as Step};
use serde_json::Value;
use tests::netns::Netns;
use tests::relay::{Conditions, Relay, Way};
use tests::rig::{Running, Terms, agent, look_until, start};

fn fleet(conditions: Conditions) -> Running {
    start(Terms {
        conditions: Some(conditions),
        ..Terms::default()
    })
}

fn relay(running: &Running) -> &Relay {
    running.relay.as_ref().unwrap()
}

/// Runs a round, in which everyone does its part, and returns its seconds.
fn whole_round(running: &mut Running, agents: u32) -> f64 {
    let begun = Instant::now();
    let task = running.task.clone();
    let ended = running.client.run_round(Some(&task), |_| {}).unwrap();
    let Step::Ended { outcome, .. } = ended else {
        panic!("not an end")
    };
    assert!(
        matches!(outcome, OutcomeStatus::Completed { .. }),
        "{outcome:?}"
    );
    let status = running.client.status().unwrap();
    let accepted = &status.tasks[0].history.last().unwrap().accepted;
    for kind in [Kind::Labels, Kind::Moments, Kind::Report] {
        assert_eq!(accepted.get(&kind), Some(&agents), "{kind}");
    }
    begun.elapsed().as_secs_f64()
}

/// Bytes of all contributions that a device sent, by kind.
fn sent(running: &Running, index: usize) -> Vec<(String, u64)> {
    let (code, out, err) = agent(running, index, &["sent", "list", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let entries: Vec<Value> = serde_json::from_str(&out).unwrap();
    let fields = |entry: &Value| {
        let kind = entry["kind"].as_str().unwrap().to_owned();
        (kind, entry["bytes"].as_u64().unwrap())
    };
    entries.iter().map(fields).collect()
}

/// Sessions that the coordinator saw begin.
fn sessions(running: &Running) -> usize {
    let log = std::fs::read_to_string(running.fleet.coordinator_log()).unwrap();
    log.matches("session began").count()
}

#[test]
fn a_round_completes_though_every_tenth_packet_is_lost() {
    let mut running = fleet(Conditions {
        loss: 0.1,
        ..Conditions::default()
    });
    let seconds = whole_round(&mut running, 3);
    let up = relay(&running).tally(Way::Up);
    assert!(up.passed < up.came, "packets were lost: {up:?}");
    assert_eq!(sessions(&running), 3, "no session was given up");
    println!("10 % loss each way: a round in {seconds:.1} s, {up:?}");
}

#[test]
fn a_round_completes_with_300_ms_there_and_back() {
    let mut running = fleet(Conditions {
        delay_ms: 150,
        ..Conditions::default()
    });
    let seconds = whole_round(&mut running, 3);
    assert_eq!(sessions(&running), 3, "no session was given up");
    println!("300 ms round trip: a round in {seconds:.1} s");
}

#[test]
fn a_thin_uplink_carries_little_overhead() {
    let mut running = fleet(Conditions {
        up_bits: Some(256_000),
        ..Conditions::default()
    });
    let before = relay(&running).tally(Way::Up).bytes;
    let seconds = whole_round(&mut running, 3);
    let up = relay(&running).tally(Way::Up).bytes - before;
    let content: u64 = (0..3)
        .flat_map(|index| sent(&running, index))
        .map(|(_, bytes)| bytes)
        .sum();
    // Frames, QUIC and acknowledgements of what comes down; not a second copy.
    assert!(up < content * 2, "{up} bytes for {content}");
    assert_eq!(sessions(&running), 3, "no session was given up");
    println!("256 kbit/s up: a round in {seconds:.1} s, {up} bytes up for {content}");
}

/// One device whose moments take some seconds at 256 kbit/s.
fn one_heavy() -> Running {
    start(one_heavy_terms())
}

fn one_heavy_terms() -> Terms {
    Terms {
        dataset: "har",
        agents: 1,
        parts: 3,
        deadline_s: 300,
        budget: [300, 300, 16, 300],
        conditions: Some(Conditions {
            up_bits: Some(256_000),
            ..Conditions::default()
        }),
        ..Terms::default()
    }
}

/// Meddles with the relay while the moments are on their way.
fn relayed(running: &mut Running, meddle: impl FnOnce(&Relay)) -> Interrupted {
    let relay = running.relay.take().unwrap();
    let sent = || relay.tally(Way::Up).bytes;
    let outcome = amid_the_moments(running, &sent, || meddle(&relay));
    running.relay = Some(relay);
    outcome
}

/// What the middle of a transfer did to it.
struct Interrupted {
    /// Bytes of the moments.
    blob: u64,
    /// Bytes that went up from the labels' acceptance to the moments'.
    up: u64,
    /// Seconds from `meddle`'s return to the moments' acceptance.
    after_s: f64,
}

/// Runs a round and meddles with the network while the moments are on their
/// way. `sent` counts the bytes that go up.
fn amid_the_moments(
    running: &mut Running,
    sent: &dyn Fn() -> u64,
    meddle: impl FnOnce(),
) -> Interrupted {
    let mut watcher = running.fleet.client().unwrap();
    let task = running.task.clone();
    let (send, seen) = mpsc::channel();
    let watching = thread::spawn(move || {
        watcher.run_round(Some(&task), |step| {
            let _ = send.send(step.clone());
        })
    });
    let accepted = |wanted: Kind| {
        seen.iter()
            .find(|step| matches!(step, Step::Accepted { kind, .. } if *kind == wanted))
            .expect("the round goes on")
    };
    accepted(Kind::Labels);
    let before = sent();
    look_until(
        || sent() >= before + 2 * CHUNK_BYTES as u64,
        || "the moments do not come".to_owned(),
    );
    meddle();
    let back = Instant::now();
    let Step::Accepted { bytes: blob, .. } = accepted(Kind::Moments) else {
        unreachable!()
    };
    let after_s = back.elapsed().as_secs_f64();
    let up = sent() - before;
    let Step::Ended { outcome, .. } = watching.join().unwrap().unwrap() else {
        panic!("not an end")
    };
    assert!(
        matches!(outcome, OutcomeStatus::Completed { .. }),
        "{outcome:?}"
    );
    Interrupted { blob, up, after_s }
}

fn resumed(how: &str, outcome: &Interrupted) {
    let Interrupted { blob, up, after_s } = *outcome;
    println!("{how}: {up} bytes up for moments of {blob}, there {after_s:.1} s after it was over");
    // The meddling falls behind two chunks; what follows must not be much
    // more than the rest. QUIC's own are 4 % and a handshake.
    let overhead = blob / 25 + HANDSHAKE_BYTES;
    assert!(
        up <= blob + overhead + CHUNK_BYTES as u64,
        "more than one chunk went up twice: {up} bytes for {blob}"
    );
}

fn cut_for(seconds: u64) -> impl FnOnce(&Relay) {
    move |relay| relay.cut_for(Duration::from_secs(seconds))
}

#[test]
fn a_short_outage_in_mid_transfer_sends_nothing_twice() {
    let mut running = one_heavy();
    let outcome = relayed(&mut running, cut_for(3));
    resumed("an outage of 3 s", &outcome);
    assert_eq!(sessions(&running), 1, "the session outlives it");
}

/// `cargo test --release -p tests --test netem -- --ignored --nocapture`
#[test]
#[ignore = "the long form: half a minute of outage"]
fn an_outage_in_mid_transfer_is_resumed() {
    let mut running = one_heavy();
    let outcome = relayed(&mut running, cut_for(30));
    resumed("an outage of 30 s", &outcome);
}

/// Longer than a silent connection is kept: another one goes on with it.
#[test]
#[ignore = "the long form: more than a minute of outage"]
fn an_outage_that_ends_the_session_is_resumed() {
    let mut running = one_heavy();
    let outcome = relayed(&mut running, cut_for(75));
    resumed("an outage of 75 s", &outcome);
    assert!(sessions(&running) > 1, "another session goes on with it");
}

#[test]
fn a_new_address_in_mid_transfer_keeps_the_session() {
    let mut running = one_heavy();
    let outcome = relayed(&mut running, Relay::forget);
    resumed("a new address", &outcome);
    assert_eq!(sessions(&running), 1, "the session moves with it");
}

/// The kernel moves the address and counts the bytes, headers included.
#[test]
fn a_readdressed_interface_keeps_the_session() {
    let Some(netns) = Netns::lay() else { return };
    if !netns.throttle(256) {
        return;
    }
    let mut running = start(Terms {
        environment: netns.environment(),
        conditions: None,
        ..one_heavy_terms()
    });
    let outcome = amid_the_moments(&mut running, &|| netns.sent(), || {
        netns.move_devices("10.171.0.3");
    });
    let headers = outcome.blob / 20;
    let (up, blob) = (outcome.up - headers.min(outcome.up), outcome.blob);
    resumed(
        "another address on the veth pair",
        &Interrupted { up, ..outcome },
    );
    assert!(up > blob / 2, "the moments went over the veth pair: {up}");
    assert_eq!(sessions(&running), 1, "the session moves with it");
}

#[test]
fn a_round_completes_over_a_path_of_1280_bytes() {
    let Some(netns) = Netns::lay() else { return };
    netns.set_mtu(1_280);
    let mut running = start(Terms {
        environment: netns.environment(),
        ..Terms::default()
    });
    let seconds = whole_round(&mut running, 3);
    assert_eq!(sessions(&running), 3, "no session was given up");
    println!("MTU 1280: a round in {seconds:.1} s");
}

#[test]
fn a_path_too_narrow_for_quic_is_said_as_such() {
    let Some(netns) = Netns::lay() else { return };
    let running = start(Terms {
        environment: netns.environment(),
        agents: 1,
        ..Terms::default()
    });
    netns.set_mtu(1_100);
    let within = netns.environment().agents;
    let output = std::process::Command::new(&within[0])
        .args(&within[1..])
        .arg(lab::demo::program("alambic-agent").unwrap())
        .arg("--state")
        .arg(running.fleet.agent_home(0).join("state"))
        .arg("doctor")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("MTU") && said.contains("1100 bytes"),
        "{said}"
    );
    assert!(!said.contains("blocked"), "{said}");
}

/// What a command of an agent says to a network without UDP: exit code and
/// words.
fn says_that_udp_is_blocked(command: &str, (code, out, err): (Option<i32>, String, String)) {
    assert_eq!(code, Some(3), "{command}: {out}{err}");
    let said = format!("{out}{err}");
    assert!(said.contains("UDP"), "{command}: {said}");
    assert!(said.contains("what to do:"), "{command}: {said}");
}

#[test]
fn blocked_udp_is_reported_with_exit_code_3() {
    let mut running = start(Terms {
        agents: 1,
        conditions: Some(Conditions::default()),
        ..Terms::default()
    });
    running.fleet.kill_agent(0).unwrap();
    let token = running.client.create_token(60_000, 1).unwrap();
    relay(&running).change(|conditions| conditions.is_cut = true);
    let address = relay(&running).address().to_string();
    let nowhere = {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().to_string()
    };
    let running = &running;
    let enrol = |to: &str| {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state").display().to_string();
        let arguments = ["--state", &state, "enrol", "--coordinator", to];
        let output = std::process::Command::new(lab::demo::program("alambic-agent").unwrap())
            .args(arguments)
            .env("ALAMBIC_TOKEN", &token)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    // Each waits ten seconds for an answer: side by side.
    thread::scope(|scope| {
        let blocked = scope.spawn(|| enrol(&address));
        let closed = scope.spawn(|| enrol(&nowhere));
        let pull = scope.spawn(|| agent(running, 0, &["pull"]));
        let doctor = scope.spawn(|| agent(running, 0, &["doctor"]));
        let blocked = blocked.join().unwrap();
        assert!(blocked.2.contains("UDP is blocked"), "{blocked:?}");
        says_that_udp_is_blocked("enrol", blocked);
        let closed = closed.join().unwrap();
        assert!(closed.2.contains("nothing listens"), "{closed:?}");
        says_that_udp_is_blocked("enrol at a closed port", closed);
        says_that_udp_is_blocked("pull", pull.join().unwrap());
        says_that_udp_is_blocked("doctor", doctor.join().unwrap());
    });
}

/// A new session's first words, and the offer.
const HANDSHAKE_BYTES: u64 = 8_000;
