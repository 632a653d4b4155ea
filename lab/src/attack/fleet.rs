//! The fleet that is attacked: the one that `simulate` would run.

use std::collections::BTreeSet;
use std::sync::Arc;

use edge_agent::data::{Dataset as DeviceRows, SplitRule};

use common::ids::DeviceId;
use common::model::Lineage;
use common::model::Release;
use common::task::Task;

use super::{Aim, AttackError, Excluded, Scene};
use crate::data::{Dataset, Partition, partition};
use crate::metrics::accuracy as share_right;
use crate::privacy;
use crate::progress::Progress;
use crate::simulate::{SimulateError, checked_task, chosen_stage};
use crate::simulation::{RoundResult, Simulation, SimulationError};

/// A fleet before its first round.
pub(super) struct Fleet {
    pub(super) simulation: Simulation,
    pub(super) task: Task,
    /// Rows of each device.
    pub(super) parts: Vec<Vec<usize>>,
}

/// What all rounds left behind.
pub(super) struct Ran {
    /// The newest student; none if no round released one.
    pub(super) release: Option<Arc<Release>>,
    /// The last round that released it.
    pub(super) last: Option<RoundResult>,
    /// Why the last round released none.
    pub(super) ended: Option<String>,
    pub(super) uplink_bytes_max: u64,
}

impl Fleet {
    /// Devices that hold these rows, and a task of this seed.
    pub(super) fn of(
        scene: &Scene<'_>,
        parts: Vec<Vec<usize>>,
        task_seed: u64,
    ) -> Result<Self, AttackError> {
        let options = scene.options.simulate.as_told();
        let train = scene.data.train.clone();
        let (privacy, _) = privacy::choose(
            (train.inputs.view(), &train.labels),
            &parts,
            options.privacy(),
        );
        let held = (parts.as_slice(), privacy);
        let mut untold = Progress::new(true);
        let by_devices = chosen_stage(scene.data, &options, held, task_seed, &mut untold)?;
        let by_devices = by_devices.as_ref();
        let (task, _) = checked_task(scene.data, &options, &parts, by_devices, task_seed)?;
        let mut simulation =
            Simulation::new(task.clone(), train, parts.clone(), privacy, scene.seed)?;
        if let Some(asked) = options.protection {
            simulation.protect(asked.of(&task, scene.seed));
        }
        Ok(Self {
            simulation,
            task,
            parts,
        })
    }

    /// Runs every round. One that ends without a student is no error: that
    /// may be what an attack is after.
    pub(super) fn run(
        &mut self,
        scene: &Scene<'_>,
        progress: &mut Progress,
    ) -> Result<Ran, AttackError> {
        if progress.is_live() {
            let mut told = progress.clone();
            self.simulation.watch(move |seen| told.simulated(&seen));
        }
        self.simulation.connect()?;
        let mut ran = Ran {
            release: None,
            last: None,
            ended: None,
            uplink_bytes_max: 0,
        };
        let rounds = scene.options.simulate.rounds.max(1);
        for round in 1..=rounds {
            progress.stage(&format!("  round {round} of {rounds}"));
            match self.simulation.round() {
                Ok(result) => {
                    let sent = result.bytes.iter().map(|bytes| bytes.up.udp_bytes());
                    ran.uplink_bytes_max = sent.max().unwrap_or(0);
                    ran.release = Some(result.release.clone());
                    ran.last = Some(result);
                    ran.ended = None;
                }
                Err(SimulationError::NoStudent { round, outcome, .. }) => {
                    ran.ended = Some(format!("round {round} {outcome}"));
                }
                Err(other) => return Err(other.into()),
            }
        }
        Ok(ran)
    }

    /// The rows that a device describes: of those it learns from, the classes
    /// that its policy does not leave out.
    pub(super) fn described(&self, device: usize) -> DeviceRows {
        let learns = self.simulation.learns_from(device);
        let counts = learns.class_counts(self.task.classes());
        let rows_min = self.simulation.privacy().rows_min;
        let labels = learns.labels();
        let told = |row: &usize| {
            let count = labels[*row].and_then(|label| counts.get(usize::from(label)));
            count.is_some_and(|&count| count >= rows_min)
        };
        let chosen: Vec<usize> = (0..learns.rows()).filter(told).collect();
        learns.select(&chosen)
    }

