//! From a call to what waits in the outbox.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use common::ids::BlobHash;
use common::labels::framed;
use common::round::{ContributionKey, Kind, Phase};
use common::scales::Scales;
use common::task::Task;
use common::wire::codec::{decode, encode};
use common::wire::messages::Call;
use common::withheld::{RawWithheld, WithheldCode};
use tracing::{info, warn};

use super::holdings::{Source, described, hashes, only, view};
use super::in_process::{InProcess, ROWS};
use super::worker::{Done, Job, Judged, Worker};
use super::{LocalBackend, explained, of_state, unasked};
use crate::cache::CacheError;
use crate::driver::backend::{BackendError, Blobs, Built};
use crate::policy::{Described, Refusal, RowHistory};
use crate::session::{CallName, Pending};
use crate::work::{self, Privacy, Work};

impl<W: Worker> LocalBackend<W> {
    /// Has the answer computed and writes it into the outbox.
    pub(super) fn answer(&self, call: &Call, blobs: &Blobs<'_>) -> Result<Built, BackendError> {
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let judged = judged.get(&call.task).cloned().map(Box::new);
        let job = Job::Answer {
            call: call.clone(),
            spent: self.store().spent(self.clock.now()),
            judged,
        };
        match self.worker.work(job, blobs)? {
            Done::Answered(built) => self.keep(call, built),
            other => Err(unasked(&other)),
        }
    }

    fn keep(&self, call: &Call, answer: work::Built) -> Result<Built, BackendError> {
        let mut built = Built {
            entries: Vec::new(),
            partial: answer.partial,
            why: answer.why,
        };
        if answer.entries.is_empty() {
            return Ok(built);
        }
        self.begin_answer(call)?;
        for mut entry in answer.entries {
            if entry.kind == Kind::Labels {
                let base = self.store().ledger.label_base(call.task);
                let base = base.map_err(|error| explained(&error, error.advice()))?;
                entry.bytes = framed(&entry.bytes, base.as_deref());
            }
            let pending = Pending {
                key: key(call, entry.kind),
                blob: BlobHash::of(&entry.bytes),
                bytes: entry.bytes.len() as u64,
            };
            let put = self.store().outbox.put(&pending, entry.rows, &entry.bytes);
            put.map_err(|error| explained(&error, error.advice()))?;
            built.entries.push(pending);
        }
        self.note_partial(CallName::of(call), built.partial)?;
        self.end_answer()?;
        Ok(built)
    }

    /// The calls whose waiting answers are all that will come. A call is
    /// forgotten with the last of its answers in the outbox.
    pub(super) fn kept_partial(&self) -> Result<Vec<CallName>, BackendError> {
        let Some(bytes) = self.state.read(PARTIAL).map_err(of_state)? else {
            return Ok(Vec::new());
        };
        // A damaged file costs one computation when the coordinator calls.
        let mut calls: Vec<CallName> = decode(&bytes).unwrap_or_else(|_| {
            let file = self.state.file(PARTIAL);
            warn!("{} is damaged; its calls are answered anew", file.display());
            Vec::new()
        });
        let waiting = self.store().outbox.list();
        let answered = |call: &CallName| waiting.iter().any(|one| call.is_answered_by(&one.key));
        calls.retain(answered);
        Ok(calls)
    }

    /// A restart before everything was answered must still say that no more
    /// will come.
    pub(super) fn note_partial(
        &self,
        call: CallName,
        is_partial: bool,
    ) -> Result<(), BackendError> {
        let mut calls = self.kept_partial()?;
        let known = calls.len();
        calls.retain(|other| *other != call);
        if is_partial {
            calls.push(call);
        } else if calls.len() == known {
            return Ok(());
        }
        let written = self.state.write(PARTIAL, &encode(&calls));
        written.map_err(of_state)
    }

    /// A kill between two files of one answer must not leave half of it: the
    /// next start would take it for the whole. The file names the answer that
    /// is being written.
    fn begin_answer(&self, call: &Call) -> Result<(), BackendError> {
        let name = encode(&CallName::of(call));
        let written = self.state.write(UNFINISHED, &name);
        written.map_err(|error| explained(&error, error.advice()))
    }

    fn end_answer(&self) -> Result<(), BackendError> {
        self.state
            .remove(UNFINISHED)
            .map_err(|error| explained(&error, error.advice()))
    }
}

