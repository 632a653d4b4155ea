//! The one connection to the coordinator: found, kept and found again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::ids::DeviceId;
use common::transport::{
    CloseCode, Connection, Dialler, FrameReceiver, FrameSender, Protocol, Search, Stream,
    TransportError, Tuning,
};
use common::trust::clock::Clock;
use common::wire::codec::{decode, encode};
use common::wire::gateway::{FromGateway, GATEWAY_MINOR, GatewayFigures, Purpose, ToGateway};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Shared;

/// A connection to the coordinator that stands.
#[derive(Debug)]
pub(super) struct Uplink {
    connection: Connection,
    sessions: AtomicU64,
}

impl Uplink {
    /// Opens a stream for this.
    ///
    /// # Errors
    /// The loss of the connection.
    pub(super) async fn open(&self, purpose: &Purpose) -> Result<Stream, TransportError> {
        let mut stream = self.connection.open_transfer().await?;
        stream.send(&encode(purpose)).await?;
        Ok(stream)
    }

    /// A number for a session that no other on this connection has.
    pub(super) fn session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }
}

/// The connection that stands now, and those to come. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Uplinks(watch::Receiver<Option<Arc<Uplink>>>);

/// Where a connection that was found is put.
pub(super) type Found = watch::Sender<Option<Arc<Uplink>>>;

impl Uplinks {
    pub(super) fn new() -> (Found, Self) {
        let (found, uplinks) = watch::channel(None);
        (found, Self(uplinks))
    }

    /// The connection that stands now.
    pub(super) fn now(&self) -> Option<Arc<Uplink>> {
        self.0.borrow().clone()
    }

    /// The one that stands, or the next that does within this time.
    pub(super) async fn within(&self, limit: Duration) -> Option<Arc<Uplink>> {
        let mut uplinks = self.0.clone();
        let found = timeout(limit, uplinks.wait_for(Option::is_some)).await;
        found.ok()?.ok()?.clone()
    }

    /// Ready once this one stands no more.
    pub(super) async fn gone(&self, uplink: &Arc<Uplink>) {
        let mut uplinks = self.0.clone();
        let is_other = |now: &Option<Arc<Uplink>>| {
            let is_same = now.as_ref().is_some_and(|now| Arc::ptr_eq(now, uplink));
            !is_same
        };
        // Fails only if the gateway stops.
        let _ = uplinks.wait_for(is_other).await;
    }
}

/// Keeps the connection.
pub(super) struct Keeper {
    pub(super) coordinator: String,
    pub(super) state: PathBuf,
    pub(super) clock: Clock,
    pub(super) found: Found,
}

/// Both directions of the control stream, after the greeting.
struct Greeted {
    dialler: Dialler,
    connection: Connection,
    sender: FrameSender,
    receiver: FrameReceiver,
}

impl Keeper {
    /// Connects, and connects again, until it is dropped.
    pub(super) async fn run(self, shared: Arc<Shared>) {
        let mut wait = WAIT_MIN;
        let mut away_since = Some(Instant::now());
        loop {
            let begun = Instant::now();
            let outcome = self.once(&shared, &mut away_since).await;
            self.found.send_replace(None);
            if begun.elapsed() >= SETTLED {
                wait = WAIT_MIN;
            }
            let away = away_since.get_or_insert_with(Instant::now).elapsed();
            if let Err(error) = &outcome {
                let advice = error.advice().unwrap_or_else(|| "trying again".to_owned());
                tracing::warn!(away_s = away.as_secs(), "no coordinator: {error}; {advice}");
                if is_put_out(error) {
                    shared.leads_nowhere.store(true, Ordering::Relaxed);
                    shared
                        .devices
                        .close_all(CloseCode::Shutdown, "this gateway serves no more");
                    wait = WAIT_PUT_OUT;
                }
            }
            if away >= HELD {
                // Devices may know of another gateway, and would come back to this one.
                shared.leads_nowhere.store(true, Ordering::Relaxed);
                let reason = "the coordinator is not reached from here";
                shared.devices.close_all(CloseCode::Shutdown, reason);
            }
            sleep(wait).await;
            wait = (2 * wait).min(WAIT_MAX);
        }
    }

