//! One device: its session engine's actions, and its work on its own rows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use common::ids::{BlobHash, DeviceId, Time};
use common::labels;
use common::limits::WHOLE_BYTES_MAX;
use common::model::Release;
use common::report::{RawErrors, RawReport};
use common::round::{ContributionKey, Kind, Phase};
use common::trust::keys::{KeyError, SigningKey};
use common::trust::release::SignedRelease;
use common::trust::trust_root::{Freshness, SignedTrustRoot, TrustRoot};
use common::wire::codec::{Trailing, encode};
use common::wire::messages::{
    Announcement, Call, Hello, PROTOCOL_MINOR, ToCoordinator, ToDevice, TransferAnswer,
    TransferRequest, Welcome,
};
use coordinator::round::Input;
use coordinator::validation;
use edge_agent::data::{Dataset, Split, SplitRule};
use edge_agent::driver::local::{Comparison, HeldOut};
use edge_agent::policy::{Described, RowHash, RowHistory};
use edge_agent::session;
use edge_agent::work::{Built, Entry, RawRows, TeacherChoice, Work};

use super::bytes::{DeviceBytes, framed};
use super::{Heard, Seen, Simulation, SimulationError};
use crate::data::{Labelling, Part};

pub(super) struct Device {
    pub(super) id: DeviceId,
    pub(super) engine: session::Engine,
    pub(super) rows: Vec<usize>,
    pub(super) installed: Option<Arc<Release>>,
    pub(super) judged: Option<Comparison>,
    pub(super) outbox: BTreeMap<ContributionKey, Vec<u8>>,
    pub(super) bytes: DeviceBytes,
    /// The newest labels that went whole and were accepted.
    pub(super) label_base: Option<Vec<u8>>,
    /// Round trips of this visit, and how many there were at its last
    /// acknowledgement.
    pub(super) trips: (u32, u32),
}

