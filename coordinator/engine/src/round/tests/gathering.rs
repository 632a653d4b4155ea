//! When gathering phases close.

use protocol::ids::Time;
use protocol::round::{Kind, Phase, Reason};

use super::bench::*;
use crate::round::*;

#[test]
fn a_share_of_four_fifths_of_five_devices_is_four() {
    let mut policy = policy();
    policy.quorum = f64::from(0.8f32);
    for (devices, needed) in [(5, 4), (10, 8), (21, 17), (10_000, 8_000)] {
        assert_eq!(policy.quorum_of(devices), needed, "{devices} devices");
    }
    policy.quorum = 1.0;
    assert_eq!(policy.quorum_of(10_000), 10_000);
    assert_eq!(policy.quorum_of(0), 2);
}

#[test]
fn a_phase_closes_at_quorum_and_grace() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3, 4]);
    bench.tick(500);
    bench.give_kind(1, Kind::Profile);
    assert_eq!(bench.engine.poll_timeout(), Some(Time(11_000)));
    bench.tick(500);
    bench.give_kind(2, Kind::Profile);
    assert_eq!(bench.engine.poll_timeout(), Some(Time(3_000)));
    bench.tick(999);
    assert!(bench.job.is_none());
    bench.sent.clear();
    bench.tick(1);
    assert!(bench.state().open().unwrap().closed);
    let told: Vec<_> = bench.sent.iter().map(|(to, _)| *to).collect();
    assert_eq!(told, [device(3), device(4)]);
}

#[test]
fn replacing_content_does_not_move_the_quorum() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3, 4]);
    let key = bench.key(Kind::Profile);
    for text in ["a", "b", "c"] {
        bench.give(1, key, text);
    }
    bench.tick(5_000);
    bench.give_kind(2, Kind::Profile);
    assert_eq!(
        bench.engine.poll_timeout(),
        Some(Time(7_000)),
        "grace is due"
    );
    bench.tick(500);
    bench.give(1, key, "d");
    assert_eq!(bench.engine.poll_timeout(), Some(Time(7_000)));
}

#[test]
fn one_of_two_kinds_is_no_contribution_to_the_quorum() {
    let mut bench = Bench::in_phase(policy(), &[1, 2, 3, 4], Phase::Contribute);
    for number in 1..=4 {
        bench.give_kind(number, Kind::Labels);
    }
    bench.tick(5_000);
    assert_eq!(bench.phase(), Some(Phase::Contribute));
    bench.tick(5_000);
    let (phase, got, needed) = (Phase::Contribute, 0, 2);
    assert_eq!(
        bench.outcome(),
        Some(&Outcome::QuorumNotMet { phase, got, needed })
    );
    assert_eq!(bench.state().standing.len(), 4, "what was accepted stands");
}

#[test]
fn a_deadline_without_quorum_ends_the_round() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    bench.give_kind(1, Kind::Profile);
    bench.tick(9_999);
    assert!(bench.state().round.is_some());
    bench.tick(1);
    let (phase, got, needed) = (Phase::Profile, 1, 2);
    assert_eq!(
        bench.outcome(),
        Some(&Outcome::QuorumNotMet { phase, got, needed })
    );
    assert!(bench.state().founders.is_empty());
}

#[test]
fn a_round_without_devices_ends_at_its_deadline() {
    let mut bench = Bench::in_round(policy(), &[]);
    assert_eq!(bench.engine.poll_timeout(), Some(Time(11_000)));
    bench.tick(10_000);
    assert!(matches!(
        bench.outcome(),
        Some(Outcome::QuorumNotMet { .. })
    ));
}

#[test]
fn when_all_abstain_only_newcomers_are_waited_for() {
    let grace_ms = policy().grace_ms;
    let mut bench = Bench::in_round(policy(), &[1, 2]);
    bench.abstain(1);
    assert_eq!(bench.engine.poll_timeout(), Some(Time(11_000)));
    bench.abstain(2);
    bench.tick(grace_ms - 1);
    assert!(bench.state().round.is_some());
    bench.tick(1);
    let (phase, got) = (Phase::Profile, 0);
    assert!(matches!(
        bench.outcome(),
        Some(&Outcome::QuorumNotMet { phase: ended, got: taken, .. })
            if (ended, taken) == (phase, got)
    ));
}

#[test]
fn nobody_waits_for_a_device_that_abstains() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    bench.give_kind(1, Kind::Profile);
    bench.give_kind(2, Kind::Profile);
    assert!(bench.job.is_none());
    bench.abstain(3);
    assert!(matches!(
        bench.job.as_ref().unwrap().kind,
        JobKind::Normalise { ref profiles } if profiles.len() == 2
    ));
    bench.compute();
    assert!(!bench.state().founders.contains(&device(3)));
}

#[test]
fn abstaining_after_one_of_two_kinds_counts_what_was_given() {
    let mut bench = Bench::in_phase(policy(), &[1, 2], Phase::Contribute);
    bench.give_kind(1, Kind::Labels);
    bench.abstain(1);
    bench.abstain(1);
    bench.give_kind(2, Kind::Labels);
    bench.give_kind(2, Kind::Moments);
    assert_eq!(bench.phase(), Some(Phase::Solve));
    assert_eq!(bench.state().round.as_ref().unwrap().inputs.len(), 3);
}

#[test]
fn a_device_that_abstained_may_still_contribute() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    bench.abstain(1);
    bench.give_kind(1, Kind::Profile);
    bench.give_kind(2, Kind::Profile);
    bench.give_kind(3, Kind::Profile);
    assert!(matches!(
        bench.job.as_ref().unwrap().kind,
        JobKind::Normalise { ref profiles } if profiles.len() == 3
    ));
}

