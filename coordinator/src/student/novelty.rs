//! What tells a student's users how unlike its training a row is.

use ndarray::{Array2, Axis};
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use common::math::linalg::{LinalgError, top_eigenpairs};
use common::math::network::{Network, Student};
use common::math::random::rng;
use common::novelty::{Lengths, Look, Novelty, RawNovelty, Surroundings, Usual, logs_of_lengths};
use common::summary::Points;
use common::task::Task;
use common::teacher::Teacher;

use super::stream::{rescale, root};
use super::train::TrainError;

/// What tells how unlike the points of a transfer set, and the rows they stand for,
/// an input is; none of fewer than three points.
///
/// Four things make a row unlike: it lies further from its nearest points than rows
/// of its class do; it lies where points are sparser than around those points (the
/// local outlier factor of Breunig et al., SIGMOD 2000); the student's answer is
/// further from that of a pure class; or it is longer or shorter, where a constant
/// beside the features tells how long it was. Each is held, robustly, against the same
/// of the points, every one without itself, of that class; the factor against that of
/// all, since it is a ratio. What is out of the usual adds up.
///
/// Points are compared along their own principal directions and by the length of
/// what lies outside these, so that a student carries some 20 KB for 500 of them.
///
/// Cost: the eigenvectors of a matrix of 512² at most, and distances of as many
/// points from one another.
///
/// # Errors
/// If a shape does not fit.
pub fn novelty(
    task: &Task,
    points: &Points,
    teacher: &Teacher,
    student: &Student,
) -> Result<Option<RawNovelty>, TrainError> {
    let mut random = rng(task.definition().distillation.seed, "novelty");
    let few;
    let points = match points.len() > POINTS_MAX {
        true => {
            let mut chosen = sample(&mut random, points.len(), POINTS_MAX).into_vec();
            chosen.sort_unstable();
            few = points.select(&chosen);
            &few
        }
        false => points,
    };
    if points.len() < POINTS_MIN {
        return Ok(None);
    }
    let rows = around(points, &mut random);
    let is_class = task.target().is_class();
    let classes = if is_class { task.outputs() } else { 1 };
    let lengths = lengths(task, points, classes);
    let compared = compared(points, &lengths);
    let basis = principal(&compared)?;
    let temperature = teacher.temperature();
    let (seen, basis) = (compared.inputs.view(), basis.view());
    let surroundings = Surroundings::of(seen, basis, temperature, lengths.clone())?;
    let logits = match is_class {
        true => Some(student.logits(rows.view())?),
        false => None,
    };
    let logits = logits.as_ref().map(|logits| logits.view());

    let still = vec![0.0; points.len()];
    let own = points.inputs.view();
    let mut looks = surroundings.own_looks(own, &still, logits)?;
    if is_class {
        for (look, &class) in looks.iter_mut().zip(&points.classes) {
            look.class = usize::from(class);
        }
    }
    let levels: Vec<[f32; 4]> = (0..classes).map(|class| usual(&looks, class)).collect();
    let all: Vec<f64> = looks.iter().map(|look| look.sparse).collect();
    let sparse = level(all);

    let looks = surroundings.own_looks(own, &compared.spreads, logits)?;
    let held_against = Usual {
        levels: &levels,
        sparse,
        lengths: &lengths,
    };
    let mut sums: Vec<f64> = looks.iter().map(|look| held_against.sum(look)).collect();
    sums.sort_by(f64::total_cmp);
    let share = |share: f64| sums[((sums.len() - 1) as f64 * share) as usize] as f32;
    let (usual, far) = (share(0.5), share(0.95));
    let raw = RawNovelty {
        surroundings: surroundings.into_raw(),
        levels,
        sparse,
        usual,
        far: far.max(usual + LEVEL_MIN),
    };
    // What is sent holds together.
    Novelty::check(raw.clone(), task.features(), classes)?;
    Ok(Some(raw))
}

