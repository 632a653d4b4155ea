//! What devices are told at this coordinator's address while another leads:
//! where that one is. It ends when this one begins to lead.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::host_port::HostPort;
use common::transport::{Arrival, CloseCode, Listener, ListenerSettings, TransportError};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::reconnect::{self, ConnectionJournal};

/// A thread that answers until this is dropped; the port is free then.
#[derive(Debug)]
pub(crate) struct StandbyListener {
    leader: Leader,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Where the leader is, as far as anybody knows.
type Leader = Arc<Mutex<Option<HostPort>>>;

impl StandbyListener {
    /// Takes the address and answers there. Where it is not to be had, devices find
    /// nobody at it, as if no coordinator ran here: a standby is no worse for it.
    ///
    /// Devices that had a session with an earlier process, as noted in the file
    /// `sessions`, are reminded: they need not wait to find that it is gone.
    pub(crate) fn start(listen: SocketAddr, settings: ListenerSettings, sessions: PathBuf) -> Self {
        let leader = Leader::default();
        let (stop, stopped) = oneshot::channel();
        let told = leader.clone();
        let thread = thread::spawn(move || {
            let (connections, orphans) = ConnectionJournal::open(Some(sessions));
            let remind = async |listener: &Listener| {
                reconnect::remind(listener, &connections, orphans).await;
            };
            if let Err(error) = serve(listen, settings, &told, remind, stopped) {
                tracing::warn!(%error, "devices are not told that this coordinator stands by");
            }
        });
        Self {
            leader,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Changes where the leader is said to be.
    pub(crate) fn tell(&self, leader: Option<HostPort>) {
        *self.leader.lock().unwrap_or_else(PoisonError::into_inner) = leader;
    }
}

impl Drop for StandbyListener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say beyond what it logged.
            let _ = thread.join();
        }
    }
}

fn serve(
    listen: SocketAddr,
    settings: ListenerSettings,
    leader: &Leader,
    remind: impl AsyncFnOnce(&Listener),
    stopped: oneshot::Receiver<()>,
) -> Result<(), TransportError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| TransportError::Address {
        address: listen,
        source,
    })?;
    runtime.block_on(async {
        let listener = Listener::bind(listen, settings)?;
        tokio::select! {
            _ = async { tokio::join!(turn_away(&listener, leader), remind(&listener)) } => {}
            _ = stopped => {}
        }
        let words = "it begins to lead";
        // Who has not heard by then asks again.
        let _ = timeout(LAST_WORD, listener.close(CloseCode::Shutdown, words)).await;
        Ok(())
    })
}

async fn turn_away(listener: &Listener, leader: &Leader) {
    while let Some(arrival) = listener.next().await {
        let leader = { leader.lock().unwrap_or_else(PoisonError::into_inner) }.clone();
        tokio::spawn(tell(arrival, leader));
    }
}

async fn tell(arrival: Arrival, leader: Option<HostPort>) {
    let from = arrival.remote_address();
    let words = leader.as_ref().map_or("", HostPort::as_str);
    match arrival.turn_away(CloseCode::NotLeading, words).await {
        Ok(()) => tracing::debug!(%from, leader = words, "sent to the leader"),
        Err(error) => tracing::debug!(%from, %error, "not sent to the leader"),
    }
}

/// How long peers in their handshakes are waited for.
const LAST_WORD: Duration = Duration::from_millis(100);
