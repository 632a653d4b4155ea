//! Which devices had a session, and where: kept beside the store so that a
//! coordinator that was killed can tell them to come back.
//!
//! It is a hint and no state. Each session adds 48 bytes when it begins and
//! when it ends, written through the page cache and never flushed: a killed
//! process loses none of it, and after a power cut devices come back with
//! their next keep-alive, as they do when a reminder is lost.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::ids::DeviceId;
use common::ownership::create_private;
use common::transport::{Connection, ConnectionName, Listener};

/// A session as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenConnection {
    at: SocketAddr,
    name: ConnectionName,
}

/// The sessions that are open now, and the file that outlives the process.
#[derive(Debug, Default)]
pub(crate) struct ConnectionJournal(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    path: Option<PathBuf>,
    /// None once it could not be written, or if nothing is to be kept.
    file: Option<File>,
    records: usize,
    sessions: BTreeMap<DeviceId, OpenConnection>,
}

impl ConnectionJournal {
    /// Begins a file, in place of an earlier process's, whose open sessions
    /// are returned. Without a path nothing is kept.
    pub(crate) fn open(path: Option<PathBuf>) -> (Self, Vec<(DeviceId, OpenConnection)>) {
        let before = path.as_ref().and_then(|path| fs::read(path).ok());
        let before = fold(&before.unwrap_or_default());
        let mut open = Open {
            path,
            ..Open::default()
        };
        // They stay in the file until they are back or reminded.
        open.sessions = before.clone();
        open.rewrite();
        open.sessions.clear();
        (Self(Mutex::new(open)), before.into_iter().collect())
    }

    /// A session began.
    pub(crate) fn began(&self, device: DeviceId, connection: &Connection) {
        let Some(name) = connection.name() else {
            return;
        };
        let at = connection.remote_address();
        let mut open = self.lock();
        let entry = OpenConnection { at, name };
        open.sessions.insert(device, entry);
        open.append(&encode(device, Some(entry)));
    }

    /// A session ended; a newer one of the device stays.
    pub(crate) fn ended(&self, device: DeviceId, connection: &Connection) {
        let mut open = self.lock();
        let is_newest = open
            .sessions
            .get(&device)
            .is_some_and(|newest| Some(newest.name) == connection.name());
        if is_newest {
            open.sessions.remove(&device);
            open.append(&encode(device, None));
        }
    }

    /// Every device was told that the coordinator goes down.
    pub(crate) fn clear(&self) {
        let mut open = self.lock();
        open.sessions.clear();
        open.rewrite();
    }

