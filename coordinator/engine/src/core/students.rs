//! What devices have of students, and students of devices, for operators.

use std::collections::BTreeSet;

use protocol::ids::DeviceId;
use protocol::round::{Kind, Phase};

use super::{Core, Runner};
use crate::status::{Ahead, DeviceStudent, Standing};

/// Whose contributions the newest student of each task is made of, in the order
/// of the tasks; none of a task that is put away or has no student.
pub(super) type Sources = Vec<Option<BTreeSet<DeviceId>>>;

impl Core {
    /// The student that a device runs of each task, as far as it has said so:
    /// what it found out about the newest one, or what it came with.
    pub(super) fn students(&self, device: DeviceId) -> Vec<DeviceStudent> {
        let of_task = |runner: &Runner| {
            let task = runner.task.hash();
            let state = runner.engine.state();
            let found = state.evaluations.get(&device).copied();
            let came_with = self.sessions.installed(device, task);
            let in_use = found.filter(|(_, evaluation)| !evaluation.is_bad());
            let version = came_with.max(in_use.map(|(version, _)| version))?;
            let report = state.newest.get(&(device, Kind::Report));
            Some(DeviceStudent {
                task: runner.task.definition().name.clone(),
                version,
                evaluation: in_use
                    .filter(|(of, _)| *of == version)
                    .map(|(_, evaluation)| evaluation),
                reached: None,
                not_reported: Some(self.not_reported(runner, device)),
                report: report.map(|report| report.blob),
            })
        };
        self.tasks.iter().filter_map(of_task).collect()
    }

    /// Connected devices that came with a student newer than any of this log.
    pub(super) fn ahead(&self, runner: &Runner) -> Option<Ahead> {
        let connected = self.sessions.connected(runner.task.hash()).into_iter();
        let newest = runner.engine.state().release.as_ref();
        let newest = newest.map(|release| release.version);
        let ahead = connected.filter(|(device, installed)| {
            *installed > newest && self.is_for(&runner.task, *device)
        });
        let (mut devices, mut highest) = (0, None);
        for (_, installed) in ahead {
            devices += 1;
            highest = highest.max(installed);
        }
        highest.map(|newest| Ahead { devices, newest })
    }

    /// Says once that a device came with such a student.
    pub(super) fn tell_of_ahead(&mut self, at: usize, device: DeviceId) {
        let runner = &mut self.tasks[at];
        let came_with = self.sessions.installed(device, runner.task.hash());
        let newest = runner.engine.state().release.as_ref();
        if came_with > newest.map(|release| release.version)
            && let Some(student) = came_with
            && !std::mem::replace(&mut runner.told_of_ahead, true)
        {
            tracing::warn!(
                task = %runner.task.hash().short(), device = %device.short(), %student,
                "devices run a newer student than any of this log, which was restored from an \
                 older copy or had the task deleted; the next release goes above it: start a round"
            );
        }
    }

    /// Why a device has not reported on the student that it runs.
    fn not_reported(&self, runner: &Runner, device: DeviceId) -> String {
        if runner.engine.is_standing() {
            return "devices of a standing task are not asked for it".to_owned();
        }
        if let Some(why) = self.sessions.withheld_by(device, runner.task.hash()) {
            return why.to_string();
        }
        let ended = runner.engine.state().history.last();
        let absent = ended.into_iter().flat_map(|ended| &ended.absences.named);
        let mut of_report = absent
            .filter(|absent| absent.device == device && absent.phases.contains(&Phase::Report));
        match of_report.next() {
            Some(absent) => absent.why.to_string(),
            None => "no report of it has come: its owner's policy keeps it back, it holds out too \
                     few rows, or it was not asked yet"
                .to_owned(),
        }
    }

    /// Whose contributions are in the newest students.
    pub(super) fn sources(&self) -> Sources {
        let tasks = self.tasks.iter();
        let sources = tasks.map(|runner| {
            let newest = runner.engine.state().release.as_ref();
            let newest = newest.filter(|_| !runner.engine.is_archived());
            newest.map(|release| release.lineage.iter().copied().collect())
        });
        sources.collect()
    }

    /// Names of the tasks that are for this device and whose newest student
    /// nothing of it is in.
    pub(super) fn gives_nothing_to(&self, device: DeviceId, sources: &Sources) -> Vec<String> {
        if self.standing(device) != Standing::Member {
            return Vec::new();
        }
        let tasks = self.tasks.iter().zip(sources);
        let its = tasks.filter(|(runner, of)| {
            let lacks = of.as_ref().is_some_and(|of| !of.contains(&device));
            lacks && self.is_for(&runner.task, device)
        });
        its.map(|(runner, _)| runner.task.definition().name.clone())
            .collect()
    }
}
