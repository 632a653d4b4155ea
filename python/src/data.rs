//! Arrays as data sets.

use lab::data::{Dataset, Part};
use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

use crate::errors::bad_value;

/// Rows and the number of each one's class.
pub(crate) fn part(
    rows: &PyReadonlyArray2<'_, f32>,
    labels: &PyReadonlyArray1<'_, u16>,
    users: Option<&PyReadonlyArray1<'_, u32>>,
) -> Part {
    Part {
        inputs: rows.as_array().to_owned(),
        labels: labels.as_array().to_vec(),
        numbers: None,
        users: users.map(|users| users.as_array().to_vec()),
        groups: None,
    }
}

/// A data set, or `ValueError` with what does not fit.
pub(crate) fn dataset(
    sides: &[usize],
    classes: Vec<String>,
    train: Part,
    test: Part,
) -> PyResult<Dataset> {
    Dataset::of_arrays("python", sides, classes, train, test).map_err(bad_value)
}

/// No rows of this width.
pub(crate) fn nothing(width: usize) -> Part {
    Part {
        inputs: ndarray::Array2::zeros((0, width)),
        labels: Vec::new(),
        numbers: None,
        users: None,
        groups: None,
    }
}
