//! The section `[store]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use common::config::Found;
use common::host_port::HostPort;
use serde::Deserialize;

use super::{Config, ConfigError};
use crate::config_layers::{Layers, duration_ms};
use crate::store::{
    DatabaseSettings, DatabaseUrl, Password, SYSTEM_AUTHORITIES, Secret, StoreSettings,
};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStore {
    kind: Option<String>,
    url: Option<String>,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    lease: Option<String>,
    advertised: Option<String>,
}

impl Config {
    /// Where devices reach this coordinator, if that can be told: what is
    /// configured, or where it listens.
    pub fn advertised(&self) -> Option<HostPort> {
        let configured = match &self.store {
            StoreSettings::Postgres(database) => database.advertised.clone(),
            StoreSettings::Sled => None,
        };
        configured.or_else(|| {
            let told = self.addresses.first().copied();
            let host = match self.listen.ip() {
                own if !own.is_unspecified() => Some(own),
                _ => told,
            };
            HostPort::parse(&SocketAddr::new(host?, self.listen.port()).to_string())
        })
    }
}

impl Layers<'_> {
    /// Where the store is. Nothing of a database may be said of sled, so that
    /// a kind that was forgotten is noticed.
    pub(super) fn store(&self, raw: RawStore) -> Result<StoreSettings, ConfigError> {
        let path = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
        let kind = self.text("store.kind", None, raw.kind);
        let url = self.text("store.url", None, raw.url);
        let password_file = self.text("store.password_file", None, path(raw.password_file));
        let ca_file = self.text("store.ca_file", None, path(raw.ca_file));
        let lease = self.text("store.lease", None, raw.lease);
        let advertised = self.text("store.advertised", None, raw.advertised);
        match kind.as_ref().map(|found| found.value.as_str()) {
            None | Some("sled") => match [url, password_file, ca_file, lease, advertised]
                .into_iter()
                .flatten()
                .next()
            {
                None => Ok(StoreSettings::Sled),
                Some(mut found) => {
                    found.value = HIDDEN.to_owned();
                    Err(found.refuse("nothing unless store.kind is \"postgres\""))
                }
            },
            Some("postgres") => Ok(StoreSettings::Postgres(DatabaseSettings {
                url: self.url(url)?,
                password: match ((self.variable)("ALAMBIC_STORE_PASSWORD"), password_file) {
                    (Some(given), _) => Password::Given(Secret(given)),
                    (None, Some(found)) => Password::File(found.value.into()),
                    (None, None) => Password::None,
                },
                authorities: ca_file
                    .map_or_else(|| SYSTEM_AUTHORITIES.into(), |found| found.value.into()),
                lease_ms: lease.map(lease_ms).transpose()?.flatten(),
                advertised: advertised.map(host_port).transpose()?,
            })),
            Some(_) => Err(kind
                .unwrap_or_else(|| self.missing("store.kind"))
                .refuse("\"sled\" or \"postgres\"")),
        }
    }

    fn url(&self, found: Option<Found>) -> Result<DatabaseUrl, ConfigError> {
        let mut found = found.unwrap_or_else(|| self.missing("store.url"));
        DatabaseUrl::parse(&found.value).map_err(|error| {
            // It may hold a password, also where it cannot be read.
            if !found.value.is_empty() {
                found.value = HIDDEN.to_owned();
            }
            found.refuse(error.allowed())
        })
    }

    fn missing(&self, key: &'static str) -> Found {
        Found {
            origin: self.file(),
            key,
            value: String::new(),
        }
    }
}

fn lease_ms(found: Found) -> Result<Option<u64>, ConfigError> {
    match duration_ms(&found.value).filter(|ms| (2_000..=60_000).contains(ms)) {
        Some(ms) => Ok(Some(ms)),
        None if found.value == "off" => Ok(None),
        None => Err(found.refuse("off, or 2s to 60s: a number and s or m")),
    }
}

fn host_port(found: Found) -> Result<HostPort, ConfigError> {
    HostPort::parse(&found.value).ok_or_else(|| found.refuse(HOST_PORT))
}

const HOST_PORT: &str = "host:port, such as one.example:4433: a name or one IP address";
/// Instead of a value that may hold a secret.
const HIDDEN: &str = "(not shown)";
