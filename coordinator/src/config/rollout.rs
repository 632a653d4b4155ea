//! The section `[rollout]`.

use serde::Deserialize;

use super::{ConfigError, DAY_MS};
use crate::config_layers::Layers;
use crate::rollout::{Plan, Releases};

/// How releases reach the fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolloutSettings {
    /// Who is offered what a round released.
    pub mode: ReleaseMode,
    /// What rollouts go by unless they are told otherwise.
    pub plan: Plan,
}

/// Who is offered what a round released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseMode {
    /// Every device at once.
    #[default]
    All,
    /// Nobody until an operator starts a rollout.
    Held,
    /// A rollout by the plan, by itself.
    Staged,
}

impl RolloutSettings {
    /// The same for the round engine.
    pub fn releases(&self) -> Releases {
        match self.mode {
            ReleaseMode::All => Releases::All {
                soak_ms: self.plan.soak_ms,
            },
            ReleaseMode::Held => Releases::Held,
            ReleaseMode::Staged => Releases::Staged(self.plan.clone()),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRollout {
    #[serde(default)]
    releases: ReleaseMode,
    stages: Option<Vec<u8>>,
    max_worse: Option<String>,
    soak: Option<String>,
}

impl Layers<'_> {
    pub(super) fn rollout(&self, raw: RawRollout) -> Result<RolloutSettings, ConfigError> {
        let mut plan = Plan::default();
        if let Some(stages) = raw.stages {
            let shown = format!("{stages:?}");
            plan.stages = stages;
            plan = plan.check().map_err(|_| {
                let allowed = "percents from 1 that ascend and end with 100";
                self.refuse("rollout.stages", shown, allowed)
            })?;
        }
        if let Some(text) = raw.max_worse {
            let allowed = "a share of the devices such as 2%";
            plan.worse_permille_max =
                permille(&text).ok_or_else(|| self.refuse("rollout.max_worse", text, allowed))?;
        }
        let allowed = "0s to 30d: a number and s, m, h or d";
        if let Some(ms) = self.duration("rollout.soak", raw.soak, 0..=30 * DAY_MS, allowed)? {
            plan.soak_ms = ms;
        }
        Ok(RolloutSettings {
            mode: raw.releases,
            plan,
        })
    }
}

/// `2%` or `0.5%`, in thousandths.
pub(crate) fn permille(text: &str) -> Option<u16> {
    let percent: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
    let permille = (10.0 * percent).round();
    (0.0..=1_000.0)
        .contains(&permille)
        .then_some(permille as u16)
}
