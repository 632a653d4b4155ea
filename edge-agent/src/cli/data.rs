//! `data check`: what a round would make of the files of this device; `data stages`:
//! which feature stage suits them.

mod check;
mod stages;

use std::path::{Path, PathBuf};

use common::task::{RawTask, Task};

use super::offered::offered_tasks;
use super::{ExitCode, Failure, to_json};
use crate::config::Config;
use crate::driver::local::known_tasks;
use crate::state::StateDir;
use check::Check;
use stages::Trial;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Read all files as a round would, and say how each is used
    ///
    /// A model that labels rows (teacher.kind = "onnx") is tried on them.
    /// Changes nothing; the agent may run meanwhile. Exit code 0 if every file
    /// is used and something may leave this device, 2 if not, with what to
    /// write into agent.toml.
    #[command(after_help = "Examples:
  alambic-agent data check --task pump.toml /srv/pump
  alambic-agent data check --coordinator
  alambic-agent data check --json | jq '.[].mend'")]
    Check {
        /// The task file; without it the tasks that the coordinator has called
        /// for
        #[arg(long, value_name = "FILE")]
        task: Option<PathBuf>,
        /// Ask the coordinator for its tasks, also for those that it has not
        /// called for
        #[arg(long, conflicts_with = "task")]
        coordinator: bool,
        /// The folder [default: data.folder]
        folder: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Try the feature stages that suit the task's shape on this device's rows
    ///
    /// Teachers learn from three quarters of at most 400 labelled rows and are judged by
    /// the rest, in turn. Nothing leaves the device. Whoever writes the task names the
    /// better one as features.stage; without a name a task takes a stage by the
    /// shape of inputs alone.
    #[command(after_help = "Examples:
  alambic-agent data stages --task pump.toml /srv/pump
  alambic-agent data stages --task pump.toml --json | jq '.[].better'")]
    Stages {
        /// The task file; without it the tasks that the coordinator has called
        /// for
        #[arg(long, value_name = "FILE")]
        task: Option<PathBuf>,
        /// The folder [default: data.folder]
        folder: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let (task, coordinator, folder, json) = match &arguments.command {
        Command::Check {
            task,
            coordinator,
            folder,
            json,
        } => (task, *coordinator, folder, json),
        Command::Stages { task, folder, json } => (task, false, folder, json),
    };
    let folder = folder.as_deref().or(config.data.as_deref());
    let folder = folder.ok_or_else(|| {
        let message = "no data folder; name one, or set data.folder in agent.toml";
        Failure::new(ExitCode::Usage, message)
    })?;
    let tasks = asked_tasks(config, task.as_deref(), coordinator)?;
    if matches!(arguments.command, Command::Stages { .. }) {
        let mut trials = Vec::new();
        for task in &tasks {
            trials.push(Trial::of(config, task, folder)?);
        }
        match json {
            true => println!("{}", to_json(&trials)?),
            false => {
                let texts: Vec<String> = trials.iter().map(Trial::text).collect();
                print!("{}", texts.join("\n"));
            }
        }
        return Ok(());
    }
    let mut checks = Vec::new();
    for task in &tasks {
        checks.push(Check::of(config, task, folder)?);
    }
    if *json {
        println!("{}", to_json(&checks)?);
    } else {
        let texts: Vec<String> = checks.iter().map(Check::text).collect();
        print!("{}", texts.join("\n"));
    }
    // The device takes part in one task; another may be of long ago.
    match checks.iter().any(Check::is_fine) {
        true => Ok(()),
        false => Err(Failure::new(
            ExitCode::Usage,
            "not everything is used, see above",
        )),
    }
}

/// The task of a file, those of the coordinator, or those that it has called for.
fn asked_tasks(
    config: &Config,
    task: Option<&Path>,
    coordinator: bool,
) -> Result<Vec<Task>, Failure> {
    let tasks = match task {
        Some(path) => vec![read_task(path)?],
        None if coordinator => offered_tasks(config)?,
        None => known_tasks(&StateDir::at(&config.state))?,
    };
    if tasks.is_empty() {
        let message = match coordinator {
            true => "the coordinator has no task yet",
            false => {
                "the coordinator has not called for a task yet; ask it for its tasks with \
                 `data check --coordinator`, or name a file with --task"
            }
        };
        return Err(Failure::new(ExitCode::NotFound, message));
    }
    Ok(tasks)
}

fn read_task(path: &Path) -> Result<Task, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::new(ExitCode::Usage, message)
    })?;
    RawTask::parse(&text).map_err(|error| {
        let message = format!("{}: {error}", path.display());
        Failure::new(ExitCode::Usage, message)
    })
}
