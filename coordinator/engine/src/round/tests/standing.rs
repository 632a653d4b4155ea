//! Contributions to a standing task count whenever they come.

use protocol::ids::{RoundId, Time, Version};
use protocol::round::{Kind, Phase, Reason};
use protocol::wire::messages::TransferAnswer;

use super::bench::*;
use crate::round::*;

/// Points alone; two devices at least, 70 rows are enough, and fewer after ten
/// seconds. Every contribution of the bench describes 40.
fn points() -> RoundPolicy {
    RoundPolicy {
        contribute: Vec::new(),
        standing: Some(StandingPolicy {
            rows_new: 70,
            interval_ms: 10_000,
        }),
        ..policy()
    }
}

fn labels_and_moments() -> RoundPolicy {
    RoundPolicy {
        contribute: policy().contribute,
        ..points()
    }
}

/// Everyone who is there answers, and the grace passes, until this many rounds
/// have ended.
fn run_rounds(bench: &mut Bench, rounds: usize) {
    for _ in 0..20 {
        if bench.state().history.len() >= rounds {
            return;
        }
        bench.run();
        bench.tick(1_000);
    }
    panic!("stuck in {:?}", bench.phase());
}

/// A task of points with a first student of devices 1 and 2, who have gone.
fn begun() -> Bench {
    let mut bench = Bench::new(points());
    bench.connect(&[1, 2]);
    run_rounds(&mut bench, 1);
    bench.disconnect(1);
    bench.disconnect(2);
    bench
}

fn gathered(bench: &Bench) -> (usize, usize, u64) {
    let gathered = bench.engine.gathered().unwrap();
    (gathered.devices, gathered.devices_new, gathered.rows_new)
}

fn called(bench: &Bench) -> Vec<(u8, Phase)> {
    let calls = bench.calls.iter();
    calls.map(|(to, call)| (to.0[0], call.phase)).collect()
}

/// Whose points the open computation joins, and what it joins them to.
fn joined(bench: &Bench) -> (Vec<u8>, Option<protocol::ids::BlobHash>) {
    match &bench.job.as_ref().unwrap().kind {
        JobKind::Gather {
            summaries,
            previous,
            ..
        } => (summaries.iter().map(|(of, _)| of.0[0]).collect(), *previous),
        other => panic!("{other:?}"),
    }
}

fn new_rows(bench: &mut Bench, number: u8) {
    bench.input(Input::DataChanged {
        device: device(number),
    });
}

#[test]
fn a_round_is_open_from_the_first_and_waits_for_nobody() {
    let mut bench = Bench::new(points());
    assert_eq!(bench.phase(), Some(Phase::Profile));
    assert_eq!(bench.engine.poll_timeout(), None);
    bench.connect(&[1, 2]);
    bench.tick(1_000_000);
    assert_eq!(bench.phase(), Some(Phase::Profile));
    assert_eq!(called(&bench), [(1, Phase::Profile), (2, Phase::Profile)]);
    run_rounds(&mut bench, 1);
    assert!(matches!(bench.outcome(), Some(Outcome::Completed { .. })));
    assert_eq!(bench.phase(), Some(Phase::Summarise));
    assert_eq!(bench.state().last_round, RoundId(2));
    assert_eq!(called(&bench), []);
    assert_eq!(gathered(&bench), (2, 0, 0));
    assert_eq!(bench.engine.poll_timeout(), None);
}

#[test]
fn one_device_is_too_few_however_many_its_rows() {
    let mut bench = Bench::new(points());
    bench.connect(&[1]);
    let key = bench.key(Kind::Profile);
    bench.offer(1, key, "much");
    bench.arrive(1, key, "much", Ok(1_000));
    bench.tick(1_000_000);
    assert_eq!(bench.phase(), Some(Phase::Profile));
    assert!(bench.job.is_none());
}

#[test]
fn a_device_asleep_at_the_call_contributes_later() {
    let mut bench = begun();
    bench.connect(&[3]);
    assert_eq!(called(&bench), [(3, Phase::Summarise)]);
    bench.run();
    assert_eq!(gathered(&bench), (3, 1, 40));
    assert_eq!(bench.phase(), Some(Phase::Summarise));
    let opened = bench.state().open().unwrap().opened;
    assert_eq!(bench.engine.poll_timeout(), Some(opened.after_ms(10_000)));
    bench.disconnect(3);
    bench.tick(10_000);
    assert_eq!(joined(&bench), (vec![1, 2, 3], None));
    run_rounds(&mut bench, 2);
    let release = bench.state().release.as_ref().unwrap();
    assert_eq!(release.lineage, [device(1), device(2), device(3)]);
    assert_eq!(
        release.version,
        Version {
            epoch: 1,
            number: 2
        }
    );
}

