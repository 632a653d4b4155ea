#![allow(clippy::unwrap_used)]
use common::features::{Normaliser, Projection};
use common::ids::{BlobHash, RoundId};
use common::math::random::rng;
use common::round::Phase;
use common::summary::Points;
use common::task::RawTask;
use common::transfer::RawTransferSet;
use common::wire::codec::encode;
use common::wire::messages::{Call, Context};
use ndarray::Array2;
use proptest::prelude::*;
use rand::Rng;

use super::super::Policy;
use super::*;
use crate::work::{RawRows, TeacherChoice, Work};

const FEATURES: usize = 4;
const DIRECTIONS: usize = 3;
const POINTS: usize = 12;

struct Case {
    task: Task,
    blobs: BTreeMap<BlobHash, Vec<u8>>,
    context: Context,
}

/// What a case's task learns from profiles.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Learns {
    Nothing,
    Normaliser,
    Projection,
}

fn case(classes: usize, learns: Learns) -> Case {
    let names: Vec<String> = (0..classes).map(|class| format!("\"{class}\"")).collect();
    let model = "ab".repeat(32);
    let range = match learns {
        Learns::Nothing => "[normaliser]\nrange = [-2.0, 2.0]\n".to_owned(),
        Learns::Normaliser => "[features]\nstage = \"raw\"\n".to_owned(),
        Learns::Projection => format!(
            "[features]\nstage = \"onnx\"\nmodel = \"{model}\"\nwidth = {FEATURES}\n\
             bytes = 9\ndirections = {DIRECTIONS}\nlearn_directions = true\n"
        ),
    };
    let text = format!(
        "name = \"t\"\ncontribute = \"both\"\n[input]\nshape = [{FEATURES}]\n[classes]\nnames = [{}]\n{range}\
         [budget]\npoints_per_device = 20\n",
        names.join(", ")
    );
    let task = RawTask::parse(&text).unwrap();
    let mut random = rng(3, "points");
    let points = Points {
        inputs: Array2::from_shape_fn((POINTS, task.features()), |_| {
            random.random_range(-1.0..1.0)
        }),
        classes: (0..POINTS).map(|at| (at % classes) as u16).collect(),
        counts: vec![9; POINTS],
        spreads: vec![0.3; POINTS],
        targets: None,
    };
    let set = RawTransferSet {
        points: points.to_raw(8).unwrap(),
        feature_weights: None,
        targets: None,
    };
    let mut normaliser = Normaliser::of_range(FEATURES, -2.0, 2.0).unwrap();
    if learns == Learns::Projection {
        let directions = Array2::eye(FEATURES);
        let directions = directions.slice(ndarray::s![.., ..DIRECTIONS]);
        normaliser = normaliser.with_projection(Projection::of(directions).unwrap());
    }
    let normaliser = encode(&normaliser);
    let mut blobs = BTreeMap::new();
    let mut keep = |bytes: Vec<u8>| {
        let name = BlobHash::of(&bytes);
        blobs.insert(name, bytes);
        Some(name)
    };
    let context = Context {
        task: keep(task.bytes().to_vec()).unwrap(),
        normaliser: keep(normaliser),
        transfer: keep(set.to_bytes()),
        teacher: None,
        release: None,
    };
    Case {
        task,
        blobs,
        context,
    }
}

/// What a device with these labels answers in a phase.
fn answers(case: &Case, policy: &Policy, labels: &[Option<u16>], phase: Phase) -> Vec<Entry> {
    let mut random = rng(labels.len() as u64, "rows");
    let inputs = Array2::from_shape_fn((labels.len(), FEATURES), |_| {
        random.random_range(-2.0f32..2.0)
    });
    let work = Work {
        task: &case.task,
        blobs: &case.blobs,
        rows: RawRows {
            inputs: inputs.view(),
            seen: None,
            labels,
            numbers: None,
            soft: None,
        },
        stands_for: None,
        privacy: policy.privacy(case.task.definition().budget.cluster_size_min),
        teacher: &TeacherChoice::Kernel,
        seed: 1,
    };
    let call = Call {
        task: case.task.hash(),
        round: RoundId(1),
        phase,
        context: case.context,
        remaining_ms: 1_000,
    };
    work.answer(&call).unwrap().entries
}

