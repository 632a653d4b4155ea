//! How long a local program waits for the class of one row, over the socket:
//! a 245-64-6 student, once with ready features and once with windows of
//! 128 × 6 values whose 245 features are computed for each request. The
//! median and the 99th percentile; at most 1 ms is wanted for the latter.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use common::features::Normaliser;
use common::ids::{RoundId, Time, Version};
use common::model::{RawRelease, Release};
use common::task::RawTask;
use common::trust::keys::SigningKey;
use common::trust::release::SignedRelease;
use common::trust::trust_root::{SignedTrustRoot, TrustRoot};
use common::weights::RawWeights;
use edge_agent::driver::local::STUDENTS;
use edge_agent::predictions::{PredictionServer, StudentCache};
use edge_agent::slots::Slots;
use edge_agent::state::StateDir;
use edge_agent::trust::Trust;

fn main() {
    common::math::blas::pin_to_one_thread();
    let tiny = std::env::var_os("ALAMBIC_BENCH_TINY").is_some();
    let requests = if tiny { 50 } else { 5_000 };
    measure("245 features", "[245]", "raw", 245, requests);
    measure("128 x 6 window", "[128, 6]", "window", 768, requests);
}

fn measure(what: &str, shape: &str, features: &str, values: usize, requests: usize) {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::generate().unwrap();
    install(folder.path(), &key, shape, features);
    let socket = folder.path().join("predict.sock");
    let state = StateDir::at(folder.path());
    let trust_root = TrustRoot {
        number: 1,
        issued: Time(0),
        expires: Time(u64::MAX),
        root: key.verifying_key(),
        release_keys: vec![key.verifying_key()],
    };
    let trust_root = SignedTrustRoot::sign(trust_root, &[&key])
        .unwrap()
        .to_bytes();
    Trust::first(&trust_root).unwrap().store(&state).unwrap();
    let student_cache = StudentCache::new(state);
    let bound = socket.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            PredictionServer::bind(&bound, student_cache)
                .unwrap()
                .serve()
                .await;
        });
    });
    let mut stream = loop {
        match UnixStream::connect(&socket) {
            Ok(stream) => break stream,
            Err(_) => std::thread::yield_now(),
        }
    };
    let row: Vec<String> = (0..values)
        .map(|at| format!("{:.4}", (at as f32 * 0.37).sin()))
        .collect();
    let body = format!("{{\"input\": [{}]}}", row.join(","));
    let request = format!(
        "POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut took = Vec::with_capacity(requests);
    let mut checksum = 0u64;
    for _ in 0..requests {
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).unwrap();
        let answer = read(&mut stream);
        took.push(begun.elapsed());
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        checksum = body.bytes().fold(checksum, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
    }
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    println!(
        "{what}: {requests} requests, median {:.0} us, p99 {:.0} us, checksum {checksum:016x}",
        at(0.5),
        at(0.99)
    );
}

fn read(stream: &mut UnixStream) -> String {
    let mut read = Vec::new();
    loop {
        let mut some = [0u8; 4096];
        let count = stream.read(&mut some).unwrap();
        assert!(count > 0, "hung up");
        read.extend_from_slice(&some[..count]);
        let text = std::str::from_utf8(&read).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Some(length) = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
            && body.len() >= length.parse().unwrap()
        {
            return text.to_owned();
        }
    }
}

/// A student with small made-up weights in the slots of `folder`.
fn install(folder: &Path, key: &SigningKey, shape: &str, features: &str) {
    let text = format!(
        "name = \"bench\"\n[input]\nshape = {shape}\n[features]\nstage = \"{features}\"\n\
         [classes]\nnames = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\"]\n[student]\nhidden = [64]\n"
    );
    let task = RawTask::parse(&text).unwrap();
    let count = task.student().parameters();
    let weights: Vec<f32> = (0..count)
        .map(|at| 0.1 * (at as f32 * 0.71).sin())
        .collect();
    let release = Release::check(RawRelease {
        task: task.bytes().to_vec(),
        version: Version {
            epoch: 1,
            number: 1,
        },
        round: RoundId(1),
        released: Time(1),
        expires: Time(2),
        lineage: common::model::Lineage::of(&[]),
        normaliser: Normaliser::of_range(task.features(), -1.0, 1.0).unwrap(),
        weights: RawWeights::encode(task.student(), &weights).unwrap(),
        extras: common::wire::codec::Trailing(None),
    })
    .unwrap();
    let signed = SignedRelease::sign(key, release.to_bytes()).unwrap();
    let slots = folder.join(STUDENTS).join(task.hash().to_string());
    std::fs::create_dir_all(&slots).unwrap();
    Slots::open(&slots)
        .unwrap()
        .install(release.version(), &signed.to_bytes())
        .unwrap();
}
