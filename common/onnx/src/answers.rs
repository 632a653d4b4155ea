//! What a classifier's outputs mean.

/// What a classifier answers with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// Probabilities if every row is not negative and sums to 1, logits
    /// otherwise.
    #[default]
    Seen,
    /// Logits, before the softmax.
    Logits,
    /// Probabilities.
    Probabilities,
}

/// Class probabilities of each row of a classifier's outputs. Rows of one
/// value are the logit or probability of the second of two classes.
pub fn probabilities(rows: &[Vec<f32>], answers: Answers) -> Vec<Vec<f32>> {
    let sums_to_one = |row: &Vec<f32>| {
        let sum: f32 = row.iter().sum();
        row.iter().all(|&value| value >= 0.0) && (sum - 1.0).abs() < 1e-3
    };
    let single = rows.iter().all(|row| row.len() == 1);
    let within = |row: &Vec<f32>| row.iter().all(|value| (0.0..=1.0).contains(value));
    let are_probabilities = match answers {
        Answers::Logits => false,
        Answers::Probabilities => true,
        Answers::Seen if single => rows.iter().all(within),
        Answers::Seen => rows.iter().all(sums_to_one),
    };
    let of_row = |row: &Vec<f32>| match (row.as_slice(), are_probabilities) {
        (&[one], true) => vec![1.0 - one, one],
        (&[one], false) => softmax(&[0.0, one]),
        (_, true) => row.clone(),
        (row, false) => softmax(row),
    };
    rows.iter().map(of_row).collect()
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_are_told_from_probabilities() {
        let given = vec![vec![0.25, 0.75], vec![1.0, 0.0]];
        assert_eq!(probabilities(&given, Answers::Seen), given);
        let logits = vec![vec![0.25, 0.75], vec![3.0, 0.0]];
        let found = probabilities(&logits, Answers::Seen);
        assert!(
            found
                .iter()
                .all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5)
        );
        assert!(found[1][0] > 0.9);
        assert_ne!(probabilities(&given, Answers::Logits), given);
    }

    #[test]
    fn one_value_is_the_second_of_two_classes() {
        assert_eq!(probabilities(&[vec![0.25]], Answers::Seen), [[0.75, 0.25]]);
        assert_eq!(probabilities(&[vec![0.0]], Answers::Logits), [[0.5, 0.5]]);
    }
}
