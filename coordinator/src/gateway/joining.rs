//! How a gateway gets its certificate: it joins with a token for gateways as a
//! device does with one for devices, and asks for a gateway's certificate at
//! once. The key is made here and stays here.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use common::ids::DeviceId;
use common::transport::ClientIdentity;
use common::transport::enrolment::{self, Joining, Renewed};
use common::trust::bundle::believe;
use common::trust::certificate::certificate_to_pem;
use common::trust::clock::Clock;
use common::trust::device_key::DeviceKey;

use super::files::{read, write};
use super::identity::{
    GatewayIdentity, GatewayIdentityError, KEY, MEMBERSHIP, Membership, in_pem, with_cross,
};

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
    let issued = joining.join(&key, clock.clone(), waiting).await?;
    // What was given is a device's; as a member, it may ask for what it is.
    let joined = ClientIdentity::Enrolled {
        credentials: key.certified(issued.certificate)?,
        authorities: issued.authorities.clone(),
    };
    let search = enrolment::search(joined, clock);
    let Renewed {
        certificate,
        announced,
    } = enrolment::renew(&search, &joining.coordinator, &key).await?;
    let facts = key.certified(certificate.clone())?.facts()?;
    if !facts.is_gateway {
        return Err(GatewayIdentityError::NotAGateway {
            member: facts.device,
            path: state.join(KEY),
        });
    }
    let authorities = with_cross(&believe(&issued.authorities, &announced), &announced);
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
