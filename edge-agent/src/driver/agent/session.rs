//! What a session asks for and tells.

use std::time::Duration;

use common::ids::{BlobHash, TaskHash};
use common::round::Reason;
use common::transport::{Connection, TransportError};
use common::wire::messages::{
    Hello, PROTOCOL_MINOR, ToCoordinator, ToDevice, TransferAnswer, Welcome,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{Instrument as _, debug, error, info, info_span, warn};

use super::certificate::Renewal;
use super::{Agent, Event, Live, SessionEvent};
use crate::cache::CacheError;
use crate::driver::backend::Backend;
use crate::driver::link::{self, Link, LinkError};
use crate::driver::status::Bytes;
use crate::identity::TimeFloor;
use crate::session::{Input, Pending};
use crate::trust::Trust;

impl<W: Backend> Agent<W> {
    pub(super) fn connect(&mut self) {
        self.session += 1;
        let hello = Hello {
            minor: PROTOCOL_MINOR,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            installed: self.backend.installed(),
            instance: self.instance,
            clock: self.settings.route.floor.shown(),
        };
        let (back, session) = (self.back.clone(), self.session);
        let route = self.settings.route.clone();
        self.work.spawn(async move {
            let opened = Link::open(&route, hello).await.map(Box::new);
            report(&back, session, SessionEvent::Opened(opened)).await;
        });
    }

    pub(super) fn send(&mut self, message: ToCoordinator) {
        let Some(live) = &self.live else { return };
        // The queue is full only if the coordinator has stopped reading.
        if live.outgoing.try_send(message).is_err() {
            live.connection.close(
                common::transport::CloseCode::Stalled,
                "control stream stands still",
            );
        }
    }

    pub(super) fn fetch(&mut self, blob: BlobHash) {
        let (back, session, cache) = (self.back.clone(), self.session, self.cache.clone());
        let Some(live) = &mut self.live else { return };
        let connection = live.connection.clone();
        let (backend, task) = (self.backend.clone(), self.released.get(&blob).copied());
        live.tasks.spawn(async move {
            let base = task.and_then(|task| backend.base(task));
            let by_delta = match &base {
                Some(base) => link::fetch_against(&connection, &cache, blob, base).await,
                None => Ok(false),
            };
            let fetched = match by_delta {
                Ok(false) => link::fetch(&connection, &cache, blob).await,
                other => other,
            };
            report(&back, session, SessionEvent::Fetched(blob, fetched)).await;
        });
    }

    pub(super) fn upload(&mut self, pending: Pending) {
        let (back, session) = (self.back.clone(), self.session);
        let bytes = self.backend.bytes(&pending);
        let Some(live) = &mut self.live else { return };
        let connection = live.connection.clone();
        let identity = self.settings.route.identity.clone();
        let span = info_span!("upload", kind = %pending.key.kind, round = %pending.key.round);
        let sending = async move {
            let answer = match bytes {
                Ok(bytes) => {
                    let signer = Some(identity.client());
                    link::offer(&connection, signer, &pending, &bytes).await
                }
                Err(problem) => {
                    error!("dropping a damaged contribution: {problem}");
                    Ok(TransferAnswer::Refused(Reason::HashMismatch))
                }
            };
            report(&back, session, SessionEvent::Answered(pending.key, answer)).await;
        };
        live.tasks.spawn(sending.instrument(span));
    }

    pub(super) fn session_event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Opened(Ok(link)) => self.opened(*link),
            SessionEvent::Opened(Err(problem)) | SessionEvent::Lost(problem) => self.lost(&problem),
            SessionEvent::Message(message) => self.message(message),
            SessionEvent::Fetched(blob, Ok(found)) => self.fetched(blob, found),
            SessionEvent::Fetched(blob, Err(problem)) => match problem {
                // The next try starts from the first byte.
                LinkError::Cache(CacheError::Damaged { .. }) => {
                    warn!("{problem}");
                    self.lost(&problem);
                }
                LinkError::Cache(_) | LinkError::Transport(TransportError::Keep(_)) => {
                    self.cannot_keep(blob, &problem);
                }
                _ => {
                    debug!(blob = %blob.short(), "fetch broke off");
                    self.lost(&problem);
                }
            },
            // Nothing came through for long. QUIC doubles its pauses between
            // probes and may be quiet for as long again once the way is free; a
            // new session begins with short ones, and the transfer goes on
            // where it stopped.
            SessionEvent::Answered(
                _,
                Err(problem @ LinkError::Transport(TransportError::Stalled { .. })),
            ) => self.lost(&problem),
            SessionEvent::Answered(key, answer) => {
                if let Err(problem) = &answer {
                    debug!("no answer to {key}: {problem}");
                }
                self.input(Input::Answered {
                    key,
                    answer: answer.ok(),
                });
            }
        }
    }

    pub(super) fn opened(&mut self, link: Link) {
        let (connection, mut sender, mut receiver, closer) = link.split();
        let (outgoing, mut queue) = mpsc::channel(OUTGOING_MAX);
        let (back, session) = (self.back.clone(), self.session);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Some(message) = queue.recv().await {
                // The receiving task hears of a lost connection as well.
                if sender.send(&message).await.is_err() {
                    return;
                }
            }
        });
        tasks.spawn(async move {
            loop {
                let event = match receiver.receive().await {
                    Ok(message) => SessionEvent::Message(message),
                    Err(problem) => SessionEvent::Lost(problem),
                };
                let last = matches!(event, SessionEvent::Lost(_));
                report(&back, session, event).await;
                if last {
                    return;
                }
            }
        });
        if let Some(facts) = connection.peer_certificate()
            && let Err(problem) = TimeFloor::raise(&self.state, facts.not_before)
        {
            warn!("{problem}");
        }
        self.raise_floor();
        info!(coordinator = %connection.remote_address(), "connected");
        self.live = Some(Live {
            connection,
            outgoing,
            closer,
            tasks,
        });
        self.status.connected = true;
        self.status.link_error = None;
        self.let_in();
        self.heard();
        self.publish();
        self.input(Input::Connected);
    }

    pub(super) fn lost(&mut self, problem: &LinkError) {
        // Whatever is still reported by this session is not heard.
        self.session += 1;
        let was_open = self.live.is_some();
        if let Some(live) = self.live.take() {
            self.count_bytes(&live.connection);
            let code = common::transport::CloseCode::Normal;
            live.connection.close(code, "starting over");
        }
        let text = problem.to_string();
        if self.status.link_error.as_ref() != Some(&text) {
            let advice = problem
                .advice()
                .unwrap_or_else(|| "trying again".to_owned());
            warn!("not connected: {text}; {advice}");
        }
        // Whatever this device's clock says, the coordinator's says it is over.
        // An open session ends with the certificate that opened it, and that
        // may have been renewed.
        if problem.is_expiry()
            && !was_open
            && let Renewal::At(_) = self.renewal
        {
            self.renewal = Renewal::Again(Instant::now());
        }
        self.status.connected = false;
        self.status.link_error = Some(text);
        self.publish();
        self.input(match problem.is_superseded() {
            true => Input::Superseded,
            false => Input::Disconnected,
        });
    }

    pub(super) fn message(&mut self, message: ToDevice) {
        self.heard();
        match &message {
            ToDevice::Welcome(welcome) => {
                debug!(
                    minor = welcome.minor,
                    tasks = welcome.tasks.len(),
                    "welcome"
                );
                self.hear(welcome);
                self.withhold_again();
            }
            ToDevice::Call(call) => {
                info!(round = %call.round, phase = %call.phase, "called");
                let blobs = call.context.blobs().collect();
                self.needed.insert(call.task, blobs);
            }
            ToDevice::Renew => self.renew_soon(),
            ToDevice::PhaseClosed { round, phase, .. } => {
                debug!(%round, %phase, "phase closed");
            }
            ToDevice::Released(release) => {
                let newest = self.backend.seen();
                let at_hand = |(task, version): &(TaskHash, _)| {
                    *task == release.task && *version >= release.version
                };
                if newest.iter().any(at_hand) || self.backend.pinned().contains(&release.task) {
                    return;
                }
                info!(version = %release.version, "a student is released");
                let needed = self.needed.entry(release.task).or_default();
                needed.insert(release.blob);
                self.released.retain(|_, task| *task != release.task);
                self.released.insert(release.blob, release.task);
            }
        }
        self.input(Input::Received(message));
    }

    /// Keeps what the coordinator says of the keys that sign releases. Where
    /// that is not believed, nothing it offers will be.
    pub(super) fn hear(&mut self, welcome: &Welcome) {
        let now = self.settings.route.floor.clock().now();
        match Trust::hear(&self.state, &welcome.trust_root, &welcome.freshness, now) {
            Ok(trust) => {
                self.status.trust_error = None;
                let heard = Instant::now();
                self.fresh_until = trust.fresh_until().map(|end| (end, heard));
            }
            Err(problem) => {
                error!(
                    "the coordinator's keys are not believed: {problem}; {}",
                    problem.advice()
                );
                self.status.trust_error = Some(problem.to_string());
            }
        }
        self.raise_floor();
    }

    /// A session outlives the coordinator's word: a new one begins with a new
    /// one, well before the old one is over.
    pub(super) fn refresh(&mut self) {
        let now = self.settings.route.floor.clock().now();
        // A clock that is days ahead finds every word old: not more than one
        // session a day is given for a new one.
        let is_old = self.fresh_until.is_some_and(|(end, heard)| {
            end.since_ms(now) < FRESH_LEFT_MS && heard.elapsed() >= REFRESH_AFTER
        });
        if is_old && let Some(live) = &self.live {
            self.fresh_until = None;
            let code = common::transport::CloseCode::Normal;
            live.connection.close(code, "for a fresh word");
        }
    }

    pub(super) fn heard(&mut self) {
        let clock = self.settings.route.floor.clock();
        self.status.last_contact_ms = Some(clock.now().0);
    }

    pub(super) fn count_bytes(&mut self, connection: &Connection) {
        let (handshake, work) = link::traffic(connection);
        self.status.handshake_bytes = self.status.handshake_bytes + Bytes::from(handshake);
        self.status.work_bytes = self.status.work_bytes + Bytes::from(work);
    }
}

async fn report(back: &mpsc::Sender<Event>, session: u64, event: SessionEvent) {
    // Fails only if the agent has stopped.
    let _ = back.send(Event::Session(session, event)).await;
}

/// Messages that wait for the coordinator.
const OUTGOING_MAX: usize = 64;
/// A word is not asked for anew before this.
const REFRESH_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// A word with less time left is asked for anew.
const FRESH_LEFT_MS: u64 = 3 * 24 * 3_600_000;
