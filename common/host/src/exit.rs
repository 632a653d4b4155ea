//! How a program's command ends: exit codes that all programs share, and
//! failures that say what to do.

use std::fmt::{self, Display};
use std::io;

use crate::config::ConfigError;

/// The exit codes, the same for every program of the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// Something failed that has no code of its own.
    Failed = 1,
    /// The command line, the configuration or what was given does not fit.
    Usage = 2,
    /// The other side cannot be reached.
    Unreachable = 3,
    /// The other side, the system or a check says no.
    Denied = 4,
    /// What was asked for does not exist.
    NotFound = 5,
    /// A round ended without a student.
    QuorumNotMet = 6,
    /// A release, a log or a coordinator is not what it says it is.
    Unverified = 7,
    /// Ctrl-C, as a shell has it.
    Interrupted = 130,
}

impl ExitCode {
    /// For a file that could not be read or written.
    pub fn of_file(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory => Self::Usage,
            _ => Self::Failed,
        }
    }
}

/// Why a command failed; its text says what to do.
pub trait CommandError: Display {
    /// How the program ends.
    fn exit_code(&self) -> ExitCode;
}

/// A program from here to its end: carries `command` out and prints why it
/// failed, if it did. A reader of standard output that goes away ends it.
pub fn program<E: CommandError>(command: impl FnOnce() -> Result<(), E>) -> std::process::ExitCode {
    crate::pipe::end_with_its_reader(ExitCode::Failed as u8);
    match command() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::from(error.exit_code() as u8)
        }
    }
}

/// A command that did not succeed: what happened and what to do about it.
#[derive(Debug)]
pub struct Failure {
    code: ExitCode,
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

    /// What an error says, and what a person can do, if anything.
    pub fn of(code: ExitCode, error: &impl Display, advice: Option<String>) -> Self {
        Self {
            code,
            message: error.to_string(),
            advice,
        }
    }

    /// The same with what a person can do.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.advice {
            Some(advice) => write!(f, "\n  what to do: {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(ExitCode::Usage, error.to_string())
    }
}

impl CommandError for Failure {
    fn exit_code(&self) -> ExitCode {
        self.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_ends_with_its_code_and_its_advice() {
        let failure = Failure::new(ExitCode::Denied, "no").advise("ask");
        assert_eq!(failure.to_string(), "no\n  what to do: ask");
        let ended = program(|| Err(failure));
        assert_eq!(ended, std::process::ExitCode::from(4));
    }

    #[test]
    fn files_have_the_codes_of_what_is_wrong_with_them() {
        let of = |kind: io::ErrorKind| ExitCode::of_file(&kind.into());
        assert_eq!(of(io::ErrorKind::NotFound), ExitCode::NotFound);
        assert_eq!(of(io::ErrorKind::PermissionDenied), ExitCode::Denied);
        assert_eq!(of(io::ErrorKind::AlreadyExists), ExitCode::Usage);
        assert_eq!(of(io::ErrorKind::StorageFull), ExitCode::Failed);
    }
}
