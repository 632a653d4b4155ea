//! `run`: the service.

use std::os::unix::process::CommandExt as _;
use std::sync::Arc;

use common::service::Service;
use common::transport::Tuning;
use tracing::{error, info};

use super::join::join_if_new;
use super::signals::{Asked, Signals};
use super::{ExitCode, Failure, block_on, own_state};
use crate::cache::Cache;
use crate::config::{Config, ConfigError};
use crate::driver::local::{FolderSource, LocalWorkshop, WorkshopSettings};
use crate::driver::{Agent, AgentSettings, Route};
use crate::identity::{Identity, TimeFloor};
use crate::state::StateDir;
use crate::work::TeacherChoice;

/// Run until SIGTERM or Ctrl-C: answer the coordinator's calls as far as the
/// policy allows, and install the students it releases. SIGHUP reads the
/// configuration again. A device that has not joined does so with the token
/// that the service manager hands over as the credential `join-token`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  alambic-agent run --data /srv/sensor
  alambic-agent run --state ./device-1 --data ./data-1 --log-json")]
pub(super) struct Arguments {}

/// How the configuration is read again.
pub(super) type Reread<'a> = &'a dyn Fn() -> Result<Config, ConfigError>;

pub(super) fn run(config: &Config, reread: Reread<'_>, _: &Arguments) -> Result<(), Failure> {
    common::math::blas::pin_to_one_thread();
    let state = own_state(config)?;
    let asked = block_on(async {
        let mut signals = Signals::catch()?;
        let service = Service::of(|name| std::env::var_os(name));
        tokio::select! {
            joined = join_if_new(config, &state, |name| std::env::var_os(name)) => joined?,
            asked = signals.next() => return Ok(asked),
        }
        let _lock = state.lock()?;
        let device = Device::open(config, &state)?;
        info!(device = %device.route.identity.membership.device, "running");
        let settings = AgentSettings {
            route: device.route,
            glance_ms: GLANCE_MS,
            service: service.clone(),
        };
        let agent = Agent::new(settings, state, device.cache, Arc::new(device.workshop));
        service.ready();
        let mut asked = Asked::Stop;
        let ended = async { asked = next(&mut signals, &service, reread).await };
        agent.run(ended).await?;
        if asked == Asked::Stop {
            service.stopping();
        }
        Ok(asked)
    })?;
    match asked {
        Asked::Stop => Ok(()),
        Asked::Reload => Err(begin_again()),
    }
}

/// Waits for the signal that ends the agent, or for one that has it begin
/// again with a configuration that fits.
async fn next(signals: &mut Signals, service: &Service, reread: Reread<'_>) -> Asked {
    while signals.next().await == Asked::Reload {
        service.reloading();
        match reread() {
            Ok(_) => return Asked::Reload,
            Err(problem) => {
                error!("the configuration stays as it is: {problem}");
                service.ready();
            }
        }
    }
    Asked::Stop
}

/// Begins this program again, as the same process with the same arguments.
/// So every setting is read again, and no computation of before goes on
/// beside those to come. Returns only if that failed.
fn begin_again() -> Failure {
    info!("beginning again with the configuration as it is now");
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| PROGRAM.into());
    let error = std::process::Command::new(PROGRAM)
        .arg0(name)
        .args(arguments)
        .exec();
    Failure::new(ExitCode::Failed, format!("cannot begin again: {error}"))
}

/// All that `run` and `pull` stand on. The state directory's lock is held.
pub(super) struct Device {
    pub(super) route: Route,
    pub(super) cache: Cache,
    pub(super) workshop: LocalWorkshop<FolderSource>,
}

impl Device {
    pub(super) fn open(config: &Config, state: &StateDir) -> Result<Self, Failure> {
        let identity = Arc::new(Identity::load(state)?);
        let floor = TimeFloor::load(state);
        let source = FolderSource::new(config.data.clone(), config.label_column.clone());
        let mut seed = [0u8; 8];
        seed.copy_from_slice(&identity.membership.device.0[..8]);
        let settings = WorkshopSettings {
            policy: config.policy.clone(),
            teacher: TeacherChoice::default(),
            release_key: identity.release_key,
            clock: floor.clock(),
            seed: u64::from_le_bytes(seed),
        };
        let coordinator = config.coordinator.clone();
        Ok(Self {
            workshop: LocalWorkshop::open(state, source, settings)?,
            cache: Cache::open(&state.file("cache"), CACHE_BYTES_MAX)
                .map_err(|error| Failure::new(ExitCode::Failed, error.to_string()))?,
            route: Route {
                coordinator: coordinator.unwrap_or(identity.membership.coordinator.clone()),
                identity,
                floor,
                tuning: Tuning::device(),
            },
        })
    }
}

/// This program, also after its file was replaced.
const PROGRAM: &str = "/proc/self/exe";
/// Most bytes of shared blobs that are kept besides those in use.
const CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Time between two looks at the data folder.
const GLANCE_MS: u64 = 3_000;
