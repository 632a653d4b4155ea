//! Windows of a recording that is still being made, each as soon as its last
//! sample is there.

use std::collections::{HashMap, VecDeque};

use common::task::SeriesInput;

use super::super::account::Account;
use super::super::schema::ParseError;
use super::{GAP_STEPS, Samples, resample, windows_into};

/// A sample as it comes.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Sample<'a> {
    pub(in super::super) values: &'a [f32],
    /// When it was measured, in nanoseconds.
    pub(in super::super) time: Option<i64>,
    /// Its number within its group.
    pub(in super::super) number: i64,
    /// Samples a second of a recording without times.
    pub(in super::super) rate_hz: Option<f64>,
    pub(in super::super) line: u64,
}

/// A window that has just become whole.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Window {
    /// Samples × channels at the task's rate, row-major.
    pub(in super::super) values: Vec<f32>,
    /// When it begins and when its last sample was measured, in nanoseconds,
    /// where the recording has times.
    pub(in super::super) span: Option<(i64, i64)>,
}

/// Cuts the recordings of several groups at once, by the same rules as
/// recordings that are whole: one stretch from its start on, a window every
/// hop, none across a gap. Labels do not part windows, since a stream has none.
/// Where the rates differ, a window ends as a recording does that stops there:
/// what comes after it cannot be waited for.
///
/// Memory: a window and what its filter reaches back for, for each of at most
/// [`GROUPS_MAX`] groups.
#[derive(Debug)]
pub(in super::super) struct LiveSeries {
    series: SeriesInput,
    groups: HashMap<String, Stretch>,
    /// Samples seen, by which groups age.
    seen: u64,
}

/// What is held of a group's stretch.
#[derive(Debug, Default)]
struct Stretch {
    samples: Samples,
    /// The time or number of its first sample, which may be gone.
    origin: i64,
    /// Windows cut from it.
    cut: usize,
    /// The group's newest times between samples, in seconds, also those before
    /// the stretch.
    steps: VecDeque<f64>,
    /// When the group was last heard of.
    seen: u64,
}

impl LiveSeries {
    pub(in super::super) fn new(series: SeriesInput) -> Self {
        Self {
            series,
            groups: HashMap::new(),
            seen: 0,
        }
    }

    /// Takes a sample in; the windows that it completes, mostly none or one.
    ///
    /// # Errors
    /// [`ParseError::Rate`] for a recording too slow; its stretch is given up.
    pub(in super::super) fn push(
        &mut self,
        group: &str,
        sample: Sample<'_>,
    ) -> Result<Vec<Window>, ParseError> {
        self.seen += 1;
        if !self.groups.contains_key(group) {
            self.make_room();
            self.groups.insert(group.to_owned(), Stretch::default());
        }
        let Some(stretch) = self.groups.get_mut(group) else {
            return Ok(Vec::new());
        };
        stretch.seen = self.seen;
        let windows = stretch.push(&self.series, sample);
        if windows.is_err() {
            self.groups.remove(group);
        }
        windows
    }

    /// Forgets the group that was not heard of for longest, if all are held that
    /// may be.
    fn make_room(&mut self) {
        if self.groups.len() < GROUPS_MAX {
            return;
        }
        let oldest = self.groups.iter().min_by_key(|(_, stretch)| stretch.seen);
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.groups.remove(&name);
        }
    }
}

