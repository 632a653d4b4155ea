//! The log in the database. Each change of it is one statement, whose
//! condition on the one row of `alambic_log` is the fence: the row's lock
//! orders it with every other change, and a writer whose epoch is over finds
//! that nothing was changed. So it holds at any level of isolation, and a
//! writer that falls silent leaves no lock behind.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::error::DatabaseError;
use super::pool::{LONG, Lent, Pool, SHORT};
use super::session::cell;
use crate::store::READ_BYTES_MAX;
use crate::store::record::{ChainHash, Epoch, HEADER_BYTES, Head, Position};

/// Where the log begins and ends and who may write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogRow {
    pub(super) state: String,
    pub(super) epoch: Epoch,
    pub(super) first: Head,
    pub(super) head: Head,
}

/// The state of a store that may be used.
pub(super) const WHOLE: &str = "whole";
/// That of one that is being filled.
pub(super) const FILLING: &str = "filling";
/// That of one that was copied elsewhere.
pub(super) const MOVED: &str = "moved";

const COLUMNS: &str = "state, epoch, first_position, first_hash, next_position, head_hash";

/// Reads the row.
pub(super) async fn row(pool: &Pool) -> Result<LogRow, DatabaseError> {
    let lent = pool.lend().await?;
    row_of(&lent).await
}

pub(super) async fn row_of(lent: &Lent<'_>) -> Result<LogRow, DatabaseError> {
    let question = format!("SELECT {COLUMNS} FROM alambic_log WHERE id = 1");
    let row = lent.row_if_any(SHORT, &question, &[]).await?;
    read_row(&row.ok_or_else(|| strange("alambic_log has no row"))?)
}

fn read_row(row: &Row) -> Result<LogRow, DatabaseError> {
    let head = |position, hash| {
        Ok::<_, DatabaseError>(Head {
            next: position_of(cell(row, position)?)?,
            hash: hash_of(cell(row, hash)?)?,
        })
    };
    Ok(LogRow {
        state: cell(row, 0)?,
        epoch: epoch_of(cell(row, 1)?)?,
        first: head(2, 3)?,
        head: head(4, 5)?,
    })
}

/// Opens the next epoch, above `above` too: waits for what an older writer has
/// under way, and shows the log as that has left it. None if the store is not
/// one that may be used, or another than `holder` has the lease.
pub(super) async fn open_epoch(
    pool: &Pool,
    above: Epoch,
    holder: &str,
) -> Result<Option<LogRow>, DatabaseError> {
    let lent = pool.lend().await?;
    let statement = format!(
        "UPDATE alambic_log SET epoch = CASE WHEN epoch > $1 THEN epoch ELSE $1 END + 1 \
         WHERE id = 1 AND state = '{WHOLE}' AND NOT EXISTS ( \
            SELECT 1 FROM alambic_lease \
            WHERE id = 1 AND holder <> $2 AND until > clock_timestamp()) \
         RETURNING {COLUMNS}"
    );
    let above = i64::from(above.0);
    let row = lent
        .row_if_any(
            SHORT,
            &statement,
            &[(&above, Type::INT8), (&holder, Type::TEXT)],
        )
        .await?;
    row.as_ref().map(read_row).transpose()
}

/// Lets nobody open the store any more, if this epoch is the newest; whether
/// it was.
pub(super) async fn retire(pool: &Pool, epoch: Epoch) -> Result<bool, DatabaseError> {
    let lent = pool.lend().await?;
    let statement = format!("UPDATE alambic_log SET state = '{MOVED}' WHERE id = 1 AND epoch = $1");
    let epoch = i64::from(epoch.0);
    let changed = lent
        .execute(SHORT, &statement, &[(&epoch, Type::INT8)])
        .await?;
    Ok(changed == 1)
}

/// What is to be appended.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) epoch: Epoch,
    pub(super) before: Head,
    pub(super) after: Head,
    /// As [`crate::store::Record`] encodes them.
    pub(super) records: Vec<Vec<u8>>,
}

/// Appends a batch where the log ends as the batch says and its epoch is the
/// newest; whether it did.
pub(super) async fn append(pool: &Pool, batch: &Batch) -> Result<bool, DatabaseError> {
    let lent = pool.lend().await?;
    let statement = "WITH fence AS ( \
            UPDATE alambic_log SET next_position = $3, head_hash = $4 \
            WHERE id = 1 AND state = 'whole' AND epoch = $5 \
              AND next_position = $1 AND head_hash = $2 \
            RETURNING id \
        ) INSERT INTO alambic_events (position, record) \
        SELECT added.position, added.record \
        FROM unnest($6::int8[], $7::bytea[]) AS added (position, record) \
        WHERE EXISTS (SELECT 1 FROM fence)";
    let (before, after) = (number(batch.before.next)?, number(batch.after.next)?);
    let positions: Vec<i64> = (before..after).collect();
    let epoch = i64::from(batch.epoch.0);
    let (old, new) = (&batch.before.hash.0[..], &batch.after.hash.0[..]);
    match lent
        .execute(
            LONG,
            statement,
            &[
                (&before, Type::INT8),
                (&old, Type::BYTEA),
                (&after, Type::INT8),
                (&new, Type::BYTEA),
                (&epoch, Type::INT8),
                (&positions, Type::INT8_ARRAY),
                (&batch.records, Type::BYTEA_ARRAY),
            ],
        )
        .await?
    {
        0 => Ok(false),
        rows if rows == batch.records.len() as u64 => Ok(true),
        rows => Err(strange(&format!(
            "{rows} records were written instead of {}",
            batch.records.len()
        ))),
    }
}

