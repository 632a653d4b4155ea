//! Why a command failed, and the exit code for it.

use std::io;
use std::path::PathBuf;

use common::exit::{self, CommandError, ExitCode};
use common::model::ReleaseError;
use common::transport::TransportError;
use common::transport::enrolment::EnrolmentError;

use crate::admin::AdminError;
use crate::app::ServeError;
use crate::backup::BackupError;
use crate::config::ConfigError;
use crate::gateway::GatewayError;
use crate::gateway::identity::GatewayIdentityError;
use crate::identity::{IdentityError, TrustRootFileError};
use crate::status::format;
use crate::status::{FaultKind, OutcomeStatus};
use crate::store::StoreError;

/// Why a command failed. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The running coordinator.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The state directory.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The keys that sign releases.
    #[error(transparent)]
    TrustRoot(#[from] TrustRootFileError),
    /// The server.
    #[error("{error}{}", advice(.error))]
    Serve {
        /// What stopped it.
        #[from]
        error: ServeError,
    },
    /// A watched round ended without a student.
    #[error("the round {outcome}")]
    Round {
        /// How it ended.
        outcome: OutcomeStatus,
    },
    /// Devices would be shut out.
    #[error(
        "certificates of the authority before this one are still held by {}; `ca show` names \
         them. Wait until they have renewed, or use --force: they have to join again then",
        format::count(*devices, "device")
    )]
    Behind {
        /// How many.
        devices: usize,
    },
    /// Socket and state directory are two coordinators'.
    #[error(
        "the coordinator that answers at {socket} is not the one of {state}; name one \
         coordinator's --state and --admin-socket"
    )]
    Foreign {
        /// Where one answers.
        socket: PathBuf,
        /// The other's state.
        state: PathBuf,
    },
    /// A file.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A release that is not believed.
    #[error("the release is not what this coordinator signed: {0}; nothing was written")]
    Verification(String),
    /// A log that is not what was written.
    #[error("the log does not hold together: {0}")]
    Audit(String),
    /// A release that this version does not understand.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The doctor found something.
    #[error("something does not work, see above")]
    Unwell,
    /// A backup, or what was to be restored from one.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A gateway.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The process could not be set up.
    #[error("cannot start: {0}")]
    Start(io::Error),
    /// What ends every program alike.
    #[error(transparent)]
    Program(#[from] exit::Failure),
}

impl CommandError for Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Foreign { .. } => ExitCode::Usage,
            Self::Admin(AdminError::Unreachable { .. } | AdminError::Broken(_)) => {
                ExitCode::Unreachable
            }
            Self::Admin(AdminError::Denied { .. }) => ExitCode::Denied,
            Self::Admin(AdminError::Fault(fault)) => match fault.kind {
                FaultKind::Invalid => ExitCode::Usage,
                FaultKind::NotFound => ExitCode::NotFound,
                FaultKind::Busy | FaultKind::Storage => ExitCode::Failed,
            },
            Self::Identity(error) => of_identity(error),
            Self::TrustRoot(error) => match error {
                TrustRootFileError::Identity(error) => of_identity(error),
                TrustRootFileError::UnknownKey(_) | TrustRootFileError::RootAway { .. } => {
                    ExitCode::NotFound
                }
                TrustRootFileError::InUse(_) => ExitCode::Usage,
                _ => ExitCode::Failed,
            },
            Self::File { source, .. } => ExitCode::of_file(source),
            Self::Round {
                outcome: OutcomeStatus::QuorumNotMet { .. },
            } => ExitCode::QuorumNotMet,
            Self::Verification(_) | Self::Audit(_) => ExitCode::Unverified,
            Self::Backup(error) => of_backup(error),
            Self::Gateway(error) => of_gateway(error),
            Self::Program(failure) => failure.exit_code(),
            _ => ExitCode::Failed,
        }
    }
}

fn of_identity(error: &IdentityError) -> ExitCode {
    match error {
        IdentityError::Missing { .. } => ExitCode::NotFound,
        // What is to be made is there already.
        IdentityError::Exists { .. } => ExitCode::Usage,
        IdentityError::Io { source, .. } => ExitCode::of_file(source),
        _ => ExitCode::Failed,
    }
}

fn of_gateway(error: &GatewayError) -> ExitCode {
    match error {
        GatewayError::Identity(error) => match error {
            GatewayIdentityError::NotEnrolled { .. } => ExitCode::NotFound,
            GatewayIdentityError::Already { .. } => ExitCode::Usage,
            GatewayIdentityError::NotAGateway { .. } => ExitCode::Denied,
            GatewayIdentityError::Enrolment { error } => match error {
                EnrolmentError::Refused(_) => ExitCode::Denied,
                EnrolmentError::OtherAuthority { .. } => ExitCode::Unverified,
                EnrolmentError::Transport(error) => of_transport(error),
                _ => ExitCode::Failed,
            },
            GatewayIdentityError::Transport { error } => of_transport(error),
            GatewayIdentityError::Io { source, .. } => ExitCode::of_file(source),
            _ => ExitCode::Failed,
        },
        GatewayError::Transport { error } => of_transport(error),
        GatewayError::Metrics(_) => ExitCode::Failed,
    }
}

fn of_transport(error: &TransportError) -> ExitCode {
    match error {
        TransportError::NoAnswer { .. }
        | TransportError::UnknownHost { .. }
        | TransportError::Lost { .. } => ExitCode::Unreachable,
        TransportError::PinMismatch { .. }
        | TransportError::ForeignServer
        | TransportError::UnfitServer { .. } => ExitCode::Unverified,
        TransportError::Closed { .. } | TransportError::RefusedUs { .. } => ExitCode::Denied,
        _ => ExitCode::Failed,
    }
}

fn of_backup(error: &BackupError) -> ExitCode {
    match error {
        BackupError::Exists { .. }
        | BackupError::NotEmpty { .. }
        | BackupError::SamePlace { .. }
        | BackupError::Store(StoreError::NotEmpty { .. }) => ExitCode::Usage,
        BackupError::NothingThere { .. } => ExitCode::NotFound,
        BackupError::Io { source, .. } => ExitCode::of_file(source),
        BackupError::Keys {
            source: IdentityError::Missing { .. },
            ..
        } => ExitCode::NotFound,
        BackupError::Foreign { .. }
        | BackupError::Newer { .. }
        | BackupError::Truncated { .. }
        | BackupError::Changed { .. }
        | BackupError::Keys { .. }
        | BackupError::Differs { .. }
        | BackupError::Unlike { .. }
        | BackupError::Replay(_) => ExitCode::Unverified,
        BackupError::Forgotten | BackupError::Store(_) => ExitCode::Failed,
    }
}

fn advice(error: &ServeError) -> String {
    match error {
        ServeError::Transport(error) => error
            .advice()
            .map_or_else(String::new, |advice| format!("; {advice}")),
        _ => String::new(),
    }
}
