//! How much honest devices and the coordinator's memory notice of attacks, as
//! ratios to the same fleet in peace. Run by hand:
//!
//! `cargo test --release -p tests --test hostile_figures -- --ignored --nocapture`
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::ids::TaskHash;
use common::round::Kind;
use common::wire::codec::encode;
use common::wire::frame;
use common::wire::messages::{Call, TransferRequest};
use coordinator::admin::{OutcomeStatus, Progress as Step};
use tests::redteam::stranger::{Stranger, half_open};
use tests::redteam::{Mallory, key, web};
use tests::rig::{Running, Terms, start};

const AGENTS: usize = 5;
/// Rounds for each figure, of which the median counts.
const ROUNDS: usize = 9;
const WARM_UP: usize = 12;
/// Rounds follow each other without a pause here, which is more than honest
/// devices may ask for by default.
const CONFIGURATION: &str = "[page]\nlisten = \"127.0.0.1:0\"\n\
    [limits]\nrequests_per_device = 200\n";

/// Where an attack goes, and what it has.
#[derive(Clone)]
struct Aim {
    address: SocketAddr,
    page: SocketAddr,
    mallory: Arc<Mallory>,
    stop: Arc<AtomicBool>,
    /// What was done, for the record.
    done: Arc<AtomicU64>,
}

