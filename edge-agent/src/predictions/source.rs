//! Where a stream of readings comes from.

use std::path::PathBuf;

use crate::mqtt::filter_rule;

/// Where a stream comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard input.
    Input,
    /// A file that grows.
    File(PathBuf),
    /// The broker and topics of the configuration.
    Configured,
    /// Another broker or topic.
    Broker {
        /// Its name or address.
        host: String,
        /// Its port.
        port: u16,
        /// What is subscribed to.
        topic: String,
    },
}

/// A stream that is answered for as long as the agent runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowSettings {
    /// Where it comes from; never standard input.
    pub source: Source,
    /// Of which task's student, by name or hash; none where there is one task.
    pub task: Option<String>,
    /// Windows that a new class has to hold before it is said.
    pub hold: u32,
    /// The topic of the stream's broker that answers go to, if they do.
    pub publish: Option<String>,
    /// Otherwise the file they go to.
    pub output: PathBuf,
    /// How long it may grow before another is begun.
    pub output_bytes_max: u64,
}

impl std::str::FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("mqtt://") else {
            return Ok(match text {
                "-" => Self::Input,
                "mqtt" => Self::Configured,
                path => Self::File(path.into()),
            });
        };
        let (broker, topic) = rest.split_once('/').unwrap_or((rest, ""));
        if broker.is_empty() || topic.is_empty() {
            return Err(
                "expected mqtt://HOST[:PORT]/TOPIC, such as mqtt://localhost/pump/#".into(),
            );
        }
        if let Some(rule) = filter_rule(topic) {
            return Err(format!("the topic is {topic:?}, expected {rule}"));
        }
        if broker.contains('@') {
            return Err("a name and its password belong into [mqtt] of agent.toml".into());
        }
        // A port follows the last colon, unless that is inside an IPv6 address.
        let (host, port) = match broker.rsplit_once(':') {
            Some((host, port)) if !broker.ends_with(']') => (host, port),
            _ => (broker, MQTT_PORT),
        };
        let port = port
            .parse()
            .map_err(|_| format!("{port:?} is not a port"))?;
        Ok(Self::Broker {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            topic: topic.to_owned(),
        })
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Input => f.write_str("-"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Configured => f.write_str("mqtt"),
            Self::Broker { host, port, topic } if host.contains(':') => {
                write!(f, "mqtt://[{host}]:{port}/{topic}")
            }
            Self::Broker { host, port, topic } => write!(f, "mqtt://{host}:{port}/{topic}"),
        }
    }
}

const MQTT_PORT: &str = "1883";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_what_it_looks_like() {
        let broker = |host: &str, port, topic: &str| Source::Broker {
            host: host.to_owned(),
            port,
            topic: topic.to_owned(),
        };
        let good = [
            ("-", Source::Input),
            ("mqtt", Source::Configured),
            ("a/b.csv", Source::File("a/b.csv".into())),
            ("mqtt://pi/pump/#", broker("pi", 1883, "pump/#")),
            ("mqtt://[::1]:99/x", broker("::1", 99, "x")),
            ("mqtt://[::1]/x", broker("::1", 1883, "x")),
        ];
        for (text, expected) in good {
            assert_eq!(expected.to_string().parse(), Ok(expected.clone()));
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for bad in [
            "mqtt://",
            "mqtt://pi",
            "mqtt:///x",
            "mqtt://pi/pump#",
            "mqtt://pi/a/#/b",
            "mqtt://pi:x/y",
            "mqtt://a:b@pi/x",
        ] {
            assert!(bad.parse::<Source>().is_err(), "{bad}");
        }
    }
}
