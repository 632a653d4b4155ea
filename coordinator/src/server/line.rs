//! How a device is reached: by a connection of its own, or through a gateway,
//! on streams of the gateway's connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::ids::{DeviceId, Time};
use common::transport::{
    CloseCode, Connection, FrameReceiver, FrameSender, Stream, Traffic, TransportError,
};
use common::trust::offer::{OFFER_SIGNATURE_BYTES, SignedOffer};
use common::wire::codec::{decode, encode};
use common::wire::gateway::{ForDevice, FromDevice};
use tokio::sync::{mpsc, watch};

use crate::core::command::TrafficMeter;

/// The way to a device. Clones share it.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    /// Its own connection.
    Direct(Connection),
    /// A gateway's.
    Relayed(Arc<Relayed>),
}

/// A session that a gateway passes on.
pub(crate) struct Relayed {
    gateway: DeviceId,
    address: SocketAddr,
    expires: Time,
    /// The device's key.
    public_key: Vec<u8>,
    moved: Mutex<Moved>,
    /// Why the device's connection is to be closed, once it is.
    closing: watch::Sender<Option<(CloseCode, String)>>,
    /// The session's server takes it.
    control: Mutex<Option<Stream>>,
    transfers: tokio::sync::Mutex<mpsc::Receiver<Stream>>,
}

/// What a gateway says that a device's connection has moved.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    handshake: Traffic,
    work: Traffic,
}

/// Who is behind a relayed session.
#[derive(Clone, Debug)]
pub(crate) struct Behind {
    /// The gateway.
    pub(crate) gateway: DeviceId,
    /// Where the device is, as the gateway says.
    pub(crate) address: SocketAddr,
    /// When the device's certificate ends.
    pub(crate) expires: Time,
    /// The device's key, as its certificate says.
    pub(crate) public_key: Vec<u8>,
}

impl Relayed {
    /// A session on this stream of a gateway's, whose first frame was read,
    /// with the transfers that will come.
    pub(crate) fn new(behind: Behind, control: Stream, transfers: mpsc::Receiver<Stream>) -> Self {
        Self {
            gateway: behind.gateway,
            address: behind.address,
            expires: behind.expires,
            public_key: behind.public_key,
            moved: Mutex::default(),
            closing: watch::channel(None).0,
            control: Mutex::new(Some(control)),
            transfers: tokio::sync::Mutex::new(transfers),
        }
    }

    /// The control stream, if the session ended before it was served, and what
    /// the gateway is to be told.
    pub(super) fn unserved(&self) -> Option<(Stream, CloseCode, String)> {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = control.take()?;
        let why = self.closing.borrow().clone();
        let (code, reason) = why.unwrap_or((CloseCode::Internal, String::new()));
        Some((stream, code, reason))
    }

    fn moved(&self) -> MutexGuard<'_, Moved> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Relayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relayed")
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
}

impl Line {
    /// The device's control stream, once.
    ///
    /// # Errors
    /// The loss of the connection.
    pub(super) async fn accept_control(
        &self,
    ) -> Result<(LineSender, LineReceiver), TransportError> {
        match self {
            Self::Direct(connection) => {
                let Stream { sender, receiver } = connection.accept_control().await?;
                let receiver = LineReceiver {
                    frames: receiver,
                    relayed: None,
                };
                Ok((LineSender::Direct(sender), receiver))
            }
            Self::Relayed(relayed) => {
                let mut control = relayed
                    .control
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let Stream { sender, receiver } =
                    control.take().ok_or(TransportError::ClosedHere)?;
                let (queue, waiting) = mpsc::channel(1);
                tokio::spawn(tell(sender, waiting, relayed.closing.subscribe()));
                let receiver = LineReceiver {
                    frames: receiver,
                    relayed: Some(relayed.clone()),
                };
                Ok((LineSender::Relayed(queue), receiver))
            }
        }
    }

    /// The next transfer. The future can be dropped at any time.
    ///
    /// # Errors
    /// The loss of the connection.
    pub(super) async fn accept_transfer(&self) -> Result<Stream, TransportError> {
        match self {
            Self::Direct(connection) => connection.accept_transfer().await,
            Self::Relayed(relayed) => {
                let mut transfers = relayed.transfers.lock().await;
                let next = transfers.recv().await;
                next.ok_or(TransportError::Lost {
                    reason: "the gateway ended the session",
                })
            }
        }
    }

