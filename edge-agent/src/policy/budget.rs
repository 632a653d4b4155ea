//! How much a device may tell in all, by differential privacy.

use bincode::{Decode, Encode};
use common::math::privacy::{epsilon_of, rho_of};
use serde::Deserialize;

use super::{PolicyError, checked};

/// `[privacy]` as it is written.
///
/// | key | default | allowed |
/// |---|---|---|
/// | `epsilon` | none: no noise | 0.1 to 50 |
/// | `delta` | 0.00001 | 1e-12 to 0.001 |
/// | `contributions` | 1 | 1 to 1000 |
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawBudget {
    epsilon: Option<f64>,
    delta: Option<f64>,
    contributions: Option<i64>,
}

/// What everything that ever leaves the device may cost together: it is (ε, δ)-
/// differentially private with regard to one row and its copies. The coordinator
/// cannot raise it.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
pub struct Budget {
    epsilon: f64,
    delta: f64,
    contributions: u32,
}

impl RawBudget {
    /// The budget these keys mean; none without an ε.
    ///
    /// # Errors
    /// The first key whose value is not allowed, or that means nothing because
    /// there is no ε.
    pub fn check(self) -> Result<Option<Budget>, PolicyError> {
        let refuse = |key, value: String, allowed| {
            Err(PolicyError {
                key,
                value,
                allowed,
            })
        };
        let Some(epsilon) = self.epsilon else {
            let alone = "absent unless privacy.epsilon is set";
            return match (self.delta, self.contributions) {
                (Some(delta), _) => refuse("privacy.delta", delta.to_string(), alone),
                (_, Some(many)) => refuse("privacy.contributions", many.to_string(), alone),
                (None, None) => Ok(None),
            };
        };
        if !(0.1..=50.0).contains(&epsilon) {
            return refuse(
                "privacy.epsilon",
                epsilon.to_string(),
                "a number from 0.1 to 50",
            );
        }
        let delta = self.delta.unwrap_or(DELTA);
        if !(1e-12..=1e-3).contains(&delta) {
            return refuse(
                "privacy.delta",
                delta.to_string(),
                "a number from 1e-12 to 0.001",
            );
        }
        let many = |value| {
            u32::try_from(value)
                .ok()
                .filter(|many| (1..=1000).contains(many))
        };
        let allowed = "a whole number from 1 to 1000";
        let contributions = checked("privacy.contributions", allowed, self.contributions, many)?;
        Ok(Some(Budget {
            epsilon,
            delta,
            contributions: contributions.unwrap_or(1),
        }))
    }
}

impl Budget {
    /// Of an ε and a δ, to be spent at once. For simulations.
    pub fn once(epsilon: f64, delta: f64) -> Self {
        Self {
            epsilon,
            delta,
            contributions: 1,
        }
    }

    /// ε.
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// δ.
    pub fn delta(&self) -> f64 {
        self.delta
    }

    /// Equal parts that it is spent in.
    pub fn contributions(&self) -> u32 {
        self.contributions
    }

    /// What may be spent in all, in zCDP.
    pub fn rho(&self) -> f64 {
        rho_of(self.epsilon, self.delta)
    }

    /// The ε for the same δ of what was spent, in zCDP.
    pub fn epsilon_of(&self, rho: f64) -> f64 {
        epsilon_of(rho, self.delta)
    }

    /// What a task's profile and one summary cost together.
    pub fn rho_of_contribution(&self) -> f64 {
        self.rho() / f64::from(self.contributions)
    }
}

/// δ where none is set.
pub const DELTA: f64 = 1e-5;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn budget(text: &str) -> Result<Option<Budget>, PolicyError> {
        toml::from_str::<RawBudget>(text).unwrap().check()
    }

    #[test]
    fn without_an_epsilon_there_is_no_budget() {
        assert_eq!(budget("").unwrap(), None);
        for (text, key) in [
            ("delta = 1e-6", "privacy.delta"),
            ("contributions = 3", "privacy.contributions"),
            ("epsilon = 0.0", "privacy.epsilon"),
            ("epsilon = nan", "privacy.epsilon"),
            ("epsilon = 1\ndelta = 0.5", "privacy.delta"),
            ("epsilon = 1\ncontributions = 0", "privacy.contributions"),
        ] {
            assert_eq!(budget(text).unwrap_err().key, key, "{text}");
        }
    }

    #[test]
    fn several_contributions_share_what_one_would_cost() {
        let one = budget("epsilon = 3.0").unwrap().unwrap();
        let four = budget("epsilon = 3\ncontributions = 4").unwrap().unwrap();
        assert_eq!(one, Budget::once(3.0, DELTA));
        assert_eq!(one.rho(), four.rho());
        assert!((one.rho_of_contribution() / four.rho_of_contribution() - 4.0).abs() < 1e-9);
    }
}
