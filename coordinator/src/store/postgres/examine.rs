//! What a database is like, for someone who looks for what is wrong with it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::DatabaseMetrics;
use super::error::DatabaseError;
use super::lease::{self, Leader};
use super::log::{self, WHOLE};
use super::pool::{Pool, SHORT};
use super::schema;
use super::session::{Server, cell};
use super::settings::DatabaseSettings;
use super::worker::Worker;

/// What was found. Nothing was changed.
#[derive(Clone, Debug)]
pub struct Examination {
    /// The server's name and version.
    pub server: String,
    /// Where it is.
    pub address: String,
    /// How long a question took.
    pub answered_in: Duration,
    /// When the server acknowledges a transaction.
    pub synchronous_commit: String,
    /// Whether it waits for its disk; none if it does not say.
    pub fsync: Option<bool>,
    /// How far its clock is ahead of this machine's, in milliseconds.
    pub clock_ahead_ms: i64,
    /// The version of the tables; none where there are none.
    pub version: Option<i32>,
    /// The version that this program knows.
    pub version_known: i32,
    /// Whether the tables hold a store that may be used, its epoch and where
    /// its log continues; none where there are no tables.
    pub log: Option<(bool, u32, u64)>,
    /// Who leads, and for how many milliseconds still; none if nobody does, or
    /// coordinators take no turns.
    pub leader: Option<Leader>,
    /// Whether new tables may be made.
    pub may_create: bool,
}

/// Looks at a database and changes nothing. Blocks until it has answered.
///
/// # Errors
/// What stands in the way of using it.
pub fn examine(settings: &DatabaseSettings) -> Result<Examination, DatabaseError> {
    let worker = Worker::start().map_err(|error| DatabaseError::Lost {
        reason: error.to_string(),
    })?;
    let pool = Arc::new(Pool::new(settings.clone(), DatabaseMetrics::default())?);
    let address = settings.url.address();
    worker.run(async move {
        let server = pool.begin().await?;
        look(&pool, server, address).await
    })
}

async fn look(pool: &Pool, server: Server, address: String) -> Result<Examination, DatabaseError> {
    let version = {
        let lent = pool.lend().await?;
        schema::version(&lent).await?
    };
    let row = match version {
        Some(found) if (1..=schema::VERSION).contains(&found) => Some(log::row(pool).await?),
        _ => None,
    };
    let leader = match version {
        Some(found) if found == schema::VERSION => Some(lease::leader(pool).await?),
        _ => None,
    };
    let lent = pool.lend().await?;
    let begun = Instant::now();
    let statement = "SELECT cast(extract(epoch FROM clock_timestamp()) * 1000 AS int8), \
        current_setting('fsync', true), \
        has_schema_privilege(current_schema(), 'CREATE')";
    let answer = lent.row(SHORT, statement, &[]).await?;
    let answered_in = begun.elapsed();
    let here = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let here = here.unwrap_or_default().saturating_sub(answered_in / 2);
    let there = cell::<i64>(&answer, 0)?;
    Ok(Examination {
        server: server.version,
        address,
        answered_in,
        synchronous_commit: server.synchronous_commit,
        fsync: cell::<Option<String>>(&answer, 1)?.map(|told| told == "on"),
        clock_ahead_ms: there - i64::try_from(here.as_millis()).unwrap_or(i64::MAX),
        version,
        version_known: schema::VERSION,
        log: row.map(|row| (row.state == WHOLE, row.epoch.0, row.head.next.0)),
        leader: leader.filter(|leader| leader.left_ms > 0),
        may_create: cell::<Option<bool>>(&answer, 2)?.unwrap_or(false),
    })
}
