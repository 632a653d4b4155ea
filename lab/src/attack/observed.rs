//! What a coordinator holds after a round, and what it can compute with it.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2, s};

use common::contribution::{CheckContext, Contribution, Support};
use common::features::Normaliser;
use common::gradient::Gradient;
use common::math::kernel::Ntk;
use common::math::regression::{Preconditioner, Whitener};
use common::model::Release;
use common::moments::Moments;
use common::profile::Profile;
use common::summary::Points;
use common::task::Task;
use common::transfer::TransferSet;
use coordinator::validation;

use super::AttackError;
use crate::simulation::{RoundResult, Simulation};

/// Everything that was published, and everything that devices sent.
pub(super) struct Observed {
    pub(super) task: Task,
    pub(super) set: TransferSet,
    pub(super) normaliser: Normaliser,
    pub(super) embedding: Embedding,
    /// By device; empty where one sent nothing.
    pub(super) devices: Vec<Received>,
    /// The students that gradients can be of.
    pub(super) students: Vec<Arc<Release>>,
}

/// What one device sent.
#[derive(Default)]
pub(super) struct Received {
    pub(super) profile: Option<Profile>,
    pub(super) points: Option<Points>,
    pub(super) moments: Option<Moments>,
    pub(super) gradient: Option<Gradient>,
}

/// What devices sent of one kind, by the device's number.
fn sent<C: Contribution>(
    simulation: &Simulation,
    context: &CheckContext<'_>,
) -> Result<Vec<(usize, C)>, AttackError> {
    let contributions = simulation.contributions(C::KIND).into_iter();
    let contributions = contributions.filter(|one| simulation.is_looked_at(one.device));
    let read = contributions.map(|one| {
        let bytes = simulation.blob(one.blob).unwrap_or_default();
        let read = C::read(&bytes, context).map_err(unreadable)?;
        Ok((one.device, read))
    });
    read.collect()
}

impl Received {
    /// Rows it says it described.
    pub(super) fn rows(&self) -> Option<u64> {
        let profile = self.profile.as_ref().map(Profile::rows);
        profile.or_else(|| self.moments.as_ref().map(|moments| moments.rows))
    }

    /// G, support × support, as it is known.
    pub(super) fn gram(&self) -> Option<Array2<f64>> {
        let moments = self.moments.as_ref()?;
        let factor = moments.factor.mapv(f64::from);
        let mut gram = factor.t().dot(&factor);
        let rest = f64::from(moments.remainder);
        gram.diag_mut().map_inplace(|value| *value += rest);
        Some(gram)
    }

    /// B, support × classes.
    pub(super) fn cross(&self) -> Option<Array2<f64>> {
        let moments = self.moments.as_ref()?;
        let labelled = moments.targets.nrows();
        let carried = moments.factor.slice(s![..labelled, ..]).mapv(f64::from);
        Some(carried.t().dot(&moments.targets.mapv(f64::from)))
    }
}

/// The way from a normalised row to its features in the basis of moments.
pub(super) struct Embedding {
    pub(super) ntk: Ntk,
    /// What the kernel stands on, as it sees it.
    pub(super) seen: Array2<f64>,
    /// Q⁻¹R⁻¹, support × support.
    pub(super) lower: Array2<f64>,
}

impl Embedding {
    /// On inputs as the kernel sees them, which stand for so many rows each.
    /// Cost about 3·m³.
    pub(super) fn of(
        ntk: Ntk,
        seen: ArrayView2<'_, f32>,
        counts: &[u32],
    ) -> Result<Self, AttackError> {
        let whitener = Whitener::of(&ntk, seen).map_err(unreadable)?;
        let basis = Preconditioner::of(&whitener, counts).map_err(unreadable)?;
        let whole = Array2::eye(seen.nrows());
        let white = whitener.embed(whole.view()).map_err(unreadable)?;
        let lower = basis.embed(white.view()).map_err(unreadable)?;
        Ok(Self {
            ntk,
            seen: seen.mapv(f64::from),
            lower,
        })
    }

    /// φ of rows as the kernel sees them, rows × support.
    pub(super) fn features(&self, seen: ArrayView2<'_, f64>) -> Result<Array2<f64>, AttackError> {
        let kernel = self
            .ntk
            .matrix(seen, self.seen.view())
            .map_err(unreadable)?;
        Ok(kernel.dot(&self.lower.t()))
    }
}

impl Observed {
    /// Of the newest round.
    pub(super) fn of(simulation: &Simulation, result: &RoundResult) -> Result<Self, AttackError> {
        let task = simulation.task().clone();
        let [_, transfer, normaliser] = result
            .teacher
            .map(|name| simulation.blob(name).unwrap_or_default());
        let set = validation::transfer_set(&task, &transfer).map_err(unreadable)?;
        let normaliser = validation::normaliser(&task, &normaliser).map_err(unreadable)?;
        let mut devices: Vec<Received> = Vec::new();
        devices.resize_with(result.bytes.len(), Received::default);
        let context = CheckContext {
            support: Some(Support::of(&set)),
            ..CheckContext::of(&task)
        };
        for (device, profile) in sent(simulation, &context)? {
            devices[device].profile = Some(profile);
        }
        for (device, points) in sent(simulation, &context)? {
            devices[device].points = Some(points);
        }
        for (device, moments) in sent(simulation, &context)? {
            devices[device].moments = Some(moments);
        }
        for (device, gradient) in sent(simulation, &context)? {
            devices[device].gradient = Some(gradient);
        }
        Ok(Self {
            embedding: Embedding::of(
                Ntk::new(task.definition().teacher.depth),
                set.seen().view(),
                &set.support_counts(),
            )?,
            task,
            set,
            normaliser,
            devices,
            students: result.releases.clone(),
        })
    }

    /// Features of raw inputs before the normaliser, and after it.
    pub(super) fn normalised(
        &self,
        inputs: ArrayView2<'_, f32>,
    ) -> Result<[Array2<f32>; 2], AttackError> {
        let stage = &self.task.definition().features;
        let features = stage.compute(self.task.input_shape(), inputs);
        let features = features.map_err(unreadable)?;
        let normalised = self.normaliser.apply(features.view()).map_err(unreadable)?;
        Ok([features, normalised])
    }

    /// Normalised rows as the kernel sees them.
    pub(super) fn seen(&self, normalised: ArrayView2<'_, f32>) -> Array2<f64> {
        self.set.feature_weights.through(normalised).mapv(f64::from)
    }
}

pub(super) fn unreadable(cause: impl std::fmt::Display) -> AttackError {
    AttackError::Observed(cause.to_string())
}
