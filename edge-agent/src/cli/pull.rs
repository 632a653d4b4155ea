//! `pull`: fetch, verify and install the newest student, once.

use std::collections::{BTreeMap, BTreeSet};

use common::ids::{BlobHash, TaskHash};
use common::wire::messages::{
    Announcement, Hello, PROTOCOL_MINOR, ToCoordinator, ToDevice, Welcome,
};

use super::run::{Device, seed};
use super::student::{find, installed, with_digits};
use serde_json::json;

use super::{ExitCode, Failure, block_on, own_state, to_json};
use crate::config::Config;
use crate::driver::backend::{Backend as _, BackendError, Verdict};
use crate::driver::link::{Link, Newest, fetch, fetch_against, newest};
use crate::driver::local::{FolderSource, InProcess, WorkSettings, Worker, known_tasks};
use crate::state::{StateDir, StateError};
use crate::trust::Trust;

/// Fetch the newest student, verify it, try it on the data if there is any,
/// and install it. Succeeds as well if it is installed already, so that a
/// timer may do this.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  alambic-agent pull && alambic-agent predict --input new.csv")]
pub(super) struct Arguments {
    /// The task, if the coordinator runs several: its hash or the first digits of it, or the name
    /// of an installed student's
    #[arg(long, value_name = "NAME|HASH")]
    task: Option<String>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    common::math::blas::pin_to_one_thread();
    let state = own_state(config)?;
    let _lock = match state.lock() {
        Err(StateError::Locked { .. }) => {
            if arguments.json {
                let told = json!({ "task": null, "version": null, "done": "agent_runs" });
                println!("{}", to_json(&told)?);
            } else {
                println!("the agent is running: releases are pushed to it, nothing to pull");
            }
            return Ok(());
        }
        other => other?,
    };
    let device = Device::open(config, &state, |identity, clock| {
        // This process ends when the work is done, like a child would.
        let source = FolderSource::new(config.data.clone(), config.reading());
        let settings = WorkSettings {
            policy: config.policy.clone(),
            teacher: config.teacher.clone(),
            clock,
            seed: seed(identity),
        };
        InProcess::open(&state, source, settings)
    })?;
    for (_, version, evaluation) in device.backend.soak()? {
        // For people; what comes next is what scripts wait for.
        if !arguments.json {
            println!("version {version}, after its soak: {evaluation}");
        }
    }
    let release = block_on(async { bring(&device, config, arguments).await })?;
    let blobs = |blob| device.cache.read(blob);
    let mut tried = device.backend.install(&release, &blobs);
    // The models of its task, of which there are two at most.
    for _ in 0..MODELS_MAX {
        let Err(BackendError::Blob(model)) = tried else {
            break;
        };
        block_on(async { bring_model(&device, model).await })?;
        tried = device.backend.install(&release, &blobs);
    }
    match tried? {
        Verdict::Refused { reason } => {
            let message = format!("version {} refused: {reason}", release.version);
            let advice = "the student at hand stays; tell the operator";
            Err(Failure::new(ExitCode::Unverified, message).advise(advice))
        }
        verdict if arguments.json => {
            let told = json!({
                "task": release.task,
                "version": release.version,
                "done": verdict.word(),
            });
            println!("{}", to_json(&told)?);
            Ok(())
        }
        verdict => {
            println!("version {}: {verdict}", release.version);
            Ok(())
        }
    }
}

/// A model that the release's task sends its inputs through.
async fn bring_model<W: Worker>(device: &Device<W>, model: BlobHash) -> Result<(), Failure> {
    let (connection, _sender, _receiver, closer) =
        Link::open(&device.route, hello(device)).await?.split();
    let fetched = fetch(&connection, &device.cache, model).await;
    closer.close().await;
    if !fetched? {
        let message = "the coordinator does not have the model of the student's task";
        return Err(Failure::new(ExitCode::NotFound, message).advise("tell the operator"));
    }
    let kept = device.cache.keep(model);
    kept.map_err(|error| Failure::new(ExitCode::Failed, error.to_string()))
}

fn hello<W: Worker>(device: &Device<W>) -> Hello {
    Hello {
        minor: PROTOCOL_MINOR,
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        installed: device.backend.installed(),
        instance: 0,
        clock: device.route.floor.shown(),
    }
}

/// A model, and one that makes its input.
const MODELS_MAX: usize = 2;

/// Keeps what the coordinator says of the keys that sign releases.
fn hear<W: Worker>(device: &Device<W>, welcome: &Welcome) -> Result<(), Failure> {
    let now = device.route.floor.clock().now();
    let heard = Trust::hear(&device.state, &welcome.trust_root, &welcome.freshness, now);
    heard.map(drop).map_err(|error| {
        Failure::new(ExitCode::Unverified, error.to_string()).advise(error.advice())
    })
}

