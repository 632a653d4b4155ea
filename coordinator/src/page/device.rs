//! One device: what is known of it.

use maud::{Markup, html};

use super::expiry::Holder;
use super::fleet::{session, state};
use super::layout::{Tone, command, pill};
use super::rounds::phases;
use super::route::Query;
use super::view::View;
use super::words;
use crate::admin::{DeviceStatus, Forgetting};

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
        dl class="facts" {
            (fact("Id", html! { code { (device.device) } }))
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
            (fact("Refused", html! {
                @if device.strikes == 0 { "nothing" }
                @else { (pill(Tone::Bad, &words::count(device.strikes as usize, "contribution"))) " for a fault no honest device makes" }
            }))
            (fact("Sent up", html! { (words::bytes(device.uplink_bytes)) }))
            (fact("Sent down", html! { (words::bytes(device.downlink_bytes)) ", and " (words::bytes(device.handshake_bytes)) " of handshakes both ways" }))
            @if let Some(ends) = device.expires {
                (fact("Certificate", html! {
                    @match Holder::Device.ending(ends, now) {
                        Some(tone) if ends <= now => (pill(tone, "over")),
                        Some(tone) => (pill(tone, "ends soon")),
                        None => (pill(Tone::Good, "good")),
                    }
                    " until " time { (words::instant(ends)) } " UTC"
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
        (absences(device, view))
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
