//! Which contributions count: each once, for the round and transfer set they
//! were made for.

use std::cmp::Ordering;

use protocol::ids::{BlobHash, DeviceId, RoundId, Time};
use protocol::round::{ContributionKey, Kind, Phase, Reason};
use protocol::wire::messages::TransferAnswer;

use super::engine::Engine;
use super::event::Event;
use super::open_phase::OpenPhase;

/// Refusals for faults no honest device makes, before a device's offers are
/// no longer looked at.
pub const STRIKES_MAX: u32 = 16;

/// How often a device may put other content in place of what was taken in a
/// phase, before what was taken is final for it.
pub(super) const REPLACED_MAX: u32 = 8;

/// What to do with an offered contribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The very same content is durable and counted already.
    Held,
    /// The same bytes stand from an earlier round on the same transfer set:
    /// they count anew and need not come again.
    Stands {
        /// Rows they describe.
        rows: u64,
    },
    /// It may come, for the open phase or for the next round.
    Wanted,
}

impl Engine {
    /// Judges a contribution by its key, its name and its length alone.
    fn admit(
        &self,
        device: DeviceId,
        key: &ContributionKey,
        blob: BlobHash,
        bytes: u64,
    ) -> Result<Admission, Reason> {
        if key.task != self.task {
            return Err(Reason::UnknownTask);
        }
        if self.is_struck_out(device) {
            return Err(Reason::NotAdmitted);
        }
        if !self.policy.kinds(key.phase).contains(&key.kind) {
            return Err(Reason::WrongKind);
        }
        if bytes > self.policy.contribution_bytes_max {
            return Err(Reason::TooLarge);
        }
        // Its acknowledgement may have been lost on the way, however far the
        // round has moved on since.
        let newest = self.state.newest.get(&(device, key.kind));
        if newest.is_some_and(|newest| {
            newest.blob == blob && newest.round == key.round && newest.transfer == key.transfer
        }) {
            return Ok(Admission::Held);
        }
        if self.is_standing() {
            self.admit_standing(device, key, blob)
        } else if key.phase == Phase::Contribute {
            self.admit_on_support(device, key, blob)
        } else {
            self.admit_in_phase(device, key)
        }
    }

    /// Labels and moments count in the open phase, or stand for the next
    /// round while the transfer set is unchanged.
    fn admit_on_support(
        &self,
        device: DeviceId,
        key: &ContributionKey,
        blob: BlobHash,
    ) -> Result<Admission, Reason> {
        let current = self.state.transfer.map(|transfer| transfer.blob);
        if key.transfer.is_none() || key.transfer != current {
            return Err(Reason::StaleSupport);
        }
        if key.round > self.state.last_round {
            return Err(Reason::WrongRound);
        }
        let Some(standing) = self.state.standing.get(&(device, key.kind)) else {
            return Ok(Admission::Wanted);
        };
        match standing.round.cmp(&key.round) {
            // A stray of an earlier round never takes the place of a newer one.
            Ordering::Greater => Err(Reason::WrongRound),
            Ordering::Equal => self.admit_replacement(device, key),
            Ordering::Less if standing.blob == blob => Ok(Admission::Stands {
                rows: standing.rows,
            }),
            Ordering::Less => Ok(Admission::Wanted),
        }
    }

    fn admit_in_phase(&self, device: DeviceId, key: &ContributionKey) -> Result<Admission, Reason> {
        let Some(round) = &self.state.round else {
            return Err(Reason::PhaseClosed);
        };
        if key.round != round.id {
            return Err(Reason::WrongRound);
        }
        self.admit_replacement(device, key)
    }

    /// Other content replaces the first until the phase closes; what was
    /// taken is final after that.
    fn admit_replacement(
        &self,
        device: DeviceId,
        key: &ContributionKey,
    ) -> Result<Admission, Reason> {
        let open = self.open_for(key).ok_or(Reason::PhaseClosed)?;
        match open.taken.get(&(device, key.kind)) {
            Some(taken) if taken.replaced >= REPLACED_MAX => Err(Reason::PhaseClosed),
            _ => Ok(Admission::Wanted),
        }
    }

    /// The open phase, if it is the one that this contribution was made for.
    fn open_for(&self, key: &ContributionKey) -> Option<&OpenPhase> {
        let round = self.state.round.as_ref()?;
        let open = round.phase.as_ref()?;
        (key.round == round.id && open.phase == key.phase && open.takes(key.kind)).then_some(open)
    }

    /// Answers an offer. Bytes that stand already are counted at once.
    pub(super) fn offered(
        &mut self,
        now: Time,
        device: DeviceId,
        key: &ContributionKey,
        blob: BlobHash,
        bytes: u64,
    ) -> TransferAnswer {
        match self.admit(device, key, blob, bytes) {
            Ok(Admission::Held) => {
                self.heard(device, key.phase);
                TransferAnswer::Accepted
            }
            Ok(Admission::Stands { rows }) => self.accept(now, device, key, blob, rows),
            Ok(Admission::Wanted) if self.is_over_budget(device, bytes) => {
                // It was sent within the budget or not at all: nobody waits.
                if self.abstain(now, device, key.round, key.phase) {
                    self.record(Event::Refused {
                        device,
                        kind: key.kind,
                        reason: Reason::OverBudget,
                        at: now,
                    });
                }
                TransferAnswer::Refused(Reason::OverBudget)
            }
            Ok(Admission::Wanted) => TransferAnswer::Send { offset: 0 },
            Err(Reason::BeyondScale) => {
                // It will come again just so: nobody waits for it.
                if self.abstain(now, device, key.round, key.phase) {
                    self.record(Event::Refused {
                        device,
                        kind: key.kind,
                        reason: Reason::BeyondScale,
                        at: now,
                    });
                }
                TransferAnswer::Refused(Reason::BeyondScale)
            }
            Err(reason) => self.refuse(now, device, key.kind, reason),
        }
    }

