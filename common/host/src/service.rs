//! What a program tells the service manager that started it.
//!
//! The protocol is that of sd_notify(3): datagrams of `KEY=value` lines to
//! the socket named in `NOTIFY_SOCKET` (a name that begins with `@` is in the
//! abstract namespace). Where nobody listens, nothing is said; a manager that
//! cannot be told is logged and never a reason to stop.
//!
//! The watchdog is fed by the program's own loop, and only while its
//! computations move: between two feeds each piece of work under way must have
//! sent a heartbeat ([`math::liveness`]). So a loop that stands still is restarted, and
//! ten minutes of honest training are not.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use math::liveness::{Liveness, PROCESS};

/// The service manager, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Service {
    socket: Option<OsString>,
    watchdog: Option<Watchdog>,
    status: String,
}

#[derive(Clone, Debug)]
struct Watchdog {
    liveness: &'static Liveness,
    /// The manager's patience, from its `WATCHDOG_USEC`.
    patience: Duration,
    due: Instant,
    heartbeats: u64,
    moved: Instant,
}

impl Service {
    /// Nobody to tell.
    pub fn none() -> Self {
        Self::default()
    }

    /// What the environment names: `NOTIFY_SOCKET`, and `WATCHDOG_USEC`
    /// unless `WATCHDOG_PID` says that another process is meant.
    pub fn of(environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let number = |name: &str| environment(name)?.to_str()?.parse::<u64>().ok();
        let socket = environment("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let patience = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0);
        Self {
            watchdog: patience
                .filter(|_| socket.is_some())
                .map(|usec| Watchdog::new(Duration::from_micros(usec), &PROCESS, Instant::now())),
            socket,
            status: String::new(),
        }
    }

    /// The service is up; also what ends a reload.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// The configuration is being read again; [`Self::ready`] ends it.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let usec = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// The service is going down.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// One line for people, as `systemctl status` shows it. Said again only
    /// when it changes.
    pub fn status(&mut self, line: &str) {
        let line = line.replace(['\n', '\r'], " ");
        if line != self.status {
            self.tell(&format!("STATUS={line}"));
            self.status = line;
        }
    }

    /// When [`Self::feed`] wants to be called; `None` if no watchdog waits.
    pub fn due(&self) -> Option<Instant> {
        self.watchdog.as_ref().map(|watchdog| watchdog.due)
    }

    /// Tells the watchdog that the loop goes round, if what is under way
    /// moves. To be called by the loop itself, as often as it likes.
    pub fn feed(&mut self, now: Instant) {
        let Some(watchdog) = &mut self.watchdog else {
            return;
        };
        if now < watchdog.due {
            return;
        }
        if watchdog.is_alive(now) {
            self.tell("WATCHDOG=1");
        } else {
            tracing::error!("a computation stands still; the service manager will restart this");
        }
    }

    fn tell(&self, state: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = send(socket, state) {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }
}

impl Watchdog {
    fn new(patience: Duration, liveness: &'static Liveness, now: Instant) -> Self {
        Self {
            liveness,
            patience,
            due: now,
            heartbeats: liveness.heartbeats(),
            moved: now,
        }
    }

    /// Whether all is idle or something moved in the manager's own patience.
    fn is_alive(&mut self, now: Instant) -> bool {
        self.due = now + self.patience / FEEDS_IN_PATIENCE;
        let heartbeats = self.liveness.heartbeats();
        if heartbeats != self.heartbeats || !self.liveness.is_working() {
            self.heartbeats = heartbeats;
            self.moved = now;
        }
        now.duration_since(self.moved) < self.patience
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let datagram = UnixDatagram::unbound()?;
    // A manager that does not read must not hold the loop up.
    datagram.set_nonblocking(true)?;
    datagram.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

/// Feeds in the time after which the manager gives up: some may be late.
const FEEDS_IN_PATIENCE: u32 = 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Manager {
        socket: UnixDatagram,
        folder: tempfile::TempDir,
    }

    impl Manager {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
            socket.set_nonblocking(true).unwrap();
            Self { socket, folder }
        }

        fn service(&self, watchdog_usec: Option<&str>) -> Service {
            let path = self.folder.path().join("notify").into_os_string();
            Service::of(|name| match name {
                "NOTIFY_SOCKET" => Some(path.clone()),
                "WATCHDOG_USEC" => watchdog_usec.map(OsString::from),
                _ => None,
            })
        }

        fn heard(&self) -> Vec<String> {
            let mut all = Vec::new();
            let mut buffer = [0u8; 256];
            while let Ok(length) = self.socket.recv(&mut buffer) {
                all.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
            }
            all
        }
    }

    fn leaked() -> &'static Liveness {
        Box::leak(Box::new(Liveness::new()))
    }

    #[test]
    fn the_manager_hears_each_state_and_a_status_once() {
        let manager = Manager::new();
        let mut service = manager.service(None);
        service.ready();
        service.status("3 devices");
        service.status("3 devices");
        service.reloading();
        service.stopping();
        let heard = manager.heard();
        assert_eq!(heard[..2], ["READY=1", "STATUS=3 devices"]);
        assert!(heard[2].starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(heard[3..], ["STOPPING=1"]);
        assert_eq!(service.due(), None);
    }

    #[test]
    fn a_name_in_the_abstract_namespace_is_found() {
        let name = format!("alambic-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let service =
            Service::of(|key| (key == "NOTIFY_SOCKET").then(|| OsString::from(format!("@{name}"))));
        service.ready();
        let mut buffer = [0u8; 16];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
    }

    #[test]
    fn an_idle_loop_feeds_the_watchdog_in_time() {
        let manager = Manager::new();
        let mut service = manager.service(Some("4000000"));
        let start = service.due().unwrap();
        for second in 0..4 {
            service.feed(start + Duration::from_secs(second));
            // Too early to say it again.
            service.feed(start + Duration::from_secs(second));
        }
        assert_eq!(manager.heard(), ["WATCHDOG=1"; 4]);
    }

    #[test]
    fn work_that_beats_is_alive_for_as_long_as_it_takes() {
        let liveness = leaked();
        let _work = liveness.work();
        let start = Instant::now();
        let mut watchdog = Watchdog::new(Duration::from_secs(60), liveness, start);
        for minute in 1..=10 {
            liveness.heartbeat();
            assert!(watchdog.is_alive(start + Duration::from_secs(59 * minute)));
        }
    }

    #[test]
    fn stalled_work_starves_the_watchdog() {
        let liveness = leaked();
        let work = liveness.work();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watchdog = Watchdog::new(Duration::from_secs(60), liveness, start);
        assert!(watchdog.is_alive(at(59)));
        assert!(!watchdog.is_alive(at(60)));
        drop(work);
        assert!(watchdog.is_alive(at(61)));
    }

    #[test]
    fn a_watchdog_for_another_process_is_not_ours() {
        let service = Service::of(|name| match name {
            "NOTIFY_SOCKET" => Some("/run/x".into()),
            "WATCHDOG_USEC" => Some("1000000".into()),
            "WATCHDOG_PID" => Some("1".into()),
            _ => None,
        });
        assert_eq!(service.due(), None);
    }
}
