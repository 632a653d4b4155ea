//! What pages are made from: snapshots of the core, shared by all readers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use common::ids::{BlobHash, RoundId, TaskHash, Time, Version};
use common::round::Phase;
use common::summary::Points;
use common::task::Task;
use common::trust::certificate::{CertificateFacts, Fingerprint};
use common::trust::keys::VerifyingKey;
use common::trust::trust_root::TrustRoot;
use tokio::sync::{Mutex, Semaphore};

use crate::core::{AdminCommand, Command};
use crate::identity::{CertificateTerms, ROOT_KEY};
use crate::journal::{History, LogEntry};
use crate::round::{Event, TaskEvent};
use crate::server::Shared;
use crate::server::clock_guard::uptime;
use crate::server::handle::{ask, ask_core, status, summarise};
use crate::state_dir::state_option;
use crate::status::{DeviceName, Fault, FaultKind, InfluenceStatus, ReportSummary, Status};
use crate::store::{LeaseNow, Position};
use crate::validation;

/// A snapshot younger than this serves the next reader too.
pub(super) const AGE_MAX: Duration = Duration::from_millis(500);
/// How long the core may take to answer; it always answers between two
/// appends.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Pages that follow the fleet at a time.
pub(super) const LIVE_MAX: usize = 16;
/// Ended rounds whose reports are read for one snapshot; the rest come with
/// the next ones.
const ROUNDS_PER_SNAPSHOT: usize = 16;
/// Records before those of a page of the log that are read too, to know in
/// which phase it begins.
const LOOK_BACK: u64 = 1_000;

/// Gathers what pages show.
pub(super) struct Viewer {
    pub(super) shared: Arc<Shared>,
    pub(super) live: Arc<Semaphore>,
    state: PathBuf,
    newest: Mutex<Option<(Instant, Arc<View>)>>,
    /// What devices reported of ended rounds, which does not change.
    reports: StdMutex<BTreeMap<(TaskHash, RoundId), Option<ReportSummary>>>,
    points: Mutex<Option<(BlobHash, Arc<Distilled>)>>,
}

/// One snapshot.
#[derive(Debug)]
pub(super) struct View {
    pub(super) status: Status,
    pub(super) health: Health,
    /// What the tasks' rounds came to over weeks.
    pub(super) histories: BTreeMap<TaskHash, History>,
}

/// The coordinator as a process. Sizes in bytes.
#[derive(Debug, Default)]
pub(super) struct Health {
    pub(super) disk_free: Option<u64>,
    pub(super) disk_total: Option<u64>,
    pub(super) memory: Option<u64>,
    pub(super) memory_peak: Option<u64>,
    pub(super) certificate_ends: Option<Time>,
    /// How long devices' certificates last.
    pub(super) certificates: CertificateTerms,
    pub(super) authority: Option<AuthorityFacts>,
    pub(super) previous: Option<AuthorityFacts>,
    pub(super) trust_root: Option<TrustRoot>,
    /// The release key in use.
    pub(super) signer: Option<VerifyingKey>,
    /// Whether the root key lies in the state directory.
    pub(super) root_here: bool,
    pub(super) queue: usize,
    pub(super) queue_max: usize,
    pub(super) readers: usize,
    /// The lease, where coordinators take turns.
    pub(super) lease: Option<LeaseNow>,
    /// What commands on this page want behind them, where the state directory
    /// is not the usual one.
    pub(super) state_option: String,
}

/// An authority that is believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct AuthorityFacts {
    pub(super) fingerprint: Fingerprint,
    pub(super) ends: Option<Time>,
}

impl AuthorityFacts {
    fn of(der: &[u8]) -> Self {
        Self {
            fingerprint: Fingerprint::of(der),
            ends: ends(der),
        }
    }
}

/// A transfer set and its task.
#[derive(Debug)]
pub(super) struct Distilled {
    pub(super) task: Arc<Task>,
    pub(super) points: Points,
}

/// One record of the log, or why it cannot be shown.
pub(super) struct AuditRecord {
    pub(super) position: u64,
    pub(super) epoch: u32,
    pub(super) entry: Option<LogEntry>,
    /// The phase that its task was in, where a record tells that lies not too
    /// far before.
    pub(super) phase: Option<Phase>,
}

impl Viewer {
    pub(super) fn new(shared: Arc<Shared>, state: PathBuf) -> Self {
        Self {
            shared,
            live: Arc::new(Semaphore::new(LIVE_MAX)),
            state,
            newest: Mutex::default(),
            reports: StdMutex::default(),
            points: Mutex::default(),
        }
    }

