//! Alerts about devices: away, waiting, on two machines, in quarantine, with
//! certificates that end.

use super::{Alert, ONE_DEVICE};
use crate::page::expiry::Holder;
use crate::page::fleet::name;
use crate::page::layout::Tone;
use crate::page::view::View;
use crate::page::words;
use crate::status::{DeviceStatus, Standing, Status};

/// With a larger share of the members away, the fleet is not well.
const AWAY_BAD: f64 = 0.4;
/// Up to this share away, nobody has to look: phones sleep.
const AWAY_USUAL: f64 = 0.1;

/// How it is that this many of the members are connected, unless that is usual.
pub(in crate::page) fn away(connected: usize, all: usize) -> Option<Tone> {
    let away = all.saturating_sub(connected);
    match away as f64 / all.max(1) as f64 {
        share if share < AWAY_USUAL => None,
        // One device of two or three is no reason for an alarm.
        share if share <= AWAY_BAD || (away == 1 && all > 1) => Some(Tone::Warn),
        _ => Some(Tone::Bad),
    }
}

pub(super) fn of_devices(found: &mut Vec<Alert>, status: &Status) {
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

pub(super) fn of_certificates(found: &mut Vec<Alert>, view: &View) {
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
