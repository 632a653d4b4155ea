//! A device's own doors, on the real program: programs beside it ask for
//! predictions while the student is exchanged, and its metrics follow.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use common::ids::Version;
use serde_json::{Value, json};
use tests::agent::AgentProcess;
use tests::rig::{operator, three_agents};

/// Starts the agent of a fleet's device with its metrics on a free port, and
/// returns where they are told.
fn start_with_metrics(home: &Path) -> (AgentProcess, String) {
    let mut agent = AgentProcess::start(home, |command| {
        command.env("ALAMBIC_PREDICTIONS", "predict.sock");
        command.env("ALAMBIC_METRICS", "127.0.0.1:0");
        command.stderr(Stdio::piped());
    });
    let mut lines = BufReader::new(agent.log()).lines();
    let told = lines.find_map(|line| {
        let line = line.unwrap();
        let at = line
            .find("127.0.0.1:")
            .filter(|_| line.contains("/metrics"))?;
        let address = line[at..].chars();
        Some(
            address
                .take_while(|c| matches!(c, '0'..='9' | '.' | ':'))
                .collect(),
        )
    });
    // The pipe must not fill up.
    thread::spawn(move || lines.for_each(drop));
    (agent, told.expect("the agent says where its metrics are"))
}

/// One request on a connection that stays open.
fn ask(stream: &mut UnixStream, path: &str, body: &str) -> (u16, Value) {
    let method = if body.is_empty() { "GET" } else { "POST" };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        assert!(
            reader.read_line(&mut line).unwrap() > 0,
            "the agent hung up"
        );
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            status = rest[..3].parse().unwrap();
        }
        if let Some(rest) = line.strip_prefix("content-length: ") {
            length = rest.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// The value of the metric whose name and labels begin so.
fn value(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

fn version(answer: &Value) -> Version {
    answer["version"].as_str().unwrap().parse().unwrap()
}

#[test]
fn predictions_go_on_while_the_student_is_replaced() {
    let mut running = three_agents();
    let task = running.task.clone();
    running.client.run_round(Some(&task), |_| {}).unwrap();
    let home = running.fleet.agent_home(0);
    running.fleet.kill_agent(0).unwrap();
    let (_agent, metrics) = start_with_metrics(&home);
    let first = running.client.status().unwrap().tasks[0].releases[0].version;

    let rows = 100;
    let inputs: Vec<Vec<f32>> = (0..rows)
        .map(|row| running.data.test.inputs.row(row).to_vec())
        .collect();
    let labels = &running.data.test.labels[..rows];
    let question = json!({ "inputs": inputs }).to_string();
    let socket = home.join("state").join("predict.sock");
    let mut open = UnixStream::connect(&socket).unwrap();
    let (status, students) = ask(&mut open, "/v1/students", "");
    assert_eq!(status, 200);
    assert_eq!(version(&students["students"][0]), first, "it was installed");

    // The same weights come back three times under a higher version, so that
    // every device takes them, and each answer can be held against the first.
    let (status, expected) = ask(&mut open, "/v1/predict", &question);
    assert_eq!(status, 200, "{expected}");
    let right = expected["rows"].as_array().unwrap().iter().zip(labels);
    let right = right.filter(|(row, label)| {
        let class = row["class"].as_str().unwrap();
        class.trim_start_matches("class-") == label.to_string()
    });
    let right = right.count();
    assert!(right > 85, "{right} of {rows}");
    let mut newest = first;
    let (mut asked, mut seen) = (0, vec![first]);
    for _ in 0..3 {
        let arguments = ["rollout", "rollback", &first.to_string(), "--json"];
        let (code, _, err) = operator(&running, &arguments);
        assert_eq!(code, Some(0), "{err}");
        let wanted = running.client.status().unwrap().tasks[0]
            .releases
            .last()
            .unwrap()
            .version;
        assert!(wanted > newest);
        let begun = Instant::now();
        while newest < wanted {
            assert!(begun.elapsed().as_secs() < 60, "{newest} stays in use");
            // On the open connection and on one of its own.
            let mut fresh = UnixStream::connect(&socket).unwrap();
            for stream in [&mut open, &mut fresh] {
                let (status, answer) = ask(stream, "/v1/predict", &question);
                assert_eq!(status, 200, "{answer}");
                assert_eq!(answer["rows"], expected["rows"]);
                let now = version(&answer);
                assert!(now >= newest, "{now} after {newest}");
                newest = now;
                asked += 1;
            }
        }
        seen.push(newest);
    }
    println!(
        "{asked} questions over {} versions, none dropped",
        seen.len()
    );
    assert_eq!(seen.len(), 4);

    let text = scrape(&metrics);
    let of = |name: &str| value(&text, &format!("alambic_agent_{name}"));
    assert_eq!(of("student_version_epoch{"), Some(f64::from(newest.epoch)));
    assert_eq!(of("student_version_number{"), Some(newest.number as f64));
    assert_eq!(of("connected "), Some(1.0));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let ends = of("certificate_expiry_timestamp_seconds ").unwrap();
    assert!(ends > now.as_secs_f64() + 86_400.0);
    for name in [
        "memory_bytes{kind=\"resident\"}",
        "cpu_seconds_total{of=\"agent\"}",
        "link_bytes_total{direction=\"up\",kind=\"handshake\"}",
        "link_bytes_total{direction=\"down\",kind=\"work\"}",
    ] {
        assert!(of(name).unwrap() > 0.0, "{name} in {text}");
    }
}
