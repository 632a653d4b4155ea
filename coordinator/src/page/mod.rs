//! The coordinator's web page: what the fleet is doing, for people.
//!
//! Read-only, on a loopback address unless the configuration says otherwise,
//! and complete in itself: it loads nothing from elsewhere and works without
//! JavaScript. With it, the page follows the fleet by server-sent events.
//!
//! A page is made from snapshots that the core gives to operators anyway
//! (`view`), at most one each `view::AGE_MAX` however many people look,
//! and rendered on blocking threads; the core never waits for a browser.

mod alert;
mod audit;
mod certificates;
mod delay;
mod device;
mod distilled;
mod expiry;
mod fleet;
mod health;
mod history;
mod layout;
mod live;
mod look;
mod maps;
mod rollouts;
mod rounds;
mod route;
mod scrape;
mod server;
mod standby;
mod students;
mod summary;
mod view;
mod words;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use route::parse as query;
pub(crate) use server::PageServer;
pub(crate) use standby::StandbyPage;

/// Where the page is served, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageSettings {
    /// The address. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Whether the coordinator may not start without it. A default address
    /// that another program has is only worth a warning.
    pub required: bool,
    /// Whether any address but a loopback one is allowed.
    pub public: bool,
    /// Names it may be asked by besides IP addresses and `localhost`.
    pub hosts: Vec<String>,
    /// The state directory, whose disk is watched.
    pub state: PathBuf,
}

/// Why the page cannot be served.
#[derive(Debug, thiserror::Error)]
#[error(
    "the page cannot be served at {address}: {source}; choose another address with `page.listen` \
     or --page, or turn it off with --page off"
)]
pub struct PageError {
    /// Where.
    pub address: SocketAddr,
    /// What the operating system says.
    pub source: std::io::Error,
}
