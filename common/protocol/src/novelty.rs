//! How unlike the rows that a fleet has seen a row is.

use bincode::{Decode, Encode};
use math::density::LocalDensity;
use math::quantise::{
    Layout, QuantiseError, QuantisedMatrix, RawQuantisedMatrix, RawScaledF16, ScaledF16, Scheme,
};
use math::shape::{ShapeError, check_count};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, CowArray, Ix2};

/// The points of a transfer set as a student carries them. Nothing is known about
/// it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawSurroundings {
    /// Orthonormal directions of the normalised features, one a row.
    pub basis: RawQuantisedMatrix,
    /// The points along these, one a row.
    pub points: RawQuantisedMatrix,
    /// What each point has outside of them, as a length.
    pub outside: RawScaledF16,
    /// How long rows were before they were brought to one length.
    pub lengths: Lengths,
    /// What the logits of the student are multiplied with to be the teacher's
    /// answers again.
    pub temperature: f32,
}

/// What becomes of how long rows were before they were brought to one length. The last
/// feature tells it, where that is a constant.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Lengths {
    /// It is not known.
    Unknown,
    /// Rows are compared as long as they were: see [`lengthened`].
    Own,
    /// Rows are compared at one length, without the constant, and how long a row was is
    /// held against what is usual in each class: median and deviation of its logarithm.
    Usual(Vec<[f32; 2]>),
}

/// What tells how unlike a row is, as it travels. Nothing is known about it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawNovelty {
    /// What a row is held against.
    pub surroundings: RawSurroundings,
    /// What is usual in each class: median and deviation of how far away a row
    /// is, then of how far its answer is from a pure class.
    pub levels: Vec<[f32; 4]>,
    /// Median and deviation of how sparse it is around a row, in all classes.
    pub sparse: [f32; 2],
    /// The sum of a usual row of the training: half of them have less.
    pub usual: f32,
    /// The sum that one in twenty rows of the training exceeds.
    pub far: f32,
}

/// What a row is held against.
#[derive(Clone, Debug)]
pub struct Surroundings {
    basis: Array2<f32>,
    density: LocalDensity,
    temperature: f32,
    raw: RawSurroundings,
}

/// How a row looks beside what is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// The class that the student takes it for; 0 where numbers are asked.
    pub class: usize,
    /// Log of its mean distance from its nearest points.
    pub away: f64,
    /// Log of how much sparser it is around it than around those points.
    pub sparse: f64,
    /// Log of the distance of its answer from a pure class.
    pub torn: f64,
    /// Log of how long it was before all were brought to one length; 0 where that is
    /// not judged.
    pub length: f64,
}

/// What tells how unlike a row is.
#[derive(Clone, Debug)]
pub struct Novelty {
    surroundings: Surroundings,
    levels: Vec<[f32; 4]>,
    sparse: [f32; 2],
    usual: f32,
    far: f32,
}

/// Why it was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoveltyError {
    /// Its points do not decode.
    #[error("its points do not decode: {0}")]
    Quantise(#[from] QuantiseError),
    /// A wrong number of something.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Too few points to tell anything.
    #[error("{0} points, at least three tell how dense they lie")]
    Few(usize),
    /// A number that says nothing.
    #[error("the {what} is {got}; expected a {expected}")]
    Value {
        /// Which.
        what: &'static str,
        /// What it is.
        got: f32,
        /// What it must be.
        expected: &'static str,
    },
    /// Its levels do not rise.
    #[error("a usual row has {usual} and a far one {far}; expected two numbers, the smaller first")]
    Levels {
        /// The usual sum.
        usual: f32,
        /// The one of a far row.
        far: f32,
    },
}

/// A score from which on a row is said to be unlike anything the student was
/// trained on: well beyond the one row of the training in twenty that has 0.5.
pub const NOVEL: f32 = 0.75;

