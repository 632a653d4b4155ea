//! Options of fleets under differential privacy.

use clap::Args;

use edge_agent::policy::{Budget, DELTA};
use lab::simulate::Asked;

#[derive(Clone, Debug, Args)]
pub(crate) struct ProtectionArguments {
    /// Devices add noise to everything they send, so that it is (ε, δ)-differentially private in a
    /// row and its copies, as agents with `privacy.epsilon`
    #[arg(long, value_parser = epsilon)]
    epsilon: Option<f64>,
    /// δ
    #[arg(long, default_value_t = DELTA, requires = "epsilon", value_parser = delta)]
    delta: f64,
    /// Devices without noise, from whose rows alone the normaliser is learnt [default: 2 where it
    /// is learnt, else 0]
    #[arg(long, requires = "epsilon")]
    pilots: Option<usize>,
}

impl ProtectionArguments {
    pub(crate) fn asked(&self) -> Option<Asked> {
        Some(Asked {
            budget: Budget::once(self.epsilon?, self.delta),
            pilots: self.pilots,
        })
    }
}

fn epsilon(text: &str) -> Result<f64, String> {
    within(text, 0.1, 50.0)
}

fn delta(text: &str) -> Result<f64, String> {
    within(text, 1e-12, 1e-3)
}

fn within(text: &str, low: f64, high: f64) -> Result<f64, String> {
    let value = text.parse::<f64>().ok();
    let value = value.filter(|value| (low..=high).contains(value));
    value.ok_or_else(|| format!("a number from {low} to {high} is needed"))
}
