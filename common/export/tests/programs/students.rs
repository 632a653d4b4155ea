//! Students of every stage and kind, with rows and what they say of them.

use std::path::Path;

use host::npz::{self, Array, Values};
use math::network::{Network, Student};
use math::random::rng;
use ndarray::{Array2, Axis};
use protocol::codec::Trailing;
use protocol::features::{Atom, Normaliser, QuantileTransform, TargetScale};
use protocol::ids::{RoundId, Time, Version};
use protocol::model::{Answers, Extras, Lineage, RawRelease, Release};
use protocol::task::{RawTask, Task};
use protocol::weights::RawWeights;

/// A student, and rows of its inputs.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) release: Release,
    pub(super) rows: Array2<f32>,
}

/// Rows of each case.
pub(super) const ROWS: usize = 1_000;

/// Name, shape, stage, lines of `[student]`.
const KINDS: [(&str, &[usize], &str, &str); 16] = [
    ("raw_mlp", &[6], "raw", "hidden = [16, 9]"),
    ("raw_linear", &[6], "raw", "hidden = []"),
    ("raw_cnn", &[12, 10, 2], "raw", CNN),
    ("raw_series_cnn", &[60, 3], "raw", CNN),
    ("lifted_mlp", &[12], "lifted", "hidden = [32]"),
    ("lifted_gaps", &[12], "lifted", "hidden = [32]"),
    ("numbers_mlp", &[12], "lifted", "hidden = [32]"),
    ("window_mlp", &[128, 6], "window", "hidden = [32]"),
    ("window_odd", &[37, 2], "window", "hidden = [32]"),
    ("window_one", &[9, 1], "window", "hidden = [8]"),
    ("window_long", &[1000, 1], "window", "hidden = [32]"),
    ("patches_mlp", &[28, 28], "patches", "hidden = [32]"),
    ("patches_cnn", &[28, 28], "patches", CNN),
    (
        "patches_colour",
        &[13, 17, 3],
        "patches/1:3x7x4",
        "hidden = [16]",
    ),
    ("series_mlp", &[64, 3], "series", "hidden = [32]"),
    ("series_cnn", &[90, 2], "series/1:16x6x8", CNN),
];

const CNN: &str = "kind = \"cnn\"\nchannels = [6, 5]\nhidden = [20]";

/// Every case. Windows, lists and some images are seen through learnt scales, lists through
/// transforms too, and the other images through a range.
pub(super) fn all() -> Vec<Case> {
    KINDS.iter().map(case).collect()
}

