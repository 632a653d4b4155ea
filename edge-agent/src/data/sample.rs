//! A sample of the rows where there are more than are held.
//!
//! Each row has a key, a hash of its values; of each class the rows of the
//! lowest keys stay. So the sample is the same whatever the order of rows and
//! files, copies of a row are one, rows that are added change it in proportion,
//! and it needs no seed. Four fifths of the room are for rows to learn from, the
//! rest for those that are held out. Within either, each class has its share of
//! the rows, but at least a quarter of an even share if it has as many.

use std::collections::BTreeMap;

use super::Dataset;
use super::split::{Side, SplitRule, Splitter};

/// Most rows that are held, however narrow: what was told of rows is remembered
/// by their names, and there must be room for many sets of them.
pub const SAMPLE_ROWS_MAX: usize = 32_768;
/// The least that a class keeps is its even share of the room divided by this.
const EVEN_SHARE: usize = 4;
/// Of the room, one part in so many is for rows that are held out.
const HELD_OUT_SHARE: usize = 5;

/// What sampled rows stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandsFor {
    /// Of each label: rows that were read, and how many of them say what a
    /// sampled row says.
    labels: BTreeMap<Option<u16>, (u64, u64)>,
    uniform_below: u64,
}

impl StandsFor {
    /// Rows that were read, whatever their label.
    pub fn rows(&self) -> u64 {
        self.labels.values().map(|(seen, _)| seen).sum()
    }

    /// Rows of a label that so many distinct rows of the sample stand for: all
    /// that were read, less copies in the proportion that the sample shows.
    pub fn told(&self, label: Option<u16>, rows: u64) -> u64 {
        // Only a model's word makes a label that no row came with.
        let known = self.labels.get(&label).or_else(|| self.labels.get(&None));
        let (seen, sampled) = known.copied().unwrap_or((1, 1));
        let told = u128::from(rows) * u128::from(seen) / u128::from(sampled.max(1));
        u64::try_from(told).unwrap_or(u64::MAX).max(rows)
    }

    /// Whether a row belongs to the part of the sample in which every class
    /// has exactly its share: what mean and variance are taken of.
    pub fn is_uniform(&self, row: impl IntoIterator<Item = f32>) -> bool {
        key_of(row) < self.uniform_below
    }
}

/// Rows as they are read: all of them, or a sample.
#[derive(Debug)]
pub(super) struct Kept {
    width: usize,
    numbers_width: usize,
    rows_max: usize,
    pub(super) values: Vec<f32>,
    pub(super) labels: Vec<Option<u16>>,
    pub(super) numbers: Vec<f32>,
    splitter: Splitter,
    /// While all rows are held.
    sides: Vec<Option<Side>>,
    sample: Option<Sample>,
}

/// What is known of rows of which a sample is held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    held: Vec<Held>,
    parts: BTreeMap<Part, PartRows>,
    uniform_below: [Option<u64>; 2],
    read: u64,
}

/// A row that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    key: u64,
    /// Rows read that say the same, itself included.
    copies: u32,
    side: Side,
}

type Part = (Side, Option<u16>);

/// Rows of one label on one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PartRows {
    seen: u64,
    /// Only rows of lower keys are held, if there is a bound.
    below: Option<u64>,
}

impl PartRows {
    fn keeps(self, key: u64) -> bool {
        self.below.is_none_or(|below| key < below)
    }
}

impl Sample {
    /// Rows that were read.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// The sides of the rows that are held.
    pub(super) fn sides(&self) -> impl Iterator<Item = Side> {
        self.held.iter().map(|held| held.side)
    }
}

impl Kept {
    /// No rows yet: rows of so many values and numbers, of which at most
    /// `rows_max` are held in the end, split by `rule`.
    pub(super) fn new(
        width: usize,
        numbers_width: usize,
        rows_max: usize,
        rule: SplitRule,
    ) -> Self {
        Self {
            width,
            numbers_width,
            rows_max: rows_max.max(1),
            values: Vec::new(),
            labels: Vec::new(),
            numbers: Vec::new(),
            splitter: Splitter::new(rule),
            sides: Vec::new(),
            sample: None,
        }
    }

