//! Long work without the interpreter's lock, which Ctrl-C ends.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::liveness::interruptible;
use pyo3::prelude::*;

/// Does `work` while other Python threads run. Ctrl-C ends it between two of its pieces.
///
/// # Errors
/// What a signal's handler raised, `KeyboardInterrupt` as a rule.
pub(crate) fn release_lock<R: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> R + Send,
) -> PyResult<R> {
    py.detach(|| {
        let raised: Rc<RefCell<Option<PyErr>>> = Rc::default();
        let heard = raised.clone();
        let mut asked = Instant::now();
        let enough = move || {
            if asked.elapsed() < ASK_EVERY {
                return false;
            }
            asked = Instant::now();
            let signals = Python::attach(|py| py.check_signals());
            let enough = signals.is_err();
            *heard.borrow_mut() = signals.err();
            enough
        };
        interruptible(enough, work).map_err(|interrupted| {
            let raised = raised.borrow_mut().take();
            raised.unwrap_or_else(|| crate::errors::failed(interrupted))
        })
    })
}

/// How often Python is asked for signals.
const ASK_EVERY: Duration = Duration::from_millis(50);
