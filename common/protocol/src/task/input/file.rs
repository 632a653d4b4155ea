//! The `[input]` table of a task file.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};

use super::{ArrayInput, Column, InputKind, Missing, SeriesInput, TableInput};
use crate::task::checked::TaskError;

/// The `[input]` table as it is written. Which keys belong to which kind is
/// checked afterwards, so that a wrong one is named.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::task) struct RawInput {
    #[serde(default)]
    kind: RawKind,
    shape: Option<Vec<u32>>,
    names: Option<Vec<String>>,
    columns: Option<Vec<RawColumn>>,
    missing: Option<RawMissing>,
    channels: Option<Vec<RawColumn>>,
    rate_hz: Option<f64>,
    window_s: Option<f64>,
    hop_s: Option<f64>,
    label_share: Option<f64>,
    gap_s: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum RawKind {
    #[default]
    Array,
    Table,
    Series,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawMissing {
    #[default]
    Refuse,
    Mean,
    SkipRow,
}

/// A column: its name, or a table with more than that.
#[derive(Clone, Debug)]
struct RawColumn(FullColumn);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FullColumn {
    name: String,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    values: Vec<String>,
}

impl<'de> Deserialize<'de> for RawColumn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawColumn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column's name, or { name = …, unit = …, values = […] }")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<RawColumn, E> {
                Ok(RawColumn(FullColumn {
                    name: name.to_owned(),
                    unit: String::new(),
                    values: Vec::new(),
                }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawColumn, A::Error> {
                FullColumn::deserialize(MapAccessDeserializer::new(map)).map(RawColumn)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl RawColumn {
    fn checked(self) -> Column {
        let FullColumn { name, unit, values } = self.0;
        Column { name, unit, values }
    }
}

impl RawInput {
    /// The kind and the shape that it makes.
    ///
    /// # Errors
    /// A key that the kind needs or does not take.
    pub(in crate::task) fn checked(self) -> Result<(InputKind, Vec<u32>), TaskError> {
        self.belong()?;
        let columns = |columns: Vec<RawColumn>| columns.into_iter().map(RawColumn::checked);
        let kind = match self.kind {
            RawKind::Array => {
                let shape = needed("input.shape", "array", self.shape)?;
                let names = self.names.unwrap_or_default();
                return Ok((InputKind::Array(ArrayInput { names }), shape));
            }
            RawKind::Table => InputKind::Table(TableInput {
                columns: columns(needed("input.columns", "table", self.columns)?).collect(),
                missing: match self.missing.unwrap_or_default() {
                    RawMissing::Refuse => Missing::Refuse,
                    RawMissing::Mean => Missing::Mean,
                    RawMissing::SkipRow => Missing::SkipRow,
                },
            }),
            RawKind::Series => {
                let rate_hz = needed("input.rate_hz", "series", self.rate_hz)?;
                let window_s = needed("input.window_s", "series", self.window_s)?;
                InputKind::Series(SeriesInput {
                    channels: columns(needed("input.channels", "series", self.channels)?).collect(),
                    rate_hz,
                    window_s,
                    hop_s: self.hop_s.unwrap_or(window_s / 2.0),
                    label_share: self.label_share.unwrap_or(1.0),
                    gap_s: self.gap_s.unwrap_or(GAP_STEPS / rate_hz),
                })
            }
        };
        let shape = kind.shape().unwrap_or_default();
        Ok((kind, shape))
    }

    /// Whether every key that is there belongs to the kind.
    fn belong(&self) -> Result<(), TaskError> {
        use RawKind::{Array, Series, Table};
        for (key, is_there, kinds) in [
            ("input.shape", self.shape.is_some(), Array),
            ("input.names", self.names.is_some(), Array),
            ("input.columns", self.columns.is_some(), Table),
            ("input.missing", self.missing.is_some(), Table),
            ("input.channels", self.channels.is_some(), Series),
            ("input.rate_hz", self.rate_hz.is_some(), Series),
            ("input.window_s", self.window_s.is_some(), Series),
            ("input.hop_s", self.hop_s.is_some(), Series),
            ("input.label_share", self.label_share.is_some(), Series),
            ("input.gap_s", self.gap_s.is_some(), Series),
        ] {
            if is_there && kinds != self.kind {
                let name = |kind| match kind {
                    Array => "array",
                    Table => "table",
                    Series => "series",
                };
                return Err(TaskError::Value {
                    key,
                    value: format!("set beside input.kind = {:?}", name(self.kind)),
                    allowed: format!("for input.kind = {:?} only", name(kinds)),
                });
            }
        }
        Ok(())
    }
}

fn needed<T>(key: &'static str, kind: &str, value: Option<T>) -> Result<T, TaskError> {
    value.ok_or_else(|| TaskError::Value {
        key,
        value: "missing".to_owned(),
        allowed: format!("required for input.kind = {kind:?}"),
    })
}

/// Sampling periods without a sample that end a recording, unless the task
/// says otherwise: two lost samples are bridged, more are not guessed.
const GAP_STEPS: f64 = 3.5;
