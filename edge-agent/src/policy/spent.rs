//! What a device has told, by differential privacy, and the answers that cost
//! it: the same answer is given again for nothing.

use std::path::{Path, PathBuf};

use bincode::{Decode, Encode};
use common::ids::{RoundId, TaskHash, Time};
use common::round::Phase;
use common::wire::codec;

use super::Budget;
use crate::outbox::{DiskError, disk};
use crate::work::Entry;

/// Why what was spent is not known. Without it nothing may leave.
#[derive(Debug, thiserror::Error)]
pub enum SpentError {
    /// A file or folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file has changed since it was written.
    #[error("{} is damaged: it is not known how much was told before", .0.display())]
    Damaged(PathBuf),
}

impl SpentError {
    /// What a person can do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::Disk(error) => error.advice(),
            Self::Damaged(path) => format!(
                "restore {} from a copy; removing it makes the device contribute again, but \
                 then more is told than privacy.epsilon allows",
                path.display()
            ),
        }
    }
}

/// One answer and what it cost.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Charge {
    /// For which task.
    pub task: TaskHash,
    /// In which round.
    pub round: RoundId,
    /// In which phase.
    pub phase: Phase,
    /// When.
    pub time: Time,
    /// Its cost in zCDP.
    pub cost: f64,
    /// What was answered; nothing for an answer that is so old that nobody can
    /// ask for it again.
    pub entries: Vec<Entry>,
}

/// Everything that was spent, over all tasks and rounds, in one file.
#[derive(Debug)]
pub struct Spent {
    folder: PathBuf,
    charges: Vec<Charge>,
}

impl Spent {
    /// The account in `folder`, made if it is missing.
    ///
    /// # Errors
    /// [`SpentError::Damaged`] or [`SpentError::Disk`].
    pub fn open(folder: &Path) -> Result<Self, SpentError> {
        disk::create_folder(folder)?;
        Self::read(folder)
    }

    /// The account in `folder` as it is now; nothing spent if there is none.
    ///
    /// # Errors
    /// [`SpentError::Damaged`] or [`SpentError::Disk`].
    pub fn read(folder: &Path) -> Result<Self, SpentError> {
        let path = folder.join(FILE);
        let charges = match disk::read(&path)? {
            None => Vec::new(),
            Some(bytes) => disk::unseal(&bytes)
                .and_then(|body| codec::decode_blob(body).ok())
                .ok_or(SpentError::Damaged(path))?,
        };
        Ok(Self {
            folder: folder.to_owned(),
            charges,
        })
    }

    /// What was spent, in zCDP.
    pub fn rho(&self) -> f64 {
        self.charges.iter().map(|charge| charge.cost).sum()
    }

    /// What was answered to this call before.
    pub fn answer(&self, task: TaskHash, round: RoundId, phase: Phase) -> Option<&[Entry]> {
        let same = |charge: &&Charge| {
            charge.task == task && charge.round == round && charge.phase == phase
        };
        let found = self.charges.iter().find(same)?;
        (!found.entries.is_empty()).then_some(found.entries.as_slice())
    }

    /// Whether the budget has room for a cost.
    pub fn has_room(&self, budget: &Budget, cost: f64) -> bool {
        self.rho() + cost <= budget.rho() * (1.0 + ROUNDING)
    }

    /// Writes an answer and its cost down. To be called before anything of it
    /// leaves; durable when this returns.
    ///
    /// # Errors
    /// [`SpentError::Disk`]; then nothing may leave.
    pub fn charge(&mut self, charge: Charge) -> Result<(), SpentError> {
        let mut charges = self.charges.clone();
        charges.push(charge);
        let whole = charges.len().saturating_sub(ANSWERS_MAX);
        for old in &mut charges[..whole] {
            old.entries.clear();
        }
        let bytes = disk::seal(&codec::encode(&charges));
        disk::replace(&self.folder, FILE, &bytes)?;
        self.charges = charges;
        Ok(())
    }
}

const FILE: &str = "spent.bin";
/// Newest answers that are kept whole.
const ANSWERS_MAX: usize = 16;
/// Parts of a budget are sums of rounded numbers.
const ROUNDING: f64 = 1e-9;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::round::Kind;

    fn charge(round: u64, cost: f64) -> Charge {
        Charge {
            task: TaskHash([7; 32]),
            round: RoundId(round),
            phase: Phase::Summarise,
            time: Time(7),
            cost,
            entries: vec![Entry {
                kind: Kind::Summary,
                bytes: vec![1, 2, 3],
                rows: 40,
            }],
        }
    }

    #[test]
    fn what_was_spent_stays_spent_and_its_answer_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let budget = Budget::once(3.0, 1e-5);
        let mut spent = Spent::open(folder.path()).unwrap();
        let half = budget.rho() / 2.0;
        for round in [1, 2] {
            assert!(spent.has_room(&budget, half));
            spent.charge(charge(round, half)).unwrap();
        }
        let spent = Spent::open(folder.path()).unwrap();
        assert!(!spent.has_room(&budget, half / 1e3));
        assert!((spent.rho() / budget.rho() - 1.0).abs() < 1e-9);
        let asked = charge(2, half);
        let kept = spent.answer(asked.task, asked.round, asked.phase);
        assert_eq!(kept, Some(asked.entries.as_slice()));
        assert_eq!(spent.answer(asked.task, RoundId(3), asked.phase), None);
    }

    #[test]
    fn a_damaged_account_is_no_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut spent = Spent::open(folder.path()).unwrap();
        spent.charge(charge(1, 0.1)).unwrap();
        let path = folder.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[9] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let refused = Spent::open(folder.path()).unwrap_err();
        assert!(matches!(refused, SpentError::Damaged(_)));
        assert!(refused.advice().contains("privacy.epsilon"));
    }

    #[test]
    fn old_answers_are_let_go_but_not_their_cost() {
        let folder = tempfile::tempdir().unwrap();
        let mut spent = Spent::open(folder.path()).unwrap();
        for round in 0..20 {
            spent.charge(charge(round, 0.01)).unwrap();
        }
        let asked = charge(0, 0.0);
        assert_eq!(spent.answer(asked.task, asked.round, asked.phase), None);
        assert!((spent.rho() - 0.2).abs() < 1e-9);
    }
}
