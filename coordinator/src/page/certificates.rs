//! Who is believed, and until when: the server, the authority, the keys that
//! sign releases, and every device.

use common::ids::Time;
use maud::{Markup, html};

use super::expiry::{self, Holder};
use super::layout::{self, Tone, command, pages, pill, slice, tile};
use super::route::Query;
use super::view::{Health, View};
use super::words;
use crate::status::{DeviceStatus, Standing};

/// Devices on one page.
const DEVICES_EACH: usize = 100;
const DAY_MS: u64 = 24 * 3_600_000;

pub(super) fn render(view: &View, query: &Query) -> Markup {
    let (health, now) = (&view.health, view.status.now);
    let authority = health.authority.and_then(|one| one.ends);
    let trust_root = health.trust_root.as_ref().map(|one| one.expires);
    html! {
        h1 { "Certificates" }
        p { "Everyone here proves who they are: devices to the coordinator and it to them. All of it renews by itself but the authority and the trust root of release keys, which an operator renews." }
        dl class="tiles" {
            (expiry::tile("Server", Holder::Server, health.certificate_ends, now))
            (expiry::tile("Fleet authority", Holder::Authority, authority, now))
            (expiry::tile("Trust root of release keys", Holder::TrustRoot, trust_root, now))
            (root(health))
        }
        (keys(health, view))
        (devices(view, query))
    }
}

/// The root key is safest where this machine cannot reach it.
fn root(health: &Health) -> Markup {
    match health.root_here {
        true => tile(
            "Root key",
            "on this machine",
            html! { "safer elsewhere: " (command("alambic-coordinator key offline --out FILE")) },
            Tone::Quiet,
        ),
        false => tile("Root key", "kept elsewhere", "as it should be", Tone::Good),
    }
}

fn keys(health: &Health, view: &View) -> Markup {
    let previous = health.previous.as_ref();
    let present = health.authority.map(|one| one.fingerprint);
    let behind = view.status.devices.iter().filter(|device| {
        device.standing == Standing::Member && previous.is_some() && device.authority != present
    });
    let behind = behind.count();
    html! {
        section aria-labelledby="believed" {
            h2 id="believed" { "Who is believed" }
            dl class="facts" {
                @if let Some(present) = present {
                    div { dt { "Authority" } dd { code { (present) } } }
                }
                @if let Some(previous) = previous {
                    div { dt { "Authority before" } dd {
                        code { (previous.fingerprint) } " "
                        @if behind == 0 { (pill(Tone::Good, "nobody needs it")) ": " (command("alambic-coordinator ca retire")) }
                        @else { (pill(Tone::Warn, &words::count(behind, "device"))) " still hold its certificates" }
                    } }
                }
                @if let Some(trust_root) = &health.trust_root {
                    div { dt { "Trust root" } dd { "number " (trust_root.number) ", signed by root key " code { (trust_root.root.id()) } } }
                    @for key in &trust_root.release_keys {
                        div { dt { "Release key" } dd {
                            code { (key.id()) } " "
                            @if health.signer.as_ref() == Some(key) { (pill(Tone::Good, "signs")) }
                            @else { (pill(Tone::Quiet, "believed")) }
                        } }
                    }
                }
            }
        }
    }
}

/// Ends of devices' certificates, counted.
const SPANS: [(&str, u64); 4] = [
    ("over", 0),
    ("within a week", 7),
    ("within a month", 31),
    ("later", u64::MAX),
];

fn devices(view: &View, query: &Query) -> Markup {
    let now = view.status.now;
    let members = view.status.devices.iter();
    let members = members.filter(|one| one.standing == Standing::Member);
    let mut ends: Vec<(Time, &DeviceStatus)> = members
        .filter_map(|device| Some((device.expires?, device)))
        .collect();
    ends.sort_by_key(|(end, device)| (*end, device.device));
    let span = |end: Time| {
        let left = end.since_ms(now);
        SPANS
            .iter()
            .position(|(_, days)| left <= days.saturating_mul(DAY_MS))
            .unwrap_or(SPANS.len() - 1)
    };
    let terms = view.health.certificates;
    let holder = Holder::device(terms);
    let (mut counts, mut tones) = ([0usize; SPANS.len()], [Tone::Good; SPANS.len()]);
    for (end, _) in &ends {
        let at = span(*end);
        counts[at] += 1;
        tones[at] = tones[at].max(holder.ending(*end, now).unwrap_or(Tone::Good));
    }
    let (page, all, range) = slice(query.get("page"), ends.len(), DEVICES_EACH);
    html! {
        section aria-labelledby="devices" {
            h2 id="devices" { "Devices" }
            @if ends.is_empty() {
                p class="hint" { "No device has a certificate yet." }
            } @else {
                p {
                    "They last " (words::span(terms.device_lifetime_ms)) " and are renewed from half of that on, whenever a device connects; after their end for "
                    (words::span(terms.renewal_grace_ms)) " still. They end: "
                    @for (((label, _), count), tone) in SPANS.iter().zip(counts).zip(tones) {
                        @if count > 0 { (pill(tone, &format!("{} {label}", words::number(count as u64)))) " " }
                    }
                }
                div class="scroll" tabindex="0" role="region" aria-label="Devices by the end of their certificates" {
                    table {
                        thead { tr {
                            th scope="col" { "Device" } th scope="col" { "Ends" } th scope="col" { "Until (UTC)" }
                            th scope="col" class="extra" { "Certificate (SHA-256)" }
                        } }
                        tbody {
                            @for (end, device) in &ends[range] {
                                tr {
                                    th scope="row" { (layout::device(device.device, &device.label)) }
                                    td { @match end.since_ms(now) {
                                        0 => (pill(Tone::Warn, "over")),
                                        left => { "in\u{a0}" (words::span(left)) },
                                    } }
                                    td class="even" { time title=(words::instant(*end)) { (words::date(*end)) } }
                                    td class="extra" { @if let Some(print) = device.certificate { code class="quiet" { (short(&print.to_string())) } } }
                                }
                            }
                        }
                    }
                }
                (pages(page, all, |page| format!("/certificates?page={page}#devices")))
            }
        }
    }
}

/// The beginning of a fingerprint, enough to tell two apart.
fn short(print: &str) -> String {
    let mut text: String = print.chars().take(23).collect();
    text.push('…');
    text
}
