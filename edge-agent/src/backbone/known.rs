//! What a model made of rows, by their content, so that each goes through it once.

use std::collections::{BTreeMap, BTreeSet};

use common::wire::codec::{decode_blob, encode};
use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::outbox::disk::{seal, unseal};
use crate::policy::RowHash;
use crate::state::{StateDir, StateError};

/// What a model made of rows.
#[derive(Clone, Debug, Default)]
pub struct KnownOutputs {
    /// Which model, on which inputs.
    key: [u8; 32],
    outputs: BTreeMap<[u8; 16], Vec<f32>>,
    /// Rows that were asked for, which alone are kept.
    asked: BTreeSet<[u8; 16]>,
    /// Whether the file holds others.
    changed: bool,
}

impl KnownOutputs {
    /// Those that are kept in a file of a state directory; none where they cannot be
    /// read.
    pub fn load(state: &StateDir, file: &str) -> Self {
        let bytes = state.read(file).ok().flatten().unwrap_or_default();
        let known = unseal(&bytes).and_then(|body| decode_blob(body).ok());
        let (key, outputs) = known.unwrap_or_default();
        Self {
            key,
            outputs,
            ..Self::default()
        }
    }

    /// These, if they are of this model; none else.
    #[must_use]
    pub fn keyed(self, key: [u8; 32]) -> Self {
        match self.key == key {
            true => self,
            false => Self {
                key,
                ..Self::default()
            },
        }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.outputs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// The outputs for a row, from before or anew.
    ///
    /// # Errors
    /// Those of `compute`.
    pub fn of_row<E>(
        &mut self,
        RowHash(name): RowHash,
        compute: impl FnOnce() -> Result<Vec<f32>, E>,
    ) -> Result<&[f32], E> {
        self.asked.insert(name);
        match self.outputs.entry(name) {
            std::collections::btree_map::Entry::Occupied(known) => Ok(known.into_mut()),
            std::collections::btree_map::Entry::Vacant(place) => {
                self.changed = true;
                Ok(place.insert(compute()?))
            }
        }
    }

    /// The outputs of all rows, shape (rows, `width`), if they are known.
    pub fn of_rows(&mut self, rows: ArrayView2<'_, f32>, width: usize) -> Option<Array2<f32>> {
        let mut made = Array2::zeros((rows.nrows(), width));
        for (mut row, RowHash(name)) in made.rows_mut().into_iter().zip(RowHash::of_inputs(rows)) {
            let outputs = self
                .outputs
                .get(&name)
                .filter(|outputs| outputs.len() == width)?;
            row.assign(&ArrayView1::from(outputs.as_slice()));
            self.asked.insert(name);
        }
        Some(made)
    }

    /// Keeps those that were asked for in a file, as many as have `values_max` values
    /// in all, if any of them is new.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn keep(
        &mut self,
        state: &StateDir,
        file: &str,
        values_max: usize,
    ) -> Result<(), StateError> {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        let asked = std::mem::take(&mut self.asked);
        let mut values = 0;
        self.outputs.retain(|name, row| {
            values += row.len() + VALUES_BESIDE;
            asked.contains(name) && values <= values_max
        });
        state.write_lightly(file, &seal(&encode(&(&self.key, &self.outputs))))
    }
}

/// What a row's name and length take, in values.
const VALUES_BESIDE: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ndarray::array;

    #[test]
    fn what_was_asked_for_is_kept_as_far_as_it_fits() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::create(folder.path()).unwrap();
        let rows = array![[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]];
        let names = RowHash::of_inputs(rows.view());
        let mut known = KnownOutputs::default().keyed([1; 32]);
        let ok = |value: f32| move || Ok::<_, StateError>(vec![value]);
        assert_eq!(known.of_row(names[0], ok(7.0)).unwrap(), [7.0]);
        assert_eq!(known.of_row(names[0], ok(8.0)).unwrap(), [7.0]);
        known.of_row(names[1], ok(9.0)).unwrap();
        assert!(known.of_rows(rows.view(), 1).is_none());
        known.keep(&state, "file", 1_000).unwrap();
        let again = KnownOutputs::load(&state, "file");
        let mut again = again.keyed([1; 32]);
        let two = again.of_rows(rows.slice(ndarray::s![..2, ..]), 1).unwrap();
        assert_eq!(two, array![[7.0], [9.0]]);
        assert!(again.of_rows(rows.slice(ndarray::s![..2, ..]), 2).is_none());
        again.keep(&state, "file", 3).unwrap();
        assert_eq!(
            KnownOutputs::load(&state, "file").len(),
            2,
            "nothing is new"
        );
        let mut later = KnownOutputs::load(&state, "file").keyed([1; 32]);
        later.of_row(names[2], ok(1.0)).unwrap();
        later.keep(&state, "file", 1_000).unwrap();
        assert_eq!(
            KnownOutputs::load(&state, "file").len(),
            1,
            "the others are not asked for"
        );
        later.of_row(names[0], ok(1.0)).unwrap();
        later.keep(&state, "file", 3).unwrap();
        assert!(KnownOutputs::load(&state, "file").is_empty());
        assert!(known.keyed([2; 32]).is_empty());
    }
}
