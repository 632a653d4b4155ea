//! Which contributions count.

use protocol::ids::{RoundId, TaskHash};
use protocol::round::{Kind, Phase, Reason};
use protocol::wire::messages::TransferAnswer;

use super::bench::*;
use crate::round::*;

const ACCEPTED: TransferAnswer = TransferAnswer::Accepted;
const SEND: TransferAnswer = TransferAnswer::Send { offset: 0 };

/// Refused, and neither log nor state have moved.
fn is_refused_in_vain(
    bench: &mut Bench,
    key: protocol::round::ContributionKey,
    text: &str,
    reason: Reason,
) {
    let before = (bench.state().clone(), bench.log.len());
    assert_eq!(bench.offer(1, key, text), REFUSED(reason));
    assert_eq!(bench.arrive(1, key, text, Ok(40)), REFUSED(reason));
    assert_eq!((bench.state().clone(), bench.log.len()), before);
}

#[test]
fn the_same_content_is_acknowledged_again_and_counted_once() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    let key = bench.key(Kind::Profile);
    assert_eq!(bench.give(1, key, "a"), ACCEPTED);
    let before = (bench.state().clone(), bench.log.len());
    assert_eq!(bench.offer(1, key, "a"), ACCEPTED);
    assert_eq!(bench.arrive(1, key, "a", Ok(40)), ACCEPTED);
    assert_eq!((bench.state().clone(), bench.log.len()), before);
    assert_eq!(
        bench.state().round.as_ref().unwrap().accepted[&Kind::Profile],
        1
    );
}

#[test]
fn other_content_replaces_the_first_until_the_phase_closes() {
    let mut bench = Bench::in_phase(policy(), &[1, 2], Phase::Contribute);
    let key = bench.key(Kind::Moments);
    assert_eq!(bench.give(1, key, "a"), ACCEPTED);
    assert_eq!(bench.give(1, key, "b"), ACCEPTED);
    let round = bench.state().round.as_ref().unwrap();
    assert_eq!(round.accepted[&Kind::Moments], 1);
    let taken = &round.phase.as_ref().unwrap().taken;
    assert_eq!(taken[&(device(1), Kind::Moments)].blob, blob("b"));
    bench.give_kind(1, Kind::Labels);
    bench.give_kind(2, Kind::Labels);
    bench.give_kind(2, Kind::Moments);
    assert_eq!(bench.phase(), Some(Phase::Solve));
    is_refused_in_vain(&mut bench, key, "c", Reason::PhaseClosed);
    assert_eq!(bench.offer(1, key, "b"), ACCEPTED);
}

#[test]
fn content_replaced_without_end_is_final_at_last() {
    let mut bench = Bench::in_round(policy(), &[1, 2]);
    let key = bench.key(Kind::Profile);
    for text in 0..=8 {
        assert_eq!(bench.give(1, key, &text.to_string()), ACCEPTED);
    }
    is_refused_in_vain(&mut bench, key, "once more", Reason::PhaseClosed);
    assert!(bench.state().strikes.is_empty());
}

#[test]
fn late_summary_is_rejected_without_state_change() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    for number in 1..=3 {
        bench.give_kind(number, Kind::Profile);
    }
    bench.compute();
    let key = bench.key(Kind::Summary);
    bench.give_kind(2, Kind::Summary);
    bench.give_kind(3, Kind::Summary);
    assert_eq!(bench.offer(1, key, "late"), SEND, "still open");
    bench.tick(1_000);
    is_refused_in_vain(&mut bench, key, "late", Reason::PhaseClosed);
    bench.compute();
    is_refused_in_vain(&mut bench, key, "late", Reason::PhaseClosed);
}

#[test]
fn an_acknowledgement_lost_at_a_phases_end_is_given_again() {
    let mut bench = Bench::in_round(policy(), &[1, 2]);
    bench.run();
    let last = bench.accepted();
    let before = (bench.state().clone(), bench.log.len());
    for (number, key, _) in last {
        assert_eq!(bench.offer(number, key, &content(number, &key)), ACCEPTED);
    }
    assert_eq!((bench.state().clone(), bench.log.len()), before);
}

#[test]
fn late_moments_stand_for_the_next_round_on_the_same_set() {
    let mut bench = Bench::in_phase(policy(), &[1, 2, 3], Phase::Contribute);
    let key = bench.key(Kind::Moments);
    for number in [2, 3] {
        bench.give_kind(number, Kind::Labels);
        bench.give_kind(number, Kind::Moments);
    }
    bench.tick(1_000);
    assert_eq!(bench.phase(), Some(Phase::Solve));
    let inputs = bench.state().round.as_ref().unwrap().inputs.clone();
    assert_eq!(bench.give(1, key, "late"), ACCEPTED);
    let round = bench.state().round.as_ref().unwrap();
    assert_eq!(
        round.inputs, inputs,
        "what the teacher is solved from is final"
    );
    assert_eq!(round.accepted[&Kind::Moments], 2);
    assert!(bench.state().open().unwrap().participants.is_empty());
    is_refused_in_vain(&mut bench, key, "later still", Reason::PhaseClosed);
    bench.calls.clear();
    bench.run();
    bench.tick(10_000);
    bench.start().unwrap();
    bench.calls.retain(|(to, _)| *to != device(1));
    while bench.answer_call() {}
    bench.tick(1_000);
    let inputs = &bench.state().round.as_ref().unwrap().inputs;
    assert!(inputs.contains(&(device(1), Kind::Moments, blob("late"))));
}

