//! A standing task and a fleet that sleeps: each device wakes once in a while,
//! for a short time.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use common::ids::Time;
use common::math::random::rng;
use common::wire::messages::TransferAnswer;
use coordinator::round::Input;
use edge_agent::session;
use rand::Rng as _;

use super::bytes::framed;
use super::{RoundResult, Simulation, SimulationError};

/// When devices are awake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleep {
    /// Milliseconds that a device is awake at a time.
    pub awake_ms: u64,
    /// Milliseconds in which it wakes once, at a random time.
    pub period_ms: u64,
    /// Periods in all.
    pub periods: u32,
}

/// The visits of a fleet, in the order of time.
#[derive(Debug)]
pub struct Visits {
    queue: BinaryHeap<Reverse<(Time, usize, bool)>>,
    end: Time,
    awake: BTreeSet<usize>,
    seen: BTreeSet<usize>,
    answers: Vec<u32>,
}

impl Visits {
    /// Every device's visits, drawn by `seed`, from `begin` on.
    pub fn drawn(devices: usize, sleep: Sleep, begin: Time, seed: u64) -> Self {
        let mut random = rng(seed, "visits");
        let mut queue = BinaryHeap::new();
        let latest = sleep.period_ms.saturating_sub(sleep.awake_ms);
        for period in 0..u64::from(sleep.periods) {
            for device in 0..devices {
                let wakes = begin.after_ms(period * sleep.period_ms);
                let wakes = wakes.after_ms(random.random_range(0..=latest));
                queue.push(Reverse((wakes, device, true)));
                queue.push(Reverse((wakes.after_ms(sleep.awake_ms), device, false)));
            }
        }
        Self {
            queue,
            end: begin.after_ms(u64::from(sleep.periods) * sleep.period_ms),
            awake: BTreeSet::new(),
            seen: BTreeSet::new(),
            answers: Vec::new(),
        }
    }

    /// Devices that have been awake.
    pub fn seen(&self) -> usize {
        self.seen.len()
    }

    /// Round trips of each visit in which something was accepted, from the
    /// hello to the last acknowledgement; the connection's own do not count.
    pub fn round_trips(&self) -> &[u32] {
        &self.answers
    }
}

impl Simulation {
    /// The next student of a standing task; none if the visits end before.
    ///
    /// # Errors
    /// If a device's work fails.
    pub fn next_student(
        &mut self,
        visits: &mut Visits,
    ) -> Result<Option<RoundResult>, SimulationError> {
        let version = |one: &Self| one.engine.state().release.as_ref().map(|one| one.version);
        let before = version(self);
        while version(self) == before {
            if let Some((device, message)) = self.inbox.pop_front() {
                if visits.awake.contains(&device) {
                    self.devices[device].bytes.receives(framed(&message));
                    self.drive(device, session::Input::Received(message))?;
                }
                continue;
            }
            let due = self.engine.poll_timeout();
            let next = visits.queue.peek().map(|Reverse((at, ..))| *at);
            match (due, next) {
                (Some(due), next) if due <= visits.end && next.is_none_or(|next| due < next) => {
                    self.now = self.now.max(due);
                    self.coordinate(Input::Tick);
                }
                (_, Some(_)) => self.visit(visits)?,
                (_, None) => return Ok(None),
            }
        }
        let releases = self.engine.state().releases.iter();
        let before = releases.rev().nth(1).map(|release| release.version);
        self.result(before).map(Some)
    }

    /// The time of the simulation.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Devices that the newest student stands on.
    pub fn lineage(&self) -> usize {
        let release = self.engine.state().release.as_ref();
        release.map_or(0, |release| release.lineage.len())
    }

    fn visit(&mut self, visits: &mut Visits) -> Result<(), SimulationError> {
        let Some(Reverse((at, index, wakes))) = visits.queue.pop() else {
            return Ok(());
        };
        self.now = self.now.max(at);
        if !wakes {
            visits.awake.remove(&index);
            let device = self.devices[index].id;
            self.coordinate(Input::Disconnected { device });
            let (_, done) = std::mem::take(&mut self.devices[index].trips);
            visits.answers.extend((done > 0).then_some(done));
            return self.drive(index, session::Input::Disconnected);
        }
        visits.awake.insert(index);
        let input = match visits.seen.insert(index) {
            true => session::Input::Started {
                outbox: Vec::new(),
                cached: BTreeSet::new(),
                partial: Vec::new(),
            },
            false => session::Input::Tick,
        };
        self.drive(index, input)
    }

    /// Counts the round trips of a visit, and how many there were at the last
    /// acknowledgement.
    pub(super) fn trip(&mut self, index: usize, trips: u32, answer: Option<TransferAnswer>) {
        let (all, done) = &mut self.devices[index].trips;
        *all += trips;
        if answer == Some(TransferAnswer::Accepted) {
            *done = *all;
        }
    }
}
