//! Certificates: their fingerprints, what they say, and the chains and keys
//! that travel together.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::pem;
use crate::ids::{DeviceId, ParseIdError, Time};

/// The name that every gateway's certificate carries, and no coordinator's nor
/// device's.
pub const GATEWAY_NAME: &str = "gateway.alambic";

/// Why a certificate or a key was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The bytes are not an X.509 certificate.
    #[error("not an X.509 certificate: {reason}")]
    Malformed {
        /// What the parser stumbled over.
        reason: String,
    },
    /// The text holds no certificate.
    #[error("no certificate in this PEM text")]
    Missing,
    /// The text holds no private key.
    #[error("no PKCS#8 private key in this PEM text: {reason}")]
    Key {
        /// What the parser stumbled over; never any part of the key.
        reason: String,
    },
}

/// Names a certificate: the SHA-256 of its DER bytes, the same figure that
/// `openssl x509 -fingerprint -sha256` prints. Written as 64 hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of these DER bytes.
    pub fn of(der: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, der);
        let mut bytes = [0u8; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({}…)", hex::encode(&self.0[..4]))
    }
}

impl FromStr for Fingerprint {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0u8; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseIdError {
            expected: 64,
            got: text.to_owned(),
        })?;
        Ok(Self(bytes))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a certificate says, read without judging it: no signature and no
/// date is checked here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The device that holds the certified key, if this is a device's.
    pub device: DeviceId,
    /// The subject's common name, empty if there is none.
    pub common_name: String,
    /// The first moment it is meant for.
    pub not_before: Time,
    /// The last moment it is good for.
    pub not_after: Time,
    /// Whether it may sign other certificates.
    pub is_authority: bool,
    /// Whether its holder may pass devices' sessions on: it names a gateway.
    pub is_gateway: bool,
    /// The certified key: SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
}

impl CertificateFacts {
    /// Reads a certificate's DER bytes.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`] if they are malformed, or more than one.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let malformed = |reason: String| CertificateError::Malformed { reason };
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|error| malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed(format!("{} bytes follow it", rest.len())));
        }
        let subject = &certificate.tbs_certificate;
        let common_name = subject.subject.iter_common_name().next();
        let public_key = subject.subject_pki.raw.to_vec();
        Ok(Self {
            device: DeviceId::of_public_key(&public_key),
            common_name: common_name
                .and_then(|name| name.as_str().ok())
                .unwrap_or_default()
                .to_owned(),
            not_before: time_of(subject.validity.not_before.timestamp()),
            not_after: time_of(subject.validity.not_after.timestamp()),
            is_authority: subject.is_ca(),
            is_gateway: names_gateway(&certificate),
            public_key,
        })
    }
}

/// A certificate chain (the holder's own first) and its private key: what a
/// program proves itself with. `Debug` hides the key.
pub struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Credentials {
    /// Puts a chain and its key together. TLS checks that they belong to
    /// each other when they are first used.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivatePkcs8KeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        if chain.is_empty() {
            return Err(CertificateError::Missing);
        }
        Ok(Self { chain, key })
    }

    /// Reads a chain and a key from PEM texts.
    ///
    /// # Errors
    /// The first thing missing or malformed.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, CertificateError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).map_err(|error| {
            CertificateError::Key {
                reason: error.to_string(),
            }
        })?;
        Self::new(certificates_from_pem(chain)?, key)
    }

    /// The certificates, the holder's own first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The private key.
    pub fn key(&self) -> &PrivatePkcs8KeyDer<'static> {
        &self.key
    }

    /// What the holder's own certificate says.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`].
    pub fn facts(&self) -> Result<CertificateFacts, CertificateError> {
        CertificateFacts::parse(self.chain.first().ok_or(CertificateError::Missing)?)
    }

    /// The chain as PEM.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(certificate_to_pem).collect()
    }

    /// The private key as PEM. This is the secret.
    pub fn key_pem(&self) -> String {
        pem::encode("PRIVATE KEY", self.key.secret_pkcs8_der())
    }
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.chain.first().map(|der| Fingerprint::of(der));
        write!(f, "Credentials({own:?})")
    }
}

/// One certificate as PEM.
pub fn certificate_to_pem(der: &CertificateDer<'_>) -> String {
    pem::encode("CERTIFICATE", der)
}

/// Every certificate in a PEM text, at least one.
///
/// # Errors
/// [`CertificateError::Missing`] or [`CertificateError::Malformed`].
pub fn certificates_from_pem(text: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| CertificateError::Malformed {
            reason: error.to_string(),
        })?;
    if chain.is_empty() {
        return Err(CertificateError::Missing);
    }
    for der in &chain {
        CertificateFacts::parse(der)?;
    }
    Ok(chain)
}

/// Whether a certificate is for the name of gateways.
fn names_gateway(certificate: &X509Certificate<'_>) -> bool {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return false;
    };
    let mut names = names.value.general_names.iter();
    names.any(|name| matches!(name, GeneralName::DNSName(GATEWAY_NAME)))
}

fn time_of(seconds: i64) -> Time {
    Time(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000))
}
