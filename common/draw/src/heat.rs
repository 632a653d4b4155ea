//! Heat maps: many small maps beside each other, a cell a value.

use crate::picture;

/// How the maps of one row lie beside each other. Values are ordered by cell,
/// then map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeatMaps {
    /// Cells of a map, down and across.
    pub cells: [usize; 2],
    /// Maps of one row.
    pub maps: usize,
    /// Maps that belong in one line.
    pub together: usize,
}

/// Colours that stand out from a light page and from a dark one: of values above
/// zero and below.
const ABOVE: [u8; 3] = [20, 164, 150];
const BELOW: [u8; 3] = [214, 99, 40];
/// Of a cell without an answer, so that a map can be told from what is between
/// maps.
const OPACITY_MIN: f32 = 22.0;
/// Maps in one line.
const ACROSS_MAX: usize = 40;

impl HeatMaps {
    /// `cells × maps` values as an element. The strongest of them has the full
    /// colour.
    pub fn draw(self, values: &[f32], alt: &str) -> Option<String> {
        let (sides, pixels) = self.pixels(values);
        let color = png::ColorType::Rgba;
        picture::element(&pixels, sides, color, sides, "point maps", alt)
    }

    /// Width and height, and four bytes for each pixel (red, green, blue,
    /// opacity): one pixel a cell, nothing between the maps.
    pub fn pixels(self, values: &[f32]) -> ([usize; 2], Vec<u8>) {
        let [height, width] = self.cells;
        let across = self.together.clamp(1, ACROSS_MAX);
        // More than stand in one line go on in the next.
        let lines = self.together.div_ceil(across).max(1);
        let rows = self.maps.div_ceil(self.together.max(1)) * lines;
        let sides = [across * (width + 1) - 1, rows.max(1) * (height + 1) - 1];
        let mut pixels = vec![0; sides[0] * sides[1] * 4];
        let strongest = values
            .iter()
            .fold(f32::EPSILON, |most, value| most.max(value.abs()));
        for (at, value) in values.iter().enumerate() {
            let (cell, map) = (at / self.maps, at % self.maps);
            let (group, place) = (map / self.together, map % self.together);
            let y = (group * lines + place / across) * (height + 1) + cell / width;
            let x = place % across * (width + 1) + cell % width;
            let color = if *value < 0.0 { BELOW } else { ABOVE };
            let strength = value.abs() / strongest;
            let opacity = OPACITY_MIN + (255.0 - OPACITY_MIN) * strength;
            if let Some(pixel) = pixels.get_mut((y * sides[0] + x) * 4..) {
                pixel[..3].copy_from_slice(&color);
                pixel[3] = opacity as u8;
            }
        }
        (sides, pixels)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn negative_values_and_gaps_have_their_own_colours() {
        let maps = HeatMaps {
            cells: [1, 2],
            maps: 3,
            together: 3,
        };
        let (sides, pixels) = maps.pixels(&[-1.0, 0.0, 0.5]);
        assert_eq!(sides, [8, 1]);
        let pixel = |at: usize| &pixels[at * 4..][..4];
        assert_eq!(pixel(0), [BELOW[0], BELOW[1], BELOW[2], 255]);
        // The next map begins after two cells and a gap.
        assert_eq!(pixel(2), [0; 4]);
        assert_eq!(pixel(3)[3], OPACITY_MIN as u8);
        assert_eq!(pixel(6)[..3], ABOVE);
        let element = maps.draw(&[-1.0, 0.0, 0.5], "x").unwrap();
        assert_eq!(picture::decoded(&element), ([8, 1], pixels));
    }
}
