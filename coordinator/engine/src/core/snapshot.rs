//! The core's state, for operators.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ids::{BlobHash, DeviceId, TaskHash, Time};
use protocol::round::{Kind, Reason};

use super::{Core, Runner};
use crate::core::command::Evidence;
use crate::core::progress::phase_ms;
use crate::core::students::Sources;
use crate::registry::Decision;
use crate::rollout::Rollout;
use crate::round::{Ended, Engine, OpenPhase, Round, STRIKES_MAX, Standing as Stands};
use crate::status::{
    ABSENCES_MAX, Absence, DeviceName, DeviceStatus, EndedStatus, EvaluationStatus,
    ExclusionStatus, Forgetting, GatewayStatus, MissedStatus, OutcomeStatus, PeerLimitsStatus,
    PhaseStatus, Quarantine, ReleaseStatus, RolloutStatus, RoundStatus, Standing, StandingStatus,
    Status, TaskStatus, WithheldStatus,
};

impl Core {
    pub(super) fn status(&self, now: Time) -> Status {
        let registry = &self.registry;
        let known = registry
            .members()
            .keys()
            .chain(registry.applicants().keys());
        let known = known.chain(registry.revoked().keys()).copied();
        let known = known.chain(self.sessions.devices());
        let devices: BTreeSet<DeviceId> = known.filter(|one| !registry.is_gateway(*one)).collect();
        let marks = self.marks();
        let sources = self.sources();
        Status {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            address: self.about.address,
            now,
            started: self.about.started,
            epoch: self.epoch,
            storage_failures: self.storage_failures,
            storage_ok: self.in_service,
            state_known: self.in_service,
            page: None,
            store: None,
            authority: None,
            tasks: self
                .tasks
                .iter()
                .map(|runner| self.task_status(now, runner))
                .collect(),
            devices: devices
                .into_iter()
                .map(|device| self.device_status(now, device, &marks, &sources))
                .collect(),
            gateways: self.gateways(),
        }
    }

    /// The members that are gateways; the server adds how they do.
    fn gateways(&self) -> Vec<GatewayStatus> {
        let registry = &self.registry;
        let members = registry.members().iter();
        let gateways = members.filter(|(_, member)| member.is_gateway());
        gateways
            .map(|(gateway, member)| GatewayStatus {
                gateway: *gateway,
                label: member.label.clone(),
                admitted: member.admitted,
                expires: member.certificate.expires,
                revoked: registry.revoked().contains_key(gateway),
                devices: self.sessions.behind(*gateway),
                link: None,
            })
            .collect()
    }

    fn task_status(&self, now: Time, runner: &Runner) -> TaskStatus {
        let state = runner.engine.state();
        TaskStatus {
            task: runner.task.hash(),
            name: runner.task.definition().name.clone(),
            archived: state.archived,
            groups: runner.task.definition().groups.clone(),
            points: state.transfer.map_or(0, |transfer| transfer.points),
            normaliser: state.normaliser,
            transfer: state.transfer.map(|transfer| transfer.blob),
            teacher: state.teacher,
            budget: state.planned.clone(),
            round: state
                .round
                .as_ref()
                .map(|round| self.round_status(now, runner, round)),
            history: state
                .history
                .iter()
                .map(|ended| self.ended_status(runner, ended))
                .collect(),
            releases: state
                .releases
                .iter()
                .map(|release| ReleaseStatus {
                    version: release.version,
                    round: release.round,
                    blob: release.blob,
                    bytes: release.bytes,
                    lineage: release.lineage.len(),
                    released: release.at,
                    report: None,
                    held: state.held.contains(&release.version),
                })
                .collect(),
            rollout: state
                .rollout
                .as_ref()
                .map(|rollout| self.rollout_status(runner, rollout)),
            evaluations: state
                .release
                .as_ref()
                .map(|release| state.evaluations_of(release.version))
                .unwrap_or_default(),
            excluded: self.excluded(runner),
            unheard: Vec::new(),
            ahead: self.ahead(runner),
            odd: Vec::new(),
            profiles: self.profiles(runner),
            withheld: self.withheld(runner),
        }
    }

    /// The newest profile of each device that is not revoked.
    fn profiles(&self, runner: &Runner) -> Vec<(DeviceId, BlobHash)> {
        let revoked = self.registry.revoked();
        let newest = runner.engine.state().newest.iter();
        let profiles = newest
            .filter(|((device, kind), _)| *kind == Kind::Profile && !revoked.contains_key(device));
        profiles
            .map(|((device, _), standing)| (*device, standing.blob))
            .collect()
    }

    fn withheld(&self, runner: &Runner) -> Vec<WithheldStatus> {
        let told = self.sessions.withheld(runner.task.hash());
        let revoked = self.registry.revoked();
        let members = told.filter(|(device, ..)| {
            !revoked.contains_key(device) && self.is_for(&runner.task, *device)
        });
        let status = members.map(|(device, why, since)| WithheldStatus {
            device: self.name(device),
            reason: why.code(),
            text: why.to_string(),
            since,
        });
        status.collect()
    }

