//! Gateways: who is one, and what devices make of it.

use super::*;

fn key_and_request() -> (DeviceKey, SigningRequest) {
    let key = DeviceKey::generate().unwrap();
    let request = SigningRequest::parse(&key.signing_request().unwrap()).unwrap();
    (key, request)
}

/// A gateway certified by this authority.
fn gateway(authority: &Authority) -> ClientIdentity {
    let (key, request) = key_and_request();
    let end = NOW.after_ms(30 * DAY_MS);
    let certificate = authority.sign_gateway_until(&request, NOW, end).unwrap();
    ClientIdentity::Enrolled {
        credentials: key.certified(certificate).unwrap(),
        authorities: vec![authority.certificate().clone()],
    }
}

/// A fleet whose listener is a gateway.
fn behind_a_gateway() -> Fleet {
    let mut own = None;
    let fleet = Fleet::with(|settings| settings.protocols = &SPOKEN);
    if let ClientIdentity::Enrolled { credentials, .. } = gateway(&fleet.authority) {
        let mut chain = credentials.chain().to_vec();
        chain.push(fleet.authority.certificate().clone());
        let key = credentials.key().clone_key();
        own = Some(protocol::trust::certificate::Credentials::new(chain, key).unwrap());
    }
    let mut as_gateway = settings(&fleet.authority);
    as_gateway.credentials = own.unwrap();
    as_gateway.protocols = &SPOKEN;
    fleet.listener.replace(as_gateway).unwrap();
    fleet
}

const SPOKEN: [Protocol; 2] = [Protocol::Devices, Protocol::Enrolment];

#[tokio::test]
async fn only_a_gateway_certificate_opens_the_gateways_protocol() {
    let fleet = Fleet::new();
    let (server, device) = fleet.meet(&fleet.device(), Protocol::Gateways).await;
    let code = CloseCode::NotAGateway;
    assert!(matches!(server, Err(TransportError::NotAdmitted { code: c }) if c == code));
    assert!(matches!(device, Err(TransportError::Closed { code: c, .. }) if c == code));
    let own = gateway(&fleet.authority);
    let (server, _held) = fleet.meet(&own, Protocol::Gateways).await;
    assert!(matches!(server.unwrap().peer(), PeerIdentity::Gateway(_)));
    let (server, _) = fleet.meet(&own, Protocol::Devices).await;
    let code = CloseCode::Unauthenticated;
    assert!(matches!(server, Err(TransportError::NotAdmitted { code: c }) if c == code));
}

#[tokio::test]
async fn a_device_works_and_renews_at_a_gateway_and_does_not_join() {
    let fleet = behind_a_gateway();
    for protocol in SPOKEN {
        let (server, device) = fleet.meet(&fleet.device(), protocol).await;
        assert!(server.unwrap().peer().device().is_some());
        device.unwrap();
    }
    let joining = ClientIdentity::Enrolling {
        ca_pin: fleet.authority.fingerprint(),
    };
    let (server, device) = fleet.meet(&joining, Protocol::Enrolment).await;
    assert!(server.is_err());
    assert!(matches!(device, Err(TransportError::GatewayServer)));
}

#[tokio::test]
async fn a_gateway_speaks_with_no_other_gateway() {
    let fleet = behind_a_gateway();
    let other = gateway(&fleet.authority);
    let (server, other) = fleet.meet(&other, Protocol::Gateways).await;
    assert!(server.is_err() && other.is_err());
    // Nor does a gateway take another for the coordinator.
    let mut lying = settings(&fleet.authority);
    let fleet = {
        let fleet = behind_a_gateway();
        let ClientIdentity::Enrolled { credentials, .. } = gateway(&fleet.authority) else {
            unreachable!("a gateway was made");
        };
        lying.credentials = credentials;
        lying.authorities = vec![fleet.authority.certificate().clone()];
        fleet.listener.replace(lying).unwrap();
        fleet
    };
    let own = gateway(&fleet.authority);
    let (_, met) = fleet.meet(&own, Protocol::Gateways).await;
    assert!(matches!(met, Err(TransportError::GatewayServer)));
}

#[tokio::test]
async fn relayed_certificates_are_judged_like_shown_ones() {
    let fleet = Fleet::new();
    let (key, request) = key_and_request();
    let gone = key.device();
    let mut rules = settings(&fleet.authority);
    rules.revoked = std::sync::Arc::new(move |device| device == gone);
    let peers = RelayedPeers::new(rules.clone()).unwrap();
    let of = |identity: ClientIdentity| match identity {
        ClientIdentity::Enrolled { credentials, .. } => credentials.chain()[0].to_vec(),
        ClientIdentity::Enrolling { .. } => unreachable!("an enrolled peer was made"),
    };
    let devices = Protocol::Devices;
    let good = of(fleet.device());
    let (peer, facts) = peers.admit(devices, &good).unwrap();
    assert_eq!(peer, PeerIdentity::Device(facts.device));
    let revoked = fleet.authority.sign_device(&request, NOW, 1).unwrap();
    assert_eq!(peers.admit(devices, &revoked), Err(CloseCode::Revoked));
    let no = Err(CloseCode::Unauthenticated);
    assert_eq!(peers.admit(devices, &of(gateway(&fleet.authority))), no);
    let other = Authority::create("other", NOW).unwrap();
    assert_eq!(peers.admit(devices, &of(enrolled(&other, &other))), no);
    assert_eq!(peers.admit(devices, b"nothing"), no);
    let mut torn = good.clone();
    let last = torn.len() - 1;
    torn[last] ^= 1;
    assert_eq!(peers.admit(devices, &torn), no);
    rules.clock = Clock::fixed(NOW.after_ms(31 * DAY_MS));
    let late = RelayedPeers::new(rules).unwrap();
    assert_eq!(late.admit(devices, &good), Err(CloseCode::Expired));
    let (peer, _) = late.admit(Protocol::Enrolment, &good).unwrap();
    assert_eq!(peer, PeerIdentity::LapsedDevice(facts.device));
}
