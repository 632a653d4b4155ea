//! The load tool at a tiny size, so that it cannot rot: real sessions, real
//! contributions, a real release, and everything acknowledged found again
//! after the coordinator was killed.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use lab::demo::{Fleet, program};
use lab::progress::Progress;
use serde_json::Value;

fn load(arguments: &[&str]) -> (Option<i32>, Value, String) {
    let output = Command::new(program("alambic-lab").unwrap())
        .arg("load")
        .args(arguments)
        .args(["--json", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let found = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), found, said)
}

const TINY: [&str; 8] = [
    "--agents",
    "12",
    "--rate",
    "200",
    "--release-bytes",
    "20000",
    "--idle",
    "0",
];

#[test]
fn a_tiny_load_measures_everything_and_loses_nothing() {
    let (code, found, said) = load(&[&TINY[..], &["--contributions", "30"]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(found["connected"], 12);
    assert_eq!(found["contributions"]["accepted"], 30);
    assert_eq!(found["contributions"]["refused"], 0);
    // 12 profiles and the 30.
    assert_eq!(found["contributions"]["held"]["acknowledged"], 42);
    assert_eq!(found["contributions"]["held"]["lost"], 0);
    assert_eq!(found["push"]["devices"], 12);
    let bytes = found["push"]["bytes"].as_u64().unwrap();
    assert!((18_000..22_000).contains(&bytes), "{bytes}");
    for rate in ["bytes_per_second", "bare_bytes_per_second"] {
        assert!(found["push"][rate].as_f64().unwrap() > 0.0, "{rate}");
    }
    assert!(found["memory"]["idle"].as_u64() >= found["memory"]["before"].as_u64());
}

#[test]
fn a_load_through_gateways_asks_the_coordinator_once_each() {
    let (code, found, said) = load(&[&TINY[..], &["--gateways", "2"]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        (&found["connected"], &found["gateways"]),
        (&12.into(), &2.into())
    );
    assert_eq!(found["contributions"]["accepted"], 12);
    assert_eq!(found["contributions"]["held"]["lost"], 0);
    let push = &found["push"];
    let (bytes, asked) = (push["bytes"].as_u64(), push["coordinator_bytes"].as_u64());
    assert_eq!(
        asked,
        bytes.map(|bytes| 2 * bytes),
        "once a gateway: {push}"
    );
    assert!(found["gateways_memory"]["idle"].as_u64() > Some(1 << 20));
    assert!(found["contributions"]["sent"]["gateways_seconds"].is_number());
}

#[test]
fn load_reuses_enrolled_devices() {
    let folder = tempfile::tempdir().unwrap();
    let mut progress = Progress::new(true);
    let fleet = Fleet::start(Some(folder.path().join("fleet")), &mut progress).unwrap();
    let mut client = fleet.client().unwrap();
    let address = client.status().unwrap().address.to_string();
    let token = client.create_token(600_000, 12).unwrap();
    let state = folder.path().join("devices");
    let kept = [
        "--coordinator",
        &address,
        "--state",
        state.to_str().unwrap(),
    ];
    let (code, _, said) = load(&[&TINY[..], &kept].concat());
    assert_eq!(code, Some(1));
    assert!(said.contains("--token with 12 uses"), "{said}");
    let joining = ["--token", &token];
    let (code, found, said) = load(&[&TINY[..], &kept, &joining].concat());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(found["enrolled"]["count"], 12);
    assert_eq!(found["contributions"], Value::Null);
    // It found the coordinator's process by its port.
    assert!(found["memory"]["idle"].as_u64().unwrap() > 1 << 20);
    let (code, found, said) = load(&[&TINY[..], &kept].concat());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(found["enrolled"], Value::Null);
    assert_eq!(found["connected"], 12);
    assert_eq!(client.status().unwrap().devices.len(), 12);
}

#[test]
fn what_cannot_be_is_refused_before_anything_starts() {
    let (code, _, said) = load(&["--agents", "2", "--contributions", "50"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("ask for more --agents"), "{said}");
}
