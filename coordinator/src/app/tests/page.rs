//! The page, as a browser asks for it.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use common::ids::{DeviceId, Time};
use common::trust::certificate::Fingerprint;
use common::trust::token::TokenId;

use super::rig::{PAIR, Rig};
use crate::journal::{LogEntry, load_history};
use crate::registry::{Certified, RegistryEvent};
use crate::store::{MemoryStore, Store};

/// One request of a browser that closes the connection afterwards.
async fn ask(rig: &Rig, head: &str) -> String {
    let address = rig.status().await.page.unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{head}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

const ROOMS: [&str; 9] = [
    "/",
    "/rounds",
    "/students",
    "/history",
    "/rollouts",
    "/distilled",
    "/certificates",
    "/audit",
    "/health",
];

async fn page(rig: &Rig, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost");
    loop {
        let answer = ask(rig, &request).await;
        // Anyone who asks as often as these tests is told to wait.
        if !answer.starts_with("HTTP/1.1 429") {
            return answer;
        }
    }
}

#[tokio::test]
async fn every_page_is_there_before_and_after_there_is_a_task() {
    let rig = Rig::start_with_page();
    let asked = [
        "/device?id=00",
        "/rounds?page=3",
        "/?state=away&find=pump&sort=up&page=7",
        "/audit?before=1",
    ];
    let paths = || ROOMS.iter().chain(&asked);
    for path in paths() {
        assert!(page(&rig, path).await.starts_with("HTTP/1.1 200"), "{path}");
    }
    rig.task(PAIR).await;
    let device = rig.device().await;
    for path in paths() {
        assert!(page(&rig, path).await.starts_with("HTTP/1.1 200"), "{path}");
    }
    let shown = page(&rig, &format!("/device?id={}", device.id)).await;
    assert!(shown.starts_with("HTTP/1.1 200"));
    // A snapshot may be half a second old.
    let fleet = loop {
        let fleet = page(&rig, "/").await;
        if fleet.contains(&device.id.short()) {
            break fleet;
        }
    };
    assert!(fleet.contains("0 of 1"));
    loop {
        let log = page(&rig, "/audit").await;
        if log.contains("joined") && log.contains("task created") {
            break;
        }
    }
    assert!(page(&rig, "/nowhere").await.starts_with("HTTP/1.1 404"));
    rig.stop().await;
}

#[tokio::test]
async fn pages_load_nothing_from_elsewhere() {
    let rig = Rig::start_with_page();
    rig.task(PAIR).await;
    for path in ROOMS {
        let page = page(&rig, path).await;
        let (head, body) = page.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-security-policy: default-src 'none'"));
        assert!(head.contains("x-content-type-options: nosniff"));
        for outside in ["http://", "https://", "//", " style=", "onclick"] {
            let found = body.match_indices(outside).next();
            assert_eq!(found, None, "{outside} in {path}");
        }
        assert!(!body.contains("<script>"));
    }
    rig.stop().await;
}

/// What stands between each opening of this tag and its `>`.
fn tags<'a>(body: &'a str, tag: &str) -> Vec<&'a str> {
    let open = format!("<{tag}");
    let starts = body
        .match_indices(&open)
        .map(|(at, _)| &body[at + open.len()..]);
    let ends = starts.filter(|rest| rest.starts_with([' ', '>']));
    ends.filter_map(|rest| rest.split('>').next()).collect()
}

