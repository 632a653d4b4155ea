//! Other federated methods on the same rows, devices and student, with what
//! they send: FedAvg (McMahan et al. 2017), FedProx (Li et al. 2020), FedAvgM (Hsu et al.
//! 2019), one-shot ensemble distillation (FedDF, Lin et al. 2020) and analytic federated learning
//! (AFL, He et al. 2025).
//!
//! They look through the task's feature stage and its pooled normaliser, which costs them nothing
//! here, and every device takes part in every round. What is chosen for them is chosen on
//! a tenth of each device's rows, never on the test set.

mod analytic;
mod averaging;
mod ensemble;
mod fleet;

use ndarray::ArrayView2;
use serde::Serialize;

use common::math::linalg::LinalgError;
use common::task::Task;

use crate::baseline::BaselineError;
use crate::data::Dataset;
use crate::metrics::accuracy;
use crate::overhead::Wire;
use crate::progress::Progress;
use fleet::Fleet;

/// How a method fared.
#[derive(Clone, Debug, Serialize)]
pub struct Rival {
    /// The method.
    pub name: &'static str,
    /// Of its model, on the test set.
    pub accuracy: f64,
    /// Rounds of communication.
    pub rounds: u32,
    /// UDP payload bytes that a device sends in all rounds.
    pub uplink_bytes: u64,
    /// UDP payload bytes that a device receives in all rounds.
    pub downlink_bytes: u64,
    /// Accuracy on the test set after each round.
    pub by_round: Vec<f64>,
    /// What was chosen on held-out training rows.
    pub chosen: String,
    /// Its model and what else to know.
    pub note: &'static str,
}

/// Runs every method. `rounds` is for those that take several.
///
/// # Errors
/// If features cannot be computed or training fails.
pub fn measure(
    task: &Task,
    data: &Dataset,
    parts: &[Vec<usize>],
    rounds: u32,
    seed: u64,
    progress: &mut Progress,
) -> Result<Vec<Rival>, FederatedError> {
    progress.stage("other federated methods: features");
    let fleet = Fleet::new(task, data, parts, seed)?;
    let mut rivals = Vec::new();
    for method in averaging::ALL {
        progress.stage(&format!("  {}, {rounds} rounds", method.name()));
        rivals.push(averaging::run(&fleet, method, rounds, seed)?);
    }
    progress.stage("  FedDF, one round");
    rivals.push(ensemble::run(&fleet, seed)?);
    progress.stage("  AFL, one round");
    rivals.push(analytic::run(&fleet)?);
    Ok(rivals)
}

/// Why a method came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum FederatedError {
    /// Features could not be computed, or training failed.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    /// A regression could not be solved.
    #[error("AFL: {0}")]
    Linalg(#[from] LinalgError),
}

/// The share of a class list that is right.
fn right(said: &[usize], labels: &[u16]) -> f64 {
    let said: Vec<u16> = said.iter().map(|&class| class as u16).collect();
    accuracy(&said, labels)
}

/// The most likely class of each row of scores.
fn most_likely(scores: ArrayView2<'_, f64>) -> Vec<usize> {
    let largest = |row: ndarray::ArrayView1<'_, f64>| {
        (0..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best })
    };
    scores.rows().into_iter().map(largest).collect()
}

/// What a device sends and receives in `rounds` of these many bytes each way.
fn traffic(rounds: u32, up: u64, down: u64) -> (u64, u64) {
    let (mut sent, mut received) = (Wire::default(), Wire::default());
    for _ in 0..rounds {
        received.write(down);
        sent.acknowledge(down);
        sent.write(up);
        received.acknowledge(up);
    }
    (sent.udp_bytes(), received.udp_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::{Partition, partition};
    use common::task::RawTask;

    #[test]
    fn every_method_learns_digits_and_pays_for_its_rounds() {
        let data = Dataset::open("digits").unwrap();
        let text = format!(
            "name = \"digits\"\n[input]\nshape = [8, 8]\n[classes]\nnames = {:?}\n\
             [features]\nstage = \"raw\"\n[normaliser]\nrange = [0.0, 16.0]\n[student]\nhidden = [32]",
            data.classes
        );
        let task = RawTask::parse(&text).unwrap();
        let parts = partition(&data.train, 10, Partition::Dirichlet(1.0), 4, 0).unwrap();
        let mut progress = Progress::new(true);
        let rivals = measure(&task, &data, &parts, 6, 0, &mut progress).unwrap();
        let names: Vec<_> = rivals.iter().map(|rival| rival.name).collect();
        assert_eq!(names, ["FedAvg", "FedProx", "FedAvgM", "FedDF", "AFL"]);
        let weights = 4 * task.student().parameters() as u64;
        for rival in &rivals {
            let (name, reached) = (rival.name, rival.accuracy);
            assert!(reached > 0.8, "{name} reaches {reached}");
            assert_eq!(rival.by_round.len(), rival.rounds as usize, "{name}");
            assert_eq!(rival.by_round.last(), Some(&rival.accuracy), "{name}");
        }
        for averaged in &rivals[..3] {
            assert_eq!(averaged.rounds, 6);
            let payload = 6 * weights;
            assert!((payload..payload * 12 / 10).contains(&averaged.uplink_bytes));
            assert!(averaged.downlink_bytes >= payload);
        }
        // Half of a symmetric matrix of 64 features, and one column a class.
        let sums = 8 * (64 * 65 / 2 + 64 * 10) as u64;
        assert!((sums..sums * 12 / 10).contains(&rivals[4].uplink_bytes));
    }
}