impl Simulation {
    /// Feeds a device's engine and runs its actions.
    pub(super) fn drive(
        &mut self,
        index: usize,
        input: session::Input,
    ) -> Result<(), SimulationError> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.devices[index].engine.handle(self.now, input);
            while let Some(action) = self.devices[index].engine.poll_action() {
                inputs.extend(self.act(index, action)?);
            }
        }
        Ok(())
    }

    /// Blobs that a device asks for at once: one round trip, but for a student, which
    /// is no part of answering.
    fn fetch(&mut self, index: usize, blobs: &[BlobHash]) -> Vec<session::Input> {
        let release = self.engine.state().release.as_ref();
        let student = release.map(|release| release.blob);
        let counts = blobs.iter().any(|blob| Some(*blob) != student);
        self.trip(index, u32::from(counts), None);
        let mut inputs = Vec::new();
        for &blob in blobs {
            let request = TransferRequest::Fetch { blob, offset: 0 };
            let found = self.blobs.borrow().bytes(blob);
            let bytes = found.unwrap_or(0);
            let device = &mut self.devices[index].bytes;
            device.sends(framed(&request));
            device.receives(framed(&TransferAnswer::Blob { bytes }) + bytes);
            inputs.push(session::Input::Fetched {
                blob,
                found: found.is_some(),
            });
        }
        inputs
    }

    fn act(
        &mut self,
        index: usize,
        action: session::Action,
    ) -> Result<Vec<session::Input>, SimulationError> {
        let id = self.devices[index].id;
        Ok(match action {
            session::Action::Connect => {
                let hello = ToCoordinator::Hello(Hello {
                    minor: PROTOCOL_MINOR,
                    agent: env!("CARGO_PKG_VERSION").to_owned(),
                    installed: Vec::new(),
                    instance: 0,
                    clock: Time(0),
                });
                let welcome = ToDevice::Welcome(Welcome {
                    minor: PROTOCOL_MINOR,
                    time: self.now,
                    tasks: vec![(self.task.hash(), BlobHash::of(self.task.bytes()))],
                    trust_root: self.word.0.clone(),
                    freshness: self.word.1.clone(),
                });
                self.devices[index].bytes.sends(framed(&hello));
                self.devices[index].bytes.receives(framed(&welcome));
                self.trip(index, 1, None);
                self.coordinate(Input::Connected {
                    device: id,
                    installed: None,
                });
                vec![session::Input::Connected]
            }
            session::Action::Send(message) => {
                self.devices[index].bytes.sends(framed(&message));
                if let ToCoordinator::Abstain { round, phase, .. } = message {
                    self.coordinate(Input::Abstained {
                        device: id,
                        round,
                        phase,
                    });
                }
                Vec::new()
            }
            session::Action::Build(call) => vec![self.build(index, call)?],
            session::Action::Upload(pending) => {
                let payload = self.devices[index]
                    .outbox
                    .get(&pending.key)
                    .cloned()
                    .unwrap_or_default();
                let whole = (pending.key.kind == Kind::Labels && labels::is_whole(&payload))
                    .then(|| payload.clone());
                let answer = self.upload(index, id, pending, payload)?;
                if let (TransferAnswer::Accepted, Some(whole)) = (answer, whole) {
                    self.devices[index].label_base = Some(whole);
                }
                vec![session::Input::Answered {
                    key: pending.key,
                    answer: Some(answer),
                }]
            }
            session::Action::Settle { pending, .. } => {
                self.devices[index].outbox.remove(&pending.key);
                Vec::new()
            }
            session::Action::Install(release) => {
                self.install(index, &release)?;
                vec![session::Input::Installed { release }]
            }
            session::Action::Fetch(blobs) => self.fetch(index, &blobs),
        })
    }

    fn build(&mut self, index: usize, call: Call) -> Result<session::Input, SimulationError> {
        if self.begun.0 != Some(call.phase) {
            self.begun = (Some(call.phase), 0);
        }
        self.begun.1 += 1;
        if let Some(watch) = &mut self.watch {
            watch(Seen::Device {
                phase: call.phase,
                begun: self.begun.1,
                devices: self.devices.len(),
            });
        }
        let built = if call.phase == Phase::Report {
            let reported = self.report(index, &call)?;
            self.with_gradient(index, &call, reported)?
        } else {
            self.compute(index, &call)?
        };
        let built = self.liars.sends(index, &self.heard(index, &call), built);
        let mut entries = Vec::new();
        for mut entry in built.entries {
            if entry.kind == Kind::Labels {
                let base = self.devices[index].label_base.as_deref();
                entry.bytes = labels::framed(&entry.bytes, base);
            }
            let key = ContributionKey {
                task: call.task,
                transfer: call.context.transfer,
                round: call.round,
                phase: call.phase,
                kind: entry.kind,
            };
            entries.push(session::Pending {
                key,
                blob: BlobHash::of(&entry.bytes),
                bytes: entry.bytes.len() as u64,
            });
            self.devices[index].outbox.insert(key, entry.bytes);
        }
        Ok(session::Input::Built {
            call,
            entries,
            partial: built.partial,
        })
    }

    /// What the device computes from the rows it learns from.
    fn compute(&self, index: usize, call: &Call) -> Result<Built, SimulationError> {
        if let Some(protection) = self.protection.filter(|_| self.is_protected(index)) {
            return self.compute_privately(index, call, protection);
        }
        let mut training = self.split(index).training;
        let mut history = self.history(index)?;
        let mut described = Described::default();
        if let Some(history) = &history {
            (training, described) = admitted(history, training, self.privacy.rows_min);
        }
        if (training.rows() as u64) < self.privacy.rows_min {
            return Ok(ABSTAIN);
        }
        let blobs = blobs_of(self, call);
        let work = self.work(index, &training, &blobs);
        let built = work.answer(call).map_err(|error| failed(index, &error))?;
        if let Some(history) = &mut history
            && !built.entries.is_empty()
        {
            let recorded = history.record(self.task.hash(), &described);
            recorded.map_err(|error| failed(index, &error))?;
        }
        Ok(built)
    }

    /// The same with what the release has wrong on the rows the device learns from,
    /// where the task refines its students.
    fn with_gradient(
        &mut self,
        index: usize,
        call: &Call,
        mut built: Built,
    ) -> Result<Built, SimulationError> {
        let asked = self.task.definition().refinement_steps > 0 && !self.is_protected(index);
        let Some(release) = call.context.release.filter(|_| asked) else {
            return Ok(built);
        };
        let release = self.open(release)?;
        let mut training = self.split(index).training;
        if let Some(history) = self.history(index)? {
            (training, _) = admitted(&history, training, self.privacy.rows_min);
        }
        let blobs = blobs_of(self, call);
        let work = self.work(index, &training, &blobs);
        let entry = work
            .gradient(call, &release)
            .map_err(|error| failed(index, &error))?;
        built.partial |= entry.is_none();
        built.entries.extend(entry);
        Ok(built)
    }

    fn work<'a>(
        &'a self,
        index: usize,
        training: &'a Dataset,
        blobs: &'a BTreeMap<BlobHash, Vec<u8>>,
    ) -> Work<'a> {
        Work {
            task: &self.task,
            blobs,
            rows: RawRows {
                inputs: training.inputs(),
                seen: None,
                labels: training.labels(),
                numbers: training.numbers(),
                soft: None,
            },
            stands_for: None,
            privacy: self.privacy,
            teacher: &TeacherChoice::Kernel,
            seed: seed(self.devices[index].id),
        }
    }

    fn heard<'a>(&'a self, index: usize, call: &Call) -> Heard<'a> {
        Heard {
            task: &self.task,
            device: index,
            round: self.rounds_begun,
            transfer: call.context.transfer,
            simulation: self,
        }
    }

    /// How the release did on the rows the device held out.
    fn report(&mut self, index: usize, call: &Call) -> Result<Built, SimulationError> {
        if self.is_protected(index) {
            return Ok(ABSTAIN);
        }
        let held_out = self.split(index).held_out;
        let rows = held_out.rows() as u64;
        let Some(blob) = call.context.release else {
            return Ok(ABSTAIN);
        };
        if rows < self.privacy.rows_min {
            return Ok(ABSTAIN);
        }
        let release = self.open(blob)?;
        let device = &self.devices[index];
        let installed = device.installed.as_ref().map(|release| release.version());
        let now = compare(index, &release, None, &held_out)?;
        let report = RawReport {
            version: release.version(),
            rows,
            correct: now.correct,
            previous_correct: device.judged.as_ref().and_then(|found| found.previous),
            installed: installed == Some(release.version()),
            errors: Trailing(now.numbers.map(|numbers| {
                let before = device.judged.as_ref();
                let before = before.and_then(|found| found.numbers.as_ref());
                RawErrors {
                    previous_squared: before
                        .and_then(|found| found.errors.previous_squared.clone()),
                    ..numbers.errors
                }
            })),
        };
        Ok(Built {
            entries: vec![Entry {
                kind: Kind::Report,
                bytes: encode(&report),
                rows,
            }],
            partial: false,
            why: None,
        })
    }

    /// Tries a release beside the student at hand, and switches to it unless
    /// it is worse.
    fn install(&mut self, index: usize, announced: &Announcement) -> Result<(), SimulationError> {
        let release = self.open(announced.blob)?;
        let held_out = self.split(index).held_out;
        let device = &mut self.devices[index];
        if held_out.is_empty() {
            device.installed = Some(release);
            return Ok(());
        }
        let previous = device.installed.as_deref();
        let found = compare(index, &release, previous, &held_out)?;
        if !found.is_worse() {
            device.installed = Some(release);
        }
        device.judged = Some(found);
        Ok(())
    }

    /// A stored release, verified as a device does.
    pub(super) fn open(&mut self, blob: BlobHash) -> Result<Arc<Release>, SimulationError> {
        if let Some((name, release)) = &self.opened
            && *name == blob
        {
            return Ok(release.clone());
        }
        let refused = |error: String| SimulationError::Release(error);
        let bytes = self.blob(blob).unwrap_or_default();
        let signed = SignedRelease::from_bytes(&bytes).map_err(|e| refused(e.to_string()))?;
        let trusted = [self.signer.verifying_key()];
        let payload = signed
            .verify(&trusted)
            .map_err(|e| refused(e.to_string()))?;
        let release = Release::from_bytes(payload).map_err(|e| refused(e.to_string()))?;
        let release = Arc::new(release);
        self.opened = Some((blob, release.clone()));
        Ok(release)
    }

    /// A device's rows as its own files would give them: learnt from and
    /// held out.
    pub(super) fn split(&self, index: usize) -> Split {
        if let Some(labelling) = &self.labelling {
            let mine = &self.devices[index].rows;
            let part = self.train.select(mine);
            let part = self.liars.holds(index, self.rounds_begun, part);
            return known(&part, mine, labelling);
        }
        self.rows_of(index)
            .split(SplitRule::default())
            .without_copies()
    }

    /// All of a device's rows.
    pub(super) fn rows_of(&self, index: usize) -> Dataset {
        let part = self.train.select(&self.devices[index].rows);
        let part = self.liars.holds(index, self.rounds_begun, part);
        let labels = part.labels.into_iter().map(Some).collect();
        let values = part.inputs.ncols();
        let rows = Dataset::new(part.inputs, labels).and_then(|rows| match part.numbers {
            Some(numbers) => rows.with_numbers(numbers),
            None => Some(rows),
        });
        rows.unwrap_or_else(|| Dataset::empty(values))
    }

    /// Which rows the device described before, if it remembers.
    fn history(&self, index: usize) -> Result<Option<RowHistory>, SimulationError> {
        let Some(folder) = &self.histories else {
            return Ok(None);
        };
        let folder = folder.join(self.devices[index].id.to_string());
        let history = RowHistory::open(&folder);
        Ok(Some(history.map_err(|error| failed(index, &error))?))
    }

    fn upload(
        &mut self,
        index: usize,
        id: DeviceId,
        pending: session::Pending,
        payload: Vec<u8>,
    ) -> Result<TransferAnswer, SimulationError> {
        let session::Pending { key, blob, bytes } = pending;
        // As the driver does: small ones follow their offer unasked.
        let unasked = bytes <= WHOLE_BYTES_MAX;
        let request = match unasked {
            true => TransferRequest::Whole {
                key,
                blob,
                bytes,
                signature: None,
            },
            false => TransferRequest::Offer { key, blob, bytes },
        };
        self.devices[index].bytes.sends(framed(&request));
        let ticket = self.ticket();
        self.coordinate(Input::Offered {
            device: id,
            key,
            blob,
            bytes,
            ticket,
        });
        let mut answer = self
            .tickets
            .remove(&ticket)
            .unwrap_or(TransferAnswer::NotFound);
        let wanted = matches!(answer, TransferAnswer::Send { .. });
        if !(unasked && wanted) {
            self.devices[index].bytes.receives(framed(&answer));
            self.trip(index, 1, Some(answer));
        }
        if unasked || wanted {
            self.devices[index].bytes.sends(bytes);
        }
        if wanted {
            let checked = {
                let read = |name: BlobHash| self.blobs.borrow().read(name);
                validation::check(&self.task, &key, &payload, &read)
            };
            self.blobs.borrow_mut().spill(blob, &payload)?;
            let ticket = self.ticket();
            self.coordinate(Input::Arrived {
                device: id,
                key,
                blob,
                bytes,
                checked,
                ticket,
            });
            answer = self
                .tickets
                .remove(&ticket)
                .unwrap_or(TransferAnswer::NotFound);
            self.devices[index].bytes.receives(framed(&answer));
            self.trip(index, 1, Some(answer));
        }
        Ok(answer)
    }
}

