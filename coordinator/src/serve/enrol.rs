//! Joining: one request, one answer.

use std::sync::Arc;

use common::transport::{CloseCode, Connection, TransportError};
use common::trust::authority::SigningRequest;
use common::trust::certificate::Fingerprint;
use common::trust::token::TokenSecret;
use common::wire::codec::{decode, encode};
use common::wire::messages::{EnrolAnswer, EnrolRefusal, EnrolRequest};
use tokio::sync::oneshot;

use super::Shared;
use super::command::{Admission, Command};
use super::identity::DEVICE_DAYS;
use crate::registry::clean_label;

/// Serves one connection on the enrolment protocol.
pub(super) async fn serve(shared: Arc<Shared>, connection: Connection) {
    if let Err(error) = run(&shared, &connection).await {
        tracing::info!(%error, "enrolment broke off");
        connection.close(error.code(), &error.to_string());
    }
}

async fn run(shared: &Shared, connection: &Connection) -> Result<(), TransportError> {
    let mut stream = connection.accept_control().await?;
    let Some(frame) = stream.receiver.recv_answer().await? else {
        return Ok(());
    };
    let Ok(EnrolRequest::Join {
        token,
        secret,
        csr,
        label,
    }) = decode(&frame)
    else {
        connection.close(CloseCode::Violation, "the request does not decode");
        return Ok(());
    };
    let join = Join {
        token,
        secret,
        csr,
        label,
    };
    let answer = join
        .decide(shared)
        .await
        .unwrap_or_else(EnrolAnswer::Refused);
    stream.send(&encode(&answer)).await?;
    stream.sender.finish();
    stream.sender.delivered().await?;
    // The device closes the connection; it heard the last word.
    connection.closed().await;
    if let EnrolAnswer::Issued { device, .. } = answer {
        let traffic = connection.traffic();
        let counted = Command::EnrolTraffic { device, traffic };
        let _ = shared.commands.send(counted).await;
    }
    Ok(())
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
        let request = SigningRequest::parse(&self.csr).map_err(|error| {
            tracing::warn!(%error, "bad signing request");
            EnrolRefusal::BadRequest
        })?;
        let device = request.device();
        let identity = &shared.identity;
        let certificate = identity
            .authority
            .sign_device(&request, shared.clock.now(), DEVICE_DAYS)
            .map_err(|error| {
                tracing::error!(%error, "cannot certify a device");
                EnrolRefusal::Storage
            })?;
        let (reply, admitted) = oneshot::channel();
        let admission = Admission {
            device,
            certificate: Fingerprint::of(&certificate),
            label: clean_label(&self.label),
            token,
            secret,
        };
        let admit = Command::Admit { admission, reply };
        let sent = shared.commands.send(admit).await;
        sent.map_err(|_| EnrolRefusal::Storage)?;
        admitted.await.map_err(|_| EnrolRefusal::Storage)??;
        tracing::info!(device = %device.short(), label = self.label, "joined");
        Ok(EnrolAnswer::Issued {
            device,
            certificate: certificate.to_vec(),
            authority: identity.authority.certificate().to_vec(),
            release_key: identity.release_key.verifying_key().0.to_vec(),
        })
    }
}
