//! The backend on a real disk, with rows from a script.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use common::evaluation::Evaluation;
use common::features::Normaliser;
use common::ids::{BlobHash, RoundId, TaskHash, Time, Version};
use common::math::quantise::RawScaledF16;
use common::model::{RawRelease, Release};
use common::report::RawReport;
use common::round::{Kind, Phase, Reason};
use common::task::{RawTask, Task};
use common::trust::clock::Clock;
use common::trust::keys::SigningKey;
use common::trust::release::SignedRelease;
use common::weights::RawWeights;
use common::wire::codec::{Trailing, decode, encode};
use common::wire::messages::{Announcement, Call, Context};
use common::withheld::WithheldCode;

use super::holdings::Source;
use super::{InProcess, LEDGER, LocalBackend, OUTBOX, SPENT, UNFINISHED, WorkSettings, open_all};
use crate::cache::CacheError;
use crate::data::{Dataset, LabelSource, Schema, Split};
use crate::driver::backend::{Backend as _, BackendError, Built, Score, Verdict};
use crate::fleet::{freshness, trust_root};
use crate::ledger::{Outcome, entries_in};
use crate::policy::{Budget, Policy, RawPolicy, Spent};
use crate::session::{CallName, Settled};
use crate::slots::{EvaluationRecord, Slots};
use crate::state::StateDir;
use crate::trust::Trust;
use crate::work::TeacherChoice;

const NOW: Time = Time(1_000_000);

/// Rows from memory; none stands for a folder that is missing.
struct Script(Mutex<Option<usize>>);

impl Source for Script {
    fn glance(&self) -> bool {
        true
    }

    fn probe(&self) -> Result<(), BackendError> {
        self.rows().map(|_| ())
    }

    fn load(&self, task: &Task) -> Result<Split, BackendError> {
        let rows = self.rows()?;
        Ok(Split {
            training: dataset(task, 0, rows),
            held_out: dataset(task, rows, 40),
            stands_for: None,
        })
    }

    fn all(&self, task: &Task) -> Result<Dataset, BackendError> {
        Ok(dataset(task, 0, self.rows()? + 40))
    }
}

impl Script {
    fn rows(&self) -> Result<usize, BackendError> {
        self.0.lock().unwrap().ok_or(BackendError::Failed {
            what: "data folder /nowhere does not exist".to_owned(),
            advice: "create it".to_owned(),
        })
    }
}

/// Distinct rows; all labels are `off`, the class of a student with the
/// first output bias.
fn dataset(task: &Task, from: usize, rows: usize) -> Dataset {
    let classes = task.definition().classes.clone();
    let schema = Schema::new(task.input_shape().clone(), classes).unwrap();
    let schema = schema.with_labels(LabelSource::Column("label".to_owned()));
    let mut text = "a,b,label\n".to_owned();
    for row in from..from + rows {
        text.push_str(&format!("{row},{},off\n", row % 7));
    }
    Dataset::parse("rows.csv".as_ref(), text.as_bytes(), &schema).unwrap()
}

struct Bench {
    folder: tempfile::TempDir,
    key: SigningKey,
    task: Task,
}

impl Bench {
    fn new() -> Self {
        let text = "name = \"small\"\n[input]\nshape = [2]\n[classes]\nnames = [\"off\", \"on\"]\n[features]\nstage = \"raw\"\n\
             [student]\nhidden = [2]\n";
        Self {
            folder: tempfile::tempdir().unwrap(),
            key: SigningKey::generate().unwrap(),
            task: RawTask::parse(text).unwrap(),
        }
    }

    fn state(&self) -> StateDir {
        StateDir::create(self.folder.path()).unwrap()
    }

    fn backend(&self, rows: Option<usize>) -> LocalBackend<InProcess<Script>> {
        self.backend_at(rows, NOW)
    }

