//! How a command ends.

use common::transport::{Blame, CloseCode, TransportError};

use crate::config::ConfigError;
use crate::driver::{AgentError, LinkError, WorkshopError};
use crate::enrol::EnrolError;
use crate::identity::IdentityError;
use crate::state::StateError;

/// The exit codes, the same for every program of the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// Something failed that has no code of its own.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The coordinator cannot be reached.
    Unreachable = 3,
    /// The coordinator, or a check of it, says no.
    Denied = 4,
    /// What was asked for does not exist.
    NotFound = 5,
    /// A release, or a coordinator, is not what it says it is.
    Unverified = 7,
}

/// A command that did not succeed: what happened and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}{}", advice.as_deref().map(|advice| format!("\n  what to do: {advice}")).unwrap_or_default())]
pub struct Failure {
    /// The exit code.
    pub code: ExitCode,
    message: String,
    advice: Option<String>,
}

impl Failure {
    /// A failure without advice.
    pub fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            advice: None,
        }
    }

    /// The same with what a person can do.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    fn with(code: ExitCode, error: &impl std::fmt::Display, advice: Option<String>) -> Self {
        Self {
            code,
            message: error.to_string(),
            advice,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(ExitCode::Usage, error.to_string())
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::with(ExitCode::Usage, &error, Some(error.advice()))
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        let code = match error {
            IdentityError::NotEnrolled { .. } => ExitCode::NotFound,
            _ => ExitCode::Failed,
        };
        Self::with(code, &error, Some(error.advice()))
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        let code = match &error {
            LinkError::Transport(error) => of_transport(error),
            _ => ExitCode::Failed,
        };
        Self::with(code, &error, error.advice())
    }
}

impl From<WorkshopError> for Failure {
    fn from(error: WorkshopError) -> Self {
        let advice = match &error {
            WorkshopError::Failed { advice, .. } => Some(advice.clone()),
            WorkshopError::Blob(_) => Some("try again".to_owned()),
        };
        Self::with(ExitCode::Failed, &error, advice)
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
            EnrolError::Transport(error) => of_transport(error),
            EnrolError::Refused(_) => ExitCode::Denied,
            EnrolError::OtherAuthority { .. }
            | EnrolError::Certificate(_)
            | EnrolError::Malformed(_)
            | EnrolError::Charter(_) => ExitCode::Unverified,
            EnrolError::Already { .. } | EnrolError::State(_) => ExitCode::Usage,
            _ => ExitCode::Failed,
        };
        Self::with(code, &error, error.advice())
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
