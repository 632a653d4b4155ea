//! Tables of text: their cells, their columns, and the rows made of them.

mod cells;
mod columns;
mod csv;
mod dialect;
mod live;
mod numbers;
mod preamble;
mod reader;
mod rows;
mod typed;

pub(super) use cells::Cells;
pub(super) use columns::{TIME_NAMES, is_row, once, place_of, without_unit};
pub(super) use csv::parse;
pub(super) use dialect::{DecimalSigns, number};
pub(super) use live::{follow_lines, follow_rows};
pub(super) use typed::{CellType, TypedRecord, parse_records};

#[cfg(test)]
mod tests;
