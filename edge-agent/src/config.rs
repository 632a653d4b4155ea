//! The agent's configuration: `agent.toml`, environment and flags, checked.
//!
//! | key | environment | flag | default |
//! |---|---|---|---|
//! | `state` | `ALAMBIC_STATE` | `--state` | `/var/lib/alambic-agent` |
//! | `coordinator.address` | `ALAMBIC_COORDINATOR` | | where the device enrolled |
//! | `coordinator.copies_enrol` | | | false: a copy of another machine goes on with its key |
//! | `data.folder` | `ALAMBIC_DATA` | `--data` | none: the device only receives students |
//! | `data.label_column` | `ALAMBIC_LABEL_COLUMN` | | `label` |
//! | other keys of `data` | | | what is unambiguous is read: see [`Mapping`] |
//! | `data.memory_mib_max` | | | 8: MiB of rows that are held; of more, a sample |
//! | `teacher.kind` | | | `kernel` |
//! | `teacher.hidden` | | | `[32]`, for `mlp` only |
//! | `teacher.file` | | | none: required for `onnx` |
//! | `teacher.mib_max` | | | 32: MiB of that file |
//! | other keys of `teacher` | | | what the model says itself: see [`crate::teacher::ModelChoice`] |
//! | `log.level` | `ALAMBIC_LOG` | | `info` |
//! | `predictions.socket` | `ALAMBIC_PREDICTIONS` | | none: programs on the device are not answered |
//! | `predictions.follow` | | | none: no stream is answered |
//! | `metrics.listen` | `ALAMBIC_METRICS` | | none: nothing is told to Prometheus |
//! | `mqtt.*` | | | none: no broker is listened to |
//! | `policy.*` | | | see [`crate::policy`] |
//! | `privacy.*` | | | none: no noise; see [`crate::policy`] |
//!
//! A flag goes before the environment, and that before the file.

mod data;
mod mqtt;
mod predictions;
mod teacher;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use common::config::{Found, parse};
use serde::Deserialize;

pub use common::config::ConfigError;

pub use self::mqtt::MQTT_MIB_MAX;

use crate::data::Mapping;
use crate::driver::local::Reading;
use crate::mqtt::MqttSettings;
use crate::policy::{Policy, PolicyError, RawBudget, RawPolicy};
use crate::predictions::FollowSettings;
use crate::work::TeacherChoice;
use data::RawData;
use mqtt::RawMqtt;
use predictions::RawPredictions;
use teacher::RawTeacher;

/// Fits the service's memory beside what is computed from the rows.
const MEMORY_MIB_MAX: u32 = 8;
/// Recordings in the state directory.
const RECORDINGS: &str = "recordings";
/// Where the file is looked for when none is named.
pub(crate) const DEFAULT_FILE: &str = "/etc/alambic/agent.toml";

