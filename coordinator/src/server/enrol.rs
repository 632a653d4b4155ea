//! Joining and renewing: one request, one answer.

use std::sync::Arc;

use common::ids::{DeviceId, Time};
use common::transport::enrolment;
use common::transport::{CloseCode, Connection, PeerIdentity, Stream, TransportError};
use common::trust::authority::SigningRequest;
use common::trust::certificate::{CertificateFacts, Fingerprint};
use common::trust::token::TokenSecret;
use common::wire::codec::{decode, encode};
use common::wire::messages::{EnrolAnswer, EnrolRefusal, EnrolRequest};
use rustls_pki_types::CertificateDer;

use super::handle::{Shared, ask_core};
use crate::core::command::{Admission, Admitted, Command};
use crate::registry::{Certified, clean_label};

/// Serves one connection on the enrolment protocol.
pub(super) async fn serve(shared: Arc<Shared>, connection: Connection) {
    enrolment::serve(&connection, run(&shared, &connection)).await;
}

async fn run(shared: &Shared, connection: &Connection) -> Result<(), TransportError> {
    let mut stream = match connection.accept_control().await {
        Err(error) if is_farewell(&error) => {
            let device = device_of(connection.peer());
            let device = device.map_or_else(|| "unknown".to_owned(), |device| device.short());
            tracing::info!(%device, "asked for nothing: a doctor looks whether this answers");
            return Ok(());
        }
        stream => stream?,
    };
    let Some(frame) = stream.receiver.recv_answer().await? else {
        return Ok(());
    };
    let Ok(request) = decode::<EnrolRequest>(&frame) else {
        connection.close(CloseCode::Violation, "the request does not decode");
        return Ok(());
    };
    let answer = match request {
        EnrolRequest::Join {
            token,
            secret,
            csr,
            label,
        } => {
            let join = Join {
                token,
                secret,
                csr,
                label,
            };
            join.decide(shared).await
        }
        EnrolRequest::Renew { csr } => renew(shared, connection.peer(), &csr).await,
    };
    let answer = answer.unwrap_or_else(EnrolAnswer::Refused);
    stream.send(&encode(&answer)).await?;
    stream.sender.finish();
    stream.sender.delivered().await?;
    // The device closes the connection; it heard the last word.
    connection.closed().await;
    let device = match answer {
        EnrolAnswer::Issued { device, .. } => Some(device),
        EnrolAnswer::Renewed { .. } => device_of(connection.peer()),
        _ => None,
    };
    if let Some(device) = device {
        let traffic = connection.traffic();
        let counted = Command::EnrolTraffic { device, traffic };
        let _ = shared.commands.send(counted).await;
    }
    Ok(())
}

/// Whether the peer left because it was done.
fn is_farewell(error: &TransportError) -> bool {
    let code = CloseCode::Normal;
    matches!(error, TransportError::Closed { code: its, .. } if *its == code)
}

struct Join {
    token: String,
    secret: Vec<u8>,
    csr: Vec<u8>,
    label: String,
}

impl Join {
    /// The certificate is made first and stays here until the admission it
    /// stands for is durable.
    async fn decide(self, shared: &Shared) -> Result<EnrolAnswer, EnrolRefusal> {
        let token = self.token.parse().map_err(|_| EnrolRefusal::UnknownToken)?;
        let secret =
            TokenSecret::from_slice(&self.secret).map_err(|_| EnrolRefusal::UnknownToken)?;
        let request = parse(&self.csr)?;
        let device = request.device();
        let (certificate, certified) = certify(shared, &request, Holder::Device)?;
        let admission = Admission {
            device,
            certificate: certified,
            label: clean_label(&self.label),
            token,
            secret,
        };
        let admit = |reply| Command::Admit { admission, reply };
        let admitted = ask_core(shared, admit).await;
        if admitted.ok_or(EnrolRefusal::Storage)?? == Admitted::Waiting {
            return Ok(EnrolAnswer::Waiting {
                device,
                retry_ms: RETRY_MS,
            });
        }
        tracing::info!(device = %device.short(), label = self.label, "joined");
        Ok(EnrolAnswer::Issued {
            device,
            certificate: certificate.to_vec(),
            authorities: shared.identity.announced(),
            trust_root: shared.identity.trust_root.to_bytes(),
        })
    }
}

