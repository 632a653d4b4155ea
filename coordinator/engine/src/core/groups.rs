//! Tasks for groups of devices: who hears of which.

use protocol::ids::{DeviceId, TaskHash, Time};
use protocol::task::Task;

use super::Core;
use crate::registry::GATEWAY_GROUP;
use crate::round::Input;

impl Core {
    /// Whether a task is for this device: it is for all, or for the device's
    /// group.
    pub(super) fn is_for(&self, task: &Task, device: DeviceId) -> bool {
        let groups = &task.definition().groups;
        let group = self.registry.group(device);
        groups.is_empty() || group.is_some_and(|group| groups.iter().any(|one| one == group))
    }

    /// The places of the tasks that are for this device.
    pub(super) fn tasks_for(&self, device: DeviceId) -> Vec<usize> {
        let tasks = self.tasks.iter().enumerate();
        let its = tasks.filter(|(_, runner)| self.is_for(&runner.task, device));
        its.map(|(at, _)| at).collect()
    }

    /// The place of a task that is for this device.
    pub(super) fn position_for(&self, task: TaskHash, device: DeviceId) -> Option<usize> {
        let at = self.position(task)?;
        self.is_for(&self.tasks[at].task, device).then_some(at)
    }

    /// A device was let in, perhaps into another group than before, when these
    /// tasks were for it. What it gave to tasks that it leaves stays.
    pub(super) fn joined(&mut self, now: Time, device: DeviceId, before: &[usize]) {
        let is_connected = self.sessions.is_connected(device);
        for at in 0..self.tasks.len() {
            let (was, is) = (
                before.contains(&at),
                self.is_for(&self.tasks[at].task, device),
            );
            if is {
                self.feed(now, at, Input::Members(vec![device]));
                if !was && is_connected {
                    let installed = self.sessions.installed(device, self.tasks[at].task.hash());
                    self.feed(now, at, Input::Connected { device, installed });
                }
            } else if was {
                self.feed(now, at, Input::Dismissed { device });
            }
        }
    }

    /// What is to be said of a task's groups that no device is in and no token
    /// puts devices into: a slip of the pen makes a task for nobody.
    pub(super) fn doubt(&self, groups: &[String]) -> Option<String> {
        let members = self.registry.members().values();
        let tokens = self.registry.tokens().values();
        let known = members.filter_map(|member| member.group.clone());
        let known = known.chain(tokens.filter_map(|token| token.group.clone()));
        let mut known: Vec<String> = known.filter(|group| group != GATEWAY_GROUP).collect();
        known.sort_unstable();
        known.dedup();
        let unknown = groups.iter().filter(|group| !known.contains(group));
        let unknown: Vec<String> = unknown.cloned().collect();
        let first = unknown.first()?;
        let there_are = match known.as_slice() {
            [] => format!("there are no groups yet; `token create --group {first}` makes it"),
            known => format!("the groups that there are: {}", listed(known)),
        };
        Some(format!(
            "no device is in {}, and no token puts any there; {there_are}",
            listed(&unknown)
        ))
    }
}

/// The first [`NAMES_MAX`] names.
fn listed(names: &[String]) -> String {
    let mut first: Vec<&str> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
    if names.len() > NAMES_MAX {
        first.push("…");
    }
    first.join(", ")
}

/// Groups that are named in a warning.
const NAMES_MAX: usize = 20;
