//! Blobs in the database, cut into parts.

use common::ids::BlobHash;
use tokio_postgres::types::Type;

use super::error::DatabaseError;
use super::log::strange;
use super::pool::{LONG, Lent, Pool, SHORT};
use super::session::cell;
use crate::store::record::Epoch;

/// Bytes of one row.
pub(super) const PART_BYTES: usize = 256 * 1024;
/// Rows of one statement, which bounds what is in memory twice.
const PARTS_PER_STATEMENT: usize = 16;

/// Keeps a blob, which repairs a damaged copy.
pub(super) async fn put(pool: &Pool, hash: BlobHash, bytes: &[u8]) -> Result<(), DatabaseError> {
    let lent = pool.lend().await?;
    let parts = parts(bytes);
    if parts.len() <= PARTS_PER_STATEMENT
        && insert(&lent, hash, bytes.len(), &parts, 0).await? == parts.len()
    {
        return Ok(());
    }
    // It is there already, or too long for one statement.
    if let Some(kept) = read(&lent, hash).await?
        && BlobHash::of(&kept) == hash
    {
        return Ok(());
    }
    lent.begin().await?;
    let damaged = "DELETE FROM alambic_blobs WHERE hash = $1";
    lent.execute(LONG, damaged, &[(&&hash.0[..], Type::BYTEA)])
        .await?;
    for (at, some) in parts.chunks(PARTS_PER_STATEMENT).enumerate() {
        let first = at * PARTS_PER_STATEMENT;
        if insert(&lent, hash, bytes.len(), some, first).await? != some.len() {
            // Another has put it since; it is looked at again.
            return Err(DatabaseError::Conflict {
                reason: "the blob is being kept by another".to_owned(),
            });
        }
    }
    lent.commit().await
}

/// An empty blob has one part as well.
fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    match bytes {
        [] => vec![bytes],
        _ => bytes.chunks(PART_BYTES).collect(),
    }
}

async fn insert(
    lent: &Lent<'_>,
    hash: BlobHash,
    bytes: usize,
    parts: &[&[u8]],
    first: usize,
) -> Result<usize, DatabaseError> {
    let statement = "INSERT INTO alambic_blobs (hash, part, bytes, data) \
        SELECT $1, added.part, $2, added.data \
        FROM unnest($3::int4[], $4::bytea[]) AS added (part, data) \
        ON CONFLICT (hash, part) DO NOTHING";
    let numbers: Vec<i32> = (0i32..).skip(first).take(parts.len()).collect();
    let bytes = i64::try_from(bytes).map_err(|_| strange("a blob is too long"))?;
    let rows = lent
        .execute(
            LONG,
            statement,
            &[
                (&&hash.0[..], Type::BYTEA),
                (&bytes, Type::INT8),
                (&numbers, Type::INT4_ARRAY),
                (&parts, Type::BYTEA_ARRAY),
            ],
        )
        .await?;
    usize::try_from(rows).map_err(|_| strange("too many rows"))
}

/// The bytes that are kept under a hash, whatever they are.
pub(super) async fn get(pool: &Pool, hash: BlobHash) -> Result<Option<Vec<u8>>, DatabaseError> {
    let lent = pool.lend().await?;
    read(&lent, hash).await
}

async fn read(lent: &Lent<'_>, hash: BlobHash) -> Result<Option<Vec<u8>>, DatabaseError> {
    let statement = "SELECT data FROM alambic_blobs WHERE hash = $1 ORDER BY part";
    let rows = lent
        .rows(LONG, statement, &[(&&hash.0[..], Type::BYTEA)])
        .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    // Each row is let go of as soon as it is copied.
    for row in rows {
        bytes.extend_from_slice(cell(&row, 0)?);
    }
    Ok(Some(bytes))
}

pub(super) async fn has(pool: &Pool, hash: BlobHash) -> Result<bool, DatabaseError> {
    let lent = pool.lend().await?;
    let statement = "SELECT count(*) FROM alambic_blobs WHERE hash = $1 AND part = 0";
    let row = lent
        .row(SHORT, statement, &[(&&hash.0[..], Type::BYTEA)])
        .await?;
    Ok(cell::<i64>(&row, 0)? > 0)
}

/// All names, sorted.
pub(super) async fn list(pool: &Pool) -> Result<Vec<BlobHash>, DatabaseError> {
    let lent = pool.lend().await?;
    let statement = "SELECT hash FROM alambic_blobs WHERE part = 0 ORDER BY hash";
    let rows = lent.rows(LONG, statement, &[]).await?;
    let hash = |row| {
        let bytes = <[u8; 32]>::try_from(cell::<&[u8]>(row, 0)?);
        bytes
            .map(BlobHash)
            .map_err(|_| strange("a name has not 32 bytes"))
    };
    rows.iter().map(hash).collect()
}

/// Forgets blobs if the epoch is the newest, which stays so meanwhile; how
/// many there were, or none if it is not.
pub(super) async fn remove(
    pool: &Pool,
    epoch: Epoch,
    hashes: &[BlobHash],
) -> Result<Option<usize>, DatabaseError> {
    let lent = pool.lend().await?;
    let statement = "WITH fence AS ( \
            SELECT id FROM alambic_log WHERE id = 1 AND epoch = $2 FOR SHARE \
        ), gone AS ( \
            DELETE FROM alambic_blobs WHERE hash = ANY($1) AND EXISTS (SELECT 1 FROM fence) \
            RETURNING part \
        ) SELECT (SELECT count(*) FROM fence), (SELECT count(*) FROM gone WHERE part = 0)";
    let names: Vec<&[u8]> = hashes.iter().map(|hash| &hash.0[..]).collect();
    let epoch = i64::from(epoch.0);
    let row = lent
        .row(
            LONG,
            statement,
            &[(&names, Type::BYTEA_ARRAY), (&epoch, Type::INT8)],
        )
        .await?;
    let (held, gone) = (cell::<i64>(&row, 0)?, cell::<i64>(&row, 1)?);
    Ok((held > 0).then(|| usize::try_from(gone).unwrap_or(0)))
}

/// Bytes of all blobs, and how many there are.
pub(super) async fn usage(pool: &Pool) -> Result<(u64, u64), DatabaseError> {
    let lent = pool.lend().await?;
    let statement = "SELECT coalesce(sum(bytes), 0)::int8, count(*) FROM alambic_blobs \
                     WHERE part = 0";
    let row = lent.row(LONG, statement, &[]).await?;
    let count = |at| Ok::<_, DatabaseError>(u64::try_from(cell::<i64>(&row, at)?).unwrap_or(0));
    Ok((count(0)?, count(1)?))
}
