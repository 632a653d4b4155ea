//! What is read for a scrape.

use std::fs;
use std::path::Path;

use common::ids::{TaskHash, Time, Version};
use common::trust::certificate::{CertificateFacts, certificates_from_pem};

use crate::driver::local::{OUTBOX, open_all};
use crate::driver::status::{RunStatus, resident_kib};
use crate::identity::Membership;
use crate::state::StateDir;

/// A device at one moment. What cannot be read is absent, never zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// What the running agent wrote of itself last.
    pub status: Option<RunStatus>,
    /// Contributions that wait for an answer.
    pub outbox_entries: u64,
    /// Their length.
    pub outbox_bytes: u64,
    /// What the process has used.
    pub usage: Option<Usage>,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// The student in use of each task.
    pub students: Vec<(TaskHash, Version)>,
    /// When the device's certificate ends.
    pub certificate_ends: Option<Time>,
}

/// Processor time, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Of the agent itself.
    pub agent_s: f64,
    /// Of the processes that worked for it and have ended.
    pub work_s: f64,
}

impl Readings {
    /// Reads everything. Blocks for some small files; touches nothing.
    pub fn take(state: &StateDir) -> Self {
        let (outbox_entries, outbox_bytes) = waiting(&state.file(OUTBOX));
        let students = open_all(state).unwrap_or_default();
        let students = students.into_iter();
        Self {
            status: RunStatus::load(state)
                .ok()
                .flatten()
                .filter(|status| status.pid == std::process::id()),
            outbox_entries,
            outbox_bytes,
            usage: fs::read_to_string("/proc/self/stat")
                .ok()
                .and_then(|text| Usage::parse(&text)),
            resident_bytes: resident_kib().0 * 1024,
            students: students
                .filter_map(|(task, slots)| Some((task, slots.in_use()?)))
                .collect(),
            certificate_ends: certificate_ends(state),
        }
    }
}

impl Usage {
    /// Out of `/proc/PID/stat` (proc(5)): user and system time of the process
    /// and of its children that were waited for. The process's name is in
    /// parentheses and may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(')')?;
        let ticks: Vec<f64> = fields
            .split_whitespace()
            .skip(UTIME)
            .take(4)
            .map_while(|field| field.parse().ok())
            .collect();
        let [user, system, work_user, work_system] = ticks[..] else {
            return None;
        };
        Some(Self {
            agent_s: (user + system) / TICKS_PER_SECOND,
            work_s: (work_user + work_system) / TICKS_PER_SECOND,
        })
    }
}

fn waiting(folder: &Path) -> (u64, u64) {
    let Ok(entries) = fs::read_dir(folder) else {
        return (0, 0);
    };
    let waiting = entries.flatten().filter(|entry| {
        let path = entry.path();
        path.extension() == Some(ENTRY.as_ref())
    });
    waiting.fold((0, 0), |(entries, bytes), entry| {
        // Answered since it was listed.
        let length = entry.metadata().map_or(0, |facts| facts.len());
        (entries + 1, bytes + length)
    })
}

/// The agent may have renewed it since the start.
fn certificate_ends(state: &StateDir) -> Option<Time> {
    let membership = Membership::load(state).ok()??;
    let chain = certificates_from_pem(&membership.certificate).ok()?;
    let facts = CertificateFacts::parse(chain.first()?).ok()?;
    Some(facts.not_after)
}

/// What ends the name of a contribution that waits.
const ENTRY: &str = "entry";
/// Fields between the process's name and its user time.
const UTIME: usize = 11;
/// `USER_HZ`, which Linux tells programs whatever the kernel counts in.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_whatever_the_process_is_called() {
        let text = "17 (a) b (c) S 1 17 17 0 -1 4194560 900 0 0 0 250 50 300 100 30 10 9 0 5 6 7";
        let usage = Usage::parse(text);
        assert_eq!(
            usage,
            Some(Usage {
                agent_s: 3.0,
                work_s: 4.0
            })
        );
        for wrong in ["", "17 (a) S 1 2", "17 (a) S 1 2 3 4 5 6 7 8 9 10 x y z w"] {
            assert_eq!(Usage::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_state_directory_with_nothing_in_it_reads_as_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let readings = Readings::take(&StateDir::at(folder.path()));
        assert_eq!((readings.outbox_entries, readings.outbox_bytes), (0, 0));
        assert_eq!((readings.status, readings.certificate_ends), (None, None));
        assert!(readings.students.is_empty());
        assert!(readings.resident_bytes > 0 && readings.usage.is_some());
    }
}
