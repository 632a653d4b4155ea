//! The fleet's own certificate authority: it vouches for the coordinator and
//! for each device, and for nobody else.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData as _,
    SanType, SerialNumber, SubjectPublicKeyInfo,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::certificate::{
    CertificateError, CertificateFacts, Credentials, Fingerprint, GATEWAY_NAME, certificate_to_pem,
    certificates_from_pem,
};
use crate::ids::{DeviceId, Time};

/// The name every coordinator's certificate carries, wherever it listens, so
/// that its address may change without a new certificate.
pub const SERVER_NAME: &str = "coordinator.alambic";

/// Longest signing request that is looked at. An honest one has about 200.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024;

/// How long an authority's own certificate lasts.
pub const AUTHORITY_DAYS: u32 = 20 * 365;

/// Why the authority did not sign, or could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// The peer's signing request is not one.
    #[error("not a certificate signing request: {reason}")]
    MalformedRequest {
        /// What is wrong with it.
        reason: String,
    },
    /// The request is not signed by the key it names, so its sender does not
    /// hold that key.
    #[error("signing request is not signed by the key it names")]
    RequestSignature,
    /// The key is of a kind that is not accepted.
    #[error("device key is neither Ed25519 nor ECDSA P-256")]
    KeyKind,
    /// The authority's own certificate is over.
    #[error("the authority's certificate ended at {ended} ms since 1970; create a new authority")]
    Ended {
        /// When, in milliseconds since 1970.
        ended: u64,
    },
    /// Certificate and key do not belong together.
    #[error("the authority's key does not belong to its certificate")]
    KeyMismatch,
    /// The certificate has changed since it was made.
    #[error("the authority's certificate is damaged: its own signature does not hold")]
    Signature,
    /// The certificate may not sign others.
    #[error("certificate {fingerprint} is not an authority's")]
    NotAnAuthority {
        /// The certificate's fingerprint.
        fingerprint: Fingerprint,
    },
    /// The stored certificate could not be read.
    #[error("the authority: {0}")]
    Certificate(#[from] CertificateError),
    /// The certificate library refused.
    #[error("could not make a certificate: {reason}")]
    Library {
        /// Its words.
        reason: String,
    },
}

/// A certificate signing request whose sender was shown to hold the key.
///
/// Only the key is taken from it. The subject and the extensions it asks for
/// are ignored: the authority decides what a device's certificate says.
#[derive(Clone, Debug)]
pub struct SigningRequest {
    device: DeviceId,
    key: SubjectPublicKeyInfo,
}

impl SigningRequest {
    /// Reads and verifies a request's DER bytes.
    ///
    /// # Errors
    /// [`AuthorityError::MalformedRequest`],
    /// [`AuthorityError::RequestSignature`] or [`AuthorityError::KeyKind`].
    pub fn parse(der: &[u8]) -> Result<Self, AuthorityError> {
        let malformed = |reason: String| AuthorityError::MalformedRequest { reason };
        if der.len() > REQUEST_BYTES_MAX {
            return Err(malformed(format!(
                "{} bytes, at most {REQUEST_BYTES_MAX} are looked at",
                der.len()
            )));
        }
        let (rest, request) = X509CertificationRequest::from_der(der)
            .map_err(|error| malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed(format!("{} bytes follow it", rest.len())));
        }
        let written = request.certification_request_info.subject_pki.raw;
        let key = SubjectPublicKeyInfo::from_der(written).map_err(|_| AuthorityError::KeyKind)?;
        if key.algorithm() != &PKCS_ED25519 && key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(AuthorityError::KeyKind);
        }
        // A device is named by the hash of these bytes. One key must not have
        // two spellings, or a revoked key could come back under another name.
        let canonical = key.subject_public_key_info();
        if canonical != written {
            return Err(malformed("the key is not in its canonical form".into()));
        }
        request
            .verify_signature()
            .map_err(|_| AuthorityError::RequestSignature)?;
        Ok(Self {
            device: DeviceId::of_public_key(&canonical),
            key,
        })
    }

    /// The device that holds the key.
    pub fn device(&self) -> DeviceId {
        self.device
    }
}

