//! What a task's rounds came to, over weeks: the state remembers the newest
//! rounds alone, and neither it nor the log the bytes of any.
//!
//! Rounds are summed up over spans of time. There are never more than
//! `SPANS_MAX` of them: where one more would be needed, all become twice as
//! long. So a history takes some kilobytes however old its task becomes.

use bincode::{Decode, Encode};
use common::ids::{RoundId, TaskHash, Time};
use common::wire::codec;

use crate::store::{Epoch, Store, StoreError};

/// Spans of one history.
const SPANS_MAX: usize = 200;
/// Milliseconds of a span while a task is young.
const SPAN_MS_MIN: u64 = 60_000;

/// What one task's rounds came to.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct History {
    span_ms: u64,
    last: RoundId,
    spans: Vec<RoundsSpan>,
}

/// What the rounds that ended within one span of time came to.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
pub struct RoundsSpan {
    /// When its newest round ended.
    pub ended: Time,
    /// Rounds that ended.
    pub rounds: u32,
    /// Those of them that led to a student.
    pub completed: u32,
    /// Devices in the round with most of them.
    pub devices: u32,
    /// Bytes of contributions, of those rounds of which they are known.
    pub bytes: u64,
    /// What the newest student that was reported on reaches.
    pub reached: Option<ReachedThen>,
}

/// What a student reached on the devices' held-out rows.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
pub enum ReachedThen {
    /// The share that is right.
    Accuracy(f64),
    /// The root of the mean squared error, where the task asks for numbers.
    Rmse(f64),
}

/// A round that ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EndedRound {
    /// Its number.
    pub round: RoundId,
    /// When it ended.
    pub ended: Time,
    /// Whether it led to a student.
    pub completed: bool,
    /// Devices whose contributions its student is made of; without one, those
    /// that it took something of.
    pub devices: u32,
    /// Bytes of its contributions, if they are known.
    pub bytes: Option<u64>,
    /// What its student reaches, if devices reported.
    pub reached: Option<ReachedThen>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            span_ms: SPAN_MS_MIN,
            last: RoundId(0),
            spans: Vec::new(),
        }
    }
}

impl History {
    /// The spans in which rounds ended, oldest first.
    pub fn spans(&self) -> &[RoundsSpan] {
        &self.spans
    }

    /// The newest round that is in it.
    pub fn last(&self) -> RoundId {
        self.last
    }

    /// Adds a round; whether it was new.
    pub fn add(&mut self, one: &EndedRound) -> bool {
        if one.round <= self.last {
            return false;
        }
        self.last = one.round;
        self.spans.push(RoundsSpan {
            ended: one.ended,
            rounds: 1,
            completed: u32::from(one.completed),
            devices: one.devices,
            bytes: one.bytes.unwrap_or(0),
            reached: one.reached,
        });
        // The clock may have been set back.
        self.spans.sort_by_key(|span| span.ended);
        self.join();
        while self.spans.len() > SPANS_MAX {
            self.span_ms = self.span_ms.saturating_mul(2);
            self.join();
        }
        true
    }

    /// Sums up what lies within one span.
    fn join(&mut self) {
        let at = |span: &RoundsSpan| span.ended.0 / self.span_ms;
        let mut joined: Vec<RoundsSpan> = Vec::with_capacity(self.spans.len());
        for span in &self.spans {
            match joined.last_mut().filter(|last| at(last) == at(span)) {
                Some(last) => last.follow(span),
                None => joined.push(*span),
            }
        }
        self.spans = joined;
    }
}

impl RoundsSpan {
    fn follow(&mut self, later: &Self) {
        self.ended = later.ended;
        self.rounds = self.rounds.saturating_add(later.rounds);
        self.completed = self.completed.saturating_add(later.completed);
        self.devices = self.devices.max(later.devices);
        self.bytes = self.bytes.saturating_add(later.bytes);
        self.reached = later.reached.or(self.reached);
    }
}

/// The history of a task that is kept; an empty one where none is, or one that
/// this version cannot read: it is for people, and nothing stands on it.
///
/// # Errors
/// Those of the store.
pub fn load(store: &dyn Store, task: TaskHash) -> Result<History, StoreError> {
    let bytes = match store.document(&name(task)) {
        Err(StoreError::DocumentDamaged { .. }) => None,
        found => found?,
    };
    let history = bytes.and_then(|bytes| codec::decode_blob(&bytes).ok());
    let is_whole = |history: &History| history.span_ms > 0 && history.spans.len() <= SPANS_MAX;
    Ok(history.filter(is_whole).unwrap_or_default())
}