    /// What a device knows that has joined and heard from its coordinator.
    fn trust(&self) {
        if Trust::load(&self.state()).unwrap().is_none() {
            let (trust_root, word) = (trust_root(&self.key), freshness(&self.key));
            Trust::hear(&self.state(), &trust_root, &word, NOW).unwrap();
        }
    }

    fn backend_at(&self, rows: Option<usize>, now: Time) -> LocalBackend<InProcess<Script>> {
        self.backend_under(Policy::default(), rows, now)
    }

    fn backend_under(
        &self,
        policy: Policy,
        rows: Option<usize>,
        now: Time,
    ) -> LocalBackend<InProcess<Script>> {
        self.trust();
        let settings = WorkSettings {
            policy,
            teacher: TeacherChoice::default(),
            clock: Clock::fixed(now),
            seed: 7,
        };
        let source = Script(Mutex::new(rows));
        let worker = InProcess::open(&self.state(), source, settings).unwrap();
        LocalBackend::open(&self.state(), Clock::fixed(now), worker).unwrap()
    }

    /// A release whose student always answers with one class.
    fn raw(&self, number: u64, class: usize) -> RawRelease {
        let mut weights = vec![0.0; self.task.student().parameters()];
        let at = weights.len() - 2 + class;
        weights[at] = 1.0;
        RawRelease {
            task: self.task.bytes().to_vec(),
            version: version(number),
            round: RoundId(number),
            released: NOW,
            expires: NOW.after_ms(1_000),
            lineage: common::model::Lineage::of(&[]),
            normaliser: Normaliser::of_range(2, 0.0, 100.0).unwrap(),
            weights: RawWeights::encode(self.task.student(), &weights).unwrap(),
            extras: Trailing(None),
        }
    }

    fn sign(&self, raw: &RawRelease) -> Vec<u8> {
        SignedRelease::sign(&self.key, encode(raw))
            .unwrap()
            .to_bytes()
    }

    fn announce(&self, number: u64, bytes: &[u8]) -> Announcement {
        Announcement {
            task: self.task.hash(),
            version: version(number),
            blob: BlobHash::of(bytes),
            bytes: bytes.len() as u64,
            soak_ms: 500,
        }
    }

    fn call(&self, round: u64, phase: Phase, release: Option<BlobHash>) -> Call {
        Call {
            task: self.task.hash(),
            round: RoundId(round),
            phase,
            context: Context {
                task: BlobHash(self.task.hash().0),
                normaliser: None,
                transfer: None,
                teacher: None,
                release,
            },
            remaining_ms: 1_000,
        }
    }

    fn build(
        &self,
        backend: &LocalBackend<InProcess<Script>>,
        call: &Call,
        release: &[u8],
    ) -> Result<Built, BackendError> {
        backend.build(call, &|blob| {
            [self.task.bytes(), release]
                .into_iter()
                .find(|bytes| BlobHash::of(bytes) == blob)
                .map(<[u8]>::to_vec)
                .ok_or(CacheError::Missing(blob))
        })
    }

    fn current(&self) -> Option<Version> {
        let all = open_all(&self.state()).unwrap();
        let slots: &Slots = all.get(&self.task.hash())?;
        slots.current().unwrap().map(|(version, _)| version)
    }
}

fn version(number: u64) -> Version {
    Version { epoch: 1, number }
}

fn install(
    backend: &LocalBackend<InProcess<Script>>,
    bench: &Bench,
    number: u64,
    bytes: &[u8],
) -> Verdict {
    let release = bench.announce(number, bytes);
    backend.install(&release, &|_| Ok(bytes.to_vec())).unwrap()
}

fn refused(verdict: &Verdict, part: &str) {
    let Verdict::Refused { reason } = verdict else {
        panic!("{verdict:?} is no refusal");
    };
    assert!(reason.contains(part), "{part} in {reason}");
}

