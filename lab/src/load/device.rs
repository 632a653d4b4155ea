//! One device of a load: a real session, driven by orders.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use common::ids::{BlobHash, TaskHash, Time, Version};
use common::round::{ContributionKey, Reason};
use common::transport::{
    BlobSpan, ClientIdentity, CloseCode, Connection, Dialler, Protocol, Stream,
};
use common::wire::codec::{decode, encode};
use common::wire::messages::{
    Announcement, Call, Hello, PROTOCOL_MINOR, ToCoordinator, ToDevice, TransferAnswer,
    TransferRequest,
};
use edge_agent::driver::link::{self, LinkError};
use edge_agent::session::Pending;
use tokio::sync::{Semaphore, mpsc};

use super::member::{self, Member};
use super::payload::Payload;

/// What a device is told to do.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// Offer a contribution that was due at this moment.
    Offer {
        key: ContributionKey,
        payload: Arc<Payload>,
        due: Instant,
    },
    /// Answer a call with nothing.
    Abstain(Call),
    /// Fetch a blob of this many bytes.
    Fetch { blob: BlobHash, bytes: u64 },
}

/// What happened to a device.
#[derive(Debug)]
pub(super) enum Told {
    /// It has a session; the handshake took so long.
    Connected { seconds: f64 },
    /// It cannot get one.
    Failed { device: usize, cause: LinkError },
    /// Its session ended; it connects again.
    Lost { device: usize, cause: String },
    /// A phase waits for it.
    Called { device: usize, call: Call },
    /// A student is ready.
    Released { announcement: Announcement },
    /// What came of an offer, so long after it was due.
    Answered {
        device: usize,
        key: ContributionKey,
        blob: BlobHash,
        seconds: f64,
        outcome: Outcome,
    },
    /// A blob came, or not.
    Fetched { whole: bool, at: Instant },
}

/// What came of an offered contribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted,
    Refused(Reason),
    /// No answer: it has to be offered again.
    Unknown,
}

/// What all devices share.
#[derive(Debug)]
pub(super) struct Context {
    /// Where they connect, by turns: the coordinator, or its gateways.
    pub(super) reached: Vec<SocketAddr>,
    /// How many shake hands at a time.
    pub(super) handshakes: Semaphore,
    pub(super) told: mpsc::UnboundedSender<Told>,
}

/// Holds a session until there are no more orders, connecting again whenever
/// it is lost.
pub(super) async fn serve(
    around: Arc<Context>,
    number: usize,
    member: Member,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let identity = Arc::new(member.client.clone());
    let mut failures = 0;
    loop {
        let opened = open(&around, number, &member).await;
        let session = match opened {
            Ok(session) => session,
            Err(_) if failures < FAILURES_MAX => {
                failures += 1;
                continue;
            }
            Err(cause) => {
                let device = number;
                let _ = around.told.send(Told::Failed { device, cause });
                return;
            }
        };
        failures = 0;
        let (dialler, seconds) = (session.dialler.clone(), session.seconds);
        let _ = around.told.send(Told::Connected { seconds });
        match hold(&around, (number, &identity), session, &mut orders).await {
            Ok(()) => return dialler.close(CloseCode::Normal).await,
            Err(cause) => {
                let cause = cause.to_string();
                let lost = Told::Lost {
                    device: number,
                    cause,
                };
                if around.told.send(lost).is_err() {
                    return;
                }
            }
        }
    }
}

/// Attempts of a device to connect before it says that it cannot.
const FAILURES_MAX: u32 = 4;

struct Session {
    dialler: Arc<Dialler>,
    connection: Connection,
    control: Stream,
    seconds: f64,
}