impl Surroundings {
    /// Points (m × features, [as they are compared](Lengths::compared)) along `basis`
    /// (directions × features, orthonormal), as they travel: 8 bits a value.
    ///
    /// # Errors
    /// If a value is not finite, or a shape does not fit.
    pub fn of(
        points: ArrayView2<'_, f32>,
        basis: ArrayView2<'_, f32>,
        temperature: f32,
        lengths: Lengths,
    ) -> Result<Self, NoveltyError> {
        let matrix = |values: ArrayView2<'_, f32>, layout, scheme| {
            QuantisedMatrix::encode(values, BITS, layout, scheme)
        };
        check_count("features", basis.ncols(), points.ncols())?;
        let basis = matrix(basis, Layout::Row, Scheme::Symmetric)?;
        let (along, outside) = project(basis.decode().view(), points);
        let outside: Vec<f32> = outside.iter().map(|square| square.sqrt()).collect();
        let raw = RawSurroundings {
            basis: basis.into_raw(),
            points: matrix(along.view(), Layout::Column, Scheme::Affine)?.into_raw(),
            outside: ScaledF16::encode(&outside)?.into_raw(),
            lengths,
            temperature,
        };
        Self::check(raw, points.ncols())
    }

    /// Checks some for so many features.
    ///
    /// # Errors
    /// The first part that does not fit.
    pub fn check(raw: RawSurroundings, features: usize) -> Result<Self, NoveltyError> {
        let temperature = raw.temperature;
        if !(temperature.is_finite() && temperature > 0.0) {
            return Err(NoveltyError::Value {
                what: "temperature",
                got: temperature,
                expected: "positive number",
            });
        }
        check_count("features", features, raw.basis.columns as usize)?;
        check_count(
            "directions of a point",
            raw.basis.rows as usize,
            raw.points.columns as usize,
        )?;
        let basis = QuantisedMatrix::try_from(raw.basis.clone())?.decode();
        let points = QuantisedMatrix::try_from(raw.points.clone())?.decode();
        let lengths = ScaledF16::try_from(raw.outside.clone())?.decode();
        let squares: Vec<f32> = lengths.iter().map(|length| length * length).collect();
        let count = points.nrows();
        let density = LocalDensity::of(points, &squares)?.ok_or(NoveltyError::Few(count))?;
        Ok(Self {
            basis,
            density,
            temperature,
            raw,
        })
    }

    /// How normalised rows (rows × features) look that the student answers with
    /// `logits` (rows × classes; none where it gives no classes).
    ///
    /// # Errors
    /// If a shape does not fit.
    pub fn looks(
        &self,
        view: ArrayView2<'_, f32>,
        logits: Option<ArrayView2<'_, f32>>,
    ) -> Result<Vec<Look>, ShapeError> {
        check_count("features", self.basis.ncols(), view.ncols())?;
        let compared = self.raw.lengths.compared(view);
        let (along, outside) = project(self.basis.view(), compared.view());
        let places = self.density.places(along.view(), &outside)?;
        self.join(&places, logits, &self.raw.lengths.judged(view))
    }

    /// How the points themselves (m × features, normalised) look, each without itself
    /// and as far from the others as rows are that lie at the distance `spreads` from it.
    ///
    /// # Errors
    /// If a shape does not fit.
    pub fn own_looks(
        &self,
        points: ArrayView2<'_, f32>,
        spreads: &[f32],
        logits: Option<ArrayView2<'_, f32>>,
    ) -> Result<Vec<Look>, ShapeError> {
        let squares: Vec<f32> = spreads.iter().map(|spread| spread * spread).collect();
        let places = self.density.own_places(&squares)?;
        self.join(&places, logits, &self.raw.lengths.judged(points))
    }

    fn join(
        &self,
        places: &[math::density::Place],
        logits: Option<ArrayView2<'_, f32>>,
        lengths: &[f64],
    ) -> Result<Vec<Look>, ShapeError> {
        if let Some(logits) = logits {
            check_count("answers", places.len(), logits.nrows())?;
        }
        let look = |(row, place): (usize, &math::density::Place)| {
            let (class, torn) = match logits {
                Some(logits) => self.torn(logits.row(row)),
                None => (0, 0.0),
            };
            Look {
                class,
                away: place.away,
                sparse: place.sparse,
                torn,
                length: lengths.get(row).copied().unwrap_or_default(),
            }
        };
        Ok(places.iter().enumerate().map(look).collect())
    }

    /// The class of logits, and the log of how far the answer behind them is from
    /// that of a pure class. The teacher's answers of all classes have the sum 0,
    /// and the student learnt their softmax at a temperature; so its logits are
    /// these answers again, but for a constant and that factor.
    fn torn(&self, logits: ArrayView1<'_, f32>) -> (usize, f64) {
        let larger = |best: usize, at: usize| if logits[at] > logits[best] { at } else { best };
        let class = (0..logits.len()).fold(0, larger);
        let mean = logits.iter().map(|&one| f64::from(one)).sum::<f64>() / logits.len() as f64;
        let centre = 1.0 / logits.len().max(1) as f64;
        let apart = |(at, &logit): (usize, &f32)| {
            let answer = f64::from(self.temperature) * (f64::from(logit) - mean);
            let pure = f64::from(u8::from(at == class));
            (answer + centre - pure).powi(2)
        };
        let square: f64 = logits.iter().enumerate().map(apart).sum();
        (class, (square.sqrt() + TORN_MIN).ln())
    }

    /// The form that travels.
    pub fn into_raw(self) -> RawSurroundings {
        self.raw
    }
}