#[test]
fn a_good_release_is_installed_and_a_worse_one_is_not_kept() {
    let bench = Bench::new();
    let backend = bench.backend(Some(100));
    let good = bench.sign(&bench.raw(1, 0));
    let verdict = install(&backend, &bench, 1, &good);
    let score = Some(Score::Right {
        correct: 40,
        rows: 40,
    });
    assert_eq!(verdict, Verdict::Installed { score });
    let bad = bench.sign(&bench.raw(2, 1));
    let verdict = install(&backend, &bench, 2, &bad);
    let right = |correct| Score::Right { correct, rows: 40 };
    let worse = Verdict::Worse {
        score: right(0),
        before: Some(right(40)),
    };
    assert_eq!(verdict, worse);
    assert_eq!(bench.current(), Some(version(1)));
    assert_eq!(backend.seen(), [(bench.task.hash(), version(2))]);
    assert_eq!(backend.installed(), [(bench.task.hash(), version(1))]);
    let again = install(&backend, &bench, 1, &good);
    let current = version(1);
    assert_eq!(again, Verdict::NotNewer { current });
}

#[test]
fn bad_releases_leave_the_old_student() {
    let bench = Bench::new();
    let backend = bench.backend(Some(100));
    let first = bench.sign(&bench.raw(5, 0));
    install(&backend, &bench, 5, &first);

    let mut forged = bench.sign(&bench.raw(6, 0));
    *forged.last_mut().unwrap() ^= 1;
    refused(&install(&backend, &bench, 6, &forged), "signature");

    let stranger = SigningKey::generate().unwrap();
    let signed = SignedRelease::sign(&stranger, encode(&bench.raw(6, 0))).unwrap();
    refused(
        &install(&backend, &bench, 6, &signed.to_bytes()),
        "not among",
    );

    let lower = bench.sign(&bench.raw(4, 0));
    refused(&install(&backend, &bench, 6, &lower), "announced was 1.6");

    let text = "name = \"other\"\n[input]\nshape = [2]\n[classes]\nnames = [\"off\", \"on\"]\n[features]\nstage = \"raw\"\n\
         [student]\nhidden = [2]\n";
    let other = RawRelease {
        task: RawTask::parse(text).unwrap().bytes().to_vec(),
        ..bench.raw(6, 0)
    };
    refused(
        &install(&backend, &bench, 6, &bench.sign(&other)),
        "it serves task",
    );

    let raw = bench.raw(6, 0);
    let endless = RawRelease {
        weights: RawWeights {
            biases: RawScaledF16 {
                scale: f32::INFINITY,
                ..raw.weights.biases.clone()
            },
            ..raw.weights.clone()
        },
        ..raw.clone()
    };
    refused(
        &install(&backend, &bench, 6, &bench.sign(&endless)),
        "weights",
    );

    let wide = RawTask::parse(
        "name = \"small\"\n[input]\nshape = [2]\n[classes]\nnames = [\"off\", \"on\"]\n[features]\nstage = \"raw\"\n\
         [student]\nhidden = [3]\n",
    );
    let wide = wide.unwrap();
    let zeros = vec![0.0; wide.student().parameters()];
    let misfit = RawRelease {
        weights: RawWeights::encode(wide.student(), &zeros).unwrap(),
        ..raw.clone()
    };
    refused(
        &install(&backend, &bench, 6, &bench.sign(&misfit)),
        "weights",
    );

    let stale = RawRelease {
        expires: NOW,
        ..raw
    };
    refused(
        &install(&backend, &bench, 6, &bench.sign(&stale)),
        "expired",
    );

    assert_eq!(bench.current(), Some(version(5)));
    assert_eq!(backend.seen(), [(bench.task.hash(), version(5))]);
}

#[test]
fn no_version_below_the_floor_is_installed() {
    let bench = Bench::new();
    let backend = bench.backend(Some(100));
    install(&backend, &bench, 1, &bench.sign(&bench.raw(1, 0)));
    install(&backend, &bench, 9, &bench.sign(&bench.raw(9, 1)));
    let replayed = bench.sign(&bench.raw(3, 0));
    refused(&install(&backend, &bench, 3, &replayed), "below 1.9");
    assert_eq!(bench.current(), Some(version(1)));
}

