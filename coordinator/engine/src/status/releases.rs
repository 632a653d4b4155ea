//! Where the releases of a task are: with every device, in a rollout, or in
//! nobody's hands yet.

use protocol::ids::Version;

use crate::rollout::Standing;
use crate::status::{ReleaseStatus, TaskStatus};

impl TaskStatus {
    /// The release that every device is offered.
    pub fn offered(&self) -> Option<&ReleaseStatus> {
        self.releases.iter().rev().find(|release| !release.held)
    }

    /// The newest release that waits for a rollout or is in one: of a later
    /// round than the one that is offered, and not given up.
    pub fn waiting(&self) -> Option<&ReleaseStatus> {
        let round = self.offered().map(|release| release.round);
        let waiting = self.releases.iter().rev().find(|release| release.held);
        let waiting = waiting.filter(|release| round.is_none_or(|round| round < release.round))?;
        let given_up = self.rollout.as_ref().is_some_and(|rollout| {
            let ended = matches!(
                rollout.standing,
                Standing::Halted { .. } | Standing::Aborted
            );
            ended && rollout.version == waiting.version
        });
        (!given_up).then_some(waiting)
    }

    /// The release that waits until an operator begins its rollout.
    pub fn to_begin(&self) -> Option<&ReleaseStatus> {
        let waiting = self.waiting()?;
        let begun = self.rollout.as_ref();
        let begun = begun.is_some_and(|rollout| rollout.version == waiting.version);
        (!begun).then_some(waiting)
    }

    /// The release that every device is offered since the newest rollout, in
    /// place of what that brought: there is nothing to do about it any more.
    pub fn instead(&self) -> Option<&ReleaseStatus> {
        let rollout = self.rollout.as_ref()?;
        self.offered()
            .filter(|release| release.version > rollout.version)
    }

    /// Students that are not offered to everyone and that no rollout is
    /// bringing there.
    pub fn held_back(&self) -> impl Iterator<Item = Version> + '_ {
        let coming = self.rollout.as_ref().and_then(|rollout| {
            let goes_on = matches!(rollout.standing, Standing::Running | Standing::Paused);
            goes_on.then_some(rollout.version)
        });
        let held = self.releases.iter().filter(|release| release.held);
        held.map(|release| release.version)
            .filter(move |version| Some(*version) != coming)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::status::fixtures::{release, rolling, task};

    fn number(found: Option<&ReleaseStatus>) -> Option<u64> {
        found.map(|release| release.version.number)
    }

    #[test]
    fn waiting_students_are_resigned_too() {
        let releases = vec![
            release(1, 1, false),
            release(2, 2, true),
            release(3, 3, true),
        ];
        let waits = task(releases, Some(rolling(2, Standing::Running)));
        assert_eq!(number(waits.offered()), Some(1));
        assert_eq!(number(waits.waiting()), Some(3));
        // And before anything was offered to anyone.
        let first = task(vec![release(1, 1, true)], None);
        assert_eq!(number(first.waiting()), Some(1));
    }

    #[test]
    fn an_aborted_or_older_student_is_not_signed_again() {
        let releases = vec![release(1, 1, false), release(2, 2, true)];
        for ended in [Standing::Aborted, Standing::Halted { worse: 1, of: 1 }] {
            assert_eq!(
                task(releases.clone(), Some(rolling(2, ended))).waiting(),
                None
            );
        }
        let releases = vec![release(1, 1, true), release(2, 2, false)];
        assert_eq!(task(releases, None).waiting(), None);
        assert_eq!(task(Vec::new(), None).waiting(), None);
    }

    #[test]
    fn a_rollout_is_begun_once() {
        let held = vec![release(1, 1, false), release(2, 2, true)];
        assert_eq!(number(task(held.clone(), None).to_begin()), Some(2));
        let running = task(held.clone(), Some(rolling(2, Standing::Running)));
        assert_eq!((running.to_begin(), running.instead()), (None, None));
        let halted = Standing::Halted { worse: 1, of: 1 };
        let mut rolled_back = held;
        rolled_back.push(release(3, 1, false));
        let rolled_back = task(rolled_back, Some(rolling(2, halted)));
        assert_eq!(rolled_back.to_begin(), None);
        assert_eq!(number(rolled_back.instead()), Some(3));
    }
}