impl Aim {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// A name, how it is paced, and the attack.
type Attack = (&'static str, fn(Aim) -> JoinHandle<()>);

const ATTACKS: &[Attack] = &[
    ("handshakes without a certificate, 50/s", |aim| {
        run(aim, async |aim| {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            let stranger = Stranger::at(66);
            while aim.goes_on() {
                ticks.tick().await;
                let _ = stranger.answer(aim.address, b"alambic/1").await;
                aim.count();
            }
        })
    }),
    ("handshakes never gone on with, 100/s", |aim| {
        run(aim, async |aim| {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            let mut held = Vec::new();
            while aim.goes_on() {
                ticks.tick().await;
                held.push(half_open(aim.address, 67, 10).await);
                aim.count();
            }
        })
    }),
    ("500 connections that join and say nothing", |aim| {
        run(aim, async |aim| {
            let mut ticks = tokio::time::interval(Duration::from_millis(40));
            let stranger = Stranger::at(68);
            let mut held = std::collections::VecDeque::new();
            while aim.goes_on() {
                ticks.tick().await;
                if let Ok(connection) = stranger.knock(aim.address, b"alambic-enrol/1").await {
                    held.push_back(connection);
                    aim.count();
                }
                if held.len() > 500 {
                    held.pop_front();
                }
            }
        })
    }),
    ("a member with every stream half open, dripping", |aim| {
        run(aim, async |aim| {
            let session = aim.mallory.session().await;
            let mut streams = Vec::new();
            for _ in 0..7 {
                let mut stream = session.connection.open_transfer().await.unwrap();
                let torn = &frame::encode(&[0; 4_000]).unwrap()[..50];
                stream.sender.send_blob(0, torn).await.unwrap();
                streams.push(stream);
            }
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            while aim.goes_on() {
                ticks.tick().await;
                for stream in &mut streams {
                    let _ = stream.sender.send_blob(0, &[0]).await;
                }
                aim.count();
            }
        })
    }),
    ("a member that reconnects without end", |aim| {
        run(aim, async |aim| {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            while aim.goes_on() {
                ticks.tick().await;
                let _ = aim.mallory.connect().await;
                aim.count();
            }
        })
    }),
    ("a member that asks and offers without end", |aim| {
        run(aim, async |aim| {
            let session = aim.mallory.session().await;
            let call = Call {
                task: session.welcome.tasks[0].0,
                round: common::ids::RoundId(1),
                phase: common::round::Phase::Contribute,
                context: common::wire::messages::Context {
                    task: session.welcome.tasks[0].1,
                    normaliser: None,
                    transfer: None,
                    teacher: None,
                    release: None,
                },
                remaining_ms: 0,
            };
            while aim.goes_on() {
                let _ = session.give(key(&call, Kind::Moments), b"nothing").await;
                let task = Some(TaskHash([9; 32]));
                let _ = session.ask(TransferRequest::Newest { task }).await;
                aim.count();
            }
        })
    }),
    ("garbage on the control stream", |aim| {
        run(aim, async |aim| {
            let garbage = frame::encode(&encode(&vec![0xeeu8; 4_000])).unwrap();
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            while aim.goes_on() {
                ticks.tick().await;
                let Ok((_dialler, connection)) = aim.mallory.connect().await else {
                    continue;
                };
                if let Ok(mut control) = connection.open_control().await {
                    let _ = control.sender.send_blob(0, &garbage).await;
                    connection.closed().await;
                }
                aim.count();
            }
        })
    }),
    ("the page, 100 requests/s", |aim| {
        run(aim, async |aim| {
            let mut ticks = tokio::time::interval(Duration::from_millis(10));
            while aim.goes_on() {
                ticks.tick().await;
                web::get(aim.page, "/audit").await;
                aim.count();
            }
        })
    }),
];

/// Runs an attack in a thread of its own.
fn run<F>(aim: Aim, attack: impl FnOnce(Aim) -> F + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = ()>,
{
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(attack(aim));
    })
}

/// Median time of some rounds, and the most memory seen after one.
fn measure(running: &mut Running) -> (u64, f64) {
    let (mut times, mut memory) = (Vec::new(), 0f64);
    for _ in 0..ROUNDS {
        let task = running.task.clone();
        let step = running.client.run_round(Some(&task), |_| {}).unwrap();
        let Step::Ended { outcome, .. } = step else {
            panic!("{step:?}")
        };
        assert!(matches!(outcome, OutcomeStatus::Completed { .. }));
        let status = running.client.status().unwrap();
        times.push(status.tasks[0].history.last().unwrap().wall_ms);
        memory = memory.max(resident(running));
    }
    times.sort_unstable();
    (times[ROUNDS / 2], memory)
}

/// Bytes of the coordinator, of which its page must not be asked so often.
fn resident(running: &Running) -> f64 {
    let path = format!("/proc/{}/status", running.fleet.coordinator_process());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    1024.0 * kib.parse::<f64>().unwrap()
}

#[test]
#[ignore = "figures for docs/results.md: some minutes on a quiet machine"]
fn rounds_and_memory_beside_attackers() {
    let mut running = start(Terms {
        agents: AGENTS,
        grace_s: 0.0,
        quorum: 0.6,
        configuration: Some(CONFIGURATION.to_owned()),
        ..Terms::default()
    });
    let page = running.fleet.page().unwrap().unwrap();
    let address = running.client.status().unwrap().address;
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    // Until the coordinator holds what it holds in the long run.
    for _ in 0..WARM_UP {
        measure(&mut running);
    }
    for (name, attack) in ATTACKS {
        let (quiet_ms, quiet_bytes) = measure(&mut running);
        let token = running.client.create_token(600_000, 1).unwrap();
        let aim = Aim {
            address,
            page,
            mallory: Arc::new(runtime.block_on(Mallory::join(address, &token))),
            stop: Arc::default(),
            done: Arc::default(),
        };
        let attacker = attack(aim.clone());
        while aim.done.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        let (ms, bytes) = measure(&mut running);
        aim.stop.store(true, Ordering::Relaxed);
        attacker.join().unwrap();
        println!(
            "{name}: {ms} ms after {quiet_ms} ({:+.0} %), {:.1} MiB after {:.1} ({:+.0} %), {} times",
            100.0 * (ms as f64 / quiet_ms as f64 - 1.0),
            bytes / 1048576.0,
            quiet_bytes / 1048576.0,
            100.0 * (bytes / quiet_bytes - 1.0),
            aim.done.load(Ordering::Relaxed),
        );
    }
    let (ms, bytes) = measure(&mut running);
    println!("quiet again: {ms} ms, {:.1} MiB", bytes / 1048576.0);
}
