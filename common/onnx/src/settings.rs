//! How inputs become what a model was trained on.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Answers, OnnxError, Pool};

/// What a model looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pictures, height × width × channels.
    Image,
    /// One channel of sound.
    Sound,
    /// Numbers as they are.
    Values,
}

/// Where the channels of pictures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Rows × channels × height × width.
    Nchw,
    /// Rows × height × width × channels.
    Nhwc,
}

/// The channels of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One, the luma.
    Grey,
}

/// How inputs become tensors and outputs features. What is left open follows
/// from the graph and from stated defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Where they come from, for people.
    pub source: Option<String>,
    /// What the model looks at.
    pub kind: Option<Kind>,
    /// Where the channels of pictures are.
    pub layout: Option<Layout>,
    /// Height and width of pictures.
    pub size: Option<[usize; 2]>,
    /// Subtracted, for all channels or each: of pictures' 0 to 255, of sound's
    /// −1 to 1, of values as they are.
    pub mean: Option<Vec<f32>>,
    /// Divides what is left, for all channels or each.
    pub std: Option<Vec<f32>>,
    /// The channels of pictures.
    pub colour: Option<Colour>,
    /// Samples a second that a model of sound takes.
    pub rate: Option<u32>,
    /// A model whose output is this one's input, as a mel spectrum.
    pub front: Option<PathBuf>,
    /// Subtracted from the front's output.
    pub front_mean: Option<f32>,
    /// Divides what is left.
    pub front_std: Option<f32>,
    /// Frames of the front, or samples without one, from one window to the
    /// next.
    pub step: Option<usize>,
    /// Outputs or nodes to take.
    pub output: Vec<String>,
    /// How places in space or time become one row.
    pub pool: Pool,
    /// What a classifier answers with.
    pub answers: Answers,
    /// The classifier's classes by name, in order.
    pub classes: Vec<String>,
}

