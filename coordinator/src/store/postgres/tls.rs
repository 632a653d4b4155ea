//! TLS with the database: 1.3, the server's name and its authority verified,
//! with the provider that the fleet uses.

use std::fs;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use common::trust::certificate::certificates_from_pem;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client;

use super::error::DatabaseError;

/// Makes connections to servers that one of some authorities vouches for.
#[derive(Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Trusts the authorities in a file of PEM certificates, or none.
    pub(super) fn new(authorities: Option<&Path>) -> Result<Self, DatabaseError> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = authorities {
            let failed = |reason: String| DatabaseError::File {
                key: "store.ca_file",
                path: path.to_owned(),
                reason,
            };
            let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
            let certificates =
                certificates_from_pem(&text).map_err(|error| failed(error.to_string()))?;
            // A system's list holds some that are of no use here.
            let (added, _) = roots.add_parsable_certificates(certificates);
            if added == 0 {
                return Err(failed(
                    "there is no certificate of an authority in it".to_owned(),
                ));
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| DatabaseError::Tls {
                address: "any address".to_owned(),
                reason: error.to_string(),
            })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            config: Arc::new(config),
        })
    }
}

impl<S> MakeTlsConnect<S> for Tls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Wrapped<S>;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Handshake> {
        Ok(Handshake {
            config: self.config.clone(),
            domain: domain.to_owned(),
        })
    }
}

/// One handshake that is to be made.
pub(super) struct Handshake {
    config: Arc<ClientConfig>,
    domain: String,
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Wrapped<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Wrapped<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let name = ServerName::try_from(self.domain).map_err(io::Error::other)?;
            let connector = TlsConnector::from(self.config);
            Ok(Wrapped(connector.connect(name, stream).await?))
        })
    }
}

/// A connection under TLS.
pub(super) struct Wrapped<S>(client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Wrapped<S> {
    fn channel_binding(&self) -> ChannelBinding {
        // The server's name is verified, which is what binding would add.
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wrapped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wrapped<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
