use common::transport::{ClientIdentity, CloseCode, Protocol, TransportError};
use common::wire::codec::encode;
use common::wire::messages::{PROTOCOL_MINOR, TransferAnswer, TransferRequest};

use super::rig::{PAIR, Rig, hello};
use crate::admin::{Request, Response};

async fn code_of(connection: &common::transport::Connection) -> CloseCode {
    match connection.closed().await {
        TransportError::Closed { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_newer_protocol_version_is_closed_with_the_reason() {
    let rig = Rig::start();
    let device = rig.device().await;
    let (_dialler, connection) = device.dial(&rig).await.unwrap();
    let mut control = connection.open_control().await.unwrap();
    let newer = encode(&hello(PROTOCOL_MINOR + 1));
    control.send(&newer).await.unwrap();
    match connection.closed().await {
        TransportError::Closed { code, reason } => {
            assert_eq!(code, CloseCode::ProtocolVersion);
            assert!(reason.contains("update"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!rig.status().await.devices[0].connected);
}

#[tokio::test]
async fn nobody_works_without_a_certificate() {
    let rig = Rig::start();
    let token = rig.token(1).await;
    let anonymous = ClientIdentity::Enrolling {
        ca_pin: token.ca_pin,
    };
    let dialler = rig.dialler();
    let refused = dialler
        .connect(rig.address, &anonymous, Protocol::Devices)
        .await;
    // A worker is not even shown the authority that a token pins; that an
    // anonymous one which does not care is closed, the transport's own tests
    // show.
    assert!(matches!(
        refused.unwrap_err(),
        TransportError::PinMismatch { sent: None, .. }
    ));
    assert!(rig.status().await.devices.is_empty());
}

#[tokio::test]
async fn the_newest_session_of_a_device_wins() {
    let rig = Rig::start();
    let device = rig.device().await;
    let old = device.session(&rig).await;
    let new = device.session(&rig).await;
    assert_eq!(code_of(&old.connection).await, CloseCode::Superseded);
    assert_eq!(
        new.ask(TransferRequest::Newest { task: None }).await,
        TransferAnswer::NotFound
    );
    let status = rig.status().await;
    assert!(status.devices[0].connected);
    assert_eq!(status.devices[0].sessions, 2);
}

#[tokio::test]
async fn one_sessions_nonsense_touches_no_other() {
    let rig = Rig::start();
    rig.task(PAIR).await;
    let (good, bad) = (rig.device().await, rig.device().await);
    let good = good.session(&rig).await;
    let mut bad = bad.session(&rig).await;
    let mut stream = bad.connection.open_transfer().await.unwrap();
    assert!(matches!(
        stream.ask(b"\xff\xff nonsense").await,
        Err(TransportError::StreamGivenUp {
            code: CloseCode::Violation
        })
    ));
    bad.control
        .send(&encode(&hello(PROTOCOL_MINOR)))
        .await
        .unwrap();
    assert_eq!(code_of(&bad.connection).await, CloseCode::Violation);
    assert_eq!(
        good.ask(TransferRequest::Newest { task: None }).await,
        TransferAnswer::NoRelease
    );
}

#[tokio::test]
async fn a_revoked_device_stays_out_after_a_restart() {
    let rig = Rig::start();
    let device = rig.device().await;
    let session = device.session(&rig).await;
    let id = device.id;
    let done = rig
        .operate(move |client| {
            let reason = "left on a train".to_owned();
            client.ask(&Request::RevokeDevice { device: id, reason })
        })
        .await;
    assert_eq!(done.unwrap(), Response::Done);
    assert_eq!(code_of(&session.connection).await, CloseCode::Revoked);
    let rig = rig.restart().await;
    assert!(matches!(
        device.dial(&rig).await.unwrap_err(),
        TransportError::Closed {
            code: CloseCode::Revoked,
            ..
        }
    ));
}

#[tokio::test]
async fn stopping_tells_the_devices() {
    let rig = Rig::start();
    let device = rig.device().await;
    let session = device.session(&rig).await;
    let socket = rig.socket.clone();
    rig.stop().await;
    assert_eq!(code_of(&session.connection).await, CloseCode::Shutdown);
    assert!(!socket.exists());
}
