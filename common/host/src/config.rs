//! What both programs make of a configuration: a file that is TOML, and values
//! with where they stand, so that whatever does not fit is named.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::DeserializeOwned;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// The file, as people call it.
        file: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("{}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, key and what is allowed.
        reason: String,
    },
    /// A value that its key does not allow.
    #[error("{origin}: {key} is {value:?}, allowed is {allowed}")]
    Value {
        /// The file, environment variable or flag it comes from.
        origin: String,
        /// The key, with its table.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
}

/// A file as it is written.
///
/// # Errors
/// [`ConfigError::Syntax`], if `text` is not TOML or no `T`.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        reason: error.to_string().trim_end().to_owned(),
    })
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Found {
    /// The file, environment variable or flag it comes from.
    pub origin: String,
    /// The key, with its table.
    pub key: &'static str,
    /// What it was set to.
    pub value: String,
}

impl Found {
    /// What the value means.
    ///
    /// # Errors
    /// [`ConfigError::Value`], if it is no `T`.
    pub fn parse<T: FromStr>(self, allowed: &'static str) -> Result<T, ConfigError> {
        self.value.parse().map_err(|_| self.refuse(allowed))
    }

    /// The value, if it fits.
    ///
    /// # Errors
    /// [`ConfigError::Value`], if it does not.
    pub fn check(
        self,
        fits: impl FnOnce(&str) -> bool,
        allowed: &'static str,
    ) -> Result<String, ConfigError> {
        match fits(&self.value) {
            true => Ok(self.value),
            false => Err(self.refuse(allowed)),
        }
    }

    /// The error that says what is allowed instead.
    pub fn refuse(self, allowed: &'static str) -> ConfigError {
        ConfigError::Value {
            origin: self.origin,
            key: self.key,
            value: self.value,
            allowed,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn found(value: &str) -> Found {
        Found {
            origin: "flag --port".to_owned(),
            key: "port",
            value: value.to_owned(),
        }
    }

    #[test]
    fn a_value_that_fits_is_given_on() {
        assert_eq!(found("7").parse::<u16>("a port").unwrap(), 7);
        let short = |text: &str| text.len() < 3;
        assert_eq!(found("7").check(short, "two signs").unwrap(), "7");
    }

    #[test]
    fn a_bad_value_names_origin_key_and_what_is_allowed() {
        let parsed = found("many").parse::<u16>("0 to 65535").unwrap_err();
        let checked = found("many").check(|_| false, "0 to 65535").unwrap_err();
        for error in [parsed, checked] {
            let said = "flag --port: port is \"many\", allowed is 0 to 65535";
            assert_eq!(error.to_string(), said);
        }
    }

    #[test]
    fn a_file_that_is_no_toml_names_file_and_line() {
        let path = Path::new("a.toml");
        assert_eq!(parse::<toml::Table>(path, "a = 1").unwrap().len(), 1);
        let error = parse::<toml::Table>(path, "a = 1\nb").unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("a.toml: ") && said.contains("line 2"),
            "{said}"
        );
        assert!(!said.ends_with('\n'));
    }
}
