//! How well each of several feature stages suits the device's own rows.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rand::seq::SliceRandom as _;

use common::feature_weights::FeatureWeights;
use common::features::{Atom, FeatureStage, InputShape, Normaliser, QuantileTransform};
use common::math::random::rng;
use common::profile::RawFeatureMoments;
use common::stage_trial::RawStageTrial;

use super::{KernelTeacher, LabelledRows, TeacherError};

/// A device's labelled rows, before any stage.
#[derive(Clone, Copy, Debug)]
pub struct StageRows<'a> {
    /// Shape of one input.
    pub shape: &'a InputShape,
    /// Inputs, shape (rows, values).
    pub inputs: ArrayView2<'a, f32>,
    /// The class of each row.
    pub labels: &'a [u16],
    /// Classes of the task.
    pub classes: usize,
    /// The numbers of each row, shape (rows, numbers), where the task asks for
    /// numbers.
    pub numbers: Option<ArrayView2<'a, f32>>,
    /// The range of all values, where it is known, as that of pixels is.
    pub range: Option<[f32; 2]>,
}

/// Judges each candidate by local teachers on rows that they have not seen, the
/// same rows for each. At most 400 rows, drawn by `seed`, in four parts, of each class
/// what follows one another in one part, so that neighbours in time are seldom on
/// both sides. Classes of fewer than `rows_min` rows are left out. None where there is
/// nothing to judge by: fewer than two classes or than `rows_min` rows, numbers that do
/// not vary, or no other candidate.
///
/// A candidate that does not take the rows scores nothing. Cost for each candidate: its
/// features, and four [`KernelTeacher`]s of 300 rows, eight where its features are
/// weighed.
///
/// # Errors
/// If a teacher cannot be solved.
pub fn try_stages(
    candidates: &[FeatureStage],
    rows: StageRows<'_>,
    rows_min: u64,
    seed: u64,
) -> Result<Option<RawStageTrial>, TeacherError> {
    let chosen = judged(&rows, rows_min, seed);
    if chosen.is_empty() || candidates.len() < 2 {
        return Ok(None);
    }
    let inputs = rows.inputs.select(Axis(0), &chosen);
    let labels: Vec<u16> = chosen.iter().map(|&row| rows.labels[row]).collect();
    let numbers = rows.numbers.map(|all| all.select(Axis(0), &chosen));
    let Some(numbers) = numbers
        .map(standardised)
        .map_or(Some(None), |numbers| numbers.map(Some))
    else {
        return Ok(None);
    };
    let learnt = Learnt {
        labels: &labels,
        classes: rows.classes,
        numbers: numbers.as_ref().map(|numbers| numbers.view()),
        parts: parts(&labels, numbers.is_some()),
        seed,
    };
    let mut trial = RawStageTrial {
        rows: chosen.len() as u64,
        scores: Vec::new(),
        differences: Vec::new(),
    };
    let mut first: Option<Vec<f64>> = None;
    for &stage in candidates {
        let scores = match seen_through(stage, &rows, inputs.view()) {
            Some(features) => learnt.scores(stage, features.view())?,
            None => vec![0.0; chosen.len()],
        };
        let first = first.get_or_insert_with(|| scores.clone());
        let pairs = scores.iter().zip(first.iter());
        let difference: f64 = pairs.map(|(score, first)| (score - first).powi(2)).sum();
        trial.scores.push(scores.iter().sum::<f64>() as f32);
        trial.differences.push(difference as f32);
        common::liveness::heartbeat();
    }
    Ok(Some(trial))
}

/// The rows to judge by, in their order; none where they cannot tell.
fn judged(rows: &StageRows<'_>, rows_min: u64, seed: u64) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..rows.labels.len()).collect();
    if rows.numbers.is_none() {
        let mut counts = vec![0u64; rows.classes];
        for &label in rows.labels {
            counts[usize::from(label)] += 1;
        }
        let speaks = |count: u64| count >= rows_min.max(PARTS as u64);
        if counts.iter().filter(|&&count| speaks(count)).count() < 2 {
            return Vec::new();
        }
        chosen.retain(|&row| speaks(counts[usize::from(rows.labels[row])]));
    }
    if (chosen.len() as u64) < rows_min.max(ROWS_MIN) {
        return Vec::new();
    }
    chosen.shuffle(&mut rng(seed, "rows that stages are tried on"));
    chosen.truncate(ROWS_MAX);
    chosen.sort_unstable();
    chosen
}

