//! Data sets whose training rows have no labels.

use common::task::USUAL;

/// The classes of such a data set: what is trained on, and what test rows may be
/// instead, so that a score can be judged.
pub(super) const CLASSES: [&str; 2] = [USUAL, ANOMALOUS];
/// What is to be recognised, of which nobody learns.
pub const ANOMALOUS: &str = "anomalous";

/// The classes of test rows that `y_test` numbers: 0 usual, 1 anomalous.
///
/// # Errors
/// What is wrong with the numbers, in words.
pub(super) fn judged(numbers: &[f64]) -> Result<Vec<u16>, String> {
    let class = |(row, &number): (usize, &f64)| match number {
        0.0 => Ok(0),
        1.0 => Ok(1),
        other => Err(format!(
            "holds {other} in row {row}; of rows without labels it says 0 for usual ones and 1 \
             for anomalous ones"
        )),
    };
    let classes: Vec<u16> = numbers
        .iter()
        .enumerate()
        .map(class)
        .collect::<Result<_, _>>()?;
    for (class, name) in (0..).zip(CLASSES) {
        if !classes.contains(&class) {
            return Err(format!(
                "has no {name} row ({class}), so that no score can be judged"
            ));
        }
    }
    Ok(classes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_are_usual_or_anomalous_and_some_of_each() {
        assert_eq!(judged(&[0.0, 1.0, 0.0]).unwrap(), [0, 1, 0]);
        assert!(
            judged(&[0.0, 2.0])
                .unwrap_err()
                .contains("holds 2 in row 1")
        );
        assert!(judged(&[0.0]).unwrap_err().contains("no anomalous row"));
        assert!(judged(&[1.0]).unwrap_err().contains("no usual row"));
    }
}
