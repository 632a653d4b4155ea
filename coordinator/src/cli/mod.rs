//! The command line of `alambic-coordinator`.

mod arguments;
mod config;
mod doctor;
mod export;
mod failure;
mod init;
mod list;
mod operate;
mod reference;
mod run;
mod watch;

pub use arguments::Arguments;
pub use failure::Failure;

use arguments::{
    Command, ConfigCommand, DeviceCommand, ModelCommand, RoundCommand, TaskCommand, TokenCommand,
};

use crate::admin::Client;
use crate::config::Config;

/// Runs one command.
///
/// # Errors
/// Why it failed, with the exit code for it.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        // These need no configuration, not even one that is right.
        Command::Completions { shell } => {
            reference::completions(shell);
            return Ok(());
        }
        Command::Manual { folder } => return reference::manual(&folder),
        _ => {}
    }
    let flags = arguments.flags();
    let environment = |name: &str| std::env::var(name).ok();
    let resolve = || Config::resolve(&flags, environment);
    let config = resolve()?;
    let connect = || Client::connect(&config.admin_socket);
    match arguments.command {
        Command::Completions { .. } | Command::Manual { .. } => Ok(()),
        Command::Config(ConfigCommand::Check { explain, json }) => {
            let layers = config::Layers {
                flags: &flags,
                environment: &environment,
            };
            config::check(&config, &layers, explain, json);
            Ok(())
        }
        Command::Doctor { json } => doctor::doctor(&config, json),
        Command::Init { json, .. } => init::init(&config, json),
        Command::Serve { .. } => run::serve(&config, &resolve),
        Command::Token(TokenCommand::Create { ttl, uses, json }) => {
            operate::create_token(&mut connect()?, ttl, uses, json)
        }
        Command::Task(TaskCommand::Create { file, json }) => {
            operate::create_task(&mut connect()?, &config, &file, json)
        }
        Command::Task(TaskCommand::Show { task, json }) => {
            operate::show_task(&mut connect()?, task, json)
        }
        Command::Task(TaskCommand::List { json }) => list::tasks(&mut connect()?, json),
        Command::Round(RoundCommand::Start { task, watch, json }) => {
            watch::start(&mut connect()?, task.as_deref(), watch, json)
        }
        Command::Round(RoundCommand::Cancel { task }) => operate::cancel(&mut connect()?, task),
        Command::Status { json } => list::status(&mut connect()?, json),
        Command::Device(DeviceCommand::List { json }) => list::devices(&mut connect()?, json),
        Command::Device(DeviceCommand::Revoke { device }) => {
            operate::revoke(&mut connect()?, device)
        }
        Command::Model(ModelCommand::List { task, json }) => {
            list::models(&mut connect()?, task.as_deref(), json)
        }
        Command::Model(ModelCommand::Export(what)) => {
            export::export(&mut connect()?, &config.state, &what)
        }
    }
}
