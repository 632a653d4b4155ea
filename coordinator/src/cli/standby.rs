//! Coordinators that share a database take turns: one leads for as long as it
//! renews its lease, the others wait. A leader whose lease could end stops
//! before it does, by its own clock, however it is held up: it ends the
//! process, which a coordinator may do at any time, and waits again once the
//! service manager has started it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::exit::ExitCode;
use common::service::Service;
use common::transport::ListenerSettings;
use tracing::{error, info, warn};

use super::failure::Failure;
use crate::app::ServeError;
use crate::config::Config;
use crate::page::StandbyPage;
use crate::server::clock_guard::uptime;
use crate::server::standby::StandbyListener;
use crate::store::{
    DatabaseMetrics, DatabaseSettings, Lease, LeaseTerms, LeaseTimes, StoreError, Turn,
};

/// The turn of this process. Its lease is given up when this is dropped.
pub(super) struct Leading {
    /// What this process calls itself in the database.
    pub(super) holder: String,
    lease: Arc<Lease>,
    stop: Arc<AtomicBool>,
}

/// Waits until it is this coordinator's turn, and keeps it from then on. Who
/// asks at the page's address meanwhile is told who leads, and so is each device.
///
/// # Errors
/// What stands in the way of the database. That nobody answers does not: it
/// is waited for.
pub(super) fn wait(
    config: &Config,
    database: &DatabaseSettings,
    lease_ms: u64,
    metrics: &DatabaseMetrics,
    devices: ListenerSettings,
    service: &mut Service,
) -> Result<Leading, Failure> {
    let host = rustix::system::uname();
    let name = format!("{}, {}", host.nodename().to_string_lossy(), config.listen);
    let mut terms = LeaseTerms::new(name, lease_ms).map_err(ServeError::from)?;
    terms.address = config.advertised();
    if terms.address.is_none() {
        warn!("devices that ask a standby are not told of this coordinator: set store.advertised");
    }
    let holder = terms.holder.clone();
    let page = config.page.as_ref();
    let mut waiting = Waiting {
        service,
        page: page.and_then(|page| StandbyPage::start(page, metrics.clone())),
        devices: None,
        told: String::new(),
    };
    let lease = loop {
        match Lease::open(database.clone(), terms.clone(), metrics.clone()) {
            Ok(lease) => break lease,
            Err(error) => waiting.out(error)?,
        }
    };
    loop {
        let asked = uptime();
        match lease.try_take() {
            Ok(Turn::Ours) => {
                let until = asked + trusted_ms(lease_ms);
                metrics.lease.extended(asked, lease_ms, until);
                break;
            }
            Ok(Turn::Theirs(leader)) => {
                let line = format!("standby: {} leads", leader.name);
                let listener = waiting.devices.get_or_insert_with(|| {
                    StandbyListener::start(config.listen, devices.clone(), config.sessions())
                });
                listener.tell(leader.address.filter(|_| leader.left_ms > 0));
                waiting.tell(&line, Some(leader.left_ms));
                waiting.pause(LOOK_MS.min(leader.left_ms + 1));
            }
            Err(error) => waiting.out(error)?,
        }
    }
    // Its addresses are free again for one who leads.
    drop(waiting);
    info!("this coordinator leads from now on");
    let times = metrics.lease.clone();
    Ok(Leading::keep(Arc::new(lease), holder, times, lease_ms))
}

/// Someone who waits for its turn, and who is told of it.
struct Waiting<'a> {
    service: &'a mut Service,
    page: Option<StandbyPage>,
    /// Tells devices who leads, once that is known.
    devices: Option<StandbyListener>,
    told: String,
}

impl Waiting<'_> {
    /// Says once that it waits, and waits a little; an error that waiting does
    /// not mend is returned.
    fn out(&mut self, error: StoreError) -> Result<(), Failure> {
        let is_passing = match &error {
            StoreError::Database(error) => error.is_away(),
            _ => false,
        };
        if !is_passing {
            return Err(ServeError::from(error).into());
        }
        if let Some(devices) = &self.devices {
            devices.tell(None);
        }
        self.tell(&format!("waiting for the database: {error}"), None);
        self.pause(LOOK_MS);
        Ok(())
    }

    fn tell(&mut self, line: &str, left_ms: Option<u64>) {
        if let Some(page) = &self.page {
            page.tell(line, left_ms);
        }
        if line != self.told {
            line.clone_into(&mut self.told);
            eprintln!("{line}");
            self.service.status(line);
            // It does what it was started for.
            self.service.ready();
        }
    }

    fn pause(&mut self, ms: u64) {
        self.service.feed(Instant::now());
        thread::sleep(Duration::from_millis(ms));
    }
}

impl Leading {
    fn keep(lease: Arc<Lease>, holder: String, times: LeaseTimes, lease_ms: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (renewing, stopping) = (lease.clone(), stop.clone());
        let extended = times.clone();
        thread::spawn(move || renew(&renewing, &extended, &stopping, lease_ms));
        let stopping = stop.clone();
        thread::spawn(move || watch(&times, &stopping));
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
fn renew(lease: &Lease, times: &LeaseTimes, stop: &AtomicBool, lease_ms: u64) {
    while !stop.load(Ordering::Relaxed) {
        let asked = uptime();
        match lease.renew() {
            // It lasts from a moment after the question on.
            Ok(true) => times.extended(asked, lease_ms, asked + trusted_ms(lease_ms)),
            Ok(false) => end("another coordinator has taken the lead"),
            Err(error) => warn!(%error, "the lease could not be renewed"),
        }
        thread::sleep(Duration::from_millis(lease_ms / RENEWALS));
    }
}

/// Ends the process before the lease could end, whatever else it does.
fn watch(times: &LeaseTimes, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let left = times.until().saturating_sub(uptime());
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
