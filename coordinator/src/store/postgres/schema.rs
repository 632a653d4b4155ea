//! The tables of a store, and how they come to be what this program knows.
//!
//! Nothing here is peculiar to PostgreSQL: no extensions, no sequences, no
//! advisory locks.

use std::sync::Arc;

use tokio_postgres::types::Type;

use super::error::DatabaseError;
use super::pool::{LONG, Lent, Pool, SHORT};
use super::session::cell;

/// Each leads from the version that its number in the list is to the next.
/// Those that were released never change. While an older program serves, a
/// newer one may carry out its own: they only ever add.
pub(super) const MIGRATIONS: &[&str] = &[
    // 1: one row says where the log begins and ends and who may write, so that
    // one conditional UPDATE of it is the fence of every append.
    "CREATE TABLE alambic_log (
        id int4 PRIMARY KEY CHECK (id = 1),
        state text NOT NULL,
        epoch int8 NOT NULL,
        first_position int8 NOT NULL,
        first_hash bytea NOT NULL,
        next_position int8 NOT NULL,
        head_hash bytea NOT NULL
    );
    INSERT INTO alambic_log VALUES (
        1, 'whole', 0,
        0, '\\x0000000000000000000000000000000000000000000000000000000000000000',
        0, '\\x0000000000000000000000000000000000000000000000000000000000000000'
    );
    CREATE TABLE alambic_events (
        position int8 PRIMARY KEY,
        record bytea NOT NULL
    );
    CREATE TABLE alambic_blobs (
        hash bytea NOT NULL,
        part int4 NOT NULL,
        bytes int8 NOT NULL,
        data bytea NOT NULL,
        PRIMARY KEY (hash, part)
    );
    CREATE TABLE alambic_documents (
        name text PRIMARY KEY,
        hash bytea NOT NULL,
        content bytea NOT NULL
    );
    CREATE TABLE alambic_document_parts (
        name text NOT NULL,
        content bytea NOT NULL,
        part int4 NOT NULL,
        data bytea NOT NULL,
        PRIMARY KEY (name, content, part)
    );",
    // 2: whose turn it is, until when.
    "CREATE TABLE alambic_lease (
        id int4 PRIMARY KEY CHECK (id = 1),
        holder text NOT NULL,
        name text NOT NULL,
        until timestamptz NOT NULL
    );
    INSERT INTO alambic_lease VALUES (1, '', '', '1970-01-01 00:00:00+00');",
    // 3: where devices reach the one whose turn it is, and whose address that is.
    "ALTER TABLE alambic_lease ADD COLUMN address text NOT NULL DEFAULT '';
    ALTER TABLE alambic_lease ADD COLUMN address_holder text NOT NULL DEFAULT '';",
];

/// The version that this program knows.
pub(super) const VERSION: i32 = MIGRATIONS.len() as i32;

/// Brings the tables to the version that this program knows.
///
/// # Errors
/// [`DatabaseError::Newer`] if they are past it.
pub(super) async fn migrate(pool: Arc<Pool>) -> Result<(), DatabaseError> {
    loop {
        let lent = pool.lend().await?;
        let found = match version(&lent).await? {
            Some(found) => found,
            None => {
                begin(&lent).await?;
                0
            }
        };
        check(found)?;
        if found == VERSION {
            return Ok(());
        }
        match step(&lent, found).await {
            Ok(()) => tracing::info!(version = found + 1, "the store's tables were brought up"),
            // Another coordinator was quicker.
            Err(DatabaseError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Refuses tables of a later program.
pub(super) fn check(found: i32) -> Result<(), DatabaseError> {
    if found > VERSION {
        let known = VERSION;
        return Err(DatabaseError::Newer { found, known });
    }
    Ok(())
}

/// The version of the tables; none where there are none.
pub(super) async fn version(lent: &Lent<'_>) -> Result<Option<i32>, DatabaseError> {
    let named = "SELECT count(*) FROM information_schema.tables \
                 WHERE table_name = 'alambic_schema' AND table_schema = current_schema()";
    let row = lent.row(SHORT, named, &[]).await?;
    if cell::<i64>(&row, 0)? == 0 {
        return Ok(None);
    }
    let question = "SELECT version FROM alambic_schema";
    let row = lent.row_if_any(SHORT, question, &[]).await?;
    row.map(|row| cell(&row, 0)).transpose()
}

/// Makes the table that holds the version, at 0. Twice at once is no harm.
async fn begin(lent: &Lent<'_>) -> Result<(), DatabaseError> {
    let table = "CREATE TABLE IF NOT EXISTS alambic_schema \
                 (id int4 PRIMARY KEY CHECK (id = 1), version int4 NOT NULL)";
    let row = "INSERT INTO alambic_schema VALUES (1, 0) ON CONFLICT (id) DO NOTHING";
    for attempt in 0.. {
        match lent.run(LONG, table).await {
            // Two that make a table at once trip over its name.
            Err(DatabaseError::Refused { .. }) if attempt < ATTEMPTS => {}
            other => {
                other?;
                break;
            }
        }
    }
    lent.run(SHORT, row).await
}

/// Carries out one migration, whole or not at all. The change of the version
/// comes first and keeps others waiting.
async fn step(lent: &Lent<'_>, from: i32) -> Result<(), DatabaseError> {
    let at = usize::try_from(from).unwrap_or_default();
    let Some(statements) = MIGRATIONS.get(at) else {
        return Ok(());
    };
    lent.begin().await?;
    let claim = "UPDATE alambic_schema SET version = $1 + 1 WHERE version = $1";
    if lent.execute(LONG, claim, &[(&from, Type::INT4)]).await? != 1 {
        return Err(DatabaseError::Conflict {
            reason: "another program migrates".to_owned(),
        });
    }
    lent.run(LONG, statements).await?;
    lent.commit().await
}

/// How often a table is made before its error is believed.
const ATTEMPTS: u32 = 5;
