//! Simulated fleets under a seeded network and seeded faults. One seed again:
//! `ALAMBIC_SEED=123 cargo test --release -p tests --test survive`; more of
//! them: `ALAMBIC_SEEDS=100000`.
#![allow(clippy::unwrap_used)]

use lab::survive::{Planted, Run, Survived, run};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap())
}

#[test]
fn every_seed_keeps_the_promises() {
    if let Some(seed) = number("ALAMBIC_SEED") {
        let survived = run(seed, None).unwrap_or_else(|broken| panic!("{broken}"));
        println!("{survived:#?}");
        return;
    }
    let seeds = number("ALAMBIC_SEEDS").unwrap_or(500);
    let mut total = Survived::default();
    for seed in 0..seeds {
        let survived = run(seed, None).unwrap_or_else(|broken| panic!("{broken}"));
        total = total.plus(survived);
    }
    println!("{total:#?}");
    // Nothing that a seed can have in store may have been left out by all.
    for happened in [
        total.completed / seeds,
        total.coordinator_crashes,
        total.device_crashes,
        total.outages,
        total.partitions,
        total.clock_jumps,
        total.duplicates,
        total.resent,
        total.snapshots,
        total.trimmed,
        total.swept,
        total.cut,
        total.damaged,
        total.rolled_out,
        total.halted,
        total.rolled_back,
        total.further_tasks,
        total.revoked,
    ] {
        assert!(happened > 0, "{total:?}");
    }
}

/// One seed of coordinators that take turns.
fn shared(seed: u64, planted: Option<Planted>) -> Run {
    Run {
        seed,
        shared: true,
        planted,
    }
}

#[test]
fn coordinators_that_take_turns_keep_the_promises() {
    let seeds = number("ALAMBIC_SEEDS").unwrap_or(500);
    let begun = std::time::Instant::now();
    let mut total = Survived::default();
    for seed in 0..seeds {
        let survived = shared(seed, None).survive();
        total = total.plus(survived.unwrap_or_else(|broken| panic!("{broken}")));
    }
    println!("{seeds} seeds in {:?}: {total:#?}", begun.elapsed());
    for happened in [
        total.completed / seeds,
        total.turns / seeds,
        total.pauses,
        total.fenced,
        total.clock_jumps,
        total.coordinator_crashes,
        total.outages,
        total.snapshots,
        total.rolled_out,
    ] {
        assert!(happened > 0, "{total:?}");
    }
}

#[test]
fn a_lease_without_a_fence_is_found() {
    let planted = Some(Planted::UnfencedLease);
    let broken = (0..200).filter_map(|seed| shared(seed, planted).survive().err());
    let found: Vec<_> = broken.collect();
    let two = "landed after another had begun to lead";
    let first = found.iter().find(|one| one.violation.contains(two));
    let said = first.unwrap_or_else(|| panic!("{found:?}")).to_string();
    assert!(said.contains("--shared"), "{said}");
    println!("{} of 200 seeds find it", found.len());
}

/// Seeds that showed a fault of the programs once.
#[test]
fn what_once_broke_a_promise_does_so_no_more() {
    // What devices said of a release while the store was out of order was
    // forgotten, and its rollout waited for it for ever.
    run(179, None).unwrap_or_else(|broken| panic!("{broken}"));
    // A stage of a rollout that began before the clock was set back waited
    // for the clock to catch up.
    run(267, None).unwrap_or_else(|broken| panic!("{broken}"));
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 0..20 {
        assert_eq!(run(seed, None), run(seed, None));
        let together = || shared(seed, None).survive();
        assert_eq!(together(), together());
    }
}

/// The first violation of each of the first seeds.
fn found(planted: Planted) -> Vec<String> {
    let broken = (0..200).filter_map(|seed| run(seed, Some(planted)).err());
    broken.map(|broken| broken.violation).collect()
}

#[test]
fn an_acknowledgement_before_the_flush_is_found() {
    let found = found(Planted::AcknowledgeBeforeFlush);
    assert!(
        found.iter().any(|what| what.contains("was durable")),
        "{found:?}"
    );
}

#[test]
fn a_resend_that_is_counted_twice_is_found() {
    let found = found(Planted::CountResendTwice);
    assert!(!found.is_empty());
    assert!(
        found.iter().all(|what| what.contains("the moments sum to")),
        "{found:?}"
    );
}

#[test]
fn a_forgotten_timeout_is_found() {
    let found = found(Planted::ForgetTimeout);
    assert!(
        found
            .iter()
            .any(|what| what.contains("contribute has been open")),
        "{found:?}"
    );
}

#[test]
fn a_blob_deleted_on_its_way_into_the_log_is_found() {
    let found = found(Planted::SweepInFlight);
    assert!(
        found
            .iter()
            .any(|what| what.contains("not kept") || what.contains("needed and gone")),
        "{found:?}"
    );
}

#[test]
fn records_trimmed_before_their_snapshot_are_found() {
    let found = found(Planted::TrimTooFar);
    assert!(
        found.iter().any(|what| what.contains("does not fold")),
        "{found:?}"
    );
}

#[test]
fn a_broken_promise_says_how_to_see_it_again() {
    let broken = (0..200).find_map(|seed| run(seed, Some(Planted::CountResendTwice)).err());
    let broken = broken.unwrap();
    let said = broken.to_string();
    assert!(said.contains(&format!("alambic-lab survive --seed {}", broken.seed)));
    assert!(!broken.trace.is_empty());
}

#[test]
fn an_answer_of_the_core_before_the_flush_is_found() {
    let found = found(Planted::CoreAnswersAtOnce);
    assert!(
        found
            .iter()
            .any(|what| what.contains("acknowledged before it was durable")),
        "{found:?}"
    );
}

#[test]
fn a_state_of_the_core_ahead_of_the_log_is_found() {
    let found = found(Planted::CoreKeepsStateAhead);
    assert!(!found.is_empty());
}
