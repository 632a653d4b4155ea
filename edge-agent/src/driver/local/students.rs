//! Students: judged when they come, reported on when the round asks.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use common::evaluation::Evaluation;
use common::ids::{BlobHash, TaskHash, Version};
use common::model::Release;
use common::report::{RawErrors, RawReport};
use common::round::Kind;
use common::trust::keys::VerifyingKey;
use common::trust::release::SignedRelease;
use common::wire::codec::{Trailing, encode};
use common::wire::messages::{Announcement, Call};
use tracing::warn;

use super::answer::{abstention, read};
use super::comparison::{Comparison, HeldOut};
use super::holdings::{Source, described, hashes, labelled, only};
use super::in_process::{InProcess, REPORTED};
use super::release::{Conditions, ReleaseRefusal, open};
use super::worker::{Done, Job, Judged, Judgement, Worker};
use super::{LocalBackend, explained, no_blobs, unasked};
use crate::data::Dataset;
use crate::driver::backend::{BackendError, Blobs, Verdict};
use crate::identity::TimeFloor;
use crate::slots::{EvaluationRecord, Slots, SlotsError};
use crate::state::StateDir;
use crate::trust::Trust;
use crate::work::{Built, Entry};

/// Folder of the slots, one folder a task.
pub const STUDENTS: &str = "students";

impl<W: Worker> LocalBackend<W> {
    /// Has a release judged, and switches to it unless it is worse.
    pub(super) fn judge(
        &self,
        announced: &Announcement,
        blobs: &Blobs<'_>,
    ) -> Result<Verdict, BackendError> {
        let mut slots = open_one(&self.state, announced.task)?;
        if slots.is_pinned() {
            return Ok(Verdict::Pinned);
        }
        let comparison = match self.worker.work(Job::Judge(*announced), blobs)? {
            Done::Judged(Judgement::NotNewer { current }) => {
                return Ok(Verdict::NotNewer { current });
            }
            Done::Judged(Judgement::Refused { reason }) => {
                slots.refuse(announced.version).map_err(of_slots)?;
                return Ok(Verdict::Refused { reason });
            }
            Done::Judged(Judgement::Genuine(comparison)) => comparison,
            other => return Err(unasked(&other)),
        };
        let version = announced.version;
        if let Some(comparison) = &comparison {
            let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
            judged.insert(announced.task, (version, comparison.clone()));
        }
        match comparison {
            Some(comparison) if comparison.is_worse() => {
                slots
                    .conclude(version, Evaluation::Worse)
                    .map_err(of_slots)?;
                Ok(Verdict::Worse {
                    score: comparison.score(),
                    before: comparison.previous_score(),
                })
            }
            comparison => {
                // The bytes that were judged: their name is their hash.
                let bytes = read(blobs, announced.blob)?;
                let due = self.clock.now().after_ms(announced.soak_ms);
                let evaluation = match &comparison {
                    None => (Evaluation::Untested, None),
                    Some(_) => (Evaluation::Soaking, Some(due)),
                };
                let evaluation = EvaluationRecord {
                    version,
                    evaluation: evaluation.0,
                    due: evaluation.1,
                };
                slots
                    .install_evaluated(version, &bytes, Some(evaluation))
                    .map_err(of_slots)?;
                Ok(Verdict::Installed {
                    score: comparison.as_ref().map(Comparison::score),
                })
            }
        }
    }
}

impl<W: Worker> LocalBackend<W> {
    /// Tries the students whose soak is over once more, and goes back from
    /// those that do worse than the ones before them.
    pub(super) fn soak_those_due(
        &self,
    ) -> Result<Vec<(TaskHash, Version, Evaluation)>, BackendError> {
        let mut found = Vec::new();
        let now = self.clock.now();
        for (task, mut slots) in open_all(&self.state)? {
            let due = slots
                .evaluation()
                .filter(|evaluation| evaluation.due.is_some_and(|at| at <= now));
            let Some(EvaluationRecord { version, .. }) = due else {
                continue;
            };
            let comparison = match self.worker.work(Job::Soak(task), &no_blobs)? {
                Done::Soaked(comparison) => comparison,
                other => return Err(unasked(&other)),
            };
            let evaluation = match comparison {
                Some(comparison) if comparison.is_worse() => Evaluation::RolledBack,
                _ => Evaluation::Kept,
            };
            let recorded = match evaluation {
                Evaluation::RolledBack => slots.roll_back_evaluated(version).map(|_| ()),
                _ => slots.conclude(version, evaluation),
            };
            recorded.map_err(of_slots)?;
            found.push((task, version, evaluation));
        }
        Ok(found)
    }

