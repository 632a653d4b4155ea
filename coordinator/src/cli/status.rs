//! `status` and `task list`: what a running coordinator knows.

use common::ids::Time;
use serde_json::json;

use super::failure::Failure;
use super::operate::print_json;
use super::table::{seconds, table};
use crate::admin::Client;
use crate::config::Config;
use crate::rollout;
use crate::status::format;
use crate::status::{
    AbsenceReason, Ahead, DeviceStatus, EndedStatus, ExclusionStatus, ReportSummary, RoundStatus,
    STATE_UNKNOWN, Standing, Status, StoreStatus, TaskStatus, WithheldStatus,
};

pub(super) fn show(client: &mut Client, config: &Config, as_json: bool) -> Result<(), Failure> {
    let (status, more) = (client.status()?, config.state_option());
    if as_json {
        print_json(&status);
        return Ok(());
    }
    for line in head(&status) {
        println!("{line}");
    }
    if let Some(store) = &status.store {
        println!("{}", stored(store));
    }
    for line in to_look_at(&status.devices, &more) {
        println!("{line}");
    }
    if let Some(line) = nothing(&status) {
        println!("{line}");
    }
    for task in &status.tasks {
        show_task(task, status.now, &of_task(task, &status, &more));
    }
    Ok(())
}

/// What is said where no task can be shown.
pub(super) fn nothing(status: &Status) -> Option<&'static str> {
    match status.tasks.is_empty() {
        _ if !status.state_known => Some(STATE_UNKNOWN),
        true => Some("no task yet; create one with `alambic-coordinator task create FILE`"),
        false => None,
    }
}

/// The coordinator, and who is connected to it.
fn head(status: &Status) -> Vec<String> {
    let up = seconds(status.now.since_ms(status.started));
    let mut line = format!(
        "coordinator {} at {}, up {up}",
        status.program, status.address
    );
    if status.state_known {
        let (all, connected) = status.members();
        line += &format!(
            ", {connected} of {} connected",
            format::count(all, "device")
        );
    }
    let mut lines = vec![line];
    let gateways: Vec<_> = status.gateways.iter().filter(|one| !one.revoked).collect();
    if !gateways.is_empty() {
        let linked = gateways.iter().filter(|one| one.link.is_some()).count();
        lines.push(format!(
            "{linked} of {} connected",
            format::count(gateways.len(), "gateway")
        ));
    }
    if !status.storage_ok {
        let line = "STORAGE FAILS: nothing is taken until it is mended; the log says why";
        lines.push(line.to_owned());
    }
    lines
}

/// What a command about a task wants behind it: its name, where there are
/// others, and what every command wants.
pub(super) fn of_task(task: &TaskStatus, status: &Status, more: &str) -> String {
    match status.tasks.len() {
        0 | 1 => more.to_owned(),
        _ => format!(" --task {}{more}", task.name),
    }
}

/// Devices that an operator has to do something about, and what.
fn to_look_at(devices: &[DeviceStatus], more: &str) -> Vec<String> {
    let line = |is: &dyn Fn(&DeviceStatus) -> bool, what: &str, verb: &str| {
        let found: Vec<_> = devices.iter().filter(|one| is(one)).collect();
        let first = found.first()?;
        let id = match found.len() {
            1 => first.device.short(),
            _ => "ID".to_owned(),
        };
        let names = found
            .iter()
            .take(NAMES_MAX)
            .map(|one| match one.label.as_str() {
                "" => one.device.short(),
                label => format!("{label} ({})", one.device.short()),
            });
        let mut names: Vec<_> = names.collect();
        if found.len() > NAMES_MAX {
            names.push("…".to_owned());
        }
        let (count, names) = (format::count(found.len(), "device"), names.join(", "));
        Some(format!(
            "{count} {what}: {names}\n  alambic-coordinator device {verb} {id}{more}"
        ))
    };
    let waits = |one: &DeviceStatus| one.standing == Standing::Waiting;
    let refused = |one: &DeviceStatus| one.peer_limits.quarantine.is_some() && one.is_member();
    let shared = |one: &DeviceStatus| one.shared_key.is_some();
    let lines = [
        line(&waits, "waiting for approval", "approve"),
        line(&refused, "in quarantine", "show"),
        line(&shared, "with one key on two machines", "show"),
    ];
    lines.into_iter().flatten().collect()
}

fn stored(store: &StoreStatus) -> String {
    let mut line = format!(
        "log: records {} to {}",
        store.first,
        store.next.saturating_sub(1)
    );
    if store.next == store.first {
        line = format!("log: no records after {}", store.first);
    }
    if let Some(at) = store.snapshot {
        line += &format!(", newest snapshot at {at}");
    }
    if let (Some(all), Some(blobs)) = (store.bytes, store.blobs) {
        let all = format::bytes(all);
        let blobs = format::count(blobs as usize, "blob");
        line += &format!("; {all} of the disk, {blobs}");
    }
    line
}

