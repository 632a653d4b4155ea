//! `enrol`: join a fleet.

use std::path::Path;

use common::ids::DeviceId;
use common::trust::token::JoinToken;

use super::{ExitCode, Failure, block_on, own_state};
use crate::anew::enrol_again;
use crate::config::{Config, DEFAULT_FILE, Flags, are_hosts_and_ports, is_host_and_port};
use crate::enrol::{Joining, enrol};

/// Join a fleet. The device makes its key itself and shows it to nobody; it
/// makes sure by the token's pin that it talks to the right coordinator
/// before it says a word.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  alambic-agent enrol --coordinator 10.0.0.5:4433 --token alambic1.0123….….…
  ALAMBIC_TOKEN=alambic1.… alambic-agent enrol --coordinator fleet:4433 --label kitchen
  alambic-agent enrol --again --coordinator fleet:4433 --token alambic1.…")]
pub(super) struct Arguments {
    /// Where the coordinator is
    #[arg(long, value_name = "HOST:PORT", env = "ALAMBIC_COORDINATOR")]
    coordinator: String,
    /// The join token; in the environment it stays out of process lists
    #[arg(
        long,
        value_name = "TOKEN",
        env = "ALAMBIC_TOKEN",
        hide_env_values = true
    )]
    token: String,
    /// A name for people to read
    #[arg(long, default_value = "", hide_default_value = true)]
    label: String,
    /// Join although this device has joined before, with a new key: another fleet, a coordinator
    /// that was set up anew, a revoked device that was repaired, or a copy of another machine. The
    /// previous key and state are kept in the folder before-1 (or -2 …) of the state directory
    #[arg(long)]
    again: bool,
    /// Print the device's identity as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    if !are_hosts_and_ports(&arguments.coordinator) {
        let message = format!(
            "--coordinator is {:?}, expected HOST:PORT",
            arguments.coordinator
        );
        let failure = Failure::new(ExitCode::Usage, message);
        let with_port = format!("{}:4433", arguments.coordinator);
        return Err(match is_host_and_port(&with_port) {
            true => failure.advise(format!("a coordinator's usual port makes it {with_port}")),
            false => failure,
        });
    }
    let token: JoinToken = arguments.token.parse().map_err(|error| {
        let error: common::trust::token::TokenError = error;
        Failure::new(ExitCode::Usage, error.to_string())
    })?;
    let label = arguments.label.trim();
    if label.len() > LABEL_BYTES_MAX || label.chars().any(char::is_control) {
        let message = format!("--label must be plain text of at most {LABEL_BYTES_MAX} bytes");
        return Err(Failure::new(ExitCode::Usage, message));
    }
    let joining = Joining {
        coordinator: arguments.coordinator.clone(),
        token,
        label: label.to_owned(),
    };
    let state = own_state(config)?;
    let coordinator = &arguments.coordinator;
    let waiting = |device: DeviceId| {
        eprintln!(
            "waiting for approval as {device}; at {coordinator} the operator may say\n  \
             alambic-coordinator device approve {device}\n\
             Ctrl-C ends the waiting; the same command goes on with it"
        );
    };
    let membership = block_on(async {
        Ok(match arguments.again {
            true => enrol_again(&state, &joining, waiting).await?,
            false => enrol(&state, &joining, waiting).await?,
        })
    })?;
    if arguments.json {
        let told = serde_json::json!({
            "device": membership.device,
            "label": membership.label,
            "coordinator": membership.coordinator,
        });
        println!("{}", super::to_json(&told)?);
        return Ok(());
    }
    println!("enrolled as {}", membership.device);
    println!("next: {}", next(config, Path::new(SERVICES).exists()));
    Ok(())
}

/// What makes the device run; `has_services` where systemd does.
fn next(config: &Config, has_services: bool) -> String {
    let state = super::state_option(config);
    if state.is_empty() && has_services {
        let start = "systemctl enable --now alambic-agent";
        return match config.data {
            Some(_) => start.to_owned(),
            None => format!("name the data folder in {DEFAULT_FILE}, then {start}"),
        };
    }
    let file = { config.file.as_deref() }.filter(|file| *file != Path::new(DEFAULT_FILE));
    let file = file.map_or_else(String::new, |file| format!(" --config {}", file.display()));
    // A folder that was named to this command alone has to be named again.
    let flags = Flags {
        config: config.file.clone(),
        ..Flags::default()
    };
    let alone = Config::load(&flags, &|_| None);
    let is_kept = alone.is_ok_and(|alone| alone.data.is_some() && alone.data == config.data);
    let data = match &config.data {
        Some(_) if is_kept => String::new(),
        Some(data) => format!(" --data {}", data.display()),
        None => " --data FOLDER".to_owned(),
    };
    format!("alambic-agent run{file}{state}{data}")
}

/// Is there where systemd runs.
const SERVICES: &str = "/run/systemd/system";
const LABEL_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_data_folder_that_is_configured_is_not_asked_for() {
        let root = tempfile::tempdir().unwrap();
        let (file, data) = (root.path().join("agent.toml"), root.path().join("data"));
        let load = |text: &str, data: Option<&Path>| {
            std::fs::write(&file, text).unwrap();
            let flags = Flags {
                config: Some(file.clone()),
                state: Some(root.path().join("state")),
                data: data.map(Path::to_owned),
            };
            Config::load(&flags, &|_| None).unwrap()
        };
        let named = format!("[data]\nfolder = {data:?}\n");
        let text = next(&load(&named, None), true);
        let given = format!("run --config {}", file.display());
        assert!(text.contains(&given) && !text.contains("--data"), "{text}");
        let text = next(&load("", None), true);
        assert!(text.ends_with(" --data FOLDER"), "{text}");
        let text = next(&load("", Some(&data)), true);
        assert!(
            text.ends_with(&format!(" --data {}", data.display())),
            "{text}"
        );
    }
}
