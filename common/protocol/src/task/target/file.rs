//! `[target]` as a person writes it.

use serde::Deserialize;

use super::{NumberSpec, Target, USUAL};
use crate::task::checked::TaskError;

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawTargetKind {
    #[default]
    Class,
    Number,
    /// Nothing: rows have no labels, and the student says how usual one is.
    None,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::task) struct RawTarget {
    kind: RawTargetKind,
    values: Option<Vec<String>>,
    units: Option<Vec<String>>,
    min: Option<Limits>,
    max: Option<Limits>,
}

/// One for all values, or one for each.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Limits {
    All(f32),
    Each(Vec<f32>),
}

impl RawTarget {
    /// Whether rows have no labels.
    pub(in crate::task) fn is_none(&self) -> bool {
        matches!(self.kind, RawTargetKind::None)
    }

    /// Class names and the target; the one or the other says what is asked for.
    pub(in crate::task) fn checked(
        self,
        classes: Option<Vec<String>>,
    ) -> Result<(Vec<String>, Target), TaskError> {
        let refused = |key: &'static str, value: &str, allowed: &str| TaskError::Value {
            key,
            value: value.to_owned(),
            allowed: allowed.to_owned(),
        };
        if !matches!(self.kind, RawTargetKind::Class) && classes.is_some() {
            let allowed = "nothing, unless target.kind is \"class\"";
            return Err(refused("classes.names", "given", allowed));
        }
        if !matches!(self.kind, RawTargetKind::Number) {
            let given = [
                ("target.values", self.values.is_some()),
                ("target.units", self.units.is_some()),
                ("target.min", self.min.is_some()),
                ("target.max", self.max.is_some()),
            ];
            if let Some((key, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
                let allowed = "nothing, unless target.kind is \"number\"";
                return Err(refused(key, "given", allowed));
            }
        }
        match (self.kind, classes) {
            (RawTargetKind::Class, Some(classes)) => Ok((classes, Target::Class)),
            (RawTargetKind::Class, None) => Err(refused(
                "classes.names",
                "missing",
                "2 or more names; a task without classes has target.kind \"number\" or \"none\"",
            )),
            // One class of all rows: what is left to say of one is how unlike
            // the others it is.
            (RawTargetKind::None, _) => Ok((vec![USUAL.to_owned()], Target::Class)),
            (RawTargetKind::Number, _) => Ok((Vec::new(), Target::Number(self.numbers()?))),
        }
    }

    fn numbers(self) -> Result<Vec<NumberSpec>, TaskError> {
        let names = self.values.unwrap_or_else(|| vec!["value".to_owned()]);
        let many = names.len();
        let units = self.units.unwrap_or_else(|| vec![String::new(); many]);
        if units.len() != many {
            return Err(TaskError::Value {
                key: "target.units",
                value: format!("{} units", units.len()),
                allowed: format!("one for each of target.values: {many}"),
            });
        }
        let min = limits("target.min", self.min, many)?;
        let max = limits("target.max", self.max, many)?;
        let specs = names.into_iter().zip(units).zip(min.into_iter().zip(max));
        let specs = specs.map(|((name, unit), (min, max))| NumberSpec {
            name,
            unit,
            min,
            max,
        });
        Ok(specs.collect())
    }
}

fn limits(
    key: &'static str,
    limits: Option<Limits>,
    many: usize,
) -> Result<Vec<Option<f32>>, TaskError> {
    match limits {
        None => Ok(vec![None; many]),
        Some(Limits::All(limit)) => Ok(vec![Some(limit); many]),
        Some(Limits::Each(each)) if each.len() == many => Ok(each.into_iter().map(Some).collect()),
        Some(Limits::Each(each)) => Err(TaskError::Value {
            key,
            value: format!("{} limits", each.len()),
            allowed: format!("a number, or one for each of target.values: {many}"),
        }),
    }
}
