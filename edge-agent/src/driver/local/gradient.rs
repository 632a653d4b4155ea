//! What a released student has wrong on the rows the device learns from, beside the
//! report on those that it holds out.

use std::collections::BTreeMap;

use common::ids::BlobHash;
use common::task::Task;
use common::wire::messages::Call;

use super::explained;
use super::holdings::{Source, described, hashes, only, view};
use super::in_process::{InProcess, ROWS};
use super::students::verified;
use crate::data::{Dataset, StandsFor};
use crate::driver::backend::BackendError;
use crate::work::{Built, Work};

impl<S: Source> InProcess<S> {
    /// A report's answer with the gradient of the release that it is about, as far
    /// as the task still asks for one and the policy permits it.
    pub(super) fn with_gradient(
        &self,
        call: &Call,
        (task, blobs): (&Task, &BTreeMap<BlobHash, Vec<u8>>),
        (train, stands_for): (Dataset, Option<&StandsFor>),
        spent: u64,
        mut answer: Built,
    ) -> Result<Built, BackendError> {
        // Without one, or with a gradient that is not asked for or not permitted, the
        // report is all that comes.
        let partial = |answer| Built {
            partial: true,
            ..answer
        };
        let Some(bytes) = call.context.release.and_then(|name| blobs.get(&name)) else {
            return Ok(partial(answer));
        };
        let release = verified(bytes, &self.known_signers()?)
            .map_err(|error| explained(&error, "ask the operator; the device does not use it"))?;
        let hashes = hashes(&train);
        let mut history = self.history(ROWS)?;
        let admitted = history.admit(
            &described(&hashes, train.labels()),
            self.settings.policy.rows_min(),
        );
        let train = only(train, &hashes, admitted.whole());
        let cluster_size_min = task.definition().budget.cluster_size_min;
        let work = Work {
            task,
            blobs,
            rows: view(&train),
            stands_for,
            privacy: self.settings.policy.privacy(cluster_size_min),
            teacher: &self.settings.teacher,
            seed: self.settings.seed,
        };
        let entry = work.gradient(call, &release).map_err(|error| {
            explained(
                &error,
                "check that the data folder holds what the task expects",
            )
        })?;
        let Some(entry) = entry else {
            return Ok(partial(answer));
        };
        let reported: u64 = { answer.entries.iter() }
            .map(|entry| entry.bytes.len() as u64)
            .sum();
        let beside = Built {
            entries: vec![entry],
            partial: answer.partial,
            why: answer.why.take(),
        };
        let beside = self.permitted(beside, task, spent + reported, &mut history, admitted)?;
        answer.entries.extend(beside.entries);
        Ok(Built {
            entries: answer.entries,
            ..beside
        })
    }
}