    /// The rows of a data set, to be sampled together with others.
    fn of(data: Dataset, rows_max: usize, rule: SplitRule) -> Self {
        let numbers_width = data.numbers.as_ref().map_or(0, ndarray::Array2::ncols);
        let mut kept = Self::new(data.inputs.ncols(), numbers_width, rows_max, rule);
        kept.sides = match data.sample {
            Some(_) => Vec::new(),
            None => (0..data.rows())
                .map(|row| kept.splitter.side(|| data.row_hash(row, 0)))
                .collect(),
        };
        kept.sample = data.sample;
        kept.values = plain(data.inputs);
        kept.labels = data.labels;
        kept.numbers = data.numbers.map(plain).unwrap_or_default();
        kept
    }

    /// What was read; none if the numbers of values do not fit.
    pub(super) fn finish(mut self) -> Option<Dataset> {
        if self.sample.is_some() {
            thin(&mut [&mut self]);
        }
        self.dataset()
    }

    fn dataset(mut self) -> Option<Dataset> {
        self.values.shrink_to_fit();
        let rows = self.labels.len();
        let data = Dataset::from_rows(self.width, self.values, self.labels)?;
        let data = match self.numbers_width {
            0 => data,
            width => {
                let shape = (rows, width);
                let numbers = ndarray::Array2::from_shape_vec(shape, self.numbers).ok()?;
                data.with_numbers(numbers)?
            }
        };
        Some(Dataset {
            sample: self.sample,
            ..data
        })
    }

    /// Takes the memory of so many rows at once, as far as they are held.
    pub(super) fn expect(&mut self, rows: usize) {
        let rows = rows.min(self.most());
        self.values.reserve_exact(rows * self.width);
        self.labels.reserve_exact(rows);
        self.sides.reserve_exact(rows);
    }

    /// Takes a row in, or counts it.
    pub(super) fn push(
        &mut self,
        row: impl Iterator<Item = f32> + Clone,
        label: Option<u16>,
        numbers: &[f32],
    ) {
        let hash = || super::content_hash(row.clone(), numbers.iter().copied(), label, 0);
        let side = self.splitter.side(hash);
        match &mut self.sample {
            None => self.sides.push(side),
            Some(sample) => {
                sample.read += 1;
                let Some(side) = side else { return };
                let part = sample.parts.entry((side, label)).or_default();
                part.seen += 1;
                let key = key_of(row.clone());
                if !part.keeps(key) {
                    return;
                }
                let copies = 1;
                sample.held.push(Held { key, copies, side });
            }
        }
        self.values.extend(row);
        self.labels.push(label);
        self.numbers.extend_from_slice(numbers);
        if self.labels.len() >= self.most() {
            thin(&mut [self]);
        }
    }

    /// Rows at which some go.
    fn most(&self) -> usize {
        self.rows_max + (self.rows_max / 4).max(1)
    }

    /// Begins to sample: rows that are on neither side go.
    fn begin(&mut self) {
        if self.sample.is_some() {
            return;
        }
        let mut sample = Sample {
            read: self.labels.len() as u64,
            ..Sample::default()
        };
        let sides = std::mem::take(&mut self.sides);
        let rows = sides.iter().zip(self.values.chunks(self.width.max(1)));
        for ((side, row), &label) in rows.zip(&self.labels) {
            // Those on neither side are taken away below.
            let place = side.unwrap_or(Side::Training);
            if side.is_some() {
                sample.parts.entry((place, label)).or_default().seen += 1;
            }
            sample.held.push(Held {
                key: key_of(row.iter().copied()),
                copies: 1,
                side: place,
            });
        }
        self.sample = Some(sample);
        self.retain(&sides.iter().map(Option::is_some).collect::<Vec<_>>());
    }

