//! The section `[predictions]`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{ConfigError, Pick};
use crate::mqtt::filter_rule;
use crate::predictions::{FollowSettings, Source};

/// See `predictions.output`.
const PREDICTIONS: &str = "predictions.jsonl";
/// See `predictions.output_mib_max`.
const OUTPUT_MIB_MAX: u32 = 16;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPredictions {
    socket: Option<String>,
    follow: Option<String>,
    task: Option<String>,
    hold: Option<i64>,
    publish: Option<String>,
    output: Option<String>,
    output_mib_max: Option<i64>,
}

impl Pick<'_> {
    /// The socket, and the stream. Relative paths lie in the state directory.
    pub(super) fn predictions(
        &self,
        raw: RawPredictions,
        state: &Path,
        has_broker: bool,
    ) -> Result<(Option<PathBuf>, Option<FollowSettings>), ConfigError> {
        let socket = self.path(
            "predictions.socket",
            "",
            &None,
            "ALAMBIC_PREDICTIONS",
            raw.socket,
        )?;
        let socket = socket.map(|socket| state.join(socket));
        let given = [
            ("predictions.task", raw.task.clone()),
            ("predictions.hold", raw.hold.map(|hold| hold.to_string())),
            ("predictions.publish", raw.publish.clone()),
            ("predictions.output", raw.output.clone()),
            (
                "predictions.output_mib_max",
                raw.output_mib_max.map(|mib| mib.to_string()),
            ),
        ];
        let Some(follow) = raw.follow else {
            return match given
                .into_iter()
                .find_map(|(key, value)| Some((key, value?)))
            {
                Some((key, value)) => {
                    Err(self.refuse(key, value, "nothing without predictions.follow"))
                }
                None => Ok((socket, None)),
            };
        };
        let refuse = |key, value: &str, allowed| Err(self.refuse(key, value, allowed));
        let source = match follow.parse() {
            Ok(Source::File(path)) if !path.as_os_str().is_empty() && !path.starts_with("~") => {
                Source::File(state.join(path))
            }
            Ok(Source::Configured) if has_broker => Source::Configured,
            Ok(broker @ Source::Broker { .. }) => broker,
            _ => {
                let allowed = "a file, mqtt://HOST/TOPIC, or \"mqtt\" where mqtt.broker is set";
                let broker = { follow.strip_prefix("mqtt://") }.and_then(|it| it.split_once('/'));
                let rule = broker.and_then(|(_, topic)| filter_rule(topic));
                return refuse("predictions.follow", &follow, rule.unwrap_or(allowed));
            }
        };
        let within = |value: Option<i64>, usual: u32, most: u32| {
            let value = value.unwrap_or(usual.into());
            let fits = u32::try_from(value).ok();
            fits.filter(|value| (1..=most).contains(value)).ok_or(value)
        };
        let hold = within(raw.hold, 1, 1_000)
            .map_err(|hold| self.refuse("predictions.hold", hold, "1 to 1000 windows"))?;
        let mib_max = within(raw.output_mib_max, OUTPUT_MIB_MAX, 65_536).map_err(|mib| {
            let key = "predictions.output_mib_max";
            self.refuse(key, mib, "a number of MiB from 1 to 65536")
        })?;
        if let Some(topic) = &raw.publish {
            let fits = !topic.is_empty() && !topic.contains(['#', '+']);
            if !fits || matches!(source, Source::File(_)) {
                let allowed = "a topic without wildcards, and a stream from a broker";
                return refuse("predictions.publish", topic, allowed);
            }
        }
        let output = self.path("predictions.output", "", &None, "", raw.output)?;
        Ok((
            socket,
            Some(FollowSettings {
                source,
                task: raw.task,
                hold,
                publish: raw.publish,
                output: state.join(output.unwrap_or_else(|| PREDICTIONS.into())),
                output_bytes_max: u64::from(mib_max) << 20,
            }),
        ))
    }
}