/// As written; unknown keys are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    kind: Option<String>,
    layout: Option<String>,
    size: Option<OneOrMany<usize>>,
    mean: Option<OneOrMany<f32>>,
    std: Option<OneOrMany<f32>>,
    colour: Option<String>,
    rate: Option<u32>,
    front: Option<PathBuf>,
    front_mean: Option<f32>,
    front_std: Option<f32>,
    step: Option<usize>,
    output: Option<OneOrMany<String>>,
    pool: Option<String>,
    answers: Option<String>,
    classes: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn list(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

impl Settings {
    /// A model's path and settings as typed: `FILE`, `FILE@SIZE` or
    /// `FILE@KEY=VALUE,…`, over those of the TOML file beside the model
    /// (`FILE.toml`, or the model's name with `.toml` for its ending). Values
    /// of a list are joined by `/`, outputs by `+`.
    ///
    /// # Errors
    /// What the option or the file beside the model holds that is no setting.
    pub fn of_option(text: &str) -> Result<(PathBuf, Self), OnnxError> {
        let (path, options) = match text.rsplit_once('@') {
            // A path may hold one too.
            Some((path, options)) if !Path::new(text).exists() => (path, options),
            _ => (text, ""),
        };
        let path = PathBuf::from(path);
        let mut settings = Self::beside(&path)?;
        let typed = typed(options)?;
        if !options.is_empty() {
            let source = match &settings.source {
                Some(source) => format!("{source} and options"),
                None => "options".to_owned(),
            };
            settings = settings.over(typed, options)?;
            settings.source = Some(source);
        }
        Ok((path, settings))
    }

    /// The settings in the TOML file beside a model, if there is one.
    ///
    /// # Errors
    /// If it cannot be read, or holds what is no setting.
    pub fn beside(model: &Path) -> Result<Self, OnnxError> {
        let mut longer = model.as_os_str().to_owned();
        longer.push(".toml");
        for path in [PathBuf::from(longer), model.with_extension("toml")] {
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(cause) => {
                    let path = path.display().to_string();
                    return Err(OnnxError::Read { path, cause });
                }
            };
            let place = path.display().to_string();
            let mut settings = Self::parse(&text, &place)?;
            if let (Some(front), Some(folder)) = (&settings.front, path.parent()) {
                settings.front = Some(folder.join(front));
            }
            settings.source = Some(place);
            return Ok(settings);
        }
        Ok(Self::default())
    }

    /// Reads settings as TOML; `place` is what errors call them.
    ///
    /// # Errors
    /// Unknown keys, and values that are not allowed.
    pub fn parse(text: &str, place: &str) -> Result<Self, OnnxError> {
        let raw = toml::from_str(text).map_err(|error| refused(place, error.to_string()))?;
        Self::default().over(raw, place)
    }

    /// These settings, with those written in `text`, as TOML, before them.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn with(self, text: &str, place: &str) -> Result<Self, OnnxError> {
        let raw = toml::from_str(text)
            .map_err(|error: toml::de::Error| refused(place, error.message().to_owned()))?;
        self.over(raw, place)
    }

    fn over(mut self, raw: Raw, place: &str) -> Result<Self, OnnxError> {
        let one_of = |key: &str, value: &str, allowed: &str| {
            refused(place, format!("{key} is {value:?}, expected {allowed}"))
        };
        if let Some(kind) = raw.kind {
            self.kind = Some(match kind.as_str() {
                "image" => Kind::Image,
                "sound" => Kind::Sound,
                "values" => Kind::Values,
                other => return Err(one_of("kind", other, "image, sound or values")),
            });
        }
        if let Some(layout) = raw.layout {
            self.layout = Some(match layout.as_str() {
                "nchw" => Layout::Nchw,
                "nhwc" => Layout::Nhwc,
                other => return Err(one_of("layout", other, "nchw or nhwc")),
            });
        }
        if let Some(size) = raw.size {
            self.size = Some(match size.list()[..] {
                [side] if SIDES.contains(&side) => [side, side],
                [high, wide] if SIDES.contains(&high) && SIDES.contains(&wide) => [high, wide],
                ref other => {
                    let found = format!("{other:?}");
                    return Err(one_of(
                        "size",
                        &found,
                        "one or two sides of 1 to 4096 pixels",
                    ));
                }
            });
        }
        if let Some(colour) = raw.colour {
            self.colour = Some(match colour.as_str() {
                "rgb" => Colour::Rgb,
                "bgr" => Colour::Bgr,
                "grey" | "gray" => Colour::Grey,
                other => return Err(one_of("colour", other, "rgb, bgr or grey")),
            });
        }
        if let Some(pool) = raw.pool {
            let found = Pool::NAMED.iter().find(|(name, _)| *name == pool);
            let all = "mean, max, both, first or flatten";
            self.pool = found.ok_or_else(|| one_of("pool", &pool, all))?.1;
        }
        if let Some(answers) = raw.answers {
            self.answers = match answers.as_str() {
                "logits" => Answers::Logits,
                "probabilities" => Answers::Probabilities,
                other => return Err(one_of("answers", other, "logits or probabilities")),
            };
        }
        self.mean = raw.mean.map(OneOrMany::list).or(self.mean);
        self.std = raw.std.map(OneOrMany::list).or(self.std);
        self.rate = raw.rate.or(self.rate);
        self.front = raw.front.or(self.front);
        self.front_mean = raw.front_mean.or(self.front_mean);
        self.front_std = raw.front_std.or(self.front_std);
        self.step = raw.step.or(self.step);
        self.output = raw.output.map_or(self.output, OneOrMany::list);
        self.classes = raw.classes.unwrap_or(self.classes);
        self.check(place)
    }

    fn check(self, place: &str) -> Result<Self, OnnxError> {
        let means = self.mean.iter().flatten().chain(&self.front_mean);
        if let Some(bad) = means.into_iter().find(|value| !value.is_finite()) {
            return Err(refused(place, format!("a mean is {bad}, expected numbers")));
        }
        let stds = self.std.iter().flatten().chain(&self.front_std);
        let mut stds = stds.into_iter();
        if let Some(bad) = stds.find(|value| !value.is_finite() || **value == 0.0) {
            let problem = format!("a std is {bad}, expected numbers other than 0");
            return Err(refused(place, problem));
        }
        if self.rate.is_some_and(|rate| !RATES.contains(&rate)) {
            return Err(refused(
                place,
                "rate is 1000 to 384000 samples a second".to_owned(),
            ));
        }
        if self.step == Some(0) {
            return Err(refused(place, "step is 0, expected at least 1".to_owned()));
        }
        if self.mean.as_ref().is_some_and(Vec::is_empty)
            || self.std.as_ref().is_some_and(Vec::is_empty)
        {
            return Err(refused(place, "mean or std is an empty list".to_owned()));
        }
        Ok(self)
    }
}

