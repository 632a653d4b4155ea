//! The section `[retention]`.

use serde::Deserialize;

use super::ConfigError;
use crate::config_layers::Layers;
use crate::journal::{ROUNDS_MAX, Retention};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRetention {
    rounds: Option<RawRounds>,
    blob_rounds: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawRounds {
    Number(u32),
    Word(String),
}

impl Layers<'_> {
    pub(super) fn retention(&self, raw: RawRetention) -> Result<Retention, ConfigError> {
        let mut retention = Retention::default();
        let allowed = "1 to 10000, or \"all\"";
        match raw.rounds {
            None => {}
            Some(RawRounds::Number(rounds)) if (1..=ROUNDS_MAX).contains(&rounds) => {
                retention.rounds = Some(rounds);
            }
            Some(RawRounds::Word(word)) if word == "all" => retention.rounds = None,
            Some(RawRounds::Number(other)) => {
                return Err(self.refuse("retention.rounds", other, allowed));
            }
            Some(RawRounds::Word(other)) => {
                return Err(self.refuse("retention.rounds", other, allowed));
            }
        }
        let rounds = retention.rounds.unwrap_or(ROUNDS_MAX);
        // Few rounds of records with the default of blobs means few of both.
        let blob_rounds = raw.blob_rounds;
        retention.blob_rounds = blob_rounds.unwrap_or(retention.blob_rounds.min(rounds));
        if !(1..=rounds).contains(&retention.blob_rounds) {
            let allowed = "1 to retention.rounds";
            return Err(self.refuse("retention.blob_rounds", retention.blob_rounds, allowed));
        }
        Ok(retention)
    }
}
