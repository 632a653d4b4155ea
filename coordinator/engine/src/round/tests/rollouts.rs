//! Releases reach devices stage by stage, stop, and come again.

use protocol::evaluation::Evaluation;
use protocol::ids::{DeviceId, Version};
use protocol::round::Phase;
use protocol::wire::messages::{Announcement, ToDevice};

use super::bench::*;
use crate::rollout::{Order, OrderError, Plan, Releases, Standing};
use crate::round::rollouts::WORDS_MAX;
use crate::round::*;

const SOAK_MS: u64 = 1_000;
const DEVICES: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fn plan() -> Plan {
    Plan {
        stages: vec![1, 50, 100],
        worse_permille_max: 20,
        soak_ms: SOAK_MS,
    }
}

fn policy_of(releases: Releases) -> RoundPolicy {
    RoundPolicy {
        releases,
        ..policy()
    }
}

fn number(number: u64) -> Version {
    Version { epoch: 1, number }
}

/// What was announced since the last look, and to whom.
fn announced(bench: &mut Bench) -> Vec<(DeviceId, Announcement)> {
    let sent = std::mem::take(&mut bench.sent);
    let releases = sent.into_iter().filter_map(|(to, message)| match message {
        ToDevice::Released(announcement) => Some((to, announcement)),
        _ => None,
    });
    releases.collect()
}

fn try_it(bench: &mut Bench, device: DeviceId, version: Version, evaluation: Evaluation) {
    bench.input(Input::Tried {
        device,
        version,
        evaluation,
    });
}

fn standing(bench: &Bench) -> Standing {
    bench.state().rollout.as_ref().unwrap().standing.clone()
}

/// With a student that every device has, and a second one that is held.
fn with_held() -> Bench {
    let mut bench = Bench::in_round(policy_of(Releases::Held), &DEVICES);
    bench.run();
    assert!(announced(&mut bench).is_empty(), "held");
    let order = Order::Start {
        version: number(1),
        plan: Plan {
            stages: vec![100],
            ..plan()
        },
    };
    bench.input(Input::Ordered(order));
    for (device, announcement) in announced(&mut bench) {
        try_it(&mut bench, device, announcement.version, Evaluation::Kept);
    }
    bench.tick(SOAK_MS);
    assert_eq!(standing(&bench), Standing::Completed);
    bench.start().unwrap();
    bench.run();
    assert!(announced(&mut bench).is_empty(), "held");
    bench
}

fn again(from: Version, version: Version, held: bool) -> ReRelease {
    ReRelease {
        from,
        version,
        blob: blob("again"),
        bytes: 7,
        held,
    }
}

fn start(bench: &mut Bench) -> Vec<(DeviceId, Announcement)> {
    let order = Order::Start {
        version: number(2),
        plan: plan(),
    };
    assert_eq!(bench.engine.check_order(&order), Ok(()));
    bench.input(Input::Ordered(order));
    announced(bench)
}

#[test]
fn a_good_release_reaches_everyone_stage_by_stage() {
    let mut bench = with_held();
    let mut have = start(&mut bench);
    assert_eq!(have.len(), 1, "one pilot of eight");
    assert_eq!(have[0].1.version, number(2));
    assert_eq!(have[0].1.soak_ms, SOAK_MS);
    let mut told = 0;
    for stage in 1..=3 {
        for (device, _) in &have[told..] {
            try_it(&mut bench, *device, number(2), Evaluation::Soaking);
        }
        bench.tick(SOAK_MS - 1);
        assert!(announced(&mut bench).is_empty());
        for (device, _) in &have[told..] {
            try_it(&mut bench, *device, number(2), Evaluation::Kept);
        }
        told = have.len();
        bench.tick(1);
        let more = announced(&mut bench);
        assert_eq!(more.is_empty(), stage == 3, "stage {stage}: {more:?}");
        have.extend(more);
    }
    assert_eq!(have.len(), DEVICES.len(), "each was told once");
    assert_eq!(standing(&bench), Standing::Completed);
    assert_eq!(bench.state().baseline().unwrap().version, number(2));
}

