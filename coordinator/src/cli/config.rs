//! `config`: what the configuration is and where each value came from.

use std::path::Path;

use common::settings::{self, Key, Layers, NONE, duration};

use crate::config::{Config, Flags};
use crate::store::{DatabaseSettings, Password, StoreSettings};

/// The configuration fits: it was loaded before this is called.
pub(super) fn check(config: &Config, layers: &Layers<'_, Flags>, explain: bool, as_json: bool) {
    settings::check(KEYS, config, layers, explain, as_json);
}

/// Every key with its default, as Markdown.
pub fn reference(defaults: &Config) -> String {
    settings::reference(KEYS, defaults)
}

const KEYS: &[Key<Config, Flags>] = &[
    Key {
        name: "listen",
        flag: Some(("--listen", |flags| flags.listen.is_some())),
        variable: Some("ALAMBIC_LISTEN"),
        allowed: "address and port",
        purpose: "Where devices reach the coordinator (UDP); port 0 lets the system choose.",
        value: |config| config.listen.to_string(),
    },
    Key {
        name: "state",
        flag: Some(("--state", |flags| flags.state.is_some())),
        variable: Some("ALAMBIC_STATE"),
        allowed: "directory",
        purpose: "Keys, certificates, the log and all blobs; the directory of the configuration file if that was found and not named.",
        value: |config| shown(&config.state),
    },
    Key {
        name: "admin_socket",
        flag: Some(("--admin-socket", |flags| flags.admin_socket.is_some())),
        variable: Some("ALAMBIC_ADMIN_SOCKET"),
        allowed: "path",
        purpose: "Where commands such as `status` reach a running coordinator; `admin.sock` in the state directory.",
        value: |config| shown(&config.admin_socket),
    },
    Key {
        name: "log",
        flag: Some(("--log", |flags| flags.log.is_some())),
        variable: Some("ALAMBIC_LOG"),
        allowed: "error, warn, info, debug, trace, also by module",
        purpose: "What is logged to standard error.",
        value: |config| config.log.clone(),
    },
    Key {
        name: "log_json",
        flag: Some(("--log-json", |flags| flags.log_json)),
        variable: Some("ALAMBIC_LOG_JSON"),
        allowed: "true, false",
        purpose: "One JSON object a line instead of text.",
        value: |config| config.log_json.to_string(),
    },
    Key {
        name: "certificate.addresses",
        flag: Some(("--address", |flags| !flags.addresses.is_empty())),
        variable: Some("ALAMBIC_CERTIFICATE_ADDRESSES"),
        allowed: "IP addresses",
        purpose: "Addresses in the server's certificate; devices do not need them.",
        value: |config| match config.addresses.as_slice() {
            [] => NONE.into(),
            some => some
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
        },
    },
    Key {
        name: "certificate.device_lifetime",
        flag: None,
        variable: Some("ALAMBIC_CERTIFICATE_DEVICE_LIFETIME"),
        allowed: "2s to 366d: a number and s, m, h or d",
        purpose: "How long a device's certificate lasts; devices renew from half of it on.",
        value: |config| duration(config.certificates.device_lifetime_ms),
    },
    Key {
        name: "certificate.renewal_grace",
        flag: None,
        variable: Some("ALAMBIC_CERTIFICATE_RENEWAL_GRACE"),
        allowed: "0s to 3660d: a number and s, m, h or d",
        purpose: "How long after its certificate's expiry a device may still renew.",
        value: |config| duration(config.certificates.renewal_grace_ms),
    },
    Key {
        name: "page.listen",
        flag: Some(("--page", |flags| flags.page.is_some())),
        variable: Some("ALAMBIC_PAGE"),
        allowed: "address and port, off",
        purpose: "Where the web page and `/metrics` are served; a loopback address unless `page.public` is true.",
        value: |config| match &config.page {
            Some(page) => page.listen.to_string(),
            None => "off".into(),
        },
    },
    Key {
        name: "page.public",
        flag: None,
        variable: None,
        allowed: "true, false",
        purpose: "Whether `page.listen` may be an address that others reach.",
        value: |config| match &config.page {
            Some(page) => page.public.to_string(),
            None => NONE.into(),
        },
    },
    Key {
        name: "page.hosts",
        flag: None,
        variable: None,
        allowed: "names",
        purpose: "Host names by which the page may be requested, besides localhost and IP addresses.",
        value: |config| match config.page.as_ref().map(|page| page.hosts.as_slice()) {
            None | Some([]) => NONE.into(),
            Some(hosts) => hosts.join(" "),
        },
    },
    Key {
        name: "store.kind",
        flag: None,
        variable: Some("ALAMBIC_STORE_KIND"),
        allowed: "\"sled\", \"postgres\"",
        purpose: "Where log and blobs are: in the state directory, or in PostgreSQL.",
        value: |config| match &config.store {
            StoreSettings::Sled => "sled".into(),
            StoreSettings::Postgres(_) => "postgres".into(),
        },
    },
    Key {
        name: "store.url",
        flag: None,
        variable: Some("ALAMBIC_STORE_URL"),
        allowed: "a `postgresql://` URL without a password",
        purpose: "The database; over TCP with TLS and a verified server unless it says `sslmode=disable`. The password is in `store.password_file` or `ALAMBIC_STORE_PASSWORD`.",
        value: |config| database(config, |database| database.url.to_string()),
    },
    Key {
        name: "store.password_file",
        flag: None,
        variable: Some("ALAMBIC_STORE_PASSWORD_FILE"),
        allowed: "path",
        purpose: "A file whose first line is the database user's password; read for each connection.",
        value: |config| {
            database(config, |database| match &database.password {
                Password::None => NONE.into(),
                Password::File(path) => shown(path),
                Password::Given(_) => "given by ALAMBIC_STORE_PASSWORD".into(),
            })
        },
    },
    Key {
        name: "store.ca_file",
        flag: None,
        variable: Some("ALAMBIC_STORE_CA_FILE"),
        allowed: "path",
        purpose: "Certificates, as PEM, of the authorities that may vouch for the database's server; the system's if it is left out.",
        value: |config| database(config, |database| shown(&database.authorities)),
    },
    Key {
        name: "store.lease",
        flag: None,
        variable: Some("ALAMBIC_STORE_LEASE"),
        allowed: "off, or 2s to 60s: a number and s or m",
        purpose: "How long a coordinator leads from each renewal, where several share the database and the others wait to take over.",
        value: |config| {
            database(config, |database| match database.lease_ms {
                None => "off".into(),
                Some(ms) => duration(ms),
            })
        },
    },
    Key {
        name: "store.advertised",
        flag: None,
        variable: Some("ALAMBIC_STORE_ADVERTISED"),
        allowed: "host:port",
        purpose: "Where devices reach this coordinator while it leads: those that wait tell devices so. Left out, `listen`, or the first of `certificate.addresses` where that is all addresses.",
        value: |config| {
            database(config, |database| match &database.advertised {
                None => "–".into(),
                Some(address) => address.to_string(),
            })
        },
    },
    Key {
        name: "retention.rounds",
        flag: None,
        variable: None,
        allowed: "1 to 10000, \"all\"",
        purpose: "Newest rounds whose records the log keeps; a snapshot stands for older ones.",
        value: |config| {
            let rounds = config.retention.rounds;
            rounds.map_or_else(|| "all".into(), |rounds| rounds.to_string())
        },
    },
    Key {
        name: "retention.blob_rounds",
        flag: None,
        variable: None,
        allowed: "1 to `retention.rounds`",
        purpose: "Newest rounds whose contributions and results are kept even if nothing needs them.",
        value: |config| config.retention.blob_rounds.to_string(),
    },
    Key {
        name: "rollout.releases",
        flag: None,
        variable: None,
        allowed: "\"all\", \"held\", \"staged\"",
        purpose: "Who is offered a new student: every device, none until `rollout start`, or stage by stage.",
        value: |config| format!("{:?}", config.rollout.mode).to_lowercase(),
    },
    Key {
        name: "rollout.stages",
        flag: None,
        variable: None,
        allowed: "percents that ascend to 100",
        purpose: "Share of the devices at each stage.",
        value: |config| format!("{:?}", config.rollout.plan.stages),
    },
    Key {
        name: "rollout.max_worse",
        flag: None,
        variable: None,
        allowed: "0% to 100%",
        purpose: "Largest share of a stage's devices that may reject a student; one more halts the rollout.",
        value: |config| {
            let permille = config.rollout.plan.worse_permille_max;
            format!("{}%", f64::from(permille) / 10.0)
        },
    },
    Key {
        name: "rollout.soak",
        flag: None,
        variable: Some("ALAMBIC_ROLLOUT_SOAK"),
        allowed: "0s to 30d: a number and s, m, h or d",
        purpose: "How long a stage lasts at least, and how long a device uses a student before it is evaluated again.",
        value: |config| duration(config.rollout.plan.soak_ms),
    },
    limit(
        "limits.connections",
        "1 to 1000000",
        "Connections in all, handshakes included.",
        |config| config.limits.connections.connections.to_string(),
    ),
    limit(
        "limits.connections_per_address",
        "1 to 1000000",
        "Open connections of one address (of IPv6, a /64).",
        |config| {
            config
                .limits
                .connections
                .connections_per_address
                .to_string()
        },
    ),
    limit(
        "limits.handshakes_per_address",
        "1 to 100000",
        "Handshakes per second per address; the burst is ten times that.",
        |config| {
            config
                .limits
                .connections
                .handshakes_per_address
                .per_second
                .to_string()
        },
    ),
    limit(
        "limits.enrolments_per_address",
        "1 to 100000",
        "Requests per second per address to join or renew; the burst is ten times that.",
        |config| {
            config
                .limits
                .connections
                .enrolments_per_address
                .per_second
                .to_string()
        },
    ),
    limit(
        "limits.requests_per_device",
        "1 to 10000",
        "Transfers per second that one device may begin.",
        |config| config.limits.devices.requests.per_second.to_string(),
    ),
    limit(
        "limits.bytes_per_device",
        "1024 to 1073741824",
        "Bytes per second of one device's transfers, both directions.",
        |config| config.limits.devices.bytes.per_second.to_string(),
    ),
    limit(
        "limits.rows_per_device",
        "1 to 1099511627776",
        "Rows that one contribution may claim to describe, which bounds a device's weight.",
        |config| config.limits.rows_per_device.to_string(),
    ),
];

