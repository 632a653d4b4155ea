//! Every decoder of outside bytes meets the committed corpus, and mutations
//! of it.
#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use common::evaluation::Evaluation;
use common::feature_weights::FeatureWeights;
use common::gradient::RawGradient;
use common::ids::{BlobHash, DeviceId, RoundId, TaskHash, Time, Version};
use common::math::last_layer::{Residuals, Wanted};
use common::math::random::rng;
use common::round::{ContributionKey, Kind, Phase, Reason};
use common::task::RawTask;
use common::trust::authority::Authority;
use common::trust::bundle::AnnouncedAuthority;
use common::trust::device_key::DeviceKey;
use common::trust::token::{TokenRecord, TokenTerms};
use common::wire::codec::{decode_blob, encode};
use common::wire::frame;
use common::wire::gateway::{Purpose, ToGateway};
use common::wire::messages::*;
use coordinator::admin::Request;
use coordinator::backup::{Archive, StoreCopy, state_files};
use coordinator::identity::Identity;
use coordinator::journal::LogEntry;
use coordinator::journal::audit::AuditRecord;
use coordinator::round::{AbsenceReason, Event, Missed, TaskEvent};
use coordinator::store::{Position, SledStore, Store as _, pack};
use lab::data::Part;
use lab::simulation::Simulation;
use ndarray::Array2;
use tests::fuzz::{
    Corpus, POINTS, PROJECTED, TARGETS, TASK, Target, WEIGHED, corpus, corpus_folder, mutated,
};

/// What `gzip -n` and `zstd -19` make of the rows of `csv`.
const GZIP: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x1d\xc7\xb1\x0d\xc0 \x0cE\xc1\xde\xb3<\x22\
    \x8cq\xf6!\x88\x8e\x01\xfe\xf8\xa0\xe8\xaaSE\x8e\x1a\x0a\xd4Q\xb2\xc7\xb7\xb69\x8d\
    \xa0\x93\xbc\x0c+\xb7O\xae\xa0\xfe\x9ci\x07\xb7p~T9\x00\x00\x00";
const ZSTD: &[u8] =
    b"(\xb5/\xfd 9\x8d\x01\x00BC\x0a\x10\xc0k\x0cC\xd4\xdb\xaa\xb0\xca-\x85\xdcX\x8f\xb5\
    \x07u61\xa2\x0c\xb7\x81*\x93\xf31~[%dJ:\xfb\xe8\xd8\xaf[\x17\x0d\x01\x00\x90\xe0\xa0";
/// Longest that any input may take: declared sizes must not be believed.
const SLOW: Duration = Duration::from_secs(5);

/// Runs one input; what breaks is kept and named.
fn throw(target: &Target, bytes: &[u8]) {
    let begun = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    let slow = begun.elapsed() > SLOW;
    if outcome.is_err() || slow {
        let name = BlobHash::of(bytes).short();
        let path = std::env::temp_dir().join(format!("alambic-{}-{name}.bin", target.name));
        std::fs::write(&path, bytes).unwrap();
        let how = if slow { "is slow" } else { "panics" };
        panic!("{} {how} on {}", target.name, path.display());
    }
}

/// `make fuzz` builds with `--locked`.
#[test]
fn the_fuzzers_lock_file_knows_what_our_crates_stand_on() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let lock = read("fuzz/Cargo.lock");
    for name in ["common", "coordinator", "edge-agent", "lab", "tests"] {
        let is_of = |entry: &&str| entry.starts_with(&format!("\nname = \"{name}\"\n"));
        let entry = lock.split("[[package]]").find(is_of).unwrap();
        let manifest = read(&format!("{name}/Cargo.toml"));
        let lines = manifest
            .lines()
            .skip_while(|line| *line != "[dependencies]");
        let lines = lines.skip(1).take_while(|line| !line.starts_with('['));
        for line in lines.filter(|line| line.contains('=')) {
            let dependency = line.split(['.', ' ', '=']).next().unwrap();
            let quoted = ["\"", " "].map(|end| format!("\"{dependency}{end}"));
            assert!(
                quoted.iter().any(|quoted| entry.contains(quoted)),
                "fuzz/Cargo.lock lacks {dependency} of {name}: cd fuzz && cargo update --workspace"
            );
        }
    }
}

