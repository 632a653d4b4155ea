//! The owner's rules on what may leave the device. Nothing the coordinator
//! sends can loosen them.

mod budget;
mod history;
mod rank;
mod refusal;
mod rows;
mod spent;

use std::collections::BTreeSet;

use bincode::{Decode, Encode};
use common::limits::ROWS_MAX;
use common::limits::ROWS_PER_DIRECTION;
use common::round::Kind;
use common::task::Task;
use common::withheld::RawWithheld;
use serde::Deserialize;

use crate::work::{Entry, Privacy};
pub use budget::{Budget, DELTA, RawBudget};
pub use history::{Described, HISTORY_BYTES_MAX, HistoryError, RowHistory};
pub use refusal::Refusal;
pub use rows::{RowHash, RowSet, RowSetDigest};
pub use spent::{Charge, Spent, SpentError};

/// `[policy]` as it is written.
///
/// | key | default | allowed |
/// |---|---|---|
/// | `kinds` | all | any of `profile`, `summary`, `labels`, `moments`, `report` |
/// | `rows_min` | 20 | 2 to 2^40 |
/// | `cluster_size_min` | 5 | 2 or more |
/// | `rows_per_direction` | 15 | 2 or more |
/// | `bytes_per_day_max` | none | 0 or more |
/// | `model_bytes_max` | 33554432 | 0 or more |
/// | `disclose` | `reasons` | `reasons`, `codes` or `nothing` |
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawPolicy {
    kinds: Option<Vec<String>>,
    rows_min: Option<i64>,
    cluster_size_min: Option<i64>,
    rows_per_direction: Option<i64>,
    bytes_per_day_max: Option<i64>,
    model_bytes_max: Option<i64>,
    disclose: Disclose,
}

/// What the operator is told where this device gives nothing, or less than it
/// was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disclose {
    /// The reason with its place in the data: file, line and column.
    #[default]
    Reasons,
    /// A word.
    Codes,
    /// That it gives nothing, and no more.
    Nothing,
}

impl Disclose {
    /// Its word in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reasons => "reasons",
            Self::Codes => "codes",
            Self::Nothing => "nothing",
        }
    }

    /// As much of a reason as may be told.
    pub fn of(self, why: RawWithheld) -> Option<RawWithheld> {
        match self {
            Self::Reasons => Some(why),
            Self::Codes => Some(RawWithheld {
                detail: String::new(),
                ..why
            }),
            Self::Nothing => None,
        }
    }
}

/// A value of `[policy]` outside what its key allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value:?}, allowed is {allowed}")]
pub struct PolicyError {
    /// The key, with its table.
    pub key: &'static str,
    /// What it was set to.
    pub value: String,
    /// What it may be.
    pub allowed: &'static str,
}

/// The policy, checked.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Policy {
    kinds: BTreeSet<Kind>,
    rows_min: u64,
    cluster_size_min: u32,
    rows_per_direction: u32,
    bytes_per_day_max: Option<u64>,
    model_bytes_max: u64,
    disclose: Disclose,
    budget: Option<Budget>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            kinds: Kind::ALL.into(),
            rows_min: 20,
            cluster_size_min: 5,
            rows_per_direction: ROWS_PER_DIRECTION,
            bytes_per_day_max: None,
            model_bytes_max: MODEL_BYTES_MAX,
            disclose: Disclose::default(),
            budget: None,
        }
    }
}

