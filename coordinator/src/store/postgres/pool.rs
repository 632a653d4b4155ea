//! Connections that are kept open and lent for a call, made anew when they
//! break, with a pause that grows while nobody answers.

use std::future::Future;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use super::error::DatabaseError;
use super::measure::DatabaseMetrics;
use super::session::{self, Server};
use super::settings::DatabaseSettings;
use super::tls::Tls;

/// Most connections of one store: one for each thread that may call it.
pub(super) const SESSIONS_MAX: usize = 8;

/// What a statement is carried out with: `$1` and the following, each with its
/// type, so that no round trip is made to ask for it.
pub(super) type Values<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// The connections of one store.
pub(super) struct Pool {
    settings: DatabaseSettings,
    tls: Tls,
    permits: Semaphore,
    idle: Mutex<Vec<Client>>,
    trouble: Mutex<Option<Trouble>>,
    metrics: DatabaseMetrics,
}

/// Why nobody could be reached, and when it may be tried again.
#[derive(Clone, Debug)]
struct Trouble {
    error: DatabaseError,
    until: Instant,
    pause: Duration,
}

impl Pool {
    pub(super) fn new(
        settings: DatabaseSettings,
        metrics: DatabaseMetrics,
    ) -> Result<Self, DatabaseError> {
        let verified = settings.url.by_network() && !settings.url.is_clear();
        let authorities = verified.then_some(settings.authorities.as_path());
        Ok(Self {
            tls: Tls::new(authorities)?,
            settings,
            permits: Semaphore::new(SESSIONS_MAX),
            idle: Mutex::default(),
            trouble: Mutex::default(),
            metrics,
        })
    }

    /// Makes the first connection and says what the server is.
    pub(super) async fn begin(&self) -> Result<Server, DatabaseError> {
        let (client, server) = session::connect(&self.settings, &self.tls).await?;
        self.idle().push(client);
        Ok(server)
    }