#[test]
fn a_device_without_data_installs_without_evaluating() {
    let bench = Bench::new();
    let backend = bench.backend(None);
    let verdict = install(&backend, &bench, 1, &bench.sign(&bench.raw(1, 1)));
    assert_eq!(verdict, Verdict::Installed { score: None });
    assert_eq!(bench.current(), Some(version(1)));
}

#[test]
fn a_missing_data_folder_is_named() {
    let bench = Bench::new();
    let backend = bench.backend(None);
    let call = bench.call(1, Phase::Profile, None);
    let error = bench.build(&backend, &call, b"").unwrap_err();
    assert!(matches!(&error, BackendError::Failed { what, .. } if what.contains("/nowhere")));
    assert_eq!(backend.unanswered().unwrap(), []);
    assert!(backend.count().is_err());
}

#[test]
fn a_profile_moves_from_outbox_to_ledger() {
    let bench = Bench::new();
    let call = bench.call(1, Phase::Profile, None);
    let backend = bench.backend(Some(100));
    let built = bench.build(&backend, &call, b"").unwrap();
    let [pending] = built.entries[..] else {
        panic!("{built:?} is not one entry");
    };
    drop(backend);

    let backend = bench.backend(Some(100));
    assert_eq!(backend.unanswered().unwrap(), [pending]);
    let bytes = backend.bytes(&pending).unwrap();
    assert_eq!(BlobHash::of(&bytes), pending.blob);
    let settled = Settled::Refused(Reason::WrongRound);
    backend.settle(&pending, settled).unwrap();
    assert_eq!(backend.unanswered().unwrap(), []);
    let left = entries_in(&bench.state().file(LEDGER)).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].kind, left[0].rows), (Kind::Profile, 100));
    let reason = Reason::WrongRound;
    assert_eq!(left[0].outcome, Outcome::Refused { reason });
}

#[test]
fn partial_answers_survive_a_restart() {
    let bench = Bench::new();
    let call = bench.call(1, Phase::Profile, None);
    let name = CallName::of(&call);
    let backend = bench.backend(Some(100));
    let built = bench.build(&backend, &call, b"").unwrap();
    assert_eq!(backend.partial().unwrap(), []);
    backend.note_partial(name, true).unwrap();
    drop(backend);

    let backend = bench.backend(Some(100));
    assert_eq!(backend.partial().unwrap(), [name]);
    backend
        .settle(&built.entries[0], Settled::Accepted)
        .unwrap();
    assert_eq!(backend.partial().unwrap(), []);

    bench.build(&backend, &call, b"").unwrap();
    backend.note_partial(name, true).unwrap();
    bench.state().write("answer.partial", b"rotten").unwrap();
    assert_eq!(backend.partial().unwrap(), []);
}

#[test]
fn half_of_an_answer_is_not_taken_for_the_whole() {
    let bench = Bench::new();
    let call = bench.call(1, Phase::Profile, None);
    let backend = bench.backend(Some(100));
    let built = bench.build(&backend, &call, b"").unwrap();
    assert_eq!(built.entries.len(), 1);
    drop(backend);
    // The image a kill leaves behind before the last file of the answer.
    let unfinished = encode(&CallName::of(&call));
    bench.state().write(UNFINISHED, &unfinished).unwrap();
    let backend = bench.backend(Some(100));
    assert_eq!(backend.unanswered().unwrap(), []);
    assert_eq!(bench.state().read(UNFINISHED).unwrap(), None);
    assert_eq!(bench.build(&backend, &call, b"").unwrap(), built);
}

#[test]
fn too_few_rows_send_nothing_and_touch_no_file() {
    let bench = Bench::new();
    let backend = bench.backend(Some(19));
    let call = bench.call(1, Phase::Profile, None);
    let built = bench.build(&backend, &call, b"").unwrap();
    assert!(built.entries.is_empty() && built.partial);
    let outbox = bench.state().file(OUTBOX);
    assert_eq!(std::fs::read_dir(outbox).unwrap().count(), 0);
}

