//! What operators want: rounds, and rollouts of what they made.

use std::sync::Arc;

use common::ids::BlobHash;
use common::wire::codec::{decode_blob, encode};
use coordinator::rollout::{Order, Plan, Releases};
use coordinator::round::{Input, ReRelease};
use coordinator::store::Store;

use super::craft::Stuff;
use super::server::Command;
use super::world::{Happening, World};

impl World {
    pub(super) fn operator(&mut self) {
        if self.weather.policy.interval_ms.is_none() {
            let cancels = self.dice.chance(0.05) && !self.is_calm;
            self.command(if cancels {
                Command::Cancel
            } else {
                Command::Start
            });
        }
        if !self.is_calm {
            if self.dice.chance(0.3) {
                self.order();
            }
            let at = self.now + self.dice.duration(500, 20_000);
            self.at(at, Happening::Operator);
        }
    }

    fn order(&mut self) {
        let choice = self.dice.between(0, 8);
        let Some(engine) = self.server.engine() else {
            return;
        };
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
            _ => return self.command(Command::Rollback),
        };
        if engine.check_order(&order).is_ok() {
            self.command(Command::Order(order));
        }
    }

    /// An earlier release is signed again under a higher version.
    pub(super) fn roll_back(&mut self) {
        let Some(engine) = self.server.engine() else {
            return;
        };
        let (version, releases) = (engine.next_version(), &engine.state().releases);
        let releases: Vec<_> = releases.iter().map(|one| (one.version, one.blob)).collect();
        if releases.is_empty() {
            return;
        }
        let (from, blob) = releases[self.dice.between(0, releases.len() as u64) as usize];
        let bytes = self.server.store.blob(blob).ok().flatten();
        let Some(mut release) = bytes.and_then(|bytes| decode_blob::<Stuff>(&bytes).ok()) else {
            return self.hold(Err(format!("release {from} is listed and cannot be read")));
        };
        release.version = Some(version);
        let bytes = encode(&release);
        let pin = Arc::new(self.pins().pin(BlobHash::of(&bytes)));
        let Ok(blob) = self.server.store.put_blob(&bytes) else {
            return;
        };
        let bytes = bytes.len() as u64;
        self.feed(Input::ReReleased(ReRelease {
            from,
            version,
            blob,
            bytes,
            held: false,
        }));
        self.let_go(pin);
    }
}
