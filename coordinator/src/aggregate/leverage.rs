//! How much of what is known in any direction one device may say.

use ndarray::{Array2, ArrayView1, ArrayView2, s};

use common::math::linalg::{Cholesky, symmetric_eigen};
use common::math::regression::{MomentSystem, RegressionError, choose_ridge_gcv};
use common::moments::Moments;

use super::basis::Basis;
use super::teacher::ridges;

/// Holds each device's moments to a share of the evidence in every direction.
///
/// In the metric of A = ΣG + λI over all devices, the eigenvalues of one
/// device's G are its *leverages*: the share of what is known in a direction
/// that comes from it alone. Those beyond [`Self::most`] are scaled down to
/// it, rows and labels alike (bounded influence: Krasker & Welsch 1982; Mallows
/// weights on leverage). A backdoor is a direction in which one device says
/// everything: a mark that no other device's rows carry, with a label of the
/// liar's choice. What all devices know has leverages near 1/K and stays as it
/// is. (A liar that alone has a class can still hide a mark for that class.)
#[derive(Debug)]
pub struct Leverage {
    /// A = L·Lᵀ in the whitened basis.
    factor: Cholesky,
    most: f64,
}

impl Leverage {
    /// Of all devices' moments, whose whitened system this is, at the ridge that
    /// generalised cross-validation finds. Cost about 10m³.
    ///
    /// # Errors
    /// If the system cannot be solved.
    pub fn of_system(
        system: &MomentSystem,
        devices: usize,
    ) -> Result<Option<Self>, RegressionError> {
        if devices < DEVICES_MIN {
            return Ok(None);
        }
        let lambda = choose_ridge_gcv(system, &ridges())?.lambda;
        Self::of(system.gram.view(), lambda, devices)
    }

    /// Of all devices' moments, whose whitened gram matrix and ridge these are.
    /// Nothing where so few devices are there that each is a large part of
    /// them. Cost m³/3.
    ///
    /// # Errors
    /// If the gram matrix cannot be factored.
    fn of(
        gram: ArrayView2<'_, f64>,
        lambda: f64,
        devices: usize,
    ) -> Result<Option<Self>, RegressionError> {
        if devices < DEVICES_MIN {
            return Ok(None);
        }
        let mut system = gram.to_owned();
        system.diag_mut().map_inplace(|value| *value += lambda);
        Ok(Some(Self {
            factor: Cholesky::factor(system.view())?,
            most: LEVERAGE_MAX.max(EVEN_MAX / devices as f64),
        }))
    }

    /// The largest share of a direction that one device may have.
    pub fn most(&self) -> f64 {
        self.most
    }

    /// The moments with no leverage beyond what a device may have that holds
    /// these shares of the fleet's rows of each class: the most of any device,
    /// or its share of the class that the direction is about. So a class that
    /// lives on one device stays. Cost m²·rank.
    ///
    /// # Errors
    /// If the moments stand on another number of points.
    pub fn held(
        &self,
        basis: &Basis,
        mut moments: Moments,
        class_shares: &[f64],
    ) -> Result<Moments, RegressionError> {
        let rank = moments.factor.nrows();
        if rank == 0 {
            return Ok(moments);
        }
        let rows = basis.whitened_rows(moments.factor.mapv(f64::from).view())?;
        let scaled = self.factor.solve_lower(rows.t())?;
        let mut overlap = scaled.t().dot(&scaled);
        let mirrored = overlap.t().to_owned();
        overlap.zip_mut_with(&mirrored, |one, &other| *one = 0.5 * (*one + other));
        let (leverages, vectors) = symmetric_eigen(overlap.view())?;
        let mut labels = Array2::<f64>::zeros((rank, moments.targets.ncols()));
        let labelled = moments.targets.nrows();
        labels
            .slice_mut(s![..labelled, ..])
            .assign(&moments.targets.mapv(f64::from));
        let before: f64 = labels.iter().map(|value| value * value).sum();
        // Each direction with what it says of the classes.
        let mut turned = vectors.t().to_owned();
        let mut labels = turned.dot(&labels);
        let about = labels.rows().into_iter().zip(&leverages);
        let roots: Vec<f64> = about
            .map(|(said, &leverage)| self.share(leverage, owned(said, class_shares)).sqrt())
            .collect();
        if roots.iter().all(|root| *root >= 1.0) {
            return Ok(moments);
        }
        for (at, root) in roots.into_iter().enumerate() {
            turned.row_mut(at).mapv_inplace(|value| value * root);
            labels.row_mut(at).mapv_inplace(|value| value * root);
        }
        let after: f64 = labels.iter().map(|value| value * value).sum();
        moments.factor = turned
            .dot(&moments.factor.mapv(f64::from))
            .mapv(|value| value as f32);
        moments.targets = labels.mapv(|value| value as f32);
        moments.target_square = (moments.target_square - before + after).max(after);
        Ok(moments)
    }

