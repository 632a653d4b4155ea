//! How a gateway gets its certificate: it joins with a token for gateways as a
//! device does with one for devices, and asks for a gateway's certificate at
//! once. The key is made here and stays here.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use common::ids::DeviceId;
use common::transport::{ClientIdentity, CloseCode, Connection, Dialler, Protocol, Search, Tuning};
use common::trust::bundle::{AnnouncedAuthority, believe};
use common::trust::certificate::{Fingerprint, certificate_to_pem};
use common::trust::clock::Clock;
use common::trust::device_key::DeviceKey;
use common::trust::token::JoinToken;
use common::wire::codec::{decode, encode};
use common::wire::messages::{EnrolAnswer, EnrolRequest};
use rustls_pki_types::CertificateDer;

use super::files::{read, write};
use super::identity::{
    GatewayIdentity, GatewayIdentityError, KEY, MEMBERSHIP, Membership, in_pem, with_cross,
};

/// What a person gives for a gateway to join.
#[derive(Clone, Debug)]
pub struct Joining {
    /// Where the coordinator is, `host:port`.
    pub coordinator: String,
    /// A token for gateways.
    pub token: JoinToken,
    /// A name for people; may be empty.
    pub label: String,
}

/// Joins: makes a key, shows the token, and gets a gateway's certificate. If
/// an operator has to approve it, `waiting` is told its id once. Cut off
/// anywhere, it can be tried again.
///
/// # Errors
/// [`GatewayIdentityError`].
pub async fn enrol(
    state: &Path,
    joining: &Joining,
    clock: Clock,
    waiting: impl FnOnce(DeviceId),
) -> Result<GatewayIdentity, GatewayIdentityError> {
    if let Ok(identity) = GatewayIdentity::load(state) {
        return Err(GatewayIdentityError::Already {
            gateway: identity.gateway(),
            path: state.join(MEMBERSHIP),
        });
    }
    let key = load_or_make_key(state)?;
    let request = EnrolRequest::Join {
        token: joining.token.id.to_string(),
        secret: joining.token.secret.reveal().to_vec(),
        csr: key.signing_request()?,
        label: joining.label.clone(),
    };
    let pinned = joining.token.ca_pin;
    let enrolling = search(ClientIdentity::Enrolling { ca_pin: pinned }, clock.clone());
    let mut waiting = Some(waiting);
    let (certificate, announced) = loop {
        match exchange(&enrolling, &joining.coordinator, &request).await? {
            EnrolAnswer::Issued {
                certificate,
                authorities,
                ..
            } => break (certificate, authorities),
            EnrolAnswer::Refused(reason) => return Err(GatewayIdentityError::Refused(reason)),
            EnrolAnswer::Waiting { retry_ms, .. } => {
                if let Some(waiting) = waiting.take() {
                    waiting(key.device());
                }
                tokio::time::sleep(Duration::from_millis(retry_ms.min(RETRY_MS_MAX))).await;
            }
            EnrolAnswer::Renewed { .. } => return Err(GatewayIdentityError::NoAnswer),
        }
    };
    let is_pinned = |one: &&AnnouncedAuthority| Fingerprint::of(&one.certificate) == pinned;
    let Some(met) = announced.iter().find(is_pinned) else {
        return Err(GatewayIdentityError::OtherAuthority { pinned });
    };
    let met = CertificateDer::from(met.certificate.clone());
    let believed = believe(&[met], &announced);
    // What was given is a device's; as a member, it may ask for what it is.
    let joined = ClientIdentity::Enrolled {
        credentials: key.certified(CertificateDer::from(certificate))?,
        authorities: believed.clone(),
    };
    let renewing = search(joined, clock);
    let (certificate, again) = renew(&key, &renewing, &joining.coordinator).await?;
    let facts = key.certified(certificate.clone())?.facts()?;
    if !facts.is_gateway {
        return Err(GatewayIdentityError::NotAGateway {
            member: facts.device,
            path: state.join(KEY),
        });
    }
    let authorities = with_cross(&believe(&believed, &again), &again);
    let membership = Membership {
        coordinator: joining.coordinator.clone(),
        label: joining.label.clone(),
        certificate: certificate_to_pem(&certificate),
        authorities: in_pem(&authorities),
    };
    let stored = membership.clone();
    let identity = GatewayIdentity::assemble(key, membership)?;
    stored.store(state)?;
    Ok(identity)
}

/// The next certificate of a key, and the authorities as they are announced.
///
/// # Errors
/// [`GatewayIdentityError`].
pub(super) async fn renew(
    key: &DeviceKey,
    search: &Search,
    coordinator: &str,
) -> Result<(CertificateDer<'static>, Vec<AnnouncedAuthority>), GatewayIdentityError> {
    let request = EnrolRequest::Renew {
        csr: key.signing_request()?,
    };
    match exchange(search, coordinator, &request).await? {
        EnrolAnswer::Renewed {
            certificate,
            authorities,
        } => Ok((CertificateDer::from(certificate), authorities)),
        EnrolAnswer::Refused(reason) => Err(GatewayIdentityError::Refused(reason)),
        EnrolAnswer::Issued { .. } | EnrolAnswer::Waiting { .. } => {
            Err(GatewayIdentityError::NoAnswer)
        }
    }
}

async fn exchange(
    search: &Search,
    coordinator: &str,
    request: &EnrolRequest,
) -> Result<EnrolAnswer, GatewayIdentityError> {
    let (dialler, connection): (Dialler, Connection) = search.connect(coordinator).await?;
    let asked = async {
        let mut stream = connection.open_transfer().await?;
        let answer = stream.ask(&encode(request)).await?;
        let answer = answer.ok_or(GatewayIdentityError::NoAnswer)?;
        Ok(decode(&answer)?)
    };
    let answer = asked.await;
    dialler.close(CloseCode::Normal).await;
    answer
}

/// What finds the coordinator to join or renew.
pub(super) fn search(identity: ClientIdentity, clock: Clock) -> Search {
    Search {
        identity,
        protocol: Protocol::Enrolment,
        tuning: Tuning::device(),
        clock,
    }
}

fn load_or_make_key(state: &Path) -> Result<DeviceKey, GatewayIdentityError> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state);
    made.map_err(|source| GatewayIdentityError::Io {
        action: "make",
        path: state.to_owned(),
        source,
    })?;
    let path = state.join(KEY);
    if let Some(text) = read(&path)? {
        return DeviceKey::from_pem(&text).map_err(|error| GatewayIdentityError::Damaged {
            path,
            reason: error.to_string(),
        });
    }
    let key = DeviceKey::generate()?;
    write(&path, &key.to_pem())?;
    Ok(key)
}

/// Longest wait between two questions, whatever the coordinator asks for.
const RETRY_MS_MAX: u64 = 60_000;
