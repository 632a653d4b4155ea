//! Distilled points of a device's rows.

use super::{CheckContext, Contribution, StandsOn, quantise_reason};
use crate::round::{Kind, Reason};
use crate::summary::{Points, PointsError, PointsFrame, RawPoints};

impl Contribution for Points {
    const KIND: Kind = Kind::Summary;
    const STANDS_ON: StandsOn = StandsOn::Normaliser;
    type Raw = RawPoints;

    fn check(raw: RawPoints, context: &CheckContext<'_>) -> Result<Self, Reason> {
        let task = context.task;
        let budget = &task.definition().budget;
        let frame = PointsFrame {
            features: task.features(),
            classes: task.classes(),
            // Each class present gets at least one point.
            points_max: budget.points_per_device as usize + task.classes(),
            cluster_size_min: budget.cluster_size_min,
        };
        let checked = Self::check(raw, frame).and_then(|points| {
            points.check_place()?;
            Ok(points)
        });
        checked.map_err(|error| match error {
            PointsError::Quantise(inner) => quantise_reason(&inner),
            PointsError::Shape { .. } => Reason::WrongShape,
            _ => Reason::OutOfBounds,
        })
    }

    fn rows(&self) -> u64 {
        self.rows()
    }
}