    fn excluded(&self, runner: &Runner) -> Vec<ExclusionStatus> {
        let classes = &runner.task.definition().classes;
        let excluded = &runner.engine.state().excluded;
        let told = excluded
            .iter()
            .map(|((device, kind), why)| ExclusionStatus {
                device: self.name(*device),
                kind: *kind,
                why: *why,
                text: why.describe(classes),
            });
        told.collect()
    }

    fn rollout_status(&self, runner: &Runner, rollout: &Rollout) -> RolloutStatus {
        let evaluations = &runner.engine.state().evaluations;
        let unwanted = evaluations
            .iter()
            .filter(|(_, (version, evaluation))| *version == rollout.version && evaluation.is_bad())
            .map(|(device, (_, evaluation))| EvaluationStatus {
                device: self.name(*device),
                evaluation: *evaluation,
            });
        RolloutStatus {
            version: rollout.version,
            plan: rollout.plan.clone(),
            standing: rollout.standing.clone(),
            stage: rollout.stage + 1,
            percent: rollout.percent(),
            since: rollout.since,
            tally: rollout.tally(runner.engine.connected(), evaluations),
            unwanted_by: unwanted.take(ABSENCES_MAX).collect(),
        }
    }

    fn round_status(&self, now: Time, runner: &Runner, round: &Round) -> RoundStatus {
        let names = |devices: &mut dyn Iterator<Item = DeviceId>| -> Vec<DeviceName> {
            devices.map(|device| self.name(device)).collect()
        };
        let mut status = RoundStatus {
            round: round.id,
            phase: None,
            elapsed_ms: now.since_ms(round.opened),
            participants: Vec::new(),
            contributed: Vec::new(),
            abstained: Vec::new(),
            missing: Vec::new(),
            accepted: round.accepted.clone(),
            phases: phases(round),
            deadline: None,
            quorum: None,
            absent: Vec::new(),
            bytes: runner.tracker.bytes(),
            training: None,
            standing: standing(now, &runner.engine),
        };
        if let Some(open) = &round.phase {
            let wanted = runner.engine.policy().kinds(open.phase);
            status.phase = Some(open.phase);
            status.participants = names(&mut open.participants.iter().copied());
            status.abstained = names(&mut open.abstained.iter().copied());
            if open.phase.gathers() {
                status.contributed = names(&mut open.contributed(wanted).into_iter());
                status.missing = names(&mut open.missing(wanted).into_iter());
                let policy = runner.engine.policy();
                let waits = status.standing.is_none();
                let deadline = open.counts_from.after_ms(policy.deadline_of(open.phase));
                status.deadline = waits.then_some(deadline);
                status.quorum = waits.then(|| policy.quorum_of(open.expected(wanted)));
                status.absent = self.absences(runner, open, &status);
            }
        }
        status
    }

    /// Why those who are missing are, those that may be mended first.
    fn absences(&self, runner: &Runner, open: &OpenPhase, status: &RoundStatus) -> Vec<Absence> {
        let missing = status.missing.iter().chain(&status.abstained);
        let absence = |name: &DeviceName| {
            Some(Absence {
                phases: vec![open.phase],
                device: name.clone(),
                why: runner.engine.absence(name.device)?,
            })
        };
        missing.filter_map(absence).take(ABSENCES_MAX).collect()
    }

    fn ended_status(&self, runner: &Runner, ended: &Ended) -> EndedStatus {
        let named = ended.absences.named.iter().map(|absent| Absence {
            phases: absent.phases.clone(),
            device: self.name(absent.device),
            why: absent.why,
        });
        let counts = ended.absences.counts.iter();
        let missed = counts.map(|((phase, why), devices)| MissedStatus {
            phase: *phase,
            why: *why,
            devices: *devices,
        });
        EndedStatus {
            round: ended.id,
            outcome: OutcomeStatus::from(&ended.outcome),
            ended: ended.ended,
            wall_ms: ended.ended.since_ms(ended.opened),
            phase_ms: phase_ms(ended),
            accepted: ended.accepted.clone(),
            report: None,
            bytes: runner.tracker.ended(ended.id),
            absent: named.collect(),
            missed: missed.collect(),
            reports: ended.reports.iter().map(|(_, blob)| *blob).collect(),
        }
    }

    /// When each device's newest contribution was taken, and its strikes,
    /// over all tasks. Linear in devices and tasks.
    fn marks(&self) -> Marks {
        let mut marks = Marks::default();
        for runner in &self.tasks {
            let state = runner.engine.state();
            for ((device, _), newest) in &state.newest {
                let mark = marks.entry(*device).or_default();
                mark.contributed = mark.contributed.max(Some(newest.at));
            }
            for (device, strikes) in &state.strikes {
                let mark = marks.entry(*device).or_default();
                mark.strikes += strikes;
                mark.struck_for = runner.engine.struck_for(*device).or(mark.struck_for);
                mark.is_struck_out |= *strikes >= STRIKES_MAX;
            }
        }
        marks
    }

