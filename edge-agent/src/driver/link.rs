//! One session with the coordinator.

use common::ids::{BlobHash, TaskHash};
use common::limits::{BLOB_BYTES_MAX, WHOLE_BYTES_MAX};
use common::transport::{
    BlobSpan, ClientIdentity, CloseCode, Connection, Dialler, FrameReceiver, FrameSender, Protocol,
    Traffic, TransportError,
};
use common::trust::offer::{OFFER_SIGNATURE_BYTES, SignedOffer};
use common::wire::codec::{DecodeError, decode, encode};
use common::wire::messages::{
    Announcement, Hello, ToCoordinator, ToDevice, TransferAnswer, TransferRequest,
};
use tracing::{debug, warn};

use crate::cache::{Cache, CacheError};
use crate::route::Route;
use crate::session::Pending;

/// Why a session or a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The network, or one of the two programs around it.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A message from the coordinator does not decode.
    #[error("the coordinator's message was not understood: {0}")]
    Decode(#[from] DecodeError),
    /// The coordinator answered something else than was asked.
    #[error("the coordinator's answer does not fit what was asked: {0}")]
    Unexpected(String),
    /// The coordinator ended the stream.
    #[error("the coordinator ended the stream")]
    Ended,
    /// What came cannot be kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl LinkError {
    /// Whether the coordinator holds that this device's certificate is over.
    pub fn is_expiry(&self) -> bool {
        matches!(
            self,
            Self::Transport(TransportError::Closed {
                code: CloseCode::Expired,
                ..
            })
        )
    }

    /// Whether another session of this device took over.
    pub fn is_superseded(&self) -> bool {
        matches!(
            self,
            Self::Transport(TransportError::Closed {
                code: CloseCode::Superseded,
                ..
            })
        )
    }

    /// What a person can do about it, where there is something.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Transport(error) => error.advice(),
            Self::Decode(_) | Self::Unexpected(_) => {
                Some("update the older of the two programs".to_owned())
            }
            Self::Cache(_) => Some("free some disk space, or check the state directory".to_owned()),
            Self::Ended => None,
        }
    }
}

/// An open session: the hello was sent.
#[derive(Debug)]
pub struct Link {
    /// For transfers, and the counters.
    pub connection: Connection,
    /// Messages to the coordinator.
    pub sender: ControlSender,
    /// Messages from the coordinator.
    pub receiver: ControlReceiver,
    dialler: Dialler,
}

/// Messages to the coordinator.
#[derive(Debug)]
pub struct ControlSender(FrameSender);

/// Messages from the coordinator.
#[derive(Debug)]
pub struct ControlReceiver(FrameReceiver);

impl Link {
    /// Finds the coordinator, makes sure it is the one, and says hello.
    ///
    /// # Errors
    /// [`LinkError::Transport`], as by `Search::connect`.
    pub async fn open(route: &Route, hello: Hello) -> Result<Self, LinkError> {
        let (dialler, connection) = route
            .search(Protocol::Devices)
            .connect(&route.coordinator)
            .await?;
        Self::greet(dialler, connection, hello).await
    }

    async fn greet(
        dialler: Dialler,
        connection: Connection,
        hello: Hello,
    ) -> Result<Self, LinkError> {
        let control = connection.open_control().await?;
        let mut sender = ControlSender(control.sender);
        sender.send(&ToCoordinator::Hello(hello)).await?;
        Ok(Self {
            connection,
            sender,
            receiver: ControlReceiver(control.receiver),
            dialler,
        })
    }

    /// Takes the parts that tasks of their own use, and what closes it.
    pub fn split(self) -> (Connection, ControlSender, ControlReceiver, Closer) {
        let closer = Closer(self.dialler);
        (self.connection, self.sender, self.receiver, closer)
    }
}

/// Ends a session so that the coordinator learns of it.
#[derive(Debug)]
pub struct Closer(Dialler);

impl Closer {
    /// Tells the coordinator that this device goes, and waits until it knows.
    pub async fn close(&self) {
        self.0.close(CloseCode::Shutdown).await;
    }
}

