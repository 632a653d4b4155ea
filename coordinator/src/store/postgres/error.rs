//! What a database says, sorted by what a person does about it.

use std::error::Error as _;
use std::path::PathBuf;

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

use super::settings::DatabaseUrl;
use crate::store::error::StoreError;

/// Why a database did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// Nobody answers.
    #[error(
        "cannot reach the database at {address}: {reason}; check that it runs, the address in \
         store.url and the network between"
    )]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// The server's certificate, or that it has none.
    #[error(
        "no TLS with the database at {address}: {reason}; name its authority's certificate as \
         store.ca_file, and turn `ssl` on in the server's configuration"
    )]
    Tls {
        /// Where it is.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// The user or its password.
    #[error(
        "the database at {address} does not let {user} in: {reason}; check the user in store.url, \
         the password in store.password_file or ALAMBIC_STORE_PASSWORD, and the server's \
         pg_hba.conf"
    )]
    Denied {
        /// Where it is.
        address: String,
        /// Who asked.
        user: String,
        /// What the server says.
        reason: String,
    },
    /// The user may not do what a store needs.
    #[error(
        "the database does not allow it: {reason}; make the user the owner of the database: \
         ALTER DATABASE … OWNER TO …"
    )]
    Privilege {
        /// What the server says.
        reason: String,
    },
    /// The database is not there.
    #[error(
        "there is no database {database} at {address}; make it: CREATE DATABASE {database} \
         OWNER {user}"
    )]
    Missing {
        /// Where it should be.
        address: String,
        /// Its name.
        database: String,
        /// Who would own it.
        user: String,
    },
    /// The server is too old.
    #[error("the database at {address} is {found}; PostgreSQL {needed} or newer is needed")]
    TooOld {
        /// Where it is.
        address: String,
        /// What it says it is.
        found: String,
        /// The oldest that will do.
        needed: u32,
    },
    /// A replica answers.
    #[error(
        "the database at {address} takes no writes: it is a replica, or set to read only; name \
         the primary in store.url, or all servers with ?target_session_attrs=read-write"
    )]
    ReadOnly {
        /// Where it is.
        address: String,
    },
    /// A newer program has been here.
    #[error(
        "the tables of the store are of version {found}, this program knows {known}; run the \
         newer program that made them"
    )]
    Newer {
        /// The version that is there.
        found: i32,
        /// The newest that is known.
        known: i32,
    },
    /// A copy that did not come to its end.
    #[error(
        "the database holds a store that was not copied to its end; run `store copy` again, \
         which begins it anew"
    )]
    Unfinished,
    /// The store went elsewhere.
    #[error(
        "the store in this database was moved by `store copy` and is no longer written; use the \
         store it was moved to. To go on here all the same, and lose what was written there: \
         UPDATE alambic_log SET state = 'whole'"
    )]
    Moved,
    /// All its connections are taken.
    #[error(
        "the database has no connection left: {reason}; raise max_connections, a coordinator \
         takes up to {connections}"
    )]
    Crowded {
        /// What the server says.
        reason: String,
        /// How many one coordinator takes.
        connections: usize,
    },
    /// The connection ended before the answer.
    #[error(
        "the connection to the database was lost: {reason}; it is made again by itself, look at \
         the database and the network if this repeats"
    )]
    Lost {
        /// Why, as far as it is known.
        reason: String,
    },
    /// No answer in time.
    #[error(
        "the database did not answer within {after_ms} ms; look at its load, its locks and its \
         disk"
    )]
    Slow {
        /// How long it had.
        after_ms: u64,
    },
    /// Its disk is full.
    #[error("the disk of the database is full: {reason}")]
    Full {
        /// What the server says.
        reason: String,
    },
    /// A file that the settings name.
    #[error("cannot read {path}, which {key} names: {reason}")]
    File {
        /// The key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A transaction that met another.
    #[error("the database could not put simultaneous changes in order: {reason}")]
    Conflict {
        /// What the server says.
        reason: String,
    },
    /// All else.
    #[error("the database refused a statement: {reason}")]
    Refused {
        /// What the server says, with its code.
        reason: String,
    },
    /// An answer that has another form than asked for.
    #[error("the database answered what was not asked: {reason}; is it another program's?")]
    Strange {
        /// What is wrong.
        reason: String,
    },
}

impl DatabaseError {
    /// What went wrong on an open connection.
    pub(super) fn of(error: &Error) -> Self {
        match error.as_db_error() {
            Some(told) => Self::told(told),
            None if is_misread(error) => Self::Strange {
                reason: whole(error),
            },
            None => Self::Lost {
                reason: whole(error),
            },
        }
    }

