//! What a device thinks of a student: it tries it before it uses it, and once
//! more after the soak. Both are on its disk before anyone hears of them.

use common::evaluation::Evaluation;
use common::ids::{TaskHash, Version};
use common::wire::codec::decode_blob;
use common::wire::messages::Announcement;
use edge_agent::session::Input;

use super::fake_compute::FakeProduct;
use super::simulator::{Simulator, SimulatorEvent};

impl Simulator {
    pub(super) fn judged(&mut self, device: usize, release: Announcement) {
        let worse = self.random.chance(self.scenario.worse) && !self.is_calm;
        let one = &mut self.devices[device];
        let Some(bytes) = one.cache.get(&release.blob) else {
            return self.drive(device, Input::Evicted(release.blob));
        };
        let (task, version) = (release.task, release.version);
        let believed =
            decode_blob::<FakeProduct>(bytes).is_ok_and(|product| product.version == Some(version));
        if !believed {
            self.hold(Err(format!("release {version} is not what was announced")));
        } else if one.floor(task).is_none_or(|floor| floor < version) {
            let id = one.id;
            let student = one.students.entry(task).or_default();
            student.floor = Some(version);
            let evaluation = if worse {
                Evaluation::Worse
            } else {
                Evaluation::Soaking
            };
            student.evaluation = Some((version, evaluation));
            if !worse {
                student.before = student.installed.replace(version);
                let held = self.checker.installed(id, task, version);
                self.hold(held);
                let at = self.now + release.soak_ms.max(1);
                self.soak(at, device, task, version);
            }
        }
        self.drive(device, Input::Installed { release });
        self.tell_evaluation(device, task);
    }

    /// The soak is over.
    pub(super) fn soaked(&mut self, device: usize, task: TaskHash, version: Version) {
        let worse = self.random.chance(self.scenario.worse / 2.0) && !self.is_calm;
        let one = &mut self.devices[device];
        let (id, is_up) = (one.id, one.is_up());
        let Some(student) = one.students.get_mut(&task).filter(|_| is_up) else {
            return;
        };
        let is_due = student.evaluation == Some((version, Evaluation::Soaking));
        if !is_due || student.installed != Some(version) {
            return;
        }
        match student.before.filter(|_| worse) {
            Some(before) => {
                student.evaluation = Some((version, Evaluation::RolledBack));
                student.installed = Some(before);
                self.survived.rolled_back += 1;
                let held = self.checker.went_back(id, task, version, before);
                self.hold(held);
            }
            None => student.evaluation = Some((version, Evaluation::Kept)),
        }
        self.tell_evaluation(device, task);
    }

    fn soak(&mut self, at: u64, device: usize, task: TaskHash, version: Version) {
        let soaked = SimulatorEvent::Soaked {
            device,
            task,
            version,
        };
        self.at(at, soaked);
    }

    /// What it says in each session.
    fn tell_evaluation(&mut self, device: usize, task: TaskHash) {
        let student = self.devices[device].students.get(&task);
        if let Some((version, evaluation)) = student.and_then(|one| one.evaluation) {
            self.drive(
                device,
                Input::Tried {
                    task,
                    version,
                    evaluation,
                },
            );
        }
    }

    /// A device that starts goes on with a soak that was cut off.
    pub(super) fn resume_evaluation(&mut self, device: usize) {
        let students = self.devices[device].students.clone();
        for (task, student) in students {
            self.tell_evaluation(device, task);
            if let Some((version, Evaluation::Soaking)) = student.evaluation {
                let at = self.now + self.random.between(1, 2_000);
                self.soak(at, device, task, version);
            }
        }
    }
}
