//! A gateway: a process near many devices that ends their QUIC sessions and
//! passes them on over one connection to the coordinator.
//!
//! To devices it is the coordinator they look for, and no agent needs to know
//! of it. It lets in those whom the coordinator's own verifier would, knows
//! who was revoked, gives blobs that the fleet shares from its memory, and
//! passes everything else on. It keeps nothing that cannot be had again: its
//! key, its certificate, and a hint of who was connected.
//!
//! While the coordinator is away its devices stay connected. When it is back
//! they are told to begin again, for the coordinator calls anew in a new
//! session; they come back within a second or two.

mod admission;
mod cache;
pub mod config;
mod devices;
mod figures;
mod files;
pub mod identity;
pub mod joining;
mod metrics;
mod renewal;
mod session;
mod transfer;
mod uplink;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::http::{MetricsError, MetricsServer};
use common::ids::DeviceId;
use common::service::Service;
use common::transport::{
    CloseCode, Listener, ListenerSettings, PeerIdentity, Protocol, TransportError, Tuning,
};
use common::trust::clock::Clock;
use tokio::sync::watch;
use tracing::Instrument as _;

use self::admission::Rules;
use self::cache::Cache;
use self::devices::Devices;
use self::figures::Figures;
use self::identity::{GatewayIdentity, GatewayIdentityError};
use self::uplink::Uplinks;
use crate::limits::Limits;
use crate::server::peer_limits::PeerLimits;
use crate::server::reconnect::{self, ConnectionJournal, OpenConnection};