/// A certificate authority, with its private key. `Debug` hides the key.
pub struct Authority {
    certificate: CertificateDer<'static>,
    ends: Time,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority with an Ed25519 key. `name` is for people; a part of
    /// the key's hash follows it, so that no two authorities share a subject.
    ///
    /// # Errors
    /// [`AuthorityError::Library`] if the system gives no randomness.
    pub fn create(name: &str, now: Time) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ED25519).map_err(library)?;
        let part = DeviceId::of_public_key(&key.subject_public_key_info()).short();
        let mut params = parameters(
            &format!("Alambic {name} {part}"),
            now,
            days_after(now, AUTHORITY_DAYS),
        )?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(library)?;
        Self::assemble(certificate.der().clone(), key)
    }

    /// Loads an authority from its certificate and its key.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`], [`AuthorityError::KeyMismatch`] or
    /// [`AuthorityError::NotAnAuthority`].
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let certificate = certificates_from_pem(certificate)?.swap_remove(0);
        let key = KeyPair::from_pem(key).map_err(|error| {
            AuthorityError::Certificate(CertificateError::Key {
                reason: error.to_string(),
            })
        })?;
        Self::assemble(certificate, key)
    }

    /// The authority's certificate as PEM, for everyone.
    pub fn certificate_pem(&self) -> String {
        certificate_to_pem(&self.certificate)
    }

    /// The authority's private key as PEM. Anyone who holds it can admit any
    /// device.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The authority's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The fingerprint that join tokens pin.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// A new key and certificate for the coordinator, good for `days` and
    /// never longer than the authority itself. It always carries
    /// [`SERVER_NAME`]; `addresses` are added for other programs' sake. The
    /// chain ends with the authority's certificate, which a device that
    /// joins needs to see.
    ///
    /// # Errors
    /// [`AuthorityError::Ended`] or [`AuthorityError::Library`].
    pub fn server_certificate(
        &self,
        addresses: &[IpAddr],
        now: Time,
        days: u32,
    ) -> Result<Credentials, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ED25519).map_err(library)?;
        let mut params = self.leaf_parameters(SERVER_NAME, now, days_after(now, days))?;
        let name = SERVER_NAME.try_into().map_err(library)?;
        params.subject_alt_names = vec![SanType::DnsName(name)];
        let addresses = addresses.iter().copied().map(SanType::IpAddress);
        params.subject_alt_names.extend(addresses);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &self.issuer).map_err(library)?;
        let chain = vec![leaf.der().clone(), self.certificate.clone()];
        Ok(Credentials::new(
            chain,
            PrivatePkcs8KeyDer::from(key.serialize_der()),
        )?)
    }

    /// A certificate for the device behind `request`, good for `days` and
    /// never longer than the authority itself. Its subject is the device's
    /// id; it can prove a client and nothing else.
    ///
    /// # Errors
    /// [`AuthorityError::Ended`] or [`AuthorityError::Library`].
    pub fn sign_device(
        &self,
        request: &SigningRequest,
        now: Time,
        days: u32,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        self.sign_device_until(request, now, days_after(now, days))
    }

    /// The same, good until `end`, in whole seconds.
    ///
    /// # Errors
    /// [`AuthorityError::Ended`] or [`AuthorityError::Library`].
    pub fn sign_device_until(
        &self,
        request: &SigningRequest,
        now: Time,
        end: Time,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let mut params = self.leaf_parameters(&request.device.to_string(), now, end)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.signed(request, &params)
    }

    /// A certificate for the gateway behind `request`, good until `end`. Its
    /// subject is the id of its key, as a device's is. It can prove a server
    /// that is called [`GATEWAY_NAME`], which is enough for devices that work
    /// and too little for those that join, and a client.
    ///
    /// # Errors
    /// [`AuthorityError::Ended`] or [`AuthorityError::Library`].
    pub fn sign_gateway_until(
        &self,
        request: &SigningRequest,
        now: Time,
        end: Time,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let mut params = self.leaf_parameters(&request.device.to_string(), now, end)?;
        let name = GATEWAY_NAME.try_into().map_err(library)?;
        params.subject_alt_names = vec![SanType::DnsName(name)];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.signed(request, &params)
    }

    /// A certificate by this authority for another one: anyone who believes
    /// this one can be shown the other through it.
    ///
    /// # Errors
    /// [`AuthorityError::Ended`] or [`AuthorityError::Library`].
    pub fn cross_certify(
        &self,
        other: &Self,
        now: Time,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        if now >= self.ends {
            return Err(AuthorityError::Ended { ended: self.ends.0 });
        }
        let facts = CertificateFacts::parse(&other.certificate)?;
        let end = self.ends.min(other.ends);
        let mut params = parameters(&facts.common_name, now, end)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let signed = params.signed_by(other.issuer.key(), &self.issuer);
        Ok(signed.map_err(library)?.der().clone())
    }

    fn assemble(
        certificate: CertificateDer<'static>,
        key: KeyPair,
    ) -> Result<Self, AuthorityError> {
        let facts = CertificateFacts::parse(&certificate)?;
        if !facts.is_authority {
            return Err(AuthorityError::NotAnAuthority {
                fingerprint: Fingerprint::of(&certificate),
            });
        }
        if facts.public_key != key.subject_public_key_info() {
            return Err(AuthorityError::KeyMismatch);
        }
        if !is_signed_by(&certificate, &certificate) {
            return Err(AuthorityError::Signature);
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(library)?;
        Ok(Self {
            certificate,
            ends: facts.not_after,
            issuer,
        })
    }

    /// Whether these are by this authority and whole: its signature holds, and
    /// the key is the certificate's.
    pub fn has_made(&self, credentials: &Credentials) -> bool {
        let Some(own) = credentials.chain().first() else {
            return false;
        };
        let key = KeyPair::try_from(credentials.key());
        let is_pair = key.is_ok_and(|key| {
            let public = key.subject_public_key_info();
            credentials
                .facts()
                .is_ok_and(|facts| facts.public_key == public)
        });
        is_pair && is_signed_by(own, &self.certificate)
    }

    fn signed(
        &self,
        request: &SigningRequest,
        params: &CertificateParams,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let signed = params.signed_by(&request.key, &self.issuer);
        Ok(signed.map_err(library)?.der().clone())
    }

    fn leaf_parameters(
        &self,
        subject: &str,
        now: Time,
        end: Time,
    ) -> Result<CertificateParams, AuthorityError> {
        if now >= self.ends {
            return Err(AuthorityError::Ended { ended: self.ends.0 });
        }
        let mut params = parameters(subject, now, end.min(self.ends))?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        Ok(params)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({:?})", self.fingerprint())
    }
}

