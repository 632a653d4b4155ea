//! `status`: who this device is and how it goes, from its files.

use serde::Serialize;

use super::student::{Installed, installed};
use super::{Failure, holdings};
use crate::config::Config;
use crate::driver::local::{OUTBOX, SPENT, TeacherAccount, teacher_accounts};
use crate::driver::status::RunStatus;
use crate::identity::Membership;
use crate::policy::Spent;
use crate::state::{StateDir, StateError};
use crate::work::TeacherChoice;

/// Show this device's identity and state. Reads the state directory; the agent need not run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  alambic-agent status
  alambic-agent status --json | jq .run.connected")]
pub(super) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Status {
    enrolled: bool,
    device: Option<String>,
    label: Option<String>,
    coordinator: Option<String>,
    state: String,
    data: Option<String>,
    unused_files: Vec<String>,
    students: Vec<Installed>,
    teachers: Vec<TeacherAccount>,
    outbox: usize,
    privacy: Option<Privacy>,
    running: bool,
    run: Option<RunStatus>,
}

/// What differential privacy allows this device to tell, and what it told.
#[derive(Debug, Serialize)]
struct Privacy {
    epsilon: f64,
    delta: f64,
    /// The ε of what left so far; none if that is not known, and nothing leaves.
    epsilon_spent: Option<f64>,
}

impl Privacy {
    fn of(config: &Config, state: &StateDir) -> Option<Self> {
        let budget = config.policy.budget()?;
        let spent = Spent::read(&state.file(SPENT)).ok();
        Some(Self {
            epsilon: budget.epsilon(),
            delta: budget.delta(),
            epsilon_spent: spent.map(|spent| budget.epsilon_of(spent.rho())),
        })
    }
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let status = gather(config)?;
    if arguments.json {
        println!("{}", super::to_json(&status)?);
    } else {
        print(&status);
    }
    Ok(())
}

fn gather(config: &Config) -> Result<Status, Failure> {
    let state = StateDir::at(&config.state);
    let membership = Membership::load(&state)?;
    let run = RunStatus::load(&state)?;
    let here = membership.as_ref();
    let running = state.is_locked();
    let data = super::data_in_use(config, running.then_some(run.as_ref()).flatten());
    let unused = data
        .as_deref()
        .map_or_else(Vec::new, |folder| holdings::unused(config, folder.as_ref()));
    Ok(Status {
        enrolled: membership.is_some(),
        device: here.map(|one| one.device.to_string()),
        label: here.map(|one| one.label.clone()),
        coordinator: config
            .coordinator
            .clone()
            .or_else(|| here.map(|one| one.coordinator.clone())),
        state: config.state.display().to_string(),
        unused_files: unused
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
        data,
        students: installed(config)?,
        teachers: teachers(config, &state)?,
        outbox: waiting(&state),
        privacy: Privacy::of(config, &state),
        running,
        run,
    })
}

/// What came of the owner's model, where there is one.
fn teachers(config: &Config, state: &StateDir) -> Result<Vec<TeacherAccount>, StateError> {
    let TeacherChoice::Model(choice) = &config.teacher else {
        return Ok(Vec::new());
    };
    let accounts = teacher_accounts(state)?.into_values();
    // Of another model nothing is told.
    Ok(accounts.filter(|one| one.file == choice.file).collect())
}

/// Contributions that wait for an answer. The agent may be writing: names
/// are counted and nothing is touched.
fn waiting(state: &StateDir) -> usize {
    let Ok(entries) = std::fs::read_dir(state.file(OUTBOX)) else {
        return 0;
    };
    let is_entry = |entry: &std::fs::DirEntry| entry.path().extension() == Some("entry".as_ref());
    entries.flatten().filter(is_entry).count()
}

fn print(status: &Status) {
    let none = || "none".to_owned();
    let show = |value: &Option<String>| value.clone().unwrap_or_else(none);
    if status.enrolled {
        println!("device       {}", show(&status.device));
        println!("coordinator  {}", show(&status.coordinator));
    } else {
        println!(
            "device       not enrolled: alambic-agent enrol --coordinator HOST:PORT --token T"
        );
    }
    println!("state        {}", status.state);
    println!("data         {}", show(&status.data));
    if let Some(first) = status.unused_files.first() {
        let others = match status.unused_files.len() {
            1 => String::new(),
            many => format!(" and {} more", many - 1),
        };
        println!("unused       {first}{others}: `alambic-agent doctor` says why");
    }
    for one in status.students.iter().filter(|one| one.current) {
        let name = one.name.as_deref().unwrap_or("?");
        println!("student      {name} version {}", one.version);
    }
    if status.students.is_empty() {
        println!("student      none yet");
    }
    for teacher in &status.teachers {
        println!("teacher      {teacher}");
    }
    println!("outbox       {} waiting", status.outbox);
    if let Some(privacy) = &status.privacy {
        let spent = match privacy.epsilon_spent {
            Some(spent) => format!("{spent:.2} of ε {}", privacy.epsilon),
            None => format!("unknown of ε {}, so nothing leaves", privacy.epsilon),
        };
        println!("privacy      {spent} spent, δ {}", privacy.delta);
    }
    let running = if status.running {
        "running"
    } else {
        "not running"
    };
    println!("agent        {running}");
    let Some(run) = &status.run else { return };
    if status.running {
        let link = if run.connected {
            "connected"
        } else {
            "not connected"
        };
        println!("link         {link}");
        println!(
            "memory       {:.1} MiB now, {:.1} MiB at most",
            run.resident_kib as f64 / 1024.0,
            run.resident_peak_kib as f64 / 1024.0
        );
    }
    let (handshakes, work) = (run.handshake_bytes, run.work_bytes);
    println!(
        "bytes        {} up, {} down (handshakes: {} up, {} down)",
        work.up, work.down, handshakes.up, handshakes.down
    );
    let problems = run.link_error.iter().chain(&run.work_error);
    let problems = problems.chain(&run.trust_error).chain(&run.clock_error);
    for problem in problems.chain(&run.mqtt_error) {
        println!("problem      {problem}");
    }
}
