//! C code under construction.

use std::fmt::{Display, Write as _};

/// Code so far, and how much of it is tables.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) code: String,
    pub(super) table_bytes: usize,
}

impl Writer {
    pub(super) fn raw(&mut self, code: &str) {
        self.code.push_str(code);
    }

    pub(super) fn define(&mut self, name: &str, value: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.code, "#define {name} {value}");
    }

    pub(super) fn define_float(&mut self, name: &str, value: f32) {
        self.define(name, format!("{value:?}f"));
    }

    pub(super) fn floats(&mut self, name: &str, values: &[f32]) {
        self.table(
            "float",
            4,
            name,
            values.iter().map(|value| format!("{value:?}f")),
        );
    }

    pub(super) fn doubles(&mut self, name: &str, values: &[f64]) {
        let single: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        self.floats(name, &single);
    }

    /// `kind` is `int` or `int8_t`.
    pub(super) fn integers(&mut self, kind: &str, name: &str, values: &[i64]) {
        let bytes = if kind == "int8_t" { 1 } else { 4 };
        self.table(kind, bytes, name, values.iter().map(ToString::to_string));
    }

    fn table(
        &mut self,
        kind: &str,
        bytes: usize,
        name: &str,
        values: impl ExactSizeIterator<Item = String>,
    ) {
        let count = values.len();
        self.table_bytes += bytes * count;
        let _ = write!(self.code, "static const {kind} {name}[{count}] = {{");
        let mut column = COLUMNS;
        for value in values {
            if column + value.len() + 2 > COLUMNS {
                self.code.push_str("\n    ");
                column = 4;
            }
            column += value.len() + 2;
            self.code.push_str(&value);
            self.code.push_str(", ");
        }
        self.code.push_str("\n};\n");
    }
}

const COLUMNS: usize = 100;
