//! `run`: the service.

use std::sync::Arc;

use common::transport::Tuning;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, info};

use super::{ExitCode, Failure, block_on, own_state};
use crate::cache::Cache;
use crate::config::Config;
use crate::driver::local::{FolderSource, LocalWorkshop, WorkshopSettings};
use crate::driver::{Agent, AgentSettings, Route, notify};
use crate::identity::{Identity, TimeFloor};
use crate::predictions::{PredictionServer, Shelf};
use crate::state::StateDir;
use crate::work::TeacherChoice;

/// Run until SIGTERM or Ctrl-C: answer the coordinator's calls as far as the
/// policy allows, and install the students it releases.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  alambic-agent run --data /srv/sensor
  alambic-agent run --state ./device-1 --data ./data-1 --log-json")]
pub(super) struct Arguments {}

pub(super) fn run(config: &Config, _: &Arguments) -> Result<(), Failure> {
    common::math::blas::pin_to_one_thread();
    let state = own_state(config)?;
    let _lock = state.lock()?;
    let device = Device::open(config, &state)?;
    block_on(async {
        let stop = stopped()?;
        info!(device = %device.route.identity.membership.device, "running");
        let release_key = device.route.identity.release_key.clone();
        let settings = AgentSettings {
            route: device.route,
            glance_ms: GLANCE_MS,
        };
        if let Some(path) = &config.predictions {
            let shelf = Shelf::new(state.clone(), release_key);
            let server = PredictionServer::bind(path, shelf)
                .map_err(|error| Failure::new(ExitCode::Failed, error.to_string()))?;
            info!(socket = %path.display(), "programs on this device are answered");
            // Ends with the runtime.
            tokio::spawn(server.serve());
        }
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

/// Most bytes of shared blobs that are kept besides those in use.
const CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Time between two looks at the data folder.
const GLANCE_MS: u64 = 3_000;