#[test]
fn moments_on_a_replaced_set_are_stale() {
    let mut policy = policy();
    policy.points_max = 1_000;
    let mut bench = Bench::in_phase(policy, &[1, 2], Phase::Contribute);
    let key = bench.key(Kind::Moments);
    bench.run();
    bench.start().unwrap();
    bench.run_to(Phase::Contribute);
    assert!(bench.state().standing.is_empty());
    is_refused_in_vain(&mut bench, key, "other", Reason::StaleSupport);
    assert!(bench.state().strikes.is_empty());
}

#[test]
fn an_unchanged_transfer_set_keeps_contributions() {
    let mut state = State::default();
    let set = Event::Produced {
        product: Product::TransferSet {
            blob: blob("set"),
            points: 5,
        },
        at: protocol::ids::Time(0),
    };
    state.apply(&set);
    state.apply(&Event::Accepted {
        device: device(1),
        kind: Kind::Labels,
        round: RoundId(1),
        blob: blob("labels"),
        transfer: Some(blob("set")),
        rows: 40,
        at: protocol::ids::Time(0),
    });
    let standing = state.standing.clone();
    state.apply(&set);
    assert_eq!(state.standing, standing);
    assert_eq!(standing.len(), 1);
}

#[test]
fn a_stray_never_replaces_newer_moments() {
    let mut bench = Bench::in_round(policy(), &[1, 2]);
    bench.run();
    let stray = bench.key(Kind::Moments);
    bench.start().unwrap();
    let key = bench.key(Kind::Moments);
    assert_eq!(bench.give(1, key, "new"), ACCEPTED);
    is_refused_in_vain(&mut bench, stray, "old", Reason::WrongRound);
    let standing = bench.state().standing[&(device(1), Kind::Moments)];
    assert_eq!((standing.blob, standing.round), (blob("new"), RoundId(2)));
}

#[test]
fn late_moments_do_not_answer_the_next_call() {
    let mut bench = Bench::in_phase(policy(), &[1, 2, 3], Phase::Contribute);
    let late = bench.key(Kind::Moments);
    bench.calls.retain(|(to, _)| *to != device(1));
    while bench.answer_call() {}
    bench.tick(1_000);
    bench.run();
    bench.start().unwrap();
    assert_eq!(bench.give(1, late, "late"), ACCEPTED);
    let open = bench.state().open().unwrap();
    assert!(!open.taken.contains_key(&(device(1), Kind::Moments)));
    assert!(
        bench
            .state()
            .standing
            .contains_key(&(device(1), Kind::Moments))
    );
}

#[test]
fn wrong_round_task_and_kind_are_refused() {
    let mut bench = Bench::in_phase(policy(), &[1, 2], Phase::Contribute);
    let key = bench.key(Kind::Labels);
    let mut wrong = key;
    wrong.round = RoundId(9);
    is_refused_in_vain(&mut bench, wrong, "x", Reason::WrongRound);
    let mut wrong = key;
    wrong.task = TaskHash([9; 32]);
    is_refused_in_vain(&mut bench, wrong, "x", Reason::UnknownTask);
    let mut wrong = key;
    wrong.transfer = None;
    is_refused_in_vain(&mut bench, wrong, "x", Reason::StaleSupport);
    let mut wrong = bench.key(Kind::Profile);
    wrong.round = RoundId(0);
    is_refused_in_vain(&mut bench, wrong, "x", Reason::WrongRound);
    let mut wrong = key;
    wrong.kind = Kind::Report;
    assert_eq!(bench.offer(1, wrong, "x"), REFUSED(Reason::WrongKind));
    assert_eq!(bench.state().strikes[&device(1)], 1);
    assert!(bench.state().open().unwrap().taken.is_empty());
}

#[test]
fn kinds_the_task_does_not_ask_for_are_refused() {
    let mut policy = policy();
    policy.contribute = vec![Kind::Labels];
    let mut bench = Bench::in_phase(policy, &[1, 2], Phase::Contribute);
    let key = bench.key(Kind::Moments);
    assert_eq!(bench.offer(1, key, "x"), REFUSED(Reason::WrongKind));
    assert!(bench.state().standing.is_empty());
}

#[test]
fn what_is_too_long_is_refused_before_it_is_sent() {
    let mut policy = policy();
    policy.contribution_bytes_max = 99;
    let mut bench = Bench::in_round(policy, &[1, 2]);
    let key = bench.key(Kind::Profile);
    assert_eq!(bench.offer(1, key, "x"), REFUSED(Reason::TooLarge));
    assert!(bench.state().open().unwrap().taken.is_empty());
}

