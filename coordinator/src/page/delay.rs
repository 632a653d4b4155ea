//! What holds a running round up, and what would help.

use common::round::Phase;
use maud::{Markup, html};

use super::layout::command;
use super::words;
use crate::status::{DeviceName, OutcomeStatus, RoundStatus, Status, TaskStatus};

/// A phase ends within a tick of its deadline; only later is it late.
const LATE_MS_MIN: u64 = 5_000;
/// A phase is slow that takes this many times as long as it usually does.
const USUAL_TIMES: u64 = 10;
/// Shorter than this, none is.
const SLOW_MS_MIN: u64 = 30_000;

/// Why a running round gets no further by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delay {
    /// Its phase should have ended this many milliseconds ago.
    Late { ms: u64 },
    /// No device is connected.
    Nobody,
    /// Fewer devices are in, or connected and asked, than the phase needs.
    TooFew { able: usize, needed: usize },
    /// Enough could answer, and do not: the phase takes far longer than it
    /// did in earlier rounds, or half of its time is over.
    Slow {
        missing: usize,
        all: usize,
        usual_ms: Option<u64>,
    },
}

impl Delay {
    /// What holds this round up, if anything does. Linear in the devices that
    /// are missing.
    pub(super) fn of(task: &TaskStatus, round: &RoundStatus, status: &Status) -> Option<Self> {
        // A standing task waits for nobody in particular.
        if round.standing.is_some() {
            return None;
        }
        let phase = round.phase.filter(|phase| phase.gathers())?;
        let ms = round
            .deadline
            .map_or(0, |deadline| status.now.since_ms(deadline));
        if ms >= LATE_MS_MIN {
            return Some(Self::Late { ms });
        }
        let is_connected = |name: &&DeviceName| {
            let known = status
                .devices
                .binary_search_by_key(&name.device, |one| one.device);
            known.is_ok_and(|at| status.devices[at].connected)
        };
        let coming = round.missing.iter().filter(is_connected).count();
        let able = round.contributed.len() + coming;
        let needed = match is_optional(task, phase) {
            true => 0,
            false => round.quorum.unwrap_or(0) as usize,
        };
        match status.members_of(task) {
            (_, 0) if able == 0 || able < needed => Some(Self::Nobody),
            _ if able < needed => Some(Self::TooFew { able, needed }),
            _ => Self::slow(task, round, phase, status),
        }
    }

    /// Whether the open phase takes long to come to its quorum.
    fn slow(task: &TaskStatus, round: &RoundStatus, phase: Phase, status: &Status) -> Option<Self> {
        // Where nothing has to come, having nothing to send is an answer.
        let answered = match is_optional(task, phase) {
            true => round.contributed.len() + round.abstained.len(),
            false => round.contributed.len(),
        };
        if answered >= round.quorum? as usize {
            return None; // only its grace time is left
        }
        let open = round.phases.last().filter(|one| one.closed.is_none())?;
        // Its deadline counts from the last start, and so does its time.
        let from = open.opened.max(status.started);
        let half = round.deadline?.since_ms(from) / 2;
        let usual_ms = usual(task, phase);
        let slow = usual_ms.map_or(half, |ms| {
            ms.saturating_mul(USUAL_TIMES).max(SLOW_MS_MIN).min(half)
        });
        (status.now.since_ms(from) >= slow).then_some(Self::Slow {
            missing: round.missing.len(),
            all: round.participants.len(),
            usual_ms,
        })
    }

