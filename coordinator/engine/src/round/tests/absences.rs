//! Who was missing in a round, and why, outlives the round.

use protocol::ids::DeviceId;
use protocol::round::{Kind, Phase, Reason};
use protocol::wire::messages::TransferAnswer;

use super::bench::*;
use crate::round::*;
use AbsenceReason::{Abstained, Away, Late, NotAsked, Quarantined, Refused, Silent};

/// Devices 1 to 7 belong to the fleet, and 7 has no session; the contribute
/// phase is open, and 1 and 2 have done their part.
fn contributing() -> Bench {
    let mut policy = policy();
    policy.quorum = 0.3;
    let mut bench = Bench::new(policy);
    bench.input(Input::Members((1..=7).map(device).collect()));
    bench.connect(&[1, 2, 3, 4, 5, 6]);
    bench.start().unwrap();
    bench.run_to(Phase::Contribute);
    for number in [1, 2] {
        for kind in [Kind::Labels, Kind::Moments] {
            assert_eq!(bench.give_kind(number, kind), TransferAnswer::Accepted);
        }
    }
    bench.calls.clear();
    bench
}

/// The grace is over, and the round goes on to its end.
fn ended(bench: &mut Bench) -> Absences {
    bench.tick(1_000);
    assert_eq!(bench.phase(), Some(Phase::Solve));
    bench.run();
    // Who does not report may be waited for.
    bench.tick(10_000);
    assert!(bench.state().round.is_none());
    bench.state().history.last().unwrap().absences.clone()
}

fn in_contribute(absences: &Absences) -> Vec<(u8, AbsenceReason)> {
    let named = absences.named.iter();
    let named = named.filter(|absent| absent.phases.contains(&Phase::Contribute));
    named.map(|one| (one.device.0[0], one.why)).collect()
}

#[test]
fn absences_and_reasons_survive_a_restart() {
    let mut bench = contributing();
    let key = bench.key(Kind::Labels);
    bench.offer(3, key, "x");
    bench.arrive(3, key, "x", Err(Reason::NotFinite));
    bench.disconnect(4);
    bench.abstain(6);
    let absences = ended(&mut bench);
    let why = [
        (3, Refused(Reason::NotFinite)),
        (5, Silent),
        (4, Away),
        (6, Abstained),
        (7, NotAsked),
    ];
    assert_eq!(in_contribute(&absences), why);
    for (_, why) in why {
        assert_eq!(absences.counts[&(Phase::Contribute, why)], 1, "{why}");
    }
    let seventh = absences.named.iter().find(|one| one.device == device(7));
    let gathering = Phase::ALL.into_iter().filter(|phase| phase.gathers());
    assert_eq!(seventh.unwrap().phases, gathering.collect::<Vec<_>>());

    let log = bench.log.clone();
    let again = Bench::restarted(policy(), log, bench.now);
    assert_eq!(again.state().history.last().unwrap().absences, absences);
}

#[test]
fn a_round_that_ends_in_mid_phase_knows_it_too() {
    let mut bench = contributing();
    bench.input(Input::CancelRound);
    assert_eq!(bench.outcome(), Some(&Outcome::Cancelled));
    let absences = bench.state().history.last().unwrap().absences.clone();
    let silent = [3, 4, 5, 6].map(|number| (number, Silent));
    assert_eq!(in_contribute(&absences)[..4], silent);
}

#[test]
fn where_all_did_their_part_nothing_is_recorded() {
    let mut bench = Bench::new(policy());
    bench.input(Input::Members(vec![device(1), device(2)]));
    bench.connect(&[1, 2]);
    bench.start().unwrap();
    bench.run();
    assert_eq!(bench.state().history[0].absences, Absences::default());
    let missed = |event: &Event| matches!(event, Event::Missed(_));
    assert!(!bench.log.iter().any(missed));
}

#[test]
fn abstaining_from_an_optional_phase_is_no_absence() {
    let mut bench = Bench::in_phase(policy(), &[1, 2, 3], Phase::Report);
    bench.calls.clear();
    for number in [1, 2, 3] {
        bench.abstain(number);
    }
    assert!(matches!(bench.outcome(), Some(Outcome::Completed { .. })));
    assert_eq!(bench.state().history[0].absences, Absences::default());
}