    /// A connection for one call, an open one if there is one.
    ///
    /// # Errors
    /// The last failure to connect, if that was just now; nothing was sent
    /// then.
    pub(super) async fn lend(&self) -> Result<Lent<'_>, DatabaseError> {
        let permit = self.permits.acquire().await;
        // The semaphore is never closed.
        let permit = permit.map_err(|_| DatabaseError::Lost {
            reason: "the store is closed".to_owned(),
        })?;
        loop {
            let kept = self.idle().pop();
            match kept {
                // The server has ended it, by a restart perhaps.
                Some(client) if client.is_closed() => {}
                Some(client) => return Ok(Lent::new(self, permit, client)),
                None => break,
            }
        }
        let client = self.connect().await?;
        Ok(Lent::new(self, permit, client))
    }

    async fn connect(&self) -> Result<Client, DatabaseError> {
        let trouble = self.trouble().clone();
        if let Some(trouble) = &trouble
            && Instant::now() < trouble.until
        {
            return Err(trouble.error.clone());
        }
        match session::connect(&self.settings, &self.tls).await {
            Ok((client, _)) => {
                self.metrics.connected();
                *self.trouble() = None;
                Ok(client)
            }
            Err(error) => {
                let pause = trouble.map_or(PAUSE_MIN, |last| (2 * last.pause).min(PAUSE_MAX));
                *self.trouble() = Some(Trouble {
                    error: error.clone(),
                    until: Instant::now() + pause,
                    pause,
                });
                Err(error)
            }
        }
    }

    /// Tries until it succeeds, fails for good, or has taken too long. Only
    /// for what may be done twice.
    pub(super) async fn retried<T, F>(
        &self,
        call: &'static str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, DatabaseError>
    where
        F: Future<Output = Result<T, DatabaseError>>,
    {
        let begun = Instant::now();
        let mut pause = PAUSE_MIN / 4;
        loop {
            let outcome = self.measured(call, attempt()).await;
            match outcome {
                Err(error) if error.is_passing() && begun.elapsed() + pause < PATIENCE => {
                    tracing::debug!(call, %error, "trying again");
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(PAUSE_MAX);
                }
                outcome => return outcome,
            }
        }
    }

    /// Waits for one attempt and notes how long it took and how it ended.
    pub(super) async fn measured<T>(
        &self,
        call: &'static str,
        attempt: impl Future<Output = Result<T, DatabaseError>>,
    ) -> Result<T, DatabaseError> {
        let begun = Instant::now();
        let outcome = attempt.await;
        match &outcome {
            Ok(_) => self.metrics.answered(call, begun.elapsed()),
            Err(error) => self.metrics.failed(error.kind()),
        }
        outcome
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that goes back to the others if all that was asked of it was
/// answered, and is closed otherwise.
pub(super) struct Lent<'a> {
    pool: &'a Pool,
    client: Option<Client>,
    is_sound: AtomicBool,
    is_in_transaction: AtomicBool,
    _permit: SemaphorePermit<'a>,
}

impl<'a> Lent<'a> {
    fn new(pool: &'a Pool, permit: SemaphorePermit<'a>, client: Client) -> Self {
        Self {
            pool,
            client: Some(client),
            is_sound: AtomicBool::new(true),
            is_in_transaction: AtomicBool::new(false),
            _permit: permit,
        }
    }

    /// Waits for an answer, not for ever.
    async fn ask<T>(
        &self,
        within: Duration,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, DatabaseError> {
        self.is_sound.store(false, Ordering::Relaxed);
        let Ok(answered) = timeout(within, answer).await else {
            let after_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
            return Err(DatabaseError::Slow { after_ms });
        };
        let outcome = answered.map_err(|error| DatabaseError::of(&error));
        let is_sound = !outcome.as_ref().is_err_and(DatabaseError::is_unknown);
        self.is_sound.store(is_sound, Ordering::Relaxed);
        outcome
    }

    /// Carries out a statement; how many rows it changed.
    pub(super) async fn execute(
        &self,
        within: Duration,
        statement: &str,
        values: Values<'_>,
    ) -> Result<u64, DatabaseError> {
        self.ask(within, self.execute_typed(statement, values))
            .await
    }

    /// All rows of an answer.
    pub(super) async fn rows(
        &self,
        within: Duration,
        statement: &str,
        values: Values<'_>,
    ) -> Result<Vec<Row>, DatabaseError> {
        self.ask(within, self.query_typed(statement, values)).await
    }

    /// An answer that has exactly one row.
    pub(super) async fn row(
        &self,
        within: Duration,
        statement: &str,
        values: Values<'_>,
    ) -> Result<Row, DatabaseError> {
        self.ask(within, self.query_typed_one(statement, values))
            .await
    }

    /// An answer that has a row or none.
    pub(super) async fn row_if_any(
        &self,
        within: Duration,
        statement: &str,
        values: Values<'_>,
    ) -> Result<Option<Row>, DatabaseError> {
        self.ask(within, self.query_typed_opt(statement, values))
            .await
    }

    /// Carries out statements that take no values.
    pub(super) async fn run(
        &self,
        within: Duration,
        statements: &str,
    ) -> Result<(), DatabaseError> {
        self.ask(within, self.batch_execute(statements)).await
    }

    /// Begins a transaction, which a connection that is given back before
    /// [`Lent::commit`] undoes.
    pub(super) async fn begin(&self) -> Result<(), DatabaseError> {
        self.is_in_transaction.store(true, Ordering::Relaxed);
        self.run(SHORT, "BEGIN").await
    }

    pub(super) async fn commit(&self) -> Result<(), DatabaseError> {
        self.run(SHORT, "COMMIT").await?;
        self.is_in_transaction.store(false, Ordering::Relaxed);
        Ok(())
    }
}

impl Deref for Lent<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        // It is taken out by `drop` alone.
        self.client
            .as_ref()
            .expect("a lent connection is there until it is dropped")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else {
            return;
        };
        let is_sound = *self.is_sound.get_mut() && !*self.is_in_transaction.get_mut();
        if is_sound && !client.is_closed() {
            self.pool.idle().push(client);
        }
    }
}

/// For a statement that touches a few rows.
pub(super) const SHORT: Duration = Duration::from_secs(10);
/// For one that moves megabytes or looks through a table.
pub(super) const LONG: Duration = Duration::from_secs(60);
/// How long a call goes on trying.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
