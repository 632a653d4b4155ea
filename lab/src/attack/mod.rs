//! Attacks on a fleet, against the production code: a coordinator that looks
//! closely at what it receives, and devices that lie. Each file is one
//! attack or a family of them; [`ATTACKS`] lists them all.

mod claim;
mod difference;
mod finding;
mod fleet;
mod gradients;
mod lie;
mod membership;
mod observed;
mod page;
mod reconstruct;
mod roc;
mod search;
mod statistic;

use std::collections::BTreeSet;
use std::fmt;

use ndarray::Array2;

use crate::data::{Dataset, PartitionError};
use crate::progress::Progress;
use crate::simulate::{SimulateError, SimulateOptions};
use crate::simulation::{Lie, SimulationError};

pub use claim::{Claim, ClaimError};
pub use finding::{Excluded, Finding, Outcome};
pub use page::render;

/// Every attack. A new one is a file with a constant like these, and a line
/// here.
pub static ATTACKS: &[Attack] = &[
    membership::MEMBERSHIP,
    reconstruct::RECONSTRUCT,
    difference::DIFFERENCE,
    lie::labels::FLIP,
    lie::labels::SWAP,
    lie::labels::SHIFT,
    lie::labels::PARTLY,
    lie::labels::TARGET,
    lie::backdoor::BACKDOOR,
    lie::scale::INFLATE,
    lie::profile::PROFILE,
    lie::scale::SCALE,
    lie::scale::NEGATE,
    lie::noise::NOISE,
    lie::sensor::STUCK,
    lie::sensor::INVERT,
    lie::sensor::UNITS,
];

/// An attack.
#[derive(Clone, Copy)]
pub struct Attack {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// The coordinator does its work and asks its store what it should not
    /// know.
    Curious(Curious),
    /// Some devices lie.
    Lying(Lying),
}

