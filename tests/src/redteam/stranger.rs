//! Peers without a certificate, from addresses of their own.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use common::transport::{CloseCode, TransportError};
use common::trust::authority::SERVER_NAME;
use common::trust::device_key::DeviceKey;
use common::trust::token::JoinToken;
use common::wire::codec::{decode, encode};
use common::wire::frame::{self, HEADER_BYTES};
use common::wire::messages::{EnrolAnswer, EnrolRequest};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::UdpSocket;

/// A QUIC client on one loopback address that believes anyone.
pub struct Stranger {
    endpoint: quinn::Endpoint,
}

impl Stranger {
    /// One at 127.0.0.`last`.
    pub fn at(last: u8) -> Self {
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
        Self {
            endpoint: quinn::Endpoint::client(from).unwrap(),
        }
    }

    /// Knocks with this protocol's name and stays. The connection, if the
    /// handshake was completed; the coordinator may still throw it out.
    ///
    /// # Errors
    /// Why it was not.
    pub async fn connect(
        &self,
        address: SocketAddr,
        alpn: &[u8],
    ) -> Result<quinn::Connection, TransportError> {
        let connecting = self
            .endpoint
            .connect_with(config(alpn), address, SERVER_NAME)
            .unwrap();
        Ok(connecting.await?)
    }

    /// Knocks and returns the code that answers, once there is one. None if
    /// it is let in.
    pub async fn answer(&self, address: SocketAddr, alpn: &[u8]) -> Option<CloseCode> {
        let connection = match self.connect(address, alpn).await {
            Ok(connection) => connection,
            Err(error) => return Some(closed(error)),
        };
        // Either the mark of admission comes, or the reason against it.
        match connection.accept_uni().await {
            Ok(_) => None,
            Err(error) => Some(closed(error.into())),
        }
    }
}

impl Stranger {
    /// Asks to join by a token with a secret that is not its own.
    ///
    /// # Errors
    /// The code it is thrown out with.
    pub async fn guess(
        &self,
        address: SocketAddr,
        token: &JoinToken,
    ) -> Result<EnrolAnswer, CloseCode> {
        let connection = self.connect(address, b"alambic-enrol/1").await;
        let connection = connection.map_err(closed)?;
        let request = EnrolRequest::Join {
            token: token.id.to_string(),
            secret: vec![7; 20],
            csr: DeviceKey::generate().unwrap().signing_request().unwrap(),
            label: String::new(),
        };
        let answer = async {
            let (mut send, mut receive) = connection.open_bi().await?;
            let frame = frame::encode(&encode(&request)).unwrap();
            send.write_all(&frame).await?;
            send.finish().unwrap();
            let bytes = receive.read_to_end(64 * 1024).await;
            bytes.map_err(|error| match error {
                quinn::ReadToEndError::Read(error) => TransportError::from(error),
                quinn::ReadToEndError::TooLong => TransportError::ClosedHere,
            })
        };
        let frame: Vec<u8> = answer.await.map_err(closed)?;
        connection.close(0u32.into(), b"");
        Ok(decode(&frame[HEADER_BYTES..]).unwrap())
    }
}

/// Begins `count` handshakes from 127.0.0.`last` and never goes on with one.
/// The socket has to be kept, or the system tells the coordinator that nobody
/// is there.
pub async fn half_open(address: SocketAddr, last: u8, count: usize) -> UdpSocket {
    // What a client says first, caught by a server that does not answer.
    let decoy = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = Stranger::at(1);
    let from = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0)).await;
    let from = from.unwrap();
    let mut datagram = vec![0; 2_048];
    // Kept, since one that is dropped says goodbye; by their names, since one
    // that gets no answer says the same again.
    let (mut begun, mut names) = (Vec::new(), HashSet::new());
    while names.len() < count {
        let to = decoy.local_addr().unwrap();
        let connecting = client
            .endpoint
            .connect_with(config(b"alambic/1"), to, SERVER_NAME);
        begun.push(connecting.unwrap());
        let (length, _) = decoy.recv_from(&mut datagram).await.unwrap();
        // RFC 9000, section 17.2: flags, version, length of the name, name.
        let name = 6..6 + usize::from(datagram[5]);
        if names.insert(datagram[name].to_vec()) {
            from.send_to(&datagram[..length], address).await.unwrap();
        }
    }
    from
}

fn closed(error: TransportError) -> CloseCode {
    match error {
        TransportError::Closed { code, .. } => code,
        TransportError::NoCommonProtocol => CloseCode::ProtocolVersion,
        other => panic!("neither let in nor refused: {other}"),
    }
}

fn config(alpn: &[u8]) -> quinn::ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

/// An attacker does not check whom it harms.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = self.0.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