/// The rows of a device that has labels for some of them: it learns with what
/// it knows, and judges by labels that are the data's own.
fn known(part: &Part, mine: &[usize], labelling: &Labelling) -> Split {
    let split = |label: &dyn Fn(usize, usize) -> Option<u16>| {
        let labels = mine.iter().enumerate().map(|(at, &row)| label(at, row));
        let rows = Dataset::new(part.inputs.clone(), labels.collect());
        let rows = rows.unwrap_or_else(|| Dataset::empty(part.inputs.ncols()));
        rows.split(SplitRule::default()).without_copies()
    };
    let training = split(&|_, row| labelling.learnt[row]).training;
    let held_out = split(&|at, row| labelling.own[row].then_some(part.labels[at])).held_out;
    let labelled: Vec<usize> = (0..held_out.rows())
        .filter(|&row| held_out.labels()[row].is_some())
        .collect();
    Split {
        training,
        held_out: held_out.select(&labelled),
        stands_for: None,
    }
}

/// The rows that may be described beside those that were, and their names.
fn admitted(history: &RowHistory, rows: Dataset, rows_min: u64) -> (Dataset, Described) {
    let names = RowHash::of_inputs(rows.inputs());
    let labels = rows.labels().iter().copied();
    let current = Described::of(names.iter().copied().zip(labels));
    let admitted = history.admit(&current, rows_min);
    let selected = admitted.whole().select(&names);
    let chosen: Vec<usize> = (0..names.len()).filter(|&row| selected[row]).collect();
    (rows.select(&chosen), admitted)
}

