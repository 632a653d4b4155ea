//! How much honest devices and the coordinator's memory notice of attacks, as
//! ratios to the same fleet in peace. Run by hand:
//!
//! `cargo test --release -p tests --test hostile_figures -- --ignored --nocapture`
//! (ALAMBIC_ATTACK=reconnects for those attacks alone that have the word in their name)
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
use coordinator::status::{OutcomeStatus, Progress as Step};
use tests::redteam::stranger::{Stranger, half_open};
use tests::redteam::{Mallory, key, web};
use tests::rig::{Running, Terms, start};
use tokio::time::MissedTickBehavior;

const AGENTS: usize = 5;
/// Rounds in a row; then the attack begins or ends.
const ROUNDS: usize = 5;
/// Times that an attack comes, each between two times of peace.
const TIMES: usize = 3;
const WARM_UP: usize = 5;
/// From one round's beginning to the next, in which an honest device asks for
/// some fifteen things: what it may by default is enough then, and holds for the
/// attackers too. The test sees that no honest one was slowed down.
const PACE: Duration = Duration::from_millis(2_200);
const CONFIGURATION: &str = "[page]\nlisten = \"127.0.0.1:0\"\n";

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
                if let Ok(connection) = stranger.connect(aim.address, b"alambic-enrol/1").await {
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
                aim.count();
                let Ok((_dialler, connection)) = aim.mallory.connect().await else {
                    continue;
                };
                if let Ok(mut control) = connection.open_control().await {
                    let _ = control.sender.send_blob(0, &garbage).await;
                    connection.closed().await;
                }
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

/// Runs an attack in a thread of its own, which the machine lets wait for all
/// others: an attacker's processor is not the coordinator's.
fn run<F>(aim: Aim, attack: impl FnOnce(Aim) -> F + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = ()>,
{
    thread::spawn(move || {
        rustix::process::nice(19).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(attack(aim));
    })
}

/// When rounds begin.
struct Pace {
    runtime: tokio::runtime::Runtime,
    ticks: tokio::time::Interval,
}

impl Pace {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        let mut ticks = runtime.block_on(async { tokio::time::interval(PACE) });
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { runtime, ticks }
    }

    fn next(&mut self) {
        self.runtime.block_on(self.ticks.tick());
    }
}

/// What was seen of some rounds.
#[derive(Default)]
struct Seen {
    times: Vec<u64>,
    /// The most after any of them.
    bytes: f64,
}

impl Seen {
    fn add(&mut self, running: &mut Running, pace: &mut Pace) {
        for _ in 0..ROUNDS {
            pace.next();
            let task = running.task.clone();
            let step = running.client.run_round(Some(&task), |_| {}).unwrap();
            let Step::Ended { outcome, .. } = step else {
                panic!("{step:?}")
            };
            assert!(matches!(outcome, OutcomeStatus::Completed { .. }));
            let status = running.client.status().unwrap();
            self.times
                .push(status.tasks[0].history.last().unwrap().wall_ms);
            self.bytes = self.bytes.max(resident(running));
        }
    }

    fn median_ms(&self) -> u64 {
        let mut times = self.times.clone();
        times.sort_unstable();
        times[times.len() / 2]
    }
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
#[ignore = "figures for docs/results.md: a quarter of an hour on a quiet machine"]
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
    let mut pace = Pace::new();
    // Until the coordinator holds what it holds in the long run.
    for _ in 0..WARM_UP {
        Seen::default().add(&mut running, &mut pace);
    }
    let wanted = std::env::var("ALAMBIC_ATTACK").unwrap_or_default();
    for (name, attack) in ATTACKS.iter().filter(|(name, _)| name.contains(&wanted)) {
        let token = running.client.create_token(600_000, 1).unwrap();
        let mallory = Arc::new(pace.runtime.block_on(Mallory::join(address, &token)));
        let (mut quiet, mut beside, mut done) = (Seen::default(), Seen::default(), 0);
        for _ in 0..TIMES {
            quiet.add(&mut running, &mut pace);
            let aim = Aim {
                address,
                page,
                mallory: mallory.clone(),
                stop: Arc::default(),
                done: Arc::default(),
            };
            let attacker = attack(aim.clone());
            while aim.done.load(Ordering::Relaxed) == 0 {
                pace.next();
            }
            beside.add(&mut running, &mut pace);
            aim.stop.store(true, Ordering::Relaxed);
            attacker.join().unwrap();
            done += aim.done.load(Ordering::Relaxed);
        }
        quiet.add(&mut running, &mut pace);
        let status = running.client.status().unwrap();
        let honest = status.devices.iter().filter(|one| one.label != "mallory");
        assert_eq!(honest.map(|one| one.peer_limits.limited).sum::<u64>(), 0);
        let (quiet_ms, ms) = (quiet.median_ms(), beside.median_ms());
        println!(
            "{name}: {ms} ms, quiet {quiet_ms} ({:+.0} %), {:.1} MiB, quiet {:.1} ({:+.0} %), {done} times",
            100.0 * (ms as f64 / quiet_ms as f64 - 1.0),
            beside.bytes / 1048576.0,
            quiet.bytes / 1048576.0,
            100.0 * (beside.bytes / quiet.bytes - 1.0),
        );
    }
}
