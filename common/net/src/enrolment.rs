//! How a member gets its certificates: it joins with a token, and renews with the
//! certificate that it has. One request a connection, and one answer.

use std::time::Duration;

use protocol::close::CloseCode;
use protocol::ids::DeviceId;
use protocol::limits::ENROL_MS_MAX;
use protocol::trust::bundle::{AnnouncedAuthority, believe};
use protocol::trust::certificate::Fingerprint;
use protocol::trust::clock::Clock;
use protocol::trust::device_key::{DeviceKey, DeviceKeyError};
use protocol::trust::token::JoinToken;
use protocol::wire::codec::{DecodeError, decode, encode};
use protocol::wire::messages::{EnrolAnswer, EnrolRefusal, EnrolRequest};
use rustls_pki_types::CertificateDer;

use super::alpn::Protocol;
use super::connection::Connection;
use super::dialler::ClientIdentity;
use super::error::TransportError;
use super::search::Search;
use super::tuning::Tuning;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// The coordinator says no.
    #[error("the coordinator refused: {0}")]
    Refused(EnrolRefusal),
    /// The coordinator cannot be reached, or is not the one.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The coordinator's answer does not decode.
    #[error("the coordinator's answer was not understood: {0}")]
    Answer(#[from] DecodeError),
    /// The coordinator ended the conversation.
    #[error("the coordinator closed the stream without an answer")]
    NoAnswer,
    /// The answer does not name the authority that was met.
    #[error("the answer does not name the authority {pinned}, which the token expects")]
    OtherAuthority {
        /// What the token pins.
        pinned: Fingerprint,
    },
    /// The key signs no request.
    #[error("the certificate cannot be asked for: {0}")]
    Key(#[from] DeviceKeyError),
}

impl EnrolmentError {
    /// What a person can do about it, where there is something. `commands` are those
    /// of the member: what makes a token for it, and what lets it join with a new key.
    pub fn advice(&self, commands: Commands) -> Option<String> {
        Some(match self {
            Self::Refused(EnrolRefusal::UnknownToken) => {
                "copy the token whole; it is for one coordinator only".to_owned()
            }
            Self::Refused(
                EnrolRefusal::ExpiredToken | EnrolRefusal::UsedToken | EnrolRefusal::RevokedToken,
            ) => format!("ask the operator for a new one (`{}`)", commands.token),
            Self::Refused(EnrolRefusal::RevokedKey) => format!(
                "ask the operator; what was revoked joins again only with a new key: {}",
                commands.anew
            ),
            Self::Refused(EnrolRefusal::Denied) => {
                "ask the operator; with another token it may ask again".to_owned()
            }
            Self::Refused(EnrolRefusal::Storage) | Self::NoAnswer => "try again later".to_owned(),
            Self::Transport(error) => return error.advice(),
            _ => "update the older of the two programs".to_owned(),
        })
    }

    /// Whether the coordinator answered, and the answer was no.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(refusal) => !matches!(refusal, EnrolRefusal::Storage),
            Self::Transport(TransportError::Closed { code, .. }) => {
                matches!(code, CloseCode::Revoked | CloseCode::Expired)
            }
            _ => false,
        }
    }
}

/// What a person types for members of a kind, for advice.
#[derive(Clone, Copy, Debug)]
pub struct Commands {
    /// What makes a token.
    pub token: &'static str,
    /// How the member gets a new key.
    pub anew: &'static str,
}

/// What a person gives for a member to join.
#[derive(Clone, Debug)]
pub struct Joining {
    /// Where the coordinator is, `host:port`.
    pub coordinator: String,
    /// The token.
    pub token: JoinToken,
    /// A name for people; may be empty.
    pub label: String,
}

/// What one that joined was given.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    /// The authorities that it may believe: the one that its token pins, and whom that
    /// one vouches for.
    pub authorities: Vec<CertificateDer<'static>>,
    /// The list of release keys as it travels, not yet verified.
    pub trust_root: Vec<u8>,
}

/// What one that renewed was given.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// Its next certificate.
    pub certificate: CertificateDer<'static>,
    /// The authorities as the coordinator announces them.
    pub announced: Vec<AnnouncedAuthority>,
}