impl<S: Source> InProcess<S> {
    /// Computes, asks the policy, and remembers the rows before anything that
    /// describes them is handed out.
    pub(super) fn answer(
        &self,
        call: &Call,
        spent: u64,
        judged: Option<Judged>,
        blobs: &Blobs<'_>,
    ) -> Result<work::Built, BackendError> {
        let blobs = gather(call, blobs)?;
        let task = task_of(call, &blobs)?;
        self.tasks()
            .remember(&task)
            .map_err(|error| explained(&error, error.advice()))?;
        if let Some(budget) = self.settings.policy.budget() {
            return self.answer_privately(call, &task, &blobs, spent, budget);
        }
        let split = self.rows(&task)?;
        if call.phase == Phase::Report {
            let reported = self.report(call, &blobs, split.held_out, spent, judged)?;
            let refining = task.definition().refinement_steps > 0;
            return match refining {
                true => {
                    let rows = (split.training, split.stands_for.as_ref());
                    self.with_gradient(call, (&task, &blobs), rows, spent, reported)
                }
                false => Ok(reported),
            };
        }
        let train = split.training;
        let hashes = hashes(&train);
        let mut history = self.history(ROWS)?;
        let admitted = history.admit(
            &described(&hashes, train.labels()),
            self.settings.policy.rows_min(),
        );
        if admitted.is_empty() {
            warn!(
                rows = hashes.len(),
                rows_min = self.settings.policy.rows_min(),
                "too few rows; nothing leaves. Wait for more data, or lower policy.rows_min"
            );
            let detail = format!(
                "{} rows, and policy.rows_min asks for {} that were not described before",
                hashes.len(),
                self.settings.policy.rows_min()
            );
            return Ok(abstention(Some(RawWithheld {
                code: WithheldCode::FewRows,
                detail,
            })));
        }
        let train = only(train, &hashes, admitted.whole());
        drop(hashes);
        let work = Work {
            task: &task,
            blobs: &blobs,
            rows: view(&train),
            stands_for: split.stands_for.as_ref(),
            privacy: self
                .settings
                .policy
                .privacy(task.definition().budget.cluster_size_min),
            teacher: &self.settings.teacher,
            seed: self.settings.seed,
        };
        let mut built = work.answer(call).map_err(|error| {
            let advice = "check that the data folder holds what the task expects; the device \
                 abstains from this phase"
                .to_owned();
            explained(&error, advice)
        })?;
        if built.entries.is_empty() {
            let detail = too_little(call.phase, train.rows(), &work.privacy);
            warn!("{}: nothing leaves: {detail}", call.phase);
            built.why = Some(RawWithheld {
                code: WithheldCode::FewRows,
                detail,
            });
        }
        self.permitted(built, &task, spent, &mut history, admitted)
    }

    /// What the policy permits of an answer, its rows recorded.
    pub(super) fn permitted(
        &self,
        built: work::Built,
        task: &Task,
        mut spent: u64,
        history: &mut RowHistory,
        described: Described,
    ) -> Result<work::Built, BackendError> {
        let mut leaving = work::Built {
            entries: Vec::new(),
            partial: built.partial,
            why: built.why,
        };
        let policy = &self.settings.policy;
        for entry in built.entries {
            let bytes = entry.bytes.len() as u64;
            let permitted = policy
                .permit(entry.kind, entry.rows, bytes, spent)
                .and_then(|()| policy.permit_content(task, &entry));
            match permitted {
                Ok(()) => {
                    spent += bytes;
                    leaving.entries.push(entry);
                }
                Err(refusal) => {
                    info!("{} not sent: {refusal}; {}", entry.kind, refusal.advice());
                    leaving.partial = true;
                    leaving.why.get_or_insert_with(|| withheld(&refusal));
                }
            }
        }
        if !leaving.entries.is_empty() {
            history
                .record(task.hash(), &described)
                .map_err(|error| explained(&error, error.advice()))?;
        }
        Ok(leaving)
    }
}

/// Names the answer that is being written into the outbox.
pub(super) const UNFINISHED: &str = "answer.unfinished";

/// Names the calls that are answered in part.
const PARTIAL: &str = "answer.partial";

