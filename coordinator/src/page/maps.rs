//! Answers of a feature stage's filters, as heat maps: one small map a filter,
//! with a cell for each part of the input that its answers were averaged over.

use common::features::{Drawing, FeatureStage, Filters, InputShape};
use draw::HeatMaps;
use maud::{Markup, html};

use super::look::shown;

/// How the maps of one point lie beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Maps {
    /// The maps; a line holds those of one channel.
    pub(super) heat: HeatMaps,
    /// Weights of a filter, down and across.
    filter: [usize; 2],
}

impl Maps {
    /// Of a stage whose features are answers of filters.
    pub(super) fn of(stage: &FeatureStage, shape: &InputShape) -> Option<Self> {
        let filters = filters(stage, shape)?;
        let [height, width, maps] = stage.layout(shape).ok()??;
        let heat = HeatMaps {
            cells: [height, width],
            maps,
            together: filters.together,
        };
        Some(Self {
            heat,
            filter: filters.sides,
        })
    }

    /// What is seen, in a sentence.
    pub(super) fn told(self) -> String {
        let [height, width] = self.heat.cells;
        if self.filter[0] == 1 {
            return format!(
                "Shown as how strongly the filters below answer: a row a channel, a column a \
                 filter from slow to fast, first where the signal runs as it does, then where it \
                 runs against it, then the mean, each in {width} parts of the window."
            );
        }
        let channels = match self.heat.maps > 2 * self.heat.together {
            true => "; two rows a channel",
            false => "",
        };
        format!(
            "Shown as how strongly the filters below answer in {height} × {width} parts of the \
             image, a small map a filter. Upper maps: where the image runs from dark to bright as \
             the filter does; lower maps: where it runs against it{channels}."
        )
    }

    /// What the colours are, and the filters themselves.
    pub(super) fn legend(self, stage: &FeatureStage, shape: &InputShape, signed: bool) -> Markup {
        let filters = filters(stage, shape).map(|filters| filters.weights);
        let colors: &[(&str, &str)] = match signed {
            true => &[("with", "above the fleet's mean"), ("against", "below it")],
            false => &[("faint", "no answer"), ("with", "the point's strongest")],
        };
        html! {
            ul class="filters" aria-label="Colours and filters" {
                @for (class, told) in colors {
                    li {
                        svg class="swatch" viewBox="0 0 1 1" aria-hidden="true" { rect class=(class) width="1" height="1" rx=".2" {} }
                        span class="quiet" { (told) }
                    }
                }
                @if let Some(filters) = filters {
                    @for (at, filter) in filters.rows().into_iter().enumerate().take(FILTERS_SHOWN) {
                        li {
                            (shown(self.filter_look().draw(&filter.to_vec(), &format!("Filter {at}"))))
                            span class="quiet" { (at) }
                        }
                    }
                    @if filters.nrows() > FILTERS_SHOWN { li class="quiet" { "and " (filters.nrows() - FILTERS_SHOWN) " more filters" } }
                }
            }
        }
    }

    fn filter_look(self) -> draw::Look {
        match self.filter {
            [1, steps] => draw::Look::Traces([steps, 1]),
            [height, width] => draw::Look::Image([height, width, 1]),
        }
    }
}

fn filters(stage: &FeatureStage, shape: &InputShape) -> Option<Filters> {
    match stage.drawing(shape).ok()? {
        Drawing::Filters(filters) => Some(filters),
        Drawing::Input | Drawing::Bars => None,
    }
}

/// Filters drawn in the legend.
const FILTERS_SHOWN: usize = 24;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shape(sides: &[usize]) -> InputShape {
        InputShape::new(sides.to_vec()).unwrap()
    }

    /// Where the only pixel of full colour is.
    fn full(maps: Maps, values: &[f32]) -> [usize; 2] {
        let ([width, _], pixels) = maps.heat.pixels(values);
        let mut opacities = pixels.chunks(4).map(|pixel| pixel[3]);
        let at = opacities.position(|opacity| opacity == 255).unwrap();
        [at % width, at / width]
    }

    #[test]
    fn each_feature_lies_in_the_map_of_its_filter() {
        let (stage, shape) = (FeatureStage::patches(None), shape(&[8, 8]));
        let maps = Maps::of(&stage, &shape).unwrap();
        let names = stage.names(&shape).unwrap();
        let place = |name: &str| {
            let at = names.iter().position(|one| one == name).unwrap();
            let mut values = vec![0.0; names.len()];
            values[at] = 2.0;
            full(maps, &values)
        };
        assert_eq!(place("cell 0,0: channel 0: filter 0 positive"), [0, 0]);
        assert_eq!(place("cell 2,1: channel 0: filter 0 positive"), [1, 2]);
        assert_eq!(place("cell 0,0: channel 0: filter 3 positive"), [12, 0]);
        assert_eq!(place("cell 1,2: channel 0: filter 4 negative"), [18, 5]);
    }

    #[test]
    fn every_feature_has_a_cell_of_its_own() {
        for (stage, sides) in [
            (FeatureStage::patches(None), &[28, 28, 3][..]),
            ("patches/1:9x80x2".parse().unwrap(), &[12, 16]),
            (FeatureStage::series(None), &[64, 6]),
            ("series/1:64x60x3".parse().unwrap(), &[128, 2]),
        ] {
            let shape = shape(sides);
            let maps = Maps::of(&stage, &shape).unwrap();
            let features = stage.features(&shape).unwrap();
            let ([width, height], pixels) = maps.heat.pixels(&vec![-1.0; features]);
            assert_eq!(pixels.len(), width * height * 4);
            let drawn = pixels.chunks(4).filter(|pixel| pixel[3] > 0);
            assert_eq!(drawn.count(), features, "{stage}");
        }
    }

    #[test]
    fn stages_without_filters_have_no_maps() {
        for stage in [FeatureStage::window(), FeatureStage::lifted()] {
            assert_eq!(Maps::of(&stage, &shape(&[128, 6])), None);
        }
    }
}
