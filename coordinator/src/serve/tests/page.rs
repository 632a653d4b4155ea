//! The page, as a browser asks for it.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::rig::{PAIR, Rig};

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

async fn page(rig: &Rig, path: &str) -> String {
    ask(rig, &format!("GET {path} HTTP/1.1\r\nhost: localhost")).await
}

#[tokio::test]
async fn every_page_is_there_before_and_after_there_is_a_task() {
    let rig = Rig::start_with_page();
    let paths = [
        "/",
        "/rounds",
        "/students",
        "/distilled",
        "/audit",
        "/health",
        "/?state=away&find=pump&page=7",
        "/audit?before=1",
    ];
    for path in paths {
        assert!(page(&rig, path).await.starts_with("HTTP/1.1 200"), "{path}");
    }
    rig.task(PAIR).await;
    let device = rig.device().await;
    for path in paths {
        assert!(page(&rig, path).await.starts_with("HTTP/1.1 200"), "{path}");
    }
    // A snapshot may be half a second old.
    let fleet = loop {
        let fleet = page(&rig, "/").await;
        if fleet.contains(&device.id.short()) {
            break fleet;
        }
    };
    assert!(fleet.contains("0 of 1"));
    let log = page(&rig, "/audit").await;
    assert!(log.contains("joined") && log.contains("task created"));
    assert!(page(&rig, "/nowhere").await.starts_with("HTTP/1.1 404"));
    rig.stop().await;
}

#[tokio::test]
async fn nothing_is_loaded_from_elsewhere_and_no_script_stands_in_a_page() {
    let rig = Rig::start_with_page();
    rig.task(PAIR).await;
    for path in [
        "/",
        "/rounds",
        "/students",
        "/distilled",
        "/audit",
        "/health",
    ] {
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
async fn metrics_tell_states_flushes_and_expiry_and_name_no_device() {
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
