//! A coordinator that starts again goes on where its log ends.

use std::collections::BTreeMap;

use protocol::ids::{Time, Version};
use protocol::round::{Kind, Phase};
use protocol::wire::messages::TransferAnswer;

use super::bench::*;
use crate::round::*;

#[test]
fn a_restart_after_any_event_gives_the_same_student() {
    let mut whole = Bench::in_round(policy(), &[1, 2, 3]);
    whole.run();
    let release = whole.state().release.clone().unwrap();
    for length in 2..=whole.log.len() {
        let prefix = whole.log[..length].to_vec();
        let mut bench = Bench::restarted(policy(), prefix, Time(100_000));
        bench.connect(&[1, 2, 3]);
        for (number, key, content_blob) in bench.accepted() {
            let text = content(number, &key);
            assert_eq!(blob(&text), content_blob);
            let answer = bench.offer(number, key, &text);
            assert_eq!(
                answer,
                TransferAnswer::Accepted,
                "{key} after {length} events"
            );
        }
        bench.run();
        let after = bench.state().release.clone().unwrap();
        assert_eq!(
            (after.blob, after.lineage),
            (release.blob, release.lineage.clone())
        );
        assert_eq!(after.version, release.version);
        assert!(
            matches!(bench.outcome(), Some(Outcome::Completed { .. })),
            "{length}"
        );
        let mut counts = BTreeMap::<_, u32>::new();
        for (number, key, _) in bench.accepted() {
            *counts.entry((number, key)).or_default() += 1;
        }
        assert_eq!(counts.len(), 15, "after {length} events");
        assert!(counts.values().all(|&count| count == 1));
    }
}

#[test]
fn a_deadline_counts_from_the_restart() {
    let bench = Bench::in_round(policy(), &[1, 2]);
    let mut again = Bench::restarted(policy(), bench.log, Time(500_000));
    assert_eq!(again.engine.poll_timeout(), Some(Time(510_000)));
    again.tick(9_999);
    assert!(again.state().round.is_some());
    again.tick(1);
    assert!(matches!(
        again.outcome(),
        Some(Outcome::QuorumNotMet { .. })
    ));
}

#[test]
fn grace_counts_from_the_restart_too() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    bench.give_kind(1, Kind::Profile);
    bench.give_kind(2, Kind::Profile);
    let again = Bench::restarted(policy(), bench.log, Time(500_000));
    assert_eq!(again.engine.poll_timeout(), Some(Time(501_000)));
}

#[test]
fn the_first_device_back_does_not_decide_alone() {
    let mut policy = policy();
    policy.devices_min = 1;
    let mut bench = Bench::in_round(policy.clone(), &[1, 2, 3, 4]);
    for number in 1..=4 {
        bench.give_kind(number, Kind::Profile);
    }
    let mut again = Bench::restarted(policy, bench.log, Time(500_000));
    assert!(again.compute());
    again.connect(&[1]);
    again.give_kind(1, Kind::Summary);
    assert_eq!(again.phase(), Some(Phase::Summarise));
    assert_eq!(again.state().open().unwrap().participants.len(), 4);
    again.connect(&[2, 3, 4]);
    again.run();
    assert_eq!(again.state().history[0].accepted[&Kind::Summary], 4);
}

#[test]
fn one_that_does_not_come_back_fails_no_quorum() {
    let mut everyone = policy();
    everyone.quorum = 1.0;
    let mut bench = Bench::in_round(everyone.clone(), &[1, 2, 3, 4]);
    for number in 1..=4 {
        bench.give_kind(number, Kind::Profile);
    }
    let mut again = Bench::restarted(everyone, bench.log, Time(500_000));
    assert!(again.compute());
    again.connect(&[1, 2, 3]);
    for number in 1..=3 {
        again.give_kind(number, Kind::Summary);
    }
    again.tick(9_999);
    assert!(again.job.is_none(), "it is waited for to the deadline");
    again.tick(1);
    assert!(again.job.is_some(), "{:?}", again.outcome());
    let missed = again.state().open().unwrap().missed.named.clone();
    assert_eq!(missed, [(device(4), AbsenceReason::Away)]);
}

#[test]
fn a_quorum_of_those_who_came_back_is_still_needed() {
    let mut everyone = policy();
    everyone.quorum = 1.0;
    let mut bench = Bench::in_round(everyone.clone(), &[1, 2, 3, 4]);
    for number in 1..=4 {
        bench.give_kind(number, Kind::Profile);
    }
    let mut again = Bench::restarted(everyone, bench.log, Time(500_000));
    assert!(again.compute());
    again.connect(&[1, 2, 3]);
    again.give_kind(1, Kind::Summary);
    again.give_kind(2, Kind::Summary);
    again.tick(10_000);
    let (phase, got, needed) = (Phase::Summarise, 2, 3);
    assert_eq!(
        again.outcome(),
        Some(&Outcome::QuorumNotMet { phase, got, needed })
    );
}

