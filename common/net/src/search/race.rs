//! Several addresses of which one serves: who answers first.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::host_port::HostPort;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use super::{Search, alternated, resolve};
use crate::connection::Connection;
use crate::dialler::Dialler;
use crate::error::TransportError;
use crate::silence::Silence;

/// One search, from its addresses to the first that lets the program in.
///
/// A coordinator that stands by says where the leader is: that address comes
/// next. As long as any address may still answer, one that stood by is asked
/// again from time to time, for it may lead by then.
pub(super) struct Race {
    search: Search,
    waiting: VecDeque<SocketAddr>,
    /// All that were ever tried or wait to be.
    known: Vec<SocketAddr>,
    standing_by: Vec<SocketAddr>,
    attempts: JoinSet<Step>,
    /// Attempts and look-ups that may still lead to a coordinator that serves.
    open: usize,
    hints_left: usize,
    failure: Option<TransportError>,
}

type Found = (Dialler, Connection);

enum Step {
    Ended(SocketAddr, Result<Found, TransportError>),
    LookedUp(Result<Vec<SocketAddr>, TransportError>),
}

impl Race {
    pub(super) fn new(search: Search, addresses: Vec<SocketAddr>) -> Self {
        Self {
            search,
            known: addresses.clone(),
            waiting: addresses.into(),
            standing_by: Vec::new(),
            attempts: JoinSet::new(),
            open: 0,
            hints_left: HINTS_MAX,
            failure: None,
        }
    }

    /// The first that lets the program in; the other attempts end with this.
    pub(super) async fn run(mut self) -> Result<Found, TransportError> {
        loop {
            if let Some(address) = self.waiting.pop_front() {
                self.open += 1;
                self.attempt(address, Duration::ZERO);
            }
            let ended = tokio::select! {
                ended = self.attempts.join_next() => ended,
                () = sleep(HEAD_START), if !self.waiting.is_empty() => continue,
            };
            if let Some(found) = self.step(ended) {
                return Ok(found);
            }
            let is_over = self.open == 0 || self.attempts.is_empty();
            if is_over && self.waiting.is_empty() {
                return Err(self.failure.unwrap_or(NO_ADDRESS));
            }
        }
    }

    fn step(&mut self, ended: Option<Result<Step, JoinError>>) -> Option<Found> {
        match ended {
            Some(Ok(Step::Ended(_, Ok(found)))) => return Some(found),
            Some(Ok(Step::Ended(address, Err(error)))) => self.failed(address, error),
            Some(Ok(Step::LookedUp(addresses))) => {
                self.open -= 1;
                match addresses {
                    Ok(addresses) => self.join(addresses),
                    Err(error) => self.note(error),
                }
            }
            // It panicked, or the runtime ends.
            Some(Err(_)) | None => {}
        }
        None
    }

    fn attempt(&mut self, address: SocketAddr, after: Duration) {
        let search = self.search.clone();
        self.attempts.spawn(async move {
            sleep(after).await;
            Step::Ended(address, search.attempt(address).await)
        });
    }

    fn failed(&mut self, address: SocketAddr, error: TransportError) {
        let stood_by = self.standing_by.contains(&address);
        if !stood_by {
            self.open -= 1;
        }
        if let TransportError::NotLeading { leader } = &error {
            if let Some(leader) = leader.clone() {
                self.hear(leader);
            }
            if !stood_by {
                self.standing_by.push(address);
            }
        }
        if self.standing_by.contains(&address) {
            self.attempt(address, AGAIN);
        }
        self.note(error);
    }

    /// Looks a leader's address up. A standby that is wrong, or two that name each
    /// other, cost no more than the hints that are left.
    fn hear(&mut self, leader: HostPort) {
        if self.hints_left > 0 {
            self.hints_left -= 1;
            self.open += 1;
            // There is another that takes over.
            self.search.tuning = self.search.tuning.clone().of_several();
            self.attempts
                .spawn(async move { Step::LookedUp(resolve(leader.as_str()).await) });
        }
    }

    /// Addresses of a leader come next, but for those that are tried anyway.
    fn join(&mut self, addresses: Vec<SocketAddr>) {
        for address in alternated(addresses).into_iter().rev() {
            if !self.known.contains(&address) {
                self.known.push(address);
                self.waiting.push_front(address);
            }
        }
    }

    fn note(&mut self, error: TransportError) {
        let says_more = |known: &TransportError| tells(&error) > tells(known);
        if self.failure.as_ref().is_none_or(says_more) {
            self.failure = Some(error);
        }
    }
}

/// How much an error says about the coordinator.
fn tells(error: &TransportError) -> u8 {
    match error {
        TransportError::Address { .. } => 0,
        TransportError::UnknownHost { .. } => 1,
        TransportError::NoAnswer { silence, .. } => match silence {
            Silence::Complete => 1,
            Silence::NoWay => 0,
            Silence::PortClosed => 2,
            Silence::Forbidden | Silence::SmallPackets { .. } => 3,
        },
        TransportError::NotLeading { .. } => 4,
        _ => 5,
    }
}

const NO_ADDRESS: TransportError = TransportError::Lost {
    reason: "its name has no address",
};
/// How long an address has before the next is tried beside it (RFC 8305,
/// section 5).
const HEAD_START: Duration = Duration::from_millis(250);
/// How long a coordinator that stands by is left alone.
const AGAIN: Duration = Duration::from_secs(1);
/// How often in one search another coordinator's word is taken for where the
/// leader is.
const HINTS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::alpn::Protocol;
    use crate::dialler::ClientIdentity;
    use crate::tuning::Tuning;
    use protocol::ids::Time;
    use protocol::trust::certificate::Fingerprint;
    use protocol::trust::clock::Clock;

    fn not_leading(leader: Option<&str>) -> TransportError {
        TransportError::NotLeading {
            leader: leader.and_then(HostPort::parse),
        }
    }

    #[tokio::test]
    async fn who_was_sent_on_notices_soon_that_a_leader_is_gone() {
        let search = Search {
            identity: ClientIdentity::Enrolling {
                ca_pin: Fingerprint([0; 32]),
            },
            protocol: Protocol::Devices,
            tuning: Tuning::device(),
            clock: Clock::fixed(Time(0)),
        };
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let mut race = Race::new(search, vec![address]);
        race.open = 1;
        race.failed(address, not_leading(None));
        assert_eq!(race.search.tuning, Tuning::device(), "it knows no other");
        race.failed(address, not_leading(Some("127.0.0.1:2")));
        assert_eq!(race.search.tuning, Tuning::device().of_several());
        assert!(race.search.tuning.idle_ms <= 10_000);
    }
}
