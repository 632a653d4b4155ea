//! `run`: the service.

use std::sync::Arc;

use common::transport::Tuning;
use common::trust::clock::Clock;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, info};

use super::{ExitCode, Failure, block_on, own_state};
use crate::cache::Cache;
use crate::config::Config;
use crate::driver::local::child::{ChildSettings, ChildWorker};
use crate::driver::local::{CACHE, CACHE_BYTES_MAX, LocalWorkshop, Worker};
use crate::driver::{Agent, AgentSettings, Route, WorkshopError, notify};
use crate::identity::{Identity, TimeFloor};
use crate::state::StateDir;

/// Run until SIGTERM or Ctrl-C: answer the coordinator's calls as far as the
/// policy allows, and install the students it releases.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  alambic-agent run --data /srv/sensor
  alambic-agent run --state ./device-1 --data ./data-1 --log-json")]
pub(super) struct Arguments {}

pub(super) fn run(config: &Config, _: &Arguments, log_json: bool) -> Result<(), Failure> {
    let state = own_state(config)?;
    let _lock = state.lock()?;
    let device = Device::open(config, &state, |identity, _| {
        let settings = ChildSettings {
            policy: config.policy.clone(),
            teacher: config.teacher.clone(),
            release_key: identity.release_key,
            seed: seed(identity),
            data: config.data.clone(),
            label_column: config.label_column.clone(),
            log: config.log.clone(),
            log_json,
        };
        Ok(ChildWorker::new(&state, settings))
    })?;
    block_on(async {
        let stop = stopped()?;
        info!(device = %device.route.identity.membership.device, "running");
        let settings = AgentSettings {
            route: device.route,
            glance_ms: GLANCE_MS,
        };
        let agent = Agent::new(settings, state, device.cache, Arc::new(device.workshop));
        if let Some(socket) = std::env::var_os("NOTIFY_SOCKET")
            && let Err(problem) = notify::notify(&socket, "READY=1")
        {
            debug!("the service manager does not listen: {problem}");
        }
        Ok(agent.run(stop).await?)
    })
}

/// All that `run` and `pull` stand on. The state directory's lock is held.
pub(super) struct Device<W> {
    pub(super) route: Route,
    pub(super) cache: Cache,
    pub(super) workshop: LocalWorkshop<W>,
}

impl<W: Worker> Device<W> {
    pub(super) fn open(
        config: &Config,
        state: &StateDir,
        worker: impl FnOnce(&Identity, Clock) -> Result<W, WorkshopError>,
    ) -> Result<Self, Failure> {
        let identity = Arc::new(Identity::load(state)?);
        let floor = TimeFloor::load(state);
        let worker = worker(&identity, floor.clock())?;
        let coordinator = config.coordinator.clone();
        Ok(Self {
            workshop: LocalWorkshop::open(state, floor.clock(), worker)?,
            cache: Cache::open(&state.file(CACHE), CACHE_BYTES_MAX)
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

/// The device's own seed.
pub(super) fn seed(identity: &Identity) -> u64 {
    let mut seed = [0u8; 8];
    seed.copy_from_slice(&identity.membership.device.0[..8]);
    u64::from_le_bytes(seed)
}

/// Done at the first SIGTERM or SIGINT. A second one ends the program at
/// once, as the system does it.
fn stopped() -> Result<impl Future<Output = ()>, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(
            ExitCode::Failed,
            format!("cannot wait for signals: {error}"),
        )
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Time between two looks at the data folder.
const GLANCE_MS: u64 = 3_000;