/// From nothing to the coordinator's welcome.
async fn open(around: &Context, number: usize, member: &Member) -> Result<Session, LinkError> {
    let Ok(_permit) = around.handshakes.acquire().await else {
        return Err(LinkError::Ended);
    };
    let reached = around.reached[number % around.reached.len()];
    let dialler = member::dialler(reached, number)?;
    let begun = Instant::now();
    let connection = dialler
        .connect(reached, &member.client, Protocol::Devices)
        .await?;
    let mut control = connection.open_control().await?;
    let hello = ToCoordinator::Hello(Hello {
        minor: PROTOCOL_MINOR,
        agent: concat!("alambic-lab ", env!("CARGO_PKG_VERSION")).to_owned(),
        installed: Vec::<(TaskHash, Version)>::new(),
        instance: 0,
        clock: Time(0),
    });
    let welcome = control.ask(&encode(&hello)).await?;
    match decode(&welcome.ok_or(LinkError::Ended)?)? {
        ToDevice::Welcome(_) => Ok(Session {
            dialler: Arc::new(dialler),
            connection,
            control,
            seconds: begun.elapsed().as_secs_f64(),
        }),
        other => Err(LinkError::Unexpected(format!("{other:?} to a hello"))),
    }
}

async fn hold(
    around: &Arc<Context>,
    (number, identity): (usize, &Arc<ClientIdentity>),
    session: Session,
    orders: &mut mpsc::UnboundedReceiver<Order>,
) -> Result<(), LinkError> {
    let Session {
        connection,
        mut control,
        ..
    } = session;
    loop {
        tokio::select! {
            frame = control.receiver.recv() => {
                let told = match decode(&frame?.ok_or(LinkError::Ended)?)? {
                    ToDevice::Call(call) => Told::Called { device: number, call },
                    ToDevice::Released(announcement) => Told::Released { announcement },
                    ToDevice::Welcome(_) | ToDevice::PhaseClosed { .. } | ToDevice::Renew => continue,
                };
                let _ = around.told.send(told);
            }
            order = orders.recv() => match order {
                None => return Ok(()),
                Some(Order::Abstain(Call { task, round, phase, .. })) => {
                    let abstain = ToCoordinator::Abstain { task, round, phase };
                    control.sender.send(&encode(&abstain)).await?;
                }
                Some(Order::Offer { key, payload, due }) => {
                    let device = (number, identity.clone());
                    let offer = offer(around.clone(), device, connection.clone(), key, payload, due);
                    tokio::spawn(offer);
                }
                Some(Order::Fetch { blob, bytes }) => {
                    let (around, connection) = (around.clone(), connection.clone());
                    tokio::spawn(async move {
                        let whole = fetch(&connection, blob, bytes).await.unwrap_or(false);
                        let at = Instant::now();
                        let _ = around.told.send(Told::Fetched { whole, at });
                    });
                }
            }
        }
    }
}

async fn offer(
    around: Arc<Context>,
    (device, identity): (usize, Arc<ClientIdentity>),
    connection: Connection,
    key: ContributionKey,
    payload: Arc<Payload>,
    due: Instant,
) {
    let blob = payload.blob;
    let pending = Pending {
        key,
        blob,
        bytes: payload.bytes.len() as u64,
    };
    let answer = link::offer(&connection, Some(&identity), &pending, &payload.bytes).await;
    let outcome = match answer {
        Ok(TransferAnswer::Accepted) => Outcome::Accepted,
        Ok(TransferAnswer::Refused(reason)) => Outcome::Refused(reason),
        Ok(_) | Err(_) => Outcome::Unknown,
    };
    let _ = around.told.send(Told::Answered {
        device,
        key,
        blob,
        seconds: due.elapsed().as_secs_f64(),
        outcome,
    });
}

/// Whether the blob came whole.
async fn fetch(connection: &Connection, blob: BlobHash, bytes: u64) -> Result<bool, LinkError> {
    let mut stream = connection.open_transfer().await?;
    let request = TransferRequest::Fetch { blob, offset: 0 };
    let answer = stream.ask(&encode(&request)).await?;
    let answer: TransferAnswer = decode(&answer.ok_or(LinkError::Ended)?)?;
    if answer != (TransferAnswer::Blob { bytes }) {
        return Ok(false);
    }
    let mut hasher = blake3::Hasher::new();
    let keep = |chunk: &[u8]| {
        hasher.update(chunk);
        Ok(())
    };
    let span = BlobSpan::new(0, bytes)?;
    stream.receiver.recv_blob(span, keep).await?;
    Ok(hasher.finalize().as_bytes() == &blob.0)
}
