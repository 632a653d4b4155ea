//! What the device does for itself, and what came of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::evaluation::Evaluation;
use common::ids::{BlobHash, TaskHash, Version};
use common::liveness::PROCESS;
use common::round::Phase;
use common::wire::messages::{Announcement, Call, ToCoordinator};
use common::withheld::{RawWithheld, WithheldCode};
use tokio::time::Instant;
use tracing::{error, info, info_span, warn};

use super::{Agent, Event};
use crate::driver::backend::{Backend, BackendError, Built, Verdict};
use crate::driver::link::LinkError;
use crate::driver::local::no_thread;
use crate::session::Input;

impl<W: Backend> Agent<W> {
    pub(super) fn build(&mut self, call: Call) {
        let (back, backend) = (self.back.clone(), self.backend.clone());
        let cache = self.cache.clone();
        let span = info_span!(
            "round", task = %call.task.short(), round = %call.round, phase = %call.phase
        );
        self.work.spawn(async move {
            let asked = call.clone();
            let built = in_thread(move || {
                let _entered = span.entered();
                info!("working");
                backend.build(&asked, &|blob| cache.read(blob))
            });
            let event = Event::Built(call, built.await);
            // Fails only if the agent has stopped.
            let _ = back.send(event).await;
        });
    }

    pub(super) fn install(&mut self, release: Announcement) {
        let (back, backend) = (self.back.clone(), self.backend.clone());
        let cache = self.cache.clone();
        self.work.spawn(async move {
            let judged =
                in_thread(move || backend.install(&release, &|blob| cache.read(blob))).await;
            let _ = back.send(Event::Judged(release, judged)).await;
        });
    }

    pub(super) fn glance(&mut self) {
        if self.counting || !self.backend.glance() {
            return;
        }
        self.counting = true;
        let (back, backend) = (self.back.clone(), self.backend.clone());
        self.work.spawn(async move {
            let counted = in_thread(move || backend.count()).await;
            let _ = back.send(Event::Counted(counted)).await;
        });
    }

    /// Looked at with each glance at the data: a soak is minutes long, and
    /// the clock may be set meanwhile.
    pub(super) fn soak_if_due(&mut self) {
        let now = self.settings.route.floor.clock().now();
        let waits = self.soaking || self.soak_after > Instant::now();
        if waits || self.backend.soak_due().is_none_or(|due| due > now) {
            return;
        }
        self.soaking = true;
        let (back, backend) = (self.back.clone(), self.backend.clone());
        self.work.spawn(async move {
            let soaked = in_thread(move || backend.soak()).await;
            let _ = back.send(Event::Soaked(soaked)).await;
        });
    }

    pub(super) fn soaked(
        &mut self,
        result: Result<Vec<(TaskHash, Version, Evaluation)>, BackendError>,
    ) {
        self.soaking = false;
        match result {
            Ok(found) => {
                for (task, version, evaluation) in found {
                    info!(task = %task.short(), %version, "after its soak, the student is {evaluation}");
                }
            }
            Err(problem) => {
                self.soak_after = Instant::now() + SOAK_AGAIN;
                self.complain("a student could not be tried once more", &problem);
            }
        }
        self.tell_evaluations();
        self.publish();
    }

    pub(super) fn tell_evaluations(&mut self) {
        for (task, version, evaluation) in self.backend.evaluations() {
            self.input(Input::Tried {
                task,
                version,
                evaluation,
            });
        }
    }

    pub(super) fn built(&mut self, call: Call, result: Result<Built, BackendError>) {
        let why = match &result {
            Err(problem) => Some(problem.withheld()),
            Ok(built) => built.why.clone(),
        };
        let built = match result {
            Err(BackendError::Blob(blob)) => {
                let named = call.context.blobs().any(|needed| needed == blob);
                return self.lacks(call.task, blob, named);
            }
            Ok(built) => {
                let bytes: u64 = built.entries.iter().map(|entry| entry.bytes).sum();
                info!(
                    round = %call.round, phase = %call.phase,
                    entries = built.entries.len(), bytes, partial = built.partial, "built"
                );
                self.status.work_error = None;
                built
            }
            Err(problem) => {
                self.complain("abstaining", &problem);
                Built {
                    partial: true,
                    ..Built::default()
                }
            }
        };
        // That there is nothing to try a student on is told by the report
        // that does not come.
        if call.phase != Phase::Report {
            // Small devices give what so few rows may tell, which is no fault.
            let gives = !built.entries.is_empty();
            let why = why.filter(|why| !gives || why.code != WithheldCode::FewRows);
            self.withhold(call.task, why);
        }
        self.publish();
        self.input(Input::Built {
            call,
            entries: built.entries,
            partial: built.partial,
        });
    }

