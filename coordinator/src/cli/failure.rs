//! Why a command failed, and the exit code for it.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use common::model::ReleaseError;

use crate::admin::AdminError;
use crate::app::ServeError;
use crate::backup::BackupError;
use crate::config::ConfigError;
use crate::identity::{CharterFileError, IdentityError};
use crate::status::format;
use crate::status::{FaultKind, OutcomeStatus};

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
    Charter(#[from] CharterFileError),
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
    /// Output that could not be made.
    #[error("cannot write the {format} file: {reason}")]
    Export {
        /// The format.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The doctor found something.
    #[error("something does not work, see above")]
    Unwell,
    /// A backup, or what was to be restored from one.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The process could not be set up.
    #[error("cannot start: {0}")]
    Start(io::Error),
}

impl Failure {
    /// 1 failed, 2 usage or configuration, 3 unreachable, 4 denied, 5 not
    /// found, 6 quorum not met, 7 verification failed.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Config(_) | Self::Foreign { .. } => 2,
            Self::Admin(AdminError::Unreachable { .. } | AdminError::Broken(_)) => 3,
            Self::Admin(AdminError::Denied { .. }) => 4,
            Self::Admin(AdminError::Fault(fault)) => match fault.kind {
                FaultKind::Invalid => 2,
                FaultKind::NotFound => 5,
                FaultKind::Busy | FaultKind::Storage => 1,
            },
            Self::Identity(IdentityError::Missing { .. })
            | Self::Charter(CharterFileError::Identity(IdentityError::Missing { .. })) => 5,
            Self::Charter(CharterFileError::UnknownKey(_) | CharterFileError::RootAway { .. }) => 5,
            Self::Charter(CharterFileError::InUse(_)) => 2,
            // What is to be made is there already.
            Self::Identity(IdentityError::Exists { .. })
            | Self::Charter(CharterFileError::Identity(IdentityError::Exists { .. })) => 2,
            Self::File { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => 2,
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => 5,
            Self::File { source, .. } | Self::Identity(IdentityError::Io { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                4
            }
            Self::Round {
                outcome: OutcomeStatus::QuorumNotMet { .. },
            } => 6,
            Self::Verification(_) | Self::Audit(_) => 7,
            Self::Backup(error) => backup_code(error),
            _ => 1,
        })
    }
}

fn backup_code(error: &BackupError) -> u8 {
    match error {
        BackupError::Exists { .. } | BackupError::NotEmpty { .. } => 2,
        BackupError::Io { source, .. } => match source.kind() {
            io::ErrorKind::NotFound => 5,
            io::ErrorKind::PermissionDenied => 4,
            _ => 1,
        },
        BackupError::Keys {
            source: IdentityError::Missing { .. },
            ..
        } => 5,
        BackupError::Foreign { .. }
        | BackupError::Newer { .. }
        | BackupError::Truncated { .. }
        | BackupError::Changed { .. }
        | BackupError::Keys { .. }
        | BackupError::Differs { .. }
        | BackupError::Replay(_) => 7,
        BackupError::Forgotten | BackupError::Store(_) => 1,
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