    /// What went wrong while connecting.
    pub(super) fn of_connecting(error: &Error, url: &DatabaseUrl) -> Self {
        let address = url.address();
        let Some(told) = error.as_db_error() else {
            let reason = whole(error);
            return match reason.to_lowercase() {
                text if text.contains("tls") || text.contains("certificate") => {
                    Self::Tls { address, reason }
                }
                text if text.contains("does not allow writes") => Self::ReadOnly { address },
                text if text.contains("password missing") || text.contains("authentication") => {
                    let user = url.user().to_owned();
                    Self::Denied {
                        address,
                        user,
                        reason,
                    }
                }
                _ => Self::Unreachable { address, reason },
            };
        };
        let code = told.code();
        let reason = shown(told);
        match code {
            _ if code.code().starts_with("28") => Self::Denied {
                address,
                user: url.user().to_owned(),
                reason,
            },
            _ if *code == SqlState::INVALID_CATALOG_NAME => Self::Missing {
                address,
                database: url.database().to_owned(),
                user: url.user().to_owned(),
            },
            _ if *code == SqlState::CANNOT_CONNECT_NOW => Self::Unreachable { address, reason },
            _ => Self::told(told),
        }
    }

    fn told(told: &DbError) -> Self {
        let code = told.code();
        let reason = shown(told);
        let is = |codes: &[SqlState]| codes.contains(code);
        if is(&[
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ]) {
            Self::Conflict { reason }
        } else if is(&[SqlState::DISK_FULL]) {
            Self::Full { reason }
        } else if is(&[
            SqlState::INSUFFICIENT_PRIVILEGE,
            // The schemas that it may use are none.
            SqlState::INVALID_SCHEMA_NAME,
        ]) {
            Self::Privilege { reason }
        } else if is(&[SqlState::TOO_MANY_CONNECTIONS]) {
            Self::Crowded {
                reason,
                connections: super::pool::SESSIONS_MAX,
            }
        } else if is(&[SqlState::READ_ONLY_SQL_TRANSACTION]) {
            Self::ReadOnly {
                address: "this address".to_owned(),
            }
        } else if is_fatal(told) {
            Self::Lost { reason }
        } else {
            Self::Refused { reason }
        }
    }

    /// Whether the statement that failed may have been carried out all the
    /// same. A server that refuses has undone it; one that fell silent may
    /// have done it before.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(
            self,
            Self::Lost { .. } | Self::Slow { .. } | Self::Strange { .. }
        )
    }

    /// Whether the same again, on another connection, may well succeed.
    pub(super) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Lost { .. }
                | Self::Conflict { .. }
                | Self::Unreachable { .. }
                | Self::Crowded { .. }
        )
    }

    /// Whether the database is away, or on its way, so that waiting may mend it.
    pub fn is_away(&self) -> bool {
        self.is_passing() || matches!(self, Self::Slow { .. } | Self::ReadOnly { .. })
    }

    /// One word for the kind, for metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } => "unreachable",
            Self::Slow { .. } => "slow",
            Self::Conflict { .. } => "conflict",
            Self::Full { .. } => "full",
            Self::Denied { .. } | Self::Privilege { .. } | Self::Tls { .. } => "denied",
            Self::ReadOnly { .. } => "read_only",
            _ => "other",
        }
    }
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        match error {
            // What is waited for with sled's disk is waited for here too.
            DatabaseError::Full { .. } => Self::DiskFull {
                path: "the database".into(),
            },
            other => Self::Database(other),
        }
    }
}

/// A session that the server ends, or an outcome that it does not know itself.
fn is_fatal(told: &DbError) -> bool {
    let code = told.code().code();
    let severity = told.parsed_severity();
    matches!(severity, Some(Severity::Fatal | Severity::Panic))
        || ["08", "57P", "58", "XX"]
            .iter()
            .any(|class| code.starts_with(class))
        || code == "40003"
}

/// Whether the answer came and could not be read, or the question could not
/// be written.
fn is_misread(error: &Error) -> bool {
    let text = error.to_string();
    ["deserializing", "serializing", "column", "number of rows"]
        .iter()
        .any(|word| text.contains(word))
}

fn shown(told: &DbError) -> String {
    let detail = told
        .detail()
        .map_or_else(String::new, |it| format!(" ({it})"));
    format!("{}{detail} [{}]", told.message(), told.code().code())
}

fn whole(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
