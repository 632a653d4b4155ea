use std::io;

use common::ids::DeviceId;
use common::transport::{ClientIdentity, CloseCode, Protocol, TransportError};
use common::trust::clock::Clock;
use common::trust::device_key::DeviceKey;
use common::trust::token::TokenSecret;
use common::wire::messages::{EnrolAnswer, EnrolRefusal, EnrolRequest};
use tokio::sync::mpsc;

use super::rig::Rig;
use crate::admin::{AdminError, Request, Response};
use crate::status::{FaultKind, Standing};
use crate::store::AppendFault;

#[tokio::test]
async fn a_used_token_admits_no_second_device_but_its_own_again() {
    let rig = Rig::start();
    let token = rig.token(1).await;
    let (one, two) = (
        DeviceKey::generate().unwrap(),
        DeviceKey::generate().unwrap(),
    );
    assert!(
        matches!(rig.enrol(&token, &one).await, EnrolAnswer::Issued { device, .. } if device == one.device())
    );
    let refused = EnrolAnswer::Refused(EnrolRefusal::UsedToken);
    assert_eq!(rig.enrol(&token, &two).await, refused);
    let rig = rig.restart().await;
    assert_eq!(
        rig.enrol(&token, &two).await,
        refused,
        "after a restart too"
    );
    assert!(matches!(
        rig.enrol(&token, &one).await,
        EnrolAnswer::Issued { .. }
    ));
    assert_eq!(rig.status().await.devices.len(), 1);
}

#[tokio::test]
async fn a_forged_token_is_refused() {
    let rig = Rig::start();
    let mut token = rig.token(1).await;
    token.secret = TokenSecret::from_slice(&[7; 20]).unwrap();
    let key = DeviceKey::generate().unwrap();
    let refused = EnrolAnswer::Refused(EnrolRefusal::UnknownToken);
    assert_eq!(rig.enrol(&token, &key).await, refused);
    assert!(rig.status().await.devices.is_empty());
}

#[tokio::test]
async fn no_certificate_leaves_before_its_admission_is_stored() {
    let rig = Rig::start();
    let token = rig.token(1).await;
    let key = DeviceKey::generate().unwrap();
    rig.store.fail_next_append(AppendFault::BeforeFlush);
    let refused = EnrolAnswer::Refused(EnrolRefusal::Storage);
    assert_eq!(rig.enrol(&token, &key).await, refused);
    // The use was not counted either, so the token is good for anyone.
    let other = DeviceKey::generate().unwrap();
    assert!(matches!(
        rig.enrol(&token, &other).await,
        EnrolAnswer::Issued { .. }
    ));
}

async fn standing(rig: &Rig, device: DeviceId) -> Option<Standing> {
    let devices = rig.status().await.devices;
    let found = devices.iter().find(|one| one.device == device);
    found.map(|one| one.standing)
}

#[tokio::test]
async fn a_device_waits_for_an_operators_word_across_a_restart() {
    let rig = Rig::start();
    let token = rig.token_with_approval().await;
    let key = DeviceKey::generate().unwrap();
    let device = key.device();
    let waiting = |answer: EnrolAnswer| matches!(answer, EnrolAnswer::Waiting { device: of, .. } if of == device);
    assert!(waiting(rig.enrol(&token, &key).await));
    let rig = rig.restart().await;
    assert!(waiting(rig.enrol(&token, &key).await));
    assert_eq!(standing(&rig, device).await, Some(Standing::Waiting));
    rig.advance(120_000);
    rig.done(Request::ApproveDevice { device }).await.unwrap();
    assert!(matches!(
        rig.enrol(&token, &key).await,
        EnrolAnswer::Issued { .. }
    ));
    let status = rig.status().await;
    assert_eq!(status.devices[0].standing, Standing::Member);
    assert_eq!(status.devices[0].group.as_deref(), Some("hall"));
    let Err(AdminError::Fault(fault)) = rig.done(Request::DenyDevice { device }).await else {
        panic!("a member cannot be denied")
    };
    assert_eq!(fault.kind, FaultKind::NotFound);
}

#[tokio::test]
async fn a_denied_device_is_told_so() {
    let rig = Rig::start();
    let token = rig.token_with_approval().await;
    let key = DeviceKey::generate().unwrap();
    rig.enrol(&token, &key).await;
    let device = key.device();
    rig.done(Request::DenyDevice { device }).await.unwrap();
    let refused = EnrolAnswer::Refused(EnrolRefusal::Denied);
    assert_eq!(rig.enrol(&token, &key).await, refused);
    assert_eq!(standing(&rig, device).await, Some(Standing::Denied));
}

#[tokio::test]
async fn a_token_can_be_taken_back_and_shows_no_secret() {
    let rig = Rig::start();
    let token = rig.token(3).await;
    let key = DeviceKey::generate().unwrap();
    rig.enrol(&token, &key).await;
    let id = token.id;
    rig.done(Request::RevokeToken { token: id }).await.unwrap();
    let late = DeviceKey::generate().unwrap();
    let refused = EnrolAnswer::Refused(EnrolRefusal::RevokedToken);
    assert_eq!(rig.enrol(&token, &late).await, refused);
    let listed = rig.operate(|client| client.ask(&Request::ListTokens)).await;
    let Response::Tokens(tokens) = listed.unwrap() else {
        panic!("not tokens")
    };
    assert_eq!(tokens[0].used_by, [key.device()]);
    assert!(tokens[0].revoked.is_some());
    let secret = hex::encode(token.secret.reveal());
    let text = format!("{tokens:?} {}", serde_json::to_string(&tokens).unwrap());
    assert!(!text.contains(&secret) && !text.contains("secret"));
}

