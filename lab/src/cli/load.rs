//! `alambic-lab load`.

use std::path::PathBuf;

use clap::Args;

use lab::load::{self, LoadOptions};
use lab::progress::Progress;

use super::{Failure, is_stdout, write_json};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  alambic-lab load --agents 1000
  alambic-lab load --agents 1000 --gateways 2
  alambic-lab load --agents 10000 --contributions 10000 --rate 1000 --json load.json
  alambic-lab load --coordinator fleet:4433 --token alambic1.… --state ./devices --agents 500
  alambic-lab load --coordinator 127.0.0.1:4433 --state ./devices --admin-socket ./state/admin.sock

Without --coordinator it starts one of its own on loopback, which it kills at
the end to see what was kept. With one, devices join by --token, stay members
(revoke them when done), and are kept in --state for the next run. Rounds are
run only where --admin-socket allows it: they add a task named `load`, whose
contributions are made up.")]
pub(crate) struct LoadArguments {
    /// A running coordinator, HOST:PORT [default: one of its own]
    #[arg(long, value_name = "HOST:PORT")]
    coordinator: Option<String>,
    /// Join token for devices that are not in --state
    #[arg(
        long,
        env = "ALAMBIC_TOKEN",
        hide_env_values = true,
        requires = "coordinator"
    )]
    token: Option<String>,
    /// Keep the devices' keys and certificates in this folder for the next run
    #[arg(long, value_name = "DIR", requires = "coordinator")]
    state: Option<PathBuf>,
    /// The coordinator's admin socket, to run a round on it
    #[arg(long, value_name = "PATH", requires = "coordinator")]
    admin_socket: Option<PathBuf>,
    /// Gateways between the devices and a coordinator of its own, each a process
    #[arg(
        long,
        default_value_t = 0,
        conflicts_with = "coordinator",
        value_parser = clap::value_parser!(u32).range(0..=64)
    )]
    gateways: u32,
    /// Devices, each with a session of its own
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    agents: u32,
    /// Contributions sent at --rate [default: one of each device]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=900_000))]
    contributions: Option<u32>,
    /// Contributions a second
    #[arg(long, default_value_t = 1_000.0, value_parser = positive)]
    rate: f64,
    /// Bytes of the signed student, about
    #[arg(long, default_value_t = 160_000, value_parser = clap::value_parser!(u64).range(4_000..=10_000_000))]
    release_bytes: u64,
    /// Devices that fetch the student at the same time
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    push_agents: u32,
    /// Seconds that sessions idle before the coordinator's memory is read
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    idle: u64,
    /// Handshakes at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    parallel: u32,
    /// Write the figures as JSON to a file, or to standard output with -
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

/// Puts the load on the coordinator and shows what came of it.
pub(crate) fn run(arguments: LoadArguments) -> Result<(), Failure> {
    let agents = arguments.agents as usize;
    let options = LoadOptions {
        coordinator: arguments.coordinator,
        token: arguments.token,
        state: arguments.state,
        admin_socket: arguments.admin_socket,
        gateways: arguments.gateways as usize,
        agents,
        contributions: arguments.contributions.map_or(agents, |many| many as usize),
        rate: arguments.rate,
        release_bytes: arguments.release_bytes,
        push_agents: (arguments.push_agents as usize).min(agents),
        idle_s: arguments.idle,
        parallel: arguments.parallel as usize,
    };
    let mut progress = Progress::new(false);
    let outcome = load::run(&options, &mut progress);
    progress.finish();
    let report = outcome?;
    if let Some(path) = &arguments.json {
        write_json(path, &report)?;
    }
    if !arguments.json.as_deref().is_some_and(is_stdout) {
        print!("{}", report.render());
    }
    Ok(())
}

/// What `load` starts to compare with.
#[derive(Debug, Args)]
pub(crate) struct BareSenderArguments {
    /// Bytes for anyone who asks
    #[arg(long)]
    bytes: u64,
}

/// Sends until standard input ends.
pub(crate) fn send_bare(arguments: BareSenderArguments) -> Result<(), Failure> {
    Ok(load::send_bare(arguments.bytes)?)
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() && number >= 0.01 {
        Ok(number)
    } else {
        Err("expected 0.01 or more".to_owned())
    }
}
