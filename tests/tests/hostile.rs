//! What peers who mean harm meet at a real coordinator, while real agents
//! work beside them.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::ids::{BlobHash, DeviceId, RoundId, TaskHash};
use common::limits::{BLOB_BYTES_MAX, VALIDATE_HANDSHAKES_ABOVE, VIOLATIONS_MAX};
use common::round::{Kind, Phase, Reason};
use common::transport::CloseCode;
use common::trust::token::JoinToken;
use common::wire::codec::encode;
use common::wire::frame;
use common::wire::messages::{
    EnrolAnswer, EnrolRefusal, PROTOCOL_MINOR, ToCoordinator, TransferAnswer, TransferRequest,
};
use coordinator::admin::Client;
use coordinator::status::{
    AbsenceReason, DeviceStatus, OutcomeStatus, Progress as Step, Quarantine, Status,
};
use lab::progress::Progress;
use tests::redteam::lies::{self, Lie};
use tests::redteam::stranger::{Stranger, half_open};
use tests::redteam::{Mallory, Session, hello, key, web};
use tests::rig::{Running, Terms, agents, operator, start};

/// Latecomers, and those who promise and do not keep it, are waited for this
/// long.
const GRACE_S: f64 = 1.0;
const AGENTS: usize = 5;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn address(running: &mut Running) -> SocketAddr {
    running.client.status().unwrap().address
}

/// A round that goes on beside whatever the test does.
struct Round(JoinHandle<Step>);

impl Round {
    fn begin(running: &Running) -> Self {
        let mut client: Client = running.fleet.client().unwrap();
        let task = running.task.clone();
        Self(thread::spawn(move || {
            client.run_round(Some(&task), |_| {}).unwrap()
        }))
    }

    /// Lets it go on while the test still holds what it holds, to its end.
    async fn goes_on_beside(self, running: &mut Running) {
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        while !self.0.is_finished() {
            looks.tick().await;
        }
        self.completes(running);
    }

    /// The round has to complete, with something of each honest device.
    fn completes(self, running: &mut Running) {
        let step = self.0.join().unwrap();
        let Step::Ended { outcome, .. } = step else {
            panic!("{step:?}")
        };
        assert!(
            matches!(outcome, OutcomeStatus::Completed { .. }),
            "{outcome:?}"
        );
        let status = running.client.status().unwrap();
        let last = status.tasks[0].history.last().unwrap();
        assert_eq!(last.accepted[&Kind::Moments], AGENTS as u32);
        assert_eq!(last.accepted[&Kind::Report], AGENTS as u32);
    }
}

fn device(status: &Status, id: DeviceId) -> &DeviceStatus {
    let mut devices = status.devices.iter();
    devices.find(|device| device.device == id).unwrap()
}

/// Tells these lies in answer to a call. Each is refused with its reason.
async fn tell(session: &Session, call: &common::wire::messages::Call, lies: &[Lie]) -> u32 {
    for lie in lies {
        let answer = session.give(key(call, lie.kind), &lie.bytes).await;
        let refused = TransferAnswer::Refused(lie.reason);
        assert_eq!(answer, refused, "{} of {}", lie.what, lie.kind);
        assert!(!lie.reason.is_innocent());
    }
    lies.len() as u32
}