#[test]
fn enough_new_rows_do_not_wait_for_the_interval() {
    let mut bench = begun();
    bench.connect(&[3, 4]);
    bench.run();
    assert_eq!(gathered(&bench), (4, 2, 80));
    assert!(bench.job.is_none());
    bench.tick(1_000);
    assert_eq!(joined(&bench).0, [1, 2, 3, 4]);
}

#[test]
fn a_device_that_wakes_during_a_solve_counts_next() {
    let mut bench = begun();
    bench.connect(&[3, 4]);
    bench.run();
    bench.tick(1_000);
    bench.connect(&[5]);
    assert_eq!(called(&bench), [(5, Phase::Summarise)]);
    assert!(bench.answer_call());
    assert_eq!(joined(&bench).0, [1, 2, 3, 4]);
    run_rounds(&mut bench, 2);
    let release = bench.state().release.as_ref().unwrap();
    assert_eq!(release.lineage.len(), 4);
    assert_eq!(gathered(&bench), (5, 1, 40));
    bench.tick(10_000);
    assert_eq!(joined(&bench).0, [1, 2, 3, 4, 5]);
}

#[test]
fn an_answer_to_the_call_of_a_round_that_ended_counts() {
    let mut bench = begun();
    bench.connect(&[3]);
    let (_, call) = bench.calls.remove(0);
    let mut key = bench.key(Kind::Summary);
    bench.connect(&[4, 5]);
    run_rounds(&mut bench, 2);
    assert_eq!(bench.state().last_round, RoundId(3));
    assert_eq!(called(&bench), [], "it is at work already");
    key.round = call.round;
    assert_eq!(bench.give(3, key, "late"), TransferAnswer::Accepted);
    assert_eq!(gathered(&bench), (5, 1, 40));
}

#[test]
fn the_same_content_is_acknowledged_again_and_counts_once() {
    let mut bench = begun();
    bench.connect(&[1]);
    let key = bench.key(Kind::Summary);
    let log = bench.log.len();
    let same = content(1, &key);
    assert_eq!(bench.offer(1, key, &same), TransferAnswer::Accepted);
    assert_eq!(bench.log.len(), log);
    assert_eq!(gathered(&bench), (2, 0, 0));
}

#[test]
fn a_later_contribution_takes_the_place_of_the_earlier() {
    let mut bench = begun();
    bench.connect(&[1]);
    assert_eq!(called(&bench), []);
    new_rows(&mut bench, 1);
    assert_eq!(called(&bench), [(1, Phase::Summarise)]);
    let key = bench.key(Kind::Summary);
    assert_eq!(bench.give(1, key, "newer"), TransferAnswer::Accepted);
    assert!(bench.state().changed.is_empty());
    assert_eq!(gathered(&bench), (2, 1, 40));
    assert_eq!(bench.give(1, key, "newest"), TransferAnswer::Accepted);
    assert_eq!(gathered(&bench), (2, 1, 40));
    bench.tick(10_000);
    let JobKind::Gather { summaries, .. } = &bench.job.as_ref().unwrap().kind else {
        panic!("points are gathered");
    };
    assert_eq!(summaries[0], (device(1), blob("newest")));
    assert_eq!(summaries.len(), 2);
}

#[test]
fn a_vanished_devices_rows_are_asked_for_later() {
    let mut bench = begun();
    bench.connect(&[1]);
    new_rows(&mut bench, 1);
    bench.disconnect(1);
    bench.connect(&[3, 4]);
    run_rounds(&mut bench, 2);
    bench.connect(&[1]);
    assert_eq!(called(&bench), [(1, Phase::Summarise)]);
    bench.run();
    bench.disconnect(1);
    bench.connect(&[1]);
    assert_eq!(called(&bench), []);
}

#[test]
fn nothing_new_is_nothing_to_solve() {
    let mut bench = begun();
    bench.connect(&[1, 2]);
    bench.tick(1_000_000);
    assert!(bench.job.is_none());
    assert_eq!(bench.engine.poll_timeout(), None);
    assert_eq!(bench.start(), Ok(RoundId(2)));
    assert_eq!(
        joined(&bench).0,
        [1, 2],
        "an operator may want one all the same"
    );
    assert_eq!(bench.start(), Err(StartRefused::Running(RoundId(2))));
}

