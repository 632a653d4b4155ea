//! A standing task: contributions count whenever they come.
//!
//! Its rounds follow one another without a gap, and what a device sent stands
//! from round to round until the device replaces it. So a round waits for
//! nobody: its gathering phase closes once enough is new, or some of it for
//! long enough, and whoever wakes while the coordinator computes is asked all
//! the same, for the round after. See decision 49.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ids::{BlobHash, DeviceId, RoundId, Time};
use protocol::round::{ContributionKey, Kind, Phase, Reason};
use protocol::wire::messages::{Call, ToDevice};

use super::admission::{Admission, REPLACED_MAX};
use super::engine::{Action, Engine, StartRefused};
use super::event::{Event, Outcome};
use super::open_phase::Standing;

/// How far a standing task is from its next student.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// Devices of which something stands.
    pub devices: usize,
    /// Those of them of which something is in no student yet.
    pub devices_new: usize,
    /// Rows that this describes.
    pub rows_new: u64,
    /// When the first of it came.
    first: Option<Time>,
    /// When there was enough of it.
    enough: Option<Time>,
}

/// What the engine of a standing task remembers beside its state, and finds
/// out anew after a restart.
#[derive(Debug, Default)]
pub(super) struct Memory {
    gathered: Gathered,
    /// The round whose profiles the normaliser is learnt from.
    founded: RoundId,
    /// The last round that led to a student.
    solved: RoundId,
    /// Devices that were called in their present session, and have not
    /// answered.
    asked: BTreeMap<DeviceId, Phase>,
}

/// What of one device stands.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    stands: bool,
    new: Option<(Time, u64)>,
}

impl Engine {
    /// Whether contributions count whenever they come.
    pub fn is_standing(&self) -> bool {
        self.policy.standing.is_some()
    }

    /// How far a standing task is; none of another.
    pub fn gathered(&self) -> Option<Gathered> {
        self.is_standing().then_some(self.memory.gathered)
    }

    /// What a standing task's devices are asked for now, whether its round
    /// gathers or computes.
    pub fn asked_phase(&self) -> Option<Phase> {
        let state = &self.state;
        let gathers = state
            .open()
            .filter(|open| open.phase.gathers() && !open.closed);
        if let Some(open) = gathers {
            return Some(open.phase);
        }
        match (self.policy.contribute.is_empty(), state.transfer) {
            _ if state.normaliser.is_none() => None,
            (true, _) => Some(Phase::Summarise),
            (false, Some(_)) => Some(Phase::Contribute),
            (false, None) => None,
        }
    }

    /// When the open phase closes, as far as what is there says.
    pub fn due(&self) -> Option<Time> {
        let standing = self.policy.standing?;
        let open = self.state.open()?;
        let gathered = &self.memory.gathered;
        let gathers = open.phase.gathers() && !open.closed;
        if !gathers || gathered.devices < self.policy.devices_min as usize {
            return None;
        }
        let last = self.state.history.last();
        let failed = last.is_some_and(|last| matches!(last.outcome, Outcome::Failed { .. }));
        // What is made of a forgotten device is replaced at once.
        let forgets = self.state.forgotten.values().any(|is_out| !is_out);
        let is_solved = gathered.devices > gathered.devices_new && self.state.transfer.is_some();
        if forgets && is_solved && !failed {
            return Some(open.opened);
        }
        let grace = self.policy.grace_ms;
        // The clock may have been set back while the coordinator was away.
        let since = open.opened.min(open.counts_from);
        let aged = since.after_ms(standing.interval_ms);
        let aged = aged.max(gathered.first?.after_ms(grace));
        // What failed fails again: not before the interval is over.
        let enough = gathered.enough.filter(|_| !failed);
        Some(enough.map_or(aged, |at| at.after_ms(grace).min(aged)))
    }

    /// An operator wants a student of what stands.
    pub(super) fn solve_now(&mut self, now: Time) -> Result<RoundId, StartRefused> {
        let round = self.state.last_round;
        let open = self.state.open();
        let gathers = open.is_some_and(|open| open.phase.gathers() && !open.closed);
        let devices = self.memory.gathered.devices;
        if !gathers || devices < (self.policy.devices_min as usize).max(1) {
            return Err(StartRefused::Running(round));
        }
        self.close_standing(now);
        Ok(round)
    }

