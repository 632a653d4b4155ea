//! Inputs of a stream: rows of a table, or windows of a recording.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;

use super::note::Note;
use super::schema::{ParseError, Schema};
use super::table;

/// What a stream brings.
#[derive(Clone, Debug, PartialEq)]
pub enum LiveEvent {
    /// An input that a student can be asked about.
    Input(LiveInput),
    /// A row that is left out, and why.
    Bad(ParseError),
    /// Nothing can be read of it, from its header on.
    Unreadable(ParseError),
    /// What was decided without being told.
    Note(Note),
}

/// An input of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveInput {
    /// Its values, in the task's order.
    pub values: Vec<f32>,
    /// The group that it belongs to, as the stream writes it; empty without
    /// groups.
    pub group: String,
    /// The line (or message) of its last sample, counted from 1.
    pub line: u64,
    /// When it begins and ends, in nanoseconds, where the stream has times.
    pub span: Option<(i64, i64)>,
}

/// Reads lines, each with its end, until there are no more of them or `tell`
/// breaks off.
///
/// # Errors
/// What `next` fails with.
pub fn follow_lines(
    next: &mut dyn FnMut() -> io::Result<Option<Vec<u8>>>,
    schema: &Schema,
    tell: &mut dyn FnMut(LiveEvent) -> ControlFlow<()>,
) -> io::Result<()> {
    table::follow_lines(next, schema, tell)
}

/// The same of rows whose cells have names.
///
/// # Errors
/// What `next` fails with.
pub fn follow_rows(
    next: &mut dyn FnMut() -> io::Result<Option<BTreeMap<String, String>>>,
    schema: &Schema,
    tell: &mut dyn FnMut(LiveEvent) -> ControlFlow<()>,
) -> io::Result<()> {
    table::follow_rows(next, schema, tell)
}
