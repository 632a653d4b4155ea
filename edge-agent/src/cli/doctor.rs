//! `doctor`: what stands in this device's way.

use std::path::Path;
use std::time::Duration;

use common::health::{self, Finding};
use common::task::Task;
use common::transport::resolve;
use common::transport::{CloseCode, Connection, Dialler, Protocol, Tuning};
use common::trust::certificate::{CertificateFacts, certificates_from_pem};
use common::trust::clock::Clock;
use tokio::time::{Instant, sleep};

use super::teacher::{PRIVACY_ADVICE, UNDER_PRIVACY, WORSE_ADVICE};
use super::{ExitCode, Failure, block_on};
use crate::config::Config;
use crate::driver::local::{Damage, damages, known_tasks, teacher_accounts};
use crate::driver::status::RunStatus;
use crate::identity::{Identity, TimeFloor};
use crate::mqtt::{self, MqttSettings};
use crate::state::StateDir;
use crate::teacher::ModelTeacher;
use crate::work::TeacherChoice;

/// Look at clock, name resolution, the way to the coordinator and its path
/// MTU, certificate, disk, permissions and the BLAS kernels, and say what to
/// do; read the data folder as the agent does, and say what it makes of each
/// file. Changes nothing; the agent may run meanwhile. Exit code 1 if something
/// does not work, 3 if that is the way to the coordinator alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  alambic-agent doctor
  alambic-agent doctor --json | jq '.[] | select(.verdict != \"ok\")'")]
pub(super) struct Arguments {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    match health::report(&examine(config)?, arguments.json).as_slice() {
        [] => Ok(()),
        failed => Err(Failure::new(
            code(failed),
            "something does not work, see above",
        )),
    }
}

/// Where the way to the coordinator and nothing else does not work, the code of
/// other commands that cannot reach it.
fn code(failed: &[&str]) -> ExitCode {
    match failed.iter().all(|check| ["dns", "udp"].contains(check)) {
        true => ExitCode::Unreachable,
        false => ExitCode::Failed,
    }
}

fn examine(config: &Config) -> Result<Vec<Finding>, Failure> {
    let state = StateDir::at(&config.state);
    let floor = TimeFloor::load(&state);
    // The plain system clock: the device's own never falls below the floor.
    let now = Clock::system().now();
    let mut findings = Vec::new();
    let mut passed = floor.0;
    match Identity::load(&state) {
        Ok(identity) => {
            let leaf = certificates_from_pem(&identity.membership.certificate)
                .ok()
                .and_then(|chain| CertificateFacts::parse(chain.first()?).ok());
            if let Some(facts) = leaf {
                // A clock that was lost must not make the certificate younger.
                passed = passed.max(facts.not_before);
                let now = now.max(passed);
                findings.push(health::certificate(now, facts.not_after));
            }
            findings.extend(block_on(async {
                Ok(reach(config, &identity, floor).await)
            })?);
        }
        Err(error) => findings.push(Finding::failed(
            "enrolment",
            error.to_string(),
            error.advice(),
        )),
    }
    findings.insert(0, health::clock(now, passed));
    findings.push(health::state_disk(&config.state, FREE_BYTES_MIN));
    let advice = "run this as the agent's user";
    findings.push(health::state_permissions(&config.state, advice));
    findings.extend(damaged(config, &state));
    if let Some(mqtt) = &config.mqtt {
        findings.push(block_on(async { Ok(broker(mqtt).await) })?);
    }
    let run = state.is_locked().then(|| RunStatus::load(&state));
    let run = run.and_then(Result::ok).flatten();
    let folder = super::data_in_use(config, run.as_ref());
    findings.extend(super::holdings::findings(
        config,
        folder.as_deref().map(Path::new),
    ));
    findings.extend(own_teacher(config, &state));
    findings.push(health::blas());
    Ok(findings)
}

/// What the agent opens at its start and cannot use.
fn damaged(config: &Config, state: &StateDir) -> Vec<Finding> {
    let damages = damages(state, config.policy.budget().is_some());
    if damages.is_empty() {
        return vec![Finding::ok(FILES, "what the agent keeps is whole")];
    }
    let of = |one: Damage| match one.is_harmless {
        true => Finding::warning(FILES, one.found, one.advice),
        false => Finding::failed(FILES, one.found, one.advice),
    };
    damages.into_iter().map(of).collect()
}

/// The broker that readings come from.
async fn broker(settings: &MqttSettings) -> Finding {
    let (address, topics) = (settings.address(), settings.topics.join(", "));
    match mqtt::probe(settings).await {
        Ok(()) => Finding::ok(
            MQTT,
            format!("{address} lets this device in; topics {topics}"),
        ),
        Err(error) => {
            let found = format!("the broker {address} cannot be heard: {error}");
            let advice = "check mqtt.broker, mqtt.user and mqtt.password_file, and that the broker \
                          runs";
            Finding::failed(MQTT, found, advice)
        }
    }
}

