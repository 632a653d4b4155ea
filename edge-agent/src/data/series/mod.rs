//! Recordings, cut into windows.
//!
//! Samples of one group that follow one another without a gap are a stretch.
//! A stretch is brought to the task's rate and cut from its start on, a window
//! every hop. No window reaches across a gap, another group, or the end of a
//! file; where a label must cover the whole of a window, none reaches across a
//! change of it either, and windows begin anew with the next.

mod coarse;
mod live;
mod resample;
mod samples;

use common::task::SeriesInput;

use super::account::{Account, Recordings, Unused};
use super::note::Note;
use super::schema::{ParseError, Place};
pub(super) use live::{LiveSeries, Sample};
use resample::{Grid, resampled};
use samples::Order;
pub(super) use samples::Samples;

/// A stretch of samples, by their places.
type Stretch = Vec<usize>;

/// The windows of a file's samples, row-major, and the label of each.
///
/// # Errors
/// [`ParseError::Rate`] where all recordings are too slow, [`ParseError::Size`] for
/// more than may be held.
pub(super) fn windows(
    samples: &Samples,
    series: &SeriesInput,
    values_max: usize,
    account: &mut Account,
    notes: &mut Vec<Note>,
) -> Result<(Vec<f32>, Vec<Option<u16>>), ParseError> {
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    let mut room = true;
    let mut keep = |window: &[f32], label| {
        room &= values.len() + window.len() <= values_max;
        if room {
            values.extend_from_slice(window);
            labels.push(label);
        }
    };
    windows_into(samples, series, account, notes, &mut keep)?;
    if !room {
        let values = series.window() * series.channels.len();
        let rows_max = values_max / values.max(1);
        return Err(ParseError::Size { rows_max, values });
    }
    Ok((values, labels))
}

/// The same, one window after the other. What is counted is added to the
/// account: samples may be a piece of a file.
///
/// # Errors
/// [`ParseError::Rate`] where all recordings are too slow, [`ParseError::TimesFall`]
/// where most times lie before the one above.
pub(super) fn windows_into(
    samples: &Samples,
    series: &SeriesInput,
    account: &mut Account,
    notes: &mut Vec<Note>,
    keep: &mut dyn FnMut(&[f32], Option<u16>),
) -> Result<(), ParseError> {
    let rate_hz = samples.rate_hz.unwrap_or(series.rate_hz);
    let mut groups = groups(&samples.groups);
    let (mut reversed, mut falling) = (false, 0);
    for group in &mut groups {
        match samples.order(group) {
            Order::NewestFirst => {
                group.reverse();
                reversed = true;
            }
            Order::MostlyFalling => falling += group.len(),
            Order::Rising => {}
        }
    }
    let told_hz = samples.rate_hz.filter(|_| samples.timed);
    let spread = told_hz.map(|rate_hz| coarse::spread(&samples.times, &groups, rate_hz));
    let mut cut = Cut {
        samples,
        times: spread.as_deref().unwrap_or(&samples.times),
        series,
        rate_hz,
        recordings: account.recordings.unwrap_or_default(),
        account,
        keep,
        slowest_hz: f64::INFINITY,
        too_slow_hz: None,
        is_any_fast: false,
        too_fast: None,
    };
    for group in &groups {
        for stretch in cut.stretches(group) {
            cut.stretch(&stretch);
            common::liveness::heartbeat();
        }
    }
    if 2 * falling > samples.len() && !cut.is_any_fast && cut.account.used == 0 {
        return Err(ParseError::TimesFall);
    }
    // A stretch that strays costs itself, a recording that is all slow its file.
    if let Some(found) = cut.too_slow_hz
        && !cut.is_any_fast
        && cut.account.used == 0
    {
        let wanted = series.rate_hz;
        return Err(match coarse::clock(&samples.times, &groups) {
            Some(clock) if samples.timed => ParseError::CoarseTimes {
                samples: clock.samples,
                step_s: clock.step_ns as f64 * 1e-9,
            },
            _ => ParseError::Rate { found, wanted },
        });
    }
    let is_told = |note: &Note| matches!(note, Note::TooFast { .. });
    if let Some((sample, rate_hz)) = cut.too_fast.filter(|_| !notes.iter().any(is_told)) {
        notes.push(Note::TooFast {
            line: samples.lines[sample],
            rate_hz,
            wanted_hz: series.rate_hz,
            seconds: samples.times[sample] as f64 * 1e-9,
        });
    }
    if reversed && !notes.contains(&Note::NewestFirst) {
        notes.push(Note::NewestFirst);
    }
    let told = notes.iter().any(|note| matches!(note, Note::Slower { .. }));
    if cut.slowest_hz < series.rate_hz * SLOWER && !told {
        notes.push(Note::Slower {
            rate_hz: cut.slowest_hz,
            wanted_hz: series.rate_hz,
        });
    }
    let recordings = cut.recordings;
    account.recordings = Some(recordings);
    Ok(())
}

