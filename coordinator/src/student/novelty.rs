//! What tells a student's users how unlike its training a row is.

use ndarray::{Array1, Array2, Axis, s};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use common::math::network::{Batch, Loss, Network, Student, Trainer};
use common::math::optimiser::{AdamParams, Schedule};
use common::math::random::rng;
use common::novelty::{Novelty, RawNovelty};
use common::summary::Points;
use common::task::Task;
use common::teacher::Teacher;
use common::weights::RawWeights;

use super::centring::Centring;
use super::stream::{rescale, root};
use super::train::TrainError;

/// Learns how unlike the points of a transfer set, and the rows they stand for,
/// an input is; none of fewer than three points.
///
/// Two things make a row unlike: it lies further from its nearest points than
/// their own rows do (a density ratio as of Breunig et al. 2000, with the spreads
/// that points carry), or the teacher's answer is far from that of a pure class.
/// Each is held, robustly, against the same of inputs drawn around the points,
/// every one without its own point, of the class that the teacher takes it for:
/// what is usual in one class is not in another. Their sum is distilled into a
/// small network on inputs near, between and beyond the points.
///
/// Cost: some 20,000 inputs' distances to the points and teacher's answers, and
/// the training of a network of 64 units.
///
/// # Errors
/// If a shape does not fit or training diverges.
pub fn train_novelty(
    task: &Task,
    points: &Points,
    teacher: &Teacher,
) -> Result<Option<RawNovelty>, TrainError> {
    if points.len() < POINTS_MIN {
        return Ok(None);
    }
    let known = Known {
        points,
        squares: squares(&points.inputs),
        teacher,
        is_class: task.target().is_class(),
    };
    let mut random = rng(task.definition().distillation.seed, "novelty");
    let (around, own) = around(points, &mut random);
    let usual = Usual::of(&known.looks(&around, Some(&own))?, task.outputs());
    let mut inputs = beyond(points, INPUTS, &mut random);
    let looks = known.looks(&inputs, None)?;
    let targets: Array2<f32> = looks
        .iter()
        .map(|look| (usual.score(look) / TARGET_SCALE) as f32)
        .collect::<Array1<f32>>()
        .insert_axis(Axis(1));

    let shape = Novelty::shape(task.features());
    let centring = Centring::of(&inputs, &shape);
    centring.apply(&mut inputs);
    let mut network = Student::new(&shape, &mut random)?;
    let adam = AdamParams {
        learning_rate: LEARNING_RATE,
        schedule: Schedule::cosine(STEPS as u64),
        ..AdamParams::default()
    };
    let batch = BATCH.min(inputs.nrows());
    let mut trainer = Trainer::new(&network, adam.check()?, batch);
    for _ in 0..STEPS {
        let start = random.random_range(0..=inputs.nrows() - batch);
        let pairs = Batch {
            inputs: inputs.slice(s![start..start + batch, ..]),
            targets: targets.slice(s![start..start + batch, ..]),
        };
        trainer.step(&mut network, pairs, Loss::Squared)?;
    }
    centring.fold(&mut network);

    let mut said: Vec<f32> = network.logits(around.view())?.iter().copied().collect();
    said.sort_by(f32::total_cmp);
    let level = |share: f64| said[((said.len() - 1) as f64 * share) as usize];
    let usual = level(0.5);
    Ok(Some(RawNovelty {
        weights: RawWeights::encode(&shape, network.parameters())?,
        usual,
        far: level(0.95).max(usual + LEVEL_MIN),
    }))
}

/// How an input looks beside what is known.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// The class that the teacher takes it for; 0 where numbers are asked.
    class: usize,
    /// Log of its distance to the nearest points over their spread.
    away: f64,
    /// Log of the distance of the teacher's answer from a pure class.
    torn: f64,
}

struct Known<'a> {
    points: &'a Points,
    squares: Array1<f32>,
    teacher: &'a Teacher,
    is_class: bool,
}

