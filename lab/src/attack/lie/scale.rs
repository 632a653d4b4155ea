//! Contributions that are true but for their size or sign.

use edge_agent::work::Built;

use super::super::claim::{Claiming, inflate_moments};
use super::super::{Attack, Claim, Kind, Plot};
use super::{recode, with_moments};
use crate::simulation::{Heard, Lie};

pub(in super::super) const INFLATE: Attack = Attack {
    name: "inflate",
    about: "liars claim more rows than they hold (--claim, else five times as many)",
    kind: Kind::Lying(|scene| {
        // A claim that was asked for comes on top of whatever lie it is.
        let lie: Box<dyn Lie> = match scene.options.claim {
            Some(_) => Box::new(Truth),
            None => Box::new(Claiming::of(Box::new(Truth), CLAIM)),
        };
        Ok(Plot { lie, aim: None })
    }),
};

pub(in super::super) const SCALE: Attack = Attack {
    name: "scale",
    about: "liars multiply their moments (--factor, else 4) and claim their true rows",
    kind: Kind::Lying(|scene| {
        let factor = scene.options.factor.unwrap_or(FACTOR);
        if !(factor.is_finite() && factor > 0.0) {
            let problem = "is a number above 0; negate turns the sign".to_owned();
            return Err(scene.option("--factor", problem));
        }
        Ok(Plot {
            lie: Box::new(Scaled { factor }),
            aim: None,
        })
    }),
};

pub(in super::super) const NEGATE: Attack = Attack {
    name: "negate",
    about: "liars turn the sign of what their moments say of labels",
    kind: Kind::Lying(|_| {
        Ok(Plot {
            lie: Box::new(Negated),
            aim: None,
        })
    }),
};

struct Truth;

impl Lie for Truth {}

struct Scaled {
    factor: f64,
}

impl Lie for Scaled {
    fn sends(&self, _heard: &Heard<'_>, answer: Built) -> Built {
        with_moments(answer, |raw| inflate_moments(raw, self.factor))
    }
}

struct Negated;

impl Lie for Negated {
    fn sends(&self, _heard: &Heard<'_>, answer: Built) -> Built {
        with_moments(answer, |raw| recode(&mut raw.targets, |targets| -targets))
    }
}

const CLAIM: Claim = Claim::Times(5.0);
const FACTOR: f64 = 4.0;
