//! Later rounds of tasks that move the points there are.

use protocol::ids::{RoundId, Time};
use protocol::round::{ContributionKey, Kind, Phase, Reason};
use protocol::task::Support;
use protocol::wire::messages::TransferAnswer;

use super::bench::*;
use crate::round::*;

fn by(support: Support) -> RoundPolicy {
    RoundPolicy {
        support,
        // The bench's computations make sets of fifty points.
        points_max: 60,
        ..policy()
    }
}

fn refused(reason: Reason) -> TransferAnswer {
    TransferAnswer::Refused(reason)
}

/// After a first round, with the second one open.
fn in_second_round(policy: RoundPolicy) -> Bench {
    let mut bench = Bench::in_round(policy, &[1, 2, 3]);
    bench.run();
    assert_eq!(bench.start(), Ok(RoundId(2)));
    bench
}

#[test]
fn a_later_round_moves_the_points_and_asks_anew_what_stands_on_them() {
    let mut bench = in_second_round(by(Support::Gradient));
    let (first, teacher) = (bench.state().transfer.unwrap(), bench.state().teacher);
    assert_eq!(bench.phase(), Some(Phase::Summarise));
    let (_, call) = bench.calls.last().unwrap().clone();
    assert_eq!(call.context.transfer, Some(first.blob));
    assert_eq!(call.context.teacher, teacher);
    bench.run_to(Phase::Contribute);
    let state = bench.state();
    assert_ne!(state.transfer.unwrap().blob, first.blob);
    assert_eq!(state.refined_from, Some((first.blob, teacher.unwrap())));
    assert_eq!(state.teacher, None, "it stood on the points of before");
    assert!(state.standing.is_empty());
    bench.run();
    let ended = &bench.state().history[1];
    assert!(matches!(ended.outcome, Outcome::Completed { .. }));
    assert_eq!(ended.accepted[&Kind::Gradient], 3);
    assert!(!ended.accepted.contains_key(&Kind::Summary));
    assert!(bench.state().strikes.is_empty());
    // And the next one says from where, for its momentum.
    let before = bench.state().refined_from;
    bench.start().unwrap();
    while bench.answer_call() {}
    let job = bench.job.as_ref().map(|job| &job.kind);
    assert!(
        matches!(job, Some(JobKind::Refine { before: said, gradients, .. })
            if *said == before && gradients.len() == 3),
        "{job:?}"
    );
}

#[test]
fn points_come_first_and_moves_once_there_is_no_room_for_more() {
    let more = in_second_round(by(Support::Auto));
    assert_eq!(more.engine.wanted(Phase::Summarise), [Kind::Summary]);
    let full = RoundPolicy {
        points_max: 50,
        ..by(Support::Auto)
    };
    let mut full = in_second_round(full);
    assert_eq!(full.phase(), Some(Phase::Summarise));
    assert_eq!(full.engine.wanted(Phase::Summarise), [Kind::Gradient]);
    let summary = full.key(Kind::Summary);
    assert_eq!(
        full.offer(1, summary, "points"),
        refused(Reason::PhaseClosed)
    );
    assert_eq!(full.give_kind(1, Kind::Gradient), TransferAnswer::Accepted);
}

#[test]
fn a_gradient_counts_only_where_it_was_asked_for_and_on_the_set_it_holds_at() {
    let mut bench = in_second_round(by(Support::Gradient));
    let mut key = bench.key(Kind::Gradient);
    key.transfer = Some(blob("another set"));
    assert_eq!(
        bench.offer(1, key, "gradient"),
        refused(Reason::StaleSupport)
    );
    bench.run_to(Phase::Contribute);
    let late = ContributionKey {
        transfer: bench.state().refined_from.map(|(transfer, _)| transfer),
        ..bench.key(Kind::Gradient)
    };
    assert_eq!(bench.offer(1, late, "late"), refused(Reason::StaleSupport));
    assert!(
        bench.state().strikes.is_empty(),
        "an honest device may be late"
    );

    let mut clusters = in_second_round(RoundPolicy {
        points_max: 60,
        ..policy()
    });
    let key = clusters.key(Kind::Gradient);
    assert_eq!(
        clusters.offer(1, key, "gradient"),
        refused(Reason::WrongKind)
    );
}

#[test]
fn without_a_single_gradient_the_points_stay_and_the_round_goes_on() {
    let mut bench = in_second_round(by(Support::Gradient));
    let before = bench.state().transfer;
    for number in 1..=3 {
        bench.abstain(number);
    }
    bench.calls.clear();
    bench.tick(1_000);
    assert_eq!(bench.phase(), Some(Phase::Contribute));
    assert_eq!(bench.state().transfer, before);
    assert!(bench.state().teacher.is_some());
}

#[test]
fn a_round_that_failed_after_the_move_solves_before_the_next_move() {
    let mut bench = in_second_round(by(Support::Gradient));
    bench.run_to(Phase::Contribute);
    bench.input(Input::CancelRound);
    bench.calls.clear();
    assert_eq!(bench.start(), Ok(RoundId(3)));
    assert_eq!(
        bench.phase(),
        Some(Phase::Contribute),
        "no points are added"
    );
    let log = bench.log.clone();
    let restarted = Bench::restarted(by(Support::Gradient), log, Time(99_000));
    assert_eq!(restarted.state().teacher, None);
    assert_eq!(restarted.state().refined_from, bench.state().refined_from);
}
