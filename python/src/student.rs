//! A trained student.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::export::{ExportError, Format, archive, export};
use common::model::Release;
use numpy::{IntoPyArray, PyArray2, PyReadonlyArray2};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::{bad_value, failed};
use crate::work::release_lock;

/// A student: features, normaliser, network and softmax.
#[pyclass(frozen)]
pub(crate) struct Student(Arc<Release>);

impl Student {
    pub(crate) fn new(release: Arc<Release>) -> Self {
        Self(release)
    }
}

#[pymethods]
impl Student {
    /// Probabilities of rows, each the values of one input.
    fn probabilities<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let rows = rows.as_array().to_owned();
        let said = release_lock(py, || self.0.probabilities(rows.view()))?;
        Ok(said.map_err(bad_value)?.into_pyarray(py))
    }

    /// What the stage makes of rows, before the normaliser.
    fn features<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let task = self.0.task();
        let rows = rows.as_array().to_owned();
        let stage = task.definition().features;
        let made = release_lock(py, || stage.compute(task.input_shape(), rows.view()))?;
        Ok(made.map_err(bad_value)?.into_pyarray(py))
    }

    /// The file of a format, as bytes.
    fn encode<'py>(&self, py: Python<'py>, format: &str) -> PyResult<Bound<'py, PyBytes>> {
        let format: Format = format.parse().map_err(bad_value)?;
        let exported = export(&self.0, format, Path::new("student")).map_err(failed)?;
        Ok(PyBytes::new(py, &exported.files[0].1))
    }

    /// Writes the files of the format that a path ends in, and says what to know of them.
    fn write(&self, path: PathBuf) -> PyResult<Option<String>> {
        let write = || {
            let exported = export(&self.0, Format::of_path(&path)?, &path)?;
            exported.write(&path, true)?;
            Ok(exported.note)
        };
        write().map_err(|error: ExportError| match &error {
            ExportError::File { .. } => PyOSError::new_err(error.to_string()),
            ExportError::Ending { .. } | ExportError::Identifier { .. } => bad_value(error),
            _ => failed(error),
        })
    }

    #[getter]
    fn sides(&self) -> Vec<usize> {
        self.0.task().input_shape().sides().to_vec()
    }

    #[getter]
    fn classes(&self) -> Vec<String> {
        self.0.task().definition().classes.clone()
    }

    #[getter]
    fn stage(&self) -> String {
        self.0.task().definition().features.to_string()
    }

    #[getter]
    fn network(&self) -> String {
        self.0.task().student().to_string()
    }
}

/// The student in the bytes of an NPZ or safetensors file.
#[pyfunction]
pub(crate) fn read_student(bytes: &[u8]) -> PyResult<Student> {
    let release = archive::read(bytes).map_err(bad_value)?;
    Ok(Student(Arc::new(release)))
}