impl Known<'_> {
    /// Of inputs, each without its `own` point if it has one.
    fn looks(&self, inputs: &Array2<f32>, own: Option<&[usize]>) -> Result<Vec<Look>, TrainError> {
        let mut looks = Vec::with_capacity(inputs.nrows());
        for (block, rows) in inputs.axis_chunks_iter(Axis(0), BLOCK).enumerate() {
            let answers = self.teacher.answers(rows)?;
            let dots = rows.dot(&self.points.inputs.t());
            for (at, row) in rows.rows().into_iter().enumerate() {
                let (own, square) = (own.map(|own| own[block * BLOCK + at]), row.dot(&row));
                let distance = |point: usize| {
                    (square + self.squares[point] - 2.0 * dots[[at, point]]).max(0.0)
                };
                let mut nearest: Vec<(f32, usize)> = (0..self.points.len())
                    .filter(|point| Some(*point) != own)
                    .map(|point| (distance(point), point))
                    .collect();
                let many = NEIGHBOURS.min(nearest.len());
                if nearest.len() > many {
                    nearest
                        .select_nth_unstable_by(many - 1, |one, other| one.0.total_cmp(&other.0));
                    nearest.truncate(many);
                }
                let away: f64 = nearest.iter().map(|one| f64::from(one.0).sqrt()).sum();
                let spreads = nearest
                    .iter()
                    .map(|one| f64::from(self.points.spreads[one.1]));
                let spread = spreads.sum::<f64>().max(SPREAD_MIN);
                let answer = answers.row(at);
                let (class, torn) = match self.is_class {
                    true => torn(answer.iter().copied()),
                    false => (0, 0.0),
                };
                looks.push(Look {
                    class,
                    away: (away / spread).max(f64::MIN_POSITIVE).ln(),
                    torn,
                });
            }
            common::liveness::heartbeat();
        }
        Ok(looks)
    }
}

/// The class of an answer that is centred by 1/C, and the log of how far the
/// answer is from a pure one.
fn torn(answer: impl ExactSizeIterator<Item = f32> + Clone) -> (usize, f64) {
    let centre = 1.0 / answer.len().max(1) as f32;
    let first = (0, f32::NEG_INFINITY);
    let larger = |best: (usize, f32), (class, value): (usize, f32)| {
        if value > best.1 { (class, value) } else { best }
    };
    let (class, _) = answer.clone().enumerate().fold(first, larger);
    let square: f64 = answer
        .enumerate()
        .map(|(at, value)| {
            let pure = f32::from(u8::from(at == class));
            f64::from(value + centre - pure).powi(2)
        })
        .sum();
    (class, (square.sqrt() + TORN_MIN).ln())
}

/// What is usual in each class: median and deviation of each look.
struct Usual(Vec<[(f64, f64); 2]>);

impl Usual {
    fn of(looks: &[Look], classes: usize) -> Self {
        let levels = |of_class: &dyn Fn(&Look) -> bool| {
            let chosen: Vec<&Look> = looks.iter().filter(|look| of_class(look)).collect();
            let enough = chosen.len() >= LOOKS_MIN;
            let chosen = if enough {
                chosen
            } else {
                looks.iter().collect()
            };
            [
                level(chosen.iter().map(|look| look.away).collect()),
                level(chosen.iter().map(|look| look.torn).collect()),
            ]
        };
        Self(
            (0..classes.max(1))
                .map(|class| levels(&|look: &Look| look.class == class))
                .collect(),
        )
    }

    fn score(&self, look: &Look) -> f64 {
        let [away, torn] = self.0[look.class.min(self.0.len() - 1)];
        let far = |value: f64, (median, deviation): (f64, f64)| {
            ((value - median) / deviation).clamp(FAR_MIN, FAR_MAX)
        };
        far(look.away, away) + far(look.torn, torn)
    }
}

/// Median, and deviation as of a normal distribution with the same median
/// absolute deviation.
fn level(mut values: Vec<f64>) -> (f64, f64) {
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    let middle = median(&mut values);
    let mut apart: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    (middle, 1.4826 * median(&mut apart) + DEVIATION_MIN)
}

fn squares(rows: &Array2<f32>) -> Array1<f32> {
    rows.rows().into_iter().map(|row| row.dot(&row)).collect()
}

/// Inputs around each point, as wide as its rows, and whose each is.
fn around(points: &Points, random: &mut ChaCha8Rng) -> (Array2<f32>, Vec<usize>) {
    let every = points.len().div_ceil(AROUND_MAX / SAMPLES).max(1);
    let own = (0..points.len()).step_by(every);
    let own: Vec<usize> = own.flat_map(|point| [point; SAMPLES]).collect();
    let mut inputs = points.inputs.select(Axis(0), &own);
    for (mut row, &point) in inputs.rows_mut().into_iter().zip(&own) {
        let width = points.spreads[point] / root(row.len());
        row.mapv_inplace(|value| value + width * normal(random));
        rescale(row);
    }
    (inputs, own)
}