/// Who is to hold a certificate.
#[derive(Clone, Copy)]
enum Holder {
    Device,
    Gateway,
}

/// Serves the renewal of a device that a gateway speaks for. It has proved to
/// the gateway that it holds the key, and the request is signed by that key.
pub(super) async fn serve_relayed(
    shared: &Shared,
    stream: &mut Stream,
    peer: PeerIdentity,
) -> Result<(), TransportError> {
    let Some(frame) = stream.receiver.recv_answer().await? else {
        return Ok(());
    };
    let answer = match decode::<EnrolRequest>(&frame) {
        Ok(EnrolRequest::Renew { csr }) => renew(shared, peer, &csr).await,
        // Nobody joins at a gateway.
        Ok(EnrolRequest::Join { .. }) | Err(_) => Err(EnrolRefusal::BadRequest),
    };
    let answer = answer.unwrap_or_else(EnrolAnswer::Refused);
    stream.send(&encode(&answer)).await?;
    stream.sender.finish();
    stream.sender.delivered().await
}

/// A member's next certificate, of the kind that it is. Its certificate may be over (the listener has
/// judged by how much), and the key stays the same: a device is its key.
async fn renew(
    shared: &Shared,
    peer: PeerIdentity,
    csr: &[u8],
) -> Result<EnrolAnswer, EnrolRefusal> {
    let request = parse(csr)?;
    if device_of(peer) != Some(request.device()) {
        tracing::warn!(?peer, "asks to renew for another key");
        return Err(EnrolRefusal::BadRequest);
    }
    let member = request.device();
    let is_gateway = ask_core(shared, |reply| Command::IsGateway { member, reply }).await;
    let holder = match is_gateway.ok_or(EnrolRefusal::Storage)? {
        true => Holder::Gateway,
        false => Holder::Device,
    };
    let (certificate, certified) = certify(shared, &request, holder)?;
    let renew = |reply| Command::Renew {
        device: request.device(),
        certificate: certified,
        reply,
    };
    let renewed = ask_core(shared, renew).await;
    renewed.ok_or(EnrolRefusal::Storage)??;
    tracing::info!(device = %request.device().short(), "renewed");
    Ok(EnrolAnswer::Renewed {
        certificate: certificate.to_vec(),
        authorities: shared.identity.announced(),
    })
}

fn parse(csr: &[u8]) -> Result<SigningRequest, EnrolRefusal> {
    SigningRequest::parse(csr).map_err(|error| {
        tracing::warn!(%error, "bad signing request");
        EnrolRefusal::BadRequest
    })
}

fn certify(
    shared: &Shared,
    request: &SigningRequest,
    holder: Holder,
) -> Result<(CertificateDer<'static>, Certified), EnrolRefusal> {
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "cannot certify a device");
        EnrolRefusal::Storage
    };
    let authority = &shared.identity.authority;
    let now = shared.clock.now();
    let end = now.after_ms(shared.certificates.device_lifetime_ms);
    // Certificates end with whole seconds; a short one must not end at once.
    let end = Time(end.0.next_multiple_of(1_000));
    let signed = match holder {
        Holder::Device => authority.sign_device_until(request, now, end),
        Holder::Gateway => authority.sign_gateway_until(request, now, end),
    };
    let certificate = signed.map_err(|error| failed(&error))?;
    let facts = CertificateFacts::parse(&certificate).map_err(|error| failed(&error))?;
    let certified = Certified {
        fingerprint: Fingerprint::of(&certificate),
        authority: authority.fingerprint(),
        expires: facts.not_after,
    };
    Ok((certificate, certified))
}

fn device_of(peer: PeerIdentity) -> Option<DeviceId> {
    match peer {
        PeerIdentity::Device(device) | PeerIdentity::LapsedDevice(device) => Some(device),
        PeerIdentity::Anonymous | PeerIdentity::Coordinator | PeerIdentity::Gateway(_) => None,
    }
}

/// How often a device that waits for approval asks.
const RETRY_MS: u64 = 5_000;
