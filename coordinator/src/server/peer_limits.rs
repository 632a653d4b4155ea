//! How a device behaves: what it asks for in a time, and how often it breaks
//! the protocol. Kept by device, not by session, so that hanging up and
//! coming back gains nothing; known since the server's start.
//!
//! What is wrong with contributions is remembered by the round engine, in the
//! log. Here it is about the connection.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::ids::DeviceId;
use common::limits::{QUARANTINE_MS, VIOLATIONS_MAX};
use common::transport::{Bucket, CloseCode, Rate};

use crate::limits::DeviceLimits;
use crate::status::{PeerLimitsStatus, Quarantine};

/// Devices that were merely built wrong come back by themselves once they are
/// mended.
const QUARANTINE: Duration = Duration::from_millis(QUARANTINE_MS);

/// What all devices did.
#[derive(Debug)]
pub(crate) struct PeerLimits {
    limits: DeviceLimits,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    devices: BTreeMap<DeviceId, Account>,
    totals: Totals,
}

/// What was done about it, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Sessions refused because a device began too many.
    pub(crate) sessions: u64,
    /// Sessions refused because a device is in quarantine.
    pub(crate) quarantined: u64,
    /// Times that a transfer had to wait.
    pub(crate) requests: u64,
    /// Times that a message had to wait.
    pub(crate) messages: u64,
    /// Transfers refused for their bytes.
    pub(crate) bytes: u64,
    /// Breaches of the protocol.
    pub(crate) violations: u64,
}

#[derive(Debug)]
struct Account {
    sessions: Bucket,
    requests: Bucket,
    messages: Bucket,
    bytes: Bucket,
    violations: u32,
    quarantined: Option<Instant>,
    limited: u64,
}

/// What is known of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Breaches of the protocol since the last quarantine.
    pub(crate) violations: u32,
    /// For how long its sessions are still refused.
    pub(crate) quarantine: Option<Duration>,
    /// Times that it was slowed down or refused for asking too much.
    pub(crate) limited: u64,
}

impl PeerLimits {
    pub(crate) fn new(limits: DeviceLimits) -> Self {
        Self {
            limits,
            book: Mutex::default(),
        }
    }

    /// A device begins a session.
    ///
    /// # Errors
    /// The code and the reason to close it with.
    pub(crate) fn session(
        &self,
        now: Instant,
        device: DeviceId,
    ) -> Result<(), (CloseCode, &'static str)> {
        let mut book = self.book();
        let account = book.account(device, &self.limits, now);
        let allowed = if account.quarantine(now).is_some() {
            Err((CloseCode::Quarantined, "it broke the protocol too often"))
        } else if account.sessions.try_take(self.limits.sessions, now, 1) {
            Ok(())
        } else {
            Err((CloseCode::Overloaded, "too many sessions in a time"))
        };
        if let Err((code, _)) = allowed {
            account.limited += 1;
            match code {
                CloseCode::Quarantined => book.totals.quarantined += 1,
                _ => book.totals.sessions += 1,
            }
        }
        allowed
    }

    /// A device begins a transfer of this cost. How long it waits.
    pub(crate) fn request(&self, now: Instant, device: DeviceId, worth: u32) -> Duration {
        let rate = self.limits.requests;
        let mut book = self.book();
        let account = book.account(device, &self.limits, now);
        let wait = account.wait(rate, now, worth, |account| &mut account.requests);
        book.totals.requests += u64::from(!wait.is_zero());
        wait
    }

    /// A device says something. How long it waits for the next word.
    pub(crate) fn message(&self, now: Instant, device: DeviceId) -> Duration {
        let rate = self.limits.messages;
        let mut book = self.book();
        let account = book.account(device, &self.limits, now);
        let wait = account.wait(rate, now, 1, |account| &mut account.messages);
        book.totals.messages += u64::from(!wait.is_zero());
        wait
    }

    /// Whether a device may move this many bytes now. One that has moved less
    /// than it may is let through whatever the length, and pays afterwards.
    pub(crate) fn bytes(&self, now: Instant, device: DeviceId, bytes: u64) -> bool {
        let rate = self.limits.bytes;
        let mut book = self.book();
        let account = book.account(device, &self.limits, now);
        let allowed = account.bytes.try_take(rate, now, 1);
        if allowed {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            account.bytes.take(rate, now, bytes);
        } else {
            account.limited += 1;
            book.totals.bytes += 1;
        }
        allowed
    }

    /// A device broke the protocol. Returns whether that was once too often.
    pub(crate) fn violated(&self, now: Instant, device: DeviceId) -> bool {
        let mut book = self.book();
        book.totals.violations += 1;
        let account = book.account(device, &self.limits, now);
        account.violations += 1;
        let too_often = account.violations >= VIOLATIONS_MAX;
        if too_often {
            account.violations = 0;
            account.quarantined = Some(now + QUARANTINE);
        }
        too_often
    }

    /// A device's breaches are taken back, and its quarantine ends.
    pub(crate) fn pardon(&self, device: DeviceId) {
        if let Some(account) = self.book().devices.get_mut(&device) {
            account.violations = 0;
            account.quarantined = None;
        }
    }

    /// What is known of a device.
    pub(crate) fn of(&self, now: Instant, device: DeviceId) -> Record {
        let mut book = self.book();
        book.devices
            .get_mut(&device)
            .map_or_else(Record::default, |account| Record {
                violations: account.violations,
                quarantine: account.quarantine(now),
                limited: account.limited,
            })
    }

