//! Load on a real coordinator: thousands of sessions over real QUIC with real
//! certificates, contributions at a given rate, a release to many at once.
//!
//! The devices are real as far as the coordinator can see: each has a key, a
//! certificate, a socket and, on loopback, an address of its own, and shakes
//! hands in full. What they contribute passes every check and ends in a signed
//! student. They keep nothing on disk and compute nothing, so that a machine
//! can hold many of them beside the coordinator.

mod bare;
mod crowd;
mod device;
mod gateways;
mod held;
mod machine;
mod member;
mod payload;
mod report;
mod round;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::transport::TransportError;
use common::transport::resolve;
use common::trust::token::{JoinToken, TokenError};
use coordinator::admin::{AdminError, Client};
use tokio::sync::watch;

pub use self::bare::{BareError, send as send_bare};
pub use self::gateways::GatewayError;
pub use self::held::HeldError;
pub use self::machine::MachineError;
pub use self::member::MemberError;
pub use self::report::{Contributions, Held, LoadReport, Memory, Paced, Push, Spread};

use self::crowd::Crowd;
use self::gateways::Gateways;
use self::member::{Kept, Member};
use crate::demo::{DemoError, Fleet};
use crate::progress::Progress;

/// What load to put on which coordinator.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Where the coordinator is, `host:port`; none starts one.
    pub coordinator: Option<String>,
    /// A token for devices that have not joined.
    pub token: Option<String>,
    /// Where devices are kept from run to run.
    pub state: Option<PathBuf>,
    /// The coordinator's admin socket, if it may be asked for a round.
    pub admin_socket: Option<PathBuf>,
    /// Gateways between the devices and a coordinator that is started.
    pub gateways: usize,
    /// Devices with a session each.
    pub agents: usize,
    /// Contributions at `rate`, besides a profile of each device.
    pub contributions: usize,
    /// Contributions a second.
    pub rate: f64,
    /// Bytes of the signed student, about.
    pub release_bytes: u64,
    /// Devices that fetch it at once.
    pub push_agents: usize,
    /// Seconds that all sessions idle before the memory is read.
    pub idle_s: u64,
    /// Handshakes at a time.
    pub parallel: usize,
}

