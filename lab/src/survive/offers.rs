//! Who is to be offered which release, read from the log in another way than
//! the round engine's fold does.

use std::collections::{BTreeMap, BTreeSet};

use common::evaluation::Evaluation;
use common::ids::{DeviceId, Version};
use coordinator::rollout::{Rollout, Standing};
use coordinator::round::Event;

use super::checker::Violation;

#[derive(Debug, Default)]
pub(super) struct Offers {
    released: Vec<Version>,
    held: BTreeSet<Version>,
    rollout: Option<Rollout>,
    said: BTreeMap<DeviceId, (Version, Evaluation)>,
    completed: u64,
    halted: u64,
    /// What all may have and what is rolled out, after each event of the
    /// newest batch: messages of a batch are sent after all of its events.
    lately: Vec<(Option<Version>, Option<Rollout>)>,
}

impl Offers {
    pub(super) fn see(&mut self, event: &Event) -> Result<(), Violation> {
        self.change_by(event)?;
        self.note();
        Ok(())
    }

    fn change_by(&mut self, event: &Event) -> Result<(), Violation> {
        match event {
            Event::Held { version } => {
                self.held.insert(*version);
            }
            Event::Released { version, .. } | Event::ReReleased { version, .. } => {
                self.released.push(*version);
            }
            Event::RolloutStarted { version, plan, at } => {
                if self.rollout.as_ref().is_some_and(Rollout::is_open) {
                    return Err(format!("a rollout of {version} began during another"));
                }
                if !self.held.contains(version) {
                    return Err(format!("a rollout of {version} began, which all have"));
                }
                self.rollout = Some(Rollout::new(*version, plan.clone(), *at));
            }
            Event::StageOpened { stage, .. } => {
                let rollout = self.open("a stage opened")?;
                let stage = *stage as usize;
                if stage != rollout.stage + 1 || stage >= rollout.plan.stages.len() {
                    return Err(format!("stage {stage} opened after {}", rollout.stage));
                }
                rollout.stage = stage;
            }
            Event::StageBounded { last } => {
                self.open("a stage was bounded")?.last = Some(*last);
            }
            Event::Piloted { device } => {
                self.open("a pilot was chosen")?.pilots.insert(*device);
            }
            Event::RolloutChanged { standing, .. } => self.change(standing)?,
            Event::Tried {
                device,
                version,
                evaluation,
                ..
            } => {
                let before = self.said.insert(*device, (*version, *evaluation));
                if before.is_some_and(|(tried, _)| tried > *version) {
                    let device = device.short();
                    return Err(format!("device {device} speaks of {version} again"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, what: &str) -> Result<&mut Rollout, Violation> {
        let open = self.rollout.as_mut().filter(|rollout| rollout.is_open());
        open.ok_or_else(|| format!("{what} and no rollout is open"))
    }

    fn change(&mut self, standing: &Standing) -> Result<(), Violation> {
        let rollout = self.open("a rollout changed")?;
        let version = rollout.version;
        let is_last = rollout.stage + 1 == rollout.plan.stages.len();
        rollout.standing = standing.clone();
        match standing {
            Standing::Completed if !is_last => {
                return Err(format!(
                    "the rollout of {version} ended before its last stage"
                ));
            }
            Standing::Completed => {
                self.completed += 1;
                self.held.remove(&version);
            }
            Standing::Halted { .. } => self.halted += 1,
            _ => {}
        }
        Ok(())
    }

    /// The next batch of events begins.
    pub(super) fn begin_batch(&mut self) {
        self.lately.clear();
        self.note();
    }

    fn note(&mut self) {
        let free = self.released.iter().filter(|one| !self.held.contains(one));
        let now = (free.max().copied(), self.rollout.clone());
        if self.lately.last() != Some(&now) {
            self.lately.push(now);
        }
    }

    /// Whether this device may be told of this release: the newest that all
    /// may have, or that of a rollout it belongs to, now or at any time within
    /// the newest batch.
    pub(super) fn allow(&self, device: DeviceId, version: Version) -> bool {
        let allows = |(free, rollout): &(Option<Version>, Option<Rollout>)| {
            let includes = |rollout: &Rollout| {
                rollout.version == version
                    && rollout.standing == Standing::Running
                    && rollout.includes(device)
            };
            *free == Some(version) || rollout.as_ref().is_some_and(includes)
        };
        self.lately.iter().any(allows)
    }

    /// No rollout goes on that too many devices do not want.
    pub(super) fn check(&self, connected: &BTreeSet<DeviceId>) -> Result<(), Violation> {
        let Some(rollout) = self.rollout.as_ref().filter(|rollout| rollout.is_open()) else {
            return Ok(());
        };
        let version = rollout.version;
        let spoken = self.said.iter().filter(|(_, (of, _))| *of == version);
        let spoken: BTreeMap<_, _> = spoken
            .filter(|(device, _)| rollout.includes(**device))
            .map(|(device, (_, evaluation))| (*device, *evaluation))
            .collect();
        let silent = connected
            .iter()
            .filter(|device| rollout.includes(**device) && !spoken.contains_key(device));
        let of = spoken.len() + silent.count();
        let unwanted = [
            Evaluation::Worse,
            Evaluation::Refused,
            Evaluation::RolledBack,
        ];
        let worse = spoken
            .values()
            .filter(|evaluation| unwanted.contains(evaluation));
        let (worse, permille) = (worse.count(), usize::from(rollout.plan.worse_permille_max));
        match worse > of * permille / 1_000 {
            true => Err(format!(
                "{worse} of {of} devices do not want {version}, and it goes on"
            )),
            false => Ok(()),
        }
    }

    /// Rollouts that reached everyone, and that were halted.
    pub(super) fn ended(&self) -> (u64, u64) {
        (self.completed, self.halted)
    }
}
