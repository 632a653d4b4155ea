//! The command line of `alambic-coordinator`.

mod arguments;
mod audit;
mod authority;
mod backbones;
mod backup;
mod config;
mod confirm;
mod devices;
mod doctor;
mod export;
mod failure;
mod follow;
mod gateway;
mod init;
mod key;
mod members;
mod models;
mod operate;
mod rollout;
mod run;
mod standby;
mod status;
mod store;
mod table;
mod tasks;
mod tokens;
mod watch;

pub use arguments::Arguments;
pub use config::reference as configuration_reference;
pub use failure::Failure;

use std::path::Path;

use arguments::{
    ApproveBy, AuditCommand, AuthorityCommand, BackboneCommand, Command, ConfigCommand,
    DeviceCommand, GatewayCommand, ModelCommand, RolloutCommand, RoundCommand, StoreCommand,
    TaskCommand, TokenCommand,
};
use clap::CommandFactory as _;
use common::exit;
use common::reference;
use common::settings::Layers;
use common::trust::token::Approval;

use crate::admin::{Client, TokenWish};
use crate::config::Config;
use crate::gateway::config::{GatewayConfig, STATE_DEFAULT as STATE_OF_GATEWAYS};
use crate::registry::GATEWAY_GROUP;
use crate::rollout::Plan;
use crate::state_dir::STATE_DEFAULT;
use crate::status::Namesake;

/// Runs one command.
///
/// # Errors
/// Why it failed, with the exit code for it.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let (flags, gateway_flags) = (arguments.flags(), arguments.gateway_flags());
    match arguments.command {
        // These need no configuration, not even one that is right.
        Command::Completions { shell } => {
            reference::completions(Arguments::command(), shell);
            return Ok(());
        }
        Command::Manual { folder } => return Ok(reference::manual(Arguments::command(), &folder)?),
        // It names its own.
        Command::Store(StoreCommand::Copy { from, to, json }) => {
            return store::copy(&from, &to, json);
        }
        // A gateway has a configuration of its own.
        Command::Gateway(GatewayCommand::Enrol {
            coordinator,
            token,
            name,
            json,
        }) => {
            let state = gateway_flags
                .state
                .unwrap_or_else(|| STATE_OF_GATEWAYS.into());
            return gateway::join(&state, coordinator, &token, name, json);
        }
        Command::Gateway(GatewayCommand::Run { .. }) => {
            let environment = |name: &str| std::env::var(name).ok();
            return gateway::run(GatewayConfig::resolve(&gateway_flags, environment)?);
        }
        _ => {}
    }
    let environment = |name: &str| std::env::var(name).ok();
    let resolve = || Config::resolve(&flags, environment);
    let config = resolve()?;
    let connect = || Client::connect(&config.admin_socket);
    match arguments.command {
        Command::Completions { .. } | Command::Manual { .. } | Command::Store(_) => Ok(()),
        Command::Gateway(GatewayCommand::Enrol { .. } | GatewayCommand::Run { .. }) => Ok(()),
        Command::Gateway(GatewayCommand::Token { ttl, uses, json }) => {
            gateway::token(&mut connect()?, &config, (ttl, uses), json)
        }
        Command::Gateway(GatewayCommand::List { json }) => gateway::list(&mut connect()?, json),
        Command::Gateway(GatewayCommand::Revoke {
            gateway,
            reason,
            json,
        }) => gateway::revoke(&mut connect()?, &gateway, reason, json),
        Command::Config(ConfigCommand::Check { explain, json }) => {
            let layers = Layers {
                flags: &flags,
                environment: &environment,
                file: config.file.clone(),
            };
            config::check(&config, &layers, explain, json);
            Ok(())
        }
        Command::Doctor { json } => doctor::doctor(&config, json),
        Command::Init {
            if_missing, json, ..
        } => handed_over(&config, init::init(&config, if_missing, json)),
        Command::Serve { .. } => run::serve(&config, &resolve),
        Command::Token(TokenCommand::Create {
            ttl,
            uses,
            group,
            approve,
            json,
        }) => {
            if group.as_deref() == Some(GATEWAY_GROUP) {
                let message = format!("the group {GATEWAY_GROUP} is that of gateways");
                let advice = "make a token for one with `gateway token`, or name another group";
                let failure = exit::Failure::new(exit::ExitCode::Usage, message);
                return Err(failure.advise(advice).into());
            }
            let approval = match approve {
                ApproveBy::Auto => Approval::Auto,
                ApproveBy::Manual => Approval::Manual,
            };
            let wish = TokenWish {
                ttl_ms: ttl,
                uses,
                group,
                approval,
            };
            tokens::create_token(&mut connect()?, &config, wish, json)
        }
        Command::Token(TokenCommand::List { json }) => tokens::tokens(&mut connect()?, json),
        Command::Token(TokenCommand::Revoke { token, json }) => {
            tokens::revoke_token(&mut connect()?, token, json)
        }
        Command::Authority(AuthorityCommand::Show { json }) => {
            authority::show(&config, connect().ok(), json)
        }
        Command::Authority(AuthorityCommand::Rotate { renew_now, json }) => {
            handed_over(&config, authority::rotate(&config, renew_now, json))
        }
        Command::Authority(AuthorityCommand::Retire {
            renew_now,
            force,
            json,
        }) => handed_over(
            &config,
            authority::retire(
                &config,
                connect,
                authority::Retirement { force, renew_now },
                json,
            ),
        ),
        Command::Task(TaskCommand::Create {
            file,
            replace,
            alongside,
            json,
        }) => {
            let namesake = match (replace, alongside) {
                (true, _) => Namesake::Archive,
                (false, true) => Namesake::Keep,
                (false, false) => Namesake::Refuse,
            };
            tasks::create(&mut connect()?, &config, &file, namesake, json)
        }
        Command::Task(TaskCommand::Archive { task, json }) => {
            tasks::archive(&mut connect()?, task, true, json)
        }
        Command::Task(TaskCommand::Unarchive { task, json }) => {
            tasks::archive(&mut connect()?, task, false, json)
        }
        Command::Task(TaskCommand::Delete { task, yes, json }) => {
            tasks::delete(&mut connect()?, task, yes, json)
        }
        Command::Task(TaskCommand::Show { task, json }) => tasks::show(&mut connect()?, task, json),
        Command::Task(TaskCommand::List { json }) => status::tasks(&mut connect()?, json),
        Command::Task(TaskCommand::Relearn { task, json }) => {
            tasks::relearn(&mut connect()?, task, json)
        }
        Command::Backbone(BackboneCommand::Add { file, json }) => {
            backbones::add(&mut connect()?, &file, json)
        }
        Command::Backbone(BackboneCommand::List { json }) => backbones::list(&mut connect()?, json),
        Command::Backbone(BackboneCommand::Remove { model, json }) => {
            backbones::remove(&mut connect()?, model, json)
        }
        Command::Round(RoundCommand::Start { task, watch, json }) => {
            watch::start(connect, task.as_deref(), watch, json)
        }
        Command::Round(RoundCommand::Watch { task, once, json }) => {
            follow::watch(connect, task.as_deref(), once, json)
        }
        Command::Round(RoundCommand::Cancel { task, json }) => {
            operate::cancel(&mut connect()?, task, json)
        }
        Command::Status { json } => status::show(&mut connect()?, &config, json),
        Command::Device(DeviceCommand::List { json }) => devices::list(&mut connect()?, json),
        Command::Device(DeviceCommand::Show { device, json }) => {
            members::show(&mut connect()?, &device, json)
        }
        Command::Device(DeviceCommand::Approve { device, json }) => {
            members::approve(&mut connect()?, &device, json)
        }
        Command::Device(DeviceCommand::Deny { device, yes, json }) => {
            members::deny(&mut connect()?, &device, yes, json)
        }
        Command::Device(DeviceCommand::Label {
            device,
            label,
            json,
        }) => members::label(&mut connect()?, &device, label, json),
        Command::Device(DeviceCommand::Forget { device, yes, json }) => {
            members::forget(&mut connect()?, &device, yes, json)
        }
        Command::Device(DeviceCommand::Pardon { device, json }) => {
            members::pardon(&mut connect()?, &device, json)
        }
        Command::Device(DeviceCommand::Revoke {
            device,
            reason,
            yes,
            json,
        }) => members::revoke(&mut connect()?, &device, yes, reason, json),
        Command::Model(ModelCommand::List { task, json }) => {
            models::list(&mut connect()?, task.as_deref(), json)
        }
        Command::Audit(AuditCommand::Verify { file, json }) => {
            audit::verify(connect, file.as_deref(), json)
        }
        Command::Audit(AuditCommand::Export { out, from }) => {
            audit::export(&mut connect()?, from, out.as_deref())
        }
        Command::Model(ModelCommand::Lineage {
            version,
            task,
            json,
        }) => models::lineage(&mut connect()?, task, version, json),
        Command::Model(ModelCommand::Influence { task, json }) => {
            models::influence(&mut connect()?, task, json)
        }
        Command::Key(command) => handed_over(&config, key::run(&config.state, command)),
        Command::Rollout(command) => rollout(command, &config, &mut connect()?),
        Command::Model(ModelCommand::Export(what)) => {
            export::export(&mut connect()?, &config.state, &what)
        }
        Command::Backup { out, json } => backup::backup(&config, &out, json),
        Command::Restore { from, verify, json } => {
            let only_check = verify && flags.state.is_none();
            let restored = backup::restore(&config, &from, only_check, verify, json);
            match only_check {
                true => restored,
                false => handed_over(&config, restored),
            }
        }
    }
}

