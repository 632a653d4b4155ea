//! Staged rollouts: to whom a release is offered, and when that stops.
//!
//! Pure: the round engine records what is decided here, and folds it again.

use std::collections::{BTreeMap, BTreeSet};

use bincode::{Decode, Encode};
use protocol::evaluation::Evaluation;
use protocol::ids::{DeviceId, Time, Version};
use serde::{Deserialize, Serialize};

/// How a release reaches the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Plan {
    /// Percent of the devices at each stage, ascending; the last is 100.
    pub stages: Vec<u8>,
    /// Most devices of a stage that may not want it, in thousandths.
    pub worse_permille_max: u16,
    /// Milliseconds of use after which a device tries it once more, and a
    /// stage may end.
    pub soak_ms: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            stages: vec![1, 10, 50, 100],
            worse_permille_max: 20,
            soak_ms: 30 * 60_000,
        }
    }
}

/// What is wrong with a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The stages do not ascend to everyone.
    #[error("stages are percents from 1 that ascend and end with 100, such as 1,10,50,100")]
    Stages,
    /// More than all devices.
    #[error("at most 100 % of the devices can find a student worse")]
    Worse,
    /// Longer than a release lasts.
    #[error("a soak lasts 30 days at most")]
    Soak,
}

impl Plan {
    /// A plan whose parts make sense.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(self) -> Result<Self, PlanError> {
        let ascends = self.stages.windows(2).all(|pair| pair[0] < pair[1]);
        let ends = self.stages.last() == Some(&100) && self.stages.first() != Some(&0);
        if !ascends || !ends {
            return Err(PlanError::Stages);
        }
        if self.worse_permille_max > 1_000 {
            return Err(PlanError::Worse);
        }
        if self.soak_ms > SOAK_MS_MAX {
            return Err(PlanError::Soak);
        }
        Ok(self)
    }
}

/// Who is offered what a round released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Releases {
    /// Every device at once. They try it, and once more after this soak.
    All {
        /// Milliseconds.
        soak_ms: u64,
    },
    /// Nobody until an operator starts a rollout.
    Held,
    /// A rollout by this plan, by itself.
    Staged(Plan),
}

impl Default for Releases {
    fn default() -> Self {
        Self::All {
            soak_ms: Plan::default().soak_ms,
        }
    }
}

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Standing {
    /// Offered to its stage.
    Running,
    /// Offered to nobody new until an operator resumes it.
    Paused,
    /// Offered to everyone from now on.
    Completed,
    /// Too many devices did not want it.
    Halted {
        /// Those.
        worse: u32,
        /// Of this many.
        of: u32,
    },
    /// An operator ended it.
    Aborted,
}

/// A rollout, folded from its events.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Rollout {
    /// What is rolled out.
    pub version: Version,
    /// How.
    pub plan: Plan,
    /// Which of the plan's stages.
    pub stage: usize,
    /// When the stage began.
    pub since: Time,
    /// Devices that are part of it wherever they are in the draw.
    pub pilots: BTreeSet<DeviceId>,
    /// The last place in the draw that is part of the stage, if that was
    /// settled among the devices connected as it began.
    pub last: Option<u64>,
    /// Where it stands.
    pub standing: Standing,
}

/// The newest evaluation of each device.
pub type Evaluations = BTreeMap<DeviceId, (Version, Evaluation)>;

/// What a rollout does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait, and look again at this time if there is one.
    Wait(Option<Time>),
    /// Begin the next stage, or complete after the last.
    Advance,
    /// Stop.
    Halt {
        /// Devices that do not want it.
        worse: u32,
        /// Devices of the stage.
        of: u32,
    },
}

/// How a stage's devices fare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Devices of the stage that are connected, or have tried it.
    pub devices: u32,
    /// Those that use it and try it once more after the soak.
    pub soaking: u32,
    /// Those that use it and keep it.
    pub kept: u32,
    /// Those that use it and cannot judge it.
    pub untested: u32,
    /// Those that do not want it.
    pub worse: u32,
    /// Those that have said nothing yet.
    pub silent: u32,
}

impl Tally {
    /// Counts a device that said this.
    pub fn count(&mut self, evaluation: Evaluation) {
        self.devices += 1;
        match evaluation {
            Evaluation::Soaking => self.soaking += 1,
            Evaluation::Kept => self.kept += 1,
            Evaluation::Untested => self.untested += 1,
            Evaluation::Worse | Evaluation::Refused | Evaluation::RolledBack => self.worse += 1,
        }
    }

    /// Whether more than a fifth of the devices that could judge it do not want
    /// it, two at least: one device has no say over all others, and neither
    /// has a minority of liars.
    pub fn is_unwanted(&self) -> bool {
        let judged = self.soaking + self.kept + self.worse;
        self.worse >= 2 && self.worse * UNWANTED_SHARE > judged
    }
}

impl Rollout {
    /// A rollout that begins.
    pub fn new(version: Version, plan: Plan, at: Time) -> Self {
        Self {
            version,
            plan,
            stage: 0,
            since: at,
            pilots: BTreeSet::new(),
            last: None,
            standing: Standing::Running,
        }
    }

    /// Whether it goes on, now or once it is resumed.
    pub fn is_open(&self) -> bool {
        matches!(self.standing, Standing::Running | Standing::Paused)
    }

    /// Percent of the devices at this stage.
    pub fn percent(&self) -> u8 {
        self.plan.stages.get(self.stage).copied().unwrap_or(100)
    }

