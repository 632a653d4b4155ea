//! A day of a fleet in a minute: three coordinators that take turns on one
//! database, a gateway, eight devices, and whatever can be killed or paused is,
//! while rounds run. Each round ends, and nothing acknowledged is lost.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::ids::RoundId;
use coordinator::admin::Client;
use coordinator::status::{OutcomeStatus, Progress as Step, Status};
use lab::data::Partition;
use lab::demo::Environment;
use rand::Rng as _;
use rustix::process::Signal;
use tests::database::Cluster;
use tests::rig::{self, Running, Terms, acknowledged_is_held, look_until};
use tests::standby::{Coordinator, free_address, own_program};

const AGENTS: usize = 8;

#[test]
fn each_round_of_a_short_day_ends() {
    let Some(mut day) = Day::begin(1) else {
        return;
    };
    day.round(Strike::EachCoordinator);
    day.round(Strike::PauseLeader);
    day.round(Strike::Database);
    day.set_back();
    day.round(Strike::Gateway);
    day.end();
}

/// `ALAMBIC_DAY_ROUNDS=100 cargo test --release -p tests --test day a_long_day -- --ignored
/// --nocapture`
#[test]
#[ignore = "the long form: 30 rounds, or as many as ALAMBIC_DAY_ROUNDS says"]
fn each_round_of_a_long_day_ends() {
    let Some(mut day) = Day::begin(2) else {
        return;
    };
    for round in 0..count("ALAMBIC_DAY_ROUNDS", 30) {
        let strikes = Strike::ALL.len();
        day.round(Strike::ALL[(round as usize) % strikes]);
        if round % 10 == 9 {
            day.set_back();
        }
    }
    day.end();
}

/// `ALAMBIC_KILLS=50 cargo test --release -p tests --test day kills_in_any_order --
/// --ignored --nocapture`
#[test]
#[ignore = "the long form: 200 kills, or as many as ALAMBIC_KILLS says"]
fn kills_in_any_order_lose_nothing() {
    let Some(mut day) = Day::begin(3) else {
        return;
    };
    for _ in 0..count("ALAMBIC_KILLS", 200) {
        day.follow();
        let strike = Strike::KILLS[(day.draw)(Strike::KILLS.len())];
        let leads = day.leader();
        day.strike(strike, leads);
    }
    day.finish();
    day.round(Strike::Gateway);
    day.end();
}

/// Three coordinators that are replaced in running rounds, standbys first. With
/// `ALAMBIC_COORDINATOR_BEFORE=/path/to/alambic-coordinator` they begin as that
/// program, which may be of another version; otherwise as the one of this build.
#[test]
fn an_upgrade_one_by_one_fails_no_round() {
    let before = std::env::var_os("ALAMBIC_COORDINATOR_BEFORE").map(PathBuf::from);
    let Some(mut day) = Day::begin_as(4, before) else {
        return;
    };
    for _ in 0..day.nodes.len() {
        day.round(Strike::Upgrade);
    }
    for node in &day.nodes {
        assert_eq!(node.runs(), own_program().canonicalize().unwrap());
    }
    day.round(Strike::Leader);
    day.end();
}

/// A number from the environment.
fn count(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// What happens in the middle of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strike {
    EachCoordinator,
    PauseLeader,
    Leader,
    Standby,
    Database,
    Gateway,
    Upgrade,
}

impl Strike {
    const ALL: [Self; 6] = [
        Self::EachCoordinator,
        Self::PauseLeader,
        Self::Leader,
        Self::Standby,
        Self::Database,
        Self::Gateway,
    ];
    /// Those that are one SIGKILL.
    const KILLS: [Self; 4] = [Self::Leader, Self::Standby, Self::Database, Self::Gateway];
}

struct Day {
    running: Running,
    nodes: Vec<Coordinator>,
    cluster: Cluster,
    /// Draws a number below another.
    draw: Box<dyn FnMut(usize) -> usize>,
    struck: BTreeMap<Strike, u32>,
    rounds: u32,
    /// Coordinators that were replaced.
    upgraded: BTreeSet<usize>,
}

impl Day {
    /// None where there is no PostgreSQL.
    fn begin(seed: u64) -> Option<Self> {
        Self::begin_as(seed, None)
    }

