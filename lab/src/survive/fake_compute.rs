//! Stand-ins for the computations. They cost nothing and carry what must
//! not get lost: who is in a product, and the sum of what was contributed.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};

use common::ids::{BlobHash, DeviceId, Version};
use common::round::{ContributionKey, Reason};
use common::wire::codec::{decode_blob, encode};
use coordinator::compute::Made;
use coordinator::round::{Comparison, JobKind, JobOutput, Product};

/// A contribution that says whose it is and what it adds.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(super) struct Contribution {
    pub(super) device: DeviceId,
    pub(super) key: ContributionKey,
    /// What it adds to a sum.
    pub(super) value: u64,
    /// Whether the checks of the coordinator find nothing wrong with it.
    pub(super) sound: bool,
    /// Makes it longer than one chunk, sometimes.
    pub(super) padding: Vec<u8>,
}

/// What the coordinator makes of contributions.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub(super) struct FakeProduct {
    /// What it is, so that two kinds never have one name.
    pub(super) what: u8,
    /// Devices whose contributions are in it, followed through the data.
    pub(super) origin: BTreeSet<DeviceId>,
    /// The sum of the values in it.
    pub(super) sum: u64,
    /// Points, of a transfer set.
    pub(super) points: u32,
    /// Of a release.
    pub(super) version: Option<Version>,
}

impl Contribution {
    /// The rows it describes, or what is wrong with it.
    pub(super) fn check(bytes: &[u8], key: &ContributionKey) -> Result<u64, Reason> {
        let read: Self = decode_blob(bytes).map_err(|_| Reason::Malformed)?;
        match read.sound && read.key == *key {
            true => Ok(read.value % 1_000 + 1),
            false => Err(Reason::NotFinite),
        }
    }
}

/// Points that each summary brings.
const POINTS_EACH: u32 = 3;

type Read<'a> = &'a dyn Fn(BlobHash) -> Option<Vec<u8>>;

/// Runs a job. The same job on the same blobs makes the same bytes.
pub(super) fn run(job: &JobKind, read: Read<'_>) -> Result<Made, String> {
    let stored = |name: BlobHash| -> Result<FakeProduct, String> {
        let bytes = read(name).ok_or_else(|| format!("blob {} is gone", name.short()))?;
        decode_blob(&bytes).map_err(|error| error.to_string())
    };
    let given = |device: DeviceId, name: BlobHash| -> Result<Contribution, String> {
        let bytes = read(name).ok_or_else(|| format!("blob {} is gone", name.short()))?;
        let found: Contribution = decode_blob(&bytes).map_err(|error| error.to_string())?;
        match found.device == device {
            true => Ok(found),
            false => Err(format!("blob {} is another device's", name.short())),
        }
    };
    let mut made = FakeProduct::default();
    let product: fn(BlobHash, u32) -> Product = match job {
        JobKind::Normalise { profiles } => {
            for (device, blob) in profiles {
                made.origin.insert(given(*device, *blob)?.device);
            }
            made.what = 1;
            |blob, _| Product::Normaliser(blob)
        }
        JobKind::Gather {
            normaliser,
            previous,
            summaries,
        } => {
            made = stored(*normaliser)?;
            made.what = 2;
            if let Some(previous) = previous {
                let previous = stored(*previous)?;
                made.origin.extend(previous.origin);
                made.points = previous.points;
            }
            for (device, blob) in summaries {
                let found = given(*device, *blob)?;
                made.origin.insert(found.device);
                made.points += POINTS_EACH;
                made.sum = made.sum.wrapping_mul(31).wrapping_add(found.value);
            }
            |blob, points| Product::TransferSet { blob, points }
        }
        JobKind::Solve { transfer, inputs } => {
            made.origin = stored(*transfer)?.origin;
            made.what = 3;
            for (device, _, blob) in inputs {
                let found = given(*device, *blob)?;
                made.origin.insert(found.device);
                made.sum += found.value;
            }
            |blob, _| Product::Teacher(blob)
        }
        JobKind::Distil { teacher, .. } => {
            made = stored(*teacher)?;
            made.what = 4;
            |blob, _| Product::Student(blob)
        }
        JobKind::Refine {
            release, gradients, ..
        } => {
            made = stored(*release)?;
            made.what = 6;
            made.version = None;
            for (device, blob) in gradients {
                let found = given(*device, *blob)?;
                made.origin.insert(found.device);
                made.sum = made.sum.wrapping_mul(31).wrapping_add(found.value);
            }
            |blob, _| Product::Student(blob)
        }
        JobKind::Compare { reports, .. } => {
            // One release in five is found worse.
            let mut sum = 0_u64;
            for (device, blob) in reports {
                sum = sum
                    .wrapping_mul(31)
                    .wrapping_add(given(*device, *blob)?.value);
            }
            let output = JobOutput::Compared(match sum % 5 {
                0 => Comparison::Worse,
                1 | 2 => Comparison::NoBetter,
                _ => Comparison::Better,
            });
            let bytes = Vec::new();
            return Ok(Made { bytes, output });
        }
        JobKind::Sign {
            student: weights,
            version,
            ..
        }
        | JobKind::SignAgain {
            release: weights,
            version,
            ..
        } => {
            made = stored(*weights)?;
            made.what = 5;
            made.version = Some(*version);
            let bytes = encode(&made);
            let (blob, length) = (BlobHash::of(&bytes), bytes.len() as u64);
            let output = JobOutput::Release {
                blob,
                bytes: length,
            };
            return Ok(Made { bytes, output });
        }
    };
    let bytes = encode(&made);
    let output = JobOutput::Product(product(BlobHash::of(&bytes), made.points));
    Ok(Made { bytes, output })
}
