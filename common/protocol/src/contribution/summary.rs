//! Distilled points of a device's rows.

use math::quantise::RawQuantisedMatrix;

use super::{CheckContext, Contribution, StandsOn, quantise_reason};
use crate::round::{Kind, Reason};
use crate::summary::{Points, PointsError, PointsFrame, RawPoints};

impl Contribution for Points {
    const KIND: Kind = Kind::Summary;
    const STANDS_ON: StandsOn = StandsOn::Normaliser;
    /// Their numbers travel behind points where a task asks for any.
    type Raw = (RawPoints, Option<RawQuantisedMatrix>);

    fn decode(bytes: &[u8], context: &CheckContext<'_>) -> Result<Self::Raw, Reason> {
        RawPoints::parts(context.task, bytes).map_err(|_| Reason::Malformed)
    }

    fn check((raw, targets): Self::Raw, context: &CheckContext<'_>) -> Result<Self, Reason> {
        let task = context.task;
        let budget = &task.definition().budget;
        let frame = PointsFrame {
            features: task.features(),
            classes: task.classes(),
            // Each class present gets at least one point.
            points_max: budget.points_per_device as usize + task.classes(),
            cluster_size_min: budget.cluster_size_min,
            numbers: task.target().numbers().len(),
        };
        let checked = match targets {
            Some(targets) => Self::check_with_targets(raw, targets, frame),
            None => Self::check(raw, frame),
        };
        let checked = checked.and_then(|points| {
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
