//! `alambic-lab sweep`. Every seed of every cell is a file of its own, written
//! whole: whatever ends the program, the same command goes on from there.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, Parser};
use serde_json::{Value, json};

use common::ids::BlobHash;
use lab::data::Dataset;
use lab::progress::Progress;
use lab::report::{Cell, SweepPage, render_sweep};
use lab::simulate;
use lab::sweep::{Grid, GridCell, table};

use super::simulate::{SimulateArguments, command};
use super::{Failure, interrupt, write_json, write_text};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  alambic-lab sweep configs/sweep-digits.toml
  alambic-lab sweep grid.toml --out results/grid

The file lists what is tried, with the options of `simulate` as keys:

  title = \"digits, by bytes and skew\"
  seeds = [0, 1, 2]
  [fixed]
  data = \"digits\"
  [grid]
  uplink_bytes_max = [4_000, 12_000]
  partition = [\"iid\", \"dirichlet:0.1\"]

The folder then holds sweep.csv (a line a cell and round, means over the seeds),
sweep.html, and runs/ with every seed's own figures. What stands in runs/ is
not run again; remove a file to have it run anew. Ctrl-C ends after the run in
hand (exit code 130).")]
pub(crate) struct SweepArguments {
    /// What to try
    #[arg(value_name = "FILE.toml")]
    file: PathBuf,
    /// The folder for the results [default: the file's name without its ending, here]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print the results as JSON at the end; progress goes to standard error
    #[arg(long)]
    json: bool,
}

const TABLE: &str = "sweep.csv";
const PAGE: &str = "sweep.html";

/// A cell's arguments are read as if they had been typed.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Typed {
    #[command(flatten)]
    arguments: SimulateArguments,
}

/// Runs what is missing and writes the table and the page after every cell.
pub(crate) fn run(arguments: SweepArguments) -> Result<(), Failure> {
    let grid = Grid::open(&arguments.file)?;
    let cells: Vec<(&GridCell, SimulateArguments)> = grid
        .cells
        .iter()
        .map(|cell| Ok((cell, typed(cell)?)))
        .collect::<Result<_, Failure>>()?;
    let out = match (&arguments.out, arguments.file.file_stem()) {
        (Some(out), _) => out.clone(),
        (None, Some(stem)) => PathBuf::from(stem),
        (None, None) => PathBuf::from("sweep"),
    };
    let runs = out.join("runs");
    fs::create_dir_all(&runs).map_err(|cause| Failure::Write {
        path: runs.clone(),
        cause,
    })?;
    let tell = |line: &str| match arguments.json {
        true => eprintln!("{line}"),
        false => println!("{line}"),
    };
    let stop = interrupt::watch("ending after this run");
    let mut data: BTreeMap<String, Dataset> = BTreeMap::new();
    let mut outcomes: Vec<(&GridCell, Value)> = Vec::new();
    let mut failed = 0;
    for (at, (cell, wanted)) in cells.iter().enumerate() {
        tell(&format!(
            "cell {} of {}: {}",
            at + 1,
            cells.len(),
            cell.name()
        ));
        let data = match data.entry(wanted.data_key()) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(wanted.open(&mut Progress::new(false))?)
            }
        };
        match run_cell(&runs, cell, wanted, &grid.seeds, data, &stop) {
            Ok(outcome) => {
                tell(&figures(&outcome));
                outcomes.push((cell, outcome));
                write_results(&out, &grid.title, &outcomes)?;
            }
            Err(Failure::Simulate(error)) => {
                eprintln!("  failed: {error}");
                failed += 1;
            }
            Err(Failure::SweepStopped { .. }) => return Err(Failure::SweepStopped { kept: out }),
            Err(other) => return Err(other),
        }
    }
    if arguments.json {
        let cells: Vec<_> = { outcomes.iter() }
            .map(|(cell, outcome)| json!({ "cell": cell.name(), "outcome": outcome }))
            .collect();
        let told = json!({
            "table": out.join(TABLE), "page": out.join(PAGE), "cells": cells, "failed": failed,
        });
        write_json(Path::new("-"), &told)?;
    } else {
        println!(
            "{0}/{TABLE} and {0}/{PAGE} hold {1} cells",
            out.display(),
            outcomes.len()
        );
    }
    match failed {
        0 => Ok(()),
        failed => Err(Failure::CellsFailed {
            failed,
            cells: cells.len(),
        }),
    }
}

