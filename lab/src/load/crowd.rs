//! All devices of a load: joining, connecting, listening to them.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use common::ids::DeviceId;
use common::trust::token::JoinToken;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::LoadError;
use super::device::{self, Context, Order, Told};
use super::member::{self, Kept, Member, MemberError};
use super::report::Spread;
use crate::progress::Progress;

/// Seconds without any news before a load is given up.
const PATIENCE_S: u64 = 60;

/// Devices that join, some at a time.
pub(super) struct Enrolment {
    coordinator: SocketAddr,
    token: Arc<JoinToken>,
    numbers: Range<usize>,
    parallel: usize,
}

pub(super) fn enrol(
    coordinator: SocketAddr,
    token: &JoinToken,
    numbers: Range<usize>,
    parallel: usize,
) -> Enrolment {
    Enrolment {
        coordinator,
        token: Arc::new(token.clone()),
        numbers,
        parallel,
    }
}

impl Enrolment {
    pub(super) async fn run(self, progress: &mut Progress) -> Result<Vec<Kept>, MemberError> {
        let mut running = JoinSet::new();
        let mut joined = Vec::with_capacity(self.numbers.len());
        let mut numbers = self.numbers;
        loop {
            while running.len() < self.parallel
                && let Some(number) = numbers.next()
            {
                let (coordinator, token) = (self.coordinator, self.token.clone());
                running.spawn(async move { member::join(coordinator, number, &token).await });
            }
            let Some(one) = running.join_next().await else {
                return Ok(joined);
            };
            joined.push(one.map_err(|_| MemberError::Answer)??);
            progress.advance();
        }
    }
}

/// Devices with sessions, which take orders and tell what happens.
pub(super) struct Crowd {
    devices: Vec<DeviceId>,
    orders: Vec<mpsc::UnboundedSender<Order>>,
    told: mpsc::UnboundedReceiver<Told>,
    tasks: JoinSet<()>,
    connected: usize,
    lost: u64,
}

impl Crowd {
    /// Devices that begin to connect, this many at a time, to these addresses
    /// by turns.
    pub(super) fn gather(reached: Vec<SocketAddr>, members: &[Member], parallel: usize) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let around = Arc::new(Context {
            reached,
            handshakes: Semaphore::new(parallel.max(1)),
            told: tell,
        });
        let mut tasks = JoinSet::new();
        let mut orders = Vec::with_capacity(members.len());
        for (number, member) in members.iter().enumerate() {
            let (order, ordered) = mpsc::unbounded_channel();
            orders.push(order);
            tasks.spawn(device::serve(
                around.clone(),
                number,
                member.clone(),
                ordered,
            ));
        }
        Self {
            devices: members.iter().map(|member| member.device).collect(),
            orders,
            told,
            tasks,
            connected: 0,
            lost: 0,
        }
    }

    /// Waits until every device has a session.
    pub(super) async fn connect(&mut self, progress: &mut Progress) -> Result<Spread, LoadError> {
        let mut seconds = Vec::with_capacity(self.len());
        while self.connected < self.len() {
            if let Told::Connected { seconds: took, .. } = self.next("handshakes").await? {
                seconds.push(took);
                progress.advance();
            }
        }
        Ok(Spread::of(seconds))
    }

    /// Lets time pass.
    pub(super) async fn idle(&mut self, time: Duration) -> Result<(), LoadError> {
        let until = Instant::now() + time;
        loop {
            match timeout_at(until, self.told.recv()).await {
                Ok(Some(told)) => drop(self.note(told)?),
                Ok(None) | Err(_) => return Ok(()),
            }
        }
    }

    /// The next thing that happens to a device.
    ///
    /// # Errors
    /// If a device cannot connect, or nothing happens.
    pub(super) async fn next(&mut self, what: &str) -> Result<Told, LoadError> {
        match timeout(Duration::from_secs(PATIENCE_S), self.told.recv()).await {
            Ok(Some(told)) => self.note(told),
            Ok(None) | Err(_) => Err(LoadError::Stalled {
                what: what.to_owned(),
                seconds: PATIENCE_S,
            }),
        }
    }

    fn note(&mut self, told: Told) -> Result<Told, LoadError> {
        match told {
            Told::Connected { .. } => self.connected += 1,
            Told::Lost { device, ref cause } => {
                tracing::debug!(device, cause, "session lost");
                self.connected -= 1;
                self.lost += 1;
            }
            Told::Failed { device, cause } => {
                return Err(LoadError::Session {
                    device,
                    cause,
                    connected: self.connected,
                });
            }
            _ => {}
        }
        Ok(told)
    }

    /// Tells a device what to do.
    pub(super) fn order(&self, device: usize, order: Order) {
        // Fails only if its task is over, which it has told.
        let _ = self.orders[device].send(order);
    }

    pub(super) fn len(&self) -> usize {
        self.devices.len()
    }

    pub(super) fn device(&self, number: usize) -> DeviceId {
        self.devices[number]
    }

    pub(super) fn connected(&self) -> usize {
        self.connected
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Closes every session, and waits a moment for the coordinator to know.
    pub(super) async fn leave(mut self) {
        self.orders.clear();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(LEAVE, all).await;
    }
}

/// Most time that closing takes.
const LEAVE: Duration = Duration::from_secs(10);
