//! Tables of text: their cells, their columns, and the rows made of them.

mod columns;
mod csv;
mod dialect;
mod rows;

pub(super) use columns::place_of;
pub(super) use csv::{Cells, parse};

#[cfg(test)]
mod tests;
