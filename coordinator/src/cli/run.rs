//! `serve`: the coordinator as a process.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use common::transport::Tuning;
use common::trust::clock::Clock;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::failure::Failure;
use crate::config::Config;
use crate::serve::{Identity, Mathematics, Parts, ServeError, Server};
use crate::store::{SledStore, Store};

/// Threads for the store and the mathematics. Uploads are checked and blobs
/// flushed on them; more would only take memory.
const BLOCKING_THREADS_MAX: usize = 8;
/// A computation that still runs at the end is not waited for: it is run
/// again at the next start.
const STOP_WAIT: Duration = Duration::from_millis(200);

pub(super) fn serve(config: &Config) -> Result<(), Failure> {
    start_logging(config);
    if let Some(page) = &config.page
        && !page.listen.ip().is_loopback()
    {
        tracing::warn!(
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
        brain: Arc::new(Mathematics::new(identity.release_key.clone())),
        identity,
        open_store: Box::new(move || Ok(Arc::new(SledStore::open(&folder)?) as Arc<dyn Store>)),
        clock,
        tuning: Tuning::coordinator(),
        certificates: config.certificates,
        page: config.page.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .map_err(Failure::Start)?;
    let outcome = runtime.block_on(async {
        let stop = stop_signal().map_err(Failure::Start)?;
        let server = Server::start(parts)?;
        let address = server.address().map_err(ServeError::from)?;
        eprintln!(
            "ready: devices at {address}, state in {}",
            config.state.display()
        );
        if let Some(page) = server.page() {
            eprintln!("page: http://{page}/");
        }
        notify("READY=1");
        server.run_until(stop).await?;
        Ok(())
    });
    notify("STOPPING=1");
    runtime.shutdown_timeout(STOP_WAIT);
    outcome
}

fn start_logging(config: &Config) {
    let filter = EnvFilter::builder().parse_lossy(&config.log);
    if is_journal()
        && !config.log_json
        && let Ok(journal) = tracing_journald::layer()
    {
        // Fields become ALAMBIC_DEVICE, ALAMBIC_ROUND and so on.
        let journal = journal
            .with_syslog_identifier("alambic-coordinator".to_owned())
            .with_field_prefix(Some("ALAMBIC".to_owned()));
        tracing_subscriber::registry()
            .with(filter)
            .with(journal)
            .init();
        return;
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    if config.log_json {
        builder.json().init();
    } else {
        builder.with_target(false).init();
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

/// Ready at the first Ctrl-C or SIGTERM; both are caught from here on.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Tells the service manager, where there is one (sd_notify(3)).
fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let name = path.as_encoded_bytes();
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
