//! What operators ask of the core.

use std::sync::Arc;

use protocol::ids::{BlobHash, TaskHash, Time, Version};
use protocol::task::Task;

use super::effect::{Pending, not_stored};
use super::{Core, Runner};
use crate::core::command::{AdminCommand, ReReleaseOf, Reply};
use crate::entry::LogEntry;
use crate::registry::RegistryEvent;
use crate::rollout::{Order, OrderError};
use crate::round::{Event, Input, ReRelease, Release, State, TaskEvent};
use crate::status::{DeviceName, Fault, FaultKind, Namesake, TaskSummary};

impl Core {
    pub(super) fn admin(&mut self, now: Time, command: AdminCommand) {
        match command {
            AdminCommand::Status { reply } => {
                let status = Box::new(self.status(now));
                self.answer(reply, status);
            }
            AdminCommand::AddToken { record, reply } => {
                if !self.in_service {
                    self.answer(reply, Err(not_stored()));
                    return;
                }
                self.record(RegistryEvent::TokenCreated { record, at: now });
                self.pending.push(Pending::done(reply, ()));
            }
            AdminCommand::AddTask {
                task,
                namesake,
                reply,
            } => match self.add_task(now, task, namesake) {
                Ok(summary) => self.pending.push(Pending::done(reply, summary)),
                Err(fault) => self.answer(reply, Err(fault)),
            },
            AdminCommand::Task { name, reply } => {
                let found = self.find(name.as_deref());
                let found = found.map(|at| summary(&self.tasks[at].task, false));
                self.answer(reply, found);
            }
            AdminCommand::ArchiveTask { name, away, reply } => {
                let outcome = self.archive(now, name.as_deref(), away);
                self.settle(reply, outcome);
            }
            AdminCommand::DeleteTask { name, reply } => {
                let outcome = self.delete(now, &name);
                self.settle(reply, outcome);
            }
            AdminCommand::StartRound { name, reply } => match self.find(name.as_deref()) {
                Err(fault) => self.answer(reply, Err(fault)),
                Ok(at) => {
                    let ticket = self.answers.expect_round(reply);
                    self.feed(now, at, Input::StartRound { ticket });
                }
            },
            AdminCommand::CancelRound { name, reply } => match self.running(name.as_deref()) {
                Err(fault) => self.answer(reply, Err(fault)),
                Ok(at) => {
                    self.tasks[at].run = None;
                    self.feed(now, at, Input::CancelRound);
                    self.pending.push(Pending::done(reply, ()));
                }
            },
            AdminCommand::Relearn { name, reply } => {
                let outcome = self.relearn(now, name.as_deref());
                self.settle(reply, outcome);
            }
            AdminCommand::Lineage {
                name,
                version,
                reply,
            } => {
                let lineage = self.lineage(name.as_deref(), version);
                self.answer(reply, lineage);
            }
            AdminCommand::Tokens { reply } => {
                let tokens = self.registry.tokens().values().cloned().collect();
                self.answer(reply, tokens);
            }
            AdminCommand::RevokeToken { token, reply } => {
                let outcome = self.revoke_token(now, token);
                self.settle(reply, outcome);
            }
            AdminCommand::Decide {
                device,
                approved,
                reply,
            } => {
                let outcome = self.decide(now, device, approved);
                self.settle(reply, outcome);
            }
            AdminCommand::Label {
                device,
                label,
                reply,
            } => {
                let outcome = self.label(now, device, &label);
                self.settle(reply, outcome);
            }
            AdminCommand::Revoke {
                device,
                reason,
                reply,
            } => {
                let outcome = self.revoke(now, device, &reason);
                self.settle(reply, outcome);
            }
            AdminCommand::Release {
                name,
                version,
                reply,
            } => {
                let release = self.release(name.as_deref(), version);
                self.answer(reply, release);
            }
            AdminCommand::Rollout { name, order, reply } => {
                let outcome = self.rollout(now, name.as_deref(), order);
                self.settle(reply, outcome);
            }
            AdminCommand::PlanReRelease {
                name,
                version,
                reply,
            } => {
                let plan = self.plan_rerelease(name.as_deref(), version);
                self.answer(reply, plan);
            }
            AdminCommand::Forget { device, reply } => {
                let outcome = self.forget(now, device);
                self.settle(reply, outcome);
            }
            AdminCommand::Pardon { device, reply } => {
                let outcome = self.pardon(now, device);
                self.settle(reply, outcome);
            }
            AdminCommand::ReRelease { task, done, reply } => {
                let outcome = self.rerelease(now, task, done);
                self.settle(reply, outcome);
            }
        }
    }