#[test]
fn a_bad_release_is_halted_at_its_first_stage() {
    let mut bench = with_held();
    let pilot = start(&mut bench)[0].0;
    for evaluation in [
        Evaluation::Worse,
        Evaluation::Refused,
        Evaluation::RolledBack,
    ] {
        let mut bench = Bench::restarted(policy_of(Releases::Held), bench.log.clone(), bench.now);
        bench.connect(&[pilot.0[0]]);
        bench.connect(&DEVICES);
        try_it(&mut bench, pilot, number(2), evaluation);
        assert_eq!(standing(&bench), Standing::Halted { worse: 1, of: 1 });
        bench.sent.clear();
        // Anyone who comes now is offered what was good.
        bench.connect(&[9]);
        let offered: Vec<_> = announced(&mut bench);
        assert_eq!(offered.len(), 1);
        assert_eq!(offered[0].1.version, number(1));
        // And a restart does not forget.
        let again = Bench::restarted(policy_of(Releases::Held), bench.log.clone(), bench.now);
        assert_eq!(standing(&again), Standing::Halted { worse: 1, of: 1 });
    }
}

#[test]
fn a_paused_rollout_offers_nothing_until_resumed() {
    let mut bench = with_held();
    let pilot = start(&mut bench)[0].0;
    bench.input(Input::Ordered(Order::Pause));
    try_it(&mut bench, pilot, number(2), Evaluation::Kept);
    bench.tick(10 * SOAK_MS);
    assert!(announced(&mut bench).is_empty());
    assert_eq!(
        bench.engine.check_order(&Order::Start {
            version: number(2),
            plan: plan()
        }),
        Err(OrderError::Open(number(2)))
    );
    bench.input(Input::Ordered(Order::Resume));
    bench.tick(SOAK_MS - 1);
    assert!(announced(&mut bench).is_empty(), "a pause is no soak");
    bench.tick(1);
    assert!(!announced(&mut bench).is_empty());
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let mut bench = with_held();
    let check = |bench: &Bench, order: Order| bench.engine.check_order(&order).unwrap_err();
    let begin = |version| Order::Start {
        version,
        plan: plan(),
    };
    assert_eq!(check(&bench, Order::Pause), OrderError::None);
    assert_eq!(check(&bench, Order::Abort), OrderError::None);
    let unknown = check(&bench, begin(number(9)));
    assert_eq!(unknown, OrderError::Unknown(number(9)));
    let offered = check(&bench, begin(number(1)));
    assert_eq!(offered, OrderError::Offered(number(1)));
    start(&mut bench);
    let running = check(&bench, Order::Resume);
    assert_eq!(running, OrderError::NotPaused(number(2)));
    bench.input(Input::Ordered(Order::Abort));
    assert_eq!(standing(&bench), Standing::Aborted);
}

#[test]
fn a_rollback_releases_the_old_student_as_a_new_version() {
    let mut bench = with_held();
    let pilot = start(&mut bench)[0].0;
    try_it(&mut bench, pilot, number(2), Evaluation::Kept);
    let version = bench.engine.next_version();
    assert_eq!(version, number(3));
    bench.input(Input::ReReleased(again(number(1), version, false)));
    let offered = announced(&mut bench);
    assert_eq!(offered.len(), DEVICES.len());
    assert!(offered.iter().all(|(_, one)| one.version == number(3)));
    assert_eq!(standing(&bench), Standing::Aborted);
    let state = bench.state();
    let lineage = |version| state.released(version).unwrap().lineage.clone();
    assert_eq!(lineage(number(3)), lineage(number(1)));
    // The next round's student is above it, and held.
    bench.start().unwrap();
    bench.run();
    assert_eq!(bench.state().release.as_ref().unwrap().version, number(4));
    assert_eq!(bench.state().baseline().unwrap().version, number(3));
}

#[test]
fn a_held_student_signed_again_awaits_its_rollout() {
    let mut bench = with_held();
    start(&mut bench);
    bench.input(Input::ReReleased(again(number(2), number(3), true)));
    assert_eq!(standing(&bench), Standing::Aborted, "its key is gone");
    assert!(announced(&mut bench).is_empty(), "held");
    let state = bench.state();
    assert_eq!(state.baseline().unwrap().version, number(1));
    assert_eq!(
        state.released(number(3)).unwrap().round,
        state.released(number(2)).unwrap().round
    );
    let order = Order::Start {
        version: number(3),
        plan: plan(),
    };
    assert_eq!(bench.engine.check_order(&order), Ok(()));
    bench.input(Input::Ordered(order));
    assert_eq!(announced(&mut bench)[0].1.version, number(3));
}

#[test]
fn signing_one_student_again_keeps_anothers_rollout() {
    let mut bench = with_held();
    bench.start().unwrap();
    bench.run();
    start(&mut bench);
    bench.input(Input::ReReleased(again(number(3), number(4), true)));
    assert_eq!(standing(&bench), Standing::Running);
    assert_eq!(bench.state().rollout.as_ref().unwrap().version, number(2));
}

