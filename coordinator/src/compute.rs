//! The coordinator's computations: a job in, a blob out. Pure, and the same
//! job gives the same bytes, so a job that a crash interrupted is simply run
//! again.

mod compare;
mod marked;
mod refine;
mod solve;

use common::ids::{BlobHash, DeviceId, Time, Version};
use common::math::network::Network;
use common::model::{Extras, Lineage, RawRelease, RawStudent, Release, ReleaseError};
use common::round::{Kind, Reason};
use common::scales::Scales;
use common::summary::Points;
use common::task::{Contribute, Task};
use common::teacher::{RawTeacher, Teacher};
use common::transfer::RawTransferSet;
use common::trust::keys::SigningKey;
use common::trust::release::{ReleaseError as EnvelopeError, SignedRelease};
use common::weights::{RawWeights, WeightsError};
use common::wire::codec::{DecodeError, Trailing, decode_blob, encode};

use crate::aggregate::{
    contradicting_samples, gather_transfer_set, learn_normaliser, marked_samples, solve_points,
    take_back_false_noise,
};
use crate::budget::planned_budget;
use crate::round::{Exclusion, ExclusionReason, Job, JobKind, JobOutput, Product};
use crate::student::{Trained, novelty, train_student};
use crate::validation::{self, ReadBlob};

use self::marked::{of_marked, without_marked};
use self::solve::{DEVICES_MIN, Sent, Solve, exclusions};

/// How long a release may be installed: half a year.
pub const RELEASE_LIFETIME_MS: u64 = 182 * 24 * 3_600_000;

/// What a computation made, to be stored before anyone hears of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The blob's bytes; none where only `output` counts.
    pub bytes: Vec<u8>,
    /// What the engine is told once they are durable.
    pub output: JobOutput,
}

impl Made {
    /// A product that was made without some of the contributions.
    fn judged(bytes: Vec<u8>, product: Product, excluded: Vec<Exclusion>) -> Self {
        let output = match excluded.is_empty() {
            true => JobOutput::Product(product),
            false => JobOutput::Judged {
                product,
                excluded,
                planned: None,
            },
        };
        Self { bytes, output }
    }

    /// A signed release.
    fn release(bytes: Vec<u8>) -> Self {
        let output = JobOutput::Release {
            blob: BlobHash::of(&bytes),
            bytes: bytes.len() as u64,
        };
        Self { bytes, output }
    }
}