fn case(&(name, sides, stage, student): &(&'static str, &[usize], &str, &str)) -> Case {
    // A table whose missing values become the mean, or values in the order of the shape.
    let columns: Vec<String> = (0..sides[0])
        .map(|column| format!("column {column}"))
        .collect();
    let input = match name {
        "lifted_gaps" => format!("kind = \"table\"\ncolumns = {columns:?}\nmissing = \"mean\""),
        _ => format!("shape = {sides:?}"),
    };
    let answers = match name {
        "numbers_mlp" => {
            "[target]\nkind = \"number\"\nvalues = [\"a\", \"b\"]\n\
             min = [-20.0, -1e9]\nmax = [1e9, 900.0]"
        }
        _ => "[classes]\nnames = [\"a\", \"b\", \"c\", \"d\"]",
    };
    let text = format!(
        "name = {name:?}\n[input]\n{input}\n{answers}\n\
         [features]\nstage = {stage:?}\n[student]\n{student}"
    );
    let task = RawTask::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut rows = rows(task.input_shape().values(), name);
    let stage = &task.definition().features;
    let features = stage.compute(task.input_shape(), rows.view()).unwrap();
    let normaliser = match name {
        "patches_mlp" | "patches_cnn" => {
            let [low, high] = stage
                .range(task.input_shape(), [0.0, 255.0])
                .unwrap()
                .unwrap();
            Normaliser::of_range(task.features(), low, high).unwrap()
        }
        _ => learnt(&task, &features, name.starts_with("lifted")),
    };
    let scale = TargetScale::of(&[3.0, 800.0], &[400.0, 1e4]);
    let targets = (!task.target().is_class()).then_some(scale);
    let view = normaliser.apply(features.view()).unwrap();
    let mut network = Student::new(task.student(), &mut rng(7, name)).unwrap();
    sharpen(&mut network, &view);
    let weights = RawWeights::encode(task.student(), network.parameters()).unwrap();
    let release = Release::check(RawRelease {
        task: task.bytes().to_vec(),
        version: Version {
            epoch: 1,
            number: 3,
        },
        round: RoundId(1),
        released: Time(1),
        expires: Time(2),
        lineage: Lineage::of(&[]),
        normaliser,
        weights,
        extras: Trailing(targets.map(|scale| Extras {
            refined: Trailing(None),
            targets: Some(scale),
            novelty: None,
        })),
    });
    if name == "lifted_gaps" {
        let some = rows.iter_mut().enumerate().filter(|(at, _)| at % 11 == 3);
        some.for_each(|(_, value)| *value = f32::NAN);
    }
    Case {
        name,
        release: release.unwrap(),
        rows,
    }
}

/// Waves of a class of its own, noise, and constant values here and there.
fn rows(values: usize, name: &str) -> Array2<f32> {
    use rand::Rng as _;
    let mut random = rng(3, name);
    let image = name.starts_with("patches");
    Array2::from_shape_fn((ROWS, values), |(row, at)| {
        let phase = 0.7 * (row % 4) as f32 + 0.01 * row as f32;
        let wave = (phase + at as f32 * (0.11 + 0.05 * (row % 7) as f32)).sin();
        let noise: f32 = random.random::<f32>() - 0.5;
        match (image, name) {
            (true, _) => (127.0 * (wave + noise)).max(0.0),
            // A column in two of very different units has a heavy tail.
            _ if name.starts_with("lifted") && at % 2 == 0 => 1e6 * (3.0 * (wave + noise)).exp(),
            _ if row % 50 == 49 => 0.25,
            _ => wave + noise,
        }
    })
}

fn learnt(task: &Task, features: &Array2<f32>, transformed: bool) -> Normaliser {
    let wide = features.mapv(f64::from);
    let mean = wide.mean_axis(Axis(0)).unwrap();
    let variance = wide.var_axis(Axis(0), 0.0);
    let mut transforms = Vec::new();
    for (index, column) in wide
        .columns()
        .into_iter()
        .enumerate()
        .filter(|_| transformed)
    {
        let mut atoms: Vec<Atom> = column
            .iter()
            .map(|&value| Atom { value, rows: 1.0 })
            .collect();
        transforms.extend(QuantileTransform::of(
            index as u32,
            &mut atoms,
            variance[index].sqrt(),
        ));
    }
    assert!(
        !transformed || transforms.len() > 3,
        "{} transforms",
        transforms.len()
    );
    let stage = &task.definition().features;
    stage
        .normaliser(&mean.to_vec(), &variance.to_vec(), 5.0, transforms)
        .unwrap()
}

/// Random biases, and logits far enough apart that probabilities are not all alike.
fn sharpen(network: &mut Student, view: &Array2<f32>) {
    for tensor in network.tensors() {
        if tensor.shape.len() == 1 {
            for (at, bias) in network.parameters_mut()[tensor.range]
                .iter_mut()
                .enumerate()
            {
                *bias = 0.3 * (at as f32).sin();
            }
        }
    }
    let logits = network.logits(view.view()).unwrap();
    let spread = logits.std(0.0).max(1e-3);
    let last = network.tensors().len() - 2;
    for tensor in network.tensors().split_off(last) {
        network.parameters_mut()[tensor.range]
            .iter_mut()
            .for_each(|value| *value *= 2.0 / spread);
    }
}

/// What the student says of the rows.
pub(super) fn said(case: &Case) -> Array2<f32> {
    match case.release.answers(case.rows.view()).unwrap() {
        Answers::Classes(said) | Answers::Numbers(said) => said,
    }
}

/// Writes the rows and what the student says of them.
pub(super) fn write_rows(case: &Case, path: &Path) {
    let said = said(case);
    let mut shape = vec![ROWS];
    shape.extend(case.release.task().input_shape().sides());
    let array = |shape: Vec<usize>, rows: &Array2<f32>| {
        Array::new(shape, Values::F32(rows.iter().copied().collect())).unwrap()
    };
    let (x, p) = (
        array(shape, &case.rows),
        array(said.shape().to_vec(), &said),
    );
    std::fs::write(path, npz::write(&[("X", &x), ("P", &p)]).unwrap()).unwrap();
}