#[test]
fn lying_members_are_quarantined() {
    let mut running = agents(AGENTS, GRACE_S, None);
    let address = address(&mut running);
    let token = running.client.create_token(60_000, 1).unwrap();
    let runtime = runtime();
    let id = runtime.block_on(async {
        let mallory = Mallory::join(address, &token).await;
        let mut session = mallory.session().await;
        let round = Round::begin(&running);
        let task = session.task().await;
        let call = session.call(Phase::Profile).await;
        let mut struck = tell(&session, &call, &lies::profiles(&task)).await;

        let (refused, own) = (TransferAnswer::Refused, key(&call, Kind::Profile));
        let not_its_name = BlobHash::of(b"something else");
        let answer = session.give_as(own, not_its_name, b"?").await;
        assert_eq!(answer, refused(Reason::HashMismatch));
        // The truth is taken once, and again without being counted twice.
        let profile = encode(&lies::profile(&task));
        for _ in 0..3 {
            assert_eq!(session.give(own, &profile).await, TransferAnswer::Accepted);
        }
        // Other rounds, other tasks, other names, other lengths.
        let mut other = own;
        other.round = RoundId(own.round.0 + 7);
        assert_eq!(session.give(other, b"?").await, refused(Reason::WrongRound));
        other = own;
        other.task = TaskHash([9; 32]);
        assert_eq!(
            session.give(other, b"?").await,
            refused(Reason::UnknownTask)
        );
        other = own;
        other.kind = Kind::Moments;
        assert_eq!(session.give(other, b"?").await, refused(Reason::WrongKind));
        let offer = |bytes| TransferRequest::Offer {
            key: own,
            blob: not_its_name,
            bytes,
        };
        for bytes in [u64::MAX, BLOB_BYTES_MAX + 1] {
            let answer = session.ask(offer(bytes)).await;
            assert_eq!(answer, refused(Reason::TooLarge), "not a byte is awaited");
        }
        let too_long = session.ask(offer(BLOB_BYTES_MAX)).await;
        assert_eq!(
            too_long,
            refused(Reason::TooLarge),
            "more than the task takes"
        );
        struck += 3;

        // Nothing that another device sent is to be had, nor a delta of it.
        assert_eq!(session.fetch(BlobHash::of(&profile)).await, None, "its own");
        let (blob, base) = (BlobHash::of(&profile), not_its_name);
        let against = session.ask(TransferRequest::FetchAgainst { blob, base });
        assert_eq!(against.await, TransferAnswer::NotFound);

        let call = session.call(Phase::Summarise).await;
        struck += tell(&session, &call, &lies::summaries(&task)[..3]).await;
        let status = running.client.status().unwrap();
        assert_eq!(device(&status, mallory.id).strikes, struck);
        assert_eq!(device(&status, mallory.id).peer_limits.quarantine, None);
        session.abstain(&call).await;

        let call = session.call(Phase::Contribute).await;
        let set = session.fetch(call.context.transfer.unwrap()).await.unwrap();
        let points = coordinator::validation::transfer_set(&task, &set).unwrap();
        let rest = lies::on_support(&task, points.points.len());
        let left = (coordinator::round::STRIKES_MAX - struck) as usize;
        tell(&session, &call, &rest[..left.min(rest.len())]).await;
        for _ in rest.len()..left {
            tell(&session, &call, &rest[..1]).await;
        }
        // Enough: whatever it says now is not looked at any more.
        let offer = session.give(key(&call, Kind::Moments), b"the truth").await;
        assert_eq!(offer, refused(Reason::NotAdmitted));
        round.goes_on_beside(&mut running).await;
        mallory.id
    });
    let status = running.client.status().unwrap();
    let mallory = device(&status, id);
    assert_eq!(mallory.strikes, coordinator::round::STRIKES_MAX);
    let quarantine = mallory.peer_limits.quarantine;
    assert_eq!(quarantine, Some(Quarantine::Contributions));
    assert!(mallory.peer_limits.struck_for.is_some());
    assert!(
        status
            .devices
            .iter()
            .all(|one| one.device == id || one.strikes == 0)
    );
    let (code, out, _) = operator(&running, &["device", "show", &id.to_string()]);
    assert_eq!(code, Some(0));
    assert!(out.contains("its contributions are refused"), "{out}");

    // It is not called any more, and the rest go on without it.
    Round::begin(&running).completes(&mut running);
    let status = running.client.status().unwrap();
    let last = status.tasks[0].history.last().unwrap();
    let its = last.absent.iter().filter(|one| one.device.device == id);
    let whys: Vec<_> = its.map(|one| one.why).collect();
    assert_eq!(whys, [AbsenceReason::Quarantined]);

    // Once it is mended, an operator lets it begin anew.
    let (code, _, _) = operator(&running, &["device", "pardon", &id.to_string()]);
    assert_eq!(code, Some(0));
    let status = running.client.status().unwrap();
    let pardoned = device(&status, id);
    assert_eq!(
        (pardoned.strikes, pardoned.peer_limits.quarantine),
        (0, None)
    );
    assert_eq!(pardoned.peer_limits.struck_for, None);
}

