#![allow(clippy::unwrap_used)]
use super::*;
use crate::codec::{decode, encode};
use crate::round::Kind;
use proptest::prelude::*;

fn hash() -> impl Strategy<Value = [u8; 32]> {
    proptest::array::uniform32(any::<u8>())
}

proptest! {
    #[test]
    fn requests_survive_the_wire(task in hash(), blob in hash(), round: u64, bytes: u64, offset: u64) {
        let key = ContributionKey {
            task: TaskHash(task),
            transfer: Some(BlobHash(blob)),
            round: RoundId(round),
            phase: Phase::Contribute,
            kind: Kind::Moments,
        };
        for request in [
            TransferRequest::Offer { key, blob: BlobHash(blob), bytes },
            TransferRequest::Fetch { blob: BlobHash(blob), offset },
            TransferRequest::Whole { key, blob: BlobHash(blob), bytes, signature: None },
        ] {
            prop_assert_eq!(decode::<TransferRequest>(&encode(&request)).unwrap(), request);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode::<ToDevice>(&bytes);
        let _ = decode::<ToCoordinator>(&bytes);
        let _ = decode::<TransferRequest>(&bytes);
        let _ = decode::<TransferAnswer>(&bytes);
        let _ = decode::<EnrolRequest>(&bytes);
        let _ = decode::<EnrolAnswer>(&bytes);
    }
}

#[test]
fn golden_bytes_of_minor_0_decode() {
    let call = ToDevice::PhaseClosed {
        task: TaskHash([7; 32]),
        round: RoundId(3),
        phase: Phase::Solve,
    };
    let mut golden = vec![2];
    golden.extend_from_slice(&[7; 32]);
    golden.extend_from_slice(&[3, 3]);
    assert_eq!(encode(&call), golden);
    assert_eq!(decode::<ToDevice>(&golden).unwrap(), call);
}
