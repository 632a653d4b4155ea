//! Where a database is and how it is reached.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use common::host_port::HostPort;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::error::DatabaseError;

/// The authorities that this system trusts, where Debian keeps them.
pub const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Where a database is and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Where it is.
    pub url: DatabaseUrl,
    /// What proves the user, where the server asks for it.
    pub password: Password,
    /// The file of the authorities that may vouch for the server.
    pub authorities: PathBuf,
    /// How long a coordinator leads from each renewal, if several take turns.
    pub lease_ms: Option<u64>,
    /// Where devices reach this coordinator while it leads, if it is said.
    pub advertised: Option<HostPort>,
}

/// A secret that is looked up when it is needed and shown nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Password {
    /// There is none: the server knows its user otherwise.
    #[default]
    None,
    /// In the first line of this file, which is read for each connection.
    File(PathBuf),
    /// As the environment gave it.
    Given(Secret),
}

/// A text that no log and no error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A `postgresql://` URL or a list of `key=value`, as libpq reads them, that
/// names a server and holds no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    config: Box<Config>,
}

/// Why a text is no such URL. It does not repeat the text, which may hold a
/// password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// The URL cannot be read.
    Syntax,
    /// It holds a secret, in a file that others may read.
    Password,
    /// No server is named.
    NoHost,
    /// Its TLS is another one than ours.
    Tls,
}

impl UrlError {
    /// What is allowed instead.
    pub fn allowed(self) -> &'static str {
        match self {
            Self::Syntax => "a URL such as postgresql://alambic@db.example:5432/alambic",
            Self::Password => {
                "a URL without a password: put it into the file that store.password_file names, \
                 or into ALAMBIC_STORE_PASSWORD"
            }
            Self::NoHost => {
                "a URL that names a host, or the folder of a socket as ?host=/run/postgresql"
            }
            Self::Tls => {
                "a URL whose sslmode is verify-full, which it is if nothing is said, or disable; \
                 store.ca_file names the authority's certificate"
            }
        }
    }
}

