//! Who gets in, who does not, and what each side learns of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue};
use rustls::{NamedGroup, client::Tls13ClientSessionValue};
use rustls_pki_types::{PrivateKeyDer, ServerName};

use super::*;
use crate::verifier::{CoordinatorVerifier, Trust};
use protocol::trust::authority::SERVER_NAME;
use protocol::trust::certificate::Fingerprint;

fn device_of(identity: &ClientIdentity) -> protocol::ids::DeviceId {
    match identity {
        ClientIdentity::Enrolled { credentials, .. } => credentials.facts().unwrap().device,
        ClientIdentity::Enrolling { .. } => unreachable!("an enrolled device was made"),
    }
}

#[tokio::test]
async fn the_right_pin_admits_an_enrolling_device() {
    let fleet = Fleet::new();
    let ca_pin = fleet.authority.fingerprint();
    let joining = ClientIdentity::Enrolling { ca_pin };
    let (server, device) = fleet.meet(&joining, Protocol::Enrolment).await;
    let (server, device) = (server.unwrap(), device.unwrap());
    assert_eq!(server.peer(), PeerIdentity::Anonymous);
    assert_eq!(server.protocol(), Protocol::Enrolment);
    assert_eq!(device.peer(), PeerIdentity::Coordinator);
    assert!(device.peer_chain().contains(fleet.authority.certificate()));

    let mut here = device.open_control().await.unwrap();
    here.send(b"join").await.unwrap();
    let mut there = server.accept_control().await.unwrap();
    assert_eq!(there.recv().await.unwrap().unwrap(), b"join");
    there.send(b"welcome").await.unwrap();
    assert_eq!(here.recv().await.unwrap().unwrap(), b"welcome");
}

#[tokio::test]
async fn a_device_with_the_wrong_pin_gives_nothing_away() {
    let fleet = Fleet::new();
    let pinned = Fingerprint([7; 32]);
    let joining = ClientIdentity::Enrolling { ca_pin: pinned };
    let (server, device) = fleet.meet(&joining, Protocol::Enrolment).await;
    let shown = fleet.authority.fingerprint();
    let error = device.unwrap_err();
    assert!(
        matches!(&error, TransportError::PinMismatch { pinned: p, sent: Some(s) } if *p == pinned && *s == shown),
        "{error}"
    );
    assert!(error.advice().is_some());
    // The handshake never completed, so no byte of the device's was readable.
    assert!(matches!(
        server.unwrap_err(),
        TransportError::RefusedUs { .. }
    ));
}

#[tokio::test]
async fn the_pinned_authority_must_have_signed_the_server() {
    // A man in the middle: his own certificate, with the real authority's
    // certificate, which is no secret, behind it.
    let real = Authority::create("test", NOW).unwrap();
    let fleet = Fleet::with(|settings| {
        let mallory = Authority::create("test", NOW).unwrap();
        let own = mallory.server_certificate(&[], NOW, 90).unwrap();
        let chain = vec![own.chain()[0].clone(), real.certificate().clone()];
        settings.credentials =
            protocol::trust::certificate::Credentials::new(chain, own.key().clone_key()).unwrap();
    });
    let ca_pin = real.fingerprint();
    let joining = ClientIdentity::Enrolling { ca_pin };
    let (_, device) = fleet.meet(&joining, Protocol::Enrolment).await;
    assert!(matches!(device, Err(TransportError::ForeignServer)));
}

#[tokio::test]
async fn a_device_certificate_cannot_pass_for_the_coordinator() {
    let real = Authority::create("test", NOW).unwrap();
    let ClientIdentity::Enrolled { credentials, .. } = enrolled(&real, &real) else {
        unreachable!("an enrolled device was made");
    };
    let fleet = Fleet::with(|settings| settings.credentials = credentials);
    let (_, device) = fleet.meet(&enrolled(&real, &real), Protocol::Devices).await;
    assert!(matches!(device, Err(TransportError::UnfitServer { .. })));
}