/// What tasks are called, as far as this device knows.
fn names(config: &Config, state: &StateDir) -> BTreeMap<TaskHash, String> {
    let called = known_tasks(state).unwrap_or_default().into_iter();
    let called = called.map(|task| (task.hash(), task.definition().name.clone()));
    let installed = installed(config).unwrap_or_default().into_iter();
    let installed = installed.filter_map(|one| Some((one.task, one.name?)));
    called.chain(installed).collect()
}

/// The coordinator has nothing that the question fits; `offered` is what it has.
fn no_task(
    meant: Option<TaskHash>,
    offered: &[TaskHash],
    names: &BTreeMap<TaskHash, String>,
) -> Failure {
    let listed = offered.iter().map(|task| match names.get(task) {
        Some(name) => format!("{task} ({name})"),
        None => task.to_string(),
    });
    let listed = listed.collect::<Vec<_>>().join(", ");
    let (code, message) = match (meant, offered) {
        (None, [_, _, ..]) => (
            ExitCode::Usage,
            "the coordinator has several tasks for this device".to_owned(),
        ),
        (None, _) => (
            ExitCode::NotFound,
            "the coordinator has no task at work for this device".to_owned(),
        ),
        (Some(task), _) => (
            ExitCode::NotFound,
            format!("the coordinator has no task {task} for this device"),
        ),
    };
    let failure = Failure::new(code, message);
    match offered {
        [] => failure.advise("`alambic-coordinator task list` shows the fleet's tasks"),
        _ => failure.advise(format!("name one with --task: {listed}")),
    }
}

/// The newest release, announced and in the cache.
async fn bring<W: Worker>(
    device: &Device<W>,
    config: &Config,
    arguments: &Arguments,
) -> Result<Announcement, Failure> {
    let (connection, mut sender, mut receiver, closer) =
        Link::open(&device.route, hello(device)).await?.split();
    let found = async {
        let mut offered = Vec::new();
        if let ToDevice::Welcome(welcome) = receiver.receive().await? {
            hear(device, &welcome)?;
            offered = welcome.tasks.iter().map(|(task, _)| *task).collect();
        }
        let meant = arguments.task.as_deref();
        let begun = meant.map(|digits| with_digits(offered.iter().copied(), digits));
        let task = match begun.as_deref() {
            Some([task]) => Some(*task),
            _ => find(config, meant)?,
        };
        for (task, version, evaluation) in device.backend.evaluations() {
            let tried = ToCoordinator::Tried {
                task,
                version,
                evaluation,
            };
            sender.send(&tried).await?;
        }
        let release = match newest(&connection, task).await? {
            Newest::Release(release) => release,
            Newest::NoRelease => {
                let message = "the task has no student yet";
                let advice = "wait for its first round (`alambic-coordinator round start`)";
                return Err(Failure::new(ExitCode::NotFound, message).advise(advice));
            }
            Newest::NoTask => {
                return Err(no_task(task, &offered, &names(config, &device.state)));
            }
        };
        let cached = device
            .cache
            .blobs()
            .map_err(crate::driver::LinkError::from)?;
        let at_hand = device
            .backend
            .seen()
            .into_iter()
            .any(|(task, version)| task == release.task && version >= release.version);
        if !at_hand && !cached.contains(&release.blob) {
            let base = device.backend.base(release.task);
            let by_delta = match &base {
                Some(base) => fetch_against(&connection, &device.cache, release.blob, base).await?,
                None => false,
            };
            if !by_delta && !fetch(&connection, &device.cache, release.blob).await? {
                let message = "the coordinator announces a student and does not have it";
                return Err(Failure::new(ExitCode::NotFound, message).advise("try again later"));
            }
            let _ = device.cache.evict(&BTreeSet::from([release.blob]));
        }
        Ok(release)
    };
    let found = found.await;
    closer.close().await;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_tasks_are_named_where_none_is_meant() {
        let (one, two) = (TaskHash([1; 32]), TaskHash([2; 32]));
        let names = BTreeMap::from([(two, "pump".to_owned())]);
        let text = no_task(None, &[one, two], &names).to_string();
        assert!(text.contains("several tasks"), "{text}");
        assert!(!text.contains("update the older"), "{text}");
        let text = format!("{:?}", no_task(None, &[one, two], &names));
        assert!(text.contains(&one.to_string()), "{text}");
        assert!(text.contains(&format!("{two} (pump)")), "{text}");
        let text = no_task(None, &[], &names).to_string();
        assert!(text.contains("no task"), "{text}");
        let text = no_task(Some(two), &[one], &names).to_string();
        assert!(text.contains(&two.to_string()), "{text}");
    }
}
