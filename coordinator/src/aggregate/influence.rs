//! The influence of each device: the teacher solved again without it.

use std::cmp::Reverse;

use ndarray::Array2;

use common::math::exact::ExactError;
use common::math::regression::{MomentSystem, RegressionError, choose_ridge_gcv};
use common::moments::Moments;
use common::task::Task;
use common::transfer::TransferSet;

use super::basis::Basis;
use super::moments::MomentSum;
use super::teacher::ridges;

/// What leaving one device out does. Errors are squared, in the mean of rows
/// and classes; 0 is perfect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Influence {
    /// Rows the device described.
    pub rows: u64,
    /// The teacher's error on the device's own rows.
    pub own_with: f64,
    /// The same of the teacher solved without the device: how much of its
    /// data the others know.
    pub own_without: f64,
    /// How much the error on the rows of the whole fleet grows without it, as
    /// a share of that error.
    pub growth: f64,
}

/// One device left out.
#[derive(Debug)]
pub struct LeftOut<'a> {
    /// Which of the devices.
    pub device: usize,
    /// What it does.
    pub influence: Influence,
    /// Coefficients of the teacher of all on what the kernel stands on, shape
    /// (support, classes).
    pub with: &'a Array2<f64>,
    /// The same without the device.
    pub without: Array2<f64>,
}