    /// In two or three words, after the round's name.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Late { .. } => "is overdue",
            Self::Nobody | Self::TooFew { .. } => "waits for devices",
            Self::Slow { .. } => "waits for answers",
        }
    }

    /// What it waits for, in a sentence.
    pub(super) fn told(self) -> String {
        match self {
            Self::Late { ms } => format!(
                "Its phase should have ended {} ago; the coordinator's log says what keeps it.",
                words::span(ms)
            ),
            Self::Nobody => "No device is connected.".to_owned(),
            Self::TooFew { able, needed } => format!(
                "It needs {}, and {} in or can answer now.",
                words::count(needed, "device"),
                match able {
                    0 => "none is".to_owned(),
                    1 => "only 1 is".to_owned(),
                    able => format!("only {} are", words::number(able as u64)),
                }
            ),
            Self::Slow {
                missing,
                all,
                usual_ms,
            } => format!(
                "{} of {} did not answer yet{}.",
                words::number(missing as u64),
                words::count(all, "device"),
                usual_ms.map_or_else(String::new, |ms| format!(
                    "; this phase usually takes {}",
                    words::span(ms)
                ))
            ),
        }
    }

    /// The sentence, what comes of it, and what to do.
    pub(super) fn show(self, task: &TaskStatus, round: &RoundStatus, status: &Status) -> Markup {
        let left = round
            .deadline
            .map_or(0, |deadline| deadline.since_ms(status.now));
        let optional = round.phase.is_some_and(|phase| is_optional(task, phase));
        html! {
            p class="notice" {
                strong { (self.told()) } " "
                @if left > 0 {
                    @if optional { "It goes on without them in " }
                    @else if let Self::Slow { .. } = self { "If too few answer, it ends without a student in " }
                    @else { "If no more connect, it ends without a student in " }
                    (words::span(left)) ". "
                }
                "To give it up: " (command("alambic-coordinator round cancel")) "."
            }
        }
    }
}

/// The median of what a phase took in the rounds that came to a student, in
/// milliseconds.
fn usual(task: &TaskStatus, phase: Phase) -> Option<u64> {
    let ended = task.history.iter();
    let completed = ended.filter(|one| matches!(one.outcome, OutcomeStatus::Completed { .. }));
    let mut took: Vec<u64> = completed
        .filter_map(|one| one.phase_ms.get(&phase).copied())
        .collect();
    took.sort_unstable();
    took.get(took.len().saturating_sub(1) / 2).copied()
}

