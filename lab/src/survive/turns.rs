//! Coordinators that take turns on one store, as `coordinator::cli::standby`
//! does it: a lease on the database's clock, and leaders that end before it
//! does by their own. Beside it a witness, which knows who took the lead last
//! and asks neither lease nor epoch: nobody else's append may land.

use coordinator::store::{Epoch, Position, Store, StoreError};

use super::Planted;
use super::network::Up;
use super::scenario::Random;
use super::server::Process;
use super::simulator::{Simulator, SimulatorEvent};
use super::turn_steps::Step;

/// All coordinators but the one that the simulator runs now, and what they share.
pub(super) struct Turns {
    pub(super) random: Random,
    pub(super) lease_ms: u64,
    pub(super) holder: Option<usize>,
    /// Until when, by the database's clock.
    pub(super) until: i64,
    /// How far that is ahead of the true time.
    pub(super) ahead_ms: i64,
    pub(super) has_jumped: bool,
    /// The life of the process that took the lead last: the witness.
    leads: u64,
    lives: u64,
    pub(super) others: Vec<Node>,
}

/// A coordinator that the simulator does not run now.
pub(super) struct Node {
    pub(super) host: Host,
    life: u64,
    pub(super) process: Option<Process>,
    skew_ms: i64,
}

/// A coordinator's machine.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) number: usize,
    /// Whether a process waits there for its turn.
    pub(super) waits: bool,
    /// Until when its process does not run, and does not reach the database.
    pub(super) paused_until: u64,
    pub(super) cut_until: u64,
    /// Until when its process believes to hold the lease.
    pub(super) trusted_until: u64,
}

impl Turns {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, "turns");
        let others = 1 + u64::from(random.chance(0.3));
        Self {
            lease_ms: random.duration(1_000, 10_000),
            random,
            holder: None,
            until: 0,
            ahead_ms: 0,
            has_jumped: false,
            leads: 0,
            lives: 0,
            others: (1..=others as usize).map(Node::new).collect(),
        }
    }

    /// What the database's clock reads.
    pub(super) fn clock(&self, now: u64) -> i64 {
        now as i64 + self.ahead_ms
    }

    pub(super) fn trusted_ms(&self) -> u64 {
        self.lease_ms / 10 * 8
    }
}

impl Node {
    fn new(number: usize) -> Self {
        Self {
            host: Host {
                number,
                ..Host::default()
            },
            life: 0,
            process: None,
            skew_ms: 0,
        }
    }
}

impl Simulator {
    /// Whether the coordinator that the simulator runs now took the lead last.
    pub(super) fn leads(&self) -> bool {
        let turns = self.turns.as_ref();
        turns.is_none_or(|turns| turns.leads == self.server.life)
    }

    /// Whether it is paused.
    pub(super) fn is_paused(&self) -> bool {
        self.server.host.paused_until > self.now
    }

    /// The life of a new process: each has a number of its own.
    pub(super) fn next_life(&mut self) -> u64 {
        match &mut self.turns {
            None => self.server.life + 1,
            Some(turns) => {
                turns.lives += 1;
                turns.lives
            }
        }
    }

    /// All coordinators begin to wait.
    pub(super) fn first_turns(&mut self) {
        let Some(turns) = &mut self.turns else {
            return;
        };
        let starts: Vec<_> = turns
            .others
            .iter()
            .map(|other| (other.host.number, turns.random.between(0, 3_000)))
            .collect();
        for (node, at) in starts {
            self.at(at, SimulatorEvent::ServerStart { node });
        }
        self.next_turn_fault();
    }

    /// Switches to the coordinator that an event concerns; until when that has to
    /// wait, if it is held up.
    pub(super) fn go_to(&mut self, event: &SimulatorEvent) -> Option<u64> {
        self.turns.as_ref()?;
        let node = self.concerned(event)?;
        self.switch_to(node);
        let host = &self.server.host;
        let asks_database = matches!(
            event,
            SimulatorEvent::Flushed { .. }
                | SimulatorEvent::StoreMended { .. }
                | SimulatorEvent::Compaction { .. }
                | SimulatorEvent::Turn {
                    step: Step::Look | Step::Renew { .. },
                    ..
                }
        );
        let cut_until = if asks_database { host.cut_until } else { 0 };
        let until = host.paused_until.max(cut_until);
        (until > self.now).then_some(until)
    }

