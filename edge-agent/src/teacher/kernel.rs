//! Kernel ridge regression on the device's rows.

use ndarray::{Array1, Array2, ArrayView2, Axis, CowArray};
use rand::seq::index::sample;

use common::math::kernel::{KernelError, Ntk, rows_per_block};
use common::math::network::softmax_rows;
use common::math::random::rng;
use common::math::regression::{MomentSystem, choose_ridge_gcv};

use super::{LabelledRows, LocalTeacher, TeacherError};

/// Most rows that serve as landmarks; the solve costs their cube, and memory
/// their square.
const LANDMARKS_MAX: usize = 384;
/// Ridges tried, for a kernel whose diagonal is of order 1.
const RIDGES: std::ops::RangeInclusive<i32> = -8..=4;
/// Share of the rows that the temperature is fitted on.
const HELD_OUT: usize = 5;
/// Temperatures tried.
const TEMPERATURES: [f64; 8] = [0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0];

/// Ridge regression with the neural tangent kernel on up to 384 of the rows
/// as landmarks (all of them where there are no more), learnt from all rows.
/// The ridge is chosen by generalised cross-validation, the softmax's
/// temperature by the likelihood of a fifth of the rows under a teacher that
/// has not seen them.
#[derive(Clone, Debug)]
pub struct KernelTeacher {
    gives_numbers: bool,
    ntk: Ntk,
    landmarks: Array2<f32>,
    alpha: Array2<f32>,
    temperature: f64,
}

impl KernelTeacher {
    /// Learns from labelled rows. Cost n·m·(2d + 2m) + 9m³ with m landmarks.
    ///
    /// # Errors
    /// Without rows, or where the system cannot be solved.
    pub fn fit(rows: LabelledRows<'_>, depth: u8, seed: u64) -> Result<Self, TeacherError> {
        let count = rows.labels.len();
        let (fitting, held): (Vec<usize>, Vec<usize>) =
            (0..count).partition(|row| row % HELD_OUT != HELD_OUT - 1);
        let mut teacher = Self::blank(rows, depth, seed)?;
        if held.len() >= 10 && rows.numbers.is_none() {
            teacher.alpha = teacher.solve(rows, &fitting)?;
            teacher.temperature = teacher.best_temperature(rows, &held)?;
        }
        teacher.learn(rows)
    }

    /// The same at a usual temperature, for its targets alone. Cost: half.
    pub(super) fn untempered(
        rows: LabelledRows<'_>,
        depth: u8,
        seed: u64,
    ) -> Result<Self, TeacherError> {
        Self::blank(rows, depth, seed)?.learn(rows)
    }

    fn learn(mut self, rows: LabelledRows<'_>) -> Result<Self, TeacherError> {
        let all: Vec<usize> = (0..rows.labels.len()).collect();
        self.alpha = self.solve(rows, &all)?;
        Ok(self)
    }

    fn blank(rows: LabelledRows<'_>, depth: u8, seed: u64) -> Result<Self, TeacherError> {
        let count = rows.labels.len();
        if count == 0 {
            return Err(TeacherError::NoRows);
        }
        let ntk = Ntk::new(depth);
        let mut random = rng(seed, "kernel teacher");
        let mut chosen = sample(&mut random, count, count.min(LANDMARKS_MAX)).into_vec();
        chosen.sort_unstable();
        let landmarks = rows.inputs.select(Axis(0), &chosen);
        Ok(Self {
            gives_numbers: rows.numbers.is_some(),
            ntk,
            landmarks,
            alpha: Array2::zeros((0, 0)),
            temperature: 0.15,
        })
    }

    fn solve(&self, rows: LabelledRows<'_>, chosen: &[usize]) -> Result<Array2<f32>, TeacherError> {
        let targets = rows.targets().select(Axis(0), chosen);
        // Most calls are for all rows, which then need not be copied.
        let inputs = match chosen.len() == rows.labels.len() {
            true => CowArray::from(rows.inputs),
            false => CowArray::from(rows.inputs.select(Axis(0), chosen)),
        };
        let system = MomentSystem::gather(
            &self.ntk,
            self.landmarks.view(),
            inputs.view(),
            targets.view(),
        )?;
        drop(inputs);
        let ridges: Vec<f64> = RIDGES
            .map(|power| 10f64.powf(f64::from(power) / 2.0))
            .collect();
        let ridge = choose_ridge_gcv(&system, &ridges)?;
        Ok(system
            .solve_absolute(ridge.lambda, 0.0)?
            .alpha
            .mapv(|value| value as f32))
    }

    pub(super) fn answers(&self, inputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, TeacherError> {
        let mut out = Array2::zeros((inputs.nrows(), self.alpha.ncols()));
        let step = rows_per_block(self.landmarks.nrows());
        let visit = |block: ArrayView2<'_, f32>, range: std::ops::Range<usize>| {
            out.slice_mut(ndarray::s![range, ..])
                .assign(&block.dot(&self.alpha));
        };
        self.ntk
            .for_each_block(inputs, self.landmarks.view(), step, visit)
            .map_err(|error| TeacherError::Regression(error.into()))?;
        Ok(out)
    }

    /// For each feature the mean over its landmarks of Σ_c (∂f_c/∂x)², with f its
    /// answers. Cost: a product of landmarks × landmarks × features for each class.
    pub(super) fn squared_slopes(&self) -> Result<Array1<f64>, TeacherError> {
        let refused = |error: KernelError| TeacherError::Regression(error.into());
        let points = self.landmarks.view();
        let mut squares = Array1::<f64>::zeros(points.ncols());
        for column in self.alpha.columns() {
            let column = column.insert_axis(Axis(1));
            let spread = column.broadcast((points.nrows(), points.nrows()));
            let gradient = spread.expect("a column fits a square").to_owned();
            let mut slopes = Array2::zeros(points.raw_dim());
            // Where each landmark is the second argument, its gradient is the
            // derivative of f there.
            let pass = self.ntk.pass(points, points).map_err(refused)?;
            pass.backward(gradient, &mut slopes).map_err(refused)?;
            squares += &slopes
                .mapv(|slope: f32| f64::from(slope).powi(2))
                .sum_axis(Axis(0));
        }
        Ok(squares / points.nrows().max(1) as f64)
    }

    fn best_temperature(
        &self,
        rows: LabelledRows<'_>,
        held: &[usize],
    ) -> Result<f64, TeacherError> {
        let answers = self.answers(rows.inputs.select(Axis(0), held).view())?;
        let loss = |temperature: f64| {
            let mut probabilities = answers.clone();
            softmax_rows(probabilities.view_mut(), temperature);
            let of = |(row, &index): (usize, &usize)| {
                -f64::from(probabilities[[row, usize::from(rows.labels[index])]].max(1e-9)).ln()
            };
            held.iter().enumerate().map(of).sum::<f64>()
        };
        let best = TEMPERATURES
            .into_iter()
            .min_by(|one, other| loss(*one).total_cmp(&loss(*other)));
        Ok(best.unwrap_or(0.15))
    }
}

impl LocalTeacher for KernelTeacher {
    fn probabilities(&self, inputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, TeacherError> {
        let mut answers = self.answers(inputs)?;
        softmax_rows(answers.view_mut(), self.temperature);
        Ok(answers)
    }

    fn targets(&self, inputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, TeacherError> {
        if self.gives_numbers {
            return self.answers(inputs);
        }
        let probabilities = self.probabilities(inputs)?;
        let classes = probabilities.ncols().max(1) as f32;
        Ok(probabilities - 1.0 / classes)
    }
}
