use super::*;
use common::round::Phase;

use crate::status::fixtures::{absence, ended, missed, release, rolling, task};

#[test]
fn an_ended_round_names_who_was_missing() {
    let (silent, asleep) = (AbsenceReason::Silent, AbsenceReason::NotAsked);
    let ended = ended(
        vec![
            absence(1, "pump-1", &[Phase::Contribute, Phase::Report], silent),
            absence(2, "pump-2", &[Phase::Report], silent),
            absence(3, "pump-3", &[Phase::Contribute], asleep),
        ],
        vec![
            missed(Phase::Contribute, silent, 1),
            missed(Phase::Contribute, asleep, 500),
            missed(Phase::Report, silent, 2),
        ],
    );
    let lines = missing(&ended, 1);
    assert_eq!(
        lines,
        [
            "missing  pump-1: connected, no answer; contribute, report",
            "missing  2 devices in all",
            "without  at least 500 devices away, and not waited for: pump-3 …",
        ]
    );
}

#[test]
fn open_rollouts_are_listed_with_commands() {
    let held = vec![release(1, 1, false), release(2, 2, true)];
    let told = |releases, rollout| super::rolling(&task(releases, rollout), " --state ./s");
    let begin = told(held.clone(), None).unwrap_or_default();
    assert!(
        begin.ends_with("alambic-coordinator rollout start 1.2 --state ./s"),
        "{begin}"
    );
    let halted = || rollout::Standing::Halted { worse: 1, of: 1 };
    let running = rolling(2, rollout::Standing::Running);
    let running = told(held.clone(), Some(running)).unwrap_or_default();
    assert!(running.contains("rolling out, stage 1 of 4"), "{running}");
    let over = told(held.clone(), Some(rolling(2, halted()))).unwrap_or_default();
    assert!(over.contains("HALTED"), "{over}");
    let back = [held, vec![release(3, 1, false)]].concat();
    assert_eq!(told(back, Some(rolling(2, halted()))), None);
}

#[test]
fn a_state_that_is_not_known_is_not_called_empty() {
    let mut status = crate::status::fixtures::status();
    let said = |status: &Status| {
        let lines = head(status).into_iter();
        let lines = lines.chain(nothing(status).map(str::to_owned));
        lines.collect::<Vec<_>>().join("\n")
    };
    let empty = said(&status);
    assert!(empty.contains("0 of 0 devices connected") && empty.contains("no task yet"));
    (status.storage_ok, status.state_known) = (false, false);
    let unknown = said(&status);
    assert!(unknown.contains("STORAGE FAILS") && unknown.contains("nothing is lost"));
    for wrong in ["0 of 0", "no task yet"] {
        assert!(!unknown.contains(wrong), "{unknown}");
    }
    // A disk that fills takes nothing away from what is shown.
    status.state_known = true;
    assert!(said(&status).contains("0 of 0 devices connected"));
}

#[test]
fn devices_ahead_of_the_log_are_told_of() {
    let newest = release(9, 1, false).version;
    let line = of_ahead(Ahead { devices: 2, newest }, " --state ./s");
    assert!(line.starts_with("2 devices run a newer student"), "{line}");
    assert!(line.ends_with("round start --state ./s"), "{line}");
    let one = of_ahead(Ahead { devices: 1, newest }, "");
    assert!(one.starts_with("1 device runs"), "{one}");
}
