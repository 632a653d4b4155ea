//! The coordinator itself: disk, memory, certificates, queues.

use common::ids::Time;
use maud::{Markup, html};

use super::layout::{Tone, tile};
use super::route::Query;
use super::view::View;
use super::words;
use crate::admin::StoreStatus;

const DAY_MS: u64 = 24 * 3_600_000;

pub(super) fn render(view: &View, _: &Query) -> Markup {
    let (health, status) = (&view.health, &view.status);
    html! {
        h1 { "Health" }
        p { "The coordinator itself: what it runs on, and whether it keeps up." }
        dl class="tiles" {
            (tile("Storage", if status.storage_ok { "works" } else { "fails" },
                &format!("{} since the start", words::count(status.storage_failures as usize, "failure")),
                if !status.storage_ok { Tone::Bad } else if status.storage_failures > 0 { Tone::Warn } else { Tone::Good }))
            @if let (Some(free), Some(total)) = (health.disk_free, health.disk_total) {
                (tile("Disk free", &words::bytes(free), &format!("of {}", words::bytes(total)), disk(free, total)))
            }
            @if let Some(memory) = health.memory {
                (tile("Memory", &words::bytes(memory),
                    &health.memory_peak.map_or_else(String::new, |peak| format!("at most {}", words::bytes(peak))), Tone::Quiet))
            }
            (certificate("Server certificate", health.certificate_ends, status.now, 30))
            (certificate("Fleet authority", health.authority.and_then(|one| one.ends), status.now, 365))
            (tile("Commands waiting", &health.queue.to_string(), &format!("of {} that fit", words::number(health.queue_max as u64)),
                if health.queue * 2 > health.queue_max { Tone::Warn } else { Tone::Good }))
            @if let Some(store) = status.store {
                (tile("Log", &words::number(store.next - store.first), &records(&store), Tone::Quiet))
                @if let (Some(bytes), Some(blobs)) = (store.bytes, store.blobs) {
                    (tile("State", &words::bytes(bytes), &format!("of the disk, {}", words::count(blobs as usize, "blob")), Tone::Quiet))
                }
            }
            (tile("Store epoch", &status.epoch.to_string(), "one more each time it is opened", Tone::Quiet))
            (tile("Up for", &words::span(status.now.since_ms(status.started)), &format!("version {}", status.program), Tone::Quiet))
            (tile("Live pages", &words::number(health.readers as u64), "open in browsers and kept up to date", Tone::Quiet))
        }
    }
}

fn records(store: &StoreStatus) -> String {
    let since = words::number(store.first);
    match store.snapshot {
        Some(at) => format!(
            "records from {since} on, newest snapshot at {}",
            words::number(at)
        ),
        None => format!("records from {since} on"),
    }
}

fn disk(free: u64, total: u64) -> Tone {
    match free as f64 / total.max(1) as f64 {
        share if share < 0.03 => Tone::Bad,
        share if share < 0.10 => Tone::Warn,
        _ => Tone::Good,
    }
}

fn certificate(what: &str, ends: Option<Time>, now: Time, days_min: u64) -> Markup {
    match ends {
        None => tile(what, "unreadable", "", Tone::Bad),
        Some(ends) => {
            let left = ends.since_ms(now);
            let tone = match left / DAY_MS {
                0 => Tone::Bad,
                days if days < days_min => Tone::Warn,
                _ => Tone::Good,
            };
            tile(
                what,
                &words::span(left),
                &format!("left, until {}", words::date(ends)),
                tone,
            )
        }
    }
}
