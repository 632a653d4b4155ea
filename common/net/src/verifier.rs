//! The two certificate verifiers, one for each side.
//!
//! Signatures, key usage and names are verified by webpki; this file decides
//! which authority is trusted and what time it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::alpn::Protocol;
use super::error::TransportError;
use protocol::ids::Time;
use protocol::trust::certificate::{CertificateFacts, Fingerprint, GATEWAY_NAME};
use protocol::trust::clock::Clock;

/// Verifies devices, for the coordinator.
///
/// A peer without a certificate passes. So does one whose certificate is not
/// good *today*: it is verified as of a day on which it was, because what a
/// lapsed device may still do depends on the protocol, and
/// [`super::admission`] decides that. A certificate from elsewhere never
/// passes.
#[derive(Debug)]
pub(crate) struct DeviceVerifier {
    webpki: Arc<dyn ClientCertVerifier>,
    clock: Clock,
}

impl DeviceVerifier {
    pub(crate) fn new(
        authorities: &[CertificateDer<'static>],
        clock: Clock,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TransportError> {
        let webpki = WebPkiClientVerifier::builder_with_provider(roots(authorities)?, provider)
            .clear_root_hint_subjects()
            .allow_unauthenticated()
            .build()
            .map_err(|error| TransportError::Credentials {
                reason: error.to_string(),
            })?;
        Ok(Self { webpki, clock })
    }
}

impl ClientCertVerifier for DeviceVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let facts = facts(end_entity)?;
        let end = facts.not_after.max(facts.not_before);
        let day = self.clock.now().clamp(facts.not_before, end);
        self.webpki
            .verify_client_cert(end_entity, intermediates, unix(day))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Which authority a device trusts.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// The one with this fingerprint, which the server has to show.
    Pinned(Fingerprint),
    /// These, from the device's own store.
    Authorities(Vec<CertificateDer<'static>>),
}

/// Verifies the coordinator, for a device. Made anew for each connection,
/// because it also remembers why it refused: TLS passes on a text only.
#[derive(Debug)]
pub(crate) struct CoordinatorVerifier {
    trust: Trust,
    /// Whether a gateway will do.
    gateways: bool,
    clock: Clock,
    provider: Arc<CryptoProvider>,
    refusal: Mutex<Option<TransportError>>,
}

impl CoordinatorVerifier {
    /// A gateway will do for a device that works or renews. One that joins
    /// says the secret of its token, and a gateway is not to hear that.
    pub(crate) fn new(
        trust: Trust,
        protocol: Protocol,
        clock: Clock,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        let is_known = matches!(trust, Trust::Authorities(_));
        Self {
            gateways: is_known && protocol != Protocol::Gateways,
            trust,
            clock,
            provider,
            refusal: Mutex::new(None),
        }
    }

    /// Why the server was refused, if it was.
    pub(crate) fn take_refusal(&self) -> Option<TransportError> {
        self.refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
    ) -> Result<ServerCertVerified, TransportError> {
        let authorities = match &self.trust {
            Trust::Authorities(authorities) => authorities.clone(),
            Trust::Pinned(pin) => vec![pinned(*pin, intermediates)?],
        };
        let roots = roots(&authorities)?;
        let webpki = WebPkiServerVerifier::builder_with_provider(roots, self.provider.clone())
            .build()
            .map_err(|error| TransportError::Credentials {
                reason: error.to_string(),
            })?;
        let facts = facts(end_entity)?;
        let gateway = ServerName::try_from(GATEWAY_NAME).ok();
        let server_name = match gateway {
            Some(gateway) if facts.is_gateway && self.gateways => gateway,
            _ if facts.is_gateway => return Err(TransportError::GatewayServer),
            _ => server_name.to_owned(),
        };
        // The trusted authority signed the certificate's first day, so it is
        // that day at least, whatever a clock says that was reset to 1970.
        let day = self.clock.now().max(facts.not_before);
        webpki
            .verify_server_cert(end_entity, intermediates, &server_name, &[], unix(day))
            .map_err(unfit)
    }
}

impl ServerCertVerifier for CoordinatorVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates, server_name)
            .map_err(|refusal| {
                let mut slot = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
                *slot = Some(refusal);
                // The server learns that it is not trusted, and no more.
                Error::InvalidCertificate(CertificateError::UnknownIssuer)
            })
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(
            rustls::PeerIncompatible::Tls13RequiredForQuic,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The certificate with the pinned fingerprint among those the server sent.
fn pinned(
    pin: Fingerprint,
    sent: &[CertificateDer<'_>],
) -> Result<CertificateDer<'static>, TransportError> {
    sent.iter()
        .find(|der| Fingerprint::of(der) == pin)
        .map(|der| der.clone().into_owned())
        .ok_or_else(|| TransportError::PinMismatch {
            pinned: pin,
            sent: sent.last().map(|der| Fingerprint::of(der)),
        })
}

fn roots(authorities: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, TransportError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    Ok(Arc::new(roots))
}

fn facts(der: &CertificateDer<'_>) -> Result<CertificateFacts, Error> {
    CertificateFacts::parse(der)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
}

fn unix(time: Time) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(time.0))
}

/// What webpki found wrong with the server, in our words.
fn unfit(error: Error) -> TransportError {
    match error {
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => TransportError::ExpiredServer,
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => TransportError::ForeignServer,
        other => TransportError::UnfitServer {
            reason: other.to_string(),
        },
    }
}