/// Places of the samples of each group, in the order of the file.
fn groups(numbers: &[u32]) -> Vec<Vec<usize>> {
    let mut groups: std::collections::BTreeMap<u32, Vec<usize>> = Default::default();
    for (place, &group) in numbers.iter().enumerate() {
        groups.entry(group).or_default().push(place);
    }
    groups.into_values().collect()
}

struct Cut<'a> {
    samples: &'a Samples,
    /// Of each sample, spread where several have one.
    times: &'a [i64],
    series: &'a SeriesInput,
    rate_hz: f64,
    recordings: Recordings,
    account: &'a mut Account,
    keep: &'a mut dyn FnMut(&[f32], Option<u16>),
    /// The slowest that was cut into windows.
    slowest_hz: f64,
    /// The rate of the first stretch that was too slow to be.
    too_slow_hz: Option<f64>,
    /// Whether one was not.
    is_any_fast: bool,
    /// The first stretch that is as fast as times in another unit seem: a sample of it
    /// and its rate.
    too_fast: Option<(usize, f64)>,
}

impl Cut<'_> {
    /// Seconds from one sample to another.
    fn seconds(&self, from: usize, to: usize) -> f64 {
        // Times may lie as far apart as an i64 holds.
        let apart = i128::from(self.times[to]) - i128::from(self.times[from]);
        match self.samples.timed {
            true => apart as f64 * 1e-9,
            false => apart as f64 / self.rate_hz,
        }
    }

    /// Cuts the samples of a group where time has a gap or goes back, and at
    /// changes of the label where windows must not reach across. Of samples of
    /// one time the first counts.
    fn stretches(&mut self, group: &[usize]) -> Vec<Stretch> {
        let samples = self.samples;
        let Some(step) = self.usual_step(group) else {
            let place = || Place::Line(samples.lines[group[0]]).to_string();
            if !group.is_empty() {
                let why = match group.len() {
                    1 => Unused::Rest,
                    _ => Unused::TimeAgain,
                };
                self.account.leave_out_many(why, group.len(), place);
            }
            return Vec::new();
        };
        let gap_s = self.series.gap_s.max(GAP_STEPS * step);
        let by_label = self.series.label_share >= 1.0;
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut stretch: Stretch = Vec::new();
        for &place in group {
            let Some(&last) = stretch.last() else {
                stretch.push(place);
                continue;
            };
            let apart = self.seconds(last, place);
            if apart == 0.0 {
                let line = samples.lines[place];
                self.account
                    .leave_out(Unused::TimeAgain, || Place::Line(line));
                continue;
            }
            let is_gap = apart > gap_s;
            if is_gap {
                self.recordings.gaps += 1;
                self.recordings.gap_s += apart;
            }
            let relabelled = by_label && samples.labels[last] != samples.labels[place];
            if is_gap || apart < 0.0 || relabelled {
                stretches.push(std::mem::take(&mut stretch));
            }
            stretch.push(place);
        }
        if !stretch.is_empty() {
            stretches.push(stretch);
        }
        self.recordings.stretches += stretches.len();
        stretches
    }

    /// The median time between samples, if there are two that differ.
    fn usual_step(&self, group: &[usize]) -> Option<f64> {
        let pairs = group.windows(2);
        let steps = pairs.map(|pair| self.seconds(pair[0], pair[1]));
        let mut steps: Vec<f64> = steps.filter(|&step| step > 0.0).collect();
        let middle = steps.len() / 2;
        if steps.is_empty() {
            return None;
        }
        Some(*steps.select_nth_unstable_by(middle, f64::total_cmp).1)
    }

    /// Brings a stretch to the task's rate and cuts it.
    fn stretch(&mut self, stretch: &[usize]) {
        let (channels, samples) = (self.series.channels.len(), self.samples);
        let line = || Place::Line(samples.lines[stretch[0]]).to_string();
        let Some(step) = self.usual_step(stretch) else {
            self.account
                .leave_out_many(Unused::Rest, stretch.len(), line);
            return;
        };
        let seconds = |&place: &usize| self.seconds(stretch[0], place);
        let times: Vec<f64> = stretch.iter().map(seconds).collect();
        let grid = Grid::of(&times, step);
        let is_too_fast = grid.rate_hz > self.series.rate_hz * RATE_MAX;
        if samples.timed && is_too_fast && stretch.len() >= FAST_SAMPLES_MIN {
            self.too_fast.get_or_insert((stretch[0], grid.rate_hz));
        }
        // What a slow clock or a coarse one makes of the length must not cost
        // the last window.
        let length = (grid.duration() * self.series.rate_hz + 0.5).floor() as usize + 1;
        let (window, hop) = (self.series.window(), self.series.hop());
        if length < window {
            self.account
                .leave_out_many(Unused::Rest, stretch.len(), line);
            return;
        }
        if grid.rate_hz < self.series.rate_hz * RATE_MIN {
            self.too_slow_hz.get_or_insert(grid.rate_hz);
            self.account
                .leave_out_many(Unused::Slow, stretch.len(), line);
            return;
        }
        self.is_any_fast = true;
        if self.recordings.rate_hz == 0.0 {
            self.recordings.rate_hz = grid.rate_hz;
        }
        self.slowest_hz = self.slowest_hz.min(grid.rate_hz);
        let raw = |sample: usize| {
            let start = stretch[sample] * channels;
            &samples.values[start..start + channels]
        };
        let even = grid.values(&times, channels, raw);
        let made = resampled(&even, channels, grid.rate_hz, self.series.rate_hz, length);
        let labels = self.labels_at(stretch, &times, length);
        let mut start = 0;
        while start + window <= length {
            match self.label_of(&labels[start..start + window]) {
                Some(label) => {
                    let values = &made[start * channels..(start + window) * channels];
                    (self.keep)(values, label);
                    self.account.used += 1;
                }
                None => self.account.leave_out_many(Unused::MixedLabels, 1, line),
            }
            start += hop;
        }
        let covered = start - hop + window;
        if covered < length {
            let rest = length - covered;
            self.account.leave_out_many(Unused::Rest, rest, line);
        }
    }

    /// The label of each sample of the task's rate: that of the nearest
    /// sample of the recording.
    fn labels_at(&self, stretch: &[usize], times: &[f64], length: usize) -> Vec<Option<u16>> {
        let mut nearest = 0;
        let at = |sample: usize| {
            let time = sample as f64 / self.series.rate_hz;
            while nearest + 1 < times.len()
                && (times[nearest + 1] - time).abs() <= (times[nearest] - time).abs()
            {
                nearest += 1;
            }
            self.samples.labels[stretch[nearest]]
        };
        (0..length).map(at).collect()
    }

    /// The label that covers enough of a window, which may be none at all;
    /// nothing where none does.
    fn label_of(&self, labels: &[Option<u16>]) -> Option<Option<u16>> {
        let mut counts = std::collections::BTreeMap::new();
        for label in labels {
            *counts.entry(label).or_insert(0usize) += 1;
        }
        let (label, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        let needed = self.series.label_share * labels.len() as f64;
        (count as f64 >= needed - 1e-9).then_some(*label)
    }
}

/// Own samples without one that end a slow recording.
const GAP_STEPS: f64 = 3.5;
/// Values of samples, with what goes beside them, that are held before they
/// are cut into windows: 4 MiB. A longer recording is cut in pieces.
pub(super) const PIECE_VALUES: usize = 1 << 20;
/// Below this share of the task's rate a stretch is left out.
const RATE_MIN: f64 = 0.5;
/// Above so many times the task's rate it is told: times of milliseconds taken for
/// seconds make a thousand times of it, days 86,400.
const RATE_MAX: f64 = 500.0;
/// Samples of a stretch that shows so much.
const FAST_SAMPLES_MIN: usize = 10;
/// Below this share it is told.
const SLOWER: f64 = 0.95;

#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod tests;
