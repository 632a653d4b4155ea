//! What this coordinator remembers of a database outside of it: how far the
//! log had come, so that a database that went back, by a replica that was
//! behind or a copy that was restored, is noticed.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::log::LogRow;
use crate::store::error::{Result, StoreError};
use crate::store::files::{self, Scratch};
use crate::store::mark::{Mark, MarkFile};
use crate::store::record::{ChainHash, Epoch, Head, Position};

/// The high-water mark of a database, in a folder of this coordinator.
#[derive(Debug)]
pub(super) struct Trail {
    folder: PathBuf,
    path: PathBuf,
    /// Open once the mark has been found to fit.
    file: Option<File>,
}

impl Trail {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            path: folder.join("high-water-mark"),
            file: None,
        }
    }

    /// The mark, if this coordinator has used the database before.
    ///
    /// # Errors
    /// [`StoreError::Mark`] if it cannot be read.
    pub(super) fn mark(&self) -> Result<Option<Mark>> {
        MarkFile::new(self.path.clone()).read()
    }

    /// Compares log and mark. `hash_before` is the hash of the record before
    /// the mark, if the log has it. Returns the epoch that the next one has to
    /// be above.
    ///
    /// # Errors
    /// [`StoreError::Behind`] if records are gone that were acknowledged, and
    /// nobody has consented.
    pub(super) fn check(
        &self,
        mark: Mark,
        row: &LogRow,
        hash_before: Option<ChainHash>,
    ) -> Result<Epoch> {
        let is_forgotten = mark.head.next < row.first.next;
        let is_on_chain = is_forgotten || hash_before == Some(mark.head.hash);
        if is_on_chain && row.head.next >= mark.head.next && row.epoch >= mark.epoch {
            return Ok(row.epoch);
        }
        let consent = self.folder.join("accept-loss");
        if files::read(&consent)?.is_none() {
            return Err(StoreError::Behind {
                expected: mark.head.next,
                expected_epoch: mark.epoch,
                found: row.head.next,
                found_epoch: row.epoch,
                path: self.folder.clone(),
            });
        }
        tracing::warn!(
            next = %row.head.next, epoch = %row.epoch,
            marked = %mark.head.next, marked_epoch = %mark.epoch,
            "accept-loss was found: the log goes on from what the database holds"
        );
        Ok(row.epoch.max(mark.epoch))
    }

    /// Begins to follow the log from here on, durably. A consent is used up.
    pub(super) fn begin(&mut self, mark: Mark, scratch: &Scratch) -> Result<()> {
        MarkFile::new(self.path.clone()).write(mark, scratch)?;
        files::remove(&self.folder.join("accept-loss"))?;
        let opened = files::private().write(true).open(&self.path);
        let file = opened.map_err(|source| StoreError::io("write", &self.path, source))?;
        self.file = Some(file);
        Ok(())
    }

    /// Moves the mark. The database is what is durable; a loss of power here
    /// leaves an earlier mark, which notices less and claims nothing wrong.
    pub(super) fn follow(&self, mark: Mark) {
        let Some(file) = &self.file else {
            return;
        };
        // Numbers only grow, and so does the line: it is overwritten whole.
        if let Err(error) = file.write_all_at(mark.encode().as_bytes(), 0) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "how far the log has come could not be noted");
        }
    }
}

/// Where the hash of the record before a mark is found: in the log's row, in
/// a record, or nowhere because nothing was written or it is forgotten.
pub(super) enum Before {
    Known(ChainHash),
    In(Position),
    Nowhere,
}

impl Before {
    pub(super) fn of(mark: Head, row: &LogRow) -> Self {
        match mark.next {
            next if next == row.head.next => Self::Known(row.head.hash),
            next if next == row.first.next => Self::Known(row.first.hash),
            next if next > row.head.next || next < row.first.next => Self::Nowhere,
            Position(next) => Self::In(Position(next - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn head(next: u64, byte: u8) -> Head {
        Head {
            next: Position(next),
            hash: ChainHash([byte; 32]),
        }
    }

    fn row(epoch: u32, first: Head, head: Head) -> LogRow {
        LogRow {
            state: super::super::log::WHOLE.to_owned(),
            epoch: Epoch(epoch),
            first,
            head,
        }
    }

    fn mark(epoch: u32, head: Head) -> Mark {
        let epoch = Epoch(epoch);
        Mark { head, epoch }
    }

    #[test]
    fn a_log_that_went_on_fits_and_one_that_went_back_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let trail = Trail::new(folder.path());
        let grown = row(3, Head::START, head(9, 9));
        let seen = mark(2, head(5, 5));
        let fits = |mark, row: &LogRow, hash: Option<u8>| {
            let hash = hash.map(|byte| ChainHash([byte; 32]));
            match trail.check(mark, row, hash) {
                Ok(epoch) => Some(epoch),
                Err(StoreError::Behind { .. }) => None,
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(fits(seen, &grown, Some(5)), Some(Epoch(3)));
        // Another record stands where the mark saw one.
        assert_eq!(fits(seen, &grown, Some(6)), None);
        assert_eq!(fits(mark(2, head(10, 1)), &grown, None), None);
        assert_eq!(fits(mark(4, head(9, 9)), &grown, Some(9)), None);
        // What it saw was forgotten after a snapshot.
        let trimmed = row(3, head(7, 7), head(9, 9));
        assert_eq!(fits(seen, &trimmed, None), Some(Epoch(3)));
    }

    #[test]
    fn with_consent_the_next_epoch_is_above_both() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(folder.path().join("tmp")).unwrap();
        let mut trail = Trail::new(folder.path());
        let back = row(3, Head::START, head(4, 4));
        let seen = mark(7, head(5, 5));
        assert!(trail.check(seen, &back, None).is_err());
        let consent = folder.path().join("accept-loss");
        std::fs::write(&consent, "").unwrap();
        assert_eq!(trail.check(seen, &back, None).unwrap(), Epoch(7));
        trail.begin(mark(8, back.head), &scratch).unwrap();
        assert!(!consent.exists(), "a consent is used once");
        trail.follow(mark(8, head(12, 1)));
        assert_eq!(trail.mark().unwrap(), Some(mark(8, head(12, 1))));
    }
}