impl Joining {
    /// Joins with this key. The coordinator is held against the token's pin before it
    /// is told anything. If an operator has to approve, `waiting` is told the key's id
    /// once, and the question is asked again until there is an answer; dropping the
    /// future ends that.
    ///
    /// # Errors
    /// [`EnrolmentError`]; it can be tried again with the same key.
    pub async fn join(
        &self,
        key: &DeviceKey,
        clock: Clock,
        waiting: impl FnOnce(DeviceId),
    ) -> Result<Issued, EnrolmentError> {
        let request = EnrolRequest::Join {
            token: self.token.id.to_string(),
            secret: self.token.secret.reveal().to_vec(),
            csr: key.signing_request()?,
            label: self.label.clone(),
        };
        let pinned = self.token.ca_pin;
        let search = search(ClientIdentity::Enrolling { ca_pin: pinned }, clock);
        let mut waiting = Some(waiting);
        loop {
            match exchange(&search, &self.coordinator, &request).await? {
                EnrolAnswer::Issued {
                    certificate,
                    authorities,
                    trust_root,
                    ..
                } => {
                    return Ok(Issued {
                        certificate: CertificateDer::from(certificate),
                        authorities: believed_by(pinned, &authorities)?,
                        trust_root,
                    });
                }
                EnrolAnswer::Refused(reason) => return Err(EnrolmentError::Refused(reason)),
                EnrolAnswer::Waiting { retry_ms, .. } => {
                    if let Some(waiting) = waiting.take() {
                        waiting(key.device());
                    }
                    tokio::time::sleep(Duration::from_millis(retry_ms.min(RETRY_MS_MAX))).await;
                }
                EnrolAnswer::Renewed { .. } => return Err(EnrolmentError::NoAnswer),
            }
        }
    }
}

/// Serves one connection on the enrolment protocol, which is closed if `run` fails or
/// takes longer than anybody may.
pub async fn serve(connection: &Connection, run: impl Future<Output = Result<(), TransportError>>) {
    let limit = Duration::from_millis(ENROL_MS_MAX);
    let outcome = tokio::time::timeout(limit, run).await;
    let outcome = outcome.unwrap_or(Err(TransportError::Stalled {
        waited_ms: ENROL_MS_MAX,
    }));
    if let Err(error) = outcome {
        tracing::info!(%error, "enrolment broke off");
        connection.close(error.code(), &error.to_string());
    }
}

/// What finds the coordinator to join or renew.
pub fn search(identity: ClientIdentity, clock: Clock) -> Search {
    Search {
        identity,
        protocol: Protocol::Enrolment,
        tuning: Tuning::device(),
        clock,
    }
}

/// Asks for the next certificate of a key, showing the present one, which may be over.
///
/// # Errors
/// [`EnrolmentError`].
pub async fn renew(
    search: &Search,
    coordinator: &str,
    key: &DeviceKey,
) -> Result<Renewed, EnrolmentError> {
    let request = EnrolRequest::Renew {
        csr: key.signing_request()?,
    };
    match exchange(search, coordinator, &request).await? {
        EnrolAnswer::Renewed {
            certificate,
            authorities,
        } => Ok(Renewed {
            certificate: CertificateDer::from(certificate),
            announced: authorities,
        }),
        EnrolAnswer::Refused(reason) => Err(EnrolmentError::Refused(reason)),
        EnrolAnswer::Issued { .. } | EnrolAnswer::Waiting { .. } => Err(EnrolmentError::NoAnswer),
    }
}

/// Whom one may believe that met the pinned authority and nobody else.
fn believed_by(
    pinned: Fingerprint,
    announced: &[AnnouncedAuthority],
) -> Result<Vec<CertificateDer<'static>>, EnrolmentError> {
    let is_pinned = |one: &&AnnouncedAuthority| Fingerprint::of(&one.certificate) == pinned;
    let met = announced.iter().find(is_pinned);
    let met = met.ok_or(EnrolmentError::OtherAuthority { pinned })?;
    let met = CertificateDer::from(met.certificate.clone());
    Ok(believe(&[met], announced))
}

async fn exchange(
    search: &Search,
    coordinator: &str,
    request: &EnrolRequest,
) -> Result<EnrolAnswer, EnrolmentError> {
    let (dialler, connection) = search.connect(coordinator).await?;
    let answer = ask(&connection, request).await;
    dialler.close(CloseCode::Normal).await;
    answer
}

async fn ask(
    connection: &Connection,
    request: &EnrolRequest,
) -> Result<EnrolAnswer, EnrolmentError> {
    let mut stream = connection.open_transfer().await?;
    let answer = stream.ask(&encode(request)).await?;
    Ok(decode(&answer.ok_or(EnrolmentError::NoAnswer)?)?)
}

/// Longest wait between two questions, whatever the coordinator asks for.
const RETRY_MS_MAX: u64 = 60_000;
