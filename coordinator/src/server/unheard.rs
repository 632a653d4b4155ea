//! Classes of which no device speaks.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use common::ids::{BlobHash, TaskHash};
use common::task::Task;

use crate::core::Command;
use crate::server::handle::{Shared, ask_core, from_store_handle};
use crate::status::TaskStatus;
use crate::validation;

/// The classes that no distilled sample of a task's newest transfer set stands
/// for: no device has rows enough to speak of them, and a student never answers
/// them, whatever its accuracy on the rows there are. Read once for each set.
#[derive(Debug, Default)]
pub(crate) struct Unheard {
    known: Mutex<BTreeMap<TaskHash, (BlobHash, Vec<String>)>>,
}

impl Unheard {
    /// Of this task; empty before its first transfer set, and where that cannot
    /// be read.
    pub(crate) async fn of(&self, shared: &Shared, task: &TaskStatus) -> Vec<String> {
        let Some(transfer) = task.transfer else {
            return Vec::new();
        };
        if let Some((set, classes)) = self.lock().get(&task.task)
            && *set == transfer
        {
            return classes.clone();
        }
        let hash = task.task;
        let asked = ask_core(shared, |reply| Command::TaskOf { task: hash, reply });
        let Some(Some(definition)) = asked.await else {
            return Vec::new();
        };
        let read = from_store_handle(shared, move |store| {
            let bytes = store.with(|store| store.blob(transfer))?;
            let found = bytes.map(|bytes| in_set(&definition, &bytes));
            Ok::<_, crate::store::StoreError>(found.unwrap_or_default())
        });
        let Ok(classes) = read.await else {
            return Vec::new();
        };
        let entry = (transfer, classes.clone());
        self.lock().insert(hash, entry);
        classes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<TaskHash, (BlobHash, Vec<String>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_set(task: &Task, bytes: &[u8]) -> Vec<String> {
    let Ok(set) = validation::transfer_set(task, bytes) else {
        return Vec::new();
    };
    // Empty where numbers are learnt.
    let names = &task.definition().classes;
    let mut heard = vec![false; names.len()];
    for &class in &set.points.classes {
        if let Some(heard) = heard.get_mut(usize::from(class)) {
            *heard = true;
        }
    }
    let unheard = names.iter().zip(heard).filter(|(_, heard)| !heard);
    unheard.map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::aggregate::gather_transfer_set;
    use common::summary::Points;
    use common::task::RawTask;
    use ndarray::Array2;

    #[test]
    fn classes_without_a_sample_are_named() {
        let text = "name = \"t\"\n[input]\nshape = [2]\n[classes]\n\
                    names = [\"off\", \"on\", \"broken\"]\n[features]\nstage = \"raw\"";
        let task = RawTask::parse(text).unwrap();
        let set = |classes: Vec<u16>| {
            let count = classes.len();
            let points = Points {
                inputs: Array2::from_shape_fn((count, 2), |(row, side)| (row * 2 + side) as f32),
                classes,
                counts: vec![10; count],
                spreads: vec![1.0; count],
                targets: None,
            };
            gather_transfer_set(&task, None, &[points])
                .unwrap()
                .to_bytes()
        };
        assert_eq!(in_set(&task, &set(vec![0, 0, 2])), ["on"]);
        assert_eq!(in_set(&task, &set(vec![2, 1, 0])), [""; 0]);
        assert_eq!(in_set(&task, b"torn"), [""; 0]);
    }
}
