//! What one input of a task is: an array as it stands, a row of a table, or a
//! window of a recording.

use bincode::{Decode, Encode};
use ndarray::{Array2, ArrayView2};
use serde::Serialize;
use unicode_normalization::UnicodeNormalization;

mod file;

pub(super) use file::RawInput;

use super::checked::{Task, TaskError, allowed};
use crate::features::FeatureError;

/// What one input of a task is.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum InputKind {
    /// Values in the order of the shape.
    Array(ArrayInput),
    /// Columns that are found by name.
    Table(TableInput),
    /// Channels that are found by name, cut into windows.
    Series(SeriesInput),
}

/// Values in the order of the shape.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct ArrayInput {
    /// A name for each value, so that tables are read by name; none where
    /// they are read by place.
    pub names: Vec<String>,
}

/// Columns that are found by name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct TableInput {
    /// The columns, in the order of the input's values.
    pub columns: Vec<Column>,
    /// What becomes of a row in which a value is missing.
    pub missing: Missing,
}

/// A column of a table or a channel of a series.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Column {
    /// Its name in files.
    pub name: String,
    /// The unit of its numbers, in words; empty if nothing is said of it.
    pub unit: String,
    /// The values of a categorical column, one feature each; none for a
    /// column of numbers.
    pub values: Vec<String>,
}

impl Column {
    /// Values of an input that it makes.
    pub fn width(&self) -> usize {
        self.values.len().max(1)
    }

    /// Whether it holds words rather than numbers.
    pub fn is_categorical(&self) -> bool {
        !self.values.is_empty()
    }
}

/// What becomes of a row in which a value is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// The file is refused, with the place.
    #[default]
    Refuse,
    /// The fleet's mean takes its place.
    Mean,
    /// The row is left out.
    SkipRow,
}

impl Missing {
    /// Every rule and its word in a task file.
    pub const ALL: [(Self, &str); 3] = [
        (Self::Refuse, "refuse"),
        (Self::Mean, "mean"),
        (Self::SkipRow, "skip-row"),
    ];
}

/// Channels that are found by name, cut into windows.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct SeriesInput {
    /// The channels, in the order of the input's last side.
    pub channels: Vec<Column>,
    /// Samples a second.
    pub rate_hz: f64,
    /// Seconds of a window.
    pub window_s: f64,
    /// Seconds from the start of a window to that of the next.
    pub hop_s: f64,
    /// Share of a window that its label covers at least. At 1, windows begin
    /// anew where the label changes.
    pub label_share: f64,
    /// Seconds without a sample that end a recording.
    pub gap_s: f64,
}

impl SeriesInput {
    /// Samples of a window.
    pub fn window(&self) -> usize {
        (self.rate_hz * self.window_s).round() as usize
    }

    /// Samples from the start of a window to that of the next.
    pub fn hop(&self) -> usize {
        ((self.rate_hz * self.hop_s).round() as usize).max(1)
    }

    /// Windows that share samples with one, on either side of it.
    pub fn overlapping(&self) -> usize {
        self.window().div_ceil(self.hop()).saturating_sub(1)
    }
}

impl InputKind {
    /// What is said of a task that gives a shape and nothing else, and is not
    /// written into its bytes.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Array(array) if array.names.is_empty())
    }

    /// Whether NaN stands for a value that is missing, and the mean takes its
    /// place.
    pub fn fills_gaps(&self) -> bool {
        matches!(self, Self::Table(table) if table.missing == Missing::Mean)
    }

    /// The name of the kind in a task file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Array(_) => "array",
            Self::Table(_) => "table",
            Self::Series(_) => "series",
        }
    }

    /// The shape that it makes of an input, unless the task's own says it.
    pub fn shape(&self) -> Option<Vec<u32>> {
        let side = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        match self {
            Self::Array(_) => None,
            Self::Table(table) => {
                let width: usize = table.columns.iter().map(Column::width).sum();
                Some(vec![side(width)])
            }
            Self::Series(series) => Some(vec![side(series.window()), side(series.channels.len())]),
        }
    }

    /// A name for each value of an input of this many, where names are known:
    /// columns, `column=value` for categories, and `channel[sample]`.
    pub fn value_names(&self, values: usize) -> Option<Vec<String>> {
        let names: Vec<String> = match self {
            Self::Array(array) => array.names.clone(),
            Self::Table(table) => table.columns.iter().flat_map(Column::value_names).collect(),
            Self::Series(series) => (0..series.window())
                .flat_map(|sample| {
                    let channels = series.channels.iter();
                    channels.map(move |channel| format!("{}[{sample}]", channel.name))
                })
                .collect(),
        };
        (names.len() == values && values > 0).then_some(names)
    }

    /// Holds it against its limits and the shape of the task.
    pub(super) fn check(&self, shape: &[u32], values: usize) -> Result<(), TaskError> {
        match self {
            Self::Array(array) => {
                let (names, fits) = (&array.names, array.names.len() == values);
                allowed(
                    names.is_empty() || fits,
                    "input.names",
                    format!("{} names", names.len()),
                    format!("one for each of {values} values, or none"),
                )?;
                check_names("input.names", names.iter())?;
            }
            Self::Table(table) => check_columns("input.columns", &table.columns)?,
            Self::Series(series) => series.check()?,
        }
        let made = self.shape();
        allowed(
            made.as_deref().is_none_or(|made| made == shape),
            "input.shape",
            format!("{shape:?}"),
            format!("{:?}, which input.kind makes", made.unwrap_or_default()),
        )
    }
}

