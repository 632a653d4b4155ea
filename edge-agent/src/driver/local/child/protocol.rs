//! What an agent and its child say to each other: one value each, and signs of
//! life before the child's.

use bincode::{Decode, Encode};

use crate::driver::backend::BackendError;
use crate::driver::local::folder::Reading;
use crate::driver::local::worker::{Done, Job};
use crate::policy::Policy;
use crate::work::TeacherChoice;

/// All a child is told, on its standard input, besides the paths on its
/// command line. The settings are the agent's, not read again from a file
/// that may have changed since it started.
#[derive(Debug, PartialEq, Encode, Decode)]
pub(super) struct Commission {
    /// The agent's process: a child with another parent is an orphan.
    pub(super) parent: u32,
    pub(super) log: String,
    pub(super) policy: Policy,
    pub(super) teacher: TeacherChoice,
    pub(super) seed: u64,
    pub(super) reading: Reading,
    pub(super) job: Job,
}

/// On the child's standard output: what it computes has moved.
pub(super) const HEARTBEAT: u8 = 1;
/// On the child's standard output: the rest is its [`Delivery`].
pub(super) const DELIVERY: u8 = 2;

/// What a child says at last.
#[derive(Debug, Encode, Decode)]
pub(super) struct Delivery {
    /// The child's most resident memory.
    pub(super) peak_kib: u64,
    pub(super) result: Result<Done, BackendError>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::Mapping;
    use crate::work::{Built, Entry};
    use common::round::Kind;
    use common::wire::codec::{decode, decode_blob, encode};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_said_is_understood(
            seed in any::<u64>(), column in ".{0,20}", bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let commission = Commission {
                parent: 7,
                log: "info".to_owned(),
                policy: Policy::default(),
                teacher: TeacherChoice::Network(vec![8, 4]),
                seed,
                reading: Reading {
                    label_column: column,
                    mapping: Mapping::default(),
                    memory_mib_max: seed as u32,
                },
                job: Job::Count(Default::default()),
            };
            prop_assert_eq!(&decode::<Commission>(&encode(&commission)).unwrap(), &commission);
            let entry = Entry { kind: Kind::Moments, bytes, rows: seed };
            let done = Done::Answered(Built { entries: vec![entry], partial: false, why: None });
            let delivery = Delivery { peak_kib: seed, result: Ok(done.clone()) };
            let heard: Delivery = decode_blob(&encode(&delivery)).unwrap();
            prop_assert_eq!(heard.result.unwrap(), done);
            prop_assert_eq!(heard.peak_kib, seed);
        }

        #[test]
        fn any_bytes_are_understood_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode::<Commission>(&bytes);
            let _ = decode_blob::<Delivery>(&bytes);
        }
    }
}
