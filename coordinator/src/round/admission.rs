//! Which contributions count: each once, for the round and transfer set they
//! were made for.

use common::ids::{BlobHash, DeviceId, RoundId, Time};
use common::round::{ContributionKey, Kind, Phase, Reason};
use common::wire::messages::TransferAnswer;

use super::engine::Engine;
use super::event::Event;

/// Refusals for faults no honest device makes, before a device's offers are
/// no longer looked at.
pub(super) const STRIKES_MAX: u32 = 16;

/// What to do with an offered contribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The very same content is durable and counted already.
    Held,
    /// It may come, for the open phase or for the next round.
    Wanted,
}

impl Admission {
    pub(super) fn answer_to_offer(self) -> TransferAnswer {
        match self {
            Self::Held => TransferAnswer::Accepted,
            Self::Wanted => TransferAnswer::Send { offset: 0 },
        }
    }
}

impl Engine {
    /// Judges a contribution by its key, its name and its length alone.
    pub(super) fn admit(
        &self,
        device: DeviceId,
        key: &ContributionKey,
        blob: BlobHash,
        bytes: u64,
    ) -> Result<Admission, Reason> {
        if key.task != self.task {
            return Err(Reason::UnknownTask);
        }
        if !key.phase.kinds().contains(&key.kind)
            || !self.policy.wanted(key.phase).contains(&key.kind)
        {
            return Err(Reason::WrongKind);
        }
        if bytes > self.policy.contribution_bytes_max {
            return Err(Reason::TooLarge);
        }
        if self.state.strikes.get(&device).copied().unwrap_or(0) >= STRIKES_MAX {
            return Err(Reason::NotAdmitted);
        }
        if key.phase == Phase::Contribute {
            self.admit_on_support(device, key, blob)
        } else {
            self.admit_in_phase(device, key, blob)
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
        let gathering = self
            .state
            .open()
            .is_some_and(|open| open.phase == Phase::Contribute && !open.closed);
        let Some(standing) = self.state.standing.get(&(device, key.kind)) else {
            return Ok(Admission::Wanted);
        };
        let counted = self
            .state
            .open()
            .is_none_or(|open| !gathering || open.taken.contains_key(&(device, key.kind)));
        if standing.blob == blob && counted {
            return Ok(Admission::Held);
        }
        // Other content replaces the first until the phase closes. What was
        // taken for this round is final after that.
        if !gathering && standing.round == self.state.last_round {
            return Err(Reason::PhaseClosed);
        }
        Ok(Admission::Wanted)
    }

    fn admit_in_phase(
        &self,
        device: DeviceId,
        key: &ContributionKey,
        blob: BlobHash,
    ) -> Result<Admission, Reason> {
        let Some(round) = &self.state.round else {
            return Err(Reason::PhaseClosed);
        };
        if key.round != round.id {
            return Err(Reason::WrongRound);
        }
        let Some(open) = &round.phase else {
            return Err(Reason::PhaseClosed);
        };
        if open.phase != key.phase {
            return Err(Reason::PhaseClosed);
        }
        match open.taken.get(&(device, key.kind)) {
            Some(taken) if taken.blob == blob => Ok(Admission::Held),
            _ if open.closed => Err(Reason::PhaseClosed),
            _ => Ok(Admission::Wanted),
        }
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
        // The phase may have closed while the bytes travelled.
        let judged = self
            .admit(device, key, blob, 0)
            .and_then(|admission| match admission {
                Admission::Held => Ok(None),
                Admission::Wanted => checked.map(Some),
            });
        match judged {
            Ok(None) => TransferAnswer::Accepted,
            Ok(Some(rows)) => {
                if !self
                    .state
                    .open()
                    .is_none_or(|open| open.participants.contains(&device))
                {
                    self.record(Event::Joined { device });
                }
                self.record(Event::Accepted {
                    device,
                    kind: key.kind,
                    blob,
                    transfer: key.transfer,
                    rows,
                    at: now,
                });
                self.changed.remove(&device);
                TransferAnswer::Accepted
            }
            Err(reason) => self.refuse(now, device, key.kind, reason),
        }
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
        }
        TransferAnswer::Refused(reason)
    }

    pub(super) fn abstain(&mut self, now: Time, device: DeviceId, round: RoundId, phase: Phase) {
        let Some(open) = self.state.open() else {
            return;
        };
        let current = self
            .state
            .round
            .as_ref()
            .is_some_and(|running| running.id == round);
        if current && open.phase == phase && !open.closed && !open.abstained.contains(&device) {
            if !open.participants.contains(&device) {
                self.record(Event::Joined { device });
            }
            self.record(Event::Abstained { device, at: now });
        }
    }
}
