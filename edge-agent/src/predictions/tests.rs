//! What programs on a device ask, and what they are told.
#![allow(clippy::unwrap_used)]

use common::features::Normaliser;
use common::ids::{RoundId, Time, Version};
use common::model::{RawRelease, Release};
use common::task::{RawTask, Task};
use common::trust::keys::SigningKey;
use common::trust::release::SignedRelease;
use common::weights::RawWeights;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{Follower, PredictionServer, Refusal, SocketError, StudentCache};
use crate::data::LiveInput;
use crate::driver::local::STUDENTS;
use crate::fleet::trust_root;
use crate::slots::Slots;
use crate::state::StateDir;
use crate::trust::Trust;

struct Device {
    folder: tempfile::TempDir,
    key: SigningKey,
    task: Task,
}

impl Device {
    fn new() -> Self {
        let text = "name = \"pump\"\n[input]\nshape = [2, 2]\n[classes]\n\
             names = [\"off\", \"on\"]\n[features]\nstage = \"raw\"\n[student]\nhidden = [2]\n";
        Self {
            folder: tempfile::tempdir().unwrap(),
            key: SigningKey::generate().unwrap(),
            task: RawTask::parse(text).unwrap(),
        }
    }

    fn state(&self) -> StateDir {
        StateDir::create(self.folder.path()).unwrap()
    }

    fn socket(&self) -> std::path::PathBuf {
        self.state().file("predict.sock")
    }

    /// What a device knows that has joined.
    fn join(&self) {
        let trust = Trust::first(&trust_root(&self.key)).unwrap();
        trust.store(&self.state()).unwrap();
    }

    fn serve(&self) {
        self.join();
        let student_cache = StudentCache::new(self.state());
        let server = PredictionServer::bind(&self.socket(), student_cache).unwrap();
        tokio::spawn(server.serve());
    }

    /// Installs a student that always answers with one class.
    fn install(&self, number: u64, class: usize) {
        let mut weights = vec![0.0f32; self.task.student().parameters()];
        let at = weights.len() - 2 + class;
        weights[at] = 1.0;
        let release = Release::check(RawRelease {
            task: self.task.bytes().to_vec(),
            version: Version { epoch: 1, number },
            round: RoundId(number),
            released: Time(1),
            expires: Time(2),
            lineage: common::model::Lineage::of(&[]),
            normaliser: Normaliser::of_range(4, 0.0, 1.0).unwrap(),
            weights: RawWeights::encode(self.task.student(), &weights).unwrap(),
            extras: common::wire::codec::Trailing(None),
        });
        let release = release.unwrap();
        let signed = SignedRelease::sign(&self.key, release.to_bytes()).unwrap();
        let folder = self.state().file(STUDENTS);
        let folder = folder.join(self.task.hash().to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let mut slots = Slots::open(&folder).unwrap();
        slots
            .install(release.version(), &signed.to_bytes())
            .unwrap();
    }

    async fn ask(&self, body: &str) -> (u16, Value) {
        let mut stream = UnixStream::connect(self.socket()).await.unwrap();
        ask_on(&mut stream, body).await
    }
}

#[test]
fn a_stream_is_answered_by_the_student_in_use() {
    let device = Device::new();
    device.join();
    let mut follower = Follower::new(StudentCache::new(device.state()), None, 2);
    let input = |line| LiveInput {
        values: vec![0.5; 4],
        group: "a".to_owned(),
        line,
        span: Some((0, 1_500_000_000)),
    };
    let none = follower.predict(&input(1));
    assert!(matches!(none, Err(Refusal::NoStudent(_))));
    let mut told = Vec::new();
    for (line, newest) in [(2, Some((1, 0))), (3, None), (4, Some((2, 1))), (5, None)] {
        if let Some((number, class)) = newest {
            device.install(number, class);
        }
        let said = follower.predict(&input(line)).unwrap();
        told.push(serde_json::to_value(said).unwrap());
    }
    let of = |key: &str| -> Vec<&str> {
        let values = told.iter().map(|one| one[key].as_str());
        values.map(Option::unwrap_or_default).collect()
    };
    assert_eq!(of("version"), ["1.1", "1.1", "1.2", "1.2"]);
    assert_eq!(of("class"), ["off", "off", "on", "on"]);
    assert_eq!(of("held"), ["", "off", "off", "on"]);
    assert_eq!(told[0]["to"], "1970-01-01T00:00:01.500Z");
    let classes = told[3]["classes"].as_object().unwrap();
    let sum: f64 = classes.values().map(|one| one.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5 && classes.len() == 2);
    // Windows of another shape are no reason to go on.
    let misfit = LiveInput {
        values: vec![0.5; 3],
        ..input(6)
    };
    assert!(follower.predict(&misfit).is_err());
}

/// One request on a connection that stays open.
async fn ask_on(stream: &mut UnixStream, body: &str) -> (u16, Value) {
    let head = format!(
        "POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server may refuse a long body before it has read it.
    let _ = stream.write_all(body.as_bytes()).await;
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map(|length| length.parse::<usize>().unwrap());
            if length.is_some_and(|length| body.len() >= length) {
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return (status, serde_json::from_str(body).unwrap());
            }
        }
        let mut some = [0u8; 4096];
        let count = stream.read(&mut some).await.unwrap();
        assert!(count > 0, "hung up after {text:?}");
        read.extend_from_slice(&some[..count]);
    }
}

