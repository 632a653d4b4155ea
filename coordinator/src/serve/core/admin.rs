//! What operators ask of the core.

use std::sync::Arc;

use common::ids::{BlobHash, DeviceId, Time, Version};
use common::task::Task;
use common::transport::CloseCode;

use super::super::command::AdminCommand;
use super::super::log::LogEntry;
use super::effect::{Effect, not_stored};
use super::{Core, Runner};
use crate::admin::{Fault, FaultKind, TaskSummary};
use crate::registry::RegistryEvent;
use crate::round::{Event, Input, State, TaskEvent};

impl Core {
    pub(super) fn admin(&mut self, now: Time, command: AdminCommand) {
        match command {
            AdminCommand::Status { reply } => {
                let _ = reply.send(self.status(now));
            }
            AdminCommand::AddToken { record, reply } => {
                if !self.in_service {
                    let _ = reply.send(Err(not_stored()));
                    return;
                }
                self.record(RegistryEvent::TokenCreated { record, at: now });
                self.effects.push(Effect::done(reply, ()));
            }
            AdminCommand::AddTask { task, reply } => match self.add_task(now, task) {
                Ok(summary) => self.effects.push(Effect::done(reply, summary)),
                Err(fault) => {
                    let _ = reply.send(Err(fault));
                }
            },
            AdminCommand::Task { name, reply } => {
                let found = self.find(name.as_deref());
                let _ = reply.send(found.map(|at| summary(&self.tasks[at].task, false)));
            }
            AdminCommand::StartRound { name, reply } => match self.find(name.as_deref()) {
                Err(fault) => {
                    let _ = reply.send(Err(fault));
                }
                Ok(at) => {
                    let ticket = self.answers.expect_round(reply);
                    self.feed(now, at, Input::StartRound { ticket });
                }
            },
            AdminCommand::CancelRound { name, reply } => match self.running(name.as_deref()) {
                Err(fault) => {
                    let _ = reply.send(Err(fault));
                }
                Ok(at) => {
                    self.tasks[at].run = None;
                    self.feed(now, at, Input::CancelRound);
                    self.effects.push(Effect::done(reply, ()));
                }
            },
            AdminCommand::Revoke { device, reply } => match self.revoke(now, device) {
                Ok(()) => self.effects.push(Effect::done(reply, ())),
                Err(fault) => {
                    let _ = reply.send(Err(fault));
                }
            },
            AdminCommand::Lineage {
                task,
                version,
                reply,
            } => {
                let _ = reply.send(self.lineage(task, version));
            }
            AdminCommand::Release {
                name,
                version,
                reply,
            } => {
                let _ = reply.send(self.release(name.as_deref(), version));
            }
        }
    }

    fn add_task(&mut self, now: Time, task: Arc<Task>) -> Result<TaskSummary, Fault> {
        if !self.in_service {
            return Err(not_stored());
        }
        if self.position(task.hash()).is_some() {
            return Ok(summary(&task, false));
        }
        if self.tasks.len() >= TASKS_MAX {
            let message = format!("{TASKS_MAX} tasks exist, which is the most allowed");
            return Err(Fault::new(FaultKind::Invalid, message));
        }
        let event = Event::TaskCreated {
            spec: BlobHash::of(task.bytes()),
            at: now,
        };
        let mut state = State::default();
        state.apply(&event);
        let entry = LogEntry::Task(TaskEvent {
            task: task.hash(),
            event,
        });
        self.entries.push(entry.to_bytes());
        let made = summary(&task, true);
        self.add_runner(now, task, state);
        Ok(made)
    }

    fn revoke(&mut self, now: Time, device: DeviceId) -> Result<(), Fault> {
        if !self.in_service {
            return Err(not_stored());
        }
        if !self.registry.members().contains_key(&device) {
            let message = format!("no device {device}; `device list` shows those that joined");
            return Err(Fault::new(FaultKind::NotFound, message));
        }
        if !self.registry.revoked().contains(&device) {
            self.record(RegistryEvent::Revoked { device, at: now });
            self.effects.push(Effect::PublishRevoked);
        }
        self.sessions
            .close(device, CloseCode::Revoked, "revoked by an operator");
        for at in 0..self.tasks.len() {
            self.feed(now, at, Input::Disconnected { device });
        }
        Ok(())
    }

    fn release(
        &self,
        name: Option<&str>,
        version: Option<Version>,
    ) -> Result<(Version, BlobHash), Fault> {
        let runner = &self.tasks[self.find(name)?];
        let releases = &runner.engine.state().releases;
        let found = match version {
            None => releases.last(),
            Some(version) => releases.iter().find(|release| release.version == version),
        };
        found
            .map(|release| (release.version, release.blob))
            .ok_or_else(|| {
                let message = match version {
                    None => "this task has no release yet; start a round".to_owned(),
                    Some(version) => format!("no release {version}; `model list` shows all"),
                };
                Fault::new(FaultKind::NotFound, message)
            })
    }

    fn running(&self, name: Option<&str>) -> Result<usize, Fault> {
        let at = self.find(name)?;
        match &self.tasks[at].engine.state().round {
            Some(_) => Ok(at),
            None => Err(Fault::new(FaultKind::NotFound, "no round is running")),
        }
    }

    /// The task with this name, hash or beginning of a hash; without one, the
    /// only task there is. Of several with one name, the newest.
    fn find(&self, name: Option<&str>) -> Result<usize, Fault> {
        if !self.in_service {
            return Err(not_stored());
        }
        let Some(name) = name else {
            return match self.tasks.len() {
                1 => Ok(0),
                0 => Err(Fault::new(
                    FaultKind::NotFound,
                    "there is no task yet; create one with `alambic-coordinator task create FILE`",
                )),
                several => Err(Fault::new(
                    FaultKind::Invalid,
                    format!("there are {several} tasks; name one with --task"),
                )),
            };
        };
        let is_named = |runner: &Runner| {
            runner.task.definition().name == name
                || (name.len() >= HASH_DIGITS_MIN
                    && runner.task.hash().to_string().starts_with(name))
        };
        self.tasks.iter().rposition(is_named).ok_or_else(|| {
            let message = format!("no task {name:?}; `task list` shows all");
            Fault::new(FaultKind::NotFound, message)
        })
    }
}

fn summary(task: &Task, created: bool) -> TaskSummary {
    TaskSummary {
        task: task.hash(),
        name: task.definition().name.clone(),
        created,
        definition: serde_json::to_value(task.definition()).unwrap_or_default(),
    }
}

/// Tasks one coordinator runs.
const TASKS_MAX: usize = 256;
/// Digits of a hash that may stand for it.
const HASH_DIGITS_MIN: usize = 4;