type Curious = fn(&Scene<'_>, &mut Progress) -> Result<Finding, AttackError>;
type Lying = fn(&Scene<'_>) -> Result<Plot, AttackError>;

/// What liars do, and what they want.
struct Plot {
    lie: Box<dyn Lie>,
    aim: Option<Aim>,
}

/// Test inputs that are to be taken for one class.
struct Aim {
    inputs: Array2<f32>,
    class: u16,
}

/// One seed of an attack.
struct Scene<'a> {
    data: &'a Dataset,
    options: &'a AttackOptions,
    seed: u64,
}

/// What an attack is asked for.
#[derive(Clone, Debug)]
pub struct AttackOptions {
    /// Which one.
    pub attack: &'static Attack,
    /// The fleet; its `liars` are ignored.
    pub simulate: SimulateOptions,
    /// Most rows that a device learns from.
    pub rows: Option<usize>,
    /// Share of the devices that lie, one of them at least; a fifth if it is
    /// left out.
    pub liars: Option<f64>,
    /// Rows that liars claim.
    pub claim: Option<Claim>,
    /// The first round in which they lie; 1 if it is left out.
    pub from_round: Option<u32>,
    /// What `scale` multiplies contributions with.
    pub factor: Option<f64>,
    /// The class that `target` changes.
    pub from_class: Option<String>,
    /// The class that `target` and `backdoor` want.
    pub to_class: Option<String>,
    /// Most devices whose rows `reconstruct` and `difference` look for.
    pub victims: Option<usize>,
}

/// Why an attack came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum AttackError {
    /// Options that do not go together.
    #[error("{attack}: {option} {problem}")]
    Option {
        /// The attack.
        attack: &'static str,
        /// The option.
        option: &'static str,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The fleet leaves the attack nothing to work on.
    #[error("{attack}: {problem}")]
    Fleet {
        /// The attack.
        attack: &'static str,
        /// What is missing, and what to do.
        problem: String,
    },
    /// The fleet cannot be made, or its result cannot be tried.
    #[error(transparent)]
    Simulate(#[from] SimulateError),
    /// The fleet failed.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// The rows cannot be spread that way.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// What the coordinator holds cannot be read.
    #[error("what the coordinator holds cannot be read: {0}")]
    Observed(String),
    /// Devices cannot remember what they described.
    #[error("no temporary folder for what devices remember: {0}; is the disk of TMPDIR full?")]
    Disk(#[from] std::io::Error),
}

impl Attack {
    /// The attack of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ATTACKS.iter().find(|attack| attack.name == name)
    }

    /// Whether devices lie in it.
    pub fn lies(&self) -> bool {
        matches!(self.kind, Kind::Lying(_))
    }
}

impl fmt::Debug for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl AttackOptions {
    /// Holds the options against each other.
    ///
    /// # Errors
    /// The first that the attack has no use for.
    pub fn check(&self) -> Result<(), AttackError> {
        let name = self.attack.name;
        let unless = |fits: bool, option, problem: &str| match fits {
            true => Ok(()),
            false => Err(AttackError::Option {
                attack: name,
                option,
                problem: problem.to_owned(),
            }),
        };
        let lies = self.attack.lies();
        let honest = "is for attacks in which devices lie; leave it out";
        unless(lies || self.liars.is_none(), "--liars", honest)?;
        unless(lies || self.claim.is_none(), "--claim", honest)?;
        unless(lies || self.from_round.is_none(), "--from-round", honest)?;
        let rounds = self.simulate.rounds;
        let late = format!("is beyond the last round; --rounds is {rounds}");
        let begins = self.from_round.unwrap_or(1);
        unless(begins <= rounds.max(1), "--from-round", &late)?;
        let share = self.liars.unwrap_or(LIARS);
        let some = share > 0.0 && share <= 1.0;
        unless(some, "--liars", "is a share above 0, at most 1")?;
        let scales = name == "scale" || self.factor.is_none();
        unless(scales, "--factor", "is for scale alone; leave it out")?;
        let changes = name == "target" || self.from_class.is_none();
        unless(changes, "--from-class", "is for target; leave it out")?;
        let wants = ["target", "backdoor"].contains(&name) || self.to_class.is_none();
        let problem = "is for target and backdoor; leave it out";
        unless(wants, "--to-class", problem)?;
        let looks = ["reconstruct", "difference"].contains(&name) || self.victims.is_none();
        let problem = "is for reconstruct and difference; leave it out";
        unless(looks, "--victims", problem)
    }
}

impl Scene<'_> {
    /// An error about what was asked for.
    fn option(&self, option: &'static str, problem: String) -> AttackError {
        AttackError::Option {
            attack: self.options.attack.name,
            option,
            problem,
        }
    }

    /// An error about the fleet.
    fn fleet_error(&self, problem: String) -> AttackError {
        AttackError::Fleet {
            attack: self.options.attack.name,
            problem,
        }
    }

    /// The class of a name or number, or a class that stands in where none is
    /// named.
    fn class(
        &self,
        option: &'static str,
        asked: Option<&str>,
        otherwise: u16,
    ) -> Result<u16, AttackError> {
        let Some(asked) = asked else {
            return Ok(otherwise);
        };
        match self.data.class(asked) {
            Some(class) => Ok(class),
            None => {
                let known = self.data.classes.join(", ");
                let problem = format!("{asked:?} is no class of the data; there are {known}");
                Err(self.option(option, problem))
            }
        }
    }
}

/// Runs one seed of an attack.
///
/// # Errors
/// Options that do not go together, or a fleet that cannot be run.
pub fn run(
    data: &Dataset,
    options: &AttackOptions,
    seed: u64,
    progress: &mut Progress,
) -> Result<Finding, AttackError> {
    options.check()?;
    let scene = Scene {
        data,
        options,
        seed,
    };
    match options.attack.kind {
        Kind::Curious(attack) => attack(&scene, progress),
        Kind::Lying(plot) => lying(&scene, plot(&scene)?, progress),
    }
}

/// The same fleet twice: once with every device honest, once with liars.
fn lying(scene: &Scene<'_>, plot: Plot, progress: &mut Progress) -> Result<Finding, AttackError> {
    let Scene { options, seed, .. } = *scene;
    progress.stage(&format!("seed {seed}: every device honest"));
    let mut honest = fleet::Fleet::of(scene, fleet::parts(scene)?, seed)?;
    let before = honest.run(scene, progress)?;
    let Some(innocent) = &before.release else {
        let why = before.ended.unwrap_or_default();
        return Err(scene.fleet_error(format!("the honest fleet has no student to spoil: {why}")));
    };
    let mut fleet = fleet::Fleet::of(scene, fleet::parts(scene)?, seed)?;
    let devices = fleet.parts.len();
    let liars = liars(devices, options.liars.unwrap_or(LIARS), seed);
    progress.stage(&format!(
        "seed {seed}: {} of {devices} devices lie: {}",
        liars.len(),
        options.attack.name
    ));
    let lie = match options.claim {
        Some(claim) => Box::new(claim::Claiming::of(plot.lie, claim)),
        None => plot.lie,
    };
    let from_round = u64::from(options.from_round.unwrap_or(1));
    fleet.simulation.lie(liars.clone(), from_round, lie);
    let after = fleet.run(scene, progress)?;
    let success = match (&plot.aim, &after.release) {
        (Some(aim), Some(release)) => Some(fleet::share_taken_for(release, aim)?),
        _ => None,
    };
    let was_success = match &plot.aim {
        Some(aim) => Some(fleet::share_taken_for(innocent, aim)?),
        None => None,
    };
    let mut finding = Finding {
        student_accuracy: Some(fleet::accuracy(scene.data, after.release.as_deref())?),
        honest_accuracy: Some(fleet::accuracy(scene.data, Some(innocent))?),
        success,
        excluded: Some(fleet.excluded(&before, &after, &liars)),
        uplink_bytes_max: after.uplink_bytes_max,
        ..Finding::default()
    };
    finding.note("devices that lie", format!("{} of {devices}", liars.len()));
    if let Some(share) = was_success {
        finding.note(
            "success with every device honest",
            format!("{:.2} %", 100.0 * share),
        );
    }
    if let Some(why) = after.ended {
        finding.note("the last round gave no student", why);
    }
    Ok(finding)
}

fn liars(devices: usize, share: f64, seed: u64) -> BTreeSet<usize> {
    let one = 1.0 / devices.max(1) as f64;
    crate::simulation::drawn_liars(devices, share.max(one), seed)
}

/// Share of the devices that lie where nobody says.
pub const LIARS: f64 = 0.2;

#[cfg(test)]
mod tests;
