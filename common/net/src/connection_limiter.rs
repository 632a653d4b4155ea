//! Who may connect how often: limits by address, before anything is known of
//! the peer.
//!
//! An address that QUIC has not validated may be forged. So it is never
//! refused for what was done in its name, only asked to show that it is
//! there (a retry, RFC 9000 section 8.1.2, which keeps no state); what a
//! limit takes away is taken from validated addresses alone.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::rate::{Bucket, Rate};
use protocol::limits::{
    ADDRESSES_MAX, ANONYMOUS_MAX, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX,
    ENROLMENTS_PER_ADDRESS_S, HANDSHAKES_MAX, HANDSHAKES_PER_ADDRESS_S, VALIDATE_ABOVE,
    VALIDATE_HANDSHAKES_ABOVE,
};

/// What may be open at a time and come in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open connections, handshakes included.
    pub connections: usize,
    /// Handshakes under way.
    pub handshakes: usize,
    /// Open connections of peers without a certificate.
    pub anonymous: usize,
    /// Above this number of open connections a newcomer has to show that it
    /// is at the address it claims, at the price of one more round trip. Zero
    /// asks everyone.
    pub validate_above: usize,
    /// The same for handshakes under way.
    pub validate_handshakes_above: usize,
    /// Open connections from one address.
    pub connections_per_address: usize,
    /// Handshakes from one address.
    pub handshakes_per_address: Rate,
    /// Requests to join or renew from one address.
    pub enrolments_per_address: Rate,
}

impl Default for ConnectionLimits {
    /// The figures of [`protocol::limits`].
    fn default() -> Self {
        Self {
            connections: CONNECTIONS_MAX,
            handshakes: HANDSHAKES_MAX,
            anonymous: ANONYMOUS_MAX,
            validate_above: VALIDATE_ABOVE,
            validate_handshakes_above: VALIDATE_HANDSHAKES_ABOVE,
            connections_per_address: CONNECTIONS_PER_ADDRESS_MAX,
            handshakes_per_address: Self::rate(HANDSHAKES_PER_ADDRESS_S),
            enrolments_per_address: Self::rate(ENROLMENTS_PER_ADDRESS_S),
        }
    }
}

impl ConnectionLimits {
    /// This many a second, and what comes in ten seconds at once.
    pub fn rate(per_second: u32) -> Rate {
        Rate {
            per_second,
            burst: per_second.saturating_mul(BURST_S),
        }
    }
}

/// What happens to a peer that connects.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It may try its handshake.
    Accept(Permit),
    /// It has to show first that it is where it claims to be.
    Validate,
    /// It is told to come again later.
    Refuse(Refusal),
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Connections,
    Handshakes,
    AddressConnections,
    AddressRate,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Connections that count as open now.
    pub connections: usize,
    /// Handshakes under way now.
    pub handshakes: usize,
    /// Open connections without a certificate now.
    pub anonymous: usize,
    /// Addresses that are remembered now.
    pub addresses: usize,
    /// Peers asked to show that they are at their address.
    pub validated: u64,
    /// Refused: too many connections or handshakes in all.
    pub full: u64,
    /// Refused: too many connections from one address.
    pub address_connections: u64,
    /// Refused: too many handshakes from one address in a time.
    pub address_rate: u64,
    /// Closed: too many without a certificate, or too many requests to enrol
    /// from one address in a time.
    pub enrolments: u64,
}

/// The limiter of a listener.
#[derive(Debug)]
pub struct ConnectionLimiter {
    limits: ConnectionLimits,
    occupancy: Mutex<Occupancy>,
    validated: AtomicU64,
    full: AtomicU64,
    address_connections: AtomicU64,
    address_rate: AtomicU64,
    enrolments: AtomicU64,
}