    /// The newest snapshot. Readers who ask at the same time get the same.
    ///
    /// # Errors
    /// If the core does not answer.
    pub(super) async fn view(self: &Arc<Self>) -> Result<Arc<View>, Fault> {
        let mut newest = self.newest.lock().await;
        if let Some((taken, view)) = &*newest
            && taken.elapsed() < AGE_MAX
        {
            return Ok(view.clone());
        }
        let asked = status(&self.shared);
        let mut status = within(asked).await?;
        status.page = self.shared.page;
        status.authority = Some(self.shared.identity.authority.fingerprint());
        let viewer = self.clone();
        let made = tokio::task::spawn_blocking(move || {
            viewer.report(&mut status);
            status.store = viewer.shared.store.status();
            let health = viewer.health();
            Arc::new(View {
                status,
                health,
                histories: viewer.shared.histories.all(),
            })
        });
        let view = made.await.map_err(broken)?;
        *newest = Some((Instant::now(), view.clone()));
        Ok(view)
    }

    /// Devices in a release, or none if there is no such release.
    pub(super) async fn lineage(
        &self,
        task: TaskHash,
        version: Version,
    ) -> Result<Option<Vec<DeviceName>>, Fault> {
        let asked = ask(&self.shared, |reply| AdminCommand::Lineage {
            name: Some(task.to_string()),
            version: Some(version),
            reply,
        });
        match within(asked).await? {
            Ok((_, devices)) => Ok(Some(devices)),
            Err(fault) if fault.kind == FaultKind::NotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The decoded transfer set of this name. The newest one stays decoded.
    pub(super) async fn distilled(
        &self,
        task: TaskHash,
        blob: BlobHash,
    ) -> Result<Option<Arc<Distilled>>, Fault> {
        let mut points = self.points.lock().await;
        if let Some((known, distilled)) = &*points
            && *known == blob
        {
            return Ok(Some(distilled.clone()));
        }
        let asked = ask_core(&self.shared, |reply| Command::TaskOf { task, reply });
        let Some(Some(task)) = asked.await else {
            return Ok(None);
        };
        let store = self.shared.store.clone();
        let read = tokio::task::spawn_blocking(move || {
            let bytes = store.read(blob)?;
            let set = validation::transfer_set(&task, &bytes).ok()?;
            let points = set.points;
            Some(Arc::new(Distilled { task, points }))
        });
        let Some(distilled) = read.await.map_err(broken)? else {
            return Ok(None);
        };
        *points = Some((blob, distilled.clone()));
        Ok(Some(distilled))
    }

    /// What each device is worth that the newest teacher of a task stands on.
    pub(super) async fn influences(
        &self,
        task: TaskHash,
        teacher: BlobHash,
    ) -> Result<Option<Arc<Vec<InfluenceStatus>>>, Fault> {
        self.shared.influences.of(&self.shared, task, teacher).await
    }

    /// Up to `records_max` records before a position (or the end), newest
    /// first, and the position of the oldest one that is kept.
    pub(super) async fn audit(
        &self,
        before: Option<u64>,
        records_max: usize,
    ) -> Result<(Vec<AuditRecord>, u64), Fault> {
        let store = self.shared.store.clone();
        let read = tokio::task::spawn_blocking(move || {
            store.with(|store| {
                let (first, next) = (store.first()?.0, store.head()?.next.0);
                let end = before.unwrap_or(next).clamp(first, next);
                let oldest = end.saturating_sub(records_max as u64).max(first);
                let mut from = oldest.saturating_sub(LOOK_BACK).max(first);
                let mut phases = BTreeMap::new();
                let mut records = Vec::new();
                while from < end {
                    let some = store.read(Position(from), (end - from) as usize)?;
                    let Some(last) = some.last() else { break };
                    from = last.position.0 + 1;
                    for record in &some {
                        let entry = LogEntry::from_bytes(&record.bytes).ok();
                        let phase = entry.as_ref().and_then(|entry| follow(&mut phases, entry));
                        if record.position.0 >= oldest {
                            records.push(AuditRecord {
                                position: record.position.0,
                                epoch: record.epoch.0,
                                entry,
                                phase,
                            });
                        }
                    }
                }
                records.reverse();
                Ok((records, first))
            })
        });
        let read = read.await.map_err(broken)?;
        read.map_err(|error| Fault::new(FaultKind::Storage, error.to_string()))
    }

    /// Fills in what devices reported; newest rounds first.
    fn report(&self, status: &mut Status) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let mut read = 0;
        for task in &mut status.tasks {
            for ended in task.history.iter_mut().rev() {
                let key = (task.task, ended.round);
                if !reports.contains_key(&key) && read < ROUNDS_PER_SNAPSHOT {
                    read += 1;
                    reports.insert(key, summarise(&self.shared, &ended.reports));
                }
                ended.report = reports.get(&key).copied().flatten();
            }
            for release in &mut task.releases {
                let mut history = task.history.iter();
                let of_round = history.find(|ended| ended.round == release.round);
                release.report = of_round.and_then(|ended| ended.report);
            }
        }
        let current = |task: TaskHash, round: RoundId| {
            let task = status.tasks.iter().find(|one| one.task == task);
            task.is_some_and(|task| task.history.iter().any(|ended| ended.round == round))
        };
        reports.retain(|(task, round), _| current(*task, *round));
    }

    fn health(&self) -> Health {
        let disk = rustix::fs::statvfs(&self.state).ok();
        let identity = &self.shared.identity;
        let commands = &self.shared.commands;
        Health {
            lease: self.shared.metrics.lease_at(uptime()),
            disk_free: disk.as_ref().map(|disk| disk.f_bavail * disk.f_frsize),
            disk_total: disk.as_ref().map(|disk| disk.f_blocks * disk.f_frsize),
            memory: process_memory("VmRSS:"),
            memory_peak: process_memory("VmHWM:"),
            certificate_ends: identity.server.chain().first().and_then(|der| ends(der)),
            certificates: self.shared.certificates,
            authority: Some(AuthorityFacts::of(identity.authority.certificate())),
            previous: identity
                .previous
                .as_ref()
                .map(|previous| AuthorityFacts::of(&previous.certificate)),
            trust_root: identity.trust_root.first().ok().cloned(),
            signer: Some(identity.release_key.verifying_key()),
            root_here: self.state.join(ROOT_KEY).exists(),
            queue: commands.max_capacity() - commands.capacity(),
            queue_max: commands.max_capacity(),
            readers: LIVE_MAX - self.live.available_permits(),
            state_option: state_option(&self.state),
        }
    }
}

/// The phase of the record's task, given those before it.
fn follow(phases: &mut BTreeMap<TaskHash, Phase>, entry: &LogEntry) -> Option<Phase> {
    let LogEntry::Task(TaskEvent { task, event }) = entry else {
        return None;
    };
    match event {
        Event::PhaseOpened { phase, .. } => {
            phases.insert(*task, *phase);
        }
        Event::RoundOpened { .. } | Event::RoundEnded { .. } => {
            phases.remove(task);
        }
        _ => {}
    }
    phases.get(task).copied()
}

fn ends(der: &[u8]) -> Option<Time> {
    let facts = CertificateFacts::parse(der).ok()?;
    Some(facts.not_after)
}

/// A line of the kernel's account of this process, in bytes (proc(5)).
fn process_memory(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

async fn within<T>(asked: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    match tokio::time::timeout(ANSWER_WAIT, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(Fault::new(
            FaultKind::Storage,
            "the coordinator is busy writing; try again in a moment",
        )),
    }
}

fn broken(error: impl std::fmt::Display) -> Fault {
    Fault::new(FaultKind::Storage, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_phase_is_the_one_its_task_opened_last() {
        let (one, other) = (TaskHash([1; 32]), TaskHash([2; 32]));
        let entry = |task, event| LogEntry::Task(TaskEvent { task, event });
        let opened = |phase| Event::PhaseOpened {
            phase,
            at: Time(1),
            participants: Vec::new(),
        };
        let closed = || Event::PhaseClosed { at: Time(2) };
        let mut phases = BTreeMap::new();
        let mut told = |task, event| follow(&mut phases, &entry(task, event));
        assert_eq!(told(one, closed()), None, "its opening was not read");
        assert_eq!(told(one, opened(Phase::Profile)), Some(Phase::Profile));
        assert_eq!(told(other, opened(Phase::Report)), Some(Phase::Report));
        assert_eq!(told(one, closed()), Some(Phase::Profile));
        let round = RoundId(2);
        let began = Event::RoundOpened { round, at: Time(3) };
        assert_eq!(told(one, began), None);
        assert_eq!(told(other, closed()), Some(Phase::Report));
    }
}
