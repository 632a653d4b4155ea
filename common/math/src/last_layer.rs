//! The last layer of a classifier, moved towards the labels of rows that are
//! known by sums alone.
//!
//! With h the inputs of the last layer and a constant one beside them, W its
//! weights and biases, p = softmax(W·h) and y a one-hot label, the loss of n
//! rows is L(W) = Σ −log p_y, a convex function whose gradient Σ (p − y)·hᵀ
//! adds up over any partition of the rows. The Hessian of one row is
//! (diag(p) − p·pᵀ) ⊗ h·hᵀ, which 2·diag(p∘(1 − p)) ⊗ h·hᵀ bounds, because
//! diag(p∘(1 − p)) dominates the rest of each row. That bound falls into one
//! block for each class, and is tighter than ½(I − 11ᵀ/C) ⊗ h·hᵀ of Böhning
//! (Annals of the Institute of Statistical Mathematics 44, 1992), which holds
//! for every p at once and so for the worst one: with 26 classes of which a
//! student is mostly sure, by a factor of sixty.
//!
//! A Newton step needs the true gradient; its curvature may be an estimate. So
//! [`step`] takes the curvature from other inputs h, such as synthetic ones, and
//! nobody has to tell Σ h·hᵀ of their rows. A network that is surer of itself than
//! it may be would have too little curvature and take too long a step: the
//! probabilities are tempered until their own p·(1 − p) is what the true rows'
//! squared error says.
//!
//! A layer that answers numbers has the loss ½Σ‖W·h − y‖² instead, whose gradient is
//! Σ (W·h − y)·hᵀ and whose Hessian Σ h·hᵀ is the same for each number.

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};

use crate::linalg::{Cholesky, LinalgError};
use crate::network::{Network, NetworkError, softmax_rows};
use crate::shape::{ShapeError, check_count, check_shape};

/// What rows say of the last layer, in sums over them.
#[derive(Clone, Debug, PartialEq)]
pub struct Residuals {
    /// Σ (p − y)·hᵀ, shape (outputs, units + 1); the last column is that of the
    /// biases. For numbers p is what the layer answers.
    pub gradient: Array2<f64>,
    /// Σ ‖p − y‖²: of classes the Brier score of all rows.
    pub square: f64,
    /// Rows summed over.
    pub rows: u64,
}

/// What rows want of the last layer.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// The class of each.
    Classes(&'a [u16]),
    /// Their numbers as the network says them, shape (rows, outputs).
    Numbers(ArrayView2<'a, f32>),
}

/// What a last layer answers, which says by which loss it is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Logits of classes, by the cross entropy.
    Classes,
    /// Numbers, by their squared error.
    Numbers,
}

/// Why the last layer could not be moved.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LastLayerError {
    /// The network refused its inputs.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Sums or labels that do not fit the network.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A label that is no class of the network.
    #[error("label {label} of {classes} classes")]
    Label {
        /// The label.
        label: u16,
        /// Classes that there are.
        classes: usize,
    },
    /// Curvature that cannot be factored.
    #[error(transparent)]
    Linalg(#[from] LinalgError),
}

impl Residuals {
    /// Of a network that tells `classes` classes by a last layer of `units`
    /// inputs, on no rows.
    pub fn zeros(classes: usize, units: usize) -> Self {
        Self {
            gradient: Array2::zeros((classes, units + 1)),
            square: 0.0,
            rows: 0,
        }
    }

    /// Of `inputs` (rows, inputs) and what they want. Costs a forward pass and
    /// rows·outputs·units operations.
    ///
    /// # Errors
    /// If inputs, labels or numbers do not fit the network.
    pub fn of<N: Network<f32>>(
        network: &N,
        inputs: ArrayView2<'_, f32>,
        wanted: Wanted<'_>,
    ) -> Result<Self, LastLayerError> {
        wanted.check(inputs.nrows(), network.outputs())?;
        let weights = weights(network);
        let (outputs, width) = weights.dim();
        let mut sums = Self::zeros(outputs, width - 1);
        let mut workspace = network.workspace(BLOCK_ROWS.min(inputs.nrows()));
        for (index, block) in inputs.axis_chunks_iter(Axis(0), BLOCK_ROWS).enumerate() {
            let hidden = with_one(network.before_last(block, &mut workspace)?);
            let start = index * BLOCK_ROWS;
            let apart = wanted.errors(hidden.dot(&weights.t()), start..start + block.nrows())?;
            sums.gradient += &apart.t().dot(&hidden);
            sums.square += apart.iter().map(|value| value * value).sum::<f64>();
            sums.rows += block.nrows() as u64;
            crate::liveness::heartbeat();
        }
        Ok(sums)
    }

