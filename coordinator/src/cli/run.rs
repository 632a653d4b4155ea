//! `serve`: the coordinator as a process.

use std::io::{self, IsTerminal as _};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use common::service::Service;
use common::transport::Tuning;
use common::trust::clock::Clock;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use super::failure::Failure;
use crate::app::{Parts, ServeError, Server};
use crate::config::{Config, ConfigError};
use crate::identity::Identity;
use crate::server::LocalCompute;
use crate::store::{SledStore, Store};

/// Threads for the store and the mathematics. Uploads are checked and blobs
/// flushed on them; more would only take memory.
const BLOCKING_THREADS_MAX: usize = 8;
/// A computation that still runs at the end is not waited for: it is run
/// again at the next start.
const STOP_WAIT: Duration = Duration::from_millis(200);

/// How the configuration is read again.
pub(super) type Reread<'a> = &'a dyn Fn() -> Result<Config, ConfigError>;
/// What is logged, to be changed while it runs.
type LogFilter = reload::Handle<EnvFilter, Registry>;

pub(super) fn serve(config: &Config, reread: Reread<'_>) -> Result<(), Failure> {
    let log = start_logging(config);
    let mut service = Service::of(|name| std::env::var_os(name));
    if let Some(page) = &config.page
        && !page.listen.ip().is_loopback()
    {
        warn!(
            address = %page.listen,
            "the page and the metrics are open to the network: anyone there can read device \
             names and the distilled data"
        );
    }
    let clock = Clock::system();
    let identity = Identity::load(&config.state, &config.addresses, clock.now())?;
    let folder = config.state.join("store");
    let parts = Parts {
        listen: config.listen,
        admin_socket: config.admin_socket.clone(),
        connections: Some(config.state.join("sessions")),
        compute: Arc::new(LocalCompute::new(identity.release_key.clone())),
        identity,
        open_store: Box::new(move || Ok(Arc::new(SledStore::open(&folder)?) as Arc<dyn Store>)),
        clock,
        uptime: Some(crate::server::clock_guard::uptime),
        tuning: Tuning::coordinator(),
        limits: config.limits,
        certificates: config.certificates,
        releases: config.rollout.releases(),
        retention: config.retention,
        page: config.page.clone(),
        service: service.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .map_err(Failure::Start)?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::catch().map_err(Failure::Start)?;
        let server = Server::start(parts)?;
        let address = server.address().map_err(ServeError::from)?;
        eprintln!(
            "ready: devices at {address}, state in {}",
            config.state.display()
        );
        if let Some(page) = server.page() {
            eprintln!("page: http://{page}/");
        }
        service.status(&format!("devices at {address}"));
        service.ready();
        let stop = async {
            while signals.next().await == Asked::Reload {
                service.reloading();
                reload_configuration(config, reread, &log);
                service.ready();
            }
        };
        server.run_until(stop).await?;
        Ok(())
    });
    service.stopping();
    runtime.shutdown_timeout(STOP_WAIT);
    outcome
}

fn start_logging(config: &Config) -> LogFilter {
    let filter = EnvFilter::builder().parse_lossy(&config.log);
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    if is_journal()
        && !config.log_json
        && let Ok(journal) = tracing_journald::layer()
    {
        // Fields become ALAMBIC_DEVICE, ALAMBIC_ROUND and so on.
        let journal = journal
            .with_syslog_identifier("alambic-coordinator".to_owned())
            .with_field_prefix(Some("ALAMBIC".to_owned()));
        registry.with(journal).init();
        return handle;
    }
    let layer = fmt::layer()
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    if config.log_json {
        registry.with(layer.json()).init();
    } else {
        registry.with(layer.with_target(false)).init();
    }
    handle
}

/// Takes over what can change while the coordinator runs, and says what
/// cannot. A configuration that does not fit changes nothing.
fn reload_configuration(old: &Config, reread: Reread<'_>, log: &LogFilter) {
    let new = match reread() {
        Ok(new) => new,
        Err(error) => return error!("the configuration stays as it is: {error}"),
    };
    if let Err(error) = log.reload(EnvFilter::builder().parse_lossy(&new.log)) {
        warn!(%error, "the log filter stays as it is");
    }
    let waits = Config {
        log: old.log.clone(),
        ..new
    };
    if waits == *old {
        info!("configuration read again");
    } else {
        warn!("configuration read again: only `log` changes now, the rest needs a restart");
    }
}

/// Whether standard error goes to the journal (systemd.exec(5)).
fn is_journal() -> bool {
    let Some(told) = std::env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    let file = std::fs::metadata("/proc/self/fd/2");
    file.is_ok_and(|file| told == *format!("{}:{}", file.dev(), file.ino()))
}

/// SIGTERM and Ctrl-C end the coordinator, SIGHUP has it read its
/// configuration again.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

#[derive(PartialEq, Eq)]
enum Asked {
    Stop,
    Reload,
}

impl Signals {
    /// All three are caught from here on.
    fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}
