//! The running coordinator: one core behind a bounded queue, and around it
//! the sessions of devices and the operators' socket.
//!
//! [`Server::start`] takes the address and replays the log;
//! [`Server::run_until`] serves until it is told to stop, and then hangs up
//! on everyone with a reason. What was acknowledged is durable at any time,
//! so a server may as well be killed.

mod brain;
mod charter;
mod clock_guard;
mod command;
mod conduct;
mod contacts;
mod core;
mod driver;
mod enrol;
mod follower;
mod identity;
mod keeper;
mod log;
mod proof;
mod rotation;
mod session;
mod steady;
mod transfer;
mod vault;
mod word;
mod workbench;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use common::ids::{DeviceId, Time};
use common::service::Service;
use common::transport::{
    CloseCode, Door, Listener, ListenerSettings, PeerIdentity, Protocol, TransportError, Tuning,
};
use common::trust::clock::Clock;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tracing::Instrument;

pub use brain::{Brain, Mathematics, Training};
pub use charter::{
    CHARTER, CharterFile, CharterFileError, ROOT_KEY, create_key, release_public_keys,
};
pub use clock_guard::{Uptime, uptime};
pub use identity::{Identity, IdentityError, SERVER_CERTIFICATE, SERVER_DAYS, write_new};
pub use log::{LogEntry, ReplayError, Replayed, replay};
pub use proof::prove;
pub use rotation::{retire, rotate};
pub use steady::SteadyTime;
pub use vault::{OpenStore, Vault};

pub(crate) use command::{AdminCommand, Command, Evidence, ReReleaseOf};
pub(crate) use conduct::Conduct;

use self::clock_guard::ClockGuard;
use self::contacts::{Contact, Contacts};
use self::core::{About, Core, Revoked};
use self::driver::{COMMANDS_MAX, Driver, Outage, with_replay};
use self::keeper::Keeper;
use self::word::Word;
use self::workbench::Workbench;
use crate::admin::server::AdminSocket;
use crate::admin::{self, Progress, SocketError};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::page::{PageError, PageServer, PageSettings};
use crate::retention::Retention;
use crate::rollout::Releases;
use crate::store::StoreError;

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
    /// Where it is noted who is connected, so that a coordinator that was
    /// killed can tell them; none notes nothing.
    pub contacts: Option<PathBuf>,
    /// The computations.
    pub brain: Arc<dyn Brain>,
    /// The time.
    pub clock: Clock,
    /// What a jump of the clock is noticed by; without it none is.
    pub uptime: Option<Uptime>,
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

/// How long devices are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateTerms {
    /// How long a device's certificate lasts. Short, because a lost device
    /// that nobody misses is out after this; devices renew by themselves
    /// from half of it on.
    pub device_lifetime_ms: u64,
    /// How long a device may still renew once its certificate is over.
    pub renewal_grace_ms: u64,
}

impl Default for CertificateTerms {
    /// 30 days, and 180 days of grace.
    fn default() -> Self {
        Self {
            device_lifetime_ms: 30 * DAY_MS,
            renewal_grace_ms: 180 * DAY_MS,
        }
    }
}

const DAY_MS: u64 = 24 * 3_600_000;

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

/// What sessions and operators share.
pub(crate) struct Shared {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) brain: Arc<dyn Brain>,
    pub(crate) identity: Identity,
    pub(crate) clock: Clock,
    /// Hears what devices' clocks show.
    guard: Arc<ClockGuard>,
    pub(crate) progress: broadcast::Sender<Progress>,
    pub(crate) certificates: CertificateTerms,
    /// Where the page is served, if it is.
    pub(crate) page: Option<SocketAddr>,
    pub(crate) metrics: Arc<Metrics>,
    /// One copy of the store at a time.
    pub(crate) copying: Semaphore,
    pub(crate) retention: Retention,
    contacts: Contacts,
    /// One delta is computed at a time.
    pub(crate) deltas: Semaphore,
    /// Who came to the door.
    pub(crate) door: Arc<Door>,
    /// What devices did.
    pub(crate) conduct: Arc<Conduct>,
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
    orphans: Vec<(DeviceId, Contact)>,
}