#[test]
fn abstaining_from_another_round_or_phase_changes_nothing() {
    let mut bench = Bench::in_round(policy(), &[1, 2]);
    let before = bench.log.len();
    for (round, phase) in [(2, Phase::Profile), (1, Phase::Report), (1, Phase::Solve)] {
        bench.input(Input::Abstained {
            device: device(1),
            round: protocol::ids::RoundId(round),
            phase,
        });
    }
    assert_eq!(bench.log.len(), before);
}

#[test]
fn if_all_abstain_from_points_the_old_set_stays() {
    let mut policy = policy();
    policy.points_max = 1_000;
    let mut bench = Bench::in_round(policy, &[1, 2]);
    bench.run();
    bench.start().unwrap();
    assert_eq!(bench.phase(), Some(Phase::Summarise));
    let standing = bench.state().standing.clone();
    bench.abstain(1);
    bench.abstain(2);
    assert_eq!(bench.phase(), Some(Phase::Contribute));
    assert_eq!(bench.state().standing, standing);
}

#[test]
fn the_report_phase_never_fails_a_round() {
    let mut bench = Bench::in_phase(policy(), &[1, 2], Phase::Report);
    bench.tick(10_000);
    assert!(matches!(bench.outcome(), Some(Outcome::Completed { .. })));
    assert!(bench.state().history[0].reports.is_empty());
}

#[test]
fn late_labels_make_nobody_wait_in_the_report_phase() {
    let mut bench = Bench::in_phase(policy(), &[1, 2, 3], Phase::Contribute);
    let late = bench.key(Kind::Labels);
    bench.disconnect(3);
    while bench.answer_call() {}
    bench.tick(1_000);
    bench.run_to(Phase::Report);
    bench.give(3, late, "late");
    assert!(
        !bench
            .state()
            .open()
            .unwrap()
            .participants
            .contains(&device(3))
    );
    bench.run();
    assert!(matches!(bench.outcome(), Some(Outcome::Completed { .. })));
}

#[test]
fn a_device_that_comes_late_joins_and_is_called() {
    let mut bench = Bench::in_round(policy(), &[1, 2]);
    bench.calls.clear();
    bench.connect(&[3]);
    assert_eq!(bench.calls.len(), 1);
    bench.give_kind(1, Kind::Profile);
    bench.give_kind(2, Kind::Profile);
    assert!(bench.job.is_none(), "it is waited for");
    bench.connect(&[1]);
    assert_eq!(bench.calls.len(), 1, "who is done is not called again");
}

#[test]
fn what_is_refused_does_not_count_against_the_quorum() {
    let strict = RoundPolicy {
        quorum: 0.8,
        ..policy()
    };
    let mut bench = Bench::in_round(strict, &[1, 2, 3, 4, 5]);
    for number in 1..=3 {
        bench.give_kind(number, Kind::Profile);
    }
    let key = bench.key(Kind::Profile);
    for number in 4..=5 {
        bench.offer(number, key, "lie");
        bench.arrive(number, key, "lie", Err(Reason::NotFinite));
    }
    bench.tick(1_000);
    assert!(bench.compute(), "three of three that can still count");
    assert_eq!(bench.phase(), Some(Phase::Summarise));
}

#[test]
fn half_an_answer_beside_a_refusal_is_not_needed() {
    let mut bench = Bench::in_phase(of_all(), &[1, 2, 3], Phase::Contribute);
    for number in [1, 2] {
        bench.give_kind(number, Kind::Labels);
        bench.give_kind(number, Kind::Moments);
    }
    bench.give_kind(3, Kind::Labels);
    let key = bench.key(Kind::Moments);
    bench.offer(3, key, "lie");
    bench.arrive(3, key, "lie", Err(Reason::NotFinite));
    assert_eq!(bench.phase(), Some(Phase::Contribute), "it may mend that");
    bench.tick(1_000);
    assert_eq!(bench.phase(), Some(Phase::Solve));
    assert_eq!(bench.state().round.as_ref().unwrap().inputs.len(), 5);
}

#[test]
fn a_device_that_was_called_and_went_is_needed() {
    let mut bench = Bench::in_round(of_all(), &[1, 2, 3]);
    bench.give_kind(1, Kind::Profile);
    bench.give_kind(2, Kind::Profile);
    bench.disconnect(3);
    bench.tick(10_000);
    let (phase, got, needed) = (Phase::Profile, 2, 3);
    assert_eq!(
        bench.outcome(),
        Some(&Outcome::QuorumNotMet { phase, got, needed })
    );
}

#[test]
fn a_device_that_answered_and_went_counts() {
    let mut bench = Bench::in_round(of_all(), &[1, 2, 3]);
    bench.give_kind(1, Kind::Profile);
    bench.disconnect(1);
    bench.give_kind(2, Kind::Profile);
    bench.give_kind(3, Kind::Profile);
    assert!(bench.compute());
    let summarise = bench.state().open().unwrap();
    assert_eq!(summarise.phase, Phase::Summarise);
    assert!(!summarise.participants.contains(&device(1)), "nor waits");
    bench.give_kind(2, Kind::Summary);
    bench.give_kind(3, Kind::Summary);
    assert!(bench.compute());
}

/// The rules with a quorum of all devices.
fn of_all() -> RoundPolicy {
    RoundPolicy {
        quorum: 1.0,
        ..policy()
    }
}
