//! What wants a person's eye, and what to do about it.

use super::delay::Delay;
use super::expiry::Holder;
use super::fleet::name;
use super::layout::{self, Tone};
use super::view::{Health, View};
use super::words;
use crate::rollout;
use crate::status::{
    AbsenceReason, DeviceName, DeviceStatus, OddKind, OutcomeStatus, ReportSummary, RoundStatus,
    Standing, Status, TaskStatus,
};

/// With a larger share of the members away, the fleet is not well.
const AWAY_BAD: f64 = 0.4;
/// Up to this share away, nobody has to look: phones sleep.
const AWAY_USUAL: f64 = 0.1;

/// The address of a device's page, less its id.
const ONE_DEVICE: &str = "/device?id=";

/// Something that wants a person's eye, and the room to look in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alert {
    pub(super) tone: Tone,
    /// A few words, such as `Storage fails`.
    pub(super) head: String,
    /// What it means and what to do.
    pub(super) text: String,
    /// What to type for that.
    pub(super) command: Option<String>,
    pub(super) room: String,
}

impl Alert {
    fn new(
        tone: Tone,
        head: impl Into<String>,
        text: impl Into<String>,
        room: impl Into<String>,
    ) -> Self {
        Self {
            tone,
            head: head.into(),
            text: text.into(),
            command: None,
            room: room.into(),
        }
    }

    fn with(self, command: impl Into<String>) -> Self {
        Self {
            command: Some(command.into()),
            ..self
        }
    }

    /// What following it shows.
    pub(super) fn link(&self) -> &'static str {
        match self.room.as_str() {
            "/rounds" => "Rounds",
            "/students" => "Students",
            "/rollouts" => "Rollouts",
            "/certificates" => "Certificates",
            "/health" => "Health",
            room if room.starts_with(ONE_DEVICE) => "Its page",
            _ => "Show which",
        }
    }
}

/// What wants an eye, the worst first.
pub(super) fn alerts(view: &View) -> Vec<Alert> {
    let mut found = Vec::new();
    of_coordinator(&mut found, &view.status, &view.health);
    for task in &view.status.tasks {
        of_round(&mut found, task, &view.status);
        of_task(&mut found, task, &view.status);
    }
    of_devices(&mut found, &view.status);
    of_certificates(&mut found, view);
    found.sort_by_key(|alert| std::cmp::Reverse(alert.tone));
    found
}

fn of_coordinator(found: &mut Vec<Alert>, status: &Status, health: &Health) {
    if !status.storage_ok {
        let text =
            "Nothing is taken from devices until it is mended; the coordinator's log says why.";
        found.push(Alert::new(Tone::Bad, "Storage fails", text, "/health"));
    }
    if let (Some(free), Some(total)) = (health.disk_free, health.disk_total) {
        let share = free as f64 / total.max(1) as f64;
        let tone = match share {
            share if share < 0.03 => Some(Tone::Bad),
            share if share < 0.10 => Some(Tone::Warn),
            _ => None,
        };
        if let Some(tone) = tone {
            let text = format!("{} are free.", words::bytes(free));
            found.push(Alert::new(tone, "The disk is nearly full", text, "/health"));
        }
    }
    let authority = health.authority.and_then(|one| one.ends);
    let trust_root = health.trust_root.as_ref().map(|one| one.expires);
    for (what, holder, ends, mend, command) in [
        (
            "server's certificate",
            Holder::Server,
            health.certificate_ends,
            "A restart of the coordinator renews it.",
            None,
        ),
        (
            "fleet authority",
            Holder::Authority,
            authority,
            "Exchange it:",
            Some("alambic-coordinator ca rotate"),
        ),
        (
            "trust root of release keys",
            Holder::TrustRoot,
            trust_root,
            "Renew it:",
            Some("alambic-coordinator key renew"),
        ),
    ] {
        let Some(ends) = ends else { continue };
        let Some(tone) = holder.ending(ends, status.now) else {
            continue;
        };
        let (head, text) = match ends.since_ms(status.now) {
            0 => (format!("The {what} is over"), mend.to_owned()),
            left => (
                format!("The {what} ends soon"),
                format!("{} left. {mend}", words::span(left)),
            ),
        };
        let alert = Alert::new(tone, head, text, "/certificates");
        found.push(match command {
            Some(command) => alert.with(command),
            None => alert,
        });
    }
}

