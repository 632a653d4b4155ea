//! The next certificate, asked for in good time or, after a long sleep, late.

use std::sync::Arc;

use common::ids::{DeviceId, Time};
use common::transport::enrolment::{self, Renewed};
use common::transport::{ClientIdentity, Protocol};
use common::trust::bundle::believe;
use common::trust::certificate::{CertificateFacts, certificate_to_pem};

use crate::enrol::EnrolError;
use crate::identity::{Identity, IdentityError, Membership, TimeFloor, load_key};
use crate::route::Route;
use crate::state::StateDir;

/// When a device asks for its next certificate: at half of the present one's
/// life, and up to a tenth of it later, each device at a moment of its own,
/// so that a fleet that joined together does not renew together.
pub fn due(certificate: &CertificateFacts) -> Time {
    let life_ms = certificate.not_after.since_ms(certificate.not_before);
    let jitter_ms = spread_ms(certificate, life_ms / 10);
    certificate.not_before.after_ms(life_ms / 2 + jitter_ms)
}

/// A device's own moment within a span of milliseconds.
pub fn spread_ms(certificate: &CertificateFacts, span_ms: u64) -> u64 {
    number_of(certificate.device)
        .checked_rem(span_ms)
        .unwrap_or_default()
}

/// Milliseconds until a renewal that failed is tried again. One that was
/// refused is tried too, for a coordinator whose clock is wrong refuses
/// everyone: each time in a row after twice as long, an hour at most.
pub fn retry_ms(certificate: &CertificateFacts, refusals: u32) -> u64 {
    let life_ms = certificate.not_after.since_ms(certificate.not_before);
    let first_ms = (life_ms / 100).clamp(RETRY_MS_MIN, RETRY_MS_MAX);
    match refusals {
        0 => first_ms,
        refusals => {
            let first_ms = first_ms.min(REFUSED_MS_FIRST);
            (first_ms << (refusals - 1).min(16)).min(RETRY_MS_MAX)
        }
    }
}

/// Milliseconds until the next certificate is asked for where the newest was due
/// when it came, for this device's clock is ahead: an hour, and after each time in
/// a row twice as long, a day or half of a certificate's life at most.
pub fn ahead_ms(certificate: &CertificateFacts, times: u32) -> u64 {
    let life_ms = certificate.not_after.since_ms(certificate.not_before);
    let wait_ms = AHEAD_MS_FIRST << times.saturating_sub(1).min(16);
    let longest_ms = AHEAD_MS_MAX.min(life_ms / 2).max(RETRY_MS_MIN);
    wait_ms.min(longest_ms)
}

/// Asks for the next certificate of the same key, showing the present one,
/// which may be over. Authorities that the ones believed vouch for are
/// believed from then on. Durable when this returns.
///
/// # Errors
/// [`EnrolError`]; the device's membership is as before.
pub async fn renew(state: &StateDir, route: &Route) -> Result<Arc<Identity>, EnrolError> {
    let key = load_key(state)?.ok_or_else(|| IdentityError::NotEnrolled {
        state: state.path().display().to_string(),
    })?;
    let search = route.search(Protocol::Enrolment);
    let Renewed {
        certificate,
        announced,
    } = enrolment::renew(&search, &route.coordinator, &key).await?;
    let facts = key.certified(certificate.clone())?.facts()?;
    let trusted = match route.identity.client() {
        ClientIdentity::Enrolled { authorities, .. } => authorities.as_slice(),
        ClientIdentity::Enrolling { .. } => &[],
    };
    let authorities = believe(trusted, &announced);
    let membership = Membership {
        certificate: certificate_to_pem(&certificate),
        authority: authorities.iter().map(certificate_to_pem).collect(),
        ..route.identity.membership.clone()
    };
    membership.store(state)?;
    TimeFloor::raise(state, facts.not_before)?;
    Ok(Arc::new(Identity::load(state)?))
}

/// A device's number among others, the same each time.
fn number_of(device: DeviceId) -> u64 {
    let mut first = [0u8; 8];
    first.copy_from_slice(&device.0[8..]);
    u64::from_le_bytes(first)
}