    /// Whether a device would have sent more than it may in this round.
    fn is_over_budget(&self, device: DeviceId, bytes: u64) -> bool {
        let sent = self.received.from(self.state.last_round, device);
        sent.saturating_add(bytes) > self.policy.round_bytes_max
    }

    /// Takes a contribution whose bytes are durable, or refuses it.
    pub(super) fn take(
        &mut self,
        now: Time,
        device: DeviceId,
        key: &ContributionKey,
        blob: BlobHash,
        checked: Result<u64, Reason>,
    ) -> TransferAnswer {
        let checked = checked.and_then(|rows| match rows <= self.policy.rows_max {
            true => Ok(rows),
            false => Err(Reason::OutOfBounds),
        });
        // The phase may have closed while the bytes travelled.
        let judged = self.admit(device, key, blob, 0);
        match judged.and_then(|admission| checked.map(|rows| (admission, rows))) {
            Ok((Admission::Held, _)) => TransferAnswer::Accepted,
            Ok((_, rows)) => self.accept(now, device, key, blob, rows),
            // The same bytes were checked before they were counted.
            Err(_) if judged == Ok(Admission::Held) => TransferAnswer::Accepted,
            Err(Reason::BeyondScale) => {
                // It will come again just so: nobody waits for it.
                if self.abstain(now, device, key.round, key.phase) {
                    self.record(Event::Refused {
                        device,
                        kind: key.kind,
                        reason: Reason::BeyondScale,
                        at: now,
                    });
                }
                TransferAnswer::Refused(Reason::BeyondScale)
            }
            Err(reason) => self.refuse(now, device, key.kind, reason),
        }
    }

    fn accept(
        &mut self,
        now: Time,
        device: DeviceId,
        key: &ContributionKey,
        blob: BlobHash,
        rows: u64,
    ) -> TransferAnswer {
        // A phase waits for all it took something from, and for nobody whose
        // contribution belongs elsewhere.
        let joins = |open: &OpenPhase| !open.participants.contains(&device);
        let round = self.counts_in(key);
        let counts = ContributionKey { round, ..*key };
        if self.open_for(&counts).is_some_and(joins) {
            self.record(Event::Joined { device });
        }
        self.record(Event::Accepted {
            device,
            kind: key.kind,
            round,
            blob,
            transfer: key.transfer,
            rows,
            at: now,
        });
        self.heard(device, key.phase);
        TransferAnswer::Accepted
    }

    /// Says no. Faults that no honest device makes are remembered.
    pub(super) fn refuse(
        &mut self,
        now: Time,
        device: DeviceId,
        kind: Kind,
        reason: Reason,
    ) -> TransferAnswer {
        if !reason.is_innocent() && reason != Reason::NotAdmitted {
            self.record(Event::Refused {
                device,
                kind,
                reason,
                at: now,
            });
            self.struck_for.insert(device, reason);
            if self.is_struck_out(device) {
                self.let_go(now, device);
            }
        }
        TransferAnswer::Refused(reason)
    }

    /// Whether nothing of a device is taken any more.
    pub(super) fn is_struck_out(&self, device: DeviceId) -> bool {
        self.state.strikes.get(&device).copied().unwrap_or(0) >= STRIKES_MAX
    }

    /// Nobody waits for a device that is believed no more.
    pub(super) fn dismiss(&mut self, now: Time, device: DeviceId) {
        self.connected.remove(&device);
        self.returning.remove(&device);
        self.members.remove(&device);
        self.unask(device);
        self.let_go(now, device);
    }

    /// Waits no more for a device in the open phase.
    fn let_go(&mut self, now: Time, device: DeviceId) {
        let called = self.state.round.as_ref().zip(self.state.open());
        let called = called.filter(|(_, open)| open.participants.contains(&device));
        if let Some((round, phase)) = called.map(|(round, open)| (round.id, open.phase)) {
            self.abstain(now, device, round, phase);
        }
    }

    /// Waits no more for this device in a phase; whether it was waited for.
    pub(super) fn abstain(
        &mut self,
        now: Time,
        device: DeviceId,
        round: RoundId,
        phase: Phase,
    ) -> bool {
        let Some((running, open)) = self.state.round.as_ref().zip(self.state.open()) else {
            return false;
        };
        let called = running.id == round && open.phase == phase && open.phase.gathers();
        let is_done = match self.is_standing() {
            true => open.abstained.contains(&device) || self.has_all(device, phase),
            false => open.is_done(device, self.policy.kinds(phase)),
        };
        let waits = called && !open.closed && !is_done;
        if waits {
            if !open.participants.contains(&device) {
                self.record(Event::Joined { device });
            }
            self.record(Event::Abstained { device, at: now });
        }
        waits
    }
}
