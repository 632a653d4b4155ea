//! `round watch`: a task's round on the terminal, drawn again as it changes.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use console::Term;

use super::failure::Failure;
use crate::admin::{AdminError, Client};
use crate::status::format::{ago, bytes, count, name, span};
use crate::status::{Fault, FaultKind, RoundStatus, STATE_UNKNOWN, Status, Steps, TaskStatus};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// Missing devices that are named.
const MISSING_MAX: usize = 12;
/// Cells of the bar of those who are in.
const BAR: usize = 30;

/// Shows the round of a task (or the only one, or all) until Ctrl-C. Where
/// nobody looks, only what changed is printed.
pub(super) fn watch(
    mut connect: impl FnMut() -> Result<Client, AdminError>,
    task: Option<&str>,
    once: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let terminal = Term::stdout();
    let redraws = terminal.is_term() && !as_json && !once;
    let mut client = Some(connect()?);
    let (mut drawn, mut last) = (0, String::new());
    loop {
        let asked = match client.take() {
            Some(client) => Ok(client),
            None => connect(),
        };
        let asked = asked.and_then(|mut client| Ok((client.status()?, client)));
        let text = match asked {
            Ok((status, back)) => {
                client = Some(back);
                let tasks = chosen(&status, task)?;
                if as_json {
                    serde_json::to_string(&tasks).unwrap_or_default()
                } else {
                    render(&status, &tasks)
                }
            }
            Err(error) if once => return Err(error.into()),
            // It may be restarting; those who watch want to see it come back.
            Err(error) => format!("{error}\ntrying again…"),
        };
        if redraws {
            // Fails only if the terminal is gone.
            let _ = terminal.clear_last_lines(drawn);
            let width = usize::from(terminal.size().1).max(20);
            let lines = text
                .lines()
                .map(|line| console::truncate_str(line, width - 1, "…").into_owned());
            let lines: Vec<_> = lines.collect();
            drawn = lines.len();
            let _ = terminal.write_line(&lines.join("\n"));
        } else if steady(&text) != steady(&last) || once {
            println!("{text}");
            std::io::stdout().flush().ok();
        }
        if once {
            return Ok(());
        }
        last = text;
        thread::sleep(PAUSE);
    }
}

/// A text without the line that tells the time, which always differs.
fn steady(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains(TIME));
    lines.collect::<Vec<_>>().join("\n")
}

fn chosen<'a>(status: &'a Status, task: Option<&str>) -> Result<Vec<&'a TaskStatus>, Failure> {
    let is_chosen = |one: &&TaskStatus| {
        task.is_none_or(|name| one.name == name || one.task.to_string().starts_with(name))
    };
    let tasks: Vec<_> = status.tasks.iter().filter(is_chosen).collect();
    match task {
        Some(name) if tasks.is_empty() => Err(AdminError::from(Fault {
            kind: FaultKind::NotFound,
            message: format!("no task {name:?}; `task list` shows all"),
        })
        .into()),
        _ => Ok(tasks),
    }
}

fn render(status: &Status, tasks: &[&TaskStatus]) -> String {
    let (all, connected) = status.members();
    let mut lines = match status.state_known {
        true => vec![format!("{connected} of {} connected", count(all, "device"))],
        false => vec![STATE_UNKNOWN.to_owned()],
    };
    if !status.storage_ok {
        lines.push("STORAGE FAILS: nothing is taken until it is mended".to_owned());
    }
    if tasks.is_empty() && status.state_known {
        lines.push("no task yet; create one with `task create FILE`".to_owned());
    }
    for task in tasks {
        lines.push(String::new());
        match &task.round {
            Some(round) => running(&mut lines, status, task, round),
            None => idle(&mut lines, status, task),
        }
    }
    lines.join("\n")
}

fn idle(lines: &mut Vec<String>, status: &Status, task: &TaskStatus) {
    let Some(last) = task.history.last() else {
        lines.push(format!("{}: no round has run yet", task.name));
        return;
    };
    lines.push(format!("{}: no round is running", task.name));
    lines.push(format!("  round {} {}", last.round, last.outcome));
    lines.push(format!(
        "  {TIME} {}, it took {}",
        ago(status.now, last.ended),
        span(last.wall_ms)
    ));
    if let Some(report) = last.report {
        lines.push(format!(
            "  {} on {} held-out rows of {}",
            report.reached(),
            report.rows,
            count(report.devices as usize, "device")
        ));
    }
    let missing = super::status::missing(last, MISSING_MAX);
    lines.extend(missing.iter().map(|line| format!("  {line}")));
}