impl Novelty {
    /// Checks one for so many features, of a student with `classes` outputs.
    ///
    /// # Errors
    /// The first part that does not fit.
    pub fn check(raw: RawNovelty, features: usize, classes: usize) -> Result<Self, NoveltyError> {
        let RawNovelty {
            surroundings,
            levels,
            sparse,
            usual,
            far,
        } = raw;
        if !(usual.is_finite() && far.is_finite() && usual < far) {
            return Err(NoveltyError::Levels { usual, far });
        }
        check_count("levels of classes", classes.max(1), levels.len())?;
        let lengths = match &surroundings.lengths {
            Lengths::Usual(lengths) => {
                check_count("lengths of classes", classes.max(1), lengths.len())?;
                lengths.as_slice()
            }
            Lengths::Unknown | Lengths::Own => &[],
        };
        let pairs = levels.iter().flat_map(|level| level.chunks(2));
        let pairs = pairs.chain(lengths.iter().map(|pair| &pair[..]));
        for pair in pairs.chain([&sparse[..]]) {
            let sound = pair[0].is_finite() && pair[1].is_finite() && pair[1] > 0.0;
            if !sound {
                return Err(NoveltyError::Value {
                    what: "deviation of a level",
                    got: pair[1],
                    expected: "positive number beside a finite median",
                });
            }
        }
        Ok(Self {
            surroundings: Surroundings::check(surroundings, features)?,
            levels,
            sparse,
            usual,
            far,
        })
    }

    /// A score of each normalised row (rows × features) that the student answers
    /// with `logits` (none where it gives no classes), from 0 to 1: 0.05 for a usual
    /// row, 0.5 for one as far out as one row of the training in twenty, nearer to 1
    /// the further out it is.
    ///
    /// # Errors
    /// If the rows have another width.
    pub fn scores(
        &self,
        view: ArrayView2<'_, f32>,
        logits: Option<ArrayView2<'_, f32>>,
    ) -> Result<Vec<f32>, ShapeError> {
        let looks = self.surroundings.looks(view, logits)?;
        let odds = |sum: f64| (sum - f64::from(self.far)) / f64::from(self.far - self.usual);
        let usual = Usual {
            levels: &self.levels,
            sparse: self.sparse,
            lengths: &self.surroundings.raw.lengths,
        };
        let score = |look: &Look| {
            let sum = usual.sum(look);
            (1.0 / (1.0 + (-STEEP * odds(sum)).exp())) as f32
        };
        Ok(looks.iter().map(score).collect())
    }
}

/// What is usual in the training.
#[derive(Clone, Copy, Debug)]
pub struct Usual<'a> {
    /// As of [`RawNovelty`].
    pub levels: &'a [[f32; 4]],
    /// As of [`RawNovelty`].
    pub sparse: [f32; 2],
    /// How long rows are.
    pub lengths: &'a Lengths,
}