    /// Whether this device belongs to the stage: its place is drawn from its
    /// id and the version, so other devices go first each time, and nobody
    /// leaves as the stages grow.
    pub fn includes(&self, device: DeviceId) -> bool {
        let last = self.last.unwrap_or_else(|| self.quantile());
        self.percent() >= 100 || self.place(device) <= last || self.pilots.contains(&device)
    }

    /// Who makes the stage its share of these devices, one at least, the share
    /// rounded to the nearest (a half down): up to which place in the draw,
    /// and who takes part beyond that. Later devices join in if they are drawn
    /// before that place, which no more of them are than the share.
    pub fn settle(&self, connected: &BTreeSet<DeviceId>) -> (u64, Vec<DeviceId>) {
        let percent = usize::from(self.percent());
        let wanted = ((connected.len() * percent + 49) / 100).max(1);
        let before = self.last.unwrap_or_default();
        let is_part =
            |device: &DeviceId| self.place(*device) <= before || self.pilots.contains(device);
        let (part, mut others): (Vec<_>, Vec<_>) = connected.iter().copied().partition(is_part);
        others.sort_by_key(|device| (self.place(*device), *device));
        others.truncate(wanted.saturating_sub(part.len()));
        let drawn = others.last().map_or(before, |device| self.place(*device));
        let last = drawn.min(self.quantile()).max(before);
        others.retain(|device| self.place(*device) > last);
        (last, others)
    }

    /// The place in the draw before which the stage's share of all devices is.
    fn quantile(&self) -> u64 {
        (u64::MAX / 100).saturating_mul(u64::from(self.percent()))
    }

    /// The device among these that comes first.
    pub fn first_of(&self, devices: impl Iterator<Item = DeviceId>) -> Option<DeviceId> {
        devices.min_by_key(|device| (self.place(*device), *device))
    }

    /// How the stage's devices fare.
    pub fn tally(&self, connected: &BTreeSet<DeviceId>, evaluations: &Evaluations) -> Tally {
        let of = |device: &DeviceId| {
            let evaluation = evaluations.get(device);
            let of_this = evaluation.filter(|(version, _)| *version == self.version);
            of_this.map(|(_, evaluation)| *evaluation)
        };
        let away = evaluations
            .keys()
            .filter(|device| !connected.contains(device));
        let away = away.filter(|device| of(device).is_some());
        let mut tally = Tally::default();
        for device in connected.iter().chain(away) {
            if !self.includes(*device) {
                continue;
            }
            match of(device) {
                None => {
                    tally.devices += 1;
                    tally.silent += 1;
                }
                Some(evaluation) => tally.count(evaluation),
            }
        }
        tally
    }

    /// What to do now. A stage ends once its soak is over and all its
    /// connected devices have made up their minds; those that never do are
    /// waited for twice as long.
    pub fn judge(&self, tally: Tally, now: Time) -> Step {
        let (worse, of) = (tally.worse, tally.devices);
        if self.is_open() && u64::from(worse) > worse_allowed(of, self.plan.worse_permille_max) {
            return Step::Halt { worse, of };
        }
        if self.standing != Standing::Running || tally.kept + tally.untested == 0 {
            return Step::Wait(None);
        }
        let soaked = self.since.after_ms(self.plan.soak_ms);
        let undecided = tally.soaking + tally.silent;
        let until = match undecided {
            0 => soaked,
            _ => soaked.after_ms(self.plan.soak_ms).after_ms(LATE_MS),
        };
        if now >= until {
            Step::Advance
        } else {
            Step::Wait(Some(until))
        }
    }

    fn place(&self, device: DeviceId) -> u64 {
        let mut head = [0u8; 8];
        head.copy_from_slice(&device.0[..8]);
        let version = (u64::from(self.version.epoch) << 32) ^ self.version.number;
        mixed(u64::from_le_bytes(head) ^ mixed(version))
    }
}

/// Devices of a stage that may not want a release before it is halted.
fn worse_allowed(of: u32, permille: u16) -> u64 {
    u64::from(of) * u64::from(permille) / 1_000
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
fn mixed(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// What an operator orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Begin.
    Start {
        /// With which release.
        version: Version,
        /// How.
        plan: Plan,
    },
    /// Offer it to nobody new.
    Pause,
    /// Go on.
    Resume,
    /// End it; anyone who has it keeps it.
    Abort,
}

/// Why an order is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no such release.
    #[error("no release {0}; `model list` shows all")]
    Unknown(Version),
    /// Everyone has it.
    #[error(
        "release {0} is offered to every device already; to hold new ones back, set `releases = \
         \"held\"` or `\"staged\"` under [rollout] in coordinator.toml"
    )]
    Offered(Version),
    /// Devices may hold newer ones.
    #[error(
        "release {version} is older than {newest}, and devices never go down; `rollout rollback \
         {version}` releases it again under a higher version"
    )]
    Older {
        /// What was asked for.
        version: Version,
        /// What devices may hold.
        newest: Version,
    },
    /// One goes on.
    #[error("the rollout of {0} goes on; `rollout abort` ends it")]
    Open(Version),
    /// There is none.
    #[error("no rollout goes on; `rollout start VERSION` begins one")]
    None,
    /// It is not paused.
    #[error("the rollout of {0} is not paused")]
    NotPaused(Version),
    /// The plan makes no sense.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// One of so many devices may not want a release.
const UNWANTED_SHARE: u32 = 5;
/// How long a stage waits for devices beyond their second soak.
const LATE_MS: u64 = 60_000;
const SOAK_MS_MAX: u64 = 30 * 24 * 3_600_000;

#[cfg(test)]
mod tests;
