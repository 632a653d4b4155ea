//! How releases reach devices: at once, stage by stage, or again.

use protocol::evaluation::Evaluation;
use protocol::ids::{BlobHash, DeviceId, Time, Version};
use protocol::round::Phase;
use protocol::wire::messages::{Announcement, ToDevice};

use super::engine::{Action, Engine};
use super::event::Event;
use super::state::Release;
use crate::rollout::{Order, OrderError, Plan, Releases, Rollout, Standing, Step, Tally};

/// An earlier release, signed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReRelease {
    /// The earlier version.
    pub from: Version,
    /// The version it gets: [`Engine::next_version`].
    pub version: Version,
    /// The signed bytes: the earlier ones in a plan, then the new ones.
    pub blob: BlobHash,
    /// Their length.
    pub bytes: u64,
    /// Whether it waits for a rollout, and is not for everyone at once.
    pub held: bool,
}

impl Engine {
    /// What this device is offered, as it is announced.
    pub fn announcement(&self, device: DeviceId) -> Option<Announcement> {
        let release = self.state.offered(device)?;
        Some(Announcement {
            task: self.task,
            version: release.version,
            blob: release.blob,
            bytes: release.bytes,
            soak_ms: self.soak_ms(release),
        })
    }

    /// Whether an order can be followed.
    ///
    /// # Errors
    /// What stands against it.
    pub fn check_order(&self, order: &Order) -> Result<(), OrderError> {
        let open = self.state.rollout.as_ref().filter(|one| one.is_open());
        match order {
            Order::Start { version, plan } => {
                plan.clone().check()?;
                if let Some(open) = open {
                    return Err(OrderError::Open(open.version));
                }
                if self.state.released(*version).is_none() {
                    return Err(OrderError::Unknown(*version));
                }
                if let Some(base) = self.state.baseline()
                    && *version < base.version
                {
                    return Err(OrderError::Older {
                        version: *version,
                        newest: base.version,
                    });
                }
                if !self.state.held.contains(version) {
                    return Err(OrderError::Offered(*version));
                }
                Ok(())
            }
            Order::Resume => match open {
                None => Err(OrderError::None),
                Some(open) if open.standing != Standing::Paused => {
                    Err(OrderError::NotPaused(open.version))
                }
                Some(_) => Ok(()),
            },
            Order::Pause | Order::Abort => open.map(|_| ()).ok_or(OrderError::None),
        }
    }

    /// Follows an order that was checked.
    pub(super) fn ordered(&mut self, now: Time, order: Order) {
        if self.check_order(&order).is_err() {
            return;
        }
        match order {
            Order::Start { version, plan } => self.start_rollout(now, version, plan),
            Order::Pause => self.change_rollout(now, Standing::Paused),
            Order::Resume => {
                self.change_rollout(now, Standing::Running);
                self.announce();
            }
            Order::Abort => self.change_rollout(now, Standing::Aborted),
        }
    }

    /// A release that waits for a rollout is held before it is made.
    pub(super) fn hold(&mut self, version: Version) {
        if !matches!(self.policy.releases, Releases::All { .. }) {
            self.record(Event::Held { version });
        }
    }

    /// Tells each connected device what it is offered, if it may not have it.
    pub(super) fn announce(&mut self) {
        let devices: Vec<_> = self.connected.iter().copied().collect();
        for device in devices {
            self.offer(device, None);
        }
    }

    /// Tells a device what it is offered, unless it runs that or has tried
    /// it.
    pub(super) fn offer(&mut self, device: DeviceId, installed: Option<Version>) {
        let Some(announcement) = self.announcement(device) else {
            return;
        };
        let version = announcement.version;
        let is_newer = installed.is_none_or(|installed| installed < version);
        // A refusal may have been for a clock that was wrong.
        let tried = self.state.evaluation(device, version);
        if is_newer && tried.is_none_or(|evaluation| evaluation == Evaluation::Refused) {
            self.act(Action::Send {
                device,
                message: ToDevice::Released(announcement),
            });
        }
    }

    /// A device's word counts for releases it can have been offered.
    pub(super) fn tried(
        &mut self,
        now: Time,
        device: DeviceId,
        version: Version,
        evaluation: Evaluation,
    ) {
        let known = self.state.released(version).is_some();
        let newest = self.state.evaluations.get(&device);
        let is_new = newest.is_none_or(|(tried, before)| {
            *tried < version || (*tried == version && *before != evaluation)
        });
        if known && is_new && self.may_speak(device, version) {
            self.record(Event::Tried {
                device,
                version,
                evaluation,
                at: now,
            });
            self.halt(version);
        }
    }

    /// Offers a release to nobody any more that went to all devices at once,
    /// and that too many of them do not want. Devices that are away still hear
    /// of the one before it; a new round, or `rollout rollback`, goes on.
    fn halt(&mut self, version: Version) {
        let at_once = matches!(self.policy.releases, Releases::All { .. });
        let is_offered = self.state.baseline().map(|release| release.version) == Some(version);
        if !at_once || !is_offered {
            return;
        }
        // A device refuses what it cannot believe, for want of a right clock for
        // instance: that says nothing of the student.
        let mut tally = Tally::default();
        for (_, evaluation) in self
            .state
            .evaluations
            .values()
            .filter(|(of, _)| *of == version)
        {
            if *evaluation != Evaluation::Refused {
                tally.count(*evaluation);
            }
        }
        let heard = tally.devices as usize * 2 >= self.connected.len();
        if heard && tally.is_unwanted() {
            self.record(Event::Held { version });
        }
    }

