//! Whatever devices, operators and crashes do, in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use protocol::ids::RoundId;
use protocol::round::{ContributionKey, Kind, Phase, Reason};
use protocol::wire::messages::TransferAnswer;

use super::bench::*;
use crate::round::*;

#[derive(Clone, Debug)]
enum Step {
    Connect(u8),
    Disconnect(u8),
    Changed(u8),
    Abstain(u8),
    /// A device, a kind, one of two contents, and how many rounds ago.
    Offer(u8, usize, u8, u64),
    /// One of the uploads under way arrives, good or bad.
    Arrive(usize, bool),
    AnswerCall,
    Compute(bool),
    Start,
    Cancel,
    Tick(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let number = 1..=4u8;
    prop_oneof![
        6 => number.clone().prop_map(Step::Connect),
        2 => number.clone().prop_map(Step::Disconnect),
        1 => number.clone().prop_map(Step::Changed),
        2 => number.clone().prop_map(Step::Abstain),
        8 => (number, 0..5usize, 0..2u8, 0..3u64)
            .prop_map(|(device, kind, text, ago)| Step::Offer(device, kind, text, ago)),
        6 => (any::<usize>(), prop::bool::weighted(0.9)).prop_map(|(at, good)| Step::Arrive(at, good)),
        20 => Just(Step::AnswerCall),
        12 => prop::bool::weighted(0.95).prop_map(Step::Compute),
        4 => Just(Step::Start),
        1 => prop::bool::weighted(0.2).prop_map(|yes| if yes { Step::Cancel } else { Step::Start }),
        6 => (1..3_000u64).prop_map(Step::Tick),
        1 => Just(Step::Restart),
    ]
}

type Upload = (u8, ContributionKey, String);

fn run(bench: &mut Bench, uploads: &mut Vec<Upload>, rules: &RoundPolicy, step: Step) {
    match step {
        Step::Connect(number) => bench.connect(&[number]),
        Step::Disconnect(number) => bench.disconnect(number),
        Step::Changed(number) => bench.input(Input::DataChanged {
            device: device(number),
        }),
        Step::Abstain(number) => {
            if bench.phase().is_some() {
                bench.abstain(number);
            }
        }
        Step::Offer(number, kind, text, ago) => {
            let mut key = bench.key(Kind::ALL[kind]);
            key.round = RoundId(key.round.0.saturating_sub(ago));
            let text = format!("{number} {text}");
            if let TransferAnswer::Send { .. } = bench.offer(number, key, &text) {
                uploads.push((number, key, text));
            }
        }
        Step::Arrive(at, good) => {
            if !uploads.is_empty() {
                let (number, key, text) = uploads.swap_remove(at % uploads.len());
                let checked = if good { Ok(40) } else { Err(Reason::NotFinite) };
                bench.arrive(number, key, &text, checked);
            }
        }
        Step::AnswerCall => drop(bench.answer_call()),
        Step::Compute(true) => drop(bench.compute()),
        Step::Compute(false) => {
            if bench.job.take().is_some() {
                bench.input(Input::Computed {
                    result: Err("planned".to_owned()),
                });
            }
        }
        Step::Start => drop(bench.start()),
        Step::Cancel => bench.input(Input::CancelRound),
        Step::Tick(ms) => bench.tick(ms),
        Step::Restart => {
            let log = std::mem::take(&mut bench.log);
            *bench = Bench::restarted(rules.clone(), log, bench.now);
        }
    }
}

/// What the log says, read in another way than the fold does.
#[derive(Default)]
struct Ledger {
    standing: BTreeSet<(u8, Kind)>,
    taken: BTreeSet<(u8, Kind)>,
    transfer: Option<protocol::ids::BlobHash>,
    round: RoundId,
    phase: Option<Phase>,
    closed: bool,
}

impl Ledger {
    fn read(log: &[Event]) -> Self {
        let mut ledger = Self::default();
        for event in log {
            ledger.see(event);
        }
        ledger
    }

    fn see(&mut self, event: &Event) {
        match event {
            Event::RoundOpened { round, .. } => {
                assert_eq!(round.0, self.round.0 + 1, "rounds are counted");
                (self.round, self.phase) = (*round, None);
            }
            Event::PhaseOpened { phase, .. } => {
                assert!(self.phase.is_none_or(|before| before < *phase), "forward");
                self.phase = Some(*phase);
                self.closed = false;
                self.taken.clear();
            }
            Event::PhaseClosed { .. } => self.closed = true,
            Event::Accepted {
                device,
                kind,
                round,
                transfer,
                ..
            } => {
                let key = (device.0[0], *kind);
                if matches!(kind, Kind::Labels | Kind::Moments) {
                    assert_eq!(*transfer, self.transfer, "stands on the newest set");
                    self.standing.insert(key);
                }
                let fits = |phase: Phase| phase.kinds().contains(kind);
                if self.phase.is_some_and(fits) && !self.closed && *round == self.round {
                    self.taken.insert(key);
                }
            }
            Event::Produced {
                product: Product::TransferSet { blob, .. },
                ..
            } => {
                let before = self.transfer.replace(*blob);
                if before != Some(*blob) {
                    self.standing.clear();
                }
            }
            Event::RoundEnded { .. } => self.phase = None,
            _ => {}
        }
    }
}

fn check(bench: &Bench) {
    let ledger = Ledger::read(&bench.log);
    let state = bench.state();
    let numbers = |keys: &BTreeMap<(protocol::ids::DeviceId, Kind), Standing>| {
        let keys = keys.keys().map(|(device, kind)| (device.0[0], *kind));
        keys.collect::<BTreeSet<_>>()
    };
    assert_eq!(numbers(&state.standing), ledger.standing);
    if let Some(open) = state.open() {
        assert_eq!(numbers(&open.taken), ledger.taken);
        let waiting = bench.engine.poll_timeout().is_some() || bench.job.is_some();
        assert!(waiting, "a round always waits for something that comes");
    }
    assert_eq!(*state, fold(&bench.log));
}

/// With all computations answered and time going on, the round ends.
fn ends(bench: &mut Bench) {
    for _ in 0..50 {
        if bench.state().round.is_none() {
            return;
        }
        if !bench.compute() {
            let due = bench.engine.poll_timeout().unwrap();
            bench.now = bench.now.max(due);
            bench.input(Input::Tick);
        }
    }
    panic!("the round goes on for ever");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_schedule_keeps_the_promises(
        steps in prop::collection::vec(step(), 1..150),
        automatic: bool,
        grows: bool,
    ) {
        let mut rules = policy();
        rules.points_max = if grows { 1_000 } else { 50 };
        let mut bench = Bench::in_round(rules.clone(), &[1, 2, 3]);
        if automatic {
            rules.interval_ms = Some(2_000);
            let log = std::mem::take(&mut bench.log);
            bench = Bench::restarted(rules.clone(), log, bench.now);
            bench.connect(&[1, 2, 3]);
        }
        let mut uploads = Vec::new();
        for step in steps {
            run(&mut bench, &mut uploads, &rules, step);
            check(&bench);
        }
        // No further automatic rounds.
        for number in 1..=4 {
            bench.disconnect(number);
        }
        ends(&mut bench);
        check(&bench);
    }
}
