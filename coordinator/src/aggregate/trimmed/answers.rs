//! What a teacher answers on devices' rows of each class, from their sums.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use super::Evidence;

/// What a teacher answers for each class (columns) on a device's rows of each class
/// (rows), summed, C×C: αᵀΣφ over the rows of a class, where Σφ is what B holds of
/// the class and 1/C of G·u.
pub(in crate::aggregate) fn answers(
    device: &Evidence,
    alpha: ArrayView2<'_, f64>,
    constant: ArrayView1<'_, f64>,
) -> Array2<f64> {
    let classes = device.cross.ncols();
    let centre = 1.0 / classes as f64;
    let all: Array1<f64> = device.gram.dot(&constant) * centre;
    let mut sums = Array2::zeros((classes, classes));
    for (class, &rows) in device.class_rows.iter().enumerate() {
        let inputs = &device.cross.column(class) + &all;
        sums.row_mut(class)
            .assign(&(inputs.dot(&alpha) + centre * rows));
    }
    sums
}

/// Answers on rows of each class, of several devices.
pub(super) struct Answered {
    /// Sums, C×C: rows of a class, answers for each.
    sums: Array2<f64>,
    rows: Vec<f64>,
}

impl Answered {
    pub(super) fn none(classes: usize) -> Self {
        Self {
            sums: Array2::zeros((classes, classes)),
            rows: vec![0.0; classes],
        }
    }

    pub(super) fn add(
        &mut self,
        class: usize,
        rows: f64,
        answered: ArrayView1<'_, f64>,
        counts: bool,
    ) {
        if counts {
            self.rows[class] += rows;
            let mut sums = self.sums.row_mut(class);
            sums += &answered;
        }
    }

    /// Youden's J of a class; none without rows of it and of others.
    pub(super) fn index(&self, class: usize) -> Option<f64> {
        let all: f64 = self.rows.iter().sum();
        let (own, rest) = (self.rows[class], all - self.rows[class]);
        if own < ROWS_TELLING || rest < ROWS_TELLING {
            return None;
        }
        let right = self.sums[[class, class]];
        let given = self.sums.sum_axis(Axis(0))[class];
        Some(right / own - (given - right) / rest)
    }
}

/// Youden's J from which on a class is told from the rest well enough to hold a
/// device to it.
pub(super) const TOLD_APART: f64 = 0.3;
/// Rows of a class, and of all others, from which that can be told.
const ROWS_TELLING: f64 = 15.0;