#[test]
fn new_rows_are_told_once_and_only_when_there_are_enough() {
    let bench = Bench::new();
    let backend = bench.backend(Some(100));
    let call = bench.call(1, Phase::Profile, None);
    let task: TaskHash = bench.task.hash();
    bench.build(&backend, &call, b"").unwrap();
    assert_eq!(backend.count().unwrap(), []);
    *backend.worker.source.0.lock().unwrap() = Some(110);
    assert_eq!(backend.count().unwrap(), []);
    *backend.worker.source.0.lock().unwrap() = Some(120);
    assert_eq!(backend.count().unwrap(), [task]);
    assert_eq!(backend.count().unwrap(), []);
    drop(backend);
    // The task is known again after a start.
    assert_eq!(bench.backend(Some(150)).count().unwrap(), [task]);
}

#[test]
fn a_report_says_how_both_students_did() {
    let bench = Bench::new();
    let backend = bench.backend(Some(100));
    install(&backend, &bench, 1, &bench.sign(&bench.raw(1, 0)));
    let worse = bench.sign(&bench.raw(2, 1));
    install(&backend, &bench, 2, &worse);
    let call = bench.call(2, Phase::Report, Some(BlobHash::of(&worse)));
    let built = bench.build(&backend, &call, &worse).unwrap();
    let bytes = backend.bytes(&built.entries[0]).unwrap();
    let expected = RawReport {
        version: version(2),
        rows: 40,
        correct: 0,
        previous_correct: Some(40),
        installed: false,
        errors: Trailing(None),
    };
    assert_eq!(decode::<RawReport>(&bytes).unwrap(), expected);
}

#[test]
fn a_definition_that_is_not_the_task_is_refused() {
    let bench = Bench::new();
    let backend = bench.backend(Some(100));
    let mut call = bench.call(1, Phase::Profile, None);
    call.task = TaskHash([3; 32]);
    let error = bench.build(&backend, &call, b"").unwrap_err();
    assert!(error.to_string().contains("was called for"), "{error}");
}

#[test]
fn a_release_keeps_its_bytes_through_the_envelope() {
    let bench = Bench::new();
    let raw = bench.raw(1, 0);
    let release = Release::check(raw.clone()).unwrap();
    assert_eq!(release.to_bytes(), encode(&raw));
}

/// The same place later on, with a clock that has gone on.
fn later(bench: &Bench, ms: u64) -> LocalBackend<InProcess<Script>> {
    bench.backend_at(Some(60), NOW.after_ms(ms))
}

#[test]
fn a_student_is_kept_after_its_soak_if_it_is_no_worse() {
    let bench = Bench::new();
    let backend = bench.backend(Some(60));
    assert_eq!(backend.soak_due(), None);
    install(&backend, &bench, 1, &bench.sign(&bench.raw(1, 0)));
    let evaluation = |backend: &LocalBackend<InProcess<Script>>| {
        let evaluations = backend.evaluations();
        (evaluations[0].1, evaluations[0].2)
    };
    assert_eq!(evaluation(&backend), (version(1), Evaluation::Soaking));
    assert_eq!(backend.soak_due(), Some(NOW.after_ms(500)));
    assert_eq!(backend.soak().unwrap(), []);
    drop(backend);
    let backend = later(&bench, 500);
    let found = backend.soak().unwrap();
    assert_eq!(found, [(bench.task.hash(), version(1), Evaluation::Kept)]);
    assert_eq!(evaluation(&backend), (version(1), Evaluation::Kept));
    assert_eq!(backend.soak_due(), None);
    assert_eq!(bench.current(), Some(version(1)));
}

