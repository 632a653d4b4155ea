//! Dataset distillation.

use std::path::PathBuf;

use lab::distill::{self, DistilOptions, MethodName, Monitor, StepReport};
use lab::points::{PointTable, PointTableError};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::data::{dataset, nothing, part};
use crate::errors::{bad_value, failed};
use crate::work::release_lock;

/// Distilled samples.
#[pyclass(frozen)]
pub(crate) struct Points(PointTable);

impl Points {
    pub(crate) fn new(table: PointTable) -> Self {
        Self(table)
    }
}

#[pymethods]
impl Points {
    fn inputs<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f32>> {
        self.0.inputs.clone().into_pyarray(py)
    }

    fn labels<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f32>> {
        self.0.labels.clone().into_pyarray(py)
    }

    fn weights<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.0.weights.clone().into_pyarray(py)
    }

    fn spreads<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.0.spreads.clone().into_pyarray(py)
    }

    #[getter]
    fn names(&self) -> Vec<String> {
        self.0.names.clone()
    }

    #[getter]
    fn space(&self) -> String {
        self.0.space.clone()
    }

    #[getter]
    fn sides(&self) -> Vec<usize> {
        self.0.sides.clone()
    }

    fn write(&self, path: PathBuf) -> PyResult<()> {
        self.0.write(&path).map_err(|error| match error {
            PointTableError::Ending(_) => bad_value(error),
            PointTableError::Write { .. } => PyOSError::new_err(error.to_string()),
            other => failed(other),
        })
    }
}

/// Distils rows.
#[pyfunction]
#[pyo3(signature = (rows, labels, *, sides, classes, per_class, method, features, depth, steps, seed))]
#[expect(
    clippy::too_many_arguments,
    reason = "the options of one call from Python"
)]
pub(crate) fn distil(
    py: Python<'_>,
    rows: PyReadonlyArray2<'_, f32>,
    labels: PyReadonlyArray1<'_, u16>,
    sides: Vec<usize>,
    classes: Vec<String>,
    per_class: usize,
    method: &str,
    features: Option<String>,
    depth: Option<u8>,
    steps: Option<u32>,
    seed: u64,
) -> PyResult<Points> {
    let method: MethodName = method.parse().map_err(bad_value)?;
    let train = part(&rows, &labels, None);
    let test = nothing(train.inputs.ncols());
    let data = dataset(&sides, classes, train, test)?;
    let options = DistilOptions {
        per_class,
        method,
        seed,
        features,
        depth,
        steps,
        hidden: None,
        student_steps: 1,
    };
    let table = release_lock(py, || {
        let session = distill::choose(&data, &options, |_| {})?;
        let method = options.method.method(options.steps());
        let distilled = method.distil(&session.problem, &mut Silent)?;
        let table = PointTable::of_distilled(&session, &distilled);
        Ok(table.as_long_as(data.train.inputs.view()))
    })?;
    table
        .map(Points)
        .map_err(|error: distill::DistilError| match error {
            distill::DistilError::Rows { .. }
            | distill::DistilError::NothingHeldOut
            | distill::DistilError::Feature(_)
            | distill::DistilError::Task(_) => bad_value(error),
            other => failed(other),
        })
}

struct Silent;

impl Monitor for Silent {
    fn step(&mut self, _: StepReport) {}

    fn stopped(&self) -> bool {
        false
    }
}