/// Why a load came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The machine.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The devices' identities.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// The coordinator that was to be started.
    #[error(transparent)]
    Fleet(#[from] DemoError),
    /// The coordinator's operators' end.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The network.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The token.
    #[error("--token: {0}")]
    Token(#[from] TokenError),
    /// The gateways that were to be started.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The bare sender.
    #[error(transparent)]
    Bare(#[from] BareError),
    /// What the coordinator left could not be read.
    #[error(transparent)]
    Held(#[from] HeldError),
    /// Contributions cannot be made.
    #[error(transparent)]
    Payload(#[from] common::math::quantise::QuantiseError),
    /// A runtime or a thread.
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
    /// Not enough devices.
    #[error(
        "{kept} devices have joined so far and {wanted} are wanted; pass a --token with {missing} \
         uses left (`alambic-coordinator token create --uses {missing}`)"
    )]
    TokenMissing {
        /// Devices of an earlier run.
        kept: usize,
        /// Devices wanted.
        wanted: usize,
        /// How many are missing.
        missing: usize,
    },
    /// A device that a load replaces too often.
    #[error(
        "{wanted} contributions are more than {agents} devices may send in one round, which is \
         {most}; ask for more --agents"
    )]
    TooMany {
        /// What was asked for.
        wanted: usize,
        /// By how many devices.
        agents: usize,
        /// The most.
        most: usize,
    },
    /// A device could not connect.
    #[error("device {device} gets no session: {cause}; {connected} have one")]
    Session {
        /// Which.
        device: usize,
        /// Why.
        cause: edge_agent::driver::LinkError,
        /// Devices connected by then.
        connected: usize,
    },
    /// Nothing happened any more.
    #[error("{what}: nothing more for {seconds} s")]
    Stalled {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// The round came to nothing.
    #[error("the round ended without a student: {0}")]
    Round(String),
    /// The release did not reach a device whole.
    #[error("{0} devices did not get the whole release")]
    Fetch(usize),
    /// A person pressed Ctrl-C.
    #[error("interrupted; every session was closed")]
    Interrupted,
}

/// Puts the load on the coordinator.
///
/// # Errors
/// The first thing that goes wrong; every session is closed then, and a
/// coordinator that was started is stopped.
pub fn run(options: &LoadOptions, progress: &mut Progress) -> Result<LoadReport, LoadError> {
    round::check(options)?;
    machine::allow_sockets(options.agents + options.push_agents)?;
    let (stopping, mut stopped) = watch::channel(false);
    crate::demo::watch_signals();
    common::signals::on_interrupt(move || {
        // Fails only if nobody waits any more.
        let _ = stopping.send(true);
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut target = match &options.coordinator {
        Some(host) => Target::remote(options, host, &runtime)?,
        None => Target::start(options.agents, progress)?,
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = load(options, &mut target, progress) => outcome,
            _ = stopped.wait_for(|stop| *stop) => Err(LoadError::Interrupted),
        }
    });
    if outcome.is_err() {
        // Connections that were dropped say goodbye yet.
        runtime.block_on(async { tokio::time::sleep(GOODBYE).await });
    }
    drop(runtime);
    let (mut report, acknowledged) = outcome?;
    if let (Some(fleet), Some(found)) = (&mut target.own, &mut report.contributions) {
        progress.stage("killing the coordinator and reading what it left");
        fleet.kill_coordinator()?;
        found.held = Some(held::check(fleet.folder(), &acknowledged)?);
    }
    Ok(report)
}

/// The coordinator under load.
struct Target {
    address: SocketAddr,
    token: Option<JoinToken>,
    client: Option<Client>,
    process: Option<u32>,
    /// If it was started for this.
    own: Option<Fleet>,
    gateways: Gateways,
}

impl Target {
    fn start(agents: usize, progress: &mut Progress) -> Result<Self, LoadError> {
        let fleet = Fleet::start(None, progress)?;
        let mut client = fleet.client()?;
        let address = client.status()?.address;
        let token = client.create_token(3_600_000, agents as u32)?.parse()?;
        Ok(Self {
            address,
            token: Some(token),
            client: Some(client),
            process: Some(fleet.coordinator_process()),
            own: Some(fleet),
            gateways: Gateways::default(),
        })
    }

    fn remote(
        options: &LoadOptions,
        host: &str,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<Self, LoadError> {
        let found = runtime.block_on(resolve(host))?;
        // `resolve` gives one at least.
        let address = found.first().copied().ok_or(TransportError::Lost {
            reason: "its name has no address",
        })?;
        let token = options.token.as_deref().map(str::parse).transpose()?;
        let client = options.admin_socket.as_ref().map(Client::connect);
        Ok(Self {
            address,
            token,
            client: client.transpose()?,
            process: machine::process_at(address),
            own: None,
            gateways: Gateways::default(),
        })
    }

    fn resident(&self, key: &str) -> Option<u64> {
        self.process.and_then(|id| machine::resident(id, key))
    }

    /// Begins to measure.
    fn watch(&self) -> Stopwatch {
        let gateways = self.gateways.processes();
        Stopwatch {
            gateways_used: processor_seconds(&gateways),
            gateways,
            process: self.process,
            begun: Instant::now(),
            used: self.process.and_then(machine::processor_seconds),
        }
    }
}

/// Time that passes, and the processor time of coordinator and gateways in it.
struct Stopwatch {
    process: Option<u32>,
    gateways: Vec<u32>,
    gateways_used: Option<f64>,
    begun: Instant,
    used: Option<f64>,
}

impl Stopwatch {
    fn read(&self, count: usize) -> Paced {
        let now = self.process.and_then(machine::processor_seconds);
        let used = now.zip(self.used).map(|(now, before)| now - before);
        let gateways = processor_seconds(&self.gateways).zip(self.gateways_used);
        let paced = Paced::of(count, self.begun.elapsed().as_secs_f64(), used);
        Paced {
            gateways_seconds: gateways.map(|(now, before)| now - before),
            ..paced
        }
    }
}

/// Processor time of these processes together; none of none.
fn processor_seconds(processes: &[u32]) -> Option<f64> {
    let used = processes
        .iter()
        .filter_map(|one| machine::processor_seconds(*one));
    (!processes.is_empty()).then(|| used.sum())
}

async fn load(
    options: &LoadOptions,
    target: &mut Target,
    progress: &mut Progress,
) -> Result<(LoadReport, Vec<round::Acknowledged>), LoadError> {
    let mut report = LoadReport {
        agents: options.agents,
        ..LoadReport::default()
    };
    let (members, enrolled) = members(options, target, progress).await?;
    report.enrolled = enrolled;
    if let Some(fleet) = &mut target.own {
        // What joining took is not what sessions take.
        fleet.crash_coordinator()?;
        let mut client = fleet.client()?;
        target.process = Some(fleet.coordinator_process());
        if options.gateways > 0 {
            progress.stage(&format!("starting {} gateways", options.gateways));
            let (folder, address) = (fleet.folder(), target.address);
            target.gateways = Gateways::start(folder, address, &mut client, options.gateways)?;
        }
        target.client = Some(client);
    }
    let reached = match target.gateways.addresses() {
        none if none.is_empty() => vec![target.address],
        gateways => gateways,
    };
    let before = target.resident("VmRSS:");
    let gateways_before = target.gateways.resident("VmRSS:");
    progress.stage(&format!("{} handshakes", members.len()));
    progress.bar(members.len() as u64);
    let watch = target.watch();
    let mut crowd = Crowd::gather(reached, &members, options.parallel);
    report.handshake_ms = crowd.connect(progress).await?;
    report.handshakes = watch.read(members.len());
    report.connected = crowd.connected();
    progress.stage(&format!("{} s of idling", options.idle_s));
    crowd.idle(Duration::from_secs(options.idle_s)).await?;
    let idle = target.resident("VmRSS:");
    let gateways_idle = target.gateways.resident("VmRSS:");
    let mut acknowledged = Vec::new();
    if let Some(mut client) = target.client.take() {
        let mut round = round::Round::begin(options, &mut client, &mut crowd)?;
        let found = round.contribute(target, progress).await?;
        report.contributions = Some(found);
        let released = round.release(&mut client, progress).await?;
        report.push = Some(round.push(released, target, progress).await?);
        acknowledged = round.acknowledged();
    }
    report.memory = before.zip(idle).map(|(before, idle)| Memory {
        before,
        idle,
        per_session: idle.saturating_sub(before) / members.len().max(1) as u64,
        peak: target.resident("VmHWM:").unwrap_or(idle),
    });
    report.gateways = options.gateways;
    let sessions = members.len();
    report.gateways_memory = target
        .gateways
        .memory(gateways_before, gateways_idle, sessions);
    report.sessions_lost = crowd.lost();
    crowd.leave().await;
    Ok((report, acknowledged))
}

/// The devices of an earlier run, and as many more as are wanted.
async fn members(
    options: &LoadOptions,
    target: &Target,
    progress: &mut Progress,
) -> Result<(Vec<Member>, Option<Paced>), LoadError> {
    let mut kept: Vec<Kept> = match &options.state {
        Some(folder) => member::load(folder)?,
        None => Vec::new(),
    };
    let wanted = options.agents;
    let mut enrolled = None;
    if kept.len() < wanted {
        let missing = wanted - kept.len();
        let Some(token) = &target.token else {
            let kept = kept.len();
            return Err(LoadError::TokenMissing {
                kept,
                wanted,
                missing,
            });
        };
        progress.stage(&format!("{missing} devices join"));
        progress.bar(missing as u64);
        let watch = target.watch();
        let joined = crowd::enrol(target.address, token, kept.len()..wanted, options.parallel);
        kept.extend(joined.run(progress).await?);
        enrolled = Some(watch.read(missing));
        if let Some(folder) = &options.state {
            member::keep(folder, &kept)?;
        }
    }
    let members = kept.iter().take(wanted).map(Kept::member);
    Ok((members.collect::<Result<_, _>>()?, enrolled))
}

/// For ten thousand connections to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
