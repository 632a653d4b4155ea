//! One device's session: hello, welcome, then both sides speak as they have
//! something to say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::ids::{DeviceId, Time};
use common::transport::{CloseCode, TransportError};
use common::wire::codec::{decode, encode};
use common::wire::messages::{Hello, PROTOCOL_MINOR, ToCoordinator, ToDevice};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::handle::{Shared, note, pause};
use super::line::{Line, LineReceiver, LineSender};
use super::transfer;
use crate::core::command::{Command, SessionId, Speaker};

/// Tasks a device may say it runs a student for.
const INSTALLED_MAX: usize = 1_024;

const HOUR_MS: u64 = 3_600_000;

/// Serves a device until its connection ends, however it ends. Nothing that
/// goes wrong here leaves this session.
pub(super) async fn serve(shared: Arc<Shared>, line: Line, device: DeviceId) {
    if let Err((code, reason)) = shared.peer_limits.session(Instant::now(), device) {
        tracing::warn!(reason, "session refused");
        line.close(code, reason);
        return;
    }
    tracing::info!(address = %line.remote_address(), gateway = line.gateway().map(|one| one.short()),
        "session began");
    match run(&shared, &line, device).await {
        Ok(()) => {
            line.close(CloseCode::Normal, "");
            tracing::info!("session ended");
        }
        Err(error) => {
            let code = error.code();
            line.close(code, &error.to_string());
            // What a gateway passes on it has looked at: what is wrong is its own.
            if line.gateway().is_none() {
                note(&shared, device, &error);
            }
            // Most ends are in order: a program goes down, a newer session takes over.
            tracing::info!(why = %error, "session ended");
        }
    }
}

async fn run(shared: &Arc<Shared>, line: &Line, device: DeviceId) -> Result<(), TransportError> {
    let (mut sender, mut receiver) = line.accept_control().await?;
    let Some(frame) = receiver.recv_answer().await? else {
        return Ok(());
    };
    let Some(hello) = greeting(line, &frame)? else {
        return Ok(());
    };
    if hello.clock != Time(0) {
        shared.guard.hear(device, hello.clock);
    }
    let (open, messages) = shared.links.open(line);
    let session = open.session;
    let connect = Command::Connect {
        device,
        session,
        installed: hello.installed,
        speaker: Speaker {
            instance: hello.instance,
            address: Some(line.remote_address()),
            gateway: line.gateway(),
        },
        meter: line.meter(),
    };
    if shared.commands.send(connect).await.is_err() {
        return Ok(());
    }
    if let Line::Direct(connection) = line {
        shared.connections.began(device, connection);
    }
    let outcome = tokio::select! {
        () = expired(shared, line) => {
            line.close(CloseCode::Expired, "the certificate has expired");
            Ok(())
        }
        outcome = listen(shared, &mut receiver, device, session) => outcome,
        outcome = speak(&mut sender, messages) => outcome,
        outcome = transfers(shared, line, device) => outcome,
        () = line.closing() => Ok(()),
    };
    if let Line::Direct(connection) = line {
        shared.connections.ended(device, connection);
    }
    let _ = shared
        .commands
        .send(Command::Disconnect { device, session })
        .await;
    outcome
}

/// The hello, unless the connection was closed over its version.
fn greeting(line: &Line, frame: &[u8]) -> Result<Option<Hello>, TransportError> {
    match decode::<ToCoordinator>(frame) {
        Ok(ToCoordinator::Hello(hello)) if hello.minor > PROTOCOL_MINOR => {
            let reason = format!(
                "this coordinator speaks alambic/1.{PROTOCOL_MINOR}, the device 1.{}; update the \
                 coordinator first",
                hello.minor
            );
            tracing::warn!(reason, "hello refused");
            line.close(CloseCode::ProtocolVersion, &reason);
            Ok(None)
        }
        Ok(ToCoordinator::Hello(hello)) if hello.installed.len() > INSTALLED_MAX => {
            Err(violation("the hello names too many tasks"))
        }
        Ok(ToCoordinator::Hello(hello)) => Ok(Some(hello)),
        Ok(_) => Err(violation("the first message is not a hello")),
        Err(error) => Err(violation(&format!("the hello: {error}"))),
    }
}

/// What the device says, until it hangs up.
async fn listen(
    shared: &Shared,
    receiver: &mut LineReceiver,
    device: DeviceId,
    session: SessionId,
) -> Result<(), TransportError> {
    while let Some(frame) = receiver.recv().await? {
        let message = match decode::<ToCoordinator>(&frame) {
            Ok(ToCoordinator::Hello(_)) => return Err(violation("a second hello")),
            Ok(message) => message,
            Err(error) => return Err(violation(&error.to_string())),
        };
        let said = Command::Said {
            device,
            session,
            message,
        };
        if shared.commands.send(said).await.is_err() {
            break;
        }
        pause(shared.peer_limits.message(Instant::now(), device)).await;
    }
    Ok(())
}

/// What the core has to tell it, in order.
async fn speak(
    sender: &mut LineSender,
    mut messages: mpsc::Receiver<ToDevice>,
) -> Result<(), TransportError> {
    while let Some(message) = messages.recv().await {
        sender.send(encode(&message)).await?;
    }
    // The core forgot the session and closes the connection with the reason.
    std::future::pending().await
}

/// Its transfers, each in a task of its own; QUIC bounds how many there are.
async fn transfers(
    shared: &Arc<Shared>,
    line: &Line,
    device: DeviceId,
) -> Result<(), TransportError> {
    let mut running = JoinSet::new();
    loop {
        let stream = line.accept_transfer().await?;
        while running.try_join_next().is_some() {}
        // Its further streams wait meanwhile, and QUIC lets it open few.
        pause(shared.peer_limits.request(Instant::now(), device, 1)).await;
        running.spawn(transfer::serve(
            shared.clone(),
            line.clone(),
            stream,
            device,
        ));
    }
}

/// Ready once the certificate that opened the session is over: no session
/// outlives it.
async fn expired(shared: &Shared, line: &Line) {
    expired_at(shared, line.expires()).await;
}

/// Resolves when the certificate ends at `end`; never if `end` is none.
pub(super) async fn expired_at(shared: &Shared, end: Option<Time>) {
    let Some(end) = end else {
        return std::future::pending().await;
    };
    loop {
        let left_ms = end.after_ms(1).since_ms(shared.clock.now());
        if left_ms == 0 {
            return;
        }
        // The clock may be set; look again now and then.
        tokio::time::sleep(Duration::from_millis(left_ms.min(HOUR_MS))).await;
    }
}

fn violation(reason: &str) -> TransportError {
    TransportError::Violation {
        reason: reason.to_owned(),
    }
}
