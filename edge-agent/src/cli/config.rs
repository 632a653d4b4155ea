//! `config`: what the configuration is and where each value came from.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Failure, to_json};
use crate::config::{Config, DEFAULT_FILE, Flags};
use crate::work::TeacherChoice;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check file, environment and flags; exit code 2 if they do not fit
    #[command(after_help = "Examples:
  alambic-agent config check
  alambic-agent config check --explain --config ./agent.toml")]
    Check {
        /// Print each value and where it came from
        #[arg(long)]
        explain: bool,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
}

/// What the configuration was put together from.
pub(super) struct Layers<'a> {
    pub(super) flags: &'a Flags,
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
}

/// One value.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Setting {
    key: &'static str,
    value: String,
    origin: String,
}

/// The configuration fits: it was loaded before this is called.
pub(super) fn run(
    config: &Config,
    layers: &Layers<'_>,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let Command::Check { explain, json } = arguments.command;
    let settings = explained(config, layers);
    match (explain, json) {
        (_, true) => println!("{}", to_json(&settings)?),
        (true, false) => {
            for Setting { key, value, origin } in settings {
                println!("{key:26} {value:40} {origin}");
            }
        }
        (false, false) => match layers.file() {
            Some(file) => println!("{}: nothing wrong", file.display()),
            None => println!("no configuration file; defaults, environment and flags fit"),
        },
    }
    Ok(())
}

impl Layers<'_> {
    /// The file that was read.
    fn file(&self) -> Option<PathBuf> {
        let named = self.flags.config.clone();
        let named = named.or_else(|| (self.environment)("ALAMBIC_CONFIG").map(PathBuf::from));
        named.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()))
    }
}