#[test]
fn every_seed_of_the_corpus_is_read_without_a_panic() {
    let corpus = corpus();
    for target in TARGETS {
        let seeds = &corpus[target.name];
        assert!(!seeds.is_empty(), "{} has no seed", target.name);
        for seed in seeds {
            throw(target, seed);
        }
    }
}

#[test]
fn mutations_of_the_corpus_are_read_without_a_panic() {
    let corpus = corpus();
    for target in TARGETS {
        let mut random = rng(1, target.name);
        for _ in 0..3_000 {
            throw(target, &mutated(&corpus[target.name], &mut random));
        }
    }
}

/// `ALAMBIC_FUZZ_SECONDS=1800 cargo test --release -p tests --test fuzz --
/// --ignored --nocapture` spends so long on each target; `ALAMBIC_FUZZ_TARGET`
/// names one.
#[test]
#[ignore = "the long form: 30 s for each target unless told otherwise"]
fn mutations_for_long() {
    let told = |name: &str| std::env::var(name).ok();
    let seconds = told("ALAMBIC_FUZZ_SECONDS").map_or(30, |text| text.parse().unwrap());
    let only = told("ALAMBIC_FUZZ_TARGET");
    let corpus = corpus();
    for target in TARGETS {
        if only.as_ref().is_some_and(|name| name != target.name) {
            continue;
        }
        let seed = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let mut random = rng(seed.as_nanos() as u64, target.name);
        let (begun, mut inputs) = (Instant::now(), 0u64);
        while begun.elapsed() < Duration::from_secs(seconds) {
            throw(target, &mutated(&corpus[target.name], &mut random));
            inputs += 1;
        }
        println!("{}: {inputs} inputs in {seconds} s", target.name);
    }
}

/// `cargo test --release -p tests --test fuzz -- --ignored write` makes the
/// corpus anew, from valid encodings of everything.
#[test]
#[ignore = "writes tests/corpus"]
fn write_the_corpus() {
    for (name, seeds) in valid() {
        let folder = corpus_folder().join(&name);
        std::fs::create_dir_all(&folder).unwrap();
        for (at, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("valid-{at}.bin")), seed).unwrap();
        }
    }
}

/// Valid encodings must be read, or the corpus would test the first check
/// only.
#[test]
fn what_the_corpus_is_made_from_is_valid() {
    let task = RawTask::parse(TASK).unwrap();
    let valid = valid();
    let one = |name: &str| valid[name][0].as_slice();
    coordinator::validation::profile(&task, one("profile")).unwrap();
    let sketched = coordinator::validation::profile(&PROJECTED, one("sketch")).unwrap();
    assert!(sketched.sketch().unwrap().columns() > 0);
    coordinator::validation::scales(&PROJECTED, one("projected_scales")).unwrap();
    let blocks = decode_blob(one("blocks")).unwrap();
    common::blocks::Blocks::check(blocks, 6, 40, 2).unwrap();
    coordinator::validation::summary(&task, one("summary")).unwrap();
    coordinator::validation::labels(&task, one("labels"), POINTS, &|_| None).unwrap();
    coordinator::validation::gradient(&task, one("gradient")).unwrap();
    coordinator::validation::moments(&task, one("moments"), POINTS).unwrap();
    coordinator::validation::transfer_set(&task, one("transfer_set")).unwrap();
    coordinator::validation::transfer_set(&WEIGHED, one("weighed_set")).unwrap();
    common::model::Release::from_bytes(one("release")).unwrap();
    for target in TARGETS {
        assert!(valid.contains_key(target.name), "{}", target.name);
    }
}

