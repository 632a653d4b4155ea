//! Decoders of outside bytes, each behind one function, and what is thrown at
//! them.
//!
//! A target takes any bytes and must neither panic nor take long. Seeds are
//! valid encodings (`tests/corpus`, one folder a target); mutations change
//! them in ways that get past the first check: single bits, lengths that lie,
//! parts of other seeds, cuts and repeats.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use common::blocks::{Blocks, RawBlocks};
use common::features::InputShape;
use common::model::Release;
use common::npz::Archive;
use common::report::RawReport;
use common::task::{RawTask, Task};
use common::teacher::RawTeacher;
use common::trust::authority::SigningRequest;
use common::trust::certificate::CertificateFacts;
use common::trust::keys::VerifyingKey;
use common::trust::release::SignedRelease;
use common::trust::token::JoinToken;
use common::trust::trust_root::{Freshness, SignedTrustRoot};
use common::wire::codec::{decode, decode_blob};
use common::wire::frame::FrameReader;
use common::wire::gateway::{ForDevice, FromDevice, FromGateway, Purpose, ToGateway};
use common::wire::messages::{
    EnrolAnswer, EnrolRequest, ToCoordinator, ToDevice, TransferAnswer, TransferRequest,
};
use coordinator::admin::Request;
use coordinator::journal::LogEntry;
use coordinator::journal::audit::AuditRecord;
use coordinator::store::Position;
use coordinator::validation;
use edge_agent::data::{BadRows, Dataset, LabelSource, Mapping, Schema};
use edge_agent::mqtt::{Message, Rows};
use edge_agent::predictions::Question;
use rand::Rng;
use tempfile::NamedTempFile;

/// A decoder and its name.
pub struct Target {
    /// The folder of its seeds.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
}

/// The task that blobs are checked against.
pub const TASK: &str = "name = \"fuzz\"\ncontribute = \"both\"\n[input]\nshape = [6]\n[classes]\n\
    names = [\"a\", \"b\", \"c\"]\n[features]\nstage = \"raw\"\n[student]\nhidden = [4]\n[budget]\npoints_per_device = 4\n\
    points_max = 12\nrank_max = 4\ncluster_size_min = 2\n[distillation]\nsteps = 5\nbatch = 8\n\
    [rounds]\ndevices_min = 1\n";
/// Points of its transfer set.
pub const POINTS: usize = 12;

static CHECKED: LazyLock<Task> = LazyLock::new(|| RawTask::parse(TASK).unwrap());

/// The same, with weights of features behind the points.
pub static WEIGHED: LazyLock<Task> = LazyLock::new(|| {
    RawTask::parse(&format!("{TASK}[teacher]\nfeature_weights = true\n")).unwrap()
});

/// A task whose devices learn the projection behind a frozen model.
pub static PROJECTED: LazyLock<Task> = LazyLock::new(|| {
    let model = "ab".repeat(32);
    let text = TASK.replace(
        "stage = \"raw\"",
        &format!(
            "stage = \"onnx\"\nmodel = \"{model}\"\nwidth = 6\nbytes = 9\ndirections = 4\n\
             learn_directions = true"
        ),
    );
    RawTask::parse(&text).unwrap()
});

