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
    pub(super) first: Position,
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
        return Ok(Recovered {
            first: head.next,
            mark,
        });
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
        first: first.next,
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
    Ok(Recovered {
        first: first.next,
        mark,
    })
}

const RECORDS_CHECKED: u64 = 1_024;
