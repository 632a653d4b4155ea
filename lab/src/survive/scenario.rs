//! What a seed stands for: how large the fleet is, and what goes wrong.

use common::ids::Time;
use common::math::random::{ChaCha8Rng, rng};
use common::round::Kind;
use common::trust::certificate::Fingerprint;
use common::trust::token::{Approval, TokenRecord, TokenSecret, TokenTerms};
use coordinator::journal::Retention;
use coordinator::rollout::{Plan, Releases};
use coordinator::round::RoundPolicy;
use rand::Rng;

/// Throws random, from a seed.
#[derive(Debug)]
pub(super) struct Random(ChaCha8Rng);

impl Random {
    pub(super) fn new(seed: u64, purpose: &str) -> Self {
        Self(rng(seed, purpose))
    }

    /// From `low` up to, not including, `high`.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..high.max(low + 1))
    }

    pub(super) fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.0.random_bool(share.min(1.0))
    }

    /// Log-uniform: short times are as likely as long ones.
    pub(super) fn duration(&mut self, low_ms: u64, high_ms: u64) -> u64 {
        let (low, high) = ((low_ms.max(1) as f64).ln(), (high_ms.max(2) as f64).ln());
        (low + (high - low) * self.0.random::<f64>()).exp() as u64
    }
}

/// A token that admits all devices, and its secret.
#[derive(Clone, Debug)]
pub(super) struct Join {
    pub(super) record: TokenRecord,
    pub(super) secret: TokenSecret,
}

impl Join {
    fn new(devices: usize, approval: Approval) -> Self {
        let terms = TokenTerms {
            expires: Time(u64::MAX),
            uses_max: devices as u32,
            group: None,
            approval,
        };
        let (token, record) = TokenRecord::create(Fingerprint([0; 32]), terms)
            .expect("the system has random numbers");
        Self {
            record,
            secret: token.secret,
        }
    }
}

/// Rates and sizes of one seed. Each fault is absent in some seeds, so that
/// none hides what another would show.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) devices: usize,
    /// Until when faults happen; then everything heals.
    pub(super) calm_at: u64,
    pub(super) policy: RoundPolicy,
    /// Mean one-way delay, in milliseconds.
    pub(super) delay_ms: u64,
    /// Share of packets that have to be sent again.
    pub(super) loss: f64,
    /// Share of transfers that arrive twice.
    pub(super) duplicates: f64,
    /// Longest flush of the coordinator's disk.
    pub(super) flush_ms: u64,
    /// Longest computation, of either side.
    pub(super) work_ms: u64,
    /// Share of the coordinator's computations that fail.
    pub(super) failing: f64,
    /// Share of contributions that are not sound.
    pub(super) unsound: f64,
    /// Share of students that a device finds worse than what it has.
    pub(super) worse: f64,
    /// Tasks of the coordinator.
    pub(super) tasks: usize,
    /// How devices join.
    pub(super) join: Join,
    /// How often an operator revokes a device, whenever they look.
    pub(super) revoking: f64,
    /// How much of the past the coordinator keeps.
    pub(super) retention: Retention,
    /// Milliseconds between two compactions, on average.
    pub(super) compaction_ms: u64,
    /// Milliseconds between two faults, on average; none if there are none.
    pub(super) faults_ms: Option<u64>,
    /// Which kinds of faults there are, by number.
    pub(super) kinds: [bool; 10],
}

impl Scenario {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed, "weather");
        let devices = match random.between(0, 100) {
            0..70 => random.between(1, 9),
            70..97 => random.between(9, 31),
            _ => random.between(31, 201),
        } as usize;
        let some = |random: &mut Random, most: f64| {
            let share = random.between(0, 1_000) as f64 / 1_000.0;
            if random.chance(0.5) {
                share * most
            } else {
                0.0
            }
        };
        let mut members = Random::new(seed, "members");
        let tasks = [1, 1, 2, 3][members.between(0, 4) as usize];
        let approval = match members.chance(0.2) {
            true => Approval::Manual,
            false => Approval::Auto,
        };
        Self {
            devices,
            tasks,
            join: Join::new(devices, approval),
            revoking: some(&mut members, 0.1),
            calm_at: random.between(20_000, 150_000),
            policy: policy(&mut random, devices),
            delay_ms: random.duration(1, 400),
            loss: some(&mut random, 0.3),
            duplicates: some(&mut random, 0.3),
            flush_ms: random.duration(1, 500),
            work_ms: random.duration(2, 4_000),
            failing: some(&mut random, 0.1),
            unsound: some(&mut random, 0.1),
            worse: [0.0, 0.1, 0.5][random.between(0, 3) as usize],
            retention: retention(&mut random),
            compaction_ms: random.duration(300, 30_000),
            faults_ms: random.chance(0.9).then(|| random.duration(300, 20_000)),
            kinds: std::array::from_fn(|_| random.chance(0.6)),
        }
    }

    /// Whether devices wait for an operator's approval.
    pub(super) fn approves(&self) -> bool {
        self.join.record.approval == Approval::Manual
    }

    /// What is left of it once faults end.
    pub(super) fn calm(&mut self) {
        self.loss = 0.0;
        self.duplicates = 0.0;
        self.failing = 0.0;
        self.unsound = 0.0;
        self.faults_ms = None;
        self.flush_ms = 2;
        self.delay_ms = self.delay_ms.min(50);
        self.work_ms = self.work_ms.min(500);
    }
}

fn retention(random: &mut Random) -> Retention {
    let rounds = random.between(1, 5) as u32;
    Retention {
        rounds: random.chance(0.9).then_some(rounds),
        blob_rounds: random.between(1, u64::from(rounds) + 1) as u32,
    }
}

fn releases(random: &mut Random) -> Releases {
    let soak_ms = random.duration(50, 20_000);
    let stages: &[u8] = match random.between(0, 4) {
        0 => &[100],
        1 => &[30, 100],
        _ => &[1, 10, 50, 100],
    };
    let plan = Plan {
        stages: stages.to_vec(),
        worse_permille_max: [0, 20, 300, 1_000][random.between(0, 4) as usize],
        soak_ms,
    };
    match random.between(0, 10) {
        0..4 => Releases::All { soak_ms },
        4 => Releases::Held,
        _ => Releases::Staged(plan),
    }
}

fn policy(random: &mut Random, devices: usize) -> RoundPolicy {
    let contribute = match random.between(0, 7) {
        0 => Vec::new(),
        1 | 2 => vec![Kind::Labels],
        3 | 4 => vec![Kind::Moments],
        _ => vec![Kind::Labels, Kind::Moments],
    };
    RoundPolicy {
        standing: None,
        releases: releases(random),
        devices_min: random.between(1, (devices as u64 / 2).max(2)) as u32,
        quorum: [0.3, 0.5, 0.8, 1.0][random.between(0, 4) as usize],
        deadline_ms: std::array::from_fn(|_| random.duration(3_000, 60_000)),
        grace_ms: random.duration(1, 10_000),
        interval_ms: random.chance(0.5).then(|| random.duration(100, 20_000)),
        new_data_devices_min: random.between(1, 4) as u32,
        contribute,
        contribution_bytes_max: 64 * 1024,
        round_bytes_max: 64 * 1024 * 1024,
        rows_max: common::limits::ROWS_MAX,
        points_max: random.between(3, 40) as u32,
        refinement_steps: random.between(0, 4) as u32,
    }
}
