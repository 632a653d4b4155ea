//! The `[features]` table of a task file.

use serde::Deserialize;

use super::Backbone;
use crate::features::FeatureStage;
use crate::ids::BlobHash;
use crate::task::checked::TaskError;
use crate::task::file::TaskFileError;

/// The `[features]` table as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::task) struct RawFeatures {
    stage: Option<RawStage>,
    model: Option<BlobHash>,
    front: Option<BlobHash>,
    width: Option<u32>,
    bytes: Option<u64>,
    scale: Option<f32>,
    square_root: Option<bool>,
    directions: Option<u32>,
    learn_directions: Option<bool>,
    kind: Option<toml::Value>,
    layout: Option<toml::Value>,
    size: Option<toml::Value>,
    colour: Option<toml::Value>,
    mean: Option<toml::Value>,
    std: Option<toml::Value>,
    rate: Option<toml::Value>,
    front_mean: Option<toml::Value>,
    front_std: Option<toml::Value>,
    step: Option<toml::Value>,
    output: Option<toml::Value>,
    pool: Option<toml::Value>,
}

/// A stage, or a model before one.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
enum RawStage {
    Stage(FeatureStage),
    Model,
}

impl TryFrom<String> for RawStage {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "onnx" => Ok(Self::Model),
            stage => match stage.parse() {
                Ok(stage) => Ok(Self::Stage(stage)),
                Err(error) => Err(format!("{error}, \"onnx\"")),
            },
        }
    }
}

/// What a task says of its backbone, before the files are looked at.
#[derive(Clone, Debug)]
pub struct ModelFiles<'a> {
    /// The model's file.
    pub model: BlobHash,
    /// The file of a model that makes its input.
    pub front: Option<BlobHash>,
    /// How inputs become tensors, as TOML.
    pub settings: &'a str,
    /// What inputs are multiplied with first.
    pub scale: f32,
    /// Sides of one input of the task.
    pub sides: &'a [u32],
    /// Samples a second, where inputs are recordings.
    pub rate: Option<u32>,
    written: Written,
}

/// What a task file says of a model itself.
#[derive(Clone, Copy, Debug)]
struct Written {
    bytes: Option<u64>,
    width: Option<u32>,
}

/// What is found when a backbone's files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelMeasured {
    /// Bytes of both files.
    pub bytes: u64,
    /// Values that the model makes of an input.
    pub width: u32,
}

impl ModelFiles<'_> {
    /// What the task file itself says, for those who have no files.
    ///
    /// # Errors
    /// If it does not.
    pub fn as_written(&self) -> Result<ModelMeasured, TaskFileError> {
        match (self.written.bytes, self.written.width) {
            (Some(bytes), Some(width)) => Ok(ModelMeasured { bytes, width }),
            (bytes, _) => {
                let key = match bytes {
                    None => "features.bytes",
                    Some(_) => "features.width",
                };
                Err(TaskFileError::Task(TaskError::Value {
                    key,
                    value: "not said".to_owned(),
                    allowed:
                        "a number, where the file is read without its model; `alambic-coordinator \
                              task create` finds it out, and `task show` prints it"
                            .to_owned(),
                }))
            }
        }
    }

    /// That what was found is what the file says, where it says it.
    fn agrees(&self, found: ModelMeasured) -> Result<ModelMeasured, TaskError> {
        let differs = |key, written: u64, found: u64| TaskError::Value {
            key,
            value: written.to_string(),
            allowed: format!("{found}, which the model has, or nothing"),
        };
        match (self.written.bytes, self.written.width) {
            (Some(bytes), _) if bytes != found.bytes => {
                Err(differs("features.bytes", bytes, found.bytes))
            }
            (_, Some(width)) if width != found.width => {
                Err(differs("features.width", width.into(), found.width.into()))
            }
            _ => Ok(found),
        }
    }
}

impl RawFeatures {
    /// Whether the directions behind the backbone are to be learnt.
    pub(in crate::task) fn learns_directions(&self) -> bool {
        self.learn_directions.unwrap_or_default()
    }