fn show_task(task: &TaskStatus, now: Time, more: &str) {
    let groups = match task.groups.as_slice() {
        [] => String::new(),
        groups => format!(", for {}", groups.join(", ")),
    };
    println!("\ntask {} ({}){groups}", task.name, task.task.short());
    match &task.round {
        Some(round) => show_round(round),
        None => println!("  no round is running"),
    }
    for line in task.budget.iter().flat_map(format::budget) {
        println!("  {line}");
    }
    if let Some(last) = task.history.last() {
        println!(
            "  round {} {}, {} ago, after {}",
            last.round,
            last.outcome,
            seconds(now.since_ms(last.ended)),
            seconds(last.wall_ms),
        );
        let spans = last.phase_ms.iter();
        let spans: Vec<_> = spans
            .map(|(phase, ms)| format!("{phase} {}", seconds(*ms)))
            .collect();
        println!("    {}", spans.join(", "));
        if let Some(report) = last.report {
            println!("    {}", reported(report));
        }
        for line in missing(last, NAMES_MAX) {
            println!("    {line}");
        }
    }
    for line in left_out(task) {
        println!("  {line}");
    }
    for line in withheld(task) {
        println!("  {line}");
    }
    if let Some(line) = rolling(task, more) {
        println!("  {line}");
    }
    if let Some(newest) = task.offered() {
        println!(
            "  student {} of round {} is what devices are offered, {} old",
            newest.version,
            newest.round,
            seconds(now.since_ms(newest.released))
        );
    }
    if let Some(line) = task.ahead.map(|ahead| of_ahead(ahead, more)) {
        println!("  {line}");
    }
}

/// Devices that run what the log does not know.
fn of_ahead(ahead: Ahead, more: &str) -> String {
    let (devices, verb) = match ahead.devices {
        1 => ("1 device".to_owned(), "runs"),
        all => (format::count(all, "device"), "run"),
    };
    format!(
        "{devices} {verb} a newer student than is offered ({}), from before a restore or a `task \
         delete`; the next release goes above it: alambic-coordinator round start{more}",
        ahead.newest
    )
}

/// Whose contributions the newest student was made without, and why.
fn left_out(task: &TaskStatus) -> Vec<String> {
    let line = |one: &ExclusionStatus| {
        let name = match one.device.label.as_str() {
            "" => one.device.device.short(),
            label => format!("{label} ({})", one.device.device.short()),
        };
        format!("left out: {} of {name}: {}", one.kind, one.text)
    };
    let mut lines: Vec<_> = task.excluded.iter().take(NAMES_MAX).map(line).collect();
    let more = task.excluded.len().saturating_sub(NAMES_MAX);
    if more > 0 {
        lines.push(format!("left out: {more} more; `--json` names all"));
    }
    for one in task.odd.iter().take(NAMES_MAX) {
        let name = match one.device.label.as_str() {
            "" => one.device.device.short(),
            label => format!("{label} ({})", one.device.device.short()),
        };
        lines.push(format!("ODD DATA of {name}: {}", one.text()));
    }
    let more = task.odd.len().saturating_sub(NAMES_MAX);
    if more > 0 {
        lines.push(format!("odd data: {more} more; `--json` names all"));
    }
    if !task.unheard.is_empty() {
        lines.push(format!(
            "NO DEVICE SPEAKS OF {}: students never answer it, however right they are on the rows there are",
            format::names(&task.unheard)
        ));
    }
    lines
}

/// Which devices give nothing, or less than they were asked for, and why.
fn withheld(task: &TaskStatus) -> Vec<String> {
    let line = |one: &WithheldStatus| {
        let name = match one.device.label.as_str() {
            "" => one.device.device.short(),
            label => format!("{label} ({})", one.device.device.short()),
        };
        format!("gives nothing, or less: {name}: {}", one.text)
    };
    let mut lines: Vec<_> = task.withheld.iter().take(NAMES_MAX).map(line).collect();
    let more = task.withheld.len().saturating_sub(NAMES_MAX);
    if more > 0 {
        lines.push(format!(
            "gives nothing, or less: {more} more; `--json` names all"
        ));
    }
    lines
}

/// The student that is on its way to the devices, or waits to be sent.
fn rolling(task: &TaskStatus, more: &str) -> Option<String> {
    if let Some(waiting) = task.to_begin() {
        let version = waiting.version;
        return Some(format!(
            "student {version} is offered to nobody yet: alambic-coordinator rollout start {version}{more}"
        ));
    }
    let of_it = task.rollout.as_ref();
    let of_it = of_it.filter(|_| task.instead().is_none())?;
    let how = match &of_it.standing {
        rollout::Standing::Completed => return None,
        standing => super::rollout::described(standing),
    };
    Some(format!(
        "student {}: {how}, stage {} of {} ({} % of the devices): alambic-coordinator rollout status{more}",
        of_it.version,
        of_it.stage,
        of_it.plan.stages.len(),
        of_it.percent
    ))
}