/// `SIZE,KEY=VALUE,…`, each of which may be absent.
fn typed(options: &str) -> Result<Raw, OnnxError> {
    let mut toml = String::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or(("size", option));
        let (key, value) = (key.trim(), value.trim());
        let quoted = |value: &str| match value.parse::<f64>() {
            Ok(number) if number.is_finite() && !TEXTS.contains(&key) => value.to_owned(),
            _ => format!("{value:?}"),
        };
        let between = match key {
            "output" => Some('+'),
            "front" | "kind" | "layout" => None,
            _ => Some('/'),
        };
        let parts: Vec<String> = match between {
            Some(between) => value.split(between).map(quoted).collect(),
            None => vec![quoted(value)],
        };
        let written = match (key, parts.as_slice()) {
            ("classes", parts) => format!("[{}]", parts.join(", ")),
            (_, [one]) => one.clone(),
            (_, parts) => format!("[{}]", parts.join(", ")),
        };
        toml.push_str(&format!("{key} = {written}\n"));
    }
    toml::from_str(&toml).map_err(|error| {
        let problem = error.message().to_owned();
        refused(
            options,
            format!("{problem}; expected SIZE or KEY=VALUE, joined by commas"),
        )
    })
}

fn refused(place: &str, problem: String) -> OnnxError {
    OnnxError::Settings {
        place: place.to_owned(),
        problem,
    }
}

/// Keys whose values are texts even where they look like numbers.
const TEXTS: [&str; 2] = ["output", "classes"];
/// Sides of pictures.
const SIDES: std::ops::RangeInclusive<usize> = 1..=4_096;
/// Samples a second.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=384_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_typed_goes_before_the_file_beside_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("net.onnx");
        let beside = "size = 224\nmean = [1.0, 2.0, 3.0]\nfront = \"mel.onnx\"\n";
        std::fs::write(folder.path().join("net.onnx.toml"), beside).unwrap();
        let text = format!("{}@96,std=128,output=a+b,colour=bgr", model.display());
        let (path, settings) = Settings::of_option(&text).unwrap();
        assert_eq!(path, model);
        assert_eq!(settings.size, Some([96, 96]));
        assert_eq!(settings.mean, Some(vec![1.0, 2.0, 3.0]));
        assert_eq!(settings.std, Some(vec![128.0]));
        assert_eq!(settings.output, ["a", "b"]);
        assert_eq!(settings.colour, Some(Colour::Bgr));
        assert_eq!(settings.front, Some(folder.path().join("mel.onnx")));
    }

    #[test]
    fn a_model_without_settings_has_none() {
        let (path, settings) = Settings::of_option("nowhere/net.onnx").unwrap();
        assert_eq!(path, Path::new("nowhere/net.onnx"));
        assert_eq!(settings, Settings::default());
        let (_, settings) = Settings::of_option("nowhere/net.onnx@48/64").unwrap();
        assert_eq!(settings.size, Some([48, 64]));
    }

    #[test]
    fn what_is_no_setting_is_refused_with_what_is_allowed() {
        for (text, told) in [
            ("n@layout=hwc", "nchw or nhwc"),
            ("n@0", "1 to 4096"),
            ("n@std=0", "other than 0"),
            ("n@colour=cmyk", "rgb, bgr or grey"),
            ("n@pool=sum", "mean, max"),
            ("n@sise=4", "sise"),
            ("n@mean=a/b", "expected"),
            ("n@rate=1", "samples a second"),
        ] {
            let error = Settings::of_option(text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
        assert!(Settings::parse("size = -3", "net.toml").is_err());
    }
}
