//! `student`: what is installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::evaluation::Evaluation;
use common::export::{ExportError, Format};
use common::ids::{TaskHash, Version};
use common::model::Release;
use serde::Serialize;

use super::{ExitCode, Failure, own_state};
use crate::config::Config;
use crate::driver::local::{open_all, verified};
use crate::slots::{SlotInfo, Slots, SlotsError};
use crate::state::StateDir;
use crate::trust::Trust;

/// Show, check, write or go back to installed students.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  alambic-agent student list
  alambic-agent student export --out student.onnx
  alambic-agent student pin 1.3
  alambic-agent student rollback --task har")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The task, if students of several are installed
    #[arg(long, global = true, value_name = "NAME|HASH")]
    task: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the student in use
    #[command(after_help = "Example:\n  alambic-agent student current --json")]
    Current,
    /// List the installed students
    #[command(after_help = "Example:\n  alambic-agent student list")]
    List,
    /// Check the signature of the student in use
    #[command(after_help = "Example:\n  alambic-agent student verify")]
    Verify,
    /// Write the student in use for other programs: whole, from a raw input to probabilities
    #[command(after_help = "Examples:
  alambic-agent student export --out student.onnx
  alambic-agent student export --out student.c      # and student.h")]
    Export {
        /// The file; its name ends in .onnx, .npz, .safetensors or .c
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Use the student before this one again (stop the agent first)
    #[command(after_help = "Example:\n  alambic-agent student rollback")]
    Rollback,
    /// Pin a student: no release replaces it until `unpin` (stop the agent first)
    #[command(after_help = "Examples:
  alambic-agent student pin           # the student in use
  alambic-agent student pin 1.3       # the one before it, which is used from now on")]
    Pin {
        /// The version, if not the one in use
        #[arg(value_name = "EPOCH.NUMBER", value_parser = version)]
        version: Option<Version>,
    },
    /// Let releases replace the student in use again (stop the agent first)
    #[command(after_help = "Example:\n  alambic-agent student unpin")]
    Unpin,
}

#[derive(Debug, Serialize)]
pub(super) struct Installed {
    pub(super) task: TaskHash,
    pub(super) name: Option<String>,
    pub(super) version: Version,
    pub(super) current: bool,
    pub(super) whole: bool,
    pub(super) pinned: bool,
    /// How it fares, if it is the newest release that was tried.
    pub(super) evaluation: Option<Evaluation>,
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Current => show(config, arguments, true),
        Command::List => show(config, arguments, false),
        Command::Verify => verify(config, arguments),
        Command::Export { out, force } => export(config, arguments, out, *force),
        Command::Rollback => rollback(config, arguments),
        Command::Pin { version } => pin(config, arguments, *version),
        Command::Unpin => unpin(config, arguments),
    }
}

fn version(text: &str) -> Result<Version, String> {
    text.parse()
        .map_err(|_| format!("expected EPOCH.NUMBER, such as 1.3, got {text:?}"))
}

fn pin(config: &Config, arguments: &Arguments, version: Option<Version>) -> Result<(), Failure> {
    let state = own_state(config)?;
    let _lock = state.lock()?;
    let (task, mut slots) = one(&state, find(config, arguments.task.as_deref())?)?;
    let current = slots.current().map_err(of_slots)?.ok_or_else(none)?.0;
    let wanted = version.unwrap_or(current);
    if wanted != current {
        if slots
            .previous()
            .is_none_or(|(previous, _)| previous != wanted)
        {
            let message = format!("version {wanted} is not at hand");
            let advice = "`alambic-agent student list` shows those that are";
            return Err(Failure::new(ExitCode::NotFound, message).advise(advice));
        }
        slots.rollback().map_err(of_slots)?;
    }
    slots.pin(true).map_err(of_slots)?;
    let words = format!("version {wanted} is in use and stays until `alambic-agent student unpin`");
    said(arguments, task, Some(wanted), "pinned", &words)
}

