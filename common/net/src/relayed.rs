//! Devices that a gateway speaks for. Their certificates come as bytes, and
//! are judged by the same verifier and the same rules as those of devices that
//! connect by themselves.

use std::fmt;
use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier as _;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::admission::{self, PeerIdentity, Question};
use super::alpn::Protocol;
use super::error::TransportError;
use super::listener::ListenerSettings;
use super::tls;
use super::verifier::DeviceVerifier;
use protocol::close::CloseCode;
use protocol::trust::certificate::CertificateFacts;

/// Judges the certificates of relayed devices.
#[derive(Clone)]
pub struct RelayedPeers {
    verifier: Arc<DeviceVerifier>,
    settings: Arc<ListenerSettings>,
}

impl RelayedPeers {
    /// Judges as a listener with these settings does.
    ///
    /// # Errors
    /// [`TransportError::Credentials`] if the authorities cannot be used.
    pub fn new(settings: ListenerSettings) -> Result<Self, TransportError> {
        let clock = settings.clock.clone();
        let verifier = DeviceVerifier::new(&settings.authorities, clock, tls::provider())?;
        Ok(Self {
            verifier: Arc::new(verifier),
            settings: Arc::new(settings),
        })
    }

    /// Who holds this certificate (DER), and what it says. That its holder is
    /// at the other end is what the gateway says; whether this fleet's
    /// authority made it, whether it is over and whether the device was
    /// revoked is decided here.
    ///
    /// # Errors
    /// The code to close the device's connection with.
    pub fn admit(
        &self,
        protocol: Protocol,
        certificate: &[u8],
    ) -> Result<(PeerIdentity, CertificateFacts), CloseCode> {
        let der = CertificateDer::from(certificate.to_vec());
        // The verifier has a clock of its own.
        let begin = UnixTime::since_unix_epoch(std::time::Duration::ZERO);
        self.verifier
            .verify_client_cert(&der, &[], begin)
            .map_err(|_| CloseCode::Unauthenticated)?;
        let facts = CertificateFacts::parse(&der).map_err(|_| CloseCode::Unauthenticated)?;
        if facts.is_gateway {
            return Err(CloseCode::Unauthenticated);
        }
        let peer = admission::decide(Question {
            protocol,
            certificate: Some(&facts),
            revoked: (self.settings.revoked)(facts.device),
            now: self.settings.clock.now(),
            grace_ms: self.settings.grace_ms,
        })?;
        Ok((peer, facts))
    }
}

impl fmt::Debug for RelayedPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayedPeers").finish_non_exhaustive()
    }
}