    /// Closes the open phase: what stands counts in it.
    pub(super) fn close_standing(&mut self, now: Time) {
        self.miss();
        let (Some(round), Some(phase)) = (
            self.state.round.as_ref().map(|round| round.id),
            self.state.open().map(|open| open.phase),
        ) else {
            return;
        };
        if phase == Phase::Summarise {
            let since = self.memory.founded;
            let founds = !self.policy.contribute.is_empty();
            self.record(Event::Carried { since, founds });
        }
        self.record(Event::PhaseClosed { at: now });
        if self.asked_phase() != Some(phase) {
            let asked = std::mem::take(&mut self.memory.asked);
            self.call_off(round, phase, asked.into_keys().collect());
        }
    }

    /// Opens a phase: nobody is waited for, and those who are there are asked.
    pub(super) fn open_standing(&mut self, now: Time, phase: Phase) {
        let changed = self.state.changed.clone();
        self.record(Event::PhaseOpened {
            phase,
            at: now,
            participants: Vec::new(),
        });
        // Those with new rows who are away have yet to send them.
        for device in changed {
            if !self.state.changed.contains(&device) {
                self.record(Event::DataChanged { device });
            }
        }
        if phase.gathers() {
            let connected: Vec<_> = self.connected.iter().copied().collect();
            for device in connected {
                self.ask(device);
            }
        }
    }

    /// Asks a device for what does not stand of it, or is of older rows than
    /// it has.
    pub(super) fn ask(&mut self, device: DeviceId) {
        let Some(phase) = self.asked_phase().filter(|_| !self.is_archived()) else {
            return;
        };
        let is_asked = self.memory.asked.get(&device) == Some(&phase);
        let has_news = phase != Phase::Profile && self.state.changed.contains(&device);
        let open = self.state.open();
        let abstained = open.is_some_and(|open| open.abstained.contains(&device));
        let is_done = self.has_all(device, phase) || abstained;
        if is_asked || self.is_struck_out(device) || (is_done && !has_news) {
            return;
        }
        self.memory.asked.insert(device, phase);
        let message = ToDevice::Call(Call {
            task: self.task,
            round: self.state.last_round,
            phase,
            context: self.context(phase),
            remaining_ms: self.policy.deadline_of(phase),
        });
        self.act(Action::Send { device, message });
    }

    /// A device that comes, goes or abstains is at work on no call.
    pub(super) fn unask(&mut self, device: DeviceId) {
        self.memory.asked.remove(&device);
    }

    /// Everyone is asked anew: what they were asked for stands on what is gone.
    pub(super) fn unask_all(&mut self) {
        self.memory.asked.clear();
    }

    /// Judges a contribution to a standing task.
    pub(super) fn admit_standing(
        &self,
        device: DeviceId,
        key: &ContributionKey,
        blob: BlobHash,
    ) -> Result<Admission, Reason> {
        if self.asked_phase() != Some(key.phase) {
            return Err(Reason::PhaseClosed);
        }
        let current = self.state.transfer.map(|transfer| transfer.blob);
        if key.transfer != current.filter(|_| key.phase == Phase::Contribute) {
            return Err(Reason::StaleSupport);
        }
        let earliest = match key.phase {
            Phase::Profile => self.state.last_round,
            Phase::Summarise => self.memory.founded,
            // The transfer set tells.
            _ => RoundId(0),
        };
        if key.round > self.state.last_round || key.round < earliest {
            return Err(Reason::WrongRound);
        }
        let Some(standing) = self.standing_of(device, key.phase, key.kind) else {
            return Ok(Admission::Wanted);
        };
        if standing.blob == blob {
            return Ok(Admission::Held);
        }
        // What came while its round computed is kept under the next one.
        if key.round.0.saturating_add(1) < standing.round.0 {
            return Err(Reason::WrongRound);
        }
        let taken = self
            .state
            .open()
            .and_then(|open| open.taken.get(&(device, key.kind)));
        match taken {
            Some(taken) if taken.replaced >= REPLACED_MAX => Err(Reason::PhaseClosed),
            _ => Ok(Admission::Wanted),
        }
    }

    /// The first round in which a contribution that is taken now counts.
    pub(super) fn counts_in(&self, key: &ContributionKey) -> RoundId {
        if !self.is_standing() {
            return key.round;
        }
        let open = self.state.open();
        match open.filter(|open| open.phase == key.phase && !open.closed) {
            Some(_) => self.state.last_round,
            None => RoundId(self.state.last_round.0 + 1),
        }
    }

