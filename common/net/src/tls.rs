//! TLS as this fleet uses it: 1.3 only, ring, full handshakes only.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::alpn::Protocol;
use super::error::TransportError;
use super::tuning::Tuning;
use super::verifier::{CoordinatorVerifier, DeviceVerifier, Trust};
use protocol::trust::certificate::Credentials;
use protocol::trust::clock::Clock;

/// The coordinator's side.
pub(crate) fn server(
    credentials: &Credentials,
    authorities: &[CertificateDer<'static>],
    clock: Clock,
    tuning: &Tuning,
    protocols: &[Protocol],
) -> Result<quinn::ServerConfig, TransportError> {
    let provider = provider();
    let verifier = DeviceVerifier::new(authorities, clock, provider.clone())?;
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(Chains::new(credentials, authorities, &provider)?));
    let names = protocols.iter().map(|one| one.alpn().to_vec());
    config.alpn_protocols = names.collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    let crypto = QuicServerConfig::try_from(config).map_err(no_suite)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(tuning.transport())
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_MAX as u64 * INCOMING_BYTES_MAX);
    Ok(config)
}

/// A device's side of one connection, and the verifier that remembers why it
/// refused the server.
pub(crate) fn client(
    trust: Trust,
    credentials: Option<&Credentials>,
    protocol: Protocol,
    clock: Clock,
    tuning: &Tuning,
) -> Result<(quinn::ClientConfig, Arc<CoordinatorVerifier>), TransportError> {
    let provider = provider();
    let verifier = Arc::new(CoordinatorVerifier::new(
        trust,
        protocol,
        clock,
        provider.clone(),
    ));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone());
    let mut config = match credentials {
        None => builder.with_no_client_auth(),
        Some(own) => builder.with_client_auth_cert(
            own.chain().to_vec(),
            PrivateKeyDer::Pkcs8(own.key().clone_key()),
        )?,
    };
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    let crypto = QuicClientConfig::try_from(config).map_err(no_suite)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(tuning.transport());
    Ok((config, verifier))
}

/// The cryptography in use, chosen here so that nothing depends on which
/// provider the process was started with.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The server's certificate, with the authorities' behind it for devices that
/// join or renew: they have to see the one they pinned. The others hold
/// theirs already, and are spared its bytes at each handshake; but what leads
/// from one authority to the next is for everyone.
#[derive(Debug)]
struct Chains {
    joining: Arc<CertifiedKey>,
    working: Arc<CertifiedKey>,
}

impl Chains {
    fn new(
        credentials: &Credentials,
        authorities: &[CertificateDer<'static>],
        provider: &CryptoProvider,
    ) -> Result<Self, TransportError> {
        let certified = |is_sent: &dyn Fn(&CertificateDer<'static>) -> bool| {
            let chain = credentials.chain().iter().filter(|one| is_sent(one));
            let key = PrivateKeyDer::Pkcs8(credentials.key().clone_key());
            CertifiedKey::from_der(chain.cloned().collect(), key, provider).map(Arc::new)
        };
        Ok(Self {
            joining: certified(&|_| true)?,
            working: certified(&|one| !authorities.contains(one))?,
        })
    }
}

impl ResolvesServerCert for Chains {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let joins = hello
            .alpn()
            .is_some_and(|mut names| names.any(|name| name == Protocol::Enrolment.alpn()));
        Some(if joins { &self.joining } else { &self.working }.clone())
    }
}

fn no_suite(error: quinn::crypto::rustls::NoInitialCipherSuite) -> TransportError {
    TransportError::Credentials {
        reason: error.to_string(),
    }
}

/// Handshakes that may wait to be looked at.
const INCOMING_MAX: usize = 4_096;
/// Bytes kept for each of them meanwhile.
const INCOMING_BYTES_MAX: u64 = 8 * 1024;
