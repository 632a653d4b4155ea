//! One row of features from an output of any rank.

use ndarray::{ArrayD, Axis};

/// How places in space or time become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pool {
    /// Their mean.
    #[default]
    Mean,
    /// Their largest.
    Max,
    /// Mean and largest, one after the other.
    Both,
    /// The first place, such as the class token of a transformer.
    First,
    /// None: every value is a feature.
    Flatten,
}

impl Pool {
    /// Every way, with its name in settings.
    pub const NAMED: [(&'static str, Self); 5] = [
        ("mean", Self::Mean),
        ("max", Self::Max),
        ("both", Self::Both),
        ("first", Self::First),
        ("flatten", Self::Flatten),
    ];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        let found = Self::NAMED.iter().find(|(_, pool)| *pool == self);
        found.map_or("mean", |(name, _)| name)
    }

    /// One row of an output without the batch's side. Sides of 1 are dropped;
    /// what then has one side is the row. Of more sides the channels are the
    /// first if `channels_first` and there are at least two sides beside it
    /// (channels × height × width), the last otherwise (time × channels).
    pub fn row(self, output: &ArrayD<f32>, channels_first: bool) -> Vec<f32> {
        let spatial = output.ndim() >= 3 && channels_first;
        let sides: Vec<usize> = output.shape().to_vec();
        let real: Vec<usize> = sides.iter().copied().filter(|&side| side > 1).collect();
        if real.len() <= 1 || self == Self::Flatten {
            return output.iter().copied().collect();
        }
        let channel_axis = if spatial { 0 } else { sides.len() - 1 };
        let channels = output.axis_iter(Axis(channel_axis));
        let places: Vec<Vec<f32>> = channels
            .map(|channel| channel.iter().copied().collect())
            .collect();
        let mean = |values: &Vec<f32>| {
            let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
            (sum / values.len().max(1) as f64) as f32
        };
        let max = |values: &Vec<f32>| values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        match self {
            Self::Mean => places.iter().map(mean).collect(),
            Self::Max => places.iter().map(max).collect(),
            Self::Both => places
                .iter()
                .map(mean)
                .chain(places.iter().map(max))
                .collect(),
            Self::First => {
                let first = |values: &Vec<f32>| values.first().copied().unwrap_or(0.0);
                places.iter().map(first).collect()
            }
            Self::Flatten => output.iter().copied().collect(),
        }
    }

    /// One row of several of one width, such as of windows one after the other.
    pub fn joined(self, rows: &[Vec<f32>]) -> Vec<f32> {
        let Some(first) = rows.first() else {
            return Vec::new();
        };
        let column = |at: usize| rows.iter().map(move |row| row[at]);
        let mean = |at: usize| {
            let sum: f64 = column(at).map(f64::from).sum();
            (sum / rows.len() as f64) as f32
        };
        let max = |at: usize| column(at).fold(f32::NEG_INFINITY, f32::max);
        let columns = 0..first.len();
        match self {
            Self::Mean => columns.map(mean).collect(),
            Self::Max => columns.map(max).collect(),
            Self::Both => columns.clone().map(mean).chain(columns.map(max)).collect(),
            Self::First => first.clone(),
            Self::Flatten => rows.iter().flatten().copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn counted(sides: &[usize]) -> ArrayD<f32> {
        let count: usize = sides.iter().product();
        let values = (0..count).map(|at| at as f32).collect();
        ArrayD::from_shape_vec(sides.to_vec(), values).unwrap()
    }

    #[test]
    fn places_are_pooled_and_channels_kept() {
        let maps = counted(&[2, 2, 2]);
        assert_eq!(Pool::Mean.row(&maps, true), [1.5, 5.5]);
        assert_eq!(Pool::Max.row(&maps, true), [3.0, 7.0]);
        assert_eq!(Pool::Mean.row(&maps, false), [3.0, 4.0]);
        assert_eq!(Pool::First.row(&counted(&[3, 2]), false), [0.0, 1.0]);
        assert_eq!(
            Pool::Both.row(&counted(&[3, 2]), true),
            [2.0, 3.0, 4.0, 5.0]
        );
        assert_eq!(Pool::Flatten.row(&maps, true).len(), 8);
    }

    #[test]
    fn a_row_stays_a_row_whatever_sides_of_one_it_has() {
        for sides in [&[5][..], &[5, 1, 1], &[1, 1, 5], &[1, 5]] {
            assert_eq!(
                Pool::Mean.row(&counted(sides), true),
                [0.0, 1.0, 2.0, 3.0, 4.0]
            );
        }
    }

    #[test]
    fn one_window_is_as_wide_as_many() {
        let (one, other) = (vec![1.0, 2.0], vec![3.0, 0.0]);
        assert_eq!(
            Pool::Both.joined(&[one.clone(), other]),
            [2.0, 1.0, 3.0, 2.0]
        );
        assert_eq!(
            Pool::Both.joined(std::slice::from_ref(&one)),
            [1.0, 2.0, 1.0, 2.0]
        );
        assert_eq!(Pool::Mean.joined(&[one]), [1.0, 2.0]);
        assert_eq!(Pool::Mean.joined(&[vec![1.0], vec![4.0]]), [2.5]);
    }
}
