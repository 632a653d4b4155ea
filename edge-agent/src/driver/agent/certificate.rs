//! A new certificate before the old one ends.

use std::sync::Arc;
use std::time::Duration;

use common::human;
use common::ids::Time;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Agent, Event, LONG};
use crate::driver::backend::Backend;
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
}

impl<W: Backend> Agent<W> {
    /// When to look whether the next certificate is due. The clock may be
    /// set meanwhile, so it is looked at now and then.
    pub(super) fn renewal_wake(&self) -> Instant {
        match self.renewal {
            Renewal::At(due) => {
                let left_ms = due.since_ms(self.settings.route.floor.clock().now());
                Instant::now() + Duration::from_millis(left_ms).min(LONG)
            }
            Renewal::Again(at) => at.min(Instant::now() + LONG),
            Renewal::Asked => Instant::now() + LONG,
        }
    }

    pub(super) fn renew_if_due(&mut self) {
        self.look_at_clock();
        let is_due = match self.renewal {
            Renewal::At(due) => due <= self.settings.route.floor.clock().now(),
            Renewal::Again(at) => at <= Instant::now(),
            Renewal::Asked => false,
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
                self.refusals = 0;
                self.settings.route.identity = identity;
                self.raise_floor();
                self.wait_if_ahead();
            }
            Err(problem) => {
                self.refusals = match problem.is_refusal() {
                    true => self.refusals.saturating_add(1),
                    false => 0,
                };
                let certificate = &self.settings.route.identity.certificate;
                let wait_ms = renewal::retry_ms(certificate, self.refusals);
                let again = human::span(wait_ms);
                match problem.advice() {
                    Some(advice) if self.refusals == 1 => error!(
                        "the certificate is not renewed: {problem}; {advice}; asked for again in \
                         {again}"
                    ),
                    _ => warn!(
                        "the certificate could not be renewed: {problem}; asked for again in \
                         {again}"
                    ),
                }
                self.renewal = Renewal::Again(Instant::now() + Duration::from_millis(wait_ms));
            }
        }
    }

    /// A certificate that was just made and is due for renewal already: this
    /// device's clock is ahead by half of its life or more. The next one would be
    /// due as well, so it is not asked for at once.
    fn wait_if_ahead(&mut self) {
        let certificate = &self.settings.route.identity.certificate;
        let now = self.settings.route.floor.clock().now();
        if renewal::due(certificate) > now {
            self.ahead = 0;
            self.status.clock_error = None;
            return;
        }
        self.ahead = self.ahead.saturating_add(1);
        let wait_ms = renewal::ahead_ms(certificate, self.ahead);
        self.renewal = Renewal::Again(Instant::now() + Duration::from_millis(wait_ms));
        if self.ahead == 1 {
            let what = format!(
                "this device's clock is ahead of the coordinator's by about {}: its new \
                 certificate is due for renewal already; set the clock, and the coordinator's if \
                 that is the wrong one",
                human::span(now.since_ms(certificate.not_before))
            );
            warn!("{what}; asked for again in {}", human::span(wait_ms));
            self.status.clock_error = Some(what);
            self.publish();
        }
    }

    /// A clock that was ahead may have been set meanwhile.
    fn look_at_clock(&mut self) {
        let due = renewal::due(&self.settings.route.identity.certificate);
        let is_set = due > self.settings.route.floor.clock().now();
        if self.ahead > 0 && is_set && self.renewal != Renewal::Asked {
            self.ahead = 0;
            self.renewal = Renewal::At(due);
            self.status.clock_error = None;
            self.publish();
        }
    }

    /// The coordinator wants all certificates renewed, each device's at a
    /// moment of its own within a minute.
    pub(super) fn renew_soon(&mut self) {
        if self.renewal != Renewal::Asked {
            info!("the coordinator asks for the certificate to be renewed now");
            let certificate = &self.settings.route.identity.certificate;
            let spread = Duration::from_millis(renewal::spread_ms(certificate, SOON_MS));
            self.renewal = Renewal::Again(Instant::now() + spread);
        }
    }

    /// A device that is let in is not lost, whatever it was told before: a
    /// refusal may have come of a wrong clock. So it is not waited for long.
    pub(super) fn let_in(&mut self) {
        if let Renewal::Again(at) = self.renewal
            && std::mem::take(&mut self.refusals) > 0
        {
            let certificate = &self.settings.route.identity.certificate;
            let soon = Duration::from_millis(renewal::retry_ms(certificate, 0));
            self.renewal = Renewal::Again(at.min(Instant::now() + soon));
        }
    }

    /// What was signed since tells how late it is at least.
    pub(super) fn raise_floor(&mut self) {
        self.settings.route.floor = TimeFloor::load(&self.state);
    }
}

/// Time in which a whole fleet renews when it is asked to.
const SOON_MS: u64 = 60_000;
