//! `[budget]` of a task file.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::checked::TaskError;
use super::definition::Budget;
use super::file::nothing_beside;
use crate::limits::POINTS_MAX;

/// Whether a person or the coordinator says what bytes are spent on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BudgetBy {
    #[default]
    Fixed,
    Auto,
}

/// The table, or the word for its `plan` alone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawBudget {
    plan: BudgetBy,
    points_per_device: Option<u32>,
    points_max: Option<u32>,
    uplink_bytes_max: Option<u64>,
    rank_max: Option<u32>,
    bits: Option<u8>,
    label_bits: Option<u8>,
    cluster_size_min: Option<u32>,
}

impl RawBudget {
    pub(super) fn is_planned(&self) -> bool {
        self.plan == BudgetBy::Auto
    }

    /// The budget; the most that any plan may say where it is planned.
    pub(super) fn checked(self) -> Result<Budget, TaskError> {
        let planned = self.is_planned();
        if planned {
            nothing_beside("budget.points_per_device", self.points_per_device)?;
            nothing_beside("budget.points_max", self.points_max)?;
            nothing_beside("budget.rank_max", self.rank_max)?;
            nothing_beside("budget.bits", self.bits)?;
        }
        let most = |fixed: u32| if planned { POINTS_MAX as u32 } else { fixed };
        Ok(Budget {
            points_per_device: self.points_per_device.unwrap_or(most(30)),
            points_max: self.points_max.unwrap_or(most(1_000)),
            uplink_bytes_max: self.uplink_bytes_max.unwrap_or(100_000),
            rank_max: self.rank_max.unwrap_or(0),
            bits: self.bits.unwrap_or(8),
            label_bits: self.label_bits.unwrap_or(8),
            cluster_size_min: self.cluster_size_min.unwrap_or(5),
        })
    }
}

/// A table, or `"auto"` for a table that says no more.
pub(super) fn table_or_word<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<RawBudget, D::Error> {
    deserializer.deserialize_any(TableOrWord)
}

struct TableOrWord;

impl<'de> Visitor<'de> for TableOrWord {
    type Value = RawBudget;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table [budget], or \"auto\"")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<RawBudget, E> {
        let plan = BudgetBy::deserialize(de::value::StrDeserializer::new(word))?;
        Ok(RawBudget {
            plan,
            ..RawBudget::default()
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<RawBudget, A::Error> {
        RawBudget::deserialize(MapAccessDeserializer::new(table))
    }
}