fn valid() -> Corpus {
    let mut corpus = Corpus::new();
    let mut add = |name: &str, bytes: Vec<u8>| {
        corpus.entry(name.to_owned()).or_default().push(bytes);
    };
    for bytes in messages() {
        add("frame", frame::encode(&bytes.1).unwrap());
        add(bytes.0, bytes.1);
    }
    for (name, bytes) in blobs() {
        add(name, bytes);
    }
    let now = Time(1_800_000_000_000);
    let identity = Identity::generate(&[], now).unwrap();
    add("charter", identity.trust_root.to_bytes());
    let freshness = common::trust::trust_root::Freshness {
        issued: now,
        expires: now.after_ms(1_000),
        trust_root: 1,
    };
    add("freshness", freshness.sign(&identity.release_key).unwrap());
    add("certificate", identity.authority.certificate().to_vec());
    let request = DeviceKey::generate().unwrap().signing_request().unwrap();
    add("signing_request", request);
    let terms = TokenTerms {
        expires: now,
        uses_max: 1,
        group: None,
        approval: Default::default(),
    };
    let (token, _) = TokenRecord::create(identity.authority.fingerprint(), terms).unwrap();
    add("token", token.reveal().into_bytes());
    add("delta", common::delta::encode(&[7; 100], &[8; 120]));
    add("task_file", TASK.as_bytes().to_vec());
    add("task", RawTask::parse(TASK).unwrap().bytes().to_vec());
    let rows = "x0,x1,x2,x3,x4,x5,label\n1,2,3,4,5,6,a\n-1,2.5e3,0,0,0,1,c\n";
    add("csv", rows.as_bytes().to_vec());
    add("packed", GZIP.to_vec());
    add("packed", ZSTD.to_vec());
    // A JPEG of one block and a PNG of 4 × 3 pixels.
    for picture in [
        &include_bytes!("../corpus/picture/valid-0.bin")[..],
        include_bytes!("../corpus/picture/valid-1.bin"),
    ] {
        add("picture", picture.to_vec());
    }
    let messages = "p/1/flow 12.5\np/1/bar 2\np/1/flow 13\np/1 {\"flow\":1,\"a\":{\"b\":true}}\n";
    add("mqtt", messages.as_bytes().to_vec());
    add(
        "database",
        include_bytes!("../corpus/database/valid-0.bin").to_vec(),
    );
    for file in [
        &include_bytes!("../corpus/parquet/valid-0.bin")[..],
        include_bytes!("../corpus/parquet/valid-1.bin"),
    ] {
        add("parquet", file.to_vec());
    }
    let table = "z;id;y (bar);X;label\non;1;1,5;2;a\noff;2;;3,25;B\n";
    add("table", table.as_bytes().to_vec());
    add("table", b"0 1,5 2 on a\n1 2,5 x off b\n".to_vec());
    let mut recording = "time,g,x,label\n".to_owned();
    for at in 0..24 {
        let (group, label) = (at / 12, ["a", "b"][at / 6 % 2]);
        recording += &format!("{:.2},{group},{at},{label}\n", at as f64 * 0.1);
    }
    add("recording", recording.into_bytes());
    let array = |shape: Vec<usize>, values: Vec<f32>| {
        common::npz::Array::new(shape, common::npz::Values::F32(values)).unwrap()
    };
    let (x, y) = (
        array(vec![2, 6], vec![0.5; 12]),
        array(vec![2], vec![0.0, 2.0]),
    );
    let archive = common::npz::write(&[("X", &x), ("y", &y)]).unwrap();
    add("npz", archive.clone());
    add("rows_npz", archive);
    for request in [
        Request::Status,
        Request::CreateTask {
            namesake: Default::default(),
            text: TASK.to_owned(),
        },
        Request::RevokeDevice {
            device: DeviceId([3; 16]),
            reason: "lost".to_owned(),
        },
    ] {
        add("admin_request", serde_json::to_vec(&request).unwrap());
    }
    add("coordinator_config", example("coordinator.toml"));
    add("agent_config", example("agent.toml"));
    add("sweep", example("sweep-digits.toml"));
    for name in ["task-digits.toml", "task-har.toml"] {
        add("task_file", example(name));
    }
    for (name, bytes) in of_a_store(&identity, now) {
        add(name, bytes);
    }
    add(
        "question",
        b"{\"inputs\":[[1,2,3,4,5,6]],\"all\":true}".to_vec(),
    );
    add(
        "question",
        b"{\"input\":[0,0,0,0,0,0.5],\"task\":\"fuzz\"}".to_vec(),
    );
    add("query", b"device=0a0b&page=2&task=a%20b+c".to_vec());
    let event = Event::Released {
        version: Version {
            epoch: 1,
            number: 1,
        },
        blob: BlobHash([1; 32]),
        bytes: 9,
        lineage: vec![DeviceId([1; 16]); 3],
        at: now,
    };
    let task = TaskHash([1; 32]);
    add(
        "log_entry",
        LogEntry::Task(TaskEvent { task, event }).to_bytes(),
    );
    let event = Event::Missed(Missed {
        named: vec![(DeviceId([9; 16]), AbsenceReason::Silent)],
        counts: vec![(AbsenceReason::Silent, 1), (AbsenceReason::NotAsked, 300)],
    });
    add(
        "log_entry",
        LogEntry::Task(TaskEvent { task, event }).to_bytes(),
    );
    corpus
}

