//! A fleet that is treated badly, on purpose and repeatably: the coordinator's
//! real core, device sessions and log, in one thread, under a simulated clock, with a network, disks and processes that fail as a seed
//! says. Computations are stand-ins, so that a seed takes milliseconds.
//!
//! After every step a checker holds the fleet against what no fault excuses;
//! `ARCHITECTURE.md` lists it. The same seed gives the same run, to the bit.

mod checker;
mod clock;
mod compaction;
mod device;
mod device_work;
mod driver;
mod evaluations;
mod fake_compute;
mod faults;
mod members;
mod network;
mod offers;
mod operator;
mod reading;
mod reception;
mod scenario;
mod server;
mod simulator;
mod turn_steps;
mod turns;

use std::fmt;

use coordinator::core::PlantedFault;
use serde::Serialize;

use self::simulator::Simulator;

/// A fault of the harness itself, planted to show that it would be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Effects happen before what they follow from is durable.
    AcknowledgeBeforeFlush,
    /// A contribution that comes a second time is added a second time.
    CountResendTwice,
    /// The contribute phase's timeout is forgotten.
    ForgetTimeout,
    /// A blob is deleted although an event that names it is on its way.
    SweepInFlight,
    /// Records go that no snapshot stands for.
    TrimTooFar,
    /// Whoever leads writes, whoever has taken the lead since.
    UnfencedLease,
    /// In the core itself: answers do not wait for the log.
    CoreAnswersAtOnce,
    /// In the core itself: what could not be stored stays in memory.
    CoreKeepsStateAhead,
}

impl Planted {
    /// The fault that the core itself is given.
    fn in_core(self) -> Option<PlantedFault> {
        match self {
            Self::CoreAnswersAtOnce => Some(PlantedFault::AnswerAtOnce),
            Self::CoreKeepsStateAhead => Some(PlantedFault::KeepStateAhead),
            _ => None,
        }
    }
}

/// What a seed went through, and came out of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Survived {
    /// Devices.
    pub devices: u64,
    /// Steps taken.
    pub steps: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Rounds that ended with a student.
    pub completed: u64,
    /// Contributions that devices wrote down as accepted.
    pub settled: u64,
    /// Times the coordinator was killed.
    pub coordinator_crashes: u64,
    /// Times a device was killed.
    pub device_crashes: u64,
    /// Times the store stopped.
    pub outages: u64,
    /// Partitions and one-way links.
    pub partitions: u64,
    /// Jumps of the coordinator's clock.
    pub clock_jumps: u64,
    /// Transfers that arrived twice.
    pub duplicates: u64,
    /// Snapshots written.
    pub snapshots: u64,
    /// Records that snapshots stand for and that went.
    pub trimmed: u64,
    /// Blobs deleted.
    pub swept: u64,
    /// Upkeeps that a crash or a fault cut off.
    pub cut: u64,
    /// Snapshots that were damaged.
    pub damaged: u64,
    /// Rollouts that reached everyone.
    pub rolled_out: u64,
    /// Rollouts that devices halted.
    pub halted: u64,
    /// Students that devices went back from.
    pub rolled_back: u64,
    /// Contributions acknowledged again without being counted again.
    pub resent: u64,
    /// Devices that were revoked.
    pub revoked: u64,
    /// Tasks beyond the first.
    pub further_tasks: u64,
    /// Times that a coordinator took the lead, where several take turns.
    pub turns: u64,
    /// Times that the one that led was paused.
    pub pauses: u64,
    /// Appends that came too late, after another had taken the lead.
    pub fenced: u64,
}

/// An invariant that a seed broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The seed that does it again.
    pub seed: u64,
    /// Whether several coordinators took turns.
    pub shared: bool,
    /// When, in simulated milliseconds.
    pub at_ms: u64,
    /// What does not hold.
    pub violation: String,
    /// The last steps before it.
    pub trace: Vec<String>,
}

impl std::error::Error for Broken {}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}, {} ms: {}",
            self.seed, self.at_ms, self.violation
        )?;
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        let shared = if self.shared { " --shared" } else { "" };
        write!(f, "again: alambic-lab survive --seed {}{shared}", self.seed)
    }
}

/// What is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// What goes wrong, and when.
    pub seed: u64,
    /// Whether two or three coordinators take turns on one store, by a lease.
    pub shared: bool,
    /// A fault that is to be found.
    pub planted: Option<Planted>,
}

impl Run {
    /// Runs it. Milliseconds for a small fleet.
    ///
    /// # Errors
    /// The first invariant that does not hold, with a trace. Finding the trace
    /// runs the seed a second time.
    pub fn survive(&self) -> Result<Survived, Box<Broken>> {
        match Simulator::new(self, false).run() {
            Ok(survived) => Ok(survived),
            Err(_) => Simulator::new(self, true).run(),
        }
    }
}

/// Runs one seed with one coordinator.
///
/// # Errors
/// Those of [`Run::survive`].
pub fn run(seed: u64, planted: Option<Planted>) -> Result<Survived, Box<Broken>> {
    let of = Run {
        seed,
        shared: false,
        planted,
    };
    of.survive()
}

impl Survived {
    /// The sum over several seeds.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            devices: self.devices + other.devices,
            steps: self.steps + other.steps,
            simulated_ms: self.simulated_ms + other.simulated_ms,
            completed: self.completed + other.completed,
            settled: self.settled + other.settled,
            coordinator_crashes: self.coordinator_crashes + other.coordinator_crashes,
            device_crashes: self.device_crashes + other.device_crashes,
            outages: self.outages + other.outages,
            partitions: self.partitions + other.partitions,
            clock_jumps: self.clock_jumps + other.clock_jumps,
            duplicates: self.duplicates + other.duplicates,
            snapshots: self.snapshots + other.snapshots,
            trimmed: self.trimmed + other.trimmed,
            swept: self.swept + other.swept,
            cut: self.cut + other.cut,
            damaged: self.damaged + other.damaged,
            rolled_out: self.rolled_out + other.rolled_out,
            halted: self.halted + other.halted,
            rolled_back: self.rolled_back + other.rolled_back,
            resent: self.resent + other.resent,
            revoked: self.revoked + other.revoked,
            further_tasks: self.further_tasks + other.further_tasks,
            turns: self.turns + other.turns,
            pauses: self.pauses + other.pauses,
            fenced: self.fenced + other.fenced,
        }
    }
}
