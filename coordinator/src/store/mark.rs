//! The high-water mark: how far the log had come, kept outside the database
//! so that a database that forgets its tail is found out.

use std::path::PathBuf;

use super::error::{Result, StoreError};
use super::files::{self, Scratch};
use super::record::{ChainHash, Epoch, Head, Position};

/// How far the log had come when it was last acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) head: Head,
    pub(super) epoch: Epoch,
}

impl Mark {
    /// One line that a person can read, ended by its own checksum.
    pub(super) fn encode(self) -> String {
        let line = format!(
            "{FORMAT} next {} hash {} epoch {}",
            self.head.next, self.head.hash, self.epoch
        );
        let check = blake3::hash(line.as_bytes()).to_hex();
        format!("{line} check {}\n", &check[..CHECK_DIGITS])
    }

    /// `None` for anything but what [`Mark::encode`] writes.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (line, _) = text.split_once(" check ")?;
        let mut words = line.strip_prefix(FORMAT)?.split(' ').skip(1);
        let mut value = |name| (words.next() == Some(name)).then(|| words.next())?;
        let next = value("next")?.parse().ok()?;
        let mut hash = [0; 32];
        hex::decode_to_slice(value("hash")?, &mut hash).ok()?;
        let epoch = value("epoch")?.parse().ok()?;
        let mark = Self {
            head: Head {
                next: Position(next),
                hash: ChainHash(hash),
            },
            epoch: Epoch(epoch),
        };
        // Writing it again covers the checksum and every other way of
        // spelling the same values.
        (mark.encode() == text).then_some(mark)
    }
}

/// The file that holds the mark.
#[derive(Debug)]
pub(super) struct MarkFile {
    path: PathBuf,
}

impl MarkFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The mark, or `None` if there is no file. An unreadable mark is an
    /// error, never an absent one.
    pub(super) fn read(&self) -> Result<Option<Mark>> {
        let Some(bytes) = files::read(&self.path)? else {
            return Ok(None);
        };
        match Mark::decode(&bytes) {
            Some(mark) => Ok(Some(mark)),
            None => Err(self.refuse("is damaged")),
        }
    }

    /// Replaces the mark; durable when it returns.
    pub(super) fn write(&self, mark: Mark, scratch: &Scratch) -> Result<()> {
        scratch.place(&[mark.encode().as_bytes()], &self.path)
    }

    /// The error for a mark that cannot be relied on.
    pub(super) fn refuse(&self, reason: &str) -> StoreError {
        StoreError::Mark {
            path: self.path.clone(),
            reason: reason.to_owned(),
        }
    }
}

const FORMAT: &str = "alambic-mark-1";
const CHECK_DIGITS: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_mark_survives_its_encoding_and_no_change_to_it(
            next: u64, hash: [u8; 32], epoch: u32, at: prop::sample::Index, byte: u8,
        ) {
            let head = Head { next: Position(next), hash: ChainHash(hash) };
            let mark = Mark { head, epoch: Epoch(epoch) };
            let mut bytes = mark.encode().into_bytes();
            prop_assert_eq!(Mark::decode(&bytes), Some(mark));
            prop_assert_eq!(Mark::decode(&bytes[..at.index(bytes.len())]), None);
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            prop_assert_eq!(Mark::decode(&bytes), None);
        }
    }
}
