//! Which store a coordinator has: the one of its state directory, or a
//! database.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::Store;
use super::error::{Result, StoreError};
use super::fill::Fill;
use super::postgres::{
    DatabaseMetrics, DatabaseSettings, PostgresFill, PostgresOptions, PostgresStore,
};
use super::record::{Epoch, Head, Position};
use super::refill::Refill;
use super::sled_store::SledStore;

/// What a configuration says of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreSettings {
    /// In the state directory.
    #[default]
    Sled,
    /// In a database.
    Postgres(DatabaseSettings),
}

/// Where the store of a coordinator is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePlace {
    /// The coordinator's state directory.
    pub state: PathBuf,
    /// What its configuration says.
    pub settings: StoreSettings,
}

/// A store that was opened where a configuration says.
pub enum OpenedStore {
    /// In the state directory.
    Sled(SledStore),
    /// In a database.
    Postgres(PostgresStore),
}

impl OpenedStore {
    /// As any store.
    pub fn as_store(&self) -> &dyn Store {
        match self {
            Self::Sled(store) => store,
            Self::Postgres(store) => store,
        }
    }

    /// Closes it for good: from now on the store `to` is used.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if it is another writer's by now.
    pub fn retire(&self, epoch: Epoch, to: &StorePlace) -> Result<()> {
        match self {
            Self::Sled(store) => store.retire(&to.to_string()),
            Self::Postgres(store) => store.retire(epoch),
        }
    }
}

impl StorePlace {
    /// Opens the store, which is made if there is none; counts how a database
    /// answers.
    ///
    /// # Errors
    /// Those of the store; [`StoreError::Elsewhere`] if it would be a new one
    /// while the state directory knows of another.
    pub fn open(&self, metrics: &DatabaseMetrics) -> Result<Arc<dyn Store>> {
        self.open_as("", metrics)
    }

    /// The same, as the holder of the lease of a database.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn open_as(&self, holder: &str, metrics: &DatabaseMetrics) -> Result<Arc<dyn Store>> {
        Ok(match self.opened(holder, metrics)? {
            OpenedStore::Sled(store) => Arc::new(store),
            OpenedStore::Postgres(store) => Arc::new(store),
        })
    }

    /// The same, where it matters which it is.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn open_here(&self, metrics: &DatabaseMetrics) -> Result<OpenedStore> {
        self.opened("", metrics)
    }

    fn opened(&self, holder: &str, metrics: &DatabaseMetrics) -> Result<OpenedStore> {
        let has_log = self.sled_folder().join("log").exists();
        match &self.settings {
            StoreSettings::Sled => {
                let mark = self.database_folder().join("high-water-mark");
                if !has_log && mark.exists() {
                    return Err(self.elsewhere("a database"));
                }
                Ok(OpenedStore::Sled(SledStore::open(self.sled_folder())?))
            }
            StoreSettings::Postgres(settings) => {
                let store = PostgresStore::open(PostgresOptions {
                    holder: holder.to_owned(),
                    ..self.options(settings, metrics)
                })?;
                if has_log && store.head()?.next == Position(0) {
                    return Err(self.elsewhere("its folder store"));
                }
                Ok(OpenedStore::Postgres(store))
            }
        }
    }

    /// Begins to fill the store, which must be empty, with one whose log
    /// begins at `first`.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`], and those of the store.
    pub fn fill(&self, first: Head) -> Result<Box<dyn Fill>> {
        match &self.settings {
            StoreSettings::Sled => {
                let folder = self.sled_folder();
                if folder.join("log").exists() {
                    return Err(StoreError::NotEmpty {
                        what: folder.display().to_string(),
                        advice: "move that folder away first",
                    });
                }
                Ok(Box::new(Refill::begin(&folder, first)?))
            }
            StoreSettings::Postgres(settings) => {
                let options = self.options(settings, &DatabaseMetrics::default());
                Ok(Box::new(PostgresFill::begin(options, first)?))
            }
        }
    }

    /// The folder of the embedded store.
    pub fn sled_folder(&self) -> PathBuf {
        self.state.join("store")
    }

    /// The folder of what is kept beside a database.
    pub fn database_folder(&self) -> PathBuf {
        self.state.join("postgres")
    }

    fn options(&self, settings: &DatabaseSettings, metrics: &DatabaseMetrics) -> PostgresOptions {
        PostgresOptions {
            metrics: metrics.clone(),
            ..PostgresOptions::new(settings.clone(), self.database_folder())
        }
    }

    fn elsewhere(&self, place: &'static str) -> StoreError {
        StoreError::Elsewhere {
            place,
            state: self.state.clone(),
        }
    }
}

impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.settings {
            StoreSettings::Sled => write!(f, "sled in {}", self.sled_folder().display()),
            StoreSettings::Postgres(database) => write!(f, "PostgreSQL at {}", database.url),
        }
    }
}