    /// The stage that is named, and the backbone before it; neither where another
    /// stage is meant by default. `measure` looks at the backbone's files.
    pub(in crate::task) fn checked(
        self,
        (sides, rate): (&[u32], Option<u32>),
        measure: &dyn Fn(&ModelFiles<'_>) -> Result<ModelMeasured, TaskFileError>,
    ) -> Result<(Option<FeatureStage>, Option<Backbone>), TaskFileError> {
        let missing = |allowed: &str| TaskError::Value {
            key: "features.model",
            value: "not said".to_owned(),
            allowed: allowed.to_owned(),
        };
        match (self.stage, self.model) {
            (Some(RawStage::Model), None) => Err(missing(
                "the hash of a model, as `alambic-coordinator backbone add` prints it",
            )
            .into()),
            (Some(RawStage::Model), Some(model)) => {
                let backbone = self.backbone(model, (sides, rate), measure)?;
                Ok((None, Some(backbone)))
            }
            (stage, _) => {
                if let Some(key) = self.first_of_a_model() {
                    return Err(TaskFileError::Task(TaskError::Value {
                        key,
                        value: "said".to_owned(),
                        allowed: "nothing, unless features.stage is \"onnx\"".to_owned(),
                    }));
                }
                let named = |stage| match stage {
                    RawStage::Stage(stage) => Some(stage),
                    RawStage::Model => None,
                };
                Ok((stage.and_then(named), None))
            }
        }
    }

    fn backbone(
        self,
        model: BlobHash,
        (sides, rate): (&[u32], Option<u32>),
        measure: &dyn Fn(&ModelFiles<'_>) -> Result<ModelMeasured, TaskFileError>,
    ) -> Result<Backbone, TaskFileError> {
        let settings = self.settings();
        let files = ModelFiles {
            model,
            front: self.front,
            settings: &settings,
            scale: self.scale.unwrap_or(1.0),
            sides,
            rate,
            written: Written {
                bytes: self.bytes,
                width: self.width,
            },
        };
        let ModelMeasured { bytes, width } = files.agrees(measure(&files)?)?;
        Ok(Backbone {
            model,
            front: self.front,
            bytes,
            scale: files.scale,
            width,
            square_root: self.square_root.unwrap_or_default(),
            directions: self.directions.unwrap_or_default(),
            settings,
        })
    }

    /// How inputs become tensors, in one order, whatever that of the file.
    fn settings(&self) -> String {
        let said = self.of_a_model().into_iter();
        let said = said.filter_map(|(key, value)| Some((key.strip_prefix(TABLE)?, value?)));
        said.map(|(key, value)| format!("{key} = {value}\n"))
            .collect()
    }

    fn of_a_model(&self) -> [(&'static str, Option<&toml::Value>); 12] {
        [
            ("features.kind", self.kind.as_ref()),
            ("features.layout", self.layout.as_ref()),
            ("features.size", self.size.as_ref()),
            ("features.colour", self.colour.as_ref()),
            ("features.mean", self.mean.as_ref()),
            ("features.std", self.std.as_ref()),
            ("features.rate", self.rate.as_ref()),
            ("features.front_mean", self.front_mean.as_ref()),
            ("features.front_std", self.front_std.as_ref()),
            ("features.step", self.step.as_ref()),
            ("features.output", self.output.as_ref()),
            ("features.pool", self.pool.as_ref()),
        ]
    }

    /// The first key that only a model may have.
    fn first_of_a_model(&self) -> Option<&'static str> {
        let other = [
            ("features.model", self.model.is_some()),
            ("features.front", self.front.is_some()),
            ("features.width", self.width.is_some()),
            ("features.bytes", self.bytes.is_some()),
            ("features.scale", self.scale.is_some()),
            ("features.square_root", self.square_root.is_some()),
            ("features.directions", self.directions.is_some()),
            ("features.learn_directions", self.learn_directions.is_some()),
        ];
        let settings = { self.of_a_model().into_iter() }.map(|(key, value)| (key, value.is_some()));
        let mut all = other.into_iter().chain(settings);
        all.find(|(_, said)| *said).map(|(key, _)| key)
    }
}

/// How the names of these keys begin.
const TABLE: &str = "features.";
