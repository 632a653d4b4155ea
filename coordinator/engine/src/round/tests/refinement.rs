//! Rounds that refine a student.

use protocol::evaluation::Evaluation;
use protocol::ids::{DeviceId, RoundId, Version};
use protocol::round::{Kind, Phase, Reason};
use protocol::wire::messages::TransferAnswer;

use super::bench::*;
use crate::round::*;

fn refining(steps: u32) -> RoundPolicy {
    RoundPolicy {
        refinement_steps: steps,
        ..policy()
    }
}

/// Answers, and wakes the engine when it wants to be woken, until nothing is left.
fn run(bench: &mut Bench) {
    loop {
        bench.run();
        match bench.engine.poll_timeout() {
            Some(at) if at <= bench.now => bench.tick(0),
            _ => return,
        }
    }
}

fn version(number: u64) -> Version {
    Version { epoch: 1, number }
}

fn phases(ended: &Ended) -> Vec<Phase> {
    ended.spans.iter().map(|span| span.phase).collect()
}

#[test]
fn a_round_is_followed_by_as_many_that_refine_its_student() {
    let mut bench = Bench::in_round(refining(2), &[1, 2, 3]);
    run(&mut bench);
    let state = bench.state();
    assert_eq!(state.history.len(), 3);
    assert_eq!(phases(&state.history[0]), Phase::ALL);
    for ended in &state.history[1..] {
        assert_eq!(
            phases(ended),
            [Phase::Distil, Phase::Release, Phase::Report]
        );
        assert_eq!(ended.accepted[&Kind::Gradient], 3);
    }
    let release = state.release.as_ref().unwrap();
    assert_eq!((release.version, state.refined()), (version(3), 2));
    assert_eq!(release.lineage, [device(1), device(2), device(3)]);
    assert_eq!(bench.engine.poll_timeout(), None);
    // The next round is one like the first.
    assert_eq!(bench.start(), Ok(RoundId(4)));
    assert_eq!(bench.phase(), Some(Phase::Contribute));
}

#[test]
fn a_refining_job_names_the_student_and_its_gradients() {
    let mut bench = Bench::in_phase(refining(1), &[1, 2, 3], Phase::Report);
    bench.run();
    let first = bench.state().release.clone().unwrap();
    bench.tick(0);
    let Some(Job { kind, round }) = bench.job.clone() else {
        panic!("no job");
    };
    assert_eq!(round, RoundId(2));
    let JobKind::Refine {
        release, gradients, ..
    } = kind
    else {
        panic!("{kind:?}");
    };
    assert_eq!(release, first.blob);
    let of: Vec<DeviceId> = gradients.iter().map(|(device, _)| *device).collect();
    assert_eq!(of, [device(1), device(2), device(3)]);
    bench.compute();
    let sign = bench.job.clone().unwrap().kind;
    assert!(matches!(sign, JobKind::Sign { refined: 1, .. }), "{sign:?}");
}

#[test]
fn a_step_names_whom_it_is_of_also_after_a_rollback() {
    let mut bench = Bench::in_round(refining(1), &[1, 2]);
    run(&mut bench);
    bench.connect(&[3]);
    assert_eq!(bench.start(), Ok(RoundId(3)));
    bench.run_to(Phase::Report);
    bench.run();
    let refined = bench.state().release.clone().unwrap();
    assert_eq!(refined.lineage, [device(1), device(2), device(3)]);
    bench.tick(0);
    assert!(matches!(
        &bench.job,
        Some(Job {
            kind: JobKind::Refine { .. },
            ..
        })
    ));
    // An operator goes back to a student of the first two alone.
    let first = bench.state().releases[0].clone();
    assert_eq!(first.lineage, [device(1), device(2)]);
    bench.input(Input::ReReleased(ReRelease {
        from: first.version,
        version: bench.engine.next_version(),
        blob: first.blob,
        bytes: 7,
        held: false,
    }));
    // What is computed, or computed again after a restart, is of the refined one.
    let Some(JobKind::Refine {
        release, gradients, ..
    }) = bench.engine.refine()
    else {
        panic!("no job");
    };
    assert_eq!((release, gradients.len()), (refined.blob, 3));
    while bench.phase() != Some(Phase::Report) {
        bench.compute();
    }
    let released = bench.state().release.clone().unwrap();
    assert_eq!(released.lineage, refined.lineage);
}

