//! The engine's surface and its rules.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bincode::{Decode, Encode};
use common::evaluation::Evaluation;
use common::ids::{BlobHash, RoundId, TaskHash, Time, Version};
use common::round::{ContributionKey, Phase, Reason};
use common::wire::messages::{Announcement, Call, ToCoordinator, ToDevice, TransferAnswer};

use super::backoff::Backoff;

/// A contribution in the outbox that has not been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// What it is.
    pub key: ContributionKey,
    /// Name of its bytes.
    pub blob: BlobHash,
    /// Their length.
    pub bytes: u64,
}

/// Names a call: a device is asked once a task, round and phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CallName {
    /// The task.
    pub task: TaskHash,
    /// The round.
    pub round: RoundId,
    /// The phase.
    pub phase: Phase,
}

impl CallName {
    /// The name of a call.
    pub fn of(call: &Call) -> Self {
        Self {
            task: call.task,
            round: call.round,
            phase: call.phase,
        }
    }

    /// Whether a contribution answers this call.
    pub fn is_answered_by(&self, key: &ContributionKey) -> bool {
        (key.task, key.round, key.phase) == (self.task, self.round, self.phase)
    }
}

/// How a contribution's life in the outbox ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The coordinator holds it durably.
    Accepted,
    /// The coordinator will not take it.
    Refused(Reason),
}

/// What happens to the engine.
#[derive(Clone, Debug)]
pub enum Input {
    /// The program has started; these contributions wait in the outbox and
    /// these shared blobs are cached.
    Started {
        /// Unanswered contributions, oldest first.
        outbox: Vec<Pending>,
        /// Cached shared blobs.
        cached: BTreeSet<BlobHash>,
        /// Calls whose answers in the outbox are all that will come, though
        /// more was asked for.
        partial: Vec<CallName>,
    },
    /// The control stream is open and the hello was sent.
    Connected,
    /// The link is gone, or could not be opened.
    Disconnected,
    /// The link is gone: another machine with this device's key took over.
    Superseded,
    /// A message from the coordinator.
    Received(ToDevice),
    /// A fetch ended; true if the blob is cached now.
    Fetched {
        /// The blob.
        blob: BlobHash,
        /// Whether it is at hand.
        found: bool,
    },
    /// The answer to a call is durable in the outbox.
    Built {
        /// The call it answers.
        call: Call,
        /// What may leave the device, in sending order.
        entries: Vec<Pending>,
        /// Some of what was asked for will not come: the data or the policy
        /// does not allow it.
        partial: bool,
    },
    /// The coordinator answered an upload.
    Answered {
        /// What was sent.
        key: ContributionKey,
        /// The answer; none if the link broke first.
        answer: Option<TransferAnswer>,
    },
    /// A shared blob is not in the cache any more: it made room for another,
    /// or its file was damaged. Work that stands on it begins again.
    Evicted(BlobHash),
    /// Work for a task stands on a shared blob that no message names, as on the task's
    /// model, and that is not cached. Work begins again once it is.
    Wanted {
        /// The task.
        task: TaskHash,
        /// What its work needs.
        blob: BlobHash,
    },
    /// A release was judged, installed or not.
    Installed {
        /// The release.
        release: Announcement,
    },
    /// A release fares so here.
    Tried {
        /// The task.
        task: TaskHash,
        /// The release.
        version: Version,
        /// What was found.
        evaluation: Evaluation,
    },
    /// The device has new rows for a task, at least `rows_min`.
    DataChanged {
        /// The task.
        task: TaskHash,
    },
    /// Time has passed.
    Tick,
}

/// What the driver must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a link and say hello.
    Connect,
    /// Send a message on the control stream.
    Send(ToCoordinator),
    /// Bring shared blobs into the cache, all at once.
    Fetch(Vec<BlobHash>),
    /// Compute what a call asks for and put it into the outbox.
    Build(Call),
    /// Offer a contribution and send its bytes if they are wanted.
    Upload(Pending),
    /// A contribution was answered: record it and drop it from the outbox.
    Settle {
        /// What it was.
        pending: Pending,
        /// How it ended.
        settled: Settled,
    },
    /// Verify, evaluate and install a cached release.
    Install(Announcement),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down { retry_at: Time },
    Connecting,
    Up { since: Time },
}