#[test]
fn a_member_that_breaks_the_protocol_is_locked_out() {
    // One of six is connected and says nothing for as long as it may.
    let mut running = start(Terms {
        agents: AGENTS,
        grace_s: GRACE_S,
        quorum: 0.8,
        ..Terms::default()
    });
    let address = address(&mut running);
    let token = running.client.create_token(60_000, 2).unwrap();
    let id = runtime().block_on(async {
        let slow = Mallory::join(address, &token).await;
        let slow_session = slow.session().await;
        // Every stream it may have, each half a frame long.
        let mut streams = Vec::new();
        let held = loop {
            let open = slow_session.connection.open_transfer();
            match tokio::time::timeout(Duration::from_millis(300), open).await {
                Ok(stream) => streams.push(stream.unwrap()),
                Err(_) => break streams.len(),
            }
            let torn = &frame::encode(&[0; 100]).unwrap()[..50];
            let stream = streams.last_mut().unwrap();
            stream.sender.send_blob(0, torn).await.unwrap();
        };
        let allowed = common::transport::Tuning::coordinator().streams_max as usize;
        assert_eq!(held, allowed - 1, "the control stream is one of them");

        let mallory = Mallory::join(address, &token).await;
        let newer = frame::encode(&encode(&hello(PROTOCOL_MINOR + 1))).unwrap();
        assert_eq!(
            mallory.thrown_out_for(&newer).await,
            CloseCode::ProtocolVersion
        );
        let mut endless = frame::encode(b"x").unwrap();
        endless[..4].fill(0xff);
        let garbage = frame::encode(&[0xee; 40]).unwrap();
        let early = ToCoordinator::DataChanged(TaskHash([1; 32]));
        let early = frame::encode(&encode(&early)).unwrap();
        let mut changed = frame::encode(b"checked").unwrap();
        changed[9] ^= 1;
        let twice = frame::encode(&encode(&hello(PROTOCOL_MINOR))).unwrap();
        let breaches = [endless, garbage, early, changed, twice.repeat(2)];
        for at in 0..VIOLATIONS_MAX as usize {
            let breach = &breaches[at % breaches.len()];
            let code = mallory.thrown_out_for(breach).await;
            assert_eq!(code, CloseCode::Violation, "breach {at}");
        }
        assert_eq!(mallory.refused_with().await, CloseCode::Quarantined);

        // The honest ones go on while the slow one still holds what it has.
        let round = Round::begin(&running);
        round.goes_on_beside(&mut running).await;
        assert!(!streams.is_empty());
        mallory.id
    });
    let status = running.client.status().unwrap();
    let peer_limits = device(&status, id).peer_limits;
    assert!(
        matches!(peer_limits.quarantine, Some(Quarantine::Sessions { seconds }) if seconds > 500),
        "{peer_limits:?}"
    );
    let (_, out, _) = operator(&running, &["device", "show", &id.to_string()]);
    assert!(out.contains("its sessions are refused for"), "{out}");
}

/// Small limits, so that few connections reach them.
const SMALL: &str = "[limits]\nconnections_per_address = 100\nhandshakes_per_address = 5\n\
    enrolments_per_address = 2\n[page]\nlisten = \"127.0.0.1:0\"\n";

