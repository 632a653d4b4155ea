//! The coordinator's loop, as in `coordinator::server`: one append for all that
//! is ready, then what follows from it; nothing before it.

use std::sync::Arc;

use common::ids::{BlobHash, TaskHash};
use common::round::Reason;
use common::task::Task;
use common::wire::messages::{ToDevice, TransferAnswer};
use coordinator::core::answer::{Answer, Reply, ReplyId};
use coordinator::core::command::{Admitted, Command, RunId};
use coordinator::core::{Effect, Work};
use coordinator::round::{Job, JobKind, JobOutput};
use coordinator::store::{PartialKey, Store, StoreError};

use super::Planted;
use super::fake_compute;
use super::network::Down;
use super::server::{Asked, Waiting};
use super::simulator::{Simulator, SimulatorEvent};

impl Simulator {
    pub(super) fn command(&mut self, command: Command) {
        let waiting_max = COMMANDS_MAX + SENDERS_A_DEVICE * self.devices.len();
        let Some(process) = self.process() else {
            return;
        };
        process.commands.push_back(command);
        let waiting = process.commands.len();
        if waiting > waiting_max {
            self.hold(Err(format!("{waiting} commands wait for the coordinator")));
        }
        self.pump();
    }

    /// Asks the core something, and notes who waits for the answer.
    pub(super) fn ask<T: Into<Answer>>(
        &mut self,
        asked: Asked,
        command: impl FnOnce(Reply<T>) -> Command,
    ) {
        let Some(process) = self.process() else {
            return;
        };
        process.questions += 1;
        let id = ReplyId(process.questions);
        process.asked.insert(id, asked);
        self.command(command(Reply::to(id)));
    }

    /// The driver's loop, until it waits for the disk.
    pub(super) fn pump(&mut self) {
        while let Some(process) = self.process()
            && process.appending.is_none()
            && let Some(command) = process.commands.pop_front()
        {
            self.handle(command);
            self.settle();
        }
        self.wake_server();
    }

    /// Tells the core, and does what need not wait for the log.
    fn handle(&mut self, command: Command) {
        let now = self.server_time();
        let Some(process) = self.process() else {
            return;
        };
        if let Command::Computed { run, .. } = &command {
            process.told.extend(process.unnamed.remove(run));
        }
        let question = match &command {
            Command::Offer { reply, .. } | Command::Arrived { reply, .. } => Some(reply.question()),
            _ => None,
        };
        let before = process.core.entries();
        process.core.handle(now, command);
        let after = process.core.entries();
        if let Some(Asked::Transfer { recorded, .. }) =
            question.and_then(|id| process.asked.get_mut(&id))
        {
            *recorded = after > before;
        }
        self.perform();
    }

    /// Begins to make durable what is queued; without any, its effects happen.
    pub(super) fn settle(&mut self) {
        let slow = self.server.slow_until > self.now;
        let flush_ms = match slow {
            true => self.random.between(500, 5_000),
            false => self.random.between(0, self.scenario.flush_ms + 1),
        };
        let early = self.planted == Some(Planted::AcknowledgeBeforeFlush);
        let (now, life) = (self.now, self.server.life);
        let Some(process) = self.process() else {
            return;
        };
        if process.appending.is_some() {
            return;
        }
        let entries = process.core.take_entries();
        if entries.is_empty() {
            return self.committed();
        }
        process.appending = Some(entries);
        process.appends += 1;
        let append = process.appends;
        self.at(now + flush_ms, SimulatorEvent::Flushed { life, append });
        if early {
            self.committed();
        }
    }

    fn committed(&mut self) {
        if let Some(process) = self.process() {
            process.core.committed();
            process.told.clear();
        }
        self.perform();
    }

    /// The disk is done.
    pub(super) fn flushed(&mut self, life: u64, append: u64) {
        if life != self.server.life {
            return;
        }
        let Some(process) = self.server.process.as_mut() else {
            return;
        };
        if process.appends != append {
            return;
        }
        let Some(entries) = process.appending.take() else {
            return;
        };
        let at = (process.epoch, process.next);
        let landed = process.landed.take();
        let appended = landed.unwrap_or_else(|| self.append(at, &entries));
        match appended {
            Ok(next) => {
                if let Some(process) = self.process() {
                    process.next = next;
                }
                let read = self.checker.read_on(&self.server.store);
                self.hold(read);
                let held = self.check_memory();
                self.hold(held);
                self.committed();
            }
            Err(StoreError::Fenced { .. }) if self.turns.is_some() => {
                self.survived.fenced += 1;
                self.end_process();
            }
            Err(_) => self.fail_store(),
        }
        self.pump();
    }

    /// Memory says what the log says, when all it did is durable.
    fn check_memory(&self) -> Result<(), String> {
        // One who has lost the lead without knowing lags behind the log.
        let Some(core) = self.server.core().filter(|_| self.leads()) else {
            return Ok(());
        };
        for task in &self.tasks {
            if let Some(engine) = core.engine(task.hash()) {
                self.checker.state(task.hash(), engine)?;
                self.checker.rollout(task.hash(), engine)?;
            }
        }
        Ok(())
    }

    /// Does all that the core wants done.
    pub(super) fn perform(&mut self) {
        while let Some(effect) = self.process().and_then(|one| one.core.poll_effect()) {
            match effect {
                Effect::Answer { to, answer } => self.answered_by_core(to, answer),
                Effect::NoAnswer { to } => {
                    if let Some(process) = self.process() {
                        process.asked.remove(&to);
                    }
                }
                Effect::Send {
                    session, message, ..
                } => self.say(session.0, message),
                Effect::Close { session, .. } => self.hang_up(session.0),
                Effect::Compute(work) => self.compute(work),
                Effect::Revoked(devices) => {
                    if let Some(process) = self.process() {
                        process.revoked = devices;
                    }
                }
                Effect::Progress(_) | Effect::Pardoned(_) => {}
            }
        }
    }