/// The one piece of work in progress that needs the processor or the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Work {
    /// What is still on its way of the blobs that one piece of work needs.
    Fetch(BTreeSet<BlobHash>),
    Build(Call),
    Install(Announcement),
}

/// Wait before a transiently refused contribution is offered again.
const RETRY_MS: u64 = 2_000;

/// A link that lived this long was a good one: waits start over after it.
/// After a shorter one they go on growing, but no further than for a
/// coordinator that falls and comes back: the next may be a good one.
const SETTLED_MS: u64 = 5_000;

/// How much longer a device waits that another with its key took over from:
/// 8 s at first and a quarter of an hour at most.
const SUPERSEDED_FACTOR: u64 = 32;
/// A session that lasted this long was not taken over by one that comes back
/// again and again.
const UNDISTURBED_MS: u64 = 3_600_000;

/// The session engine of one device.
#[derive(Debug)]
pub struct Engine {
    link: Link,
    backoff: Backoff,
    /// Waits after another machine with this device's key took over.
    superseded: Backoff,
    cached: BTreeSet<BlobHash>,
    calls: BTreeMap<TaskHash, Call>,
    releases: BTreeMap<TaskHash, Announcement>,
    outbox: VecDeque<Pending>,
    uploading: Option<ContributionKey>,
    upload_after: Time,
    work: Option<Work>,
    abstain_after: Vec<(CallName, BTreeSet<ContributionKey>)>,
    /// Calls the coordinator was told, in this session, not to wait for.
    abstained: Vec<CallName>,
    /// The newest call of each task that was answered.
    built: BTreeMap<TaskHash, Call>,
    /// What work for a task needs beside what messages name.
    beside: BTreeMap<TaskHash, BTreeSet<BlobHash>>,
    /// The call whose answer is built once more.
    rebuilt: Option<CallName>,
    /// Tasks with new rows that no call has asked for, and whether this
    /// session's coordinator was told.
    changed: BTreeMap<TaskHash, bool>,
    /// How releases fare, and whether this session's coordinator was told.
    tried: BTreeMap<TaskHash, (Version, Evaluation, bool)>,
    actions: VecDeque<Action>,
}