#[test]
fn a_restart_after_any_event_goes_on_to_the_same_student() {
    let mut bench = begun();
    bench.connect(&[3, 4]);
    run_rounds(&mut bench, 2);
    let log = bench.log.clone();
    for length in 1..=log.len() {
        let now = Time(bench.now.0 + 1);
        let mut again = Bench::restarted(points(), log[..length].to_vec(), now);
        again.connect(&[1, 2, 3, 4]);
        let ended = again.state().history.len();
        let wanted = if ended == 2 { 2 } else { ended + 1 };
        run_rounds(&mut again, wanted);
        while again.state().release.as_ref().unwrap().lineage.len() < 4 {
            let ended = again.state().history.len();
            again.tick(10_000);
            run_rounds(&mut again, ended + 1);
        }
        assert_eq!(gathered(&again), (4, 0, 0), "after {length} events");
        assert!(again.state().strikes.is_empty());
    }
}

#[test]
fn a_failure_is_retried_after_the_interval() {
    let mut bench = begun();
    bench.connect(&[3, 4]);
    bench.run();
    bench.tick(1_000);
    bench.job = None;
    bench.input(Input::Computed {
        result: Err("no memory".to_owned()),
    });
    assert!(matches!(bench.outcome(), Some(Outcome::Failed { .. })));
    assert_eq!(gathered(&bench), (4, 2, 80));
    bench.tick(9_000);
    assert!(bench.job.is_none());
    bench.tick(1_000);
    assert_eq!(joined(&bench).0, [1, 2, 3, 4]);
}

#[test]
fn a_forgotten_late_device_is_left_out_at_once() {
    let mut bench = begun();
    bench.connect(&[3, 4]);
    run_rounds(&mut bench, 2);
    bench.input(Input::Dismissed { device: device(3) });
    bench.input(Input::Forgotten { device: device(3) });
    let state = bench.state();
    assert!(!state.newest.keys().any(|(of, _)| *of == device(3)));
    assert!(state.normaliser.is_some());
    assert_eq!(joined(&bench), (vec![1, 2, 4], None));
    run_rounds(&mut bench, 4);
    let release = bench.state().release.as_ref().unwrap();
    assert_eq!(release.lineage, [device(1), device(2), device(4)]);
    assert!(bench.state().forgotten[&device(3)]);
    assert!(bench.job.is_none(), "once is enough");
}

#[test]
fn a_device_can_be_forgotten_during_a_solve() {
    let mut bench = begun();
    bench.connect(&[3, 4]);
    bench.run();
    bench.tick(1_000);
    bench.input(Input::Dismissed { device: device(4) });
    bench.input(Input::Forgotten { device: device(4) });
    assert_eq!(bench.outcome(), Some(&Outcome::Cancelled));
    assert_eq!(gathered(&bench), (3, 1, 40));
    bench.job = None;
    bench.tick(10_000);
    assert_eq!(joined(&bench).0, [1, 2, 3]);
}

#[test]
fn a_forgotten_founder_begins_everything_anew() {
    let mut bench = begun();
    bench.connect(&[3]);
    let stale = bench.key(Kind::Summary);
    bench.connect(&[2, 4]);
    bench.give(4, stale, "on the old normaliser");
    bench.input(Input::Dismissed { device: device(1) });
    bench.input(Input::Forgotten { device: device(1) });
    assert_eq!(bench.state().normaliser, None);
    assert_eq!(bench.phase(), Some(Phase::Profile));
    assert_eq!(gathered(&bench), (0, 0, 0));
    assert_eq!(
        bench.give(3, stale, "stale"),
        REFUSED(Reason::PhaseClosed),
        "profiles are asked for"
    );
    bench.calls.retain(|(_, call)| call.phase == Phase::Profile);
    bench.run();
    bench.tick(1_000);
    bench.compute();
    assert_eq!(bench.phase(), Some(Phase::Summarise));
    assert_eq!(gathered(&bench).0, 0, "no point of before stands");
    assert_eq!(bench.give(3, stale, "stale"), REFUSED(Reason::WrongRound));
    assert!(bench.state().strikes.is_empty());
    let ended = bench.state().history.len();
    run_rounds(&mut bench, ended + 1);
    let release = bench.state().release.as_ref().unwrap();
    assert_eq!(release.lineage, [device(2), device(3), device(4)]);
}

#[test]
fn points_do_not_outlive_their_normaliser() {
    let mut bench = begun();
    bench.connect(&[3, 4]);
    bench.run();
    bench.tick(1_000);
    bench.connect(&[5]);
    bench.answer_call();
    let kept = bench.state().newest[&(device(5), Kind::Summary)];
    assert_eq!(kept.round, RoundId(3));
    bench.input(Input::Relearn);
    bench.job = None;
    assert!(bench.state().last_round > kept.round);
    bench.run();
    bench.tick(1_000);
    bench.compute();
    assert_eq!(bench.phase(), Some(Phase::Summarise));
    assert_eq!(gathered(&bench).0, 0);
}

