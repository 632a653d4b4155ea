//! Those who wait for the core's answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::core::answer::{Answer, Reply, ReplyId};

/// The open questions. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replies(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    last: AtomicU64,
    waiting: Mutex<HashMap<ReplyId, oneshot::Sender<Answer>>>,
}

/// One open question; it is withdrawn when this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    id: ReplyId,
    answer: oneshot::Receiver<Answer>,
    replies: Replies,
}

impl Replies {
    /// A new question: what goes with the command, and what waits here.
    pub(crate) fn open<T: Into<Answer>>(&self) -> (Reply<T>, Waiting) {
        let id = ReplyId(self.0.last.fetch_add(1, Ordering::Relaxed) + 1);
        let (sender, answer) = oneshot::channel();
        self.waiting().insert(id, sender);
        let waiting = Waiting {
            id,
            answer,
            replies: self.clone(),
        };
        (Reply::to(id), waiting)
    }

    /// Gives the answer to the one who waits for it, if they still do.
    pub(crate) fn answer(&self, to: ReplyId, answer: Answer) {
        if let Some(sender) = self.waiting().remove(&to) {
            // Fails only if the asker is gone.
            let _ = sender.send(answer);
        }
    }

    /// Tells anyone who waits that there is no answer.
    pub(crate) fn give_up(&self, to: ReplyId) {
        self.waiting().remove(&to);
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<ReplyId, oneshot::Sender<Answer>>> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// The answer; `None` if there is none, or the core has stopped.
    pub(crate) async fn answer<T: TryFrom<Answer>>(mut self) -> Option<T> {
        let answer = (&mut self.answer).await.ok()?;
        T::try_from(answer).ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.replies.give_up(self.id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn answers_reach_those_who_asked() {
        let replies = Replies::default();
        let (_, first) = replies.open::<bool>();
        let (_, second) = replies.open::<bool>();
        replies.answer(second.id, true.into());
        replies.give_up(first.id);
        assert_eq!(second.answer::<bool>().await, Some(true));
        assert_eq!(first.answer::<bool>().await, None);
    }

    #[test]
    fn a_withdrawn_question_leaves_nothing_behind() {
        let replies = Replies::default();
        let (_, waiting) = replies.open::<bool>();
        let id = waiting.id;
        drop(waiting);
        assert!(replies.waiting().is_empty());
        replies.answer(id, true.into());
    }
}
