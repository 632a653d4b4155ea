//! A gateway's key and certificate.

use std::io;
use std::path::{Path, PathBuf};

use common::ids::{DeviceId, Time};
use common::transport::enrolment::{self, Commands, EnrolmentError, Renewed};
use common::transport::{ClientIdentity, TransportError};
use common::trust::bundle::{AnnouncedAuthority, believe};
use common::trust::certificate::{
    CertificateError, CertificateFacts, Credentials, certificate_to_pem, certificates_from_pem,
};
use common::trust::clock::Clock;
use common::trust::device_key::{DeviceKey, DeviceKeyError};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::files::{read, write};

/// Why a gateway has no identity, or no new one.
#[derive(Debug, thiserror::Error)]
pub enum GatewayIdentityError {
    /// It has not joined.
    #[error(
        "{} is missing: this gateway has not joined; run `alambic-coordinator gateway enrol`",
        path.display()
    )]
    NotEnrolled {
        /// The missing file.
        path: PathBuf,
    },
    /// It has joined.
    #[error(
        "this gateway has joined already, as {gateway}; to join anew, stop it and remove {}",
        path.display()
    )]
    Already {
        /// Its id.
        gateway: DeviceId,
        /// The file that says so.
        path: PathBuf,
    },
    /// The disk or its permissions.
    #[error(
        "cannot {action} {}: {source}; check its owner, its permissions and the mount",
        path.display()
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error(
        "{} is damaged: {reason}; remove it and join anew with `alambic-coordinator gateway enrol`",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It got no certificate.
    #[error("{error}{}", .error.advice(COMMANDS).map_or_else(String::new, |advice| format!("; {advice}")))]
    Enrolment {
        /// What is in the way.
        #[from]
        error: EnrolmentError,
    },
    /// The token is one for devices.
    #[error(
        "the coordinator gave a device's certificate: the token is one for devices; make one with \
         `alambic-coordinator gateway token`, revoke device {member} and remove {}",
        path.display()
    )]
    NotAGateway {
        /// What has joined.
        member: DeviceId,
        /// Its key, which is a device's now.
        path: PathBuf,
    },
    /// The coordinator cannot be reached, or is not the one.
    #[error("{error}{}", .error.advice().map_or_else(String::new, |advice| format!("; {advice}")))]
    Transport {
        /// What is in the way.
        #[from]
        error: TransportError,
    },
    /// The key or the certificate in the answer.
    #[error("the certificate in the answer cannot be used: {0}")]
    Key(#[from] DeviceKeyError),
    /// A certificate does not parse.
    #[error("the certificate in the answer cannot be used: {0}")]
    Certificate(#[from] CertificateError),
}

/// What a gateway proves itself with, and whom it believes.
#[derive(Debug)]
pub struct GatewayIdentity {
    key: DeviceKey,
    membership: Membership,
    certificate: CertificateDer<'static>,
    facts: CertificateFacts,
    announced: Vec<AnnouncedAuthority>,
}

/// What is on the disk beside the key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Membership {
    /// Where it joined.
    pub(super) coordinator: String,
    /// Its name for people.
    pub(super) label: String,
    /// Its certificate, PEM.
    pub(super) certificate: String,
    /// The authorities it believes.
    pub(super) authorities: Vec<Believed>,
}

/// An authority, and what the one before it said of it, PEM.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Believed {
    certificate: String,
    cross: Option<String>,
}

impl GatewayIdentity {
    /// Reads it from a state directory.
    ///
    /// # Errors
    /// [`GatewayIdentityError::NotEnrolled`], or what is wrong with a file.
    pub fn load(state: &Path) -> Result<Self, GatewayIdentityError> {
        let path = state.join(MEMBERSHIP);
        let Some(text) = read(&path)? else {
            return Err(GatewayIdentityError::NotEnrolled { path });
        };
        let damaged = |reason: String| GatewayIdentityError::Damaged {
            path: path.clone(),
            reason,
        };
        let membership: Membership =
            serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        let key_path = state.join(KEY);
        let Some(key) = read(&key_path)? else {
            return Err(GatewayIdentityError::NotEnrolled { path: key_path });
        };
        let key = DeviceKey::from_pem(&key).map_err(|error| GatewayIdentityError::Damaged {
            path: key_path,
            reason: error.to_string(),
        })?;
        Self::assemble(key, membership).map_err(|error| damaged(error.to_string()))
    }

