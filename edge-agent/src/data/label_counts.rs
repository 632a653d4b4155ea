//! How the labels of a file were written.

use super::classes::{ClassNames, Meaning};
use super::note::Note;

/// How labels were written.
#[derive(Clone, Debug, Default)]
pub(super) struct LabelCounts {
    minus_one: usize,
    /// Rows by class of labels that were taken for places.
    indexed: std::collections::BTreeMap<u16, usize>,
}

impl LabelCounts {
    pub(super) fn add(&mut self, meaning: Meaning) {
        match meaning {
            Meaning::MinusOne => self.minus_one += 1,
            Meaning::Index(class) => *self.indexed.entry(class).or_default() += 1,
            Meaning::Name(_) | Meaning::Unlabelled => {}
        }
    }

    pub(super) fn note(&self, classes: &ClassNames, notes: &mut Vec<Note>) {
        if self.minus_one > 0 {
            notes.push(Note::MinusOne {
                rows: self.minus_one,
            });
        }
        if let (Some(low), Some(high)) = (
            self.indexed.first_key_value(),
            self.indexed.last_key_value(),
        ) {
            let one = |class: u16| format!("{class} is {:?}", classes.names()[usize::from(class)]);
            let meanings = match low.0 == high.0 {
                true => one(*low.0),
                false => format!("{}, {}", one(*low.0), one(*high.0)),
            };
            notes.push(Note::Indexed {
                rows: self.indexed.values().sum(),
                meanings,
            });
        }
    }
}