    /// Answers a request at once if it failed, and otherwise once what it
    /// changed is durable.
    fn settle(&mut self, reply: Reply<Result<(), Fault>>, outcome: Result<(), Fault>) {
        match outcome {
            Ok(()) => self.pending.push(Pending::done(reply, ())),
            Err(fault) => self.answer(reply, Err(fault)),
        }
    }

    fn add_task(
        &mut self,
        now: Time,
        task: Arc<Task>,
        namesake: Namesake,
    ) -> Result<TaskSummary, Fault> {
        if !self.in_service {
            return Err(not_stored());
        }
        let warning = self.doubt(&task.definition().groups);
        if self.position(task.hash()).is_some() {
            return Ok(TaskSummary {
                warning,
                ..summary(&task, false)
            });
        }
        if self.tasks.len() >= TASKS_MAX {
            let message = format!("{TASKS_MAX} tasks exist, which is the most allowed");
            return Err(Fault::new(FaultKind::Invalid, message));
        }
        self.make_way(now, &task, namesake)?;
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
        let made = TaskSummary {
            warning,
            ..summary(&task, true)
        };
        self.add_runner(now, task, state);
        Ok(made)
    }

    fn release(
        &self,
        name: Option<&str>,
        version: Option<Version>,
    ) -> Result<(Version, BlobHash), Fault> {
        let release = self.released(name, version)?;
        Ok((release.version, release.blob))
    }

    fn rollout(&mut self, now: Time, name: Option<&str>, order: Order) -> Result<(), Fault> {
        let at = self.find(name)?;
        let checked = self.tasks[at].engine.check_order(&order);
        checked.map_err(|error| {
            let kind = match &error {
                OrderError::Unknown(_) | OrderError::None => FaultKind::NotFound,
                OrderError::Open(_) => FaultKind::Busy,
                _ => FaultKind::Invalid,
            };
            Fault::new(kind, error.to_string())
        })?;
        self.feed(now, at, Input::Ordered(order));
        Ok(())
    }

    /// Without a version, the student before the one that devices are offered
    /// or that a rollout brings them, by content.
    fn plan_rerelease(
        &self,
        name: Option<&str>,
        version: Option<Version>,
    ) -> Result<ReReleaseOf, Fault> {
        let runner = &self.tasks[self.find(name)?];
        let release = match version {
            Some(version) => self.released(name, Some(version))?,
            None => {
                let newest = self.released(name, None)?.version;
                runner.engine.state().before_offered().map_err(|unwanted| {
                    let unwanted = unwanted.unwrap_or(newest);
                    let message = format!(
                        "no student before {unwanted} is there to go back to; `model list` shows \
                         all, and `rollout rollback VERSION` takes any of them"
                    );
                    Fault::new(FaultKind::NotFound, message)
                })?
            }
        };
        Ok(ReReleaseOf {
            task: runner.task.hash(),
            again: ReRelease {
                from: release.version,
                version: runner.engine.next_version(),
                blob: release.blob,
                bytes: release.bytes,
                held: false,
            },
        })
    }