impl ControlSender {
    /// Sends one message.
    ///
    /// # Errors
    /// The loss of the connection.
    pub async fn send(&mut self, message: &ToCoordinator) -> Result<(), LinkError> {
        Ok(self.0.send(&encode(message)).await?)
    }
}

impl ControlReceiver {
    /// The next message. The future can be dropped at any time.
    ///
    /// # Errors
    /// The loss of the connection, and its ordinary end too.
    pub async fn receive(&mut self) -> Result<ToDevice, LinkError> {
        let payload = self.0.recv().await?.ok_or(LinkError::Ended)?;
        Ok(decode(&payload)?)
    }
}

/// Brings a blob into the cache, from where an earlier try stopped. False if
/// the coordinator does not have it.
///
/// # Errors
/// The loss of stream or connection; [`CacheError::Damaged`] if the bytes
/// are not the blob's, and then the next try starts over.
pub async fn fetch(
    connection: &Connection,
    cache: &Cache,
    blob: BlobHash,
) -> Result<bool, LinkError> {
    let mut partial = cache.begin(blob)?;
    let mut stream = connection.open_transfer().await?;
    let request = TransferRequest::Fetch {
        blob,
        offset: partial.bytes(),
    };
    match answer(stream.ask(&encode(&request)).await?)? {
        TransferAnswer::Blob { bytes } => {
            if partial.bytes() > bytes {
                partial.restart().map_err(TransportError::Keep)?;
                return Err(LinkError::Unexpected(format!(
                    "blob {} has {bytes} bytes, more were at hand",
                    blob.short()
                )));
            }
            let span = BlobSpan::new(partial.bytes(), bytes)?;
            let keep = |chunk: &[u8]| partial.append(chunk);
            stream.receiver.recv_blob(span, keep).await?;
            cache.complete(partial)?;
            Ok(true)
        }
        TransferAnswer::NotFound => Ok(false),
        other => Err(LinkError::Unexpected(format!("{other:?} to a fetch"))),
    }
}

/// Brings a release into the cache by what leads to it from an earlier one,
/// whose bytes are `base`. False if that cannot be done or is not worth it:
/// [`fetch`] brings the whole.
///
/// # Errors
/// The loss of stream or connection.
pub async fn fetch_against(
    connection: &Connection,
    cache: &Cache,
    blob: BlobHash,
    base: &[u8],
) -> Result<bool, LinkError> {
    let mut partial = cache.begin(blob)?;
    if partial.bytes() > 0 {
        return Ok(false); // the whole is on its way
    }
    let mut stream = connection.open_transfer().await?;
    let request = TransferRequest::FetchAgainst {
        blob,
        base: BlobHash::of(base),
    };
    let bytes = match answer(stream.ask(&encode(&request)).await?)? {
        TransferAnswer::Delta { bytes } if bytes <= BLOB_BYTES_MAX => bytes,
        _ => return Ok(false),
    };
    let mut delta = Vec::new();
    let keep = |chunk: &[u8]| {
        delta.extend_from_slice(chunk);
        Ok(())
    };
    let span = BlobSpan::new(0, bytes)?;
    stream.receiver.recv_blob(span, keep).await?;
    let made = match common::delta::apply(base, &delta, BLOB_BYTES_MAX) {
        Ok(made) if BlobHash::of(&made) == blob => made,
        Ok(_) => {
            warn!(blob = %blob.short(), "a delta led to other bytes; fetching the whole");
            return Ok(false);
        }
        Err(error) => {
            warn!(blob = %blob.short(), "{error}; fetching the whole");
            return Ok(false);
        }
    };
    partial.append(&made).map_err(TransportError::Keep)?;
    cache.complete(partial)?;
    debug!(blob = %blob.short(), bytes, of = made.len(), "fetched as a delta");
    Ok(true)
}

