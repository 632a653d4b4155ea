//! A model that turns pictures, sound or numbers into one row each.

use std::path::Path;

use ndarray::{ArrayD, Axis};

use crate::plans::Plans;
use crate::settings::{Colour, Kind, Layout, Settings};
use crate::sound::{centred, resampled, starts};
use crate::takes::{NO_SOUND, Takes, side, takes};
use crate::{Graph, OnnxError, Picture};

/// What is put through a model.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A picture of any size.
    Picture(&'a Picture),
    /// One channel of sound, −1 to 1, and its samples a second.
    Sound(&'a [f32], u32),
    /// Numbers, as many as the model takes.
    Values(&'a [f32]),
}

/// A model, with how its inputs are made.
#[derive(Debug)]
pub struct Model {
    graph: Graph,
    front: Option<Graph>,
    settings: Settings,
    takes: Takes,
    batch: usize,
    plans: Plans,
    front_plans: Plans,
    /// Fewest samples that fill a window.
    samples_min: usize,
}

impl Model {
    /// Reads a model of at most `bytes_max` bytes, and its front model if
    /// there is one. Sides that are left open are settled by `settings`.
    ///
    /// # Errors
    /// As [`Graph::open`], and if inputs of its kind are not supported.
    pub fn open(path: &Path, settings: Settings, bytes_max: u64) -> Result<Self, OnnxError> {
        let graph = Graph::open(path, bytes_max)?;
        let front = match &settings.front {
            Some(path) => Some(Graph::open(path, bytes_max)?),
            None => None,
        };
        Self::of(graph, front, settings)
    }

    /// The same of graphs that are read already.
    ///
    /// # Errors
    /// If inputs of its kind are not supported.
    pub fn of(graph: Graph, front: Option<Graph>, settings: Settings) -> Result<Self, OnnxError> {
        let takes = takes(&graph, front.is_some(), &settings)?;
        let batch = match (&takes, graph.declared()) {
            (_, [] | [_]) => 1,
            (_, [first, ..]) => first.unwrap_or(1),
        };
        Ok(Self {
            graph,
            front,
            settings,
            takes,
            batch,
            plans: Plans::default(),
            front_plans: Plans::default(),
            samples_min: 1,
        })
    }

    /// Lets go of what is needed for inputs of other shapes than those that went
    /// through it: some of these fail from here on. Halves its memory.
    pub(crate) fn settle(&mut self) {
        self.graph.settle();
        if let Some(front) = &mut self.front {
            front.settle();
        }
    }

    /// What it looks at.
    pub fn kind(&self) -> Kind {
        match self.takes {
            Takes::Pictures { .. } => Kind::Image,
            Takes::Sound { .. } => Kind::Sound,
            Takes::Values(_) => Kind::Values,
        }
    }

    /// Its file.
    pub fn path(&self) -> &str {
        self.graph.path()
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A name for what it computes: of its bytes, its front's and the settings.
    pub fn key(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("alambic model features 2");
        hasher.update(&self.graph.hash());
        hasher.update(&self.front.as_ref().map_or([0; 32], Graph::hash));
        let settings = Settings {
            source: None,
            front: None,
            ..self.settings.clone()
        };
        hasher.update(format!("{settings:?} {:?}", self.takes).as_bytes());
        *hasher.finalize().as_bytes()
    }

    /// How inputs are made, in a sentence, and who says so.
    pub fn conventions(&self) -> String {
        let (means, stds) = (self.list(&self.means()), self.list(&self.stds()));
        let what = match &self.takes {
            Takes::Pictures {
                layout,
                size: [height, width],
                channels,
            } => {
                let colour = match (channels, self.settings.colour) {
                    (1, _) => "grey",
                    (_, Some(Colour::Bgr)) => "BGR",
                    _ => "RGB",
                };
                let order = match layout {
                    Layout::Nchw => "channels first",
                    Layout::Nhwc => "channels last",
                };
                format!(
                    "{colour} pictures of {height} × {width}, {order}, (x - {means}) / {stds} of \
                     0 to 255"
                )
            }
            Takes::Sound { rate, .. } => {
                format!("sound at {rate} Hz, (x - {means}) / {stds} of -1 to 1")
            }
            Takes::Values(_) => format!("values, (x - {means}) / {stds}"),
        };
        let who = match &self.settings.source {
            Some(source) => format!("by {source}, the rest by default"),
            None => "by default".to_owned(),
        };
        format!("{}: {what} ({who})", self.graph.path())
    }

    /// One row of an input: outputs pooled over space and time, one after the
    /// other where several are taken.
    ///
    /// # Errors
    /// If the input is not what the model looks at, or the graph fails.
    pub fn row(&mut self, input: Input<'_>) -> Result<Vec<f32>, OnnxError> {
        let row = self.any_row(input)?;
        self.finite(row)
    }

    /// A row without NaN and infinities.
    pub(crate) fn finite(&self, row: Vec<f32>) -> Result<Vec<f32>, OnnxError> {
        match row.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(OnnxError::Run {
                path: self.graph.path().to_owned(),
                cause: format!("value {at} of its output is {}", row[at]),
            }),
            None => Ok(row),
        }
    }

    /// The same, whatever its values are.
    pub(crate) fn any_row(&mut self, input: Input<'_>) -> Result<Vec<f32>, OnnxError> {
        let takes = self.takes.clone();
        match (takes, input) {
            (
                Takes::Pictures {
                    layout,
                    size,
                    channels,
                },
                Input::Picture(picture),
            ) => self.of_picture(picture, (layout, size, channels)),
            (
                Takes::Sound {
                    sides,
                    window,
                    rate,
                },
                Input::Sound(samples, from),
            ) => self.of_sound(&resampled(samples, from, rate), &sides, window, rate),
            (Takes::Values(sides), Input::Values(values) | Input::Sound(values, _)) => {
                self.of_values(values, &sides)
            }
            (Takes::Values(sides), Input::Picture(picture)) => {
                self.of_values(picture.values(), &sides)
            }
            (takes, input) => Err(self.refused(format!(
                "it takes {}, and the data is {}",
                match takes {
                    Takes::Pictures { .. } => "pictures",
                    Takes::Sound { .. } => "sound",
                    Takes::Values(_) => "values",
                },
                match input {
                    Input::Picture(_) => "pictures",
                    Input::Sound(..) => "sound",
                    Input::Values(_) => "rows of values",
                }
            ))),
        }
    }

    fn of_picture(
        &mut self,
        picture: &Picture,
        (layout, [height, width], channels): (Layout, [usize; 2], usize),
    ) -> Result<Vec<f32>, OnnxError> {
        let picture = picture.resized(height, width).with_channels(channels);
        let (means, stds) = (self.means(), self.stds());
        let flipped = channels == 3 && self.settings.colour == Some(Colour::Bgr);
        let mut values = vec![0.0; channels * height * width];
        for (pixel, seen) in picture.values().chunks_exact(channels).enumerate() {
            for channel in 0..channels {
                let from = if flipped { 2 - channel } else { channel };
                let value = (seen[from] - at(&means, channel)) / at(&stds, channel);
                let place = match layout {
                    Layout::Nchw => channel * height * width + pixel,
                    Layout::Nhwc => pixel * channels + channel,
                };
                values[place] = value;
            }
        }
        let shape = match layout {
            Layout::Nchw => [channels, height, width],
            Layout::Nhwc => [height, width, channels],
        };
        self.run(&shape, &values)
    }

    fn of_values(
        &mut self,
        values: &[f32],
        sides: &[Option<usize>],
    ) -> Result<Vec<f32>, OnnxError> {
        let shape = filled(sides, values.len()).ok_or_else(|| {
            let sides: Vec<String> = sides.iter().map(side).collect();
            let expected = sides.join(" × ");
            self.refused(format!(
                "it takes {expected} values, and a row has {}",
                values.len()
            ))
        })?;
        let (means, stds) = (self.means(), self.stds());
        let values: Vec<f32> = values
            .iter()
            .enumerate()
            .map(|(index, value)| (value - at(&means, index)) / at(&stds, index))
            .collect();
        self.run(&shape, &values)
    }

    fn of_sound(
        &mut self,
        samples: &[f32],
        sides: &[Option<usize>],
        window: Option<usize>,
        rate: u32,
    ) -> Result<Vec<f32>, OnnxError> {
        let (mean, std) = (at(&self.means(), 0), at(&self.stds(), 0));
        let samples: Vec<f32> = samples.iter().map(|value| (value - mean) / std).collect();
        // Few lengths: the graph is made ready for each of them.
        let block = (rate as usize * BLOCK_MS / 1_000).max(1);
        let length = samples.len().max(1).next_multiple_of(block);
        let length = length.max(self.samples_min);
        if self.front.is_none() {
            let wanted = window.map_or(length, |window| window.max(samples.len()));
            let samples = centred(&samples, wanted);
            let window = window.unwrap_or(samples.len());
            let step = self.settings.step.unwrap_or(window.div_ceil(2));
            let mut rows = Vec::new();
            for start in starts(samples.len(), window, step) {
                let shape = filled(sides, window);
                let shape = shape.ok_or_else(|| self.refused(NO_SOUND.to_owned()))?;
                rows.push(self.run(&shape, &samples[start..start + window])?);
            }
            return Ok(self.settings.pool.joined(&rows));
        }
        let frames = self.frames(&samples, length, window.unwrap_or(1))?;
        let (count, bins) = (frames.len(), frames.first().map_or(0, Vec::len));
        let window = window.unwrap_or(count);
        let step = self.settings.step.unwrap_or(FRAMES_STEP);
        let real: Vec<Option<usize>> = sides.iter().copied().filter(|&s| s != Some(1)).collect();
        let bins_first = real.len() == 2 && real[0] == Some(bins) && real[1] != Some(bins);
        let mut rows = Vec::new();
        for start in starts(count, window, step) {
            let frames = &frames[start..start + window];
            let values: Vec<f32> = match bins_first {
                true => (0..bins)
                    .flat_map(|bin| frames.iter().map(move |frame| frame[bin]))
                    .collect(),
                false => frames.iter().flatten().copied().collect(),
            };
            let mut open = [window, bins].into_iter();
            let shape: Vec<usize> = sides
                .iter()
                .map(|side| match side {
                    Some(side) => *side,
                    None => open.next().unwrap_or(1),
                })
                .collect();
            if shape.iter().product::<usize>() != values.len() {
                return Err(self.refused(format!(
                    "it takes inputs of shape {shape:?}, and its front gives {window} frames of \
                     {bins}"
                )));
            }
            rows.push(self.run(&shape, &values)?);
        }
        Ok(self.settings.pool.joined(&rows))
    }

    /// Frames of the front's output, at least `window` of them: sound that is
    /// too short is surrounded by silence.
    fn frames(
        &mut self,
        samples: &[f32],
        mut length: usize,
        window: usize,
    ) -> Result<Vec<Vec<f32>>, OnnxError> {
        let mean = self.settings.front_mean.unwrap_or(0.0);
        let std = self.settings.front_std.unwrap_or(1.0);
        for _ in 0..FRONT_TRIES {
            let Some(front) = &self.front else {
                break;
            };
            let shape = match front.declared() {
                [_] => vec![length],
                declared => {
                    let mut shape = vec![1; declared.len()];
                    shape[declared.len() - 1] = length;
                    shape
                }
            };
            let plan = self.front_plans.get(front, &shape, &[])?;
            let output = plan.run(&centred(samples, length))?.swap_remove(0);
            let real: Vec<usize> = output.shape().iter().copied().filter(|&s| s > 1).collect();
            let (count, bins) = match real[..] {
                [bins] => (1, bins),
                [count, bins] => (count, bins),
                _ => {
                    let path = front.path().to_owned();
                    let problem = format!(
                        "the front model gives shape {:?}, expected frames × bins",
                        output.shape()
                    );
                    return Err(OnnxError::Input { path, problem });
                }
            };
            if count >= window {
                let values: Vec<f32> = output.iter().map(|x| (x - mean) / std).collect();
                self.samples_min = self.samples_min.max(match count == window {
                    true => length,
                    false => 1,
                });
                return Ok(values.chunks(bins).map(<[f32]>::to_vec).collect());
            }
            let longer = (length * window).div_ceil(count) + length / count;
            length = longer.max(length + 1);
            self.samples_min = self.samples_min.max(length);
        }
        Err(self.refused("its front model gives too few frames for a window".to_owned()))
    }

    /// One row of an input without its batch's side.
    fn run(&mut self, shape: &[usize], values: &[f32]) -> Result<Vec<f32>, OnnxError> {
        let single = self.graph.declared().len() == shape.len();
        let whole: Vec<usize> = match single {
            true => shape.to_vec(),
            false => [&[self.batch], shape].concat(),
        };
        let plan = self.plans.get(&self.graph, &whole, &self.settings.output)?;
        // A graph of a fixed batch gets the same input several times.
        let outputs = plan.run(&values.repeat(if single { 1 } else { self.batch }))?;
        let channels_first = matches!(
            self.takes,
            Takes::Pictures {
                layout: Layout::Nchw,
                ..
            }
        );
        let mut row = Vec::new();
        for output in outputs {
            row.extend(
                self.settings
                    .pool
                    .row(&first(output, self.batch), channels_first),
            );
        }
        Ok(row)
    }

    fn means(&self) -> Vec<f32> {
        let given = self.settings.mean.clone();
        given.unwrap_or_else(|| vec![self.usual().0])
    }

    fn stds(&self) -> Vec<f32> {
        let given = self.settings.std.clone();
        given.unwrap_or_else(|| vec![self.usual().1])
    }

    /// The mean and std of inputs where nobody says: pictures in colour −1 to 1,
    /// in grey 0 to 1, all else as it is.
    fn usual(&self) -> (f32, f32) {
        match self.takes {
            Takes::Pictures { channels: 1, .. } => (0.0, 255.0),
            Takes::Pictures { .. } => (127.0, 128.0),
            Takes::Sound { .. } | Takes::Values(_) => (0.0, 1.0),
        }
    }

    fn list(&self, values: &[f32]) -> String {
        let words: Vec<String> = values.iter().map(ToString::to_string).collect();
        match words.len() {
            1 => words.concat(),
            _ => format!("[{}]", words.join(" ")),
        }
    }

    fn refused(&self, problem: String) -> OnnxError {
        OnnxError::Input {
            path: self.graph.path().to_owned(),
            problem,
        }
    }
}

/// The sides with what `count` values leave for the open one.
fn filled(sides: &[Option<usize>], count: usize) -> Option<Vec<usize>> {
    let known: usize = sides.iter().flatten().product();
    let open = sides.iter().filter(|side| side.is_none()).count();
    if known == 0 || !count.is_multiple_of(known) || (open == 0 && known != count) || open > 1 {
        return None;
    }
    let shape = sides.iter().map(|side| side.unwrap_or(count / known));
    Some(shape.collect())
}

/// The part of the first input of a batch.
fn first(output: ArrayD<f32>, batch: usize) -> ArrayD<f32> {
    match output.shape() {
        [rows, _, ..] if *rows == batch => output.index_axis(Axis(0), 0).to_owned(),
        _ => output,
    }
}

/// One value for all channels, or one of each.
fn at(values: &[f32], channel: usize) -> f32 {
    values[channel % values.len().max(1)]
}

/// Lengths of sound are multiples of this.
const BLOCK_MS: usize = 80;
/// Frames from one window to the next where nobody says.
const FRAMES_STEP: usize = 8;
/// How often sound is made longer for a window.
const FRONT_TRIES: usize = 5;
