//! What each device is worth to the fleet: the teacher solved again without
//! it.

use ndarray::Array2;

use common::math::exact::ExactError;
use common::math::regression::{MomentSystem, RegressionError, choose_ridge_gcv};
use common::moments::Moments;

use super::basis::Basis;
use super::moments::MomentSum;
use super::teacher::ridges;

/// What leaving one device out does. Errors are squared, in the mean of rows
/// and classes; 0 is perfect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worth {
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

/// Why it could not be told.
#[derive(Debug, thiserror::Error)]
pub enum WorthError {
    /// Moments could not be summed.
    #[error(transparent)]
    Sum(#[from] ExactError),
    /// A system could not be solved.
    #[error(transparent)]
    Regression(#[from] RegressionError),
}

/// A fleet's moments, from which one device at a time is left out. All from
/// what the devices sent anyway: the moments say a teacher's squared error on
/// the rows behind them without those rows.
#[derive(Debug)]
pub struct LeaveOneOut {
    sum: MomentSum,
    basis: Basis,
    whole: MomentSystem,
    alpha: Array2<f64>,
    error: f64,
    lambda: f64,
}

impl LeaveOneOut {
    /// With the moments of all devices, in this basis. Cost about 14·m³, most
    /// of it for the ridge.
    ///
    /// # Errors
    /// If the system cannot be solved.
    pub fn new(sum: MomentSum, basis: Basis) -> Result<Self, WorthError> {
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

    /// What a device is worth whose moments are in the sum. The ridge stays
    /// the fleet's. Cost about 8·m³.
    ///
    /// # Errors
    /// If what is left cannot be solved; nothing has changed then.
    pub fn of(&mut self, moments: &Moments) -> Result<Worth, WorthError> {
        let (points, classes) = self.whole.cross.dim();
        self.sum.remove(moments)?;
        let rest = self.basis.whitened(&self.sum.system());
        self.sum.add(moments)?;
        let rest = rest?;
        let without = rest.solve_absolute(self.lambda, 0.0)?.alpha;
        let mut own = MomentSum::new(points, classes);
        own.add(moments)?;
        let own = self.basis.whitened(&own.system())?;
        let each = moments.rows.max(1) as f64 * classes as f64;
        let all = self.whole.squared_error(without.view())?;
        Ok(Worth {
            rows: moments.rows,
            own_with: own.squared_error(self.alpha.view())? / each,
            own_without: own.squared_error(without.view())? / each,
            growth: all / self.error.max(f64::MIN_POSITIVE) - 1.0,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::relevance::Relevance;
    use common::summary::Points;
    use common::task::RawTask;
    use common::transfer::TransferSet;
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

    fn fleet(devices: &[Moments]) -> LeaveOneOut {
        let mut sum = MomentSum::new(3, 2);
        for moments in devices {
            sum.add(moments).unwrap();
        }
        let task = "name = \"t\"\n[input]\nshape = [3]\n[classes]\nnames = [\"a\", \"b\"]";
        let points = Points {
            inputs: Array2::eye(3) * 1.7,
            classes: vec![0; 3],
            counts: vec![0; 3],
            spreads: vec![0.1; 3],
        };
        let set = TransferSet {
            points,
            relevance: Relevance::alike(),
            landmarks: Array2::zeros((0, 3)),
        };
        let basis = Basis::of(&RawTask::parse(task).unwrap(), &set).unwrap();
        LeaveOneOut::new(sum, basis).unwrap()
    }

    #[test]
    fn who_alone_knows_a_region_is_worth_more_than_one_of_many_who_do() {
        let devices = [
            device(&[0], 100),
            device(&[0], 100),
            device(&[0], 100),
            device(&[2], 100),
        ];
        let mut fleet = fleet(&devices);
        let common = fleet.of(&devices[0]).unwrap();
        let rare = fleet.of(&devices[3]).unwrap();
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
    fn asking_twice_gives_the_same_answer() {
        let devices = [device(&[0], 50), device(&[1], 70), device(&[1, 2], 90)];
        let mut fleet = fleet(&devices);
        let first = fleet.of(&devices[1]).unwrap();
        fleet.of(&devices[2]).unwrap();
        assert_eq!(fleet.of(&devices[1]).unwrap(), first);
        assert_eq!(first.rows, 70);
    }
}
