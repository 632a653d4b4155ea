//! What a computation left out of a device's contributions, and why.

use bincode::{Decode, Encode};
use protocol::ids::DeviceId;
use protocol::round::Kind;
use serde::{Deserialize, Serialize};

/// A contribution that a computation had before it and left out.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode, Serialize, Deserialize)]
pub struct Exclusion {
    /// Whose.
    pub device: DeviceId,
    /// What.
    pub kind: Kind,
    /// Why.
    pub why: ExclusionReason,
}

/// Why a contribution was left out: what it says against all others.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExclusionReason {
    /// Its profile lies farther out than honest devices' do.
    FarProfile {
        /// Features in which it does.
        far: u32,
        /// Features in which that can be told.
        of: u32,
    },
    /// The teacher of the others is worse on its rows than one that says
    /// nothing at all, and classes that only it knows do not explain that.
    Contradicts {
        /// The others' squared error on its rows, relative to saying nothing.
        error: f32,
        /// The same of the median device that is not left out.
        usual: f32,
    },
    /// The teacher of the others takes rows that it labels with one class for
    /// another class, as on no other device.
    Mislabels {
        /// The class that it gives them.
        class: u16,
        /// The class that they are taken for.
        taken_for: u16,
        /// How sure of that the others' teacher is in the mean of them.
        share: f32,
        /// The same on the median device.
        usual: f32,
    },
    /// Samples of a class carry a mark that no other device's samples carry, and
    /// are another class to the others' teacher without it. What else the device
    /// sent counts.
    Marks {
        /// The class that it gives them.
        class: u16,
        /// The class that they are taken for without the mark.
        taken_for: u16,
        /// Rows that they stand for.
        rows: u64,
        /// Rows of that class that it has in all.
        of: u64,
    },
}

impl ExclusionReason {
    /// Whether the rest of the contribution counts.
    pub fn is_of_a_part(&self) -> bool {
        matches!(self, Self::Marks { .. })
    }

    /// The reason in words, with the names of the task's classes.
    pub fn describe(&self, classes: &[String]) -> String {
        let name = |class: u16| {
            let known = classes.get(usize::from(class)).cloned();
            known.unwrap_or_else(|| format!("class {class}"))
        };
        let percent = |share: f32| (100.0 * share).round() as i64;
        match *self {
            Self::FarProfile { far, of } => format!(
                "its profile lies far outside of all others' in {far} of {of} features; \
                 are its units the others'?"
            ),
            Self::Contradicts { error, usual } => format!(
                "its labels contradict the other devices': their teacher's error on its rows is \
                 {} % of that of no answer, usual are {} %",
                percent(error),
                percent(usual),
            ),
            Self::Mislabels {
                class,
                taken_for,
                share,
                usual,
            } => format!(
                "what it labels {} the other devices' teacher takes for {} ({} %, usual are {} %)",
                name(class),
                name(taken_for),
                percent(share),
                percent(usual),
            ),
            Self::Marks {
                class,
                taken_for,
                rows,
                of,
            } => format!(
                "samples of {rows} of its {of} rows of {class} lie outside of all others' by a mark that \
                 they share, and without it are {} to the other devices' teacher; the rest counts",
                name(taken_for),
                class = name(class),
            ),
        }
    }
}