    fn say(&mut self, session: u64, message: ToDevice) {
        let open = self.process().and_then(|one| one.sessions.get(&session));
        let Some(device) = open.copied() else { return };
        if let ToDevice::Released(release) = &message {
            let id = self.devices[device].id;
            if self.leads() {
                let held = self.checker.announced(id, release.task, release.version);
                self.hold(held);
            }
        }
        self.send_down(device, session, Down::Said(message));
    }

    fn hang_up(&mut self, session: u64) {
        let open = self.process().and_then(|one| one.sessions.remove(&session));
        if let Some(device) = open {
            let at = self.now + self.random.between(1, 2_000);
            self.at(at, SimulatorEvent::LinkLost { device, session });
        }
    }

    fn answered_by_core(&mut self, to: ReplyId, answer: Answer) {
        let Some(asked) = self.process().and_then(|one| one.asked.remove(&to)) else {
            return self.hold(Err("a question was answered twice".to_owned()));
        };
        match (asked, answer) {
            (
                Asked::Transfer {
                    waiting, recorded, ..
                },
                Answer::Transfer(answer),
            ) => self.transfer_answered(waiting, recorded, answer),
            (
                Asked::Fetch {
                    device,
                    session,
                    stream,
                    blob,
                },
                Answer::Flag(public),
            ) => {
                let found = public.then(|| self.server.store.blob(blob).ok().flatten());
                let bytes = found.flatten();
                self.send_down(device, session, Down::Blob { stream, bytes });
            }
            (Asked::Join { device, session }, Answer::Admitted(result)) => {
                if result == Ok(Admitted::Member) {
                    let held = self.checker.admitted(self.devices[device].id);
                    self.hold(held);
                }
                self.send_down(device, session, Down::Joined(result));
            }
            (Asked::Revoke { device }, Answer::Done(result)) => {
                if result.is_ok() {
                    self.survived.revoked += 1;
                    let held = self.checker.was_revoked(device);
                    self.hold(held);
                }
            }
            (Asked::Plan, Answer::ReRelease(plan)) => {
                if let Ok(plan) = plan {
                    self.sign_again(plan);
                }
            }
            (Asked::Order | Asked::ReRelease { .. }, _) => {}
            (_, answer) => self.hold(Err(format!("an answer of another kind: {answer:?}"))),
        }
    }

    fn transfer_answered(&mut self, waiting: Waiting, recorded: bool, answer: TransferAnswer) {
        let device = self.devices[waiting.device].id;
        match answer {
            TransferAnswer::Send { .. } => {
                let hash = waiting.pending.blob;
                let key = PartialKey { device, hash };
                let offset = self.server.store.partial_bytes(key).unwrap_or(0);
                self.answer(waiting, TransferAnswer::Send { offset });
            }
            TransferAnswer::Accepted if !recorded => {
                self.survived.resent += 1;
                let again = (device, waiting.pending.key.task, waiting.pending.blob);
                if let Some(process) = self.process() {
                    process.resent.push(again);
                }
                self.answer(waiting, answer);
            }
            _ => self.answer(waiting, answer),
        }
    }

    fn compute(&mut self, work: Work) {
        let Work { run, task, mut job } = work;
        if self.leads() {
            let held = self.checker.job(task.hash(), &job.kind);
            self.hold(held);
        }
        self.count_twice(&task, &mut job);
        let (store, pins) = (&self.server.store, self.pins());
        let mut pin = None;
        let mut result = fake_compute::run(&job.kind, &|name| store.blob(name).ok().flatten())
            .and_then(|made| {
                pin = Some(pins.pin(BlobHash::of(&made.bytes)));
                store
                    .put_blob(&made.bytes)
                    .map_err(|error| error.to_string())?;
                Ok(made.output)
            });
        if self.random.chance(self.scenario.failing) {
            result = Err("planned".to_owned());
        }
        if let (Some(process), Some(pin)) = (self.process(), pin) {
            process.unnamed.insert(run, pin);
        }
        let at = self.now + self.random.duration(1, self.scenario.work_ms);
        let life = self.server.life;
        let computed = SimulatorEvent::Computed {
            life,
            task: task.hash(),
            run,
            result,
        };
        self.at(at, computed);
    }

    /// For a planted fault.
    fn count_twice(&mut self, task: &Arc<Task>, job: &mut Job) {
        if self.planted == Some(Planted::CountResendTwice)
            && let JobKind::Solve { inputs, .. } = &mut job.kind
            && let Some(process) = self.server.process.as_ref()
        {
            let resent = &process.resent;
            let again = inputs
                .iter()
                .filter(|(device, _, blob)| resent.contains(&(*device, task.hash(), *blob)));
            let again: Vec<_> = again.copied().collect();
            inputs.extend(again);
        }
    }

    pub(super) fn computed(
        &mut self,
        life: u64,
        task: TaskHash,
        run: RunId,
        result: Result<JobOutput, String>,
    ) {
        if life == self.server.life {
            self.command(Command::Computed { task, run, result });
        }
    }

    /// Refuses a contribution before the core hears of it.
    pub(super) fn refuse(&mut self, waiting: Waiting, reason: Reason) {
        self.answer(waiting, TransferAnswer::Refused(reason));
    }
}

/// As in the server's driver: who sends more waits, in the order in which they came.
const COMMANDS_MAX: usize = 1_024;
/// How many sessions and transfers of one device may so wait, old sessions of a device that
/// connects again and again among them.
const SENDERS_A_DEVICE: usize = 8;
