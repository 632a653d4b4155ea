//! Several addresses behind one name, some of which do not answer.

use std::time::{Duration, Instant};

use tokio::net::UdpSocket;

use super::*;

/// Connects to whichever of these addresses answers, and how long it took.
async fn found(
    fleet: &Fleet,
    addresses: Vec<SocketAddr>,
) -> (Result<SocketAddr, TransportError>, Duration) {
    let search = Search {
        identity: fleet.device(),
        protocol: Protocol::Devices,
        tuning: Tuning::device(),
        clock: Clock::fixed(NOW),
    };
    let begun = Instant::now();
    let serving = async {
        let admitted = fleet.listener.next().await.unwrap().admit().await;
        let _held = admitted.unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = serving => unreachable!("it serves for ever"),
        found = search.race(addresses) => {
            let found = found.map(|(_, connection)| connection.remote_address());
            (found, begun.elapsed())
        }
    }
}

#[tokio::test]
async fn a_silent_address_costs_a_quarter_of_a_second() {
    let fleet = Fleet::new();
    let mute = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let dead = mute.local_addr().unwrap();
    let (found, took) = found(&fleet, vec![dead, dead, fleet.address]).await;
    assert_eq!(found.unwrap(), fleet.address);
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn a_closed_port_is_reported_before_the_timeout() {
    let fleet = Fleet::new();
    let closed = {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.local_addr().unwrap()
    };
    let (found, took) = found(&fleet, vec![closed]).await;
    assert!(
        matches!(
            found,
            Err(TransportError::NoAnswer { address, silence: Silence::PortClosed, waited_ms })
                if address == closed && waited_ms < 8_000
        ),
        "{found:?}"
    );
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn a_refusal_is_reported_before_network_errors() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let closed = {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.local_addr().unwrap()
    };
    let serving = async { other.listener.next().await.unwrap().admit().await };
    let searching = found(&fleet, vec![other.address, closed]);
    let ((found, _), _) = tokio::join!(searching, serving);
    assert!(
        matches!(found, Err(TransportError::ForeignServer)),
        "{found:?}"
    );
}
