//! Rounds begin, move through their phases and end.

use protocol::ids::{RoundId, Time, Version};
use protocol::round::{Kind, Phase};
use protocol::wire::messages::ToDevice;

use super::bench::*;
use crate::round::*;

const FIRST: Version = Version {
    epoch: 1,
    number: 1,
};

#[test]
fn a_round_moves_through_all_phases_to_a_student() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    bench.run();
    let state = bench.state();
    assert_eq!(state.round, None);
    assert_eq!(
        bench.outcome(),
        Some(&Outcome::Completed { version: FIRST })
    );
    let ended = &state.history[0];
    let phases: Vec<_> = ended.spans.iter().map(|span| span.phase).collect();
    assert_eq!(phases, Phase::ALL);
    let mut asked = Kind::ALL.iter().filter(|kind| **kind != Kind::Gradient);
    assert!(asked.all(|kind| ended.accepted[kind] == 3));
    assert!(!ended.accepted.contains_key(&Kind::Gradient));
    assert_eq!(ended.reports.len(), 3);
    let release = state.release.as_ref().unwrap();
    assert_eq!(release.lineage, [device(1), device(2), device(3)]);
    assert_eq!(release.round, RoundId(1));
    assert_eq!(state.standing.len(), 6);
    assert!(state.strikes.is_empty());
    assert_eq!(bench.engine.poll_timeout(), None);
    let told = |number| {
        let mut sent = bench.sent.iter();
        sent.any(|(to, sent)| *to == device(number) && matches!(sent, ToDevice::Released(_)))
    };
    assert!(told(1) && told(2) && told(3));
}

#[test]
fn a_second_round_starts_at_contribute() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    bench.run();
    assert_eq!(bench.start(), Ok(RoundId(2)));
    assert_eq!(bench.phase(), Some(Phase::Contribute));
    for number in 1..=3 {
        for kind in [Kind::Labels, Kind::Moments] {
            let key = bench.key(kind);
            let answer = bench.offer(number, key, &content(number, &key));
            assert_eq!(answer, protocol::wire::messages::TransferAnswer::Accepted);
        }
    }
    assert_eq!(bench.phase(), Some(Phase::Solve));
    bench.run();
    let version = Version {
        epoch: 1,
        number: 2,
    };
    assert_eq!(bench.outcome(), Some(&Outcome::Completed { version }));
}

#[test]
fn a_second_start_is_refused_while_a_round_runs() {
    let mut bench = Bench::in_round(policy(), &[1, 2]);
    let before = bench.log.len();
    assert_eq!(bench.start(), Err(StartRefused::Running(RoundId(1))));
    assert_eq!(bench.log.len(), before);
}

#[test]
fn a_failed_computation_ends_the_round_with_its_cause() {
    for phase in [Phase::Solve, Phase::Distil, Phase::Release] {
        let mut bench = Bench::in_phase(policy(), &[1, 2], phase);
        let standing = bench.state().standing.clone();
        bench.input(Input::Computed {
            result: Err("no memory".to_owned()),
        });
        let cause = "no memory".to_owned();
        assert_eq!(bench.outcome(), Some(&Outcome::Failed { phase, cause }));
        assert_eq!(bench.state().standing, standing);
        assert_eq!(bench.state().release, None);
    }
}

#[test]
fn a_failed_gathering_leaves_no_founders() {
    let mut bench = Bench::in_phase(policy(), &[1, 2], Phase::Summarise);
    bench.disconnect(2);
    bench.connect(&[3]);
    bench.give_kind(1, Kind::Summary);
    bench.give_kind(3, Kind::Summary);
    bench.tick(1_000);
    assert!(matches!(
        bench.job.take().unwrap().kind,
        JobKind::Gather { .. }
    ));
    bench.input(Input::Computed {
        result: Err("no memory".to_owned()),
    });
    assert!(!bench.state().founders.contains(&device(3)));
}

