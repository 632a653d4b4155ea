//! The running coordinator: one core behind a bounded queue, and around it
//! the sessions of devices and the operators' socket.
//!
//! [`Server::start`] takes the address and replays the log;
//! [`Server::run_until`] serves until it is told to stop, and then hangs up
//! on everyone with a reason. What was acknowledged is durable at any time,
//! so a server may as well be killed.

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use common::ids::{DeviceId, Time};
use common::service::Service;
use common::transport::{
    CloseCode, Listener, ListenerSettings, RelayedPeers, TransportError, Tuning,
};
use common::trust::clock::Clock;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};

use crate::admin::SocketError;
use crate::admin::server::AdminSocket;
use crate::core::freshness::FreshnessSigner;
use crate::core::{About, Command, Core, SteadyTime, policies};
use crate::identity::{CertificateTerms, Identity};
use crate::journal::{ReplayError, Replayed, Retention};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::page::{PageError, PageServer, PageSettings};
use crate::rollout::Releases;
use crate::server::clock_guard::{ClockGuard, Uptime};
use crate::server::compute_thread::ComputeThread;
use crate::server::driver::{COMMANDS_MAX, Driver, Outage, Revoked, Unnamed, with_replay};
use crate::server::gateways::Gateways;
use crate::server::history::{self, Histories};
use crate::server::influence::Influences;
use crate::server::links::Links;
use crate::server::maintenance::Maintenance;
use crate::server::odd::OddData;
use crate::server::peer_limits::PeerLimits;
use crate::server::reconnect::{self, ConnectionJournal, OpenConnection};
use crate::server::replies::Replies;
use crate::server::reports::Reports;
use crate::server::unheard::Unheard;
use crate::server::{ComputeBackend, OpenStore, Shared, StoreHandle, accept, repair};
use crate::store::{DatabaseMetrics, StoreError};

/// What a server is made of.
pub struct Parts {
    /// Where devices reach it; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The operators' socket.
    pub admin_socket: PathBuf,
    /// Certificates and keys.
    pub identity: Identity,
    /// Opens the store.
    pub open_store: OpenStore,
    /// How the database answers, if the store is in one.
    pub database: Option<DatabaseMetrics>,
    /// Where it is noted who is connected, so that a coordinator that was
    /// killed can tell them; none notes nothing.
    pub connections: Option<PathBuf>,
    /// The computations.
    pub compute: Arc<dyn ComputeBackend>,
    /// The time.
    pub clock: Clock,
    /// What a jump of the clock is noticed by; without it none is.
    pub uptime: Option<Uptime>,
    /// Certificates given before this are to be renewed at once.
    pub renew_before: Option<Time>,
    /// How connections behave.
    pub tuning: Tuning,
    /// What peers may do in a time.
    pub limits: Limits,
    /// How long devices are believed.
    pub certificates: CertificateTerms,
    /// Who is offered what rounds release.
    pub releases: Releases,
    /// How much of the past is kept.
    pub retention: Retention,
    /// The web page, if there is to be one.
    pub page: Option<PageSettings>,
    /// The service manager, whose watchdog the core's loop feeds.
    pub service: Service,
}

/// Why a server did not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address or the certificates.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The operators' socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The web page's address.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The system.
    #[error("the system has no thread for computations: {0}")]
    Thread(#[source] io::Error),
    /// A bug.
    #[error("the server's core stopped: {0}")]
    Core(String),
}

/// Steps that a slow watcher may lag behind before it misses some.
const PROGRESS_STEPS_MAX: usize = 4_096;

/// A coordinator that has its address and its state.
pub struct Server {
    shared: Arc<Shared>,
    listener: Listener,
    socket: AdminSocket,
    page: Option<PageServer>,
    driver: Driver,
    queue: mpsc::Receiver<Command>,
    /// Sessions of a process that was killed.
    orphans: Vec<(DeviceId, OpenConnection)>,
}