    fn concerned(&mut self, event: &SimulatorEvent) -> Option<usize> {
        match event {
            SimulatorEvent::ServerTick { life, .. }
            | SimulatorEvent::Flushed { life, .. }
            | SimulatorEvent::Computed { life, .. }
            | SimulatorEvent::StoreMended { life } => self.find(|one, _| one == *life),
            SimulatorEvent::Compaction { epoch } => {
                self.find(|_, process| process.is_some_and(|one| one.epoch.0 == *epoch))
            }
            SimulatorEvent::Up {
                session,
                packet: Up::Hello(_) | Up::Join,
                ..
            } => self.owner(*session).or_else(|| self.who_answers()),
            SimulatorEvent::Up { session, .. } | SimulatorEvent::SessionLost { session, .. } => {
                self.owner(*session)
            }
            SimulatorEvent::Operator => Some(self.server.host.number),
            SimulatorEvent::Turn {
                step: Step::Fault, ..
            } => None,
            SimulatorEvent::ServerStart { node } | SimulatorEvent::Turn { node, .. } => Some(*node),
            _ => None,
        }
    }

    fn owner(&self, session: u64) -> Option<usize> {
        self.find(|_, process| process.is_some_and(|one| one.sessions.contains_key(&session)))
    }

    /// The first coordinator that this holds for.
    fn find(&self, is: impl Fn(u64, Option<&Process>) -> bool) -> Option<usize> {
        let here = (
            self.server.life,
            self.server.process.as_ref(),
            &self.server.host,
        );
        let others = self.turns.iter().flat_map(|turns| turns.others.iter());
        let others = others.map(|one| (one.life, one.process.as_ref(), &one.host));
        let mut all = std::iter::once(here).chain(others);
        all.find(|(life, process, _)| is(*life, *process))
            .map(|(_, _, host)| host.number)
    }

    /// A device tries all addresses: one that serves and runs.
    fn who_answers(&mut self) -> Option<usize> {
        let now = self.now;
        let serves = |process: Option<&Process>, host: &Host| {
            host.paused_until <= now && process.is_some_and(|one| one.core.in_service())
        };
        let turns = self.turns.as_mut()?;
        let here = (&self.server.process, &self.server.host);
        let others = turns.others.iter().map(|one| (&one.process, &one.host));
        let all = std::iter::once(here).chain(others);
        let serving: Vec<_> = all
            .filter(|(process, host)| serves(process.as_ref(), host))
            .map(|(_, host)| host.number)
            .collect();
        let chosen = turns.random.between(0, serving.len() as u64) as usize;
        serving.get(chosen).copied()
    }

    /// Makes this the coordinator that the simulator runs now.
    fn switch_to(&mut self, node: usize) {
        let server = &mut self.server;
        let mut others = self.turns.iter_mut().flat_map(|one| one.others.iter_mut());
        let Some(other) = others.find(|other| other.host.number == node) else {
            return;
        };
        std::mem::swap(&mut other.host, &mut server.host);
        std::mem::swap(&mut other.life, &mut server.life);
        std::mem::swap(&mut other.process, &mut server.process);
        std::mem::swap(&mut other.skew_ms, &mut server.skew_ms);
    }

    /// Switches to the coordinator that took the lead last: operators and checks mean that one.
    pub(super) fn go_to_leader(&mut self) {
        let Some(leads) = self.turns.as_ref().map(|turns| turns.leads) else {
            return;
        };
        if let Some(node) = self.find(|life, _| life == leads) {
            self.switch_to(node);
        }
    }

    /// Appends what a process has queued, behind the fence; what it finds.
    pub(super) fn append(
        &mut self,
        (epoch, next): (Epoch, Position),
        entries: &[Vec<u8>],
    ) -> Result<Position, StoreError> {
        let store = &self.server.store;
        let unfenced = self.planted == Some(Planted::UnfencedLease);
        let mut at = next;
        for batch in entries.chunks(coordinator::store::BATCH_EVENTS_MAX) {
            at = match unfenced {
                true => store.append(store.epoch()?, None, batch)?,
                false => store.append(epoch, Some(at), batch)?,
            };
            if let Some(turns) = self.turns.as_ref()
                && turns.leads != self.server.life
                && self.broken.is_none()
            {
                let number = self.server.host.number;
                self.broken = Some(format!(
                    "an append of coordinator {number} landed after another had begun to lead"
                ));
            }
        }
        Ok(at)
    }

    /// Whether another has the lease now, who refuses whoever opens the store.
    pub(super) fn is_led_by_another(&self) -> bool {
        self.turns.as_ref().is_some_and(|turns| {
            let is_other = turns.holder != Some(self.server.host.number);
            is_other && turns.until > turns.clock(self.now)
        })
    }

    /// The next epoch was opened: whoever led before writes no more.
    pub(super) fn opened(&mut self) {
        if let Some(turns) = &mut self.turns {
            turns.leads = self.server.life;
        }
    }
}