/// Why it could not be told.
#[derive(Debug, thiserror::Error)]
pub enum InfluenceError {
    /// Moments could not be summed.
    #[error(transparent)]
    Sum(#[from] ExactError),
    /// A system could not be solved.
    #[error(transparent)]
    Regression(#[from] RegressionError),
}

/// Leaves devices `0..devices` out of the teacher on `set`, one at a time, at
/// most `most` of them: those with most rows, in that order. `read` gives a
/// device's moments; `found` hears of each device. Fewer than two devices cannot
/// be left out, and nothing is heard.
///
/// All from what devices sent anyway: moments say a teacher's squared error on
/// the rows behind them without those rows. Each device is subtracted from the
/// exact sum; the ridge stays the fleet's. Cost about 14·m³, most of it for the
/// ridge, and 8·m³ a device.
///
/// # Errors
/// What `read` or `found` fail with, and systems that cannot be solved.
pub fn leave_one_out<E: From<InfluenceError>>(
    task: &Task,
    set: &TransferSet,
    [devices, most]: [usize; 2],
    mut read: impl FnMut(usize) -> Result<Moments, E>,
    mut found: impl FnMut(LeftOut<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let basis = Basis::of(task, set).map_err(InfluenceError::from)?;
    let mut read = |device: usize| {
        let held = basis.held_to_rows(read(device)?);
        Ok::<_, E>(held.map_err(InfluenceError::from)?)
    };
    let mut sum = MomentSum::new(set.support(), task.outputs());
    let mut all = Vec::with_capacity(devices);
    for device in 0..devices {
        let moments = read(device)?;
        sum.add(&moments).map_err(InfluenceError::from)?;
        all.push((Reverse(moments.rows), device));
    }
    if all.len() < 2 {
        return Ok(());
    }
    all.sort();
    let mut fleet = Fleet::new(sum, &basis)?;
    let on_support = |beta: &Array2<f64>| basis.whitener.coefficients(beta.view());
    let with = on_support(&fleet.alpha).map_err(InfluenceError::from)?;
    for &(_, device) in all.iter().take(most) {
        let (influence, without) = fleet.without(&read(device)?)?;
        found(LeftOut {
            device,
            influence,
            with: &with,
            without: on_support(&without).map_err(InfluenceError::from)?,
        })?;
    }
    Ok(())
}

/// A fleet's moments, from which one device at a time is left out.
#[derive(Debug)]
struct Fleet<'a> {
    sum: MomentSum,
    basis: &'a Basis,
    whole: MomentSystem,
    alpha: Array2<f64>,
    error: f64,
    lambda: f64,
}

impl<'a> Fleet<'a> {
    fn new(sum: MomentSum, basis: &'a Basis) -> Result<Self, InfluenceError> {
        let whole = basis.whitened(&sum.system())?;
        let lambda = choose_ridge_gcv(&whole, &ridges())?.lambda;
        let alpha = whole.solve_absolute(lambda, 0.0)?.alpha;
        let error = whole.squared_error(alpha.view())?;
        Ok(Self {
            sum,
            basis,
            whole,
            alpha,
            error,
            lambda,
        })
    }

    /// The influence of a device whose moments are in the sum, and the teacher
    /// without it. The sum is as before then, also after an error.
    fn without(&mut self, moments: &Moments) -> Result<(Influence, Array2<f64>), InfluenceError> {
        let (support, classes) = self.whole.cross.dim();
        self.sum.remove(moments)?;
        let rest = self.basis.whitened(&self.sum.system());
        self.sum.add(moments)?;
        let without = rest?.solve_absolute(self.lambda, 0.0)?.alpha;
        let mut own = MomentSum::new(support, classes);
        own.add(moments)?;
        let own = self.basis.whitened(&own.system())?;
        let each = moments.rows.max(1) as f64 * classes as f64;
        let all = self.whole.squared_error(without.view())?;
        let influence = Influence {
            rows: moments.rows,
            own_with: own.squared_error(self.alpha.view())?.max(0.0) / each,
            own_without: own.squared_error(without.view())?.max(0.0) / each,
            growth: all / self.error.max(f64::MIN_POSITIVE) - 1.0,
        };
        Ok((influence, without))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::feature_weights::FeatureWeights;
    use common::summary::Points;
    use common::task::RawTask;
    use ndarray::array;

    /// One row at each given point of the whitened basis, of the first class.
    fn device(at: &[usize], rows: u64) -> Moments {
        let mut factor = Array2::<f32>::zeros((1, 3));
        for &point in at {
            factor[[0, point]] = (rows as f32).sqrt();
        }
        Moments {
            rows,
            target_square: 0.5 * rows as f64,
            factor,
            targets: array![[0.5 * (rows as f32).sqrt(), -0.5 * (rows as f32).sqrt()]],
            remainder: 0.0,
        }
    }

    /// The influence of each device, by its number.
    fn influences(devices: &[Moments], most: usize) -> Vec<(usize, Influence)> {
        let task = "name = \"t\"\n[input]\nshape = [3]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\"";
        let points = Points {
            inputs: Array2::eye(3) * 1.7,
            classes: vec![0; 3],
            counts: vec![0; 3],
            spreads: vec![0.1; 3],
            targets: None,
        };
        let set = TransferSet {
            points,
            feature_weights: FeatureWeights::alike(),
            landmarks: Array2::zeros((0, 3)),
        };
        let task = RawTask::parse(task).unwrap();
        let mut all = Vec::new();
        let read = |device: usize| Ok::<_, InfluenceError>(devices[device].clone());
        leave_one_out(&task, &set, [devices.len(), most], read, |left| {
            assert_ne!(left.with, left.without);
            all.push((left.device, left.influence));
            Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn the_only_one_who_knows_a_region_has_more_influence() {
        let devices = [
            device(&[0], 100),
            device(&[0], 100),
            device(&[0], 100),
            device(&[2], 100),
        ];
        let all = influences(&devices, 9);
        assert_eq!(all.len(), 4);
        let (common, rare) = (all[0].1, all[3].1);
        assert!(
            rare.growth > 10.0 * common.growth.abs(),
            "{rare:?} {common:?}"
        );
        assert!(rare.own_without > rare.own_with + 0.1, "{rare:?}");
        assert!(
            (common.own_without - common.own_with).abs() < 0.05,
            "{common:?}"
        );
    }

    #[test]
    fn devices_with_most_rows_are_judged_first() {
        let devices = [device(&[0], 50), device(&[1], 70), device(&[1, 2], 90)];
        let two = influences(&devices, 2);
        let rows: Vec<_> = two.iter().map(|(at, one)| (*at, one.rows)).collect();
        assert_eq!(rows, [(2, 90), (1, 70)]);
        let swapped = [devices[2].clone(), devices[0].clone(), devices[1].clone()];
        let again = influences(&swapped, 3);
        assert_eq!((again[0].1, again[1].1), (two[0].1, two[1].1));
    }

    #[test]
    fn one_device_alone_is_not_left_out() {
        assert_eq!(influences(&[device(&[0], 50)], 9), []);
    }
}