#[test]
fn a_worse_student_is_rolled_back_after_its_soak() {
    let bench = Bench::new();
    let good = bench.sign(&bench.raw(1, 0));
    let bad = bench.sign(&bench.raw(2, 1));
    // Without rows at first, so that nothing stands against it.
    let backend = bench.backend(Some(60));
    install(&backend, &bench, 1, &good);
    drop(backend);
    let mut slots = open_all(&bench.state()).unwrap();
    let slots = slots.get_mut(&bench.task.hash()).unwrap();
    let record = EvaluationRecord {
        version: version(2),
        evaluation: Evaluation::Soaking,
        due: Some(NOW.after_ms(500)),
    };
    slots
        .install_evaluated(version(2), &bad, Some(record))
        .unwrap();
    assert_eq!(bench.current(), Some(version(2)));
    let backend = later(&bench, 499);
    assert_eq!(backend.soak().unwrap(), []);
    drop(backend);
    let backend = later(&bench, 500);
    let found = backend.soak().unwrap();
    assert_eq!(
        found,
        [(bench.task.hash(), version(2), Evaluation::RolledBack)]
    );
    assert_eq!(bench.current(), Some(version(1)));
    let verdict = install(&backend, &bench, 2, &bad);
    refused(&verdict, "version 1.2");
    assert_eq!(bench.current(), Some(version(1)));
}

