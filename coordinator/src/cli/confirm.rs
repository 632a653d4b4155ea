//! Asking before something is done that cannot be undone.

use std::io::IsTerminal as _;

use super::failure::Failure;
use crate::admin::AdminError;
use crate::status::{Fault, FaultKind};

/// Asks a person. False if there is nobody to ask.
///
/// # Errors
/// If they say no.
pub(super) fn confirmed(question: &str) -> Result<bool, Failure> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Ok(false);
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    let agreed = ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str());
    if read.is_ok() && agreed {
        return Ok(true);
    }
    let message = "nothing was done; answer y, or add --yes";
    Err(AdminError::from(Fault::new(FaultKind::Invalid, message)).into())
}
