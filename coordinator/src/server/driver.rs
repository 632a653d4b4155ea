//! Drives the core: gathers what is ready, makes it durable in one append,
//! lets its effects happen, and keeps serving when the store does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::ids::{DeviceId, Time};
use common::liveness::PROCESS;
use common::service::Service;
use common::trust::clock::Clock;
use tokio::sync::{broadcast, mpsc, watch};

use crate::compute::Made;
use crate::core::SteadyTime;
use crate::core::command::Command;
use crate::core::command::RunId;
use crate::core::{Core, Effect, Work, progress};
use crate::journal::Pin;
use crate::journal::{ReplayError, Replayed, replay};
use crate::metrics::Metrics;
use crate::round::JobOutput;
use crate::server::compute_backend::ComputeBackend;
use crate::server::compute_thread::ComputeThread;
use crate::server::links::Links;
use crate::server::maintenance::Maintenance;
use crate::server::peer_limits::PeerLimits;
use crate::server::replies::Replies;
use crate::server::store_handle::{StoreHandle, blocking};
use crate::status::Progress;
use crate::store::{Epoch, Position, StoreError};

/// Commands that wait for the core. Anyone who sends more waits.
pub(crate) const COMMANDS_MAX: usize = 1_024;
/// Entries of one append; the rest waits for the next.
const ENTRIES_PER_COMMIT: usize = 512;
/// Longest pause between two attempts to open a store that failed.
const RETRY_MS_MAX: u64 = 30_000;
const RETRY_MS_MIN: u64 = 1_000;

pub(crate) struct Driver {
    pub(crate) core: Core,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) store: Arc<StoreHandle>,
    pub(crate) compute: Arc<dyn ComputeBackend>,
    /// The wall clock, for what is signed.
    pub(crate) clock: Clock,
    /// What the core is told.
    pub(crate) time: SteadyTime,
    pub(crate) started: Instant,
    pub(crate) epoch: Epoch,
    pub(crate) next: Position,
    /// To hand back what computations make.
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) outage: Outage,
    pub(crate) compute_thread: ComputeThread,
    pub(crate) service: Service,
    pub(crate) maintenance: Maintenance,
    /// Who waits for the core's answers.
    pub(crate) replies: Replies,
    /// The open sessions.
    pub(crate) links: Links,
    pub(crate) progress: broadcast::Sender<Progress>,
    pub(crate) revoked: Revoked,
    pub(crate) peer_limits: Arc<PeerLimits>,
    /// Keeps what computations made until the log names it.
    pub(crate) unnamed: Unnamed,
    /// Those whose result the core has been told.
    pub(crate) told: Vec<Pin>,
}

/// Devices whose connections the listener refuses, and gateways are told to.
#[derive(Clone, Debug)]
pub(crate) struct Revoked(Arc<watch::Sender<BTreeSet<DeviceId>>>);

impl Default for Revoked {
    fn default() -> Self {
        Self(Arc::new(watch::channel(BTreeSet::new()).0))
    }
}

impl Revoked {
    /// Whether a device is among them.
    pub(crate) fn contains(&self, device: DeviceId) -> bool {
        self.0.borrow().contains(&device)
    }

    /// These and no others from now on.
    fn replace(&self, devices: BTreeSet<DeviceId>) {
        self.0.send_replace(devices);
    }

    /// All of them, and each change.
    pub(crate) fn watch(&self) -> watch::Receiver<BTreeSet<DeviceId>> {
        self.0.subscribe()
    }
}

/// Blobs that computations made and no event names yet, by run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unnamed(Arc<Mutex<BTreeMap<RunId, Pin>>>);

impl Unnamed {
    fn pins(&self) -> MutexGuard<'_, BTreeMap<RunId, Pin>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store that cannot be written.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    retry_at: Option<Time>,
    wait_ms: u64,
}

