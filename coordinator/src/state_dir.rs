//! The directory that holds all of a coordinator's state.

use std::path::Path;

/// Where the state directory is unless something says otherwise.
pub(crate) const STATE_DEFAULT: &str = "/var/lib/alambic-coordinator";
/// The configuration's name in the state directory.
pub(crate) const FILE_NAME: &str = "coordinator.toml";

/// ` --state DIR` for the next command, where it is not the usual one.
pub(crate) fn state_option(state: &Path) -> String {
    match state == Path::new(STATE_DEFAULT) {
        true => String::new(),
        false => format!(" --state {}", state.display()),
    }
}
