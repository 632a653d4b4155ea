//! What is kept of the past, and what stands for the rest.
//!
//! The state of the coordinator is the fold of its log ([`Fold`]). A
//! `snapshot` is such a fold up to a record that it names by number and
//! hash; a start takes the newest one that lies on the log's chain and folds
//! only what follows. Records before it may then go, and with them the blobs
//! that nothing kept needs any more (`references`). [`Compaction`] does all of
//! that in small steps, each of which may be the last before a crash.
//!
//! Two snapshots are kept and the log never begins after the older one, so
//! one that is damaged costs a longer replay and nothing else.
//!
//! What rounds came to ([`History`]) is kept beside them, for people: nothing
//! stands on it.

pub mod audit;
mod compaction;
mod fold;
mod history;
mod pins;
mod references;
mod replay;
mod snapshot;

#[cfg(test)]
mod tests;

pub use compaction::{Compaction, CompactionError, Done, Step};
pub use engine::entry::LogEntry;
pub use fold::{Fold, ReplayError};
pub use history::{
    EndedRound, History, ReachedThen, RoundsSpan, load as load_history, retain as retain_histories,
    save as save_history,
};
pub use pins::{Pin, Pins};
pub use references::needed;
pub use replay::{Replayed, replay};
pub use snapshot::{
    Loaded, Refused, SNAPSHOT_VERSION, is_snapshot, newest, newest_position, tasks_of,
};

/// How much of the past is kept in detail.
///
/// | setting | default | allowed |
/// |---|---|---|
/// | `rounds` | 100 | 1 to 10,000, or all |
/// | `blob_rounds` | 4 | 1 to `rounds` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Records of this many of the newest rounds stay in the log; all of
    /// them if there is no number.
    pub rounds: Option<u32>,
    /// Contributions and what was computed of them stay for this many of the
    /// newest rounds, needed or not.
    pub blob_rounds: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            rounds: Some(100),
            blob_rounds: 4,
        }
    }
}

/// Most rounds of which a number can be asked for.
pub const ROUNDS_MAX: u32 = 10_000;