#[test]
fn late_labels_count_as_late() {
    let mut bench = contributing();
    let key = bench.key(Kind::Labels);
    bench.tick(1_000);
    assert_eq!(bench.phase(), Some(Phase::Solve));
    assert_eq!(bench.give(3, key, "late"), TransferAnswer::Accepted);
    bench.run_to(Phase::Report);
    bench.calls.clear();
    assert_eq!(bench.give_kind(4, Kind::Report), TransferAnswer::Accepted);
    bench.tick(10_000);
    let absences = |bench: &Bench| bench.state().history[0].absences.clone();
    let before = absences(&bench);
    let names = [
        (4, Silent),
        (5, Silent),
        (6, Silent),
        (3, Late),
        (7, NotAsked),
    ];
    assert_eq!(in_contribute(&before), names);
    assert_eq!(before.counts[&(Phase::Contribute, Silent)], 3);
    // The round is over by now.
    assert_eq!(bench.give(5, key, "later"), TransferAnswer::Accepted);
    let after = absences(&bench);
    assert_eq!(after.counts[&(Phase::Contribute, Silent)], 2);
    assert_eq!(after.counts[&(Phase::Contribute, Late)], 2);
    assert_eq!(
        after.counts.values().sum::<u32>(),
        before.counts.values().sum::<u32>()
    );
}

#[test]
fn a_quarantined_device_is_named_as_such() {
    let mut bench = contributing();
    let key = bench.key(Kind::Labels);
    for _ in 0..STRIKES_MAX {
        bench.arrive(3, key, "x", Err(Reason::NotFinite));
    }
    assert_eq!(in_contribute(&ended(&mut bench))[0], (3, Quarantined));
    bench.disconnect(3);
    bench.start().unwrap();
    bench.run();
    bench.tick(10_000);
    bench.run();
    bench.tick(10_000);
    let newest = bench.state().history[1].absences.clone();
    assert!(
        in_contribute(&newest).contains(&(3, Quarantined)),
        "{newest:?}"
    );
}

#[test]
fn over_budget_is_told_apart_from_abstaining() {
    let mut policy = policy();
    policy.round_bytes_max = 3 * BYTES;
    let mut bench = Bench::in_phase(policy, &[1, 2], Phase::Contribute);
    for (number, kind) in [(1, Kind::Labels), (2, Kind::Labels), (1, Kind::Moments)] {
        bench.give_kind(number, kind);
    }
    bench.abstain(2);
    bench.run();
    let absences = &bench.state().history[0].absences;
    let names = [(1, Refused(Reason::OverBudget)), (2, Abstained)];
    assert_eq!(in_contribute(absences), names);
    assert!(bench.state().strikes.is_empty(), "an honest mistake");
}

#[test]
fn what_a_crash_left_of_a_closing_phase_is_put_right() {
    let mut bench = contributing();
    bench.tick(1_000);
    let missed = |event: &Event| matches!(event, Event::Missed(missed) if missed.counts.contains(&(Silent, 4)));
    let at = bench.log.iter().position(missed).unwrap();
    assert!(matches!(bench.log[at + 1], Event::PhaseClosed { .. }));
    let log = bench.log[..=at].to_vec();
    let mut again = Bench::restarted(policy(), log, bench.now);
    again.connect(&[3, 4, 5, 6]);
    again.calls.clear();
    for number in [3, 4, 5, 6] {
        for kind in [Kind::Labels, Kind::Moments] {
            again.give_kind(number, kind);
        }
    }
    assert_eq!(again.phase(), Some(Phase::Solve));
    assert_eq!(
        in_contribute(&again.state().round.as_ref().unwrap().absences),
        []
    );
}

#[test]
fn long_lists_name_the_urgent_first() {
    let mut absences = Absences::default();
    let many = |why, from: u16, to: u16| -> Vec<(DeviceId, AbsenceReason)> {
        let device = |number: u16| {
            let mut id = [0; 16];
            id[..2].copy_from_slice(&number.to_be_bytes());
            (DeviceId(id), why)
        };
        (from..to).map(device).collect()
    };
    let asleep = Missed::of(many(NotAsked, 0, 500));
    assert_eq!(asleep.named.len(), ABSENCES_MAX);
    assert_eq!(asleep.counts, [(NotAsked, 500)]);
    absences.add(Phase::Profile, &asleep);
    let silent = Missed::of(many(Silent, 600, 630));
    absences.add(Phase::Summarise, &silent);
    assert_eq!(absences.named.len(), ABSENCES_MAX);
    assert!(absences.named[..30].iter().all(|one| one.why == Silent));
    assert_eq!(absences.named[30].device, asleep.named[0].0);
    assert_eq!(absences.counts[&(Phase::Profile, NotAsked)], 500);
    assert_eq!(absences.counts[&(Phase::Summarise, Silent)], 30);
}
