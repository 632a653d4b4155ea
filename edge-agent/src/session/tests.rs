//! What the session engine does and must not do.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use common::ids::{BlobHash, RoundId, TaskHash, Time, Version};
use common::round::{ContributionKey, Kind, Phase, Reason};
use common::wire::messages::{
    Announcement, Call, Context, ToCoordinator, ToDevice, TransferAnswer, Welcome,
};
use proptest::prelude::*;

use super::{Action, CallName, Engine, Input, Pending, Settled};

const TASK: TaskHash = TaskHash([1; 32]);
const DEFINITION: BlobHash = BlobHash([1; 32]);
const NORMALISER: BlobHash = BlobHash([2; 32]);
const STUDENT: BlobHash = BlobHash([3; 32]);

struct Bench {
    engine: Engine,
    now: Time,
}

impl Bench {
    /// An engine that was started and is connected.
    fn online(outbox: Vec<Pending>, cached: &[BlobHash]) -> (Self, Vec<Action>) {
        let mut bench = Self {
            engine: Engine::new(7),
            now: Time(1_000),
        };
        let cached: BTreeSet<BlobHash> = cached.iter().copied().collect();
        let actions = bench.input(Input::Started {
            outbox,
            cached,
            partial: Vec::new(),
        });
        assert_eq!(actions, [Action::Connect]);
        let actions = bench.input(Input::Connected);
        (bench, actions)
    }

    fn input(&mut self, input: Input) -> Vec<Action> {
        self.engine.handle(self.now, input);
        std::iter::from_fn(|| self.engine.poll_action()).collect()
    }

    fn later(&mut self, ms: u64) -> Vec<Action> {
        self.now = self.now.after_ms(ms);
        self.input(Input::Tick)
    }

    fn receive(&mut self, message: ToDevice) -> Vec<Action> {
        self.input(Input::Received(message))
    }

    fn reconnect(&mut self) -> Vec<Action> {
        let at = self.engine.poll_timeout().unwrap();
        self.now = self.now.max(at);
        assert_eq!(self.input(Input::Tick), [Action::Connect]);
        self.input(Input::Connected)
    }

    fn answer(&mut self, key: ContributionKey, answer: TransferAnswer) -> Vec<Action> {
        self.input(Input::Answered {
            key,
            answer: Some(answer),
        })
    }
}

fn call(round: u64, phase: Phase) -> Call {
    Call {
        task: TASK,
        round: RoundId(round),
        phase,
        context: Context {
            task: DEFINITION,
            normaliser: (phase > Phase::Profile).then_some(NORMALISER),
            transfer: None,
            teacher: None,
            release: None,
        },
        remaining_ms: 60_000,
    }
}

fn pending(call: &Call, kind: Kind) -> Pending {
    Pending {
        key: ContributionKey {
            task: call.task,
            transfer: None,
            round: call.round,
            phase: call.phase,
            kind,
        },
        blob: BlobHash::of(&[kind as u8]),
        bytes: 10,
    }
}

fn release(number: u64) -> Announcement {
    Announcement {
        task: TASK,
        version: Version { epoch: 1, number },
        blob: STUDENT,
        bytes: 100,
        soak_ms: 0,
    }
}

fn built(call: &Call, entries: Vec<Pending>, partial: bool) -> Input {
    Input::Built {
        call: call.clone(),
        entries,
        partial,
    }
}

fn abstain(call: &Call) -> Action {
    Action::Send(ToCoordinator::Abstain {
        task: call.task,
        round: call.round,
        phase: call.phase,
    })
}

fn found(blob: BlobHash) -> Input {
    Input::Fetched { blob, found: true }
}

const CACHED: &[BlobHash] = &[DEFINITION, NORMALISER];

#[test]
fn a_call_is_fetched_built_uploaded_and_settled() {
    let (mut bench, first) = Bench::online(vec![], &[]);
    assert_eq!(first, []);
    let call = call(1, Phase::Summarise);
    let entry = pending(&call, Kind::Summary);
    assert_eq!(
        bench.receive(ToDevice::Call(call.clone())),
        [Action::Fetch(vec![DEFINITION, NORMALISER])],
        "both at once"
    );
    assert_eq!(bench.input(found(DEFINITION)), []);
    assert_eq!(
        bench.input(found(NORMALISER)),
        [Action::Build(call.clone())]
    );
    assert_eq!(
        bench.input(built(&call, vec![entry], false)),
        [Action::Upload(entry)]
    );
    assert!(!bench.engine.is_idle());
    assert_eq!(
        bench.answer(entry.key, TransferAnswer::Accepted),
        [Action::Settle {
            pending: entry,
            settled: Settled::Accepted
        }]
    );
    assert!(bench.engine.is_idle());
}