impl Usual<'_> {
    /// How far out a look is in all: how far away the row is, how torn the answer and how
    /// long the row, each in deviations from what is usual in its class, and how sparse it
    /// is there. What is out in one way is hardly excused by being usual in another, so
    /// that only what is out counts.
    pub fn sum(&self, look: &Look) -> f64 {
        let [away, aside, torn, apart] = self.levels[look.class.min(self.levels.len() - 1)];
        let length = match self.lengths {
            Lengths::Usual(lengths) => {
                let [median, deviation] = lengths[look.class.min(lengths.len() - 1)];
                counted(deviations(look.length, median, deviation).abs())
            }
            Lengths::Unknown | Lengths::Own => 0.0,
        };
        counted(deviations(look.away, away, aside))
            + counted(deviations(look.torn, torn, apart))
            + counted(deviations(look.sparse, self.sparse[0], self.sparse[1]))
            + length
    }
}

fn deviations(value: f64, median: f32, deviation: f32) -> f64 {
    (value - f64::from(median)) / f64::from(deviation)
}

/// The weight of a value this many deviations above the median (softplus): close to
/// zero below it, close to the value itself well above.
fn counted(out: f64) -> f64 {
    match out > OUT_MAX {
        // Further out still counts for more, or few points would rank nothing.
        true => OUT_MAX + (1.0 + out - OUT_MAX).ln(),
        false => out.exp().ln_1p(),
    }
}

impl Lengths {
    /// Normalised rows (rows × features) as they are compared.
    pub fn compared<'a>(&self, rows: ArrayView2<'a, f32>) -> CowArray<'a, f32, Ix2> {
        match self {
            Self::Unknown => rows.into(),
            Self::Own => lengthened(rows).into(),
            Self::Usual(_) => without_constant(rows).into(),
        }
    }

    /// Log of how long rows (rows × features) were, where that is judged.
    fn judged(&self, rows: ArrayView2<'_, f32>) -> Vec<f64> {
        match self {
            Self::Unknown | Self::Own => Vec::new(),
            Self::Usual(_) => logs_of_lengths(rows),
        }
    }
}

/// Log of how long each row (rows × features) was whose last feature was a constant before
/// all were brought to one length, in units of that constant.
pub fn logs_of_lengths(rows: ArrayView2<'_, f32>) -> Vec<f64> {
    let length = |row: ArrayView1<'_, f32>| {
        let constant = row.last().copied().unwrap_or(1.0).max(CONSTANT_MIN);
        f64::from(row.dot(&row).sqrt() / constant).ln()
    };
    rows.rows().into_iter().map(length).collect()
}

/// Rows (rows × features) without the constant that they end in, as long as before.
fn without_constant(rows: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut rows = rows.to_owned();
    for mut row in rows.rows_mut() {
        let long = row.dot(&row).sqrt();
        if let Some(last) = row.last_mut() {
            *last = 0.0;
        }
        let short = row.dot(&row).sqrt();
        if short > 0.0 {
            row *= long / short;
        }
    }
    rows
}

/// Rows (rows × features) whose last feature was a constant before all were brought to
/// one length, divided by it: as long, beside one another, as they were. Rows of one
/// length hide how far out they are.
pub fn lengthened(rows: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut rows = rows.to_owned();
    for mut row in rows.rows_mut() {
        let constant = row.last().copied().unwrap_or(1.0).max(CONSTANT_MIN);
        row /= constant;
    }
    rows
}

/// Rows along orthonormal directions, and the square of what they have outside.
fn project(basis: ArrayView2<'_, f32>, rows: ArrayView2<'_, f32>) -> (Array2<f32>, Vec<f32>) {
    let along = rows.dot(&basis.t());
    let square = |row: ArrayView1<'_, f32>| row.dot(&row);
    let outside = rows
        .axis_iter(Axis(0))
        .zip(along.axis_iter(Axis(0)))
        .map(|(row, along)| (square(row) - square(along)).max(0.0))
        .collect();
    (along, outside)
}

/// Bits of a value of basis and points.
const BITS: u8 = 8;
/// How far out one look counts in full, in deviations; beyond, its logarithm.
const OUT_MAX: f64 = 8.0;
/// What a row's constant is at least.
const CONSTANT_MIN: f32 = 1e-3;
/// A distance from a pure answer that counts as zero.
const TORN_MIN: f64 = 0.02;
/// ln 19: the odds of 0.05, one level below those of 0.5.
const STEEP: f64 = 2.944_438_979_166_44;

#[cfg(test)]
mod tests;