/// Up to a number of records from a position on, and the one before them if it is
/// kept, as they were encoded. They are no more bytes than a read gives.
pub(super) async fn records(
    pool: &Pool,
    from: Position,
    records_max: usize,
) -> Result<Vec<(Position, Vec<u8>)>, DatabaseError> {
    let lent = pool.lend().await?;
    let statement = format!(
        "SELECT position, record FROM ( \
            SELECT position, record, sum(CASE WHEN position < $1 THEN 0 \
                ELSE octet_length(record) - {HEADER_BYTES} END) OVER (ORDER BY position) AS total \
            FROM alambic_events WHERE position >= $1 - 1 ORDER BY position LIMIT $2 \
        ) AS read WHERE total <= {READ_BYTES_MAX} OR position <= $1 ORDER BY position"
    );
    let from = number(from)?;
    let limit = i64::try_from(records_max.min(RECORDS_MAX)).unwrap_or(0) + 1;
    let parameters = [(&from as _, Type::INT8), (&limit as _, Type::INT8)];
    let rows = lent.rows(LONG, &statement, &parameters).await?;
    let record = |row: &Row| Ok((position_of(cell(row, 0)?)?, cell(row, 1)?));
    rows.iter().map(record).collect()
}

/// One record, as it was encoded.
pub(super) async fn record(pool: &Pool, at: Position) -> Result<Option<Vec<u8>>, DatabaseError> {
    let lent = pool.lend().await?;
    let at = number(at)?;
    let statement = "SELECT record FROM alambic_events WHERE position = $1";
    let row = lent
        .row_if_any(SHORT, statement, &[(&at, Type::INT8)])
        .await?;
    row.map(|row| cell(&row, 0)).transpose()
}

/// Forgets the records before `begin`; whether the epoch was the newest and
/// there were any.
pub(super) async fn trim(pool: &Pool, epoch: Epoch, begin: Head) -> Result<bool, DatabaseError> {
    let lent = pool.lend().await?;
    let statement = "WITH fence AS ( \
            UPDATE alambic_log SET first_position = $1, first_hash = $2 \
            WHERE id = 1 AND epoch = $3 AND first_position < $1 AND next_position >= $1 \
            RETURNING id \
        ) DELETE FROM alambic_events WHERE position < $1 AND EXISTS (SELECT 1 FROM fence)";
    let (first, epoch) = (number(begin.next)?, i64::from(epoch.0));
    Ok(lent
        .execute(
            LONG,
            statement,
            &[
                (&first, Type::INT8),
                (&&begin.hash.0[..], Type::BYTEA),
                (&epoch, Type::INT8),
            ],
        )
        .await?
        > 0)
}

/// Bytes of all records.
pub(super) async fn bytes(pool: &Pool) -> Result<u64, DatabaseError> {
    let lent = pool.lend().await?;
    let statement = "SELECT coalesce(sum(octet_length(record)), 0)::int8 FROM alambic_events";
    let row = lent.row(LONG, statement, &[]).await?;
    Ok(u64::try_from(cell::<i64>(&row, 0)?).unwrap_or(0))
}

/// A position as the database keeps it.
pub(super) fn number(position: Position) -> Result<i64, DatabaseError> {
    i64::try_from(position.0).map_err(|_| strange("a position is out of range"))
}

fn position_of(number: i64) -> Result<Position, DatabaseError> {
    let number = u64::try_from(number);
    number
        .map(Position)
        .map_err(|_| strange("a position is below 0"))
}

fn epoch_of(number: i64) -> Result<Epoch, DatabaseError> {
    let number = u32::try_from(number);
    number
        .map(Epoch)
        .map_err(|_| strange("an epoch is out of range"))
}

fn hash_of(bytes: &[u8]) -> Result<ChainHash, DatabaseError> {
    let hash = <[u8; 32]>::try_from(bytes);
    hash.map(ChainHash)
        .map_err(|_| strange("a hash has not 32 bytes"))
}

pub(super) fn strange(reason: &str) -> DatabaseError {
    let reason = reason.to_owned();
    DatabaseError::Strange { reason }
}

/// Records of one read.
const RECORDS_MAX: usize = 1_024;
