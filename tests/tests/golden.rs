//! Bytes of earlier minor versions are read for ever, as what they were.
//!
//! `tests/golden/VERSION` was written once by the version that it is named
//! after, and is only ever added to.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use common::ids::Time;
use common::model::Release;
use common::task::RawTask;
use common::teacher::{RawTeacher, Teacher};
use common::trust::keys::{SigningKey, VerifyingKey};
use common::trust::release::SignedRelease;
use common::trust::token::JoinToken;
use common::trust::trust_root::{Freshness, SignedTrustRoot, TrustRoot};
use common::wire::codec::decode_blob;
use coordinator::validation;
use ndarray::Array2;
use tests::fuzz::{POINTS, TASK, corpus};
use tests::golden::{Case, log_entries, messages};

/// The minor versions there have been.
const VERSIONS: [&str; 1] = ["0.1"];

#[test]
fn earlier_minors_stay_readable() {
    for version in VERSIONS {
        for (part, cases) in parts() {
            let folder = golden(version).join(part);
            let mut left = names(&folder);
            assert!(!left.is_empty(), "{} is empty", folder.display());
            for case in cases {
                // What a later version added, an earlier one did not write.
                if !left.remove(&case.name) {
                    continue;
                }
                let bytes = fs::read(folder.join(format!("{}.bin", case.name))).unwrap();
                if let Err(how) = (case.reads)(&bytes) {
                    panic!("{version} {part}/{} {how}", case.name);
                }
            }
            assert!(left.is_empty(), "nothing says what {left:?} must be");
        }
    }
}

/// Otherwise the next version has nothing to be held to.
#[test]
fn the_newest_version_has_bytes_of_everything() {
    let newest = VERSIONS.last().unwrap();
    for (part, cases) in parts() {
        let committed = names(&golden(newest).join(part));
        for case in cases {
            let hint = "cargo test -p tests --test golden -- --ignored write";
            let found = committed.contains(&case.name);
            assert!(found, "{part}/{} has no bytes: {hint}", case.name);
        }
    }
}

#[test]
fn blobs_of_every_earlier_minor_mean_what_they_meant() {
    for version in VERSIONS {
        let folder = golden(version).join("blobs");
        let facts = fs::read(folder.join("facts.json")).unwrap();
        let facts: Facts = serde_json::from_slice(&facts).unwrap();
        let found = facts_of(&|name| fs::read(folder.join(format!("{name}.bin"))).unwrap());
        assert!(facts.keys().eq(found.keys()), "{version}");
        for (name, values) in &facts {
            let other = &found[name];
            assert_eq!(values.len(), other.len(), "{version} {name}");
            for (a, b) in values.iter().zip(other) {
                let near = (a - b).abs() <= 1e-5 * a.abs().max(1.0);
                assert!(near, "{version} {name}: {values:?} became {other:?}");
            }
        }
    }
}

#[test]
fn what_earlier_minors_signed_is_still_believed() {
    for version in VERSIONS {
        let folder = golden(version).join("signed");
        let of = |name: &str| fs::read(folder.join(name)).unwrap();
        let key = VerifyingKey::from_slice(&of("release.key")).unwrap();
        let signed = SignedRelease::from_bytes(&of("release.bin")).unwrap();
        let payload = signed.verify(&[key]).unwrap();
        Release::from_bytes(payload).unwrap();
        let trust_root = SignedTrustRoot::from_bytes(&of("charter.bin")).unwrap();
        let trust_root = trust_root.first().unwrap();
        assert_eq!((trust_root.number, trust_root.expires), (7, LATER));
        assert_eq!(trust_root.release_keys, [key]);
        let word = Freshness::open(&of("freshness.bin"), &[key]).unwrap();
        assert_eq!((word.issued, word.expires, word.trust_root), (AT, LATER, 7));
        let token = String::from_utf8(of("token.txt")).unwrap();
        let token: JoinToken = token.parse().unwrap();
        assert_eq!(
            token.ca_pin.to_string(),
            String::from_utf8(of("token.pin")).unwrap()
        );
        let base = of("release.bin");
        let delta = common::delta::apply(&base, &of("delta.bin"), 1 << 20).unwrap();
        assert_eq!(delta, of("delta.made"));
    }
}

/// `cargo test --release -p tests --test golden -- --ignored write` writes what
/// is not there yet for the newest version; what is there stays as it is.
#[test]
#[ignore = "writes tests/golden"]
fn write_the_bytes_of_this_version() {
    let folder = golden(VERSIONS.last().unwrap());
    for (part, cases) in parts() {
        for case in cases {
            put(
                &folder.join(part).join(format!("{}.bin", case.name)),
                &case.bytes,
            );
        }
    }
    // A round of three devices made these.
    let corpus = corpus();
    let seed = |name: &str| corpus[name][0].clone();
    let blobs = folder.join("blobs");
    for name in BLOBS {
        put(&blobs.join(format!("{name}.bin")), &seed(name));
    }
    let facts = facts_of(&|name| fs::read(blobs.join(format!("{name}.bin"))).unwrap());
    put(
        &blobs.join("facts.json"),
        &serde_json::to_vec_pretty(&facts).unwrap(),
    );
    write_signed(&folder.join("signed"), seed("release"));
}