    fn is_back(&self, device: DeviceId) -> bool {
        self.lock().sessions.contains_key(&device)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reminds the devices of an earlier process that are not back, no faster
/// than they can be let in, and those whose reminder was lost once more.
pub(crate) async fn remind(
    listener: &Listener,
    connections: &ConnectionJournal,
    before: Vec<(DeviceId, OpenConnection)>,
) {
    if before.is_empty() {
        return;
    }
    tracing::info!(
        devices = before.len(),
        "reminding devices of an earlier run"
    );
    for pass in 0..PASSES {
        if pass > 0 {
            tokio::time::sleep(AGAIN).await;
        }
        for some in before.chunks(REMINDERS_AT_ONCE) {
            for (device, entry) in some {
                if connections.is_back(*device) {
                    continue;
                }
                if let Err(error) = listener.remind(entry.at, entry.name) {
                    tracing::debug!(device = %device.short(), %error, "not reminded");
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// 400 devices a second: as many full handshakes as one slow core does.
const REMINDERS_AT_ONCE: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);
const PASSES: usize = 2;
const AGAIN: Duration = Duration::from_millis(1_500);

impl Open {
    fn append(&mut self, record: &[u8; RECORD_BYTES]) {
        if self.records > RECORDS_MIN + 4 * self.sessions.len() {
            return self.rewrite();
        }
        if let Some(file) = &mut self.file {
            self.records += 1;
            if let Err(error) = file.write_all(record) {
                self.give_up(&error);
            }
        }
    }

    /// Writes the open sessions anew, in place of all that was.
    fn rewrite(&mut self) {
        let Some(path) = &self.path else { return };
        let fresh = path.with_extension("new");
        let written = || -> io::Result<File> {
            let mut file = create_private(&fresh)?;
            let sessions = self.sessions.iter();
            let records: Vec<u8> = sessions
                .flat_map(|(device, entry)| encode(*device, Some(*entry)))
                .collect();
            file.write_all(&records)?;
            fs::rename(&fresh, path)?;
            Ok(file)
        };
        match written() {
            Ok(file) => {
                self.file = Some(file);
                self.records = self.sessions.len();
            }
            Err(error) => self.give_up(&error),
        }
    }

    fn give_up(&mut self, error: &io::Error) {
        self.file = None;
        let path = self.path.take().unwrap_or_default();
        tracing::warn!(
            path = %path.display(), %error,
            "who is connected cannot be noted; after a crash devices come back with their next \
             keep-alive"
        );
    }
}

fn encode(device: DeviceId, entry: Option<OpenConnection>) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..16].copy_from_slice(&device.0);
    if let Some(OpenConnection { at, name }) = entry {
        let (kind, ip) = match at.ip() {
            IpAddr::V4(ip) => (4, ip.to_ipv6_mapped()),
            IpAddr::V6(ip) => (6, ip),
        };
        record[16..32].copy_from_slice(&ip.octets());
        record[32..34].copy_from_slice(&at.port().to_be_bytes());
        record[34..42].copy_from_slice(&name.0);
        record[42] = kind;
    }
    let check = blake3::hash(&record[..43]);
    record[43..].copy_from_slice(&check.as_bytes()[..RECORD_BYTES - 43]);
    record
}

/// The sessions that were open at the file's end. What is torn or damaged is
/// left out: nobody is written to on its word.
fn fold(bytes: &[u8]) -> BTreeMap<DeviceId, OpenConnection> {
    let mut sessions = BTreeMap::new();
    for record in bytes.chunks_exact(RECORD_BYTES) {
        if blake3::hash(&record[..43]).as_bytes()[..RECORD_BYTES - 43] != record[43..] {
            continue;
        }
        let (mut device, mut ip, mut name) = ([0; 16], [0; 16], [0; 8]);
        device.copy_from_slice(&record[..16]);
        ip.copy_from_slice(&record[16..32]);
        name.copy_from_slice(&record[34..42]);
        let ip = Ipv6Addr::from(ip);
        let ip = match record[42] {
            4 => ip.to_ipv4_mapped().map(IpAddr::V4),
            6 => Some(IpAddr::V6(ip)),
            _ => None,
        };
        let port = u16::from_be_bytes([record[32], record[33]]);
        match ip {
            Some(ip) if sessions.len() < CONNECTIONS_MAX => {
                let entry = OpenConnection {
                    at: SocketAddr::new(ip, port),
                    name: ConnectionName(name),
                };
                sessions.insert(DeviceId(device), entry);
            }
            _ => {
                sessions.remove(&DeviceId(device));
            }
        }
    }
    sessions
}

const RECORD_BYTES: usize = 48;
/// Records before the file is written anew, however few sessions there are.
const RECORDS_MIN: usize = 4_096;
/// As many as a listener has connections.
const CONNECTIONS_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(port: u16) -> OpenConnection {
        OpenConnection {
            at: SocketAddr::from(([192, 0, 2, 7], port)),
            name: ConnectionName([port as u8; 8]),
        }
    }

    const ONE: DeviceId = DeviceId([1; 16]);
    const TWO: DeviceId = DeviceId([2; 16]);

    #[test]
    fn open_sessions_survive_and_ended_and_damaged_ones_do_not() {
        let six = OpenConnection {
            at: "[2001:db8::1]:9".parse().unwrap(),
            ..entry(3)
        };
        let mut bytes = encode(ONE, Some(entry(1))).to_vec();
        bytes.extend(encode(TWO, Some(six)));
        bytes.extend(encode(ONE, Some(entry(2))));
        let both = fold(&bytes);
        assert_eq!(both.get(&ONE), Some(&entry(2)));
        assert_eq!(both.get(&TWO), Some(&six));
        let mut damaged = bytes.clone();
        damaged[2 * RECORD_BYTES + 20] ^= 1;
        assert_eq!(fold(&damaged).get(&ONE), Some(&entry(1)));
        assert_eq!(
            fold(&bytes[..3 * RECORD_BYTES - 1]).get(&ONE),
            Some(&entry(1))
        );
        bytes.extend(encode(ONE, None));
        assert_eq!(fold(&bytes).keys().collect::<Vec<_>>(), [&TWO]);
    }

    #[test]
    fn the_next_process_hears_of_them_until_it_was_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let path = Some(folder.path().join("sessions"));
        let (connections, before) = ConnectionJournal::open(path.clone());
        assert!(before.is_empty());
        {
            let mut open = connections.lock();
            open.sessions.insert(ONE, entry(1));
            open.append(&encode(ONE, Some(entry(1))));
        }
        drop(connections);
        // Also if the one after it is killed before it has reminded anyone.
        for _ in 0..2 {
            let (_, before) = ConnectionJournal::open(path.clone());
            assert_eq!(before, [(ONE, entry(1))]);
        }
        let (connections, _) = ConnectionJournal::open(path.clone());
        connections.clear();
        assert!(ConnectionJournal::open(path).1.is_empty());
    }

    #[test]
    fn the_file_does_not_grow_with_sessions_that_are_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions");
        let (connections, _) = ConnectionJournal::open(Some(path.clone()));
        for turn in 0..3 * RECORDS_MIN {
            let mut open = connections.lock();
            open.sessions.insert(ONE, entry(turn as u16));
            open.append(&encode(ONE, Some(entry(turn as u16))));
        }
        let length = fs::metadata(&path).unwrap().len() as usize;
        assert!(length <= (RECORDS_MIN + 6) * RECORD_BYTES, "{length}");
        assert_eq!(fold(&fs::read(&path).unwrap()).len(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_written_stops_nothing() {
        let (connections, before) =
            ConnectionJournal::open(Some(PathBuf::from("/nowhere/sessions")));
        assert!(before.is_empty());
        connections.lock().append(&encode(ONE, None));
        connections.clear();
    }
}
