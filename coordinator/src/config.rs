//! The coordinator's configuration: defaults, file, environment, flags, each
//! overruling the one before.

mod page;
mod retention;
mod rollout;
mod store;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

pub use common::config::ConfigError;

pub(crate) use self::rollout::permille;

pub use self::page::PAGE_DEFAULT;
pub use self::rollout::{ReleaseMode, RolloutSettings};

use crate::config_layers::{Layers, Places};
use crate::journal::Retention;
use crate::limits::{Limits, RawLimits};
use crate::page::PageSettings;
use crate::state_dir::{FILE_NAME, STATE_DEFAULT, state_option};
use serde::Deserialize;

use self::page::RawPage;
use self::retention::RawRetention;
use self::rollout::RawRollout;
use self::store::RawStore;
use crate::identity::CertificateTerms;
use crate::store::{StorePlace, StoreSettings};

/// A checked configuration.
///
/// | key | default | allowed |
/// |---|---|---|
/// | `listen` | `0.0.0.0:4433` | address and port |
/// | `state` | where the file is, or `/var/lib/alambic-coordinator` | directory |
/// | `admin_socket` | `admin.sock` in the state directory | path |
/// | `log` | `info` | filter of levels and modules |
/// | `log_json` | `false` | `true`, `false` |
/// | `certificate.addresses` | none | IP addresses |
/// | `certificate.device_lifetime` | `30d` | `2s` to `366d` |
/// | `certificate.renewal_grace` | `180d` | `0s` to `3660d` |
/// | `page.listen` | `127.0.0.1:4480` | address and port, `off` |
/// | `page.public` | `false` | `true` lets `page.listen` be no loopback address |
/// | `page.hosts` | none | names the page may be asked by |
/// | `store.kind` | `sled` | `sled`, `postgres` |
/// | `store.url` | none | a URL without a password, for `postgres` |
/// | `store.password_file` | none | path, for `postgres` |
/// | `store.ca_file` | the system's authorities | path, for `postgres` |
/// | `store.lease` | `off` | `off`, `2s` to `60s`, for `postgres` |
/// | `store.advertised` | `listen` | host and port, for `postgres` |
/// | `retention.rounds` | `100` | 1 to 10000, `all` |
/// | `retention.blob_rounds` | `4` | 1 to `retention.rounds` |
/// | `rollout.releases` | `all` | `all`, `held`, `staged` |
/// | `rollout.stages` | `[1, 10, 50, 100]` | percents that ascend to 100 |
/// | `rollout.max_worse` | `2%` | `0%` to `100%` |
/// | `rollout.soak` | `30m` | `0s` to `30d` |
/// | `limits.…` | see [`Limits`] | see [`Limits`] |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// Where devices reach the coordinator.
    pub listen: SocketAddr,
    /// The state directory.
    pub state: PathBuf,
    /// The operators' socket.
    pub admin_socket: PathBuf,
    /// What is logged.
    pub log: String,
    /// Whether it is logged as JSON.
    pub log_json: bool,
    /// Addresses in the server's certificate.
    pub addresses: Vec<IpAddr>,
    /// How long devices are believed.
    pub certificates: CertificateTerms,
    /// The web page and the metrics.
    pub page: Option<PageSettings>,
    /// Where log and blobs are.
    pub store: StoreSettings,
    /// How much of the past is kept.
    pub retention: Retention,
    /// How releases reach the fleet.
    pub rollout: RolloutSettings,
    /// What peers may do in a time.
    pub limits: Limits,
}

/// What the flags say; none of them has to.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--state`
    pub state: Option<PathBuf>,
    /// `--admin-socket`
    pub admin_socket: Option<PathBuf>,
    /// `--page`
    pub page: Option<String>,
    /// `--log`
    pub log: Option<String>,
    /// `--log-json`
    pub log_json: bool,
    /// `--address`, as often as given
    pub addresses: Vec<String>,
}

