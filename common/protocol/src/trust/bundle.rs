//! The authorities a device believes, and how it comes to believe a new one.
//!
//! A new authority is believed if one that is believed already has certified
//! its key. That the coordinator's connection is a good one is not enough:
//! the key of the server's certificate lies on a machine that faces the
//! network, and anyone who takes it must not become the fleet's authority.

use bincode::{Decode, Encode};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Most authorities that are looked at; an honest coordinator names two.
pub const AUTHORITIES_MAX: usize = 4;

/// An authority, as a coordinator announces it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AnnouncedAuthority {
    /// Its own certificate (DER).
    pub certificate: Vec<u8>,
    /// A certificate for the same name and key by the authority before it
    /// (DER).
    pub cross: Option<Vec<u8>>,
}

/// Of the announced authorities those that are to be believed by anyone who
/// believes `trusted`: these themselves, and any whose key one of these has
/// certified. `trusted` itself if there is none, so that a device is never
/// left without one.
pub fn believe(
    trusted: &[CertificateDer<'static>],
    announced: &[AnnouncedAuthority],
) -> Vec<CertificateDer<'static>> {
    let mut believed: Vec<CertificateDer<'static>> = Vec::new();
    for one in announced.iter().take(AUTHORITIES_MAX) {
        let certificate = CertificateDer::from(one.certificate.clone());
        let is_vouched_for = trusted.contains(&certificate)
            || one
                .cross
                .as_ref()
                .is_some_and(|cross| trusted.iter().any(|by| vouches(by, cross, &certificate)));
        if is_vouched_for && !believed.contains(&certificate) {
            believed.push(certificate);
        }
    }
    if believed.is_empty() {
        trusted.to_vec()
    } else {
        believed
    }
}

/// Whether `cross` is a certificate by `trusted` for the name and key of the
/// authority `announced`.
fn vouches(trusted: &[u8], cross: &[u8], announced: &[u8]) -> bool {
    let parse = |der| {
        X509Certificate::from_der(der)
            .ok()
            .map(|(_, parsed)| parsed)
    };
    let (Some(trusted), Some(cross), Some(announced)) =
        (parse(trusted), parse(cross), parse(announced))
    else {
        return false;
    };
    cross.is_ca()
        && announced.is_ca()
        && cross.subject() == announced.subject()
        && cross.public_key().raw == announced.public_key().raw
        && cross.issuer() == trusted.subject()
        && cross.verify_signature(Some(trusted.public_key())).is_ok()
        && announced.verify_signature(None).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ids::Time;
    use crate::trust::authority::Authority;

    const NOW: Time = Time(1_800_000_000_000);

    fn announce(authority: &Authority, by: Option<&Authority>) -> AnnouncedAuthority {
        AnnouncedAuthority {
            certificate: authority.certificate().to_vec(),
            cross: by.map(|by| by.cross_certify(authority, NOW).unwrap().to_vec()),
        }
    }

    fn three() -> (Authority, Authority, Authority) {
        let make = |name| Authority::create(name, NOW).unwrap();
        (make("old"), make("new"), make("foreign"))
    }

    #[test]
    fn the_next_authority_is_believed_through_the_one_before() {
        let (old, new, _) = three();
        let trusted = [old.certificate().clone()];
        let announced = [announce(&new, Some(&old)), announce(&old, None)];
        let both = vec![new.certificate().clone(), old.certificate().clone()];
        assert_eq!(believe(&trusted, &announced), both);
        let only_new = vec![new.certificate().clone()];
        assert_eq!(believe(&both, &[announce(&new, None)]), only_new);
    }

    #[test]
    fn an_unvouched_authority_is_refused() {
        let (old, new, foreign) = three();
        let trusted = [old.certificate().clone()];
        let mut stolen = announce(&foreign, Some(&foreign));
        assert_eq!(believe(&trusted, &[stolen.clone()]), trusted);
        assert_eq!(believe(&trusted, &[announce(&new, None)]), trusted);
        // Another authority's cross certificate, which is no secret.
        stolen.cross = announce(&new, Some(&old)).cross;
        assert_eq!(believe(&trusted, &[stolen]), trusted);
        let mut torn = announce(&new, Some(&old));
        torn.cross.as_mut().unwrap().truncate(40);
        assert_eq!(believe(&trusted, &[torn]), trusted);
    }

    #[test]
    fn a_device_is_never_left_without_an_authority() {
        let (old, _, _) = three();
        let trusted = [old.certificate().clone()];
        assert_eq!(believe(&trusted, &[]), trusted);
    }
}