    /// Whether a device has not changed its word on a release too often: each
    /// time is an event of the log.
    fn may_speak(&mut self, device: DeviceId, version: Version) -> bool {
        let words = self.words.entry(device).or_insert((version, 0));
        if words.0 != version {
            *words = (version, 0);
        }
        words.1 = words.1.saturating_add(1);
        words.1 <= WORDS_MAX
    }

    /// An earlier release under a higher version, for everyone at once or for
    /// a rollout to come.
    pub(super) fn rereleased(&mut self, now: Time, again: ReRelease) {
        let ReRelease { from, version, .. } = again;
        if version != self.next_version() || self.state.released(from).is_none() {
            return;
        }
        let open = self.state.rollout.as_ref().filter(|one| one.is_open());
        if open.is_some_and(|open| !again.held || open.version == from) {
            self.change_rollout(now, Standing::Aborted);
        }
        if again.held {
            self.record(Event::Held { version });
        }
        self.record(Event::ReReleased {
            from,
            version,
            blob: again.blob,
            bytes: again.bytes,
            at: now,
        });
        self.announce();
        // What is being signed meanwhile would have the same version.
        let phase = self.state.open().map(|open| open.phase);
        match phase.filter(|_| self.computing) {
            Some(Phase::Release) => self.compute(now),
            // What is compared, or signed again, is no longer the newest release.
            Some(Phase::Report) => {
                self.computing = false;
                self.advance(now);
            }
            _ => {}
        }
    }

    /// Goes as far as devices' words allow. Linear in the devices while a
    /// rollout goes on.
    pub(super) fn advance_rollout(&mut self, now: Time) {
        self.start_staged(now);
        self.rollout_due = loop {
            match self.rollout_step(now) {
                None => break None,
                Some(Step::Wait(until)) => break until,
                Some(Step::Halt { worse, of }) => {
                    self.change_rollout(now, Standing::Halted { worse, of });
                    self.start_staged(now);
                }
                Some(Step::Advance) => self.next_stage(now),
            }
        };
    }

    fn rollout_step(&self, now: Time) -> Option<Step> {
        let rollout = self.state.rollout.as_ref().filter(|one| one.is_open())?;
        let tally = rollout.tally(&self.connected, &self.state.evaluations);
        match self.stage_ahead {
            Some((since, from)) if since == rollout.since => {
                let since = from;
                let rollout = Rollout {
                    since,
                    ..rollout.clone()
                };
                Some(rollout.judge(tally, now))
            }
            _ => Some(rollout.judge(tally, now)),
        }
    }

    /// Where rollouts begin by themselves, the newest release that has not
    /// had its turn has it once no other goes on.
    fn start_staged(&mut self, now: Time) {
        let Releases::Staged(plan) = &self.policy.releases else {
            return;
        };
        let Some(newest) = self.state.release.as_ref().map(|newest| newest.version) else {
            return;
        };
        let had_its_turn = self
            .state
            .rollout
            .as_ref()
            .is_some_and(|rollout| rollout.is_open() || rollout.version >= newest);
        if !had_its_turn && self.state.held.contains(&newest) {
            let plan = plan.clone();
            self.start_rollout(now, newest, plan);
        }
    }

    fn start_rollout(&mut self, now: Time, version: Version, plan: Plan) {
        self.record(Event::RolloutStarted {
            version,
            plan,
            at: now,
        });
        self.open_stage();
    }

    fn next_stage(&mut self, now: Time) {
        let Some(rollout) = &self.state.rollout else {
            return;
        };
        let stage = rollout.stage + 1;
        if stage >= rollout.plan.stages.len() {
            self.change_rollout(now, Standing::Completed);
        } else {
            let stage = u32::try_from(stage).unwrap_or(u32::MAX);
            self.record(Event::StageOpened { stage, at: now });
        }
        self.open_stage();
    }

    /// A stage has its share of the connected devices, one at least.
    fn open_stage(&mut self) {
        let stage = self.state.rollout.as_ref();
        let stage = stage.filter(|rollout| rollout.standing == Standing::Running);
        if let Some(rollout) = stage.filter(|rollout| rollout.percent() < 100)
            && !self.connected.is_empty()
        {
            let (last, others) = rollout.settle(&self.connected);
            self.record(Event::StageBounded { last });
            for device in others {
                self.record(Event::Piloted { device });
            }
        }
        self.announce();
    }

    /// Puts this device into a stage that would have none.
    pub(super) fn pilot(&mut self, device: DeviceId) {
        let Some(rollout) = &self.state.rollout else {
            return;
        };
        let is_empty = || {
            let connected = &self.connected;
            rollout.tally(connected, &self.state.evaluations).devices == 0
        };
        let is_running = rollout.standing == Standing::Running;
        if is_running && self.connected.contains(&device) && is_empty() {
            self.record(Event::Piloted { device });
        }
    }

    fn change_rollout(&mut self, now: Time, standing: Standing) {
        self.record(Event::RolloutChanged { standing, at: now });
    }

    fn soak_ms(&self, release: &Release) -> u64 {
        let staged = self.state.rollout.as_ref();
        let staged = staged.filter(|rollout| rollout.version == release.version);
        match (staged, &self.policy.releases) {
            (Some(rollout), _) => rollout.plan.soak_ms,
            (None, Releases::All { soak_ms }) => *soak_ms,
            (None, Releases::Staged(plan)) => plan.soak_ms,
            (None, Releases::Held) => Plan::default().soak_ms,
        }
    }
}

/// Words of one device on one release that are listened to. An honest one
/// says two or three.
pub(super) const WORDS_MAX: u32 = 16;