fn policy(rows_min: i64, rows_per_direction: i64) -> Policy {
    let text = format!("rows_min = {rows_min}\nrows_per_direction = {rows_per_direction}");
    let raw: super::super::RawPolicy = toml::from_str(&text).unwrap();
    raw.check().unwrap()
}

fn labels(counts: &[usize], unlabelled: usize) -> Vec<Option<u16>> {
    let labelled = counts.iter().enumerate();
    let labelled = labelled.flat_map(|(class, &rows)| vec![Some(class as u16); rows]);
    labelled.chain(vec![None; unlabelled]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Of any data, what is built may leave, and tells no more directions
    /// than one for so many rows.
    #[test]
    fn whatever_is_built_tells_few_directions_of_its_rows(
        counts in prop::collection::vec(0usize..70, 2..7), unlabelled in 0usize..60,
        rows_min in 2i64..30, rows_per_direction in 2i64..30,
        learns in prop::sample::select(vec![
            Learns::Nothing, Learns::Normaliser, Learns::Projection,
        ]),
    ) {
        let case = case(counts.len(), learns);
        let policy = policy(rows_min, rows_per_direction);
        let labels = labels(&counts, unlabelled);
        for phase in [Phase::Profile, Phase::Summarise, Phase::Contribute] {
            for entry in answers(&case, &policy, &labels, phase) {
                prop_assert_eq!(policy.permit_content(&case.task, &entry), Ok(()));
                let privacy = policy.privacy(1);
                let told = told(privacy, &case.task, &entry).unwrap();
                prop_assert!(told.rows <= labels.len() as u64);
                let rows = (told.directions as u64 + 2) * rows_per_direction as u64;
                prop_assert!(told.directions == 0 || rows <= told.rows, "{told:?}");
            }
        }
    }
}

#[test]
fn a_device_of_few_rows_sends_no_moments_and_no_means() {
    let case = case(2, Learns::Normaliser);
    let fewest = labels(&[29], 0);
    assert!(answers(&case, &Policy::default(), &fewest, Phase::Profile).is_empty());
    let few = labels(&[20, 24], 0);
    assert!(answers(&case, &Policy::default(), &few, Phase::Contribute).is_empty());
    let enough = labels(&[20, 25], 0);
    let kinds = |phase| {
        let entries = answers(&case, &Policy::default(), &enough, phase);
        entries.iter().map(|entry| entry.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(Phase::Profile), [Kind::Profile]);
    let profile = answers(&case, &Policy::default(), &labels(&[30], 0), Phase::Profile);
    assert_eq!(profile.len(), 1);
    assert_eq!(kinds(Phase::Contribute), [Kind::Labels, Kind::Moments]);
}

#[test]
fn samples_of_too_few_rows_in_the_mean_stay() {
    let case = case(2, Learns::Nothing);
    let permitted = |counts: [u32; 3]| {
        let points = Points {
            inputs: Array2::zeros((3, FEATURES)),
            classes: vec![0, 0, 1],
            counts: counts.to_vec(),
            spreads: vec![0.3; 3],
            targets: None,
        };
        let entry = Entry {
            kind: Kind::Summary,
            bytes: encode(&points.to_raw(8).unwrap()),
            rows: 40,
        };
        Policy::default().permit_content(&case.task, &entry)
    };
    // One sample of a class stands for five rows, several for ten each.
    assert_eq!(permitted([5, 15, 5]), Ok(()));
    for few in [[5, 14, 5], [4, 30, 5], [5, 15, 4]] {
        let refused = permitted(few);
        let why = matches!(
            refused,
            Err(Refusal::Part {
                rows: 4,
                rows_min: 5,
                ..
            })
        );
        assert!(why, "{few:?}: {refused:?}");
    }
}

#[test]
fn bytes_that_tell_too_much_stay_whatever_built_them() {
    let case = case(4, Learns::Nothing);
    let loose = policy(2, 2);
    let strict = Policy::default();
    let rows = labels(&[30, 30, 30, 30], 0);
    for entry in answers(&case, &loose, &rows, Phase::Contribute) {
        assert_eq!(loose.permit_content(&case.task, &entry), Ok(()));
        let refused = strict.permit_content(&case.task, &entry);
        match entry.kind {
            Kind::Moments => assert!(
                matches!(
                    refused,
                    Err(Refusal::Directions {
                        directions_max: 6,
                        ..
                    })
                ),
                "{refused:?}"
            ),
            _ => assert_eq!(refused, Ok(())),
        }
    }
}

#[test]
fn a_sketch_of_too_many_vectors_or_few_rows_stays() {
    let case = case(4, Learns::Projection);
    let strict = Policy::default();
    let profile = |policy: &Policy, counts: &[usize]| {
        let entries = answers(&case, policy, &labels(counts, 0), Phase::Profile);
        let [entry] = entries.try_into().unwrap();
        let parts = ProfileParts::read(&case.task, &entry.bytes).unwrap();
        (entry, parts.sketch.unwrap())
    };
    // Of 120 rows six vectors may leave: three classes, three products.
    let (entry, sketch) = profile(&strict, &[30, 30, 30, 30]);
    assert_eq!((sketch.classes.len(), sketch.products.rows), (3, 3));
    assert_eq!(strict.permit_content(&case.task, &entry), Ok(()));
    let (entry, sketch) = profile(&policy(2, 2), &[30, 30, 30, 30]);
    assert_eq!((sketch.classes.len(), sketch.products.rows), (4, 3));
    assert_eq!(
        strict.permit_content(&case.task, &entry),
        Err(Refusal::Directions {
            kind: Kind::Profile,
            rows: 120,
            directions: 7,
            directions_max: 6
        })
    );
    // A class of few rows that the counts hide, but not the sketch.
    let (entry, _) = profile(&policy(2, 15), &[200, 6, 100, 100]);
    let mut parts = ProfileParts::read(&case.task, &entry.bytes).unwrap();
    parts.profile.class_counts[1] = 0;
    let hidden = Entry {
        bytes: parts.to_bytes(),
        ..entry
    };
    assert_eq!(
        strict.permit_content(&case.task, &hidden),
        Err(Refusal::Part {
            kind: Kind::Profile,
            rows: 6,
            rows_min: 20
        })
    );
}

#[test]
fn points_and_classes_of_too_few_rows_stay() {
    let case = case(2, Learns::Nothing);
    let loose = policy(2, 2);
    let rows = labels(&[60, 6], 0);
    let strict = Policy::default();
    for phase in [Phase::Profile, Phase::Contribute] {
        let entries = answers(&case, &loose, &rows, phase);
        let told = entries
            .iter()
            .find(|entry| entry.kind != Kind::Moments)
            .unwrap();
        assert_eq!(
            strict.permit_content(&case.task, told),
            Err(Refusal::Part {
                kind: told.kind,
                rows: 6,
                rows_min: 20
            })
        );
    }
    let summary = &answers(&case, &loose, &rows, Phase::Summarise)[0];
    let mut points: RawPoints = decode_blob(&summary.bytes).unwrap();
    points.counts[0] = 1;
    let lone = Entry {
        bytes: encode(&points),
        ..summary.clone()
    };
    assert_eq!(
        strict.permit_content(&case.task, &lone),
        Err(Refusal::Part {
            kind: Kind::Summary,
            rows: 1,
            rows_min: 5
        })
    );
}

#[test]
fn bytes_that_are_not_what_they_are_called_stay() {
    let case = case(2, Learns::Nothing);
    for kind in Kind::ALL {
        let entry = Entry {
            kind,
            bytes: vec![0xff; 3],
            rows: 1_000,
        };
        let refused = Policy::default().permit_content(&case.task, &entry);
        assert_eq!(refused, Err(Refusal::Unreadable { kind }));
    }
}
