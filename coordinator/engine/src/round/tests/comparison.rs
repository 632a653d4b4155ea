//! Releases that devices find worse than what they had before.

use protocol::ids::{DeviceId, Version};
use protocol::round::Phase;
use protocol::wire::messages::ToDevice;

use super::bench::*;
use crate::rollout::Releases;
use crate::round::*;

fn version(number: u64) -> Version {
    Version { epoch: 1, number }
}

/// Two rounds, the second with what this comparison finds.
fn after_two(policy: RoundPolicy, comparison: Comparison) -> Bench {
    let mut bench = Bench::in_round(policy, &[1, 2, 3]);
    bench.run();
    bench.comparison = comparison;
    bench.start().unwrap();
    bench.run();
    bench
}

fn offered(bench: &Bench) -> Vec<Version> {
    let releases = bench.sent.iter().filter_map(|(_, message)| match message {
        ToDevice::Released(announced) => Some(announced.version),
        _ => None,
    });
    releases.collect()
}

fn compared(bench: &Bench) -> usize {
    let is_one = |event: &&Event| matches!(event, Event::Compared { .. });
    bench.log.iter().filter(is_one).count()
}

#[test]
fn the_first_release_is_compared_with_nothing() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    bench.run();
    assert_eq!(compared(&bench), 0);
    assert_eq!(bench.state().compared, None);
}

#[test]
fn a_release_that_is_no_worse_stays() {
    for comparison in [Comparison::Better, Comparison::NoBetter] {
        let bench = after_two(policy(), comparison);
        assert_eq!(compared(&bench), 1);
        let state = bench.state();
        assert_eq!(state.compared, Some((version(2), comparison)));
        assert_eq!(state.releases.len(), 2);
        let completed = Outcome::Completed {
            version: version(2),
        };
        assert_eq!(bench.outcome(), Some(&completed));
    }
}

#[test]
fn the_one_before_a_worse_release_is_released_again() {
    let mut bench = after_two(policy(), Comparison::Worse);
    let state = bench.state();
    let [first, _, third] = &state.releases[..] else {
        panic!("{:?}", state.releases);
    };
    assert_eq!(third.version, version(3));
    assert_eq!((third.round, &third.lineage), (first.round, &first.lineage));
    assert_eq!(state.baseline().unwrap().version, version(3));
    let completed = Outcome::Completed {
        version: version(3),
    };
    assert_eq!(bench.outcome(), Some(&completed));
    let of = |wanted| offered(&bench).iter().filter(|one| **one == wanted).count();
    assert_eq!(of(version(3)), 3);
    // The next round's student stands above it.
    bench.comparison = Comparison::Better;
    bench.start().unwrap();
    bench.run();
    assert_eq!(bench.state().release.as_ref().unwrap().version, version(4));
}

#[test]
fn nothing_is_compared_without_reports() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    bench.run();
    bench.start().unwrap();
    bench.run_to(Phase::Report);
    for number in 1..=3 {
        bench.abstain(number);
    }
    bench.run();
    assert_eq!(compared(&bench), 0);
    assert_eq!(bench.state().releases.len(), 2);
}

#[test]
fn a_release_that_waits_for_its_operator_is_left_to_them() {
    let held = RoundPolicy {
        releases: Releases::Held,
        ..policy()
    };
    let bench = after_two(held, Comparison::Worse);
    assert_eq!(compared(&bench), 1);
    assert_eq!(bench.state().releases.len(), 2);
}

#[test]
fn nothing_of_a_forgotten_device_is_released_again() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    bench.run();
    bench.input(Input::Forgotten { device: device(2) });
    bench.disconnect(2);
    bench.comparison = Comparison::Worse;
    bench.start().unwrap();
    bench.run();
    let state = bench.state();
    assert_eq!(state.compared, Some((version(2), Comparison::Worse)));
    assert_eq!(state.releases.len(), 2);
    assert!(!state.releases[1].lineage.contains(&device(2)));
}

#[test]
fn a_restart_compares_and_signs_again_as_it_would_have() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    bench.run();
    bench.start().unwrap();
    bench.run_to(Phase::Report);
    while bench.answer_call() {}
    let comparing = bench.job.clone();
    let is_compare = |job: &Option<Job>| matches!(job, Some(job) if matches!(&job.kind, JobKind::Compare { reports, .. } if reports.len() == 3));
    assert!(is_compare(&comparing), "{comparing:?}");
    let mut again = Bench::restarted(policy(), bench.log.clone(), bench.now);
    assert_eq!(again.job, comparing);
    again.comparison = Comparison::Worse;
    assert!(again.compute());
    let signing = again.job.clone();
    let is_signed = |job: &Option<Job>| matches!(job, Some(job) if matches!(job.kind, JobKind::SignAgain { from, version: to, .. } if (from, to) == (version(1), version(3))));
    assert!(is_signed(&signing), "{signing:?}");
    let mut again = Bench::restarted(policy(), again.log.clone(), again.now);
    assert_eq!(again.job, signing);
    again.run();
    assert_eq!(again.state().release.as_ref().unwrap().version, version(3));
}

#[test]
fn an_order_of_an_operator_goes_before_a_comparison() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    bench.run();
    bench.start().unwrap();
    bench.run_to(Phase::Report);
    while bench.answer_call() {}
    let late = bench.job.clone();
    assert!(late.is_some());
    bench.input(Input::ReReleased(ReRelease {
        from: version(1),
        version: version(3),
        blob: blob("again"),
        bytes: 7,
        held: false,
    }));
    bench.comparison = Comparison::Worse;
    bench.run();
    let newest = bench.state().release.as_ref().unwrap();
    assert_eq!((newest.version, newest.blob), (version(3), blob("again")));
    assert_eq!(bench.state().releases.len(), 3);
    assert!(bench.state().round.is_none());
}

#[test]
fn a_step_that_makes_no_better_student_is_taken_back() {
    let refining = RoundPolicy {
        refinement_steps: 5,
        ..policy()
    };
    for (comparison, versions, refined) in [
        (Comparison::Better, 6, 5),
        // The step is taken back.
        (Comparison::NoBetter, 3, 1),
        (Comparison::Worse, 3, 1),
    ] {
        let mut bench = Bench::in_round(refining.clone(), &[1, 2, 3]);
        bench.comparison = comparison;
        loop {
            bench.run();
            match bench.engine.poll_timeout() {
                Some(at) if at <= bench.now => bench.tick(0),
                _ => break,
            }
        }
        let state = bench.state();
        assert_eq!(state.release.as_ref().unwrap().version, version(versions));
        assert_eq!(state.refined(), refined);
        let ends: Vec<DeviceId> = state.release.as_ref().unwrap().lineage.clone();
        assert_eq!(ends, [device(1), device(2), device(3)]);
    }
}
