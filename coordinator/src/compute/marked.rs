//! Samples that carry a mark of one device alone: not taken, and told.

use std::collections::BTreeMap;

use common::summary::Points;

use super::solve::Sent;
use crate::aggregate::Marked;
use crate::round::{Exclusion, ExclusionReason};

/// Takes marked samples out of the devices' others.
pub(super) fn without_marked(summaries: &mut [Points], marked: &[Marked]) {
    for (device, points) in summaries.iter_mut().enumerate() {
        let of_it = || marked.iter().filter(|one| one.device == device);
        if of_it().next().is_none() {
            continue;
        }
        let is_marked = |at: &usize| of_it().any(|one| one.samples.contains(at));
        let kept: Vec<usize> = (0..points.len()).filter(|at| !is_marked(at)).collect();
        *points = points.select(&kept);
    }
}

/// What is told of them: of each device the class with most marked rows.
pub(super) fn of_marked(marked: &[Marked], sent: &[Sent]) -> Vec<Exclusion> {
    let mut most: BTreeMap<usize, &Marked> = BTreeMap::new();
    for one in marked {
        let known = most.entry(one.device).or_insert(one);
        if one.rows[0] > known.rows[0] {
            *known = one;
        }
    }
    let told = most.into_iter().filter_map(|(at, one)| {
        let &(device, kind, _) = sent.get(at)?;
        let why = ExclusionReason::Marks {
            class: one.class as u16,
            taken_for: one.taken_for as u16,
            rows: one.rows[0],
            of: one.rows[1],
        };
        Some(Exclusion { device, kind, why })
    });
    told.collect()
}
