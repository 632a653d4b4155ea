//! A student's weights as they travel: eight bits a weight.

use bincode::{Decode, Encode};
use math::shape::{ShapeError, check_count, check_shape};
use ndarray::ArrayView2;

use math::network::{Network, NetworkError, Student, StudentShape, Tensor};
use math::quantise::{
    Layout, QuantiseError, QuantisedMatrix, RawQuantisedMatrix, RawScaledF16, ScaledF16, Scheme,
};

/// Weights as a peer may send them. Nothing is known about them.
///
/// Each weight tensor is a matrix with a row and a scale for each unit, in
/// the network's order; biases, which are few, follow at half precision.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RawWeights {
    /// Weight tensors, eight bits a value.
    pub matrices: Vec<RawQuantisedMatrix>,
    /// All biases, one after another.
    pub biases: RawScaledF16,
}

/// Why weights were refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WeightsError {
    /// A part does not decode, or cannot be encoded.
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
    /// More or fewer tensors than the network has, or one of another shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// They are no weights of the network.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl RawWeights {
    /// The form that travels of these parameters of a network of `shape`.
    /// About one byte a parameter. What decodes differs from them by less
    /// than 1/250 of the largest weight of the same unit.
    ///
    /// # Errors
    /// If they do not fit the shape, or are not finite.
    pub fn encode(shape: &StudentShape, parameters: &[f32]) -> Result<Self, WeightsError> {
        let network = Student::from_flat(shape, parameters.to_vec())?;
        let mut matrices = Vec::new();
        let mut biases = Vec::new();
        for tensor in network.tensors() {
            let values = &parameters[tensor.range.clone()];
            match matrix_shape(&tensor) {
                Some(sides) => {
                    let matrix = ArrayView2::from_shape(sides, values);
                    let matrix = matrix.expect("a tensor is as long as its shape says");
                    let packed =
                        QuantisedMatrix::encode(matrix, BITS, Layout::Row, Scheme::Symmetric)?;
                    matrices.push(packed.into_raw());
                }
                None => biases.extend_from_slice(values),
            }
        }
        Ok(Self {
            matrices,
            biases: ScaledF16::encode(&biases)?.into_raw(),
        })
    }

    /// The network of `shape` with these weights.
    ///
    /// # Errors
    /// The first part that does not fit the shape or does not decode.
    pub fn decode(self, shape: &StudentShape) -> Result<Student, WeightsError> {
        shape.check()?;
        let mut network = Student::from_flat(shape, vec![0.0; shape.parameters()])?;
        let tensors = network.tensors();
        let expected = tensors
            .iter()
            .filter(|one| matrix_shape(one).is_some())
            .count();
        check_count("weight tensors", expected, self.matrices.len())?;
        let biases = ScaledF16::try_from(self.biases)?.decode();
        let mut next = 0;
        let mut matrices = self.matrices.into_iter();
        let mut flat = vec![0.0; shape.parameters()];
        for tensor in tensors {
            let to = &mut flat[tensor.range.clone()];
            let Some(expected) = matrix_shape(&tensor) else {
                let from = biases.get(next..next + to.len());
                to.copy_from_slice(
                    from.ok_or_else(|| ShapeError::count("biases", next + to.len(), biases.len()))?,
                );
                next += to.len();
                continue;
            };
            let Some(raw) = matrices.next() else { continue };
            let got = [raw.rows as usize, raw.columns as usize];
            check_shape(tensor.name, &expected, &got)?;
            let values = QuantisedMatrix::try_from(raw)?.decode();
            for (to, &value) in to.iter_mut().zip(&values) {
                *to = value;
            }
        }
        check_count("biases", next, biases.len())?;
        network.load_flat(&flat)?;
        Ok(network)
    }
}

/// Units and inputs of each, of a weight; none of a bias.
fn matrix_shape(tensor: &Tensor) -> Option<[usize; 2]> {
    match tensor.shape[..] {
        [_] | [] => None,
        [units, ..] => Some([units, tensor.shape[1..].iter().product()]),
    }
}

/// Bits a weight.
const BITS: u8 = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codec::encode;
    use math::network::{CnnShape, ConvolutionShape, MlpShape, Padding};
    use math::random::rng;
    use ndarray::Array2;

    fn shapes() -> [StudentShape; 2] {
        let convolution = ConvolutionShape {
            channels: 5,
            kernel: [3, 3],
            padding: Padding::Same,
            pool: [2, 2],
        };
        [
            StudentShape::Mlp(MlpShape {
                inputs: 36,
                hidden: vec![20],
                outputs: 4,
            }),
            StudentShape::Cnn(CnnShape {
                input: [6, 6, 1],
                convolutions: vec![convolution],
                hidden: vec![7],
                outputs: 4,
            }),
        ]
    }

    #[test]
    fn weights_round_trip_within_their_quantisation() {
        for shape in shapes() {
            let mut network = Student::new(&shape, &mut rng(2, "weights")).unwrap();
            network
                .parameters_mut()
                .iter_mut()
                .for_each(|value| *value += 0.01);
            let raw = RawWeights::encode(&shape, network.parameters()).unwrap();
            assert!(encode(&raw).len() < network.parameters().len() + 300);
            let decoded = raw.decode(&shape).unwrap();
            let inputs = Array2::from_shape_fn((50, 36), |(i, j)| ((i * 7 + j) as f32).sin());
            let before = network.logits(inputs.view()).unwrap();
            let after = decoded.logits(inputs.view()).unwrap();
            assert!((&before - &after).iter().all(|gap| gap.abs() < 0.1));
        }
    }

    #[test]
    fn weights_of_another_network_are_refused() {
        let [mlp, cnn] = shapes();
        let network = Student::new(&mlp, &mut rng(2, "weights")).unwrap();
        let raw = RawWeights::encode(&mlp, network.parameters()).unwrap();
        assert_eq!(
            raw.clone().decode(&cnn).err(),
            Some(ShapeError::count("weight tensors", 3, 2).into())
        );
        let mut wide = raw.clone();
        wide.matrices[0].columns += 1;
        let refused = wide.decode(&mlp).err();
        assert!(matches!(refused, Some(WeightsError::Shape(shape)) if shape.got.len() == 2));
        let mut endless = raw.clone();
        endless.matrices[0].scales[0] = f32::INFINITY;
        assert!(matches!(
            endless.decode(&mlp),
            Err(WeightsError::Quantise(_))
        ));
        let mut short = raw;
        short.biases = ScaledF16::encode(&[0.0; 3]).unwrap().into_raw();
        assert!(matches!(short.decode(&mlp), Err(WeightsError::Shape(_))));
    }
}