/// The configuration that packages install. Looked at, if it is there, where
/// neither a file nor a state directory is named.
pub const SYSTEM_FILE: &str = "/etc/alambic/coordinator.toml";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    listen: Option<String>,
    state: Option<PathBuf>,
    admin_socket: Option<PathBuf>,
    log: Option<String>,
    log_json: Option<bool>,
    #[serde(default)]
    certificate: RawCertificate,
    #[serde(default)]
    page: RawPage,
    #[serde(default)]
    store: RawStore,
    #[serde(default)]
    retention: RawRetention,
    #[serde(default)]
    rollout: RawRollout,
    #[serde(default)]
    limits: RawLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCertificate {
    #[serde(default)]
    addresses: Vec<String>,
    device_lifetime: Option<String>,
    renewal_grace: Option<String>,
}

impl Config {
    /// Puts the configuration together. `environment` gives the value of a
    /// variable.
    ///
    /// # Errors
    /// The first value that does not fit, with where it stands and what is
    /// allowed. A file is only required if one was named.
    pub fn resolve(
        flags: &Flags,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        let told_state = flags
            .state
            .clone()
            .or_else(|| variable("ALAMBIC_STATE").map(PathBuf::from));
        let (path, raw): (_, RawConfig) =
            PLACES.read(flags.config.clone(), &variable, told_state.as_deref())?;
        let layers = Layers {
            path: path.clone(),
            variable: &variable,
        };
        let listen = layers.text("listen", flags.listen.clone(), raw.listen);
        let log = layers.text("log", flags.log.clone(), raw.log);
        let found = path.as_deref().filter(|_| flags.config.is_none());
        let state = PLACES.state(told_state, raw.state, found);
        let admin_socket = flags
            .admin_socket
            .clone()
            .or_else(|| variable("ALAMBIC_ADMIN_SOCKET").map(PathBuf::from))
            .or(raw.admin_socket)
            .unwrap_or_else(|| state.join("admin.sock"));
        let page = layers.page(flags.page.clone(), raw.page, &state)?;
        Ok(Self {
            file: path.clone(),
            listen: match listen {
                None => SocketAddr::from(([0, 0, 0, 0], 4433)),
                Some(found) => found.parse("an IP address and a port, such as 0.0.0.0:4433")?,
            },
            state,
            admin_socket,
            log: match log {
                None => "info".to_owned(),
                Some(found) => found.check(
                    |filter| common::log::parse(filter).is_ok(),
                    "error, warn, info, debug or trace, or levels by module such as \
                     info,coordinator::round=debug",
                )?,
            },
            log_json: match layers.text("log_json", None, raw.log_json.map(|on| on.to_string())) {
                _ if flags.log_json => true,
                None => false,
                Some(found) => found.parse("true or false")?,
            },
            certificates: CertificateTerms {
                device_lifetime_ms: layers
                    .duration(
                        "certificate.device_lifetime",
                        raw.certificate.device_lifetime,
                        2_000..=366 * DAY_MS,
                        "2s to 366d: a number and s, m, h or d",
                    )?
                    .unwrap_or(CertificateTerms::default().device_lifetime_ms),
                renewal_grace_ms: layers
                    .duration(
                        "certificate.renewal_grace",
                        raw.certificate.renewal_grace,
                        0..=3_660 * DAY_MS,
                        "0s to 3660d: a number and s, m, h or d",
                    )?
                    .unwrap_or(CertificateTerms::default().renewal_grace_ms),
            },
            addresses: layers.addresses(&flags.addresses, raw.certificate.addresses)?,
            page,
            store: layers.store(raw.store)?,
            retention: layers.retention(raw.retention)?,
            rollout: layers.rollout(raw.rollout)?,
            limits: { raw.limits.check() }
                .map_err(|unfit| layers.refuse(unfit.key, unfit.value, unfit.allowed))?,
        })
    }

    /// The file of the sessions that are open.
    pub(crate) fn sessions(&self) -> PathBuf {
        self.state.join("sessions")
    }

    /// Where the store is.
    pub fn store_place(&self) -> StorePlace {
        StorePlace {
            state: self.state.clone(),
            settings: self.store.clone(),
        }
    }

    /// ` --state DIR` for the next command, where it is not the usual one.
    pub fn state_option(&self) -> String {
        state_option(&self.state)
    }
}

const PLACES: Places = Places {
    file_name: FILE_NAME,
    system_file: SYSTEM_FILE,
    state: STATE_DEFAULT,
};
const DAY_MS: u64 = 24 * 3_600_000;
