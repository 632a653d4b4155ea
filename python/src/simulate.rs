//! Simulated fleets.

use lab::data::Partition;
use lab::progress::Progress;
use lab::simulate::{SimulateError, SimulateOptions, parse_student, run};
use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

use crate::data::{dataset, part};
use crate::distil::Points;
use crate::errors::{bad_value, failed};
use crate::student::Student;
use crate::work::release_lock;

/// Figures as JSON, the student, and the transfer set of a simulated fleet.
#[pyfunction]
#[pyo3(signature = (rows, labels, users, test_rows, test_labels, *, sides, classes, partition,
    devices, rounds, uplink_bytes_max, features, student, steps, rows_min, baselines, seed, progress))]
#[expect(
    clippy::too_many_arguments,
    reason = "the options of one call from Python"
)]
pub(crate) fn simulate(
    py: Python<'_>,
    rows: PyReadonlyArray2<'_, f32>,
    labels: PyReadonlyArray1<'_, u16>,
    users: Option<PyReadonlyArray1<'_, u32>>,
    test_rows: PyReadonlyArray2<'_, f32>,
    test_labels: PyReadonlyArray1<'_, u16>,
    sides: Vec<usize>,
    classes: Vec<String>,
    partition: Option<String>,
    devices: usize,
    rounds: u32,
    uplink_bytes_max: u64,
    features: Option<String>,
    student: Option<String>,
    steps: u32,
    rows_min: Option<u64>,
    baselines: bool,
    seed: u64,
    progress: bool,
) -> PyResult<(String, Student, Points)> {
    let partition: Option<Partition> = partition
        .map(|text| text.parse().map_err(bad_value))
        .transpose()?;
    let student = student.map(|text| parse_student(&text).map_err(bad_value));
    let train = part(&rows, &labels, users.as_ref());
    let data = dataset(&sides, classes, train, part(&test_rows, &test_labels, None))?;
    let options = SimulateOptions {
        partition,
        agents: devices,
        rounds,
        uplink_bytes_max,
        features,
        student: student.transpose()?,
        steps,
        rows_min,
        no_baselines: !baselines,
        federated_rounds: baselines.then_some(20),
        ..SimulateOptions::default()
    };
    let result = release_lock(py, || {
        let mut progress = Progress::new(!progress);
        let result = run(&data, &options, seed, &mut progress);
        progress.finish();
        result
    })?;
    let result = result.map_err(|error| match error {
        SimulateError::Partition(_) | SimulateError::Task(_) => bad_value(error),
        other => failed(other),
    })?;
    let student = Student::new(result.release);
    Ok((
        result.outcome.to_string(),
        student,
        Points::new(result.points),
    ))
}