#[tokio::test]
async fn one_row_and_many_rows_flat_and_nested_are_answered() {
    let device = Device::new();
    device.install(1, 1);
    device.serve();
    let (status, answer) = device
        .ask("{\"input\": [[0, 1], [1, 0]], \"all\": true}")
        .await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["version"], "1.1");
    assert_eq!(answer["rows"][0]["class"], "on");
    assert_eq!(
        answer["rows"][0]["probabilities"].as_array().unwrap().len(),
        2
    );
    let many = json!({"inputs": [[0, 1, 1, 0], [1, 1, 1, 1]], "task": "pump"});
    let (status, answer) = device.ask(&many.to_string()).await;
    assert_eq!((status, answer["rows"].as_array().unwrap().len()), (200, 2));
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_with_what_to_send() {
    let device = Device::new();
    device.serve();
    let (status, answer) = device.ask("{\"input\": [0, 0, 0, 0]}").await;
    assert_eq!(status, 404);
    assert!(answer["error"].as_str().unwrap().contains("no student"));
    device.install(1, 0);
    for (body, part) in [
        ("{\"input\": [0, 0, 0]}", "[2, 2]"),
        ("{\"inputs\": [[[0, 0, 0], [0, 0, 0]]]}", "[2, 2]"),
        ("{\"inputs\": [[0, NaN, 0, 0]]}", "column"),
        ("{\"inputs\": [[0, null, 0, 0]]}", "finite number"),
        ("{\"inputs\": [[0, 1e39, 0, 0]]}", "finite"),
        ("{\"inputs\": [[0, 0, 0, 0], [0]]}", "another shape"),
        ("{}", "either"),
        ("rows", "not understood"),
        ("{\"input\": [0, 0, 0, 0], \"rows\": 1}", "unknown field"),
    ] {
        let (status, answer) = device.ask(body).await;
        let error = answer["error"].as_str().unwrap();
        assert!(
            status == 400 && error.contains(part),
            "{body}: {status} {error}"
        );
    }
    let (status, answer) = device
        .ask("{\"input\": [0, 0, 0, 0], \"task\": \"fan\"}")
        .await;
    assert_eq!(status, 404);
    assert!(answer["error"].as_str().unwrap().contains("pump"));
    let long = format!("{{\"input\": [{}0]}}", "0,".repeat(600_000));
    assert_eq!(device.ask(&long).await.0, 413);
}

#[tokio::test]
async fn a_new_student_takes_over_on_an_open_connection() {
    let device = Device::new();
    device.install(1, 0);
    device.serve();
    let mut stream = UnixStream::connect(device.socket()).await.unwrap();
    let body = "{\"input\": [0, 0, 0, 0]}";
    for number in 2..12 {
        let (status, answer) = ask_on(&mut stream, body).await;
        assert_eq!(
            (status, &answer["version"]),
            (200, &json!(format!("1.{}", number - 1)))
        );
        let class = (number % 2) as usize;
        device.install(number, class);
        let (status, answer) = ask_on(&mut stream, body).await;
        assert_eq!(
            (status, &answer["version"]),
            (200, &json!(format!("1.{number}")))
        );
        assert_eq!(answer["rows"][0]["class"], ["off", "on"][class]);
    }
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_one_that_answers_is_not() {
    let device = Device::new();
    let stale = std::os::unix::net::UnixListener::bind(device.socket()).unwrap();
    drop(stale);
    device.serve();
    device.join();
    let student_cache = StudentCache::new(device.state());
    let error = PredictionServer::bind(&device.socket(), student_cache).unwrap_err();
    assert!(matches!(error, SocketError::InUse(_)));
    let mode = std::fs::metadata(device.socket()).unwrap().permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o660
    );
}

#[tokio::test]
async fn a_program_that_reads_no_answers_is_hung_up_on() {
    let device = Device::new();
    device.join();
    let student_cache = StudentCache::new(device.state());
    let mut server = PredictionServer::bind(&device.socket(), student_cache).unwrap();
    server.bounds.answer_wait = std::time::Duration::from_millis(40);
    tokio::spawn(server.serve());
    let mut stream = UnixStream::connect(device.socket()).await.unwrap();
    let question = b"GET /v1/students HTTP/1.1\r\nhost: localhost\r\n\r\n";
    // Without the limit this would stand still for ever.
    while stream.write_all(question).await.is_ok() {}
    assert_eq!(device.ask("{}").await.0, 404, "others are answered");
}