/// Keeps a task's history in place of an earlier one.
///
/// # Errors
/// Those of the store.
pub fn save(
    store: &dyn Store,
    epoch: Epoch,
    task: TaskHash,
    history: &History,
) -> Result<(), StoreError> {
    store.put_document(epoch, &name(task), &codec::encode(history))
}

/// Deletes the histories of all tasks but these.
///
/// # Errors
/// Those of the store.
pub fn retain(store: &dyn Store, epoch: Epoch, tasks: &[TaskHash]) -> Result<(), StoreError> {
    let kept: Vec<String> = tasks.iter().map(|task| name(*task)).collect();
    for found in store.documents()? {
        if found.starts_with(PREFIX) && !kept.contains(&found) {
            store.remove_document(epoch, &found)?;
        }
    }
    Ok(())
}

/// The name of a task's document.
fn name(task: TaskHash) -> String {
    let mut name = format!("{PREFIX}{task}");
    name.truncate(NAME_MAX);
    name
}

const PREFIX: &str = "history-";
/// Longest name of a document.
const NAME_MAX: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::MemoryStore;
    use proptest::prelude::*;

    fn round(number: u64, ended: u64) -> EndedRound {
        EndedRound {
            round: RoundId(number),
            ended: Time(ended),
            completed: true,
            devices: 3,
            bytes: Some(1_000),
            reached: Some(ReachedThen::Accuracy(0.9)),
        }
    }

    #[test]
    fn rounds_of_one_span_are_summed_up() {
        let mut history = History::default();
        assert!(history.add(&round(1, 5)));
        assert!(!history.add(&round(1, 5)), "it is known");
        let worse = EndedRound {
            completed: false,
            devices: 2,
            bytes: None,
            reached: None,
            ..round(2, 40_000)
        };
        history.add(&worse);
        history.add(&round(3, 70_000));
        let [first, second] = history.spans() else {
            panic!("{history:?}")
        };
        assert_eq!((first.rounds, first.completed, first.devices), (2, 1, 3));
        assert_eq!((first.bytes, second.bytes), (1_000, 1_000));
        assert_eq!(first.reached, Some(ReachedThen::Accuracy(0.9)));
    }

    #[test]
    fn a_year_of_hourly_rounds_stays_small() {
        let mut history = History::default();
        let rounds = 24 * 365;
        for number in 1..=rounds {
            history.add(&round(number, number * 3_600_000));
        }
        let spans = history.spans();
        assert!(spans.len() <= SPANS_MAX && spans.len() > SPANS_MAX / 3);
        let summed: u64 = spans.iter().map(|span| u64::from(span.rounds)).sum();
        assert_eq!(summed, rounds, "none is lost");
        assert!(codec::encode(&history).len() < 16_384);
        // The oldest is still there.
        assert!(spans[0].ended.0 < 8 * 86_400_000);
    }

    #[test]
    fn histories_survive_the_store_and_go_with_their_tasks() {
        let store = MemoryStore::new();
        let epoch = store.open_epoch().unwrap();
        let (one, other) = (TaskHash([1; 32]), TaskHash([2; 32]));
        let mut history = History::default();
        history.add(&round(1, 5));
        save(&store, epoch, one, &history).unwrap();
        save(&store, epoch, other, &history).unwrap();
        store.put_document(epoch, "another", b"x").unwrap();
        assert_eq!(load(&store, one).unwrap(), history);
        retain(&store, epoch, &[other]).unwrap();
        assert_eq!(load(&store, one).unwrap(), History::default());
        assert_eq!(load(&store, other).unwrap(), history);
        assert!(store.document("another").unwrap().is_some());
        // A document that does not decode does not stop the coordinator.
        store
            .put_document(epoch, &name(other), b"of a later version")
            .unwrap();
        assert_eq!(load(&store, other).unwrap(), History::default());
    }

    proptest! {
        #[test]
        fn any_rounds_are_kept_in_order_and_bounded(
            ends in prop::collection::vec(0u64..20_000_000_000, 1..400),
        ) {
            let mut history = History::default();
            for (at, ended) in ends.iter().enumerate() {
                history.add(&round(at as u64 + 1, *ended));
            }
            let spans = history.spans();
            prop_assert!(spans.len() <= SPANS_MAX);
            prop_assert!(spans.windows(2).all(|two| two[0].ended <= two[1].ended));
            let summed: u32 = spans.iter().map(|span| span.rounds).sum();
            prop_assert_eq!(summed as usize, ends.len());
            let bytes = codec::encode(&history);
            prop_assert_eq!(codec::decode_blob::<History>(&bytes).unwrap(), history);
        }
    }
}
