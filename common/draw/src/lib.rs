//! Pictures of data and charts, as HTML elements: images and heat maps are PNG
//! in a data address, everything else is SVG.
//!
//! No element has a `style` attribute, so a page may forbid them. Classes
//! (`point`, `trace c0`, `above`, `below`, `plot`, `legend`) and the colours of
//! text and mesh (`#010101` and `#020202`) are for the page's style sheet.

mod chart;
mod heat;
mod look;
mod picture;

pub use chart::{Axis, Chart, ChartError, Form, Point, Scale, Series, Size, colour};
pub use heat::HeatMaps;
pub use look::Look;

/// Text that cannot break a page, in an element or in a quoted attribute.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// The least and the greatest of some values, finite ones only; 0 and 0 where
/// there are none.
fn range(values: &[f32]) -> (f32, f32) {
    let finite = values.iter().copied().filter(|value| value.is_finite());
    let found = finite.fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    });
    found.unwrap_or((0.0, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_text_has_no_markup() {
        assert_eq!(escape("a\"<b>&"), "a&quot;&lt;b&gt;&amp;");
    }
}
