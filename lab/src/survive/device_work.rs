//! What a device does for itself: computing answers, judging students, and
//! writing down what became of either.

use std::collections::BTreeSet;

use common::ids::BlobHash;
use common::round::ContributionKey;
use common::wire::codec::encode;
use common::wire::messages::Call;
use edge_agent::outbox::leaving;
use edge_agent::session::{Input, Pending, Settled};

use super::device::DeviceWork;
use super::fake_compute::Contribution;
use super::simulator::{Simulator, SimulatorEvent};

impl Simulator {
    pub(super) fn work(&mut self, device: usize, life: u64, work: DeviceWork) {
        let at = self.now + self.random.duration(1, self.scenario.work_ms);
        self.at(at, SimulatorEvent::DeviceWork { device, life, work });
    }

    /// An answer is written into the ledger, and leaves the outbox.
    pub(super) fn write_down(&mut self, device: usize, pending: Pending, settled: Settled) {
        // Sometimes the process is gone just before.
        if self.scenario.kinds[1] && !self.is_calm && self.random.chance(0.01) {
            self.crash_device(device);
            let at = self.now + 500;
            return self.at(at, SimulatorEvent::DeviceStart { device });
        }
        let one = &mut self.devices[device];
        let held = one
            .outbox
            .iter()
            .find(|(_, (held, _))| *held == pending)
            .map(|(at, _)| *at);
        let Some(at) = held else { return };
        one.outbox.remove(&at);
        let id = one.id;
        if settled == Settled::Accepted {
            self.survived.settled += 1;
            let held = self.checker.settled(id, pending.key, pending.blob);
            self.hold(held);
        }
    }

    /// Work is done.
    pub(super) fn worked(&mut self, device: usize, life: u64, work: DeviceWork) {
        if self.devices[device].life != life || !self.devices[device].is_up() {
            return;
        }
        match work {
            DeviceWork::Build(call) => self.built(device, call),
            DeviceWork::Install(release) => self.judged(device, release),
        }
    }

    pub(super) fn built(&mut self, device: usize, call: Call) {
        let cache = &self.devices[device].cache;
        if let Some(gone) = call.context.blobs().find(|blob| !cache.contains_key(blob)) {
            return self.drive(device, Input::Evicted(gone));
        }
        let abstains = self.devices[device].full || self.random.chance(0.03);
        let partial = abstains || self.random.chance(0.05);
        let mut kinds = self.scenario.policy.kinds(call.phase).to_vec();
        if abstains {
            kinds.clear();
        } else if partial {
            kinds.truncate(1);
        }
        let mut entries = Vec::new();
        for kind in kinds {
            let key = ContributionKey {
                task: call.task,
                transfer: call.context.transfer,
                round: call.round,
                phase: call.phase,
                kind,
            };
            let padding = if self.random.chance(0.2) {
                CHUNK_BYTES + 100
            } else {
                10
            };
            let made = Contribution {
                device: self.devices[device].id,
                key,
                value: self.random.between(1, 1_000_000),
                sound: !self.random.chance(self.scenario.unsound),
                padding: vec![7; padding],
            };
            let bytes = encode(&made);
            let pending = Pending {
                key,
                blob: BlobHash::of(&bytes),
                bytes: bytes.len() as u64,
            };
            self.put(device, pending, bytes);
            entries.push(pending);
        }
        self.drive(
            device,
            Input::Built {
                call,
                entries,
                partial,
            },
        );
    }

    pub(super) fn put(&mut self, device: usize, pending: Pending, bytes: Vec<u8>) {
        let one = &mut self.devices[device];
        let held: Vec<Pending> = one.outbox.values().map(|(held, _)| *held).collect();
        let Some(leaving) = leaving(&held, &pending) else {
            let waiting = held.len();
            return self.hold(Err(format!(
                "{waiting} contributions of current rounds wait in an outbox"
            )));
        };
        one.outbox
            .retain(|_, (held, _)| held.key != pending.key && !leaving.contains(held));
        one.made += 1;
        one.outbox.insert(one.made, (pending, bytes));
    }

    /// Its cache made room for something.
    pub(super) fn evict(&mut self, device: usize) {
        let one = &mut self.devices[device];
        let blobs: BTreeSet<BlobHash> = one.cache.keys().copied().collect();
        let Some(blob) = blobs.into_iter().next() else {
            return;
        };
        one.cache.remove(&blob);
        self.drive(device, Input::Evicted(blob));
    }

    pub(super) fn new_data(&mut self, device: usize) {
        let task = self.any_task();
        self.drive(device, Input::DataChanged { task });
    }
}

/// Larger contributions go in pieces.
pub(super) const CHUNK_BYTES: usize = 256;