#[test]
fn only_one_computation_runs_at_a_time() {
    let (mut bench, _) = Bench::online(vec![], &[DEFINITION, NORMALISER, STUDENT]);
    let first = call(1, Phase::Summarise);
    let mut second = call(1, Phase::Summarise);
    second.task = TaskHash([9; 32]);
    assert_eq!(
        bench.receive(ToDevice::Call(first.clone())),
        [Action::Build(first.clone())]
    );
    assert_eq!(bench.receive(ToDevice::Call(second.clone())), []);
    assert_eq!(bench.receive(ToDevice::Released(release(1))), []);
    assert_eq!(
        bench.input(built(&first, vec![], false)),
        [Action::Install(release(1))]
    );
    assert_eq!(
        bench.input(Input::Installed {
            release: release(1)
        }),
        [Action::Build(second)]
    );
}

#[test]
fn a_kept_outbox_is_sent_and_not_rebuilt() {
    let call = call(1, Phase::Summarise);
    let entry = pending(&call, Kind::Summary);
    let (mut bench, first) = Bench::online(vec![entry], CACHED);
    assert_eq!(first, [Action::Upload(entry)]);
    assert_eq!(bench.receive(ToDevice::Call(call)), []);
    let settled = bench.answer(entry.key, TransferAnswer::Accepted);
    assert_eq!(settled.len(), 1);
}

#[test]
fn a_break_during_an_upload_repeats_it() {
    let call = call(1, Phase::Summarise);
    let entry = pending(&call, Kind::Summary);
    let (mut bench, _) = Bench::online(vec![entry], CACHED);
    assert_eq!(bench.input(Input::Disconnected), []);
    assert_eq!(bench.reconnect(), [Action::Upload(entry)]);
}

#[test]
fn an_unanswered_upload_is_retried_later() {
    let call = call(1, Phase::Summarise);
    let entry = pending(&call, Kind::Summary);
    let (mut bench, _) = Bench::online(vec![entry], CACHED);
    let lost = Input::Answered {
        key: entry.key,
        answer: None,
    };
    assert_eq!(bench.input(lost), []);
    assert_eq!(bench.later(1), []);
    assert!(bench.engine.poll_timeout().is_some());
    assert_eq!(bench.later(60_000), [Action::Upload(entry)]);
}

#[test]
fn a_transient_refusal_is_offered_again_later() {
    let call = call(1, Phase::Summarise);
    let entry = pending(&call, Kind::Summary);
    let (mut bench, _) = Bench::online(vec![entry], CACHED);
    let refused = TransferAnswer::Refused(Reason::Storage);
    assert_eq!(bench.answer(entry.key, refused), []);
    let at = bench.engine.poll_timeout().unwrap();
    assert!(at > bench.now);
    assert_eq!(bench.later(at.since_ms(bench.now)), [Action::Upload(entry)]);
}

#[test]
fn a_permanent_refusal_is_settled_and_never_offered_again() {
    let call = call(1, Phase::Summarise);
    let entry = pending(&call, Kind::Summary);
    let (mut bench, _) = Bench::online(vec![entry], CACHED);
    assert_eq!(
        bench.answer(entry.key, TransferAnswer::Refused(Reason::WrongShape)),
        [Action::Settle {
            pending: entry,
            settled: Settled::Refused(Reason::WrongShape)
        }]
    );
    bench.input(Input::Disconnected);
    assert_eq!(bench.reconnect(), []);
}

