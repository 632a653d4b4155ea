//! One convolution with its ReLU and max-pool: geometry, and both passes as
//! matrix products.

use ndarray::linalg::general_mat_mul;

use super::Real;
use super::dense::{add_row_sums, matrix, matrix_mut};

/// Stride 1. Images are (height, width, channels) in one run, channels last,
/// so that a window's row is contiguous; series are images of height 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Convolution {
    /// Height, width and channels of the input.
    pub(super) input: [usize; 3],
    /// Height and width of the window.
    pub(super) kernel: [usize; 2],
    /// Zeros above and left of the input.
    pub(super) padding: [usize; 2],
    /// Height and width of the response, before the pool.
    pub(super) response: [usize; 2],
    /// Channels of the response.
    pub(super) channels: usize,
    /// Height and width of the pool; what it does not fill is cut off.
    pub(super) pool: [usize; 2],
    /// Where the weight (channels, kernel height, kernel width, input
    /// channels) begins in the flat parameters. The bias follows it.
    pub(super) start: usize,
}

/// What a pass leaves behind for one convolution, a run a row.
#[derive(Debug)]
pub(super) struct ConvolutionBuffers<T> {
    /// After ReLU and pool.
    pub(super) outputs: Vec<T>,
    /// The gradient with respect to `outputs`.
    pub(super) deltas: Vec<T>,
    /// Which place of its image's response each output was taken from.
    choices: Vec<u32>,
}

/// Memory shared by all convolutions: a few images at a time.
#[derive(Debug)]
pub(super) struct Scratch<T> {
    /// Each window as a row.
    columns: Vec<T>,
    /// The response, or the gradient with respect to it.
    response: Vec<T>,
}

impl Convolution {
    /// Numbers in one input.
    pub(super) fn inputs(&self) -> usize {
        self.input.iter().product()
    }

    /// Height and width after the pool.
    pub(super) fn pooled(&self) -> [usize; 2] {
        [
            self.response[0] / self.pool[0],
            self.response[1] / self.pool[1],
        ]
    }

    /// Numbers in one output.
    pub(super) fn outputs(&self) -> usize {
        self.pooled()[0] * self.pooled()[1] * self.channels
    }

    /// Numbers in one window.
    pub(super) fn window(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.input[2]
    }

    pub(super) fn parameters(&self) -> usize {
        (self.window() + 1) * self.channels
    }