#[tokio::test]
async fn the_page_is_accessible() {
    let rig = Rig::start_with_page();
    rig.task(PAIR).await;
    rig.device().await;
    let mut titles = std::collections::BTreeSet::new();
    for path in ROOMS {
        let page = page(&rig, path).await;
        let body = page.split_once("\r\n\r\n").unwrap().1;
        assert!(
            body.starts_with("<!DOCTYPE html><html lang=\"en\">"),
            "{path}"
        );
        let title = body.split("<title>").nth(1).unwrap();
        assert!(
            titles.insert(title.split('<').next().unwrap().to_owned()),
            "{path}"
        );
        assert_eq!(tags(body, "h1").len(), 1, "{path}");
        assert_eq!(tags(body, "main").len(), 1, "{path}");
        assert!(
            body.contains("<a class=\"skip\" href=\"#content\">"),
            "{path}"
        );
        assert_eq!(body.matches("aria-current=\"page\"").count(), 1, "{path}");
        assert!(
            tags(body, "th").iter().all(|tag| tag.contains("scope=")),
            "{path}"
        );
        assert!(
            tags(body, "img").iter().all(|tag| tag.contains("alt=")),
            "{path}"
        );
        let told = |tag: &&str| tag.contains("aria-");
        assert!(tags(body, "svg").iter().all(told), "{path}");
        for field in ["select", "input"] {
            for tag in tags(body, field) {
                let is_within_a_label = {
                    let at = body.find(tag).unwrap();
                    let before = &body[..at];
                    before.rfind("<label>") > before.rfind("</label>")
                };
                assert!(is_within_a_label || tag.contains("hidden"), "{path}: {tag}");
            }
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn foreign_names_and_anything_but_reading_are_refused() {
    let rig = Rig::start_with_page();
    let rebound = ask(&rig, "GET / HTTP/1.1\r\nhost: evil.example").await;
    assert!(rebound.starts_with("HTTP/1.1 421"), "{rebound}");
    let written = ask(
        &rig,
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0",
    )
    .await;
    assert!(written.starts_with("HTTP/1.1 405"), "{written}");
    rig.stop().await;
}

#[tokio::test]
async fn an_open_page_hears_of_a_round() {
    let rig = Rig::start_with_page();
    rig.task(PAIR).await;
    let address = rig.status().await.page.unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    while !lines.next_line().await.unwrap().unwrap().is_empty() {}
    rig.operate(|client| client.start_round(None, false))
        .await
        .unwrap();
    loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if line == "event: change" {
            break;
        }
        assert_ne!(line, "event: tick", "the round was not told at once");
    }
    rig.stop().await;
}

#[tokio::test]
async fn an_ended_round_is_in_the_stored_history() {
    let rig = Rig::start_with_page();
    let task = rig.task(PAIR).await;
    let (one, two) = (rig.device().await, rig.device().await);
    let (a, b) = (one.session(&rig).await, two.session(&rig).await);
    let parts = tokio::spawn(async { tokio::join!(a.take_part(), b.take_part()) });
    rig.operate(|client| client.run_round(Some("pair"), |_| {}))
        .await
        .unwrap();
    parts.await.unwrap();
    // It is followed beside the round, and a snapshot may be half a second old.
    let told = loop {
        let told = page(&rig, "/history").await;
        if told.contains("1\u{a0}round so far") {
            break told;
        }
    };
    assert!(told.contains("2\u{a0}devices contributed"), "{told}");
    assert!(told.contains("of held-out rows right"), "{told}");
    assert!(!told.contains("<figure"), "one mark is no course");
    let (store, _) = rig.stop().await;
    let history = load_history(store.as_ref(), task).unwrap();
    let [only] = history.spans() else {
        panic!("{history:?}")
    };
    assert_eq!((only.rounds, only.completed, only.devices), (1, 1, 2));
    assert!(only.bytes > 0, "{only:?}");
}

#[tokio::test]
async fn metrics_name_no_device() {
    let rig = Rig::start_with_page();
    rig.task(PAIR).await;
    let device = rig.device().await;
    let text = page(&rig, "/metrics").await;
    assert!(text.contains("alambic_devices{state=\"away\"} 1"), "{text}");
    assert!(text.contains("alambic_certificate_expiry_timestamp_seconds{certificate=\"server\"}"));
    assert!(text.contains("alambic_storage_ok 1"));
    let flushes = text
        .lines()
        .find(|line| line.starts_with("alambic_store_flush_seconds_count"));
    assert_ne!(flushes, Some("alambic_store_flush_seconds_count 0"));
    assert!(!text.contains(&device.id.to_string()) && !text.contains("pump"));
    assert!(text.ends_with("# EOF\n"));
    rig.stop().await;
}

/// A log in which this many devices have joined.
fn joined(devices: u32) -> MemoryStore {
    let events = (0..devices).map(|at| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&at.wrapping_mul(2_654_435_761).to_be_bytes());
        let certificate = Certified {
            fingerprint: Fingerprint([1; 32]),
            authority: Fingerprint([2; 32]),
            expires: Time(2_000_000_000_000 + u64::from(at)),
        };
        let event = RegistryEvent::Admitted {
            device: DeviceId(id),
            certificate,
            label: format!("pump-{at}"),
            token: TokenId([0; 8]),
            at: Time(1_700_000_000_000),
        };
        LogEntry::Registry(event).to_bytes()
    });
    let store = MemoryStore::new();
    let epoch = store.open_epoch().unwrap();
    let events: Vec<_> = events.collect();
    for some in events.chunks(500) {
        store.append(epoch, None, some).unwrap();
    }
    store
}

#[tokio::test]
async fn ten_thousand_devices_of_a_real_log_page_without_pain() {
    let rig = Rig::start_with_page_on(joined(10_000));
    for path in [
        "/",
        "/?sort=up&page=100",
        "/?find=pump-9999",
        "/certificates?page=50",
    ] {
        let began = std::time::Instant::now();
        let answer = page(&rig, path).await;
        // Told, not held: a shared machine may be slow.
        eprintln!("{path}: {} bytes in {:?}", answer.len(), began.elapsed());
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}");
        assert!(answer.len() < 120_000, "{path}: {} bytes", answer.len());
    }
    let found = page(&rig, "/?find=pump-9999").await;
    assert_eq!(tags(&found, "tr").len(), 2, "the head and one device");
    rig.stop().await;
}