impl Server {
    /// Opens the store, replays the log and takes the address. Must be
    /// called inside a Tokio runtime with time and I/O enabled; blocks it
    /// for the time of the replay.
    ///
    /// # Errors
    /// Whatever is in the way; nothing is left behind.
    pub fn start(mut parts: Parts) -> Result<Self, ServeError> {
        let guard = ClockGuard::new(parts.clock, parts.uptime);
        parts.clock = guard.clock();
        let revoked = Revoked::default();
        let settings = settings(&parts, &revoked);
        let store = Arc::new(StoreHandle::open(parts.open_store)?);
        let epoch = store.with(|store| store.open_epoch())?;
        let replayed = with_replay(&store)?;
        guard.begin(newest_time(&replayed, parts.certificates));
        let relayed = RelayedPeers::new(settings.clone())?;
        let listener = Listener::bind(parts.listen, settings)?;
        let address = listener.local_address()?;
        let socket = AdminSocket::bind(&parts.admin_socket)?;
        let page = parts.page.map(PageServer::bind).transpose()?.flatten();
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let (progress, _) = broadcast::channel(PROGRESS_STEPS_MAX);
        let now = parts.clock.now();
        let peer_limits = Arc::new(PeerLimits::new(parts.limits.devices));
        let about = About {
            address,
            started: now,
            policies: policies(parts.releases, parts.limits.rows_per_device),
            freshness: FreshnessSigner::new(
                &parts.identity.trust_root,
                parts.identity.release_key.clone(),
            ),
            // One that was given after the order ends no sooner.
            renew_ending_before: parts
                .renew_before
                .map(|ordered| ordered.after_ms(parts.certificates.device_lifetime_ms)),
        };
        let next = replayed.next;
        let metrics = Arc::new(Metrics::new(parts.database.as_ref()));
        let mut maintenance = Maintenance::new(store.clone(), metrics.clone(), parts.retention);
        maintenance.replayed(&replayed, replayed.rounds());
        let mut core = Core::new(about);
        core.restore(now, epoch.0, replayed.registry, replayed.tasks);
        let (replies, links) = (Replies::default(), Links::default());
        let mut driver = Driver {
            core,
            metrics: metrics.clone(),
            store: store.clone(),
            compute: parts.compute.clone(),
            time: SteadyTime::begin(now, 0),
            started: Instant::now(),
            clock: parts.clock.clone(),
            epoch,
            next,
            commands: commands.clone(),
            outage: Outage::default(),
            compute_thread: ComputeThread::start().map_err(ServeError::Thread)?,
            service: parts.service,
            maintenance,
            replies: replies.clone(),
            links: links.clone(),
            progress: progress.clone(),
            revoked: revoked.clone(),
            peer_limits: peer_limits.clone(),
            unnamed: Unnamed::default(),
            told: Vec::new(),
        };
        // Revoked devices are refused from the first handshake on.
        driver.perform();
        let (connections, orphans) = ConnectionJournal::open(parts.connections);
        let shared = Arc::new(Shared {
            connections,
            commands,
            store,
            compute: parts.compute,
            identity: parts.identity,
            clock: parts.clock,
            guard,
            progress,
            certificates: parts.certificates,
            page: page.as_ref().map(PageServer::address),
            metrics,
            copying: Semaphore::new(1),
            retention: parts.retention,
            deltas: Semaphore::new(1),
            limiter: listener.limiter(),
            peer_limits,
            replies,
            links,
            gateways: Gateways::default(),
            relayed,
            revoked,
            unheard: Unheard::default(),
            reports: Reports::default(),
            histories: Histories::default(),
            influences: Influences::default(),
            odd: OddData::default(),
        });
        Ok(Self {
            shared,
            listener,
            socket,
            page,
            driver,
            queue,
            orphans,
        })
    }

    /// Where devices reach it.
    ///
    /// # Errors
    /// If the socket is gone.
    pub fn address(&self) -> Result<SocketAddr, TransportError> {
        self.listener.local_address()
    }

    /// Where the page is served, if it is.
    pub fn page(&self) -> Option<SocketAddr> {
        self.shared.page
    }

    /// Serves until `stop` is ready, then takes no more connections, tells
    /// the devices that it is going down, and returns once they know.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if another writer took the store over.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let (stopping, stopped) = watch::channel(false);
        let mut driver = tokio::spawn(self.driver.run(self.queue, stopped));
        let admin = tokio::spawn(self.socket.serve(self.shared.clone()));
        // What a revoked key signed can be installed nowhere any more.
        let shared = self.shared.clone();
        let renewing = tokio::spawn(async move {
            let store = shared.store.clone();
            // Fails only if the server stops.
            let _ = tokio::task::spawn_blocking(move || store.measure()).await;
            if let Err(fault) = repair::sweep_forgotten(&shared).await {
                tracing::error!(%fault, "what forgotten devices sent is not all deleted yet");
            }
            repair::renew_releases(shared.clone()).await;
            let checked = async {
                if let Err(fault) = repair::check_blobs(&shared).await {
                    tracing::error!(%fault, "the blobs could not be checked");
                }
            };
            tokio::join!(repair::keep_whole(&shared), checked);
        });
        let (metrics, steps) = (
            self.shared.metrics.clone(),
            self.shared.progress.subscribe(),
        );
        let counting = tokio::spawn(async move { metrics.follow(steps).await });
        let remembering = tokio::spawn(history::follow(self.shared.clone()));
        let page = self
            .page
            .map(|page| tokio::spawn(page.serve(self.shared.clone())));
        let serving = async {
            let connections = &self.shared.connections;
            tokio::join!(
                accept(&self.listener, &self.shared),
                reconnect::remind(&self.listener, connections, self.orphans)
            )
        };
        let ended = tokio::select! {
            () = stop => None,
            _ = serving => None,
            ended = &mut driver => Some(ended),
        };
        self.listener
            .close(CloseCode::Shutdown, "the coordinator is going down")
            .await;
        self.shared.connections.clear();
        admin.abort();
        counting.abort();
        remembering.abort();
        renewing.abort();
        if let Some(page) = page {
            page.abort();
        }
        // Fails only if the core has stopped already.
        let _ = stopping.send(true);
        let ended = match ended {
            Some(ended) => ended,
            None => driver.await,
        };
        Ok(ended.map_err(|error| ServeError::Core(error.to_string()))??)
    }
}

/// The newest time that a log is known to have reached: members were admitted
/// and certified then.
fn newest_time(replayed: &Replayed, terms: CertificateTerms) -> Time {
    let members = replayed.registry.members().values();
    let signed = members.map(|member| {
        let ends = member.certificate.expires;
        let signed = Time(ends.0.saturating_sub(terms.device_lifetime_ms));
        member.admitted.max(signed.min(ends))
    });
    signed.max().unwrap_or(Time(0))
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

fn settings(parts: &Parts, revoked: &Revoked) -> ListenerSettings {
    let identity = &parts.identity;
    let clock = parts.clock.clone();
    let mut settings =
        ListenerSettings::new(identity.server.clone(), identity.authorities(), clock);
    settings.tuning = parts.tuning.clone();
    settings.limits = parts.limits.connections;
    settings.grace_ms = parts.certificates.renewal_grace_ms;
    let revoked = revoked.clone();
    settings.revoked = Arc::new(move |device| revoked.contains(device));
    settings
}
