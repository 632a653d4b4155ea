//! Who asked the core something, and what it answers.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use protocol::ids::{BlobHash, RoundId, TaskHash, Version};
use protocol::task::Task;
use protocol::trust::token::TokenRecord;
use protocol::wire::messages::{EnrolRefusal, TransferAnswer};

use super::command::{Admitted, Evidence, ReReleaseOf};
use crate::status::{DeviceName, Fault, Status, TaskSummary};

/// Names one question. Anyone who asks chooses a number that no other open
/// question has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(pub u64);

/// Where the answer to one question goes, which is a `T`. It is used up by
/// answering, so nobody is answered twice.
#[must_use = "whoever asked waits for an answer"]
pub struct Reply<T> {
    id: ReplyId,
    of: PhantomData<fn(T)>,
}

impl<T: Into<Answer>> Reply<T> {
    /// The reply to this question.
    pub fn to(id: ReplyId) -> Self {
        Self {
            id,
            of: PhantomData,
        }
    }

    /// Which question it answers, which is thereby answered.
    pub(super) fn id(self) -> ReplyId {
        self.id
    }
}

impl<T> Reply<T> {
    /// Which question it will answer.
    pub fn question(&self) -> ReplyId {
        self.id
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reply").field(&self.id.0).finish()
    }
}

/// An answer has the wrong type for its question: a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongAnswer;

macro_rules! answers {
    ($($(#[$doc:meta])* $variant:ident($of:ty),)*) => {
        /// Everything the core may answer.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Answer {
            $($(#[$doc])* $variant($of),)*
        }

        $(impl From<$of> for Answer {
            fn from(answer: $of) -> Self {
                Self::$variant(answer)
            }
        }

        impl TryFrom<Answer> for $of {
            type Error = WrongAnswer;

            fn try_from(answer: Answer) -> Result<Self, WrongAnswer> {
                match answer {
                    Answer::$variant(answer) => Ok(answer),
                    _ => Err(WrongAnswer),
                }
            }
        })*
    };
}

answers! {
    /// To a device's transfer.
    Transfer(TransferAnswer),
    /// Whether something holds.
    Flag(bool),
    /// A task's definition, if there is such a task.
    Task(Option<Arc<Task>>),
    /// What a task's teacher is solved from, if it has one.
    Evidence(Option<Evidence>),
    /// What becomes of a device that wants to join.
    Admitted(Result<Admitted, EnrolRefusal>),
    /// Whether a certificate was renewed.
    Renewed(Result<(), EnrolRefusal>),
    /// The whole state.
    Status(Box<Status>),
    /// Whether an operator's order was carried out.
    Done(Result<(), Fault>),
    /// A task that an operator named or made.
    TaskSummary(Result<TaskSummary, Fault>),
    /// A round that began.
    RoundStarted(Result<(TaskHash, RoundId), Fault>),
    /// Whose contributions are in a release.
    Lineage(Result<(Version, Vec<DeviceName>), Fault>),
    /// All join tokens.
    Tokens(Vec<TokenRecord>),
    /// Where a release's bytes are.
    Release(Result<(Version, BlobHash), Fault>),
    /// What releasing an earlier version again would be.
    ReRelease(Result<ReReleaseOf, Fault>),
}
