//! Fills an empty database with a store that was kept elsewhere.

use std::sync::Arc;

use common::ids::BlobHash;
use tokio_postgres::types::Type;

use super::log::{FILLING, WHOLE, number};
use super::pool::{LONG, Pool, SHORT};
use super::session::cell;
use super::trail::Trail;
use super::{Database, PostgresOptions, blobs, documents, log, schema, unique};
use crate::store::error::{Result, StoreError};
use crate::store::files::{self, Scratch};
use crate::store::fill::Fill;
use crate::store::lock::StoreLock;
use crate::store::mark::Mark;
use crate::store::postgres::error::DatabaseError;
use crate::store::record::{Epoch, Head, Record};
use crate::store::{BATCH_EVENTS_MAX, READ_BYTES_MAX, check_blob, check_document};

/// A database that is being filled. Another attempt begins it anew.
pub(in crate::store) struct PostgresFill {
    database: Database,
    trail: Trail,
    scratch: Scratch,
    first: Head,
    head: Head,
    newest: Epoch,
    waiting: Vec<Record>,
    waiting_bytes: usize,
    _lock: StoreLock,
}

impl PostgresFill {
    /// Takes an empty database, or one that an earlier attempt left
    /// unfinished, for a store whose log begins at `first`.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`] if it holds a store.
    pub(in crate::store) fn begin(options: PostgresOptions, first: Head) -> Result<Self> {
        files::create_folder(&options.folder)?;
        let lock = StoreLock::take(&options.folder)?;
        let scratch = Scratch::open(options.folder.join("tmp"))?;
        let address = options.database.url.address();
        let database = Database::open(options.database, options.metrics)?;
        database.again("connect", |pool| async move { pool.begin().await })?;
        database.again("migrate", |pool| async move { schema::migrate(pool).await })?;
        let is_taken = database.again("fill", |pool| async move { take(&pool).await })?;
        if !is_taken {
            return Err(StoreError::NotEmpty {
                what: format!("the database at {address}"),
                advice: "name an empty one, or another schema of it by \
                         ?options=-csearch_path%3DNAME in store.url",
            });
        }
        Ok(Self {
            database,
            trail: Trail::new(&options.folder),
            scratch,
            first,
            head: first,
            newest: Epoch(0),
            waiting: Vec::new(),
            waiting_bytes: 0,
            _lock: lock,
        })
    }

    fn flush(&mut self) -> Result<()> {
        self.waiting_bytes = 0;
        let waiting: Arc<[Record]> = std::mem::take(&mut self.waiting).into();
        if waiting.is_empty() {
            return Ok(());
        }
        self.database.again("fill", move |pool| {
            let waiting = waiting.clone();
            async move { keep(&pool, &waiting).await }
        })
    }
}

impl Fill for PostgresFill {
    fn push(&mut self, record: Record) -> Result<()> {
        self.head = self.head.follow(&record)?;
        self.newest = self.newest.max(record.epoch);
        self.waiting_bytes += record.bytes.len();
        self.waiting.push(record);
        if self.waiting_bytes >= READ_BYTES_MAX || self.waiting.len() >= BATCH_EVENTS_MAX {
            self.flush()?;
        }
        Ok(())
    }

    fn put_blob(&mut self, bytes: &[u8]) -> Result<BlobHash> {
        check_blob(bytes.len() as u64)?;
        let hash = BlobHash::of(bytes);
        let bytes: Arc<[u8]> = bytes.into();
        self.database.again("put_blob", move |pool| {
            let bytes = bytes.clone();
            async move { blobs::put(&pool, hash, &bytes).await }
        })?;
        Ok(hash)
    }

    fn put_document(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        check_document(name, bytes.len())?;
        let (name, bytes): (Arc<str>, Arc<[u8]>) = (name.into(), bytes.into());
        let content = unique()?;
        let put = self.database.again("put_document", move |pool| {
            let (name, bytes) = (name.clone(), bytes.clone());
            async move { documents::put(&pool, Epoch(0), &name, &bytes, content).await }
        })?;
        match put {
            true => Ok(()),
            false => Err(taken_over()),
        }
    }