    pub(super) fn assemble(
        key: DeviceKey,
        membership: Membership,
    ) -> Result<Self, GatewayIdentityError> {
        let one = |pem: &str| -> Result<CertificateDer<'static>, GatewayIdentityError> {
            Ok(certificates_from_pem(pem)?.swap_remove(0))
        };
        let certificate = one(&membership.certificate)?;
        let facts = key.certified(certificate.clone())?.facts()?;
        let mut announced = Vec::new();
        for believed in &membership.authorities {
            let cross = believed.cross.as_deref().map(one).transpose()?;
            announced.push(AnnouncedAuthority {
                certificate: one(&believed.certificate)?.to_vec(),
                cross: cross.map(|cross| cross.to_vec()),
            });
        }
        Ok(Self {
            key,
            membership,
            certificate,
            facts,
            announced,
        })
    }

    /// Its id, the hash of its key.
    pub fn gateway(&self) -> DeviceId {
        self.facts.device
    }

    /// Where it joined.
    pub fn coordinator(&self) -> &str {
        &self.membership.coordinator
    }

    /// The authorities it believes.
    pub(super) fn authorities(&self) -> Vec<CertificateDer<'static>> {
        let all = self.announced.iter();
        all.map(|one| CertificateDer::from(one.certificate.clone()))
            .collect()
    }

    /// What it is at the coordinator's.
    ///
    /// # Errors
    /// [`TransportError::Credentials`] if key and certificate do not fit.
    pub fn client(&self) -> Result<ClientIdentity, TransportError> {
        let credentials = self.key.certified(self.certificate.clone());
        Ok(ClientIdentity::Enrolled {
            credentials: credentials.map_err(unusable)?,
            authorities: self.authorities(),
        })
    }

    /// What it shows to devices: its certificate, and what leads to it from
    /// any authority that a device may believe.
    pub(super) fn server(&self) -> Result<Credentials, TransportError> {
        let own = self.key.certified(self.certificate.clone());
        let own = own.map_err(unusable)?;
        let mut chain = own.chain().to_vec();
        for authority in &self.announced {
            chain.push(CertificateDer::from(authority.certificate.clone()));
            let cross = authority.cross.iter();
            chain.extend(cross.map(|cross| CertificateDer::from(cross.clone())));
        }
        Ok(Credentials::new(chain, own.key().clone_key())?)
    }

    /// When it asks for its next certificate: at half of this one's life.
    pub(super) fn renewal_due(&self) -> Time {
        let life_ms = self.facts.not_after.since_ms(self.facts.not_before);
        self.facts.not_before.after_ms(life_ms / 2)
    }

    /// The same gateway, believing what the coordinator announces as far as
    /// the authorities that it believes vouch for that; `None` if that changes
    /// nothing. Durable when this returns.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn hearing(
        &self,
        state: &Path,
        announced: &[AnnouncedAuthority],
    ) -> Result<Option<Self>, GatewayIdentityError> {
        let believed = self.believed(announced);
        if believed == self.announced {
            return Ok(None);
        }
        let membership = Membership {
            authorities: in_pem(&believed),
            ..self.membership.clone()
        };
        self.replaced(state, membership).map(Some)
    }

    /// Asks for the next certificate. Durable when this returns.
    ///
    /// # Errors
    /// [`GatewayIdentityError`]; nothing has changed then.
    pub(super) async fn renewed(
        &self,
        state: &Path,
        coordinator: &str,
        clock: Clock,
    ) -> Result<Self, GatewayIdentityError> {
        let search = enrolment::search(self.client()?, clock);
        let Renewed {
            certificate,
            announced,
        } = enrolment::renew(&search, coordinator, &self.key).await?;
        let certified = self.key.certified(certificate.clone())?.facts()?;
        if !certified.is_gateway {
            return Err(GatewayIdentityError::NotAGateway {
                member: certified.device,
                path: state.join(KEY),
            });
        }
        let membership = Membership {
            certificate: certificate_to_pem(&certificate),
            authorities: in_pem(&self.believed(&announced)),
            ..self.membership.clone()
        };
        self.replaced(state, membership)
    }

    fn believed(&self, announced: &[AnnouncedAuthority]) -> Vec<AnnouncedAuthority> {
        with_cross(&believe(&self.authorities(), announced), announced)
    }

    fn replaced(&self, state: &Path, membership: Membership) -> Result<Self, GatewayIdentityError> {
        let key = DeviceKey::from_pem(&self.key.to_pem())?;
        let next = Self::assemble(key, membership)?;
        next.membership.store(state)?;
        Ok(next)
    }
}

impl Membership {
    pub(super) fn store(&self, state: &Path) -> Result<(), GatewayIdentityError> {
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|error| GatewayIdentityError::Damaged {
            path: state.join(MEMBERSHIP),
            reason: error.to_string(),
        })?;
        write(&state.join(MEMBERSHIP), &text)
    }
}

/// The believed authorities, each with what the one before it said of it.
pub(super) fn with_cross(
    believed: &[CertificateDer<'static>],
    announced: &[AnnouncedAuthority],
) -> Vec<AnnouncedAuthority> {
    let one = |certificate: &CertificateDer<'static>| {
        let mut known = announced.iter();
        let known = known.find(|one| one.certificate == certificate.as_ref());
        AnnouncedAuthority {
            certificate: certificate.to_vec(),
            cross: known.and_then(|one| one.cross.clone()),
        }
    };
    believed.iter().map(one).collect()
}

pub(super) fn in_pem(authorities: &[AnnouncedAuthority]) -> Vec<Believed> {
    let pem = |der: &[u8]| certificate_to_pem(&CertificateDer::from(der.to_vec()));
    let one = |one: &AnnouncedAuthority| Believed {
        certificate: pem(&one.certificate),
        cross: one.cross.as_deref().map(pem),
    };
    authorities.iter().map(one).collect()
}

fn unusable(error: DeviceKeyError) -> TransportError {
    TransportError::Credentials {
        reason: error.to_string(),
    }
}

const COMMANDS: Commands = Commands {
    token: "alambic-coordinator gateway token",
    anew: "remove its state directory and join anew with `alambic-coordinator gateway enrol`",
};

/// The file of the private key.
pub(super) const KEY: &str = "gateway.key";
/// The file of certificate and authorities.
pub(super) const MEMBERSHIP: &str = "membership.json";
