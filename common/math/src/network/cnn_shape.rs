//! What a convolutional network is made of.

use super::convolution::Convolution;
use super::dense::DenseStack;
use super::{LAYERS_MAX, MlpShape, NetworkError, PARAMETERS_MAX};

/// What a convolution does at the edge of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Padding {
    /// Only windows that lie inside: the response is smaller by the kernel
    /// less one.
    Valid,
    /// Zeros around, one more below and right where the kernel is even: the
    /// response is as large as the input.
    Same,
}

/// A convolution of stride 1, ReLU, and a max-pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvolutionShape {
    /// Channels of the response.
    pub channels: usize,
    /// Height and width of the window; [1, k] over a series.
    pub kernel: [usize; 2],
    /// What happens at the edge.
    pub padding: Padding,
    /// Height and width of the pool, which is also its stride; [1, 1] is no
    /// pool. Rows and columns that do not fill a pool are cut off.
    pub pool: [usize; 2],
}

/// The layers of a [`super::Cnn`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CnnShape {
    /// Height, width and channels of one input, channels last. A series of t
    /// steps with c channels is [1, t, c].
    pub input: [usize; 3],
    /// From the inputs on; at least one.
    pub convolutions: Vec<ConvolutionShape>,
    /// Units of each hidden dense layer after them; may be none.
    pub hidden: Vec<usize>,
    /// Classes.
    pub outputs: usize,
}

impl CnnShape {
    /// Holds the shape against the limits.
    ///
    /// # Errors
    /// If there is no convolution, a kernel or a pool does not fit its input,
    /// a layer has no units, or the network is larger than [`LAYERS_MAX`],
    /// [`PARAMETERS_MAX`] or [`ROW_VALUES_MAX`] allow.
    pub fn check(&self) -> Result<(), NetworkError> {
        self.layers().map(|_| ())
    }

    /// Weights and biases in all.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn parameters(&self) -> Result<usize, NetworkError> {
        let (convolutions, _) = self.layers()?;
        let of_convolutions: usize = convolutions.iter().map(Convolution::parameters).sum();
        Ok(of_convolutions + self.head(&convolutions)?.parameters())
    }

    /// The layers with their places in the flat parameters.
    pub(super) fn layers(&self) -> Result<(Vec<Convolution>, DenseStack), NetworkError> {
        let layers = self.convolutions.len() + self.hidden.len() + 1;
        if layers > LAYERS_MAX {
            return Err(NetworkError::TooDeep {
                layers,
                max: LAYERS_MAX,
            });
        }
        let mut convolutions = Vec::with_capacity(self.convolutions.len());
        let (mut input, mut start) = (self.input, 0);
        for (layer, shape) in self.convolutions.iter().enumerate() {
            let convolution = shape.over(input, layer, start)?;
            let [height, width] = convolution.pooled();
            input = [height, width, shape.channels];
            start += convolution.parameters();
            convolutions.push(convolution);
        }
        let head = self.head(&convolutions)?;
        let parameters = start.saturating_add(head.parameters());
        check_parameters(parameters)?;
        let stack = DenseStack::new(&head.widths(), start);
        Ok((convolutions, stack))
    }

    /// The dense layers as a network of their own.
    fn head(&self, convolutions: &[Convolution]) -> Result<MlpShape, NetworkError> {
        let last = convolutions.last().ok_or(NetworkError::NoConvolutions)?;
        let head = MlpShape {
            inputs: last.outputs(),
            hidden: self.hidden.clone(),
            outputs: self.outputs,
        };
        head.check()?;
        Ok(head)
    }
}

impl ConvolutionShape {
    /// This convolution over inputs of a given shape.
    fn over(
        &self,
        input: [usize; 3],
        layer: usize,
        start: usize,
    ) -> Result<Convolution, NetworkError> {
        if self.channels == 0 || input.contains(&0) {
            return Err(NetworkError::NoUnits { layer });
        }
        let plane = [input[0], input[1]];
        let fits = |what, size: [usize; 2], within: [usize; 2]| {
            if size[0] == 0 || size[1] == 0 || size[0] > within[0] || size[1] > within[1] {
                return Err(NetworkError::DoesNotFit {
                    layer,
                    what,
                    size,
                    input: within,
                });
            }
            Ok(())
        };
        fits("kernel", self.kernel, plane)?;
        let (response, padding) = match self.padding {
            Padding::Valid => (
                [plane[0] - self.kernel[0] + 1, plane[1] - self.kernel[1] + 1],
                [0, 0],
            ),
            Padding::Same => (plane, [(self.kernel[0] - 1) / 2, (self.kernel[1] - 1) / 2]),
        };
        fits("pool", self.pool, response)?;
        let times = |numbers: &[usize]| numbers.iter().fold(1usize, |a, &b| a.saturating_mul(b));
        let window = times(&[self.kernel[0], self.kernel[1], input[2]]);
        check_parameters(window.saturating_add(1).saturating_mul(self.channels))?;
        let values = times(&[response[0], response[1], window.max(self.channels)]);
        if values > ROW_VALUES_MAX {
            return Err(NetworkError::TooWide {
                layer,
                values,
                max: ROW_VALUES_MAX,
            });
        }
        Ok(Convolution {
            input,
            kernel: self.kernel,
            padding,
            response,
            channels: self.channels,
            pool: self.pool,
            start,
        })
    }
}

