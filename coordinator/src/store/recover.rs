//! What happens when a log is opened: its end is compared with the
//! high-water mark and checked against its chain.

use std::path::Path;

use super::error::{Result, StoreError};
use super::files::{self, Scratch};
use super::mark::{Mark, MarkFile};
use super::record::{Epoch, Head, Position};
use super::sled_log::{Change, SledLog};

/// Where a log that opened well begins and ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recovered {
    pub(super) first: Head,
    pub(super) mark: Mark,
}

/// Compares log and mark. A mark behind the log (a crash came between the
/// two) is moved up; a log behind the mark has lost acknowledged records,
/// and is refused unless the file `accept-loss` says otherwise.
///
/// Reads the last 1,024 records and those past the mark; all others are
/// checked when they are read.
pub(super) fn recover(
    folder: &Path,
    log: &SledLog,
    mark_file: &MarkFile,
    scratch: &Scratch,
) -> Result<Recovered> {
    let consent = folder.join("accept-loss");
    if files::read(&consent)?.is_some() {
        let recovered = cut(log, mark_file, scratch)?;
        files::remove(&consent)?;
        return Ok(recovered);
    }
    let first = log.first()?;
    let epoch = log.epoch()?;
    let end = log.last()?.map_or(first.next, Position::next);
    let Some(mark) = mark_file.read()? else {
        if epoch != Epoch(0) || end != Position(0) {
            return Err(mark_file.refuse("is missing"));
        }
        let head = Head::START;
        let mark = Mark { head, epoch };
        mark_file.write(mark, scratch)?;
        return Ok(Recovered { first: head, mark });
    };
    if end < mark.head.next {
        return Err(StoreError::TailLost {
            expected: mark.head.next,
            found: end,
            path: folder.to_owned(),
        });
    }
    let head = check_end(log, first, end, mark.head)?;
    let current = Mark {
        head,
        epoch: epoch.max(mark.epoch),
    };
    if current != mark {
        tracing::info!(
            marked = %mark.head.next, reached = %head.next,
            "the high-water mark was behind the log and has been moved up"
        );
        mark_file.write(current, scratch)?;
    }
    Ok(Recovered {
        first,
        mark: current,
    })
}

/// Checks the last records of the log and that the mark lies on its chain.
fn check_end(log: &SledLog, first: Head, end: Position, mark: Head) -> Result<Head> {
    let recent = Position(end.0.saturating_sub(RECORDS_CHECKED));
    let from = recent.min(mark.next).max(first.next);
    let mut head = if from == first.next {
        first
    } else {
        head_before(log, from)?
    };
    let mut on_chain = mark.next < first.next;
    loop {
        if head.next == mark.next {
            if head.hash != mark.hash {
                return Err(StoreError::corrupted(
                    Position(mark.next.0.saturating_sub(1)),
                    format!("its hash is {}, the mark says {}", head.hash, mark.hash),
                ));
            }
            on_chain = true;
        }
        if head.next >= end {
            break;
        }
        head = head.follow(&log.record(head.next)?)?;
    }
    if on_chain {
        Ok(head)
    } else {
        Err(StoreError::corrupted(
            mark.next,
            "the mark is not on the chain",
        ))
    }
}

/// The head of the log as it was before the record at `position`, which is
/// not the first.
fn head_before(log: &SledLog, position: Position) -> Result<Head> {
    let record = log.record(Position(position.0 - 1))?;
    Ok(Head {
        next: position,
        hash: record.hash(),
    })
}

/// Goes on with what is left, by order of a person: everything from the
/// first damaged record on is removed, and a new epoch is opened, so that a
/// position used twice is told apart by its epoch.
fn cut(log: &SledLog, mark_file: &MarkFile, scratch: &Scratch) -> Result<Recovered> {
    let first = log.first()?;
    let mut head = first;
    let damage = loop {
        match log
            .record(head.next)
            .and_then(|record| head.follow(&record))
        {
            Ok(next) => head = next,
            Err(error @ StoreError::Corrupted { .. }) => break error,
            Err(error) => return Err(error),
        }
    };
    let marked = mark_file.read().ok().flatten();
    let newest = log.epoch()?.max(marked.map_or(Epoch(0), |mark| mark.epoch));
    let epoch = Epoch(newest.0 + 1);
    let mut removed = 0;
    loop {
        let stale = log.positions(head.next, RECORDS_CHECKED as usize)?;
        if stale.is_empty() {
            break;
        }
        removed += stale.len();
        log.write(stale.into_iter().map(Change::Remove).collect())?;
    }
    log.write(vec![Change::Epoch(epoch)])?;
    let mark = Mark { head, epoch };
    mark_file.write(mark, scratch)?;
    tracing::warn!(
        next = %head.next, removed, marked = ?marked.map(|mark| mark.head.next.0), %damage,
        "accept-loss was found: the log goes on from what is left"
    );
    Ok(Recovered { first, mark })
}

