//! Gateways, as their coordinator sees them: one connection each, on which
//! they pass on the sessions of many devices.
//!
//! A gateway is believed about which device speaks on a control stream: it has
//! seen the device prove that it holds its key. What can be checked without it
//! is checked here: that the fleet's authority made the device's certificate,
//! that it is not over, that the device was not revoked, that the device signed
//! what it contributes, and everything that a device sends.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::ids::DeviceId;
use common::limits::{GATEWAY_SESSIONS_MAX, GATEWAY_STREAMS_MAX, SESSION_TRANSFERS_MAX};
use common::transport::{
    CloseCode, Connection, GATEWAY_WINDOW_BYTES, PeerIdentity, Protocol, Stream, TransportError,
};
use common::wire::codec::{decode, encode};
use common::wire::gateway::{
    ForDevice, FromGateway, GATEWAY_MINOR, GatewayFigures, Purpose, REVOKED_AT_ONCE, ToGateway,
};
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::handle::Shared;
use super::line::{Behind, Line, Relayed};
use super::session::{self, expired_at};
use super::transfer::{self, Wanted};
use super::{enrol, handle};
use crate::core::command::Command;
use crate::status::GatewayLink;

/// The connected gateways. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gateways(Arc<Mutex<HashMap<DeviceId, Open>>>);

#[derive(Debug)]
struct Open {
    link: GatewayLink,
    connection: Connection,
}

impl Gateways {
    /// The connection of a gateway, if it has one.
    pub(crate) fn link(&self, gateway: DeviceId) -> Option<GatewayLink> {
        self.table().get(&gateway).map(|open| open.link)
    }

    /// A gateway connected. The newest connection of one counts: an older one
    /// is of a process that is gone, or of a copy of its key.
    fn began(&self, gateway: DeviceId, open: Open) {
        if let Some(before) = self.table().insert(gateway, open) {
            let reason = "a newer connection of this gateway took over";
            before.connection.close(CloseCode::Superseded, reason);
        }
    }

    fn tell(&self, gateway: DeviceId, figures: GatewayFigures) {
        if let Some(open) = self.table().get_mut(&gateway) {
            open.link.fetched_bytes = figures.fetched_bytes;
            open.link.served_bytes = figures.served_bytes;
        }
    }

