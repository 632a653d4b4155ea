//! What a scrape of a device is told.
#![allow(clippy::unwrap_used)]

use common::http::MetricsServer;
use common::ids::{TaskHash, Time, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Readings, Usage, render, serve};
use crate::driver::local::{OUTBOX, STUDENTS};
use crate::driver::status::{Bytes, RunStatus};
use crate::slots::Slots;
use crate::state::StateDir;

fn readings() -> Readings {
    Readings {
        status: Some(RunStatus {
            connected: true,
            started_ms: 1_500,
            last_contact_ms: Some(2_000),
            work_error: Some("no memory for row 7 of pump.csv".into()),
            handshake_bytes: Bytes { up: 10, down: 20 },
            work_bytes: Bytes { up: 300, down: 400 },
            resident_peak_kib: 2,
            ..RunStatus::default()
        }),
        outbox_entries: 2,
        outbox_bytes: 5_000,
        usage: Some(Usage {
            agent_s: 1.5,
            work_s: 20.25,
        }),
        resident_bytes: 1_024,
        students: vec![(
            TaskHash([7; 32]),
            Version {
                epoch: 3,
                number: 11,
            },
        )],
        certificate_ends: Some(Time(1_800_000_000_000)),
    }
}

#[test]
fn all_that_was_read_is_told_and_no_words_of_the_device() {
    let text = render(&readings());
    for line in [
        "alambic_agent_outbox_entries 2.0",
        "alambic_agent_outbox_bytes 5000.0",
        "alambic_agent_cpu_seconds_total{of=\"agent\"} 1.5",
        "alambic_agent_cpu_seconds_total{of=\"work\"} 20.25",
        "alambic_agent_memory_bytes{kind=\"resident\"} 1024.0",
        "alambic_agent_memory_bytes{kind=\"peak\"} 2048.0",
        "alambic_agent_link_bytes_total{direction=\"up\",kind=\"handshake\"} 10.0",
        "alambic_agent_link_bytes_total{direction=\"down\",kind=\"work\"} 400.0",
        "alambic_agent_student_version_epoch{task=\"07070707\"} 3.0",
        "alambic_agent_student_version_number{task=\"07070707\"} 11.0",
        "alambic_agent_connected 1.0",
        "alambic_agent_problem{of=\"link\"} 0.0",
        "alambic_agent_problem{of=\"work\"} 1.0",
        "alambic_agent_start_timestamp_seconds 1.5",
        "alambic_agent_certificate_expiry_timestamp_seconds 1800000000.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("pump"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn what_was_not_read_is_left_out() {
    let text = render(&Readings::default());
    for name in ["connected", "link_bytes", "student", "certificate", "cpu"] {
        assert!(!text.contains(name), "{name} in {text}");
    }
    assert!(text.contains("alambic_agent_outbox_entries 0.0"), "{text}");
}

#[test]
fn device_alerts_ask_for_nothing_that_is_not_told() {
    let text = render(&readings());
    let rules = include_str!("../../../configs/prometheus-device-alerts.yml");
    let words = rules.split(|c: char| !c.is_ascii_lowercase() && c != '_');
    let names: Vec<_> = words
        .filter(|word| word.starts_with("alambic_agent_"))
        .collect();
    assert!(names.len() >= 5);
    for name in names {
        let told = |line: &str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        };
        assert!(text.lines().any(told), "{name} is not told");
    }
}

async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text = format!("{request}\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_scrape_reads_the_state_as_it_is_then() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::create(folder.path()).unwrap();
    let server = MetricsServer::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = server.address();
    tokio::spawn(serve(server, state.clone()));
    let scrape = "GET /metrics HTTP/1.1\r\nHost: localhost";
    let answer = ask(address, scrape).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("application/openmetrics-text"), "{answer}");
    assert!(
        answer.contains("alambic_agent_outbox_entries 0.0"),
        "{answer}"
    );
    assert!(!answer.contains("alambic_agent_connected"), "{answer}");

    RunStatus::begin(Time(5)).publish(&state, 0).unwrap();
    let outbox = state.file(OUTBOX);
    std::fs::create_dir(&outbox).unwrap();
    std::fs::write(outbox.join("one.entry"), [0; 300]).unwrap();
    std::fs::write(outbox.join("two.entry.new"), [0; 900]).unwrap();
    let task = TaskHash([9; 32]);
    let students = state.file(STUDENTS).join(task.to_string());
    let version = Version {
        epoch: 2,
        number: 5,
    };
    let mut slots = Slots::open(&students).unwrap();
    slots.install(version, b"weights").unwrap();
    let answer = ask(address, scrape).await;
    for line in [
        "alambic_agent_connected 0.0",
        "alambic_agent_outbox_entries 1.0",
        "alambic_agent_outbox_bytes 300.0",
        "alambic_agent_student_version_epoch{task=\"09090909\"} 2.0",
        "alambic_agent_student_version_number{task=\"09090909\"} 5.0",
    ] {
        assert!(answer.contains(line), "{line}\n{answer}");
    }
}

#[tokio::test]
async fn nothing_else_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::create(folder.path()).unwrap();
    let server = MetricsServer::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = server.address();
    assert!(MetricsServer::bind(address).is_err(), "it is taken");
    tokio::spawn(serve(server, state));
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: localhost", 404),
        ("POST /metrics HTTP/1.1\r\nHost: localhost", 405),
        ("GET /metrics HTTP/1.1\r\nHost: evil.example", 421),
    ] {
        let answer = ask(address, request).await;
        let start = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&start), "{request}: {answer}");
    }
}

#[tokio::test]
async fn a_scraper_that_reads_no_answers_is_hung_up_on() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::create(folder.path()).unwrap();
    let mut server = MetricsServer::bind(([127, 0, 0, 1], 0).into()).unwrap();
    server.bounds.answer_wait = std::time::Duration::from_millis(40);
    let address = server.address();
    tokio::spawn(serve(server, state));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let scrape = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // Without the limit this would stand still for ever.
    while stream.write_all(scrape).await.is_ok() {}
    let answer = ask(address, "GET /metrics HTTP/1.1\r\nHost: localhost").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