#[test]
fn a_liar_is_left_out_and_judged_anew_by_the_next_student() {
    let mut bench = begun();
    bench.connect(&[3, 4]);
    bench.run();
    bench.tick(1_000);
    let exclusion = Exclusion {
        device: device(3),
        kind: Kind::Summary,
        why: ExclusionReason::FarProfile { far: 9, of: 10 },
    };
    let product = Product::TransferSet {
        blob: blob("without 3"),
        points: 50,
    };
    bench.job = None;
    bench.input(Input::Computed {
        result: Ok(JobOutput::Judged {
            planned: None,
            product,
            excluded: vec![exclusion],
        }),
    });
    run_rounds(&mut bench, 2);
    let excluded = |bench: &Bench| bench.state().excluded.len();
    assert_eq!(
        (bench.phase(), excluded(&bench)),
        (Some(Phase::Summarise), 1)
    );
    bench.connect(&[5]);
    bench.run();
    assert_eq!(excluded(&bench), 1, "it is told until it is judged again");
    bench.tick(10_000);
    assert_eq!(joined(&bench).0, [1, 2, 3, 4, 5]);
    assert_eq!(excluded(&bench), 0);
}

#[test]
fn nothing_is_asked_of_a_device_that_is_struck_out() {
    let mut bench = begun();
    bench.connect(&[3]);
    let key = bench.key(Kind::Summary);
    for at in 0..STRIKES_MAX {
        let text = format!("bad {at}");
        bench.offer(3, key, &text);
        bench.arrive(3, key, &text, Err(Reason::NotFinite));
    }
    bench.disconnect(3);
    bench.connect(&[3]);
    assert_eq!(called(&bench), []);
    assert_eq!(bench.give(3, key, "good"), REFUSED(Reason::NotAdmitted));
    assert_eq!(gathered(&bench), (2, 0, 0));
}

#[test]
fn who_has_nothing_to_give_is_asked_again_once_it_has_rows() {
    let mut bench = begun();
    bench.connect(&[3]);
    bench.calls.clear();
    bench.abstain(3);
    bench.disconnect(3);
    bench.connect(&[3]);
    assert_eq!(called(&bench), []);
    new_rows(&mut bench, 3);
    assert_eq!(called(&bench), [(3, Phase::Summarise)]);
}

#[test]
fn moments_of_late_devices_stand_on_the_first_transfer_set() {
    let mut bench = Bench::new(labels_and_moments());
    bench.connect(&[1, 2]);
    run_rounds(&mut bench, 1);
    let transfer = bench.state().transfer;
    assert_eq!(bench.phase(), Some(Phase::Contribute));
    assert_eq!(gathered(&bench), (2, 0, 0));
    bench.connect(&[3, 4]);
    assert_eq!(
        called(&bench),
        [(3, Phase::Contribute), (4, Phase::Contribute)]
    );
    run_rounds(&mut bench, 2);
    assert_eq!(bench.state().transfer, transfer);
    assert_eq!(bench.state().standing.len(), 8);
    let release = bench.state().release.as_ref().unwrap();
    assert_eq!(release.lineage.len(), 4);
    bench.input(Input::Dismissed { device: device(3) });
    bench.input(Input::Forgotten { device: device(3) });
    assert_eq!(bench.state().transfer, transfer);
    let JobKind::Solve { inputs, .. } = &bench.job.as_ref().unwrap().kind else {
        panic!("what stands is solved");
    };
    assert!(inputs.len() == 6 && inputs.iter().all(|(of, ..)| *of != device(3)));
    run_rounds(&mut bench, 4);
    let release = bench.state().release.as_ref().unwrap();
    assert_eq!(release.lineage, [device(1), device(2), device(4)]);
}

#[test]
fn points_that_stand_from_before_count_as_accepted() {
    let mut bench = begun();
    assert_eq!(bench.state().history[0].accepted[&Kind::Summary], 2);
    bench.connect(&[3, 4]);
    run_rounds(&mut bench, 2);
    let accepted = bench.state().history[1].accepted.clone();
    assert_eq!(
        accepted.into_iter().collect::<Vec<_>>(),
        [(Kind::Summary, 4)]
    );
    assert_eq!(bench.start(), Ok(RoundId(3)));
    run_rounds(&mut bench, 3);
    assert_eq!(bench.state().history[2].accepted[&Kind::Summary], 4);
}

#[test]
fn labels_that_stand_from_before_count_as_accepted() {
    let mut bench = Bench::new(labels_and_moments());
    bench.connect(&[1, 2]);
    run_rounds(&mut bench, 1);
    bench.connect(&[3, 4]);
    run_rounds(&mut bench, 2);
    let accepted = &bench.state().history[1].accepted;
    let kinds: Vec<_> = accepted
        .iter()
        .map(|(kind, count)| (*kind, *count))
        .collect();
    assert_eq!(kinds, [(Kind::Labels, 4), (Kind::Moments, 4)]);
}