    /// Adds what is known of a device to what its tasks say.
    pub(crate) fn fill(&self, now: Instant, device: DeviceId, status: &mut PeerLimitsStatus) {
        let record = self.of(now, device);
        if let Some(left) = record.quarantine {
            status.quarantine = Some(Quarantine::Sessions {
                seconds: left.as_secs().max(1),
            });
        }
        status.violations = record.violations;
        status.limited = record.limited;
    }

    /// What was done about all devices.
    pub(crate) fn totals(&self) -> Totals {
        self.book().totals
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Devices hold certificates of ours, so there are no more of them than
    /// members.
    fn account(&mut self, device: DeviceId, limits: &DeviceLimits, now: Instant) -> &mut Account {
        self.devices.entry(device).or_insert_with(|| Account {
            sessions: Bucket::full(limits.sessions, now),
            requests: Bucket::full(limits.requests, now),
            messages: Bucket::full(limits.messages, now),
            bytes: Bucket::full(limits.bytes, now),
            violations: 0,
            quarantined: None,
            limited: 0,
        })
    }
}

impl Account {
    fn wait(
        &mut self,
        rate: Rate,
        now: Instant,
        worth: u32,
        bucket: impl FnOnce(&mut Self) -> &mut Bucket,
    ) -> Duration {
        let wait = bucket(self).take(rate, now, worth);
        self.limited += u64::from(!wait.is_zero());
        wait
    }

    fn quarantine(&mut self, now: Instant) -> Option<Duration> {
        let left = self.quarantined?.checked_duration_since(now);
        let left = left.filter(|left| !left.is_zero());
        if left.is_none() {
            self.quarantined = None;
        }
        left
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DEVICE: DeviceId = DeviceId([1; 16]);
    const OTHER: DeviceId = DeviceId([2; 16]);

    fn peer_limits() -> PeerLimits {
        let rate = |per_second, burst| Rate { per_second, burst };
        PeerLimits::new(DeviceLimits {
            sessions: rate(1, 3),
            requests: rate(2, 4),
            messages: rate(2, 4),
            bytes: rate(100, 1_000),
        })
    }

    #[test]
    fn frequent_reconnects_must_wait() {
        let (peer_limits, now) = (peer_limits(), Instant::now());
        assert!((0..3).all(|_| peer_limits.session(now, DEVICE).is_ok()));
        let (code, _) = peer_limits.session(now, DEVICE).unwrap_err();
        assert_eq!(code, CloseCode::Overloaded);
        assert!(peer_limits.session(now, OTHER).is_ok());
        let later = now + Duration::from_secs(1);
        assert!(peer_limits.session(later, DEVICE).is_ok());
        assert_eq!(peer_limits.totals().sessions, 1);
        assert_eq!(peer_limits.of(later, DEVICE).limited, 1);
    }

    #[test]
    fn breaches_lead_to_quarantine_and_quarantine_ends() {
        let (peer_limits, now) = (peer_limits(), Instant::now());
        assert!((1..VIOLATIONS_MAX).all(|_| !peer_limits.violated(now, DEVICE)));
        assert!(peer_limits.session(now, DEVICE).is_ok(), "not yet");
        assert!(peer_limits.violated(now, DEVICE));
        let (code, _) = peer_limits.session(now, DEVICE).unwrap_err();
        assert_eq!(code, CloseCode::Quarantined);
        assert_eq!(peer_limits.of(now, DEVICE).quarantine, Some(QUARANTINE));
        assert!(peer_limits.session(now, OTHER).is_ok());
        let later = now + QUARANTINE;
        assert!(peer_limits.session(later, DEVICE).is_ok());
        assert_eq!(peer_limits.of(later, DEVICE).quarantine, None);
        assert_eq!(peer_limits.totals().violations, u64::from(VIOLATIONS_MAX));
    }

    #[test]
    fn a_pardon_ends_a_quarantine_and_begins_the_count_anew() {
        let (peer_limits, now) = (peer_limits(), Instant::now());
        for device in [DEVICE, OTHER] {
            assert!((0..VIOLATIONS_MAX).any(|_| peer_limits.violated(now, device)));
        }
        peer_limits.pardon(DEVICE);
        assert!(peer_limits.session(now, DEVICE).is_ok());
        assert!(peer_limits.session(now, OTHER).is_err());
        assert!((1..VIOLATIONS_MAX).all(|_| !peer_limits.violated(now, DEVICE)));
    }

    #[test]
    fn requests_and_messages_beyond_the_rate_wait() {
        let (peer_limits, now) = (peer_limits(), Instant::now());
        assert_eq!(peer_limits.request(now, DEVICE, 4), Duration::ZERO);
        assert_eq!(
            peer_limits.request(now, DEVICE, 1),
            Duration::from_millis(500)
        );
        assert_eq!(peer_limits.message(now, DEVICE), Duration::ZERO);
        assert_eq!(peer_limits.request(now, OTHER, 1), Duration::ZERO);
        let totals = peer_limits.totals();
        assert_eq!((totals.requests, totals.messages), (1, 0));
    }

    #[test]
    fn bytes_are_paid_for_after_a_long_transfer() {
        let (peer_limits, now) = (peer_limits(), Instant::now());
        assert!(peer_limits.bytes(now, DEVICE, 1_500));
        assert!(!peer_limits.bytes(now, DEVICE, 1));
        assert!(peer_limits.bytes(now, OTHER, 1));
        assert!(!peer_limits.bytes(now + Duration::from_secs(4), DEVICE, 1));
        assert!(peer_limits.bytes(now + Duration::from_secs(6), DEVICE, 1));
    }
}
