//! Which feature stages are tried for a data set, and how its rows are drawn.

use common::features::{FeatureStage, InputShape, Modality, SampleRate};
use draw::Look;

use crate::data::Dataset;

/// The stage that a data set is seen through where nobody says: what a task
/// without one takes, whose student scores `novelty` or not.
pub fn auto_stage(data: &Dataset, novelty: bool) -> FeatureStage {
    // An invalid shape is refused with the task.
    let stage = input_shape(data).map_or(FeatureStage::Raw, |shape| usual(data, &shape));
    match novelty {
        true => stage.lifted_for_novelty(),
        false => stage,
    }
}

/// The stages that devices try on rows of theirs, the usual one first, and the shape
/// that they are tried with; none where there is but one, or nothing to judge by.
pub fn candidates(data: &Dataset, novelty: bool) -> Option<(InputShape, Vec<FeatureStage>)> {
    let shape = input_shape(data)?;
    if data.numbers.is_empty() && data.classes.len() < 2 {
        return None;
    }
    let usual = usual(data, &shape);
    let all = usual.candidates(&shape).into_iter();
    let mut stages: Vec<FeatureStage> = match novelty {
        true => all.map(FeatureStage::lifted_for_novelty).collect(),
        false => all.collect(),
    };
    let mut seen = std::collections::HashSet::new();
    stages.retain(|&stage| seen.insert(stage));
    (stages.len() > 1).then_some((shape, stages))
}

/// Whether the data reads as a series of channels.
pub fn is_series(data: &Dataset) -> bool {
    input_shape(data).is_some_and(|shape| shape.modality() == Modality::Series)
}

/// How a raw input is drawn.
pub fn look(data: &Dataset) -> Look {
    let sides: Vec<usize> = data.shape.iter().map(|&side| side as usize).collect();
    match sides[..] {
        [steps, channels] if is_series(data) => Look::Traces([steps, channels]),
        _ => Look::of(&sides),
    }
}

/// Feature stages to try, and why these.
pub struct Stages {
    /// As tasks name them, richest first.
    pub stages: Vec<String>,
    /// Why these.
    pub reason: &'static str,
    /// Whether inputs are images, of their own accord.
    pub image: bool,
}

/// Feature stages to try for a student that is a convolution or not and scores novelty
/// or not, and why. What devices chose on rows of theirs counts where nobody asked for
/// one.
pub fn stages(
    data: &Dataset,
    asked: Option<String>,
    by_devices: Option<FeatureStage>,
    [convolves, novelty]: [bool; 2],
) -> Stages {
    let Some(shape) = input_shape(data) else {
        let first = asked.unwrap_or_else(|| FeatureStage::Raw.to_string());
        return Stages {
            stages: vec![first],
            reason: ASKED,
            image: false,
        };
    };
    let modality = shape.modality();
    let convolved = FeatureStage::default_under_convolution(&shape, modality);
    let convolved = convolved.filter(|_| convolves);
    let of_three = shape.sides().len() >= 3;
    let (first, reason) = match (asked, convolved) {
        (Some(stage), Some(convolved)) if stage == FeatureStage::Raw.to_string() => {
            (convolved.to_string(), FIRST_LAYER)
        }
        (Some(stage), _) => (stage, ASKED),
        (None, convolved) => {
            let first = { by_devices.or(convolved) }.unwrap_or_else(|| usual(data, &shape));
            let first = match novelty {
                true => first.lifted_for_novelty(),
                false => first,
            };
            let narrower = first.narrower(&shape);
            let stages = std::iter::once(first).chain(narrower);
            return Stages {
                stages: stages.map(|stage| stage.to_string()).collect(),
                reason: first.default_reason(modality),
                image: of_three || (modality == Modality::Image && !first.is_measured()),
            };
        }
    };
    Stages {
        stages: vec![first],
        reason,
        image: of_three,
    }
}

fn usual(data: &Dataset, shape: &InputShape) -> FeatureStage {
    let sound = data
        .sound_rate
        .map(|rate| FeatureStage::mel(Some(SampleRate(rate))));
    if let Some(stage) = sound.filter(|stage| stage.features(shape).is_ok()) {
        return stage;
    }
    match data.numbers.is_empty() {
        true => FeatureStage::default_for(shape, shape.modality()),
        false => FeatureStage::default_for_numbers(shape, shape.modality(), data.range.is_some()),
    }
}

fn input_shape(data: &Dataset) -> Option<InputShape> {
    let sides = data.shape.iter().map(|&side| side as usize).collect();
    InputShape::new(sides).ok()
}

/// Why, where the user named it.
pub const ASKED: &str = "asked for";
/// The kernel of raw values caps the teacher, and with it any student.
const FIRST_LAYER: &str = "the kernel of raw values caps the teacher, so the network's first \
                           layer is a bank of fixed filters that the kernel sees through too";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of_shape(shape: &[u32]) -> Dataset {
        let mut data = Dataset::open("digits").unwrap();
        data.shape = shape.to_vec();
        data
    }

    #[test]
    fn images_are_tried_with_fewer_cells_too() {
        let tried = stages(&of_shape(&[28, 28]), None, None, [false; 2]);
        let names = ["patches/1", "patches/1:5x8x5", "patches/1:5x5x4"];
        assert_eq!(tried.stages, names);
        assert!(tried.image);
        let tried = stages(&of_shape(&[12]), None, None, [false; 2]);
        assert_eq!(tried.stages, ["lifted/1"]);
        assert!(!tried.image);
    }

    #[test]
    fn a_convolution_replaces_raw_values_by_fixed_filters() {
        let raw = || Some("raw".to_owned());
        for (shape, first) in [(&[128, 6][..], "series/1:16x6x8"), (&[28, 28], "patches/1")] {
            assert_eq!(
                stages(&of_shape(shape), raw(), None, [true, false]).stages,
                [first]
            );
            assert_eq!(
                stages(&of_shape(shape), raw(), None, [false; 2]).stages,
                ["raw"]
            );
            assert_eq!(
                stages(&of_shape(shape), None, None, [true, false]).stages[0],
                first
            );
        }
    }
}