    /// Only these rows, in order.
    fn retain(&mut self, stays: &[bool]) {
        let mut to = 0;
        for from in (0..stays.len()).filter(|&row| stays[row]) {
            let (width, numbers) = (self.width, self.numbers_width);
            let values = from * width..(from + 1) * width;
            self.values.copy_within(values, to * width);
            self.labels[to] = self.labels[from];
            let values = from * numbers..(from + 1) * numbers;
            self.numbers.copy_within(values, to * numbers);
            if let Some(sample) = &mut self.sample {
                sample.held[to] = sample.held[from];
            }
            to += 1;
        }
        self.values.truncate(to * self.width);
        self.labels.truncate(to);
        self.numbers.truncate(to * self.numbers_width);
        if let Some(sample) = &mut self.sample {
            sample.held.truncate(to);
        }
    }
}

/// One sample of the rows of all of these. Each may be a sample already.
pub(super) fn sampled_together(
    files: Vec<Dataset>,
    rows_max: usize,
    rule: SplitRule,
) -> Vec<Dataset> {
    let width = files.first().map_or(0, |file| file.inputs.ncols());
    let mut kept: Vec<Kept> = files
        .into_iter()
        .map(|data| Kept::of(data, rows_max, rule))
        .collect();
    thin(&mut kept.iter_mut().collect::<Vec<_>>());
    let data = kept.into_iter().map(Kept::dataset);
    data.map(|data| data.unwrap_or_else(|| Dataset::empty(width)))
        .collect()
}

/// What the sampled rows of one side stand for, if any of the files is sampled.
pub(super) fn stands_for<'a>(
    files: impl Iterator<Item = &'a Dataset>,
    side: Side,
) -> Option<StandsFor> {
    let mut found = StandsFor {
        labels: BTreeMap::new(),
        uniform_below: u64::MAX,
    };
    let mut is_sampled = false;
    for file in files {
        let Some(sample) = &file.sample else { continue };
        is_sampled = true;
        for (&(own, label), part) in sample.parts.iter().filter(|((own, _), _)| *own == side) {
            debug_assert_eq!(own, side);
            found.labels.entry(label).or_default().0 += part.seen;
        }
        for (held, &label) in sample.held.iter().zip(&file.labels) {
            if held.side == side {
                found.labels.entry(label).or_default().1 += u64::from(held.copies);
            }
        }
        if let Some(below) = sample.uniform_below[side as usize] {
            found.uniform_below = found.uniform_below.min(below);
        }
    }
    is_sampled.then_some(found)
}

/// Takes copies away, and of the rest what there is no room for.
fn thin(files: &mut [&mut Kept]) {
    let rows_max = files.iter().map(|file| file.rows_max).min().unwrap_or(1);
    for file in files.iter_mut() {
        file.begin();
    }
    let mut stays: Vec<Vec<bool>> = { files.iter() }
        .map(|file| vec![false; file.labels.len()])
        .collect();
    let held_out = (rows_max / HELD_OUT_SHARE).max(1);
    for (side, room) in [
        (Side::Training, rows_max.saturating_sub(held_out).max(1)),
        (Side::HeldOut, held_out),
    ] {
        thin_side(files, side, room, &mut stays);
    }
    for (file, stays) in files.iter_mut().zip(stays) {
        file.retain(&stays);
    }
}

/// A row among those of several files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    key: u64,
    file: u32,
    row: u32,
}