impl Engine {
    /// An engine for a device that has just started. `seed` spreads the
    /// reconnection waits of a fleet.
    pub fn new(seed: u64) -> Self {
        Self {
            link: Link::Down { retry_at: Time(0) },
            backoff: Backoff::new(seed),
            superseded: Backoff::new(!seed),
            cached: BTreeSet::new(),
            calls: BTreeMap::new(),
            releases: BTreeMap::new(),
            outbox: VecDeque::new(),
            uploading: None,
            upload_after: Time(0),
            work: None,
            abstain_after: Vec::new(),
            abstained: Vec::new(),
            built: BTreeMap::new(),
            beside: BTreeMap::new(),
            rebuilt: None,
            changed: BTreeMap::new(),
            tried: BTreeMap::new(),
            actions: VecDeque::new(),
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When the engine wants to be woken without another input.
    pub fn poll_timeout(&self) -> Option<Time> {
        match self.link {
            Link::Down { retry_at } => Some(retry_at),
            Link::Up { .. } if self.uploading.is_none() && !self.outbox.is_empty() => {
                Some(self.upload_after)
            }
            _ => None,
        }
    }

    /// Whether the link is up.
    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// Whether nothing waits to be computed, fetched, sent or installed.
    pub fn is_idle(&self) -> bool {
        self.work.is_none()
            && self.outbox.is_empty()
            && self.calls.is_empty()
            && self.releases.is_empty()
            && self.abstain_after.is_empty()
    }

    /// Whether there are new rows that no call has asked for since.
    pub fn has_news(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Whether there are new rows for this task.
    pub fn has_news_of(&self, task: TaskHash) -> bool {
        self.changed.contains_key(&task)
    }

    /// Takes one input. Afterwards the driver drains [`Self::poll_action`].
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Started {
                outbox,
                cached,
                partial,
            } => {
                for call in partial {
                    let keys = outbox.iter().map(|pending| pending.key);
                    let keys = keys.filter(|key| call.is_answered_by(key)).collect();
                    self.abstain_once_answered(call, keys);
                }
                self.outbox = outbox.into();
                self.cached = cached;
            }
            Input::Connected => {
                self.link = Link::Up { since: now };
                self.upload_after = now;
            }
            Input::Disconnected => self.disconnected(now),
            Input::Superseded => self.superseded(now),
            Input::Received(message) => self.received(message),
            Input::Fetched { blob, found } => self.fetched(blob, found),
            Input::Built {
                call,
                entries,
                partial,
            } => self.built(call, entries, partial),
            Input::Answered { key, answer } => self.answered(now, key, answer),
            Input::Evicted(blob) => self.evicted(blob),
            Input::Wanted { task, blob } => self.wanted(task, blob),
            Input::Installed { release } => self.installed(release),
            Input::Tried {
                task,
                version,
                evaluation,
            } => {
                let known = self.tried.get(&task);
                if known.is_none_or(|known| (known.0, known.1) != (version, evaluation)) {
                    self.tried.insert(task, (version, evaluation, false));
                }
            }
            Input::DataChanged { task } => {
                self.changed.insert(task, false);
            }
            Input::Tick => {}
        }
        self.advance(now);
    }

    fn disconnected(&mut self, now: Time) {
        if let Link::Up { since } = self.link {
            match now.since_ms(since) >= SETTLED_MS {
                true => self.backoff.reset(),
                false => self.backoff.shorten(),
            }
        }
        let retry_at = now.after_ms(self.backoff.next_ms());
        self.link = Link::Down { retry_at };
        self.uploading = None;
        if matches!(self.work, Some(Work::Fetch(_))) {
            self.work = None;
        }
        // The coordinator calls again for what still waits.
        self.calls.clear();
        self.abstained.clear();
        // What was said last may have been lost.
        for (_, _, told) in self.tried.values_mut() {
            *told = false;
        }
        for told in self.changed.values_mut() {
            *told = false;
        }
    }

    /// Two that throw each other out must not do so for ever.
    fn superseded(&mut self, now: Time) {
        let lasted = match self.link {
            Link::Up { since } => now.since_ms(since),
            _ => 0,
        };
        self.disconnected(now);
        if lasted >= UNDISTURBED_MS {
            self.superseded.reset();
        }
        let wait_ms = self.superseded.next_ms().saturating_mul(SUPERSEDED_FACTOR);
        let retry_at = now.after_ms(wait_ms);
        self.link = Link::Down { retry_at };
    }

    fn received(&mut self, message: ToDevice) {
        let asks = message.asks_for_rows_of().is_some();
        match message {
            ToDevice::Welcome(_) => {}
            ToDevice::Call(call) => {
                let waiting = self
                    .outbox
                    .iter()
                    .any(|pending| CallName::of(&call).is_answered_by(&pending.key));
                let building =
                    matches!(&self.work, Some(Work::Build(current)) if same(current, &call));
                // It called before it read that this device abstains.
                let abstained = self.abstained.contains(&CallName::of(&call));
                if !waiting && !building && !abstained {
                    if asks {
                        self.changed.remove(&call.task);
                    }
                    self.calls.insert(call.task, call);
                }
            }
            ToDevice::Renew => {}
            ToDevice::PhaseClosed { task, round, phase } => {
                let closed = |call: &Call| call.round == round && call.phase == phase;
                if self.calls.get(&task).is_some_and(closed) {
                    self.calls.remove(&task);
                }
                let ended = CallName { task, round, phase };
                self.abstain_after.retain(|(call, _)| *call != ended);
            }
            ToDevice::Released(release) => {
                let newer = |held: &Announcement| held.version < release.version;
                if self.releases.get(&release.task).is_none_or(newer) {
                    self.releases.insert(release.task, release);
                }
            }
        }
    }

    fn fetched(&mut self, blob: BlobHash, found: bool) {
        if let Some(Work::Fetch(awaited)) = &mut self.work {
            awaited.remove(&blob);
            if awaited.is_empty() {
                self.work = None;
            }
        }
        if found {
            self.cached.insert(blob);
            return;
        }
        // Anyone who needed it cannot go on, and is not to be waited for.
        let beside = std::mem::take(&mut self.beside);
        let besides = |task: &TaskHash| beside.get(task).is_some_and(|all| all.contains(&blob));
        self.releases
            .retain(|task, release| release.blob != blob && !besides(task));
        let needs =
            |call: &Call| besides(&call.task) || call.context.blobs().any(|needed| needed == blob);
        let (hopeless, others) = std::mem::take(&mut self.calls)
            .into_iter()
            .partition(|(_, call)| needs(call));
        self.calls = others;
        let hopeless: BTreeMap<TaskHash, Call> = hopeless;
        for call in hopeless.into_values() {
            self.abstain_once_answered(CallName::of(&call), BTreeSet::new());
        }
        self.beside = beside;
    }

    fn wanted(&mut self, task: TaskHash, blob: BlobHash) {
        self.beside.entry(task).or_default().insert(blob);
        self.cached.remove(&blob);
        self.finish(|work| match work {
            Work::Fetch(_) => false,
            Work::Build(call) => call.task == task,
            Work::Install(release) => release.task == task,
        });
    }

    fn evicted(&mut self, blob: BlobHash) {
        self.cached.remove(&blob);
        self.finish(|work| match work {
            Work::Fetch(_) => false,
            Work::Build(call) => call.context.blobs().any(|needed| needed == blob),
            Work::Install(release) => release.blob == blob,
        });
    }

    fn installed(&mut self, release: Announcement) {
        self.finish(|work| *work == Work::Install(release));
        if self.releases.get(&release.task) == Some(&release) {
            self.releases.remove(&release.task);
        }
    }

    fn abstain_once_answered(&mut self, call: CallName, keys: BTreeSet<ContributionKey>) {
        self.abstain_after.retain(|(earlier, _)| *earlier != call);
        self.abstain_after.push((call, keys));
    }

    fn built(&mut self, call: Call, entries: Vec<Pending>, partial: bool) {
        self.finish(|work| matches!(work, Work::Build(current) if same(current, &call)));
        if self
            .calls
            .get(&call.task)
            .is_some_and(|waiting| same(waiting, &call))
        {
            self.calls.remove(&call.task);
        }
        if self.rebuilt.as_ref() != Some(&CallName::of(&call)) {
            self.rebuilt = None;
            self.built.insert(call.task, call.clone());
        }
        if partial {
            let keys = entries.iter().map(|pending| pending.key).collect();
            self.abstain_once_answered(CallName::of(&call), keys);
        }
        self.outbox
            .retain(|old| !entries.iter().any(|new| new.key == old.key));
        self.outbox.extend(entries);
    }

    fn answered(&mut self, now: Time, key: ContributionKey, answer: Option<TransferAnswer>) {
        if self.uploading == Some(key) {
            self.uploading = None;
        }
        let settled = match answer {
            Some(TransferAnswer::Accepted) => Settled::Accepted,
            Some(TransferAnswer::Refused(reason)) if reason.is_transient() => {
                self.upload_after = now.after_ms(RETRY_MS);
                return;
            }
            Some(TransferAnswer::Refused(reason)) => {
                if reason == Reason::UnknownBase {
                    self.build_whole(&key);
                }
                Settled::Refused(reason)
            }
            _ => {
                self.upload_after = now.after_ms(RETRY_MS);
                return;
            }
        };
        let Some(at) = self.outbox.iter().position(|pending| pending.key == key) else {
            return;
        };
        if let Some(pending) = self.outbox.remove(at) {
            self.actions.push_back(Action::Settle { pending, settled });
        }
        for (_, keys) in &mut self.abstain_after {
            keys.remove(&key);
        }
    }

    /// Answers a call once more, whose answer stood on something that the
    /// coordinator does not hold. Anyone who builds it knows by then, and sends
    /// it whole.
    fn build_whole(&mut self, key: &ContributionKey) {
        let answered = self.built.get(&key.task);
        let answered = answered.filter(|call| CallName::of(call).is_answered_by(key));
        if let Some(call) = answered.cloned() {
            // Once a call, whatever the coordinator says.
            self.built.remove(&key.task);
            self.rebuilt = Some(CallName::of(&call));
            self.calls.entry(call.task).or_insert(call);
        }
    }

    fn finish(&mut self, is: impl Fn(&Work) -> bool) {
        if self.work.as_ref().is_some_and(is) {
            self.work = None;
        }
    }

    fn advance(&mut self, now: Time) {
        match self.link {
            Link::Down { retry_at } if retry_at <= now => {
                self.link = Link::Connecting;
                self.actions.push_back(Action::Connect);
            }
            Link::Up { .. } => {
                self.tell_changes();
                self.tell_evaluations();
                self.abstain();
                self.upload(now);
            }
            _ => {}
        }
        if self.work.is_none()
            && let Some(work) = self.next_work()
        {
            self.actions.push_back(match &work {
                Work::Fetch(blobs) => Action::Fetch(blobs.iter().copied().collect()),
                Work::Build(call) => Action::Build(call.clone()),
                Work::Install(release) => Action::Install(*release),
            });
            self.work = Some(work);
        }
    }

    fn tell_changes(&mut self) {
        for (task, told) in &mut self.changed {
            if !std::mem::replace(told, true) {
                let message = ToCoordinator::DataChanged(*task);
                self.actions.push_back(Action::Send(message));
            }
        }
    }

    fn tell_evaluations(&mut self) {
        for (task, (version, evaluation, told)) in &mut self.tried {
            if !std::mem::replace(told, true) {
                self.actions.push_back(Action::Send(ToCoordinator::Tried {
                    task: *task,
                    version: *version,
                    evaluation: *evaluation,
                }));
            }
        }
    }

    /// Says what will not come, once everything that will has been answered.
    fn abstain(&mut self) {
        let (done, waiting) = std::mem::take(&mut self.abstain_after)
            .into_iter()
            .partition(|(_, keys)| keys.is_empty());
        self.abstain_after = waiting;
        let done: Vec<(CallName, BTreeSet<ContributionKey>)> = done;
        for (call, _) in done {
            self.actions.push_back(Action::Send(ToCoordinator::Abstain {
                task: call.task,
                round: call.round,
                phase: call.phase,
            }));
            self.abstained.retain(|said| said.task != call.task);
            self.abstained.push(call);
        }
    }

    fn upload(&mut self, now: Time) {
        if self.uploading.is_some() || self.upload_after > now {
            return;
        }
        if let Some(pending) = self.outbox.front() {
            self.uploading = Some(pending.key);
            self.actions.push_back(Action::Upload(*pending));
        }
    }

    /// Releases come before calls: a report speaks of the newest student.
    fn next_work(&self) -> Option<Work> {
        let online = self.is_connected();
        for release in self.releases.values() {
            let missing = self.missing(release.task, [release.blob].into_iter());
            match missing.is_empty() {
                true => return Some(Work::Install(*release)),
                false if online => return Some(Work::Fetch(missing)),
                false => {}
            }
        }
        for call in self.calls.values() {
            let missing = self.missing(call.task, call.context.blobs());
            match missing.is_empty() {
                true => return Some(Work::Build(call.clone())),
                false if online => return Some(Work::Fetch(missing)),
                false => {}
            }
        }
        None
    }
}

impl Engine {
    /// What work for a task needs and is not cached, beside these what it asked for.
    fn missing(&self, task: TaskHash, named: impl Iterator<Item = BlobHash>) -> BTreeSet<BlobHash> {
        let beside = self.beside.get(&task).into_iter().flatten().copied();
        named
            .chain(beside)
            .filter(|blob| !self.cached.contains(blob))
            .collect()
    }
}

fn same(one: &Call, other: &Call) -> bool {
    CallName::of(one) == CallName::of(other)
}