    /// Weight and bias.
    pub(super) fn split<'p, T>(&self, flat: &'p [T]) -> (&'p [T], &'p [T]) {
        flat[self.start..self.start + self.parameters()].split_at(self.window() * self.channels)
    }

    /// Weight and bias.
    pub(super) fn split_mut<'p, T>(&self, flat: &'p mut [T]) -> (&'p mut [T], &'p mut [T]) {
        flat[self.start..self.start + self.parameters()].split_at_mut(self.window() * self.channels)
    }

    /// Fills outputs and choices for a whole number of images.
    pub(super) fn forward<T: Real>(
        &self,
        parameters: &[T],
        inputs: &[T],
        buffers: &mut ConvolutionBuffers<T>,
        scratch: &mut Scratch<T>,
    ) {
        let (weight, bias) = self.split(parameters);
        let weight = matrix(weight, self.channels, self.window());
        let group = self.group();
        let taken = buffers.outputs.chunks_mut(group * self.outputs());
        let taken = taken.zip(buffers.choices.chunks_mut(group * self.outputs()));
        for (images, (outputs, choices)) in inputs.chunks(group * self.inputs()).zip(taken) {
            let count = images.len() / self.inputs();
            let places = count * self.places();
            self.unfold(images, &mut scratch.columns);
            let columns = matrix(&scratch.columns, places, self.window());
            let mut response = matrix_mut(&mut scratch.response, places, self.channels);
            for mut row in response.rows_mut() {
                row.iter_mut().zip(bias).for_each(|(y, &b)| *y = b);
            }
            general_mat_mul(T::one(), &columns, &weight.t(), T::one(), &mut response);
            self.take_largest(count, &scratch.response, outputs, choices);
        }
    }

    /// From the gradient with respect to the outputs (in `buffers`): fills
    /// this convolution's part of `gradient` and, if asked, the gradient with
    /// respect to the inputs.
    pub(super) fn backward<T: Real>(
        &self,
        parameters: &[T],
        inputs: &[T],
        buffers: &ConvolutionBuffers<T>,
        scratch: &mut Scratch<T>,
        gradient: &mut [T],
        mut input_gradient: Option<&mut [T]>,
    ) {
        let weight = matrix(self.split(parameters).0, self.channels, self.window());
        let (weight_gradient, bias_gradient) = self.split_mut(gradient);
        weight_gradient.fill(T::zero());
        bias_gradient.fill(T::zero());
        let mut weight_gradient = matrix_mut(weight_gradient, self.channels, self.window());
        let group = self.group();
        for (index, images) in inputs.chunks(group * self.inputs()).enumerate() {
            let count = images.len() / self.inputs();
            let places = count * self.places();
            self.give_back(index * group, count, buffers, &mut scratch.response);
            self.unfold(images, &mut scratch.columns);
            let delta = matrix(&scratch.response, places, self.channels);
            let mut columns = matrix_mut(&mut scratch.columns, places, self.window());
            general_mat_mul(
                T::one(),
                &delta.t(),
                &columns,
                T::one(),
                &mut weight_gradient,
            );
            add_row_sums(delta, bias_gradient);
            if let Some(to) = input_gradient.as_deref_mut() {
                general_mat_mul(T::one(), &delta, &weight, T::zero(), &mut columns);
                let start = index * group * self.inputs();
                self.fold(&scratch.columns, &mut to[start..start + images.len()]);
            }
        }
    }

    /// Places of one image's response.
    fn places(&self) -> usize {
        self.response[0] * self.response[1]
    }

    /// Images taken at a time.
    fn group(&self) -> usize {
        let values = self.places() * self.window().max(self.channels);
        (GROUP_VALUES / values.max(1)).max(1)
    }

    /// Calls `visit` with each contiguous run that a window shares with the
    /// image: where it begins in the image's unfolded windows, where in the
    /// image, and its length.
    fn each_run(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let [height, width, channels] = self.input;
        for y in 0..self.response[0] {
            for x in 0..self.response[1] {
                let window = (y * self.response[1] + x) * self.window();
                let left = self.padding[1].saturating_sub(x);
                let right = self.kernel[1].min(width + self.padding[1] - x);
                for row in 0..self.kernel[0] {
                    let padded = y + row;
                    if padded < self.padding[0] || padded - self.padding[0] >= height {
                        continue;
                    }
                    let at = (padded - self.padding[0]) * width + x + left - self.padding[1];
                    let in_window = window + (row * self.kernel[1] + left) * channels;
                    visit(in_window, at * channels, (right - left) * channels);
                }
            }
        }
    }

    /// Writes every window of every image as a row of `columns`.
    fn unfold<T: Real>(&self, images: &[T], columns: &mut [T]) {
        let length = self.places() * self.window();
        let overlaps = |axis| self.response[axis] + self.kernel[axis] > self.input[axis] + 1;
        let padded = overlaps(0) || overlaps(1);
        for (image, columns) in images.chunks(self.inputs()).zip(columns.chunks_mut(length)) {
            if padded {
                columns.fill(T::zero());
            }
            self.each_run(|to, from, run| {
                columns[to..to + run].copy_from_slice(&image[from..from + run]);
            });
        }
    }

    /// The transpose of [`unfold`](Self::unfold): sums what every window says
    /// of each place.
    fn fold<T: Real>(&self, columns: &[T], images: &mut [T]) {
        let length = self.places() * self.window();
        images.fill(T::zero());
        for (image, columns) in images.chunks_mut(self.inputs()).zip(columns.chunks(length)) {
            self.each_run(|from, to, run| {
                let pairs = image[to..to + run].iter_mut().zip(&columns[from..]);
                pairs.for_each(|(sum, &value)| *sum += value);
            });
        }
    }

    /// ReLU and max-pool, which may be taken in either order.
    fn take_largest<T: Real>(
        &self,
        count: usize,
        response: &[T],
        outputs: &mut [T],
        choices: &mut [u32],
    ) {
        let [rows, columns] = self.pooled();
        let taken = outputs
            .chunks_mut(self.channels)
            .zip(choices.chunks_mut(self.channels));
        let mut taken = taken.take(count * rows * columns);
        let of_image = self.places() * self.channels;
        for image in response.chunks(of_image).take(count) {
            for y in 0..rows {
                for (x, (outputs, choices)) in (0..columns).zip(&mut taken) {
                    self.take_one(image, [y, x], outputs, choices);
                }
            }
        }
    }

    /// The largest responses of one pool, a channel each. NaN stays NaN, so
    /// that it is noticed.
    fn take_one<T: Real>(
        &self,
        image: &[T],
        [y, x]: [usize; 2],
        outputs: &mut [T],
        choices: &mut [u32],
    ) {
        outputs.fill(T::neg_infinity());
        for row in 0..self.pool[0] {
            for column in 0..self.pool[1] {
                let place = (y * self.pool[0] + row) * self.response[1] + x * self.pool[1] + column;
                let values = image[place * self.channels..].iter();
                let best = outputs.iter_mut().zip(choices.iter_mut());
                for (channel, ((best, choice), &value)) in best.zip(values).enumerate() {
                    if value > *best || value.is_nan() {
                        *best = value;
                        *choice = (place * self.channels + channel) as u32;
                    }
                }
            }
        }
        for value in outputs {
            if *value < T::zero() {
                *value = T::zero();
            }
        }
    }

    /// Hands the gradient of each output to the place it was taken from, if
    /// it passed the ReLU.
    fn give_back<T: Real>(
        &self,
        first: usize,
        count: usize,
        buffers: &ConvolutionBuffers<T>,
        response: &mut [T],
    ) {
        let of_image = self.places() * self.channels;
        response[..count * of_image].fill(T::zero());
        let outputs = self.outputs();
        for (image, response) in response.chunks_mut(of_image).take(count).enumerate() {
            for index in (first + image) * outputs..(first + image + 1) * outputs {
                if buffers.outputs[index] > T::zero() {
                    response[buffers.choices[index] as usize] += buffers.deltas[index];
                }
            }
        }
    }
}

impl<T: Real> ConvolutionBuffers<T> {
    pub(super) fn new(convolution: &Convolution, rows: usize) -> Self {
        let length = rows * convolution.outputs();
        Self {
            outputs: vec![T::zero(); length],
            deltas: vec![T::zero(); length],
            choices: vec![0; length],
        }
    }

    /// Makes room for `rows` rows, if there is less.
    pub(super) fn reserve(&mut self, convolution: &Convolution, rows: usize) {
        if self.outputs.len() < rows * convolution.outputs() {
            *self = Self::new(convolution, rows);
        }
    }
}

impl<T: Real> Scratch<T> {
    /// Enough for each of these in turn.
    pub(super) fn new(convolutions: &[Convolution]) -> Self {
        let most = |values: fn(&Convolution) -> usize| {
            let of_group = |c: &Convolution| c.group() * c.places() * values(c);
            convolutions.iter().map(of_group).max().unwrap_or(0)
        };
        Self {
            columns: vec![T::zero(); most(Convolution::window)],
            response: vec![T::zero(); most(|convolution| convolution.channels)],
        }
    }
}

/// About how many values of unfolded windows are held at a time: 1 MiB of
/// `f32`, which stays near the processor.
const GROUP_VALUES: usize = 1 << 18;
