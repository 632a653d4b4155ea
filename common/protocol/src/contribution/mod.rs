//! What devices contribute, kind by kind: how the bytes of one are read and
//! checked, the rows it describes, and what it stands on.
//!
//! A kind is a file here, with the types that its bytes become; [`Kind`] names
//! them all, and its methods, at the end of this file, send each to its own.

mod gradient;
mod labels;
mod moments;
mod profile;
mod report;
mod summary;

use bincode::Decode;
use math::quantise::QuantiseError;

use crate::codec::decode_blob;
use crate::gradient::Gradient;
use crate::ids::BlobHash;
use crate::labels::Labels;
use crate::moments::Moments;
use crate::profile::Profile;
use crate::report::Report;
use crate::round::{Kind, Reason};
use crate::summary::Points;
use crate::task::Task;
use crate::transfer::{TransferError, TransferSet};

/// Finds a stored blob by its name.
pub type ReadBlob<'a> = &'a dyn Fn(BlobHash) -> Option<Vec<u8>>;

/// Finds the stored contribution that bytes are a difference to; none if they
/// are whole.
pub type BaseOf = fn(&[u8]) -> Option<BlobHash>;

/// Contributions of one kind, checked.
pub trait Contribution: Sized {
    /// The kind.
    const KIND: Kind;
    /// What it says something about.
    const STANDS_ON: StandsOn;
    /// What the bytes say, of which nothing is known.
    type Raw;

    /// Decodes bytes.
    ///
    /// # Errors
    /// The reason to refuse them.
    fn decode(bytes: &[u8], context: &CheckContext<'_>) -> Result<Self::Raw, Reason>;

    /// Checks what was decoded.
    ///
    /// # Errors
    /// The reason to refuse it.
    fn check(raw: Self::Raw, context: &CheckContext<'_>) -> Result<Self, Reason>;

    /// The rows it describes.
    fn rows(&self) -> u64;

    /// Reads and checks bytes.
    ///
    /// # Errors
    /// The reason to refuse them.
    fn read(bytes: &[u8], context: &CheckContext<'_>) -> Result<Self, Reason> {
        Self::check(Self::decode(bytes, context)?, context)
    }

    /// For kinds that may travel as a difference.
    const BASE: Option<BaseOf> = None;
}

/// What a contribution says something about, and is worth nothing without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandsOn {
    /// The device's rows alone.
    Rows,
    /// The fleet's normaliser.
    Normaliser,
    /// The transfer set: a new one replaces it.
    TransferSet,
    /// A released student.
    Release,
}

/// What a contribution is held against.
#[derive(Clone, Copy)]
pub struct CheckContext<'a> {
    /// Its task.
    pub task: &'a Task,
    /// The transfer set that it names, if any.
    pub transfer: Option<BlobHash>,
    /// Points of that set and landmarks beside them, if they are known; else
    /// the set is read.
    pub support: Option<Support>,
    /// Where stored blobs are found.
    pub read: ReadBlob<'a>,
}

/// How large a transfer set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    /// Its points.
    pub points: usize,
    /// Its points and landmarks.
    pub all: usize,
}

impl Support {
    /// That of a transfer set.
    pub fn of(set: &TransferSet) -> Self {
        Self {
            points: set.points.len(),
            all: set.support(),
        }
    }
}

impl<'a> CheckContext<'a> {
    /// Of a contribution that stands on no transfer set.
    pub fn of(task: &'a Task) -> Self {
        Self {
            task,
            transfer: None,
            support: None,
            read: &|_| None,
        }
    }

    /// The size of the transfer set.
    ///
    /// # Errors
    /// [`Reason::StaleSupport`] if it is not known, or what is wrong with it.
    pub fn support(&self) -> Result<Support, Reason> {
        if let Some(support) = self.support {
            return Ok(support);
        }
        let bytes = self.transfer.and_then(self.read);
        let bytes = bytes.ok_or(Reason::StaleSupport)?;
        TransferSet::read(self.task, &bytes)
            .map(|set| Support::of(&set))
            .map_err(|error| transfer_reason(&error))
    }
}

/// The reason to refuse a transfer set.
pub fn transfer_reason(error: &TransferError) -> Reason {
    match error {
        TransferError::Decode(_) => Reason::Malformed,
        _ => Reason::WrongShape,
    }
}

/// The one value that bytes are.
fn decoded<T: Decode<()>>(bytes: &[u8]) -> Result<T, Reason> {
    decode_blob(bytes).map_err(|_| Reason::Malformed)
}

fn quantise_reason(error: &QuantiseError) -> Reason {
    match error {
        QuantiseError::NonFinite { .. } | QuantiseError::Scale { .. } => Reason::NotFinite,
        _ => Reason::Malformed,
    }
}

/// What is the same for all contributions of a kind.
struct Definition {
    stands_on: StandsOn,
    rows: fn(&[u8], &CheckContext<'_>) -> Result<u64, Reason>,
    base: Option<BaseOf>,
}

impl Definition {
    const fn of<C: Contribution>() -> Self {
        Self {
            stands_on: C::STANDS_ON,
            rows: |bytes, context| Ok(C::read(bytes, context)?.rows()),
            base: C::BASE,
        }
    }
}

impl Kind {
    /// Every kind and what it is.
    const fn definition(self) -> Definition {
        match self {
            Self::Profile => Definition::of::<Profile>(),
            Self::Summary => Definition::of::<Points>(),
            Self::Labels => Definition::of::<Labels>(),
            Self::Moments => Definition::of::<Moments>(),
            Self::Report => Definition::of::<Report>(),
            Self::Gradient => Definition::of::<Gradient>(),
        }
    }

    /// What contributions of this kind say something about.
    pub fn stands_on(self) -> StandsOn {
        self.definition().stands_on
    }

    /// Reads and checks a contribution's bytes; the rows it describes.
    ///
    /// # Errors
    /// The reason to refuse it.
    pub fn check(self, bytes: &[u8], context: &CheckContext<'_>) -> Result<u64, Reason> {
        (self.definition().rows)(bytes, context)
    }

    /// Whether contributions of this kind may be differences to others.
    pub fn has_differences(self) -> bool {
        self.definition().base.is_some()
    }

    /// The stored contribution that these bytes are a difference to; none for
    /// bytes that are whole.
    pub fn base(self, bytes: &[u8]) -> Option<BlobHash> {
        self.definition().base.and_then(|base| base(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of<C: Contribution>() -> Kind {
        C::KIND
    }

    #[test]
    fn every_kind_is_sent_to_its_own_type() {
        let kinds = [
            kind_of::<Profile>(),
            kind_of::<Points>(),
            kind_of::<Labels>(),
            kind_of::<Moments>(),
            kind_of::<Report>(),
            kind_of::<Gradient>(),
        ];
        assert_eq!(kinds, Kind::ALL);
    }

    #[test]
    fn what_answers_on_a_transfer_set_stands_on_it() {
        use crate::round::Phase;
        for kind in Kind::ALL {
            let on_set = kind.stands_on() == StandsOn::TransferSet;
            assert_eq!(on_set, kind.phase() == Phase::Contribute, "{kind}");
            assert!(kind.phase().kinds().contains(&kind), "{kind}");
        }
        let all: usize = Phase::ALL.iter().map(|phase| phase.kinds().len()).sum();
        assert_eq!(all, Kind::ALL.len());
    }
}