fn running(lines: &mut Vec<String>, status: &Status, task: &TaskStatus, round: &RoundStatus) {
    let phase = round.phase.map_or("opening", common::round::Phase::name);
    lines.push(format!(
        "{}: round {}, phase {phase}",
        task.name, round.round
    ));
    let left = round
        .deadline
        .map(|deadline| format!(", at most {} left", span(deadline.since_ms(status.now))))
        .unwrap_or_default();
    lines.push(format!("  {TIME} {}{left}", span(round.elapsed_ms)));
    let past = round.phases.iter().filter_map(|one| {
        let took = one.closed?.since_ms(one.opened);
        Some(format!("{} {}", one.phase, span(took)))
    });
    let past: Vec<_> = past.collect();
    if !past.is_empty() {
        lines.push(format!("  done     {}", past.join(", ")));
    }
    if let Some(standing) = &round.standing {
        lines.push(format!("  stands   {}", standing.text));
    } else if round.phase.is_some_and(common::round::Phase::gathers) {
        let (done, all) = (round.contributed.len(), round.participants.len());
        let filled = BAR * done / all.max(1);
        let bar = format!("{}{}", "█".repeat(filled), "░".repeat(BAR - filled));
        let needed = round
            .quorum
            .map(|quorum| format!(", {quorum} needed"))
            .unwrap_or_default();
        lines.push(format!("  in       {bar} {done} of {all}{needed}"));
    }
    if let Some(Steps { done, all }) = round.training {
        let filled = BAR * done as usize / all.max(1) as usize;
        let bar = format!("{}{}", "█".repeat(filled), "░".repeat(BAR - filled));
        lines.push(format!("  trained  {bar} {done} of {all} steps"));
    }
    lines.push(format!("  bytes    {}", bytes(round.bytes)));
    for (at, absence) in round.absent.iter().take(MISSING_MAX).enumerate() {
        let head = if at == 0 { "missing" } else { "" };
        lines.push(format!(
            "  {head:8} {}: {}",
            name(&absence.device),
            absence.why
        ));
    }
    let all = round.missing.len() + round.abstained.len();
    let named = round.absent.len().min(MISSING_MAX);
    if all > named {
        lines.push(format!("           and {} more", all - named));
    }
    if !round.contributed.is_empty() {
        let names = round.contributed.iter().take(MISSING_MAX).map(name);
        let names = names.collect::<Vec<_>>().join(" ");
        let more = if round.contributed.len() > MISSING_MAX {
            " …"
        } else {
            ""
        };
        lines.push(format!("  who      {names}{more}"));
    }
}

/// Begins the line that tells the time.
const TIME: &str = "time    ";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::ids::{DeviceId, RoundId, Time};
    use common::round::{Phase, Reason};

    use crate::status::{Absence, AbsenceReason, DeviceName, fixtures};

    fn device(at: u8) -> DeviceName {
        DeviceName {
            device: DeviceId([at; 16]),
            label: format!("pump-{at}"),
        }
    }

    fn status() -> Status {
        let absence = |at, why| Absence {
            phases: vec![Phase::Contribute],
            device: device(at),
            why,
        };
        let round = RoundStatus {
            standing: None,
            round: RoundId(3),
            phase: Some(Phase::Contribute),
            elapsed_ms: 12_000,
            participants: vec![device(1), device(2), device(3)],
            contributed: vec![device(1)],
            abstained: Vec::new(),
            missing: vec![device(2), device(3)],
            accepted: Default::default(),
            phases: Vec::new(),
            deadline: Some(Time(50_000)),
            quorum: Some(2),
            absent: vec![
                absence(2, AbsenceReason::Away),
                absence(3, AbsenceReason::Refused(Reason::NotFinite)),
            ],
            bytes: 28_600,
            training: None,
        };
        Status {
            tasks: vec![TaskStatus {
                round: Some(round),
                ..fixtures::task(Vec::new(), None)
            }],
            ..fixtures::status()
        }
    }

    #[test]
    fn the_open_round_is_shown_with_who_is_missing() {
        let status = status();
        let text = render(&status, &chosen(&status, Some("har")).unwrap());
        for part in [
            "round 3, phase contribute",
            "at most 30 s left",
            "1 of 3, 2 needed",
            "28.6 kB",
            "pump-2: away",
            "pump-3: refused",
            "who      pump-1",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn passing_time_is_no_change() {
        let mut later = status();
        let before = render(&later, &chosen(&later, None).unwrap());
        later.now = Time(21_000);
        let after = render(&later, &chosen(&later, None).unwrap());
        assert_ne!(before, after);
        assert_eq!(steady(&before), steady(&after));
        assert!(chosen(&later, Some("nothing")).is_err());
    }
}