    fn ended(&self, gateway: DeviceId, connection: &Connection) {
        let mut table = self.table();
        let is_newest = |open: &Open| open.connection.name() == connection.name();
        if table.get(&gateway).is_some_and(is_newest) {
            table.remove(&gateway);
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<DeviceId, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves a gateway until its connection ends.
pub(super) async fn serve(shared: Arc<Shared>, connection: Connection, gateway: DeviceId) {
    let address = connection.remote_address();
    tracing::info!(%address, "a gateway connected");
    shared.gateways.began(
        gateway,
        Open {
            link: GatewayLink {
                address,
                since: shared.clock.now(),
                fetched_bytes: 0,
                served_bytes: 0,
            },
            connection: connection.clone(),
        },
    );
    shared.connections.began(gateway, &connection);
    let outcome = run(&shared, &connection, gateway).await;
    shared.connections.ended(gateway, &connection);
    shared.gateways.ended(gateway, &connection);
    match outcome {
        Ok(()) => connection.close(CloseCode::Normal, ""),
        Err(error) => {
            connection.close(error.code(), &error.to_string());
            tracing::info!(why = %error, "a gateway's connection ended");
        }
    }
}

async fn run(
    shared: &Arc<Shared>,
    connection: &Connection,
    gateway: DeviceId,
) -> Result<(), TransportError> {
    // A revoked gateway is refused by the listener; one whose membership this
    // coordinator does not know is no gateway of this fleet.
    let is_gateway = |reply| Command::IsGateway {
        member: gateway,
        reply,
    };
    if handle::ask_core(shared, is_gateway).await != Some(true) {
        connection.close(CloseCode::NotAGateway, "this gateway is not known here");
        return Ok(());
    }
    connection.widen(GATEWAY_STREAMS_MAX, GATEWAY_WINDOW_BYTES);
    let mut revoked = shared.revoked.watch();
    let mut control = connection.accept_control().await?;
    let Some(hello) = control.receiver.recv_answer().await? else {
        return Ok(());
    };
    match decode::<FromGateway>(&hello) {
        Ok(FromGateway::Hello { minor, program }) if (0..=GATEWAY_MINOR).contains(&minor) => {
            tracing::info!(program, "a gateway said hello");
        }
        Ok(FromGateway::Hello { .. }) => {
            let reason = "update the coordinator before its gateways";
            connection.close(CloseCode::ProtocolVersion, reason);
            return Ok(());
        }
        _ => return Err(violation("the first message is not a gateway's hello")),
    }
    let welcome = ToGateway::Welcome {
        minor: GATEWAY_MINOR,
        time: shared.clock.now(),
        grace_ms: shared.certificates.renewal_grace_ms,
        authorities: shared.identity.announced(),
    };
    control.send(&encode(&welcome)).await?;
    let mut told = BTreeSet::new();
    tell_revoked(&mut control, &mut revoked, &mut told).await?;
    control.send(&encode(&ToGateway::Ready)).await?;
    let sessions = Sessions::default();
    let ends = connection.peer_certificate().map(|facts| facts.not_after);
    let Stream {
        mut sender,
        mut receiver,
    } = control;
    loop {
        tokio::select! {
            () = expired_at(shared, ends) => {
                connection.close(CloseCode::Expired, "the certificate has expired");
                return Ok(());
            }
            changed = revoked.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let now = revoked.borrow_and_update().clone();
                if now.contains(&gateway) {
                    connection.close(CloseCode::Revoked, "revoked by an operator");
                    return Ok(());
                }
                for some in news(&now, &told) {
                    sender.send(&encode(&some)).await?;
                }
                told = now;
            }
            frame = receiver.recv() => match frame? {
                None => return Ok(()),
                Some(frame) => match decode::<FromGateway>(&frame) {
                    Ok(FromGateway::Figures(figures)) => shared.gateways.tell(gateway, figures),
                    Ok(FromGateway::Hello { .. }) => return Err(violation("a second hello")),
                    Err(error) => return Err(violation(&error.to_string())),
                },
            },
            stream = connection.accept_transfer() => {
                let (shared, sessions) = (shared.clone(), sessions.clone());
                let serving = serve_stream(shared, sessions, stream?, gateway);
                tokio::spawn(serving.in_current_span());
            }
        }
    }
}

async fn tell_revoked(
    control: &mut Stream,
    revoked: &mut tokio::sync::watch::Receiver<BTreeSet<DeviceId>>,
    told: &mut BTreeSet<DeviceId>,
) -> Result<(), TransportError> {
    let now = revoked.borrow_and_update().clone();
    for some in news(&now, told) {
        control.send(&encode(&some)).await?;
    }
    *told = now;
    Ok(())
}

/// The messages that name those who were not named before.
fn news(now: &BTreeSet<DeviceId>, told: &BTreeSet<DeviceId>) -> Vec<ToGateway> {
    let new: Vec<_> = now.difference(told).copied().collect();
    let pieces = new.chunks(REVOKED_AT_ONCE);
    pieces
        .map(|some| ToGateway::Revoked(some.to_vec()))
        .collect()
}

/// The sessions that one connection passes on, by the gateway's number.
#[derive(Clone, Debug, Default)]
struct Sessions {
    open: Arc<Mutex<HashMap<u64, mpsc::Sender<Stream>>>>,
    count: Arc<AtomicUsize>,
}

impl Sessions {
    fn table(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Stream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve_stream(
    shared: Arc<Shared>,
    sessions: Sessions,
    mut stream: Stream,
    gateway: DeviceId,
) {
    let purpose = match stream.receiver.recv_answer().await {
        Ok(Some(frame)) => decode::<Purpose>(&frame),
        _ => return,
    };
    match purpose {
        Err(error) => {
            tracing::warn!(%error, "a gateway opened a stream for nothing that is known here");
            stream.give_up(CloseCode::Violation);
        }
        Ok(Purpose::Transfer { session }) => {
            let known = sessions.table().get(&session).cloned();
            let given_up = match known {
                None => Some((stream, CloseCode::Normal)),
                // It is bounded as QUIC bounds the streams of a device.
                Some(queue) => queue.try_send(stream).err().map(|error| {
                    let stream = match error {
                        mpsc::error::TrySendError::Full(stream)
                        | mpsc::error::TrySendError::Closed(stream) => stream,
                    };
                    (stream, CloseCode::Overloaded)
                }),
            };
            if let Some((mut stream, code)) = given_up {
                stream.give_up(code);
            }
        }
        Ok(Purpose::Fetch { blob }) => {
            transfer::serve_cache(shared, stream, Wanted::Blob(blob)).await;
        }
        Ok(Purpose::FetchAgainst { blob, base }) => {
            transfer::serve_cache(shared, stream, Wanted::Delta { blob, base }).await;
        }
        Ok(Purpose::Renew { certificate }) => {
            match shared.relayed.admit(Protocol::Enrolment, &certificate) {
                Ok((peer, _)) => {
                    let served = enrol::serve_relayed(&shared, &mut stream, peer).await;
                    if let Err(error) = served {
                        tracing::info!(%error, "a relayed renewal broke off");
                        stream.give_up(error.code());
                    }
                }
                Err(code) => stream.give_up(code),
            }
        }
        Ok(Purpose::Session {
            session,
            certificate,
            address,
        }) => {
            let admitted = shared.relayed.admit(Protocol::Devices, &certificate);
            let (device, facts) = match admitted {
                Ok((PeerIdentity::Device(device), facts)) => (device, facts),
                Ok(_) => return refuse(stream, CloseCode::Unauthenticated).await,
                Err(code) => return refuse(stream, code).await,
            };
            let (queue, transfers) = mpsc::channel(SESSION_TRANSFERS_MAX);
            if sessions.count.fetch_add(1, Ordering::Relaxed) >= GATEWAY_SESSIONS_MAX {
                sessions.count.fetch_sub(1, Ordering::Relaxed);
                return refuse(stream, CloseCode::Overloaded).await;
            }
            sessions.table().insert(session, queue);
            let behind = Behind {
                gateway,
                address,
                expires: facts.not_after,
                public_key: facts.public_key,
            };
            let relayed = Arc::new(Relayed::new(behind, stream, transfers));
            let line = Line::Relayed(relayed.clone());
            let span = tracing::info_span!("session", device = %device.short());
            session::serve(shared, line, device).instrument(span).await;
            if let Some((stream, code, reason)) = relayed.unserved() {
                hang_up(stream, code, reason).await;
            }
            sessions.table().remove(&session);
            sessions.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Tells a gateway to close a device's connection.
async fn refuse(stream: Stream, code: CloseCode) {
    hang_up(stream, code, code.to_string()).await;
}

async fn hang_up(mut stream: Stream, code: CloseCode, reason: String) {
    let close = ForDevice::Close {
        code: code.number(),
        reason,
    };
    if stream.send(&encode(&close)).await.is_ok() {
        stream.sender.finish();
        let _ = stream.sender.delivered().await;
    }
}

fn violation(reason: &str) -> TransportError {
    TransportError::Violation {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_newly_revoked_are_named_and_all_of_them() {
        let id = |at: u32| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&at.to_be_bytes());
            DeviceId(bytes)
        };
        let told: BTreeSet<_> = (0..5).map(id).collect();
        assert!(news(&told, &told).is_empty());
        let many = REVOKED_AT_ONCE as u32 + 7;
        let now: BTreeSet<_> = (0..many).map(id).collect();
        let mut named = Vec::new();
        for message in news(&now, &told) {
            match message {
                ToGateway::Revoked(some) => named.extend(some),
                other => unreachable!("{other:?}"),
            }
        }
        assert_eq!(named, (5..many).map(id).collect::<Vec<_>>());
    }
}
