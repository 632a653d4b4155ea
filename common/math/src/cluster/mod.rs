//! Weighted k-means, for summaries of private data and for merging them.
//!
//! A device summarises each class by a few centres ([`KMeans::fit`]), none of
//! which stands for fewer than `cluster_size_min` examples. The coordinator
//! merges the centres of many devices ([`merge_centres`]) without having seen
//! the examples.

mod data;
mod fill;
mod kmeans;
mod merge;
mod seeding;

use crate::shape::{ShapeError, check_count};
use ndarray::Array2;

pub use kmeans::{KMeans, KMeansParams};
pub use merge::merge_centres;

/// Centres and what they stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// The weighted mean of each cluster's members, shape (clusters,
    /// features). There may be fewer clusters than were asked for.
    pub centres: Array2<f32>,
    /// Members of each cluster (in a merge: the members of its centres).
    pub counts: Vec<u32>,
    /// The root of the weighted mean squared Euclidean distance between each
    /// centre and its members, in the units of the features.
    pub spreads: Vec<f32>,
    /// The cluster of each row. Empty if there are no clusters.
    pub assignment: Vec<u32>,
}

impl Clusters {
    /// No clusters at all, of data with this many features.
    fn none(features: usize) -> Self {
        Self {
            centres: Array2::zeros((0, features)),
            counts: Vec::new(),
            spreads: Vec::new(),
            assignment: Vec::new(),
        }
    }
}

/// Why rows could not be clustered.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum ClusterError {
    /// A setting outside its range.
    #[error("{key} is {value}, allowed is {allowed}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What it was set to.
        value: usize,
        /// What it may be.
        allowed: &'static str,
    },
    /// A value that is NaN or infinite.
    #[error("row {row}, feature {feature} is not finite: {value}")]
    NonFinite {
        /// The row.
        row: usize,
        /// The column.
        feature: usize,
        /// What stands there.
        value: f32,
    },
    /// More or fewer weights, counts or spreads than rows.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A weight or spread that is negative or not finite.
    #[error("{what} {row} is {value}, it must be finite and not negative")]
    Negative {
        /// Which list it is in.
        what: &'static str,
        /// Its row.
        row: usize,
        /// What it is.
        value: f32,
    },
    /// More rows than a cluster's count can hold.
    #[error("{got} rows, at most {max} can be counted")]
    TooManyRows {
        /// The rows.
        got: u64,
        /// The limit.
        max: u64,
    },
}

/// Refuses a list that is not one finite, non-negative number a row.
fn check_list(what: &'static str, list: &[f32], rows: usize) -> Result<(), ClusterError> {
    check_count(what, rows, list.len())?;
    match list.iter().position(|v| !(v.is_finite() && *v >= 0.0)) {
        None => Ok(()),
        Some(row) => Err(ClusterError::Negative {
            what,
            row,
            value: list[row],
        }),
    }
}