fn of_round(found: &mut Vec<Alert>, task: &TaskStatus, status: &Status) {
    if let Some(round) = &task.round
        && let Some(delay) = Delay::of(task, round, status)
    {
        let head = format!("Round {} of {} {}", round.round, task.name, delay.word());
        found.push(Alert::new(Tone::Warn, head, delay.told(), "/rounds"));
    }
}

fn of_task(found: &mut Vec<Alert>, task: &TaskStatus, status: &Status) {
    let name = &task.name;
    let mut add = |tone, head: String, text: String, room| {
        found.push(Alert::new(tone, head, text, room));
    };
    // A standing task's next round opens at once, and waits longer.
    let waits = |round: &RoundStatus| round.standing.is_none();
    if !task.round.as_ref().is_some_and(waits)
        && let Some(last) = task.history.last()
    {
        match &last.outcome {
            OutcomeStatus::Failed { phase, cause } => add(
                Tone::Bad,
                format!("The last round of {name} failed"),
                format!("In the {phase} phase: {cause}."),
                "/rounds",
            ),
            OutcomeStatus::QuorumNotMet { phase, got, needed } => add(
                Tone::Warn,
                format!("The last round of {name} had too few devices"),
                format!("{got} of the {needed} needed answered in the {phase} phase."),
                "/rounds",
            ),
            _ => {}
        }
    }
    if let Some((newest, best)) = fall(task) {
        add(
            Tone::Warn,
            format!("The newest student of {name} is worse"),
            format!("On the devices' rows it has {newest}; an earlier one {best}."),
            "/students",
        );
    }
    of_withheld(found, task);
    of_excluded(found, task);
    of_unheard(found, task);
    of_odd(found, task);
    of_verdict(found, task, status);
    of_rollout(found, task, status);
}

/// What devices say of the newest student: all is not well with one that they
/// do not want, that is worse, or that nobody could judge.
fn of_verdict(found: &mut Vec<Alert>, task: &TaskStatus, status: &Status) {
    let Some(newest) = task.releases.last() else {
        return;
    };
    let (name, version, evaluations) = (&task.name, newest.version, task.evaluations);
    let rollback = format!(
        "alambic-coordinator rollout rollback{}",
        layout::of_task(task, status)
    );
    let is_rolling = task
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.version == version);
    if evaluations.worse > 0 && !is_rolling {
        let judged = evaluations.soaking + evaluations.kept + evaluations.worse;
        let who = words::do_not(evaluations.worse as usize, judged as usize, "device");
        let (tone, what, more) = match (evaluations.is_unwanted(), newest.held) {
            (true, true) => (
                Tone::Bad,
                "is halted",
                " It is offered to nobody any more. For the one before it on all devices:",
            ),
            (true, false) => (
                Tone::Bad,
                "is refused",
                " For the one before it on all devices:",
            ),
            (false, _) => (
                Tone::Warn,
                "is refused by some",
                " If more follow, for the one before it:",
            ),
        };
        let head = format!("Student {version} of {name} {what}");
        let text = format!("{who} want it.{more}");
        found.push(Alert::new(tone, head, text, "/students").with(rollback.clone()));
    }
    if let Some(report) = newest.report
        && let Some(previous) = report.reached_before()
        && report.worse
    {
        let head = format!("Student {version} of {name} is worse");
        let text = format!(
            "On the devices' rows it has {}, the one before it {}, which is more than chance. For \
             that one on all devices:",
            report.reached(),
            previous,
        );
        found.push(Alert::new(Tone::Bad, head, text, "/students").with(rollback));
    }
    let is_judged =
        newest.report.is_some() || evaluations.soaking + evaluations.kept + evaluations.worse > 0;
    let is_of_last = task.history.last().is_some_and(
        |last| matches!(last.outcome, OutcomeStatus::Completed { version: of } if of == version),
    );
    if task.round.is_none() && is_of_last && !is_judged && !newest.held {
        let head = format!("Nobody could judge student {version} of {name}");
        let text = "No device has tried it on labelled rows that it kept aside. Until one does, \
                    nobody knows what it is good for.";
        found.push(Alert::new(Tone::Warn, head, text, "/students"));
    }
}