    /// Closes the device's connection.
    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        match self {
            Self::Direct(connection) => connection.close(code, reason),
            Self::Relayed(relayed) => {
                relayed.closing.send_if_modified(|closing| {
                    let is_first = closing.is_none();
                    closing.get_or_insert_with(|| (code, reason.to_owned()));
                    is_first
                });
            }
        }
    }

    /// Ready once a relayed session was closed here; that of a connection of
    /// its own ends with that.
    pub(super) async fn closing(&self) {
        match self {
            Self::Direct(_) => std::future::pending().await,
            Self::Relayed(relayed) => {
                let mut closing = relayed.closing.subscribe();
                // The sender lives as long as `relayed`.
                let _ = closing.wait_for(Option::is_some).await;
            }
        }
    }

    /// Where the device is.
    pub(super) fn remote_address(&self) -> SocketAddr {
        match self {
            Self::Direct(connection) => connection.remote_address(),
            Self::Relayed(relayed) => relayed.address,
        }
    }

    /// The gateway, if there is one between.
    pub(super) fn gateway(&self) -> Option<DeviceId> {
        match self {
            Self::Direct(_) => None,
            Self::Relayed(relayed) => Some(relayed.gateway),
        }
    }

    /// Whether the device has signed this offer. One that has a connection of
    /// its own has proved there that it holds its key.
    pub(super) fn is_signed(
        &self,
        offer: &SignedOffer,
        signature: &[u8; OFFER_SIGNATURE_BYTES],
    ) -> bool {
        match self {
            Self::Direct(_) => true,
            Self::Relayed(relayed) => offer.is_signed(&relayed.public_key, signature),
        }
    }

    /// When the device's certificate ends.
    pub(super) fn expires(&self) -> Option<Time> {
        match self {
            Self::Direct(connection) => connection.peer_certificate().map(|facts| facts.not_after),
            Self::Relayed(relayed) => Some(relayed.expires),
        }
    }

    /// What counts its bytes.
    pub(super) fn meter(&self) -> Box<dyn TrafficMeter> {
        match self {
            Self::Direct(connection) => Box::new(ConnectionMeter(connection.clone())),
            Self::Relayed(relayed) => Box::new(RelayedMeter(relayed.clone())),
        }
    }
}

/// What the device is told.
#[derive(Debug)]
pub(super) enum LineSender {
    Direct(FrameSender),
    Relayed(mpsc::Sender<ForDevice>),
}

impl LineSender {
    /// Sends one message.
    ///
    /// # Errors
    /// The loss of the connection.
    pub(super) async fn send(&mut self, message: Vec<u8>) -> Result<(), TransportError> {
        match self {
            Self::Direct(sender) => sender.send(&message).await,
            Self::Relayed(queue) => {
                let queued = queue.send(ForDevice::Told(message)).await;
                queued.map_err(|_| TransportError::Lost {
                    reason: "the gateway ended the session",
                })
            }
        }
    }
}

/// What the device says.
#[derive(Debug)]
pub(super) struct LineReceiver {
    frames: FrameReceiver,
    relayed: Option<Arc<Relayed>>,
}

impl LineReceiver {
    /// The next message, or `None` at the end. The future can be dropped at
    /// any time.
    ///
    /// # Errors
    /// As by [`FrameReceiver::recv`].
    pub(super) async fn recv(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        loop {
            let Some(frame) = self.frames.recv().await? else {
                return Ok(None);
            };
            if let Some(message) = self.unwrapped(frame)? {
                return Ok(Some(message));
            }
        }
    }

    /// The same, within the no-progress timeout.
    ///
    /// # Errors
    /// As by [`FrameReceiver::recv_answer`].
    pub(super) async fn recv_answer(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        loop {
            let Some(frame) = self.frames.recv_answer().await? else {
                return Ok(None);
            };
            if let Some(message) = self.unwrapped(frame)? {
                return Ok(Some(message));
            }
        }
    }

    /// The device's message in a frame, unless that is the gateway's own.
    fn unwrapped(&self, frame: Vec<u8>) -> Result<Option<Vec<u8>>, TransportError> {
        let Some(relayed) = &self.relayed else {
            return Ok(Some(frame));
        };
        match decode::<FromDevice>(&frame) {
            Ok(FromDevice::Said(message)) => Ok(Some(message)),
            Ok(FromDevice::Traffic { handshake, work }) => {
                *relayed.moved() = Moved { handshake, work };
                Ok(None)
            }
            // The device is not to blame.
            Err(error) => Err(TransportError::Quic {
                reason: format!("a gateway's frame: {error}"),
            }),
        }
    }
}

/// Tells a gateway what is for a device, until that is to be hung up on.
async fn tell(
    mut sender: FrameSender,
    mut waiting: mpsc::Receiver<ForDevice>,
    mut closing: watch::Receiver<Option<(CloseCode, String)>>,
) {
    if sender.send(&encode(&ForDevice::Open)).await.is_err() {
        return;
    }
    let (code, reason) = loop {
        let next = tokio::select! {
            closed = closing.wait_for(Option::is_some) => match closed {
                Ok(why) => break why.clone().unwrap_or((CloseCode::Normal, String::new())),
                // Whoever served the session is gone.
                Err(_) => break (CloseCode::Internal, String::new()),
            },
            Some(next) = waiting.recv() => next,
        };
        if sender.send(&encode(&next)).await.is_err() {
            return;
        }
    };
    let last = ForDevice::Close {
        code: code.number(),
        reason,
    };
    if sender.send(&encode(&last)).await.is_ok() {
        sender.finish();
        // The gateway closes the device's connection whether or not it says so.
        let _ = sender.delivered().await;
    }
}

/// The byte counters of a connection.
struct ConnectionMeter(Connection);

impl TrafficMeter for ConnectionMeter {
    fn handshake(&self) -> Traffic {
        self.0.handshake_traffic()
    }

    fn work(&self) -> Traffic {
        self.0.work_traffic()
    }
}

/// What a gateway counted.
struct RelayedMeter(Arc<Relayed>);

impl TrafficMeter for RelayedMeter {
    fn handshake(&self) -> Traffic {
        self.0.moved().handshake
    }

    fn work(&self) -> Traffic {
        self.0.moved().work
    }
}
