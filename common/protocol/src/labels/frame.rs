//! Soft labels as they travel: whole, or as what changed since labels that the
//! coordinator holds.
//!
//! A delta names its base by the hash of its bytes, and that base is always a
//! key frame (labels sent whole) which the coordinator has acknowledged. So
//! nothing depends on what arrived before, in which order or how often: frames
//! that are lost, repeated or overtaken change nothing, and a coordinator
//! without the base says so and gets a key frame.

use bincode::{Decode, Encode};

use crate::codec::{DecodeError, decode_blob, encode};
use crate::delta::{self, DeltaError};
use crate::ids::BlobHash;
use crate::limits::BLOB_BYTES_MAX;

/// What changed since a key frame.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct LabelsDelta {
    /// Always 0: whole labels begin with their rows, of which there is one at
    /// least.
    marker: u64,
    /// Name of the key frame.
    base: BlobHash,
    /// Name of the whole labels that come out.
    whole: BlobHash,
    /// The bytes that lead there.
    delta: Vec<u8>,
}

/// Why a frame could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The key frame it stands on is not at hand.
    #[error("the labels stand on {0}, which is not held")]
    UnknownBase(BlobHash),
    /// It names another delta as its base.
    #[error("the labels stand on {0}, which is no key frame")]
    BaseNotWhole(BlobHash),
    /// What came out is not what it names.
    #[error("the labels do not come out as {0}")]
    Mismatch(BlobHash),
    /// It does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its delta cannot be applied.
    #[error(transparent)]
    Delta(#[from] DeltaError),
}

/// The bytes that travel for labels whose encoding is `whole`: a delta against
/// the key frame `base`, if there is one and that is smaller, else `whole`.
pub fn framed(whole: &[u8], base: Option<&[u8]>) -> Vec<u8> {
    // The very same bytes stand already, under their own name.
    let base = base.filter(|base| is_whole(base) && *base != whole);
    let delta = base.map(|base| {
        encode(&LabelsDelta {
            marker: 0,
            base: BlobHash::of(base),
            whole: BlobHash::of(whole),
            delta: delta::encode(base, whole),
        })
    });
    match delta {
        Some(delta) if delta.len() < whole.len() => delta,
        _ => whole.to_vec(),
    }
}

/// Whether a frame stands on nothing.
pub fn is_whole(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| *first != 0)
}

/// The key frame that a frame stands on; none for one that is whole, or no
/// frame at all.
pub fn base_of(frame: &[u8]) -> Option<BlobHash> {
    if is_whole(frame) {
        return None;
    }
    let read: Result<LabelsDelta, _> = decode_blob(frame);
    read.ok().map(|delta| delta.base)
}

