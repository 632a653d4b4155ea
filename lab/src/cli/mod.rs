//! One file a command.

pub(crate) mod attack;
pub(crate) mod demo;
pub(crate) mod distill;
mod failure;
mod fleet;
mod interrupt;
pub(crate) mod load;
mod protection;
pub(crate) mod simulate;
pub(crate) mod split;
pub(crate) mod survive;
pub(crate) mod sweep;
pub(crate) mod task;

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use lab::data::{Asked, Dataset};

pub(crate) use failure::Failure;

/// What rows are labelled with, where they have to be.
fn labelled(text: &str) -> Result<Asked, String> {
    match text.parse()? {
        Asked::None => Err("rows without labels are for simulate alone".to_owned()),
        asked => Ok(asked),
    }
}

/// A data set; what was changed in it is said on standard error.
fn open(name: &str, asked: Asked) -> Result<Dataset, Failure> {
    let data = Dataset::open_asking(name, asked)?;
    if let Some(moved) = data.moved() {
        eprintln!("{moved}");
    }
    Ok(data)
}

/// Whether a path stands for standard output.
fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

fn write_text(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|cause| Failure::Write {
        path: path.to_owned(),
        cause,
    })
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

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(agents) if agents > 0 => Ok(agents),
        _ => Err("a number of devices, 1 or more".to_owned()),
    }
}