    /// Everything that a device was asked for stands: its new rows are in it.
    pub(super) fn heard(&mut self, device: DeviceId, phase: Phase) {
        if !self.is_standing() || !self.has_all(device, phase) {
            return;
        }
        self.unask(device);
        if self.state.changed.contains(&device) {
            self.record(Event::Heard { device });
        }
    }

    /// Whether everything that a phase asks for stands of a device.
    pub(super) fn has_all(&self, device: DeviceId, phase: Phase) -> bool {
        let mut kinds = self.policy.kinds(phase).iter();
        kinds.all(|kind| self.standing_of(device, phase, *kind).is_some())
    }

    /// The number of the round that opens next. After everything was begun
    /// anew it lies above all that stood on what is gone.
    pub(super) fn next_round(&self) -> RoundId {
        let last = self.state.last_round;
        let kept = self.state.newest.values().map(|newest| newest.round);
        let anew = self.is_standing() && self.state.normaliser.is_none();
        let kept = kept.filter(|_| anew).max();
        RoundId(kept.map_or(last, |kept| kept.max(last)).0 + 1)
    }

    fn standing_of(&self, device: DeviceId, phase: Phase, kind: Kind) -> Option<&Standing> {
        let of = (device, kind);
        let since = match phase {
            Phase::Contribute => return self.state.standing.get(&of),
            Phase::Summarise => self.memory.founded,
            _ => self.state.last_round,
        };
        let newest = self.state.newest.get(&of);
        newest.filter(|newest| newest.round >= since)
    }

    fn share_of(&self, device: DeviceId) -> Share {
        let mut share = Share::default();
        let Some(phase) = self.asked_phase() else {
            return share;
        };
        for kind in self.policy.kinds(phase) {
            let Some(standing) = self.standing_of(device, phase, *kind) else {
                continue;
            };
            share.stands = true;
            if standing.round > self.memory.solved {
                let (at, rows) = share.new.unwrap_or((standing.at, 0));
                share.new = Some((at.min(standing.at), rows.max(standing.rows)));
            }
        }
        share
    }

    /// Applies what changes the share of one device.
    pub(super) fn follow_share(&mut self, device: DeviceId, apply: impl FnOnce(&mut Self)) {
        let Some(standing) = self.policy.standing else {
            return apply(self);
        };
        let before = self.share_of(device);
        apply(self);
        let after = self.share_of(device);
        let gathered = &mut self.memory.gathered;
        let shift = |count: &mut usize, before: bool, after: bool| {
            *count = *count + usize::from(after) - usize::from(before);
        };
        shift(&mut gathered.devices, before.stands, after.stands);
        shift(
            &mut gathered.devices_new,
            before.new.is_some(),
            after.new.is_some(),
        );
        let rows = |share: Share| share.new.map_or(0, |(_, rows)| rows);
        gathered.rows_new = gathered.rows_new.saturating_sub(rows(before));
        gathered.rows_new = gathered.rows_new.saturating_add(rows(after));
        if let Some((at, _)) = after.new {
            gathered.first.get_or_insert(at);
            if gathered.rows_new >= standing.rows_new {
                gathered.enough.get_or_insert(at);
            }
        }
    }

    /// Counts anew what stands. Linear in the devices.
    pub(super) fn recount(&mut self) {
        let Some(standing) = self.policy.standing else {
            return;
        };
        let newest = self.state.newest.iter();
        let profiles = newest.filter(|((_, kind), _)| *kind == Kind::Profile);
        let founded = profiles.map(|(_, newest)| newest.round).max();
        self.memory.founded = founded.unwrap_or_default();
        let mut ended = self.state.history.iter().rev();
        let solved = ended.find(|ended| matches!(ended.outcome, Outcome::Completed { .. }));
        self.memory.solved = solved.map_or(RoundId(0), |ended| ended.id);

        let devices = self.state.newest.keys().map(|(device, _)| *device);
        let devices: BTreeSet<DeviceId> = devices.collect();
        let shares = devices.into_iter().map(|device| self.share_of(device));
        let mut gathered = Gathered::default();
        let mut new = Vec::new();
        for share in shares {
            gathered.devices += usize::from(share.stands);
            new.extend(share.new);
        }
        new.sort_unstable();
        gathered.devices_new = new.len();
        gathered.first = new.first().map(|(at, _)| *at);
        for (at, rows) in new {
            gathered.rows_new = gathered.rows_new.saturating_add(rows);
            if gathered.rows_new >= standing.rows_new {
                gathered.enough.get_or_insert(at);
            }
        }
        self.memory.gathered = gathered;
    }
}
