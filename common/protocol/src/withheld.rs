//! Why a device gives nothing to a task, or less than it was asked for.

use std::fmt;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Why a device gives nothing, or less than it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RawWithheld {
    /// The reason in a word.
    pub code: WithheldCode,
    /// What happened, in a sentence with its place and values; empty where the
    /// device's owner does not tell.
    pub detail: String,
}

/// The same, fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    code: WithheldCode,
    detail: String,
}

/// The reason in a word. New ones go to the end.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum WithheldCode {
    /// It has no data folder: it only receives students.
    NoFolder,
    /// The data folder cannot be read, or holds no data file.
    NoData,
    /// No row of its files can be used.
    DataRefused,
    /// It has fewer rows than its owner's policy asks for.
    FewRows,
    /// Its owner's policy keeps it back.
    Policy,
    /// It has sent as much today as its owner lets it.
    DailyBytes,
    /// A computation failed.
    Failed,
}

impl WithheldCode {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NoFolder,
        Self::NoData,
        Self::DataRefused,
        Self::FewRows,
        Self::Policy,
        Self::DailyBytes,
        Self::Failed,
    ];

    /// The word, as in JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoFolder => "no-folder",
            Self::NoData => "no-data",
            Self::DataRefused => "data-refused",
            Self::FewRows => "few-rows",
            Self::Policy => "policy",
            Self::DailyBytes => "daily-bytes",
            Self::Failed => "failed",
        }
    }

    /// Whether somebody may have to look after it: a device without a folder
    /// was never meant to give, and what an owner keeps back is the owner's.
    pub fn is_a_fault(self) -> bool {
        !matches!(self, Self::NoFolder | Self::Policy | Self::DailyBytes)
    }

    fn describe(self) -> &'static str {
        match self {
            Self::NoFolder => "it has no data folder",
            Self::NoData => "there is no data",
            Self::DataRefused => "none of its data can be used",
            Self::FewRows => "it has too few rows",
            Self::Policy => "its owner keeps it back",
            Self::DailyBytes => "it has sent as much today as its owner lets it",
            Self::Failed => "a computation failed",
        }
    }
}

impl RawWithheld {
    /// The same of at most [`DETAIL_CHARS_MAX`] characters, none of which
    /// moves a terminal's cursor: what a peer says is shown to people.
    pub fn check(self) -> Withheld {
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        let mut detail: String = { self.detail.chars().map(shown) }
            .take(DETAIL_CHARS_MAX)
            .collect();
        if self.detail.chars().nth(DETAIL_CHARS_MAX).is_some() {
            detail.push('…');
        }
        Withheld {
            code: self.code,
            detail,
        }
    }
}

impl Withheld {
    /// The reason in a word.
    pub fn code(&self) -> WithheldCode {
        self.code
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => f.write_str(self.code.describe()),
            detail => write!(f, "{}: {detail}", self.code.describe()),
        }
    }
}

/// Longest that a device may explain itself.
pub const DETAIL_CHARS_MAX: usize = 600;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codec::{decode, encode};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_a_device_says_is_short_and_moves_no_cursor(detail in ".{0,900}", at in 0usize..7) {
            let raw = RawWithheld { code: WithheldCode::ALL[at], detail };
            prop_assert_eq!(&decode::<RawWithheld>(&encode(&raw)).unwrap(), &raw);
            let shown = raw.check().to_string();
            prop_assert!(shown.chars().count() <= DETAIL_CHARS_MAX + 60);
            prop_assert!(!shown.chars().any(char::is_control));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode::<RawWithheld>(&bytes);
        }
    }

    #[test]
    fn a_word_is_that_of_the_json() {
        for code in WithheldCode::ALL {
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("{:?}", code.name()));
        }
    }
}