/// Who was missing in a round, and why: a line for each of the first few,
/// and one for those it did not wait for, by reason.
pub(super) fn missing(ended: &EndedStatus, names_max: usize) -> Vec<String> {
    let missed = ended.absent.iter().filter(|one| one.why.is_missed());
    let mut lines: Vec<_> = missed
        .take(names_max)
        .map(|one| {
            let phases: Vec<_> = one.phases.iter().map(|phase| phase.name()).collect();
            let (name, phases) = (format::name(&one.device), phases.join(", "));
            format!("missing  {name}: {}; {phases}", one.why)
        })
        .collect();
    let all = ended.absent_for(AbsenceReason::is_missed);
    if all.devices > names_max || all.at_least {
        lines.push(format!("missing  {all} in all"));
    }
    for why in [AbsenceReason::Abstained, AbsenceReason::NotAsked] {
        let all = ended.absent_for(|one| one == why);
        let names = ended.absent.iter().filter(|one| one.why == why);
        let mut names: Vec<_> = names.map(|one| format::name(&one.device)).collect();
        if all.devices > names_max || all.at_least {
            names.truncate(names_max);
            names.push("…".to_owned());
        }
        if all.devices > 0 {
            lines.push(format!("without  {all} {why}: {}", names.join(" ")));
        }
    }
    lines
}

/// Whether fewer take part than a student needs.
pub(super) fn is_hopeless(round: &RoundStatus) -> bool {
    let needed = round.quorum.map(|quorum| quorum as usize);
    needed.is_some_and(|needed| needed > round.participants.len())
}

/// What to do then.
pub(super) const TOO_FEW: &str = "too few take part for a student; connect more, or give it up: \
                                  alambic-coordinator round cancel";

fn show_round(round: &RoundStatus) {
    let phase = round.phase.map_or("opening", common::round::Phase::name);
    println!(
        "  round {} in phase {phase}, running for {}",
        round.round,
        seconds(round.elapsed_ms)
    );
    if let Some(standing) = &round.standing {
        println!("    {}", standing.text);
        return;
    }
    if !round.participants.is_empty() {
        let needed = round
            .quorum
            .map(|quorum| format!(", {quorum} needed"))
            .unwrap_or_default();
        println!(
            "    {} of {} in{needed}",
            round.contributed.len(),
            format::count(round.participants.len(), "device")
        );
        if is_hopeless(round) {
            println!("    {TOO_FEW}");
        }
    }
    if !round.missing.is_empty() {
        let names: Vec<_> = round
            .missing
            .iter()
            .take(NAMES_MAX)
            .map(format::name)
            .collect();
        println!("    waiting for {}", names.join(", "));
    }
}

/// Devices that are named one by one.
const NAMES_MAX: usize = 8;

pub(super) fn tasks(client: &mut Client, as_json: bool) -> Result<(), Failure> {
    let status = client.status()?;
    if !status.state_known {
        eprintln!("{STATE_UNKNOWN}");
    }
    if as_json {
        let all: Vec<_> = status
            .tasks
            .iter()
            .map(|task| of_list(task, &status))
            .collect();
        print_json(&all);
        return Ok(());
    }
    let mut table = table(&[
        "task",
        "hash",
        "groups",
        "devices",
        "points",
        "rounds",
        "newest student",
    ]);
    for task in &status.tasks {
        let newest = task.releases.last();
        table.add_row([
            match task.archived {
                None => task.name.clone(),
                Some(_) => format!("{} (archived)", task.name),
            },
            task.task.short(),
            match task.groups.as_slice() {
                [] => "all".to_owned(),
                groups => groups.join(", "),
            },
            status.members_of(task).0.to_string(),
            task.points.to_string(),
            task.history
                .last()
                .map_or(0, |ended| ended.round.0)
                .to_string(),
            newest.map_or_else(|| "-".to_owned(), |release| release.version.to_string()),
        ]);
    }
    println!("{table}");
    Ok(())
}

/// A task as `task list --json` shows it.
fn of_list(task: &TaskStatus, status: &Status) -> serde_json::Value {
    let devices = status.members_of(task).0;
    let mut shown = json!({ "task": task.task, "name": task.name, "devices": devices });
    if !task.groups.is_empty() {
        shown["groups"] = json!(task.groups);
    }
    if let Some(at) = task.archived {
        shown["archived"] = json!(at);
    }
    shown
}

/// What a student reaches on the held-out rows of those that reported.
pub(super) fn reported(report: ReportSummary) -> String {
    format!(
        "{} on {} held-out rows of {}",
        report.reached(),
        report.rows,
        format::count(report.devices as usize, "device")
    )
}

#[cfg(test)]
mod tests;
