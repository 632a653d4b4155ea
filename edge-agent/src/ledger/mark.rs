//! How far the list of what left had come, in a file of its own: lines that a
//! disk has lost or changed are noticed.

use std::path::{Path, PathBuf};

use crate::outbox::{DiskError, disk};

/// The number of lines and the hash that chains them: each is the hash of the
/// one before and of the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    lines: u64,
    chain: [u8; 32],
}

/// What a list is, held against its mark.
#[derive(Debug)]
pub(super) enum Held {
    /// All that was written, and lines that the mark had not reached: it is to
    /// be written anew.
    Grown(Mark),
    /// All that was written, and no more.
    Kept(Mark),
    /// Less or other than was written. The mark stays as it is, so that this
    /// is said again until a person takes the mark away.
    Damaged {
        /// The file of the mark.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl Mark {
    /// The mark after one more line.
    pub(super) fn follow(self, line: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.chain);
        hasher.update(line);
        Self {
            lines: self.lines + 1,
            chain: *hasher.finalize().as_bytes(),
        }
    }

    /// Durable when this returns.
    pub(super) fn write(self, folder: &Path) -> Result<(), DiskError> {
        let text = format!("{} {}\n", self.lines, hex(&self.chain));
        disk::replace(folder, FILE, &disk::seal(text.as_bytes()))
    }

    /// Holds whole lines against the mark in `folder`. Without a mark every
    /// line is new: a crash kept the first mark from being written.
    pub(super) fn hold(folder: &Path, lines: &[u8]) -> Result<Held, DiskError> {
        let path = folder.join(FILE);
        let mut now = Self::default();
        let mut seen = vec![now];
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            now = now.follow(line);
            seen.push(now);
        }
        let damaged = |what: String| {
            let path = path.clone();
            Ok(Held::Damaged { path, what })
        };
        let Some(bytes) = disk::read(&path)? else {
            return Ok(Held::Grown(now));
        };
        let Some(kept) = disk::unseal(&bytes).and_then(parse) else {
            return damaged("its mark is damaged, so lost lines would go unnoticed".to_owned());
        };
        match usize::try_from(kept.lines).ok().and_then(|at| seen.get(at)) {
            Some(mark) if *mark == kept && kept == now => Ok(Held::Kept(now)),
            Some(mark) if *mark == kept => Ok(Held::Grown(now)),
            Some(_) => damaged("lines of it have changed since they were written".to_owned()),
            None => damaged(format!(
                "it has {} lines, {} were written",
                now.lines, kept.lines
            )),
        }
    }
}

fn parse(body: &[u8]) -> Option<Mark> {
    let text = std::str::from_utf8(body).ok()?;
    let (lines, chain) = text.trim_end().split_once(' ')?;
    let chain: common::ids::BlobHash = chain.parse().ok()?;
    Some(Mark {
        lines: lines.parse().ok()?,
        chain: chain.0,
    })
}

fn hex(chain: &[u8; 32]) -> common::ids::BlobHash {
    common::ids::BlobHash(*chain)
}

const FILE: &str = "ledger.mark";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lost_or_changed_lines_are_told_from_new_ones() {
        let folder = tempfile::tempdir().unwrap();
        let hold = |lines: &[u8]| Mark::hold(folder.path(), lines).unwrap();
        let Held::Grown(two) = hold(b"one\ntwo\n") else {
            panic!("a list without a mark is taken as it is")
        };
        two.write(folder.path()).unwrap();
        assert!(matches!(hold(b"one\ntwo\n"), Held::Kept(mark) if mark == two));
        let grown = matches!(hold(b"one\ntwo\nthree\n"), Held::Grown(mark) if mark.lines == 3);
        assert!(grown);
        let what = |lines: &[u8]| match hold(lines) {
            Held::Damaged { what, .. } => what,
            whole => panic!("{whole:?}"),
        };
        assert!(what(b"one\n").contains("1 lines, 2 were written"));
        assert!(what(b"one\ntwO\n").contains("changed"));
        std::fs::write(folder.path().join(FILE), b"torn").unwrap();
        assert!(what(b"one\ntwo\n").contains("mark is damaged"));
    }
}
