//! Reading a long table takes no more memory than a short one. Alone in its
//! process: the most that a process ever held is what is measured.
#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::path::Path;

use common::features::InputShape;
use edge_agent::data::{Dataset, Ending, SAMPLE_ROWS_MAX, Schema};

/// A table of 16 columns and a label that is written as it is read.
struct Table {
    row: u64,
    rows: u64,
    line: Vec<u8>,
}

impl Read for Table {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.line.is_empty() && self.row < self.rows {
            let mut line = String::new();
            let mut state = self.row;
            for _ in 0..16 {
                // A linear congruential generator; Knuth's MMIX.
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                line.push_str(&format!("{:.4},", (state >> 40) as f64 / 1e4));
            }
            line.push_str(["cat\n", "dog\n"][(self.row % 2) as usize]);
            self.line = line.into_bytes();
            self.row += 1;
        }
        let length = into.len().min(self.line.len());
        into[..length].copy_from_slice(&self.line[..length]);
        self.line.drain(..length);
        Ok(length)
    }
}

fn read(rows: u64) -> Dataset {
    let header = (0..16)
        .map(|column| format!("v{column},"))
        .collect::<String>();
    let header = format!("{header}label\n");
    let mut source = std::io::Cursor::new(header.into_bytes()).chain(Table {
        row: 0,
        rows,
        line: Vec::new(),
    });
    let classes = vec!["cat".to_owned(), "dog".to_owned()];
    let schema = Schema::new(InputShape::new(vec![16]).unwrap(), classes).unwrap();
    let schema = schema.with_held_max(8 << 18, SAMPLE_ROWS_MAX);
    let name = Path::new("long.csv");
    let file = Dataset::read_from(name, &mut source, rows * 160, &schema, Ending::Closed);
    let file = file.unwrap();
    assert_eq!(file.account.rows as u64, rows);
    assert_eq!(file.account.used as u64, rows);
    file.data
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn a_long_table_takes_no_more_memory() {
    let few = read(100_000);
    let after_few = peak_kib();
    assert!(few.rows() <= SAMPLE_ROWS_MAX && few.rows_read() == 100_000);
    drop(few);
    let many = read(400_000);
    assert_eq!(many.rows_read(), 400_000);
    assert!(many.rows() <= SAMPLE_ROWS_MAX && many.rows() > SAMPLE_ROWS_MAX - 700);
    // The whole table is 56 MB as text, and 26 MB as numbers.
    let grown = peak_kib() - after_few;
    assert!(grown < 4 * 1024, "{grown} KiB more");
}
