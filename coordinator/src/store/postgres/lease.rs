//! Whose turn it is to lead: one row with a holder and an end, by the
//! database's clock alone. The lease keeps two from leading at once; what
//! keeps a leader that has lost it from writing is the epoch, which whoever
//! takes it raises in the same statement.

use std::sync::Arc;

use common::host_port::HostPort;
use tokio_postgres::types::Type;

use super::error::DatabaseError;
use super::log::{WHOLE, strange};
use super::pool::{Pool, SHORT};
use super::session::cell;
use super::settings::DatabaseSettings;
use super::{Database, DatabaseMetrics, schema, unique};
use crate::store::error::Result;

/// Who asks for the lease.
#[derive(Clone, Debug)]
pub struct LeaseTerms {
    /// What no other process calls itself.
    pub holder: String,
    /// What people call it.
    pub name: String,
    /// How long it lasts from each taking and renewal.
    pub lease_ms: u64,
    /// Where devices reach it while it leads, if that is known.
    pub address: Option<HostPort>,
}

impl LeaseTerms {
    /// Those of this process, whose name for people this is.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn new(name: String, lease_ms: u64) -> Result<Self> {
        Ok(Self {
            address: None,
            holder: hex::encode(unique()?),
            name,
            lease_ms,
        })
    }
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The one who asked, from now on.
    Ours,
    /// Another.
    Theirs(Leader),
}

/// Whoever has the lease, or had it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// What people call it.
    pub name: String,
    /// How long its lease lasts still; 0 if it has ended.
    pub left_ms: u64,
    /// Where devices reach it, if it said so.
    pub address: Option<HostPort>,
}

/// The lease of one database, on a connection of its own.
pub struct Lease {
    database: Database,
    terms: Arc<LeaseTerms>,
}

impl Lease {
    /// Connects to the database, creates its tables if they are missing, and records
    /// the latency of its answers.
    ///
    /// # Errors
    /// Those of the database.
    pub fn open(
        settings: DatabaseSettings,
        terms: LeaseTerms,
        metrics: DatabaseMetrics,
    ) -> Result<Self> {
        let database = Database::open(settings, metrics)?;
        database.again("migrate", |pool| async move { schema::migrate(pool).await })?;
        Ok(Self {
            database,
            terms: Arc::new(terms),
        })
    }

    /// Takes the lease and opens the next epoch, if nobody else leads.
    ///
    /// # Errors
    /// Those of the database. It may have been taken all the same; it ends by
    /// itself then.
    pub fn try_take(&self) -> Result<Turn> {
        let terms = self.terms.clone();
        Ok(self.database.once("lease", move |pool| {
            let terms = terms.clone();
            async move { take(&pool, &terms).await }
        })?)
    }

    /// Lets the lease last longer; false if another has taken it.
    ///
    /// # Errors
    /// Those of the database.
    pub fn renew(&self) -> Result<bool> {
        let terms = self.terms.clone();
        Ok(self.database.once("lease", move |pool| {
            let terms = terms.clone();
            async move { end(&pool, &terms, terms.lease_ms).await }
        })?)
    }

    /// Ends the lease, so that another need not wait for it.
    ///
    /// # Errors
    /// Those of the database.
    pub fn give_up(&self) -> Result<()> {
        let terms = self.terms.clone();
        self.database.once("lease", move |pool| {
            let terms = terms.clone();
            async move { end(&pool, &terms, 0).await }
        })?;
        Ok(())
    }
}

async fn take(pool: &Pool, terms: &LeaseTerms) -> std::result::Result<Turn, DatabaseError> {
    let lent = pool.lend().await?;
    let statement = format!(
        "WITH taken AS ( \
            UPDATE alambic_lease SET holder = $1, name = $2, \
                address = $4, address_holder = $1, \
                until = clock_timestamp() + $3 * interval '1 millisecond' \
            WHERE id = 1 AND (holder = $1 OR until <= clock_timestamp()) RETURNING id \
        ), opened AS ( \
            UPDATE alambic_log SET epoch = epoch + 1 \
            WHERE id = 1 AND state = '{WHOLE}' AND EXISTS (SELECT 1 FROM taken) RETURNING id \
        ) SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM opened)"
    );
    let lease_ms = f64_of(terms.lease_ms);
    let address = terms.address.as_ref().map_or("", HostPort::as_str);
    let values = [
        (&terms.holder as _, Type::TEXT),
        (&terms.name as _, Type::TEXT),
        (&lease_ms as _, Type::FLOAT8),
        (&address as _, Type::TEXT),
    ];
    let row = lent.row(SHORT, &statement, &values).await?;
    match (cell::<i64>(&row, 0)?, cell::<i64>(&row, 1)?) {
        (0, _) => {
            drop(lent);
            Ok(Turn::Theirs(leader(pool).await?))
        }
        (_, 0) => Err(strange("its store is not whole, see `doctor`")),
        _ => Ok(Turn::Ours),
    }
}

/// Sets the end of a lease that is still the holder's; whether it is.
async fn end(
    pool: &Pool,
    terms: &LeaseTerms,
    after_ms: u64,
) -> std::result::Result<bool, DatabaseError> {
    let lent = pool.lend().await?;
    let statement = "UPDATE alambic_lease \
        SET until = clock_timestamp() + $2 * interval '1 millisecond' \
        WHERE id = 1 AND holder = $1";
    let after_ms = f64_of(after_ms);
    let values = [
        (&terms.holder as _, Type::TEXT),
        (&after_ms as _, Type::FLOAT8),
    ];
    Ok(lent.execute(SHORT, statement, &values).await? == 1)
}

/// Who has the lease, or had it last.
pub(super) async fn leader(pool: &Pool) -> std::result::Result<Leader, DatabaseError> {
    let lent = pool.lend().await?;
    // A version that does not know of addresses leaves the one of the holder before.
    let statement = "SELECT name, \
        cast(greatest(extract(epoch FROM until - clock_timestamp()) * 1000, 0) AS int8), \
        CASE WHEN address_holder = holder THEN address ELSE '' END \
        FROM alambic_lease WHERE id = 1";
    let row = lent.row(SHORT, statement, &[]).await?;
    Ok(Leader {
        name: cell(&row, 0)?,
        left_ms: u64::try_from(cell::<i64>(&row, 1)?).unwrap_or(0),
        address: HostPort::parse(&cell::<String>(&row, 2)?),
    })
}

/// Leases are far below what a float holds exactly.
fn f64_of(ms: u64) -> f64 {
    ms as f64
}