impl Stretch {
    fn push(
        &mut self,
        series: &SeriesInput,
        sample: Sample<'_>,
    ) -> Result<Vec<Window>, ParseError> {
        let at = sample.time.unwrap_or(sample.number);
        let rate_hz = sample.rate_hz.unwrap_or(series.rate_hz);
        let unit = match sample.time {
            Some(_) => 1e-9,
            None => 1.0 / rate_hz,
        };
        let seconds = |from: i64| (i128::from(at) - i128::from(from)) as f64 * unit;
        if let Some(&last) = self.samples.times.last() {
            let apart = seconds(last);
            if apart == 0.0 {
                return Ok(Vec::new());
            }
            // The longer limit is that of a slow recording, and of one of which
            // nobody knows yet how fast it is.
            let usual = median(self.steps.iter().copied());
            let is_gap = apart > series.gap_s && usual.is_some_and(|step| apart > GAP_STEPS * step);
            if apart > 0.0 {
                self.steps.push_back(apart);
                if self.steps.len() > STEPS {
                    self.steps.pop_front();
                }
            }
            if is_gap || apart < 0.0 {
                *self = Self {
                    seen: self.seen,
                    steps: std::mem::take(&mut self.steps),
                    ..Self::default()
                };
            }
        }
        if self.samples.len() == 0 {
            self.origin = at;
        }
        self.samples.values.extend_from_slice(sample.values);
        self.samples.labels.push(None);
        self.samples
            .push(sample.time, sample.number, sample.rate_hz, 0, sample.line);
        let mut made = Vec::new();
        let (window, hop_s) = (series.window(), series.hop() as f64 / series.rate_hz);
        loop {
            let begins_s = self.cut as f64 * hop_s;
            let reached = (seconds(self.origin) - begins_s) * series.rate_hz;
            // As in recordings that are whole, half a step of a slow clock must
            // not cost the window.
            if reached + 0.5 < (window - 1) as f64 {
                break;
            }
            let before = match self.has_rate(series) {
                true => 0,
                false => self.cut.min(hops_before(series, hop_s)),
            };
            let from_s = begins_s - before as f64 * hop_s;
            let Some(values) = self.newest(series, (from_s, unit), before)? else {
                break;
            };
            let begins = self.origin + (begins_s / unit).round() as i64;
            made.push(Window {
                values,
                span: sample.time.map(|time| (begins, time)),
            });
            self.cut += 1;
        }
        let next_s = self.cut.saturating_sub(hops_before(series, hop_s)) as f64 * hop_s;
        self.forget(next_s, unit);
        Ok(made)
    }

    /// The window after so many others that begin at `from_s` into the stretch;
    /// nothing if it is not whole yet.
    fn newest(
        &self,
        series: &SeriesInput,
        (from_s, unit): (f64, f64),
        before: usize,
    ) -> Result<Option<Vec<f32>>, ParseError> {
        let piece = self.samples.from(self.first_at(from_s, unit));
        let (mut newest, mut count) = (None, 0);
        let mut keep = |values: &[f32], _| {
            count += 1;
            if count == before + 1 {
                newest = Some(values.to_vec());
            }
        };
        windows_into(
            &piece,
            series,
            &mut Account::default(),
            &mut Vec::new(),
            &mut keep,
        )?;
        Ok(newest)
    }

    /// Whether samples come at the task's rate, so that no filter is needed.
    fn has_rate(&self, series: &SeriesInput) -> bool {
        let step = median(self.steps.iter().copied());
        step.is_some_and(|step| (step * series.rate_hz - 1.0).abs() < SAME_STEP)
    }

    /// The first sample at so many seconds into the stretch, or half a step
    /// before.
    fn first_at(&self, seconds: f64, unit: f64) -> usize {
        let times = &self.samples.times;
        let early = median(self.steps.iter().copied()).unwrap_or(0.0) / 2.0;
        let at = |time: i64| (i128::from(time) - i128::from(self.origin)) as f64 * unit;
        times.partition_point(|&time| at(time) < seconds - early)
    }

    /// Lets go of what no later window needs.
    fn forget(&mut self, seconds: f64, unit: f64) {
        let first = self.first_at(seconds, unit);
        // Moving what stays costs as much as what goes: rarely, then.
        if first > self.samples.len() / 2 {
            self.samples = self.samples.from(first);
        }
    }
}

/// Hops before a window that its filter reaches back over, at the slowest rate
/// that is taken.
fn hops_before(series: &SeriesInput, hop_s: f64) -> usize {
    (resample::reach_s(series.rate_hz * super::RATE_MIN) / hop_s).ceil() as usize
}

/// The median of some values, if there are any.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// Groups whose windows are cut at a time; beyond them the one that was silent
/// for longest begins anew.
const GROUPS_MAX: usize = 256;
/// Newest steps whose median is the usual one.
const STEPS: usize = 64;
const SAME_STEP: f64 = 1e-3;
