//! A gateway between real agents and a real coordinator.
#![allow(clippy::unwrap_used)]

use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::ids::{BlobHash, RoundId, Time};
use common::round::{ContributionKey, Kind, Phase};
use common::transport::{
    ClientIdentity, CloseCode, Connection, Protocol, Search, Stream, TransportError, Tuning,
};
use common::trust::authority::{Authority, SigningRequest};
use common::trust::certificate::Credentials;
use common::trust::clock::Clock;
use common::trust::device_key::DeviceKey;
use common::trust::offer::SignedOffer;
use common::wire::codec::{decode, encode};
use common::wire::gateway::{
    ForDevice, FromDevice, FromGateway, GATEWAY_MINOR, Purpose, ToGateway,
};
use common::wire::messages::{Hello, ToCoordinator, TransferAnswer, TransferRequest};
use coordinator::admin::{AdminError, Client, Request};
use coordinator::gateway::identity::GatewayIdentity;
use coordinator::status::{OutcomeStatus, Progress as Step, Status};
use edge_agent::identity::Identity;
use edge_agent::state::StateDir;
use serde_json::Value;
use tests::gateway::Gateway;
use tests::relay::Conditions;
use tests::rig::{
    Running, Terms, acknowledged_is_held, agent, look_until, operator, start, wait_until_ended,
};

const AGENTS: usize = 3;

fn behind_a_gateway(configuration: Option<&str>) -> Running {
    start(Terms {
        agents: AGENTS,
        gateway: true,
        configuration: configuration.map(str::to_owned),
        ..Terms::default()
    })
}

fn gateway(running: &mut Running) -> &mut Gateway {
    running.gateway.as_mut().unwrap()
}

fn completed(status: &Status, round: usize) -> bool {
    let ended = status.tasks[0].history.get(round - 1);
    ended.is_some_and(|ended| matches!(ended.outcome, OutcomeStatus::Completed { .. }))
}

/// The version that a device uses.
fn in_use(running: &Running, index: usize) -> Option<String> {
    let (_, out, _) = agent(running, index, &["student", "current", "--json"]);
    let said: Value = serde_json::from_str(&out).ok()?;
    Some(said.get(0)?.get("version")?.as_str()?.to_owned())
}

/// Begins a round, and waits until a contribution of the contribute phase was
/// taken. The watch ends with the round, or with the coordinator.
fn begin_round(running: &Running) -> JoinHandle<Result<Step, AdminError>> {
    let mut watcher: Client = running.fleet.client().unwrap();
    let task = running.task.clone();
    let (send, seen) = mpsc::channel();
    let watching = thread::spawn(move || {
        watcher.run_round(Some(&task), |step| {
            let _ = send.send(step.clone());
        })
    });
    let reached = seen.iter().any(|step| {
        matches!(
            step,
            Step::Accepted {
                kind: Kind::Labels | Kind::Moments,
                ..
            }
        )
    });
    assert!(reached, "the contribute phase was not reached");
    watching
}

