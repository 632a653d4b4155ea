#![allow(clippy::unwrap_used)]
use super::*;

const VERSION: Version = Version {
    epoch: 1,
    number: 7,
};

fn device(number: u16) -> DeviceId {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&number.to_le_bytes());
    DeviceId(id)
}

fn rollout(stage: usize) -> Rollout {
    Rollout {
        stage,
        ..Rollout::new(VERSION, Plan::default(), Time(1_000))
    }
}

#[test]
fn stages_hold_their_share_and_nobody_leaves_as_they_grow() {
    let mut before = BTreeSet::new();
    for (stage, share) in [(0, 0.01), (1, 0.1), (2, 0.5), (3, 1.0)] {
        let rollout = rollout(stage);
        let members: BTreeSet<_> = (0..10_000)
            .map(device)
            .filter(|device| rollout.includes(*device))
            .collect();
        let got = members.len() as f64 / 10_000.0;
        assert!((got - share).abs() < 0.015, "{got} of {share}");
        assert!(members.is_superset(&before));
        before = members;
    }
}

#[test]
fn a_stage_takes_its_share_of_the_connected_and_never_more() {
    for (percent, of, expected) in [
        (34, 4, 1),
        (34, 3, 1),
        (50, 3, 1),
        (50, 4, 2),
        (1, 8, 1),
        (10, 1_000, 100),
        (67, 3, 2),
    ] {
        let plan = Plan {
            stages: vec![percent, 100],
            ..Plan::default()
        };
        for number in 0..20 {
            let version = Version { number, ..VERSION };
            let mut rollout = Rollout::new(version, plan.clone(), Time(0));
            let connected: BTreeSet<_> = (0..of).map(device).collect();
            let (last, pilots) = rollout.settle(&connected);
            rollout.last = Some(last);
            rollout.pilots.extend(pilots);
            let part = connected
                .iter()
                .filter(|one| rollout.includes(**one))
                .count();
            assert_eq!(part, expected, "{percent} % of {of}, version {number}");
            // Settled again among the same, nothing changes.
            assert_eq!(rollout.settle(&connected), (last, Vec::new()));
        }
    }
}

#[test]
fn stages_grow_and_late_devices_join_by_draw() {
    let mut rollout = rollout(0);
    let connected: BTreeSet<_> = (0..50).map(device).collect();
    let mut before: BTreeSet<DeviceId> = BTreeSet::new();
    for (stage, expected) in [(0, 1), (1, 5), (2, 25), (3, 50)] {
        rollout.stage = stage;
        let (last, pilots) = rollout.settle(&connected);
        rollout.last = Some(last);
        rollout.pilots.extend(pilots);
        let part = connected.iter().filter(|one| rollout.includes(**one));
        let part: BTreeSet<_> = part.copied().collect();
        assert_eq!(part.len(), expected, "stage {stage}");
        assert!(part.is_superset(&before));
        before = part;
        let late = (50..10_000)
            .map(device)
            .filter(|one| rollout.includes(*one));
        let share = late.count() as f64 / 9_950.0;
        assert!(
            share <= f64::from(rollout.percent()) / 100.0 + 0.015,
            "{share}"
        );
    }
}

#[test]
fn other_devices_go_first_with_another_version() {
    let mut other = rollout(0);
    other.version.number += 1;
    let first = |rollout: &Rollout| rollout.first_of((0..1_000).map(device));
    assert_ne!(first(&rollout(0)), first(&other));
}

#[test]
fn plans_that_make_no_sense_are_refused() {
    let with = |stages: &[u8]| Plan {
        stages: stages.to_vec(),
        ..Plan::default()
    };
    assert!(Plan::default().check().is_ok());
    assert!(with(&[100]).check().is_ok());
    for stages in [&[][..], &[0, 100], &[10, 10, 100], &[50, 10, 100], &[1, 10]] {
        assert_eq!(with(stages).check(), Err(PlanError::Stages), "{stages:?}");
    }
    let worse = Plan {
        worse_permille_max: 1_001,
        ..Plan::default()
    };
    assert_eq!(worse.check(), Err(PlanError::Worse));
}

fn tally(soaking: u32, kept: u32, worse: u32, silent: u32) -> Tally {
    Tally {
        devices: soaking + kept + worse + silent,
        soaking,
        kept,
        worse,
        silent,
        untested: 0,
    }
}

#[test]
fn the_halting_threshold_grows_with_the_stage() {
    let rollout = rollout(0);
    let halt = |worse, of| Step::Halt { worse, of };
    assert_eq!(rollout.judge(tally(3, 0, 1, 0), Time(1_001)), halt(1, 4));
    assert_eq!(
        rollout.judge(tally(0, 98, 2, 0), Time(1_001)).is_halt(),
        None
    );
    assert_eq!(rollout.judge(tally(0, 97, 3, 0), Time(1_001)), halt(3, 100));
}

impl Step {
    fn is_halt(self) -> Option<u32> {
        match self {
            Self::Halt { worse, .. } => Some(worse),
            _ => None,
        }
    }
}

#[test]
fn a_stage_ends_after_its_soak_once_all_have_spoken() {
    let rollout = rollout(0);
    let soak = rollout.plan.soak_ms;
    let at = |ms: u64| Time(1_000 + ms);
    assert_eq!(
        rollout.judge(tally(0, 5, 0, 0), at(1)),
        Step::Wait(Some(at(soak)))
    );
    assert_eq!(rollout.judge(tally(0, 5, 0, 0), at(soak)), Step::Advance);
    let late = 2 * soak + LATE_MS;
    assert_eq!(
        rollout.judge(tally(1, 4, 0, 0), at(soak)),
        Step::Wait(Some(at(late)))
    );
    assert_eq!(rollout.judge(tally(1, 4, 0, 0), at(late)), Step::Advance);
    // Nobody has tried it: however long it takes, that is no success.
    assert_eq!(
        rollout.judge(tally(5, 0, 0, 5), at(10 * late)),
        Step::Wait(None)
    );
}

#[test]
fn a_fifth_of_the_devices_has_no_say_over_all_others() {
    let is_unwanted = |kept, worse| tally(0, kept, worse, 0).is_unwanted();
    assert!(!is_unwanted(0, 1) && !is_unwanted(16, 4));
    assert!(is_unwanted(15, 4) && is_unwanted(0, 2));
}

#[test]
fn a_paused_rollout_is_still_halted_but_goes_no_further() {
    let paused = Rollout {
        standing: Standing::Paused,
        ..rollout(0)
    };
    let soak = paused.plan.soak_ms;
    let later = Time(1_000 + 10 * soak);
    assert_eq!(paused.judge(tally(0, 5, 0, 0), later), Step::Wait(None));
    assert_eq!(
        paused.judge(tally(0, 5, 1, 0), later),
        Step::Halt { worse: 1, of: 6 }
    );
}