impl Driver {
    /// Runs until `stop` changes. Everything acknowledged until then is
    /// durable.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if another writer took over.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), StoreError> {
        self.settle().await?;
        loop {
            self.service.feed(Instant::now());
            let hungry = self.service.due();
            let due = self
                .core
                .timeout()
                .into_iter()
                .chain(self.outage.retry_at)
                .min();
            let now = self.now();
            let wait = due.map(|due| Duration::from_millis(due.since_ms(now)));
            tokio::select! {
                biased;
                () = stopped(&mut stop) => return Ok(()),
                Some(command) = commands.recv() => self.handle(command),
                () = sleep(wait) => {
                    let now = self.now();
                    self.core.tick(now);
                    self.mend().await?;
                }
                // Only to go round and feed the watchdog.
                () = sleep(hungry.map(|at| at.saturating_duration_since(Instant::now()))) => {}
            }
            while self.core.entries() < ENTRIES_PER_COMMIT
                && let Ok(command) = commands.try_recv()
            {
                self.handle(command);
            }
            self.settle().await?;
        }
    }

    fn now(&mut self) -> Time {
        let uptime_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.time
            .read(self.clock.now(), uptime_ms, self.core.is_idle())
    }

    /// Tells the core, and does what need not wait for the log.
    fn handle(&mut self, command: Command) {
        if let Command::Computed { run, .. } = &command {
            self.told.extend(self.unnamed.pins().remove(run));
        }
        let now = self.now();
        self.core.handle(now, command);
        self.perform();
    }

    /// Does all that the core wants done.
    pub(crate) fn perform(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Answer { to, answer } => self.replies.answer(to, answer),
                Effect::NoAnswer { to } => self.replies.give_up(to),
                Effect::Send {
                    device,
                    session,
                    message,
                } => self.links.send(device, session, message),
                Effect::Close {
                    session,
                    code,
                    reason,
                } => self.links.close(session, code, reason),
                Effect::Compute(work) => self.start(work),
                Effect::Progress(step) => {
                    progress::log(&step);
                    // Fails only if nobody watches.
                    let _ = self.progress.send(step);
                }
                Effect::Revoked(devices) => self.revoked.replace(devices),
                Effect::Pardoned(device) => self.peer_limits.pardon(device),
            }
        }
    }

    /// One append for all that is queued, and then its effects.
    async fn settle(&mut self) -> Result<(), StoreError> {
        let entries = self.core.take_entries();
        if !entries.is_empty() {
            let (store, epoch, next) = (self.store.clone(), self.epoch, self.next);
            let begun = std::time::Instant::now();
            let stored = blocking(move || store.append(epoch, next, &entries)).await;
            match stored {
                Ok(next) => {
                    self.metrics.flushed(begun.elapsed());
                    self.next = next;
                    self.outage.wait_ms = 0;
                    self.maintenance.look(self.epoch, next, self.core.rounds());
                    self.maintenance.measure(self.core.ended());
                }
                Err(error) => return self.on_store_error(error),
            }
        }
        self.core.committed();
        self.told.clear();
        self.perform();
        Ok(())
    }

    fn on_store_error(&mut self, error: StoreError) -> Result<(), StoreError> {
        tracing::error!(%error, "events could not be stored; nothing was acknowledged");
        self.core.failed();
        self.told.clear();
        self.perform();
        if matches!(error, StoreError::Fenced { .. }) {
            return Err(error);
        }
        self.postpone();
        Ok(())
    }

    fn postpone(&mut self) {
        let now = self.now();
        self.outage.retry_at = Some(now.after_ms(self.outage.wait_ms));
        self.outage.wait_ms = (2 * self.outage.wait_ms).clamp(RETRY_MS_MIN, RETRY_MS_MAX);
    }

    /// Opens the store again and goes on from its log, if it is time to.
    async fn mend(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        if self.core.in_service() || self.outage.retry_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        self.outage.retry_at = None;
        let store = self.store.clone();
        let reopened = tokio::task::spawn_blocking(move || {
            let epoch = store.reopen()?;
            Ok::<_, ReplayError>((epoch, with_replay(&store)?))
        })
        .await;
        match reopened {
            Ok(Ok((epoch, replayed))) => {
                tracing::warn!(epoch = epoch.0, next = replayed.next.0, "the store is back");
                self.epoch = epoch;
                self.next = replayed.next;
                self.maintenance.replayed(&replayed, replayed.rounds());
                self.core
                    .restore(now, epoch.0, replayed.registry, replayed.tasks);
                self.perform();
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the store could not be opened again");
                self.postpone();
            }
            Err(error) => {
                tracing::error!(%error, "opening the store failed");
                self.postpone();
            }
        }
        Ok(())
    }

    /// Runs a computation on the compute thread, after any that still runs.
    fn start(&self, work: Work) {
        let (store, compute, clock) =
            (self.store.clone(), self.compute.clone(), self.clock.clone());
        let (commands, pins) = (self.commands.clone(), self.unnamed.clone());
        let (task, run) = (work.task.hash(), work.run);
        let span = tracing::info_span!("compute", task = %task.short(), round = work.job.round.0);
        let reader = store.clone();
        let computed = self.compute_thread.run(move || {
            let _working = PROCESS.work();
            let read = |hash| reader.read(hash);
            span.in_scope(|| compute.run(&work.job, &work.task, &read, clock.now()))
        });
        tokio::spawn(async move {
            let outcome = computed.await;
            let made = match outcome {
                Ok(Ok(made)) => keep(&store, made).await,
                Ok(Err(cause)) => Err(cause),
                Err(error) => Err(format!("the computation broke: {error}")),
            };
            let result = made.map(|(output, pin)| {
                pins.pins().insert(run, pin);
                output
            });
            if let Err(cause) = &result {
                tracing::error!(task = %task.short(), cause, "a computation failed");
            }
            // Fails only if the server has stopped; the job is run again then.
            let computed = Command::Computed { task, run, result };
            let _ = commands.send(computed).await;
        });
    }
}

/// The blob is durable before anyone hears its name. A full disk ends no
/// round: what was computed waits for room.
async fn keep(store: &Arc<StoreHandle>, made: Made) -> Result<(JobOutput, Pin), String> {
    let Made { output, bytes } = made;
    let bytes = Arc::new(bytes);
    let mut wait_ms = RETRY_MS_MIN;
    loop {
        let (store, bytes) = (store.clone(), bytes.clone());
        match blocking(move || store.put_blob(&bytes)).await {
            Ok((_, pin)) => return Ok((output, pin)),
            Err(error @ StoreError::DiskFull { .. }) => {
                tracing::error!(%error, wait_ms, "what was computed waits for room");
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                wait_ms = (2 * wait_ms).min(RETRY_MS_MAX);
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Folds the store's log.
pub(crate) fn with_replay(store: &StoreHandle) -> Result<Replayed, ReplayError> {
    let mut failure = None;
    let replayed = store.with(|store| match replay(store) {
        Ok(replayed) => Ok(Some(replayed)),
        Err(ReplayError::Store(error)) => Err(error),
        Err(error) => {
            failure = Some(error);
            Ok(None)
        }
    })?;
    match (replayed, failure) {
        (Some(replayed), _) => Ok(replayed),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(Replayed::default()),
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender is gone only when the server is.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