/// The command that serves this state: the service's, where there is one.
fn to_serve(state: &Path) -> String {
    let is_service = state == Path::new(STATE_DEFAULT) && Path::new(SERVICES).exists();
    match is_service {
        true => "systemctl enable --now alambic-coordinator".to_owned(),
        false => format!("alambic-coordinator serve --state {}", state.display()),
    }
}

/// Is there where systemd runs.
const SERVICES: &str = "/run/systemd/system";

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

fn rollout(command: RolloutCommand, config: &Config, client: &mut Client) -> Result<(), Failure> {
    match command {
        RolloutCommand::Start {
            version,
            stages,
            max_worse,
            soak,
            task,
            json,
        } => {
            let usual = config.rollout.plan.clone();
            let plan = Plan {
                stages: stages.unwrap_or(usual.stages),
                worse_permille_max: max_worse.unwrap_or(usual.worse_permille_max),
                soak_ms: soak.unwrap_or(usual.soak_ms),
            };
            rollout::start(client, config, task, version, plan, json)
        }
        RolloutCommand::Status { task, json } => {
            rollout::status(client, config, task.as_deref(), json)
        }
        RolloutCommand::Pause { task, json } => rollout::pause(client, task, json),
        RolloutCommand::Resume { task, json } => rollout::resume(client, task, json),
        RolloutCommand::Abort { task, json } => rollout::abort(client, task, json),
        RolloutCommand::Rollback {
            version,
            task,
            json,
        } => rollout::rollback(client, task, version, json),
    }
}