fn write_signed(folder: &Path, release: Vec<u8>) {
    if folder.exists() {
        return;
    }
    let (root, key) = (
        SigningKey::generate().unwrap(),
        SigningKey::generate().unwrap(),
    );
    put(&folder.join("release.key"), &key.verifying_key().0);
    let signed = SignedRelease::sign(&key, release).unwrap().to_bytes();
    put(&folder.join("release.bin"), &signed);
    let trust_root = TrustRoot {
        number: 7,
        issued: AT,
        expires: LATER,
        root: root.verifying_key(),
        release_keys: vec![key.verifying_key()],
    };
    let trust_root = SignedTrustRoot::sign(trust_root, &[&root]).unwrap();
    put(&folder.join("charter.bin"), &trust_root.to_bytes());
    let word = Freshness {
        issued: AT,
        expires: LATER,
        trust_root: 7,
    };
    put(&folder.join("freshness.bin"), &word.sign(&key).unwrap());
    let token = String::from_utf8(corpus()["token"][0].clone()).unwrap();
    put(&folder.join("token.txt"), token.as_bytes());
    let pin = token.parse::<JoinToken>().unwrap().ca_pin.to_string();
    put(&folder.join("token.pin"), pin.as_bytes());
    let mut later = signed.clone();
    later[100..110].fill(3);
    later.extend([1; 40]);
    put(
        &folder.join("delta.bin"),
        &common::delta::encode(&signed, &later),
    );
    put(&folder.join("delta.made"), &later);
}

/// What blobs say, as numbers.
type Facts = BTreeMap<String, Vec<f64>>;

/// The blobs facts are told of.
const BLOBS: [&str; 9] = [
    "profile",
    "summary",
    "labels",
    "moments",
    "report",
    "normaliser",
    "transfer_set",
    "teacher",
    "release",
];

fn facts_of(blob: &dyn Fn(&str) -> Vec<u8>) -> Facts {
    let task = RawTask::parse(TASK).unwrap();
    let mut facts = Facts::new();
    let mut say = |name: &str, values: Vec<f64>| {
        facts.insert(name.to_owned(), values);
    };
    let wide = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect();
    let profile = validation::profile(&task, &blob("profile")).unwrap();
    let mut counts = vec![profile.rows() as f64];
    counts.extend(profile.class_counts().iter().map(|count| *count as f64));
    if let Some(moments) = profile.moments() {
        counts.extend(
            moments
                .mean
                .iter()
                .chain(&moments.variance)
                .map(|value| f64::from(*value)),
        );
    }
    say("profile", counts);
    let points = validation::summary(&task, &blob("summary")).unwrap();
    say("summary", wide(points.inputs.as_slice().unwrap()));
    say(
        "summary_counts",
        points
            .counts
            .iter()
            .map(|count| f64::from(*count))
            .collect(),
    );
    let labels = validation::labels(&task, &blob("labels"), POINTS, &|_| None).unwrap();
    say("labels", wide(labels.probabilities.as_slice().unwrap()));
    say("nearness", wide(&labels.nearness));
    let moments = validation::moments(&task, &blob("moments"), POINTS).unwrap();
    let gram = moments.factor.t().dot(&moments.factor);
    say("moments", wide(&gram.diag().to_vec()));
    say("moments_targets", wide(moments.targets.as_slice().unwrap()));
    let report = validation::report(&task, &blob("report")).unwrap();
    let report = report.as_raw();
    say("report", vec![report.rows as f64, report.correct as f64]);
    let transfer = validation::transfer_set(&task, &blob("transfer_set")).unwrap();
    say(
        "transfer_set",
        wide(transfer.points.inputs.as_slice().unwrap()),
    );
    let inputs = Array2::from_shape_fn((4, 6), |(row, column)| {
        (row * 6 + column) as f32 * 0.1 - 1.0
    });
    let normaliser = validation::normaliser(&task, &blob("normaliser")).unwrap();
    let view = normaliser.apply(inputs.view()).unwrap();
    say("normaliser", wide(view.as_slice().unwrap()));
    let teacher: RawTeacher = decode_blob(&blob("teacher")).unwrap();
    let teacher = Teacher::on(teacher, &transfer, 3).unwrap();
    let answers = teacher.probabilities(view.view()).unwrap();
    say("teacher", wide(answers.as_slice().unwrap()));
    let release = Release::from_bytes(&blob("release")).unwrap();
    let answers = release.probabilities(inputs.view()).unwrap();
    say("release", wide(answers.as_slice().unwrap()));
    facts
}

fn parts() -> [(&'static str, Vec<Case>); 2] {
    [("messages", messages()), ("log", log_entries())]
}

fn golden(version: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.join("golden").join(version)
}

/// Names of the files of a folder, without ending.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let stem = |entry: fs::DirEntry| {
        entry
            .path()
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    entries.map(stem).collect()
}

/// Writes a file that is not there; what is there is never changed.
fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if !path.exists() {
        fs::write(path, bytes).unwrap();
    }
}

const AT: Time = Time(1_800_000_000_123);
const LATER: Time = Time(1_900_000_000_000);