/// What becomes of how long rows were: measurements are compared as long as they were;
/// of other features, where a constant tells it, it is judged by itself.
fn lengths(task: &Task, points: &Points, classes: usize) -> Lengths {
    let (stage, features) = (task.definition().features, task.features());
    if stage.varying(features) == features {
        return Lengths::Unknown;
    }
    if stage.is_measured() {
        return Lengths::Own;
    }
    let logs = logs_of_lengths(points.inputs.view());
    let of_class = |class: usize| {
        let own = { logs.iter().zip(&points.classes) };
        let own = own.filter(|(_, at)| usize::from(**at) == class);
        let own: Vec<f64> = own.map(|(log, _)| *log).collect();
        level(if own.len() < LOOKS_MIN {
            logs.clone()
        } else {
            own
        })
    };
    Lengths::Usual((0..classes).map(of_class).collect())
}

/// Points as they are compared, with their spreads.
fn compared(points: &Points, lengths: &Lengths) -> Points {
    let inputs = lengths.compared(points.inputs.view()).into_owned();
    let factor = |point: usize| {
        let square = |row: ndarray::ArrayView1<'_, f32>| row.dot(&row);
        let (after, before) = (square(inputs.row(point)), square(points.inputs.row(point)));
        (after / before.max(f32::MIN_POSITIVE)).sqrt()
    };
    let spreads = { points.spreads.iter().enumerate() }
        .map(|(point, spread)| spread * factor(point))
        .collect();
    Points {
        spreads,
        inputs,
        ..points.clone()
    }
}

/// The principal directions of points (directions × features), orthonormal; as many
/// as are worth carrying.
fn principal(points: &Points) -> Result<Array2<f32>, LinalgError> {
    let features = points.inputs.ncols();
    let wanted = (BASIS_VALUES / features).clamp(DIRECTIONS_MIN, DIRECTIONS_MAX);
    let inputs = points.inputs.mapv(f64::from);
    let mut products = inputs.dot(&inputs.t());
    // Rounding aside it is symmetric; halves make it so to the last bit.
    products = (&products + &products.t()) / 2.0;
    let (values, vectors) = top_eigenpairs(products.view(), wanted.min(features))?;
    let most = values.first().copied().unwrap_or(0.0);
    let kept: Vec<usize> = (0..values.len())
        .filter(|&at| values[at] > VALUE_MIN * most)
        .collect();
    let mut basis = vectors.select(Axis(1), &kept).t().dot(&inputs);
    for (mut row, &at) in basis.rows_mut().into_iter().zip(&kept) {
        row /= values[at].sqrt();
    }
    Ok(basis.mapv(|value| value as f32))
}

/// A row around each point, at the distance of its rows.
fn around(points: &Points, random: &mut ChaCha8Rng) -> Array2<f32> {
    let mut inputs = points.inputs.clone();
    for (mut row, &spread) in inputs.rows_mut().into_iter().zip(&points.spreads) {
        let width = spread / root(row.len());
        row.mapv_inplace(|value| {
            let normal: f32 = StandardNormal.sample(random);
            value + width * normal
        });
        rescale(row);
    }
    inputs
}

/// What is usual in a class, or in all where few points speak of it.
fn usual(looks: &[Look], class: usize) -> [f32; 4] {
    let mut own: Vec<&Look> = looks.iter().filter(|look| look.class == class).collect();
    if own.len() < LOOKS_MIN {
        own = looks.iter().collect();
    }
    let [away, aside] = level(own.iter().map(|look| look.away).collect());
    let [torn, apart] = level(own.iter().map(|look| look.torn).collect());
    [away, aside, torn, apart]
}

/// Median, and half of what lies between the 16th and the 84th of a hundred: the
/// deviation, of a normal distribution.
fn level(mut values: Vec<f64>) -> [f32; 2] {
    values.sort_by(f64::total_cmp);
    let share = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    let deviation = ((share(0.84) - share(0.16)) / 2.0).max(DEVIATION_MIN);
    [share(0.5) as f32, deviation as f32]
}

