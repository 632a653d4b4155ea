//! A bad network of our own: a UDP relay between devices and their
//! coordinator that loses, delays, throttles and cuts off, from a seed, and
//! that forgets where it had a device, as a router does.
//!
//! It needs neither rights nor the kernel's emulator, which many kernels come
//! without.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rand::Rng as _;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// How the relay treats what passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions {
    /// Share of datagrams that are lost, each way.
    pub loss: f64,
    /// Milliseconds a datagram is under way, each way.
    pub delay_ms: u64,
    /// Bits a second from the devices; none for no limit.
    pub up_bits: Option<u64>,
    /// Whether nothing passes at all.
    pub is_cut: bool,
}

/// What passed in one direction. Bytes are UDP payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Datagrams that came to the relay.
    pub came: u64,
    /// Datagrams that it handed on.
    pub passed: u64,
    /// Bytes that it handed on.
    pub bytes: u64,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From devices to the coordinator.
    Up,
    /// To devices.
    Down,
}

/// A running relay. It ends when this is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    conditions: Conditions,
    tallies: [Tally; 2],
    /// Raised when the relay is to forget where it had its devices.
    paths: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relay {
    /// A relay on a loopback port of its own, in front of a coordinator.
    pub fn start(coordinator: SocketAddr, conditions: Conditions, seed: u64) -> Self {
        let shared = Arc::new(Shared::default());
        shared.state().conditions = conditions;
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let inside = shared.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                tell.send(front.local_addr().unwrap()).unwrap();
                let mut post = Post::new(coordinator, Arc::new(front), inside, seed);
                tokio::select! {
                    () = post.run() => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address: told.recv().unwrap(),
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where devices find the coordinator.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes how it treats what passes from now on.
    pub fn change(&self, change: impl FnOnce(&mut Conditions)) {
        change(&mut self.shared.state().conditions);
    }

    /// Lets nothing pass for so long, and returns when the outage is over.
    pub fn cut_for(&self, outage: Duration) {
        self.change(|conditions| conditions.is_cut = true);
        let over = std::time::Instant::now() + outage;
        while let Some(left) = over.checked_duration_since(std::time::Instant::now()) {
            thread::park_timeout(left);
        }
        self.change(|conditions| conditions.is_cut = false);
    }

    /// Forgets where it had its devices: what they send comes from new ports
    /// from now on, and what is sent to the old ones is lost.
    pub fn forget(&self) {
        self.shared.state().paths += 1;
    }

    /// What has passed.
    pub fn tally(&self, way: Way) -> Tally {
        self.shared.state().tallies[way as usize]
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One datagram under way.
struct Letter {
    due: Instant,
    bytes: Vec<u8>,
    to: SocketAddr,
    from: Arc<UdpSocket>,
}

/// A device as the coordinator sees it.
struct Flow {
    path: u64,
    socket: Arc<UdpSocket>,
    reader: JoinHandle<()>,
}

struct Post {
    coordinator: SocketAddr,
    front: Arc<UdpSocket>,
    lanes: [Arc<Lane>; 2],
    flows: HashMap<SocketAddr, Flow>,
    shared: Arc<Shared>,
}

impl Post {
    fn new(coordinator: SocketAddr, front: Arc<UdpSocket>, shared: Arc<Shared>, seed: u64) -> Self {
        let lanes = [Way::Up, Way::Down].map(|way| Lane::start(way, shared.clone(), seed));
        Self {
            coordinator,
            front,
            lanes,
            flows: HashMap::new(),
            shared,
        }
    }

    async fn run(&mut self) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            // An error is of a datagram sent before; the socket goes on.
            let Ok((length, device)) = self.front.recv_from(&mut buffer).await else {
                continue;
            };
            let socket = self.flow(device).await;
            self.lanes[0].post(&buffer[..length], self.coordinator, socket);
        }
    }

    /// The socket that stands for a device.
    async fn flow(&mut self, device: SocketAddr) -> Arc<UdpSocket> {
        let path = self.shared.state().paths;
        if let Some(flow) = self.flows.get(&device)
            && flow.path == path
        {
            return flow.socket.clone();
        }
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let (inner, front, lane) = (socket.clone(), self.front.clone(), self.lanes[1].clone());
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
            loop {
                if let Ok((length, _)) = inner.recv_from(&mut buffer).await {
                    lane.post(&buffer[..length], device, front.clone());
                }
            }
        });
        let flow = Flow {
            path,
            socket: socket.clone(),
            reader,
        };
        if let Some(old) = self.flows.insert(device, flow) {
            old.reader.abort();
        }
        socket
    }
}

/// One direction: what is handed on leaves in the order it came.
struct Lane {
    way: Way,
    queue: mpsc::UnboundedSender<Letter>,
    shared: Arc<Shared>,
    /// Draws from [0, 1), and when the line is free again.
    inner: Mutex<(Draw, Instant)>,
}

type Draw = Box<dyn FnMut() -> f64 + Send>;

impl Lane {
    fn start(way: Way, shared: Arc<Shared>, seed: u64) -> Arc<Self> {
        let (queue, mut letters) = mpsc::unbounded_channel::<Letter>();
        let mut random = common::math::random::rng(seed, &format!("{way:?}"));
        let draw: Draw = Box::new(move || random.random());
        let tallied = shared.clone();
        tokio::spawn(async move {
            while let Some(letter) = letters.recv().await {
                sleep_until(letter.due).await;
                if tallied.state().conditions.is_cut {
                    continue;
                }
                if letter.from.send_to(&letter.bytes, letter.to).await.is_ok() {
                    let tally = &mut tallied.state().tallies[way as usize];
                    tally.passed += 1;
                    tally.bytes += letter.bytes.len() as u64;
                }
            }
        });
        Arc::new(Self {
            way,
            queue,
            shared,
            inner: Mutex::new((draw, Instant::now())),
        })
    }

    fn post(&self, bytes: &[u8], to: SocketAddr, from: Arc<UdpSocket>) {
        let mut state = self.shared.state();
        state.tallies[self.way as usize].came += 1;
        let conditions = state.conditions;
        drop(state);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (draw, free) = &mut *inner;
        if draw() < conditions.loss || conditions.is_cut {
            return;
        }
        let now = Instant::now();
        let bits = conditions.up_bits.filter(|_| self.way == Way::Up);
        let on_the_wire = bits.map_or(Duration::ZERO, |bits| {
            Duration::from_secs_f64((bytes.len() + HEADER_BYTES) as f64 * 8.0 / bits as f64)
        });
        let sent = now.max(*free) + on_the_wire;
        if sent - now > QUEUE_MAX {
            return; // as from a router's full queue
        }
        *free = sent;
        // Fails only when the relay ends.
        let _ = self.queue.send(Letter {
            due: sent + Duration::from_millis(conditions.delay_ms),
            bytes: bytes.to_vec(),
            to,
            from,
        });
    }
}

const DATAGRAM_BYTES_MAX: usize = 65_536;
/// IPv4 and UDP.
const HEADER_BYTES: usize = 28;
/// The longest that a throttled datagram waits for its turn.
const QUEUE_MAX: Duration = Duration::from_millis(500);
