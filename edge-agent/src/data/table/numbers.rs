//! Numbers as the cells of a table write them.

use super::super::classes::truth;
use super::super::schema::{Problem, VALUE_MAX, shortened};
use super::columns::Source;
use super::dialect::{grouped, is_ambiguous, number};
use super::typed::CellType;

/// How the numbers of a table are written.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) decimal: u8,
    /// Whether the owner has said so.
    pub(super) told: bool,
}

impl Numbers {
    /// The same for a cell of this type.
    pub(super) fn of_type(self, cell_type: CellType) -> Self {
        match cell_type {
            CellType::Number => Self {
                decimal: b'.',
                told: true,
            },
            CellType::Text | CellType::Time => self,
        }
    }

    /// The number of a cell; what is true is 1.
    pub(super) fn number(self, cell: &str) -> Result<f64, Problem> {
        let told = || grouped(cell, self.decimal).filter(|_| self.told);
        let found = number(cell, self.decimal).or_else(told);
        let found = found.or_else(|| truth(cell).map(|truth| f64::from(u8::from(truth))));
        let written = || shortened(cell);
        found.ok_or_else(|| match is_ambiguous(cell) {
            true => Problem::Ambiguous { found: written() },
            false => Problem::NotANumber { found: written() },
        })
    }

    /// The same in the task's unit.
    pub(super) fn converted(self, cell: &str, source: &Source) -> Result<f64, Problem> {
        let found = self.number(cell)?;
        let value = found * source.conversion.scale + source.conversion.offset;
        // Before and after: an offset must not make a fill value of no fill value.
        let worse = if found.abs() > VALUE_MAX || !found.is_finite() {
            found
        } else {
            value
        };
        Problem::of_value(worse, || shortened(cell)).map_or(Ok(value), Err)
    }
}