    fn device_status(
        &self,
        now: Time,
        device: DeviceId,
        marks: &Marks,
        sources: &Sources,
    ) -> DeviceStatus {
        let mark = marks.get(&device).copied().unwrap_or_default();
        let member = self.registry.members().get(&device);
        let revocation = self.registry.revoked().get(&device);
        let counters = self.sessions.counters(device);
        DeviceStatus {
            device,
            label: self.registry.label(device).to_owned(),
            admitted: member.map(|member| member.admitted),
            certificate: member.map(|member| member.certificate.fingerprint),
            authority: member.map(|member| member.certificate.authority),
            expires: member.map(|member| member.certificate.expires),
            group: member.and_then(|member| member.group.clone()),
            standing: self.standing(device),
            revoked: revocation.is_some(),
            forgotten: self.forgetting(device),
            revoked_at: revocation.map(|revocation| revocation.at),
            revoked_why: revocation.map(|revocation| revocation.reason.clone()),
            connected: self.sessions.is_connected(device),
            gateway: self.sessions.gateway(device).map(|one| self.name(one)),
            uplink_bytes: counters.work.udp_rx_bytes,
            downlink_bytes: counters.work.udp_tx_bytes,
            handshake_bytes: counters.handshake.udp_rx_bytes + counters.handshake.udp_tx_bytes,
            sessions: counters.sessions,
            seen: counters.seen,
            contributed: mark.contributed,
            strikes: mark.strikes,
            peer_limits: Self::peer_limits_status(mark),
            shared_key: self.sessions.shared_key(now, device),
            students: self.students(device),
            gives_nothing_to: self.gives_nothing_to(device, sources),
        }
    }

    /// What the tasks know; the server adds what sessions did.
    fn peer_limits_status(mark: Mark) -> PeerLimitsStatus {
        PeerLimitsStatus {
            struck_for: mark.struck_for,
            quarantine: mark.is_struck_out.then_some(Quarantine::Contributions),
            ..PeerLimitsStatus::default()
        }
    }

    fn forgetting(&self, device: DeviceId) -> Option<Forgetting> {
        let tasks = self.tasks.iter();
        let states = tasks.filter_map(|task| task.engine.state().forgotten.get(&device));
        states.min().map(|is_out| match is_out {
            true => Forgetting::Complete,
            false => Forgetting::Partial,
        })
    }

    pub(super) fn standing(&self, device: DeviceId) -> Standing {
        let registry = &self.registry;
        if registry.revoked().contains_key(&device) {
            return Standing::Revoked;
        }
        if registry.members().contains_key(&device) {
            return Standing::Member;
        }
        match registry.applicants().get(&device).map(|one| one.decision) {
            Some(Decision::Waiting) => Standing::Waiting,
            Some(Decision::Approved) => Standing::Approved,
            Some(Decision::Denied) => Standing::Denied,
            None => Standing::Unknown,
        }
    }

    /// The moments that stand on a task's transfer set now.
    pub(super) fn evidence(&self, task: TaskHash) -> Option<Evidence> {
        let runner = &self.tasks[self.position(task)?];
        let state = runner.engine.state();
        let transfer = state.transfer?;
        let stands = |((device, kind), one): (&(DeviceId, Kind), &Stands)| {
            let is_wanted = *kind == Kind::Moments && one.transfer == Some(transfer.blob);
            is_wanted.then(|| (self.name(*device), one.blob))
        };
        Some(Evidence {
            task: runner.task.clone(),
            transfer: transfer.blob,
            moments: state.standing.iter().filter_map(stands).collect(),
        })
    }

    pub(super) fn name(&self, device: DeviceId) -> DeviceName {
        DeviceName {
            device,
            label: self.registry.label(device).to_owned(),
        }
    }
}

/// What the tasks' states say of each device.
type Marks = BTreeMap<DeviceId, Mark>;

/// What they say of one.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// When the newest contribution was taken.
    contributed: Option<Time>,
    strikes: u32,
    struck_for: Option<Reason>,
    /// Whether a task takes nothing of it any more.
    is_struck_out: bool,
}

/// What the next student of a standing task waits for.
fn standing(now: Time, engine: &Engine) -> Option<StandingStatus> {
    let (gathered, rules) = engine.gathered().zip(engine.policy().standing)?;
    let open = engine.state().open();
    let mut status = StandingStatus {
        devices: gathered.devices,
        devices_min: engine.policy().devices_min,
        devices_new: gathered.devices_new,
        rows_new: gathered.rows_new,
        rows_new_min: rules.rows_new,
        gathers: open.is_some_and(|open| open.phase.gathers() && !open.closed),
        due: engine.due(),
        text: String::new(),
    };
    status.text = status.words(now);
    Some(status)
}

fn phases(round: &Round) -> Vec<PhaseStatus> {
    let past = round.spans.iter().map(|span| PhaseStatus {
        phase: span.phase,
        opened: span.opened,
        closed: Some(span.closed),
    });
    let open = round.phase.iter().map(|open| PhaseStatus {
        phase: open.phase,
        opened: open.opened,
        closed: None,
    });
    past.chain(open).collect()
}
