//! The processes of a demo: started, watched, and stopped whatever happens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::trust::keys::{SigningKey, VerifyingKey};
use coordinator::admin::{AdminError, Client};
use edge_agent::driver::status::RunStatus;
use edge_agent::state::StateDir;

use super::DemoError;
use super::error::FleetError;
use super::process::{
    Environment, command, ended, free_address, kill, make_folder, program, resident, run_agent,
    serve,
};
use crate::data::Dataset;
use crate::folders::write_rows;
use crate::progress::Progress;

/// Set by Ctrl-C.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Resident memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// The coordinator's peak.
    pub coordinator_peak: u64,
    /// The largest peak of an agent, with what the processes that compute for
    /// it took at most.
    pub agent_peak: u64,
    /// The most that an agent holds now.
    pub agent_idle: u64,
}

/// A coordinator and its agents, stopped when this is dropped.
#[derive(Debug)]
pub struct Fleet {
    folder: PathBuf,
    temporary: bool,
    environment: Environment,
    listen: String,
    /// Where devices are told to find the coordinator, if elsewhere.
    address_given: Option<String>,
    coordinator: Child,
    agents: Vec<Child>,
}

const START_S: u64 = 30;
const CONNECT_S: u64 = 60;
const STOP_S: u64 = 5;