/// Every decoder of outside bytes.
pub const TARGETS: &[Target] = &[
    Target {
        name: "frame",
        run: |bytes| {
            let mut reader = FrameReader::new();
            let mut rest = bytes;
            while !rest.is_empty() {
                match reader.push(rest) {
                    Ok((taken, _)) => rest = &rest[taken..],
                    Err(_) => return,
                }
            }
            let _ = reader.end();
        },
    },
    Target {
        name: "to_coordinator",
        run: |bytes| drop(decode::<ToCoordinator>(bytes)),
    },
    Target {
        name: "to_device",
        run: |bytes| drop(decode::<ToDevice>(bytes)),
    },
    Target {
        name: "transfer_request",
        run: |bytes| drop(decode::<TransferRequest>(bytes)),
    },
    Target {
        name: "transfer_answer",
        run: |bytes| drop(decode::<TransferAnswer>(bytes)),
    },
    Target {
        name: "enrol_request",
        run: |bytes| drop(decode::<EnrolRequest>(bytes)),
    },
    Target {
        name: "enrol_answer",
        run: |bytes| drop(decode::<EnrolAnswer>(bytes)),
    },
    Target {
        name: "gateway",
        run: |bytes| {
            let _ = decode::<FromGateway>(bytes);
            let _ = decode::<ToGateway>(bytes);
            let _ = decode::<Purpose>(bytes);
            let _ = decode::<FromDevice>(bytes);
            let _ = decode::<ForDevice>(bytes);
        },
    },
    Target {
        name: "profile",
        run: |bytes| drop(validation::profile(&CHECKED, bytes)),
    },
    Target {
        name: "sketch",
        run: |bytes| drop(validation::profile(&PROJECTED, bytes)),
    },
    Target {
        name: "projected_scales",
        run: |bytes| {
            if let Ok(scales) = validation::scales(&PROJECTED, bytes) {
                let row = ndarray::Array2::from_elem((1, 6), 0.5);
                let _ = scales.normaliser.apply(row.view());
            }
        },
    },
    Target {
        name: "blocks",
        run: |bytes| {
            if let Ok(raw) = decode_blob::<RawBlocks>(bytes) {
                let _ = Blocks::check(raw, 6, 40, 2);
            }
        },
    },
    Target {
        name: "summary",
        run: |bytes| drop(validation::summary(&CHECKED, bytes)),
    },
    Target {
        name: "labels",
        run: |bytes| drop(validation::labels(&CHECKED, bytes, POINTS, &|_| None)),
    },
    Target {
        name: "gradient",
        run: |bytes| drop(validation::gradient(&CHECKED, bytes)),
    },
    Target {
        name: "moments",
        run: |bytes| drop(validation::moments(&CHECKED, bytes, POINTS)),
    },
    Target {
        name: "report",
        run: |bytes| {
            let _ = validation::report(&CHECKED, bytes);
            let _ = decode::<RawReport>(bytes);
        },
    },
    Target {
        name: "normaliser",
        run: |bytes| drop(validation::normaliser(&CHECKED, bytes)),
    },
    Target {
        name: "transfer_set",
        run: |bytes| drop(validation::transfer_set(&CHECKED, bytes)),
    },
    Target {
        name: "weighed_set",
        run: |bytes| {
            if let Ok(set) = validation::transfer_set(&WEIGHED, bytes) {
                assert!(set.seen().iter().all(|value| value.is_finite()));
            }
        },
    },
    Target {
        name: "teacher",
        run: |bytes| drop(decode_blob::<RawTeacher>(bytes)),
    },
    Target {
        name: "release",
        run: |bytes| {
            let _ = Release::from_bytes(bytes);
        },
    },
    Target {
        name: "signed_release",
        run: |bytes| {
            if let Ok(signed) = SignedRelease::from_bytes(bytes) {
                let _ = signed.verify(&[VerifyingKey([7; 32])]);
            }
        },
    },
    Target {
        name: "charter",
        run: |bytes| {
            if let Ok(signed) = SignedTrustRoot::from_bytes(bytes) {
                let _ = signed.first();
            }
        },
    },
    Target {
        name: "freshness",
        run: |bytes| drop(Freshness::open(bytes, &[VerifyingKey([7; 32])])),
    },
    Target {
        name: "delta",
        run: |bytes| drop(common::delta::apply(&[7; 100], bytes, 1 << 20)),
    },
    Target {
        name: "token",
        run: |bytes| {
            if let Ok(text) = std::str::from_utf8(bytes) {
                let _ = text.parse::<JoinToken>();
            }
        },
    },
    Target {
        name: "certificate",
        run: |bytes| drop(CertificateFacts::parse(bytes)),
    },
    Target {
        name: "signing_request",
        run: |bytes| drop(SigningRequest::parse(bytes)),
    },
    Target {
        name: "npz",
        run: |bytes| {
            if let Ok(archive) = Archive::open(bytes) {
                for name in archive.names() {
                    let _ = archive.array(&name);
                }
            }
        },
    },
    Target {
        name: "csv",
        run: |bytes| drop(Dataset::parse("rows.csv".as_ref(), bytes, &SCHEMA)),
    },
    Target {
        name: "table",
        run: |bytes| {
            for schema in MAPPED.iter() {
                let _ = Dataset::parse("rows.csv".as_ref(), bytes, schema);
            }
        },
    },
    Target {
        name: "recording",
        run: |bytes| drop(Dataset::parse("rows.csv".as_ref(), bytes, &SERIES)),
    },
    Target {
        name: "picture",
        run: |bytes| {
            for name in ["a/one.png", "one.jpg"] {
                let _ = Dataset::parse(name.as_ref(), bytes, &PICTURES);
            }
        },
    },
    Target {
        name: "packed",
        run: |bytes| {
            for name in ["rows.csv.gz", "rows.csv.zst"] {
                let _ = Dataset::parse(name.as_ref(), bytes, &SCHEMA);
            }
        },
    },
    Target {
        name: "mqtt",
        run: |bytes| {
            let mut rows = Rows::default();
            for message in bytes.split(|&byte| byte == b'\n') {
                let at = message.iter().position(|&byte| byte == b' ').unwrap_or(0);
                let (topic, payload) = message.split_at(at);
                let topic = String::from_utf8_lossy(topic);
                if let Some(message) = Message::of(&topic, payload) {
                    let _ = rows.take(message.clone(), true, 1);
                    let _ = rows.take(message, false, 1);
                }
            }
        },
    },
    Target {
        name: "database",
        run: |bytes| {
            for schema in DATABASES.iter() {
                let _ = Dataset::parse("rows.sqlite".as_ref(), bytes, schema);
            }
        },
    },
    Target {
        name: "parquet",
        run: |bytes| drop(Dataset::parse("rows.parquet".as_ref(), bytes, &PARQUET)),
    },
    Target {
        name: "rows_npz",
        run: |bytes| drop(Dataset::parse("rows.npz".as_ref(), bytes, &SCHEMA)),
    },
    Target {
        name: "task_file",
        run: |bytes| {
            if let Ok(text) = std::str::from_utf8(bytes) {
                let _ = RawTask::parse(text);
            }
        },
    },
    Target {
        name: "task",
        run: |bytes| {
            let _ = Task::from_bytes(bytes);
        },
    },
    Target {
        name: "log_entry",
        run: |bytes| drop(LogEntry::from_bytes(bytes)),
    },
    Target {
        name: "admin_request",
        run: |bytes| drop(serde_json::from_slice::<Request>(bytes)),
    },
    Target {
        name: "coordinator_config",
        run: |bytes| {
            let file = in_file(bytes);
            let flags = coordinator::config::Flags {
                config: Some(file.path().to_owned()),
                ..Default::default()
            };
            drop(coordinator::config::Config::resolve(&flags, |_| None));
        },
    },
    Target {
        name: "agent_config",
        run: |bytes| {
            let file = in_file(bytes);
            let flags = edge_agent::config::Flags {
                config: Some(file.path().to_owned()),
                ..Default::default()
            };
            drop(edge_agent::config::Config::load(&flags, &|_| None));
        },
    },
    Target {
        name: "sweep",
        run: |bytes| drop(lab::sweep::Grid::open(in_file(bytes).path())),
    },
    Target {
        name: "backup",
        run: |bytes| {
            drop(coordinator::backup::check(
                in_file(bytes).path(),
                &mut |_| {},
            ))
        },
    },
    Target {
        name: "records",
        run: |bytes| drop(coordinator::store::unpack(Position(0), bytes)),
    },
    Target {
        name: "audit_record",
        run: |bytes| {
            if let Ok(record) = serde_json::from_slice::<AuditRecord>(bytes) {
                let _ = record.follow(None);
            }
        },
    },
    Target {
        name: "question",
        run: |bytes| {
            if let Ok(question) = Question::parse(bytes)
                && question.values() < QUESTION_VALUES_MAX
            {
                let _ = question.answer(&STUDENT, None);
            }
        },
    },
    Target {
        name: "query",
        run: |bytes| {
            if let Ok(text) = std::str::from_utf8(bytes) {
                let _ = coordinator::page::query(text);
            }
        },
    },
];