/// Inputs near, between and beyond the points.
fn beyond(points: &Points, rows: usize, random: &mut ChaCha8Rng) -> Array2<f32> {
    let mut inputs = Array2::zeros((rows, points.inputs.ncols()));
    for (index, mut row) in inputs.rows_mut().into_iter().enumerate() {
        let (one, other) = (
            random.random_range(0..points.len()),
            random.random_range(0..points.len()),
        );
        // Mixtures, then far beyond either, then around one.
        let (step, wide) = match index % 3 {
            0 => (random.random_range(0.0..0.5), 1.0),
            1 => (1.2 * normal(random), random.random_range(0.5..2.5)),
            _ => (0.0, random.random_range(0.6..2.5)),
        };
        let width = wide * points.spreads[one] / root(row.len());
        let (a, b) = (points.inputs.row(one), points.inputs.row(other));
        for ((value, &a), &b) in row.iter_mut().zip(&a).zip(&b) {
            *value = a + step * (b - a) + width * normal(random);
        }
        rescale(row);
    }
    inputs
}

fn normal(random: &mut ChaCha8Rng) -> f32 {
    StandardNormal.sample(random)
}

/// Fewest points that say anything.
const POINTS_MIN: usize = 3;
/// Nearest points that an input is held against.
const NEIGHBOURS: usize = 10;
/// Inputs that the network learns from.
const INPUTS: usize = 15_000;
/// Inputs around each point, and most of them in all.
const SAMPLES: usize = 4;
const AROUND_MAX: usize = 8_000;
/// Inputs whose distances are held at a time.
const BLOCK: usize = 512;
/// Fewest inputs of a class that say what is usual in it.
const LOOKS_MIN: usize = 10;
/// How far out one look may count.
const FAR_MIN: f64 = -3.0;
const FAR_MAX: f64 = 8.0;
/// Floors of what is divided by or has its logarithm taken.
const SPREAD_MIN: f64 = 1e-6;
const TORN_MIN: f64 = 0.02;
const DEVIATION_MIN: f64 = 0.02;
const LEVEL_MIN: f32 = 1e-3;
/// Scores are learnt divided by this, so that they are of order 1.
const TARGET_SCALE: f64 = 4.0;
const LEARNING_RATE: f64 = 3e-3;
const STEPS: u32 = 3_000;
const BATCH: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::task::RawTask;
    use common::teacher::{RawTeacher, TeacherFacts};
    use ndarray::ArrayView1;

    /// Points of two classes around two places of a sphere, and a teacher that
    /// knows them.
    fn setting() -> (Task, Points, Teacher) {
        let text = "name = \"t\"\n[input]\nshape = [8]\n[classes]\nnames = [\"a\", \"b\"]\n\
                    [features]\nstage = \"raw\"";
        let task = RawTask::parse(text).unwrap();
        let mut random = rng(2, "places");
        let mut inputs = Array2::zeros((40, 8));
        for (at, mut row) in inputs.rows_mut().into_iter().enumerate() {
            let place = at % 2;
            row.mapv_inplace(|_: f32| 0.2 * normal(&mut random));
            row[place] += 3.0;
            rescale(row);
        }
        let points = Points {
            classes: (0..40).map(|at| (at % 2) as u16).collect(),
            counts: vec![10; 40],
            spreads: vec![0.5; 40],
            targets: None,
            inputs,
        };
        let raw = RawTeacher {
            depth: 1,
            alpha: (0..80)
                .map(|at| {
                    if at % 4 == 0 || at % 4 == 3 {
                        0.02
                    } else {
                        -0.02
                    }
                })
                .collect(),
            temperature: 0.2,
            facts: TeacherFacts::default(),
        };
        let teacher = Teacher::check(raw, points.inputs.clone(), 2).unwrap();
        (task, points, teacher)
    }

    #[test]
    fn rows_elsewhere_score_above_rows_of_the_training() {
        let (task, points, teacher) = setting();
        let raw = train_novelty(&task, &points, &teacher).unwrap().unwrap();
        let novelty = Novelty::check(raw, 8).unwrap();
        let mut random = rng(9, "rows");
        let mut rows = |place: usize| {
            let mut rows = Array2::zeros((50, 8));
            for mut row in rows.rows_mut() {
                row.mapv_inplace(|_: f32| 0.25 * normal(&mut random));
                row[place] += 3.0;
                rescale(row);
            }
            rows
        };
        let mean = |rows: Array2<f32>| {
            let scores = novelty.scores(rows.view()).unwrap();
            ArrayView1::from(&scores).mean().unwrap()
        };
        let (known, new) = (mean(rows(0)), mean(rows(5)));
        assert!(new > known + 0.2, "{known} and {new}");
    }

    #[test]
    fn two_points_say_nothing() {
        let (task, points, teacher) = setting();
        let few = points.select(&[0, 1]);
        assert_eq!(train_novelty(&task, &few, &teacher).unwrap(), None);
    }
}
