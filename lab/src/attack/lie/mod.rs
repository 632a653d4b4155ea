//! What lying devices do: a file a kind of lie.

pub(super) mod backdoor;
pub(super) mod labels;
pub(super) mod noise;
pub(super) mod profile;
pub(super) mod scale;
pub(super) mod sensor;

use common::math::quantise::{QuantisedMatrix, RawQuantisedMatrix};
use common::moments::RawMoments;
use common::round::Kind;
use common::wire::codec::{decode_blob, encode};
use edge_agent::work::Built;
use ndarray::Array2;

/// The answer with other moments, if there are any.
fn with_moments(mut answer: Built, change: impl Fn(&mut RawMoments)) -> Built {
    for entry in &mut answer.entries {
        if entry.kind == Kind::Moments
            && let Ok(mut raw) = decode_blob::<RawMoments>(&entry.bytes)
        {
            change(&mut raw);
            entry.bytes = encode(&raw);
        }
    }
    answer
}

/// Other values in the same form; what cannot be encoded stays as it was.
fn recode(raw: &mut RawQuantisedMatrix, change: impl FnOnce(Array2<f32>) -> Array2<f32>) {
    let Ok(matrix) = QuantisedMatrix::try_from(raw.clone()) else {
        return;
    };
    let values = change(matrix.decode());
    if let Ok(changed) = QuantisedMatrix::encode(values.view(), raw.bits, raw.layout, raw.scheme) {
        *raw = changed.into_raw();
    }
}