/// What is read by its path.
fn in_file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// More would only show that arithmetic takes time.
const QUESTION_VALUES_MAX: usize = 10_000;

/// The student that questions are put to.
static STUDENT: LazyLock<Release> = LazyLock::new(|| {
    let folder = corpus_folder().join("release");
    Release::from_bytes(&std::fs::read(folder.join("valid-0.bin")).unwrap()).unwrap()
});

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let classes = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
    let shape: InputShape = CHECKED.input_shape().clone();
    let schema = Schema::new(shape, classes).unwrap();
    schema.with_labels(LabelSource::Column("label".to_owned()))
});

/// A table whose columns are found by name, as one owner and as another have
/// it read.
static MAPPED: LazyLock<[Schema; 2]> = LazyLock::new(|| {
    let input = "kind = \"table\"\nmissing = \"mean\"\ncolumns = [\"x\", \
                 { name = \"y\", unit = \"bar\" }, { name = \"z\", values = [\"on\", \"off\"] }]";
    let plain = named(input);
    let mapping = Mapping {
        separator: Some(b' '),
        decimal: Some(b','),
        names: Some(["t", "x", "y", "z", "label"].map(str::to_owned).to_vec()),
        bad_rows: BadRows::Skip,
        ..Mapping::default()
    };
    [plain.clone().with_mapping(mapping), plain]
});

