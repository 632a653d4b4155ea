//! Tasks that are put away: no round of theirs begins, and their students stay.

use protocol::ids::Time;

use super::engine::Engine;
use super::event::Event;

impl Engine {
    /// Ends the open round, which loses nothing, and begins none until the task is
    /// taken out again. Devices are asked for nothing; they keep the task's student,
    /// and those that have none are still offered it.
    pub(super) fn archive(&mut self, now: Time) {
        if !self.is_archived() {
            self.cancel(now);
            self.unask_all();
            self.record(Event::Archived { at: now });
        }
    }

    /// The task goes on where it was: a round begins as its policy says.
    pub(super) fn unarchive(&mut self, now: Time) {
        if self.is_archived() {
            self.record(Event::Unarchived { at: now });
            if self.is_standing() {
                for device in self.connected.clone() {
                    self.ask(device);
                }
            }
        }
    }

    /// Whether the task is put away.
    pub fn is_archived(&self) -> bool {
        self.state.archived.is_some()
    }
}
