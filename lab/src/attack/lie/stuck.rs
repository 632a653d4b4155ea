//! A sensor that always reads the same. Not malice, and as harmful.

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
        Ok(Plot {
            lie: Box::new(Stuck { channels }),
            aim: None,
        })
    }),
};

struct Stuck {
    /// Values after which a row begins again with its first channel.
    channels: usize,
}

impl Lie for Stuck {
    fn holds(&self, _device: usize, mut rows: Part) -> Part {
        let Some(first) = rows.inputs.rows().into_iter().next() else {
            return rows;
        };
        let first = first.to_vec();
        for mut row in rows.inputs.rows_mut() {
            for (at, value) in row.iter_mut().enumerate() {
                *value = first[at % self.channels];
            }
        }
        rows
    }
}