fn check_parameters(parameters: usize) -> Result<(), NetworkError> {
    if parameters > PARAMETERS_MAX {
        return Err(NetworkError::TooLarge {
            parameters,
            max: PARAMETERS_MAX,
        });
    }
    Ok(())
}

/// Most values that the windows, or the response, of one convolution may
/// have for one input: 64 MiB of `f32`.
pub const ROW_VALUES_MAX: usize = 1 << 24;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::{Array2, array};
    use proptest::prelude::*;

    use super::super::check::assert_gradient_agrees;
    use super::*;
    use crate::network::{Batch, Cnn, Network, Trainer};
    use crate::optimiser::AdamParams;
    use crate::random::rng;

    fn convolution(channels: usize, kernel: [usize; 2], pool: [usize; 2]) -> ConvolutionShape {
        ConvolutionShape {
            channels,
            kernel,
            padding: Padding::Valid,
            pool,
        }
    }

    fn shape(input: [usize; 3], convolutions: &[ConvolutionShape]) -> CnnShape {
        CnnShape {
            input,
            convolutions: convolutions.to_vec(),
            hidden: vec![9],
            outputs: 3,
        }
    }

    fn same(mut convolution: ConvolutionShape) -> ConvolutionShape {
        convolution.padding = Padding::Same;
        convolution
    }

    #[test]
    fn gradient_agrees_with_finite_differences() {
        let over_images = [
            vec![convolution(4, [3, 3], [2, 2])],
            vec![
                same(convolution(3, [3, 2], [1, 1])),
                convolution(4, [2, 3], [2, 1]),
            ],
            vec![
                same(convolution(2, [4, 3], [2, 3])),
                same(convolution(8, [1, 1], [1, 1])),
                convolution(3, [2, 2], [1, 1]),
            ],
        ];
        for convolutions in over_images {
            let shape = shape([7, 8, 2], &convolutions);
            assert_gradient_agrees(Cnn::new(shape, &mut rng(1, "weights")).unwrap(), 3, 2.0);
        }
        let over_series = [
            same(convolution(4, [1, 5], [1, 2])),
            convolution(3, [1, 3], [1, 2]),
        ];
        let shape = shape([1, 17, 3], &over_series);
        assert_gradient_agrees(Cnn::new(shape, &mut rng(2, "weights")).unwrap(), 4, 1.0);
    }

    #[test]
    fn gradient_of_more_images_than_are_taken_at_a_time_agrees() {
        // 4,096 windows of 18 values: 3 images at a time.
        let mut wide = shape([64, 64, 2], &[same(convolution(2, [3, 3], [16, 16]))]);
        wide.hidden = vec![];
        assert_gradient_agrees(Cnn::new(wide, &mut rng(3, "weights")).unwrap(), 8, 1.0);
    }

    #[test]
    fn tensors_cover_the_parameters_in_order() {
        let shape = shape([5, 5, 2], &[convolution(4, [3, 2], [1, 1])]);
        let cnn = Cnn::<f32>::new(shape.clone(), &mut rng(1, "weights")).unwrap();
        let tensors = cnn.tensors();
        assert_eq!(tensors[0].shape, [4, 3, 2, 2]);
        let mut next = 0;
        for tensor in &tensors {
            assert_eq!(tensor.range.start, next);
            assert_eq!(tensor.range.len(), tensor.shape.iter().product::<usize>());
            next = tensor.range.end;
        }
        assert_eq!(next, shape.parameters().unwrap());
        let again = Cnn::from_flat(shape, cnn.to_flat()).unwrap();
        assert_eq!(again.parameters(), cnn.parameters());
    }

    #[test]
    fn shapes_that_cannot_be_are_refused() {
        let refusal = |input, convolutions: &[ConvolutionShape]| {
            shape(input, convolutions).check().unwrap_err()
        };
        let small = convolution(2, [3, 3], [1, 1]);
        assert_eq!(refusal([5, 5, 1], &[]), NetworkError::NoConvolutions);
        assert_eq!(
            refusal([5, 0, 1], &[small]),
            NetworkError::NoUnits { layer: 0 }
        );
        assert!(matches!(
            refusal([5, 5, 1], &[small, small, small]),
            NetworkError::DoesNotFit {
                layer: 2,
                what: "kernel",
                size: [3, 3],
                input: [1, 1]
            }
        ));
        assert!(matches!(
            refusal([5, 5, 1], &[convolution(2, [3, 3], [4, 1])]),
            NetworkError::DoesNotFit {
                layer: 0,
                what: "pool",
                input: [3, 3],
                ..
            }
        ));
        assert!(matches!(
            refusal([5, 5, 1], &[convolution(2, [0, 1], [1, 1])]),
            NetworkError::DoesNotFit { what: "kernel", .. }
        ));
        assert!(matches!(
            refusal([5, 5, 1], &[convolution(usize::MAX, [3, 3], [1, 1])]),
            NetworkError::TooLarge { .. }
        ));
        assert!(matches!(
            refusal([1 << 40, 1 << 40, 1], &[small]),
            NetworkError::TooWide { layer: 0, .. }
        ));
        assert!(matches!(
            refusal([5, 5, 1], &[small; 40]),
            NetworkError::TooDeep { .. }
        ));
    }

    #[test]
    fn a_pattern_is_found_wherever_it_stands() {
        // Class 1 rises within two steps, class 0 falls; both anywhere.
        let mut inputs = Array2::<f32>::zeros((20, 12));
        let mut targets = Array2::<f32>::zeros((20, 2));
        for row in 0..20 {
            let (place, class) = (row / 2, row % 2);
            inputs[(row, place)] = [1.0, -1.0][class];
            inputs[(row, place + 1)] = [-1.0, 1.0][class];
            targets[(row, class)] = 1.0;
        }
        let shape = CnnShape {
            input: [1, 12, 1],
            convolutions: vec![convolution(8, [1, 2], [1, 11])],
            hidden: vec![],
            outputs: 2,
        };
        let mut cnn = Cnn::new(shape, &mut rng(4, "weights")).unwrap();
        let params = AdamParams {
            learning_rate: 0.05,
            ..AdamParams::default()
        };
        let mut trainer = Trainer::new(&cnn, params.check().unwrap(), 20);
        let batch = Batch {
            inputs: inputs.view(),
            targets: targets.view(),
        };
        for _ in 0..200 {
            trainer.step(&mut cnn, batch, 1.0).unwrap();
        }
        let classes: Vec<usize> = (0..20).map(|row| row % 2).collect();
        assert_eq!(cnn.predict(inputs.view()).unwrap(), classes);
    }

    #[test]
    fn the_response_is_that_of_the_formula() {
        // A window of two ones over a series, bias 0.5, pool of 2, logits = pooled.
        let shape = CnnShape {
            input: [1, 4, 1],
            convolutions: vec![same(convolution(1, [1, 2], [1, 2]))],
            hidden: vec![],
            outputs: 2,
        };
        let parameters = vec![1.0, 1.0, 0.5, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        let cnn = Cnn::from_flat(shape, parameters).unwrap();
        // Responses 3.5, −1.5, −4.5, −1.5 (the last over one zero).
        let logits = cnn.logits(array![[1.0, 2.0, -4.0, -1.0]].view()).unwrap();
        assert_eq!(logits, array![[3.5, 0.0]]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn batches_do_not_change_the_logits(
            height in 1..9usize,
            width in 3..9usize,
            kernel in 1..4usize,
            rows in 0..7usize,
            seed: u64,
        ) {
            let kernel = [kernel.min(height), kernel];
            let shape = shape([height, width, 2], &[same(convolution(3, kernel, [1, 2]))]);
            let cnn = Cnn::<f64>::new(shape, &mut rng(seed, "weights")).unwrap();
            let inputs = Array2::from_shape_fn((rows, height * width * 2), |(row, column)| {
                ((row * 31 + column * 7) as f64).sin()
            });
            let together = cnn.logits(inputs.view()).unwrap();
            for row in 0..rows {
                let alone = cnn.logits(inputs.slice(ndarray::s![row..=row, ..])).unwrap();
                prop_assert!((&alone.row(0) - &together.row(row)).iter().all(|d| d.abs() < 1e-12));
            }
        }
    }
}