fn unpin(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let state = own_state(config)?;
    let _lock = state.lock()?;
    let (task, mut slots) = one(&state, find(config, arguments.task.as_deref())?)?;
    slots.pin(false).map_err(of_slots)?;
    let words = "the next release replaces the student in use if it is no worse";
    said(arguments, task, slots.in_use(), "unpinned", words)
}

/// Says what was done: to scripts as JSON, to people in words.
fn said(
    arguments: &Arguments,
    task: TaskHash,
    version: Option<Version>,
    done: &str,
    words: &str,
) -> Result<(), Failure> {
    if arguments.json {
        let told = serde_json::json!({ "task": task, "version": version, "done": done });
        println!("{}", super::to_json(&told)?);
    } else {
        println!("{words}");
    }
    Ok(())
}

/// Every student in the slots, those in use first in each task.
pub(super) fn installed(config: &Config) -> Result<Vec<Installed>, Failure> {
    let state = StateDir::at(&config.state);
    let signers = Trust::known_signers_in(&state).unwrap_or_default();
    let mut all = Vec::new();
    for (task, slots) in open_all(&state)? {
        let bytes = slots.current().ok().flatten();
        let release = bytes.and_then(|(_, bytes)| verified(&bytes, &signers).ok());
        let name = release.map(|release| release.task().definition().name.clone());
        all.extend(slots.list().into_iter().map(|info| {
            let SlotInfo {
                version,
                is_current,
                is_whole,
                ..
            } = info;
            Installed {
                task,
                name: name.clone(),
                version,
                current: is_current,
                whole: is_whole,
                pinned: is_current && slots.is_pinned(),
                evaluation: slots
                    .evaluation()
                    .filter(|evaluation| evaluation.version == version)
                    .map(|evaluation| evaluation.evaluation),
            }
        }));
    }
    Ok(all)
}

/// Fewer digits of a hash name no task.
const DIGITS_MIN: usize = 4;

/// The task that is meant: by its whole hash, whether it is known or not, by
/// the name of an installed student's task, or by the first digits of the hash.
pub(super) fn find(config: &Config, meant: Option<&str>) -> Result<Option<TaskHash>, Failure> {
    let Some(meant) = meant else { return Ok(None) };
    if let Ok(task) = meant.parse() {
        return Ok(Some(task));
    }
    let installed = installed(config)?;
    let known: BTreeMap<_, _> = { installed.iter() }
        .map(|one| (one.task, one.name.as_deref()))
        .collect();
    let mut found: Vec<_> = { known.iter() }
        .filter(|(_, name)| **name == Some(meant))
        .map(|(task, _)| *task)
        .collect();
    if found.is_empty() {
        found = with_digits(known.keys().copied(), meant);
    }
    if let [task] = found.as_slice() {
        return Ok(Some(*task));
    }
    let known = known.iter();
    let known: Vec<_> = known
        .map(|(task, name)| format!("{} {task}", name.unwrap_or("?")))
        .collect();
    let (code, message) = match found.len() {
        0 => (ExitCode::NotFound, format!("no student of a task {meant}")),
        _ => (ExitCode::Usage, format!("{meant} may be several tasks")),
    };
    let advice = match known.is_empty() {
        true => "no student is installed, so only its hash names a task: \
                 `alambic-coordinator task list` shows it"
            .to_owned(),
        false => format!("name one of: {}", known.join(", ")),
    };
    Err(Failure::new(code, message).advise(advice))
}

/// Those of the tasks whose hash begins with these digits.
pub(super) fn with_digits(tasks: impl Iterator<Item = TaskHash>, digits: &str) -> Vec<TaskHash> {
    let digits = digits.to_ascii_lowercase();
    tasks
        .filter(|task| digits.len() >= DIGITS_MIN && task.to_string().starts_with(&digits))
        .collect()
}

/// The student in use of the task that is meant, verified.
pub(super) fn choose(config: &Config, task: Option<&str>) -> Result<Release, Failure> {
    let task = find(config, task)?;
    let state = StateDir::at(&config.state);
    let signers = Trust::known_signers_in(&state).map_err(|error| {
        Failure::new(ExitCode::Unverified, error.to_string()).advise(error.advice())
    })?;
    let (_, slots) = one(&state, task)?;
    let current = slots.current().map_err(of_slots)?;
    let (_, bytes) = current.ok_or_else(none)?;
    verified(&bytes, &signers).map_err(|error| {
        let message = format!("the installed student: {error}");
        Failure::new(ExitCode::Unverified, message).advise("`alambic-agent pull` brings it again")
    })
}