pub(super) const ABSTAIN: Built = Built {
    entries: Vec::new(),
    partial: true,
    why: None,
};

/// The blobs that a call names, as far as they are there.
pub(super) fn blobs_of(simulation: &Simulation, call: &Call) -> BTreeMap<BlobHash, Vec<u8>> {
    let named = call.context.blobs();
    named
        .filter_map(|name| simulation.blob(name).map(|bytes| (name, bytes)))
        .collect()
}

/// What a session begins with, besides the welcome: as long as the real ones.
pub(super) fn word(signer: &SigningKey) -> Result<(Vec<u8>, Vec<u8>), KeyError> {
    let trust_root = TrustRoot {
        number: 1,
        issued: Time(0),
        expires: Time(u64::MAX),
        root: signer.verifying_key(),
        release_keys: vec![signer.verifying_key()],
    };
    let freshness = Freshness {
        issued: Time(0),
        expires: Time(u64::MAX),
        trust_root: 1,
    };
    let signed = SignedTrustRoot::sign(trust_root, &[signer])?;
    Ok((signed.to_bytes(), freshness.sign(signer)?))
}

/// A device's own seed, as an agent takes it from its name.
pub(super) fn seed(id: DeviceId) -> u64 {
    let mut seed = [0u8; 8];
    seed.copy_from_slice(&id.0[..8]);
    u64::from_le_bytes(seed)
}

fn compare(
    device: usize,
    release: &Release,
    previous: Option<&Release>,
    held_out: &Dataset,
) -> Result<Comparison, SimulationError> {
    let labels: Vec<u16> = held_out.labels().iter().flatten().copied().collect();
    let rows = HeldOut {
        inputs: held_out.inputs(),
        labels: &labels,
        numbers: held_out.numbers(),
    };
    Comparison::of(release, previous, rows).map_err(|error| failed(device, &error))
}

pub(super) fn failed(device: usize, cause: &dyn std::fmt::Display) -> SimulationError {
    SimulationError::Work {
        device,
        cause: cause.to_string(),
    }
}