/// What every certificate here has in common. It begins at `now` exactly:
/// the peer that checks it learns from that how late it is at least. Dates
/// are kept in whole seconds, up to the year 9999.
fn parameters(subject: &str, now: Time, end: Time) -> Result<CertificateParams, AuthorityError> {
    let mut serial = [0u8; 16];
    SystemRandom::new()
        .fill(&mut serial)
        .map_err(|_| library("the system gave no randomness"))?;
    serial[0] &= 0x7f; // a serial number is positive
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let date = |time: Time| {
        let seconds = (time.0 / 1_000).min(YEAR_9999_SECONDS);
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    params.not_before = date(now);
    params.not_after = date(end);
    Ok(params)
}

fn days_after(now: Time, days: u32) -> Time {
    now.after_ms(u64::from(days) * DAY_MS)
}

/// Whether the authority `by` has signed this certificate, as it is now.
fn is_signed_by(certificate: &[u8], by: &[u8]) -> bool {
    let (Ok((_, own)), Ok((_, by))) = (
        X509Certificate::from_der(certificate),
        X509Certificate::from_der(by),
    ) else {
        return false;
    };
    own.verify_signature(Some(by.public_key())).is_ok()
}

fn library(error: impl fmt::Display) -> AuthorityError {
    AuthorityError::Library {
        reason: error.to_string(),
    }
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const YEAR_9999_SECONDS: u64 = 253_370_764_800;

#[cfg(test)]
mod tests;