/// Nothing leaves.
pub(super) fn abstention(why: Option<RawWithheld>) -> work::Built {
    work::Built {
        entries: Vec::new(),
        partial: true,
        why,
    }
}

/// Why rows that are more than none make nothing of what a phase asks for.
fn too_little(phase: Phase, rows: usize, privacy: &Privacy) -> String {
    let Privacy {
        rows_min,
        cluster_size_min,
        rows_per_direction,
    } = privacy;
    let least = (*rows_min).max(u64::from(*cluster_size_min));
    let rule = match phase {
        Phase::Summarise => format!(
            "no class has {least} labelled rows that can be told apart, and a sample describes no \
             fewer (policy.rows_min, cluster_size_min)"
        ),
        Phase::Profile => format!(
            "policy.rows_min asks for {rows_min} of one class, and a learnt normaliser for twice \
             policy.rows_per_direction ({rows_per_direction})"
        ),
        _ => format!(
            "policy.rows_min asks for {rows_min} of one class, and soft labels and moments for three \
             times policy.rows_per_direction ({rows_per_direction})"
        ),
    };
    format!("{rows} rows: {rule}")
}

/// What the operator is told of a rule that keeps something back.
pub(super) fn withheld(refusal: &Refusal) -> RawWithheld {
    let code = match refusal {
        Refusal::Kind { .. } => WithheldCode::Policy,
        Refusal::Bytes { .. } => WithheldCode::DailyBytes,
        Refusal::Rows { .. } | Refusal::Directions { .. } | Refusal::Part { .. } => {
            WithheldCode::FewRows
        }
        Refusal::Unreadable { .. } => WithheldCode::Failed,
    };
    RawWithheld {
        code,
        detail: refusal.to_string(),
    }
}

pub(super) fn key(call: &Call, kind: Kind) -> ContributionKey {
    ContributionKey {
        task: call.task,
        transfer: call.context.transfer,
        round: call.round,
        phase: call.phase,
        kind,
    }
}

fn gather(call: &Call, blobs: &Blobs<'_>) -> Result<BTreeMap<BlobHash, Vec<u8>>, BackendError> {
    call.context
        .blobs()
        .map(|name| Ok((name, read(blobs, name)?)))
        .collect()
}

/// A blob that is missing or damaged is fetched again; a disk that fails is
/// a failure.
pub(super) fn read(blobs: &Blobs<'_>, name: BlobHash) -> Result<Vec<u8>, BackendError> {
    blobs(name).map_err(|error| match error {
        CacheError::Missing(_) | CacheError::Damaged { .. } => BackendError::Blob(name),
        CacheError::Io { .. } => {
            explained(&error, "check the disk of the state directory".to_owned())
        }
    })
}

fn task_of(call: &Call, blobs: &BTreeMap<BlobHash, Vec<u8>>) -> Result<Task, BackendError> {
    let bytes = &blobs[&call.context.task];
    let update = || "update the older of the two programs".to_owned();
    let task = Task::from_bytes(bytes).map_err(|error| explained(&error, update()))?;
    if task.hash() != call.task {
        let what = format!(
            "task {} was called for, {} was sent",
            call.task,
            task.hash()
        );
        return Err(explained(&what, update()));
    }
    let scales = call.context.normaliser.and_then(|name| blobs.get(&name));
    match scales {
        Some(bytes) if task.definition().auto_budget => {
            let scales = Scales::read(&task, bytes);
            let plan = scales.map_err(|error| explained(&error, update()))?.plan;
            let planned = plan.map(|plan| task.planned(&plan)).transpose();
            let planned = planned.map_err(|error| explained(&error, update()))?;
            Ok(planned.unwrap_or(task))
        }
        _ => Ok(task),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_names_the_rule_that_keeps_it_back() {
        let privacy = Privacy {
            rows_min: 20,
            cluster_size_min: 25,
            rows_per_direction: 15,
        };
        for (phase, said) in [
            (Phase::Summarise, "350 rows: no class has 25 labelled rows"),
            (Phase::Profile, "for twice policy.rows_per_direction (15)"),
            (
                Phase::Contribute,
                "three times policy.rows_per_direction (15)",
            ),
        ] {
            let told = too_little(phase, 350, &privacy);
            assert!(told.contains(said), "{told}");
        }
    }
}