    /// The same, where all coordinators are another program at first.
    fn begin_as(seed: u64, before: Option<PathBuf>) -> Option<Self> {
        let cluster = Cluster::start("")?;
        let others = [free_address(), free_address()];
        let environment = vec![
            "ALAMBIC_STORE_KIND=postgres".to_owned(),
            format!("ALAMBIC_STORE_URL={}", cluster.url()),
            "ALAMBIC_STORE_LEASE=3s".to_owned(),
        ];
        let mut running = rig::start(Terms {
            agents: AGENTS,
            // A device describes only classes of which it has some twenty rows.
            partition: Partition::Shards(2),
            budget: [80, 10, 8, 40],
            gateway: true,
            standby: Some(others.join(",")),
            environment: Environment {
                coordinator: prefix(&environment, before.as_deref()),
                ..Environment::default()
            },
            // What was acknowledged is looked for afterwards, however long ago.
            configuration: Some("[retention]\nblob_rounds = 100\n".to_owned()),
            ..Terms::default()
        });
        let first = running.client.status().unwrap().address.to_string();
        let home = running.fleet.folder().to_owned();
        let keys = home.join("coordinator");
        running.fleet.kill_coordinator().unwrap();
        let listen = [&[first][..], &others].concat();
        let program = before.unwrap_or_else(own_program);
        let start = |(number, listen): (usize, &String)| {
            let state = home.join(format!("node{number}"));
            Coordinator::start_as(&program, (&state, &keys), listen, &environment)
        };
        let mut random = common::math::random::rng(seed, "day");
        Some(Self {
            nodes: listen.iter().enumerate().map(start).collect(),
            running,
            cluster,
            draw: Box::new(move |below| random.random_range(0..below)),
            struck: BTreeMap::new(),
            rounds: 0,
            upgraded: BTreeSet::new(),
        })
    }

    /// The coordinator that serves, once one does. Those that have ended are
    /// started again, as by a service manager.
    fn leader(&mut self) -> usize {
        self.leader_beside(None)
    }

    fn leader_beside(&mut self, paused: Option<usize>) -> usize {
        let mut leads = None;
        look_until(
            || {
                for node in &mut self.nodes {
                    if node.has_ended() {
                        node.again();
                    }
                }
                let serves = |at: &usize| Some(*at) != paused && self.nodes[*at].client().is_some();
                leads = (0..self.nodes.len()).find(serves);
                leads.is_some()
            },
            || "nobody leads".to_owned(),
        );
        leads.unwrap()
    }

    /// What the one who leads says, whoever that is.
    fn status(&mut self) -> Status {
        loop {
            let leads = self.leader();
            let client = self.nodes[leads].client();
            if let Some(status) = client.and_then(|mut client| client.status().ok()) {
                return status;
            }
        }
    }

    fn wait(&mut self, wanted: impl Fn(&Status) -> bool, otherwise: &str) {
        let mut last = None;
        look_until(
            || wanted(last.insert(self.status())),
            || otherwise.to_owned(),
        );
    }

    fn all_back(&mut self) {
        let connected = |status: &Status| status.devices.iter().filter(|one| one.connected).count();
        self.wait(
            |status| connected(status) == AGENTS,
            "the devices do not come back",
        );
    }

    /// One round, in the middle of which something happens; it completes.
    fn round(&mut self, strike: Strike) {
        self.all_back();
        let leads = self.leader();
        let mut watcher = self.nodes[leads].client().unwrap();
        let task = self.running.task.clone();
        let (_, round) = watcher.start_round(Some(&task), true).unwrap();
        self.steps(&mut watcher);
        self.strike(strike, leads);
        let ended = |status: &Status| {
            let history = &status.tasks[0].history;
            history.iter().find(|ended| ended.round == round).cloned()
        };
        self.wait(
            |status| ended(status).is_some(),
            &format!("round {round} does not end after {strike:?}"),
        );
        let ended = ended(&self.status()).unwrap();
        assert!(
            matches!(ended.outcome, OutcomeStatus::Completed { .. }),
            "{strike:?}: {ended:?}"
        );
        self.rounds += 1;
    }

    /// Follows whatever round is open, or a new one, for some steps.
    fn follow(&mut self) {
        let leads = self.leader();
        let Some(mut watcher) = self.nodes[leads].client() else {
            return;
        };
        let task = self.running.task.clone();
        match watcher.start_round(Some(&task), true) {
            Ok(_) => self.rounds += 1,
            // One is open, or this coordinator has just been killed.
            Err(_) if watcher.watch().is_err() => return,
            Err(_) => {}
        }
        self.steps(&mut watcher);
    }