    /// The events of one command go into the log together: a cut leaves all
    /// of these releases or none.
    fn rerelease(&mut self, now: Time, task: TaskHash, done: Vec<ReRelease>) -> Result<(), Fault> {
        let at = self.position(task).filter(|_| self.in_service);
        let at = at.ok_or_else(not_stored)?;
        let next = self.tasks[at].engine.next_version();
        let planned = (0..).map(|above| next.above(above));
        if !done
            .iter()
            .map(|one| one.version)
            .eq(planned.take(done.len()))
        {
            let message = "another student was released meanwhile; try again";
            return Err(Fault::new(FaultKind::Busy, message));
        }
        for again in done {
            self.feed(now, at, Input::ReReleased(again));
        }
        Ok(())
    }

    fn lineage(
        &self,
        name: Option<&str>,
        version: Option<Version>,
    ) -> Result<(Version, Vec<DeviceName>), Fault> {
        let release = self.released(name, version)?;
        let devices = release.lineage.iter();
        Ok((
            release.version,
            devices.map(|device| self.name(*device)).collect(),
        ))
    }

    fn released(&self, name: Option<&str>, version: Option<Version>) -> Result<&Release, Fault> {
        let runner = &self.tasks[self.find(name)?];
        let releases = &runner.engine.state().releases;
        let found = match version {
            None => releases.last(),
            Some(version) => releases.iter().find(|release| release.version == version),
        };
        found.ok_or_else(|| {
            let message = match version {
                None => "this task has no release yet; start a round".to_owned(),
                Some(version) => format!("no release {version}; `model list` shows all"),
            };
            Fault::new(FaultKind::NotFound, message)
        })
    }

    /// Has the next round ask all devices for profiles and points again.
    fn relearn(&mut self, now: Time, name: Option<&str>) -> Result<(), Fault> {
        let at = self.find(name)?;
        let engine = &self.tasks[at].engine;
        if engine.state().round.is_some() && !engine.is_standing() {
            let message =
                "a round is open; wait for its end, or end it with `round cancel`".to_owned();
            return Err(Fault::new(FaultKind::Busy, message));
        }
        self.feed(now, at, Input::Relearn);
        Ok(())
    }

    fn running(&self, name: Option<&str>) -> Result<usize, Fault> {
        let at = self.find(name)?;
        match &self.tasks[at].engine.state().round {
            Some(_) => Ok(at),
            None => Err(Fault::new(FaultKind::NotFound, "no round is running")),
        }
    }

    /// The task with this name, hash or beginning of a hash; without one, the
    /// only task at work. Of several with one name, the newest that is at work.
    pub(super) fn find(&self, name: Option<&str>) -> Result<usize, Fault> {
        if !self.in_service {
            return Err(not_stored());
        }
        let Some(name) = name else {
            let at_work = |at: &usize| !self.tasks[*at].engine.is_archived();
            let at_work: Vec<usize> = (0..self.tasks.len()).filter(at_work).collect();
            return match at_work[..] {
                [only] => Ok(only),
                [] if self.tasks.len() == 1 => Ok(0),
                [] if !self.tasks.is_empty() => Err(Fault::new(
                    FaultKind::Invalid,
                    "all tasks are archived; name one with --task",
                )),
                [] => Err(Fault::new(
                    FaultKind::NotFound,
                    "there is no task yet; create one with `alambic-coordinator task create FILE`",
                )),
                ref several => Err(Fault::new(
                    FaultKind::Invalid,
                    format!("there are {} tasks; name one with --task", several.len()),
                )),
            };
        };
        let is_named = |runner: &Runner| {
            runner.task.definition().name == name
                || (name.len() >= HASH_DIGITS_MIN
                    && runner.task.hash().to_string().starts_with(name))
        };
        let at_work = |runner: &Runner| is_named(runner) && !runner.engine.is_archived();
        let found = self.tasks.iter().rposition(at_work);
        let found = found.or_else(|| self.tasks.iter().rposition(is_named));
        found.ok_or_else(|| {
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
        warning: None,
    }
}

/// Tasks one coordinator runs.
const TASKS_MAX: usize = 256;
/// Digits of a hash that may stand for it.
const HASH_DIGITS_MIN: usize = 4;
