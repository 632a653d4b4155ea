//! Checked rows and weights, and the two halves of a Lloyd iteration.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis, CowArray, Ix2, s};

use super::{ClusterError, check_list};

/// Rows that are known to be finite, with weights that are known to be
/// finite and not negative.
pub(super) struct Data<'a> {
    rows: CowArray<'a, f32, Ix2>,
    weights: Option<&'a [f32]>,
    /// Taken off before distances are expanded into products, so that an
    /// offset of the data costs no precision.
    mean: Array1<f32>,
}

/// What a cluster's members add up to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Members {
    /// How many there are.
    pub(super) rows: u32,
    /// The sum of their weights.
    pub(super) weight: f64,
    /// The sum of their squared weights.
    pub(super) weight_squared: f64,
}

impl Members {
    /// How many equally weighted rows tell as much: (Σw)²/Σw² (Kish 1965,
    /// section 8.2). Never more than there are rows.
    pub(super) fn effective(&self) -> f64 {
        if self.weight > 0.0 {
            self.weight * self.weight / self.weight_squared
        } else {
            0.0
        }
    }

    fn add(&mut self, weight: f64) {
        self.rows += 1;
        self.weight += weight;
        self.weight_squared += weight * weight;
    }
}

impl<'a> Data<'a> {
    pub(super) fn new(
        rows: ArrayView2<'a, f32>,
        weights: Option<&'a [f32]>,
    ) -> Result<Self, ClusterError> {
        if u32::try_from(rows.nrows()).is_err() {
            return Err(ClusterError::TooManyRows {
                got: rows.nrows() as u64,
                max: u64::from(u32::MAX),
            });
        }
        for ((row, feature), &value) in rows.indexed_iter() {
            if !value.is_finite() {
                return Err(ClusterError::NonFinite {
                    row,
                    feature,
                    value,
                });
            }
        }
        if let Some(weights) = weights {
            check_list("weights", weights, rows.nrows())?;
        }
        let mut sum = Array1::<f64>::zeros(rows.ncols());
        for row in rows.rows() {
            sum.zip_mut_with(&row, |sum, &x| *sum += f64::from(x));
        }
        let count = rows.nrows().max(1) as f64;
        let rows = if rows.is_standard_layout() {
            CowArray::from(rows)
        } else {
            rows.as_standard_layout().into_owned().into()
        };
        Ok(Self {
            rows,
            weights,
            mean: sum.mapv(|sum| (sum / count) as f32),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.rows.nrows()
    }

    pub(super) fn features(&self) -> usize {
        self.rows.ncols()
    }

    pub(super) fn row(&self, index: usize) -> &[f32] {
        let width = self.features();
        let all = self
            .rows
            .as_slice()
            .expect("rows are kept in standard layout");
        &all[index * width..(index + 1) * width]
    }

    pub(super) fn weighted(&self) -> bool {
        self.weights.is_some()
    }

    pub(super) fn weight(&self, index: usize) -> f64 {
        self.weights
            .map_or(1.0, |weights| f64::from(weights[index]))
    }

    /// All rows taken as one cluster.
    pub(super) fn whole(&self) -> Members {
        let mut members = Members::default();
        (0..self.len()).for_each(|row| members.add(self.weight(row)));
        members
    }

    /// Sends each row to its nearest centre, the lower one of two that tie,
    /// and returns how many moved. Costs 2·rows·clusters·features operations
    /// in BLAS; memory beside the arguments is one block of rows.
    pub(super) fn assign(&self, centres: &Array2<f32>, assignment: &mut [u32]) -> usize {
        let shifted = centres - &self.mean;
        let half_squares: Vec<f32> = shifted
            .rows()
            .into_iter()
            .map(|centre| 0.5 * centre.dot(&centre))
            .collect();
        let block_rows = (BLOCK_VALUES / centres.nrows().max(1)).clamp(16, 256);
        let mut block = Array2::zeros((block_rows, self.features()));
        let mut products = Array2::zeros((block_rows, centres.nrows()));
        let mut moved = 0;
        let blocks = self.rows.axis_chunks_iter(Axis(0), block_rows);
        for (rows, nearest) in blocks.zip(assignment.chunks_mut(block_rows)) {
            let mut block = block.slice_mut(s![..rows.nrows(), ..]);
            let mut products = products.slice_mut(s![..rows.nrows(), ..]);
            block.assign(&rows);
            block -= &self.mean;
            // ½‖x − c‖² = ½‖x‖² − (x·c − ½‖c‖²): the largest bracket wins.
            general_mat_mul(1.0, &block, &shifted.t(), 0.0, &mut products);
            for (row, nearest) in products.rows().into_iter().zip(nearest) {
                let mut best = (0, f32::NEG_INFINITY);
                for (centre, (&product, &half)) in row.iter().zip(&half_squares).enumerate() {
                    if product - half > best.1 {
                        best = (centre, product - half);
                    }
                }
                moved += usize::from(*nearest != best.0 as u32);
                *nearest = best.0 as u32;
            }
        }
        moved
    }

    /// The weighted mean of each cluster's rows (zeros where there is no
    /// weight), and what its members add up to.
    pub(super) fn means(&self, assignment: &[u32], clusters: usize) -> (Array2<f32>, Vec<Members>) {
        let mut sums = Array2::<f64>::zeros((clusters, self.features()));
        let mut members = vec![Members::default(); clusters];
        for (index, &cluster) in assignment.iter().enumerate() {
            let weight = self.weight(index);
            members[cluster as usize].add(weight);
            let mut sum = sums.row_mut(cluster as usize);
            for (sum, &x) in sum.iter_mut().zip(self.row(index)) {
                *sum += weight * f64::from(x);
            }
        }
        for (mut sum, members) in sums.rows_mut().into_iter().zip(&members) {
            if members.weight > 0.0 {
                sum /= members.weight;
            }
        }
        (sums.mapv(|mean| mean as f32), members)
    }

    /// For each cluster Σ w·‖x − c‖² over its members.
    pub(super) fn scatter(&self, centres: &Array2<f32>, assignment: &[u32]) -> Vec<f64> {
        let mut scatter = vec![0.0; centres.nrows()];
        for (index, &cluster) in assignment.iter().enumerate() {
            let centre = centres.row(cluster as usize);
            let centre = centre.as_slice().expect("centres are in standard layout");
            scatter[cluster as usize] +=
                self.weight(index) * f64::from(squared_distance(self.row(index), centre));
        }
        scatter
    }
}

/// ‖a − b‖², summed in eight lanes.
pub(super) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(x, y)| (x - y) * (x - y))
        .sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..8 {
            let difference = x[lane] - y[lane];
            lanes[lane] += difference * difference;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Most values of a block of products: 1 MiB.
const BLOCK_VALUES: usize = 1 << 18;
