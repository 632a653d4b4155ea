//! `run`: the service.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, absolute};
use std::sync::Arc;
use std::time::Duration;

use common::http::MetricsServer;
use common::service::Service;
use common::signals::{Asked, Signals};
use common::transport::Tuning;
use common::trust::clock::Clock;
use rustix::process::Signal;
use tracing::{error, info, warn};

use super::join::join_if_new;
use super::teacher::{PRIVACY_ADVICE, UNDER_PRIVACY};
use super::{ExitCode, Failure, block_on, follow, own_state};
use crate::cache::Cache;
use crate::config::{Config, ConfigError};
use crate::driver::local::child::{ChildSettings, ChildWorker};
use crate::driver::local::{CACHE, CACHE_BYTES_MAX, LocalBackend, Worker};
use crate::driver::{Agent, AgentSettings, BackendError};
use crate::identity::{Identity, TimeFloor};
use crate::metrics;
use crate::mqtt::Subscriber;
use crate::predictions::{PredictionServer, StudentCache};
use crate::route::Route;
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

pub(super) fn run(
    config: &Config,
    reread: Reread<'_>,
    _: &Arguments,
    log_json: bool,
) -> Result<(), Failure> {
    let state = own_state(config)?;
    let asked = block_on(async {
        let mut signals = Signals::catch()?;
        let service = Service::of(|name| std::env::var_os(name));
        tokio::select! {
            joined = join_if_new(config, &state, |name| std::env::var_os(name)) => joined?,
            asked = signals.next() => return Ok(asked),
        }
        let _lock = state.lock()?;
        let device = Device::open(config, &state, |identity, _| {
            let settings = ChildSettings {
                policy: config.policy.clone(),
                teacher: config.teacher.clone(),
                seed: seed(identity),
                data: config.data.clone(),
                reading: config.reading(),
                log: config.log.clone(),
                log_json,
            };
            Ok(ChildWorker::new(&state, settings))
        })?;
        info!(device = %device.route.identity.membership.device, "running");
        if config.mqtt.is_none() {
            say_what_is_missing(config.data.as_deref());
        }
        if matches!(config.teacher, TeacherChoice::Model(_)) && config.policy.budget().is_some() {
            warn!("{UNDER_PRIVACY}; {PRIVACY_ADVICE}");
        }
        let mut broker = None;
        if let Some(mqtt) = &config.mqtt {
            let folder = config.data.clone().unwrap_or_default();
            let own = device.route.identity.membership.device;
            let subscriber = Subscriber::new(mqtt, own, &folder, &config.label_column)
                .map_err(|error| Failure::new(ExitCode::Failed, error.to_string()))?;
            broker = Some(subscriber.problem());
            // Ends with the runtime.
            tokio::spawn(subscriber.run());
        }
        let settings = AgentSettings {
            route: device.route,
            glance_ms: GLANCE_MS,
            data: config.data.as_deref().and_then(|data| absolute(data).ok()),
            service: service.clone(),
            disclose: config.policy.disclose(),
            broker,
        };
        if let Some(path) = &config.predictions {
            let student_cache = StudentCache::new(state.clone());
            let server = PredictionServer::bind(path, student_cache)
                .map_err(|error| Failure::new(ExitCode::Failed, error.to_string()))?;
            info!(socket = %path.display(), "programs on this device are answered");
            // Ends with the runtime.
            tokio::spawn(server.serve());
        }
        if let Some(settings) = config.follow.clone() {
            info!(stream = %settings.source, "a stream is answered");
            let config = config.clone();
            // Ends with this process.
            let thread = std::thread::Builder::new().name("stream".to_owned());
            let started = thread.spawn(move || follow::serve(&config, &settings));
            started.map_err(|error| {
                Failure::new(
                    ExitCode::Failed,
                    format!("no thread for the stream: {error}"),
                )
            })?;
        }
        if let Some(address) = config.metrics {
            let server = MetricsServer::bind(address)
                .map_err(|error| Failure::new(ExitCode::Failed, error.to_string()))?;
            info!(address = %server.address(), "metrics are told at /metrics");
            // Ends with the runtime.
            tokio::spawn(metrics::serve(server, state.clone()));
        }
        let agent = Agent::new(settings, state, device.cache, Arc::new(device.backend));
        service.ready();
        let mut asked = Asked::Stop;
        let ended = async {
            asked = next(&mut signals, &service, reread).await;
            if asked == Asked::Stop {
                end_within(STOP_TIME);
            }
        };
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

/// A device that contributes nothing says so before anyone wonders.
fn say_what_is_missing(data: Option<&Path>) {
    let Some(folder) = data else {
        warn!(
            "no data folder, so this device receives students and contributes nothing: name one \
             with --data, or as data.folder in the configuration"
        );
        return;
    };
    match std::fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(false) => {}
        Ok(true) => warn!(
            "the data folder {} is empty, so this device contributes nothing: put files ending \
             in .csv, .npz or .npy there, they are found by themselves",
            folder.display()
        ),
        Err(error) => warn!(
            "the data folder {} cannot be read ({error}), so this device contributes nothing: \
             it is looked at again and again; if the name is wrong, mend --data or data.folder",
            folder.display()
        ),
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

/// Ends this process after a time, whatever it does then: a library that asks
/// for memory for ever may hold up the way out. Nothing is lost by it, for what
/// is acknowledged is on the disk, and a child ends with its agent.
fn end_within(limit: Duration) {
    let waiting = std::thread::Builder::new().spawn(move || {
        std::thread::sleep(limit);
        error!("not at its end after {limit:?}, so it is ended by force; nothing kept is lost");
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    });
    if let Err(error) = waiting {
        warn!("nothing watches over the end of this program: {error}");
    }
}

/// Begins this program again, as the same process with the same arguments.
/// So every setting is read again, and no earlier computation goes on
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
pub(super) struct Device<W> {
    pub(super) state: StateDir,
    pub(super) route: Route,
    pub(super) cache: Cache,
    pub(super) backend: LocalBackend<W>,
}

impl<W: Worker> Device<W> {
    pub(super) fn open(
        config: &Config,
        state: &StateDir,
        worker: impl FnOnce(&Identity, Clock) -> Result<W, BackendError>,
    ) -> Result<Self, Failure> {
        let identity = Arc::new(Identity::load(state)?);
        let floor = TimeFloor::load(state);
        let clock = TimeFloor::living_clock(state);
        let worker = worker(&identity, clock.clone())?;
        let coordinator = config.coordinator.clone();
        let coordinator = coordinator.unwrap_or(identity.membership.coordinator.clone());
        Ok(Self {
            state: state.clone(),
            backend: LocalBackend::open(state, clock, worker)?,
            cache: Cache::open(&state.file(CACHE), CACHE_BYTES_MAX)
                .map_err(|error| Failure::new(ExitCode::Failed, error.to_string()))?,
            route: Route {
                tuning: Tuning::device(),
                coordinator,
                identity,
                floor,
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

/// This program, also after its file was replaced.
const PROGRAM: &str = "/proc/self/exe";
/// Less than the service manager gives it (`TimeoutStopSec=`).
const STOP_TIME: Duration = Duration::from_secs(8);
/// Time between two looks at the data folder.
const GLANCE_MS: u64 = 3_000;