impl Task {
    /// Features of rows, n × values of [`Self::stage_shape`] to n × features: of
    /// raw inputs, or of what the task's backbone made of them. Where the task has the
    /// fleet's mean take the place of what is missing, NaN stands for that and
    /// stays, until a normaliser makes it the mean.
    ///
    /// # Errors
    /// As [`FeatureStage::compute`](crate::features::FeatureStage::compute).
    pub fn features_of(&self, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>, FeatureError> {
        let (stage, shape) = (&self.definition().features, self.stage_shape());
        match self.input().fills_gaps() {
            true => stage.compute_with_gaps(shape, rows),
            false => stage.compute(shape, rows),
        }
    }
}

impl Column {
    fn value_names(&self) -> Vec<String> {
        match self.values.as_slice() {
            [] => vec![self.name.clone()],
            values => {
                let one = |value: &String| format!("{}={value}", self.name);
                values.iter().map(one).collect()
            }
        }
    }
}

impl SeriesInput {
    fn check(&self) -> Result<(), TaskError> {
        check_columns("input.channels", &self.channels)?;
        let words = self.channels.iter().find(|one| one.is_categorical());
        allowed(
            words.is_none(),
            "input.channels",
            words.map_or("", |one| &one.name),
            "channels of numbers: values are for columns of a table",
        )?;
        let within = |key, value: f64, low: f64, high: f64, what: &str| {
            let fits = value.is_finite() && (low..=high).contains(&value);
            allowed(fits, key, value, format!("{low} to {high} {what}"))
        };
        within("input.rate_hz", self.rate_hz, 1e-6, 1e6, "samples a second")?;
        within("input.window_s", self.window_s, 1e-6, 1e9, "seconds")?;
        let window = self.window();
        allowed(
            (2..=WINDOW_SAMPLES_MAX).contains(&window),
            "input.window_s",
            self.window_s,
            format!("2 to {WINDOW_SAMPLES_MAX} samples of input.rate_hz; this makes {window}"),
        )?;
        let hop = self.rate_hz * self.hop_s;
        allowed(
            hop.is_finite() && hop.round() >= 1.0 && self.hop_s <= 1e9,
            "input.hop_s",
            self.hop_s,
            "one sample of input.rate_hz or more",
        )?;
        let share = self.label_share;
        allowed(
            share > 0.5 && share <= 1.0,
            "input.label_share",
            share,
            "above 0.5, so that one label alone can cover a window, at most 1",
        )?;
        within("input.gap_s", self.gap_s, 1e-6, 1e9, "seconds")
    }
}

fn check_columns(key: &'static str, columns: &[Column]) -> Result<(), TaskError> {
    allowed(
        (1..=COLUMNS_MAX).contains(&columns.len()),
        key,
        format!("{} of them", columns.len()),
        format!("1 to {COLUMNS_MAX}"),
    )?;
    check_names(key, columns.iter().map(|column| &column.name))?;
    for column in columns {
        let fits =
            column.unit.len() <= NAME_BYTES_MAX && !column.unit.chars().any(char::is_control);
        let what = "a unit of at most 64 bytes without control characters";
        allowed(fits, key, format!("{:?}", column.unit), what)?;
        allowed(
            column.values.len() <= VALUES_MAX && column.values.len() != 1,
            key,
            format!("{} values of {:?}", column.values.len(), column.name),
            format!("2 to {VALUES_MAX} values of a categorical column"),
        )?;
        check_names(key, column.values.iter())?;
    }
    Ok(())
}

/// Names as files write them: distinct, with nothing that reading takes away.
fn check_names<'a>(
    key: &'static str,
    names: impl Iterator<Item = &'a String>,
) -> Result<(), TaskError> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        let is_written = name.trim() == name && !name.chars().any(char::is_control);
        let fits = is_written && !name.is_empty() && name.len() <= NAME_BYTES_MAX;
        allowed(
            fits && seen.insert(folded(name)),
            key,
            format!("{name:?}"),
            "distinct names of 1 to 64 bytes, case and blanks aside, with no space at either end \
             and no control characters",
        )?;
    }
    Ok(())
}

/// A name as it is compared where it is not written exactly so: in lower case,
/// with one `_` for each run of blanks, `_` and `-`, letters and their accents
/// composed (Unicode's NFC), and without characters that are not seen.
pub fn folded(name: &str) -> String {
    let unseen = |c: &char| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{feff}');
    let seen: String = name.chars().filter(|c| !unseen(c)).collect();
    let mut folded = String::with_capacity(seen.len());
    for character in seen.trim().nfc() {
        if character.is_whitespace() || character == '_' || character == '-' {
            if !folded.ends_with('_') {
                folded.push('_');
            }
        } else {
            folded.extend(character.to_lowercase());
        }
    }
    folded
}

/// Most columns of a table or channels of a series.
const COLUMNS_MAX: usize = 4_096;
/// Most values of a categorical column.
const VALUES_MAX: usize = 256;
/// Most samples of a window.
const WINDOW_SAMPLES_MAX: usize = 65_536;
const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests;