/// Devices that give nothing though nobody keeps it back: all is not well
/// with a fleet that learns from a few of them.
fn of_withheld(found: &mut Vec<Alert>, task: &TaskStatus) {
    let faults = task.withheld.iter().filter(|one| one.reason.is_a_fault());
    let faults: Vec<_> = faults.collect();
    // Those that said no reason, in the newest round.
    let said = |device: &DeviceName| task.withheld.iter().any(|one| one.device == *device);
    let absent = task
        .history
        .last()
        .into_iter()
        .flat_map(|ended| &ended.absent);
    let silent =
        absent.filter(|absent| absent.why == AbsenceReason::Abstained && !said(&absent.device));
    let silent: Vec<_> = silent.collect();
    let name = |device: &DeviceName| match device.label.as_str() {
        "" => device.device.short(),
        label => label.to_owned(),
    };
    let count = faults.len() + silent.len();
    let first = match (faults.first(), silent.first()) {
        (Some(first), _) => format!("{}: {}", name(&first.device), first.text),
        (None, Some(first)) => format!("{} does not say why", name(&first.device)),
        (None, None) => return,
    };
    let head = match count {
        1 => format!("A device gives nothing to {}, or less", task.name),
        count => format!("{count} devices give nothing to {}, or less", task.name),
    };
    let text = match count {
        1 => format!("{first}."),
        _ => format!("The first is {first}."),
    };
    let room = match (faults.as_slice(), silent.as_slice()) {
        ([only], []) => format!("{ONE_DEVICE}{}", only.device.device),
        _ => "/rounds".to_owned(),
    };
    found.push(Alert::new(Tone::Warn, head, text, room));
}

/// Devices whose contributions were left out, for what they say against all
/// others. That is an attack, a fault of a sensor or of its labels, or data
/// of a kind that no other device has: a person has to tell.
fn of_excluded(found: &mut Vec<Alert>, task: &TaskStatus) {
    let mut devices: Vec<_> = task.excluded.iter().collect();
    devices.dedup_by_key(|one| one.device.device);
    let Some(first) = devices.first() else {
        return;
    };
    let name = match first.device.label.as_str() {
        "" => first.device.device.short(),
        label => label.to_owned(),
    };
    let (head, text, room) = match devices.len() {
        1 => (
            format!("{name} is left out of {}", task.name),
            format!("Its {}: {}.", first.kind, first.text),
            format!("{ONE_DEVICE}{}", first.device.device),
        ),
        count => (
            format!("{count} devices are left out of {}", task.name),
            format!("The first is {name}, its {}: {}.", first.kind, first.text),
            "/rounds".to_owned(),
        ),
    };
    found.push(Alert::new(Tone::Warn, head, text, room));
}

/// Devices whose data is unlike the others': a sensor in another unit teaches
/// wrongly without a word. That one device alone speaks of a class is no alarm
/// by itself.
fn of_odd(found: &mut Vec<Alert>, task: &TaskStatus) {
    let alarming: Vec<_> = { task.odd.iter() }
        .filter(|one| one.kind != OddKind::Alone)
        .collect();
    let Some(first) = alarming.first() else {
        return;
    };
    let name = match first.device.label.as_str() {
        "" => first.device.device.short(),
        label => label.to_owned(),
    };
    let head = match alarming.len() {
        1 => format!("Odd data in {}: {name}", task.name),
        many => format!("Odd data in {}: {many} findings", task.name),
    };
    let text = format!(
        "{name}: {}. `alambic-agent data check` on the device shows its columns; units and scales \
         stand under [data] in its agent.toml.",
        first.text()
    );
    let room = format!("{ONE_DEVICE}{}", first.device.device);
    found.push(Alert::new(Tone::Warn, head, text, room));
}

/// A class that no device has rows enough to speak of: whoever sees it gets
/// another class for an answer, and no held-out row says so.
fn of_unheard(found: &mut Vec<Alert>, task: &TaskStatus) {
    if task.unheard.is_empty() {
        return;
    }
    let head = format!(
        "No device speaks of {} in {}",
        crate::status::format::names(&task.unheard),
        task.name
    );
    let text = "Students never answer it, and their accuracy does not count it. A device says \
                nothing of a class with fewer rows than its policy asks for.";
    found.push(Alert::new(Tone::Warn, head, text, "/students"));
}

fn of_rollout(found: &mut Vec<Alert>, task: &TaskStatus, status: &Status) {
    let Some(rollout) = task.rollout.as_ref().filter(|_| task.instead().is_none()) else {
        return;
    };
    let (name, which) = (&task.name, layout::of_task(task, status));
    let mut add = |tone, how: &str, text: String, verb: &str| {
        let head = format!("The rollout of {name} {} {how}", rollout.version);
        let command = format!("alambic-coordinator rollout {verb}{which}");
        found.push(Alert::new(tone, head, text, "/rollouts").with(command));
    };
    match &rollout.standing {
        rollout::Standing::Halted { worse, of } => {
            let who = words::do_not(*worse as usize, *of as usize, "device");
            let text = format!("{who} want the student. For the one before it on all devices:");
            add(Tone::Bad, "has halted", text, "rollback");
        }
        rollout::Standing::Paused => {
            let text = "No further device is offered it. To go on:".to_owned();
            add(Tone::Warn, "is paused", text, "resume");
        }
        _ => {}
    }
}