    /// Each task's evaluation.
    pub(super) fn all_evaluations(&self) -> Vec<(TaskHash, EvaluationRecord)> {
        let all = open_all(&self.state).unwrap_or_else(|error| {
            warn!("the students cannot be read: {error}");
            BTreeMap::new()
        });
        all.iter()
            .filter_map(|(task, slots)| Some((*task, slots.evaluation()?)))
            .collect()
    }
}

impl<S: Source> InProcess<S> {
    /// The student in use beside the one before, on the rows held out now.
    pub(super) fn soak(&self, task: TaskHash) -> Result<Option<Comparison>, BackendError> {
        let slots = open_one(&self.state, task)?;
        let previous = slots.previous();
        let (Some(current), Some((_, previous))) = (self.serving(&slots)?, previous) else {
            return Ok(None);
        };
        let previous = verified(&previous, &self.known_signers()?);
        let previous = previous.inspect_err(|error| warn!("{error}")).ok();
        Ok(match previous {
            Some(previous) => self.compare(&current, Some(&previous))?,
            None => None,
        })
    }

    /// Verifies a release and tries it beside the student at hand.
    pub(super) fn judge(
        &self,
        announced: &Announcement,
        blobs: &Blobs<'_>,
    ) -> Result<Judgement, BackendError> {
        let slots = open_one(&self.state, announced.task)?;
        let installed = self.serving(&slots)?;
        if let Some(current) = &installed
            && current.version() >= announced.version
        {
            return Ok(Judgement::NotNewer {
                current: current.version(),
            });
        }
        let bytes = read(blobs, announced.blob)?;
        let now = self.settings.clock.now();
        let trust = Trust::load(&self.state).map_err(|error| explained(&error, error.advice()))?;
        let signers = trust
            .as_ref()
            .map_or(Ok(&[][..]), |trust| trust.signers(now));
        let conditions = Conditions {
            announced,
            signers: match signers {
                Ok(signers) => signers,
                Err(error) => {
                    return Ok(Judgement::Refused {
                        reason: error.to_string(),
                    });
                }
            },
            fresh_until: trust.as_ref().and_then(Trust::fresh_until),
            floor: slots.highest_seen(),
            now,
        };
        let release = match open(&bytes, &conditions) {
            Ok(release) => release,
            Err(reason) => {
                return Ok(Judgement::Refused {
                    reason: reason.to_string(),
                });
            }
        };
        // It was signed then, so it is that late at least.
        if let Err(problem) = TimeFloor::raise(&self.state, release.as_raw().released) {
            warn!("{problem}");
        }
        if let Err(reason @ (SlotsError::Older { .. } | SlotsError::Held { .. })) =
            slots.admit(release.version())
        {
            return Ok(Judgement::Refused {
                reason: reason.to_string(),
            });
        }
        let comparison = self.compare(&release, installed.as_ref())?;
        Ok(Judgement::Genuine(comparison))
    }

