//! The core's state, for operators.

use std::collections::BTreeSet;

use common::ids::{DeviceId, Time};

use super::super::follower::phase_ms;
use super::{Core, Runner};
use crate::admin::{
    DeviceName, DeviceStatus, EndedStatus, OutcomeStatus, ReleaseStatus, RoundStatus, Standing,
    Status, TaskStatus,
};
use crate::registry::Decision;
use crate::round::{Ended, Round};

impl Core {
    pub(super) fn status(&self, now: Time) -> Status {
        let registry = &self.registry;
        let known = registry
            .members()
            .keys()
            .chain(registry.applicants().keys());
        let known = known.chain(registry.revoked().keys()).copied();
        let devices: BTreeSet<DeviceId> = known.chain(self.sessions.devices()).collect();
        Status {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            address: self.about.address,
            now,
            started: self.about.started,
            epoch: self.epoch,
            storage_failures: self.storage_failures,
            storage_ok: self.in_service,
            tasks: self
                .tasks
                .iter()
                .map(|runner| self.task_status(now, runner))
                .collect(),
            devices: devices
                .into_iter()
                .map(|device| self.device_status(device))
                .collect(),
        }
    }

    fn task_status(&self, now: Time, runner: &Runner) -> TaskStatus {
        let state = runner.engine.state();
        TaskStatus {
            task: runner.task.hash(),
            name: runner.task.definition().name.clone(),
            points: state.transfer.map_or(0, |transfer| transfer.points),
            normaliser: state.normaliser,
            transfer: state.transfer.map(|transfer| transfer.blob),
            teacher: state.teacher,
            round: state
                .round
                .as_ref()
                .map(|round| self.round_status(now, runner, round)),
            history: state.history.iter().map(ended_status).collect(),
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
                })
                .collect(),
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
        };
        if let Some(open) = &round.phase {
            let wanted = runner.engine.policy().wanted(open.phase);
            status.phase = Some(open.phase);
            status.participants = names(&mut open.participants.iter().copied());
            status.abstained = names(&mut open.abstained.iter().copied());
            if open.phase.gathers() {
                status.contributed = names(&mut open.contributed(wanted).into_iter());
                status.missing = names(&mut open.missing(wanted).into_iter());
            }
        }
        status
    }

    fn device_status(&self, device: DeviceId) -> DeviceStatus {
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
            revoked_at: revocation.map(|revocation| revocation.at),
            revoked_why: revocation.map(|revocation| revocation.reason.clone()),
            connected: self.sessions.is_connected(device),
            uplink_bytes: counters.work.udp_rx_bytes,
            downlink_bytes: counters.work.udp_tx_bytes,
            handshake_bytes: counters.handshake.udp_rx_bytes + counters.handshake.udp_tx_bytes,
            sessions: counters.sessions,
        }
    }

    fn standing(&self, device: DeviceId) -> Standing {
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

    pub(super) fn name(&self, device: DeviceId) -> DeviceName {
        DeviceName {
            device,
            label: self.registry.label(device).to_owned(),
        }
    }
}

fn ended_status(ended: &Ended) -> EndedStatus {
    EndedStatus {
        round: ended.id,
        outcome: OutcomeStatus::from(&ended.outcome),
        ended: ended.ended,
        wall_ms: ended.ended.since_ms(ended.opened),
        phase_ms: phase_ms(ended),
        accepted: ended.accepted.clone(),
        report: None,
        reports: ended.reports.iter().map(|(_, blob)| *blob).collect(),
    }
}
