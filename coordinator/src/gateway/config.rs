//! A gateway's configuration: defaults, file, environment, flags, each
//! overruling the one before.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

pub use common::config::ConfigError;

use crate::config_layers::{Layers, Places};
use crate::limits::{Limits, RawLimits};

/// A checked configuration.
///
/// | key | default | allowed |
/// |---|---|---|
/// | `coordinator` | where it joined | `host:port`, or several with commas |
/// | `listen` | `0.0.0.0:4433` | address and port |
/// | `state` | where the file is, or `/var/lib/alambic-gateway` | directory |
/// | `log` | `info` | filter of levels and modules |
/// | `log_json` | `false` | `true`, `false` |
/// | `metrics.listen` | `127.0.0.1:4482` | address and port, `off` |
/// | `metrics.public` | `false` | `true` lets `metrics.listen` be no loopback address |
/// | `cache.mib` | `128` | 1 to 65536 |
/// | `limits.…` | see [`Limits`] | see [`Limits`]; `rows_per_device` is the coordinator's |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayConfig {
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// Where the coordinator is, if not where the gateway joined.
    pub coordinator: Option<String>,
    /// Where devices reach it.
    pub listen: SocketAddr,
    /// The state directory.
    pub state: PathBuf,
    /// What is logged.
    pub log: String,
    /// Whether it is logged as JSON.
    pub log_json: bool,
    /// Where metrics are told, if they are.
    pub metrics: Option<SocketAddr>,
    /// Most bytes of blobs that are kept in memory.
    pub cache_bytes: u64,
    /// What peers may do in a time.
    pub limits: Limits,
}

/// What the flags say; none of them has to.
#[derive(Clone, Debug, Default)]
pub struct GatewayFlags {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--state`
    pub state: Option<PathBuf>,
    /// `--coordinator`
    pub coordinator: Option<String>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--metrics`
    pub metrics: Option<String>,
    /// `--log`
    pub log: Option<String>,
    /// `--log-json`
    pub log_json: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    coordinator: Option<String>,
    listen: Option<String>,
    state: Option<PathBuf>,
    log: Option<String>,
    log_json: Option<bool>,
    #[serde(default)]
    metrics: RawMetrics,
    #[serde(default)]
    cache: RawCache,
    #[serde(default)]
    limits: RawLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMetrics {
    listen: Option<String>,
    public: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCache {
    mib: Option<u64>,
}

impl GatewayConfig {
    /// Puts the configuration together. `environment` gives the value of a
    /// variable.
    ///
    /// # Errors
    /// The first value that does not fit, with where it stands and what is
    /// allowed. A file is only required if one was named.
    pub fn resolve(
        flags: &GatewayFlags,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        let told_state = flags
            .state
            .clone()
            .or_else(|| variable("ALAMBIC_STATE").map(PathBuf::from));
        let (path, raw): (_, Raw) =
            PLACES.read(flags.config.clone(), &variable, told_state.as_deref())?;
        let layers = Layers {
            path: path.clone(),
            variable: &variable,
        };
        let listen = layers.text("listen", flags.listen.clone(), raw.listen);
        let log = layers.text("log", flags.log.clone(), raw.log);
        let told = layers.text("coordinator", flags.coordinator.clone(), raw.coordinator);
        let has_port = |text: &str| {
            let mut hosts = text.split(',');
            hosts.all(|host| {
                let port = host.trim().rsplit_once(':');
                port.is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok())
            })
        };
        let coordinator = told
            .map(|found| found.check(has_port, "host:port, or several with commas between them"));
        let metrics = layers.find(
            "metrics.listen",
            ("--metrics", flags.metrics.clone()),
            "ALAMBIC_METRICS_LISTEN",
            raw.metrics.listen,
        );
        let public = raw.metrics.public.unwrap_or(false);
        let mib = raw.cache.mib.unwrap_or(CACHE_MIB);
        if !(1..=65_536).contains(&mib) {
            return Err(layers.refuse("cache.mib", mib, "1 to 65536"));
        }
        let found = path.as_deref().filter(|_| flags.config.is_none());
        Ok(Self {
            coordinator: coordinator.transpose()?,
            listen: match listen {
                None => SocketAddr::from(([0, 0, 0, 0], 4433)),
                Some(found) => found.parse("an IP address and a port, such as 0.0.0.0:4433")?,
            },
            state: PLACES.state(told_state, raw.state, found),
            log: match log {
                None => "info".to_owned(),
                Some(found) => found.check(
                    |filter| common::log::parse(filter).is_ok(),
                    "error, warn, info, debug or trace, or levels by module",
                )?,
            },
            log_json: flags.log_json || raw.log_json.unwrap_or(false),
            metrics: match metrics {
                None => Some(METRICS_DEFAULT),
                Some(found) if found.value == "off" => None,
                Some(found) => {
                    let again = found.clone();
                    let address: SocketAddr =
                        found.parse("off, or an IP address and a port, such as 127.0.0.1:4482")?;
                    if !address.ip().is_loopback() && !public {
                        return Err(again.refuse(
                            "a loopback address, or any address with metrics.public = true: \
                             anyone who reaches it can read the figures",
                        ));
                    }
                    Some(address)
                }
            },
            cache_bytes: mib << 20,
            limits: { raw.limits.check() }
                .map_err(|unfit| layers.refuse(unfit.key, unfit.value, unfit.allowed))?,
            file: path,
        })
    }
}

/// The state directory where none is named.
pub const STATE_DEFAULT: &str = "/var/lib/alambic-gateway";
const PLACES: Places = Places {
    file_name: "gateway.toml",
    system_file: "/etc/alambic/gateway.toml",
    state: STATE_DEFAULT,
};
const METRICS_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4482);
const CACHE_MIB: u64 = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    fn with(text: &str) -> Result<GatewayConfig, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        fs::write(&file, text).unwrap();
        let flags = GatewayFlags {
            config: Some(file),
            ..GatewayFlags::default()
        };
        GatewayConfig::resolve(&flags, |_| None)
    }

    #[test]
    fn flags_go_before_the_environment_and_that_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        fs::write(&file, "listen = \"127.0.0.1:1\"\ncoordinator = \"a:1\"\n").unwrap();
        let flags = GatewayFlags {
            config: Some(file),
            listen: Some("127.0.0.1:3".to_owned()),
            ..GatewayFlags::default()
        };
        let environment = |name: &str| match name {
            "ALAMBIC_LISTEN" => Some("127.0.0.1:2".to_owned()),
            "ALAMBIC_COORDINATOR" => Some("b:2,c:3".to_owned()),
            _ => None,
        };
        let config = GatewayConfig::resolve(&flags, environment).unwrap();
        assert_eq!(config.listen.port(), 3);
        assert_eq!(config.coordinator.as_deref(), Some("b:2,c:3"));
        assert_eq!(config.state, PathBuf::from(STATE_DEFAULT));
        assert_eq!(config.cache_bytes, 128 << 20);
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_is_allowed() {
        for (text, said) in [
            ("coordinator = \"nowhere\"", "host:port"),
            ("[cache]\nmib = 0", "1 to 65536"),
            ("[metrics]\nlisten = \"0.0.0.0:4482\"", "metrics.public"),
            ("[limits]\nconnections = 0", "limits.connections"),
            ("page = 1", "unknown field"),
        ] {
            let error = with(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        with("[metrics]\nlisten = \"0.0.0.0:4482\"\npublic = true").unwrap();
        assert_eq!(with("[metrics]\nlisten = \"off\"").unwrap().metrics, None);
    }
}
