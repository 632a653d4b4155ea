use common::ids::BlobHash;
use common::limits::WHOLE_BYTES_MAX;
use common::round::{Kind, Phase, Reason};
use common::wire::codec::encode;
use common::wire::messages::{TransferAnswer, TransferRequest};

use super::rig::{PAIR, Rig, key};
use crate::status::{OutcomeStatus, Progress};
use crate::store::{AppendFault, Store};

#[tokio::test]
async fn a_round_goes_from_profiles_to_reports() {
    let rig = Rig::start();
    let task = rig.task(PAIR).await;
    let (one, two) = (rig.device().await, rig.device().await);
    let (a, b) = (one.session(&rig).await, two.session(&rig).await);
    let parts = tokio::spawn(async { tokio::join!(a.take_part(), b.take_part()) });
    let mut phases = Vec::new();
    let (ended, phases) = rig
        .operate(move |client| {
            let ended = client.run_round(Some("pair"), |step| {
                if let Progress::PhaseOpened { phase, .. } = step {
                    phases.push(*phase);
                }
            })?;
            Ok((ended, phases))
        })
        .await
        .unwrap();
    assert_eq!(phases, Phase::ALL);
    let Progress::Ended {
        outcome: OutcomeStatus::Completed { version },
        phase_ms,
        ..
    } = ended
    else {
        panic!("{ended:?}")
    };
    assert_eq!(phase_ms.len(), Phase::ALL.len());

    let (a, _b) = parts.await.unwrap();
    let TransferAnswer::Newest(newest) = a.ask(TransferRequest::Newest { task: None }).await else {
        panic!("no release")
    };
    assert_eq!((newest.task, newest.version), (task, version));
    let release = a.fetch(newest.blob).await.unwrap();
    assert_eq!(release.len() as u64, newest.bytes);
    let (held, exported) = rig
        .operate(|client| client.release(None, None))
        .await
        .unwrap();
    assert_eq!((held, exported), (version, release));

    let status = rig.status().await;
    let report = status.tasks[0].releases[0].report.unwrap();
    assert_eq!(
        (report.devices, report.rows, report.accuracy),
        (2, 20, Some(0.9))
    );
    assert_eq!(status.tasks[0].history[0].accepted[&Kind::Moments], 2);
    for device in &status.devices {
        assert!(device.connected && device.label == "pump");
        assert!(device.uplink_bytes > 500, "{device:?}");
        assert!(device.downlink_bytes > 500, "{device:?}");
        assert!(device.handshake_bytes > 2_000, "{device:?}");
    }
}

