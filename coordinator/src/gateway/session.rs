//! One device's session, passed on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::ids::DeviceId;
use common::limits::FRAME_BYTES_MAX;
use common::transport::{
    CloseCode, Connection, FrameReceiver, FrameSender, Stream, TransportError,
};
use common::wire::codec::{decode, encode};
use common::wire::gateway::{ForDevice, FromDevice, Purpose, WRAPPING_BYTES};
use common::wire::messages::ToCoordinator;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::Shared;
use super::transfer::{self, Behind};
use super::uplink::{HELD, Uplink};

/// How a session ended.
enum End {
    /// The device went, or broke the protocol.
    Device(Result<(), TransportError>),
    /// The coordinator said so.
    Told(CloseCode, String),
    /// The coordinator is away.
    Orphaned,
}

/// Serves a device until its connection ends, however it ends.
pub(super) async fn serve(shared: Arc<Shared>, connection: Connection, device: DeviceId) {
    let limits = &shared.peer_limits;
    if let Err((code, reason)) = limits.session(Instant::now(), device) {
        tracing::warn!(reason, "session refused");
        connection.close(code, reason);
        return;
    }
    // It may have been revoked while it shook hands.
    let entry = shared.devices.enter(device, &connection);
    if shared.rules.is_revoked(device) {
        connection.close(CloseCode::Revoked, "revoked by an operator");
        return;
    }
    shared.figures.session();
    shared.connections.began(device, &connection);
    tracing::debug!(address = %connection.remote_address(), "session began");
    let end = run(&shared, &connection, device).await;
    match end {
        End::Device(Ok(())) => connection.close(CloseCode::Normal, ""),
        End::Device(Err(error)) => {
            connection.close(error.code(), &error.to_string());
            if error.is_violation() && shared.peer_limits.violated(Instant::now(), device) {
                tracing::warn!(%error, "in quarantine: it broke the protocol too often");
            }
            tracing::debug!(why = %error, "session ended");
        }
        End::Told(code, reason) => connection.close(code, &reason),
        End::Orphaned => {
            let reason = "the coordinator was away: begin again";
            connection.close(CloseCode::Shutdown, reason);
        }
    }
    shared.connections.ended(device, &connection);
    drop(entry);
}

/// Keeps a device whose session the coordinator has lost until there is a
/// coordinator again, and some moments longer so that not all of them come
/// back at once.
async fn hold(shared: &Arc<Shared>, connection: &Connection, device: DeviceId, lost: &Arc<Uplink>) {
    let back = async {
        // A stream may end a moment before its connection is known to be lost.
        let _ = tokio::time::timeout(NOTICED, shared.uplinks.gone(lost)).await;
        if shared.uplinks.within(HELD).await.is_some() {
            let span_ms = PER_DEVICE_MS * shared.devices.count().max(1);
            let mut first = [0u8; 8];
            first.copy_from_slice(&device.0[8..]);
            let own_ms = u64::from_le_bytes(first) % span_ms;
            tokio::time::sleep(Duration::from_millis(own_ms)).await;
        }
    };
    tokio::select! {
        () = back => {}
        _ = connection.closed() => {}
        () = async {
            // Nothing can be moved meanwhile; the device tries again.
            while let Ok(mut stream) = connection.accept_transfer().await {
                stream.give_up(CloseCode::Overloaded);
            }
        } => {}
    }
}

async fn run(shared: &Arc<Shared>, connection: &Connection, device: DeviceId) -> End {
    let greeted = async {
        let mut control = connection.accept_control().await?;
        let hello = control.receiver.recv_answer().await?;
        if let Some(hello) = &hello {
            check(hello, true)?;
        }
        Ok((control, hello))
    };
    let (control, hello) = match greeted.await {
        Ok((control, Some(hello))) => (control, hello),
        Ok((_, None)) => return End::Device(Ok(())),
        Err(error) => return End::Device(Err(error)),
    };
    let uplink = tokio::select! {
        uplink = shared.uplinks.within(HELD) => uplink,
        error = connection.closed() => return End::Device(Err(error)),
    };
    let Some(uplink) = uplink else {
        return End::Told(CloseCode::Shutdown, AWAY.to_owned());
    };
    let session = uplink.session();
    let Some(certificate) = connection.peer_chain().first().map(|der| der.to_vec()) else {
        return End::Told(CloseCode::Unauthenticated, String::new());
    };
    let purpose = Purpose::Session {
        session,
        certificate,
        address: connection.remote_address(),
    };
    let opened = async {
        let mut onward = uplink.open(&purpose).await?;
        onward.send(&encode(&moved(connection))).await?;
        onward.send(&encode(&FromDevice::Said(hello))).await?;
        Ok::<_, TransportError>(onward)
    };
    let mut control = control;
    let Ok(onward) = opened.await else {
        hold(shared, connection, device, &uplink).await;
        return End::Orphaned;
    };
    let behind = Behind {
        uplink: uplink.clone(),
        session,
        device,
    };
    let end = relay(shared, connection, behind, &mut control, onward).await;
    if matches!(end, End::Orphaned) {
        // Its control stream stays open meanwhile.
        hold(shared, connection, device, &uplink).await;
    }
    end
}