#[test]
fn an_answer_on_an_unknown_base_is_rebuilt_once() {
    let (mut bench, _) = Bench::online(vec![], CACHED);
    let call = call(1, Phase::Contribute);
    let entry = pending(&call, Kind::Labels);
    bench.receive(ToDevice::Call(call.clone()));
    bench.input(built(&call, vec![entry], false));
    let unknown = Reason::UnknownBase;
    let refused = Action::Settle {
        pending: entry,
        settled: Settled::Refused(unknown),
    };
    let actions = bench.answer(entry.key, TransferAnswer::Refused(unknown));
    assert_eq!(actions, [refused.clone(), Action::Build(call.clone())]);
    let whole = Pending {
        blob: BlobHash::of(b"whole"),
        ..entry
    };
    assert_eq!(
        bench.input(built(&call, vec![whole], false)),
        [Action::Upload(whole)]
    );
    // A coordinator that says so again and again is not believed for ever.
    let actions = bench.answer(entry.key, TransferAnswer::Refused(unknown));
    assert!(
        matches!(actions[..], [Action::Settle { .. }]),
        "{actions:?}"
    );
    assert!(bench.engine.is_idle());
}

#[test]
fn a_repeated_call_starts_no_second_computation() {
    let (mut bench, _) = Bench::online(vec![], CACHED);
    let call = call(1, Phase::Contribute);
    let entry = pending(&call, Kind::Labels);
    let build = vec![Action::Build(call.clone())];
    assert_eq!(bench.receive(ToDevice::Call(call.clone())), build);
    assert_eq!(bench.receive(ToDevice::Call(call.clone())), []);
    assert_eq!(
        bench.input(built(&call, vec![entry], false)),
        [Action::Upload(entry)]
    );
    assert_eq!(bench.receive(ToDevice::Call(call)), []);
}

#[test]
fn a_break_during_a_computation_keeps_its_result() {
    let (mut bench, _) = Bench::online(vec![], CACHED);
    let call = call(1, Phase::Contribute);
    let entry = pending(&call, Kind::Labels);
    bench.receive(ToDevice::Call(call.clone()));
    assert_eq!(bench.input(Input::Disconnected), []);
    bench.reconnect();
    assert_eq!(bench.receive(ToDevice::Call(call.clone())), []);
    assert_eq!(
        bench.input(built(&call, vec![entry], false)),
        [Action::Upload(entry)]
    );
}

#[test]
fn a_result_made_offline_is_sent_when_the_link_is_back() {
    let (mut bench, _) = Bench::online(vec![], CACHED);
    let call = call(1, Phase::Contribute);
    let entry = pending(&call, Kind::Labels);
    bench.receive(ToDevice::Call(call.clone()));
    bench.input(Input::Disconnected);
    assert_eq!(bench.input(built(&call, vec![entry], false)), []);
    assert_eq!(bench.reconnect(), [Action::Upload(entry)]);
}

#[test]
fn a_break_during_a_fetch_drops_the_call() {
    let (mut bench, _) = Bench::online(vec![], &[]);
    let call = call(1, Phase::Profile);
    bench.receive(ToDevice::Call(call.clone()));
    assert_eq!(bench.input(Input::Disconnected), []);
    assert_eq!(bench.reconnect(), []);
    assert_eq!(
        bench.receive(ToDevice::Call(call)),
        [Action::Fetch(vec![DEFINITION])]
    );
}

#[test]
fn a_blob_that_is_nowhere_makes_the_device_abstain() {
    let (mut bench, _) = Bench::online(vec![], &[]);
    let call = call(1, Phase::Profile);
    bench.receive(ToDevice::Call(call.clone()));
    let missing = Input::Fetched {
        blob: DEFINITION,
        found: false,
    };
    assert_eq!(bench.input(missing), [abstain(&call)]);
    assert!(bench.engine.is_idle());
}

#[test]
fn a_release_goes_before_a_call() {
    let (mut bench, _) = Bench::online(vec![], &[DEFINITION]);
    let earlier = call(1, Phase::Profile);
    bench.receive(ToDevice::Call(earlier.clone()));
    let report = call(1, Phase::Report);
    assert_eq!(bench.receive(ToDevice::Call(report)), []);
    assert_eq!(bench.receive(ToDevice::Released(release(1))), []);
    assert_eq!(
        bench.input(built(&earlier, vec![], false)),
        [Action::Fetch(vec![STUDENT])]
    );
    assert_eq!(bench.input(found(STUDENT)), [Action::Install(release(1))]);
}