/// An annotated example, with everything that is commented out said.
fn example(name: &str) -> Vec<u8> {
    let path = corpus_folder().join("../../configs").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let is_key = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let is_setting = |line: &&str| {
        let key = line.split_once(" = ").map(|(key, _)| key);
        line.starts_with('[') || key.is_some_and(is_key)
    };
    let lines = text.lines().map(|line| line.trim_start_matches(['#', ' ']));
    let said: Vec<_> = lines.filter(is_setting).collect();
    said.join("\n").into_bytes()
}

/// A store's records, one of them for an auditor, and a backup of it all.
fn of_a_store(identity: &Identity, now: Time) -> Vec<(&'static str, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    identity.create_in(&state).unwrap();
    let store = SledStore::open(state.join("store")).unwrap();
    let spec = store
        .put_blob(RawTask::parse(TASK).unwrap().bytes())
        .unwrap();
    let epoch = store.open_epoch().unwrap();
    let event = Event::TaskCreated { spec, at: now };
    let task = RawTask::parse(TASK).unwrap().hash();
    let entry = LogEntry::Task(TaskEvent { task, event }).to_bytes();
    store.append(epoch, None, &[entry]).unwrap();
    let mut copy = StoreCopy::begin(&store).unwrap();
    let out = folder.path().join("backup.tar");
    let mut archive = Archive::create(&out, copy.contents(), now).unwrap();
    for file in &state_files(&state, None).unwrap().0 {
        archive.state_file(file).unwrap();
    }
    while let Some((name, bytes)) = copy.next(&store).unwrap() {
        archive.piece(&name, &bytes).unwrap();
    }
    archive.finish().unwrap();
    let records = store.read(Position(0), 100).unwrap();
    let audit = AuditRecord::of(&records[0]);
    vec![
        ("records", pack(&records)),
        ("audit_record", serde_json::to_vec(&audit).unwrap()),
        ("backup", std::fs::read(out).unwrap()),
    ]
}

fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let (task, blob) = (TaskHash([1; 32]), BlobHash([2; 32]));
    let version = Version {
        epoch: 1,
        number: 300,
    };
    let key = ContributionKey {
        task,
        transfer: Some(blob),
        round: RoundId(3),
        phase: Phase::Contribute,
        kind: Kind::Moments,
    };
    let announced = Announcement {
        task,
        version,
        blob,
        bytes: 70_000,
        soak_ms: 1_800_000,
    };
    let authority = Authority::create("fuzz", Time(1_800_000_000_000)).unwrap();
    let authorities = vec![AnnouncedAuthority {
        certificate: authority.certificate().to_vec(),
        cross: Some(authority.certificate().to_vec()),
    }];
    let call = Call {
        task,
        round: RoundId(3),
        phase: Phase::Report,
        context: Context {
            task: blob,
            normaliser: Some(blob),
            transfer: None,
            teacher: Some(blob),
            release: Some(blob),
        },
        remaining_ms: 60_000,
    };
    vec![
        (
            "to_coordinator",
            encode(&ToCoordinator::Hello(Hello {
                minor: 0,
                agent: "0.1.0".to_owned(),
                installed: vec![(task, version); 2],
                instance: 77,
                clock: Time(1_800_000_000_000),
            })),
        ),
        (
            "to_coordinator",
            encode(&ToCoordinator::Tried {
                task,
                version,
                evaluation: Evaluation::Kept,
            }),
        ),
        (
            "to_device",
            encode(&ToDevice::Welcome(Welcome {
                minor: 0,
                time: Time(5),
                tasks: vec![(task, blob)],
                trust_root: vec![1; 200],
                freshness: vec![2; 100],
            })),
        ),
        ("to_device", encode(&ToDevice::Call(call))),
        ("to_device", encode(&ToDevice::Released(announced))),
        (
            "transfer_request",
            encode(&TransferRequest::Offer {
                key,
                blob,
                bytes: 300,
            }),
        ),
        (
            "transfer_request",
            encode(&TransferRequest::FetchAgainst { blob, base: blob }),
        ),
        (
            "gateway",
            encode(&ToGateway::Revoked(vec![common::ids::DeviceId([3; 16]); 2])),
        ),
        (
            "gateway",
            encode(&Purpose::Session {
                session: 300,
                certificate: vec![1; 400],
                address: ([10, 0, 0, 7], 40_000).into(),
            }),
        ),
        (
            "transfer_answer",
            encode(&TransferAnswer::Refused(Reason::NotFinite)),
        ),
        (
            "transfer_answer",
            encode(&TransferAnswer::Newest(announced)),
        ),
        (
            "enrol_request",
            encode(&EnrolRequest::Join {
                token: "0123456789".to_owned(),
                secret: vec![1; 20],
                csr: vec![2; 250],
                label: "pump".to_owned(),
            }),
        ),
        (
            "enrol_answer",
            encode(&EnrolAnswer::Issued {
                device: DeviceId([1; 16]),
                certificate: vec![3; 400],
                authorities,
                trust_root: vec![4; 200],
            }),
        ),
    ]
}