#[tokio::test]
async fn a_device_is_known_by_its_certificate() {
    let fleet = Fleet::new();
    let identity = fleet.device();
    let (server, device) = fleet.meet(&identity, Protocol::Devices).await;
    let (server, device) = (server.unwrap(), device.unwrap());
    assert_eq!(server.peer(), PeerIdentity::Device(device_of(&identity)));
    assert_eq!(server.peer_certificate().unwrap().not_before, NOW);
    assert_eq!(device.peer_certificate().unwrap().not_before, NOW);
    assert_eq!(
        device.peer_chain().len(),
        1,
        "only joiners need the authority's"
    );
}

#[tokio::test]
async fn without_a_certificate_there_is_no_work() {
    let fleet = Fleet::new();
    let ca_pin = fleet.authority.fingerprint();
    let (config, _) = tls::client(
        Trust::Authorities(vec![fleet.authority.certificate().clone()]),
        None,
        Protocol::Devices,
        Clock::fixed(NOW),
        &Tuning::device(),
    )
    .unwrap();
    let endpoint = quinn::Endpoint::client(ANY_PORT).unwrap();
    let connecting = endpoint
        .connect_with(config, fleet.address, SERVER_NAME)
        .unwrap();
    let (server, device) = tokio::join!(
        async { fleet.listener.next().await.unwrap().admit().await },
        async {
            // Rude: speaks before it is admitted.
            let connection = connecting.await.unwrap();
            let mut stream = connection.open_uni().await;
            if let Ok(stream) = &mut stream {
                let _ = stream.write_all(b"contribution").await;
            }
            TransportError::from(connection.closed().await)
        }
    );
    let code = CloseCode::Unauthenticated;
    assert!(matches!(server, Err(TransportError::NotAdmitted { code: c }) if c == code));
    assert!(matches!(device, TransportError::Closed { code: c, .. } if c == code));

    // The same through the listener, with a code from `connect` itself.
    let joining = ClientIdentity::Enrolling { ca_pin };
    let (_, device) = fleet.meet(&joining, Protocol::Devices).await;
    // Workers are not shown the authority, so a pin alone cannot be checked.
    assert!(matches!(
        device,
        Err(TransportError::PinMismatch { sent: None, .. })
    ));
}

