//! The section `[teacher]`.

use serde::Deserialize;

use super::{ConfigError, Pick};
use crate::work::TeacherChoice;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTeacher {
    kind: Option<String>,
    hidden: Option<Vec<i64>>,
}

impl Pick<'_> {
    pub(super) fn teacher(&self, raw: RawTeacher) -> Result<TeacherChoice, ConfigError> {
        let refuse = |key, value: &str, allowed| Err(self.refuse(key, value, allowed));
        let kind = raw.kind.as_deref().unwrap_or("kernel");
        match (kind, raw.hidden) {
            ("kernel", None) => Ok(TeacherChoice::Kernel),
            ("kernel", Some(hidden)) => {
                let allowed = "absent unless teacher.kind is \"mlp\"";
                refuse("teacher.hidden", &format!("{hidden:?}"), allowed)
            }
            ("mlp", hidden) => {
                let hidden = hidden.unwrap_or_else(|| HIDDEN.to_vec());
                let fits = |width: &i64| (1..=HIDDEN_WIDTH_MAX).contains(width);
                if hidden.len() > HIDDEN_LAYERS_MAX || !hidden.iter().all(fits) {
                    let allowed = "at most 8 widths from 1 to 1024";
                    return refuse("teacher.hidden", &format!("{hidden:?}"), allowed);
                }
                let hidden = hidden.into_iter().map(|width| width as usize);
                Ok(TeacherChoice::Network(hidden.collect()))
            }
            (other, _) => refuse("teacher.kind", other, "kernel or mlp"),
        }
    }
}

/// Hidden layers of a network teacher, if they are not named.
const HIDDEN: [i64; 1] = [32];
const HIDDEN_LAYERS_MAX: usize = 8;
const HIDDEN_WIDTH_MAX: i64 = 1_024;
