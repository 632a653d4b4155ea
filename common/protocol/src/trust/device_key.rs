//! A device's own key, made on the device and never sent anywhere.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ED25519, PublicKeyData as _};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::certificate::{CertificateError, CertificateFacts, Credentials};
use crate::ids::DeviceId;

/// Why a device key could not be made, loaded or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceKeyError {
    /// The key could not be made.
    #[error("could not make a device key: {reason}")]
    Generate {
        /// The library's words.
        reason: String,
    },
    /// The text is not a private key.
    #[error("not a device key in PKCS#8 PEM: {reason}")]
    Malformed {
        /// What is wrong; never any part of the key.
        reason: String,
    },
    /// The signing request could not be made.
    #[error("could not make a signing request: {reason}")]
    Request {
        /// The library's words.
        reason: String,
    },
    /// The certificate is another device's.
    #[error("certificate is for device {certified}, this device is {own}")]
    ForeignCertificate {
        /// The device the certificate is for.
        certified: DeviceId,
        /// The device that holds this key.
        own: DeviceId,
    },
    /// The certificate could not be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// A device's key pair. `Debug` shows the device's id only.
pub struct DeviceKey {
    pair: KeyPair,
}

impl DeviceKey {
    /// A new Ed25519 key from the system's randomness.
    ///
    /// # Errors
    /// [`DeviceKeyError::Generate`] if there is none.
    pub fn generate() -> Result<Self, DeviceKeyError> {
        let pair =
            KeyPair::generate_for(&PKCS_ED25519).map_err(|error| DeviceKeyError::Generate {
                reason: error.to_string(),
            })?;
        Ok(Self { pair })
    }

    /// Loads a key from PKCS#8 PEM.
    ///
    /// # Errors
    /// [`DeviceKeyError::Malformed`].
    pub fn from_pem(text: &str) -> Result<Self, DeviceKeyError> {
        let pair = KeyPair::from_pem(text).map_err(|error| DeviceKeyError::Malformed {
            reason: error.to_string(),
        })?;
        Ok(Self { pair })
    }

    /// The key as PKCS#8 PEM. This is the secret: keep it where only the
    /// agent reads.
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// The device this key makes.
    pub fn device(&self) -> DeviceId {
        DeviceId::of_public_key(&self.pair.subject_public_key_info())
    }

    /// A certificate signing request, DER. It proves that this device holds
    /// the key, and asks for nothing.
    ///
    /// # Errors
    /// [`DeviceKeyError::Request`].
    pub fn signing_request(&self) -> Result<Vec<u8>, DeviceKeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request =
            params
                .serialize_request(&self.pair)
                .map_err(|error| DeviceKeyError::Request {
                    reason: error.to_string(),
                })?;
        Ok(request.der().to_vec())
    }

    /// This key with the certificate that came back for it.
    ///
    /// # Errors
    /// [`DeviceKeyError::ForeignCertificate`] if it certifies another key.
    pub fn certified(
        &self,
        certificate: CertificateDer<'static>,
    ) -> Result<Credentials, DeviceKeyError> {
        let facts = CertificateFacts::parse(&certificate)?;
        if facts.public_key != self.pair.subject_public_key_info() {
            return Err(DeviceKeyError::ForeignCertificate {
                certified: facts.device,
                own: self.device(),
            });
        }
        let key = PrivatePkcs8KeyDer::from(self.pair.serialize_der());
        Ok(Credentials::new(vec![certificate], key)?)
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey({})", self.device().short())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ids::Time;
    use crate::trust::authority::{Authority, SigningRequest};

    #[test]
    fn a_device_keeps_its_name_through_pem() {
        let key = DeviceKey::generate().unwrap();
        let again = DeviceKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(again.device(), key.device());
    }

    #[test]
    fn a_certificate_for_another_key_is_not_taken() {
        let (one, two) = (
            DeviceKey::generate().unwrap(),
            DeviceKey::generate().unwrap(),
        );
        let authority = Authority::create("test", Time(0)).unwrap();
        let request = SigningRequest::parse(&one.signing_request().unwrap()).unwrap();
        let certificate = authority.sign_device(&request, Time(0), 1).unwrap();
        assert_eq!(
            two.certified(certificate.clone()).unwrap_err(),
            DeviceKeyError::ForeignCertificate {
                certified: one.device(),
                own: two.device()
            }
        );
        let credentials = one.certified(certificate).unwrap();
        assert_eq!(credentials.facts().unwrap().device, one.device());
    }

    #[test]
    fn nothing_secret_is_in_debug_or_in_an_error() {
        let key = DeviceKey::generate().unwrap();
        let line = key.to_pem().lines().nth(1).unwrap().to_owned();
        let broken = key.to_pem().replacen("MF", "!!", 1).replacen("MC", "!!", 1);
        let error = DeviceKey::from_pem(&broken).unwrap_err();
        assert!(!format!("{key:?} {error:?} {error}").contains(&line));
    }
}