    /// Devices that are in the student of `before` and not in that of
    /// `after`, or of which something was left out.
    pub(super) fn excluded(&self, before: &Ran, after: &Ran, liars: &BTreeSet<usize>) -> Excluded {
        let lineage = |ran: &Ran| -> BTreeSet<DeviceId> {
            let release = ran.release.as_ref();
            match release.map(|release| &release.as_raw().lineage) {
                Some(Lineage::Named(devices)) => devices.iter().copied().collect(),
                // Of more devices than a release names.
                Some(Lineage::Digest { .. }) | None => BTreeSet::new(),
            }
        };
        let (was, is) = (lineage(before), lineage(after));
        let left_out = self.simulation.excluded();
        let mut excluded = Excluded::default();
        for device in 0..self.parts.len() {
            let id = self.simulation.device_id(device);
            if left_out.contains(&id) || (was.contains(&id) && !is.contains(&id)) {
                match liars.contains(&device) {
                    true => excluded.liars += 1.0,
                    false => excluded.honest += 1.0,
                }
            }
        }
        excluded
    }
}

/// The rows of each device, no more than were asked for.
pub(super) fn parts(scene: &Scene<'_>) -> Result<Vec<Vec<usize>>, AttackError> {
    let Scene { data, options, .. } = scene;
    let natural = match data.train.users {
        Some(_) => Partition::Natural,
        None => Partition::Dirichlet(0.1),
    };
    let how = options.simulate.partition.unwrap_or(natural);
    let classes = data.classes.len();
    let parts = partition(
        &data.train,
        classes,
        how,
        options.simulate.agents,
        scene.seed,
    )?;
    Ok(match options.rows {
        Some(rows) => { parts.into_iter() }
            .map(|part| first_learnt(data, &part, rows))
            .collect(),
        None => parts,
    })
}

/// This many of a device's rows, evenly over all, that it learns from `learnt`
/// of them once it has put its held-out rows aside; all if they are fewer.
fn first_learnt(data: &Dataset, part: &[usize], learnt: usize) -> Vec<usize> {
    let mut taken = learnt.min(part.len());
    loop {
        let evenly = |at: usize| part[at * part.len() / taken.max(1)];
        let chosen: Vec<usize> = (0..taken).map(evenly).collect();
        let trained = trained_on(data, &chosen);
        if trained >= learnt || taken >= part.len() {
            return chosen;
        }
        taken = (taken + (learnt - trained)).min(part.len());
    }
}

pub(super) fn trained_on(data: &Dataset, rows: &[usize]) -> usize {
    let part = data.train.select(rows);
    let labels = part.labels.into_iter().map(Some).collect();
    let rows = DeviceRows::new(part.inputs, labels);
    rows.map_or(0, |rows| rows.split(SplitRule::default()).training.rows())
}

/// Share of the test rows that a student answers right; 0 without a student.
pub(super) fn accuracy(data: &Dataset, release: Option<&Release>) -> Result<f64, AttackError> {
    let Some(release) = release else {
        return Ok(0.0);
    };
    let said = release.predict(data.test.inputs.view()).map_err(untried)?;
    Ok(share_right(&said, &data.test.labels))
}

/// Share of the inputs aimed at that the student takes for the class aimed at.
pub(super) fn share_taken_for(release: &Release, aim: &Aim) -> Result<f64, AttackError> {
    let said = release.predict(aim.inputs.view()).map_err(untried)?;
    let taken = said.iter().filter(|&&class| class == aim.class).count();
    Ok(taken as f64 / said.len().max(1) as f64)
}

fn untried(cause: impl std::fmt::Display) -> AttackError {
    AttackError::Simulate(SimulateError::Result(cause.to_string()))
}
