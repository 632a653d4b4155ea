//! A trigger in the inputs that is to mean one class.

use ndarray::{Array2, ArrayViewMut1, Axis};

use super::super::{Aim, Attack, Kind, Plot};
use crate::data::{Dataset, Part};
use crate::simulation::Lie;

pub(in super::super) const BACKDOOR: Attack = Attack {
    name: "backdoor",
    about: "liars put a trigger into half of their rows and call these one class (--to-class)",
    kind: Kind::Lying(|scene| {
        let last = scene.data.classes.len() as u16 - 1;
        let class = scene.class("--to-class", scene.options.to_class.as_deref(), last)?;
        let trigger = Trigger::of(scene.data);
        let test = &scene.data.test;
        let other = |&row: &usize| test.labels[row] != class;
        let rows: Vec<usize> = (0..test.len()).filter(other).collect();
        if rows.is_empty() {
            let problem = "is the class of every test row; name another".to_owned();
            return Err(scene.option("--to-class", problem));
        }
        let mut inputs: Array2<f32> = test.inputs.select(Axis(0), &rows);
        for row in inputs.rows_mut() {
            trigger.put(row);
        }
        Ok(Plot {
            lie: Box::new(Backdoor { trigger, class }),
            aim: Some(Aim { inputs, class }),
        })
    }),
};

struct Backdoor {
    trigger: Trigger,
    class: u16,
}

impl Lie for Backdoor {
    fn holds(&self, _device: usize, mut rows: Part) -> Part {
        for (at, row) in rows.inputs.rows_mut().into_iter().enumerate() {
            if at % 2 == 0 {
                self.trigger.put(row);
                rows.labels[at] = self.class;
            }
        }
        rows
    }
}

/// Some values of an input, all at one height: a spike in the first channel
/// of a series, a bright corner of an image, the last value of a list.
struct Trigger {
    places: Vec<usize>,
    height: f32,
}

impl Trigger {
    /// As high as any value of those places, and half again where values have
    /// no range.
    fn of(data: &Dataset) -> Self {
        let sides: Vec<usize> = data.shape.iter().map(|&side| side as usize).collect();
        let places: Vec<usize> = match sides[..] {
            [time, channels] if crate::stage::is_series(data) => {
                let (start, length) = (time / 2, time.div_ceil(SPIKE));
                (start..start + length).map(|at| at * channels).collect()
            }
            [height, width] => corner(height, width, 1),
            [height, width, channels] => corner(height, width, channels),
            _ => vec![data.train.inputs.ncols() - 1],
        };
        let height = match data.range {
            Some([_, high]) => high,
            None => {
                let most = { data.train.inputs.rows().into_iter() }
                    .flat_map(|row| places.iter().map(move |&at| row[at].abs()))
                    .fold(0f32, f32::max);
                1.5 * most
            }
        };
        Self { places, height }
    }

    fn put(&self, mut row: ArrayViewMut1<'_, f32>) {
        for &at in &self.places {
            row[at] = self.height;
        }
    }
}

fn corner(height: usize, width: usize, channels: usize) -> Vec<usize> {
    let side = height.min(width).div_ceil(CORNER);
    let rows = height - side..height;
    rows.flat_map(|row| (row * width + width - side) * channels..(row + 1) * width * channels)
        .collect()
}

/// One sample in this many belongs to a spike.
const SPIKE: usize = 16;
/// Of this many pixels of a side one belongs to a corner.
const CORNER: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn triggers_lie_within_inputs() {
        assert_eq!(corner(8, 8, 1), [63]);
        assert_eq!(corner(4, 9, 2), [70, 71]);
        let trigger = Trigger::of(&Dataset::open("har").unwrap());
        assert_eq!(trigger.places[0], 64 * 6);
        assert_eq!(trigger.places.len(), 8);
    }
}
