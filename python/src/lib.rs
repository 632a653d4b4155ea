//! What the Python package `alambic` computes with. Its functions take rows and class
//! numbers; `alambic/__init__.py` makes them of whatever a person has.

mod data;
mod distil;
mod errors;
mod simulate;
mod student;
mod work;

use pyo3::prelude::*;

/// The compiled part of the package `alambic`.
#[pymodule]
fn _alambic(module: &Bound<'_, PyModule>) -> PyResult<()> {
    common::math::blas::pin_to_one_thread();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add(
        "AlambicError",
        module.py().get_type::<errors::AlambicError>(),
    )?;
    module.add_class::<student::Student>()?;
    module.add_class::<distil::Points>()?;
    module.add_function(wrap_pyfunction!(distil::distil, module)?)?;
    module.add_function(wrap_pyfunction!(simulate::simulate, module)?)?;
    module.add_function(wrap_pyfunction!(student::read_student, module)?)?;
    Ok(())
}