    /// Until as many things have happened as are drawn, or nothing does.
    fn steps(&mut self, watcher: &mut Client) {
        watcher.set_patience(PATIENCE).unwrap();
        for _ in 0..=(self.draw)(3 * AGENTS) {
            if matches!(watcher.next_progress(), Ok(Step::Ended { .. }) | Err(_)) {
                return;
            }
        }
    }

    /// Waits until no round is open.
    fn finish(&mut self) {
        self.wait(
            |status| status.tasks[0].round.is_none(),
            "the round does not end",
        );
    }

    fn strike(&mut self, strike: Strike, leads: usize) {
        *self.struck.entry(strike).or_default() += 1;
        match strike {
            Strike::EachCoordinator => {
                for index in 0..self.nodes.len() {
                    self.kill(index);
                    self.leader();
                }
            }
            Strike::Leader => self.kill(leads),
            Strike::Standby => self.kill((leads + 1) % self.nodes.len()),
            Strike::PauseLeader => {
                self.nodes[leads].signal(Signal::STOP);
                self.leader_beside(Some(leads));
                self.nodes[leads].signal(Signal::CONT);
                let told = self.nodes[leads].wait();
                assert_eq!(told, Some(1), "{}", self.nodes[leads].told());
            }
            Strike::Database => {
                self.cluster.kill();
                self.cluster.resume();
            }
            Strike::Gateway => {
                let gateway = self.running.gateway.as_mut().unwrap();
                gateway.kill();
                gateway.run();
            }
            Strike::Upgrade => {
                let mut left = (0..self.nodes.len()).filter(|at| !self.upgraded.contains(at));
                let next = left.find(|at| *at != leads).unwrap_or(leads);
                self.nodes[next].upgrade(own_program());
                self.upgraded.insert(next);
            }
        }
    }

    fn kill(&mut self, index: usize) {
        self.nodes[index].signal(Signal::KILL);
        self.nodes[index].end();
        self.nodes[index].again();
    }

    /// Everything ends, and the database comes back from a base backup that has all
    /// of the rounds: whoever leads opens a new epoch on it.
    fn set_back(&mut self) {
        self.finish();
        let (before, epoch) = (self.status(), self.epoch());
        self.cluster.back_up();
        for node in &mut self.nodes {
            node.end();
        }
        self.cluster.restore();
        let after = self.status();
        assert!(self.epoch() > epoch);
        let rounds = |status: &Status| -> Vec<RoundId> {
            { status.tasks[0].history.iter() }
                .map(|ended| ended.round)
                .collect()
        };
        assert_eq!(rounds(&after), rounds(&before));
    }

    fn epoch(&self) -> u64 {
        let epoch = self.cluster.ask("SELECT epoch FROM store0.alambic_log");
        epoch.unwrap().parse().unwrap()
    }

    /// What was acknowledged is there, and the audit verifies.
    fn end(mut self) {
        self.all_back();
        let leads = self.leader();
        self.running.client = self.nodes[leads].client().unwrap();
        let held = acknowledged_is_held(&mut self.running, AGENTS);
        assert!(held >= AGENTS * 4, "{held}");
        let status = self.status();
        for ended in &status.tasks[0].history {
            let outcome = &ended.outcome;
            assert!(
                matches!(outcome, OutcomeStatus::Completed { .. }),
                "{ended:?}"
            );
            for (kind, &count) in &ended.accepted {
                assert!(count as usize <= AGENTS, "{kind} was counted {count} times");
            }
        }
        let (code, said) = self.nodes[leads].operator(&["audit", "verify"]);
        assert_eq!(code, Some(0), "{said}");
        println!(
            "{} rounds, {:?}; {held} acknowledged contributions held",
            self.rounds, self.struck
        );
    }
}

/// What stands before the first coordinator's command line: its environment,
/// and what runs another program in the place of this build's.
fn prefix(environment: &[String], program: Option<&Path>) -> Vec<String> {
    let mut words = vec!["env".to_owned()];
    words.extend_from_slice(environment);
    if let Some(program) = program {
        words.push(format!("ALAMBIC_BEFORE={}", program.display()));
        let run = ["sh", "-c", "exec \"$ALAMBIC_BEFORE\" \"$@\""];
        words.extend(run.map(str::to_owned));
    }
    words
}

/// How long something is waited for in a round that is to be disturbed.
const PATIENCE: Duration = Duration::from_secs(10);
