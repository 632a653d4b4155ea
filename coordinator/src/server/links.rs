//! The open sessions' connections and queues, by session.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::ids::DeviceId;
use common::transport::CloseCode;
use common::wire::messages::ToDevice;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::line::Line;
use crate::core::command::SessionId;

/// Messages that wait for a device to read.
const OUTBOX_MESSAGES_MAX: usize = 64;

/// All open sessions. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    last: AtomicU64,
    open: Mutex<HashMap<SessionId, Link>>,
}

#[derive(Debug)]
struct Link {
    line: Line,
    outbox: mpsc::Sender<ToDevice>,
}

/// One session's entry, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct OpenLink {
    /// Names the session.
    pub(crate) session: SessionId,
    links: Links,
}

impl Links {
    /// Enters a session, and returns what it is sent.
    pub(crate) fn open(&self, line: &Line) -> (OpenLink, mpsc::Receiver<ToDevice>) {
        let session = SessionId(self.0.last.fetch_add(1, Ordering::Relaxed) + 1);
        let (outbox, messages) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        let link = Link {
            line: line.clone(),
            outbox,
        };
        self.table().insert(session, link);
        let open = OpenLink {
            session,
            links: self.clone(),
        };
        (open, messages)
    }

    /// Queues a message. A device that does not read is hung up on; it comes
    /// back and is told anew.
    pub(crate) fn send(&self, device: DeviceId, session: SessionId, message: ToDevice) {
        let mut table = self.table();
        let Some(link) = table.get(&session) else {
            return;
        };
        if let Err(TrySendError::Full(_)) = link.outbox.try_send(message) {
            tracing::warn!(device = %device.short(), "does not read its messages; hung up");
            link.line.close(CloseCode::Stalled, "messages are not read");
            table.remove(&session);
        }
    }

    /// Closes a session's connection, for a reason.
    pub(crate) fn close(&self, session: SessionId, code: CloseCode, reason: &str) {
        if let Some(link) = self.table().remove(&session) {
            link.line.close(code, reason);
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<SessionId, Link>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenLink {
    fn drop(&mut self) {
        self.links.table().remove(&self.session);
    }
}
