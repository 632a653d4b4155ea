//! Log lines on standard error.

use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;

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
    if is_journal()
        && !json
        && let Ok(journal) = tracing_journald::layer()
    {
        // Fields become ALAMBIC_ROUND, ALAMBIC_KIND and so on.
        let journal = journal
            .with_syslog_identifier("alambic-agent".to_owned())
            .with_field_prefix(Some("ALAMBIC".to_owned()));
        let _ = registry.with(journal).try_init();
        return;
    }
    let colours = std::io::stderr().is_terminal();
    let layer = fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
    let _ = if json {
        registry.with(layer.json()).try_init()
    } else {
        registry.with(layer.with_target(false)).try_init()
    };
}

/// Whether standard error goes to the journal (systemd.exec(5)).
fn is_journal() -> bool {
    let Some(told) = std::env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    let file = std::fs::metadata("/proc/self/fd/2");
    file.is_ok_and(|file| told == *format!("{}:{}", file.dev(), file.ino()))
}