/// Fewest points that say anything.
const POINTS_MIN: usize = 3;
/// Most points that a student carries.
const POINTS_MAX: usize = 512;
/// Fewest and most directions, and values of all together between these.
const DIRECTIONS_MIN: usize = 8;
const DIRECTIONS_MAX: usize = 32;
const BASIS_VALUES: usize = 16_384;
/// Directions with less than this share of the first's square are rounding.
const VALUE_MIN: f64 = 1e-9;
/// Fewest points of a class that say what is usual in it.
const LOOKS_MIN: usize = 10;
const DEVIATION_MIN: f64 = 0.02;
const LEVEL_MIN: f32 = 1e-3;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::task::RawTask;
    use common::teacher::{RawTeacher, TeacherFacts};

    /// Points of two classes around two places of a sphere, and a student that
    /// tells them apart.
    fn setting() -> (Task, Points, Teacher, Student) {
        let text = "name = \"t\"\n[input]\nshape = [8]\n[classes]\nnames = [\"a\", \"b\"]\n\
                    [features]\nstage = \"raw\"\n[student]\nhidden = [4]";
        let task = RawTask::parse(text).unwrap();
        let points = Points {
            classes: (0..40).map(|at| (at % 2) as u16).collect(),
            counts: vec![10; 40],
            spreads: vec![0.5; 40],
            targets: None,
            inputs: rows(40, 2, |at| at % 2),
        };
        let raw = RawTeacher {
            depth: 1,
            alpha: vec![0.0; 80],
            temperature: 0.2,
            facts: TeacherFacts::default(),
        };
        let teacher = Teacher::check(raw, points.inputs.clone(), 2).unwrap();
        let mut student = Student::new(task.student(), &mut rng(3, "student")).unwrap();
        let mut weights = vec![0.0; student.parameters().len()];
        // A unit for each of the first two features, and an answer for each unit.
        weights[0] = 1.0;
        weights[8 + 1] = 1.0;
        let last = 8 * 4 + 4;
        weights[last] = 1.0;
        weights[last + 4 + 1] = 1.0;
        student.parameters_mut().copy_from_slice(&weights);
        (task, points, teacher, student)
    }

    fn rows(count: usize, seed: u64, place: impl Fn(usize) -> usize) -> Array2<f32> {
        let mut random = rng(seed, "places");
        let mut inputs = Array2::zeros((count, 8));
        for (at, mut row) in inputs.rows_mut().into_iter().enumerate() {
            row.mapv_inplace(|_: f32| -> f32 {
                let normal: f32 = StandardNormal.sample(&mut random);
                0.2 * normal
            });
            row[place(at)] += 3.0;
            rescale(row);
        }
        inputs
    }

    #[test]
    fn rows_elsewhere_score_above_rows_of_the_training() {
        let (task, points, teacher, student) = setting();
        let raw = novelty(&task, &points, &teacher, &student)
            .unwrap()
            .unwrap();
        let novelty = Novelty::check(raw, 8, 2).unwrap();
        let mean = |place: usize| {
            let rows = rows(50, 9, |_| place);
            let logits = student.logits(rows.view()).unwrap();
            let scores = novelty.scores(rows.view(), Some(logits.view())).unwrap();
            scores.iter().sum::<f32>() / 50.0
        };
        let (known, new) = (mean(0), mean(5));
        assert!(known < 0.6, "{known}");
        assert!(new > known + 0.3, "{known} and {new}");
    }

    #[test]
    fn two_points_say_nothing() {
        let (task, points, teacher, student) = setting();
        let few = points.select(&[0, 1]);
        assert_eq!(novelty(&task, &few, &teacher, &student).unwrap(), None);
    }

    #[test]
    fn principal_directions_are_orthonormal() {
        let (_, points, ..) = setting();
        let basis = principal(&points).unwrap();
        let products = basis.dot(&basis.t());
        for ((one, other), product) in products.indexed_iter() {
            let expected = f32::from(u8::from(one == other));
            assert!(
                (product - expected).abs() < 1e-3,
                "{one}, {other}: {product}"
            );
        }
    }
}
