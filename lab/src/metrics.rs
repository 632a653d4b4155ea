//! How right predictions are.

/// Share of right answers.
pub fn accuracy(predicted: &[u16], truth: &[u16]) -> f64 {
    let right = predicted
        .iter()
        .zip(truth)
        .filter(|(one, other)| one == other)
        .count();
    right as f64 / truth.len().max(1) as f64
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
    fn macro_f1_counts_small_classes_as_much_as_large_ones() {
        let truth = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let always_zero = [0; 10];
        assert!((accuracy(&always_zero, &truth) - 0.9).abs() < 1e-12);
        assert!(macro_f1(&always_zero, &truth, 2) < 0.5);
        assert!((macro_f1(&truth, &truth, 2) - 1.0).abs() < 1e-12);
    }
}
