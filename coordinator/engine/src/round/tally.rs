//! How far a gathering phase has come, kept up to date device by device: to
//! count anew at every contribution would cost the square of the fleet.

use protocol::ids::{DeviceId, Time};
use protocol::round::Kind;

use super::open_phase::OpenPhase;

/// What a gathering phase is judged by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// When each device was done that contributed, earliest first.
    contributed: Vec<Time>,
    /// When devices abstained, earliest first.
    abstained: Vec<Time>,
    /// When the last of them did, in the order of the log.
    abstained_last: Option<Time>,
    /// Devices waited for that are not done.
    missing: usize,
    /// Devices that contributed or still may.
    expected: usize,
    /// Devices waited for.
    participants: usize,
}

/// Where one device stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    contributed: Option<Time>,
    abstained: bool,
    missing: bool,
    expected: bool,
    participates: bool,
}

impl Standing {
    pub(super) fn of(open: &OpenPhase, device: DeviceId, wanted: &[Kind]) -> Self {
        let taken = Kind::ALL.into_iter();
        let taken = taken.filter_map(|kind| open.taken.get(&(device, kind)));
        let last = taken.map(|standing| standing.at).max();
        let is_done = open.is_done(device, wanted);
        let participates = open.participants.contains(&device);
        let abstained = open.abstained.contains(&device);
        Self {
            contributed: last.filter(|_| is_done),
            abstained,
            missing: participates && !is_done,
            expected: participates && open.is_expected(device, wanted),
            participates,
        }
    }
}

impl Tally {
    /// Counts a phase. Linear in its devices.
    pub(super) fn count(open: &OpenPhase, wanted: &[Kind]) -> Self {
        let mut abstained = open.abstained_at.clone();
        abstained.sort_unstable();
        Self {
            contributed: open.contributed_at(wanted),
            abstained,
            abstained_last: open.abstained_at.last().copied(),
            missing: open.missing(wanted).len(),
            expected: open.expected(wanted),
            participants: open.participants.len(),
        }
    }

    /// One device stood there `before` and stands here `after`, at `open`.
    pub(super) fn follow(&mut self, before: Standing, after: Standing, open: &OpenPhase) {
        if before.contributed != after.contributed {
            if let Some(gone) = before.contributed {
                // It is there: nothing else takes it out.
                if let Ok(at) = self.contributed.binary_search(&gone) {
                    self.contributed.remove(at);
                }
            }
            if let Some(come) = after.contributed {
                insert(&mut self.contributed, come);
            }
        }
        if after.abstained
            && !before.abstained
            && let Some(&at) = open.abstained_at.last()
        {
            insert(&mut self.abstained, at);
            self.abstained_last = Some(at);
        }
        shift(&mut self.missing, before.missing, after.missing);
        shift(&mut self.expected, before.expected, after.expected);
        shift(
            &mut self.participants,
            before.participates,
            after.participates,
        );
    }

    /// Devices that contributed and of which no more is expected.
    pub(super) fn contributed(&self) -> usize {
        self.contributed.len()
    }

    /// Devices waited for that are not done.
    pub(super) fn missing(&self) -> usize {
        self.missing
    }

    /// Devices that contributed or still may.
    pub(super) fn expected(&self) -> usize {
        self.expected
    }

    /// Devices waited for.
    pub(super) fn participants(&self) -> usize {
        self.participants
    }

    /// When the last device abstained.
    pub(super) fn abstained_last(&self) -> Option<Time> {
        self.abstained_last
    }

    /// When this many devices had contributed.
    pub(super) fn contributed_by(&self, needed: usize) -> Option<Time> {
        self.contributed.get(needed.checked_sub(1)?).copied()
    }

    /// When this many had answered, where to abstain is an answer. Linear in
    /// that number.
    pub(super) fn answered_by(&self, needed: usize) -> Option<Time> {
        let (mut ours, mut theirs) = (self.contributed.iter(), self.abstained.iter());
        let (mut one, mut other) = (ours.next(), theirs.next());
        let mut last = None;
        for _ in 0..needed {
            let takes_one = match (one, other) {
                (Some(one), Some(other)) => one <= other,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => return None,
            };
            if takes_one {
                last = std::mem::replace(&mut one, ours.next()).copied();
            } else {
                last = std::mem::replace(&mut other, theirs.next()).copied();
            }
        }
        last
    }
}

/// Nearly always at the end, for time moves on.
fn insert(times: &mut Vec<Time>, time: Time) {
    let at = times.partition_point(|&other| other <= time);
    times.insert(at, time);
}

fn shift(count: &mut usize, before: bool, after: bool) {
    *count = *count + usize::from(after) - usize::from(before);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::ids::{BlobHash, RoundId};
    use protocol::round::{Phase, Reason};

    use super::super::open_phase;

    const WANTED: [Kind; 2] = [Kind::Labels, Kind::Moments];

    proptest! {
        #[test]
        fn following_every_step_counts_what_counting_anew_does(
            steps in prop::collection::vec((0u8..6, 0u8..5, 0u64..50), 0..60),
            needed in 0usize..8,
        ) {
            let device = |number: u8| DeviceId([number; 16]);
            let mut open = OpenPhase::new(Phase::Contribute, Time(0), &[device(0), device(1)]);
            let mut tally = Tally::count(&open, &WANTED);
            for (number, what, at) in steps {
                let device = device(number);
                let before = Standing::of(&open, device, &WANTED);
                match what {
                    0 => {
                        open.participants.insert(device);
                    }
                    1 => open.abstain(device, Time(at)),
                    4 => {
                        open.refused.insert(device, Reason::NotFinite);
                    }
                    _ => {
                        let kind = WANTED[usize::from(what) - 2];
                        open.take((device, kind), open_phase::Standing {
                            blob: BlobHash([0; 32]),
                            transfer: None,
                            rows: 1,
                            round: RoundId(1),
                            at: Time(at),
                            replaced: 0,
                        });
                    }
                }
                let after = Standing::of(&open, device, &WANTED);
                tally.follow(before, after, &open);
            }
            prop_assert_eq!(&tally, &Tally::count(&open, &WANTED));
            let mut answered = open.contributed_at(&WANTED);
            prop_assert_eq!(
                tally.contributed_by(needed),
                needed.checked_sub(1).and_then(|at| answered.get(at)).copied()
            );
            answered.extend(&open.abstained_at);
            answered.sort_unstable();
            prop_assert_eq!(
                tally.answered_by(needed),
                needed.checked_sub(1).and_then(|at| answered.get(at)).copied()
            );
        }
    }
}