/// What a simulated round of three devices sends and makes.
fn blobs() -> Vec<(&'static str, Vec<u8>)> {
    let task = RawTask::parse(TASK).unwrap();
    let rows = 180;
    let inputs = Array2::from_shape_fn((rows, 6), |(row, column)| {
        ((row * 7 + column * 3) as f32 * 0.61).sin() + (row % 3) as f32
    });
    let train = Part {
        inputs,
        labels: (0..rows).map(|row| (row % 3) as u16).collect(),
        numbers: None,
        users: None,
        groups: None,
    };
    let train = std::sync::Arc::new(train);
    let parts: Vec<Vec<usize>> = (0..3).map(|of| (of * 60..of * 60 + 60).collect()).collect();
    let privacy = edge_agent::work::Privacy {
        rows_min: 2,
        cluster_size_min: 2,
        rows_per_direction: 2,
    };
    let (projected, same) = (PROJECTED.clone(), parts.clone());
    let mut sketching = Simulation::new(projected, train.clone(), same, privacy, 1).unwrap();
    let mut fleet = Simulation::new(task, train, parts, privacy, 1).unwrap();
    fleet.connect().unwrap();
    let result = fleet.round().unwrap();
    let mut blobs = Vec::new();
    for kind in Kind::ALL {
        let name = kind.name();
        for contribution in fleet.contributions(kind) {
            blobs.push((name, fleet.blob(contribution.blob).unwrap()));
        }
    }
    sketching.connect().unwrap();
    let [_, _, scales] = sketching.round().unwrap().teacher;
    for profile in sketching.contributions(Kind::Profile) {
        blobs.push(("sketch", sketching.blob(profile.blob).unwrap()));
    }
    blobs.push(("projected_scales", sketching.blob(scales).unwrap()));
    let features = Array2::from_shape_fn((40, 6), |(row, column)| {
        ((row * 7 + column) as f32 * 0.3).sin().exp()
    });
    let spread = common::blocks::RawBlocks::of(features.view(), 2);
    blobs.push(("blocks", encode(&spread)));
    // Nothing is refined here.
    let (version, student) = (result.release.version(), result.release.student());
    let classes = (0..40).map(|row| row % 3).collect::<Vec<u16>>();
    let residuals = Residuals::of(student, features.view(), Wanted::Classes(&classes)).unwrap();
    let gradient = RawGradient::of(version, 0, vec![14, 13, 13], &residuals).unwrap();
    blobs.push(("gradient", encode(&gradient)));
    let [teacher, transfer, normaliser] = result.teacher;
    blobs.push(("teacher", fleet.blob(teacher).unwrap()));
    let set = fleet.blob(transfer).unwrap();
    let weights = FeatureWeights::of(&[0.3, 1.0, 0.0, 2.5, 0.7, 1.2]).unwrap();
    let behind = encode(&weights.to_raw());
    blobs.push(("weighed_set", [set.as_slice(), behind.as_slice()].concat()));
    blobs.push(("transfer_set", set));
    blobs.push(("normaliser", fleet.blob(normaliser).unwrap()));
    let release = result.release.to_bytes();
    let key = common::trust::keys::SigningKey::generate().unwrap();
    let signed = common::trust::release::SignedRelease::sign(&key, release.clone()).unwrap();
    blobs.push(("signed_release", signed.to_bytes()));
    blobs.push(("release", release));
    blobs
}
