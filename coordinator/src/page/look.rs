//! What a distilled point looks like: a picture, traces of a window, maps of
//! filters' answers, or bars.

use common::features::{Drawing, FeatureStage, InputShape};
use maud::{Markup, PreEscaped, html};

use super::maps::Maps;

/// How a task's points are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// As the input that it is.
    Input(draw::Look),
    /// A map for each filter of the feature stage.
    Maps(Maps),
}

impl Look {
    /// How points of such inputs are shown.
    pub(super) fn of(stage: &FeatureStage, shape: &InputShape) -> Self {
        let bars = Self::Input(draw::Look::Bars);
        match stage.drawing(shape) {
            Ok(Drawing::Input) => Self::Input(draw::Look::of(shape.sides())),
            Ok(Drawing::Filters(_)) => Maps::of(stage, shape).map_or(bars, Self::Maps),
            // What no shape fits was refused with the task.
            Ok(Drawing::Bars) | Err(_) => bars,
        }
    }

    /// One point, drawn. `values` has as many as the shape.
    pub(super) fn draw(self, values: &[f32], alt: &str) -> Markup {
        shown(match self {
            Self::Input(look) => look.draw(values, alt),
            Self::Maps(maps) => maps.heat.draw(values, alt),
        })
    }
}

/// An element that was drawn, or what stands in its place.
pub(super) fn shown(drawn: Option<String>) -> Markup {
    html! {
        @match drawn {
            Some(element) => (PreEscaped(element)),
            None => span class="quiet" { "cannot be drawn" },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn filters_are_maps_and_other_stages_are_bars() {
        let of = |stage: FeatureStage, sides: &[usize]| {
            Look::of(&stage, &InputShape::new(sides.to_vec()).unwrap())
        };
        let image = draw::Look::Image([8, 8, 1]);
        assert_eq!(of(FeatureStage::Raw, &[8, 8]), Look::Input(image));
        let bars = Look::Input(draw::Look::Bars);
        assert_eq!(of(FeatureStage::window(), &[128, 6]), bars);
        let patches = of(FeatureStage::patches(None), &[8, 8]);
        assert!(matches!(patches, Look::Maps(_)), "{patches:?}");
    }
}
