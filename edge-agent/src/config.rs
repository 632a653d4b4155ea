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
//! | `log.level` | `ALAMBIC_LOG` | | `info` |
//! | `predictions.socket` | `ALAMBIC_PREDICTIONS` | | none: programs on the device are not answered |
//! | `metrics.listen` | `ALAMBIC_METRICS` | | none: nothing is told to Prometheus |
//! | `mqtt.*` | | | none: no broker is listened to |
//! | `policy.*` | | | see [`crate::policy`] |
//! | `privacy.*` | | | none: no noise; see [`crate::policy`] |
//!
//! A flag goes before the environment, and that before the file.

mod data;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use common::config::{Found, parse};
use serde::Deserialize;

pub use common::config::ConfigError;

use crate::data::Mapping;
use crate::driver::local::Reading;
use crate::mqtt::MqttSettings;
use crate::policy::{Policy, PolicyError, RawBudget, RawPolicy};
use crate::work::TeacherChoice;
use data::RawData;

/// Fits the service's memory beside what is computed from the rows.
const MEMORY_MIB_MAX: u32 = 8;
/// See `mqtt.mib_max`.
pub const MQTT_MIB_MAX: u32 = 64;
/// Recordings in the state directory.
const RECORDINGS: &str = "recordings";
/// Where the file is looked for when none is named.
const DEFAULT_FILE: &str = "/etc/alambic/agent.toml";

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
struct RawMqtt {
    broker: Option<String>,
    topics: Vec<String>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    mib_max: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawMetrics {
    listen: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPredictions {
    socket: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawCoordinator {
    address: Option<String>,
    copies_enrol: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTeacher {
    kind: Option<String>,
    hidden: Option<Vec<i64>>,
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
        let socket = self.path(
            "predictions.socket",
            "",
            &None,
            "ALAMBIC_PREDICTIONS",
            raw.predictions.socket,
        )?;
        Ok(Config {
            file: None,
            // A relative path lies in the state directory.
            predictions: socket.map(|socket| state.join(socket)),
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

    fn mqtt(&self, raw: RawMqtt) -> Result<Option<MqttSettings>, ConfigError> {
        let refuse = |key, value: &str, allowed| Err(self.refuse(key, value, allowed));
        let Some(broker) = raw.broker else {
            return match raw.topics.first() {
                Some(topic) => refuse("mqtt.topics", topic, "nothing without mqtt.broker"),
                None => Ok(None),
            };
        };
        let address = broker
            .rsplit_once(':')
            .filter(|_| is_host_and_port(&broker));
        let address = address.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let Some((host, port)) = address else {
            return refuse("mqtt.broker", &broker, "HOST:PORT");
        };
        let is_filter = |topic: &&String| !topic.is_empty() && topic.len() <= 1_000;
        if raw.topics.is_empty() || !raw.topics.iter().all(|topic| is_filter(&topic)) {
            let value = raw.topics.join(", ");
            return refuse(
                "mqtt.topics",
                &value,
                "topics to subscribe to, such as \"pump/#\"",
            );
        }
        let user = match (raw.user, raw.password_file) {
            (Some(user), Some(path)) => Some((user, path)),
            (None, None) => None,
            (user, _) => {
                let value = user.unwrap_or_default();
                return refuse(
                    "mqtt.user",
                    &value,
                    "a name beside mqtt.password_file, or neither",
                );
            }
        };
        let mib_max = raw.mib_max.unwrap_or(MQTT_MIB_MAX.into());
        let Some(mib_max) = u32::try_from(mib_max)
            .ok()
            .filter(|mib| (1..=65_536).contains(mib))
        else {
            let value = mib_max.to_string();
            return refuse("mqtt.mib_max", &value, "a number of MiB from 1 to 65536");
        };
        Ok(Some(MqttSettings {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            topics: raw.topics,
            user,
            mib_max,
        }))
    }

    fn teacher(&self, raw: RawTeacher) -> Result<TeacherChoice, ConfigError> {
        let refuse = |key, value: &str, allowed| Err(self.refuse(key, value, allowed));
        let kind = raw.kind.as_deref().unwrap_or("kernel");
        match (kind, raw.hidden) {
            ("kernel", None) => Ok(TeacherChoice::Kernel),
            ("kernel", Some(hidden)) => {
                let allowed = "absent unless teacher.kind is \"mlp\"";
                refuse("teacher.hidden", &format!("{hidden:?}"), allowed)
            }
            ("mlp", hidden) => {
                let hidden = hidden.unwrap_or_else(|| HIDDEN.to_vec());
                let fits = |width: &i64| (1..=HIDDEN_WIDTH_MAX).contains(width);
                if hidden.len() > HIDDEN_LAYERS_MAX || !hidden.iter().all(fits) {
                    let allowed = "at most 8 widths from 1 to 1024";
                    return refuse("teacher.hidden", &format!("{hidden:?}"), allowed);
                }
                let hidden = hidden.into_iter().map(|width| width as usize);
                Ok(TeacherChoice::Network(hidden.collect()))
            }
            (other, _) => refuse("teacher.kind", other, "kernel or mlp"),
        }
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
            _ => "a path without ~, which only a shell understands: write it out",
        };
        let fits = |path: &str| !path.is_empty() && path != "~" && !path.starts_with("~/");
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

/// Hidden layers of a network teacher, if they are not named.
const HIDDEN: [i64; 1] = [32];
const HIDDEN_LAYERS_MAX: usize = 8;
const HIDDEN_WIDTH_MAX: i64 = 1_024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(text: &str, flags: &Flags, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, text).unwrap();
        let flags = Flags {
            config: Some(path),
            ..flags.clone()
        };
        let lookup = |name: &str| {
            let found = env.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Config::load(&flags, &lookup)
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        let config = with("", &Flags::default(), &[]).unwrap();
        assert_eq!(config.state, PathBuf::from(DEFAULT_STATE));
        assert_eq!(config.label_column, "label");
        assert_eq!(config.memory_mib_max, 8);
        assert_eq!(config.data, None);
    }

    #[test]
    fn flags_override_environment_and_file() {
        let file = "state = \"/file\"\n[data]\nfolder = \"/file-data\"\n";
        let flags = Flags {
            state: Some("/flag".into()),
            ..Flags::default()
        };
        let env = [("ALAMBIC_STATE", "/env"), ("ALAMBIC_DATA", "/env-data")];
        let config = with(file, &flags, &env).unwrap();
        assert_eq!(config.state, PathBuf::from("/flag"));
        assert_eq!(config.data, Some("/env-data".into()));
        for env in [&[][..], &[("ALAMBIC_STATE", "")]] {
            let config = with(file, &Flags::default(), env).unwrap();
            assert_eq!(config.state, PathBuf::from("/file"));
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = with("[data]\nfoldr = \"/x\"\n", &Flags::default(), &[]).unwrap_err();
        assert!(matches!(error, ConfigError::Syntax { .. }));
        let text = error.to_string();
        for part in ["agent.toml", "foldr", "folder", "label_column"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_bad_value_is_named() {
        let file = "[coordinator]\naddress = \"no port\"\n";
        let text = with(file, &Flags::default(), &[]).unwrap_err().to_string();
        for part in ["agent.toml", "coordinator.address", "no port", "HOST:PORT"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let env = [("ALAMBIC_LOG", "loud=very")];
        let text = with("", &Flags::default(), &env).unwrap_err().to_string();
        assert!(text.contains("ALAMBIC_LOG"), "{text}");
    }

    #[test]
    fn metrics_are_told_on_loopback_addresses_only() {
        let listen = |text: &str| {
            let file = format!("[metrics]\nlisten = {text:?}\n");
            with(&file, &Flags::default(), &[]).map(|config| config.metrics)
        };
        assert_eq!(with("", &Flags::default(), &[]).unwrap().metrics, None);
        for good in ["127.0.0.1:4481", "[::1]:0"] {
            assert_eq!(listen(good).unwrap(), Some(good.parse().unwrap()));
        }
        for bad in [
            "0.0.0.0:4481",
            "192.0.2.1:4481",
            "localhost:4481",
            "4481",
            "",
        ] {
            let text = listen(bad).unwrap_err().to_string();
            assert!(
                text.contains("metrics.listen") && text.contains("loopback"),
                "{text}"
            );
        }
        let env = [("ALAMBIC_METRICS", "127.0.0.1:7")];
        let config = with("[metrics]\nlisten = \"[::1]:1\"\n", &Flags::default(), &env);
        assert_eq!(
            config.unwrap().metrics,
            Some("127.0.0.1:7".parse().unwrap())
        );
    }

    #[test]
    fn a_policy_that_allows_too_much_is_named_with_its_file() {
        let text = with("[policy]\nrows_min = 1\n", &Flags::default(), &[]);
        let text = text.unwrap_err().to_string();
        for part in ["agent.toml", "policy.rows_min", "\"1\"", "2 to"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn the_local_teacher_is_chosen_and_checked() {
        let teacher = |text: &str| {
            let config = with(&format!("[teacher]\n{text}\n"), &Flags::default(), &[]);
            config.map(|config| config.teacher)
        };
        assert_eq!(teacher("").unwrap(), TeacherChoice::Kernel);
        assert_eq!(teacher("kind = \"kernel\"").unwrap(), TeacherChoice::Kernel);
        let small = TeacherChoice::Network(vec![32]);
        assert_eq!(teacher("kind = \"mlp\"").unwrap(), small);
        let deep = teacher("kind = \"mlp\"\nhidden = [64, 16]").unwrap();
        assert_eq!(deep, TeacherChoice::Network(vec![64, 16]));
        for (text, part) in [
            ("kind = \"forest\"", "kernel or mlp"),
            ("hidden = [8]", "absent unless"),
            ("kind = \"mlp\"\nhidden = [0]", "1 to 1024"),
            ("width = 3", "hidden"),
        ] {
            let text = teacher(text).unwrap_err().to_string();
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn the_annotated_example_holds_what_it_says() {
        let example = include_str!("../../configs/agent.toml");
        let plain = with(example, &Flags::default(), &[]).unwrap();
        let empty = with("", &Flags::default(), &[]).unwrap();
        let file = plain.file.clone();
        assert_eq!(plain, Config { file, ..empty });
        let uncommented: String = example
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let all = with(&uncommented, &Flags::default(), &[]).unwrap();
        assert_eq!(all.state, plain.state);
        assert_eq!(all.label_column, plain.label_column);
        assert_eq!(all.policy.rows_min(), plain.policy.rows_min());
        assert_eq!(all.policy.kinds(), plain.policy.kinds());
        assert_eq!(all.log, plain.log);
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let flags = Flags {
            config: Some("/nowhere/agent.toml".into()),
            ..Flags::default()
        };
        let error = Config::load(&flags, &|_| None).unwrap_err();
        assert!(matches!(error, ConfigError::Read { .. }));
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for good in ["host:4433", "10.0.0.1:1", "[::1]:4433", "[fe80::1%eth0]:1"] {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in [
            "host",
            "host:",
            ":4433",
            "host:0",
            "host:99999",
            "::1:44 33",
            "a b:1",
        ] {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }
}
