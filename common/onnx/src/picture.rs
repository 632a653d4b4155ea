//! Pictures of any size on their way into a model.

/// A picture: 8-bit values or numbers like them, row by row, channels last.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    height: usize,
    width: usize,
    channels: usize,
    values: Vec<f32>,
}

impl Picture {
    /// Values 0 to 255 of height × width × channels (1 or 3); none if the
    /// sides do not make their number.
    pub fn new(sides: [usize; 3], values: Vec<f32>) -> Option<Self> {
        let [height, width, channels] = sides;
        let fits = values.len() == height * width * channels && !values.is_empty();
        (fits && matches!(channels, 1 | 3)).then_some(Self {
            height,
            width,
            channels,
            values,
        })
    }

    /// Values of height × width, height × width × channels or channels × height ×
    /// width, times `scale`, as a picture; none for other sides.
    pub fn of_array(values: &[f32], sides: &[usize], scale: f32) -> Option<Self> {
        let values = values.iter().map(|value| value * scale);
        match *sides {
            [height, width] => Self::new([height, width, 1], values.collect()),
            [height, width, channels @ (1 | 3)] => {
                Self::new([height, width, channels], values.collect())
            }
            [channels @ (1 | 3), height, width] => {
                let planes: Vec<f32> = values.collect();
                let pixels = height * width;
                if planes.len() != channels * pixels {
                    return None;
                }
                let turned = (0..pixels)
                    .flat_map(|pixel| (0..channels).map(move |channel| (channel, pixel)))
                    .map(|(channel, pixel)| planes[channel * pixels + pixel]);
                Self::new([height, width, channels], turned.collect())
            }
            _ => None,
        }
    }

    /// Height, width and channels.
    pub fn sides(&self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// Its values, row by row, channels last.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The same picture of another size: cut to the ratio of the new sides
    /// around its middle, then each axis by triangles as wide as a pixel of
    /// the coarser of both grids (bilinear where it grows, and where it
    /// shrinks without leaving pixels out), pixel centres half a pixel in.
    /// Cost height × width × 2 scales.
    #[must_use]
    pub fn resized(&self, height: usize, width: usize) -> Self {
        if (height, width) == (self.height, self.width) {
            return self.clone();
        }
        let scale = (self.height as f64 / height as f64).min(self.width as f64 / width as f64);
        let rows = triangles(self.height, height, scale);
        let columns = triangles(self.width, width, scale);
        let channels = self.channels;
        let mut wide = vec![0.0f32; self.height * width * channels];
        for y in 0..self.height {
            for (x, weights) in columns.iter().enumerate() {
                for (from, weight) in weights {
                    for channel in 0..channels {
                        wide[(y * width + x) * channels + channel] +=
                            weight * self.values[(y * self.width + from) * channels + channel];
                    }
                }
            }
        }
        let row = width * channels;
        let mut values = vec![0.0f32; height * row];
        for (target, weights) in values.chunks_mut(row).zip(&rows) {
            for (from, weight) in weights {
                let source = &wide[from * row..(from + 1) * row];
                for (value, source) in target.iter_mut().zip(source) {
                    *value += weight * source;
                }
            }
        }
        Self {
            height,
            width,
            channels,
            values,
        }
    }

    /// The same with 1 or 3 channels: grey is the luma of ITU-R BT.601, colour
    /// of a grey picture three times the same.
    #[must_use]
    pub fn with_channels(&self, channels: usize) -> Self {
        let values: Vec<f32> = match (self.channels, channels) {
            (3, 1) => {
                let pixels = self.values.chunks_exact(3);
                pixels
                    .map(|pixel| 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2])
                    .collect()
            }
            (1, 3) => self.values.iter().flat_map(|&grey| [grey; 3]).collect(),
            _ => return self.clone(),
        };
        Self {
            channels,
            values,
            ..*self
        }
    }
}

/// Which values of an axis of `from` make each of `to`, with weights whose
/// sum is 1.
fn triangles(from: usize, to: usize, scale: f64) -> Vec<Vec<(usize, f32)>> {
    let start = (from as f64 - scale * to as f64) / 2.0;
    let reach = scale.max(1.0);
    let of = |at: usize| {
        let centre = start + (at as f64 + 0.5) * scale - 0.5;
        let low = (centre - reach).floor().max(0.0) as usize;
        let high = ((centre + reach).ceil().max(0.0) as usize).min(from - 1);
        let weight = |pixel: usize| (1.0 - (pixel as f64 - centre).abs() / reach).max(0.0);
        let weights: Vec<(usize, f64)> = (low.min(from - 1)..=high)
            .map(|pixel| (pixel, weight(pixel)))
            .filter(|(_, weight)| *weight > 0.0)
            .collect();
        let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
        if sum <= 0.0 {
            // Beyond the last centre: the pixel at the edge.
            return vec![((centre.round().max(0.0) as usize).min(from - 1), 1.0)];
        }
        weights
            .into_iter()
            .map(|(pixel, weight)| (pixel, (weight / sum) as f32))
            .collect()
    };
    (0..to).map(of).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_plain_picture_stays_plain_at_any_size() {
        for (height, width) in [(1, 1), (3, 5), (7, 4), (64, 64)] {
            let plain = Picture::new([height, width, 3], vec![77.0; height * width * 3]).unwrap();
            for (high, wide) in [(1, 1), (2, 9), (96, 96)] {
                let other = plain.resized(high, wide);
                assert_eq!(other.sides(), [high, wide, 3]);
                assert!(
                    other
                        .values()
                        .iter()
                        .all(|value| (value - 77.0).abs() < 1e-3)
                );
            }
        }
    }

    #[test]
    fn growing_is_bilinear_and_shrinking_leaves_no_pixel_out() {
        let two = Picture::new([1, 2, 1], vec![0.0, 100.0]).unwrap();
        let four = Picture::new([2, 2, 1], vec![0.0, 100.0, 0.0, 100.0]).unwrap();
        let grown = four.resized(4, 4);
        assert_eq!(&grown.values()[..4], &[0.0, 25.0, 75.0, 100.0]);
        assert_eq!(two.resized(1, 1).sides(), [1, 1, 1]);
        let ramp = Picture::new([4, 4, 1], (0..16).map(|at| at as f32).collect()).unwrap();
        let small = ramp.resized(1, 1);
        assert!((small.values()[0] - 7.5).abs() < 1e-4);
    }

    #[test]
    fn what_is_wider_is_cut_around_its_middle() {
        let mut values = vec![0.0; 2 * 6];
        for row in 0..2 {
            values[row * 6 + 2] = 10.0;
            values[row * 6 + 3] = 10.0;
        }
        let wide = Picture::new([2, 6, 1], values).unwrap();
        assert_eq!(wide.resized(2, 2).values(), &[10.0; 4]);
    }

    #[test]
    fn grey_and_colour_become_one_another() {
        let white = Picture::new([1, 1, 3], vec![255.0; 3]).unwrap();
        assert!((white.with_channels(1).values()[0] - 255.0).abs() < 1e-3);
        assert_eq!(white.with_channels(1).with_channels(3).sides(), [1, 1, 3]);
        assert!(Picture::new([2, 2, 4], vec![0.0; 16]).is_none());
        assert!(Picture::new([2, 2, 3], vec![0.0; 11]).is_none());
    }
}