/// The part of each row: of each class, or of all where numbers are asked for, what
/// follows one another is in one.
fn parts(labels: &[u16], numbers: bool) -> Vec<usize> {
    let class = |row: usize| if numbers { 0 } else { labels[row] };
    let mut counts = std::collections::BTreeMap::new();
    for row in 0..labels.len() {
        *counts.entry(class(row)).or_insert(0usize) += 1;
    }
    let mut seen = std::collections::BTreeMap::new();
    let part = |row: usize| {
        let before = seen.entry(class(row)).or_insert(0usize);
        let part = *before * PARTS / counts[&class(row)];
        *before += 1;
        part
    };
    (0..labels.len()).map(part).collect()
}

/// Each number with mean 0 and deviation 1; none if one does not vary.
fn standardised(numbers: Array2<f32>) -> Option<Array2<f32>> {
    let moments = RawFeatureMoments::of(numbers.view())?;
    let mut numbers = numbers;
    for (at, mut column) in numbers.columns_mut().into_iter().enumerate() {
        let (mean, deviation) = (moments.mean[at], moments.variance[at].sqrt());
        if deviation.is_nan() || deviation <= f32::EPSILON * mean.abs() {
            return None;
        }
        column.mapv_inplace(|value| (value - mean) / deviation);
    }
    Some(numbers)
}

/// The rows' features, brought to one scale by these rows alone.
fn seen_through(
    stage: FeatureStage,
    rows: &StageRows<'_>,
    inputs: ArrayView2<'_, f32>,
) -> Option<Array2<f32>> {
    let features = stage.compute_with_gaps(rows.shape, inputs).ok()?;
    let range = rows.range.map(|range| stage.range(rows.shape, range));
    let normaliser = match range.transpose().ok()?.flatten() {
        Some([low, high]) => Normaliser::of_range(features.ncols(), low, high),
        None => {
            let bends = stage.is_measured() && rows.range.is_none();
            let scales = features.columns().into_iter().enumerate();
            let scales = scales.map(|(feature, column)| scale(feature as u32, column, bends));
            let (scales, transforms): (Vec<(f64, f64)>, Vec<_>) = scales.unzip();
            let (mean, variance): (Vec<f64>, Vec<f64>) = scales.into_iter().unzip();
            let transforms = transforms.into_iter().flatten().collect();
            stage.normaliser(&mean, &variance, CLIP, transforms)
        }
    };
    normaliser.ok()?.apply(features.view()).ok()
}

/// Mean and variance of a feature over the rows that have it, of what a transform makes
/// of it where it has heavy tails and bends.
fn scale(
    feature: u32,
    column: ArrayView1<'_, f32>,
    bends: bool,
) -> ((f64, f64), Option<QuantileTransform>) {
    let known: Vec<f32> = column.iter().copied().filter(|one| !one.is_nan()).collect();
    let of = |value: &dyn Fn(f32) -> f32| {
        let count = known.len().max(1) as f64;
        let values = || known.iter().map(|&one| f64::from(value(one)));
        let mean = values().sum::<f64>() / count;
        let squares: f64 = values().map(|one| (one - mean).powi(2)).sum();
        (mean, squares / count)
    };
    let straight = of(&|value| value);
    let atom = |&value: &f32| Atom {
        value: f64::from(value),
        rows: 1.0,
    };
    let mut atoms: Vec<Atom> = known.iter().map(atom).collect();
    let transform = match bends {
        true => QuantileTransform::of(feature, &mut atoms, straight.1.sqrt()),
        false => None,
    };
    match &transform {
        Some(bent) => (of(&|value| bent.apply(value)), transform),
        None => (straight, None),
    }
}