    /// Adds those of other rows, each of which counts `weight` times.
    ///
    /// # Errors
    /// If they are of another network.
    pub fn add(&mut self, other: &Self, weight: f64) -> Result<(), ShapeError> {
        check_shape("gradient", self.gradient.shape(), other.gradient.shape())?;
        self.gradient.scaled_add(weight, &other.gradient);
        self.square += weight * other.square;
        self.rows += (weight * other.rows as f64).round() as u64;
        Ok(())
    }
}

impl Wanted<'_> {
    /// How far what a last layer of these `outputs` (rows, outputs) answers is from what the
    /// rows want: p − y, or the numbers less those wanted.
    ///
    /// # Errors
    /// If there are not as many rows or outputs, or a label is no class.
    pub fn apart(self, outputs: ArrayView2<'_, f32>) -> Result<Array2<f64>, LastLayerError> {
        self.check(outputs.nrows(), outputs.ncols())?;
        self.errors(outputs.mapv(f64::from), 0..outputs.nrows())
    }

    fn check(self, rows: usize, outputs: usize) -> Result<(), LastLayerError> {
        match self {
            Self::Classes(labels) => Ok(check_count("labels", rows, labels.len())?),
            Self::Numbers(numbers) => {
                Ok(check_shape("numbers", &[rows, outputs], numbers.shape())?)
            }
        }
    }

    fn errors(
        self,
        mut outputs: Array2<f64>,
        rows: std::ops::Range<usize>,
    ) -> Result<Array2<f64>, LastLayerError> {
        let classes = outputs.ncols();
        match self {
            Self::Classes(labels) => {
                softmax_rows(outputs.view_mut(), 1.0);
                for (mut row, &label) in outputs.rows_mut().into_iter().zip(&labels[rows]) {
                    let refused = LastLayerError::Label { label, classes };
                    *row.get_mut(usize::from(label)).ok_or(refused)? -= 1.0;
                }
            }
            Self::Numbers(numbers) => {
                let wanted = numbers.slice(ndarray::s![rows, ..]);
                outputs.zip_mut_with(&wanted, |said, &wanted| *said -= f64::from(wanted));
            }
        }
        Ok(outputs)
    }
}

/// Weights and biases of the last layer, shape (classes, units + 1).
pub fn weights<N: Network<f32>>(network: &N) -> Array2<f64> {
    let [weight, bias] = last(network);
    let classes = network.outputs();
    let units = weight.len() / classes;
    let parameters = network.parameters();
    Array2::from_shape_fn((classes, units + 1), |(class, unit)| {
        let at = match unit == units {
            true => bias.start + class,
            false => weight.start + class * units + unit,
        };
        f64::from(parameters[at])
    })
}

/// Replaces weights and biases of the last layer by others of the same shape.
///
/// # Errors
/// If they have another shape or are not finite. Nothing has changed then.
pub fn replace<N: Network<f32>>(
    network: &mut N,
    with: ArrayView2<'_, f64>,
) -> Result<(), LastLayerError> {
    let [weight, bias] = last(network);
    let classes = network.outputs();
    let units = weight.len() / classes;
    check_shape("last layer", &[classes, units + 1], with.shape())?;
    let mut parameters = network.to_flat();
    for ((class, unit), &value) in with.indexed_iter() {
        let at = match unit == units {
            true => bias.start + class,
            false => weight.start + class * units + unit,
        };
        parameters[at] = value as f32;
    }
    Ok(network.load_flat(&parameters)?)
}

