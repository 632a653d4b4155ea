//! Log lines of a program: to the journal where standard error is one, else as
//! lines for people or as JSON.

use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;

use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

/// What is logged, to be changed while the program runs.
pub struct LogFilter(reload::Handle<Targets, Registry>);

/// A log filter that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A word alone that is no level: it would be a module, and all others silent.
    #[error("{0:?} is not a log level; use error, warn, info, debug, trace or off")]
    Level(String),
    /// No list of modules and levels.
    #[error(transparent)]
    Parse(#[from] ParseError),
}

/// A filter, such as `info` or `warn,quinn=debug`.
///
/// # Errors
/// What is wrong with it.
pub fn parse(filter: &str) -> Result<Targets, FilterError> {
    let words = filter.split(',').map(str::trim);
    let mut alone = words.filter(|word| !word.contains('='));
    if let Some(word) = alone.find(|word| word.is_empty() || word.parse::<LevelFilter>().is_err()) {
        return Err(FilterError::Level(word.to_owned()));
    }
    Ok(filter.parse()?)
}

/// Logs what `filter` lets through from now on, under the program's name. Only
/// the first call of a process counts.
pub fn begin(program: &str, filter: &str, json: bool) -> LogFilter {
    // The configuration has checked it.
    let (targets, handle) = reload::Layer::new(parse(filter).unwrap_or_default());
    let registry = tracing_subscriber::registry().with(targets);
    if is_journal()
        && !json
        && let Ok(journal) = tracing_journald::layer()
    {
        // Fields become ALAMBIC_DEVICE, ALAMBIC_ROUND and so on.
        let journal = journal
            .with_syslog_identifier(program.to_owned())
            .with_field_prefix(Some("ALAMBIC".to_owned()));
        let _ = registry.with(journal).try_init();
        return LogFilter(handle);
    }
    let colours = std::io::stderr().is_terminal();
    let layer = fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
    let _ = match json {
        true => registry.with(layer.json()).try_init(),
        false => registry.with(layer.with_target(false)).try_init(),
    };
    LogFilter(handle)
}

impl LogFilter {
    /// Logs what another filter lets through; an invalid one changes nothing.
    pub fn change(&self, filter: &str) {
        let changed = parse(filter).map_err(|error| error.to_string());
        let changed = changed.and_then(|targets| {
            let reloaded = self.0.reload(targets);
            reloaded.map_err(|error| error.to_string())
        });
        if let Err(error) = changed {
            tracing::warn!(error, "the log filter stays as it is");
        }
    }
}

/// Whether standard error goes to the journal (systemd.exec(5)).
fn is_journal() -> bool {
    let Some(told) = std::env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    let file = std::fs::metadata("/proc/self/fd/2");
    file.is_ok_and(|file| told == *format!("{}:{}", file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_word_alone_is_a_level() {
        for filter in [
            "info",
            "WARN",
            "off",
            "warn,quinn=debug",
            "coordinator::round=trace,info",
        ] {
            assert!(parse(filter).is_ok(), "{filter}");
        }
        for filter in ["warning", "verbose", "", "info,quinn", "quinn=loud"] {
            assert!(parse(filter).is_err(), "{filter}");
        }
    }
}
