//! One file a command.

pub(crate) mod demo;
pub(crate) mod simulate;

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

/// Whether a path stands for standard output.
fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    if is_stdout(path) {
        Ok(std::io::stdout().write_all(text.as_bytes())?)
    } else {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