/// Whether a phase may close without a single contribution: reports are for
/// people, and where points are shared already, new ones are only welcome.
pub(super) fn is_optional(task: &TaskStatus, phase: Phase) -> bool {
    match phase {
        Phase::Report => true,
        Phase::Summarise => task.transfer.is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use common::ids::{RoundId, Time, Version};

    use super::super::fleet::tests::fleet;
    use crate::status::{EndedStatus, PhaseStatus, fixtures};

    /// A round that asked all of the fleet, needs two, and has this many in.
    fn asked(status: &Status, phase: Phase, contributed: usize) -> (TaskStatus, RoundStatus) {
        let name = |device: &crate::status::DeviceStatus| DeviceName {
            device: device.device,
            label: device.label.clone(),
        };
        let participants: Vec<_> = status.devices.iter().map(name).collect();
        let round = RoundStatus {
            standing: None,
            round: RoundId(3),
            phase: Some(phase),
            elapsed_ms: 9_000,
            contributed: participants[..contributed].to_vec(),
            missing: participants[contributed..].to_vec(),
            participants,
            abstained: Vec::new(),
            accepted: BTreeMap::new(),
            phases: Vec::new(),
            deadline: Some(status.now.after_ms(60_000)),
            quorum: Some(2),
            absent: Vec::new(),
            bytes: 0,
            training: None,
        };
        let task = TaskStatus {
            round: Some(round.clone()),
            ..fixtures::task(Vec::new(), None)
        };
        (task, round)
    }

    fn delay(status: &Status, phase: Phase, contributed: usize) -> Option<Delay> {
        let (task, round) = asked(status, phase, contributed);
        Delay::of(&task, &round, status)
    }

    #[test]
    fn a_round_that_enough_devices_can_answer_is_not_held_up() {
        let mut status = fleet(3).status;
        assert_eq!(delay(&status, Phase::Profile, 0), None);
        // Those that are in have done their part, connected or not.
        status
            .devices
            .iter_mut()
            .for_each(|one| one.connected = false);
        assert_eq!(delay(&status, Phase::Profile, 2), None);
    }

    #[test]
    fn too_few_able_devices_delay_a_round() {
        let mut status = fleet(2).status;
        let few = Delay::TooFew { able: 1, needed: 2 };
        assert_eq!(delay(&status, Phase::Profile, 0), Some(few));
        assert!(few.told().contains("only 1 is in or can answer"), "{few:?}");
        status
            .devices
            .iter_mut()
            .for_each(|one| one.connected = false);
        assert_eq!(delay(&status, Phase::Profile, 1), Some(Delay::Nobody));
    }

    #[test]
    fn reports_hold_no_round_up_unless_nobody_is_there() {
        let mut status = fleet(2).status;
        assert_eq!(delay(&status, Phase::Report, 0), None);
        status
            .devices
            .iter_mut()
            .for_each(|one| one.connected = false);
        assert_eq!(delay(&status, Phase::Report, 1), None);
        assert_eq!(delay(&status, Phase::Report, 0), Some(Delay::Nobody));
    }

    /// Such a round whose phase opened this many milliseconds ago.
    fn open_for(ms: u64, status: &Status, contributed: usize) -> (TaskStatus, RoundStatus) {
        let (task, mut round) = asked(status, Phase::Contribute, contributed);
        let opened = Time(status.now.0 - ms);
        round.phases = vec![PhaseStatus {
            phase: Phase::Contribute,
            opened,
            closed: None,
        }];
        round.deadline = Some(opened.after_ms(600_000));
        (task, round)
    }

    /// A round that took this many milliseconds for its contributions.
    fn took(ms: u64) -> EndedStatus {
        let version = Version {
            epoch: 1,
            number: 1,
        };
        EndedStatus {
            outcome: OutcomeStatus::Completed { version },
            phase_ms: BTreeMap::from([(Phase::Contribute, ms)]),
            ..fixtures::ended(Vec::new(), Vec::new())
        }
    }

    #[test]
    fn answers_much_later_than_usual_delay_a_round() {
        let mut status = fleet(3).status;
        status.now = Time(2_000_000);
        let (mut task, round) = open_for(45_000, &status, 1);
        assert_eq!(Delay::of(&task, &round, &status), None, "none came before");
        task.history = vec![took(1_000), took(2_000), took(90_000)];
        let slow = Delay::Slow {
            missing: 2,
            all: 3,
            usual_ms: Some(2_000),
        };
        assert_eq!(Delay::of(&task, &round, &status), Some(slow));
        assert!(slow.told().starts_with("2 of 3"), "{slow:?}");
        let (_, round) = open_for(SLOW_MS_MIN - 1, &status, 1);
        assert_eq!(Delay::of(&task, &round, &status), None);
        let (_, round) = open_for(45_000, &status, 2);
        assert_eq!(Delay::of(&task, &round, &status), None, "enough are in");
    }

    #[test]
    fn a_first_round_is_delayed_after_half_its_time() {
        let mut status = fleet(3).status;
        status.now = Time(2_000_000);
        let (task, round) = open_for(299_999, &status, 0);
        assert_eq!(Delay::of(&task, &round, &status), None);
        let (task, round) = open_for(300_000, &status, 0);
        let slow = Delay::Slow {
            missing: 3,
            all: 3,
            usual_ms: None,
        };
        assert_eq!(Delay::of(&task, &round, &status), Some(slow));
        assert_eq!(slow.word(), "waits for answers");
        assert!(!slow.told().contains("usually"), "{slow:?}");
        // A restart begins its time anew.
        status.started = Time(status.now.0 - 1_000);
        let (_, mut round) = open_for(300_000, &status, 0);
        round.deadline = Some(status.started.after_ms(600_000));
        assert_eq!(Delay::of(&task, &round, &status), None);
    }

    #[test]
    fn a_phase_is_late_only_some_seconds_after_its_deadline() {
        let status = fleet(3).status;
        let (task, mut round) = asked(&status, Phase::Contribute, 0);
        round.deadline = Some(Time(status.now.0 - LATE_MS_MIN + 1));
        assert_eq!(Delay::of(&task, &round, &status), None);
        round.deadline = Some(Time(status.now.0 - LATE_MS_MIN));
        let late = Delay::Late { ms: LATE_MS_MIN };
        assert_eq!(Delay::of(&task, &round, &status), Some(late));
        round.phase = Some(Phase::Solve);
        assert_eq!(Delay::of(&task, &round, &status), None);
    }
}
