//! `round start`, and its progress as it happens.

use std::time::Duration;

use common::ids::TaskHash;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::failure::Failure;
use super::operate::print_json;
use super::status::{TOO_FEW, is_hopeless};
use super::table::seconds;
use crate::admin::{AdminError, Client};
use crate::status::format::{self, name};
use crate::status::{OutcomeStatus, Progress, Status, TaskStatus};

pub(super) fn start(
    connect: impl Fn() -> Result<Client, AdminError>,
    task: Option<&str>,
    watch: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let mut client = connect()?;
    let status = client.status()?;
    if status.state_known && connected(&status, task) == 0 {
        eprintln!(
            "no device is connected: the round waits for them, and \
             `alambic-coordinator round cancel` gives it up"
        );
    }
    if !watch {
        let (task, round) = client.start_round(task, false)?;
        if as_json {
            print_json(&json!({ "task": task, "round": round }));
        } else {
            println!("round {round} of task {} has begun", task.short());
        }
        if too_few(&client.status()?, task) {
            eprintln!("{TOO_FEW}");
        }
        return Ok(());
    }
    common::signals::on_interrupt(|| {
        eprintln!(
            "\nthe round goes on: `alambic-coordinator round watch` shows it, `round cancel` \
             gives it up"
        );
        std::process::exit(130);
    });
    let mut screen = Screen::new();
    let mut is_warned = false;
    let ended = client.run_round(task, |step| {
        if as_json {
            print_json(step);
        } else {
            screen.show(step);
        }
        // Who watches would wait in silence until the phase's deadline.
        let opened = opened_for(step).filter(|_| !is_warned);
        let status = opened.and_then(|task| Some((connect().ok()?.status().ok()?, task)));
        if status.is_some_and(|(status, task)| too_few(&status, task)) {
            is_warned = true;
            screen.bar.suspend(|| eprintln!("{TOO_FEW}"));
        }
    })?;
    screen.bar.finish_and_clear();
    match ended {
        Progress::Ended {
            outcome: outcome @ OutcomeStatus::Completed { .. },
            wall_ms,
            ..
        } => {
            if !as_json {
                println!("the round {outcome} after {}", seconds(wall_ms));
            }
            Ok(())
        }
        Progress::Ended { outcome, .. } => Err(Failure::Round { outcome }),
        _ => Ok(()),
    }
}

/// The task whose phase asks devices for something from now on.
fn opened_for(step: &Progress) -> Option<TaskHash> {
    match step {
        Progress::PhaseOpened { task, phase, .. } if phase.gathers() => Some(*task),
        _ => None,
    }
}

/// Devices with a session that the task is for, where one is named or there is
/// only one.
fn connected(status: &Status, task: Option<&str>) -> usize {
    let is_meant = |one: &&TaskStatus| {
        task.is_none_or(|name| one.name == name || one.task.to_string().starts_with(name))
    };
    let mut meant = status.tasks.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(only), None) => status.members_of(only).1,
        _ => status.members().1,
    }
}

/// Whether fewer devices take part in a task's round than a student needs.
fn too_few(status: &Status, task: TaskHash) -> bool {
    let begun = status.tasks.iter().find(|one| one.task == task);
    let round = begun.and_then(|task| task.round.as_ref());
    round.is_some_and(|round| !round.participants.is_empty() && is_hopeless(round))
}

/// A line for each phase, and a moving one below where someone looks on.
struct Screen {
    bar: ProgressBar,
    bytes: u64,
}

impl Screen {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        // The template is constant and names only known fields.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, bytes: 0 }
    }

    fn show(&mut self, step: &Progress) {
        match step {
            Progress::RoundOpened { round, .. } => self.line(&format!("round {round}")),
            Progress::PhaseOpened {
                phase,
                participants,
                ..
            } => {
                self.bytes = 0;
                let waited_for = match phase.gathers() {
                    true => format!(", {}", format::count(*participants, "device")),
                    false => String::new(),
                };
                self.line(&format!("  {phase}{waited_for}"));
                self.bar.set_message(format!("{phase}…"));
            }
            Progress::Accepted {
                device,
                kind,
                rows,
                bytes,
                contributed,
                participants,
                ..
            } => {
                self.bytes += bytes;
                self.bar.set_message(format!(
                    "{contributed} of {}, {} bytes; {kind} of {rows} rows from {}",
                    format::count(*participants, "device"),
                    self.bytes,
                    name(device)
                ));
                if contributed == participants {
                    self.line(&format!(
                        "    {contributed} of {}, {} bytes",
                        format::count(*participants, "device"),
                        self.bytes
                    ));
                }
            }
            Progress::Refused {
                device,
                kind,
                reason,
                ..
            } => self.line(&format!("    {kind} of {} refused: {reason}", name(device))),
            Progress::Abstained { device, .. } => {
                self.line(&format!("    {} abstains", name(device)));
            }
            Progress::Withheld { device, text, .. } => {
                self.line(&format!(
                    "    {} gives nothing, or less: {text}",
                    name(device)
                ));
            }
            Progress::Released {
                version,
                bytes,
                lineage,
                ..
            } => self.line(&format!(
                "    student {version}, {bytes} bytes, from {}",
                format::count(*lineage, "device")
            )),
            Progress::ReleasedAgain { from, version, .. } => {
                self.line(&format!("    student {from} again, as {version}"))
            }
            Progress::Missed { events } => self.line(&format!("    ({events} steps not shown)")),
            Progress::Ended { .. } => {}
        }
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }
}
