//! Joining a fleet: a token becomes a certificate, at once or once an
//! operator has approved the device.

use std::path::Path;

use common::ids::DeviceId;
use common::transport::enrolment::{Commands, EnrolmentError};
use common::trust::certificate::{CertificateError, certificate_to_pem};
use common::trust::device_key::DeviceKeyError;
use common::trust::trust_root::TrustRootError;

pub use common::transport::enrolment::Joining;

use crate::identity::{IdentityError, Membership, TimeFloor, load_or_make_key};
use crate::machine::{self, MACHINE_ID};
use crate::state::{StateDir, StateError};
use crate::trust::Trust;

/// Why a device did not join.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The device is in a fleet already.
    #[error("this device is already enrolled with {coordinator} as {device}")]
    Already {
        /// The fleet's coordinator.
        coordinator: String,
        /// The device's name there.
        device: String,
        /// The state directory.
        state: String,
    },
    /// It got no certificate.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
    /// The certificate is not for this device's key.
    #[error("the certificate in the answer cannot be used: {0}")]
    Certificate(#[from] DeviceKeyError),
    /// A certificate in the answer does not parse.
    #[error("the certificate in the answer cannot be used: {0}")]
    Malformed(#[from] CertificateError),
    /// What is said of the release keys is not believed.
    #[error("the answer cannot be used: {0}")]
    TrustRoot(#[from] TrustRootError),
    /// The device's own files.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
}

impl EnrolError {
    /// What a person can do about it, where there is something.
    pub fn advice(&self) -> Option<String> {
        Some(match self {
            Self::Already { state, .. } => format!(
                "if that is right there is nothing to do: start it with `alambic-agent run`. To join \
                 another fleet, or the same one with a new key (its coordinator was set up anew, \
                 or this device was revoked), add --again to this command; what belongs to the \
                 present one is kept in {state}/before-1"
            ),
            Self::Enrolment(error) => return error.advice(COMMANDS),
            Self::Identity(error) => error.advice(),
            Self::State(error) => error.advice(),
            _ => "update the older of the two programs".to_owned(),
        })
    }

    /// Whether the coordinator answered, and the answer was no.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Enrolment(error) if error.is_refusal())
    }
}

const COMMANDS: Commands = Commands {
    token: "alambic-coordinator token create",
    anew: "`alambic-agent enrol --again`",
};

/// Joins a fleet. The key is made here and stays here, and the device has joined once
/// the membership is on the disk. A device whose answer was lost may simply try again.
///
/// If an operator has to approve the device, `waiting` is told its name once,
/// and the device asks again until there is an answer. Dropping the future
/// ends that; asking later goes on with it.
///
/// # Errors
/// [`EnrolError`]; unless it is [`EnrolError::Already`], the device is as
/// before but for its key.
pub async fn enrol(
    state: &StateDir,
    joining: &Joining,
    waiting: impl FnOnce(DeviceId),
) -> Result<Membership, EnrolError> {
    let _lock = state.lock()?;
    if let Some(membership) = Membership::load(state)? {
        return Err(EnrolError::Already {
            coordinator: membership.coordinator,
            device: membership.device.to_string(),
            state: state.path().display().to_string(),
        });
    }
    let key = load_or_make_key(state)?;
    let clock = TimeFloor::load(state).clock();
    let issued = joining.join(&key, clock, waiting).await?;
    let credentials = key.certified(issued.certificate.clone())?;
    let facts = credentials.facts()?;
    let membership = Membership {
        coordinator: joining.coordinator.clone(),
        device: facts.device,
        label: joining.label.clone(),
        certificate: certificate_to_pem(&issued.certificate),
        authority: issued.authorities.iter().map(certificate_to_pem).collect(),
    };
    let trust = Trust::first(&issued.trust_root)?;
    TimeFloor::raise(state, facts.not_before.max(trust.trust_root().issued))?;
    trust.store(state)?;
    machine::note(state, Path::new(MACHINE_ID))?;
    membership.store(state)?;
    Ok(membership)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fleet::Fleet;
    use crate::identity::Identity;
    use common::ids::Time;
    use common::transport::TransportError;
    use common::trust::bundle::AnnouncedAuthority;
    use common::trust::certificate::Fingerprint;
    use common::trust::token::{JoinToken, TokenRecord, TokenTerms};
    use common::wire::codec::{decode, encode};
    use common::wire::messages::{EnrolAnswer, EnrolRefusal, EnrolRequest};

    fn token(pin: Fingerprint) -> JoinToken {
        let terms = TokenTerms {
            expires: Time(u64::MAX),
            uses_max: 1,
            group: None,
            approval: common::trust::token::Approval::Auto,
        };
        TokenRecord::create(pin, terms).unwrap().0
    }

    fn joining(fleet: &Fleet) -> Joining {
        Joining {
            coordinator: fleet.address.to_string(),
            token: token(fleet.authority.fingerprint()),
            label: "kitchen".to_owned(),
        }
    }

    fn is_refused(error: &EnrolError, why: EnrolRefusal) -> bool {
        matches!(error, EnrolError::Enrolment(EnrolmentError::Refused(told)) if *told == why)
    }

    async fn answer_join(fleet: &Fleet, answer: impl Fn(Vec<u8>) -> EnrolAnswer) {
        let connection = fleet.arrival().await.admit().await.unwrap();
        let mut stream = connection.accept_transfer().await.unwrap();
        let asked = stream.recv().await.unwrap().unwrap();
        let EnrolRequest::Join { csr, .. } = decode(&asked).unwrap() else {
            panic!("not a join");
        };
        stream.send(&encode(&answer(csr))).await.unwrap();
        stream.sender.finish();
        connection.closed().await;
    }

    fn issued(fleet: &Fleet, csr: &[u8], authority: Vec<u8>) -> EnrolAnswer {
        EnrolAnswer::Issued {
            device: common::ids::DeviceId([0; 16]),
            certificate: fleet.certify(csr),
            authorities: vec![AnnouncedAuthority {
                certificate: authority,
                cross: None,
            }],
            trust_root: fleet.trust_root.clone(),
        }
    }

    #[tokio::test]
    async fn a_device_joins_once_and_is_told_so_the_second_time() {
        let fleet = Fleet::new();
        let (state, joining) = (fleet.state(), joining(&fleet));
        let authority = fleet.authority.certificate().to_vec();
        let coordinator = answer_join(&fleet, |csr| issued(&fleet, &csr, authority.clone()));
        let (joined, ()) = tokio::join!(enrol(&state, &joining, |_| {}), coordinator);
        let membership = joined.unwrap();
        let identity = Identity::load(&state).unwrap();
        assert_eq!(identity.membership, membership);
        let trust = Trust::load(&state).unwrap().unwrap();
        assert_eq!(trust.known_signers(), [fleet.signing.verifying_key()]);

        let again = enrol(&state, &joining, |_| {}).await.unwrap_err();
        assert!(matches!(again, EnrolError::Already { .. }), "{again}");
        assert!(again.advice().unwrap().contains("run"));
        assert_eq!(Membership::load(&state).unwrap(), Some(membership));
    }

    #[tokio::test]
    async fn rejoining_takes_a_new_key_unless_refused() {
        let fleet = Fleet::new();
        let (state, joining) = (fleet.state(), joining(&fleet));
        let before = fleet.join().membership.clone();
        let again = || crate::anew::enrol_again(&state, &joining, |_| {});
        let refuse = answer_join(&fleet, |_| EnrolAnswer::Refused(EnrolRefusal::UsedToken));
        let (refused, ()) = tokio::join!(again(), refuse);
        assert!(matches!(
            refused,
            Err(EnrolError::Enrolment(EnrolmentError::Refused(
                EnrolRefusal::UsedToken
            )))
        ));
        assert_eq!(Membership::load(&state).unwrap().unwrap(), before);
        assert_eq!(Identity::load(&state).unwrap().membership, before);

        let authority = fleet.authority.certificate().to_vec();
        let coordinator = answer_join(&fleet, |csr| issued(&fleet, &csr, authority.clone()));
        let (joined, ()) = tokio::join!(again(), coordinator);
        let membership = joined.unwrap();
        assert_ne!(membership.device, before.device, "a key of its own");
        assert_eq!(Identity::load(&state).unwrap().membership, membership);
        let kept = StateDir::at(&state.file("before-1"));
        assert_eq!(Membership::load(&kept).unwrap().unwrap(), before);
    }

    #[tokio::test]
    async fn a_refused_token_keeps_the_key() {
        let fleet = Fleet::new();
        let (state, joining) = (fleet.state(), joining(&fleet));
        for refusal in [
            EnrolRefusal::UsedToken,
            EnrolRefusal::ExpiredToken,
            EnrolRefusal::UnknownToken,
        ] {
            let coordinator = answer_join(&fleet, |_| EnrolAnswer::Refused(refusal));
            let (joined, ()) = tokio::join!(enrol(&state, &joining, |_| {}), coordinator);
            let error = joined.unwrap_err();
            assert!(is_refused(&error, refusal), "{error}");
            assert!(error.advice().is_some());
        }
        assert_eq!(Membership::load(&state).unwrap(), None);
        assert!(crate::identity::load_key(&state).unwrap().is_some());
    }

    #[tokio::test]
    async fn a_coordinator_with_another_pin_is_told_nothing() {
        let fleet = Fleet::new();
        let state = fleet.state();
        let joining = Joining {
            token: token(Fingerprint([9; 32])),
            ..joining(&fleet)
        };
        let coordinator = async { fleet.arrival().await.admit().await };
        let (joined, admitted) = tokio::join!(enrol(&state, &joining, |_| {}), coordinator);
        let error = joined.unwrap_err();
        assert!(
            matches!(
                error,
                EnrolError::Enrolment(EnrolmentError::Transport(
                    TransportError::PinMismatch { .. }
                ))
            ),
            "{error}"
        );
        // Had it been admitted, it would still have to open a stream.
        if let Ok(connection) = admitted {
            assert!(connection.accept_transfer().await.is_err());
        }
        assert_eq!(Membership::load(&state).unwrap(), None);
    }

    #[tokio::test]
    async fn an_answer_with_another_authority_is_not_believed() {
        let fleet = Fleet::new();
        let (state, joining) = (fleet.state(), joining(&fleet));
        let other = common::trust::authority::Authority::create("other", Time(0)).unwrap();
        let coordinator = answer_join(&fleet, |csr| {
            issued(&fleet, &csr, other.certificate().to_vec())
        });
        let (joined, ()) = tokio::join!(enrol(&state, &joining, |_| {}), coordinator);
        let error = joined.unwrap_err();
        assert!(
            matches!(
                error,
                EnrolError::Enrolment(EnrolmentError::OtherAuthority { .. })
            ),
            "{error}"
        );
        assert_eq!(Membership::load(&state).unwrap(), None);
    }

    #[tokio::test]
    async fn a_device_waits_for_approval_says_so_once_and_joins() {
        let fleet = Fleet::new();
        let (state, joining) = (fleet.state(), joining(&fleet));
        let authority = fleet.authority.certificate().to_vec();
        let waiting = |_: Vec<u8>| EnrolAnswer::Waiting {
            device: common::ids::DeviceId([0; 16]),
            retry_ms: 0,
        };
        let coordinator = async {
            answer_join(&fleet, waiting).await;
            answer_join(&fleet, waiting).await;
            answer_join(&fleet, |csr| issued(&fleet, &csr, authority.clone())).await;
        };
        let mut told = Vec::new();
        let asking = enrol(&state, &joining, |device| told.push(device));
        let (joined, ()) = tokio::join!(asking, coordinator);
        assert_eq!(told, [joined.unwrap().device]);
    }

    #[tokio::test]
    async fn a_denied_device_stops_asking() {
        let fleet = Fleet::new();
        let (state, joining) = (fleet.state(), joining(&fleet));
        let refusal = EnrolRefusal::Denied;
        let coordinator = answer_join(&fleet, |_| EnrolAnswer::Refused(refusal));
        let (joined, ()) = tokio::join!(enrol(&state, &joining, |_| {}), coordinator);
        let error = joined.unwrap_err();
        assert!(is_refused(&error, refusal), "{error}");
        assert!(error.advice().unwrap().contains("operator"));
    }
}
