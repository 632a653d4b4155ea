//! What reaches the coordinator: packets of devices, and what operators want.

use std::sync::Arc;

use common::ids::Version;
use common::round::Reason;
use common::wire::messages::{PROTOCOL_MINOR, ToCoordinator, ToDevice, TransferAnswer, Welcome};
use coordinator::round::Input;
use coordinator::store::{Chunk, PartialKey, Store};
use edge_agent::session::Pending;

use super::craft::Contribution;
use super::network::{Down, Up};
use super::server::{Command, Session, Waiting};
use super::world::{Happening, World};

impl World {
    /// A packet reached the coordinator's machine.
    pub(super) fn heard(&mut self, device: usize, session: u64, packet: Up) {
        let known = self
            .server
            .process
            .as_ref()
            .map(|process| process.sessions.get(&device).map(|open| open.id));
        let Some(known) = known else {
            let at = self.now + self.dice.between(1, 10_000);
            return self.at(at, Happening::LinkLost { device, session });
        };
        if let Up::Hello(ToCoordinator::Hello(hello)) = packet {
            let installed = hello.installed.first().map(|(_, version)| *version);
            return self.command(Command::Hello {
                device,
                session,
                installed,
            });
        }
        // Its connection is gone, and its streams with it.
        if known != Some(session) {
            return;
        }
        match packet {
            Up::Hello(_) => {}
            Up::Said(message) => self.command(Command::Said {
                device,
                session,
                message,
            }),
            Up::Offer { stream, pending } => {
                let waiting = Waiting {
                    device,
                    session,
                    stream,
                    pending,
                };
                self.command(Command::Offered(waiting));
            }
            Up::Chunk {
                stream,
                pending,
                offset,
                bytes,
            } => {
                let waiting = Waiting {
                    device,
                    session,
                    stream,
                    pending,
                };
                self.chunk(waiting, offset, &bytes);
            }
            Up::Fetch { stream, blob } => {
                if self.server.engine().is_none() {
                    return;
                }
                let public = self.server.public().contains(&blob);
                let found = public
                    .then(|| self.server.store.blob(blob).ok().flatten())
                    .flatten();
                self.send_down(
                    device,
                    session,
                    Down::Blob {
                        stream,
                        bytes: found,
                    },
                );
            }
        }
    }

    /// Part of a contribution; the last one makes it whole.
    pub(super) fn chunk(&mut self, waiting: Waiting, offset: usize, bytes: &[u8]) {
        let pending = waiting.pending;
        let key = PartialKey {
            device: self.devices[waiting.device].id,
            hash: pending.blob,
        };
        let chunk = Chunk {
            declared_bytes: pending.bytes,
            offset: offset as u64,
            bytes,
        };
        let store = &self.server.store;
        let Ok(length) = store.append_partial(key, chunk) else {
            return self.answer(waiting, TransferAnswer::Refused(Reason::Storage));
        };
        if length < pending.bytes {
            return;
        }
        let pin = Arc::new(self.pins().pin(pending.blob));
        let checked = match store
            .finish_partial(key)
            .and_then(|()| store.blob(pending.blob))
        {
            Ok(Some(bytes)) => Contribution::check(&bytes, &pending.key),
            _ => return self.answer(waiting, TransferAnswer::Refused(Reason::Storage)),
        };
        if self.dice.chance(self.weather.duplicates) {
            let pin = pin.clone();
            self.command(Command::Arrived {
                waiting,
                checked,
                pin,
            });
        }
        self.command(Command::Arrived {
            waiting,
            checked,
            pin,
        });
    }

    pub(super) fn answer(&mut self, waiting: Waiting, answer: TransferAnswer) {
        let Waiting {
            device,
            session,
            stream,
            ..
        } = waiting;
        self.send_down(device, session, Down::Answer { stream, answer });
    }