#[test]
fn an_output_of_another_phase_ends_the_round_with_a_cause() {
    let mut bench = Bench::in_phase(policy(), &[1, 2], Phase::Solve);
    let student = JobOutput::Product(Product::Student(blob("student")));
    bench.input(Input::Computed {
        result: Ok(student),
    });
    assert!(matches!(
        bench.outcome(),
        Some(Outcome::Failed {
            phase: Phase::Solve,
            ..
        })
    ));
    assert_eq!(bench.state().teacher, None);
}

#[test]
fn a_result_after_the_round_ended_is_ignored() {
    let mut bench = Bench::in_phase(policy(), &[1, 2], Phase::Solve);
    bench.input(Input::CancelRound);
    let before = (bench.state().clone(), bench.log.len());
    bench.compute();
    assert_eq!((bench.state().clone(), bench.log.len()), before);
    assert_eq!(bench.outcome(), Some(&Outcome::Cancelled));
    assert_eq!(bench.start(), Ok(RoundId(2)));
}

#[test]
fn devices_at_work_are_told_when_a_round_is_cancelled() {
    let mut bench = Bench::in_round(policy(), &[1, 2]);
    bench.give_kind(1, Kind::Profile);
    bench.sent.clear();
    bench.input(Input::CancelRound);
    let told: Vec<_> = bench.sent.iter().map(|(to, _)| *to).collect();
    assert_eq!(told, [device(2)]);
}

fn automatic() -> RoundPolicy {
    RoundPolicy {
        interval_ms: Some(60_000),
        ..policy()
    }
}

#[test]
fn the_first_automatic_round_starts_with_enough_devices() {
    let mut bench = Bench::new(automatic());
    bench.connect(&[1]);
    assert_eq!(bench.state().round, None);
    assert_eq!(bench.engine.poll_timeout(), None);
    bench.connect(&[2]);
    assert_eq!(bench.phase(), Some(Phase::Profile));
}

#[test]
fn automatic_rounds_wait_for_interval_and_new_data() {
    let mut bench = Bench::new(automatic());
    bench.connect(&[1, 2]);
    bench.run();
    assert!(matches!(bench.outcome(), Some(Outcome::Completed { .. })));
    let changed = |number| Input::DataChanged {
        device: device(number),
    };
    bench.input(changed(1));
    bench.input(changed(1));
    bench.tick(70_000);
    assert_eq!(bench.state().round, None, "one device is too few");
    bench.input(changed(2));
    assert_eq!(bench.state().last_round, RoundId(2));
    assert_eq!(bench.phase(), Some(Phase::Contribute));
    assert!(bench.state().changed.is_empty(), "they have been asked");
    bench.run();
    bench.input(changed(1));
    bench.input(changed(2));
    assert_eq!(bench.state().round, None, "not before the interval");
    let due = bench.state().last_ended.unwrap().after_ms(60_000);
    assert_eq!(bench.engine.poll_timeout(), Some(due));
    bench.tick(60_000);
    assert_eq!(bench.state().last_round, RoundId(3));
}

#[test]
fn new_data_of_devices_that_left_starts_no_round() {
    let mut bench = Bench::new(automatic());
    bench.connect(&[1, 2, 3, 4]);
    bench.run();
    for number in [1, 2] {
        bench.input(Input::DataChanged {
            device: device(number),
        });
        bench.disconnect(number);
    }
    bench.tick(70_000);
    assert_eq!(bench.state().round, None);
    bench.connect(&[1, 2]);
    assert_eq!(bench.state().last_round, RoundId(2), "they count when back");
}

#[test]
fn new_data_is_remembered_over_a_restart() {
    let mut bench = Bench::new(automatic());
    bench.connect(&[1, 2]);
    bench.run();
    for number in [1, 2] {
        bench.input(Input::DataChanged {
            device: device(number),
        });
    }
    let mut again = Bench::restarted(automatic(), bench.log, bench.now);
    again.connect(&[1, 2]);
    assert_eq!(again.state().round, None);
    again.tick(60_000);
    assert_eq!(again.state().last_round, RoundId(2));
}