fn typed(cell: &GridCell) -> Result<SimulateArguments, Failure> {
    match Typed::try_parse_from(&cell.arguments) {
        Ok(typed) => Ok(typed.arguments),
        Err(error) => Err(Failure::Cell {
            cell: cell.name(),
            what: error
                .to_string()
                .trim_start_matches("error: ")
                .trim_end()
                .to_owned(),
        }),
    }
}

/// The means over the seeds, each read where it was run already.
fn run_cell(
    runs: &Path,
    cell: &GridCell,
    wanted: &SimulateArguments,
    seeds: &[u64],
    data: &Dataset,
    stop: &AtomicBool,
) -> Result<Value, Failure> {
    let mut found = Vec::new();
    for &seed in seeds {
        let path = runs.join(format!("{}.json", name(&cell.arguments, seed)));
        if let Some(outcome) = kept(&path, &cell.arguments, seed) {
            found.push(outcome);
            continue;
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::SweepStopped {
                kept: runs.to_owned(),
            });
        }
        let mut progress = Progress::new(false);
        let result = simulate::run(data, &wanted.options(), seed, &mut progress)?;
        progress.finish();
        let record = json!({
            "arguments": cell.arguments, "seed": seed, "outcome": result.outcome,
            "version": env!("CARGO_PKG_VERSION"),
        });
        write_whole(&path, &serde_json::to_string_pretty(&record)?)?;
        found.push(result.outcome);
    }
    Ok(simulate::summarise(&found))
}

/// Named by what was asked for, so that another question never finds it.
fn name(arguments: &[String], seed: u64) -> String {
    let mut asked = arguments.to_vec();
    asked.sort();
    BlobHash::of(format!("{asked:?} {seed}").as_bytes()).to_string()[..24].to_owned()
}

/// An earlier run's outcome. A damaged file is run again.
fn kept(path: &Path, arguments: &[String], seed: u64) -> Option<Value> {
    let text = fs::read_to_string(path).ok()?;
    let mut record: Value = serde_json::from_str(&text).ok()?;
    let is_same = record["seed"] == json!(seed) && record["arguments"] == json!(arguments);
    is_same.then(|| record["outcome"].take())
}

fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |cause| Failure::Write {
        path: path.to_owned(),
        cause,
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

fn write_results(out: &Path, title: &str, outcomes: &[(&GridCell, Value)]) -> Result<(), Failure> {
    let lines: Vec<(&GridCell, &Value)> = outcomes.iter().map(|(c, v)| (*c, v)).collect();
    write_text(&out.join(TABLE), &table(&lines)?)?;
    let cells: Vec<Cell> = outcomes
        .iter()
        .map(|(cell, outcome)| Cell {
            name: cell.name(),
            outcome: outcome.clone(),
        })
        .collect();
    let page = render_sweep(&SweepPage {
        title,
        command: &command(),
        cells: &cells,
    })?;
    write_text(&out.join(PAGE), &page)
}

/// The last round's figures in a line.
fn figures(outcome: &Value) -> String {
    let rounds = outcome["rounds"].as_array();
    let Some(last) = rounds.and_then(|rounds| rounds.last()) else {
        return "  no round".to_owned();
    };
    let number = |key: &str| last[key].as_f64().unwrap_or(f64::NAN);
    format!(
        "  student {:.2} ± {:.2} %, {:.0} bytes up at most",
        100.0 * number("student_accuracy"),
        100.0 * number("student_accuracy_std"),
        number("uplink_bytes_max"),
    )
}
