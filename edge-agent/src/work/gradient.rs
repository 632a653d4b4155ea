//! The gradient of the global teacher's error on the device's rows, in the
//! points of the transfer set.

use common::gradient::Gradient;
use common::math::kernel::Ntk;
use common::math::regression::data_term;
use common::round::Kind;
use common::teacher::Teacher;
use common::transfer::TransferSet;

use super::moments::targets;
use super::{Built, Entry, View, Work, WorkError, labels};

/// Nothing, in part, where the rows are too few or none has a label.
pub(super) fn build(
    work: &Work<'_>,
    view: &View,
    transfer: &TransferSet,
    global: &Teacher,
) -> Result<Built, WorkError> {
    let learnt = match view.rows() < work.privacy.rows_min {
        true => None,
        false => labels::learn(work, view)?,
    };
    let Some(learnt) = learnt else {
        return Ok(Built {
            entries: Vec::new(),
            partial: true,
        });
    };
    // The rows and targets that this device's moments are made of, so that
    // the gradient belongs to the objective that the teacher minimises.
    let targets = targets(view, learnt.as_ref())?;
    let ntk = Ntk::new(work.task.definition().teacher.depth);
    let points = transfer.points.inputs.view();
    let alpha = global.alpha();
    let term = data_term(&ntk, points, alpha, view.inputs.view(), targets.view())?;
    let raw = Gradient::to_raw(view.rows(), term.d_support.view())?;
    Ok(Built {
        entries: vec![Entry::of(Kind::Gradient, &raw, view.rows())],
        partial: false,
    })
}