/// What is said of the database, where there is one.
fn database(config: &Config, value: impl FnOnce(&DatabaseSettings) -> String) -> String {
    match &config.store {
        StoreSettings::Sled => NONE.into(),
        StoreSettings::Postgres(settings) => value(settings),
    }
}

/// One of the limits, which only the file sets.
const fn limit(
    name: &'static str,
    allowed: &'static str,
    purpose: &'static str,
    value: fn(&Config) -> String,
) -> Key<Config, Flags> {
    Key {
        name,
        flag: None,
        variable: None,
        allowed,
        purpose,
        value,
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::settings::explained;

    #[test]
    fn each_value_is_explained_by_the_layer_that_set_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("coordinator.toml");
        std::fs::write(&path, "log = \"warn\"\nlisten = \"127.0.0.1:1\"\n").unwrap();
        let flags = Flags {
            config: Some(path.clone()),
            state: Some("/flag".into()),
            ..Flags::default()
        };
        let environment = |name: &str| (name == "ALAMBIC_LISTEN").then(|| "127.0.0.1:2".to_owned());
        let config = Config::resolve(&flags, environment).unwrap();
        let layers = Layers {
            flags: &flags,
            environment: &environment,
            file: config.file.clone(),
        };
        let settings = explained(KEYS, &config, &layers);
        let of = |key: &str| {
            let setting = settings.iter().find(|setting| setting.key == key).unwrap();
            (setting.value.clone(), setting.origin.clone())
        };
        assert_eq!(of("state"), ("/flag".into(), "flag --state".into()));
        assert_eq!(
            of("listen"),
            ("127.0.0.1:2".into(), "environment ALAMBIC_LISTEN".into())
        );
        assert_eq!(of("log"), ("warn".into(), shown(&path)));
        assert_eq!(of("log_json"), ("false".into(), "default".into()));
    }

    #[test]
    fn every_key_of_the_annotated_example_is_explained() {
        let example = include_str!("../../../configs/coordinator.toml");
        let table: toml::Table = example.parse().unwrap();
        let mut keys = vec!["state".to_owned(), "admin_socket".to_owned()];
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
