//! A data set from arrays at hand.

use std::sync::Arc;

use common::features::InputShape;
use common::limits::CLASSES_MAX;

use super::dataset::{Dataset, DatasetError, Part, image_range};

impl Dataset {
    /// A data set of these rows, each with the values of an input of shape `sides`. The
    /// test part may be empty where nothing is to be judged.
    ///
    /// # Errors
    /// A shape that no input has, rows that do not have it, no training rows, values that
    /// are not finite, labels beyond the classes.
    pub fn of_arrays(
        name: &str,
        sides: &[usize],
        classes: Vec<String>,
        train: Part,
        test: Part,
    ) -> Result<Self, DatasetError> {
        let bad = |array, problem: String| DatasetError::Array {
            name: name.to_owned(),
            array,
            problem,
        };
        let shape = InputShape::new(sides.to_vec()).map_err(|error| bad("X", error.to_string()))?;
        if !(2..=CLASSES_MAX).contains(&classes.len()) {
            let problem = format!(
                "has {} classes, 2 to {CLASSES_MAX} are learnt",
                classes.len()
            );
            return Err(bad("y", problem));
        }
        if train.is_empty() {
            return Err(bad("X", "has no rows".to_owned()));
        }
        for (inputs, labels, part) in [("X", "y", &train), ("X_test", "y_test", &test)] {
            let (rows, values) = part.inputs.dim();
            if values != shape.values() && rows > 0 {
                let problem = format!(
                    "has {values} values a row, {sides:?} has {}",
                    shape.values()
                );
                return Err(bad(inputs, problem));
            }
            if part.labels.len() != rows {
                let problem = format!("has {} labels for {rows} rows", part.labels.len());
                return Err(bad(labels, problem));
            }
            let wrong = part
                .inputs
                .indexed_iter()
                .find(|(_, value)| !value.is_finite());
            if let Some(((row, _), value)) = wrong {
                return Err(bad(inputs, format!("holds {value} in row {row}")));
            }
            let beyond = part
                .labels
                .iter()
                .find(|&&label| usize::from(label) >= classes.len());
            if let Some(label) = beyond {
                return Err(bad(
                    labels,
                    format!("holds class {label} of {}", classes.len()),
                ));
            }
        }
        let shape: Vec<u32> = sides.iter().map(|&side| side as u32).collect();
        Ok(Self {
            name: name.to_owned(),
            range: image_range(&shape, &train.inputs),
            shape,
            classes,
            numbers: Vec::new(),
            offset: None,
            sound_rate: None,
            train: Arc::new(train),
            test,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ndarray::Array2;

    fn part(rows: usize, label: u16) -> Part {
        Part {
            inputs: Array2::from_elem((rows, 4), 0.5),
            labels: vec![label; rows],
            numbers: None,
            users: None,
            groups: None,
        }
    }

    #[test]
    fn arrays_that_do_not_fit_are_refused() {
        let names = || vec!["a".to_owned(), "b".to_owned()];
        let of = |sides: &[usize], classes, train, test| {
            Dataset::of_arrays("t", sides, classes, train, test).map_err(|error| error.to_string())
        };
        assert!(of(&[4], names(), part(3, 1), part(0, 0)).is_ok());
        let refused = [
            (of(&[5], names(), part(3, 1), part(0, 0)), "4 values a row"),
            (of(&[4], names(), part(3, 2), part(0, 0)), "class 2 of 2"),
            (of(&[4], names(), part(0, 0), part(0, 0)), "no rows"),
            (
                of(&[4], vec!["a".to_owned()], part(3, 0), part(0, 0)),
                "1 classes",
            ),
            (
                of(&[0], names(), part(3, 1), part(0, 0)),
                "array X an input has",
            ),
        ];
        for (found, expected) in refused {
            let message = found.map(|_| ()).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        let mut wrong = part(3, 1);
        wrong.inputs[[1, 2]] = f32::NAN;
        assert!(
            of(&[4], names(), wrong, part(0, 0))
                .unwrap_err()
                .contains("NaN in row 1")
        );
    }
}
