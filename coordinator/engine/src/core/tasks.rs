//! Tasks that are put away, taken out again, deleted, or have a namesake.

use protocol::ids::Time;
use protocol::task::Task;

use super::Core;
use super::effect::not_stored;
use crate::entry::LogEntry;
use crate::round::{Event, Input, TaskEvent};
use crate::status::{Fault, FaultKind, Namesake};

impl Core {
    pub(super) fn archive(
        &mut self,
        now: Time,
        name: Option<&str>,
        away: bool,
    ) -> Result<(), Fault> {
        let at = self.find(name)?;
        let runner = &mut self.tasks[at];
        if runner.engine.is_archived() == away {
            let name = &runner.task.definition().name;
            let message = match away {
                true => format!("task {name} is archived already"),
                false => format!("task {name} is not archived"),
            };
            return Err(Fault::new(FaultKind::Invalid, message));
        }
        let input = if away {
            // The result of a computation that still runs is dropped.
            runner.run = None;
            Input::Archive
        } else {
            Input::Unarchive
        };
        self.feed(now, at, input);
        Ok(())
    }

    /// Only of a task that is put away, and by its name: what it taught its devices
    /// is gone from here. Devices keep its students, so that their versions are
    /// given to no others.
    pub(super) fn delete(&mut self, now: Time, name: &str) -> Result<(), Fault> {
        let at = self.find(Some(name))?;
        let runner = &self.tasks[at];
        if !runner.engine.is_archived() {
            let message = format!(
                "task {name} is at work; archive it first with `alambic-coordinator task archive \
                 {name}`"
            );
            return Err(Fault::new(FaultKind::Invalid, message));
        }
        let task = runner.task.hash();
        if let Some(highest) = runner.engine.highest_version() {
            self.released.insert(task, highest);
        }
        let event = Event::Deleted { at: now };
        let entry = LogEntry::Task(TaskEvent { task, event });
        self.entries.push(entry.to_bytes());
        self.tasks.remove(at);
        Ok(())
    }

    /// Before a task of another definition takes its name.
    pub(super) fn make_way(
        &mut self,
        now: Time,
        task: &Task,
        namesake: Namesake,
    ) -> Result<(), Fault> {
        if !self.in_service {
            return Err(not_stored());
        }
        let name = &task.definition().name;
        let namesakes = (0..self.tasks.len()).filter(|&at| {
            let runner = &self.tasks[at];
            runner.task.definition().name == *name && !runner.engine.is_archived()
        });
        let namesakes: Vec<usize> = namesakes.collect();
        let Some(&newest) = namesakes.last() else {
            return Ok(());
        };
        match namesake {
            Namesake::Keep => Ok(()),
            Namesake::Refuse => {
                let hash = self.tasks[newest].task.hash().short();
                let message = format!(
                    "a task {name} of another content is at work ({hash}); give this one another \
                     name, or add --replace to archive that one, or --alongside to have both"
                );
                Err(Fault::new(FaultKind::Invalid, message))
            }
            Namesake::Archive => {
                for at in namesakes {
                    self.tasks[at].run = None;
                    self.feed(now, at, Input::Archive);
                }
                Ok(())
            }
        }
    }
}