#[test]
fn a_round_keeps_to_the_byte_budget() {
    let mut policy = policy();
    policy.round_bytes_max = 3 * BYTES;
    let mut bench = Bench::in_phase(policy, &[1, 2], Phase::Contribute);
    assert_eq!(bench.give_kind(1, Kind::Labels), ACCEPTED);
    assert_eq!(bench.give_kind(2, Kind::Labels), ACCEPTED);
    for device in [1, 2] {
        let refused = REFUSED(Reason::OverBudget);
        assert_eq!(bench.give_kind(device, Kind::Moments), refused);
    }
    assert!(bench.state().strikes.is_empty(), "an honest mistake");
    assert_eq!(bench.phase(), Some(Phase::Solve));
    assert_eq!(bench.state().round.as_ref().unwrap().inputs.len(), 2);
}

#[test]
fn the_budget_is_a_rounds() {
    let mut policy = policy();
    policy.round_bytes_max = 5 * BYTES;
    let mut bench = Bench::in_round(policy, &[1, 2]);
    bench.run();
    assert_eq!(bench.start(), Ok(RoundId(2)));
    bench.run();
    assert_eq!(bench.state().history.len(), 2);
}

#[test]
fn a_bad_contribution_only_strikes() {
    let mut bench = Bench::in_round(policy(), &[1, 2]);
    let key = bench.key(Kind::Profile);
    let before = bench.state().clone();
    let answer = bench.arrive(1, key, "x", Err(Reason::NotFinite));
    assert_eq!(answer, REFUSED(Reason::NotFinite));
    let mut round = bench.state().round.clone();
    round
        .as_mut()
        .unwrap()
        .phase
        .as_mut()
        .unwrap()
        .refused
        .clear();
    assert_eq!(round, before.round);
    assert_eq!(bench.state().strikes[&device(1)], 1);
    assert_eq!(
        bench.arrive(1, key, "x", Err(Reason::Storage)),
        REFUSED(Reason::Storage)
    );
    assert_eq!(
        bench.state().strikes[&device(1)],
        1,
        "not the device's fault"
    );
}

#[test]
fn too_many_strikes_and_a_device_is_not_admitted() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    let key = bench.key(Kind::Profile);
    for _ in 0..16 {
        let answer = bench.arrive(1, key, "x", Err(Reason::Malformed));
        assert_eq!(answer, REFUSED(Reason::Malformed));
    }
    is_refused_in_vain(&mut bench, key, "good", Reason::NotAdmitted);
    assert_eq!(bench.state().strikes[&device(1)], STRIKES_MAX);
    assert_eq!(bench.engine.struck_for(device(1)), Some(Reason::Malformed));
    let wanted = [Kind::Profile];
    let open = bench.state().open().unwrap();
    assert_eq!(
        open.missing(&wanted),
        [device(2), device(3)],
        "nobody waits for it"
    );
    for other in [2, 3] {
        let answer = bench.give_kind(other, Kind::Profile);
        assert_eq!(answer, ACCEPTED, "the others go on");
    }
    bench.run_to(Phase::Summarise);
    let open = bench.state().open().unwrap();
    assert!(!open.participants.contains(&device(1)), "it is not called");
    // Until an operator takes its strikes back.
    bench.input(Input::Pardoned { device: device(1) });
    assert_eq!(bench.engine.struck_for(device(1)), None);
    bench.run_to(Phase::Contribute);
    let open = bench.state().open().unwrap();
    assert!(open.participants.contains(&device(1)));
    let length = bench.log.len();
    bench.input(Input::Pardoned { device: device(1) });
    assert_eq!(bench.log.len(), length, "there was nothing left to pardon");
}

#[test]
fn more_rows_than_a_device_may_claim_are_a_strike() {
    let mut bench = Bench::in_round(policy(), &[1, 2]);
    let key = bench.key(Kind::Profile);
    let answer = bench.arrive(1, key, "x", Ok(ROWS_MAX + 1));
    assert_eq!(answer, REFUSED(Reason::OutOfBounds));
    assert_eq!(bench.state().strikes[&device(1)], 1);
    assert_eq!(bench.arrive(1, key, "x", Ok(ROWS_MAX)), ACCEPTED);
}

#[test]
fn an_honest_overflow_costs_no_strike_and_holds_nobody_up() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    let key = bench.key(Kind::Profile);
    for _ in 0..2 * STRIKES_MAX {
        let answer = bench.arrive(1, key, "fill", Err(Reason::BeyondScale));
        assert_eq!(answer, REFUSED(Reason::BeyondScale));
    }
    assert!(bench.state().strikes.is_empty());
    bench.give_kind(2, Kind::Profile);
    bench.give_kind(3, Kind::Profile);
    // As the agent says when nothing of it is left to send.
    bench.input(Input::Abstained {
        device: device(1),
        round: RoundId(1),
        phase: Phase::Profile,
    });
    bench.run_to(Phase::Summarise);
    assert_eq!(bench.phase(), Some(Phase::Summarise), "without device 1");
}
