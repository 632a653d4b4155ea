//! `serve`: the coordinator as a process.

use std::sync::Arc;
use std::time::Duration;

use common::log::{self, LogFilter};
use common::service::Service;
use common::signals::{Asked, Signals, until_asked_twice};
use common::transport::{ListenerSettings, Tuning};
use common::trust::clock::Clock;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::failure::Failure;
use super::standby;
use crate::app::{Parts, ServeError, Server};
use crate::config::{Config, ConfigError};
use crate::identity::Identity;
use crate::server::LocalCompute;
use crate::store::{DatabaseMetrics, StoreSettings};

/// Threads for the store and the mathematics. Uploads are checked and blobs
/// flushed on them; more would only take memory.
const BLOCKING_THREADS_MAX: usize = 8;
/// A computation that still runs at the end is not waited for: it is run
/// again at the next start.
const STOP_WAIT: Duration = Duration::from_millis(200);

/// How the configuration is read again.
pub(super) type Reread<'a> = &'a dyn Fn() -> Result<Config, ConfigError>;

pub(super) fn serve(config: &Config, reread: Reread<'_>) -> Result<(), Failure> {
    let log = log::begin("alambic-coordinator", &config.log, config.log_json);
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
    if let StoreSettings::Postgres(database) = &config.store
        && database.url.is_clear()
    {
        warn!(
            url = %database.url,
            "what is said to the database travels in clear; leave out sslmode=disable unless the \
             network between is your own"
        );
    }
    let database_metrics = DatabaseMetrics::default();
    let leading = match &config.store {
        StoreSettings::Postgres(database) => match database.lease_ms {
            Some(lease_ms) => {
                let (metrics, devices) = (&database_metrics, meanwhile(config, &identity));
                let waited =
                    standby::wait(config, database, lease_ms, metrics, devices, &mut service);
                Some(waited?)
            }
            None => None,
        },
        StoreSettings::Sled => None,
    };
    let holder = leading.as_ref().map_or("", |leading| &leading.holder);
    let (place, holder) = (config.store_place(), holder.to_owned());
    let counted = database_metrics.clone();
    let parts = Parts {
        listen: config.listen,
        admin_socket: config.admin_socket.clone(),
        connections: Some(config.sessions()),
        compute: Arc::new(LocalCompute::new(identity.release_key.clone())),
        identity,
        open_store: Box::new(move || place.open_as(&holder, &counted)),
        database: matches!(config.store, StoreSettings::Postgres(_)).then_some(database_metrics),
        clock,
        renew_before: crate::identity::renewals_ordered(&config.state),
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
        let mut signals = Signals::catch()?;
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
        let asked = async || {
            while signals.next().await == Asked::Reload {
                service.reloading();
                reload_configuration(config, reread, &log);
                service.ready();
            }
        };
        let serve = async |stopped: oneshot::Receiver<()>| {
            let stop = async { drop(stopped.await) };
            server.run_until(stop).await
        };
        match until_asked_twice(asked, serve).await {
            Some(ended) => ended?,
            None => warn!("asked to stop twice: it ends at once, what was acknowledged is stored"),
        }
        Ok(())
    });
    service.stopping();
    runtime.shutdown_timeout(STOP_WAIT);
    // Serving has ended.
    drop(leading);
    outcome
}

/// How devices are answered while another coordinator leads.
fn meanwhile(config: &Config, identity: &Identity) -> ListenerSettings {
    let (server, clock) = (identity.server.clone(), Clock::system());
    let mut settings = ListenerSettings::new(server, identity.authorities(), clock);
    settings.limits = config.limits.connections;
    settings
}

/// Takes over what can change while the coordinator runs, and says what
/// cannot. A configuration that does not fit changes nothing.
fn reload_configuration(old: &Config, reread: Reread<'_>, log: &LogFilter) {
    let new = match reread() {
        Ok(new) => new,
        Err(error) => return error!("the configuration stays as it is: {error}"),
    };
    log.change(&new.log);
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