fn show(config: &Config, arguments: &Arguments, only_current: bool) -> Result<(), Failure> {
    let task = find(config, arguments.task.as_deref())?;
    let mut all = installed(config)?;
    all.retain(|one| task.is_none_or(|task| task == one.task));
    all.retain(|one| one.current || !only_current);
    if arguments.json {
        println!("{}", super::to_json(&all)?);
        return Ok(());
    }
    if all.is_empty() {
        return Err(none());
    }
    for one in all {
        let name = one.name.as_deref().unwrap_or("?");
        let mark = if one.current { "current" } else { "previous" };
        let whole = if one.whole { "" } else { "  DAMAGED" };
        let pinned = if one.pinned { "  pinned" } else { "" };
        let evaluation = one
            .evaluation
            .map(|evaluation| format!("  ({evaluation})"))
            .unwrap_or_default();
        println!(
            "{name} ({}…)  {}  {mark}{whole}{pinned}{evaluation}",
            one.task.short(),
            one.version
        );
    }
    Ok(())
}

fn verify(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let release = choose(config, arguments.task.as_deref())?;
    let name = &release.task().definition().name;
    let version = release.version();
    let words = format!(
        "{name}: version {version} is signed by the fleet's key, its weights are whole and finite"
    );
    said(
        arguments,
        release.task().hash(),
        Some(version),
        "verified",
        &words,
    )
}

fn export(config: &Config, arguments: &Arguments, out: &Path, force: bool) -> Result<(), Failure> {
    let release = choose(config, arguments.task.as_deref())?;
    let write = || {
        let exported = common::export::export(&release, Format::of_path(out)?, out)?;
        exported.write(out, force)?;
        Ok(exported)
    };
    let exported = write().map_err(|error: ExportError| Failure::from(error))?;
    let version = release.version();
    if arguments.json {
        let told = serde_json::json!({
            "task": release.task().hash(),
            "version": version,
            "out": out,
            "bytes": exported.bytes(),
            "note": exported.note,
        });
        println!("{}", super::to_json(&told)?);
        return Ok(());
    }
    let (file, bytes) = (out.display(), exported.bytes());
    println!("wrote student {version} to {file} ({bytes} bytes)");
    if let Some(note) = &exported.note {
        println!("{note}");
    }
    Ok(())
}

fn rollback(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let state = own_state(config)?;
    let _lock = state.lock()?;
    let (task, mut slots) = one(&state, find(config, arguments.task.as_deref())?)?;
    let version: Version = slots.rollback().map_err(of_slots)?;
    let words = format!("version {version} is in use; a newer release replaces it");
    said(arguments, task, Some(version), "rolled_back", &words)
}

fn one(state: &StateDir, task: Option<TaskHash>) -> Result<(TaskHash, Slots), Failure> {
    let mut all = open_all(state)?;
    all.retain(|one, _| task.is_none_or(|task| task == *one));
    if all.len() > 1 {
        let tasks: Vec<String> = all.keys().map(ToString::to_string).collect();
        let message = format!(
            "students of several tasks are installed: {}",
            tasks.join(", ")
        );
        return Err(Failure::new(ExitCode::Usage, message).advise("name one with --task"));
    }
    all.pop_first().ok_or_else(none)
}

fn none() -> Failure {
    let advice = "`alambic-agent pull` fetches the newest, `alambic-agent run` waits for it";
    Failure::new(ExitCode::NotFound, "no student is installed").advise(advice)
}

fn of_slots(error: SlotsError) -> Failure {
    let code = match error {
        SlotsError::NoPrevious(_) => ExitCode::NotFound,
        _ => ExitCode::Failed,
    };
    Failure::new(code, error.to_string()).advise(error.advice())
}