impl RawPolicy {
    /// The policy these keys mean.
    ///
    /// # Errors
    /// The first key whose value is not allowed.
    pub fn check(self) -> Result<Policy, PolicyError> {
        let default = Policy::default();
        let kinds = match self.kinds {
            None => default.kinds,
            Some(names) => names
                .iter()
                .map(|name| kind(name))
                .collect::<Result<_, _>>()?,
        };
        let rows = |value| {
            u64::try_from(value)
                .ok()
                .filter(|n| (2..=ROWS_MAX).contains(n))
        };
        let size = |value| u32::try_from(value).ok().filter(|n| *n >= 2);
        let bytes = |value| u64::try_from(value).ok();
        Ok(Policy {
            kinds,
            rows_min: checked(
                "policy.rows_min",
                "a number from 2 to 2^40",
                self.rows_min,
                rows,
            )?
            .unwrap_or(default.rows_min),
            cluster_size_min: checked(
                "policy.cluster_size_min",
                "a number from 2 to 2^32 - 1",
                self.cluster_size_min,
                size,
            )?
            .unwrap_or(default.cluster_size_min),
            rows_per_direction: checked(
                "policy.rows_per_direction",
                "a number from 2 to 2^32 - 1",
                self.rows_per_direction,
                size,
            )?
            .unwrap_or(default.rows_per_direction),
            bytes_per_day_max: checked(
                "policy.bytes_per_day_max",
                "a number of bytes, 0 or more",
                self.bytes_per_day_max,
                bytes,
            )?,
            model_bytes_max: checked(
                "policy.model_bytes_max",
                "a number of bytes, 0 or more",
                self.model_bytes_max,
                bytes,
            )?
            .unwrap_or(default.model_bytes_max),
            disclose: self.disclose,
            budget: None,
        })
    }
}

impl Policy {
    /// Kinds of contributions that may leave.
    pub fn kinds(&self) -> &BTreeSet<Kind> {
        &self.kinds
    }

    /// Fewest rows that anything that leaves describes.
    pub fn rows_min(&self) -> u64 {
        self.rows_min
    }

    /// Fewest rows a distilled point stands for, whatever a task asks.
    pub fn cluster_size_min(&self) -> u32 {
        self.cluster_size_min
    }

    /// Rows for each direction that a contribution tells of them, at least:
    /// see [`Privacy::directions`].
    pub fn rows_per_direction(&self) -> u32 {
        self.rows_per_direction
    }

    /// Most bytes that leave in one day (UTC), if there is a limit.
    pub fn bytes_per_day_max(&self) -> Option<u64> {
        self.bytes_per_day_max
    }

    /// Most bytes of a model that a task brings along.
    pub fn model_bytes_max(&self) -> u64 {
        self.model_bytes_max
    }

    /// What the operator is told of what is kept back; under differential
    /// privacy at most a word, for details are of the rows.
    pub fn disclose(&self) -> Disclose {
        match (self.disclose, self.budget) {
            (Disclose::Reasons, Some(_)) => Disclose::Codes,
            (disclose, _) => disclose,
        }
    }

    /// The same policy under differential privacy, if there is a budget.
    #[must_use]
    pub fn with_budget(self, budget: Option<Budget>) -> Self {
        Self { budget, ..self }
    }

    /// What everything that leaves may cost together, if the owner wants
    /// differential privacy.
    pub fn budget(&self) -> Option<Budget> {
        self.budget
    }

    /// What the computations obey for a task that asks for clusters of at
    /// least `task_cluster_size_min` rows: a task can only be stricter.
    pub fn privacy(&self, task_cluster_size_min: u32) -> Privacy {
        Privacy {
            rows_min: self.rows_min,
            cluster_size_min: self.cluster_size_min.max(task_cluster_size_min),
            rows_per_direction: self.rows_per_direction,
        }
    }

