//! Coordinators that share a database take turns: one leads for as long as it
//! renews its lease, the others wait. A leader whose lease could end stops
//! before it does, by its own clock, however it is held up: it ends the
//! process, which a coordinator may do at any time, and waits again once the
//! service manager has started it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::exit::ExitCode;
use common::service::Service;
use tracing::{error, info, warn};

use super::failure::Failure;
use crate::app::ServeError;
use crate::config::Config;
use crate::server::clock_guard::uptime;
use crate::store::{DatabaseSettings, Lease, LeaseTerms, StoreError, Turn};

/// The turn of this process. Its lease is given up when this is dropped.
pub(super) struct Leading {
    /// What this process calls itself in the database.
    pub(super) holder: String,
    lease: Arc<Lease>,
    stop: Arc<AtomicBool>,
}

/// Waits until it is this coordinator's turn, and keeps it from then on.
///
/// # Errors
/// What stands in the way of the database. That nobody answers does not: it
/// is waited for.
pub(super) fn wait(
    config: &Config,
    database: &DatabaseSettings,
    lease_ms: u64,
    service: &mut Service,
) -> Result<Leading, Failure> {
    let host = rustix::system::uname();
    let name = format!("{}, {}", host.nodename().to_string_lossy(), config.listen);
    let terms = LeaseTerms::new(name, lease_ms).map_err(ServeError::from)?;
    let holder = terms.holder.clone();
    let mut told = String::new();
    let lease = loop {
        match Lease::open(database.clone(), terms.clone()) {
            Ok(lease) => break lease,
            Err(error) => waited_for(error, service, &mut told)?,
        }
    };
    let until = loop {
        let asked = uptime();
        match lease.try_take() {
            Ok(Turn::Ours) => break asked + trusted_ms(lease_ms),
            Ok(Turn::Theirs { name, left_ms }) => {
                let line = format!("standby: {name} leads");
                tell(&line, service, &mut told);
                pause(service, LOOK_MS.min(left_ms + 1));
            }
            Err(error) => waited_for(error, service, &mut told)?,
        }
    };
    info!("this coordinator leads from now on");
    Ok(Leading::keep(Arc::new(lease), holder, until, lease_ms))
}

/// Says once that it waits, and waits a little; an error that waiting does not
/// mend is returned.
fn waited_for(error: StoreError, service: &mut Service, told: &mut String) -> Result<(), Failure> {
    let is_passing = match &error {
        StoreError::Database(error) => error.is_away(),
        _ => false,
    };
    if !is_passing {
        return Err(ServeError::from(error).into());
    }
    tell(&format!("waiting for the database: {error}"), service, told);
    pause(service, LOOK_MS);
    Ok(())
}

fn tell(line: &str, service: &mut Service, told: &mut String) {
    if line != told {
        line.clone_into(told);
        eprintln!("{line}");
        service.status(line);
        // It does what it was started for.
        service.ready();
    }
}

fn pause(service: &mut Service, ms: u64) {
    service.feed(Instant::now());
    thread::sleep(Duration::from_millis(ms));
}

impl Leading {
    fn keep(lease: Arc<Lease>, holder: String, until: u64, lease_ms: u64) -> Self {
        let (until, stop) = (
            Arc::new(AtomicU64::new(until)),
            Arc::new(AtomicBool::new(false)),
        );
        let (renewing, stopping) = (lease.clone(), stop.clone());
        let extended = until.clone();
        thread::spawn(move || renew(&renewing, &extended, &stopping, lease_ms));
        let stopping = stop.clone();
        thread::spawn(move || watch(&until, &stopping));
        Self {
            holder,
            lease,
            stop,
        }
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Serving has ended; if this fails, the lease ends by itself.
        if let Err(error) = self.lease.give_up() {
            warn!(%error, "the lease could not be given up");
        }
    }
}

/// Renews the lease until it is told to stop.
fn renew(lease: &Lease, until: &AtomicU64, stop: &AtomicBool, lease_ms: u64) {
    while !stop.load(Ordering::Relaxed) {
        let asked = uptime();
        match lease.renew() {
            // It lasts from a moment after the question on.
            Ok(true) => until.store(asked + trusted_ms(lease_ms), Ordering::Relaxed),
            Ok(false) => end("another coordinator has taken the lead"),
            Err(error) => warn!(%error, "the lease could not be renewed"),
        }
        thread::sleep(Duration::from_millis(lease_ms / RENEWALS));
    }
}

/// Ends the process before the lease could end, whatever else it does.
fn watch(until: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let left = until.load(Ordering::Relaxed).saturating_sub(uptime());
        if left == 0 {
            end("the lease was not renewed in time, another coordinator may lead soon");
        }
        thread::sleep(Duration::from_millis(left.min(WATCH_MS)));
    }
}

/// Nothing is lost by it: what was acknowledged is durable at any time.
fn end(why: &str) -> ! {
    error!("{why}; this process ends");
    std::process::exit(ExitCode::Failed as i32);
}

/// How much of a lease is used: the rest is for clocks that go unlike, and for
/// ending the process.
fn trusted_ms(lease_ms: u64) -> u64 {
    lease_ms / 10 * 8
}

/// Renewals in a lease.
const RENEWALS: u64 = 6;
/// How often a standby looks.
const LOOK_MS: u64 = 200;
/// How often the end of the lease is looked at.
const WATCH_MS: u64 = 20;