    pub(super) fn handle(&mut self, command: Command) {
        match command {
            Command::Hello {
                device,
                session,
                installed,
            } => self.welcome(device, session, installed),
            Command::Gone { device, session } => {
                let Some(process) = self.process() else {
                    return;
                };
                if process
                    .sessions
                    .get(&device)
                    .is_some_and(|open| open.id == session)
                {
                    process.sessions.remove(&device);
                    let device = self.devices[device].id;
                    self.feed(Input::Disconnected { device });
                }
            }
            Command::Said {
                device,
                session,
                message,
            } => {
                let Some(process) = self.process() else {
                    return;
                };
                if process
                    .sessions
                    .get(&device)
                    .is_some_and(|open| open.id == session)
                {
                    if let ToCoordinator::Tried { version, trial, .. } = &message
                        && let Some(open) = process.sessions.get_mut(&device)
                    {
                        open.tried = Some((*version, *trial));
                    }
                    if matches!(message, ToCoordinator::DataChanged(_))
                        && let Some(open) = process.sessions.get_mut(&device)
                    {
                        open.changed = true;
                    }
                    let device = self.devices[device].id;
                    match message {
                        ToCoordinator::Abstain { round, phase, .. } => {
                            self.feed(Input::Abstained {
                                device,
                                round,
                                phase,
                            });
                        }
                        ToCoordinator::DataChanged(_) => self.feed(Input::DataChanged { device }),
                        ToCoordinator::Tried { version, trial, .. } => self.feed(Input::Tried {
                            device,
                            version,
                            trial,
                        }),
                        _ => {}
                    }
                }
            }
            Command::Offered(waiting) => self.offered(waiting, None),
            Command::Arrived {
                waiting,
                checked,
                pin,
            } => {
                self.offered(waiting, Some(checked));
                self.let_go(pin);
            }
            Command::Computed { run, result, pin } => {
                let Some(process) = self.process() else {
                    return;
                };
                if process.run == Some(run) {
                    process.run = None;
                    self.feed(Input::Computed { result });
                }
                if let Some(pin) = pin {
                    self.let_go(pin);
                }
            }
            Command::Order(order) => self.feed(Input::Ordered(order)),
            Command::Rollback => self.roll_back(),
            Command::Start => {
                let ticket = self.ticket();
                self.feed(Input::StartRound { ticket });
            }
            Command::Cancel => {
                if let Some(process) = self.process() {
                    process.run = None;
                }
                self.feed(Input::CancelRound);
            }
        }
    }

    pub(super) fn welcome(&mut self, device: usize, session: u64, installed: Option<Version>) {
        let time = self.server_time();
        let Some(process) = self.process() else {
            return;
        };
        process.sessions.insert(
            device,
            Session {
                id: session,
                installed,
                tried: None,
                changed: false,
            },
        );
        let welcome = Welcome {
            minor: PROTOCOL_MINOR,
            time,
            tasks: Vec::new(),
            charter: Vec::new(),
            freshness: Vec::new(),
        };
        self.send_down(device, session, Down::Said(ToDevice::Welcome(welcome)));
        let device = self.devices[device].id;
        self.feed(Input::Connected { device, installed });
    }

    pub(super) fn offered(&mut self, waiting: Waiting, checked: Option<Result<u64, Reason>>) {
        if self.server.engine().is_none() {
            return self.answer(waiting, TransferAnswer::Refused(Reason::Storage));
        }
        let ticket = self.ticket();
        let device = self.devices[waiting.device].id;
        let Pending { key, blob, bytes } = waiting.pending;
        if let Some(process) = self.process() {
            process.waiting.insert(ticket, waiting);
        }
        self.feed(match checked {
            None => Input::Offered {
                device,
                key,
                blob,
                bytes,
                ticket,
            },
            Some(checked) => Input::Arrived {
                device,
                key,
                blob,
                bytes,
                checked,
                ticket,
            },
        });
    }

    pub(super) fn session_lost(&mut self, device: usize, session: u64) {
        self.command(Command::Gone { device, session });
    }
}
