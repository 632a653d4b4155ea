//! Where settings come from: flags, then the environment, then a file.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use common::config::{ConfigError, Found, parse};
use serde::de::DeserializeOwned;

/// Where a program looks for its configuration.
pub(crate) struct Places {
    /// Name of the file in a state directory.
    pub(crate) file_name: &'static str,
    /// The file that packages install.
    pub(crate) system_file: &'static str,
    /// The state directory where none is named.
    pub(crate) state: &'static str,
}

impl Places {
    /// The configuration file, if one was `named` by a flag or the environment, or is
    /// in the state directory or where packages put it, with what is in it.
    ///
    /// # Errors
    /// A file that was named and cannot be read, or one that does not parse.
    pub(crate) fn read<T: DeserializeOwned + Default>(
        &self,
        named: Option<PathBuf>,
        variable: &dyn Fn(&str) -> Option<String>,
        state: Option<&Path>,
    ) -> Result<(Option<PathBuf>, T), ConfigError> {
        let named = named.or_else(|| variable("ALAMBIC_CONFIG").map(PathBuf::from));
        let is_named = named.is_some();
        let path = named.unwrap_or_else(|| match state {
            Some(state) => state.join(self.file_name),
            None if Path::new(self.system_file).exists() => self.system_file.into(),
            None => Path::new(self.state).join(self.file_name),
        });
        match fs::read_to_string(&path) {
            Ok(text) => {
                let raw = parse(&path, &text)?;
                Ok((Some(path), raw))
            }
            // A state directory of another user is that user's to configure.
            Err(_) if !is_named => Ok((None, T::default())),
            Err(source) => {
                let file = format!("the configuration {}", path.display());
                Err(ConfigError::Read { file, source })
            }
        }
    }

    /// The state directory: the one that was told, else the one in the file, else the
    /// file's own folder if it was found and not named, else the usual one.
    pub(crate) fn state(
        &self,
        told: Option<PathBuf>,
        in_file: Option<PathBuf>,
        found: Option<&Path>,
    ) -> PathBuf {
        let own = found.filter(|path| *path != Path::new(self.system_file));
        let beside = own.and_then(Path::parent).map(Path::to_owned);
        told.or(in_file)
            .or(beside)
            .unwrap_or_else(|| PathBuf::from(self.state))
    }
}

/// `90s`, `15m`, `1h`, `7d`, in milliseconds.
pub(crate) fn duration_ms(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let number: u64 = text[..text.len() - 1].parse().ok()?;
    number.checked_mul(seconds * 1_000)
}

/// What file, environment and flags say of one key after the other.
pub(crate) struct Layers<'a> {
    /// The file that was read.
    pub(crate) path: Option<PathBuf>,
    /// The value of a variable of the environment.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Layers<'_> {
    /// What the flag named as the key is says, else its variable, else the file.
    pub(crate) fn text(
        &self,
        key: &'static str,
        flag: Option<String>,
        file: Option<String>,
    ) -> Option<Found> {
        let variable = format!("ALAMBIC_{}", key.to_uppercase().replace('.', "_"));
        self.find(key, (&format!("--{key}"), flag), &variable, file)
    }

    pub(crate) fn find(
        &self,
        key: &'static str,
        (flag, given): (&str, Option<String>),
        variable: &str,
        file: Option<String>,
    ) -> Option<Found> {
        let found = |origin, value| Found { origin, key, value };
        given
            .map(|value| found(format!("flag {flag}"), value))
            .or_else(|| {
                let value = (self.variable)(variable)?;
                Some(found(format!("environment {variable}"), value))
            })
            .or_else(|| Some(found(self.file(), file?)))
    }

    /// A span of time, from the environment or the file.
    pub(crate) fn duration(
        &self,
        key: &'static str,
        file: Option<String>,
        range: std::ops::RangeInclusive<u64>,
        allowed: &'static str,
    ) -> Result<Option<u64>, ConfigError> {
        let Some(found) = self.text(key, None, file) else {
            return Ok(None);
        };
        match duration_ms(&found.value).filter(|ms| range.contains(ms)) {
            Some(ms) => Ok(Some(ms)),
            None => Err(found.refuse(allowed)),
        }
    }

    /// A value of the file that does not fit.
    pub(crate) fn refuse(
        &self,
        key: &'static str,
        value: impl ToString,
        allowed: &'static str,
    ) -> ConfigError {
        let (origin, value) = (self.file(), value.to_string());
        Found { origin, key, value }.refuse(allowed)
    }

    pub(crate) fn addresses(
        &self,
        flags: &[String],
        file: Vec<String>,
    ) -> Result<Vec<IpAddr>, ConfigError> {
        let name = "ALAMBIC_CERTIFICATE_ADDRESSES";
        let (origin, values) = match (self.variable)(name) {
            _ if !flags.is_empty() => ("flag --address".to_owned(), flags.to_vec()),
            Some(value) => {
                let values = value.split(',').map(|one| one.trim().to_owned());
                (format!("environment {name}"), values.collect())
            }
            None => (self.file(), file),
        };
        let one = |value| Found {
            origin: origin.clone(),
            key: "certificate.addresses",
            value,
        };
        let parsed = values
            .into_iter()
            .map(|value| one(value).parse("IP addresses, without ports"));
        parsed.collect()
    }

    pub(crate) fn file(&self) -> String {
        self.path
            .as_ref()
            .map_or_else(String::new, |path| path.display().to_string())
    }
}