const RETRY_MS_MIN: u64 = 1_000;
const RETRY_MS_MAX: u64 = 3_600_000;
/// Wait after the first certificate that was due when it came.
const AHEAD_MS_FIRST: u64 = 3_600_000;
const AHEAD_MS_MAX: u64 = 24 * 3_600_000;
/// Wait after the first refusal.
const REFUSED_MS_FIRST: u64 = 60_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fleet::Fleet;
    use common::transport::PeerIdentity;
    use common::trust::authority::Authority;
    use common::trust::bundle::AnnouncedAuthority;
    use common::trust::certificate::certificates_from_pem;
    use common::wire::codec::{decode, encode};
    use common::wire::messages::{EnrolAnswer, EnrolRefusal, EnrolRequest};

    fn facts(device: u8, life_ms: u64) -> CertificateFacts {
        CertificateFacts {
            device: DeviceId([device; 16]),
            common_name: String::new(),
            not_before: Time(1_000_000),
            not_after: Time(1_000_000 + life_ms),
            is_authority: false,
            is_gateway: false,
            public_key: Vec::new(),
        }
    }

    #[test]
    fn devices_renew_after_half_a_life_and_not_all_at_once() {
        let life_ms = 30 * 24 * 3_600_000;
        let mut moments: Vec<u64> = (0..100)
            .map(|device| due(&facts(device, life_ms)).since_ms(Time(1_000_000)))
            .collect();
        assert!(
            moments
                .iter()
                .all(|ms| (life_ms / 2..life_ms * 6 / 10).contains(ms))
        );
        moments.sort_unstable();
        moments.dedup();
        assert!(moments.len() > 90);
        assert_eq!(due(&facts(1, 0)), Time(1_000_000));
        assert_eq!(retry_ms(&facts(1, life_ms), 0), RETRY_MS_MAX);
        assert_eq!(retry_ms(&facts(1, 4_000), 0), RETRY_MS_MIN);
    }

    #[test]
    fn a_refused_renewal_is_tried_again_with_growing_waits() {
        let certificate = facts(1, 30 * 24 * 3_600_000);
        let waits = [1, 2, 3, 7, 40].map(|refusals| retry_ms(&certificate, refusals));
        assert_eq!(
            waits,
            [60_000, 120_000, 240_000, RETRY_MS_MAX, RETRY_MS_MAX]
        );
    }

    #[test]
    fn a_clock_that_is_ahead_renews_less_and_less_often() {
        let certificate = facts(1, 30 * 24 * 3_600_000);
        let hours = [1, 2, 3, 5, 6, 99].map(|times| ahead_ms(&certificate, times) / 3_600_000);
        assert_eq!(hours, [1, 2, 4, 16, 24, 24]);
        assert_eq!(ahead_ms(&facts(1, 60_000), 1), 30_000);
        assert_eq!(ahead_ms(&facts(1, 1_000), 9), RETRY_MS_MIN);
    }

    /// Answers one renewal; who asked, as the transport knows it.
    async fn answer(fleet: &Fleet, answer: impl Fn(Vec<u8>) -> EnrolAnswer) -> PeerIdentity {
        let connection = fleet.arrival().await.admit().await.unwrap();
        let mut stream = connection.accept_transfer().await.unwrap();
        let EnrolRequest::Renew { csr } = decode(&stream.recv().await.unwrap().unwrap()).unwrap()
        else {
            panic!("not a renewal");
        };
        stream.send(&encode(&answer(csr))).await.unwrap();
        stream.sender.finish();
        connection.closed().await;
        connection.peer()
    }

    #[tokio::test]
    async fn renewal_keeps_the_key_and_adds_the_next_authority() {
        let fleet = Fleet::new();
        let before = fleet.join();
        let state = fleet.state();
        let now = common::trust::clock::Clock::system().now();
        let next = Authority::create("next", now).unwrap();
        let foreign = Authority::create("foreign", now).unwrap();
        let cross = fleet.authority.cross_certify(&next, now).unwrap();
        let renewed = |csr: Vec<u8>| EnrolAnswer::Renewed {
            certificate: fleet.certify(&csr),
            authorities: vec![
                AnnouncedAuthority {
                    certificate: next.certificate().to_vec(),
                    cross: Some(cross.to_vec()),
                },
                AnnouncedAuthority {
                    certificate: fleet.authority.certificate().to_vec(),
                    cross: None,
                },
                AnnouncedAuthority {
                    certificate: foreign.certificate().to_vec(),
                    cross: None,
                },
            ],
        };
        let route = fleet.route(before.clone());
        let (after, peer) = tokio::join!(renew(&state, &route), answer(&fleet, renewed));
        let after = after.unwrap();
        assert_eq!(peer, PeerIdentity::Device(before.membership.device));
        assert_eq!(after.membership.device, before.membership.device);
        assert_ne!(after.membership.certificate, before.membership.certificate);
        let believed = certificates_from_pem(&after.membership.authority).unwrap();
        let expected = [
            next.certificate().clone(),
            fleet.authority.certificate().clone(),
        ];
        assert_eq!(believed, expected);
        assert_eq!(Identity::load(&state).unwrap().membership, after.membership);
    }

    #[tokio::test]
    async fn a_refused_renewal_changes_nothing() {
        let fleet = Fleet::new();
        let before = fleet.join();
        let state = fleet.state();
        let route = fleet.route(before.clone());
        for (refusal, refused) in [
            (EnrolRefusal::RevokedKey, true),
            (EnrolRefusal::NotAMember, true),
            (EnrolRefusal::Storage, false),
        ] {
            let refuse = |_| EnrolAnswer::Refused(refusal);
            let (after, _) = tokio::join!(renew(&state, &route), answer(&fleet, refuse));
            assert_eq!(after.unwrap_err().is_refusal(), refused);
        }
        let other = common::trust::device_key::DeviceKey::generate().unwrap();
        let foreign = fleet.certify(&other.signing_request().unwrap());
        let give = |_| EnrolAnswer::Renewed {
            certificate: foreign.clone(),
            authorities: Vec::new(),
        };
        let (after, _) = tokio::join!(renew(&state, &route), answer(&fleet, give));
        assert!(matches!(after, Err(EnrolError::Certificate(_))));
        assert_eq!(
            Identity::load(&state).unwrap().membership,
            before.membership
        );
    }
}
