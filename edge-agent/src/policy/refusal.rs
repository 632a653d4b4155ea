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
