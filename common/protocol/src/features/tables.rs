//! The numbers that define a stage, for programs that compute it elsewhere.

use std::ops::Range;

use ndarray::Array2;

/// A stage as numbers: everything that its definition fixes for one shape.
#[derive(Clone, Debug, PartialEq)]
pub enum StageTables {
    /// The values as they are.
    Raw,
    /// The values, and a zero behind them.
    Lifted,
    /// Pooled answers of fixed filters.
    Filters(FilterTables),
    /// Statistics of a window.
    Window(WindowTables),
}

/// A bank of fixed filters and the cells that their answers are averaged over.
///
/// An input is an image, channels last. Its values are cut at ±`value_max`. Every filter is
/// moved over every channel with stride 1; where `margin` is not zero the image is
/// continued by zeros. Of the magnitude of an answer, `noise` times the channel's largest
/// magnitude is taken off, and no more than there is. The means of the positive parts of the
/// answers in a cell, then those of the negative parts, and the square roots of both are the
/// features: cell (row-major), channel, sign, filter. Where `means` is not empty, the mean of
/// the channel over that range of columns follows each channel's features of
/// a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterTables {
    /// Height, width and channels of the image.
    pub image: [usize; 3],
    /// Height and width of a filter.
    pub kernel: [usize; 2],
    /// Zeros around the image: rows above and below, columns left and right.
    pub margin: [usize; 2],
    /// Filters × (height · width), row-major.
    pub filters: Array2<f32>,
    /// Rows of answers of the cells, from above.
    pub rows: Vec<Range<usize>>,
    /// Columns of answers of the cells, from the left.
    pub columns: Vec<Range<usize>>,
    /// Columns of the image that the cells' means are taken over; empty where
    /// there are none.
    pub means: Vec<Range<usize>>,
    /// Values beyond this count as this.
    pub value_max: f32,
    /// Share of a channel's largest magnitude that answers lose: where an image is flat, they are
    /// rounding errors of that size, which differ between programs and which a square root makes
    /// 1,000 times larger.
    pub noise: f32,
}

/// What the window stage measures, in the order of its features; see there.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowTables {
    /// Steps of a window.
    pub steps: usize,
    /// Channels, without the norms that join them.
    pub channels: usize,
    /// Norms of three channels each that join them.
    pub norms: usize,
    /// What the values less their mean are multiplied with before the
    /// spectrum is taken.
    pub taper: Vec<f64>,
    /// What turns |DFT|² of bins 1 to steps / 2 into power.
    pub power_scale: f64,
    /// Edges of the bands as (bin, share of that bin below the edge).
    pub band_edges: Vec<(usize, f64)>,
    /// Steps between the factors of the autocorrelations.
    pub lags: Vec<usize>,
    /// Added to amplitudes before a logarithm or a division.
    pub floor: f64,
    /// Added to a standard deviation before its logarithm.
    pub deviation_floor: f64,
    /// Added to a band's power before its logarithm.
    pub power_floor: f64,
    /// Added to the power of all bins before it divides one.
    pub total_floor: f64,
    /// Added to a share of the power before its logarithm.
    pub share_floor: f64,
    /// Whether a zero stands behind the features.
    pub lifted: bool,
}
