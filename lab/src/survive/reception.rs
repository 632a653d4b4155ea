//! What reaches the coordinator: packets of devices.

use std::sync::Arc;

use common::ids::{BlobHash, Time};
use common::round::Reason;
use common::transport::Traffic;
use common::trust::certificate::Fingerprint;
use common::wire::messages::{ToCoordinator, TransferAnswer};
use coordinator::core::command::{Admission, Command, Offer, SessionId, Speaker, TrafficMeter};
use coordinator::registry::Certified;
use coordinator::store::{Chunk, PartialKey, Store};

use super::fake_compute::Contribution;
use super::network::{Down, Up};
use super::server::{Asked, Waiting};
use super::simulator::{Simulator, SimulatorEvent};

/// A connection whose bytes nobody counts.
struct NoMeter;

impl TrafficMeter for NoMeter {
    fn handshake(&self) -> Traffic {
        Traffic::default()
    }

    fn work(&self) -> Traffic {
        Traffic::default()
    }
}

impl Simulator {
    /// A packet reached the coordinator's machine.
    pub(super) fn heard(&mut self, device: usize, session: u64, packet: Up) {
        let id = self.devices[device].id;
        let Some(process) = self.server.process.as_mut() else {
            let at = self.now + self.random.between(1, 10_000);
            return self.at(at, SimulatorEvent::LinkLost { device, session });
        };
        match packet {
            Up::Hello(_) | Up::Join if process.revoked.contains(&id) => {
                let at = self.now + self.random.between(1, 2_000);
                self.at(at, SimulatorEvent::LinkLost { device, session });
            }
            Up::Join => {
                let admission = Admission {
                    device: id,
                    certificate: certificate(id.0),
                    label: format!("device {device}"),
                    token: self.scenario.join.record.id,
                    secret: self.scenario.join.secret.clone(),
                };
                let asked = Asked::Join { device, session };
                self.ask(asked, |reply| Command::Admit { admission, reply });
            }
            Up::Hello(ToCoordinator::Hello(hello)) => {
                process.sessions.insert(session, device);
                self.command(Command::Connect {
                    device: id,
                    session: SessionId(session),
                    installed: hello.installed,
                    speaker: Speaker::default(),
                    meter: Box::new(NoMeter),
                });
            }
            // Its connection is gone, and its streams with it.
            _ if !process.sessions.contains_key(&session) => {}
            packet => self.in_session(device, session, packet),
        }
    }

    fn in_session(&mut self, device: usize, session: u64, packet: Up) {
        let id = self.devices[device].id;
        match packet {
            Up::Hello(_) | Up::Join => {}
            Up::Said(message) => self.command(Command::Said {
                device: id,
                session: SessionId(session),
                message,
            }),
            Up::Offer { stream, pending } => {
                let waiting = Waiting {
                    device,
                    session,
                    stream,
                    pending,
                };
                let offer = self.offer(&waiting);
                let asked = Asked::Transfer {
                    waiting,
                    recorded: false,
                    _pin: None,
                };
                self.ask(asked, |reply| Command::Offer { offer, reply });
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
                let asked = Asked::Fetch {
                    device,
                    session,
                    stream,
                    blob,
                };
                self.ask(asked, |reply| Command::IsPublic { blob, reply });
            }
        }
    }

    fn offer(&self, waiting: &Waiting) -> Offer {
        Offer {
            device: self.devices[waiting.device].id,
            key: waiting.pending.key,
            blob: waiting.pending.blob,
            bytes: waiting.pending.bytes,
        }
    }

    /// Part of a contribution; the last one makes it whole.
    fn chunk(&mut self, waiting: Waiting, offset: usize, bytes: &[u8]) {
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
            return self.refuse(waiting, Reason::Storage);
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
            _ => return self.refuse(waiting, Reason::Storage),
        };
        let times = 1 + u64::from(self.random.chance(self.scenario.duplicates));
        for _ in 0..times {
            let offer = self.offer(&waiting);
            let asked = Asked::Transfer {
                waiting,
                recorded: false,
                _pin: Some(pin.clone()),
            };
            self.ask(asked, |reply| Command::Arrived {
                offer,
                checked,
                reply,
            });
        }
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

    pub(super) fn session_lost(&mut self, device: usize, session: u64) {
        let id = self.devices[device].id;
        let open = self.process().and_then(|one| one.sessions.remove(&session));
        if open.is_some() {
            self.command(Command::Disconnect {
                device: id,
                session: SessionId(session),
            });
        }
    }
}

/// A certificate that nobody looks at.
fn certificate(of: [u8; 16]) -> Certified {
    let name = BlobHash::of(&of).0;
    Certified {
        fingerprint: Fingerprint(name),
        authority: Fingerprint([0; 32]),
        expires: Time(u64::MAX),
    }
}
