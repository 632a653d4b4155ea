//! One file a command.

pub(crate) mod demo;
mod failure;
pub(crate) mod simulate;
pub(crate) mod split;

use std::io::Write;
use std::path::Path;

use serde::Serialize;

pub(crate) use failure::Failure;

/// Whether a path stands for standard output.
fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    let written = if is_stdout(path) {
        std::io::stdout().write_all(text.as_bytes())
    } else {
        std::fs::write(path, text)
    };
    written.map_err(|cause| Failure::Write {
        path: path.to_owned(),
        cause,
    })
}