    /// What a direction of this leverage is scaled by: with e of 1 known by the
    /// device, s·e beside the others' 1 − e is the most that is allowed.
    fn share(&self, leverage: f64, owned: f64) -> f64 {
        let most = self.most.max(owned).min(1.0);
        if leverage <= most || most >= 1.0 {
            return 1.0;
        }
        let others = (1.0 - leverage).max(0.0);
        (most * others / (leverage * (1.0 - most))).min(1.0)
    }
}

/// The device's largest share of a class that a direction is about: one whose
/// label in it is half as large as the largest, at least.
fn owned(said: ArrayView1<'_, f64>, class_shares: &[f64]) -> f64 {
    let largest = said.iter().fold(0.0f64, |most, one| most.max(one.abs()));
    let about = said.iter().zip(class_shares);
    let about = about.filter(|(one, _)| largest > 0.0 && one.abs() >= 0.5 * largest);
    about.map(|(_, share)| *share).fold(0.0, f64::max)
}

/// The most of a direction that one of many devices may say: three have to
/// know of it before any counts in full.
const LEVERAGE_MAX: f64 = 1.0 / 3.0;
/// Of few devices each may say half again what would be even.
const EVEN_MAX: f64 = 1.5;
/// Of fewer devices each is needed.
const DEVICES_MIN: usize = 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::feature_weights::FeatureWeights;
    use common::summary::Points;
    use common::task::RawTask;
    use common::transfer::TransferSet;

    fn basis() -> Basis {
        let task = "name = \"t\"\n[input]\nshape = [3]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\"";
        let set = TransferSet {
            points: Points {
                inputs: Array2::eye(3) * 1.7,
                classes: vec![0; 3],
                counts: vec![0; 3],
                spreads: vec![0.1; 3],
                targets: None,
            },
            feature_weights: FeatureWeights::alike(),
            landmarks: Array2::zeros((0, 3)),
        };
        Basis::of(&RawTask::parse(task).unwrap(), &set).unwrap()
    }

    /// Rows at one of the three directions.
    fn device(at: usize, rows: f32) -> Moments {
        let mut factor = Array2::zeros((1, 3));
        factor[[0, at]] = rows.sqrt();
        Moments {
            rows: rows as u64,
            target_square: 0.5 * f64::from(rows),
            factor,
            targets: ndarray::array![[0.5 * rows.sqrt(), -0.5 * rows.sqrt()]],
            remainder: 0.0,
        }
    }

    fn cut(devices: &[Moments], shares: &[f64]) -> Vec<Moments> {
        let mut gram = Array2::zeros((3, 3));
        for moments in devices {
            let rows = moments.factor.mapv(f64::from);
            gram = gram + rows.t().dot(&rows);
        }
        let leverage = Leverage::of(gram.view(), 1.0, devices.len())
            .unwrap()
            .unwrap();
        let held = devices
            .iter()
            .map(|one| leverage.held(&basis(), one.clone(), shares));
        held.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_lone_direction_counts_half_of_what_is_left() {
        let mut all = vec![device(0, 100.0); 8];
        all.push(device(2, 100.0));
        let held = cut(&all, &[0.1, 0.1]);
        assert_eq!(held[..8], all[..8]);
        let left = held[8].factor[[0, 2]].powi(2);
        // The others say nothing there but the ridge of 1.
        assert!((left - 0.5).abs() < 1e-3, "{left}");
        let cross = held[8].factor[[0, 2]] * held[8].targets[[0, 0]];
        assert!((cross - 0.25).abs() < 1e-3, "{cross}");
        assert!(held[8].target_square < 1.0);
    }

    #[test]
    fn a_class_of_one_device_alone_stays() {
        let mut all = vec![device(0, 100.0); 8];
        all.push(device(2, 100.0));
        assert_eq!(cut(&all, &[1.0, 0.0]), all);
    }

    #[test]
    fn what_four_devices_know_stays_as_it_is() {
        let all = vec![device(1, 50.0); 4];
        assert_eq!(cut(&all, &[0.25, 0.25]), all);
        assert!(
            Leverage::of(Array2::eye(3).view(), 1.0, 3)
                .unwrap()
                .is_none()
        );
    }
}