impl DatabaseUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What a URL has to be, if this is none.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        // Every connection by TLS is verified here, so the strictest mode is
        // what the library calls `require`.
        let known = text.replace("sslmode=verify-full", "sslmode=require");
        let unwanted = [
            "sslmode=prefer",
            "sslmode=allow",
            "sslmode=verify-ca",
            "sslrootcert",
        ];
        if unwanted.iter().any(|word| known.contains(word)) {
            return Err(UrlError::Tls);
        }
        let config = Config::from_str(&known).map_err(|_| UrlError::Syntax)?;
        if config.get_password().is_some() {
            return Err(UrlError::Password);
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(UrlError::NoHost);
        }
        let mut url = Self {
            text: text.to_owned(),
            config: Box::new(config),
        };
        url.tune();
        Ok(url)
    }

    /// Bounds that hold unless the URL has others; and no connection without
    /// TLS unless it says so, or the server is reached by a socket's file.
    fn tune(&mut self) {
        let by_network = self.by_network();
        let config = &mut self.config;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNACKNOWLEDGED_MAX);
        }
        if config.get_application_name().is_none() {
            config.application_name("alambic-coordinator");
        }
        config.keepalives_idle(KEEPALIVE);
        // `prefer` is what the library assumes where nothing is said; said
        // in so many words it is refused above.
        if by_network && config.get_ssl_mode() == SslMode::Prefer {
            config.ssl_mode(SslMode::Require);
        }
    }

    /// Whether the database is reached over TCP.
    pub(super) fn by_network(&self) -> bool {
        let mut hosts = self.config.get_hosts().iter();
        !self.config.get_hostaddrs().is_empty() || hosts.any(|host| matches!(host, Host::Tcp(_)))
    }

    /// Whether what is said to the database travels in clear over TCP.
    pub fn is_clear(&self) -> bool {
        self.by_network() && self.config.get_ssl_mode() == SslMode::Disable
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The user who connects, where the URL names one.
    pub(super) fn user(&self) -> &str {
        self.config.get_user().unwrap_or("of this process")
    }

    /// The name of the database, which is the user's where none is given.
    pub(super) fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_else(|| self.user())
    }

    /// The servers, for people.
    pub(super) fn address(&self) -> String {
        let port = |at: usize| {
            let ports = self.config.get_ports();
            ports.get(at).or(ports.first()).copied().unwrap_or(5432)
        };
        let hosts = self.config.get_hosts().iter().enumerate();
        let mut shown: Vec<String> = hosts
            .map(|(at, host)| match host {
                Host::Tcp(name) => format!("{name}:{}", port(at)),
                Host::Unix(folder) => format!("{}/.s.PGSQL.{}", folder.display(), port(at)),
            })
            .collect();
        if shown.is_empty() {
            let addresses = self.config.get_hostaddrs().iter().enumerate();
            shown = addresses
                .map(|(at, ip)| format!("{ip}:{}", port(at)))
                .collect();
        }
        shown.join(", ")
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Password {
    /// The password, if there is one.
    pub(super) fn read(&self) -> Result<Option<String>, DatabaseError> {
        match self {
            Self::None => Ok(None),
            Self::Given(Secret(text)) => Ok(Some(text.clone())),
            Self::File(path) => first_line(path).map(Some),
        }
    }
}

fn first_line(path: &Path) -> Result<String, DatabaseError> {
    let text = fs::read_to_string(path).map_err(|source| DatabaseError::File {
        key: "store.password_file",
        path: path.to_owned(),
        reason: source.to_string(),
    })?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// For each address of a server that does not answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A server that acknowledges no byte for so long is gone.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_remote_server_needs_tls_by_default() {
        let mode = |text: &str| DatabaseUrl::parse(text).unwrap().config.get_ssl_mode();
        assert_eq!(mode("postgresql://u@db.example/x"), SslMode::Require);
        let full = "postgresql://u@db.example/x?sslmode=verify-full";
        assert_eq!(mode(full), SslMode::Require);
        let clear = DatabaseUrl::parse("postgresql://u@10.0.0.7/x?sslmode=disable").unwrap();
        assert!(clear.is_clear());
        let socket = DatabaseUrl::parse("postgresql:///x?host=/run/postgresql").unwrap();
        assert!(!socket.by_network() && !socket.is_clear());
        assert_eq!(socket.address(), "/run/postgresql/.s.PGSQL.5432");
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        for text in [
            "postgresql://u:hunter2@db.example/x",
            "host=db.example user=u password=hunter2",
        ] {
            let error = DatabaseUrl::parse(text).unwrap_err();
            assert_eq!(error, UrlError::Password);
        }
        let debug = format!("{:?}", Password::Given(Secret("hunter2".into())));
        assert!(!debug.contains("hunter2"), "{debug}");
    }

    #[test]
    fn what_is_no_url_is_refused_with_what_one_is() {
        let refused = |text: &str| DatabaseUrl::parse(text).unwrap_err();
        assert_eq!(refused("postgresql:///x"), UrlError::NoHost);
        for mode in ["sslmode=prefer", "sslmode=verify-ca", "sslrootcert=/x.pem"] {
            assert_eq!(
                refused(&format!("postgresql://u@h/x?{mode}")),
                UrlError::Tls
            );
        }
        assert_eq!(refused("postgresql://u@h:port/x"), UrlError::Syntax);
    }

    #[test]
    fn the_password_is_the_first_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "s3cret \nnot this\n").unwrap();
        let password = Password::File(path).read().unwrap();
        assert_eq!(password.as_deref(), Some("s3cret "));
        let missing = Password::File(folder.path().join("none")).read();
        assert!(matches!(missing, Err(DatabaseError::File { .. })));
    }
}