#[test]
fn an_older_release_does_not_replace_a_newer_one() {
    let (mut bench, _) = Bench::online(vec![], CACHED);
    let busy = call(1, Phase::Summarise);
    bench.receive(ToDevice::Call(busy.clone()));
    bench.receive(ToDevice::Released(release(5)));
    bench.receive(ToDevice::Released(release(4)));
    bench.input(built(&busy, vec![], false));
    assert_eq!(bench.input(found(STUDENT)), [Action::Install(release(5))]);
}

#[test]
fn a_release_during_an_install_comes_next() {
    let (mut bench, _) = Bench::online(vec![], &[STUDENT]);
    bench.receive(ToDevice::Released(release(1)));
    assert_eq!(bench.receive(ToDevice::Released(release(2))), []);
    let done = Input::Installed {
        release: release(1),
    };
    assert_eq!(bench.input(done), [Action::Install(release(2))]);
}

#[test]
fn abstaining_waits_until_everything_else_was_answered() {
    let (mut bench, _) = Bench::online(vec![], CACHED);
    let call = call(1, Phase::Contribute);
    let labels = pending(&call, Kind::Labels);
    let moments = pending(&call, Kind::Moments);
    bench.receive(ToDevice::Call(call.clone()));
    assert_eq!(
        bench.input(built(&call, vec![labels, moments], true)),
        [Action::Upload(labels)]
    );
    let first = bench.answer(labels.key, TransferAnswer::Accepted);
    assert!(!first.contains(&abstain(&call)));
    let second = bench.answer(moments.key, TransferAnswer::Refused(Reason::TooLarge));
    assert_eq!(second.last(), Some(&abstain(&call)));
    assert_eq!(bench.later(10), []);
}

#[test]
fn a_device_that_can_send_nothing_abstains_once() {
    let (mut bench, _) = Bench::online(vec![], CACHED);
    let call = call(1, Phase::Contribute);
    bench.receive(ToDevice::Call(call.clone()));
    assert_eq!(bench.input(built(&call, vec![], true)), [abstain(&call)]);
    assert_eq!(bench.receive(ToDevice::Call(call)), []);
    assert_eq!(bench.later(10), []);
}

#[test]
fn an_offline_abstention_is_sent_later() {
    let (mut bench, _) = Bench::online(vec![], CACHED);
    let call = call(1, Phase::Contribute);
    bench.receive(ToDevice::Call(call.clone()));
    bench.input(Input::Disconnected);
    assert_eq!(bench.input(built(&call, vec![], true)), []);
    assert_eq!(bench.reconnect(), [abstain(&call)]);
    assert_eq!(bench.receive(ToDevice::Call(call)), []);
}

#[test]
fn a_closed_phase_is_not_worked_on() {
    let (mut bench, _) = Bench::online(vec![], &[]);
    let call = call(1, Phase::Profile);
    bench.receive(ToDevice::Call(call.clone()));
    bench.receive(ToDevice::PhaseClosed {
        task: TASK,
        round: RoundId(1),
        phase: Phase::Profile,
    });
    assert_eq!(bench.input(found(DEFINITION)), []);
    assert!(bench.engine.is_idle());
}

#[test]
fn the_closing_of_another_phase_drops_nothing() {
    let (mut bench, _) = Bench::online(vec![], &[]);
    let call = call(2, Phase::Profile);
    bench.receive(ToDevice::Call(call.clone()));
    bench.receive(ToDevice::PhaseClosed {
        task: TASK,
        round: RoundId(1),
        phase: Phase::Profile,
    });
    assert_eq!(bench.input(found(DEFINITION)), [Action::Build(call)]);
}

#[test]
fn later_calls_replace_earlier_ones() {
    let (mut bench, _) = Bench::online(vec![], CACHED);
    let first = call(1, Phase::Summarise);
    let second = call(1, Phase::Contribute);
    let late = pending(&first, Kind::Summary);
    bench.receive(ToDevice::Call(first.clone()));
    assert_eq!(bench.receive(ToDevice::Call(second.clone())), []);
    assert_eq!(
        bench.input(built(&first, vec![late], false)),
        [Action::Upload(late), Action::Build(second)]
    );
}

#[test]
fn an_evicted_blob_is_fetched_before_work_resumes() {
    let (mut bench, _) = Bench::online(vec![], CACHED);
    let call = call(1, Phase::Summarise);
    assert_eq!(
        bench.receive(ToDevice::Call(call.clone())),
        [Action::Build(call.clone())]
    );
    assert_eq!(
        bench.input(Input::Evicted(NORMALISER)),
        [Action::Fetch(vec![NORMALISER])]
    );
    assert_eq!(bench.input(found(NORMALISER)), [Action::Build(call)]);
}

