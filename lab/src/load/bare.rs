//! A bare quinn sender, to hold the push of a release against: the same bytes
//! to as many receivers, with quinn as it comes and nothing around it.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::ids::{BlobHash, Time};
use common::trust::authority::{Authority, AuthorityError, SERVER_NAME};
use common::trust::certificate::{CertificateError, certificates_from_pem};
use common::trust::clock::Clock;
use quinn::rustls::pki_types::PrivateKeyDer;
use serde::{Deserialize, Serialize};

use super::machine;

/// Why the bare sender was not measured.
#[derive(Debug, thiserror::Error)]
pub enum BareError {
    /// The sender's process.
    #[error("the bare sender's process: {0}")]
    Process(#[from] io::Error),
    /// Its first line.
    #[error("the bare sender's process said something else than its address")]
    Line,
    /// Its certificate.
    #[error("the bare sender's certificate: {0}")]
    Authority(#[from] AuthorityError),
    /// Its certificate, as the receivers see it.
    #[error("the bare sender's certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// TLS.
    #[error("the bare sender's certificate: {0}")]
    Tls(String),
    /// QUIC.
    #[error("the bare sender: {0}")]
    Quic(String),
    /// What came is not what was sent.
    #[error("{0} of the bare sender's receivers did not get all bytes")]
    Damaged(usize),
}

/// What a sender's process says first.
#[derive(Serialize, Deserialize)]
struct Introduction {
    address: SocketAddr,
    authority: String,
}

/// Sends this many bytes to the one who opens a stream, until standard input ends.
/// Says on standard output where.
///
/// # Errors
/// If it cannot listen.
pub fn send(bytes: u64) -> Result<(), BareError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let now: Time = Clock::system().now();
        let authority = Authority::create("bare", now)?;
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let own = authority.server_certificate(&[host], now, 2)?;
        let key = PrivateKeyDer::Pkcs8(own.key().clone_key());
        let config = quinn::ServerConfig::with_single_cert(own.chain().to_vec(), key);
        let config = config.map_err(|error| BareError::Tls(error.to_string()))?;
        let endpoint = quinn::Endpoint::server(config, SocketAddr::from((host, 0)))?;
        let introduction = Introduction {
            address: endpoint.local_addr()?,
            authority: authority.certificate_pem(),
        };
        println!(
            "{}",
            serde_json::to_string(&introduction).map_err(io::Error::other)?
        );
        let payload = Arc::new(payload(bytes));
        let accepting = async {
            while let Some(incoming) = endpoint.accept().await {
                tokio::spawn(answer(incoming, payload.clone()));
            }
        };
        let ended = tokio::task::spawn_blocking(|| {
            // Whatever comes, the end of it is what counts.
            let _ = io::stdin().read_to_end(&mut Vec::new());
        });
        tokio::select! {
            () = accepting => {}
            _ = ended => {}
        }
        Ok(())
    })
}

/// Each stream that is opened gets the bytes.
async fn answer(incoming: quinn::Incoming, payload: Arc<Vec<u8>>) {
    let Ok(connection) = incoming.await else {
        return;
    };
    while let Ok((mut sender, mut receiver)) = connection.accept_bi().await {
        let payload = payload.clone();
        tokio::spawn(async move {
            let mut asked = [0; 1];
            if receiver.read_exact(&mut asked).await.is_ok()
                && sender.write_all(&payload).await.is_ok()
            {
                let _ = sender.finish();
            }
        });
    }
}

/// A sender's process, and receivers connected to it.
pub(super) struct Bare {
    child: Child,
    /// Open as long as the sender is to run.
    _stdin: Option<ChildStdin>,
    receivers: Vec<(quinn::Endpoint, quinn::Connection)>,
    bytes: u64,
}

impl Bare {
    /// Starts a sender and connects this many receivers, each from a socket of
    /// its own.
    pub(super) async fn start(bytes: u64, receivers: usize) -> Result<Self, BareError> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bare-sender", "--bytes", &bytes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let mut bare = Self {
            child,
            _stdin: stdin,
            receivers: Vec::new(),
            bytes,
        };
        let said: Introduction = serde_json::from_str(&line).map_err(|_| BareError::Line)?;
        let config = believing(&said.authority)?;
        for number in 0..receivers {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let local = machine::source(said.address, number).unwrap_or(any);
            let endpoint = quinn::Endpoint::client(local)?;
            let quic = |error: &dyn std::fmt::Display| BareError::Quic(error.to_string());
            let connection = endpoint
                .connect_with(config.clone(), said.address, SERVER_NAME)
                .map_err(|error| quic(&error))?
                .await
                .map_err(|error| quic(&error))?;
            bare.receivers.push((endpoint, connection));
        }
        Ok(bare)
    }

    /// Seconds until all receivers have all bytes, from when they ask.
    pub(super) async fn run(&self) -> Result<f64, BareError> {
        let expected = BlobHash::of(&payload(self.bytes));
        let begun = Instant::now();
        let running: Vec<_> = self
            .receivers
            .iter()
            .map(|(_, connection)| tokio::spawn(receive(connection.clone(), self.bytes)))
            .collect();
        let mut damaged = 0;
        for one in running {
            let hash = one.await.ok().and_then(Result::ok);
            damaged += usize::from(hash != Some(expected));
        }
        if damaged > 0 {
            return Err(BareError::Damaged(damaged));
        }
        Ok(begun.elapsed().as_secs_f64())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn receive(connection: quinn::Connection, bytes: u64) -> io::Result<BlobHash> {
    let (mut sender, mut receiver) = connection.open_bi().await?;
    sender.write_all(&[1]).await?;
    let mut hasher = blake3::Hasher::new();
    let mut got = 0;
    while let Some(chunk) = receiver.read_chunk(CHUNK_BYTES, true).await? {
        hasher.update(&chunk.bytes);
        got += chunk.bytes.len() as u64;
    }
    debug_assert!(got <= bytes);
    Ok(BlobHash(*hasher.finalize().as_bytes()))
}

/// A client that believes this authority, and quinn's settings otherwise.
fn believing(authority: &str) -> Result<quinn::ClientConfig, BareError> {
    let mut roots = quinn::rustls::RootCertStore::empty();
    for certificate in certificates_from_pem(authority)? {
        let added = roots.add(certificate);
        added.map_err(|error| BareError::Tls(error.to_string()))?;
    }
    let mut config = quinn::ClientConfig::with_root_certificates(Arc::new(roots))
        .map_err(|error| BareError::Tls(error.to_string()))?;
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Bytes that do not compress, the same each time.
fn payload(bytes: u64) -> Vec<u8> {
    let mut payload = vec![0; usize::try_from(bytes).unwrap_or(0)];
    let mut reader = blake3::Hasher::new().finalize_xof();
    reader.fill(&mut payload);
    payload
}

const CHUNK_BYTES: usize = 64 * 1024;
/// Receivers wait for each other to connect.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