#[tokio::test]
async fn a_device_renews_in_mid_session_and_the_session_goes_on() {
    let rig = Rig::start();
    let mut device = rig.device().await;
    let session = device.session(&rig).await;
    let before = rig.status().await.devices[0].certificate;
    assert!(matches!(
        device.renew(&rig).await.unwrap(),
        EnrolAnswer::Renewed { .. }
    ));
    let question = common::wire::messages::TransferRequest::Newest { task: None };
    session.ask(question).await;
    assert_ne!(rig.status().await.devices[0].certificate, before);
    drop(session);
    device.session(&rig).await;
    let rig = rig.restart().await;
    assert_eq!(standing(&rig, device.id).await, Some(Standing::Member));
}

#[tokio::test]
async fn an_expired_device_renews_and_works_again() {
    let rig = Rig::start();
    let mut device = rig.device().await;
    rig.advance(31 * DAY_MS);
    assert!(matches!(
        device.dial(&rig).await.unwrap_err(),
        TransportError::Closed {
            code: CloseCode::Expired,
            ..
        }
    ));
    assert!(matches!(
        device.renew(&rig).await.unwrap(),
        EnrolAnswer::Renewed { .. }
    ));
    device.session(&rig).await;
    rig.advance((30 + 181) * DAY_MS);
    assert!(matches!(
        device.renew(&rig).await.unwrap_err(),
        TransportError::Closed {
            code: CloseCode::Expired,
            ..
        }
    ));
}

#[tokio::test]
async fn nobody_renews_for_another_or_without_a_certificate() {
    let rig = Rig::start();
    let mut device = rig.device().await;
    device.key = DeviceKey::generate().unwrap();
    let refused = EnrolAnswer::Refused(EnrolRefusal::BadRequest);
    assert_eq!(device.renew(&rig).await.unwrap(), refused);
    let anonymous = ClientIdentity::Enrolling {
        ca_pin: rig.token(1).await.ca_pin,
    };
    let request = EnrolRequest::Renew {
        csr: device.key.signing_request().unwrap(),
    };
    assert_eq!(
        rig.ask_at_door(&anonymous, &request).await.unwrap(),
        refused
    );
}

#[tokio::test]
async fn a_revoked_device_is_refused_on_every_protocol() {
    let rig = Rig::start();
    let mut device = rig.device().await;
    let token = rig.token(1).await;
    let session = device.session(&rig).await;
    let begun = std::time::Instant::now();
    let id = device.id;
    let reason = "left on a train".to_owned();
    rig.done(Request::RevokeDevice { device: id, reason })
        .await
        .unwrap();
    session.connection.closed().await;
    assert!(begun.elapsed().as_secs() < 5);
    let closed = |error: TransportError| {
        matches!(
            error,
            TransportError::Closed {
                code: CloseCode::Revoked,
                ..
            }
        )
    };
    let rig = rig.restart().await;
    assert!(closed(device.dial(&rig).await.unwrap_err()));
    assert!(closed(device.renew(&rig).await.unwrap_err()));
    rig.advance(31 * DAY_MS);
    assert!(closed(device.renew(&rig).await.unwrap_err()), "when lapsed");
    let again = rig.token(1).await;
    for token in [&token, &again] {
        let refused = match rig.enrol(token, &device.key).await {
            EnrolAnswer::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused, EnrolRefusal::RevokedKey);
    }
    let status = rig.status().await;
    assert_eq!(
        status.devices[0].revoked_why.as_deref(),
        Some("left on a train")
    );
}

#[tokio::test]
async fn devices_follow_to_the_next_authority() {
    let rig = Rig::start();
    let (mut awake, mut asleep) = (rig.device().await, rig.device().await);
    let old_token = rig.token(1).await;
    crate::identity::rotate(rig.state(), Clock::system().now()).unwrap();
    let rig = rig.restart().await;
    awake.session(&rig).await;
    awake.renew(&rig).await.unwrap();
    awake.session(&rig).await;
    let key = DeviceKey::generate().unwrap();
    assert!(
        matches!(
            rig.enrol(&old_token, &key).await,
            EnrolAnswer::Issued { .. }
        ),
        "a token that pins the old authority still opens the door"
    );
    rig.device().await.session(&rig).await;
    rig.advance(31 * DAY_MS);
    asleep.renew(&rig).await.unwrap();
    asleep.session(&rig).await;
    awake.renew(&rig).await.unwrap();
    crate::identity::retire(rig.state()).unwrap();
    let rig = rig.restart().await;
    awake.session(&rig).await;
    asleep.session(&rig).await;
}

const DAY_MS: u64 = 24 * 3_600_000;

/// Sends on what is logged, a line at a time.
struct Lines(mpsc::UnboundedSender<String>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_doctor_who_asks_for_nothing_is_no_fault_in_the_log() {
    let (lines, mut logged) = mpsc::unbounded_channel();
    let log = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || Lines(lines.clone()));
    let _log = tracing::subscriber::set_default(log.finish());
    let rig = Rig::start();
    let device = rig.device().await;
    let dialler = rig.dialler();
    let connection = dialler
        .connect(rig.address, &device.identity, Protocol::Enrolment)
        .await
        .unwrap();
    dialler.close(CloseCode::Normal).await;
    drop(connection);
    let told = loop {
        let line = logged.recv().await.unwrap();
        if line.contains("doctor") {
            break line;
        }
    };
    let whose = format!("device={}", device.id.short());
    assert!(told.contains(" INFO ") && told.contains(&whose), "{told}");
    assert!(!told.contains("error") && !told.contains("broke"), "{told}");
}
