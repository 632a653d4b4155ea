//! What a device thinks of a student: it tries it before it uses it, and once
//! more after the soak. Both are on its disk before anyone hears of them.

use common::ids::Version;
use common::trial::Trial;
use common::wire::codec::decode_blob;
use common::wire::messages::Announcement;
use edge_agent::session::Input;

use super::craft::Stuff;
use super::world::{Happening, World};

impl World {
    pub(super) fn judged(&mut self, device: usize, release: Announcement) {
        let worse = self.dice.chance(self.weather.worse) && !self.is_calm;
        let one = &mut self.devices[device];
        let Some(bytes) = one.cache.get(&release.blob) else {
            return self.drive(device, Input::Evicted(release.blob));
        };
        let version = release.version;
        let believed =
            decode_blob::<Stuff>(bytes).is_ok_and(|stuff| stuff.version == Some(version));
        if !believed {
            self.hold(Err(format!("release {version} is not what was announced")));
        } else if one.floor.is_none_or(|floor| floor < version) {
            one.floor = Some(version);
            let trial = if worse { Trial::Worse } else { Trial::Soaking };
            one.trial = Some((version, trial));
            if !worse {
                one.before = one.installed.replace(version);
                let id = one.id;
                let held = self.witness.installed(id, version);
                self.hold(held);
                let at = self.now + release.soak_ms.max(1);
                self.at(at, Happening::Soaked { device, version });
            }
        }
        self.drive(device, Input::Installed { release });
        self.tell_trial(device);
    }

    /// The soak is over.
    pub(super) fn soaked(&mut self, device: usize, version: Version) {
        let worse = self.dice.chance(self.weather.worse / 2.0) && !self.is_calm;
        let one = &mut self.devices[device];
        let is_due = one.trial == Some((version, Trial::Soaking));
        if !one.is_up() || !is_due || one.installed != Some(version) {
            return;
        }
        let id = one.id;
        match one.before.filter(|_| worse) {
            Some(before) => {
                one.trial = Some((version, Trial::RolledBack));
                one.installed = Some(before);
                self.survived.rolled_back += 1;
                let held = self.witness.went_back(id, version, before);
                self.hold(held);
            }
            None => one.trial = Some((version, Trial::Kept)),
        }
        self.tell_trial(device);
    }

    /// What it says in each session.
    pub(super) fn tell_trial(&mut self, device: usize) {
        let task = self.task.hash();
        if let Some((version, trial)) = self.devices[device].trial {
            self.drive(
                device,
                Input::Tried {
                    task,
                    version,
                    trial,
                },
            );
        }
    }

    /// A device that starts goes on with a soak that was cut off.
    pub(super) fn resume_trial(&mut self, device: usize) {
        self.tell_trial(device);
        if let Some((version, Trial::Soaking)) = self.devices[device].trial {
            let at = self.now + self.dice.between(1, 2_000);
            self.at(at, Happening::Soaked { device, version });
        }
    }
}
