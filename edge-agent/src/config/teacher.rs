//! The section `[teacher]`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{ConfigError, Pick};
use crate::teacher::ModelChoice;
use crate::work::TeacherChoice;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTeacher {
    kind: Option<String>,
    hidden: Option<Vec<i64>>,
    file: Option<String>,
    mib_max: Option<i64>,
    scale: Option<f64>,
    map: BTreeMap<String, String>,
    // How inputs become tensors, as the file beside a model says it too.
    input: Option<toml::Value>,
    layout: Option<toml::Value>,
    size: Option<toml::Value>,
    colour: Option<toml::Value>,
    mean: Option<toml::Value>,
    std: Option<toml::Value>,
    rate: Option<toml::Value>,
    output: Option<toml::Value>,
    answers: Option<toml::Value>,
    classes: Option<toml::Value>,
}

impl RawTeacher {
    /// The keys that go to the model's settings, with the names they have there.
    fn settings(&self) -> Vec<(&'static str, &'static str, &toml::Value)> {
        let all = [
            ("teacher.input", "kind", &self.input),
            ("teacher.layout", "layout", &self.layout),
            ("teacher.size", "size", &self.size),
            ("teacher.colour", "colour", &self.colour),
            ("teacher.mean", "mean", &self.mean),
            ("teacher.std", "std", &self.std),
            ("teacher.rate", "rate", &self.rate),
            ("teacher.output", "output", &self.output),
            ("teacher.answers", "answers", &self.answers),
            ("teacher.classes", "classes", &self.classes),
        ];
        all.into_iter()
            .filter_map(|(key, name, value)| Some((key, name, value.as_ref()?)))
            .collect()
    }

    /// The first key that only a model has.
    fn of_model(&self) -> Option<(&'static str, String)> {
        let file = self.file.clone().map(|file| ("teacher.file", file));
        let mib_max = self.mib_max.map(|mib| ("teacher.mib_max", mib.to_string()));
        let scale = self.scale.map(|scale| ("teacher.scale", scale.to_string()));
        let map = (!self.map.is_empty()).then(|| ("teacher.map", format!("{:?}", self.map)));
        let settings = self.settings().into_iter().next();
        let settings = settings.map(|(key, _, value)| (key, value.to_string()));
        file.or(mib_max).or(scale).or(map).or(settings)
    }
}

impl Pick<'_> {
    pub(super) fn teacher(&self, raw: RawTeacher) -> Result<TeacherChoice, ConfigError> {
        let refuse = |key, value: &str, allowed| Err(self.refuse(key, value, allowed));
        let kind = raw.kind.as_deref().unwrap_or("kernel");
        if let Some((key, value)) = raw.of_model().filter(|_| kind != "onnx") {
            return refuse(key, &value, "absent unless teacher.kind is \"onnx\"");
        }
        match (kind, &raw.hidden) {
            ("kernel", None) => Ok(TeacherChoice::Kernel),
            ("kernel" | "onnx", Some(hidden)) => {
                let allowed = "absent unless teacher.kind is \"mlp\"";
                refuse("teacher.hidden", &format!("{hidden:?}"), allowed)
            }
            ("mlp", hidden) => {
                let hidden = hidden.clone().unwrap_or_else(|| HIDDEN.to_vec());
                let fits = |width: &i64| (1..=HIDDEN_WIDTH_MAX).contains(width);
                if hidden.len() > HIDDEN_LAYERS_MAX || !hidden.iter().all(fits) {
                    let allowed = "at most 8 widths from 1 to 1024";
                    return refuse("teacher.hidden", &format!("{hidden:?}"), allowed);
                }
                let hidden = hidden.into_iter().map(|width| width as usize);
                Ok(TeacherChoice::Network(hidden.collect()))
            }
            ("onnx", None) => self.model(&raw),
            (other, _) => refuse("teacher.kind", other, "kernel, mlp or onnx"),
        }
    }

    fn model(&self, raw: &RawTeacher) -> Result<TeacherChoice, ConfigError> {
        let refuse = |key, value: String, allowed| Err(self.refuse(key, value, allowed));
        let file = raw.file.as_deref().unwrap_or_default();
        if file.is_empty() || file.starts_with('~') {
            let allowed = "the path of a model in ONNX, without ~, where teacher.kind is \"onnx\"";
            return refuse("teacher.file", file.to_owned(), allowed);
        }
        let mib_max = raw.mib_max.unwrap_or(i64::from(MODEL_MIB_MAX));
        let Some(mib_max) = u32::try_from(mib_max).ok().filter(|mib| MIB.contains(mib)) else {
            return refuse("teacher.mib_max", mib_max.to_string(), "1 to 256 MiB");
        };
        let scale = raw.scale.map(|scale| scale as f32);
        if scale.is_some_and(|scale| !scale.is_finite() || scale <= 0.0) {
            let scale = raw.scale.unwrap_or_default().to_string();
            return refuse("teacher.scale", scale, "a number above 0");
        }
        let beside = Path::new(&self.file).parent().unwrap_or(Path::new(""));
        let written = raw.settings();
        let lines = written
            .iter()
            .map(|(_, name, value)| format!("{name} = {value}\n"));
        let choice = ModelChoice {
            file: beside.join(file).display().to_string(),
            settings: lines.collect(),
            map: raw.map.clone(),
            scale,
            mib_max,
        };
        choice.check().map_err(|error| ConfigError::Syntax {
            path: self.file.clone().into(),
            reason: error.to_string(),
        })?;
        Ok(TeacherChoice::Model(Box::new(choice)))
    }
}

/// Hidden layers of a network teacher, if they are not named.
const HIDDEN: [i64; 1] = [32];
const HIDDEN_LAYERS_MAX: usize = 8;
const HIDDEN_WIDTH_MAX: i64 = 1_024;
/// Most MiB of a model's file: some three times it fit beside the rows into what
/// the service may have.
const MODEL_MIB_MAX: u32 = 32;
/// What may be set.
const MIB: std::ops::RangeInclusive<u32> = 1..=256;