#[test]
fn a_rollback_during_signing_takes_its_own_version() {
    let mut bench = with_held();
    bench.start().unwrap();
    bench.run_to(Phase::Release);
    let signing = bench.job.clone().unwrap();
    let version = bench.engine.next_version();
    bench.input(Input::ReReleased(again(number(1), version, false)));
    assert_ne!(bench.job.clone().unwrap(), signing, "signed anew");
    bench.run();
    let versions: Vec<_> = bench
        .state()
        .releases
        .iter()
        .map(|one| one.version)
        .collect();
    assert_eq!(versions, [number(1), number(2), number(3), number(4)]);
}

#[test]
fn staged_releases_roll_out_one_after_the_other() {
    let mut bench = Bench::in_round(policy_of(Releases::Staged(plan())), &DEVICES);
    bench.run();
    assert_eq!(announced(&mut bench).len(), 1);
    // A second student comes while the first rolls out; it waits.
    bench.start().unwrap();
    bench.run();
    assert_eq!(bench.state().rollout.as_ref().unwrap().version, number(1));
    let pilot = *bench
        .state()
        .rollout
        .as_ref()
        .unwrap()
        .pilots
        .first()
        .unwrap();
    try_it(&mut bench, pilot, number(1), Evaluation::Worse);
    assert_eq!(bench.state().rollout.as_ref().unwrap().version, number(2));
    assert_eq!(standing(&bench), Standing::Running);
}

#[test]
fn a_word_about_what_was_never_released_counts_for_nothing() {
    let mut bench = with_held();
    let pilot = start(&mut bench)[0].0;
    try_it(&mut bench, pilot, number(77), Evaluation::Worse);
    assert_eq!(standing(&bench), Standing::Running);
    // Nor does the same word said twice fill the log.
    try_it(&mut bench, pilot, number(2), Evaluation::Kept);
    let length = bench.log.len();
    try_it(&mut bench, pilot, number(2), Evaluation::Kept);
    assert_eq!(bench.log.len(), length);
}

#[test]
fn without_stages_every_device_is_offered_at_once() {
    let mut bench = Bench::in_round(policy(), &DEVICES);
    bench.run();
    let offered = announced(&mut bench);
    assert_eq!(offered.len(), DEVICES.len());
    assert!(bench.state().held.is_empty());
}

#[test]
fn a_device_that_flips_its_report_cannot_fill_the_log() {
    let mut bench = with_held();
    let (pilot, announcement) = start(&mut bench)[0];
    let before = bench.log.len();
    for turn in 0..1_000 {
        let word = [Evaluation::Soaking, Evaluation::Refused][turn % 2];
        try_it(&mut bench, pilot, announcement.version, word);
    }
    let written = bench.log.len() - before;
    assert!(written <= WORDS_MAX as usize + 1, "{written} events");
}

#[test]
fn a_fifth_of_the_devices_halts_a_release_for_all() {
    let all = Releases::All { soak_ms: SOAK_MS };
    let mut bench = Bench::in_round(policy_of(all), &DEVICES);
    bench.run();
    let offered = announced(&mut bench);
    assert_eq!(offered.len(), DEVICES.len());
    let version = number(1);
    assert_eq!(bench.state().baseline().unwrap().version, version);
    for (device, _) in &offered[..3] {
        try_it(&mut bench, *device, version, Evaluation::Kept);
    }
    // Wrong clocks say nothing of a student.
    try_it(&mut bench, offered[3].0, version, Evaluation::Refused);
    try_it(&mut bench, offered[4].0, version, Evaluation::Worse);
    assert!(!bench.state().held.contains(&version), "one word");
    try_it(&mut bench, offered[5].0, version, Evaluation::RolledBack);
    assert!(bench.state().held.contains(&version));
    assert_eq!(bench.state().baseline(), None);
    bench.sent.clear();
    bench.connect(&[9]);
    assert!(announced(&mut bench).is_empty());
}

#[test]
fn exclusions_last_until_judged_anew() {
    let mut state = State::default();
    let device = DeviceId([4; 16]);
    let why = ExclusionReason::Contradicts {
        error: 2.0,
        usual: 0.2,
    };
    let kind = protocol::round::Kind::Moments;
    let exclusion = Exclusion { device, kind, why };
    let at = protocol::ids::Time(1);
    let excluded = Event::Excluded { exclusion, at };
    state.apply(&excluded);
    assert_eq!(state.excluded.get(&(device, kind)), Some(&why));
    state.apply(&Event::Forgotten { device, at });
    assert!(state.excluded.is_empty());
    state.apply(&excluded);
    state.apply(&Event::Relearnt { at });
    assert!(state.excluded.is_empty() && state.normaliser.is_none());
}