/// What local teachers learn, but for the inputs.
struct Learnt<'a> {
    labels: &'a [u16],
    classes: usize,
    numbers: Option<ArrayView2<'a, f32>>,
    /// The part of each row.
    parts: Vec<usize>,
    seed: u64,
}

impl Learnt<'_> {
    /// The score of each row, by a teacher of the other parts.
    fn scores(
        &self,
        stage: FeatureStage,
        features: ArrayView2<'_, f32>,
    ) -> Result<Vec<f64>, TeacherError> {
        let mut scores = vec![0.0; self.labels.len()];
        for part in 0..PARTS {
            let (held, others): (Vec<usize>, Vec<usize>) =
                (0..scores.len()).partition(|&row| self.parts[row] == part);
            let labels: Vec<u16> = others.iter().map(|&row| self.labels[row]).collect();
            let numbers = self.numbers.map(|all| all.select(Axis(0), &others));
            let fit = |inputs: &Array2<f32>| {
                let rows = LabelledRows {
                    inputs: inputs.view(),
                    labels: &labels,
                    classes: self.classes,
                    numbers: numbers.as_ref().map(|numbers| numbers.view()),
                    soft: None,
                };
                KernelTeacher::untempered(rows, DEPTH, self.seed)
            };
            let mut inputs = features.select(Axis(0), &others);
            let mut asked = features.select(Axis(0), &held);
            let mut teacher = fit(&inputs)?;
            if stage.is_measured() {
                // As the coordinator weighs them, by points in place of rows.
                let weights = weights(&teacher, stage, others.len())?;
                inputs = weights.through(inputs.view()).into_owned();
                asked = weights.through(asked.view()).into_owned();
                teacher = fit(&inputs)?;
            }
            let answers = teacher.answers(asked.view())?;
            for (answer, &row) in answers.rows().into_iter().zip(&held) {
                scores[row] = self.score(answer, row);
            }
        }
        Ok(scores)
    }

    fn score(&self, answer: ArrayView1<'_, f32>, row: usize) -> f64 {
        if let Some(numbers) = &self.numbers {
            let errors = answer.iter().zip(numbers.row(row));
            let squares = errors.map(|(said, told)| f64::from(said - told).powi(2));
            return (1.0 - squares.sum::<f64>() / answer.len().max(1) as f64).max(0.0);
        }
        let better = |best: usize, at: usize| if answer[at] > answer[best] { at } else { best };
        let class = (0..answer.len()).fold(0, better);
        f64::from(u8::from(class == usize::from(self.labels[row])))
    }
}

/// Weights as large as a teacher's answers change with each feature, mixed with one
/// that all features share, as much of it as there are features a row.
fn weights(
    teacher: &KernelTeacher,
    stage: FeatureStage,
    rows: usize,
) -> Result<FeatureWeights, TeacherError> {
    let squares = teacher.squared_slopes()?;
    let free = stage.varying(squares.len());
    let alive = squares.iter().take(free).filter(|&&one| one > 0.0).count();
    let mean = squares.iter().take(free).sum::<f64>() / alive.max(1) as f64;
    let shared = alive as f64 / rows.max(1) as f64;
    let weight = |(feature, square): (usize, &f64)| match feature < free && mean > 0.0 {
        true => ((square / mean + shared) / (1.0 + shared)).sqrt() as f32,
        false => 1.0,
    };
    let weights: Vec<f32> = squares.iter().enumerate().map(weight).collect();
    // Where nothing can be told, all count alike.
    Ok(FeatureWeights::of(&weights).unwrap_or_default())
}

