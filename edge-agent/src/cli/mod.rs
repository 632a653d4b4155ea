//! The command line: one file a command.

mod config;
mod data;
mod doctor;
mod enrol;
mod exit;
mod follow;
mod holdings;
mod join;
mod model_child;
mod offered;
mod predict;
mod pull;
mod run;
mod sent;
mod status;
mod student;
mod task;
mod teacher;
mod work_child;

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use common::exit::{ExitCode, Failure};
use common::settings::Layers;
use common::{log, reference};

pub use config::reference as configuration_reference;

use crate::config::{Config, DEFAULT_STATE, Flags};
use crate::driver::status::RunStatus;
use crate::state::StateDir;

/// The device's side of Alambic: learns from local data, sends only what the
/// owner's policy allows, and runs the student that the fleet distils.
#[derive(Debug, Parser)]
#[command(name = "alambic-agent", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Its name in the journal.
const PROGRAM: &str = "alambic-agent";
/// Over the options that every command takes, which follow its own.
const EVERYWHERE: &str = "Options of every command";

#[derive(Debug, Args)]
struct Common {
    /// Configuration file [default: /etc/alambic/agent.toml, if it is there]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    config: Option<PathBuf>,
    /// State directory: key, students, outbox [default: /var/lib/alambic-agent]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Folder with the device's data
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Log lines as JSON
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    log_json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Join a fleet with a token from its operator
    Enrol(enrol::Arguments),
    /// Run the device until it is stopped
    Run(run::Arguments),
    /// Fetch, verify and install the newest student, once
    Pull(pull::Arguments),
    /// Predict the class, or the numbers, of each row of a file or a stream, offline
    Predict(predict::Arguments),
    /// Show everything that left this device
    Sent(sent::Arguments),
    /// Show, check or go back to installed students
    Student(student::Arguments),
    /// Show this device's identity and state
    Status(status::Arguments),
    #[command(hide = true)]
    WorkChild(work_child::Arguments),
    #[command(hide = true)]
    ModelChild(model_child::Arguments),
    /// Check the configuration
    Config(config::Arguments),
    /// Check this device's data files
    Data(data::Arguments),
    /// Write a task for this device's data files
    Task(task::Arguments),
    /// Check this device for problems, and say how to solve them
    Doctor(doctor::Arguments),
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  alambic-agent completions bash > /etc/bash_completion.d/alambic-agent"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Manual {
        /// The folder
        folder: PathBuf,
    },
}

impl Cli {
    /// Carries the command out. What it prints goes to standard output; logs
    /// and errors do not.
    ///
    /// # Errors
    /// [`Failure`], with the exit code, what happened and what to do.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::WorkChild(_) => return work_child::run(self.common),
            Command::ModelChild(_) => return model_child::run(self.common),
            // These need no configuration, not even one that is right.
            Command::Completions { shell } => {
                reference::completions(Self::command(), shell);
                return Ok(());
            }
            Command::Manual { folder } => return reference::manual(Self::command(), &folder),
            _ => {}
        }
        let flags = Flags {
            config: self.common.config,
            state: self.common.state,
            data: self.common.data,
        };
        let environment = |name: &str| std::env::var(name).ok();
        let load = || Config::load(&flags, &environment);
        let config = load()?;
        let log_json = self.common.log_json;
        log::begin(PROGRAM, &config.log, log_json);
        match self.command {
            Command::Completions { .. } | Command::Manual { .. } => Ok(()),
            Command::Config(arguments) => {
                let layers = Layers {
                    flags: &flags,
                    environment: &environment,
                    file: config.file.clone(),
                };
                config::run(&config, &layers, &arguments);
                Ok(())
            }
            Command::Enrol(arguments) => handed_over(&config, enrol::run(&config, &arguments)),
            Command::Run(arguments) => run::run(&config, &load, &arguments, log_json),
            Command::Pull(arguments) => handed_over(&config, pull::run(&config, &arguments)),
            Command::Predict(arguments) => predict::run(&config, &arguments),
            Command::Sent(arguments) => sent::run(&config, &arguments),
            Command::Student(arguments) => handed_over(&config, student::run(&config, &arguments)),
            Command::Task(arguments) => task::run(&config, &arguments),
            Command::Data(arguments) => data::run(&config, &arguments),
            Command::Doctor(arguments) => doctor::run(&config, &arguments),
            Command::Status(arguments) => status::run(&config, &arguments),
            Command::WorkChild(_) | Command::ModelChild(_) => {
                unreachable!("carried out above")
            }
        }
    }
}

/// What root wrote into the state directory of the service's user is that
/// user's from then on.
fn handed_over(config: &Config, done: Result<(), Failure>) -> Result<(), Failure> {
    if config.state.exists()
        && let Err(error) = common::ownership::hand_over(&config.state)
    {
        let state = config.state.display();
        eprintln!("warning: {state} holds files of root's, which a service cannot read: {error}");
    }
    done
}

/// The state directory, made if it is missing.
fn own_state(config: &Config) -> Result<StateDir, Failure> {
    Ok(StateDir::create(&config.state)?)
}

fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(ExitCode::Failed, format!("cannot write JSON: {error}")))
}

/// Runs a future on this thread. At most three more threads exist: one waits
/// for a piece of heavy work and one for its turn, while another looks up a
/// host's name.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(3)
        .thread_stack_size(THREAD_STACK_BYTES)
        .thread_keep_alive(std::time::Duration::from_secs(2))
        .build()
        .map_err(|error| Failure::new(ExitCode::Failed, format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(future);
    // Heavy work that is under way must not hold the exit up: the next start
    // goes on with it.
    runtime.shutdown_background();
    outcome
}

/// The data folder of the agent that runs, which may have been named on its
/// command line, or else the configuration's.
fn data_in_use(config: &Config, run: Option<&RunStatus>) -> Option<String> {
    let own = || config.data.as_ref().map(|path| path.display().to_string());
    run.and_then(|run| run.data.clone()).or_else(own)
}

/// ` --state FOLDER` where it is not the usual one, for the next command.
fn state_option(config: &Config) -> String {
    if config.state == std::path::Path::new(DEFAULT_STATE) {
        String::new()
    } else {
        format!(" --state {}", config.state.display())
    }
}

/// The three threads of [`block_on`] read files and wait; they do not recurse.
const THREAD_STACK_BYTES: usize = 512 * 1024;

const EXAMPLES: &str = "Examples:
  alambic-agent enrol --coordinator fleet.example.org:4433 --token alambic1....
  alambic-agent run --data /srv/sensor
  alambic-agent predict --input new.csv
  alambic-agent status --json

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 unreachable, 4 denied,
5 not found, 6 quorum not met, 7 verification failed.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }
}