const RECORDS_CHECKED: u64 = 1_024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tempfile::TempDir;

    use super::super::record::{ChainHash, Record};
    use super::*;

    struct Case {
        folder: TempDir,
        log: SledLog,
        mark: MarkFile,
        scratch: Scratch,
        head: Head,
    }

    impl Case {
        /// A log of this many records and the mark that belongs to it.
        fn new(records: usize) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path();
            let log = SledLog::open(path.join("log"), 1 << 20).unwrap();
            let mark = MarkFile::new(path.join("high-water-mark"));
            let scratch = Scratch::open(path.join("tmp")).unwrap();
            let mut head = Head::START;
            let mut changes = vec![Change::Epoch(Epoch(1))];
            for number in 0..records {
                let record = Record::after(head, Epoch(1), &vec![number as u8; 10_000]);
                head = head.follow(&record).unwrap();
                changes.push(Change::Put(record));
            }
            log.write(changes).unwrap();
            let epoch = Epoch(1);
            mark.write(Mark { head, epoch }, &scratch).unwrap();
            Self {
                folder,
                log,
                mark,
                scratch,
                head,
            }
        }

        fn recover(&self) -> Result<Recovered> {
            recover(self.folder.path(), &self.log, &self.mark, &self.scratch)
        }

        fn assert_corrupted_at(&self, expected: u64) {
            assert!(matches!(
                self.recover(),
                Err(StoreError::Corrupted { position, .. }) if position == Position(expected)
            ));
        }

        fn accept_loss(&self) -> Recovered {
            std::fs::write(self.folder.path().join("accept-loss"), "").unwrap();
            self.recover().unwrap()
        }
    }

    #[test]
    fn a_whole_log_opens_as_it_was() {
        let case = Case::new(5);
        let recovered = case.recover().unwrap();
        assert_eq!(recovered.first, Head::START);
        assert_eq!(recovered.mark.head, case.head);
        assert_eq!(recovered.mark.epoch, Epoch(1));
    }

    #[test]
    fn a_missing_record_is_found_and_cut_by_consent() {
        let case = Case::new(5);
        case.log.write(vec![Change::Remove(Position(3))]).unwrap();
        case.assert_corrupted_at(3);
        case.assert_corrupted_at(3);
        let recovered = case.accept_loss();
        assert_eq!(recovered.mark.head.next, Position(3));
        assert_eq!(recovered.mark.epoch, Epoch(2));
        assert_eq!(case.log.last().unwrap(), Some(Position(2)));
        assert_eq!(case.recover().unwrap().mark, recovered.mark);
    }

    #[test]
    fn a_record_written_over_breaks_the_chain_after_it() {
        let case = Case::new(5);
        let before = case.log.record(Position(2)).unwrap();
        let forged = Record {
            bytes: b"forged".to_vec(),
            ..before
        };
        case.log.write(vec![Change::Put(forged)]).unwrap();
        assert!(case.recover().is_err());
        assert!(case.accept_loss().mark.head.next < Position(5));
        assert!(case.recover().is_ok());
    }

    #[test]
    fn a_last_record_written_over_does_not_match_the_mark() {
        let case = Case::new(5);
        let before = case.log.record(Position(4)).unwrap();
        let forged = Record {
            epoch: Epoch(7),
            ..before
        };
        case.log.write(vec![Change::Put(forged)]).unwrap();
        case.assert_corrupted_at(4);
    }

    #[test]
    fn an_unacknowledged_record_must_continue_the_chain_too() {
        let case = Case::new(5);
        let stranger = Record {
            position: Position(5),
            epoch: Epoch(1),
            previous: ChainHash([9; 32]),
            bytes: Vec::new(),
        };
        case.log.write(vec![Change::Put(stranger)]).unwrap();
        case.assert_corrupted_at(5);
        assert_eq!(case.accept_loss().mark.head, case.head);
    }

    #[test]
    fn an_epoch_that_only_the_mark_remembers_is_kept() {
        let case = Case::new(1);
        let head = case.head;
        let epoch = Epoch(9);
        case.mark
            .write(Mark { head, epoch }, &case.scratch)
            .unwrap();
        assert_eq!(case.recover().unwrap().mark.epoch, Epoch(9));
    }
}
