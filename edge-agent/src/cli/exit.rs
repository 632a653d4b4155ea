//! What a command ends with where something of the agent's fails.

use common::exit::{ExitCode, Failure};
use common::transport::enrolment::EnrolmentError;
use common::transport::{Blame, CloseCode, TransportError};

use crate::driver::{AgentError, BackendError, LinkError};
use crate::enrol::EnrolError;
use crate::identity::IdentityError;
use crate::state::StateError;

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::of(ExitCode::Usage, &error, Some(error.advice()))
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        let code = match error {
            IdentityError::NotEnrolled { .. } => ExitCode::NotFound,
            _ => ExitCode::Failed,
        };
        Self::of(code, &error, Some(error.advice()))
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        let code = match &error {
            LinkError::Transport(error) => of_transport(error),
            _ => ExitCode::Failed,
        };
        Self::of(code, &error, error.advice())
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        let advice = match &error {
            BackendError::Failed { advice, .. } | BackendError::Data { advice, .. } => {
                Some(advice.clone())
            }
            BackendError::Blob(_) => Some("try again".to_owned()),
        };
        Self::of(ExitCode::Failed, &error, advice)
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Outbox(error) => error.into(),
            AgentError::Cache(error) => LinkError::from(error).into(),
        }
    }
}

impl From<EnrolError> for Failure {
    fn from(error: EnrolError) -> Self {
        let code = match &error {
            EnrolError::Enrolment(EnrolmentError::Transport(error)) => of_transport(error),
            EnrolError::Enrolment(EnrolmentError::Refused(_)) => ExitCode::Denied,
            EnrolError::Enrolment(EnrolmentError::OtherAuthority { .. })
            | EnrolError::Certificate(_)
            | EnrolError::Malformed(_)
            | EnrolError::TrustRoot(_) => ExitCode::Unverified,
            EnrolError::Already { .. } | EnrolError::State(_) => ExitCode::Usage,
            _ => ExitCode::Failed,
        };
        Self::of(code, &error, error.advice())
    }
}

fn of_transport(error: &TransportError) -> ExitCode {
    match error {
        TransportError::PinMismatch { .. }
        | TransportError::ForeignServer
        | TransportError::ExpiredServer
        | TransportError::UnfitServer { .. } => ExitCode::Unverified,
        TransportError::RefusedUs { .. }
        | TransportError::Closed {
            code: CloseCode::Unauthenticated | CloseCode::Expired | CloseCode::Revoked,
            ..
        } => ExitCode::Denied,
        other if other.blame() == Blame::World => ExitCode::Unreachable,
        _ => ExitCode::Failed,
    }
}
