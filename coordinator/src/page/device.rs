//! One device: what is known of it.

use maud::{Markup, html};

use super::expiry::Holder;
use super::fleet::{session, state};
use super::layout::{Tone, command, pill};
use super::rounds::phases;
use super::route::Query;
use super::view::View;
use super::words;
use crate::status::{DeviceStatus, Forgetting, Quarantine, Standing};

pub(super) fn render(view: &View, query: &Query) -> Markup {
    let id = query.get("id").map(String::as_str).unwrap_or_default();
    let mut devices = view.status.devices.iter();
    html! {
        p { a href="/#devices" { "‹ All devices" } }
        @match devices.find(|one| one.device.to_string() == id) {
            Some(device) => (one(device, view)),
            None => {
                h1 { "No such device" }
                p class="hint" { "It has not joined, or its id is another: " (command("alambic-coordinator device list")) "." }
            }
        }
    }
}

fn one(device: &DeviceStatus, view: &View) -> Markup {
    let now = view.status.now;
    let (word, tone) = state(device);
    html! {
        h1 class="named" {
            @if device.label.is_empty() { "Device " (device.device.short()) } @else { (device.label) }
            " " (pill(tone, word))
        }
        (advice(device, view))
        dl class="facts" {
            (fact("Id", html! { code { (device.device) } }))
            @if let Some(gateway) = &device.gateway { (fact("Gateway", html! { (crate::status::format::name(gateway)) })) }
            @if let Some(group) = &device.group { (fact("Group", html! { (group) })) }
            @if let Some(at) = device.admitted { (fact("Joined", html! { (words::ago(now, at)) ", " time { (words::instant(at)) } " UTC" })) }
            (fact("Session", html! {
                (session(device, now))
                @if device.sessions > 1 { ", " (words::count(device.sessions as usize, "session")) " since the coordinator's start" }
            }))
            (fact("Last contribution", html! {
                @match device.contributed {
                    Some(at) => { (words::ago(now, at)) ", " time { (words::instant(at)) } " UTC" },
                    None => "never",
                }
            }))
            (fact("Student", super::fleet::students(device)))
            (fact("On held-out rows", super::fleet::reached_here(device)))
            @for student in &device.students {
                @if let Some(why) = &student.not_reported { (fact("Not known", html! { (student.task) ": " (why) })) }
            }
            @if !device.gives_nothing_to.is_empty() { (fact("Gives nothing to", html! { (device.gives_nothing_to.join(", ")) ": nothing of it is in the newest student" })) }
            (fact("Refused", html! {
                @if device.strikes == 0 { "nothing" }
                @else { (pill(Tone::Bad, &words::count(device.strikes as usize, "contribution"))) " for a fault no honest device makes" }
                @if let Some(reason) = device.peer_limits.struck_for { ", the last: " (reason) }
            }))
            @if device.peer_limits.violations > 0 { (fact("Breaches", html! { (words::number(u64::from(device.peer_limits.violations))) " of the protocol" })) }
            @if device.peer_limits.limited > 0 { (fact("Slowed down", html! { (words::count(device.peer_limits.limited as usize, "time")) ", for asking too much" })) }
            (fact("Sent up", html! { (words::bytes(device.uplink_bytes)) }))
            (fact("Sent down", html! { (words::bytes(device.downlink_bytes)) ", and " (words::bytes(device.handshake_bytes)) " of handshakes both ways" }))
            @if let Some(ends) = device.expires {
                (fact("Certificate", html! {
                    @match Holder::device(view.health.certificates).ending(ends, now) {
                        Some(tone) if ends <= now => (pill(tone, "over")),
                        Some(tone) => (pill(tone, "ends soon")),
                        None => (pill(Tone::Good, "good")),
                    }
                    @if ends <= now { " since " } @else { " until " }
                    time { (words::instant(ends)) } " UTC"
                }))
            }
            @if let (Some(at), Some(why)) = (device.revoked_at, &device.revoked_why) {
                (fact("Revoked", html! { (words::ago(now, at)) @if !why.is_empty() { ": " (why) } }))
            }
            @if let Some(forgotten) = device.forgotten {
                (fact("Forgotten", html! {
                    @match forgotten {
                        Forgetting::Partial => "in part: the newest student still stands on it",
                        Forgetting::Complete => "no newest student stands on it",
                    }
                }))
            }
        }
        (withheld(device, view))
        (left_out(device, view))
        (absences(device, view))
    }
}