#[test]
fn strangers_are_refused_and_keep_nobody_out() {
    let mut running = agents(AGENTS, GRACE_S, Some(SMALL));
    let address = address(&mut running);
    let page = running.fleet.page().unwrap().unwrap();
    let token: JoinToken = running.token.parse().unwrap();
    runtime().block_on(async {
        // Without a certificate, with other protocols, with a made-up fleet.
        let stranger = Stranger::at(66);
        let devices: &[u8] = b"alambic/1";
        let code = stranger.answer(address, devices).await;
        assert_eq!(code, Some(CloseCode::Unauthenticated));
        for alpn in [b"alambic/2".as_slice(), b"h3", b"alambic/"] {
            let code = stranger.answer(address, alpn).await;
            assert_eq!(code, Some(CloseCode::ProtocolVersion));
        }
        // Handshakes that are never gone on with: after this many of them,
        // addresses have to be shown, and those cost nothing.
        let _silent = half_open(address, 67, 2 * VALIDATE_HANDSHAKES_ABOVE).await;
        let metrics = until(page, |metrics| {
            limited(metrics, "address_validation") >= VALIDATE_HANDSHAKES_ABOVE as f64
        });
        let metrics = metrics.await;
        let open = metrics["alambic_open{what=\"handshakes\"}"];
        assert!(open <= VALIDATE_HANDSHAKES_ABOVE as f64, "{open}");
        // From an address that shows itself: so often, and then no more.
        let stranger = Stranger::at(68);
        let mut heard = 0;
        let code = loop {
            match stranger.answer(address, devices).await {
                Some(CloseCode::Unauthenticated) => heard += 1,
                other => break other,
            }
            assert!(heard < 1_000, "it is heard for ever");
        };
        assert_eq!(code, Some(CloseCode::Overloaded));
        assert!(heard >= 50, "fifty may come at once, {heard} were heard");

        // Wrong secrets are told so until they come too often.
        let guesser = Stranger::at(70);
        let mut told = 0;
        let code = loop {
            match guesser.guess(address, &token).await {
                Ok(EnrolAnswer::Refused(EnrolRefusal::UnknownToken)) => told += 1,
                Ok(other) => panic!("{other:?}"),
                Err(code) => break code,
            }
            assert!(told < 1_000, "it may guess for ever");
        };
        assert_eq!(code, CloseCode::Overloaded);
        assert!(told >= 20, "twenty may guess at once, {told} did");

        // Connections that come to join and then say nothing.
        let idle = Stranger::at(69);
        let mut held = Vec::new();
        for _ in 0..120 {
            if let Ok(connection) = idle.connect(address, b"alambic-enrol/1").await {
                held.push(connection);
            }
        }
        let metrics = web::metrics(page).await;
        let open = metrics["alambic_open{what=\"anonymous\"}"];
        assert!((1.0..=100.0).contains(&open), "{open}");
        for limit in ["handshakes_per_address", "enrolments"] {
            assert!(limited(&metrics, limit) > 0.0, "{limit}");
        }

        // A device comes back in the middle of all that.
        running.fleet.crash_agent(0).unwrap();
        let mut progress = Progress::new(true);
        running
            .fleet
            .wait_connected(&mut running.client, AGENTS, &mut progress)
            .unwrap();
        let round = Round::begin(&running);
        round.goes_on_beside(&mut running).await;
    });
    let status = running.client.status().unwrap();
    assert_eq!(status.devices.len(), AGENTS, "nobody else has joined");
    assert!(status.devices.iter().all(|device| device.strikes == 0));
}

/// How often a limit was met.
fn limited(metrics: &std::collections::BTreeMap<String, f64>, limit: &str) -> f64 {
    let name = format!("alambic_limited_total{{limit=\"{limit}\"}}");
    metrics.get(&name).copied().unwrap_or(0.0)
}

/// The metrics once they say so.
async fn until(
    page: SocketAddr,
    says: impl Fn(&std::collections::BTreeMap<String, f64>) -> bool,
) -> std::collections::BTreeMap<String, f64> {
    let mut looks = tokio::time::interval(Duration::from_millis(700));
    for _ in 0..40 {
        looks.tick().await;
        let metrics = web::metrics(page).await;
        if says(&metrics) {
            return metrics;
        }
    }
    panic!("the metrics never say so: {:?}", web::metrics(page).await);
}

#[test]
fn whoever_floods_the_page_is_slowed_down_and_no_round_is() {
    let configuration = "[page]\nlisten = \"127.0.0.1:0\"\n";
    let mut running = agents(AGENTS, GRACE_S, Some(configuration));
    let page = running.fleet.page().unwrap().unwrap();
    runtime().block_on(async {
        let round = Round::begin(&running);
        let answered = web::flood(page, "/page.css").await;
        assert!(answered >= 200, "two hundred at once, {answered} were");
        // Monitoring still sees what goes on.
        assert!(web::metrics(page).await.len() > 20);
        let held = web::slow_readers(page, 200).await;
        round.goes_on_beside(&mut running).await;
        drop(held);
        assert!(web::metrics(page).await.len() > 20);
    });
}
