//! The section `[mqtt]`.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, Pick, is_host_and_port};
use crate::mqtt::{MqttSettings, filter_rule};

/// See `mqtt.mib_max`.
pub const MQTT_MIB_MAX: u32 = 64;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMqtt {
    broker: Option<String>,
    topics: Vec<String>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    mib_max: Option<i64>,
}

impl Pick<'_> {
    pub(super) fn mqtt(&self, raw: RawMqtt) -> Result<Option<MqttSettings>, ConfigError> {
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
        if raw.topics.is_empty() {
            return refuse(
                "mqtt.topics",
                "",
                "topics to subscribe to, such as \"pump/#\"",
            );
        }
        for topic in &raw.topics {
            if let Some(rule) = filter_rule(topic) {
                return refuse("mqtt.topics", topic, rule);
            }
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
}