/// The file as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    state: Option<String>,
    coordinator: RawCoordinator,
    data: RawData,
    policy: RawPolicy,
    privacy: RawBudget,
    teacher: RawTeacher,
    log: RawLog,
    predictions: RawPredictions,
    metrics: RawMetrics,
    mqtt: RawMqtt,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawMetrics {
    listen: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawCoordinator {
    address: Option<String>,
    copies_enrol: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLog {
    level: Option<String>,
}

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--state`.
    pub state: Option<PathBuf>,
    /// `--data`.
    pub data: Option<PathBuf>,
}

/// The configuration, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The state directory.
    pub state: PathBuf,
    /// Where the coordinator is, if not where the device enrolled.
    pub coordinator: Option<String>,
    /// Whether a device whose state was copied from another machine joins with
    /// a key of its own.
    pub copies_enrol: bool,
    /// The folder with the device's data, if it has any.
    pub data: Option<PathBuf>,
    /// The column that holds the label.
    pub label_column: String,
    /// How data files become what a task wants.
    pub mapping: Mapping,
    /// Most MiB of rows that are held at once.
    pub memory_mib_max: u32,
    /// What may leave the device.
    pub policy: Policy,
    /// The teacher that learns from the device's own rows.
    pub teacher: TeacherChoice,
    /// What is logged, as `RUST_LOG` is written.
    pub log: String,
    /// The socket on which programs on the device are answered, if they are.
    pub predictions: Option<PathBuf>,
    /// The stream that is answered, if one is.
    pub follow: Option<FollowSettings>,
    /// The loopback address on which metrics are told, if they are.
    pub metrics: Option<SocketAddr>,
    /// The broker whose readings are recorded, if there is one.
    pub mqtt: Option<MqttSettings>,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
}

impl Config {
    /// How data files are read.
    pub fn reading(&self) -> Reading {
        Reading {
            label_column: self.label_column.clone(),
            mapping: self.mapping.clone(),
            memory_mib_max: self.memory_mib_max,
        }
    }

    /// What holds where nothing is said.
    pub fn plain() -> Self {
        let pick = Pick {
            file: String::new(),
            environment: &|_| None,
        };
        let plain = pick.config(RawConfig::default(), &Flags::default());
        plain.expect("every key has a default that fits, as the reference of keys is made from")
    }

    /// Brings file, environment and flags together.
    ///
    /// # Errors
    /// The first file, key or value that does not fit.
    pub fn load(
        flags: &Flags,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
        let named = flags
            .config
            .clone()
            .or_else(|| environment("ALAMBIC_CONFIG").map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| DEFAULT_FILE.into());
        let (raw, file) = match read(&path) {
            Err(ConfigError::Read { source, .. })
                if named.is_none() && source.kind() == std::io::ErrorKind::NotFound =>
            {
                (RawConfig::default(), None)
            }
            read => (read?, Some(path.clone())),
        };
        let pick = Pick {
            file: path.display().to_string(),
            environment: &environment,
        };
        let config = pick.config(raw, flags)?;
        Ok(Self { file, ..config })
    }
}

fn read(path: &Path) -> Result<RawConfig, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        file: path.display().to_string(),
        source,
    })?;
    parse(path, &text)
}

struct Pick<'a> {
    file: String,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Pick<'_> {
    fn config(&self, raw: RawConfig, flags: &Flags) -> Result<Config, ConfigError> {
        let state = self.path("state", "--state", &flags.state, "ALAMBIC_STATE", raw.state)?;
        let mapping = raw.data.mapping(&self.file)?;
        let data = self.path(
            "data.folder",
            "--data",
            &flags.data,
            "ALAMBIC_DATA",
            raw.data.folder,
        )?;
        // One that is missing may come with a disk; a file stays one.
        if let Some(file) = data.as_ref().filter(|path| path.is_file()) {
            let allowed = "the folder that holds the data files; this is a file";
            return Err(self.refuse("data.folder", file.display(), allowed));
        }
        let mqtt = self.mqtt(raw.mqtt)?;
        let coordinator = self
            .text(
                "coordinator.address",
                "ALAMBIC_COORDINATOR",
                raw.coordinator.address,
            )
            .map(|found| found.check(are_hosts_and_ports, "HOST:PORT, or several with commas"))
            .transpose()?;
        let label_column = self
            .text(
                "data.label_column",
                "ALAMBIC_LABEL_COLUMN",
                raw.data.label_column,
            )
            .map(|found| found.check(|name| !name.trim().is_empty(), "a column's name"))
            .transpose()?;
        let allowed = "error, warn, info, debug or trace, also by module as in \
             warn,edge_agent=debug";
        let log = self
            .text("log.level", "ALAMBIC_LOG", raw.log.level)
            .map(|found| found.check(|filter| common::log::parse(filter).is_ok(), allowed))
            .transpose()?;
        let refused = |error: PolicyError| ConfigError::Syntax {
            path: self.file.clone().into(),
            reason: error.to_string(),
        };
        let policy = raw.policy.check().map_err(refused)?;
        let policy = policy.with_budget(raw.privacy.check().map_err(refused)?);
        let teacher = self.teacher(raw.teacher)?;
        let state = state.unwrap_or_else(|| DEFAULT_STATE.into());
        let (socket, follow) = self.predictions(raw.predictions, &state, mqtt.is_some())?;
        Ok(Config {
            file: None,
            predictions: socket,
            follow,
            // Where there are recordings and no other data, they are the data.
            data: data.or_else(|| mqtt.as_ref().map(|_| state.join(RECORDINGS))),
            mqtt,
            state,
            coordinator,
            copies_enrol: raw.coordinator.copies_enrol,
            label_column: label_column.unwrap_or_else(|| "label".to_owned()),
            mapping,
            memory_mib_max: self.memory(raw.data.memory_mib_max)?,
            policy,
            teacher,
            metrics: self.metrics(raw.metrics)?,
            log: log.unwrap_or_else(|| "info".to_owned()),
        })
    }

    fn memory(&self, mib_max: Option<i64>) -> Result<u32, ConfigError> {
        let Some(mib_max) = mib_max else {
            return Ok(MEMORY_MIB_MAX);
        };
        let fits = u32::try_from(mib_max)
            .ok()
            .filter(|mib| (1..=65_536).contains(mib));
        let allowed = "a number of MiB from 1 to 65536";
        fits.ok_or_else(|| self.refuse("data.memory_mib_max", mib_max, allowed))
    }

    /// Metrics tell nobody's data, but a device has no business being asked
    /// for them from the network.
    fn metrics(&self, raw: RawMetrics) -> Result<Option<SocketAddr>, ConfigError> {
        let Some(found) = self.text("metrics.listen", "ALAMBIC_METRICS", raw.listen) else {
            return Ok(None);
        };
        let address = found.value.parse::<SocketAddr>().ok();
        match address.filter(|address| address.ip().is_loopback()) {
            Some(address) => Ok(Some(address)),
            None => Err(found.refuse("a loopback address and a port, such as 127.0.0.1:4481")),
        }
    }

    /// What the variable says of a key, else the file.
    fn text(&self, key: &'static str, variable: &str, raw: Option<String>) -> Option<Found> {
        let found = |origin, value| Found { origin, key, value };
        let named = (self.environment)(variable)
            .map(|value| found(format!("environment variable {variable}"), value));
        named.or_else(|| Some(found(self.file.clone(), raw?)))
    }

    fn path(
        &self,
        key: &'static str,
        flag_name: &str,
        flag: &Option<PathBuf>,
        variable: &str,
        raw: Option<String>,
    ) -> Result<Option<PathBuf>, ConfigError> {
        if let Some(path) = flag {
            let given = Found {
                origin: format!("flag {flag_name}"),
                key,
                value: path.display().to_string(),
            };
            given.check(|path| !path.is_empty(), "a path")?;
            return Ok(Some(path.clone()));
        }
        let Some(found) = self.text(key, variable, raw) else {
            return Ok(None);
        };
        let allowed = match found.value.as_str() {
            "" => "a path",
            _ => "a path without ~ and $NAME, which only a shell understands: write it out",
        };
        let fits = |path: &str| {
            let has_variable = path.starts_with('$') || path.contains("/$") || path.contains("${");
            !path.is_empty() && path != "~" && !path.starts_with("~/") && !has_variable
        };
        Ok(Some(found.check(fits, allowed)?.into()))
    }

    /// A value of the file that does not fit.
    fn refuse(
        &self,
        key: &'static str,
        value: impl ToString,
        allowed: &'static str,
    ) -> ConfigError {
        let (origin, value) = (self.file.clone(), value.to_string());
        Found { origin, key, value }.refuse(allowed)
    }
}

/// Whether `text` is a host and a port, or several with commas between them.
pub fn are_hosts_and_ports(text: &str) -> bool {
    text.split(',').all(|one| is_host_and_port(one.trim()))
}

/// Whether `text` is a host and a port.
pub fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let plain = !host.is_empty() && !host.contains([':', '/', ' ', '@']);
        (bracketed || plain) && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// Where the state is when nothing is said.
pub const DEFAULT_STATE: &str = "/var/lib/alambic-agent";