impl Fleet {
    /// Initialises and starts a coordinator on a free loopback port.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start(folder: Option<PathBuf>, progress: &mut Progress) -> Result<Self, DemoError> {
        Self::start_on(folder, Environment::default(), progress)
    }

    /// The same, elsewhere than on loopback.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start_on(
        folder: Option<PathBuf>,
        environment: Environment,
        progress: &mut Progress,
    ) -> Result<Self, DemoError> {
        progress.stage("starting the coordinator");
        let temporary = folder.is_none();
        let folder = folder.unwrap_or_else(|| {
            std::env::temp_dir().join(format!("alambic-demo-{}", std::process::id()))
        });
        make_folder(&folder)?;
        let state = folder.join("coordinator");
        // A fixed port, so that a coordinator started again is found again.
        let listen = match &environment.listen {
            Some(listen) => listen.clone(),
            None => free_address(&folder)?,
        };
        let init = Command::new(program("alambic-coordinator")?)
            .arg("--state")
            .arg(&state)
            .arg("init")
            .stdin(Stdio::null())
            .output()
            .map_err(|cause| FleetError::File {
                path: state.clone(),
                cause,
            })?;
        if !init.status.success() {
            return Err(FleetError::Ended {
                what: "alambic-coordinator init".into(),
                status: init.status.to_string(),
                log: folder,
                tail: String::from_utf8_lossy(&init.stderr).into_owned(),
            }
            .into());
        }
        let coordinator = serve(&environment, &folder, &listen)?;
        let mut fleet = Self {
            folder,
            temporary,
            environment,
            listen,
            address_given: None,
            coordinator,
            agents: Vec::new(),
        };
        fleet.wait_ready()?;
        Ok(fleet)
    }

    /// A connection to the coordinator's admin socket.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn client(&self) -> Result<Client, AdminError> {
        Client::connect(self.socket())
    }

    /// Kills the coordinator as a power cut would (SIGKILL) and starts it
    /// again on the same state.
    ///
    /// # Errors
    /// If it does not come up again.
    pub fn crash_coordinator(&mut self) -> Result<(), DemoError> {
        self.kill_coordinator()?;
        self.start_coordinator()
    }

    /// Kills the coordinator as a power cut would, and leaves it so.
    ///
    /// # Errors
    /// If the system does not let it be killed.
    pub fn kill_coordinator(&mut self) -> Result<(), DemoError> {
        kill(&mut self.coordinator, &self.folder)
    }

    /// Starts the coordinator that was killed.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start_coordinator(&mut self) -> Result<(), DemoError> {
        self.coordinator = serve(&self.environment, &self.folder, &self.listen)?;
        self.wait_ready()
    }

    /// Kills an agent as a power cut would and starts it again.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn crash_agent(&mut self, index: usize) -> Result<(), DemoError> {
        self.kill_agent(index)?;
        self.start_agent(index)
    }

    /// Kills an agent as a power cut would, and leaves it so.
    ///
    /// # Errors
    /// If the system does not let it be killed.
    pub fn kill_agent(&mut self, index: usize) -> Result<(), DemoError> {
        let home = self.agent_home(index);
        kill(&mut self.agents[index], &home)
    }

    /// Stops an agent in order, and waits until it has ended.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop_agent(&mut self, index: usize) -> Result<(), DemoError> {
        let begun = Instant::now();
        terminate(&self.agents[index]);
        while matches!(self.agents[index].try_wait(), Ok(None)) {
            self.within(begun, CONNECT_S, "an agent did not end")?;
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Starts an agent that was stopped or killed.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_agent(&mut self, index: usize) -> Result<(), DemoError> {
        self.agents[index] = run_agent(&self.environment, &self.agent_home(index))?;
        Ok(())
    }

    /// The number of an agent's process.
    pub fn agent_process(&self, index: usize) -> u32 {
        self.agents[index].id()
    }

    /// Whether an agent's process has ended.
    pub fn agent_has_ended(&mut self, index: usize) -> bool {
        matches!(self.agents[index].try_wait(), Ok(Some(_)))
    }

    /// Agents that are added from now on look for the coordinator here, as
    /// through a relay, and not where it says that it listens.
    pub fn reach_at(&mut self, address: String) {
        self.address_given = Some(address);
    }

    /// The coordinator's process.
    pub fn coordinator_process(&self) -> u32 {
        self.coordinator.id()
    }

    /// The folder of one agent: its data, state and log.
    pub fn agent_home(&self, index: usize) -> PathBuf {
        self.folder.join("agents").join(format!("{index:02}"))
    }

    /// Writes each part's rows into a folder of its own, and enrols and
    /// starts an agent on it.
    ///
    /// # Errors
    /// If an agent cannot enrol or start.
    pub fn add_agents(
        &mut self,
        data: &Dataset,
        parts: &[Vec<usize>],
        token: &str,
        progress: &mut Progress,
    ) -> Result<(), DemoError> {
        let address = match &self.address_given {
            Some(address) => address.clone(),
            None => self.client()?.status()?.address.to_string(),
        };
        progress.stage(&format!("enrolling {} agents", parts.len()));
        progress.bar(parts.len() as u64);
        let first = self.agents.len();
        for (at, rows) in parts.iter().enumerate() {
            self.check_interrupted()?;
            let index = first + at;
            let home = self.agent_home(index);
            let folder = home.join("data");
            make_folder(&folder)?;
            write_rows(&folder.join("rows.npz"), data, data.train.select(rows))
                .map_err(FleetError::Rows)?;
            let state = home.join("state");
            let enrolled = command(&self.environment.agents, "alambic-agent")?
                .arg("--state")
                .arg(&state)
                .args([
                    "enrol",
                    "--coordinator",
                    &address,
                    "--label",
                    &format!("device-{index:02}"),
                ])
                .env("ALAMBIC_TOKEN", token)
                .stdin(Stdio::null())
                .output()
                .map_err(|cause| FleetError::File {
                    path: home.clone(),
                    cause,
                })?;
            if !enrolled.status.success() {
                return Err(FleetError::Ended {
                    what: format!("alambic-agent enrol of device {index}"),
                    status: enrolled.status.to_string(),
                    log: home,
                    tail: String::from_utf8_lossy(&enrolled.stderr).into_owned(),
                }
                .into());
            }
            self.agents.push(run_agent(&self.environment, &home)?);
            progress.advance();
        }
        Ok(())
    }

    /// Waits until this many devices have a session.
    ///
    /// # Errors
    /// If they do not come, or an agent ends.
    pub fn wait_connected(
        &mut self,
        client: &mut Client,
        devices: usize,
        progress: &mut Progress,
    ) -> Result<(), DemoError> {
        progress.stage("waiting for sessions");
        let begun = Instant::now();
        loop {
            self.check_interrupted()?;
            self.check_running()?;
            let status = client.status()?;
            if status
                .devices
                .iter()
                .filter(|device| device.connected)
                .count()
                >= devices
            {
                return Ok(());
            }
            self.within(begun, CONNECT_S, "not every agent connected")?;
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Where the coordinator's web page is.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn page(&self) -> Result<Option<std::net::SocketAddr>, AdminError> {
        Ok(self.client()?.status()?.page)
    }

    /// Where everything is kept.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The coordinator's log.
    pub fn coordinator_log(&self) -> String {
        self.folder.join("coordinator.log").display().to_string()
    }

    /// The key that the coordinator signs releases with.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn release_key(&self) -> Result<VerifyingKey, DemoError> {
        let path = self.folder.join("coordinator").join("release-key.pem");
        let pem = fs::read_to_string(&path).map_err(|cause| FleetError::File { path, cause })?;
        Ok(SigningKey::from_pem(&pem)
            .map_err(FleetError::from)?
            .verifying_key())
    }

    /// Resident memory of the processes, as the system counts it.
    pub fn memory(&self) -> Memory {
        let of = |child: &Child, key: &str| resident(child.id(), key).unwrap_or(0);
        // Its children are gone by now; it has written down what they took.
        let peak = |index: usize| {
            let state = StateDir::at(&self.agent_home(index).join("state"));
            let status = RunStatus::load(&state).ok().flatten();
            status.map_or(0, |status| status.resident_peak_kib * 1024)
        };
        Memory {
            coordinator_peak: of(&self.coordinator, "VmHWM:"),
            agent_peak: (0..self.agents.len()).map(peak).max().unwrap_or(0),
            agent_idle: self
                .agents
                .iter()
                .map(|agent| of(agent, "VmRSS:"))
                .max()
                .unwrap_or(0),
        }
    }

    /// Fails after Ctrl-C.
    ///
    /// # Errors
    /// [`DemoError::Interrupted`].
    pub fn check_interrupted(&self) -> Result<(), DemoError> {
        if INTERRUPTED.load(Ordering::Relaxed) {
            Err(DemoError::Interrupted)
        } else {
            Ok(())
        }
    }

    /// Waits for Ctrl-C.
    pub fn wait_interrupted(&self) {
        while !INTERRUPTED.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Stops every process and, if the folder was made for this run, removes
    /// it.
    pub fn stop(self) {
        drop(self);
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("coordinator").join("admin.sock")
    }

    fn wait_ready(&mut self) -> Result<(), DemoError> {
        let begun = Instant::now();
        loop {
            self.check_interrupted()?;
            self.check_coordinator()?;
            if let Ok(mut client) = self.client()
                && client.status().is_ok()
            {
                return Ok(());
            }
            self.within(begun, START_S, "the coordinator did not answer")?;
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn within(&self, begun: Instant, seconds: u64, what: &str) -> Result<(), FleetError> {
        if begun.elapsed().as_secs() < seconds {
            return Ok(());
        }
        let folder = self.folder.clone();
        Err(FleetError::TooSlow {
            what: what.to_owned(),
            seconds,
            folder,
        })
    }

    fn check_coordinator(&mut self) -> Result<(), FleetError> {
        match self.coordinator.try_wait() {
            Ok(Some(status)) => {
                let log = self.folder.join("coordinator.log");
                Err(ended("the coordinator".into(), status, log))
            }
            _ => Ok(()),
        }
    }

    fn check_running(&mut self) -> Result<(), FleetError> {
        self.check_coordinator()?;
        for (index, agent) in self.agents.iter_mut().enumerate() {
            if let Ok(Some(status)) = agent.try_wait() {
                let home = self.folder.join("agents").join(format!("{index:02}"));
                return Err(ended(
                    format!("agent {index}"),
                    status,
                    home.join("agent.log"),
                ));
            }
        }
        Ok(())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in self.agents.iter().chain([&self.coordinator]) {
            terminate(child);
        }
        let begun = Instant::now();
        for child in self.agents.iter_mut().chain([&mut self.coordinator]) {
            while begun.elapsed().as_secs() < STOP_S && matches!(child.try_wait(), Ok(None)) {
                thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.temporary && !thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Asks a process to end. It may have ended already.
fn terminate(child: &Child) {
    if let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

/// From now on SIGINT and SIGTERM end a demo in order: its next check stops
/// every process.
pub fn watch_signals() {
    common::signals::on_interrupt(|| INTERRUPTED.store(true, Ordering::Relaxed));
}