/// Offers a contribution and sends its bytes if they are wanted. Returns the
/// coordinator's last word on it. To a gateway the offer goes
/// signed, for which `signer` is needed.
///
/// # Errors
/// The loss of stream or connection: then nothing is known, and it must be
/// offered again.
pub async fn offer(
    connection: &Connection,
    signer: Option<&ClientIdentity>,
    pending: &Pending,
    bytes: &[u8],
) -> Result<TransferAnswer, LinkError> {
    let signature = signature(connection, signer, pending)?;
    let Pending {
        key,
        blob,
        bytes: length,
    } = *pending;
    let mut stream = connection.open_transfer().await?;
    if length <= WHOLE_BYTES_MAX {
        let request = TransferRequest::Whole {
            key,
            blob,
            bytes: length,
            signature,
        };
        stream.send(&encode(&request)).await?;
        // Where they are not wanted, the stream is closed upon them: what counts is the
        // answer.
        let sent = stream.sender.send_blob(0, bytes).await;
        stream.sender.finish();
        return match stream.receiver.recv_answer().await {
            Ok(Some(said)) => answer(Some(said)),
            other => {
                sent?;
                answer(other?)
            }
        };
    }
    let request = match signature {
        None => TransferRequest::Offer {
            key,
            blob,
            bytes: length,
        },
        Some(signature) => TransferRequest::SignedOffer {
            key,
            blob,
            bytes: length,
            signature,
        },
    };
    let first = answer(stream.ask(&encode(&request)).await?)?;
    let TransferAnswer::Send { offset } = first else {
        return Ok(first);
    };
    stream.sender.send_blob(offset, bytes).await?;
    stream.sender.finish();
    answer(stream.receiver.recv_answer().await?)
}

/// The signature under an offer, if a gateway passes it on.
fn signature(
    connection: &Connection,
    signer: Option<&ClientIdentity>,
    pending: &Pending,
) -> Result<Option<[u8; OFFER_SIGNATURE_BYTES]>, LinkError> {
    let server = connection.peer_certificate();
    if !server.is_some_and(|facts| facts.is_gateway) {
        return Ok(None);
    }
    let signed = match signer {
        Some(ClientIdentity::Enrolled { credentials, .. }) => {
            let device = credentials.facts().map_err(TransportError::from)?.device;
            let offer = SignedOffer {
                device,
                key: pending.key,
                blob: pending.blob,
                bytes: pending.bytes,
            };
            offer.sign(credentials.key())
        }
        Some(ClientIdentity::Enrolling { .. }) | None => None,
    };
    let signature = signed.ok_or_else(|| TransportError::Credentials {
        reason: "this device's key cannot sign for a gateway; name the coordinator itself".into(),
    })?;
    Ok(Some(signature))
}

/// What there is of a task, or of the coordinator's only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest {
    /// Its newest release.
    Release(Announcement),
    /// No student yet.
    NoRelease,
    /// No such task for this device; where none was named, none or several.
    NoTask,
}

/// The newest release of a task, or of the coordinator's only one.
///
/// # Errors
/// The loss of stream or connection.
pub async fn newest(connection: &Connection, task: Option<TaskHash>) -> Result<Newest, LinkError> {
    let mut stream = connection.open_transfer().await?;
    let request = TransferRequest::Newest { task };
    match answer(stream.ask(&encode(&request)).await?)? {
        TransferAnswer::Newest(release) => Ok(Newest::Release(release)),
        TransferAnswer::NoRelease => Ok(Newest::NoRelease),
        TransferAnswer::NotFound => Ok(Newest::NoTask),
        other => Err(LinkError::Unexpected(format!("{other:?} to a question"))),
    }
}

/// All bytes of a connection: the handshake's, and those of the work.
pub fn traffic(connection: &Connection) -> (Traffic, Traffic) {
    (connection.handshake_traffic(), connection.work_traffic())
}

fn answer(payload: Option<Vec<u8>>) -> Result<TransferAnswer, LinkError> {
    Ok(decode(&payload.ok_or(LinkError::Ended)?)?)
}