/// Moves the last layer of a network by one Newton step towards what true rows
/// say, with the curvature of other `inputs` (rows, inputs).
///
/// The step of class c is −(2·mean p_c(1 − p_c)·h·hᵀ + ε)⁻¹ of its mean gradient, that of a
/// number −(mean h·hᵀ + ε)⁻¹ of its;
/// ε is the mean of h² times [`RIDGE`], and one true row's worth more. Costs
/// rows·classes·units² operations, and classes·units³/3; of numbers those of one class.
///
/// # Errors
/// If a shape does not fit, or sums that are not finite. Nothing has changed then.
pub fn step<N: Network<f32>>(
    network: &mut N,
    inputs: ArrayView2<'_, f32>,
    residuals: &Residuals,
    answers: Answers,
) -> Result<(), LastLayerError> {
    let mut weights = weights(network);
    check_shape("gradient", weights.shape(), residuals.gradient.shape())?;
    let mut workspace = network.workspace(BLOCK_ROWS.min(inputs.nrows()));
    let mut blocks = Vec::new();
    for block in inputs.axis_chunks_iter(Axis(0), BLOCK_ROWS) {
        blocks.push(network.before_last(block, &mut workspace)?);
    }
    let views: Vec<_> = blocks.iter().map(|block| block.view()).collect();
    let hidden = with_one(concatenate(Axis(0), &views).unwrap_or_default());
    check_count("units", weights.ncols(), hidden.ncols())?;
    let rows = residuals.rows.max(1) as f64;
    let squares = hidden.iter().map(|value| value * value);
    let size = squares.sum::<f64>() / hidden.len().max(1) as f64;
    let ridge = size * (RIDGE + 1.0 / rows);
    if answers == Answers::Numbers {
        let mut curvature = hidden.t().dot(&hidden) / hidden.nrows().max(1) as f64;
        curvature.diag_mut().mapv_inplace(|value| value + ridge);
        let gradient = residuals.gradient.t().mapv(|value| value / rows);
        let moved = Cholesky::factor_in_place(curvature)?.solve(gradient.view())?;
        weights -= &moved.t();
        return replace(network, weights.view());
    }
    let square = residuals.square / rows;
    let temperature = temperature(hidden.view(), weights.view(), square);
    let said = probabilities(hidden.view(), weights.view(), temperature);
    for (class, said) in said.columns().into_iter().enumerate() {
        let curvature = said.mapv(|p| 2.0 * p * (1.0 - p) / hidden.nrows() as f64);
        let mut block = hidden.t().dot(&(&hidden * &curvature.insert_axis(Axis(1))));
        block.diag_mut().mapv_inplace(|value| value + ridge);
        let gradient = residuals.gradient.row(class).mapv(|value| value / rows);
        let moved =
            Cholesky::factor_in_place(block)?.solve(gradient.insert_axis(Axis(1)).view())?;
        let mut row = weights.row_mut(class);
        row -= &moved.column(0);
        crate::liveness::heartbeat();
    }
    replace(network, weights.view())
}

/// The temperature, at least 1, at which a last layer's probabilities of
/// `hidden` have a mean Σ p(1 − p) of `square`, as those of a layer have that is
/// as sure of itself as it may be.
fn temperature(hidden: ArrayView2<'_, f64>, weights: ArrayView2<'_, f64>, square: f64) -> f64 {
    let uncertain = |temperature: f64| {
        let said = probabilities(hidden, weights, temperature);
        let sum = said.iter().map(|p| p * (1.0 - p)).sum::<f64>();
        sum / hidden.nrows().max(1) as f64
    };
    // At no temperature is it more uncertain than without knowing anything.
    let most = 1.0 - 1.0 / weights.nrows() as f64;
    let wanted = square.min(UNCERTAIN_MAX * most);
    let (mut low, mut high) = (1.0, 1.0);
    while uncertain(high) < wanted && high < TEMPERATURE_MAX {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..BISECTIONS {
        let middle = (low * high).sqrt();
        match uncertain(middle) < wanted {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

/// softmax(h·Wᵀ / temperature) of each row.
fn probabilities(
    hidden: ArrayView2<'_, f64>,
    weights: ArrayView2<'_, f64>,
    temperature: f64,
) -> Array2<f64> {
    let mut logits = hidden.dot(&weights.t());
    softmax_rows(logits.view_mut(), temperature);
    logits
}

/// What the last layer is given of `inputs`, with the constant one of its biases: shape
/// (rows, units + 1).
///
/// # Errors
/// If the inputs do not fit the network.
pub fn before_last<N: Network<f32>>(
    network: &N,
    inputs: ArrayView2<'_, f32>,
) -> Result<Array2<f64>, NetworkError> {
    let mut workspace = network.workspace(inputs.nrows());
    network.before_last(inputs, &mut workspace).map(with_one)
}

fn with_one(hidden: Array2<f32>) -> Array2<f64> {
    let mut wide = hidden.mapv(f64::from);
    wide.push_column(Array1::ones(hidden.nrows()).view())
        .expect("a column has one value a row");
    wide
}

/// Where weight and bias of the last layer lie.
fn last<N: Network<f32>>(network: &N) -> [std::ops::Range<usize>; 2] {
    let mut newest_first = network.tensors().into_iter().rev();
    let mut next = || newest_first.next().map(|tensor| tensor.range);
    let bias = next().unwrap_or(0..0);
    [next().unwrap_or(0..0), bias]
}

/// Rows that are looked at at a time.
const BLOCK_ROWS: usize = 256;
/// What is added to the curvature, in mean squares of the layer's inputs.
///
/// Chosen on students of five tables that were trained on a few of their rows, with
/// hard labels: a tenth of it took steps that did harm where rows were few, three
/// times as much needed twice the steps where they were many.
pub const RIDGE: f64 = 1e-3;
/// A student is not held to be more uncertain than this share of knowing nothing.
const UNCERTAIN_MAX: f64 = 0.95;
const TEMPERATURE_MAX: f64 = 1e3;
const BISECTIONS: u32 = 20;

#[cfg(test)]
mod tests;