    fn finish(mut self: Box<Self>, epoch: Epoch) -> Result<(Head, Epoch)> {
        self.flush()?;
        let epoch = Epoch(self.newest.max(epoch).0.saturating_add(1));
        let (first, head) = (self.first, self.head);
        let is_whole = self.database.again("fill", move |pool| async move {
            complete(&pool, first, head, epoch).await
        })?;
        if !is_whole {
            return Err(taken_over());
        }
        self.trail.begin(Mark { head, epoch }, &self.scratch)?;
        Ok((head, epoch))
    }
}

fn taken_over() -> StoreError {
    log::strange("someone else fills or uses the database that is being filled").into()
}

/// Takes the database if it holds nothing, or what was not finished, which
/// goes; whether it did.
async fn take(pool: &Pool) -> std::result::Result<bool, DatabaseError> {
    let lent = pool.lend().await?;
    lent.begin().await?;
    let statement = format!(
        "UPDATE alambic_log SET state = '{FILLING}', epoch = 0 WHERE id = 1 AND ( \
            state = '{FILLING}' OR state = '{WHOLE}' AND epoch = 0 AND next_position = 0 \
            AND NOT EXISTS (SELECT 1 FROM alambic_blobs))"
    );
    let is_taken = lent.execute(LONG, &statement, &[]).await? == 1;
    if is_taken {
        let tables = "DELETE FROM alambic_events; DELETE FROM alambic_blobs; \
                      DELETE FROM alambic_documents; DELETE FROM alambic_document_parts";
        lent.run(LONG, tables).await?;
    }
    lent.commit().await?;
    Ok(is_taken)
}

/// Keeps records as they are. Again is no harm.
async fn keep(pool: &Pool, records: &[Record]) -> std::result::Result<(), DatabaseError> {
    let lent = pool.lend().await?;
    let statement = "INSERT INTO alambic_events (position, record) \
        SELECT added.position, added.record \
        FROM unnest($1::int8[], $2::bytea[]) AS added (position, record) \
        ON CONFLICT (position) DO NOTHING";
    let positions = records.iter().map(|record| number(record.position));
    let positions = positions.collect::<std::result::Result<Vec<i64>, _>>()?;
    let encoded: Vec<Vec<u8>> = records.iter().map(Record::encode).collect();
    lent.execute(
        LONG,
        statement,
        &[
            (&positions, Type::INT8_ARRAY),
            (&encoded, Type::BYTEA_ARRAY),
        ],
    )
    .await?;
    Ok(())
}

/// Makes the store one that opens; whether it was still being filled, or has
/// been made that before.
async fn complete(
    pool: &Pool,
    first: Head,
    head: Head,
    epoch: Epoch,
) -> std::result::Result<bool, DatabaseError> {
    let lent = pool.lend().await?;
    let statement = format!(
        "UPDATE alambic_log SET state = '{WHOLE}', epoch = $1, first_position = $2, \
            first_hash = $3, next_position = $4, head_hash = $5 \
         WHERE id = 1 AND (state = '{FILLING}' OR state = '{WHOLE}' AND epoch = $1 \
            AND head_hash = $5) RETURNING epoch"
    );
    let (begins, ends) = (number(first.next)?, number(head.next)?);
    let changed = lent
        .row_if_any(
            SHORT,
            &statement,
            &[
                (&i64::from(epoch.0), Type::INT8),
                (&begins, Type::INT8),
                (&&first.hash.0[..], Type::BYTEA),
                (&ends, Type::INT8),
                (&&head.hash.0[..], Type::BYTEA),
            ],
        )
        .await?;
    let opened = changed.map(|row| cell::<i64>(&row, 0)).transpose()?;
    Ok(opened == Some(i64::from(epoch.0)))
}
