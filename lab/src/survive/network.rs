//! The network between devices and the coordinator.
//!
//! It does to packets what networks do, and to those above what QUIC makes
//! of it: a stream is in order or broken, streams overtake one another, a
//! path that is down for longer than the idle timeout ends the session, for
//! each side at its own time, and a transfer may come twice.

use common::ids::BlobHash;
use common::wire::messages::{EnrolRefusal, ToCoordinator, ToDevice, TransferAnswer};
use coordinator::core::command::Admitted;
use edge_agent::session::Pending;

use super::simulator::{Simulator, SimulatorEvent};

/// To the coordinator.
#[derive(Clone, Debug)]
pub(super) enum Up {
    /// It shows its token.
    Join,
    Hello(ToCoordinator),
    Said(ToCoordinator),
    Offer {
        stream: u64,
        pending: Pending,
    },
    Chunk {
        stream: u64,
        pending: Pending,
        offset: usize,
        bytes: Vec<u8>,
    },
    Fetch {
        stream: u64,
        blob: BlobHash,
    },
}

/// To a device.
#[derive(Clone, Debug)]
pub(super) enum Down {
    Joined(Result<Admitted, EnrolRefusal>),
    Said(ToDevice),
    Answer { stream: u64, answer: TransferAnswer },
    Blob { stream: u64, bytes: Option<Vec<u8>> },
}

/// One device's path, either way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Path {
    /// Until when nothing gets through.
    pub(super) blocked_until: u64,
    /// When the control stream's last message arrives.
    last: u64,
}

/// Both ways.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Paths {
    pub(super) up: Path,
    pub(super) down: Path,
}

impl Path {
    fn arrival(&mut self, now: u64, travel_ms: u64, in_order: bool) -> Option<u64> {
        if self.blocked_until > now + IDLE_MS {
            return None;
        }
        let at = now.max(self.blocked_until) + travel_ms;
        if !in_order {
            return Some(at);
        }
        self.last = self.last.max(at);
        Some(self.last)
    }
}

impl Simulator {
    /// Time on the way, lost packets sent again included.
    fn travel_ms(&mut self) -> u64 {
        let mean = self.scenario.delay_ms;
        let mut ms = self.random.between(mean / 2, mean * 2 + 1);
        while self.random.chance(self.scenario.loss) && ms < 10_000 {
            ms += 3 * mean + self.random.between(1, 200);
        }
        ms
    }

    pub(super) fn send_up(&mut self, device: usize, session: u64, packet: Up) {
        let ms = self.travel_ms();
        let in_order = matches!(packet, Up::Join | Up::Hello(_) | Up::Said(_));
        let now = self.now;
        let arrival = self.paths[device].up.arrival(now, ms, in_order);
        let Some(at) = arrival else {
            return self.lose(device, session);
        };
        let twice = matches!(packet, Up::Offer { .. } | Up::Chunk { .. });
        if twice && self.random.chance(self.scenario.duplicates) {
            self.survived.duplicates += 1;
            let later = at + self.random.duration(1, 20_000);
            let packet = packet.clone();
            self.at(
                later,
                SimulatorEvent::Up {
                    device,
                    session,
                    packet,
                },
            );
        }
        self.at(
            at,
            SimulatorEvent::Up {
                device,
                session,
                packet,
            },
        );
    }

    pub(super) fn send_down(&mut self, device: usize, session: u64, packet: Down) {
        let ms = self.travel_ms();
        let in_order = matches!(packet, Down::Said(_) | Down::Joined(_));
        let now = self.now;
        match self.paths[device].down.arrival(now, ms, in_order) {
            Some(at) => self.at(
                at,
                SimulatorEvent::Down {
                    device,
                    session,
                    packet,
                },
            ),
            None => self.lose(device, session),
        }
    }

    /// Nothing gets through for too long: both sides notice, each when it
    /// does.
    pub(super) fn lose(&mut self, device: usize, session: u64) {
        let (one, other) = (
            self.random.between(0, IDLE_MS),
            self.random.between(0, IDLE_MS),
        );
        let now = self.now;
        self.at(now + one, SimulatorEvent::LinkLost { device, session });
        self.at(now + other, SimulatorEvent::SessionLost { device, session });
    }
}

/// A path that is down for longer ends the session.
pub(super) const IDLE_MS: u64 = 30_000;