#[test]
fn a_clock_set_back_does_not_delay_the_next_round() {
    let mut bench = Bench::new(automatic());
    bench.connect(&[1, 2]);
    bench.tick(10_000);
    assert!(matches!(
        bench.outcome(),
        Some(Outcome::QuorumNotMet { .. })
    ));
    let mut again = Bench::restarted(automatic(), bench.log, Time(500));
    again.connect(&[1, 2]);
    assert_eq!(again.state().round, None);
    let due = again.engine.poll_timeout();
    assert_eq!(due, Some(again.now.after_ms(60_000)));
    again.tick(60_000);
    assert_eq!(again.state().last_round, RoundId(2));
}

#[test]
fn an_automatic_round_that_came_to_nothing_is_tried_again() {
    let mut bench = Bench::new(automatic());
    bench.connect(&[1, 2]);
    bench.tick(10_000);
    assert!(matches!(
        bench.outcome(),
        Some(Outcome::QuorumNotMet { .. })
    ));
    assert_eq!(bench.state().round, None);
    bench.tick(60_000);
    assert_eq!(bench.state().last_round, RoundId(2));
}

#[test]
fn history_and_releases_have_a_ceiling() {
    let mut bench = Bench::in_round(policy(), &[1, 2]);
    for _ in 0..100 {
        bench.run();
        bench.start().unwrap();
    }
    bench.run();
    assert_eq!(bench.state().last_round, RoundId(101));
    assert_eq!(
        bench.state().history.len(),
        super::super::state::HISTORY_MAX
    );
    assert_eq!(
        bench.state().releases.len(),
        super::super::state::RELEASES_MAX
    );
    assert_eq!(bench.state().newest.len(), 10);
}

#[test]
fn versions_never_go_down_under_an_older_epoch() {
    let mut bench = Bench::in_round(policy(), &[1, 2]);
    bench.run();
    let mut log = bench.log;
    for event in &mut log {
        if let Event::Released { version, .. } = event {
            version.epoch = 7;
        }
    }
    let mut older = Bench::restarted(policy(), log, Time(50_000));
    older.connect(&[1, 2]);
    older.start().unwrap();
    older.run();
    let version = Version {
        epoch: 7,
        number: 2,
    };
    assert_eq!(older.outcome(), Some(&Outcome::Completed { version }));
}

/// A task that asks for points and for nothing on them.
fn points_alone() -> RoundPolicy {
    RoundPolicy {
        contribute: Vec::new(),
        ..policy()
    }
}

#[test]
fn a_task_of_points_alone_skips_contribute() {
    let mut bench = Bench::in_round(points_alone(), &[1, 2, 3]);
    bench.run();
    let state = bench.state();
    let ended = &state.history[0];
    assert_eq!(ended.outcome, Outcome::Completed { version: FIRST });
    let phases: Vec<_> = ended.spans.iter().map(|span| span.phase).collect();
    let without = Phase::ALL
        .into_iter()
        .filter(|phase| *phase != Phase::Contribute);
    assert_eq!(phases, without.collect::<Vec<_>>());
    assert!(
        bench
            .calls
            .iter()
            .all(|(_, call)| call.phase != Phase::Contribute)
    );
    assert!(!ended.accepted.contains_key(&Kind::Moments));
    let lineage = &state.release.as_ref().unwrap().lineage;
    assert_eq!(*lineage, [device(1), device(2), device(3)]);
}

#[test]
fn a_full_set_of_points_is_solved_without_a_call() {
    let mut bench = Bench::in_round(points_alone(), &[1, 2]);
    bench.run();
    bench.input(Input::DataChanged { device: device(1) });
    assert!(
        bench.state().changed.is_empty(),
        "or rounds would never rest"
    );
    assert_eq!(bench.start(), Ok(RoundId(2)));
    assert_eq!(bench.phase(), Some(Phase::Solve));
}