#[test]
fn a_revoked_device_is_not_awaited_after_a_restart() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    for number in 1..=3 {
        bench.give_kind(number, Kind::Profile);
    }
    bench.input(Input::Dismissed { device: device(3) });
    let state = fold(&bench.log);
    let mut engine = Engine::new(TASK, policy(), 2, state);
    engine.handle(bench.now, Input::Members(vec![device(1), device(2)]));
    engine.handle(bench.now, Input::Started);
    let output = JobOutput::Product(Product::Normaliser(blob("normaliser")));
    let result = Ok(output);
    engine.handle(bench.now, Input::Computed { result });
    let open = engine.state().open().unwrap();
    assert_eq!(open.phase, Phase::Summarise);
    let awaited: Vec<_> = open.participants.iter().copied().collect();
    assert_eq!(awaited, [device(1), device(2)]);
}

#[test]
fn a_restart_between_rounds_appends_nothing() {
    let mut bench = Bench::in_round(policy(), &[1, 2]);
    bench.run();
    let length = bench.log.len();
    let again = Bench::restarted(policy(), bench.log, Time(500_000));
    assert_eq!(again.log.len(), length);
}

#[test]
fn devices_are_told_of_a_release_they_do_not_run() {
    let mut bench = Bench::in_round(policy(), &[1, 2]);
    bench.run();
    let version = bench.state().release.as_ref().unwrap().version;
    let mut again = Bench::restarted(policy(), bench.log, Time(500_000));
    again.input(Input::Connected {
        device: device(1),
        installed: Some(version),
    });
    assert!(again.sent.is_empty());
    again.connect(&[2]);
    assert_eq!(again.sent.len(), 1);
}

#[test]
fn a_restored_state_releases_above_installed_versions() {
    let mut bench = Bench::in_round(policy(), &[1, 2]);
    bench.run();
    let known = bench.state().release.as_ref().unwrap().version;
    let mut again = Bench::restarted(policy(), bench.log, Time(500_000));
    let lost = Version {
        epoch: known.epoch + 4,
        number: 7,
    };
    let liar = Version {
        epoch: u32::MAX,
        number: 1,
    };
    for (number, version) in [(1, lost), (2, liar)] {
        again.input(Input::Connected {
            device: device(number),
            installed: Some(version),
        });
    }
    again.start().unwrap();
    again.run();
    let released = again.state().release.as_ref().unwrap().version;
    assert_eq!((released.epoch, released.number), (lost.epoch + 1, 1));
}

#[test]
fn a_device_dismissed_in_mid_round_is_not_awaited() {
    let mut everyone = policy();
    everyone.quorum = 1.0;
    let mut bench = Bench::in_phase(everyone, &[1, 2, 3], Phase::Contribute);
    for number in [1, 2] {
        bench.give_kind(number, Kind::Labels);
        bench.give_kind(number, Kind::Moments);
    }
    assert_eq!(bench.phase(), Some(Phase::Contribute));
    bench.input(Input::Dismissed { device: device(3) });
    assert_eq!(bench.phase(), Some(Phase::Solve));
}

#[test]
fn a_forgotten_device_leaves_all_later_results() {
    let mut bench = Bench::in_round(policy(), &[1, 2, 3]);
    bench.run();
    let before = bench.state().clone();
    bench.input(Input::Dismissed { device: device(3) });
    bench.input(Input::Forgotten { device: device(3) });
    let state = bench.state();
    assert!(!state.forgotten[&device(3)], "partial");
    assert!(!state.newest.keys().any(|(of, _)| *of == device(3)));
    assert_eq!((state.normaliser, state.teacher), (None, None));
    bench.start().unwrap();
    assert_eq!(
        bench.phase(),
        Some(Phase::Profile),
        "the others are asked again"
    );
    bench.run();
    let state = bench.state();
    assert!(state.forgotten[&device(3)], "complete");
    let release = state.release.as_ref().unwrap();
    assert_eq!(release.lineage, [device(1), device(2)]);
    assert_ne!(state.normaliser, before.normaliser);
    // It is not so a second time, nor for a device that never came.
    let length = bench.log.len();
    bench.input(Input::Forgotten { device: device(9) });
    assert_eq!(bench.log.len(), length);
}

#[test]
fn nothing_is_forgotten_while_a_round_is_open() {
    let mut bench = Bench::in_phase(policy(), &[1, 2, 3], Phase::Contribute);
    let length = bench.log.len();
    bench.input(Input::Forgotten { device: device(3) });
    assert_eq!(bench.log.len(), length);
}