#[test]
fn each_way_a_release_fares_is_told() {
    let bench = Bench::new();
    let backend = bench.backend(Some(60));
    let evaluation = || backend.evaluations()[0].2;
    let forged = {
        let mut bytes = bench.sign(&bench.raw(1, 0));
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    install(&backend, &bench, 1, &forged);
    assert_eq!(evaluation(), Evaluation::Refused);
    install(&backend, &bench, 1, &bench.sign(&bench.raw(1, 0)));
    assert_eq!(evaluation(), Evaluation::Soaking);
    install(&backend, &bench, 2, &bench.sign(&bench.raw(2, 1)));
    assert_eq!(evaluation(), Evaluation::Worse);
    let bench = Bench::new();
    let blind = bench.backend(None);
    install(&blind, &bench, 1, &bench.sign(&bench.raw(1, 0)));
    assert_eq!(blind.evaluations()[0].2, Evaluation::Untested);
    assert_eq!(blind.soak_due(), None);
}

#[test]
fn a_pinned_student_stays_whatever_is_released() {
    let bench = Bench::new();
    let backend = bench.backend(Some(60));
    install(&backend, &bench, 1, &bench.sign(&bench.raw(1, 0)));
    let pin = |pinned| {
        let mut slots = open_all(&bench.state()).unwrap();
        let slots = slots.get_mut(&bench.task.hash()).unwrap();
        slots.pin(pinned).unwrap();
    };
    pin(true);
    assert_eq!(backend.pinned(), [bench.task.hash()]);
    let next = bench.sign(&bench.raw(2, 0));
    assert_eq!(install(&backend, &bench, 2, &next), Verdict::Pinned);
    assert_eq!(bench.current(), Some(version(1)));
    pin(false);
    let installed = install(&backend, &bench, 2, &next);
    assert!(matches!(installed, Verdict::Installed { .. }));
    assert_eq!(bench.current(), Some(version(2)));
}

#[test]
fn a_pinned_student_is_not_rolled_back_by_its_soak() {
    let bench = Bench::new();
    let backend = bench.backend(Some(60));
    install(&backend, &bench, 1, &bench.sign(&bench.raw(1, 0)));
    let mut slots = open_all(&bench.state()).unwrap();
    let slots = slots.get_mut(&bench.task.hash()).unwrap();
    let record = EvaluationRecord {
        version: version(2),
        evaluation: Evaluation::Soaking,
        due: Some(NOW),
    };
    let bad = bench.sign(&bench.raw(2, 1));
    slots
        .install_evaluated(version(2), &bad, Some(record))
        .unwrap();
    slots.pin(true).unwrap();
    let backend = later(&bench, 500);
    assert_eq!(backend.soak_due(), None);
    assert_eq!(backend.soak().unwrap(), []);
    assert_eq!(bench.current(), Some(version(2)));
    // The owner goes back, and says so; going back again takes it back.
    assert_eq!(slots.rollback().unwrap(), version(1));
    assert_eq!(
        slots.evaluation().unwrap().evaluation,
        Evaluation::RolledBack
    );
    assert_eq!(slots.rollback().unwrap(), version(2));
    assert_eq!(slots.evaluation().unwrap().evaluation, Evaluation::Kept);
}

#[test]
fn a_private_answer_is_paid_once() {
    let mut bench = Bench::new();
    let text = "name = \"small\"\n[input]\nshape = [2]\n[classes]\nnames = [\"off\", \"on\"]\n\
                [features]\nstage = \"raw\"\n[normaliser]\nrange = [0.0, 1000.0]\n\
                [student]\nhidden = [2]\n";
    bench.task = RawTask::parse(text).unwrap();
    let scales = common::scales::Scales {
        plan: None,
        normaliser: Normaliser::of_range(2, 0.0, 1000.0).unwrap(),
        targets: None,
    };
    let normaliser = scales.to_bytes();
    let budget = Budget::once(8.0, 1e-5);
    let private = || {
        let policy = Policy::default().with_budget(Some(budget));
        bench.backend_under(policy, Some(900), NOW)
    };
    let summarise = |round| {
        let mut call = bench.call(round, Phase::Summarise, None);
        call.context.normaliser = Some(BlobHash::of(&normaliser));
        call
    };
    let answer = |call: &Call| bench.build(&private(), call, &normaliser).unwrap();

    let profile = answer(&bench.call(1, Phase::Profile, None));
    assert_eq!(profile.entries.len(), 1, "{:?}", profile.why);
    let first = answer(&summarise(1));
    assert_eq!(first.entries.len(), 1, "{:?}", first.why);
    // Asked again for the same, as after a restart: the same bytes, no new noise.
    assert_eq!(answer(&summarise(1)).entries, first.entries);

    // What the owner has forbidden since then stays, though it was paid for.
    let raw: RawPolicy = toml::from_str("kinds = [\"profile\"]").unwrap();
    let policy = raw.check().unwrap().with_budget(Some(budget));
    let strict = bench.backend_under(policy, Some(900), NOW);
    let kept = bench.build(&strict, &summarise(1), &normaliser).unwrap();
    assert!(kept.entries.is_empty() && kept.partial);

    // Another round, another task, another kind: nothing is left for it.
    for call in [
        summarise(2),
        bench.call(2, Phase::Profile, None),
        bench.call(1, Phase::Contribute, None),
        bench.call(1, Phase::Report, None),
    ] {
        let answer = answer(&call);
        assert!(answer.entries.is_empty() && answer.partial, "{call:?}");
        let why = answer.why.unwrap();
        assert_eq!((why.code, why.detail.as_str()), (WithheldCode::Policy, ""));
    }
    let spent = Spent::read(&bench.state().file(SPENT)).unwrap();
    let epsilon = budget.epsilon_of(spent.rho());
    assert!((7.99..=8.0 + 1e-6).contains(&epsilon), "{epsilon}");

    // Without the account nothing leaves.
    let path = bench.state().file(SPENT).join("spent.bin");
    std::fs::write(&path, b"zeros").unwrap();
    let error = bench
        .build(&private(), &summarise(3), &normaliser)
        .unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[test]
fn a_learnt_normaliser_is_left_to_devices_without_noise() {
    let bench = Bench::new();
    let policy = Policy::default().with_budget(Some(Budget::once(8.0, 1e-5)));
    let backend = bench.backend_under(policy, Some(900), NOW);
    let answer = bench
        .build(&backend, &bench.call(1, Phase::Profile, None), &[])
        .unwrap();
    assert!(answer.entries.is_empty());
    assert_eq!(answer.why.map(|why| why.code), Some(WithheldCode::Policy));
}