#[test]
fn what_work_asks_for_is_fetched_before_it_resumes() {
    let (mut bench, _) = Bench::online(vec![], CACHED);
    let (model, front) = (BlobHash([8; 32]), BlobHash([9; 32]));
    let wanted = |blob| Input::Wanted { task: TASK, blob };
    let profile = call(1, Phase::Summarise);
    bench.receive(ToDevice::Call(profile.clone()));
    assert_eq!(bench.input(wanted(model)), [Action::Fetch(vec![model])]);
    assert_eq!(bench.input(found(model)), [Action::Build(profile.clone())]);
    assert_eq!(bench.input(wanted(front)), [Action::Fetch(vec![front])]);
    assert_eq!(bench.input(found(front)), [Action::Build(profile.clone())]);
    // It may be damaged later: what is at hand then is fetched again.
    assert_eq!(bench.input(wanted(model)), [Action::Fetch(vec![model])]);
    let missing = Input::Fetched {
        blob: model,
        found: false,
    };
    let told = Action::Send(ToCoordinator::Abstain {
        task: TASK,
        round: profile.round,
        phase: profile.phase,
    });
    assert_eq!(
        bench.input(missing),
        [told],
        "the coordinator has it no more"
    );
}

#[test]
fn new_data_found_offline_is_told_when_the_link_is_back() {
    let (mut bench, _) = Bench::online(vec![], CACHED);
    bench.input(Input::Disconnected);
    assert_eq!(bench.input(Input::DataChanged { task: TASK }), []);
    assert_eq!(
        bench.reconnect(),
        [Action::Send(ToCoordinator::DataChanged(TASK))]
    );
    assert_eq!(bench.later(1), []);
}

#[test]
fn new_data_is_reported_until_it_is_asked_for() {
    let (mut bench, _) = Bench::online(vec![], CACHED);
    let told = [Action::Send(ToCoordinator::DataChanged(TASK))];
    assert_eq!(bench.input(Input::DataChanged { task: TASK }), told);
    bench.input(Input::Disconnected);
    assert_eq!(bench.reconnect(), told, "the first may have been lost");
    let call = call(1, Phase::Contribute);
    bench.receive(ToDevice::Call(call));
    bench.input(Input::Disconnected);
    let said = bench.reconnect();
    assert!(!said.iter().any(|action| told.contains(action)), "{said:?}");
}

#[test]
fn backoff_grows_until_a_good_link() {
    let (mut bench, _) = Bench::online(vec![], &[]);
    let wait = |bench: &mut Bench| {
        bench.input(Input::Disconnected);
        bench.engine.poll_timeout().unwrap().since_ms(bench.now)
    };
    let first = wait(&mut bench);
    for _ in 0..8 {
        bench.now = bench.engine.poll_timeout().unwrap();
        assert_eq!(bench.input(Input::Tick), [Action::Connect]);
        wait(&mut bench);
    }
    bench.now = bench.engine.poll_timeout().unwrap();
    bench.input(Input::Tick);
    let long = wait(&mut bench);
    assert!(long > 10 * first, "{long} after {first}");
    for _ in 0..8 {
        bench.reconnect();
        let short = wait(&mut bench);
        assert!((500..=1_000).contains(&short), "{short}");
    }
    bench.reconnect();
    bench.later(60_000);
    assert_eq!(wait(&mut bench), first);
}

#[test]
fn a_link_that_cannot_be_opened_is_tried_again() {
    let mut bench = Bench {
        engine: Engine::new(7),
        now: Time(0),
    };
    let started = Input::Started {
        outbox: vec![],
        cached: BTreeSet::new(),
        partial: vec![],
    };
    assert_eq!(bench.input(started), [Action::Connect]);
    assert_eq!(bench.later(60_000), []);
    assert_eq!(bench.input(Input::Disconnected), []);
    assert_eq!(bench.reconnect(), []);
    assert!(bench.engine.is_connected());
}

