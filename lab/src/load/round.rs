//! One round under load: profiles at once, contributions at a rate, a release.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::ids::{BlobHash, DeviceId};
use common::round::{ContributionKey, Kind, Phase};
use common::wire::messages::{Announcement, Call};
use coordinator::admin::Client;
use tokio::time::{sleep, sleep_until};

use super::bare::Bare;
use super::crowd::Crowd;
use super::device::{Order, Outcome, Told};
use super::payload::{self, Payload};
use super::report::{Contributions, Paced, Push, Spread};
use super::{LoadError, LoadOptions, Target};
use crate::progress::Progress;

/// A contribution that the coordinator said it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) device: DeviceId,
    pub(super) kind: Kind,
    pub(super) blob: BlobHash,
}

/// How often a device may send other content in one phase, the first included:
/// what the coordinator's engine takes.
const TURNS_MAX: usize = 9;
/// Turns of the push, of which the median counts.
const PUSHES: usize = 3;
/// How often the coordinator is asked how the round goes.
const LOOK: Duration = Duration::from_secs(2);
/// Longest time the coordinator may compute.
const COMPUTE_S: u64 = 300;

/// Whether what is asked for can be done.
pub(super) fn check(options: &LoadOptions) -> Result<(), LoadError> {
    let (agents, wanted) = (options.agents, options.contributions);
    let most = agents.max(TURNS_MAX * agents.saturating_sub(1) + 1);
    if wanted > most {
        return Err(LoadError::TooMany {
            wanted,
            agents,
            most,
        });
    }
    Ok(())
}

/// Which device sends the contribution of this number, and its how-manieth it
/// is. The last device sends the last contribution and no other, so that the
/// phase stays open until then.
fn sender(number: usize, contributions: usize, agents: usize) -> (usize, usize) {
    if contributions <= agents || agents < 2 {
        (number, 0)
    } else if number == contributions - 1 {
        (agents - 1, 0)
    } else {
        (number % (agents - 1), number / (agents - 1))
    }
}

/// A round that runs.
pub(super) struct Round<'a> {
    options: &'a LoadOptions,
    crowd: &'a mut Crowd,
    acknowledged: Vec<Acknowledged>,
    /// What is offered and not answered, by device and name.
    open: BTreeMap<(usize, BlobHash), (Arc<Payload>, Instant)>,
    accepted: usize,
    refused: usize,
    resent: usize,
    seconds: Vec<f64>,
    summarise: BTreeMap<usize, Call>,
    released: Vec<(Announcement, Instant)>,
}

impl<'a> Round<'a> {
    /// Creates the task and begins a round.
    pub(super) fn begin(
        options: &'a LoadOptions,
        client: &mut Client,
        crowd: &'a mut Crowd,
    ) -> Result<Self, LoadError> {
        let task = client.create_task(&payload::task_file(options.release_bytes))?;
        client.start_round(Some(&task.name), false)?;
        Ok(Self {
            options,
            crowd,
            acknowledged: Vec::new(),
            open: BTreeMap::new(),
            accepted: 0,
            refused: 0,
            resent: 0,
            seconds: Vec::new(),
            summarise: BTreeMap::new(),
            released: Vec::new(),
        })
    }

    pub(super) fn acknowledged(self) -> Vec<Acknowledged> {
        self.acknowledged
    }

    /// Profiles of all devices at once, then the contributions at their rate.
    pub(super) async fn contribute(
        &mut self,
        target: &Target,
        progress: &mut Progress,
    ) -> Result<Contributions, LoadError> {
        let profiles = self.profiles(target, progress).await?;
        let (wanted, agents) = (self.options.contributions, self.crowd.len());
        let bytes = payload::summary(0, 0)?.bytes.len();
        progress.stage(&format!(
            "{wanted} contributions, {} a second",
            self.options.rate
        ));
        progress.bar(wanted as u64);
        for device in wanted..agents {
            if let Some(call) = self.summarise.get(&device) {
                self.crowd.order(device, Order::Abstain(call.clone()));
            }
        }
        let resent = self.resent;
        (self.accepted, self.refused) = (0, 0);
        self.seconds.clear();
        let watch = target.watch();
        let begun = Instant::now();
        let every = 1.0 / self.options.rate.max(1e-3);
        let mut sent = 0;
        while self.accepted + self.refused < wanted {
            let due = begun + Duration::from_secs_f64(every * sent as f64);
            // The last ends the phase, so it must not overtake another.
            let may_send = sent + 1 < wanted || sent < wanted && self.open.is_empty();
            let told = tokio::select! {
                biased;
                () = sleep_until(due.into()), if may_send => None,
                told = self.crowd.next("acknowledgements") => Some(told?),
            };
            match told {
                None => {
                    let (device, turn) = sender(sent, wanted, agents);
                    let is_last = sent + 1 == wanted;
                    let due = if is_last { Instant::now() } else { due };
                    self.send(device, turn, due)?;
                    sent += 1;
                }
                Some(told) => {
                    let before = self.accepted + self.refused;
                    self.hear(told);
                    if self.accepted + self.refused > before {
                        progress.advance();
                    }
                }
            }
        }
        Ok(Contributions {
            profiles,
            sent: watch.read(wanted),
            rate: self.options.rate,
            bytes,
            accepted: self.accepted,
            refused: self.refused,
            resent: self.resent - resent,
            acknowledged_ms: Spread::of(std::mem::take(&mut self.seconds)),
            held: None,
        })
    }

