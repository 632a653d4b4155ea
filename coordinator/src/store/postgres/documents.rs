//! Named documents in the database. The parts of a new one are written beside
//! the old, and one statement with the fence changes which is meant.

use tokio_postgres::types::Type;

use super::blobs::PART_BYTES;
use super::error::DatabaseError;
use super::pool::{LONG, Pool, SHORT};
use super::session::cell;
use crate::store::record::Epoch;

/// A document and the hash that was kept with it.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) hash: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

/// Puts a document in place of an earlier one if the epoch is the newest;
/// whether it is. `content` names this writing of it and no other.
pub(super) async fn put(
    pool: &Pool,
    epoch: Epoch,
    name: &str,
    bytes: &[u8],
    content: [u8; 16],
) -> Result<bool, DatabaseError> {
    let lent = pool.lend().await?;
    let part = "INSERT INTO alambic_document_parts (name, content, part, data) \
                VALUES ($1, $2, $3, $4) ON CONFLICT (name, content, part) DO NOTHING";
    let content = &content[..];
    for (number, data) in (0i32..).zip(bytes.chunks(PART_BYTES)) {
        lent.execute(
            SHORT,
            part,
            &[
                (&name, Type::TEXT),
                (&content, Type::BYTEA),
                (&number, Type::INT4),
                (&data, Type::BYTEA),
            ],
        )
        .await?;
    }
    // What another writing of this document left behind goes with the old one.
    let change = "WITH fence AS ( \
            SELECT id FROM alambic_log WHERE id = 1 AND epoch = $4 FOR SHARE \
        ), changed AS ( \
            INSERT INTO alambic_documents (name, hash, content) \
            SELECT $1, $2, $3 WHERE EXISTS (SELECT 1 FROM fence) \
            ON CONFLICT (name) DO UPDATE SET hash = excluded.hash, content = excluded.content \
            RETURNING name \
        ), gone AS ( \
            DELETE FROM alambic_document_parts \
            WHERE name = $1 AND content <> $3 AND EXISTS (SELECT 1 FROM changed) \
        ) SELECT count(*) FROM changed";
    let hash = blake3::hash(bytes);
    let epoch = i64::from(epoch.0);
    let row = lent
        .row(
            LONG,
            change,
            &[
                (&name, Type::TEXT),
                (&&hash.as_bytes()[..], Type::BYTEA),
                (&content, Type::BYTEA),
                (&epoch, Type::INT8),
            ],
        )
        .await?;
    Ok(cell::<i64>(&row, 0)? > 0)
}

/// The document of this name.
pub(super) async fn get(pool: &Pool, name: &str) -> Result<Option<Kept>, DatabaseError> {
    let lent = pool.lend().await?;
    // One statement, so that no writing comes between.
    let statement = "SELECT kept.hash, parts.data FROM alambic_documents AS kept \
        LEFT JOIN alambic_document_parts AS parts \
        ON parts.name = kept.name AND parts.content = kept.content \
        WHERE kept.name = $1 ORDER BY parts.part";
    let mut kept: Option<Kept> = None;
    for row in lent.rows(LONG, statement, &[(&name, Type::TEXT)]).await? {
        let hash = cell(&row, 0)?;
        let bytes = Vec::new();
        let kept = kept.get_or_insert(Kept { hash, bytes });
        let data = cell::<Option<&[u8]>>(&row, 1)?;
        kept.bytes.extend_from_slice(data.unwrap_or_default());
    }
    Ok(kept)
}

/// Forgets a document if the epoch is the newest; whether there was one, or
/// none if it is not.
pub(super) async fn remove(
    pool: &Pool,
    epoch: Epoch,
    name: &str,
) -> Result<Option<bool>, DatabaseError> {
    let lent = pool.lend().await?;
    let statement = "WITH fence AS ( \
            SELECT id FROM alambic_log WHERE id = 1 AND epoch = $2 FOR SHARE \
        ), gone AS ( \
            DELETE FROM alambic_documents WHERE name = $1 AND EXISTS (SELECT 1 FROM fence) \
            RETURNING name \
        ), parts AS ( \
            DELETE FROM alambic_document_parts \
            WHERE name = $1 AND EXISTS (SELECT 1 FROM fence) \
        ) SELECT (SELECT count(*) FROM fence), (SELECT count(*) FROM gone)";
    let epoch = i64::from(epoch.0);
    let row = lent
        .row(
            LONG,
            statement,
            &[(&name, Type::TEXT), (&epoch, Type::INT8)],
        )
        .await?;
    let (held, gone) = (cell::<i64>(&row, 0)?, cell::<i64>(&row, 1)?);
    Ok((held > 0).then_some(gone > 0))
}

/// All names, sorted as bytes are.
pub(super) async fn list(pool: &Pool) -> Result<Vec<String>, DatabaseError> {
    let lent = pool.lend().await?;
    let statement = "SELECT name FROM alambic_documents";
    let rows = lent.rows(SHORT, statement, &[]).await?;
    let names = rows.iter().map(|row| cell(row, 0));
    let mut names = names.collect::<Result<Vec<String>, _>>()?;
    names.sort_unstable();
    Ok(names)
}

/// Bytes of all documents.
pub(super) async fn bytes(pool: &Pool) -> Result<u64, DatabaseError> {
    let lent = pool.lend().await?;
    let statement = "SELECT coalesce(sum(octet_length(data)), 0)::int8 \
                     FROM alambic_document_parts";
    let row = lent.row(LONG, statement, &[]).await?;
    Ok(u64::try_from(cell::<i64>(&row, 0)?).unwrap_or(0))
}