#[test]
fn a_partial_answer_is_completed_after_a_restart() {
    let call = call(1, Phase::Contribute);
    let labels = pending(&call, Kind::Labels);
    let mut bench = Bench {
        engine: Engine::new(7),
        now: Time(0),
    };
    let started = Input::Started {
        outbox: vec![labels],
        cached: BTreeSet::new(),
        partial: vec![CallName::of(&call)],
    };
    assert_eq!(bench.input(started), [Action::Connect]);
    assert_eq!(bench.input(Input::Connected), [Action::Upload(labels)]);
    assert_eq!(bench.receive(ToDevice::Call(call.clone())), []);
    let settled = Action::Settle {
        pending: labels,
        settled: Settled::Accepted,
    };
    let after = bench.answer(labels.key, TransferAnswer::Accepted);
    assert_eq!(after, [settled, abstain(&call)]);
}

#[test]
fn a_welcome_asks_for_nothing() {
    let (mut bench, _) = Bench::online(vec![], &[]);
    let welcome = Welcome {
        minor: 0,
        time: Time(5),
        tasks: vec![(TASK, DEFINITION)],
        trust_root: Vec::new(),
        freshness: Vec::new(),
    };
    assert_eq!(bench.receive(ToDevice::Welcome(welcome)), []);
}

proptest! {
    /// Whatever the link does, every contribution is settled exactly once
    /// and at most one piece of work and one upload are under way.
    #[test]
    fn every_contribution_is_settled_exactly_once(
        steps in prop::collection::vec((0u8..4, any::<bool>()), 0..80)
    ) {
        let (mut bench, mut todo) = Bench::online(vec![], CACHED);
        let calls = [call(1, Phase::Summarise), call(1, Phase::Contribute)];
        let mut settled = Vec::new();
        let mut next = 0;
        let tail = std::iter::repeat_n((3u8, true), 40);
        for (step, good) in steps.into_iter().chain(tail) {
            let more = match step {
                0 if next < calls.len() => {
                    next += 1;
                    bench.receive(ToDevice::Call(calls[next - 1].clone()))
                }
                1 if bench.engine.is_connected() => {
                    todo.retain(|a| matches!(a, Action::Build(_) | Action::Settle { .. }));
                    bench.input(Input::Disconnected)
                }
                _ if todo.is_empty() => bench.later(5_000),
                _ => match todo.remove(0) {
                    Action::Connect if good => bench.input(Input::Connected),
                    Action::Connect => bench.input(Input::Disconnected),
                    Action::Build(call) => {
                        let entry = pending(&call, call.phase.kinds()[0]);
                        bench.input(built(&call, vec![entry], false))
                    }
                    Action::Upload(entry) => bench.input(Input::Answered {
                        key: entry.key,
                        answer: good.then_some(TransferAnswer::Accepted),
                    }),
                    Action::Settle { pending, .. } => {
                        settled.push(pending.key);
                        vec![]
                    }
                    _ => vec![],
                },
            };
            todo.extend(more);
            let count = |is: fn(&Action) -> bool| todo.iter().filter(|a| is(a)).count();
            prop_assert!(count(|a| matches!(a, Action::Build(_))) <= 1);
            prop_assert!(count(|a| matches!(a, Action::Upload(_))) <= 1);
        }
        let unique: BTreeSet<_> = settled.iter().collect();
        prop_assert_eq!(unique.len(), settled.len());
        prop_assert!(bench.engine.is_idle());
    }
}

#[test]
fn a_superseded_device_backs_off() {
    let (mut bench, _) = Bench::online(Vec::new(), &[]);
    let mut waits = Vec::new();
    for _ in 0..12 {
        bench.input(Input::Superseded);
        let at = bench.engine.poll_timeout().unwrap();
        waits.push(at.since_ms(bench.now));
        bench.reconnect();
        // Long enough for a good link, and no sign that the other is gone.
        bench.now = bench.now.after_ms(60_000);
    }
    assert!((4_000..=8_000).contains(&waits[0]), "{waits:?}");
    assert!(waits[11] >= 8 * 60_000, "{waits:?}");
    let all_ms: u64 = waits.iter().sum();
    assert!(all_ms > 45 * 60_000, "{waits:?}");
    // The other was mended: the next time is like the first.
    bench.now = bench.now.after_ms(2 * 3_600_000);
    bench.input(Input::Superseded);
    let at = bench.engine.poll_timeout().unwrap();
    assert!(at.since_ms(bench.now) <= 8_000);
}
