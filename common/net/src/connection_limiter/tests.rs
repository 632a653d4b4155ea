#![allow(clippy::unwrap_used)]
use std::net::Ipv4Addr;

use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

fn limits() -> ConnectionLimits {
    ConnectionLimits {
        connections: 100,
        handshakes: 20,
        anonymous: 3,
        validate_above: 50,
        validate_handshakes_above: 10,
        connections_per_address: 8,
        handshakes_per_address: Rate {
            per_second: 1,
            burst: 12,
        },
        enrolments_per_address: Rate {
            per_second: 1,
            burst: 2,
        },
    }
}

fn limiter(change: impl FnOnce(&mut ConnectionLimits)) -> Arc<ConnectionLimiter> {
    let mut limits = limits();
    change(&mut limits);
    Arc::new(ConnectionLimiter::new(limits))
}

fn come(verdict: Verdict) -> Permit {
    match verdict {
        Verdict::Accept(permit) => permit,
        other => panic!("not let in: {other:?}"),
    }
}

fn refusal(verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Refuse(why) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_quiet_limiter_asks_nobody_for_a_second_round_trip() {
    let limiter = limiter(|_| {});
    let now = Instant::now();
    let mut permit = come(limiter.try_accept(now, HERE, false, 0));
    permit.shook_hands(now);
    assert_eq!(limiter.counts().validated, 0);
}

#[test]
fn many_open_handshakes_trigger_address_validation() {
    let limiter = limiter(|limits| limits.connections_per_address = 50);
    let now = Instant::now();
    let mut under_way: Vec<_> = (0..10)
        .map(|_| come(limiter.try_accept(now, HERE, false, 0)))
        .collect();
    assert!(matches!(
        limiter.try_accept(now, THERE, false, 0),
        Verdict::Validate
    ));
    let _there = come(limiter.try_accept(now, THERE, true, 0));
    assert_eq!(limiter.counts().handshakes, 11);
    for permit in &mut under_way {
        permit.shook_hands(now);
    }
    let _quiet = come(limiter.try_accept(now, THERE, false, 11));
    let many = limiter.try_accept(now, THERE, false, 50);
    assert!(matches!(many, Verdict::Validate), "many are open");
}

#[test]
fn connection_limits_hold() {
    let limiter = limiter(|limits| {
        limits.connections_per_address = 50;
        limits.handshakes_per_address.burst = 50;
    });
    let now = Instant::now();
    let permits: Vec<_> = (0..20)
        .map(|_| come(limiter.try_accept(now, HERE, true, 0)))
        .collect();
    let full = refusal(limiter.try_accept(now, THERE, true, 20));
    assert_eq!(full, Refusal::Handshakes);
    drop(permits);
    assert_eq!(limiter.counts().handshakes, 0);
    let full = refusal(limiter.try_accept(now, THERE, true, 100));
    assert_eq!(full, Refusal::Connections);
    assert_eq!(limiter.counts().full, 2);
}

#[test]
fn an_address_has_so_many_connections_and_others_their_own() {
    let limiter = limiter(|_| {});
    let now = Instant::now();
    let mut permits: Vec<_> = (0..8)
        .map(|_| come(limiter.try_accept(now, HERE, true, 0)))
        .collect();
    let why = refusal(limiter.try_accept(now, HERE, true, 8));
    assert_eq!(why, Refusal::AddressConnections);
    let _other = come(limiter.try_accept(now, THERE, true, 8));
    permits.pop();
    let _again = come(limiter.try_accept(now, HERE, true, 8));
}

#[test]
fn an_address_over_its_rate_is_accepted_later() {
    let limiter = limiter(|_| {});
    let now = Instant::now();
    for _ in 0..12 {
        come(limiter.try_accept(now, HERE, true, 0)).shook_hands(now);
    }
    let why = refusal(limiter.try_accept(now, HERE, true, 0));
    assert_eq!(why, Refusal::AddressRate);
    let _other = come(limiter.try_accept(now, THERE, true, 0));
    come(limiter.try_accept(now + Duration::from_secs(2), HERE, true, 0));
    assert_eq!(limiter.counts().address_rate, 1);
}

#[test]
fn forged_handshakes_only_cost_their_victim_a_retry() {
    let limiter = limiter(|_| {});
    let now = Instant::now();
    // Twice what the address may: half-open, in its name, never validated.
    let forged: Vec<_> = (0..24)
        .filter_map(|_| match limiter.try_accept(now, HERE, false, 0) {
            Verdict::Accept(permit) => Some(permit),
            Verdict::Validate => None,
            Verdict::Refuse(why) => panic!("an address that may be forged: {why:?}"),
        })
        .collect();
    assert_eq!(forged.len(), 8, "the rest has to show where it is");
    drop(forged);
    assert!((0..12).all(|_| {
        let mut permit = come(limiter.try_accept(now, HERE, true, 0));
        permit.shook_hands(now);
        true
    }));
}

#[test]
fn an_unvalidated_handshake_is_charged_at_its_end() {
    let limiter = limiter(|_| {});
    let now = Instant::now();
    for _ in 0..13 {
        come(limiter.try_accept(now, HERE, false, 0)).shook_hands(now);
    }
    let next = limiter.try_accept(now, HERE, false, 0);
    assert!(matches!(next, Verdict::Validate));
    let why = refusal(limiter.try_accept(now, HERE, true, 0));
    assert_eq!(why, Refusal::AddressRate);
}

#[test]
fn connections_without_a_certificate_are_few() {
    let limiter = limiter(|limits| limits.enrolments_per_address.burst = 4);
    let now = Instant::now();
    let try_accept = |from| come(limiter.try_accept(now, from, true, 0));
    let mut inside: Vec<_> = (0..3).map(|_| try_accept(HERE)).collect();
    assert!(inside.iter_mut().all(|permit| permit.may_enrol(now, true)));
    let mut fourth = try_accept(THERE);
    assert!(!fourth.may_enrol(now, true), "too many in all");
    assert!(
        fourth.may_enrol(now, false),
        "with a certificate it may renew"
    );
    inside.pop();
    assert!(fourth.may_enrol(now, true));
    assert_eq!(limiter.counts().anonymous, 3);
    let mut fifth = try_accept(HERE);
    assert!(fifth.may_enrol(now, false));
    assert!(!fifth.may_enrol(now, false), "too many from one address");
    drop((inside, fourth, fifth));
    let counts = limiter.counts();
    assert_eq!((counts.anonymous, counts.handshakes), (0, 0));
    assert_eq!(counts.enrolments, 2);
}

#[test]
fn ipv6_is_limited_by_prefix_and_mapped_as_ipv4() {
    let same = |a: &str, b: &str| place(a.parse().unwrap()) == place(b.parse().unwrap());
    assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
    assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
    assert!(same("::ffff:10.0.0.1", "10.0.0.1"));
}

#[test]
fn what_is_remembered_of_addresses_stays_small() {
    let limiter = limiter(|limits| limits.connections_per_address = 1);
    let now = Instant::now();
    for number in 0..40_000u32 {
        let from = IpAddr::V4(Ipv4Addr::from(number));
        // Never charged, so nothing of it is worth keeping.
        drop(limiter.try_accept(now, from, false, 0));
    }
    assert_eq!(limiter.counts().addresses, 0);
    for number in 0..40_000u32 {
        let from = IpAddr::V4(Ipv4Addr::from(number));
        let later = now + Duration::from_millis(u64::from(number));
        if let Verdict::Accept(mut permit) = limiter.try_accept(later, from, true, 0) {
            permit.shook_hands(later);
        }
    }
    let kept = limiter.counts().addresses;
    assert!(kept <= ADDRESSES_MAX + 1_000, "{kept}");
}
