//! Log lines on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Logs what `filter` lets through, for people or as JSON. Only the first
/// call of a process counts.
pub(super) fn begin(filter: &str, json: bool) {
    // The configuration has checked it.
    let targets: Targets = filter.parse().unwrap_or_default();
    let registry = tracing_subscriber::registry().with(targets);
    let colours = std::io::stderr().is_terminal();
    let layer = fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
    let _ = if json {
        registry.with(layer.json()).try_init()
    } else {
        registry.with(layer.with_target(false)).try_init()
    };
}
