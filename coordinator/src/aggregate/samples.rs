//! A device's distilled samples as the sums over rows that they stand for, so
//! that devices whose samples contradict the others' are found by the same
//! judgement as those whose sums do.

use ndarray::ArrayView2;

use common::math::kernel::Ntk;
use common::math::regression::RegressionError;
use common::moments::Moments;
use common::summary::Points;
use common::task::Task;
use common::transfer::TransferSet;

use super::basis::Basis;
use super::judge::{Directions, Judge, Verdict};
use super::moments::weighed;
use super::teacher::point_targets;
use super::trimmed::Evidence;
use super::{RowsCap, SolveError};

/// Which of these devices' samples (by place) contradict the others' and those of
/// earlier rounds, on the transfer set that all of them make. No device counts for
/// more rows than the median one, and earlier samples for no more than all devices:
/// later samples are of rows that the teacher before has wrong, and tell too little of
/// one another to judge anybody by them alone. Cost: the basis of the set (5m³/3), m²·d,
/// for n samples m²·n, and
/// the judgement.
///
/// # Errors
/// If the set's kernel matrix cannot be factored.
pub fn contradicting_samples(
    task: &Task,
    set: &TransferSet,
    before: Option<&Points>,
    summaries: &[Points],
) -> Result<Verdict, SolveError> {
    let basis = Basis::of(task, set)?;
    let rows: Vec<u64> = summaries.iter().map(Points::rows).collect();
    let cap = RowsCap::of(&rows, 1.0);
    let directions = Directions::new(set.support());
    let judge = Judge::new(task, &basis, set, directions, summaries.len())?;
    let told = |points: &Points, share: f64| {
        let sums = sums(task, &basis, set, points)?;
        let evidence = judge.moments(&weighed(sums, share));
        Ok::<_, RegressionError>(with_class_rows(task, evidence, points, share))
    };
    let evidence = summaries.iter().map(|points| {
        Ok(Evidence {
            certainty: points.mean_certainty(),
            ..told(points, cap.share(points.rows()))?
        })
    });
    let evidence = evidence.collect::<Result<Vec<_>, RegressionError>>()?;
    let all: f64 = rows.iter().map(|&rows| cap.rows(rows) as f64).sum();
    let before = before.filter(|points| points.rows() > 0).map(|points| {
        let share = (all / points.rows() as f64).min(1.0);
        told(points, share)
    });
    Ok(judge.verdict(&evidence, before.transpose()?.as_ref())?)
}

/// Rows of each class as samples tell them: exactly, where sums tell them only as
/// well as a constant can be made of their directions.
fn with_class_rows(task: &Task, evidence: Evidence, points: &Points, share: f64) -> Evidence {
    if !task.target().is_class() {
        return evidence;
    }
    let mut class_rows = vec![0.0; task.outputs()];
    for (&class, &count) in points.classes.iter().zip(&points.counts) {
        class_rows[usize::from(class)] += share * f64::from(count);
    }
    Evidence {
        class_rows,
        ..evidence
    }
}

/// The moments of rows that lie where the samples are, each as often as its
/// sample counts and as surely as it lies there. Cost m²·n for n samples.
fn sums(
    task: &Task,
    basis: &Basis,
    set: &TransferSet,
    points: &Points,
) -> Result<Moments, RegressionError> {
    let ntk = Ntk::new(task.definition().teacher.depth);
    let seen = set.feature_weights.through(points.inputs.view());
    let kernel = ntk.matrix(set.seen().view(), seen.view())?.mapv(f64::from);
    let mut factor = basis.travelling(kernel.view())?;
    let mut targets = point_targets(task, points).mapv(|value| value as f32);
    let target_square = square(targets.view(), points);
    for (index, &count) in points.counts.iter().enumerate() {
        let root = (f64::from(count) * points.certainty(index)).sqrt() as f32;
        factor.row_mut(index).mapv_inplace(|value| value * root);
        targets.row_mut(index).mapv_inplace(|value| value * root);
    }
    Ok(Moments {
        rows: points.rows(),
        target_square,
        factor,
        targets,
        remainder: 0.0,
    })
}