#[tokio::test]
async fn a_device_of_another_authority_is_refused() {
    let fleet = Fleet::new();
    let other = Authority::create("test", NOW).unwrap();
    for protocol in Protocol::ALL {
        let stranger = enrolled(&other, &fleet.authority);
        let (server, device) = fleet.meet(&stranger, protocol).await;
        assert!(matches!(server, Err(TransportError::RefusedPeer { .. })));
        let error = device.unwrap_err();
        assert!(matches!(error, TransportError::RefusedUs { .. }), "{error}");
        assert!(error.advice().unwrap().contains("enrol"));
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused() {
    let fleet = Fleet::new();
    let other = Authority::create("test", NOW).unwrap();
    let (_, device) = fleet
        .meet(&enrolled(&other, &other), Protocol::Devices)
        .await;
    assert!(matches!(device, Err(TransportError::ForeignServer)));
}

#[tokio::test]
async fn an_expired_device_may_renew_and_not_work() {
    let after = |days| Clock::fixed(NOW.after_ms(days * DAY_MS));
    let late = Fleet::with(|settings| settings.clock = after(31));
    let identity = late.device();
    let (server, device) = late.meet(&identity, Protocol::Devices).await;
    let code = CloseCode::Expired;
    assert!(matches!(server, Err(TransportError::NotAdmitted { code: c }) if c == code));
    assert!(matches!(device, Err(TransportError::Closed { code: c, .. }) if c == code));
    let (server, device) = late.meet(&identity, Protocol::Enrolment).await;
    let lapsed = PeerIdentity::LapsedDevice(device_of(&identity));
    assert_eq!(server.unwrap().peer(), lapsed);
    device.unwrap();

    let too_late = Fleet::with(|settings| settings.clock = after(211));
    let (server, _) = too_late.meet(&too_late.device(), Protocol::Enrolment).await;
    assert!(matches!(server, Err(TransportError::NotAdmitted { code: c }) if c == code));
}

#[tokio::test]
async fn server_certificates_are_judged_by_a_set_clock() {
    let mut fleet = Fleet::new();
    let rebind = |time| Dialler::bind(fleet.address, Tuning::device(), Clock::fixed(time)).unwrap();
    let (late, reset) = (rebind(NOW.after_ms(91 * DAY_MS)), rebind(Time(0)));
    fleet.dialler = late;
    let (_, device) = fleet.meet(&fleet.device(), Protocol::Devices).await;
    assert!(matches!(device, Err(TransportError::ExpiredServer)));
    fleet.dialler = reset;
    let (server, device) = fleet.meet(&fleet.device(), Protocol::Devices).await;
    server.unwrap();
    device.unwrap();
}

#[tokio::test]
async fn a_revoked_device_finds_every_door_closed() {
    let revoked = Arc::new(AtomicBool::new(false));
    let asked = revoked.clone();
    let fleet = Fleet::with(|settings| {
        settings.revoked = Arc::new(move |_| asked.load(Ordering::SeqCst));
    });
    let identity = fleet.device();
    let (server, _device) = fleet.meet(&identity, Protocol::Devices).await;
    server.unwrap();
    revoked.store(true, Ordering::SeqCst);
    for protocol in Protocol::ALL {
        let (server, device) = fleet.meet(&identity, protocol).await;
        let code = CloseCode::Revoked;
        assert!(matches!(server, Err(TransportError::NotAdmitted { code: c }) if c == code));
        assert!(matches!(device, Err(TransportError::Closed { code: c, .. }) if c == code));
    }
}

#[tokio::test]
async fn certificates_can_be_exchanged_while_the_port_stays_open() {
    let fleet = Fleet::new();
    let old = fleet.device();
    let (_server, before) = fleet.connected().await;
    let next = Authority::create("next", NOW).unwrap();
    let mut both = settings(&next);
    both.authorities.push(fleet.authority.certificate().clone());
    fleet.listener.replace(both).unwrap();
    let ClientIdentity::Enrolled {
        credentials,
        mut authorities,
    } = old.clone()
    else {
        unreachable!("an enrolled device was made");
    };
    let (_, unaware) = fleet.meet(&old, Protocol::Devices).await;
    assert!(matches!(unaware, Err(TransportError::ForeignServer)));
    authorities.push(next.certificate().clone());
    let aware = ClientIdentity::Enrolled {
        credentials,
        authorities,
    };
    let (server, device) = fleet.meet(&aware, Protocol::Devices).await;
    assert!(server.is_ok() && device.is_ok());
    assert!(
        before.open_transfer().await.is_ok(),
        "open connections stay"
    );
}

#[tokio::test]
async fn a_peer_of_another_protocol_version_is_told_so() {
    let fleet = Fleet::new();
    for names in [vec![b"alambic/2".to_vec()], vec![]] {
        let (config, _) = greedy_client(&fleet, names);
        let endpoint = quinn::Endpoint::client(ANY_PORT).unwrap();
        let connecting = endpoint
            .connect_with(config, fleet.address, SERVER_NAME)
            .unwrap();
        let (server, device) = tokio::join!(
            async { fleet.listener.next().await.unwrap().admit().await },
            async { TransportError::from(connecting.await.unwrap_err()) }
        );
        assert!(matches!(server, Err(TransportError::NoCommonProtocol)));
        assert!(matches!(device, TransportError::NoCommonProtocol));
    }
}

/// Counts the session tickets a server offers.
#[derive(Debug, Default)]
struct Tickets(AtomicUsize);

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

/// A device that would gladly resume a session and send early data.
fn greedy_client(fleet: &Fleet, alpn: Vec<Vec<u8>>) -> (quinn::ClientConfig, Arc<Tickets>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let trust = Trust::Authorities(vec![fleet.authority.certificate().clone()]);
    let verifier = CoordinatorVerifier::new(
        trust,
        Protocol::Devices,
        Clock::fixed(NOW),
        provider.clone(),
    );
    let ClientIdentity::Enrolled { credentials, .. } = fleet.device() else {
        unreachable!("an enrolled device was made");
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(
            credentials.chain().to_vec(),
            PrivateKeyDer::Pkcs8(credentials.key().clone_key()),
        )
        .unwrap();
    let tickets = Arc::new(Tickets::default());
    config.alpn_protocols = alpn;
    config.resumption = Resumption::store(tickets.clone());
    config.enable_early_data = true;
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
    (quinn::ClientConfig::new(Arc::new(crypto)), tickets)
}

#[tokio::test]
async fn no_session_can_be_resumed_and_no_early_data_sent() {
    let fleet = Fleet::new();
    let (config, tickets) = greedy_client(&fleet, vec![Protocol::Devices.alpn().to_vec()]);
    let endpoint = quinn::Endpoint::client(ANY_PORT).unwrap();
    for _ in 0..2 {
        let connecting = endpoint
            .connect_with(config.clone(), fleet.address, SERVER_NAME)
            .unwrap();
        let Err(connecting) = connecting.into_0rtt() else {
            panic!("early data could be sent");
        };
        let (server, device) = tokio::join!(
            async { fleet.listener.next().await.unwrap().admit().await.unwrap() },
            async { connecting.await.unwrap() }
        );
        // Tickets would come with the handshake's end, before the mark.
        device
            .accept_uni()
            .await
            .unwrap()
            .read_to_end(8)
            .await
            .unwrap();
        assert!(server.peer().device().is_some());
    }
    assert_eq!(tickets.0.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_address_can_be_validated_first() {
    let fleet = Fleet::with(|settings| settings.limits.validate_above = 0);
    let (server, device) = fleet.connected().await;
    drop((server, device));
}

#[tokio::test]
async fn a_full_coordinator_says_so() {
    let fleet = Fleet::with(|settings| settings.limits.connections = 0);
    let identity = fleet.device();
    let error = tokio::select! {
        _ = fleet.listener.next() => panic!("nobody is let in"),
        device = fleet.dialler.connect(fleet.address, &identity, Protocol::Devices) => device.unwrap_err(),
    };
    let code = CloseCode::Overloaded;
    assert!(matches!(error, TransportError::Closed { code: c, .. } if c == code));
    assert_eq!(error.blame(), Blame::World);
}

#[tokio::test]
async fn silence_is_reported_with_address_and_advice() {
    let deaf = std::net::UdpSocket::bind(ANY_PORT).unwrap();
    let address = deaf.local_addr().unwrap();
    let tuning = Tuning {
        handshake_ms: 50,
        ..Tuning::device()
    };
    let dialler = Dialler::bind(address, tuning, Clock::fixed(NOW)).unwrap();
    let ca_pin = Fingerprint([0; 32]);
    let joining = ClientIdentity::Enrolling { ca_pin };
    let error = dialler
        .connect(address, &joining, Protocol::Enrolment)
        .await
        .unwrap_err();
    assert!(
        matches!(error, TransportError::NoAnswer { address: a, waited_ms: 50, .. } if a == address)
    );
    assert!(
        error
            .advice()
            .unwrap()
            .contains(&address.port().to_string())
    );
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let fleet = Fleet::new();
    let error = Listener::bind(fleet.address, settings(&fleet.authority)).unwrap_err();
    assert!(matches!(error, TransportError::AddressInUse { address } if address == fleet.address));
    let port = fleet.address.port().to_string();
    assert!(error.to_string().contains(&port) && error.advice().unwrap().contains(&port));
}

#[tokio::test]
async fn the_reason_for_a_close_reaches_the_other_side() {
    let fleet = Fleet::new();
    let (server, device) = fleet.connected().await;
    server.close(CloseCode::Superseded, "from another address");
    let error = device.closed().await;
    assert_eq!(
        error.to_string(),
        "the peer closed the connection: a newer session of this device took over (from another address)"
    );
}

#[tokio::test]
async fn a_handshake_is_cheap_and_counted_apart() {
    let fleet = Fleet::new();
    let (server, device) = fleet.connected().await;
    let handshake = device.handshake_traffic();
    assert!(handshake.udp_tx_bytes >= 1_200, "{handshake:?}");
    assert!(handshake.udp_tx_bytes <= 3_500, "{handshake:?}");
    assert!(handshake.udp_rx_bytes <= 4_000, "{handshake:?}");
    let mut control = device.open_control().await.unwrap();
    control.send(&[1; 1_000]).await.unwrap();
    let mut far = server.accept_control().await.unwrap();
    assert_eq!(far.recv().await.unwrap().unwrap().len(), 1_000);
    far.send(b"ok").await.unwrap();
    control.recv().await.unwrap().unwrap();
    let work = device.work_traffic();
    assert!((1_000..1_400).contains(&work.udp_tx_bytes), "{work:?}");
    assert_eq!(device.traffic(), handshake + work);
}

#[tokio::test]
async fn only_the_coordinator_can_reset() {
    let fleet = Fleet::new();
    let (server, device) = fleet.connected().await;
    let (other, _other) = fleet.connected().await;
    let (at, name) = (server.remote_address(), server.name().unwrap());
    assert_eq!(device.name(), None);
    assert_ne!(other.name(), Some(name));
    // Another connection's token, a forged one, another coordinator's.
    fleet.listener.remind(at, other.name().unwrap()).unwrap();
    let forger = std::net::UdpSocket::bind(ANY_PORT).unwrap();
    forger.send_to(&[0x55; 43], at).unwrap();
    let stranger = Fleet::new();
    stranger.listener.remind(at, name).unwrap();
    let mut sent = device.open_transfer().await.unwrap();
    sent.send(b"still here").await.unwrap();
    let mut got = server.accept_transfer().await.unwrap();
    assert_eq!(got.recv().await.unwrap().unwrap(), b"still here");
    // Without a packet of the device's that it would answer.
    fleet.listener.remind(at, name).unwrap();
    assert!(matches!(
        device.closed().await,
        TransportError::Lost { reason } if reason.contains("forgot")
    ));
}

/// A client begins a handshake and then sends nothing more.
#[tokio::test]
async fn a_close_does_not_wait_for_a_peer_that_has_vanished() {
    let fleet = Fleet::new();
    let between = tokio::net::UdpSocket::bind(ANY_PORT).await.unwrap();
    let (identity, to) = (fleet.device(), between.local_addr().unwrap());
    let mut first = [0; 2_048];
    let length = tokio::select! {
        received = between.recv(&mut first) => received.unwrap(),
        _ = fleet.dialler.connect(to, &identity, Protocol::Devices) => unreachable!(),
    };
    let first = &first[..length];
    between.send_to(first, fleet.address).await.unwrap();
    let arrival = fleet.listener.next().await.unwrap();
    let shaking_hands = tokio::spawn(arrival.admit());
    // The listener's answer.
    between.recv(&mut [0; 2_048]).await.unwrap();
    let closed = fleet.listener.close(CloseCode::Shutdown, "");
    let patience = std::time::Duration::from_secs(15);
    tokio::time::timeout(patience, closed).await.unwrap();
    assert!(shaking_hands.await.unwrap().is_err());
}
