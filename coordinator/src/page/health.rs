//! The coordinator itself: disk, memory, certificates, queues.

use maud::{Markup, html};

use super::expiry::{self, Holder};
use super::layout::{Tone, tile};
use super::route::Query;
use super::view::{LIVE_MAX, View};
use super::words;
use crate::status::StoreStatus;
use crate::store::LeaseNow;

pub(super) fn render(view: &View, _: &Query) -> Markup {
    let (health, status) = (&view.health, &view.status);
    html! {
        h1 { "Health" }
        p { "The coordinator itself: what it runs on, and whether it keeps up." }
        dl class="tiles" {
            (tile("Storage", if status.storage_ok { "works" } else { "fails" },
                format!("{} since the start", words::count(status.storage_failures as usize, "failure")),
                if !status.storage_ok { Tone::Bad } else if status.storage_failures > 0 { Tone::Warn } else { Tone::Good }))
            @if let (Some(free), Some(total)) = (health.disk_free, health.disk_total) {
                (tile("Disk free", &words::bytes(free), format!("of {}", words::bytes(total)), disk(free, total)))
            }
            @if let Some(memory) = health.memory {
                (tile("Memory", &words::bytes(memory),
                    health.memory_peak.map_or_else(String::new, |peak| format!("at most {}", words::bytes(peak))), Tone::Quiet))
            }
            (expiry::tile("Server certificate", Holder::Server, health.certificate_ends, status.now))
            (expiry::tile("Fleet authority", Holder::Authority, health.authority.and_then(|one| one.ends), status.now))
            (tile("Work waiting", &words::number(health.queue as u64),
                format!("messages and commands; there is room for {}", words::number(health.queue_max as u64)),
                if health.queue * 2 > health.queue_max { Tone::Warn } else { Tone::Good }))
            @if let Some(store) = status.store {
                (tile("Log", &words::number(store.next - store.first), records(&store), Tone::Quiet))
                @if let (Some(bytes), Some(blobs)) = (store.bytes, store.blobs) {
                    (tile("State on disk", &words::bytes(bytes), format!("the log, and {}: points, teachers, students", words::count(blobs as usize, "blob")), Tone::Quiet))
                }
            }
            @if let Some(lease) = health.lease { (lease_tile(lease)) }
            (tile("Up for", &words::span(status.now.since_ms(status.started)), format!("version {}", status.program), Tone::Quiet))
            (tile("Times opened", &words::number(u64::from(status.epoch)), "its state: one more with each start (the epoch)", Tone::Quiet))
            (tile("Browsers on this page", &words::number(health.readers as u64),
                format!("watching it live; beyond {LIVE_MAX}, others look every 15\u{a0}s"), Tone::Quiet))
        }
    }
}

fn records(store: &StoreStatus) -> String {
    let since = words::number(store.first);
    match store.snapshot {
        Some(at) => format!(
            "records, from no. {since} on; the newest snapshot stands at {}",
            words::number(at)
        ),
        None if store.first == 0 => "records, all that there were".to_owned(),
        None => format!("records, from no. {since} on"),
    }
}

/// The lease of this coordinator: only the leader serves the page.
fn lease_tile(lease: LeaseNow) -> Markup {
    let seconds = |ms: u64| format!("{:.1}\u{a0}s", ms as f64 / 1e3);
    let text = format!(
        "renewed {} ago, of {}; other coordinators stand by",
        seconds(lease.age_ms),
        seconds(lease.length_ms)
    );
    let tone = match lease_is_late(lease) {
        true => Tone::Warn,
        false => Tone::Good,
    };
    tile("Lease", "leads", text, tone)
}

/// Three renewals in a row did not come through.
pub(super) fn lease_is_late(lease: LeaseNow) -> bool {
    lease.age_ms > lease.length_ms / 2
}

fn disk(free: u64, total: u64) -> Tone {
    match free as f64 / total.max(1) as f64 {
        share if share < 0.03 => Tone::Bad,
        share if share < 0.10 => Tone::Warn,
        _ => Tone::Good,
    }
}