/// The encoding of the whole labels that a frame stands for. `read` finds key
/// frames by name.
///
/// # Errors
/// [`FrameError::UnknownBase`] if only a key frame can help; otherwise the
/// frame is damaged.
pub fn unframed(
    frame: &[u8],
    read: &dyn Fn(BlobHash) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, FrameError> {
    if is_whole(frame) {
        return Ok(frame.to_vec());
    }
    let LabelsDelta {
        base, whole, delta, ..
    } = decode_blob(frame)?;
    let held = read(base).ok_or(FrameError::UnknownBase(base))?;
    if !is_whole(&held) {
        return Err(FrameError::BaseNotWhole(base));
    }
    let bytes = delta::apply(&held, &delta, BLOB_BYTES_MAX)?;
    if BlobHash::of(&bytes) == whole && is_whole(&bytes) {
        Ok(bytes)
    } else {
        Err(FrameError::Mismatch(whole))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;
    use crate::labels::Labels;
    use ndarray::Array2;
    use proptest::prelude::*;

    /// Labels of a hundred points; each version differs a little from the
    /// others.
    fn whole(version: u32, bits: u8) -> Vec<u8> {
        let mut probabilities = Array2::from_shape_fn((100, 5), |(point, class)| {
            let drift = if point % 7 == version as usize % 7 {
                0.05
            } else {
                0.0
            };
            let spread = ((point * 31 + class * 17) % 101) as f32 / 101.0;
            spread + drift * class as f32 + 0.01
        });
        for mut row in probabilities.rows_mut() {
            let total = row.sum();
            row /= total;
        }
        let labels = Labels {
            rows: 500 + u64::from(version),
            class_counts: vec![100; 5],
            probabilities,
            nearness: (0..100).map(|point| (point % 10) as f32 / 10.0).collect(),
        };
        encode(&labels.to_raw(bits).unwrap())
    }

    #[test]
    fn a_delta_is_sent_only_where_it_is_smaller() {
        let (one, other) = (whole(0, 8), whole(1, 8));
        let frame = framed(&other, Some(&one));
        assert!(
            2 * frame.len() < other.len(),
            "{} of {}",
            frame.len(),
            other.len()
        );
        assert_eq!(base_of(&frame), Some(BlobHash::of(&one)));
        assert_eq!(unframed(&frame, &|_| Some(one.clone())).unwrap(), other);
        assert_eq!(framed(&other, None), other);
        let short = [1u8, 2, 3];
        assert_eq!(framed(&short, Some(&one)), short);
        // A delta is never a base.
        assert_eq!(framed(&other, Some(&frame)), other);
    }

    #[test]
    fn a_frame_on_something_else_is_refused() {
        let (one, other, third) = (whole(0, 8), whole(1, 8), whole(2, 8));
        let frame = framed(&other, Some(&one));
        let name = BlobHash::of(&one);
        assert!(matches!(
            unframed(&frame, &|_| None),
            Err(FrameError::UnknownBase(base)) if base == name
        ));
        assert!(matches!(
            unframed(&frame, &|_| Some(third.clone())),
            Err(FrameError::Mismatch(_))
        ));
        assert!(matches!(
            unframed(&frame, &|_| Some(frame.clone())),
            Err(FrameError::BaseNotWhole(_))
        ));
        assert!(unframed(&frame[..20], &|_| Some(one.clone())).is_err());
    }

    /// What may happen to a fleet's messages.
    #[derive(Clone, Debug)]
    enum Step {
        /// The device has new labels.
        Change(u32),
        /// It sends what it has; the frame is on its way.
        Send,
        /// One of the frames on their way arrives, and may arrive again.
        Arrive(prop::sample::Index, bool),
        /// One of them is lost.
        Lose(prop::sample::Index),
        /// The coordinator comes back without one of its blobs.
        Forget(prop::sample::Index),
        /// The device comes back; what it knows of acknowledgements is kept.
        Restart,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let index = any::<prop::sample::Index>;
        let one = prop_oneof![
            3 => (0..40u32).prop_map(Step::Change),
            5 => Just(Step::Send),
            5 => (index(), any::<bool>()).prop_map(|(at, again)| Step::Arrive(at, again)),
            1 => index().prop_map(Step::Lose),
            1 => index().prop_map(Step::Forget),
            1 => Just(Step::Restart),
        ];
        prop::collection::vec(one, 1..60)
    }

    /// A device and a coordinator, and what travels between them.
    struct Pair {
        bits: u8,
        labels: u32,
        /// The newest acknowledged key frame.
        base: Option<Vec<u8>>,
        held: BTreeMap<BlobHash, Vec<u8>>,
        travelling: Vec<(u32, Vec<u8>)>,
    }

    impl Pair {
        fn send(&mut self) {
            let frame = framed(&whole(self.labels, self.bits), self.base.as_deref());
            self.travelling.push((self.labels, frame));
        }

        /// Whether it was taken. What is taken is what was meant.
        fn arrive(&mut self, meant: u32, frame: &[u8]) -> bool {
            let read = |name: BlobHash| self.held.get(&name).cloned();
            match unframed(frame, &read) {
                Ok(bytes) => {
                    assert_eq!(bytes, whole(meant, self.bits));
                    self.held.insert(BlobHash::of(frame), frame.to_vec());
                    if is_whole(frame) {
                        self.base = Some(frame.to_vec());
                    }
                    true
                }
                Err(FrameError::UnknownBase(_)) => {
                    self.base = None;
                    false
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    proptest! {
        #[test]
        fn labels_survive_loss_and_reordering(
            steps in steps(),
            bits in prop_oneof![Just(2u8), Just(4), Just(8), Just(12)],
        ) {
            let mut pair = Pair {
                bits,
                labels: 0,
                base: None,
                held: BTreeMap::new(),
                travelling: Vec::new(),
            };
            for happening in steps {
                match happening {
                    Step::Change(version) => pair.labels = version,
                    Step::Send => pair.send(),
                    Step::Arrive(at, again) if !pair.travelling.is_empty() => {
                        let at = at.index(pair.travelling.len());
                        let (meant, frame) = pair.travelling[at].clone();
                        if !again {
                            pair.travelling.remove(at);
                        }
                        pair.arrive(meant, &frame);
                    }
                    Step::Lose(at) if !pair.travelling.is_empty() => {
                        let at = at.index(pair.travelling.len());
                        pair.travelling.remove(at);
                    }
                    Step::Forget(at) if !pair.held.is_empty() => {
                        let at = at.index(pair.held.len());
                        let name = *pair.held.keys().nth(at).unwrap();
                        pair.held.remove(&name);
                    }
                    _ => {}
                }
            }
            // However it stands now, two sends are enough.
            pair.travelling.clear();
            pair.send();
            let (meant, frame) = pair.travelling.remove(0);
            if !pair.arrive(meant, &frame) {
                pair.send();
                let (meant, frame) = pair.travelling.remove(0);
                prop_assert!(is_whole(&frame));
                prop_assert!(pair.arrive(meant, &frame));
            }
        }
    }
}