    async fn profiles(
        &mut self,
        target: &Target,
        progress: &mut Progress,
    ) -> Result<Paced, LoadError> {
        let agents = self.crowd.len();
        progress.stage(&format!("{agents} profiles"));
        progress.bar(agents as u64);
        let watch = target.watch();
        let mut profiles = None;
        // The next call may come before the last acknowledgement is heard.
        while self.summarise.len() < agents || self.accepted < agents {
            let told = self.crowd.next("profiles").await?;
            let before = self.accepted;
            self.hear(told);
            if self.refused > 0 {
                return Err(LoadError::Round("a profile was refused".to_owned()));
            }
            if self.accepted > before {
                progress.advance();
            }
            if self.accepted == agents && profiles.is_none() {
                profiles = Some(watch.read(agents));
            }
        }
        Ok(profiles.unwrap_or_else(|| watch.read(self.accepted)))
    }

    fn send(&mut self, device: usize, turn: usize, due: Instant) -> Result<(), LoadError> {
        let Some(call) = self.summarise.get(&device).cloned() else {
            return Ok(());
        };
        let payload = Arc::new(payload::summary(device, turn)?);
        self.offer(device, &call, payload, due);
        Ok(())
    }

    fn offer(&mut self, device: usize, call: &Call, payload: Arc<Payload>, due: Instant) {
        // Nothing is offered after the summaries, of which each phase has one kind.
        let Some(&kind) = call.phase.kinds().first() else {
            return;
        };
        let key = ContributionKey {
            task: call.task,
            transfer: None,
            round: call.round,
            phase: call.phase,
            kind,
        };
        let held = (device, payload.blob);
        self.open.insert(held, (payload.clone(), due));
        self.crowd.order(device, Order::Offer { key, payload, due });
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Called { device, call } => self.called(device, call),
            Told::Answered {
                device,
                key,
                blob,
                seconds,
                outcome,
            } => match outcome {
                Outcome::Unknown => {
                    // As a real device does, with the same bytes.
                    if let Some((payload, due)) = self.open.get(&(device, blob)).cloned() {
                        self.resent += 1;
                        self.crowd.order(device, Order::Offer { key, payload, due });
                    }
                }
                Outcome::Accepted => {
                    if self.open.remove(&(device, blob)).is_some() {
                        self.accepted += 1;
                        self.seconds.push(seconds);
                        self.acknowledged.push(Acknowledged {
                            device: self.crowd.device(device),
                            kind: key.kind,
                            blob,
                        });
                    }
                }
                Outcome::Refused(reason) => {
                    tracing::warn!(device, %reason, "a contribution was refused");
                    if self.open.remove(&(device, blob)).is_some() {
                        self.refused += 1;
                    }
                }
            },
            Told::Released { announcement } => {
                self.released.push((announcement, Instant::now()));
            }
            Told::Connected { .. }
            | Told::Failed { .. }
            | Told::Lost { .. }
            | Told::Fetched { .. } => {}
        }
    }

    fn called(&mut self, device: usize, call: Call) {
        match call.phase {
            // A device that came back is called again.
            Phase::Profile if self.open.keys().any(|(open, _)| *open == device) => {}
            Phase::Profile => {
                let payload = Arc::new(payload::profile());
                self.offer(device, &call, payload, Instant::now());
            }
            Phase::Summarise => {
                self.summarise.insert(device, call);
            }
            _ => self.crowd.order(device, Order::Abstain(call)),
        }
    }

    /// Waits until every device has heard of the student.
    pub(super) async fn release(
        &mut self,
        client: &mut Client,
        progress: &mut Progress,
    ) -> Result<Announcement, LoadError> {
        progress.stage("the coordinator computes and signs the student");
        let begun = Instant::now();
        let agents = self.crowd.len();
        while self.released.len() < agents {
            tokio::select! {
                told = self.crowd.next("the release") => {
                    let told = told?;
                    self.hear(told);
                }
                () = sleep(LOOK), if self.released.is_empty() => {
                    let status = client.status()?;
                    let task = status.tasks.iter().find(|task| task.name == "load");
                    let ended = task.filter(|task| task.round.is_none());
                    if let Some(last) = ended.and_then(|task| task.history.last())
                        && self.released.is_empty()
                    {
                        return Err(LoadError::Round(last.outcome.to_string()));
                    }
                }
            }
            if begun.elapsed().as_secs() > COMPUTE_S {
                return Err(LoadError::Stalled {
                    what: "the release".to_owned(),
                    seconds: COMPUTE_S,
                });
            }
        }
        // The devices abstain from reporting; let that be over.
        self.crowd.idle(SETTLE).await?;
        Ok(self.released[0].0)
    }

    /// This many devices fetch the release at the same time, turn about with
    /// receivers of a bare sender.
    pub(super) async fn push(
        &mut self,
        release: Announcement,
        target: &Target,
        progress: &mut Progress,
    ) -> Result<Push, LoadError> {
        let devices = self.options.push_agents.min(self.crowd.len());
        progress.stage(&format!("{} bytes to {devices} devices", release.bytes));
        let bare = Bare::start(release.bytes, devices).await?;
        let (mut ours, mut bares) = (Vec::new(), Vec::new());
        let fetched = target.gateways.fetched_bytes();
        for _ in 0..PUSHES {
            ours.push(self.fetch(devices, release).await?);
            bares.push(bare.run().await?);
        }
        let coordinator_bytes = match self.options.gateways {
            0 => release.bytes * devices as u64,
            _ => target.gateways.fetched_bytes() - fetched,
        };
        let median = |mut seconds: Vec<f64>| {
            seconds.sort_by(f64::total_cmp);
            seconds[seconds.len() / 2]
        };
        let (seconds, bare) = (median(ours), median(bares));
        let bytes = (release.bytes * devices as u64) as f64;
        let heard = self.released.iter().map(|(_, at)| *at);
        let first = heard.clone().min();
        let announced = heard.max().zip(first).map(|(last, first)| last - first);
        Ok(Push {
            bytes: release.bytes,
            coordinator_bytes,
            devices,
            seconds,
            bytes_per_second: bytes / seconds,
            bare_bytes_per_second: bytes / bare,
            share_of_bare: bare / seconds,
            announced_ms: 1_000.0 * announced.unwrap_or_default().as_secs_f64(),
        })
    }

    /// Seconds until the last of them has it.
    async fn fetch(&mut self, devices: usize, release: Announcement) -> Result<f64, LoadError> {
        let begun = Instant::now();
        for device in 0..devices {
            let Announcement { blob, bytes, .. } = release;
            self.crowd.order(device, Order::Fetch { blob, bytes });
        }
        let (mut done, mut torn, mut last) = (0, 0, begun);
        while done < devices {
            if let Told::Fetched { whole, at } = self.crowd.next("fetches").await? {
                done += 1;
                torn += usize::from(!whole);
                last = last.max(at);
            }
        }
        if torn > 0 {
            return Err(LoadError::Fetch(torn));
        }
        Ok((last - begun).as_secs_f64())
    }
}

/// From the last announcement until the round's end is behind all.
const SETTLE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contribution_has_one_sender() {
        for (contributions, agents) in [(1, 1), (3, 10), (10, 10), (11, 10), (80, 10), (82, 10)] {
            let mut turns: BTreeMap<usize, usize> = BTreeMap::new();
            for number in 0..contributions {
                let (device, turn) = sender(number, contributions, agents);
                assert!(device < agents);
                assert_eq!(turn, *turns.get(&device).unwrap_or(&0));
                *turns.entry(device).or_default() += 1;
            }
            assert!(turns.values().all(|&turns| turns <= TURNS_MAX));
            let (last, _) = sender(contributions - 1, contributions, agents);
            assert_eq!(turns[&last], 1, "the phase stays open until the last");
        }
    }
}
