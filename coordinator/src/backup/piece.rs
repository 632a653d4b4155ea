//! The names of a backup's parts, and what it says of itself.

use std::fmt;
use std::str::FromStr;

use common::ids::BlobHash;
use common::limits::BLOB_BYTES_MAX;
use serde::{Deserialize, Serialize};

use super::{LOG_PIECE_BYTES_MAX, STATE_FILE_BYTES_MAX};
use crate::store::{ChainHash, DOCUMENT_BYTES_MAX, DOCUMENT_NAME_BYTES_MAX, Epoch, Head, Position};

/// What a part of a backup is. No name leads out of the folder it stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PieceName {
    /// A file of the state directory.
    State(String),
    /// Records of the log from a position on.
    Log(Position),
    /// A document of the store.
    Document(String),
    /// A blob of the store.
    Blob(BlobHash),
}

impl PieceName {
    /// The most bytes that such a part may have.
    pub fn bytes_max(&self) -> u64 {
        match self {
            Self::State(_) => STATE_FILE_BYTES_MAX,
            Self::Log(_) => LOG_PIECE_BYTES_MAX,
            Self::Document(_) => DOCUMENT_BYTES_MAX as u64,
            Self::Blob(_) => BLOB_BYTES_MAX,
        }
    }
}

impl fmt::Display for PieceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(name) => write!(f, "state/{name}"),
            Self::Log(position) => write!(f, "log/{:020}", position.0),
            Self::Document(name) => write!(f, "documents/{name}"),
            Self::Blob(hash) => {
                let hash = hash.to_string();
                write!(f, "blobs/{}/{hash}", &hash[..2])
            }
        }
    }
}

/// No name of a part of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPiece;

impl FromStr for PieceName {
    type Err = NoPiece;

    fn from_str(text: &str) -> Result<Self, NoPiece> {
        let (room, name) = text.split_once('/').ok_or(NoPiece)?;
        let piece = match room {
            "state" if is_plain(name) => Self::State(name.to_owned()),
            "log" => Self::Log(Position(name.parse().map_err(|_| NoPiece)?)),
            "documents" if is_plain(name) => Self::Document(name.to_owned()),
            "blobs" => {
                let (_, hash) = name.split_once('/').ok_or(NoPiece)?;
                Self::Blob(hash.parse().map_err(|_| NoPiece)?)
            }
            _ => return Err(NoPiece),
        };
        // Writing it again covers every other way of spelling the same.
        match piece.to_string() == text {
            true => Ok(piece),
            false => Err(NoPiece),
        }
    }
}

/// Whether this names a file and nothing else, and none that is hidden.
pub(super) fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty()
        && name.len() <= DOCUMENT_NAME_BYTES_MAX
        && !name.starts_with('.')
        && name.bytes().all(allowed)
}

/// What of a store is in a copy of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Number of the log's first record.
    pub first: u64,
    /// Hash of the record before it, hexadecimal.
    pub first_hash: String,
    /// Number that the next record takes.
    pub next: u64,
    /// Hash of the last record, hexadecimal.
    pub hash: String,
    /// The store's newest epoch.
    pub epoch: u32,
    /// How many blobs there are.
    pub blobs: u64,
    /// How many documents there are.
    pub documents: u64,
}

impl Contents {
    /// Where the log begins.
    pub fn begin(&self) -> Option<Head> {
        head(self.first, &self.first_hash)
    }

    /// Where the log ends.
    pub fn end(&self) -> Option<Head> {
        head(self.next, &self.hash)
    }

    /// The newest epoch.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }

    /// How many records the log has.
    pub fn records(&self) -> u64 {
        self.next.saturating_sub(self.first)
    }
}

fn head(next: u64, hash: &str) -> Option<Head> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hash, &mut bytes).ok()?;
    Some(Head {
        next: Position(next),
        hash: ChainHash(bytes),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_survive_their_spelling() {
        for name in [
            PieceName::State("ca-key.pem".into()),
            PieceName::Log(Position(17)),
            PieceName::Document("snapshot".into()),
            PieceName::Blob(BlobHash::of(b"blob")),
        ] {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
    }

    #[test]
    fn no_name_leads_elsewhere() {
        let blob = BlobHash::of(b"blob").to_string();
        for name in [
            "",
            "state",
            "state/",
            "state/..",
            "state/../ca.pem",
            "state/.hidden",
            "state//etc/passwd",
            "/state/ca.pem",
            "log/17",
            "log/x",
            "documents/a/b",
            "other/a",
            &format!("blobs/00/{blob}"),
            &format!("blobs/{blob}"),
        ] {
            assert_eq!(name.parse::<PieceName>(), Err(NoPiece), "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_no_name_never_becomes_one(text in ".{0,80}") {
            if let Ok(name) = text.parse::<PieceName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
