//! One key on two machines: a system image copied after it had joined.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use protocol::ids::{DeviceId, Time};

use crate::core::command::Speaker;
use crate::status::SharedKey;

/// Which processes spoke for each device. A process that starts again has a
/// number that was never heard; one that was replaced and comes back runs
/// beside the one that replaced it.
#[derive(Default)]
pub(super) struct SharedKeys(BTreeMap<DeviceId, Speakers>);

#[derive(Default)]
struct Speakers {
    newest: u64,
    address: Option<SocketAddr>,
    /// Those before it, newest last.
    replaced: VecDeque<(u64, Option<SocketAddr>)>,
    shared: Option<SharedKey>,
}

impl SharedKeys {
    /// Notes who speaks for a device; whether it is another machine than the
    /// one that last did, both with the same key.
    pub(super) fn hear(&mut self, now: Time, device: DeviceId, speaker: Speaker) -> bool {
        let Speaker {
            instance, address, ..
        } = speaker;
        if instance == 0 {
            return false;
        }
        let known = self.0.entry(device).or_default();
        if known.newest == instance {
            known.address = address;
            return false;
        }
        let came_back = known.replaced.iter().any(|(one, _)| *one == instance);
        if came_back {
            let of = [known.address, address];
            let addresses = of.into_iter().flatten().map(|one| one.ip().to_string());
            let since = known.shared.as_ref().map_or(now, |shared| shared.since);
            known.shared = Some(SharedKey {
                addresses: addresses.collect(),
                since,
                last: now,
            });
        }
        came_back
    }

    /// The process speaks for the device from now on.
    pub(super) fn takes_over(&mut self, device: DeviceId, speaker: Speaker) {
        let Speaker {
            instance, address, ..
        } = speaker;
        if instance == 0 {
            return;
        }
        let known = self.0.entry(device).or_default();
        if known.newest != instance {
            known.replaced.retain(|(one, _)| *one != instance);
            if known.newest != 0 {
                known.replaced.push_back((known.newest, known.address));
            }
            if known.replaced.len() > REPLACED_MAX {
                known.replaced.pop_front();
            }
        }
        (known.newest, known.address) = (instance, address);
    }

    /// Whether its key is on two machines, as far as that was seen lately.
    pub(super) fn of(&self, now: Time, device: DeviceId) -> Option<SharedKey> {
        let shared = self.0.get(&device)?.shared.clone()?;
        (now.since_ms(shared.last) < REMEMBERED_MS).then_some(shared)
    }
}

/// Processes of one device that are remembered.
const REPLACED_MAX: usize = 8;
/// What was last seen this long ago has been mended: both machines come back
/// within the hour.
const REMEMBERED_MS: u64 = 3 * 3_600_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DEVICE: DeviceId = DeviceId([1; 16]);

    fn speaker(instance: u64) -> Speaker {
        Speaker {
            instance,
            address: Some(SocketAddr::from(([10, 0, 0, instance as u8], 9))),
            gateway: None,
        }
    }

    fn arrives(keys: &mut SharedKeys, now: u64, instance: u64) -> bool {
        let is_other = keys.hear(Time(now), DEVICE, speaker(instance));
        if !is_other {
            keys.takes_over(DEVICE, speaker(instance));
        }
        is_other
    }

    #[test]
    fn a_device_that_starts_again_is_one_machine() {
        let mut keys = SharedKeys::default();
        for instance in [1, 1, 2, 3, 3, 4, 0, 4] {
            assert!(!arrives(&mut keys, 5, instance), "{instance}");
        }
        assert_eq!(keys.of(Time(5), DEVICE), None);
    }

    #[test]
    fn a_returning_process_counts_as_a_second_machine() {
        let mut keys = SharedKeys::default();
        assert!(!arrives(&mut keys, 1, 1));
        assert!(!arrives(&mut keys, 2, 2));
        assert!(arrives(&mut keys, 3, 1));
        assert!(arrives(&mut keys, 4, 1));
        let shared = keys.of(Time(4), DEVICE).unwrap();
        assert_eq!(shared.addresses, ["10.0.0.2", "10.0.0.1"]);
        assert_eq!((shared.since, shared.last), (Time(3), Time(4)));
        // Once one of them has joined anew, nobody is told of it for long.
        assert_eq!(keys.of(Time(4 + REMEMBERED_MS), DEVICE), None);
    }
}
