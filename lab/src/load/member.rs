//! The devices' identities: made by enrolling, kept for the next run.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use common::ids::DeviceId;
use common::transport::{ClientIdentity, CloseCode, Dialler, Protocol, TransportError, Tuning};
use common::trust::certificate::{CertificateError, certificate_to_pem, certificates_from_pem};
use common::trust::clock::Clock;
use common::trust::device_key::{DeviceKey, DeviceKeyError};
use common::trust::token::JoinToken;
use common::wire::codec::{DecodeError, decode, encode};
use common::wire::messages::{EnrolAnswer, EnrolRefusal, EnrolRequest};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::machine;

/// Why a device has no identity.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The coordinator says no.
    #[error("the coordinator refused to admit a device: {0}")]
    Refused(EnrolRefusal),
    /// The coordinator wants an operator to approve each device.
    #[error("the token asks for an operator's approval; create one without --approval")]
    Waiting,
    /// The coordinator answered something else, or nothing.
    #[error("the coordinator's answer to a device that joins was not understood")]
    Answer,
    /// The network, or the coordinator at the other end.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A key.
    #[error(transparent)]
    Key(#[from] DeviceKeyError),
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The file of an earlier run.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file of an earlier run is malformed.
    #[error(
        "{path} does not hold the devices of an earlier run: {reason}; remove it and pass a --token"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong; never any part of a key.
        reason: String,
    },
}

/// A device that has joined.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Its name.
    pub(super) device: DeviceId,
    /// What it proves itself with.
    pub(super) client: ClientIdentity,
}

/// A device as it is kept.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    key: String,
    certificate: String,
    authorities: String,
}

impl Kept {
    /// The device, ready to connect.
    ///
    /// # Errors
    /// If key and certificate do not belong together.
    pub(super) fn member(&self) -> Result<Member, MemberError> {
        let key = DeviceKey::from_pem(&self.key)?;
        let certificate = certificates_from_pem(&self.certificate)?;
        let certificate = certificate.into_iter().next();
        let certificate = certificate.ok_or(CertificateError::Missing)?;
        Ok(Member {
            device: key.device(),
            client: ClientIdentity::Enrolled {
                credentials: key.certified(certificate)?,
                authorities: certificates_from_pem(&self.authorities)?,
            },
        })
    }
}

/// Joins the fleet as a new device.
///
/// # Errors
/// Whatever is in the way.
pub(super) async fn join(
    coordinator: SocketAddr,
    number: usize,
    token: &JoinToken,
) -> Result<Kept, MemberError> {
    let key = DeviceKey::generate()?;
    let request = EnrolRequest::Join {
        token: token.id.to_string(),
        secret: token.secret.reveal().to_vec(),
        csr: key.signing_request()?,
        label: format!("load-{number}"),
    };
    let dialler = dialler(coordinator, number)?;
    let ca_pin = token.ca_pin;
    let identity = ClientIdentity::Enrolling { ca_pin };
    let connection = dialler
        .connect(coordinator, &identity, Protocol::Enrolment)
        .await?;
    let mut stream = connection.open_transfer().await?;
    let answer = stream.ask(&encode(&request)).await?;
    let answer = decode(&answer.ok_or(MemberError::Answer)?)?;
    dialler.close(CloseCode::Normal).await;
    match answer {
        EnrolAnswer::Issued {
            certificate,
            authorities,
            ..
        } => Ok(Kept {
            key: key.to_pem(),
            certificate: certificate_to_pem(&CertificateDer::from(certificate)),
            authorities: authorities
                .into_iter()
                .map(|one| certificate_to_pem(&CertificateDer::from(one.certificate)))
                .collect(),
        }),
        EnrolAnswer::Refused(reason) => Err(MemberError::Refused(reason)),
        EnrolAnswer::Waiting { .. } => Err(MemberError::Waiting),
        EnrolAnswer::Renewed { .. } => Err(MemberError::Answer),
    }
}

/// A device's socket.
///
/// # Errors
/// If the machine has no such address or no more sockets.
pub(super) fn dialler(coordinator: SocketAddr, number: usize) -> Result<Dialler, TransportError> {
    let (tuning, clock) = (Tuning::device(), Clock::system());
    match machine::source(coordinator, number) {
        Some(local) => Dialler::bind_at(local, tuning, clock),
        None => Dialler::bind(coordinator, tuning, clock),
    }
}

/// The devices of an earlier run; none if there was none.
///
/// # Errors
/// If the file cannot be read or is malformed.
pub(super) fn load(folder: &Path) -> Result<Vec<Kept>, MemberError> {
    let path = folder.join(DEVICES);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| MemberError::Damaged {
            path,
            reason: error.classify_as_text().to_owned(),
        }),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(MemberError::File { path, cause }),
    }
}

/// Keeps the devices for the next run, readable by the owner alone.
///
/// # Errors
/// If the file cannot be written; an earlier one is left as it is then.
pub(super) fn keep(folder: &Path, devices: &[Kept]) -> Result<(), MemberError> {
    let path = folder.join(DEVICES);
    let written = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let fresh = folder.join("devices.json.new");
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&fresh)?;
        file.write_all(&serde_json::to_vec(devices)?)?;
        file.sync_all()?;
        fs::rename(fresh, &path)
    };
    written().map_err(|cause| MemberError::File { path, cause })
}

/// What is wrong with a file, without a word of what stands in it.
trait ClassifyAsText {
    fn classify_as_text(&self) -> &'static str;
}

impl ClassifyAsText for serde_json::Error {
    fn classify_as_text(&self) -> &'static str {
        match self.classify() {
            serde_json::error::Category::Io => "it cannot be read",
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Syntax => "it is no JSON",
            serde_json::error::Category::Data => "it holds something else",
        }
    }
}

const DEVICES: &str = "devices.json";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn devices_are_kept_for_their_owner_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path()).unwrap().is_empty());
        let device = Kept {
            key: DeviceKey::generate().unwrap().to_pem(),
            certificate: String::new(),
            authorities: String::new(),
        };
        keep(folder.path(), std::slice::from_ref(&device)).unwrap();
        let path = folder.path().join(DEVICES);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o77, 0);
        assert_eq!(load(folder.path()).unwrap()[0].key, device.key);
        fs::write(&path, "[{").unwrap();
        assert!(matches!(
            load(folder.path()),
            Err(MemberError::Damaged { .. })
        ));
    }
}
