//! Several addresses behind one name, some of which do not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;

use super::*;
use protocol::host_port::HostPort;

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

/// A coordinator of the fleet that stands by and names this address; how many have
/// asked it.
fn stands_by(fleet: &Fleet, leader: String) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = Listener::bind(ANY_PORT, settings(&fleet.authority)).unwrap();
    let (address, asked) = (listener.local_address().unwrap(), Arc::default());
    let count: Arc<AtomicUsize> = asked;
    let counting = count.clone();
    tokio::spawn(async move {
        while let Some(arrival) = listener.next().await {
            counting.fetch_add(1, Ordering::Relaxed);
            let _ = arrival.turn_away(CloseCode::NotLeading, &leader).await;
        }
    });
    (address, count)
}

#[tokio::test]
async fn a_standby_alone_leads_to_the_leader() {
    let fleet = Fleet::new();
    let (standby, asked) = stands_by(&fleet, fleet.address.to_string());
    let (found, _) = found(&fleet, vec![standby]).await;
    assert_eq!(found.unwrap(), fleet.address);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn standbys_of_one_another_end_the_search() {
    let fleet = Fleet::new();
    let (last, _) = stands_by(&fleet, String::new());
    let (first, _) = stands_by(&fleet, last.to_string());
    for (address, leader) in [(first, Some(last)), (last, None)] {
        let (found, _) = found(&fleet, vec![address]).await;
        let expected = leader.and_then(|leader| HostPort::parse(&leader.to_string()));
        assert!(
            matches!(&found, Err(TransportError::NotLeading { leader }) if *leader == expected),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_address_is_not_followed() {
    let fleet = Fleet::new();
    for words in ["0.0.0.0:1", "anybody", &"a".repeat(600)] {
        let (standby, asked) = stands_by(&fleet, (*words).to_owned());
        let (found, _) = found(&fleet, vec![standby]).await;
        assert!(
            matches!(found, Err(TransportError::NotLeading { leader: None })),
            "{found:?}"
        );
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn a_leader_of_another_fleet_is_not_believed() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let serving = async { other.listener.next().await.unwrap().admit().await };
    let (standby, _) = stands_by(&fleet, other.address.to_string());
    let ((found, _), _) = tokio::join!(found(&fleet, vec![standby]), serving);
    assert!(
        matches!(found, Err(TransportError::ForeignServer)),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_standby_of_another_fleet_sends_nobody_on() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let (standby, _) = stands_by(&other, fleet.address.to_string());
    let (found, _) = found(&fleet, vec![standby]).await;
    assert!(
        matches!(found, Err(TransportError::ForeignServer)),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_standby_that_takes_over_is_asked_again() {
    let fleet = Fleet::new();
    let mute = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = mute.local_addr().unwrap();
    // Its leader is silent; the second time it leads itself.
    let listener = Listener::bind(ANY_PORT, settings(&fleet.authority)).unwrap();
    let address = listener.local_address().unwrap();
    tokio::spawn(async move {
        let first = listener.next().await.unwrap();
        let words = silent.to_string();
        first
            .turn_away(CloseCode::NotLeading, &words)
            .await
            .unwrap();
        let _held = listener.next().await.unwrap().admit().await.unwrap();
        std::future::pending::<()>().await;
    });
    let (found, _) = found(&fleet, vec![silent, address]).await;
    assert_eq!(found.unwrap(), address);
}