/// Why it gives nothing, or less than it was asked for.
fn withheld(device: &DeviceStatus, view: &View) -> Markup {
    let told = view.status.tasks.iter().flat_map(|task| {
        let of_it = task.withheld.iter();
        let of_it = of_it.filter(|one| one.device.device == device.device);
        of_it.map(move |one| (task, one))
    });
    html! {
        @for (task, one) in told {
            p class="notice" { "It gives nothing to " strong { (task.name) } ", or less than it was asked for: " (one.text) "." }
        }
    }
}

/// What of it the newest students were made without.
fn left_out(device: &DeviceStatus, view: &View) -> Markup {
    let of_it = view.status.tasks.iter().flat_map(|task| {
        let excluded = task.excluded.iter();
        let of_it = excluded.filter(|one| one.device.device == device.device);
        of_it.map(move |one| (task, one))
    });
    let revoke = format!(
        "alambic-coordinator device revoke {}",
        device.device.short()
    );
    let of_it: Vec<_> = of_it.collect();
    html! {
        @for (task, one) in &of_it {
            p class="notice" {
                @if one.why.is_of_a_part() { "Some of its " } @else { "Its " }
                (one.kind) " is left out of " strong { (task.name) } ": " (one.text) "."
            }
        }
        @if !of_it.is_empty() && device.is_member() {
            p class="hint" { "Look at its sensors and labels. If it is no honest device: " (command(&revoke)) ", and then " (command("alambic-coordinator task relearn")) "." }
        }
    }
}

/// What its state means, and what an operator can do about it.
fn advice(device: &DeviceStatus, view: &View) -> Markup {
    let (now, terms) = (view.status.now, view.health.certificates);
    let order = |verb: &str| {
        let id = device.device.short();
        command(&format!("alambic-coordinator device {verb} {id}"))
    };
    let quarantine = device.peer_limits.quarantine.filter(|_| device.is_member());
    let over = device
        .expires
        .filter(|end| *end <= now && device.is_member());
    html! {
        @match device.standing {
            Standing::Waiting => p class="notice" { "It asks to join and waits for you. To let it in: " (order("approve")) "; to turn it away: " (order("deny")) "." },
            Standing::Approved => p class="hint" { "It was let in, and joins when it asks again: within seconds while " (command("alambic-agent enrol")) " runs there." },
            Standing::Denied => p class="hint" { "It was turned away. It may ask again with another token: " (command("alambic-coordinator token create")) "." },
            Standing::Revoked => p class="hint" { "Its key can never join again. To take out what it contributed as well: " (order("forget")) "." },
            Standing::Member | Standing::Unknown => {}
        }
        @if let Some(shared) = &device.shared_key {
            p class="notice" { "One key on two machines: " (shared.told()) "." }
        }
        @match quarantine {
            Some(Quarantine::Contributions) => p class="notice" { "In quarantine: nothing of it is taken, and nobody waits for it. It has " (words::count(device.strikes as usize, "strike")) ", contributions that no data makes. Once it is mended: " (order("pardon")) "; or for good: " (order("revoke")) "." },
            Some(Quarantine::Sessions { seconds }) => p class="notice" { "In quarantine: its sessions are refused for " (words::span(seconds.saturating_mul(1_000))) " more, for it broke the protocol too often. One that is only too old comes back once it is updated. To let it try at once: " (order("pardon")) "." },
            None if device.strikes > 0 && device.is_member() => p class="hint" { "It sent what no honest device sends. Update its agent; or for good: " (order("revoke")) "." },
            None => {}
        }
        @if let Some(end) = over {
            @let last = end.after_ms(terms.renewal_grace_ms);
            p class="notice" {
                @if now <= last { "Its certificate is over. It gets a new one when it connects, until " time { (words::instant(last)) } " UTC." }
                @else { "Its certificate is over, and so is the time to renew it: it has to join again, with " (command("alambic-coordinator token create")) "." }
            }
        } @else if device.is_member() && !device.connected && quarantine.is_none() {
            p class="hint" { "It keeps its student, and comes back by itself. What is in its way, it says there: " (command("alambic-agent doctor")) "." }
        }
    }
}