#[test]
fn a_round_through_a_gateway_installs_a_student_on_each_device() {
    let mut running = behind_a_gateway(None);
    let task = running.task.clone();
    running.client.run_round(Some(&task), |_| {}).unwrap();
    let status = running.client.status().unwrap();
    assert!(completed(&status, 1), "{:?}", status.tasks[0].history);
    assert_eq!(status.devices.len(), AGENTS, "a gateway is no device");
    for device in &status.devices {
        assert_eq!(device.gateway.as_ref().unwrap().label, "hall");
        assert!(device.uplink_bytes > 1_000 && device.handshake_bytes > 1_000);
    }
    look_until(
        || (0..AGENTS).all(|index| in_use(&running, index).is_some()),
        || "a student was not installed".to_owned(),
    );
    assert!(acknowledged_is_held(&mut running, AGENTS) >= 4 * AGENTS);

    // Task, normaliser, transfer set and student crossed once, and went to each.
    let (fetched, served) = {
        let gateway = gateway(&mut running);
        (
            gateway.metric("alambic_gateway_fetched_bytes_total"),
            gateway.metric("alambic_gateway_served_bytes_total"),
        )
    };
    assert_eq!(served, AGENTS as u64 * fetched, "{fetched}");
    println!("{fetched} bytes of blobs crossed, {served} were given to {AGENTS} devices");
    let gateway = gateway(&mut running);
    assert_eq!(gateway.metric("alambic_gateway_devices"), AGENTS as u64);
    assert!(gateway.get("/healthz").contains("200 OK"));

    // It tells the coordinator within some seconds.
    look_until(
        || {
            let status = running.client.status().unwrap();
            let one = &status.gateways[0];
            let told = one.link.map(|link| link.served_bytes);
            one.devices == AGENTS as u64 && told == Some(served)
        },
        || "the coordinator is not told what was saved".to_owned(),
    );
    let (code, out, err) = operator(&running, &["gateway", "list"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("hall") && out.contains("connected"), "{out}");
}

#[test]
fn a_revoked_device_is_cut_off_at_the_gateway() {
    let mut running = behind_a_gateway(None);
    let revoked = running.client.status().unwrap().devices[1].clone();
    let index: usize = revoked.label.trim_start_matches("device-").parse().unwrap();
    let order = Request::RevokeDevice {
        device: revoked.device,
        reason: "stolen".to_owned(),
    };
    let begun = Instant::now();
    running.client.ask(&order).unwrap();
    look_until(
        || gateway(&mut running).metric("alambic_gateway_devices") == AGENTS as u64 - 1,
        || "the gateway keeps a revoked device".to_owned(),
    );
    let cut = begun.elapsed();
    assert!(cut < Duration::from_secs(5), "{cut:?}");
    println!("a revoked device's connection is gone {cut:?} after the order");

    // The gateway knows by itself: with the coordinator away too, which may have ended
    // the session before it said for good who is out.
    look_until(
        || gateway(&mut running).metric("alambic_gateway_revoked_devices") == 1,
        || "the gateway is not told who is revoked".to_owned(),
    );
    running.fleet.kill_coordinator().unwrap();
    let log = running.fleet.agent_home(index).join("agent.log");
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    running.fleet.kill_agent(index).unwrap();
    std::fs::write(&log, "").unwrap();
    running.fleet.start_agent(index).unwrap();
    look_until(|| said().contains("was revoked"), said);
    running.fleet.start_coordinator().unwrap();
    let mut client = running.fleet.client().unwrap();
    let devices = client.status().unwrap().devices;
    let device = devices.iter().find(|one| one.device == revoked.device);
    assert!(!device.unwrap().connected);
}

#[test]
fn a_device_certificate_makes_no_gateway() {
    let mut running = behind_a_gateway(None);
    let state = StateDir::at(&running.fleet.agent_home(0).join("state"));
    let identity = Identity::load(&state).unwrap();
    let address = running.client.status().unwrap().address.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let search = |protocol| Search {
        identity: identity.client().clone(),
        protocol,
        tuning: Tuning::gateway(),
        clock: Clock::system(),
    };
    let refused = runtime.block_on(search(Protocol::Gateways).connect(&address));
    let code = CloseCode::NotAGateway;
    assert!(
        matches!(refused, Err(TransportError::Closed { code: c, .. }) if c == code),
        "{refused:?}"
    );
    // And a gateway has no session of its own, nor does anybody join at it.
    let enrol = ["enrol", "--again", "--coordinator"];
    let at = gateway(&mut running).address.to_string();
    let token = running.client.create_token(60_000, 1).unwrap();
    let arguments = [&enrol[..], &[&at, "--token", &token]].concat();
    running.fleet.kill_agent(0).unwrap();
    let (code, _, said) = agent(&running, 0, &arguments);
    assert_ne!(code, Some(0));
    assert!(said.contains("is a gateway"), "{said}");
    let tokens = operator(&running, &["token", "list", "--json"]).1;
    let tokens: Value = serde_json::from_str(&tokens).unwrap();
    let used = tokens.as_array().unwrap().iter();
    let used: usize = used
        .map(|one| one["used_by"].as_array().unwrap().len())
        .sum();
    assert_eq!(used, AGENTS + 1, "the secret was not used, nor even said");
}

#[test]
fn a_round_outlives_its_gateway() {
    let mut running = behind_a_gateway(None);
    let watching = begin_round(&running);
    let begun = Instant::now();
    gateway(&mut running).kill();
    gateway(&mut running).run();
    watching.join().unwrap().unwrap();
    let status = running.client.status().unwrap();
    assert!(completed(&status, 1), "{:?}", status.tasks[0].history);
    let accepted = &status.tasks[0].history[0].accepted;
    assert_eq!(accepted.get(&Kind::Moments), Some(&(AGENTS as u32)));
    println!(
        "the round ended {:?} after its gateway was killed",
        begun.elapsed()
    );
    acknowledged_is_held(&mut running, AGENTS);
}

#[test]
fn a_round_outlives_a_cut_between_gateway_and_coordinator() {
    let mut running = start(Terms {
        agents: AGENTS,
        gateway: true,
        conditions: Some(Conditions::default()),
        deadline_s: 150,
        ..Terms::default()
    });
    let watching = begin_round(&running);
    let begun = Instant::now();
    let cut = |running: &Running, is_cut| {
        let relay = running.relay.as_ref().unwrap();
        relay.change(|conditions| conditions.is_cut = is_cut);
    };
    cut(&running, true);
    // Until each end has given the other up.
    look_until(
        || gateway(&mut running).log().contains("no coordinator"),
        || "the gateway does not notice".to_owned(),
    );
    look_until(
        || running.client.status().unwrap().gateways[0].link.is_none(),
        || "the coordinator does not notice".to_owned(),
    );
    let gave_up = begun.elapsed();
    let devices = gateway(&mut running).metric("alambic_gateway_devices");
    assert_eq!(devices, AGENTS as u64, "it keeps its devices meanwhile");
    cut(&running, false);
    watching.join().unwrap().unwrap();
    let status = running.client.status().unwrap();
    assert!(completed(&status, 1), "{:?}", status.tasks[0].history);
    let accepted = &status.tasks[0].history[0].accepted;
    for kind in [
        Kind::Profile,
        Kind::Summary,
        Kind::Labels,
        Kind::Moments,
        Kind::Report,
    ] {
        assert_eq!(accepted.get(&kind), Some(&(AGENTS as u32)), "{kind}");
    }
    println!(
        "both ends gave up {gave_up:?} after the cut; the round ended {:?} after it",
        begun.elapsed()
    );
    acknowledged_is_held(&mut running, AGENTS);
}

#[test]
fn a_gateway_keeps_its_devices_while_the_coordinator_restarts() {
    let mut running = behind_a_gateway(None);
    let watching = begin_round(&running);
    running.fleet.kill_coordinator().unwrap();
    let _ = watching.join().unwrap();
    let log = |running: &mut Running| gateway(running).log();
    look_until(
        || log(&mut running).contains("no coordinator"),
        || "the gateway does not notice".to_owned(),
    );
    assert_eq!(
        gateway(&mut running).metric("alambic_gateway_devices"),
        AGENTS as u64
    );
    assert!(gateway(&mut running).get("/healthz").contains("503"));
    let begun = Instant::now();
    running.fleet.start_coordinator().unwrap();
    look_until(
        || {
            let mut client = running.fleet.client().unwrap();
            let devices = client.status().unwrap().devices;
            devices.iter().filter(|one| one.connected).count() == AGENTS
        },
        || "the devices are not back".to_owned(),
    );
    println!(
        "all devices have sessions {:?} after the start",
        begun.elapsed()
    );
    wait_until_ended(&running.fleet, 1);
    let status = running.fleet.client().unwrap().status().unwrap();
    assert!(completed(&status, 1), "{:?}", status.tasks[0].history);
}

#[test]
fn devices_and_gateway_renew_their_certificates() {
    let short = "[certificate]\ndevice_lifetime = \"20s\"\n";
    let mut running = behind_a_gateway(Some(short));
    let expiries = |running: &mut Running| -> Vec<Time> {
        let status = running.client.status().unwrap();
        let devices = status.devices.iter().filter_map(|one| one.expires);
        let gateways = status.gateways.iter().map(|one| one.expires);
        devices.chain(gateways).collect()
    };
    let first = expiries(&mut running);
    assert_eq!(first.len(), AGENTS + 1);
    look_until(
        || {
            let now = expiries(&mut running);
            now.iter().zip(&first).all(|(now, first)| now > first)
        },
        || "a certificate was not renewed".to_owned(),
    );
    // The sessions that the first certificates opened are over now.
    let last = *first.iter().max().unwrap();
    look_until(
        || Clock::system().now() > last,
        || "the first certificates do not end".to_owned(),
    );
    let task = running.task.clone();
    running.client.run_round(Some(&task), |_| {}).unwrap();
    let status = running.client.status().unwrap();
    assert!(completed(&status, 1), "{:?}", status.tasks[0].history);
    assert!(status.devices.iter().all(|one| one.gateway.is_some()));
}

#[test]
fn a_revoked_gateway_passes_nobody_on() {
    let mut running = behind_a_gateway(None);
    let at = gateway(&mut running).address.to_string();
    let direct = running.client.status().unwrap().address;
    let (code, out, err) = operator(&running, &["gateway", "revoke", "hall"]);
    assert_eq!(code, Some(0), "{out}{err}");
    look_until(
        || {
            let status = running.client.status().unwrap();
            let gateway = &status.gateways[0];
            gateway.revoked && gateway.link.is_none() && status.members() == (AGENTS, 0)
        },
        || "a revoked gateway goes on".to_owned(),
    );
    gateway(&mut running).kill();
    gateway(&mut running).run();
    look_until(
        || gateway(&mut running).log().contains("was revoked"),
        || "a revoked gateway came back".to_owned(),
    );
    assert_eq!(running.client.status().unwrap().members(), (AGENTS, 0));
    // Whoever knows another way is sent there.
    let home = running.fleet.agent_home(0).join("state");
    let search = Search {
        identity: Identity::load(&StateDir::at(&home))
            .unwrap()
            .client()
            .clone(),
        protocol: Protocol::Devices,
        tuning: Tuning::device(),
        clock: Clock::system(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let alone = runtime.block_on(search.connect(&at));
    assert!(
        matches!(alone, Err(TransportError::NotLeading { leader: None })),
        "{alone:?}"
    );
    let both = format!("{at},{direct}");
    let (_, connection) = runtime.block_on(search.connect(&both)).unwrap();
    assert_eq!(connection.remote_address(), direct);
}

/// A program that has a gateway's key and does not keep to what a gateway does.
struct Hostile {
    connection: Connection,
    _control: Stream,
    _dialler: common::transport::Dialler,
    sessions: u64,
}

impl Hostile {
    async fn connect(running: &Running, address: &str) -> Self {
        let state = running.fleet.folder().join("gateway").join("state");
        let search = Search {
            identity: GatewayIdentity::load(&state).unwrap().client().unwrap(),
            protocol: Protocol::Gateways,
            tuning: Tuning::gateway(),
            clock: Clock::system(),
        };
        let (dialler, connection) = search.connect(address).await.unwrap();
        let mut control = connection.open_control().await.unwrap();
        let hello = FromGateway::Hello {
            minor: GATEWAY_MINOR,
            program: "hostile".to_owned(),
        };
        control.send(&encode(&hello)).await.unwrap();
        loop {
            let frame = control.recv().await.unwrap().unwrap();
            if decode::<ToGateway>(&frame).unwrap() == ToGateway::Ready {
                break;
            }
        }
        Self {
            connection,
            _control: control,
            _dialler: dialler,
            sessions: 0,
        }
    }

    /// Says that the device with this certificate is here; what it is told first
    /// but that the session is open, and the session.
    async fn claims(&mut self, certificate: Vec<u8>) -> (ForDevice, u64, Stream) {
        self.sessions += 1;
        let session = self.sessions;
        let purpose = Purpose::Session {
            session,
            certificate,
            address: ([10, 0, 0, 1], 1).into(),
        };
        let hello = ToCoordinator::Hello(Hello {
            minor: 0,
            agent: "hostile".to_owned(),
            installed: Vec::new(),
            instance: 1,
            clock: Time(0),
        });
        let mut stream = self.connection.open_transfer().await.unwrap();
        stream.send(&encode(&purpose)).await.unwrap();
        // It may be refused already.
        let _ = stream
            .send(&encode(&FromDevice::Said(encode(&hello))))
            .await;
        loop {
            let frame = stream.recv().await.unwrap().unwrap();
            match decode::<ForDevice>(&frame).unwrap() {
                ForDevice::Open => {}
                told => return (told, session, stream),
            }
        }
    }

    /// Offers something in a session.
    async fn offers(
        &self,
        session: u64,
        offer: TransferRequest,
    ) -> Result<TransferAnswer, TransportError> {
        let mut stream = self.connection.open_transfer().await.unwrap();
        let purpose = Purpose::Transfer { session };
        stream.send(&encode(&purpose)).await.unwrap();
        let answer = stream.ask(&encode(&offer)).await?;
        Ok(decode(&answer.unwrap()).unwrap())
    }
}

#[test]
fn a_gateway_cannot_contribute_for_a_device() {
    let mut running = behind_a_gateway(None);
    let status = running.client.status().unwrap();
    let address = status.address.to_string();
    let states = [0, 1].map(|index| {
        let state = running.fleet.agent_home(index).join("state");
        Identity::load(&StateDir::at(&state)).unwrap()
    });
    let credentials = |index: usize| match states[index].client() {
        ClientIdentity::Enrolled { credentials, .. } => credentials.clone(),
        ClientIdentity::Enrolling { .. } => panic!("it has joined"),
    };
    let (own, other) = (credentials(0), credentials(1));
    let key = ContributionKey {
        task: status.tasks[0].task,
        transfer: None,
        round: RoundId(1),
        phase: Phase::Profile,
        kind: Kind::Profile,
    };
    let (blob, bytes) = (BlobHash([7; 32]), 100);
    let signed = |by: &Credentials, bytes: u64| {
        let device = states[0].membership.device;
        let offer = SignedOffer {
            device,
            key,
            blob,
            bytes,
        };
        offer.sign(by.key()).unwrap()
    };
    let with = |bytes, signature| TransferRequest::SignedOffer {
        key,
        blob,
        bytes,
        signature,
    };
    let whole = |signature| TransferRequest::Whole {
        key,
        blob,
        bytes,
        signature,
    };
    gateway(&mut running).kill();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut hostile = Hostile::connect(&running, &address).await;
        let certificate = own.chain()[0].to_vec();
        let (told, session, _held) = hostile.claims(certificate.clone()).await;
        assert!(matches!(told, ForDevice::Told(_)), "{told:?}");
        let forged = [
            TransferRequest::Offer { key, blob, bytes },
            with(bytes, [0; 64]),
            with(bytes, signed(&other, bytes)),
            with(bytes, signed(&own, bytes + 1)),
            whole(None),
            whole(Some(signed(&other, bytes))),
        ];
        for offer in forged {
            let answer = hostile.offers(session, offer).await;
            let code = CloseCode::Violation;
            assert!(
                matches!(answer, Err(TransportError::StreamGivenUp { code: c }) if c == code),
                "{offer:?}: {answer:?}"
            );
        }
        // What the device did sign is looked at: no round is open.
        let answer = hostile
            .offers(session, with(bytes, signed(&own, bytes)))
            .await;
        assert!(
            matches!(answer, Ok(TransferAnswer::Refused(_))),
            "{answer:?}"
        );

        // Nor does it speak for anybody whom the coordinator would not let in.
        let stranger = Authority::create("other", Time(1_800_000_000_000)).unwrap();
        let request = DeviceKey::generate().unwrap().signing_request().unwrap();
        let request = SigningRequest::parse(&request).unwrap();
        let made_up = stranger
            .sign_device(&request, Time(1_800_000_000_000), 30)
            .unwrap();
        for certificate in [made_up.to_vec(), b"none".to_vec()] {
            let (told, _, _) = hostile.claims(certificate).await;
            let code = CloseCode::Unauthenticated.number();
            assert!(
                matches!(told, ForDevice::Close { code: c, .. } if c == code),
                "{told:?}"
            );
        }
    });
    // The device is not blamed for what its gateway said.
    let devices = running.client.status().unwrap().devices;
    let device = devices
        .iter()
        .find(|one| one.device == states[0].membership.device);
    let device = device.unwrap();
    assert_eq!((device.peer_limits.violations, device.strikes), (0, 0));
}