/// Most rows that stages are judged on, and parts of them, of each of which teachers
/// have seen the others.
const ROWS_MAX: usize = 400;
const PARTS: usize = 4;
/// Fewest rows, whatever the policy allows.
const ROWS_MIN: u64 = 20;
/// Layers of the teachers' kernel, and where scaled features are cut: as tasks have
/// them by default.
const DEPTH: u8 = 2;
const CLIP: f32 = 5.0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::Rng;

    /// Rows of 20 values, of which the class is where the largest is, or by which the
    /// number is how large they are.
    fn rows(count: usize) -> (Array2<f32>, Vec<u16>) {
        let mut random = rng(4, "rows");
        let labels: Vec<u16> = (0..count).map(|row| (row % 4) as u16).collect();
        let inputs = Array2::from_shape_fn((count, 20), |(row, step)| {
            let bump = if step / 5 == row % 4 { 1.0 } else { 0.0 };
            bump + random.random_range(-0.5..0.5f32)
        });
        (inputs, labels)
    }

    fn of<'a>(shape: &'a InputShape, inputs: &'a Array2<f32>, labels: &'a [u16]) -> StageRows<'a> {
        StageRows {
            shape,
            inputs: inputs.view(),
            labels,
            classes: 5,
            numbers: None,
            range: None,
        }
    }

    #[test]
    fn a_stage_that_sees_where_a_bump_is_scores_more() {
        let (inputs, labels) = rows(200);
        let shape = InputShape::new(vec![20, 1]).unwrap();
        let candidates = [FeatureStage::window(), FeatureStage::Raw];
        let rows = of(&shape, &inputs, &labels);
        let found = try_stages(&candidates, rows, 20, 1).unwrap().unwrap();
        assert_eq!(
            found,
            try_stages(&candidates, rows, 20, 1).unwrap().unwrap()
        );
        let [window, raw] = found.scores[..] else {
            panic!("{found:?}");
        };
        assert!(raw > 190.0 && window < 150.0, "{found:?}");
        assert!(found.differences[0] == 0.0 && found.differences[1] >= raw - window);
        common::stage_trial::StageTrial::check(found, 2).unwrap();
    }

    #[test]
    fn rows_that_cannot_tell_say_nothing() {
        let (inputs, labels) = rows(200);
        let shape = InputShape::new(vec![20, 1]).unwrap();
        let candidates = [FeatureStage::window(), FeatureStage::Raw];
        let one_class = vec![3; labels.len()];
        let told = |labels: &[u16], rows_min: u64, candidates: &[FeatureStage]| {
            try_stages(candidates, of(&shape, &inputs, labels), rows_min, 1).unwrap()
        };
        assert!(told(&labels, 20, &candidates).is_some());
        assert_eq!(told(&one_class, 20, &candidates), None, "one class");
        assert_eq!(told(&labels, 51, &candidates), None, "no class of 51 rows");
        assert_eq!(
            told(&labels, 20, &candidates[..1]),
            None,
            "nothing to choose"
        );
        let constant = Array2::ones((200, 1));
        let rows = StageRows {
            numbers: Some(constant.view()),
            ..of(&shape, &inputs, &labels)
        };
        assert_eq!(
            try_stages(&candidates, rows, 20, 1).unwrap(),
            None,
            "one number"
        );
    }

    #[test]
    fn numbers_are_judged_by_what_is_left_of_their_variance() {
        let (inputs, _) = rows(160);
        let numbers = Array2::from_shape_fn((160, 1), |(row, _)| (row % 4) as f32);
        let labels = vec![0; 160];
        let shape = InputShape::new(vec![20, 1]).unwrap();
        let rows = StageRows {
            numbers: Some(numbers.view()),
            ..of(&shape, &inputs, &labels)
        };
        let candidates = [FeatureStage::window(), FeatureStage::Raw];
        let found = try_stages(&candidates, rows, 20, 1).unwrap().unwrap();
        assert_eq!(found.rows, 160);
        assert!(
            found.scores[1] > 130.0 && found.scores[0] < 110.0,
            "{found:?}"
        );
        common::stage_trial::StageTrial::check(found, 2).unwrap();
    }

    #[test]
    fn a_stage_that_rows_with_gaps_do_not_take_scores_nothing() {
        let (mut inputs, labels) = rows(200);
        inputs[[7, 3]] = f32::NAN;
        let shape = InputShape::new(vec![20, 1]).unwrap();
        let candidates = [FeatureStage::lifted(), FeatureStage::window()];
        let found = try_stages(&candidates, of(&shape, &inputs, &labels), 20, 1);
        let found = found.unwrap().unwrap();
        assert!(
            found.scores[0] > 180.0 && found.scores[1] == 0.0,
            "{found:?}"
        );
    }
}
