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
    /// The error on the other devices' rows of teachers that learn from one half
    /// of those devices and from this one, each tried on the other half. The
    /// device's own rows are no evidence for it: a sensor in a wrong unit knows
    /// its own kind of data best.
    pub others_with: f64,
    /// The same of teachers that learn from one half of the others alone.
    pub others_without: f64,
}

impl Influence {
    /// What the device is worth to the others: how much the error on their rows
    /// grows without it, as a share of that error; below 0 where it does harm.
    pub fn worth(&self) -> f64 {
        self.others_without / self.others_with.max(f64::MIN_POSITIVE) - 1.0
    }
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
/// exact sum; the ridge stays the fleet's. What it is worth to others is tried on
/// rows of others that no teacher of the comparison has seen: the others are cut
/// into halves, by turns in the order of their rows, and each half is judged by
/// teachers of the other (cross-validation with two folds: Stone 1974). Cost about
/// 22·m³, most of it for the ridge, and 9·m³ a device.
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
    let mut half = sum.clone();
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
    for (_, device) in all.iter().step_by(2) {
        half.add(&read(*device)?).map_err(InfluenceError::from)?;
    }
    let mut fleet = Fleet::new(sum, &half, &basis)?;
    let on_support = |beta: &Array2<f64>| basis.whitener.coefficients(beta.view());
    let with = on_support(&fleet.alpha).map_err(InfluenceError::from)?;
    for (at, &(_, device)) in all.iter().take(most).enumerate() {
        let (influence, without) = fleet.without(at % 2, &read(device)?)?;
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
    /// The systems of either half of the devices, and their teachers.
    halves: [(MomentSystem, Array2<f64>); 2],
    lambda: f64,
}

impl<'a> Fleet<'a> {
    fn new(sum: MomentSum, half: &MomentSum, basis: &'a Basis) -> Result<Self, InfluenceError> {
        let whole = basis.whitened(&sum.system())?;
        let lambda = choose_ridge_gcv(&whole, &ridges())?.lambda;
        let alpha = whole.solve_absolute(lambda, 0.0)?.alpha;
        let one = basis.whitened(&half.system())?;
        let mut other = whole.clone();
        other.subtract(&one)?;
        let taught = |half: MomentSystem| {
            let alpha = half.solve_absolute(lambda, 0.0)?.alpha;
            Ok::<_, InfluenceError>((half, alpha))
        };
        Ok(Self {
            sum,
            basis,
            whole,
            alpha,
            halves: [taught(one)?, taught(other)?],
            lambda,
        })
    }

    /// The influence of a device of the first or second half whose moments are in
    /// the sum, and the teacher without it. The sum is as before then, also after
    /// an error.
    fn without(
        &mut self,
        half: usize,
        moments: &Moments,
    ) -> Result<(Influence, Array2<f64>), InfluenceError> {
        let (support, classes) = self.whole.cross.dim();
        self.sum.remove(moments)?;
        let rest = self.basis.whitened(&self.sum.system());
        self.sum.add(moments)?;
        let without = rest?.solve_absolute(self.lambda, 0.0)?.alpha;
        let mut own = MomentSum::new(support, classes);
        own.add(moments)?;
        let own = self.basis.whitened(&own.system())?;
        let each = moments.rows.max(1) as f64 * classes as f64;
        let [others_with, others_without] = self.on_others(half, &own)?;
        let influence = Influence {
            rows: moments.rows,
            own_with: own.squared_error(self.alpha.view())?.max(0.0) / each,
            own_without: own.squared_error(without.view())?.max(0.0) / each,
            others_with,
            others_without,
        };
        Ok((influence, without))
    }

    /// The errors on the other devices' rows of teachers of a half of them, with
    /// and without a device of this half, whose own whitened system this is.
    fn on_others(&self, half: usize, own: &MomentSystem) -> Result<[f64; 2], InfluenceError> {
        let (here, taught_here) = &self.halves[half];
        let (there, taught_there) = &self.halves[1 - half];
        let solve = |system: &MomentSystem| system.solve_absolute(self.lambda, 0.0);
        let mut beside = here.clone();
        beside.subtract(own)?;
        let mut joined = there.clone();
        joined.add(own)?;
        let (alone, both) = (solve(&beside)?.alpha, solve(&joined)?.alpha);
        let with = there.squared_error(taught_here.view())? + beside.squared_error(both.view())?;
        let without =
            there.squared_error(alone.view())? + beside.squared_error(taught_there.view())?;
        let rows = (self.whole.rows - own.rows).max(1.0) * self.whole.cross.ncols() as f64;
        Ok([with / rows, without / rows])
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
    fn own_rows_are_known_to_others_or_to_nobody_else() {
        let devices = [
            device(&[0], 100),
            device(&[0], 100),
            device(&[0], 100),
            device(&[2], 100),
        ];
        let all = influences(&devices, 9);
        assert_eq!(all.len(), 4);
        let (common, rare) = (all[0].1, all[3].1);
        assert!(rare.own_without > rare.own_with + 0.1, "{rare:?}");
        // Nobody else has rows there, so it is worth little to them.
        assert!(rare.worth().abs() < 0.5, "{rare:?}");
        assert!(
            (common.own_without - common.own_with).abs() < 0.05,
            "{common:?}"
        );
    }

    /// Rows at a point of which this share is of the first class.
    fn labelled(point: usize, share: f32, rows: u64) -> Moments {
        let mut moments = device(&[point], rows);
        let mean = (share - 0.5) * (rows as f32).sqrt();
        moments.targets = array![[mean, -mean]];
        moments
    }

    #[test]
    fn a_device_that_helps_others_is_worth_something() {
        // The first two share a region, and so do the last two.
        let devices = [
            device(&[0], 100),
            device(&[0], 99),
            device(&[1], 98),
            device(&[1], 97),
        ];
        for (at, influence) in influences(&devices, 9) {
            assert!(influence.worth() > 0.1, "{at}: {influence:?}");
        }
    }

    #[test]
    fn a_wrong_unit_ranks_last_and_ranked_first() {
        // A value in a wrong unit puts its rows where the others' rows of the
        // other class are, and it is sure of its labels.
        let mut devices: Vec<_> = (0..6)
            .map(|at| labelled(at % 2, if at % 2 == 0 { 1.0 } else { 0.0 }, 60 + at as u64))
            .collect();
        devices.push(labelled(1, 1.0, 90));
        let all = influences(&devices, 9);
        let ranked = |value: &dyn Fn(&Influence) -> f64| {
            let mut order: Vec<_> = all.iter().collect();
            order.sort_by(|one, other| value(&other.1).total_cmp(&value(&one.1)));
            let order = order.into_iter().map(|(at, _)| *at);
            order.collect::<Vec<_>>()
        };
        let by_worth = ranked(&|one| one.worth());
        assert_eq!(by_worth.last(), Some(&6), "{all:?}");
        let wrong = all.iter().find(|(at, _)| *at == 6).unwrap().1;
        assert!(wrong.worth() < -0.1, "{wrong:?}");
        // By its own rows it would be the first: nobody knows them without it.
        let by_own = ranked(&|one| one.own_without - one.own_with);
        assert_eq!(by_own.first(), Some(&6), "{all:?}");
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