async fn relay(
    shared: &Arc<Shared>,
    connection: &Connection,
    behind: Behind,
    control: &mut Stream,
    onward: Stream,
) -> End {
    let (open, mut is_open) = watch::channel(false);
    let busy = Notify::new();
    let uplink: Arc<Uplink> = behind.uplink.clone();
    let device = behind.device;
    let transfers = async {
        // The coordinator does not know the session before.
        let _ = is_open.wait_for(|open| *open).await;
        transfers(shared, connection, &behind, &busy).await
    };
    let Stream { sender, receiver } = control;
    tokio::select! {
        end = up(shared, (receiver, onward.sender), connection, device, &busy) => end,
        end = down(onward.receiver, sender, &open) => end,
        error = transfers => End::Device(Err(error)),
        () = shared.uplinks.gone(&uplink) => End::Orphaned,
    }
}

/// What the device says, and what its connection has moved.
async fn up(
    shared: &Shared,
    (from, mut to): (&mut FrameReceiver, FrameSender),
    connection: &Connection,
    device: DeviceId,
    busy: &Notify,
) -> End {
    let mut told = moved(connection);
    loop {
        let message = tokio::select! {
            frame = from.recv() => match frame {
                Ok(Some(frame)) => match check(&frame, false) {
                    Ok(()) => FromDevice::Said(frame),
                    Err(error) => return End::Device(Err(error)),
                },
                outcome => {
                    // The last count; the session has ended whether or not it arrives.
                    let _ = to.send(&encode(&moved(connection))).await;
                    to.finish();
                    return End::Device(outcome.map(drop));
                }
            },
            () = busy.notified() => moved(connection),
            () = tokio::time::sleep(COUNTING) => moved(connection),
        };
        if matches!(message, FromDevice::Traffic { .. }) {
            if message == told {
                continue;
            }
            told = message.clone();
        }
        if to.send(&encode(&message)).await.is_err() {
            return End::Orphaned;
        }
        if matches!(message, FromDevice::Said(_)) {
            let wait = shared.peer_limits.message(Instant::now(), device);
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// What the device is told.
async fn down(mut from: FrameReceiver, to: &mut FrameSender, open: &watch::Sender<bool>) -> End {
    loop {
        let frame = match from.recv().await {
            Ok(Some(frame)) => frame,
            // It says why before it ends a session.
            Ok(None) | Err(_) => return End::Orphaned,
        };
        match decode::<ForDevice>(&frame) {
            Ok(ForDevice::Open) => drop(open.send_replace(true)),
            Ok(ForDevice::Told(message)) => {
                if let Err(error) = to.send(&message).await {
                    return End::Device(Err(error));
                }
            }
            Ok(ForDevice::Close { code, reason }) => {
                return End::Told(CloseCode::of_number(code), reason);
            }
            Err(error) => {
                tracing::error!(%error, "the coordinator's message was not understood");
                return End::Orphaned;
            }
        }
    }
}

/// Its transfers, each in a task of its own; QUIC bounds how many there are.
async fn transfers(
    shared: &Arc<Shared>,
    connection: &Connection,
    behind: &Behind,
    busy: &Notify,
) -> TransportError {
    let mut running = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = connection.accept_transfer() => stream,
            Some(_) = running.join_next() => {
                busy.notify_one();
                continue;
            }
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        let wait = shared.peer_limits.request(Instant::now(), behind.device, 1);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        running.spawn(transfer::serve(shared.clone(), behind.clone(), stream));
    }
}

/// Looks at a message of a device before it is passed on.
fn check(frame: &[u8], is_first: bool) -> Result<(), TransportError> {
    let violation = |reason: String| TransportError::Violation { reason };
    if frame.len() > FRAME_BYTES_MAX - WRAPPING_BYTES {
        return Err(violation(format!("a message of {} bytes", frame.len())));
    }
    match decode::<ToCoordinator>(frame) {
        Ok(ToCoordinator::Hello(_)) if is_first => Ok(()),
        Ok(ToCoordinator::Hello(_)) => Err(violation("a second hello".to_owned())),
        Ok(_) if is_first => Err(violation("the first message is not a hello".to_owned())),
        Ok(_) => Ok(()),
        // The coordinator may be newer, and understand it.
        Err(_) if !is_first => Ok(()),
        Err(error) => Err(violation(format!("the hello: {error}"))),
    }
}

fn moved(connection: &Connection) -> FromDevice {
    FromDevice::Traffic {
        handshake: connection.handshake_traffic(),
        work: connection.work_traffic(),
    }
}

/// By when it is noticed that a connection was lost whose streams ended.
const NOTICED: Duration = Duration::from_secs(1);
const AWAY: &str = "the coordinator is not reached from here";
/// How far apart devices come back to a coordinator that was away: each of
/// them shakes hands anew.
const PER_DEVICE_MS: u64 = 3;
/// How often a session's bytes are counted, at least.
const COUNTING: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::ids::{TaskHash, Time};
    use common::wire::messages::{Hello, PROTOCOL_MINOR};

    #[test]
    fn the_first_message_is_a_hello_and_no_other_is() {
        let hello = encode(&ToCoordinator::Hello(Hello {
            minor: PROTOCOL_MINOR,
            agent: String::new(),
            installed: Vec::new(),
            instance: 1,
            clock: Time(0),
        }));
        let news = encode(&ToCoordinator::DataChanged(TaskHash([1; 32])));
        check(&hello, true).unwrap();
        check(&news, false).unwrap();
        for (message, is_first) in [(&hello, false), (&news, true)] {
            let refused = check(message, is_first).unwrap_err();
            assert!(refused.is_violation(), "{refused}");
        }
        let long = vec![0; FRAME_BYTES_MAX];
        assert!(check(&long, false).unwrap_err().is_violation());
    }
}
