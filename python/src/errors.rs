//! What a computation raises.

use std::fmt::Display;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::{PyErr, create_exception};

create_exception!(
    _alambic,
    AlambicError,
    PyRuntimeError,
    "A computation came to nothing."
);

/// What was given does not fit.
pub(crate) fn bad_value(error: impl Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// A computation came to nothing.
pub(crate) fn failed(error: impl Display) -> PyErr {
    AlambicError::new_err(error.to_string())
}
