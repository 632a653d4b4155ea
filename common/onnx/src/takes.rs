//! What a graph's input is: pictures, sound or values.

use crate::settings::{Colour, Kind, Layout, Settings};
use crate::{Graph, OnnxError};

/// What the graph's input is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Pictures {
        layout: Layout,
        size: [usize; 2],
        channels: usize,
    },
    /// Sides beside the batch's, and samples or frames of one window; none
    /// where any number will do.
    Sound {
        sides: Vec<Option<usize>>,
        window: Option<usize>,
        rate: u32,
    },
    Values(Vec<Option<usize>>),
}

/// What a graph takes, by its own shapes and the settings.
pub(crate) fn takes(
    graph: &Graph,
    has_front: bool,
    settings: &Settings,
) -> Result<Takes, OnnxError> {
    let declared = graph.declared();
    let refused = |problem: String| OnnxError::Input {
        path: graph.path().to_owned(),
        problem,
    };
    let kind = settings.kind.unwrap_or(match declared.len() {
        _ if has_front => Kind::Sound,
        4 => Kind::Image,
        _ if settings.rate.is_some() => Kind::Sound,
        _ => Kind::Values,
    });
    let sides: Vec<Option<usize>> = match declared {
        [only] => vec![*only],
        [_, sides @ ..] => sides.to_vec(),
        [] => return Err(refused("its input is a single number".to_owned())),
    };
    match kind {
        Kind::Image => {
            let &[first, second, third] = sides.as_slice() else {
                let sides: Vec<String> = declared.iter().map(side).collect();
                return Err(refused(format!(
                    "its input has sides {}; pictures have four",
                    sides.join(" × ")
                )));
            };
            let is_channels = |side: Option<usize>| matches!(side, Some(1 | 3));
            let layout = settings.layout.unwrap_or(match is_channels(third) {
                true if !is_channels(first) => Layout::Nhwc,
                _ => Layout::Nchw,
            });
            let (channels, high, wide) = match layout {
                Layout::Nchw => (first, second, third),
                Layout::Nhwc => (third, first, second),
            };
            let usual = match settings.colour {
                Some(Colour::Grey) => 1,
                _ => 3,
            };
            let channels = channels.unwrap_or(usual);
            if !matches!(channels, 1 | 3) {
                return Err(refused(format!(
                    "its pictures have {channels} channels, and 1 or 3 are understood; \
                     layout=nchw or layout=nhwc says where they are"
                )));
            }
            let size = settings
                .size
                .unwrap_or([high.unwrap_or(SIDE_USUAL), wide.unwrap_or(SIDE_USUAL)]);
            Ok(Takes::Pictures {
                layout,
                size,
                channels,
            })
        }
        Kind::Sound => {
            let real: Vec<Option<usize>> =
                sides.iter().copied().filter(|&s| s != Some(1)).collect();
            let window = match (has_front, real.as_slice()) {
                (false, [samples]) => *samples,
                (false, []) => None,
                (true, [frames, _]) => *frames,
                _ => return Err(refused(NO_SOUND.to_owned())),
            };
            Ok(Takes::Sound {
                sides,
                window,
                rate: settings.rate.unwrap_or(RATE),
            })
        }
        Kind::Values => Ok(Takes::Values(sides)),
    }
}

/// A side for people, where any length may stand.
pub(crate) fn side(side: &Option<usize>) -> String {
    side.map_or_else(|| "any".to_owned(), |side| side.to_string())
}

/// Why a model of sound is refused.
pub(crate) const NO_SOUND: &str = "it does not take one channel of sound; a spectrum needs front=MODEL, which \
                        makes frames × bins of samples";
/// Height and width of pictures where neither graph nor settings say.
const SIDE_USUAL: usize = 224;
/// Samples a second where nobody says.
const RATE: u32 = 16_000;