    /// Whether `bytes` of this kind that describe `rows` rows may leave, when
    /// `sent_today` bytes left today already or wait in the outbox.
    ///
    /// # Errors
    /// The first rule that forbids it.
    pub fn permit(
        &self,
        kind: Kind,
        rows: u64,
        bytes: u64,
        sent_today: u64,
    ) -> Result<(), Refusal> {
        if !self.kinds.contains(&kind) {
            let allowed = self.kinds.iter().copied().collect();
            return Err(Refusal::Kind { kind, allowed });
        }
        if rows < self.rows_min {
            let rows_min = self.rows_min;
            return Err(Refusal::Rows { rows, rows_min });
        }
        match self.bytes_per_day_max {
            Some(bytes_max) if sent_today.saturating_add(bytes) > bytes_max => {
                Err(Refusal::Bytes {
                    bytes,
                    sent_today,
                    bytes_max,
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether what a contribution tells is little enough for its rows, read
    /// from its bytes: [`Privacy::directions`] holds, and no class or point
    /// stands for fewer rows than it may.
    ///
    /// # Errors
    /// The first rule that forbids it.
    pub fn permit_content(&self, task: &Task, entry: &Entry) -> Result<(), Refusal> {
        let privacy = self.privacy(task.definition().budget.cluster_size_min);
        rank::check(privacy, task, entry)
    }
}

fn kind(name: &str) -> Result<Kind, PolicyError> {
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| PolicyError {
        key: "policy.kinds",
        value: name.to_owned(),
        allowed: "profile, summary, labels, moments or report",
    })
}

fn checked<T>(
    key: &'static str,
    allowed: &'static str,
    value: Option<i64>,
    fits: impl Fn(i64) -> Option<T>,
) -> Result<Option<T>, PolicyError> {
    let Some(value) = value else { return Ok(None) };
    fits(value).map(Some).ok_or_else(|| PolicyError {
        key,
        value: value.to_string(),
        allowed,
    })
}

/// Most bytes of a model that a task brings along, where the owner says nothing: 32
/// MiB, with which a piece of work takes some 200 MiB of memory.
const MODEL_BYTES_MAX: u64 = 32 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn policy(text: &str) -> Result<Policy, PolicyError> {
        toml::from_str::<RawPolicy>(text).unwrap().check()
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        assert_eq!(policy("").unwrap(), Policy::default());
        let written = policy("rows_min = 50\nkinds = [\"profile\", \"moments\"]").unwrap();
        assert_eq!(written.rows_min(), 50);
        assert_eq!(written.cluster_size_min(), 5);
        let kinds = written.kinds().iter().copied();
        assert!(kinds.eq([Kind::Profile, Kind::Moments]));
    }

    #[test]
    fn values_that_would_switch_a_rule_off_are_refused() {
        for (text, key) in [
            ("rows_min = 1", "policy.rows_min"),
            ("rows_min = -3", "policy.rows_min"),
            ("cluster_size_min = 1", "policy.cluster_size_min"),
            ("rows_per_direction = 1", "policy.rows_per_direction"),
            ("bytes_per_day_max = -1", "policy.bytes_per_day_max"),
            ("kinds = [\"rows\"]", "policy.kinds"),
        ] {
            assert_eq!(policy(text).unwrap_err().key, key, "{text}");
        }
        assert!(toml::from_str::<RawPolicy>("row_min = 3").is_err());
    }

    #[test]
    fn a_task_cannot_loosen_the_cluster_size() {
        let policy = Policy::default();
        assert_eq!(policy.privacy(2).cluster_size_min, 5);
        assert_eq!(policy.privacy(12).cluster_size_min, 12);
        assert_eq!(policy.privacy(2).rows_min, 20);
    }

    #[test]
    fn a_kind_that_is_not_allowed_never_leaves() {
        let policy = policy("kinds = [\"labels\"]").unwrap();
        assert_eq!(policy.permit(Kind::Labels, 20, 1, 0), Ok(()));
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Labels) {
            let allowed = vec![Kind::Labels];
            let refused = policy.permit(kind, 1_000_000, 0, 0);
            assert_eq!(refused, Err(Refusal::Kind { kind, allowed }));
        }
    }

    #[test]
    fn too_few_rows_and_too_many_bytes_are_refused() {
        let policy = policy("bytes_per_day_max = 100").unwrap();
        assert_eq!(policy.permit(Kind::Report, 20, 60, 40), Ok(()));
        assert_eq!(
            policy.permit(Kind::Report, 19, 60, 40),
            Err(Refusal::Rows {
                rows: 19,
                rows_min: 20
            })
        );
        for (bytes, sent_today) in [(61, 40), (u64::MAX, 1)] {
            assert_eq!(
                policy.permit(Kind::Report, 20, bytes, sent_today),
                Err(Refusal::Bytes {
                    bytes,
                    sent_today,
                    bytes_max: 100
                })
            );
        }
    }
}