/// The owner's model, tried on each task that the device was called for, and
/// what came of it when rows were labelled last.
fn own_teacher(config: &Config, state: &StateDir) -> Vec<Finding> {
    let TeacherChoice::Model(choice) = &config.teacher else {
        return Vec::new();
    };
    if config.policy.budget().is_some() {
        return vec![Finding::warning(TEACHER, UNDER_PRIVACY, PRIVACY_ADVICE)];
    }
    let tasks = known_tasks(state).unwrap_or_default();
    if tasks.is_empty() {
        let found = match std::fs::metadata(&choice.file) {
            Ok(_) => format!(
                "{} is tried once the coordinator has called for a task",
                choice.file
            ),
            Err(error) => {
                let found = format!("cannot read {}: {error}", choice.file);
                return vec![Finding::failed(TEACHER, found, "correct teacher.file")];
            }
        };
        return vec![Finding::skipped(TEACHER, found)];
    }
    let accounts = teacher_accounts(state).unwrap_or_default();
    let of = |task: &Task| match ModelTeacher::open(choice, task) {
        Err(error) => {
            let name = &task.definition().name;
            Finding::failed(TEACHER, format!("task {name}: {error}"), error.advice())
        }
        Ok(model) => match accounts.get(&task.hash().to_string()) {
            Some(account) if !account.used && account.unlabelled > 0 => {
                Finding::warning(TEACHER, account.to_string(), WORSE_ADVICE)
            }
            Some(account) => Finding::ok(TEACHER, account.to_string()),
            None => Finding::ok(TEACHER, model.conventions()),
        },
    };
    tasks.iter().map(of).collect()
}

/// The coordinator's name, and the way to it.
async fn reach(config: &Config, identity: &Identity, floor: TimeFloor) -> Vec<Finding> {
    let coordinator = config.coordinator.as_ref();
    let coordinator = coordinator.unwrap_or(&identity.membership.coordinator);
    let addresses = match resolve(coordinator).await {
        Ok(addresses) if !addresses.is_empty() => addresses,
        Ok(_) => {
            let found = format!("{coordinator} has no address");
            return vec![Finding::failed("dns", found, "check coordinator.address")];
        }
        Err(error) => {
            let advice = "check coordinator.address, /etc/resolv.conf and the network";
            return vec![Finding::failed("dns", error.to_string(), advice)];
        }
    };
    let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let mut findings = vec![Finding::ok(
        "dns",
        format!("{coordinator} is {}", list.join(", ")),
    )];
    let tuning = Tuning {
        mtu_discovery: true,
        ..Tuning::device()
    };
    for address in addresses {
        let outcome = async {
            let dialler = Dialler::bind(address, tuning.clone(), floor.clock())?;
            // The protocol for joining: a second session would end the first.
            let client = identity.client();
            let connected = dialler.connect(address, client, Protocol::Enrolment).await;
            Ok((dialler, connected?))
        };
        match outcome.await {
            Ok((dialler, connection)) => {
                let round_trip = connection.round_trip().as_secs_f64() * 1e3;
                let found = format!("{address} answers, {round_trip:.1} ms there and back");
                findings.push(Finding::ok("udp", found));
                findings.push(path_mtu(&connection).await);
                dialler.close(CloseCode::Normal).await;
                break;
            }
            Err(error) => {
                let error: common::transport::TransportError = error;
                let advice = error.advice().unwrap_or_else(|| {
                    "let UDP through to the coordinator's port, both ways".to_owned()
                });
                findings.push(Finding::failed(
                    "udp",
                    format!("{address}: {error}"),
                    advice,
                ));
            }
        }
    }
    findings
}

/// Waits until the path was probed. Packets of 1200 bytes are all that is
/// needed, so a small MTU is no fault.
async fn path_mtu(connection: &Connection) -> Finding {
    let end = Instant::now() + PROBING;
    while connection.path_mtu() < MTU_PROBED_MAX && Instant::now() < end {
        sleep(Duration::from_millis(50)).await;
    }
    let mtu = connection.path_mtu();
    Finding::ok(
        "path mtu",
        format!("{mtu} bytes of UDP payload get through, 1200 are needed"),
    )
}

const TEACHER: &str = "teacher";
const FILES: &str = "files";
const MQTT: &str = "mqtt";
/// Room for outbox, cache and two students.
const FREE_BYTES_MIN: u64 = 128 << 20;
/// QUIC's own largest probe; what is larger is not looked for.
const MTU_PROBED_MAX: u16 = 1_452;
/// How long probing may take.
const PROBING: Duration = Duration::from_secs(2);