fn fact(what: &str, is: Markup) -> Markup {
    html! { div { dt { (what) } dd { (is) } } }
}

/// Rounds in which it did not do its part, as far as they are known.
fn absences(device: &DeviceStatus, view: &View) -> Markup {
    let missed = view.status.tasks.iter().flat_map(|task| {
        task.history.iter().rev().flat_map(move |ended| {
            let of_it = ended.absent.iter();
            let of_it = of_it.filter(|absence| absence.device.device == device.device);
            of_it.map(move |absence| (task, ended, absence))
        })
    });
    let missed: Vec<_> = missed.take(MISSED_MAX).collect();
    html! {
        @if !missed.is_empty() {
            h2 { "Rounds that went on without it" }
            div class="scroll" tabindex="0" role="region" aria-label="Rounds that went on without it" {
                table {
                    thead { tr { th scope="col" { "Round" } th scope="col" { "When" } th scope="col" { "Phase" } th scope="col" { "Why" } } }
                    tbody {
                        @for (task, ended, absence) in missed {
                            tr {
                                th scope="row" { (task.name) " " (ended.round) }
                                td { (words::ago(view.status.now, ended.ended)) }
                                td { (phases(&absence.phases)) } td { (absence.why) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Rounds listed.
const MISSED_MAX: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::Time;

    use super::super::fleet::tests::fleet;

    /// The advice to the first device of a fleet that was changed so.
    fn advised(change: impl Fn(&mut DeviceStatus)) -> String {
        let mut view = fleet(1);
        view.status.devices[0].connected = true;
        change(&mut view.status.devices[0]);
        let shown = advice(&view.status.devices[0], &view).into_string();
        let parts = shown.split('<').filter_map(|part| part.split_once('>'));
        parts.map(|(_, text)| text).collect()
    }

    #[test]
    fn each_state_comes_with_its_command() {
        assert_eq!(advised(|_| {}), "");
        let waiting = advised(|one| one.standing = Standing::Waiting);
        for part in ["device approve 00000000;", "device deny 00000000."] {
            assert!(waiting.contains(part), "{part} is not in {waiting}");
        }
        let struck = advised(|one| {
            one.strikes = 16;
            one.peer_limits.quarantine = Some(Quarantine::Contributions);
        });
        for part in [
            "16\u{a0}strikes",
            "device pardon 00000000;",
            "device revoke",
        ] {
            assert!(struck.contains(part), "{part} is not in {struck}");
        }
        let rude = Some(Quarantine::Sessions { seconds: 300 });
        let rude = advised(|one| one.peer_limits.quarantine = rude);
        assert!(rude.contains("refused for 5\u{a0}min more"), "{rude}");
        let over = advised(|one| one.expires = Some(Time(1)));
        assert!(over.contains("until 1970-06-30"), "{over}");
        assert!(advised(|one| one.connected = false).contains("alambic-agent doctor"));
        // One that was revoked is in nobody's way.
        let gone = advised(|one| {
            one.standing = Standing::Revoked;
            one.peer_limits.quarantine = Some(Quarantine::Contributions);
        });
        assert!(
            !gone.contains("pardon") && gone.contains("device forget"),
            "{gone}"
        );
    }
}
