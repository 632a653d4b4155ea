//! What wants a person's eye, and what to do about it.

mod devices;
mod tasks;

use super::expiry::Holder;
use super::health::lease_is_late;
use super::layout::Tone;
use super::view::{Health, View};
use super::words;
use crate::status::{Status, TaskStatus};

pub(super) use self::devices::away;
pub(super) use self::tasks::fall;

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
    let at_work = |task: &&TaskStatus| task.archived.is_none();
    for task in view.status.tasks.iter().filter(at_work) {
        tasks::of_round(&mut found, task, &view.status);
        tasks::of_task(&mut found, task, &view.status);
    }
    devices::of_devices(&mut found, &view.status);
    devices::of_certificates(&mut found, view);
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
    if let Some(lease) = health.lease.filter(|lease| lease_is_late(*lease)) {
        let seconds = lease.left_ms / 1_000;
        let text = format!(
            "This coordinator ends in {seconds}\u{a0}s unless the database answers; another takes over."
        );
        let alert = Alert::new(Tone::Warn, "The lease is not renewed", text, "/health");
        found.push(alert.with("alambic-coordinator doctor"));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    use super::super::fleet::tests::fleet;
    use crate::rollout;
    use crate::status::fixtures::{absence, ended, release, rolling, task};
    use crate::status::{
        AbsenceReason, DeviceName, OutcomeStatus, Quarantine, Standing, WithheldStatus,
    };
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
    fn a_refused_or_worse_student_raises_an_alert() {
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
