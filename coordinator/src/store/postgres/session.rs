//! One connection to the database, and what its server is.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, Row};

use super::error::DatabaseError;
use super::settings::DatabaseSettings;
use super::tls::Tls;

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Its name and version, for people.
    pub(super) version: String,
    /// Whether it is PostgreSQL itself and not one that speaks like it.
    pub(super) is_postgres: bool,
    /// PostgreSQL's version times ten thousand.
    pub(super) number: u32,
    /// Whether it takes no writes.
    pub(super) is_read_only: bool,
    /// When it acknowledges a transaction.
    pub(super) synchronous_commit: String,
}

/// Connects, and refuses a server that will not do.
pub(super) async fn connect(
    settings: &DatabaseSettings,
    tls: &Tls,
) -> Result<(Client, Server), DatabaseError> {
    let client = open(settings, tls).await?;
    let late = || DatabaseError::Slow {
        after_ms: GREETING_MAX.as_millis() as u64,
    };
    let greeted = timeout(GREETING_MAX, greet(&client)).await;
    let server = greeted.map_err(|_| late())??;
    if server.is_postgres && server.number < 10_000 * OLDEST {
        return Err(DatabaseError::TooOld {
            address: settings.url.address(),
            found: server.version,
            needed: OLDEST,
        });
    }
    if server.is_read_only {
        return Err(DatabaseError::ReadOnly {
            address: settings.url.address(),
        });
    }
    Ok((client, server))
}

/// Connects to whatever is there.
pub(super) async fn open(settings: &DatabaseSettings, tls: &Tls) -> Result<Client, DatabaseError> {
    let mut config = settings.url.config().clone();
    if let Some(password) = settings.password.read()? {
        config.password(password);
    }
    let connecting = timeout(CONNECTING_MAX, config.connect(tls.clone())).await;
    let connected = connecting.map_err(|_| DatabaseError::Unreachable {
        address: settings.url.address(),
        reason: format!("no answer within {} s", CONNECTING_MAX.as_secs()),
    })?;
    let (client, connection) =
        connected.map_err(|error| DatabaseError::of_connecting(&error, &settings.url))?;
    tokio::spawn(async move {
        // Whoever waits for an answer is told so too.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the database ended");
        }
    });
    Ok(client)
}

/// Asks what the server is and sets what holds for the session: no statement
/// and no forgotten transaction keeps others waiting for long, and nothing is
/// acknowledged before it is on a disk.
async fn greet(client: &Client) -> Result<Server, DatabaseError> {
    let failed = |error| DatabaseError::of(&error);
    let server = look(client).await?;
    if ["off", "false", "no", "0"].contains(&server.synchronous_commit.as_str()) {
        let durable = "SET synchronous_commit = on";
        client.batch_execute(durable).await.map_err(failed)?;
    }
    let bounds = format!(
        "SET statement_timeout = {STATEMENT_MS_MAX}; \
         SET idle_in_transaction_session_timeout = {IDLE_MS_MAX}; \
         SET client_min_messages = warning"
    );
    client.batch_execute(&bounds).await.map_err(failed)?;
    Ok(server)
}

/// Asks what the server is, and changes nothing.
pub(super) async fn look(client: &Client) -> Result<Server, DatabaseError> {
    let question = "SELECT version(), current_setting('server_version_num'), \
                    current_setting('transaction_read_only'), \
                    coalesce(current_setting('synchronous_commit', true), 'on')";
    let row = client.query_typed_one(question, &[]).await;
    let row = row.map_err(|error| DatabaseError::of(&error))?;
    let text = |at| cell::<String>(&row, at);
    let version = text(0)?;
    let words: Vec<&str> = version.split_whitespace().take(2).collect();
    Ok(Server {
        version: words.join(" "),
        is_postgres: version.starts_with("PostgreSQL"),
        number: text(1)?.parse().unwrap_or(0),
        is_read_only: text(2)? == "on",
        synchronous_commit: text(3)?,
    })
}

/// One value of an answer.
pub(super) fn cell<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    at: usize,
) -> Result<T, DatabaseError> {
    row.try_get(at).map_err(|error| DatabaseError::of(&error))
}

/// The oldest PostgreSQL that is tested.
pub(super) const OLDEST: u32 = 15;
/// For all addresses of all servers together.
const CONNECTING_MAX: Duration = Duration::from_secs(10);
const GREETING_MAX: Duration = Duration::from_secs(5);
const STATEMENT_MS_MAX: u32 = 60_000;
const IDLE_MS_MAX: u32 = 10_000;