fn thin_side(files: &mut [&mut Kept], side: Side, room: usize, stays: &mut [Vec<bool>]) {
    let bounds = bounds_of(files, side);
    let mut labels: BTreeMap<Option<u16>, Vec<Candidate>> = BTreeMap::new();
    for (file, kept) in files.iter().enumerate() {
        let held = kept.sample.iter().flat_map(|sample| &sample.held);
        for (row, (held, &label)) in held.zip(&kept.labels).enumerate() {
            let below = bounds.get(&label).copied().flatten();
            if held.side == side && below.is_none_or(|below| held.key < below) {
                let (file, row) = (file as u32, row as u32);
                let key = held.key;
                let rows = labels.entry(label).or_default();
                rows.push(Candidate { key, file, row });
            }
        }
    }
    for candidates in labels.values_mut() {
        candidates.sort_unstable();
        join_copies(files, candidates);
    }
    let total: usize = labels.values().map(Vec::len).sum();
    let mut uniform = None;
    let mut next = bounds;
    if total > room {
        let least = room / (EVEN_SHARE * labels.len().max(1));
        // Those that are beyond their class's least compete for what is left.
        let beyond = labels.values().flat_map(|rows| rows.iter().skip(least));
        let mut beyond: Vec<u64> = beyond.map(|row| row.key).collect();
        let sure: usize = labels.values().map(|rows| rows.len().min(least)).sum();
        let left = room.saturating_sub(sure).min(beyond.len() - 1);
        let below = *beyond.select_nth_unstable(left).1;
        uniform = Some(below);
        for (&label, rows) in &mut labels {
            if let Some(first) = rows.get(least).map(|row| row.key) {
                let bound = below.max(first);
                let own = next.entry(label).or_default();
                *own = Some(own.map_or(bound, |own| own.min(bound)));
                rows.retain(|row| row.key < bound);
            }
        }
    }
    for row in labels.values().flatten() {
        stays[row.file as usize][row.row as usize] = true;
    }
    for sample in files.iter_mut().filter_map(|file| file.sample.as_mut()) {
        for (&label, &below) in &next {
            sample.parts.entry((side, label)).or_default().below = below;
        }
        let own = &mut sample.uniform_below[side as usize];
        *own = match (*own, uniform) {
            (Some(own), Some(new)) => Some(own.min(new)),
            (own, new) => own.or(new),
        };
    }
}

/// The lowest bound that any of the files has, by label.
fn bounds_of(files: &[&mut Kept], side: Side) -> BTreeMap<Option<u16>, Option<u64>> {
    let mut bounds: BTreeMap<Option<u16>, Option<u64>> = BTreeMap::new();
    for sample in files.iter().filter_map(|file| file.sample.as_ref()) {
        for (&(_, label), part) in sample.parts.iter().filter(|((own, _), _)| *own == side) {
            let bound = bounds.entry(label).or_default();
            *bound = match (*bound, part.below) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
    }
    bounds
}

/// Of rows in order of their keys, the first of each key; it counts for the
/// others.
fn join_copies(files: &mut [&mut Kept], candidates: &mut Vec<Candidate>) {
    let mut distinct: Vec<Candidate> = Vec::with_capacity(candidates.len());
    for &row in candidates.iter() {
        match distinct.last() {
            Some(first) if first.key == row.key => {
                let own = held(files, row).map_or(0, |held| held.copies);
                if let Some(held) = held(files, *first) {
                    held.copies = held.copies.saturating_add(own);
                }
            }
            _ => distinct.push(row),
        }
    }
    *candidates = distinct;
}

fn held<'a>(files: &'a mut [&mut Kept], row: Candidate) -> Option<&'a mut Held> {
    let sample = files[row.file as usize].sample.as_mut()?;
    sample.held.get_mut(row.row as usize)
}

/// A hash of a row's values alone.
fn key_of(row: impl IntoIterator<Item = f32>) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(DOMAIN);
    for value in row {
        // Zero and minus zero are one value.
        hasher.update(&(value + 0.0).to_le_bytes());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// Values of an array, row by row, without copying them where they lie so.
fn plain(array: ndarray::Array2<f32>) -> Vec<f32> {
    match array.is_standard_layout() {
        true => {
            let length = array.len();
            let (mut values, offset) = array.into_raw_vec_and_offset();
            values.drain(..offset.unwrap_or(0));
            values.truncate(length);
            values
        }
        false => array.iter().copied().collect(),
    }
}

/// Keys are hashes of nothing else.
const DOMAIN: &[u8] = b"alambic sample of rows";

#[cfg(test)]
mod tests;