/// What is open.
#[derive(Debug, Default)]
struct Occupancy {
    addresses: HashMap<IpAddr, AddressUsage>,
    permits: usize,
    handshakes: usize,
    anonymous: usize,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct AddressUsage {
    open: usize,
    handshakes: Bucket,
    enrolments: Bucket,
}

impl ConnectionLimiter {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            occupancy: Mutex::default(),
            validated: AtomicU64::new(0),
            full: AtomicU64::new(0),
            address_connections: AtomicU64::new(0),
            address_rate: AtomicU64::new(0),
            enrolments: AtomicU64::new(0),
        }
    }

    /// What it has seen.
    pub fn counts(&self) -> ConnectionCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let occupancy = self.occupancy();
        ConnectionCounts {
            connections: occupancy.permits,
            handshakes: occupancy.handshakes,
            anonymous: occupancy.anonymous,
            addresses: occupancy.addresses.len(),
            validated: read(&self.validated),
            full: read(&self.full),
            address_connections: read(&self.address_connections),
            address_rate: read(&self.address_rate),
            enrolments: read(&self.enrolments),
        }
    }

    /// Decides about a peer that connects while `open` connections are open.
    /// Cost: one look into a table.
    pub(crate) fn try_accept(
        self: &Arc<Self>,
        now: Instant,
        from: IpAddr,
        validated: bool,
        open: usize,
    ) -> Verdict {
        let limits = &self.limits;
        let mut occupancy = self.occupancy();
        if open >= limits.connections {
            return self.refuse(Refusal::Connections);
        }
        let is_busy = open >= limits.validate_above
            || occupancy.handshakes >= limits.validate_handshakes_above;
        if is_busy && !validated {
            return self.validate();
        }
        if occupancy.handshakes >= limits.handshakes {
            return self.refuse(Refusal::Handshakes);
        }
        let from = place(from);
        let usage = occupancy.usage(from, limits, now);
        // A forged sender must not use up what belongs to the true one.
        let refusal = if usage.open >= limits.connections_per_address {
            Some(Refusal::AddressConnections)
        } else {
            let rate = limits.handshakes_per_address;
            let is_there = usage.handshakes.try_take(rate, now, validated.into());
            (!is_there).then_some(Refusal::AddressRate)
        };
        match refusal {
            Some(_) if !validated => return self.validate(),
            Some(refusal) => return self.refuse(refusal),
            None => {}
        }
        usage.open += 1;
        occupancy.permits += 1;
        occupancy.handshakes += 1;
        Verdict::Accept(Permit {
            limiter: self.clone(),
            from,
            owes: !validated,
            handshaking: true,
            anonymous: false,
        })
    }

    fn validate(&self) -> Verdict {
        self.validated.fetch_add(1, Ordering::Relaxed);
        Verdict::Validate
    }

    fn refuse(&self, refusal: Refusal) -> Verdict {
        let counter = match refusal {
            Refusal::Connections | Refusal::Handshakes => &self.full,
            Refusal::AddressConnections => &self.address_connections,
            Refusal::AddressRate => &self.address_rate,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Verdict::Refuse(refusal)
    }

    fn occupancy(&self) -> MutexGuard<'_, Occupancy> {
        self.occupancy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Occupancy {
    fn usage(
        &mut self,
        from: IpAddr,
        limits: &ConnectionLimits,
        now: Instant,
    ) -> &mut AddressUsage {
        if self.addresses.len() >= ADDRESSES_MAX && self.is_sweep_due(now) {
            self.swept = Some(now);
            self.addresses
                .retain(|_, usage| !usage.is_idle(limits, now));
        }
        self.addresses.entry(from).or_insert_with(|| AddressUsage {
            open: 0,
            handshakes: Bucket::full(limits.handshakes_per_address, now),
            enrolments: Bucket::full(limits.enrolments_per_address, now),
        })
    }

    fn is_sweep_due(&self, now: Instant) -> bool {
        let since = |swept| now.saturating_duration_since(swept);
        self.swept.is_none_or(|swept| since(swept) >= SWEEP_EVERY)
    }
}

impl AddressUsage {
    /// Whether forgetting it changes nothing.
    fn is_idle(&mut self, limits: &ConnectionLimits, now: Instant) -> bool {
        self.open == 0
            && self.handshakes.is_full(limits.handshakes_per_address, now)
            && self.enrolments.is_full(limits.enrolments_per_address, now)
    }
}

/// A connection that was let in; it is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limiter: Arc<ConnectionLimiter>,
    from: IpAddr,
    /// Its handshake has not been charged to its address yet.
    owes: bool,
    handshaking: bool,
    anonymous: bool,
}

impl Permit {
    /// Its handshake is over, and so its address is validated.
    pub(crate) fn shook_hands(&mut self, now: Instant) {
        let mut occupancy = self.limiter.occupancy();
        if std::mem::take(&mut self.handshaking) {
            occupancy.handshakes -= 1;
        }
        if std::mem::take(&mut self.owes)
            && let Some(usage) = occupancy.addresses.get_mut(&self.from)
        {
            let rate = self.limiter.limits.handshakes_per_address;
            usage.handshakes.take(rate, now, 1);
        }
    }

    /// It wants to join or renew. False if too many do, in all or from its
    /// address.
    pub(crate) fn may_enrol(&mut self, now: Instant, anonymous: bool) -> bool {
        let limits = &self.limiter.limits;
        let mut occupancy = self.limiter.occupancy();
        let rate = limits.enrolments_per_address;
        let usage = occupancy.addresses.get_mut(&self.from);
        let allowed = usage.is_none_or(|usage| usage.enrolments.try_take(rate, now, 1))
            && (!anonymous || occupancy.anonymous < limits.anonymous);
        if !allowed {
            self.limiter.enrolments.fetch_add(1, Ordering::Relaxed);
        } else if anonymous && !self.anonymous {
            occupancy.anonymous += 1;
            self.anonymous = true;
        }
        allowed
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut occupancy = self.limiter.occupancy();
        occupancy.permits -= 1;
        if self.handshaking {
            occupancy.handshakes -= 1;
        }
        if self.anonymous {
            occupancy.anonymous -= 1;
        }
        let limits = &self.limiter.limits;
        let Some(usage) = occupancy.addresses.get_mut(&self.from) else {
            return;
        };
        usage.open -= 1;
        if usage.is_idle(limits, Instant::now()) {
            occupancy.addresses.remove(&self.from);
        }
    }
}

/// What counts as one address: an IPv6 customer has at least a whole /64.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

const BURST_S: u32 = 10;
/// Between two looks for addresses that can be forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