#[tokio::test]
async fn a_restart_asks_for_nothing_acknowledged_before() {
    let rig = Rig::start();
    rig.task(PAIR).await;
    let (one, two) = (rig.device().await, rig.device().await);
    let (mut a, b) = (one.session(&rig).await, two.session(&rig).await);
    rig.operate(|client| client.start_round(None, false))
        .await
        .unwrap();
    let call = a.call().await;
    let profile = key(&call, Kind::Profile);
    assert_eq!(a.give(profile, b"mine").await, TransferAnswer::Accepted);
    drop((a, b));

    let rig = rig.restart().await;
    let round = rig.status().await.tasks[0].round.clone().unwrap();
    assert_eq!(
        (round.round, round.phase),
        (call.round, Some(Phase::Profile))
    );
    assert_eq!(round.contributed.len(), 1);
    let (mut a, b) = (one.session(&rig).await, two.session(&rig).await);
    let b = tokio::spawn(b.take_part());
    // The first call after the restart is for what comes next.
    let next = a.call().await;
    assert_eq!((next.round, next.phase), (call.round, Phase::Summarise));
    assert!(rig.store.has_blob(BlobHash::of(b"mine")).unwrap());
    b.abort();
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_and_taken_later() {
    for fault in [AppendFault::BeforeFlush, AppendFault::AfterFlush] {
        let rig = Rig::start();
        rig.task(PAIR).await;
        let (one, two) = (rig.device().await, rig.device().await);
        let (mut a, b) = (one.session(&rig).await, two.session(&rig).await);
        rig.operate(|client| client.start_round(None, false))
            .await
            .unwrap();
        let profile = key(&a.call().await, Kind::Profile);
        rig.store.fail_next_append(fault);
        assert_eq!(
            a.give(profile, b"mine").await,
            TransferAnswer::Refused(Reason::Storage),
            "{fault:?}"
        );
        a.give_until_taken(profile, b"mine").await;
        let status = rig.status().await;
        assert!(status.storage_ok);
        assert_eq!(status.storage_failures, 1);
        let round = status.tasks[0].round.as_ref().unwrap();
        assert_eq!(round.accepted[&Kind::Profile], 1, "counted once");
        // The others are called again, and the round goes on.
        let b = tokio::spawn(b.take_part());
        assert_eq!(next_phase(&mut a).await, Phase::Summarise);
        b.abort();
    }
}

/// The phase after the profiles, past calls that are repeated.
async fn next_phase(session: &mut super::rig::Session) -> Phase {
    loop {
        let phase = session.call().await.phase;
        if phase != Phase::Profile {
            return phase;
        }
    }
}

#[tokio::test]
async fn a_bad_contribution_is_refused_and_not_counted() {
    let rig = Rig::start();
    rig.task(PAIR).await;
    let (one, two) = (rig.device().await, rig.device().await);
    let (mut a, _b) = (one.session(&rig).await, two.session(&rig).await);
    rig.operate(|client| client.start_round(None, false))
        .await
        .unwrap();
    let profile = key(&a.call().await, Kind::Profile);
    let refused = TransferAnswer::Refused;
    assert_eq!(a.give(profile, b"bad").await, refused(Reason::NotFinite));
    let other = BlobHash::of(b"other bytes");
    assert_eq!(
        a.give_as(profile, other, b"these bytes").await,
        refused(Reason::HashMismatch)
    );
    let huge = vec![7; 100_001];
    assert_eq!(a.give(profile, &huge).await, refused(Reason::TooLarge));
    let mut wrong = profile;
    wrong.round.0 += 1;
    assert_eq!(a.give(wrong, b"mine").await, refused(Reason::WrongRound));
    assert!(
        rig.status().await.tasks[0]
            .round
            .as_ref()
            .unwrap()
            .contributed
            .is_empty()
    );

    assert_eq!(a.give(profile, b"mine").await, TransferAnswer::Accepted);
    assert_eq!(a.give(profile, b"mine").await, TransferAnswer::Accepted);
    let status = rig.status().await;
    assert_eq!(status.tasks[0].round.as_ref().unwrap().contributed.len(), 1);
}

#[tokio::test]
async fn an_upload_goes_on_where_it_stopped() {
    let rig = Rig::start();
    rig.task(PAIR).await;
    let (one, two) = (rig.device().await, rig.device().await);
    let (mut a, _b) = (one.session(&rig).await, two.session(&rig).await);
    rig.operate(|client| client.start_round(None, false))
        .await
        .unwrap();
    let profile = key(&a.call().await, Kind::Profile);
    let bytes: Vec<u8> = (0..60_000u32).map(|i| i as u8).collect();
    let offer = TransferRequest::Offer {
        key: profile,
        blob: BlobHash::of(&bytes),
        bytes: bytes.len() as u64,
    };
    let encoded = common::wire::codec::encode(&offer);
    let mut stream = a.connection.open_transfer().await.unwrap();
    stream.ask(&encoded).await.unwrap();
    stream.sender.send_blob(0, &bytes[..40_000]).await.unwrap();
    stream.sender.finish();
    // The server gives the stream up over the missing rest.
    assert!(stream.receiver.recv_answer().await.is_err());
    let answer = a.ask(offer).await;
    assert_eq!(answer, TransferAnswer::Send { offset: 40_000 });
}

#[tokio::test]
async fn what_follows_its_offer_unasked_is_answered_once() {
    let rig = Rig::start();
    rig.task(PAIR).await;
    let (one, two) = (rig.device().await, rig.device().await);
    let (mut a, b) = (one.session(&rig).await, two.session(&rig).await);
    rig.operate(|client| client.start_round(None, false))
        .await
        .unwrap();
    let profile = key(&a.call().await, Kind::Profile);
    let bytes: Vec<u8> = (0..30_000u32).map(|i| i as u8).collect();
    let (blob, length) = (BlobHash::of(&bytes), bytes.len() as u64);
    // A part of it came before: what follows unasked begins with its first byte.
    let mut stream = a.connection.open_transfer().await.unwrap();
    let offer = TransferRequest::Offer {
        key: profile,
        blob,
        bytes: length,
    };
    stream.ask(&encode(&offer)).await.unwrap();
    stream.sender.send_blob(0, &bytes[..10_000]).await.unwrap();
    stream.sender.finish();
    assert!(stream.receiver.recv_answer().await.is_err());
    assert_eq!(
        a.give_whole(profile, &bytes, length).await,
        Some(TransferAnswer::Accepted)
    );
    // Held already, and refused: neither is read to its end.
    assert_eq!(
        a.give_whole(profile, &bytes, length).await,
        Some(TransferAnswer::Accepted)
    );
    let mut wrong = profile;
    wrong.kind = Kind::Moments;
    let refused = TransferAnswer::Refused(Reason::WrongKind);
    assert_eq!(b.give_whole(wrong, &bytes, length).await, Some(refused));
    assert_eq!(
        b.give_whole(profile, &bytes, WHOLE_BYTES_MAX + 1).await,
        None
    );
}

#[tokio::test]
async fn another_devices_contribution_is_not_found() {
    let rig = Rig::start();
    rig.task(PAIR).await;
    let (one, two) = (rig.device().await, rig.device().await);
    let (mut a, b) = (one.session(&rig).await, two.session(&rig).await);
    rig.operate(|client| client.start_round(None, false))
        .await
        .unwrap();
    let call = a.call().await;
    a.give_until_taken(key(&call, Kind::Profile), b"private")
        .await;
    assert_eq!(b.fetch(BlobHash::of(b"private")).await, None);
    assert_eq!(a.fetch(BlobHash::of(b"private")).await, None);
    assert!(b.fetch(call.context.task).await.is_some());
}