    /// How the release of a report's call did here: as it was judged when it
    /// came, or tried now.
    pub(super) fn report(
        &self,
        call: &Call,
        blobs: &BTreeMap<BlobHash, Vec<u8>>,
        held_out: Dataset,
        spent: u64,
        judged: Option<Judged>,
    ) -> Result<Built, BackendError> {
        let Some(bytes) = call.context.release.and_then(|name| blobs.get(&name)) else {
            warn!("a report was asked for without a release");
            return Ok(abstention(None));
        };
        let release = verified(bytes, &self.known_signers()?)
            .map_err(|error| explained(&error, "ask the operator; the device does not use it"))?;
        let hashes = hashes(&held_out);
        let mut history = self.history(REPORTED)?;
        let rows_min = self.settings.policy.rows_min();
        // Counts over all classes together.
        let together = vec![None; hashes.len()];
        let described = history.admit(&described(&hashes, &together), rows_min);
        let (rows, labels) = labelled(only(held_out, &hashes, described.whole()));
        if (labels.len() as u64) < rows_min {
            return Ok(abstention(None));
        }
        let held_out = HeldOut {
            inputs: rows.stage_inputs(),
            labels: &labels,
            numbers: rows.numbers(),
        };
        let now = Comparison::of(&release, None, held_out)
            .map_err(|error| explained(&error, "check that the data fits the task"))?;
        let before = judged
            .filter(|(version, found)| *version == release.version() && found.rows == now.rows)
            .map(|(_, found)| found);
        let slots = open_one(&self.state, call.task)?;
        let installed = self.serving(&slots)?.map(|student| student.version());
        let report = RawReport {
            version: release.version(),
            rows: now.rows,
            correct: now.correct,
            previous_correct: before.as_ref().and_then(|found| found.previous),
            installed: installed == Some(release.version()),
            errors: Trailing(now.numbers.map(|numbers| {
                let before = before.and_then(|found| found.numbers);
                RawErrors {
                    previous_squared: before.and_then(|found| found.errors.previous_squared),
                    ..numbers.errors
                }
            })),
        };
        let entry = Entry {
            kind: Kind::Report,
            bytes: encode(&report),
            rows: now.rows,
        };
        let built = Built {
            entries: vec![entry],
            partial: false,
            why: None,
        };
        self.permitted(built, release.task(), spent, &mut history, described)
    }

    /// None if there is nothing to try it on. Data that cannot be read is no
    /// reason to stay without a student; a model that its inputs go through is.
    fn compare(
        &self,
        release: &Release,
        installed: Option<&Release>,
    ) -> Result<Option<Comparison>, BackendError> {
        self.has_model(release.task())?;
        let held_out = match self.source.load(release.task()) {
            Ok(mut split) => {
                self.see(release.task(), &mut split)?;
                split.held_out
            }
            Err(error) => {
                warn!("not evaluated: {error}");
                return Ok(None);
            }
        };
        let (rows, labels) = labelled(held_out);
        if labels.is_empty() {
            return Ok(None);
        }
        let held_out = HeldOut {
            inputs: rows.stage_inputs(),
            labels: &labels,
            numbers: rows.numbers(),
        };
        let compared = Comparison::of(release, installed, held_out);
        Ok(compared
            .inspect_err(|error| warn!("not evaluated: {error}"))
            .ok())
    }

    pub(super) fn known_signers(&self) -> Result<Vec<VerifyingKey>, BackendError> {
        Trust::known_signers_in(&self.state).map_err(|error| explained(&error, error.advice()))
    }

    /// The student in use. One that cannot be read or believed is as good as
    /// none: the next release replaces it.
    fn serving(&self, slots: &Slots) -> Result<Option<Release>, BackendError> {
        let bytes = match slots.current() {
            Ok(None) => return Ok(None),
            Ok(Some((_, bytes))) => bytes,
            Err(error @ SlotsError::Damaged { .. }) => {
                warn!("{error}; {}", error.advice());
                return Ok(None);
            }
            Err(error) => return Err(of_slots(error)),
        };
        let release = verified(&bytes, &self.known_signers()?);
        Ok(release.inspect_err(|error| warn!("{error}")).ok())
    }
}

/// A release that is at hand already, from its signed bytes.
pub fn verified(bytes: &[u8], signers: &[VerifyingKey]) -> Result<Release, ReleaseRefusal> {
    let signed = SignedRelease::from_bytes(bytes)?;
    Ok(Release::from_bytes(signed.verify(signers)?)?)
}

/// The slots of every task that has some.
///
/// # Errors
/// If they cannot be read.
pub fn open_all(state: &StateDir) -> Result<BTreeMap<TaskHash, Slots>, BackendError> {
    let folder = state.file(STUDENTS);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => {
            let advice = format!("make {} readable", folder.display());
            return Err(explained(&error, advice));
        }
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    names
        .map(|task: TaskHash| Ok((task, open_one(state, task)?)))
        .collect()
}

fn open_one(state: &StateDir, task: TaskHash) -> Result<Slots, BackendError> {
    let folder = state.file(STUDENTS).join(task.to_string());
    Slots::open(&folder).map_err(of_slots)
}

fn of_slots(error: SlotsError) -> BackendError {
    explained(&error, error.advice())
}
