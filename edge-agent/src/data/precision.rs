//! Whether single precision keeps what a column tells.

use super::note::Note;

/// Running statistics of each value of an input, in double precision.
#[derive(Debug)]
pub struct Precision {
    columns: Vec<Column>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Column {
    rows: f64,
    mean: f64,
    /// Sum of squared deviations from the mean, updated as it moves (Welford
    /// 1962), so that an offset does not cancel it.
    squares: f64,
    /// The largest difference between a value and its single-precision form.
    error: f64,
}

impl Precision {
    /// Nothing seen yet of inputs of this many values.
    pub fn new(values: usize) -> Self {
        Self {
            columns: vec![Column::default(); values],
        }
    }

    /// The value in single precision; what is lost by it is remembered.
    pub fn narrow(&mut self, column: usize, value: f64) -> f32 {
        let narrow = value as f32;
        if let Some(column) = self.columns.get_mut(column) {
            column.rows += 1.0;
            let step = value - column.mean;
            column.mean += step / column.rows;
            column.squares += step * (value - column.mean);
            column.error = column.error.max((value - f64::from(narrow)).abs());
        }
        narrow
    }

    /// The columns that lose more than a thirty-second of their standard
    /// deviation, and their means.
    pub fn lost(&self) -> Vec<(usize, f64)> {
        let columns = self.columns.iter().enumerate();
        let lost = columns.filter(|(_, column)| column.is_lost());
        lost.map(|(index, column)| (index, column.mean)).collect()
    }

    /// What to say of them; `name` says what a column is called.
    pub(super) fn notes(&self, name: impl Fn(usize) -> String) -> Vec<Note> {
        let lost = self.lost().into_iter().take(NOTES_MAX);
        lost.map(|(index, mean)| Note::Lost {
            column: name(index),
            mean,
            deviation: self.columns[index].deviation(),
            error: self.columns[index].error,
        })
        .collect()
    }
}

impl Column {
    fn deviation(&self) -> f64 {
        (self.squares / self.rows.max(1.0)).sqrt()
    }

    fn is_lost(&self) -> bool {
        // A constant that does not fit single precision tells nothing.
        let varies = self.deviation() > f64::EPSILON * self.mean.abs();
        varies && self.error * LOST_SHARE > self.deviation()
    }
}

const LOST_SHARE: f64 = 32.0;
/// Most columns that are named.
const NOTES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(values: impl Iterator<Item = f64>) -> usize {
        let mut precision = Precision::new(1);
        for value in values {
            precision.narrow(0, value);
        }
        precision.notes(|_| "x".to_owned()).len()
    }

    #[test]
    fn an_offset_that_swallows_a_column_is_found() {
        let wave = |row: usize| (row as f64 * 0.7).sin();
        assert_eq!(lost((0..100).map(|row| 1e6 + 1e-3 * wave(row))), 1);
        assert_eq!(lost((0..100).map(|row| 1e6 + 1e3 * wave(row))), 0);
        assert_eq!(lost((0..100).map(|row| 1013.25 + wave(row))), 0);
        assert_eq!(lost((0..100).map(wave)), 0);
        assert_eq!(lost((0..100).map(|_| 0.1)), 0, "a constant");
    }
}
