//! A subscription against a scripted broker.
#![allow(clippy::unwrap_used)]

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A message that nobody has to acknowledge.
fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut left = 2 + topic.len() + payload.len();
    let mut packet = vec![0x30];
    while left >= 128 {
        packet.push((left % 128) as u8 | 0x80);
        left /= 128;
    }
    packet.push(left as u8);
    packet.extend((topic.len() as u16).to_be_bytes());
    packet.extend(topic.as_bytes());
    packet.extend(payload);
    packet
}

/// A broker that lets everyone in after a while and then says something.
async fn broker(delay: Duration, said: Vec<u8>) -> MqttSettings {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let said = said.clone();
            tokio::spawn(async move {
                let mut heard = [0; 4_096];
                let _ = stream.read(&mut heard).await;
                // It keeps them waiting.
                let _ = timeout(delay, std::future::pending::<()>()).await;
                let _ = stream.write_all(&[0x20, 2, 0, 0]).await;
                let _ = stream.write_all(&said).await;
                while stream.read(&mut heard).await.is_ok_and(|bytes| bytes > 0) {}
            });
        }
    });
    settings(port)
}

fn settings(port: u16) -> MqttSettings {
    MqttSettings {
        host: "127.0.0.1".to_owned(),
        port,
        topics: vec!["#".to_owned()],
        user: None,
        mib_max: 1,
    }
}

/// The recordings, as soon as they hold a text.
async fn recorded(settings: &MqttSettings, wanted: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let device = DeviceId([7; 16]);
    let subscriber = Subscriber::new(settings, device, folder.path(), "label").unwrap();
    let running = tokio::spawn(subscriber.run());
    let read = async {
        loop {
            let path = folder.path().join("mqtt-000000000000.csv");
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.contains(wanted) {
                return text;
            }
            tokio::task::yield_now().await;
        }
    };
    let read = timeout(Duration::from_secs(12), read).await;
    running.abort();
    read.unwrap()
}

#[tokio::test]
async fn a_broker_that_takes_longer_than_a_flush_is_reached() {
    let delay = FLUSH_EVERY + Duration::from_millis(500);
    let settings = broker(delay, publish("pump", b"{\"flow\": 4.25}")).await;
    assert_eq!(probe(&settings).await, Ok(()));
    recorded(&settings, "4.25").await;
}

#[tokio::test]
async fn a_large_message_does_not_end_the_connection() {
    let mut said = publish("camera", &vec![b'x'; 200 << 10]);
    let mut long = b"{\"flow\": 1.125, \"note\": \"".to_vec();
    long.resize(MESSAGE_BYTES_MAX, b'y');
    long.extend(b"\"}");
    said.extend(publish("pump", &long));
    said.extend(publish("pump", b"{\"flow\": 4.25}"));
    let settings = broker(Duration::ZERO, said).await;
    let text = recorded(&settings, "4.25").await;
    assert!(!text.contains("1.125"), "{text}");
    let said = publish("camera", &vec![b'x'; 200 << 10]);
    let said = [said, publish("pump", b"{\"flow\": 4.25}")].concat();
    let settings = broker(Duration::ZERO, said).await;
    let next = std::thread::spawn(move || Feed::new(&settings).unwrap().next_row());
    let next = tokio::task::spawn_blocking(move || next.join().unwrap());
    let row = timeout(Duration::from_secs(12), next).await.unwrap();
    assert_eq!(row.unwrap()["flow"], "4.25");
}

#[tokio::test]
async fn a_broker_that_is_away_is_told_of() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = settings(free.local_addr().unwrap().port());
    drop(free);
    let folder = tempfile::tempdir().unwrap();
    let device = DeviceId([7; 16]);
    let subscriber = Subscriber::new(&settings, device, folder.path(), "label").unwrap();
    let mut problem = subscriber.problem();
    let running = tokio::spawn(subscriber.run());
    let changed = timeout(Duration::from_secs(12), problem.changed()).await;
    changed.unwrap().unwrap();
    let what = problem.borrow().clone().unwrap();
    assert!(what.contains(&settings.address()), "{what}");
    assert!(probe(&settings).await.is_err());
    running.abort();
}

#[test]
fn a_connection_that_ends_at_once_is_made_less_often() {
    let mut patience = Patience::default();
    let mut waits = Vec::new();
    for _ in 0..8 {
        patience.connected();
        waits.push(patience.failed("too large").as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    patience.since = Instant::now().checked_sub(LAST_WAIT);
    assert_eq!(patience.failed("too large"), FIRST_WAIT);
}
