//! The tasks that a coordinator offers, before it calls for any.

use common::task::Task;
use common::transport::Tuning;
use common::wire::messages::{Hello, PROTOCOL_MINOR, ToDevice};

use super::{ExitCode, Failure, block_on, own_state};
use crate::cache::Cache;
use crate::config::Config;
use crate::driver::link::{Link, fetch};
use crate::driver::local::{CACHE, CACHE_BYTES_MAX};
use crate::identity::{Identity, TimeFloor};
use crate::route::Route;
use crate::state::StateError;

/// Asks the coordinator, as this device, for the tasks that it has.
///
/// # Errors
/// If the device has not joined, its agent runs, or the coordinator cannot be
/// reached.
pub(super) fn offered_tasks(config: &Config) -> Result<Vec<Task>, Failure> {
    let state = own_state(config)?;
    let _lock = match state.lock() {
        Err(StateError::Locked { .. }) => {
            let message = "the agent is running, and a device has one connection at a time";
            return Err(Failure::new(ExitCode::Failed, message).advise(
                "leave --coordinator out, which takes the tasks that it was called for, or name \
                 a task's file with --task",
            ));
        }
        other => other?,
    };
    let identity = std::sync::Arc::new(Identity::load(&state)?);
    let cache = Cache::open(&state.file(CACHE), CACHE_BYTES_MAX)
        .map_err(|error| Failure::new(ExitCode::Failed, error.to_string()))?;
    let coordinator = config.coordinator.clone();
    let route = Route {
        coordinator: coordinator.unwrap_or(identity.membership.coordinator.clone()),
        identity,
        floor: TimeFloor::load(&state),
        tuning: Tuning::device(),
    };
    block_on(async { ask(&route, &cache).await })
}

async fn ask(route: &Route, cache: &Cache) -> Result<Vec<Task>, Failure> {
    let hello = Hello {
        minor: PROTOCOL_MINOR,
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        installed: Vec::new(),
        instance: 0,
        clock: route.floor.shown(),
    };
    let (connection, _sender, mut receiver, closer) = Link::open(route, hello).await?.split();
    let found = async {
        let mut tasks = Vec::new();
        let ToDevice::Welcome(welcome) = receiver.receive().await? else {
            return Ok(tasks);
        };
        for (name, blob) in welcome.tasks {
            let bytes = match cache.read(blob) {
                Ok(bytes) => bytes,
                Err(_) => {
                    fetch(&connection, cache, blob).await?;
                    let read = cache.read(blob);
                    read.map_err(|error| Failure::new(ExitCode::NotFound, error.to_string()))?
                }
            };
            let task = Task::from_bytes(&bytes).map_err(|error| {
                let message = format!("task {}: {error}", name.short());
                Failure::new(ExitCode::Failed, message)
                    .advise("update the older of the two programs")
            })?;
            tasks.push(task);
        }
        Ok(tasks)
    };
    let found = found.await;
    closer.close().await;
    found
}
