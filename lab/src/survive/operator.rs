//! What operators want: rounds, rollouts of what they made, and a fleet of
//! the right devices.

use std::sync::Arc;

use common::ids::{BlobHash, TaskHash};
use common::task::Task;
use common::wire::codec::{decode_blob, encode};
use coordinator::core::command::{AdminCommand, Command, ReReleaseOf, Reply};
use coordinator::rollout::{Order, Plan, Releases};
use coordinator::status::Fault;
use coordinator::store::Store;

use super::fake_compute::FakeProduct;
use super::server::Asked;
use super::simulator::{Simulator, SimulatorEvent};

impl Simulator {
    pub(super) fn operator(&mut self) {
        let task = self.any_task();
        let name = Some(task.to_string());
        if self.scenario.policy.interval_ms.is_none() {
            let cancels = self.random.chance(0.05) && !self.is_calm;
            if cancels {
                self.order(|reply| AdminCommand::CancelRound { name, reply });
            } else {
                self.start_rounds();
            }
        }
        self.approve();
        if !self.is_calm {
            if self.random.chance(0.3) {
                self.order_rollout(task);
            }
            if self.random.chance(self.scenario.revoking) {
                self.revoke();
            }
        }
        if !self.is_calm || self.scenario.approves() {
            let at = self.now + self.random.duration(500, 20_000);
            self.at(at, SimulatorEvent::Operator);
        }
    }

    fn start_rounds(&mut self) {
        let tasks: Vec<Arc<Task>> = self.tasks.clone();
        for task in tasks {
            if self.is_calm || self.random.chance(0.7) {
                let name = Some(task.hash().to_string());
                self.ask(Asked::Order, |reply| {
                    Command::Admin(AdminCommand::StartRound { name, reply })
                });
            }
        }
    }

    /// Something that an operator wants done.
    fn order(&mut self, command: impl FnOnce(Reply<Result<(), Fault>>) -> AdminCommand) {
        self.ask(Asked::Order, |reply| Command::Admin(command(reply)));
    }

    /// Lets in all that wait.
    fn approve(&mut self) {
        let Some(core) = self.server.core() else {
            return;
        };
        let applicants = core.registry().applicants().keys().copied();
        let waiting: Vec<_> = applicants.collect();
        for device in waiting {
            self.order(|reply| AdminCommand::Decide {
                device,
                approved: true,
                reply,
            });
        }
    }

    /// One device is out for good.
    fn revoke(&mut self) {
        let index = self.any_device();
        let device = self.devices[index].id;
        self.ask(Asked::Revoke { device }, |reply| {
            Command::Admin(AdminCommand::Revoke {
                device,
                reason: "lost".to_owned(),
                reply,
            })
        });
    }

    fn order_rollout(&mut self, task: TaskHash) {
        let choice = self.random.between(0, 8);
        let Some(engine) = self.server.engine(task) else {
            return;
        };
        let name = Some(task.to_string());
        let order = match choice {
            0..4 => {
                let Some(version) = engine.state().held.last().copied() else {
                    return;
                };
                let plan = match &engine.policy().releases {
                    Releases::Staged(plan) => plan.clone(),
                    _ => Plan {
                        soak_ms: 1_000,
                        ..Plan::default()
                    },
                };
                Order::Start { version, plan }
            }
            4 => Order::Pause,
            5 => Order::Resume,
            6 => Order::Abort,
            _ => return self.roll_back(task),
        };
        self.order(|reply| AdminCommand::Rollout { name, order, reply });
    }

    /// An operator wants an earlier release again.
    fn roll_back(&mut self, task: TaskHash) {
        let Some(engine) = self.server.engine(task) else {
            return;
        };
        let releases: Vec<_> = engine
            .state()
            .releases
            .iter()
            .map(|one| one.version)
            .collect();
        if releases.is_empty() {
            return;
        }
        let version = releases[self.random.between(0, releases.len() as u64) as usize];
        self.ask(Asked::Plan, |reply| {
            Command::Admin(AdminCommand::PlanReRelease {
                name: Some(task.to_string()),
                version: Some(version),
                reply,
            })
        });
    }

    /// It is signed again under a higher version.
    pub(super) fn sign_again(&mut self, plan: ReReleaseOf) {
        let ReReleaseOf { task, mut again } = plan;
        let bytes = self.server.store.blob(again.blob).ok().flatten();
        let Some(mut release) = bytes.and_then(|bytes| decode_blob::<FakeProduct>(&bytes).ok())
        else {
            let from = again.from;
            return self.hold(Err(format!("release {from} is listed and cannot be read")));
        };
        release.version = Some(again.version);
        let bytes = encode(&release);
        let pin = self.pins().pin(BlobHash::of(&bytes));
        let Ok(blob) = self.server.store.put_blob(&bytes) else {
            return;
        };
        (again.blob, again.bytes) = (blob, bytes.len() as u64);
        self.ask(Asked::ReRelease { _pin: pin }, |reply| {
            Command::Admin(AdminCommand::ReRelease {
                task,
                done: vec![again],
                reply,
            })
        });
    }
}