/// What the newest student that was tried reaches and what the best did, if
/// that is a tenth more, or its error a tenth less.
pub(super) fn fall(task: &TaskStatus) -> Option<(String, String)> {
    let reports = task.releases.iter().filter_map(|one| one.report);
    // The more the better: of errors their inverse.
    let worth = |report: &ReportSummary| {
        let error = report
            .error
            .map(|error| 1.0 / error.rmse.max(f64::MIN_POSITIVE));
        report.accuracy.or(error)
    };
    let measured: Vec<(f64, ReportSummary)> = reports
        .filter_map(|report| Some((worth(&report)?, report)))
        .collect();
    let best = measured
        .iter()
        .max_by(|one, other| one.0.total_cmp(&other.0))?;
    let newest = measured.last()?;
    (newest.0 < 0.9 * best.0).then(|| (newest.1.reached(), best.1.reached()))
}

/// How it is that this many of the members are connected, unless that is usual.
pub(super) fn away(connected: usize, all: usize) -> Option<Tone> {
    let away = all.saturating_sub(connected);
    match away as f64 / all.max(1) as f64 {
        share if share < AWAY_USUAL => None,
        // One device of two or three is no reason for an alarm.
        share if share <= AWAY_BAD || (away == 1 && all > 1) => Some(Tone::Warn),
        _ => Some(Tone::Bad),
    }
}

fn of_devices(found: &mut Vec<Alert>, status: &Status) {
    let (all, connected) = status.members();
    let missing = all - connected;
    if let Some(tone) = away(connected, all) {
        let head = match (missing, all) {
            (1, 1) => "The only device is away".to_owned(),
            _ if connected == 0 => format!("All {} are away", words::count(all, "device")),
            _ => format!("{} away", words::part_are(missing, all, "device")),
        };
        let text = match (tone, missing) {
            (Tone::Bad, 2..) => "More often the network's fault than the devices'.",
            (_, 1) => "It keeps its student, and what it has to say.",
            _ => "They keep their student, and what they have to say.",
        };
        found.push(Alert::new(tone, head, text, "/?state=away#devices"));
    }
    of_waiting(found, status);
    of_shared_keys(found, status);
    of_peer_limits(found, status);
}

/// The devices that are so, and the first of them as it is called, if it is
/// the only one.
fn those<'a>(
    status: &'a Status,
    is: &dyn Fn(&DeviceStatus) -> bool,
) -> (usize, Option<&'a DeviceStatus>) {
    let mut found = status.devices.iter().filter(|device| is(device));
    match (found.next(), found.count()) {
        (None, _) => (0, None),
        (Some(only), 0) => (1, Some(only)),
        (Some(_), more) => (1 + more, None),
    }
}

/// Where to look: at the only one, or at the list of those in a state.
fn room(only: Option<&DeviceStatus>, state: &str) -> String {
    match only {
        Some(one) => format!("{ONE_DEVICE}{}", one.device),
        None => format!("/?state={state}#devices"),
    }
}

fn of_waiting(found: &mut Vec<Alert>, status: &Status) {
    let (waiting, only) = those(status, &|one| one.standing == Standing::Waiting);
    if waiting == 0 {
        return;
    }
    let (head, text, id) = match only {
        Some(one) => (
            format!("{} waits for approval", name(one)),
            "To let it in:",
            one.device.short(),
        ),
        None => (
            format!("{} for approval", words::verb(waiting, "device", "wait")),
            "To let one in:",
            "ID".to_owned(),
        ),
    };
    let alert = Alert::new(Tone::Warn, head, text, room(only, "waiting"));
    found.push(alert.with(format!("alambic-coordinator device approve {id}")));
}

/// Two machines that take one device's place in turn.
fn of_shared_keys(found: &mut Vec<Alert>, status: &Status) {
    for device in &status.devices {
        if let Some(shared) = &device.shared_key {
            let head = format!("{} is on two machines", name(device));
            let told = shared.told();
            let text = format!("{}.", told[..1].to_uppercase() + &told[1..]);
            let room = format!("{ONE_DEVICE}{}", device.device);
            found.push(Alert::new(Tone::Bad, head, text, room));
        }
    }
}