    /// One connection, to its end.
    async fn once(
        &self,
        shared: &Arc<Shared>,
        away_since: &mut Option<Instant>,
    ) -> Result<(), TransportError> {
        if shared.rules.identity().renewal_due() <= self.clock.now() {
            self.renew(shared).await;
        }
        let mut greeted = self.greet(shared).await?;
        let uplink = Arc::new(Uplink {
            connection: greeted.connection.clone(),
            sessions: AtomicU64::new(0),
        });
        shared.figures.uplink();
        let was_away = away_since.take();
        shared.leads_nowhere.store(false, Ordering::Relaxed);
        tracing::info!(
            coordinator = %greeted.connection.remote_address(),
            away_ms = was_away.map_or(0, |since| since.elapsed().as_millis() as u64),
            devices = shared.devices.count(),
            "connected to the coordinator"
        );
        self.found.send_replace(Some(uplink));
        let mut told = None;
        let mut at = Instant::now();
        loop {
            tokio::select! {
                frame = greeted.receiver.recv() => {
                    let Some(frame) = frame? else { return Ok(()) };
                    self.heard(shared, &frame).await?;
                }
                () = sleep_until(at) => {
                    at = Instant::now() + FIGURES;
                    let (fetched_bytes, served_bytes) = shared.figures.blob_bytes();
                    let figures = GatewayFigures {
                        devices: shared.devices.count(),
                        fetched_bytes,
                        served_bytes,
                    };
                    if told != Some(figures) {
                        told = Some(figures);
                        greeted.sender.send(&encode(&FromGateway::Figures(figures))).await?;
                        tracing::info!(
                            devices = figures.devices,
                            fetched_bytes,
                            served_bytes,
                            saved_bytes = served_bytes.saturating_sub(fetched_bytes),
                            "figures"
                        );
                    }
                    if shared.rules.identity().renewal_due() <= self.clock.now() {
                        self.renew(shared).await;
                    }
                }
                error = greeted.connection.closed() => {
                    drop(greeted.dialler);
                    return Err(error);
                }
            }
        }
    }

    /// Connects and says hello; nothing is passed on before all revoked
    /// devices are known.
    async fn greet(&self, shared: &Arc<Shared>) -> Result<Greeted, TransportError> {
        let search = Search {
            identity: shared.rules.identity().client()?,
            protocol: Protocol::Gateways,
            tuning: Tuning::gateway(),
            clock: self.clock.clone(),
        };
        let (dialler, connection) = search.connect(&self.coordinator).await?;
        let Stream {
            mut sender,
            mut receiver,
        } = connection.open_control().await?;
        let hello = FromGateway::Hello {
            minor: GATEWAY_MINOR,
            program: env!("CARGO_PKG_VERSION").to_owned(),
        };
        sender.send(&encode(&hello)).await?;
        let mut revoked = BTreeSet::new();
        loop {
            let frame = receiver.recv_answer().await?;
            let frame = frame.ok_or(ENDED)?;
            match understood(&frame)? {
                ToGateway::Welcome {
                    grace_ms,
                    authorities,
                    ..
                } => {
                    shared.rules.set_grace(grace_ms);
                    match shared.rules.identity().hearing(&self.state, &authorities) {
                        Ok(None) => {}
                        Ok(Some(identity)) => {
                            tracing::info!("authorities were exchanged");
                            shared.rules.replace(identity);
                        }
                        Err(error) => tracing::error!(%error, "authorities are not kept"),
                    }
                }
                ToGateway::Revoked(some) => revoked.extend(some),
                ToGateway::Ready => break,
                ToGateway::Renew => {}
            }
        }
        let connected = shared.devices.connected();
        shared.rules.set_revoked(revoked);
        let put_out = connected.into_iter();
        let put_out: Vec<_> = put_out
            .filter(|device| shared.rules.is_revoked(*device))
            .collect();
        hang_up(shared, &put_out);
        Ok(Greeted {
            dialler,
            connection,
            sender,
            receiver,
        })
    }

    async fn heard(&self, shared: &Arc<Shared>, frame: &[u8]) -> Result<(), TransportError> {
        match understood(frame)? {
            ToGateway::Revoked(devices) => {
                shared.rules.revoke(&devices);
                hang_up(shared, &devices);
            }
            ToGateway::Renew => self.renew(shared).await,
            ToGateway::Welcome { .. } | ToGateway::Ready => {}
        }
        Ok(())
    }

    /// Gets the next certificate; if that fails, it is tried again with the
    /// next figures.
    async fn renew(&self, shared: &Arc<Shared>) {
        let identity = shared.rules.identity();
        let clock = self.clock.clone();
        match identity
            .renewed(&self.state, &self.coordinator, clock)
            .await
        {
            Ok(next) => {
                tracing::info!("this gateway's certificate was renewed");
                shared.rules.replace(next);
            }
            Err(error) => tracing::warn!("this gateway's certificate was not renewed: {error}"),
        }
    }
}

fn hang_up(shared: &Shared, devices: &[DeviceId]) {
    shared
        .devices
        .close(devices, CloseCode::Revoked, "revoked by an operator");
}

fn understood(frame: &[u8]) -> Result<ToGateway, TransportError> {
    decode(frame).map_err(|error| TransportError::Quic {
        reason: format!("the coordinator's message was not understood: {error}"),
    })
}

/// Whether trying again soon changes nothing: an operator put it out.
fn is_put_out(error: &TransportError) -> bool {
    matches!(
        error,
        TransportError::Closed {
            code: CloseCode::Revoked | CloseCode::NotAGateway,
            ..
        }
    )
}

const ENDED: TransportError = TransportError::Lost {
    reason: "the coordinator ended the stream",
};

/// How long devices are kept waiting for a coordinator that is away.
pub(super) const HELD: Duration = Duration::from_secs(60);
/// A connection that lasted this long was a good one.
const SETTLED: Duration = Duration::from_secs(5);
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(3);
const WAIT_PUT_OUT: Duration = Duration::from_secs(30);
/// How often the coordinator is told how the gateway does.
const FIGURES: Duration = Duration::from_secs(5);
