//! Sensors that are out of order. Not malice, and as harmful.

use ndarray::Array2;

use super::super::{Attack, Kind, Plot};
use crate::data::Part;
use crate::simulation::Lie;

pub(in super::super) const STUCK: Attack = Attack {
    name: "stuck",
    about: "sensors of liars read their first value for ever; labels are right",
    kind: Kind::Lying(|scene| {
        let channels = match scene.data.shape[..] {
            [_, channels] if crate::stage::is_series(scene.data) => channels as usize,
            _ => scene.data.train.inputs.ncols(),
        };
        Ok(plot(Fault::Stuck { channels }))
    }),
};

pub(in super::super) const INVERT: Attack = Attack {
    name: "invert",
    about: "sensors of liars are mounted upside down; labels are right",
    kind: Kind::Lying(|scene| {
        let turned_at = scene.data.range.map_or(0.0, |[low, high]| low + high);
        Ok(plot(Fault::Inverted { turned_at }))
    }),
};

pub(in super::super) const UNITS: Attack = Attack {
    name: "units",
    about: "sensors of liars read in units a thousand times smaller; labels are right",
    kind: Kind::Lying(|scene| match scene.data.range {
        None => Ok(plot(Fault::Scaled)),
        Some(_) => Err(scene.option(
            "--data",
            "holds bytes, which have no other unit; take data of floats, like har".into(),
        )),
    }),
};

fn plot(lie: Fault) -> Plot {
    Plot {
        lie: Box::new(lie),
        aim: None,
    }
}

enum Fault {
    /// After so many values a row begins again with its first channel.
    Stuck {
        channels: usize,
    },
    Inverted {
        turned_at: f32,
    },
    Scaled,
}

impl Lie for Fault {
    fn holds(&self, _device: usize, mut rows: Part) -> Part {
        match *self {
            Self::Stuck { channels } => stick(&mut rows.inputs, channels),
            Self::Inverted { turned_at } => {
                rows.inputs.map_inplace(|value| *value = turned_at - *value);
            }
            Self::Scaled => rows.inputs.map_inplace(|value| *value *= SMALLER),
        }
        rows
    }
}

fn stick(inputs: &mut Array2<f32>, channels: usize) {
    let Some(first) = inputs.rows().into_iter().next() else {
        return;
    };
    let first = first.to_vec();
    for mut row in inputs.rows_mut() {
        for (at, value) in row.iter_mut().enumerate() {
            *value = first[at % channels];
        }
    }
}

const SMALLER: f32 = 1_000.0;

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn faults_change_inputs_and_leave_labels() {
        let held = |fault: Fault| {
            let rows = Part {
                inputs: array![[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]],
                labels: vec![0, 1],
                numbers: None,
                users: None,
                groups: None,
            };
            let rows = fault.holds(0, rows);
            assert_eq!(rows.labels, [0, 1]);
            rows.inputs.row(1).to_vec()
        };
        assert_eq!(held(Fault::Stuck { channels: 2 }), [1.0, 2.0, 1.0, 2.0]);
        let inverted = Fault::Inverted { turned_at: 10.0 };
        assert_eq!(held(inverted), [5.0, 4.0, 3.0, 2.0]);
        assert_eq!(held(Fault::Scaled), [5e3, 6e3, 7e3, 8e3]);
    }
}
