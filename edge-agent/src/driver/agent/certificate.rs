//! A new certificate before the old one ends.

use std::sync::Arc;
use std::time::Duration;

use common::ids::Time;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Agent, Event, LONG};
use crate::driver::workshop::Workshop;
use crate::enrol::EnrolError;
use crate::identity::{Identity, TimeFloor};
use crate::renewal;

/// When the next certificate is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// At this time of day.
    At(Time),
    /// At this moment, after a failure.
    Again(Instant),
    /// It was asked for.
    Asked,
    /// Never: the coordinator will not give one.
    Hopeless,
}

impl<W: Workshop> Agent<W> {
    /// When to look whether the next certificate is due. The clock may be
    /// set meanwhile, so it is looked at now and then.
    pub(super) fn renewal_wake(&self) -> Instant {
        match self.renewal {
            Renewal::At(due) => {
                let left_ms = due.since_ms(self.settings.route.floor.clock().now());
                Instant::now() + Duration::from_millis(left_ms).min(LONG)
            }
            Renewal::Again(at) => at,
            Renewal::Asked | Renewal::Hopeless => Instant::now() + LONG,
        }
    }

    pub(super) fn renew_if_due(&mut self) {
        let is_due = match self.renewal {
            Renewal::At(due) => due <= self.settings.route.floor.clock().now(),
            Renewal::Again(at) => at <= Instant::now(),
            Renewal::Asked | Renewal::Hopeless => false,
        };
        if !is_due {
            return;
        }
        self.renewal = Renewal::Asked;
        let (back, state) = (self.back.clone(), self.state.clone());
        let route = self.settings.route.clone();
        self.work.spawn(async move {
            let renewed = renewal::renew(&state, &route).await;
            // Fails only if the agent has stopped.
            let _ = back.send(Event::Renewed(renewed)).await;
        });
    }

    /// The open session goes on with the certificate that opened it.
    pub(super) fn renewed(&mut self, result: Result<Arc<Identity>, EnrolError>) {
        match result {
            Ok(identity) => {
                let end_ms = identity.certificate.not_after.0;
                info!(end_ms, "the certificate was renewed");
                self.renewal = Renewal::At(renewal::due(&identity.certificate));
                self.settings.route.identity = identity;
                self.raise_floor();
            }
            Err(problem) if renewal::is_final(&problem) => {
                let advice = problem.advice().unwrap_or_default();
                error!("the certificate is not renewed: {problem}; {advice}");
                self.renewal = Renewal::Hopeless;
            }
            Err(problem) => {
                let wait_ms = renewal::retry_ms(&self.settings.route.identity.certificate);
                warn!(wait_ms, "the certificate could not be renewed: {problem}");
                self.renewal = Renewal::Again(Instant::now() + Duration::from_millis(wait_ms));
            }
        }
    }

    /// What was signed since tells how late it is at least.
    pub(super) fn raise_floor(&mut self) {
        self.settings.route.floor = TimeFloor::load(&self.state);
    }
}
