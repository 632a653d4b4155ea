//! Which faults happen when, and what they do.

use common::ids::TaskHash;

use super::network::IDLE_MS;
use super::simulator::{Simulator, SimulatorEvent};

/// Something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    CoordinatorCrash,
    DeviceCrash,
    /// Nothing gets through, for some devices, either way or one way.
    Partition,
    /// An append fails, and its writer cannot know how far it came.
    BrokenStore,
    FullDisk,
    SlowDisk,
    ClockJump,
    /// A device's disk takes nothing, or its cache lost a blob.
    DeviceDisk,
    /// Devices find new rows.
    NewData,
    /// The disk loses a bit of the newest snapshot.
    DamagedSnapshot,
}

const FAULTS: [Fault; 10] = [
    Fault::CoordinatorCrash,
    Fault::DeviceCrash,
    Fault::Partition,
    Fault::BrokenStore,
    Fault::FullDisk,
    Fault::SlowDisk,
    Fault::ClockJump,
    Fault::DeviceDisk,
    Fault::NewData,
    Fault::DamagedSnapshot,
];

impl Simulator {
    pub(super) fn next_fault(&mut self) {
        if let Some(mean) = self.scenario.faults_ms {
            let at = self.now + self.random.between(1, 2 * mean);
            self.at(at, SimulatorEvent::Fault);
        }
    }

    pub(super) fn fault(&mut self) {
        if self.is_calm {
            return;
        }
        let number = self.random.between(0, FAULTS.len() as u64) as usize;
        if self.scenario.kinds[number] {
            let fault = FAULTS[number];
            self.remark(|| format!("{fault:?}"));
            self.strike(fault);
        }
        self.next_fault();
    }

    fn strike(&mut self, fault: Fault) {
        let ends = self.now + self.random.duration(1, 20_000);
        match fault {
            Fault::CoordinatorCrash => {
                let power_lost = self.random.chance(0.5);
                self.crash_server(power_lost);
                let node = self.server.host.number;
                self.at(ends, SimulatorEvent::ServerStart { node });
            }
            Fault::DeviceCrash => {
                let device = self.any_device();
                self.crash_device(device);
                self.at(ends, SimulatorEvent::DeviceStart { device });
            }
            Fault::Partition => self.partition(),
            Fault::BrokenStore => self.break_store(),
            Fault::FullDisk => {
                self.server.store.set_full(true);
                self.at(ends, SimulatorEvent::Freed(fault));
            }
            Fault::SlowDisk => self.server.slow_until = ends,
            Fault::ClockJump => {
                self.survived.clock_jumps += 1;
                let far = self.random.duration(1, 7_200_000) as i64;
                let sign = if self.random.chance(0.5) { 1 } else { -1 };
                self.set_clock(sign * far);
            }
            Fault::DeviceDisk => {
                let device = self.any_device();
                if self.random.chance(0.5) {
                    self.devices[device].full = true;
                    self.at(ends, SimulatorEvent::Freed(fault));
                } else {
                    self.evict(device);
                }
            }
            Fault::DamagedSnapshot => self.damage_snapshot(),
            Fault::NewData => {
                for _ in 0..self.random.between(1, 4) {
                    let device = self.any_device();
                    self.new_data(device);
                }
            }
        }
    }

    pub(super) fn freed(&mut self, fault: Fault) {
        match fault {
            Fault::FullDisk => self.server.store.set_full(false),
            _ => self
                .devices
                .iter_mut()
                .for_each(|device| device.full = false),
        }
    }

    fn partition(&mut self) {
        self.survived.partitions += 1;
        let (up, down) = match self.random.between(0, 4) {
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        };
        let share = self.random.between(1, 101) as f64 / 100.0;
        let until = self.now + self.random.duration(10, 90_000);
        for device in 0..self.devices.len() {
            if !self.random.chance(share) {
                continue;
            }
            let paths = &mut self.paths[device];
            if up {
                paths.up.blocked_until = paths.up.blocked_until.max(until);
            }
            if down {
                paths.down.blocked_until = paths.down.blocked_until.max(until);
            }
            if until > self.now + IDLE_MS
                && let Some(session) = self.devices[device].session()
            {
                self.lose(device, session);
            }
        }
    }

    /// One of the tasks.
    pub(super) fn any_task(&mut self) -> TaskHash {
        let index = self.random.between(0, self.tasks.len() as u64) as usize;
        self.tasks[index].hash()
    }

    pub(super) fn any_device(&mut self) -> usize {
        self.random.between(0, self.devices.len() as u64) as usize
    }
}