fn of_peer_limits(found: &mut Vec<Alert>, status: &Status) {
    let is_refused = |one: &DeviceStatus| one.peer_limits.quarantine.is_some() && one.is_member();
    let (refused, only) = those(status, &is_refused);
    if refused > 0 {
        let (head, text) = match only {
            Some(one) => (
                format!("{} is in quarantine", name(one)),
                "What it sends is refused, and nobody waits for it.",
            ),
            None => (
                format!("{} in quarantine", words::are(refused, "device")),
                "What they send is refused, and nobody waits for them.",
            ),
        };
        let room = room(only, "quarantined");
        found.push(Alert::new(Tone::Warn, head, text, room));
    }
    let is_struck = |one: &DeviceStatus| one.strikes > 0 && !one.revoked && !is_refused(one);
    let (struck, only) = those(status, &is_struck);
    if struck > 0 {
        let head = match only {
            Some(one) => format!("{} sent what was refused", name(one)),
            None => format!("{} sent what was refused", words::count(struck, "device")),
        };
        let text = "For a fault no honest device makes: update the device, or revoke it.";
        let room = room(only, "refused");
        found.push(Alert::new(Tone::Warn, head, text, room));
    }
}

fn of_certificates(found: &mut Vec<Alert>, view: &View) {
    let (status, terms) = (&view.status, view.health.certificates);
    let holder = Holder::device(terms);
    let is_ending = |one: &DeviceStatus| {
        let end = one.expires.filter(|_| one.standing == Standing::Member);
        end.is_some_and(|end| holder.ending(end, status.now).is_some())
    };
    let (ending, only) = those(status, &is_ending);
    if ending == 0 {
        return;
    }
    let is_over = |one: &DeviceStatus| one.expires.is_some_and(|end| end <= status.now);
    let (over, _) = those(status, &|one| is_ending(one) && is_over(one));
    let head = match (only, over) {
        (Some(one), 0) => format!("The certificate of {} ends soon", name(one)),
        (Some(one), _) => format!("The certificate of {} is over", name(one)),
        (None, 0) => format!(
            "The certificates of {} end soon",
            words::count(ending, "device")
        ),
        (None, _) if over == ending => {
            format!(
                "The certificates of {} are over",
                words::count(ending, "device")
            )
        }
        (None, _) => format!(
            "The certificates of {} are over or end soon",
            words::count(ending, "device")
        ),
    };
    let grace = words::span(terms.renewal_grace_ms);
    let text = format!(
        "A device renews its own when it connects, for {grace} after the end still; \
         later it needs a new token."
    );
    found.push(Alert::new(Tone::Warn, head, text, "/certificates"));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    use super::super::fleet::tests::fleet;
    use crate::status::fixtures::{absence, ended, release, rolling, task};
    use crate::status::{Quarantine, WithheldStatus};
    use common::round::Phase;
    use common::withheld::WithheldCode;

    #[test]
    fn waiting_devices_are_listed_with_commands() {
        let heads = |view: &View| -> Vec<_> {
            let found = alerts(view).into_iter();
            found.map(|one| (one.head, one.command)).collect()
        };
        let mut view = fleet(30);
        view.status.devices[1].standing = Standing::Waiting;
        let id = view.status.devices[1].device.short();
        let command = Some(format!("alambic-coordinator device approve {id}"));
        let told = heads(&view);
        assert!(
            told.contains(&("<pump-1> waits for approval".into(), command)),
            "{told:?}"
        );
        view.status.devices[2].standing = Standing::Waiting;
        let command = Some("alambic-coordinator device approve ID".to_owned());
        let told = heads(&view);
        assert!(
            told.contains(&("2\u{a0}devices wait for approval".into(), command)),
            "{told:?}"
        );
        let peer_limits = &mut view.status.devices[3].peer_limits;
        peer_limits.quarantine = Some(Quarantine::Contributions);
        view.status.devices[3].strikes = 16;
        let told = heads(&view);
        assert!(
            told.contains(&("<pump-3> is in quarantine".into(), None)),
            "{told:?}"
        );
        assert!(
            !told
                .iter()
                .any(|(head, _)| head.contains("sent what was refused"))
        );
    }

    #[test]
    fn all_is_not_well_while_devices_give_nothing() {
        let mut view = fleet(30);
        view.status.tasks = vec![task(Vec::new(), None)];
        let heads = |view: &View| -> Vec<String> {
            let found = alerts(view).into_iter();
            found
                .map(|one| one.head)
                .filter(|head| head.contains("gives nothing") || head.contains("give nothing"))
                .collect()
        };
        let withheld = |device: usize, reason| WithheldStatus {
            device: DeviceName {
                device: view.status.devices[device].device,
                label: "<pump>".to_owned(),
            },
            reason,
            text: "a.csv: line 3".to_owned(),
            since: view.status.now,
        };
        let told = [
            withheld(1, WithheldCode::NoFolder),
            withheld(2, WithheldCode::Policy),
            withheld(3, WithheldCode::DataRefused),
        ];
        view.status.tasks[0].withheld = told[..2].to_vec();
        assert_eq!(
            heads(&view),
            Vec::<String>::new(),
            "what owners keep back is theirs"
        );
        view.status.tasks[0].withheld = told.to_vec();
        let found = heads(&view);
        assert!(
            matches!(&found[..], [one] if one.starts_with("A device gives nothing")),
            "{found:?}"
        );
        // A device that abstained and said no reason is looked for as well.
        let silent = absence(4, "<pump-4>", &[Phase::Profile], AbsenceReason::Abstained);
        view.status.tasks[0].history = vec![ended(vec![silent], Vec::new())];
        let found = heads(&view);
        assert!(
            matches!(&found[..], [two] if two.starts_with('2')),
            "{found:?}"
        );
    }

    #[test]
    fn a_halted_rollout_is_a_concern_until_it_is_rolled_back() {
        let mut view = fleet(1);
        view.status.devices[0].connected = true;
        let halted = rolling(2, rollout::Standing::Halted { worse: 1, of: 1 });
        let held = vec![release(1, 1, false), release(2, 2, true)];
        view.status.tasks = vec![task(held, Some(halted))];
        let [only] = alerts(&view).try_into().unwrap();
        assert_eq!(only.tone, Tone::Bad);
        assert_eq!(
            only.command.as_deref(),
            Some("alambic-coordinator rollout rollback")
        );
        view.status.tasks[0].releases.push(release(3, 1, false));
        assert_eq!(alerts(&view), []);
    }

    #[test]
    fn a_student_that_devices_refuse_or_that_is_worse_is_not_well() {
        let mut view = fleet(1);
        view.status.devices[0].connected = true;
        view.status.tasks = vec![task(vec![release(1, 1, false)], None)];
        assert_eq!(alerts(&view), []);
        let evaluations = &mut view.status.tasks[0].evaluations;
        (evaluations.devices, evaluations.kept, evaluations.worse) = (3, 1, 2);
        let [only] = alerts(&view).try_into().unwrap();
        assert_eq!((only.tone, only.room.as_str()), (Tone::Bad, "/students"));
        view.status.tasks[0].evaluations = rollout::Tally::default();
        let report = crate::status::ReportSummary {
            devices: 21,
            rows: 700,
            accuracy: Some(0.85),
            error: None,
            previous: Some(0.97),
            worse: true,
        };
        view.status.tasks[0].releases[0].report = Some(report);
        let [only] = alerts(&view).try_into().unwrap();
        assert_eq!(only.head, "Student 1.1 of har is worse");
    }

    #[test]
    fn a_student_that_nobody_could_judge_is_not_well() {
        use crate::status::fixtures::ended;
        let mut view = fleet(1);
        view.status.devices[0].connected = true;
        let mut last = ended(Vec::new(), Vec::new());
        let version = release(1, 1, false).version;
        last.outcome = OutcomeStatus::Completed { version };
        view.status.tasks = vec![task(vec![release(1, 1, false)], None)];
        view.status.tasks[0].history = vec![last];
        let [only] = alerts(&view).try_into().unwrap();
        assert_eq!(only.tone, Tone::Warn);
        view.status.tasks[0].evaluations.kept = 1;
        assert_eq!(alerts(&view), []);
    }

    #[test]
    fn one_device_of_two_is_a_warning_in_its_own_numbers() {
        let told = |view: &View| alerts(view).remove(0);
        let mut view = fleet(2);
        let one = told(&view);
        assert_eq!(one.head, "1 of 2\u{a0}devices is away");
        assert_eq!(one.tone, Tone::Warn);
        view.status.devices[1].connected = false;
        let all = told(&view);
        assert_eq!(all.head, "All 2\u{a0}devices are away");
        assert_eq!(all.tone, Tone::Bad);
        assert_eq!(told(&fleet(1)).head, "The only device is away");
        assert_eq!(away(20, 21), None);
    }
}
