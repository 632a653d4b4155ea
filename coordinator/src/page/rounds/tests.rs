use super::*;

use crate::status::fixtures::{absence, ended, missed};

#[test]
fn missing_devices_are_shown_with_escaped_names() {
    let (silent, asleep) = (AbsenceReason::Silent, AbsenceReason::NotAsked);
    let phases = [Phase::Contribute, Phase::Report];
    let mut ended = ended(
        vec![
            absence(1, "<pump-1>", &phases, silent),
            absence(2, "<pump-2>", &phases, asleep),
            absence(1, "<pump-1>", &phases, asleep),
        ],
        vec![
            missed(Phase::Contribute, silent, 1),
            missed(Phase::Contribute, asleep, 2),
            missed(Phase::Report, silent, 1),
            missed(Phase::Report, asleep, 2),
        ],
    );
    let shown = |ended: &EndedStatus| went_without(ended).into_string();
    let few = shown(&ended);
    for part in [
        "1\u{a0}device</span> missing, and why",
        "&lt;pump-1&gt;",
        "<td>contribute, report</td><td>connected, no answer</td>",
        "1\u{a0}device</span> away, and not waited for",
        "<li>&lt;pump-2&gt;</li>",
    ] {
        assert!(few.contains(part), "{part} is not in\n{few}");
    }
    assert_eq!(few.matches("&lt;pump-1&gt;").count(), 1, "{few}");
    assert!(!few.contains("Not all are named") && !few.contains("and more"));
    ended.missed[0].devices = 400;
    let many = shown(&ended);
    assert!(many.contains("at least\u{a0}400\u{a0}devices"), "{many}");
    assert!(
        many.contains("Not all are named. In all: contribute 400"),
        "{many}"
    );
    ended.absent.clear();
    ended.missed.clear();
    assert_eq!(shown(&ended), "");
}
