//! Why the policy keeps something on the device.

use common::round::Kind;

/// The rule that forbids it. Its text is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Contributions of this kind stay.
    #[error("{kind} stays on this device: policy.kinds allows {}", listed(.allowed))]
    Kind {
        /// What was asked for.
        kind: Kind,
        /// What may leave.
        allowed: Vec<Kind>,
    },
    /// It describes too few rows.
    #[error("it describes {rows} rows, and policy.rows_min is {rows_min}")]
    Rows {
        /// Rows described.
        rows: u64,
        /// Fewest allowed.
        rows_min: u64,
    },
    /// It tells more of its rows than so few rows can hide.
    #[error(
        "{kind} of {rows} rows would tell {directions} directions of them, and \
         policy.rows_per_direction allows {directions_max}"
    )]
    Directions {
        /// What it is.
        kind: Kind,
        /// Rows described.
        rows: u64,
        /// Directions told.
        directions: usize,
        /// Most allowed.
        directions_max: usize,
    },
    /// A part of it, a class or a point, stands for too few rows.
    #[error("{kind} has a class or point of {rows} rows, and {rows_min} is the least")]
    Part {
        /// What it is.
        kind: Kind,
        /// Rows of the part.
        rows: u64,
        /// Fewest allowed.
        rows_min: u64,
    },
    /// Its bytes are not what they are called.
    #[error("{kind} cannot be read, so that it is not known what it would tell")]
    Unreadable {
        /// What it is called.
        kind: Kind,
    },
    /// The day's bytes are spent.
    #[error(
        "{bytes} bytes after {sent_today} already today are more than \
         policy.bytes_per_day_max, {bytes_max}"
    )]
    Bytes {
        /// Bytes that would leave.
        bytes: u64,
        /// Bytes that left today.
        sent_today: u64,
        /// Most allowed.
        bytes_max: u64,
    },
}

impl Refusal {
    /// What the owner can do about it, if the rule is not what they want.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Kind { .. } => "add it to policy.kinds in agent.toml if it may leave",
            Self::Rows { .. } => "wait for more data, or lower policy.rows_min in agent.toml",
            Self::Directions { .. } => {
                "wait for more data, or lower policy.rows_per_direction in agent.toml"
            }
            Self::Part { .. } => {
                "wait for more data, or lower policy.rows_min or policy.cluster_size_min in \
                 agent.toml"
            }
            Self::Unreadable { .. } => "report this as a fault of the agent",
            Self::Bytes { .. } => {
                "wait for the next day (UTC), or raise policy.bytes_per_day_max in agent.toml"
            }
        }
    }
}

fn listed(kinds: &[Kind]) -> String {
    match kinds {
        [] => "nothing".to_owned(),
        _ => kinds
            .iter()
            .map(|kind| kind.name())
            .collect::<Vec<_>>()
            .join(", "),
    }
}