    /// Tells the coordinator why something does not come, as far as the owner
    /// lets it know, or that all comes again.
    fn withhold(&mut self, task: TaskHash, why: Option<RawWithheld>) {
        let why = why.and_then(|why| self.settings.disclose.of(why));
        let known = self.withheld.get(&task).cloned().flatten();
        if why == known {
            return;
        }
        self.withheld.insert(task, why.clone());
        self.send(ToCoordinator::Withholds { task, why });
    }

    /// The same once more in a new session, whose coordinator may have
    /// started anew.
    pub(super) fn withhold_again(&mut self) {
        let kept: Vec<_> = { self.withheld.iter() }
            .filter_map(|(task, why)| Some((*task, Some(why.clone()?))))
            .collect();
        for (task, why) in kept {
            self.send(ToCoordinator::Withholds { task, why });
        }
    }

    pub(super) fn judged(&mut self, release: Announcement, result: Result<Verdict, BackendError>) {
        match result {
            Err(BackendError::Blob(blob)) => {
                return self.lacks(release.task, blob, blob == release.blob);
            }
            Ok(verdict) => info!(version = %release.version, "{verdict}"),
            Err(problem) => self.complain("the student at hand stays", &problem),
        }
        self.publish();
        self.input(Input::Installed { release });
        self.tell_evaluations();
    }

    /// Work for a task stands on a blob that is not at hand: one that messages name, or
    /// the task's model.
    fn lacks(&mut self, task: TaskHash, blob: BlobHash, named: bool) {
        if named {
            return self.input(Input::Evicted(blob));
        }
        info!(task = %task.short(), blob = %blob.short(), "the model of the task is fetched");
        self.models.insert(blob);
        self.input(Input::Wanted { task, blob });
    }

    /// What came of a fetch. Models stay.
    pub(super) fn fetched(&mut self, blob: BlobHash, found: bool) {
        if found
            && self.models.contains(&blob)
            && let Err(problem) = self.cache.keep(blob)
        {
            return self.cannot_keep(blob, &LinkError::Cache(problem));
        }
        self.make_room();
        self.input(Input::Fetched { blob, found });
    }

    /// The disk, not the link, is in the way: another session would find it
    /// there too. Anyone who waits for this device is told, and the coordinator is
    /// asked again later.
    pub(super) fn cannot_keep(&mut self, blob: BlobHash, problem: &LinkError) {
        let advice = problem.advice().unwrap_or_default();
        error!(blob = %blob.short(), "what came cannot be kept: {problem}; {advice}");
        self.status.work_error = Some(problem.to_string());
        self.ask_again = Some(Instant::now() + ASK_AGAIN);
        self.publish();
        self.input(Input::Fetched { blob, found: false });
    }

    /// Begins a new session some time after the disk was in the way, for what
    /// was released meanwhile.
    pub(super) fn ask_again_if_due(&mut self) {
        if self.ask_again.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.ask_again = None;
        self.status.work_error = None;
        if let Some(live) = &self.live {
            let code = common::transport::CloseCode::Normal;
            live.connection.close(code, "for what could not be kept");
        }
    }

    pub(super) fn make_room(&mut self) {
        let protected = self.needed.values().flatten().copied().collect();
        match self.cache.evict(&protected) {
            Ok(gone) => {
                for blob in gone {
                    self.input(Input::Evicted(blob));
                }
            }
            Err(problem) => warn!("{problem}"),
        }
    }

    pub(super) fn complain(&mut self, what: &str, problem: &BackendError) {
        match problem {
            BackendError::Failed { advice, .. } | BackendError::Data { advice, .. } => {
                error!("{what}: {problem}; {advice}");
            }
            BackendError::Blob(_) => error!("{what}: {problem}"),
        }
        self.status.work_error = Some(problem.to_string());
    }
}

/// Runs heavy work in the blocking thread. A panic there is this work's
/// failure and no other's.
async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
) -> Result<T, BackendError> {
    let begun = catch_unwind(AssertUnwindSafe(|| {
        tokio::task::spawn_blocking(|| {
            let _working = PROCESS.work();
            catch_unwind(AssertUnwindSafe(work))
        })
    }));
    // The runtime panics where the system gives it no thread.
    let Ok(caught) = begun else {
        return Err(no_thread(&"the system gives no more"));
    };
    match caught.await {
        Ok(Ok(result)) => result,
        _ => Err(BackendError::Failed {
            what: "a fault in this program stopped a piece of work".to_owned(),
            advice: "report it with the lines above; the agent goes on".to_owned(),
        }),
    }
}

/// Wait before a soak that failed is tried again.
const SOAK_AGAIN: Duration = Duration::from_secs(60);
/// Wait after the disk was in the way.
const ASK_AGAIN: Duration = Duration::from_secs(30);
