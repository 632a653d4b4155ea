#![allow(clippy::unwrap_used)]

use ndarray::array;
use proptest::prelude::*;

use super::*;
use crate::shape::ShapeError;

fn layouts() -> impl Strategy<Value = Layout> {
    prop_oneof![
        Just(Layout::Tensor),
        Just(Layout::Row),
        Just(Layout::Column)
    ]
}

fn schemes() -> impl Strategy<Value = Scheme> {
    prop_oneof![Just(Scheme::Symmetric), Just(Scheme::Affine)]
}

/// Finite values of any size, or all of one size.
fn matrices() -> impl Strategy<Value = Array2<f32>> {
    let any_size = prop::num::f32::NORMAL | prop::num::f32::ZERO | prop::num::f32::SUBNORMAL;
    let value = prop_oneof![any_size, -3.0..3.0f32];
    (0..7usize, 0..7usize).prop_flat_map(move |(rows, columns)| {
        prop::collection::vec(value.clone(), rows * columns)
            .prop_map(move |values| Array2::from_shape_vec((rows, columns), values).unwrap())
    })
}

fn valid() -> RawQuantisedMatrix {
    let values = array![[0.5, -1.0, 0.25], [1.0, 0.0, 0.75], [0.1, 0.2, 0.3]];
    QuantisedMatrix::encode(values.view(), 5, Layout::Column, Scheme::Affine)
        .unwrap()
        .into_raw()
}

fn refusal(change: impl Fn(&mut RawQuantisedMatrix)) -> QuantiseError {
    let mut raw = valid();
    change(&mut raw);
    QuantisedMatrix::try_from(raw).unwrap_err()
}

proptest! {
    #[test]
    fn no_value_moves_by_more_than_half_a_scale(
        values in matrices(),
        bits in 2..=16u8,
        layout in layouts(),
        scheme in schemes(),
    ) {
        let encoded = QuantisedMatrix::encode(values.view(), bits, layout, scheme).unwrap();
        let length = (values.len() * usize::from(bits)).div_ceil(8);
        prop_assert_eq!(encoded.as_raw().packed.len(), length);
        let decoded = encoded.decode();
        prop_assert_eq!(decoded.dim(), values.dim());
        for ((at, &x), &y) in values.indexed_iter().zip(&decoded) {
            let (scale, lowest) = encoded.as_raw().levels(at.0, at.1);
            // Beside half a step: the scale's own rounding, and that of
            // the sum of offset and levels.
            let largest = f64::from(x).abs().max(lowest.abs());
            let bound = scale * 0.505 + largest * f64::from(f32::EPSILON);
            prop_assert!((f64::from(x) - f64::from(y)).abs() <= bound, "{x} became {y}");
        }
        let again = QuantisedMatrix::try_from(encoded.as_raw().clone()).unwrap();
        prop_assert_eq!(again, encoded);
    }

    #[test]
    fn whatever_is_accepted_decodes_to_finite_values(
        rows in 0..5u32,
        columns in 0..5u32,
        bits in 0..20u8,
        layout in layouts(),
        scheme in schemes(),
        scales in prop::collection::vec(any::<f32>(), 0..4),
        offsets in prop::collection::vec(any::<f32>(), 0..4),
        packed in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let raw = RawQuantisedMatrix {
            rows, columns, bits, layout, scheme, scales, offsets, packed,
        };
        if let Ok(matrix) = QuantisedMatrix::try_from(raw) {
            let decoded = matrix.decode();
            prop_assert_eq!(decoded.dim(), (rows as usize, columns as usize));
            prop_assert!(decoded.iter().all(|value| value.is_finite()));
        }
    }
}

#[test]
fn zero_stays_zero_in_the_symmetric_scheme() {
    let values = array![[0.0, 0.7, -0.3]];
    for bits in 2..=16 {
        let encoded =
            QuantisedMatrix::encode(values.view(), bits, Layout::Tensor, Scheme::Symmetric);
        assert_eq!(encoded.unwrap().decode()[(0, 0)], 0.0);
    }
}

#[test]
fn a_constant_costs_no_accuracy_in_the_affine_scheme() {
    let values = Array2::from_elem((3, 2), -7.3);
    let encoded = QuantisedMatrix::encode(values.view(), 2, Layout::Row, Scheme::Affine);
    assert_eq!(encoded.unwrap().decode(), values);
}

#[test]
fn values_that_are_not_finite_are_not_encoded() {
    let values = array![[0.0, 1.0], [f32::INFINITY, 2.0]];
    let refused = QuantisedMatrix::encode(values.view(), 8, Layout::Tensor, Scheme::Affine);
    assert_eq!(
        refused.unwrap_err(),
        QuantiseError::NonFinite {
            what: "value",
            index: 2,
            value: f32::INFINITY
        }
    );
}

#[test]
fn hostile_parts_are_refused_by_name() {
    use QuantiseError as E;
    assert_eq!(refusal(|raw| raw.bits = 1), E::Bits(1));
    assert_eq!(refusal(|raw| raw.bits = 17), E::Bits(17));
    assert!(matches!(
        refusal(|raw| raw.rows = 4),
        E::Shape(shape) if shape.expected == [8] && shape.got == [6]
    ));
    assert!(matches!(
        refusal(|raw| raw.packed.push(0)),
        E::Shape(shape) if shape.what == "packed bytes"
    ));
    let huge = |raw: &mut RawQuantisedMatrix| (raw.rows, raw.columns) = (u32::MAX, u32::MAX);
    assert!(matches!(refusal(huge), E::TooLarge { .. }));
    assert_eq!(
        refusal(|raw| raw.layout = Layout::Tensor),
        E::Shape(ShapeError::count("scales", 1, 3))
    );
    assert_eq!(
        refusal(|raw| raw.scheme = Scheme::Symmetric),
        E::Shape(ShapeError::count("offsets", 0, 3))
    );
    assert!(matches!(
        refusal(|raw| raw.scales[1] = f32::NAN),
        E::Scale { index: 1, .. }
    ));
    assert!(matches!(
        refusal(|raw| raw.scales[2] = -1.0),
        E::Scale { index: 2, .. }
    ));
    assert!(matches!(
        refusal(|raw| raw.offsets[0] = f32::INFINITY),
        E::NonFinite {
            what: "offset",
            index: 0,
            ..
        }
    ));
    assert_eq!(refusal(|raw| raw.packed[5] |= 0x80), E::Padding);
}

#[test]
fn a_code_the_symmetric_scheme_never_writes_is_refused() {
    let raw = RawQuantisedMatrix {
        rows: 1,
        columns: 2,
        bits: 4,
        layout: Layout::Tensor,
        scheme: Scheme::Symmetric,
        scales: vec![1.0],
        offsets: vec![],
        packed: vec![0xf0],
    };
    assert_eq!(
        QuantisedMatrix::try_from(raw).unwrap_err(),
        QuantiseError::Code {
            index: 1,
            code: 15,
            max: 14
        }
    );
}