/// What a gateway is made of.
pub struct Parts {
    /// Where devices reach it; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where the coordinator is: `host:port`, or several with commas.
    pub coordinator: String,
    /// The state directory.
    pub state: PathBuf,
    /// Key, certificate and authorities.
    pub identity: GatewayIdentity,
    /// The time.
    pub clock: Clock,
    /// What peers may do in a time.
    pub limits: Limits,
    /// Most bytes of blobs that are kept in memory.
    pub cache_bytes: u64,
    /// Where metrics are told, if they are.
    pub metrics: Option<SocketAddr>,
    /// The service manager.
    pub service: Service,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address or the certificates.
    #[error("{error}{}", .error.advice().map_or_else(String::new, |advice| format!("; {advice}")))]
    Transport {
        /// What is in the way.
        #[from]
        error: TransportError,
    },
    /// Its own files.
    #[error(transparent)]
    Identity(#[from] GatewayIdentityError),
    /// The address of the metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

/// What the tasks of a gateway share.
struct Shared {
    uplinks: Uplinks,
    rules: Rules,
    devices: Devices,
    cache: Cache,
    figures: Arc<Figures>,
    peer_limits: PeerLimits,
    connections: ConnectionJournal,
    /// The coordinator has been away for long, or has put this gateway out: devices are
    /// to try their other addresses.
    leads_nowhere: AtomicBool,
}

/// A gateway that has its addresses.
pub struct Gateway {
    shared: Arc<Shared>,
    listener: Listener,
    metrics: Option<MetricsServer>,
    keeper: uplink::Keeper,
    orphans: Vec<(DeviceId, OpenConnection)>,
    service: Service,
}

impl Gateway {
    /// Takes the addresses. Must be called inside a Tokio runtime with time
    /// and I/O enabled.
    ///
    /// # Errors
    /// Whatever is in the way.
    pub fn start(parts: Parts) -> Result<Self, GatewayError> {
        let figures = Arc::new(Figures::default());
        let (identity, _) = watch::channel(Arc::new(parts.identity));
        let rules = Rules::new(identity, parts.clock.clone(), parts.limits.connections);
        let listener = Listener::bind(parts.listen, rules.settings()?)?;
        let metrics = parts.metrics.map(MetricsServer::bind).transpose()?;
        let journal = parts.state.join("sessions");
        let (connections, orphans) = ConnectionJournal::open(Some(journal));
        let (found, uplinks) = Uplinks::new();
        let shared = Arc::new(Shared {
            uplinks,
            rules,
            devices: Devices::default(),
            cache: Cache::new(parts.cache_bytes, figures.clone()),
            figures,
            peer_limits: PeerLimits::new(parts.limits.devices),
            connections,
            leads_nowhere: AtomicBool::new(false),
        });
        let keeper = uplink::Keeper {
            coordinator: parts.coordinator,
            state: parts.state,
            clock: parts.clock,
            found,
        };
        Ok(Self {
            shared,
            listener,
            metrics,
            keeper,
            orphans,
            service: parts.service,
        })
    }

    /// Where devices reach it.
    ///
    /// # Errors
    /// If the socket is gone.
    pub fn address(&self) -> Result<SocketAddr, TransportError> {
        self.listener.local_address()
    }

    /// Where metrics are told, if they are.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(MetricsServer::address)
    }

    /// Serves until `stop` is ready, then tells the devices that it is going
    /// down.
    pub async fn run_until(self, stop: impl Future<Output = ()>) {
        let shared = self.shared;
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(self.keeper.run(shared.clone()));
        if let Some(metrics) = self.metrics {
            tasks.spawn(metrics::serve(metrics, shared.clone()));
        }
        let serving = async {
            let connections = &shared.connections;
            tokio::join!(
                accept(&self.listener, &shared, self.service),
                reconnect::remind(&self.listener, connections, self.orphans)
            )
        };
        tokio::select! {
            () = stop => {}
            _ = serving => {}
        }
        self.listener
            .close(CloseCode::Shutdown, "the gateway is going down")
            .await;
        shared.connections.clear();
        tasks.abort_all();
    }
}

/// Lets peers in, by the rules as they are.
async fn accept(listener: &Listener, shared: &Arc<Shared>, mut service: Service) {
    let mut changed = shared.rules.watch();
    loop {
        service.feed(Instant::now());
        tokio::select! {
            arrival = listener.next() => match arrival {
                None => return,
                Some(arrival) => admit(arrival, shared),
            },
            Ok(()) = changed.changed() => {
                match shared.rules.settings().and_then(|rules| listener.replace(rules)) {
                    Ok(()) => tracing::debug!("devices are let in by new rules"),
                    Err(error) => tracing::error!(%error, "the new certificate cannot be used"),
                }
            }
            // Only to feed the watchdog.
            () = tokio::time::sleep(FEEDING) => {}
        }
    }
}

/// Lets one peer in, in a task of its own.
fn admit(arrival: common::transport::Arrival, shared: &Arc<Shared>) {
    let shared = shared.clone();
    let from = arrival.remote_address();
    tokio::spawn(async move {
        if shared.leads_nowhere.load(Ordering::Relaxed) {
            shared.figures.turned_away();
            if let Err(error) = arrival.turn_away(CloseCode::NotLeading, "").await {
                tracing::debug!(%from, %error, "not told to go elsewhere");
            }
            return;
        }
        let connection = match arrival.admit().await {
            Ok(connection) => connection,
            Err(error) => {
                shared.figures.turned_away();
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
            (
                Protocol::Enrolment,
                PeerIdentity::Device(device) | PeerIdentity::LapsedDevice(device),
            ) => {
                let span = tracing::info_span!("renewal", device = %device.short());
                renewal::serve(shared, connection).instrument(span).await;
            }
            _ => {
                let reason = "this is a gateway: join at the coordinator itself";
                connection.close(CloseCode::Unauthenticated, reason);
            }
        }
    });
}

/// The settings of a gateway's listener.
fn listener_settings(
    identity: &GatewayIdentity,
    clock: Clock,
) -> Result<ListenerSettings, TransportError> {
    let credentials = identity.server()?;
    let mut settings = ListenerSettings::new(credentials, identity.authorities(), clock);
    settings.tuning = Tuning::coordinator();
    settings.protocols = &SPOKEN;
    Ok(settings)
}

/// What is spoken with devices.
const SPOKEN: [Protocol; 2] = [Protocol::Devices, Protocol::Enrolment];
/// How often the service manager is told that all is well, at least.
const FEEDING: Duration = Duration::from_secs(5);