#[test]
fn a_task_that_does_not_refine_takes_no_gradient() {
    let mut bench = Bench::in_phase(policy(), &[1, 2], Phase::Report);
    let answer = bench.give_kind(1, Kind::Gradient);
    assert_eq!(answer, TransferAnswer::Refused(Reason::WrongKind));
}

#[test]
fn too_few_gradients_refine_nothing() {
    let mut bench = Bench::in_phase(refining(2), &[1, 2, 3], Phase::Report);
    for number in 1..=3 {
        bench.give_kind(number, Kind::Report);
    }
    bench.give_kind(1, Kind::Gradient);
    bench.abstain(2);
    bench.abstain(3);
    assert_eq!(
        bench.outcome(),
        Some(&Outcome::Completed {
            version: version(1)
        })
    );
    assert!(!bench.engine.refines_next());
    assert_eq!(bench.engine.poll_timeout(), None);
}

#[test]
fn a_student_that_few_rows_judge_is_not_refined() {
    for (reporting, refines) in [(1, false), (2, true)] {
        let mut bench = Bench::in_phase(refining(2), &[1, 2, 3], Phase::Report);
        for number in 1..=3 {
            if number <= reporting {
                bench.give_kind(number, Kind::Report);
            }
            bench.give_kind(number, Kind::Gradient);
        }
        // They hold out too few rows to report.
        (reporting + 1..=3).for_each(|number| bench.abstain(number));
        assert!(matches!(bench.outcome(), Some(Outcome::Completed { .. })));
        assert_eq!(bench.engine.refines_next(), refines, "{reporting} report");
    }
}

#[test]
fn a_student_that_devices_do_not_want_is_not_refined() {
    let mut bench = Bench::in_phase(refining(3), &[1, 2, 3], Phase::Report);
    for number in 1..=2 {
        bench.input(Input::Tried {
            device: device(number),
            version: version(1),
            evaluation: Evaluation::Worse,
        });
    }
    bench.run();
    assert_eq!(bench.state().history.len(), 1);
    assert!(!bench.engine.refines_next());
}

#[test]
fn nothing_of_a_forgotten_device_is_refined() {
    let mut bench = Bench::in_phase(refining(3), &[1, 2, 3], Phase::Report);
    bench.run();
    assert!(bench.engine.refines_next());
    bench.input(Input::Forgotten { device: device(2) });
    assert!(!bench.engine.refines_next());
}

#[test]
fn who_is_struck_after_a_step_is_still_named() {
    let mut bench = Bench::in_phase(refining(2), &[1, 2, 3], Phase::Report);
    bench.run();
    bench.tick(0);
    assert!(matches!(
        bench.job,
        Some(Job {
            kind: JobKind::Refine { .. },
            ..
        })
    ));
    let before = bench.state().lineage();
    assert!(before.contains(&device(2)));
    let mut state = bench.state().clone();
    for _ in 0..STRIKES_MAX {
        state.apply(&Event::Refused {
            device: device(2),
            kind: Kind::Labels,
            reason: Reason::NotFinite,
            at: bench.now,
        });
    }
    assert_eq!(
        state.gradients().len(),
        2,
        "its gradient is not used any more"
    );
    assert_eq!(
        state.lineage(),
        before,
        "but its gradient may be in the step"
    );
}

#[test]
fn a_restart_goes_on_with_the_same_job() {
    let mut bench = Bench::in_phase(refining(2), &[1, 2, 3], Phase::Report);
    bench.run();
    bench.tick(0);
    let job = bench.job.clone();
    assert!(matches!(
        job,
        Some(Job {
            kind: JobKind::Refine { .. },
            ..
        })
    ));
    let mut again = Bench::restarted(refining(2), bench.log.clone(), bench.now);
    assert_eq!(again.job, job);
    again.connect(&[1, 2, 3]);
    run(&mut again);
    assert_eq!(again.state().refined(), 2);
}