fn square(targets: ArrayView2<'_, f32>, points: &Points) -> f64 {
    let rows = targets.outer_iter().enumerate();
    rows.map(|(index, row)| {
        let square: f64 = row.iter().map(|&one| f64::from(one).powi(2)).sum();
        square * f64::from(points.counts[index]) * points.certainty(index)
    })
    .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::aggregate::gather_transfer_set;
    use crate::validation;
    use common::math::random::rng;
    use common::task::RawTask;
    use ndarray::Array2;
    use rand::Rng as _;

    fn task() -> Task {
        let text = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\", \"c\"]\n\
                    [features]\nstage = \"raw\"";
        RawTask::parse(text).unwrap()
    }

    /// Twelve samples of three classes, each in a corner of its own; the class
    /// of those in the first corner is called `first`.
    fn device(seed: u64, first: u16) -> Points {
        let mut random = rng(seed, "samples");
        let corners = [[-2.0f32, 0.0], [2.0, 0.0], [0.0, 2.5]];
        let inputs = Array2::from_shape_fn((12, 2), |(at, side)| {
            corners[at % 3][side] + random.random_range(-0.5f32..0.5)
        });
        let classes = (0..12u16).map(|at| if at % 3 == 0 { first } else { at % 3 });
        Points {
            inputs,
            classes: classes.collect(),
            counts: vec![10; 12],
            spreads: vec![0.3; 12],
            targets: None,
        }
    }

    fn judged(summaries: &[Points]) -> Vec<usize> {
        judged_after(None, summaries)
    }

    fn judged_after(before: Option<&Points>, summaries: &[Points]) -> Vec<usize> {
        judged_of(&task(), before, summaries)
    }

    fn judged_of(task: &Task, before: Option<&Points>, summaries: &[Points]) -> Vec<usize> {
        let set = gather_transfer_set(task, before, summaries).unwrap();
        let set = validation::transfer_set(task, &set.to_bytes()).unwrap();
        let verdict = contradicting_samples(task, &set, before, summaries).unwrap();
        let contradictions = verdict.contradictions.iter().map(|one| one.device);
        let mislabelled = verdict.mislabelled.iter().map(|one| one.device);
        contradictions.chain(mislabelled).collect()
    }

    #[test]
    fn samples_whose_labels_contradict_the_others_are_found() {
        let mut summaries: Vec<Points> = (0..10).map(|seed| device(seed, 0)).collect();
        assert_eq!(judged(&summaries), [0usize; 0]);
        // All of one class given to another, among honest samples of both.
        summaries[4] = device(4, 1);
        assert_eq!(judged(&summaries), [4]);
        // Every label another.
        for class in &mut summaries[4].classes {
            *class = (*class + 1) % 3;
        }
        assert_eq!(judged(&summaries), [4]);
    }

    /// Eighteen samples of three values in each of eight features; classes depend on all of
    /// them, and on chance.
    fn categories(seed: u64, device: u64) -> Points {
        let mut weights = rng(seed, "weights");
        let weights = Array2::from_shape_fn((8, 3), |_| weights.random_range(-1.0f32..1.0));
        let mut random = rng(100 * seed + device, "categories");
        let inputs = Array2::from_shape_fn((18, 8), |_| 1.2 * random.random_range(-1i8..2) as f32);
        let mut scores = inputs.dot(&weights);
        scores.mapv_inplace(|score| {
            let chance: f32 = (0..2).map(|_| random.random_range(-1.0f32..1.0)).sum();
            score + chance
        });
        let best = |row: ndarray::ArrayView1<'_, f32>| {
            let best = (0..3usize).max_by(|&a, &b| row[a].total_cmp(&row[b]));
            best.unwrap() as u16
        };
        let classes: Vec<u16> = scores.rows().into_iter().map(best).collect();
        Points {
            inputs,
            classes,
            counts: vec![10; 18],
            spreads: vec![0.3; 18],
            targets: None,
        }
    }

    #[test]
    fn samples_with_classes_by_chance_contradict_nobody() {
        let task = "name = \"t\"\n[input]\nshape = [8]\n[classes]\nnames = [\"a\", \"b\", \"c\"]\n\
                    [features]\nstage = \"raw\"";
        let task = RawTask::parse(task).unwrap();
        for seed in 0..4 {
            let summaries: Vec<Points> = (0..10).map(|one| categories(seed, one)).collect();
            assert_eq!(
                judged_of(&task, None, &summaries),
                [0usize; 0],
                "seed {seed}"
            );
        }
    }

    #[test]
    fn rows_of_classes_are_those_of_the_samples() {
        let task = task();
        let summaries: Vec<Points> = (0..10).map(|seed| device(seed, 1)).collect();
        let set = gather_transfer_set(&task, None, &summaries).unwrap();
        let set = validation::transfer_set(&task, &set.to_bytes()).unwrap();
        let basis = Basis::of(&task, &set).unwrap();
        let judge = Judge::new(&task, &basis, &set, Directions::new(set.support()), 10).unwrap();
        for points in &summaries {
            let sums = sums(&task, &basis, &set, points).unwrap();
            let evidence = judge.moments(&weighed(sums, 0.5));
            let evidence = with_class_rows(&task, evidence, points, 0.5);
            assert_eq!(evidence.class_rows, [0.0, 40.0, 20.0]);
            assert_eq!(evidence.rows, 60.0);
        }
    }

    #[test]
    fn later_samples_are_judged_beside_earlier_ones() {
        // Two samples each, on the way from their corner to the middle.
        let later = |seed: u64, lie: u16| {
            let mut points = device(100 + seed, 0);
            let kept = [seed as usize % 3, (seed as usize + 1) % 3];
            points.inputs = points.inputs.select(ndarray::Axis(0), &kept) * 0.5;
            let said = |at: &usize| (points.classes[*at] + lie) % 3;
            points.classes = kept.iter().map(said).collect();
            points.counts = vec![10; 2];
            points.spreads = vec![0.3; 2];
            points
        };
        let first: Vec<Points> = (0..10).map(|seed| device(seed, 0)).collect();
        let before = gather_transfer_set(&task(), None, &first).unwrap();
        let before = validation::transfer_set(&task(), &before.to_bytes()).unwrap();
        let liars = [1, 4, 6, 8];
        let lie = |seed: u64| u16::from(liars.contains(&(seed as usize)));
        let second: Vec<Points> = (0..10).map(|seed| later(seed, lie(seed))).collect();
        assert_eq!(judged_after(Some(&before.points), &second), liars);
        let honest: Vec<Points> = (0..10).map(|seed| later(seed, 0)).collect();
        assert_eq!(judged_after(Some(&before.points), &honest), [0usize; 0]);
    }

    #[test]
    fn a_device_without_a_class_gives_none_away() {
        let mut summaries: Vec<Points> = (0..10).map(|seed| device(seed, 0)).collect();
        let one = &mut summaries[7];
        let kept: Vec<usize> = (0..12).filter(|at| at % 3 != 0).collect();
        *one = Points {
            inputs: one.inputs.select(ndarray::Axis(0), &kept),
            classes: kept.iter().map(|&at| one.classes[at]).collect(),
            counts: vec![10; kept.len()],
            spreads: vec![0.3; kept.len()],
            targets: None,
        };
        assert_eq!(judged(&summaries), [0usize; 0]);
    }
}