impl Server {
    /// Opens the store, replays the log and takes the address. Must be
    /// called inside a Tokio runtime with time and I/O enabled; blocks it
    /// for the time of the replay.
    ///
    /// # Errors
    /// Whatever is in the way; nothing is left behind.
    pub fn start(mut parts: Parts) -> Result<Self, ServeError> {
        let revoked = Revoked::default();
        let guard = ClockGuard::new(parts.clock, parts.uptime);
        parts.clock = guard.clock();
        let settings = settings(&parts, &revoked);
        let vault = Arc::new(Vault::open(parts.open_store)?);
        let epoch = vault.with(|store| store.open_epoch())?;
        let replayed = with_replay(&vault)?;
        guard.begin(newest_time(&replayed, parts.certificates));
        let listener = Listener::bind(parts.listen, settings)?;
        let address = listener.local_address()?;
        let socket = AdminSocket::bind(&parts.admin_socket)?;
        let page = parts.page.map(PageServer::bind).transpose()?.flatten();
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let (progress, _) = broadcast::channel(PROGRESS_STEPS_MAX);
        let now = parts.clock.now();
        let conduct = Arc::new(Conduct::new(parts.limits.devices));
        let about = About {
            address,
            started: now,
            releases: parts.releases,
            rows_max: parts.limits.rows_per_device,
            conduct: conduct.clone(),
            word: Word::new(&parts.identity.charter, parts.identity.release_key.clone()),
        };
        let next = replayed.next;
        let metrics = Arc::new(Metrics::new());
        let mut keeper = Keeper::new(vault.clone(), metrics.clone(), parts.retention);
        keeper.replayed(&replayed, replayed.rounds());
        let mut core = Core::new(about, progress.clone(), revoked);
        core.restore(now, epoch.0, replayed);
        let driver = Driver {
            core,
            metrics: metrics.clone(),
            vault: vault.clone(),
            brain: parts.brain.clone(),
            time: SteadyTime::begin(now, 0),
            started: Instant::now(),
            clock: parts.clock.clone(),
            epoch,
            next,
            commands: commands.clone(),
            outage: Outage::default(),
            workbench: Workbench::start().map_err(ServeError::Thread)?,
            service: parts.service,
            keeper,
        };
        let (contacts, orphans) = Contacts::open(parts.contacts);
        let shared = Arc::new(Shared {
            contacts,
            commands,
            vault,
            brain: parts.brain,
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
            door: listener.door(),
            conduct,
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
            let vault = shared.vault.clone();
            // Fails only if the server stops.
            let _ = tokio::task::spawn_blocking(move || vault.measure()).await;
            if let Err(fault) = admin::mend::sweep_forgotten(&shared).await {
                tracing::error!(%fault, "what forgotten devices sent is not all deleted yet");
            }
            admin::mend::renew_releases(shared.clone()).await;
            if let Err(fault) = admin::mend::check_blobs(&shared).await {
                tracing::error!(%fault, "the blobs could not be checked");
            }
        });
        let (metrics, steps) = (
            self.shared.metrics.clone(),
            self.shared.progress.subscribe(),
        );
        let counting = tokio::spawn(async move { metrics.follow(steps).await });
        let page = self
            .page
            .map(|page| tokio::spawn(page.serve(self.shared.clone())));
        let serving = async {
            let contacts = &self.shared.contacts;
            tokio::join!(
                accept(&self.listener, &self.shared),
                contacts::remind(&self.listener, contacts, self.orphans)
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
        self.shared.contacts.clear();
        admin.abort();
        counting.abort();
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
    settings.door = parts.limits.door;
    settings.grace_ms = parts.certificates.renewal_grace_ms;
    let revoked = revoked.clone();
    settings.revoked = Arc::new(move |device| {
        let revoked = revoked.read().unwrap_or_else(PoisonError::into_inner);
        revoked.contains(&device)
    });
    settings
}

/// Lets peers in, each in a task of its own.
async fn accept(listener: &Listener, shared: &Arc<Shared>) {
    while let Some(arrival) = listener.next().await {
        let shared = shared.clone();
        let from = arrival.remote_address();
        tokio::spawn(async move {
            let connection = match arrival.admit().await {
                Ok(connection) => connection,
                Err(error) => {
                    shared.metrics.turned_away(&error);
                    tracing::info!(%from, %error, "turned away");
                    return;
                }
            };
            match (connection.protocol(), connection.peer()) {
                (Protocol::Devices, PeerIdentity::Device(device)) => {
                    let span = tracing::info_span!("session", device = %device.short());
                    session::serve(shared, connection, device)
                        .instrument(span)
                        .await;
                }
                (Protocol::Enrolment, _) => {
                    let span = tracing::info_span!("enrolment", %from);
                    enrol::serve(shared, connection).instrument(span).await;
                }
                (Protocol::Devices, _) => {
                    connection.close(CloseCode::Unauthenticated, "a device certificate is needed");
                }
            }
        });
    }
}
