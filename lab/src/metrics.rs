//! How right predictions are.

use ndarray::{Array2, Axis};

/// Share of right answers.
pub fn accuracy(predicted: &[u16], truth: &[u16]) -> f64 {
    let right = predicted
        .iter()
        .zip(truth)
        .filter(|(one, other)| one == other)
        .count();
    right as f64 / truth.len().max(1) as f64
}

/// Root of the mean squared difference of two sets of numbers of one shape, of
/// all together.
pub fn rmse(said: &Array2<f32>, truth: &Array2<f32>) -> f64 {
    let apart = said.iter().zip(truth);
    let squares: f64 = apart
        .map(|(one, other)| (f64::from(*one) - f64::from(*other)).powi(2))
        .sum();
    (squares / truth.len().max(1) as f64).sqrt()
}

/// The same for each column.
pub fn rmse_each(said: &Array2<f32>, truth: &Array2<f32>) -> Vec<f64> {
    let columns = said.columns().into_iter().zip(truth.columns());
    columns
        .map(|(said, truth)| {
            let column = |one: ndarray::ArrayView1<'_, f32>| one.to_owned().insert_axis(Axis(1));
            rmse(&column(said), &column(truth))
        })
        .collect()
}

/// Mean absolute difference of two sets of numbers of one shape.
pub fn mae(said: &Array2<f32>, truth: &Array2<f32>) -> f64 {
    let apart = said.iter().zip(truth);
    let sum: f64 = apart
        .map(|(one, other)| (f64::from(*one) - f64::from(*other)).abs())
        .sum();
    sum / truth.len().max(1) as f64
}

/// Area under the ROC curve of scores that should be higher for `novel` rows than
/// for `known` ones: the share of pairs in the right order, ties half.
pub fn auc(known: &[f32], novel: &[f32]) -> f64 {
    let mut all: Vec<(f32, bool)> = known.iter().map(|&score| (score, false)).collect();
    all.extend(novel.iter().map(|&score| (score, true)));
    all.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut right, mut below) = (0.0, 0.0);
    for ties in all.chunk_by(|one, other| one.0 == other.0) {
        let new = ties.iter().filter(|one| one.1).count() as f64;
        let old = ties.len() as f64 - new;
        right += new * (below + 0.5 * old);
        below += old;
    }
    right / (known.len() as f64 * novel.len() as f64).max(1.0)
}

/// Mean over the classes that occur in `truth` or `predicted` of the harmonic
/// mean of precision and recall.
pub fn macro_f1(predicted: &[u16], truth: &[u16], classes: usize) -> f64 {
    let mut scores = Vec::new();
    for class in 0..classes as u16 {
        let said = predicted.iter().filter(|&&one| one == class).count();
        let is = truth.iter().filter(|&&one| one == class).count();
        let both = predicted
            .iter()
            .zip(truth)
            .filter(|&(&p, &t)| p == class && t == class)
            .count();
        if said + is > 0 {
            scores.push(2.0 * both as f64 / (said + is) as f64);
        }
    }
    scores.iter().sum::<f64>() / scores.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_is_the_share_of_pairs_in_order() {
        assert_eq!(auc(&[0.1, 0.2], &[0.3, 0.4]), 1.0);
        assert_eq!(auc(&[0.3, 0.4], &[0.1, 0.2]), 0.0);
        assert_eq!(auc(&[0.1, 0.5], &[0.5, 0.3]), 0.625);
        assert_eq!(auc(&[0.5; 3], &[0.5; 4]), 0.5);
    }

    #[test]
    fn errors_of_numbers_are_of_all_and_of_each() {
        let truth = ndarray::array![[1.0f32, 10.0], [2.0, 20.0]];
        let said = ndarray::array![[1.0f32, 13.0], [2.0, 16.0]];
        assert!((rmse(&said, &truth) - 2.5).abs() < 1e-9);
        assert!((mae(&said, &truth) - 1.75).abs() < 1e-9);
        let each = rmse_each(&said, &truth);
        assert!(each[0] == 0.0 && (each[1] - 12.5f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn macro_f1_counts_small_classes_as_much_as_large_ones() {
        let truth = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let always_zero = [0; 10];
        assert!((accuracy(&always_zero, &truth) - 0.9).abs() < 1e-12);
        assert!(macro_f1(&always_zero, &truth, 2) < 0.5);
        assert!((macro_f1(&truth, &truth, 2) - 1.0).abs() < 1e-12);
    }
}