/// What jobs are run with.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// The task.
    pub task: &'a Task,
    /// Reads stored blobs.
    pub read: ReadBlob<'a>,
    /// Signs releases.
    pub signer: &'a SigningKey,
    /// The time a release is stamped with.
    pub now: Time,
}

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum ComputeError {
    /// A blob that the log names is not in the store.
    #[error("blob {0} is missing from the store, or damaged; restore it from a backup")]
    Missing(BlobHash),
    /// A stored contribution no longer passes the checks it passed before.
    #[error("stored blob {blob} of device {device} is refused: {reason}")]
    Refused {
        /// Whose it is.
        device: DeviceId,
        /// Its name.
        blob: BlobHash,
        /// Why.
        reason: Reason,
    },
    /// A stored blob of the coordinator's own is damaged.
    #[error("stored blob {blob} does not fit its task: {reason}")]
    Damaged {
        /// Its name.
        blob: BlobHash,
        /// Why.
        reason: Reason,
    },
    /// A stored blob does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The normaliser could not be learnt.
    #[error("no normaliser: {0}")]
    Features(#[from] common::features::FeatureError),
    /// The transfer set could not be gathered.
    #[error("no transfer set: {0}")]
    Gather(#[from] crate::aggregate::GatherError),
    /// The teacher could not be solved.
    #[error("no teacher: {0}")]
    Solve(#[from] crate::aggregate::SolveError),
    /// Where samples lie could not be told.
    #[error(
        "the directions of the devices' samples cannot be computed: {0}; the round can be started again"
    )]
    Directions(#[from] common::math::linalg::LinalgError),
    /// A teacher in the store is damaged.
    #[error(transparent)]
    Teacher(#[from] common::teacher::TeacherError),
    /// The student's last layer could not be moved.
    #[error("the student cannot be refined: {0}")]
    Refine(#[from] common::math::last_layer::LastLayerError),
    /// No gradient is of the student that is to be refined.
    #[error(
        "the student cannot be refined: nobody sent a gradient of it; the \
             released one stays in use"
    )]
    NoGradient,
    /// The student could not be trained.
    #[error("no student: {0}")]
    Train(#[from] crate::student::TrainError),
    /// Moments could not be summed.
    #[error("moments cannot be summed: {0}")]
    Sum(#[from] common::math::exact::ExactError),
    /// The student cannot be released.
    #[error("no release: {0}")]
    Release(#[from] ReleaseError),
    /// A stored release is malformed.
    #[error("the earlier release: {0}")]
    Envelope(#[from] EnvelopeError),
    /// The release cannot be signed.
    #[error("the release cannot be signed: {0}")]
    Key(#[from] common::trust::keys::KeyError),
    /// The student's weights cannot be encoded.
    #[error("the student's weights cannot be encoded: {0}")]
    Weights(#[from] WeightsError),
}

/// An earlier release of this coordinator under a higher version, signed now.
/// Its weights, its normaliser and its lineage stay what they were.
///
/// # Errors
/// If the bytes are no release.
pub fn sign_again(
    bytes: &[u8],
    version: Version,
    now: Time,
    signer: &SigningKey,
) -> Result<Vec<u8>, ComputeError> {
    let raw = SignedRelease::from_bytes(bytes)?.into_unverified();
    let earlier = Release::from_bytes(&raw)?;
    let mut raw = earlier.as_raw().clone();
    raw.version = version;
    raw.released = now;
    raw.expires = now.after_ms(RELEASE_LIFETIME_MS);
    let payload = Release::check(raw)?.to_bytes();
    Ok(SignedRelease::sign(signer, payload)?.to_bytes())
}

/// Runs a job. Heavy: seconds of one core for the student. `progress` hears
/// of optimiser steps.
///
/// # Errors
/// What is missing, damaged or impossible.
pub fn run(
    job: &Job,
    setting: Setting<'_>,
    progress: impl FnMut(u32, u32),
) -> Result<Made, ComputeError> {
    match &job.kind {
        JobKind::Normalise { profiles } => setting.normalise(profiles),
        JobKind::Gather {
            previous,
            summaries,
            ..
        } => setting.gather(*previous, summaries),
        JobKind::Solve { transfer, inputs } => setting.solve(*transfer, inputs),
        JobKind::Distil { transfer, teacher } => setting.distil(*transfer, *teacher, progress),
        JobKind::Refine { .. } => setting.refine(&job.kind),
        JobKind::Sign { .. } => setting.sign(job),
        JobKind::Compare { version, reports } => Ok(setting.compare(*version, reports)),
        JobKind::SignAgain {
            release, version, ..
        } => setting.sign_again(*release, *version),
    }
}

impl Setting<'_> {
    fn normalise(&self, inputs: &[(DeviceId, BlobHash)]) -> Result<Made, ComputeError> {
        let profiles = inputs
            .iter()
            .map(|&(device, blob)| {
                self.contribution(device, blob, |bytes| validation::profile(self.task, bytes))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let learnt = learn_normaliser(self.task, &profiles)?;
        let refused = learnt.refused.into_iter();
        let excluded = refused.map(|(place, far, of)| Exclusion {
            device: inputs[place].0,
            kind: Kind::Profile,
            why: ExclusionReason::FarProfile { far, of },
        });
        let planned = planned_budget(self.task, &profiles);
        let scales = Scales {
            normaliser: learnt.normaliser,
            targets: learnt.targets,
            plan: planned.as_ref().map(|budget| budget.plan),
        };
        let bytes = scales.to_bytes();
        let product = Product::Normaliser(BlobHash::of(&bytes));
        let excluded = excluded.collect();
        Ok(match planned {
            Some(budget) => Made {
                bytes,
                output: JobOutput::Judged {
                    product,
                    excluded,
                    planned: Some(budget),
                },
            },
            None => Made::judged(bytes, product, excluded),
        })
    }

    fn gather(
        &self,
        previous: Option<BlobHash>,
        from: &[(DeviceId, BlobHash)],
    ) -> Result<Made, ComputeError> {
        let summaries = from
            .iter()
            .map(|&(device, blob)| {
                self.contribution(device, blob, |bytes| validation::summary(self.task, bytes))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let previous = match previous {
            Some(blob) => Some(self.own(blob, validation::transfer_set)?.points),
            None => None,
        };
        let sent = from
            .iter()
            .map(|&(device, blob)| (device, Kind::Summary, blob));
        let sent: Vec<Sent> = sent.collect();
        let (set, excluded) = self.gather_without_liars(previous.as_ref(), &sent, summaries)?;
        let points = set.points.inputs.rows;
        let bytes = set.to_bytes();
        let blob = BlobHash::of(&bytes);
        let product = Product::TransferSet { blob, points };
        Ok(Made::judged(bytes, product, excluded))
    }

    /// All devices' samples, but of those whose samples contradict the others', and but
    /// for samples with a mark of one device alone.
    fn gather_without_liars(
        &self,
        previous: Option<&Points>,
        sent: &[Sent],
        mut summaries: Vec<Points>,
    ) -> Result<(RawTransferSet, Vec<Exclusion>), ComputeError> {
        take_back_false_noise(&mut summaries)?;
        let set = gather_transfer_set(self.task, previous, &summaries)?;
        if summaries.len() < DEVICES_MIN {
            return Ok((set, Vec::new()));
        }
        let bytes = set.to_bytes();
        let read = validation::transfer_set(self.task, &bytes);
        let read = read.map_err(|reason| ComputeError::Damaged {
            blob: BlobHash::of(&bytes),
            reason,
        })?;
        let verdict = contradicting_samples(self.task, &read, previous, &summaries)?;
        let mut excluded = exclusions(&verdict, sent);
        let is_out = |device: DeviceId| excluded.iter().any(|one| one.device == device);
        let mut devices = sent.iter().map(|one| one.0);
        summaries.retain(|_| devices.next().is_some_and(|device| !is_out(device)));
        let kept: Vec<Sent> = sent.iter().filter(|one| !is_out(one.0)).copied().collect();
        let weights = &read.feature_weights;
        let marked = marked_samples(self.task, weights, previous, &summaries)?;
        without_marked(&mut summaries, &marked);
        excluded.extend(of_marked(&marked, &kept));
        if excluded.is_empty() {
            return Ok((set, excluded));
        }
        excluded.sort_by_key(|one| one.device);
        let set = gather_transfer_set(self.task, previous, &summaries)?;
        Ok((set, excluded))
    }

    fn solve(
        &self,
        transfer: BlobHash,
        inputs: &[(DeviceId, Kind, BlobHash)],
    ) -> Result<Made, ComputeError> {
        let set = self.own(transfer, validation::transfer_set)?;
        let (teacher, excluded) = match self.task.definition().contribute {
            Contribute::Points => (solve_points(self.task, &set)?, Vec::new()),
            Contribute::Labels | Contribute::Moments | Contribute::Both => {
                Solve::new(self, &set, inputs)?.run()?
            }
        };
        let bytes = encode(&teacher);
        let product = Product::Teacher(BlobHash::of(&bytes));
        Ok(Made::judged(bytes, product, excluded))
    }

    fn distil(
        &self,
        transfer: BlobHash,
        teacher: BlobHash,
        progress: impl FnMut(u32, u32),
    ) -> Result<Made, ComputeError> {
        let set = self.own(transfer, validation::transfer_set)?;
        let raw: RawTeacher = decode_blob(&self.bytes(teacher)?)?;
        let teacher = Teacher::on(raw, &set, self.task.outputs())?;
        let trained = train_student(self.task, &set.points, &teacher, progress)?;
        self.student(&set.points, &teacher, &trained)
    }

    /// A trained student with its novelty score, where the task asks for one.
    fn student(
        &self,
        points: &Points,
        teacher: &Teacher,
        trained: &Trained,
    ) -> Result<Made, ComputeError> {
        let student = RawStudent {
            weights: trained.network.to_flat(),
            agreement: trained.agreement,
            novelty: Trailing(match self.task.definition().novelty {
                true => novelty(self.task, points, teacher, &trained.network)?,
                false => None,
            }),
        };
        let bytes = encode(&student);
        let blob = BlobHash::of(&bytes);
        Ok(Made {
            bytes,
            output: JobOutput::Product(Product::Student(blob)),
        })
    }

    fn sign(&self, job: &Job) -> Result<Made, ComputeError> {
        let JobKind::Sign {
            student,
            normaliser,
            version,
            lineage,
            refined,
        } = &job.kind
        else {
            unreachable!("run() sends only signing jobs here");
        };
        let weights: RawStudent = decode_blob(&self.bytes(*student)?)?;
        let scales = self.own(*normaliser, validation::scales)?;
        let extras = Extras {
            targets: scales.targets,
            novelty: weights.novelty.0.clone(),
            refined: Trailing((*refined > 0).then_some(*refined)),
        };
        let extras = (extras != Extras::default()).then_some(extras);
        let release = RawRelease {
            task: self.task.bytes().to_vec(),
            version: *version,
            round: job.round,
            released: self.now,
            expires: self.now.after_ms(RELEASE_LIFETIME_MS),
            lineage: Lineage::of(lineage),
            normaliser: scales.normaliser,
            weights: RawWeights::encode(self.task.student(), &weights.weights)?,
            extras: Trailing(extras),
        };
        let payload = Release::check(release)?.to_bytes();
        let bytes = SignedRelease::sign(self.signer, payload)?.to_bytes();
        Ok(Made::release(bytes))
    }

    fn sign_again(&self, release: BlobHash, version: Version) -> Result<Made, ComputeError> {
        let earlier = self.bytes(release)?;
        let bytes = sign_again(&earlier, version, self.now, self.signer)?;
        Ok(Made::release(bytes))
    }

    fn bytes(&self, blob: BlobHash) -> Result<Vec<u8>, ComputeError> {
        (self.read)(blob).ok_or(ComputeError::Missing(blob))
    }

    fn contribution<T>(
        &self,
        device: DeviceId,
        blob: BlobHash,
        check: impl Fn(&[u8]) -> Result<T, Reason>,
    ) -> Result<T, ComputeError> {
        check(&self.bytes(blob)?).map_err(|reason| ComputeError::Refused {
            device,
            blob,
            reason,
        })
    }

    fn own<T>(
        &self,
        blob: BlobHash,
        check: impl Fn(&Task, &[u8]) -> Result<T, Reason>,
    ) -> Result<T, ComputeError> {
        check(self.task, &self.bytes(blob)?)
            .map_err(|reason| ComputeError::Damaged { blob, reason })
    }
}