/// Recordings with times and groups.
static SERIES: LazyLock<Schema> = LazyLock::new(|| {
    let input =
        "kind = \"series\"\nchannels = [\"x\"]\nrate_hz = 10\nwindow_s = 0.4\nlabel_share = 0.7";
    named(input).with_mapping(Mapping {
        group_column: Some("g".to_owned()),
        ..Mapping::default()
    })
});

static DATABASES: LazyLock<[Schema; 2]> = LazyLock::new(|| {
    let query =
        "SELECT flow_lpm, pressure_bar, state AS label FROM readings JOIN states USING (id)";
    [None, Some(query.to_owned())].map(|query| {
        named("shape = [2]").with_mapping(Mapping {
            query,
            ..Mapping::default()
        })
    })
});

static PARQUET: LazyLock<Schema> = LazyLock::new(|| {
    named(
        "kind = \"table\"\nmissing = \"skip-row\"\ncolumns = [{ name = \"flow_lpm\" }, \
         { name = \"pressure_bar\" }, { name = \"valve\" }]",
    )
    .with_mapping(Mapping {
        labels: [("ok", "a"), ("blocked", "b")]
            .map(|(written, class)| (written.to_owned(), class.to_owned()))
            .into(),
        ..Mapping::default()
    })
});

static PICTURES: LazyLock<Schema> = LazyLock::new(|| named("shape = [5, 3, 3]"));

fn named(input: &str) -> Schema {
    let text = format!("name = \"t\"\n[classes]\nnames = [\"a\", \"b\"]\n[input]\n{input}");
    let task = RawTask::parse(&text).unwrap();
    let classes = task.definition().classes.clone();
    let schema = Schema::new(task.input_shape().clone(), classes).unwrap();
    // Declared lengths must not be believed, whatever they are.
    schema
        .with_input(task.input().clone())
        .with_values_max(100_000)
}

/// Seeds by target.
pub type Corpus = BTreeMap<String, Vec<Vec<u8>>>;

/// Where the committed seeds are.
pub fn corpus_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The committed seeds.
pub fn corpus() -> Corpus {
    let mut corpus = Corpus::new();
    for target in TARGETS {
        let folder = corpus_folder().join(target.name);
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
        files.sort();
        let seeds = files.iter().map(|path| std::fs::read(path).unwrap());
        corpus.insert(target.name.to_owned(), seeds.collect());
    }
    corpus
}

/// A changed copy of one of the seeds.
pub fn mutated(seeds: &[Vec<u8>], random: &mut impl Rng) -> Vec<u8> {
    let pick =
        |random: &mut _| -> Vec<u8> { seeds[Rng::random_range(random, 0..seeds.len())].clone() };
    let mut bytes = pick(random);
    for _ in 0..random.random_range(1..6) {
        if bytes.is_empty() {
            bytes.push(random.random());
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..9) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => {
                bytes[at] =
                    [0, 1, 0x7f, 0x80, 0xfa, 0xfb, 0xfc, 0xfd, 0xff][random.random_range(0..9)]
            }
            2 => bytes[at] = random.random(),
            3 => bytes.truncate(at),
            4 => {
                let extra = random.random_range(1..64);
                bytes.extend((0..extra).map(|_| random.random::<u8>()));
            }
            5 => {
                // A length that lies, as the codec writes long ones.
                let lies = [u64::MAX, 1 << 40, 1 << 32, 1 << 31, 65_536, 251, 0];
                let lie = lies[random.random_range(0..lies.len())].to_le_bytes();
                let mark = if random.random_bool(0.5) {
                    vec![0xfd]
                } else {
                    Vec::new()
                };
                let lie: Vec<u8> = mark.into_iter().chain(lie).collect();
                let end = (at + lie.len()).min(bytes.len());
                bytes.splice(at..end, lie);
            }
            6 => {
                let other = pick(random);
                let from = random.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            7 => {
                let end = random.random_range(at..=bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let end = random.random_range(at..=bytes.len());
                bytes.drain(at..end);
            }
        }
        bytes.truncate(LENGTH_MAX);
    }
    bytes
}

/// Repeats must not grow without end.
const LENGTH_MAX: usize = 256 * 1024;
