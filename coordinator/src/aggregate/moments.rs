//! The sum of all devices' moments: exact, in any order, and each device can
//! be taken out again without a trace.

use ndarray::{Array2, s};

use common::math::exact::{ExactError, ExactSum};
use common::math::regression::MomentSystem;
use common::moments::Moments;

use super::cap::scaled;

/// ΣG (its lower triangle), ΣB, rows and target norms in fixed point.
/// Memory: 16 bytes a number, m·(m+1)/2 + m·C of them, however many devices.
#[derive(Clone, Debug, PartialEq)]
pub struct MomentSum {
    points: usize,
    classes: usize,
    sum: ExactSum,
    rows: u64,
    devices: u32,
}

impl MomentSum {
    /// The sum of no devices on `points` points and `classes` classes.
    pub fn new(points: usize, classes: usize) -> Self {
        let length = points * (points + 1) / 2 + points * classes + 1;
        Self {
            points,
            classes,
            sum: ExactSum::new(length),
            rows: 0,
            devices: 0,
        }
    }

    /// Folds one device in. Cost m²·rank.
    ///
    /// # Errors
    /// If a number is too large; nothing has then changed.
    pub fn add(&mut self, moments: &Moments) -> Result<(), ExactError> {
        self.sum.add(&self.flat(moments))?;
        self.rows += moments.rows;
        self.devices += 1;
        Ok(())
    }

    /// Takes one device out that was folded in: what is left is bit for bit
    /// what it would have been without it.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn remove(&mut self, moments: &Moments) -> Result<(), ExactError> {
        self.sum.remove(&self.flat(moments))?;
        self.rows = self.rows.saturating_sub(moments.rows);
        self.devices = self.devices.saturating_sub(1);
        Ok(())
    }

    /// Rows of all devices.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Devices in the sum.
    pub fn devices(&self) -> u32 {
        self.devices
    }

    /// The sum as one system, in the basis in which moments travel;
    /// [`super::Basis`] has the one to solve.
    pub fn system(&self) -> MomentSystem {
        let mut system = MomentSystem {
            gram: Array2::zeros((self.points, self.points)),
            cross: Array2::zeros((self.points, self.classes)),
            support: Array2::eye(self.points),
            rows: self.rows as f64,
            target_square: 0.0,
        };
        let values = self.sum.to_f64();
        let mut next = values.iter().copied();
        let mut take = || next.next().unwrap_or(0.0);
        for row in 0..self.points {
            for column in 0..=row {
                let value = take();
                system.gram[[row, column]] = value;
                system.gram[[column, row]] = value;
            }
        }
        system.cross.iter_mut().for_each(|value| *value = take());
        system.target_square = take();
        system
    }

    fn flat(&self, moments: &Moments) -> Vec<f64> {
        let factor = moments.factor.mapv(f64::from);
        let mut gram: Array2<f64> = factor.t().dot(&factor);
        let rest = f64::from(moments.remainder);
        gram.diag_mut().map_inplace(|value| *value += rest);
        let carried = factor.slice(s![..moments.targets.nrows(), ..]);
        let cross = carried.t().dot(&moments.targets.mapv(f64::from));
        let mut flat = Vec::with_capacity(self.sum.len());
        for row in 0..self.points {
            flat.extend(gram.row(row).iter().take(row + 1));
        }
        flat.extend(cross.iter());
        flat.push(moments.target_square);
        flat
    }
}

/// The same moments as if each row counted `share`, which is above 0 and at
/// most 1.
#[must_use]
pub fn weighed(mut moments: Moments, share: f64) -> Moments {
    if share >= 1.0 {
        return moments;
    }
    let root = share.sqrt() as f32;
    moments.factor *= root;
    moments.targets *= root;
    moments.remainder *= share as f32;
    moments.target_square *= share;
    moments.rows = scaled(moments.rows, share);
    moments
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::math::random::rng;
    use rand::Rng;

    fn moments(seed: u64) -> Moments {
        let mut random = rng(seed, "moments");
        Moments {
            rows: 20 + seed,
            target_square: 10.0,
            factor: Array2::from_shape_fn((5, 7), |_| random.random_range(-1.0f32..1.0)),
            targets: Array2::from_shape_fn((3, 3), |_| random.random_range(-1.0f32..1.0)),
            remainder: 0.25,
        }
    }

    #[test]
    fn sums_do_not_depend_on_order() {
        let mut forwards = MomentSum::new(7, 3);
        let mut backwards = MomentSum::new(7, 3);
        for seed in 0..10 {
            forwards.add(&moments(seed)).unwrap();
            backwards.add(&moments(9 - seed)).unwrap();
        }
        assert_eq!(forwards, backwards);
        forwards.remove(&moments(4)).unwrap();
        let mut without = MomentSum::new(7, 3);
        for seed in (0..10).filter(|seed| *seed != 4) {
            without.add(&moments(seed)).unwrap();
        }
        assert_eq!(forwards, without);
    }

    #[test]
    fn weighed_moments_are_those_of_fewer_rows() {
        let (mut whole, mut tenth) = (MomentSum::new(7, 3), MomentSum::new(7, 3));
        whole.add(&moments(10)).unwrap();
        tenth.add(&weighed(moments(10), 0.1)).unwrap();
        let (whole, tenth) = (whole.system(), tenth.system());
        let differs = |a: &Array2<f64>, b: &Array2<f64>| {
            let gap = (a * 0.1 - b).mapv(f64::abs);
            gap.into_iter().fold(0.0, f64::max)
        };
        assert!(differs(&whole.gram, &tenth.gram) < 1e-6);
        assert!(differs(&whole.cross, &tenth.cross) < 1e-6);
        assert_eq!((whole.rows, tenth.rows), (30.0, 3.0));
    }

    #[test]
    fn the_system_is_the_sum_of_what_was_sent() {
        let mut sum = MomentSum::new(7, 3);
        sum.add(&moments(1)).unwrap();
        sum.add(&moments(2)).unwrap();
        let system = sum.system();
        let direct = |seed| {
            let factor = moments(seed).factor.mapv(f64::from);
            factor.t().dot(&factor) + Array2::<f64>::eye(7) * 0.25
        };
        let expected = direct(1) + direct(2);
        assert!(
            (&system.gram - &expected)
                .iter()
                .all(|difference| difference.abs() < 1e-9)
        );
        assert_eq!(system.rows, 43.0);
    }
}