/// A flag, and whether it was given.
type Flag = (&'static str, fn(&Flags) -> bool);

/// A key, who may set it, and its value for people.
struct Key {
    name: &'static str,
    flag: Option<Flag>,
    variable: Option<&'static str>,
    value: fn(&Config) -> String,
}

const NONE: &str = "-";

const KEYS: &[Key] = &[
    Key {
        name: "state",
        flag: Some(("--state", |flags| flags.state.is_some())),
        variable: Some("ALAMBIC_STATE"),
        value: |config| shown(&config.state),
    },
    Key {
        name: "coordinator.address",
        flag: None,
        variable: Some("ALAMBIC_COORDINATOR"),
        value: |config| config.coordinator.clone().unwrap_or_else(|| NONE.into()),
    },
    Key {
        name: "data.folder",
        flag: Some(("--data", |flags| flags.data.is_some())),
        variable: Some("ALAMBIC_DATA"),
        value: |config| config.data.as_deref().map_or_else(|| NONE.into(), shown),
    },
    Key {
        name: "data.label_column",
        flag: None,
        variable: Some("ALAMBIC_LABEL_COLUMN"),
        value: |config| config.label_column.clone(),
    },
    Key {
        name: "policy.kinds",
        flag: None,
        variable: None,
        value: |config| {
            let kinds = config.policy.kinds().iter();
            kinds.map(ToString::to_string).collect::<Vec<_>>().join(" ")
        },
    },
    Key {
        name: "policy.rows_min",
        flag: None,
        variable: None,
        value: |config| config.policy.rows_min().to_string(),
    },
    Key {
        name: "policy.cluster_size_min",
        flag: None,
        variable: None,
        value: |config| config.policy.cluster_size_min().to_string(),
    },
    Key {
        name: "policy.bytes_per_day_max",
        flag: None,
        variable: None,
        value: |config| {
            let limit = config.policy.bytes_per_day_max();
            limit.map_or_else(|| "no limit".into(), |bytes| bytes.to_string())
        },
    },
    Key {
        name: "log.level",
        flag: None,
        variable: Some("ALAMBIC_LOG"),
        value: |config| config.log.clone(),
    },
    Key {
        name: "teacher.kind",
        flag: None,
        variable: None,
        value: |config| match config.teacher {
            TeacherChoice::Kernel => "kernel".into(),
            TeacherChoice::Network(_) => "mlp".into(),
        },
    },
    Key {
        name: "teacher.hidden",
        flag: None,
        variable: None,
        value: |config| match &config.teacher {
            TeacherChoice::Kernel => NONE.into(),
            TeacherChoice::Network(widths) => {
                let widths = widths.iter().map(ToString::to_string);
                widths.collect::<Vec<_>>().join(" ")
            }
        },
    },
    Key {
        name: "predictions.socket",
        flag: None,
        variable: Some("ALAMBIC_PREDICTIONS"),
        value: |config| {
            let socket = config.predictions.as_deref();
            socket.map_or_else(|| NONE.into(), shown)
        },
    },
    Key {
        name: "metrics.listen",
        flag: None,
        variable: Some("ALAMBIC_METRICS"),
        value: |config| {
            let listen = config.metrics.map(|listen| listen.to_string());
            listen.unwrap_or_else(|| NONE.into())
        },
    },
];

fn explained(config: &Config, layers: &Layers<'_>) -> Vec<Setting> {
    let file = layers.file();
    let table = file
        .as_ref()
        .and_then(|path| std::fs::read_to_string(path).ok()?.parse().ok());
    let table: toml::Table = table.unwrap_or_default();
    let origin = |key: &Key| {
        if let Some((flag, _)) = key.flag.filter(|(_, given)| given(layers.flags)) {
            return format!("flag {flag}");
        }
        if let Some(name) = key
            .variable
            .filter(|&name| (layers.environment)(name).is_some())
        {
            return format!("environment {name}");
        }
        match &file {
            Some(path) if holds(&table, key.name) => shown(path),
            _ => "default".to_owned(),
        }
    };
    KEYS.iter()
        .map(|key| Setting {
            key: key.name,
            value: (key.value)(config),
            origin: origin(key),
        })
        .collect()
}

/// Whether a file sets this dotted key.
fn holds(table: &toml::Table, key: &str) -> bool {
    match key.split_once('.') {
        None => table.contains_key(key),
        Some((outer, inner)) => table
            .get(outer)
            .and_then(toml::Value::as_table)
            .is_some_and(|table| holds(table, inner)),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_value_is_explained_by_the_layer_that_set_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        let text = "[data]\nlabel_column = \"y\"\nfolder = \"/file\"\n[policy]\nrows_min = 30\n";
        std::fs::write(&path, text).unwrap();
        let flags = Flags {
            config: Some(path.clone()),
            state: Some("/flag".into()),
            ..Flags::default()
        };
        let environment = |name: &str| (name == "ALAMBIC_DATA").then(|| "/env".to_owned());
        let config = Config::load(&flags, &environment).unwrap();
        let layers = Layers {
            flags: &flags,
            environment: &environment,
        };
        let settings = explained(&config, &layers);
        let of = |key: &str| {
            let setting = settings.iter().find(|setting| setting.key == key).unwrap();
            (setting.value.clone(), setting.origin.clone())
        };
        assert_eq!(of("state"), ("/flag".into(), "flag --state".into()));
        assert_eq!(
            of("data.folder"),
            ("/env".into(), "environment ALAMBIC_DATA".into())
        );
        assert_eq!(of("data.label_column"), ("y".into(), shown(&path)));
        assert_eq!(of("policy.rows_min"), ("30".into(), shown(&path)));
        assert_eq!(of("log.level"), ("info".into(), "default".into()));
    }

    #[test]
    fn every_key_of_the_annotated_example_is_explained() {
        let example = include_str!("../../../configs/agent.toml");
        let uncommented: String = example
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let table: toml::Table = uncommented.parse().unwrap();
        let mut keys = Vec::new();
        for (name, value) in &table {
            match value.as_table() {
                Some(inner) => keys.extend(inner.keys().map(|key| format!("{name}.{key}"))),
                None => keys.push(name.clone()),
            }
        }
        for key in keys {
            assert!(KEYS.iter().any(|known| known.name == key), "{key}");
        }
    }
}
