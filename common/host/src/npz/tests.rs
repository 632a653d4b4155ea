#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn header_of(descr: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n")
}

fn array(shape: &[usize], values: Values) -> Array {
    Array::new(shape.to_vec(), values).unwrap()
}

#[test]
fn array_as_numpy_writes_it_is_read() {
    let parsed = Array::parse(&npy(&header_of("<i2", "(2, 1)"), &[1, 0, 255, 255])).unwrap();
    assert_eq!(parsed, array(&[2, 1], Values::I16(vec![1, -1])));
    assert_eq!(parsed.to_f32().unwrap(), [1.0, -1.0]);
    assert_eq!(parsed.to_integers().unwrap(), [1, -1]);
}

#[test]
fn text_is_read_without_its_padding() {
    let mut data = Vec::new();
    for character in ['a', 'ß', '\0', 'b', '\0', '\0'] {
        data.extend(u32::from(character).to_le_bytes());
    }
    let parsed = Array::parse(&npy(&header_of("<U3", "(2,)"), &data)).unwrap();
    assert_eq!(parsed.to_text().unwrap(), ["aß", "b"]);
    assert_eq!(
        parsed.to_f32(),
        Err(NpzError::NotNumbers { wanted: "numbers" })
    );
}

#[test]
fn text_that_is_written_is_read_again() {
    let names = array(
        &[3],
        Values::Text(vec!["aß".into(), String::new(), "walking".into()]),
    );
    assert_eq!(Array::parse(&names.encode().unwrap()), Ok(names));
    let long = array(&[1], Values::Text(vec!["x".repeat(257)]));
    assert_eq!(long.encode(), Err(NpzError::TextCharacters { found: 257 }));
}

#[test]
fn scalar_has_one_row() {
    let parsed = Array::parse(&npy(&header_of("|u1", "()"), &[7])).unwrap();
    assert_eq!(parsed.rows(), 1);
    assert_eq!(parsed.shape(), [0usize; 0]);
}

#[test]
fn columns_that_come_first_become_rows() {
    let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }";
    assert_eq!(
        Array::parse(&npy(header, &[1, 4, 2, 5, 3, 6])),
        Ok(array(&[2, 3], Values::U8(vec![1, 2, 3, 4, 5, 6])))
    );
    let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (0, 3), }";
    assert_eq!(
        Array::parse(&npy(header, &[])),
        Ok(array(&[0, 3], Values::U8(vec![])))
    );
}

#[test]
fn numbers_of_sixteen_bits_are_what_numpy_says_they_are() {
    let data: Vec<u8> = [0x3c00u16, 0xc000, 0x3555, 0x0001, 0x8000, 0x7bff, 0x7c00]
        .iter()
        .flat_map(|bits| bits.to_le_bytes())
        .collect();
    let parsed = Array::parse(&npy(&header_of("<f2", "(7,)"), &data)).unwrap();
    let expected = [1.0, -2.0, 0.333_251_95, 5.960_464_5e-8, -0.0, 65504.0];
    let values = parsed.to_f32().unwrap();
    assert_eq!(values[..6], expected);
    assert_eq!(values[6], f32::INFINITY);
}

#[test]
fn unknown_types_are_refused() {
    for descr in [
        "<<f4",
        "<c8",
        "<M8[ns]",
        "<f16",
        "|f4",
        "<U0",
        "<U999",
        "<U99999999999999999999",
    ] {
        assert_eq!(
            Array::parse(&npy(&header_of(descr, "(1,)"), &[0; 4])),
            Err(NpzError::ElementType {
                descr: descr.to_owned()
            })
        );
    }
}

#[test]
fn either_order_of_bytes_is_the_same_number() {
    let text: Vec<u8> = "on"
        .chars()
        .flat_map(|c| u32::from(c).to_be_bytes())
        .collect();
    for (descr, data, expected) in [
        (">f4", &1.5f32.to_be_bytes()[..], Values::F32(vec![1.5])),
        (">f8", &(-2.5f64).to_be_bytes(), Values::F64(vec![-2.5])),
        (">f2", &[0xc0, 0x00], Values::F32(vec![-2.0])),
        (">i8", &(-7i64).to_be_bytes(), Values::I64(vec![-7])),
        (">i2", &[0x01, 0x02], Values::I16(vec![258])),
        (
            "<u4",
            &u32::MAX.to_le_bytes(),
            Values::I64(vec![4_294_967_295]),
        ),
        (">u8", &5u64.to_be_bytes(), Values::I64(vec![5])),
        (
            "<u8",
            &u64::MAX.to_le_bytes(),
            Values::F64(vec![u64::MAX as f64]),
        ),
        (">U2", &text, Values::Text(vec!["on".to_owned()])),
    ] {
        let read = Array::parse(&npy(&header_of(descr, "(1L,)"), data));
        assert_eq!(read, Ok(array(&[1], expected)), "{descr}");
    }
}

#[test]
fn truth_values_are_known_as_such() {
    let read = |descr| Array::parse(&npy(&header_of(descr, "(2,)"), &[0, 1])).unwrap();
    assert!(read("|b1").holds_truths() && !read("|u1").holds_truths());
    assert_eq!(read("|b1").values(), &Values::U8(vec![0, 1]));
}

#[test]
fn objects_and_structures_are_refused_by_what_they_are() {
    let objects = npy(&header_of("|O", "(1,)"), &[0; 4]);
    assert_eq!(Array::parse(&objects), Err(NpzError::Objects));
    let fields = "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }";
    let fields = npy(fields, &[0; 4]);
    assert_eq!(Array::parse(&fields), Err(NpzError::Structured));
}

#[test]
fn byte_strings_are_text() {
    let bytes = npy(&header_of("|S3", "(2,)"), b"on\0off");
    let texts = ["on", "off"].map(str::to_owned).to_vec();
    let parsed = Array::parse(&bytes).unwrap();
    assert_eq!(parsed.values(), &Values::Text(texts));
    let broken = npy(&header_of("|S1", "(1,)"), b"\xff");
    assert_eq!(Array::parse(&broken), Err(NpzError::BytesText));
}

#[test]
fn too_many_values_are_refused_before_reading() {
    let few = npy(&header_of("|u1", "(4,)"), &[0; 4]);
    assert!(Array::parse_within(&few, 4).is_ok());
    let refused = Array::parse_within(&few, 3);
    assert_eq!(
        refused,
        Err(NpzError::Values {
            shape: vec![4],
            max: 3
        })
    );
}

#[test]
fn huge_shape_is_refused_before_allocation() {
    for shape in [
        "(1000000000000,)",
        "(4294967296, 4294967296)",
        "(9223372036854775807, 3)",
    ] {
        assert!(matches!(
            Array::parse(&npy(&header_of("<f8", shape), &[])),
            Err(NpzError::ArrayBytes { .. })
        ));
    }
    assert!(matches!(
        Array::parse(&npy(&header_of("<f8", "(99999999999999999999999,)"), &[])),
        Err(NpzError::Header { .. })
    ));
}

#[test]
fn shape_that_does_not_fit_the_file_is_refused() {
    for data in [&[0u8; 7][..], &[0; 9]] {
        assert_eq!(
            Array::parse(&npy(&header_of("<f4", "(2,)"), data)),
            Err(NpzError::DataBytes {
                expected: 8,
                found: data.len() as u64
            })
        );
    }
}

#[test]
fn hostile_headers_are_refused() {
    for header in [
        "",
        "{",
        "{}",
        "{'descr': '<f4'}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (), 'more': 'x'}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': ()}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,2,3,4,5,6,7,8,9)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': ()} x",
        "{'descr': '<f4, 'fortran_order': False, 'shape': ()}",
    ] {
        assert!(
            matches!(
                Array::parse(&npy(header, &[0; 4])),
                Err(NpzError::Header { .. })
            ),
            "{header}"
        );
    }
}

#[test]
fn header_longer_than_any_real_one_is_refused() {
    let mut bytes = b"\x93NUMPY\x02\x00".to_vec();
    bytes.extend(u32::MAX.to_le_bytes());
    assert!(matches!(
        Array::parse(&bytes),
        Err(NpzError::HeaderBytes { .. })
    ));
}

#[test]
fn truncated_archive_is_refused_at_every_length() {
    let x = array(&[3], Values::F32(vec![1.0, 2.0, 3.0]));
    let bytes = write(&[("X", &x)]).unwrap();
    for length in 0..bytes.len() {
        let outcome = Archive::open(&bytes[..length]).and_then(|archive| archive.array("X"));
        assert!(outcome.is_err(), "{length} bytes");
    }
}

#[test]
fn missing_array_is_named_with_those_there_are() {
    let x = array(&[1], Values::U8(vec![1]));
    let bytes = write(&[("images", &x), ("labels", &x)]).unwrap();
    let archive = Archive::open(&bytes).unwrap();
    assert!(archive.contains("images"));
    assert_eq!(
        archive.array("X"),
        Err(NpzError::NoArray {
            name: "X".to_owned(),
            names: "images, labels".to_owned()
        })
    );
}

#[test]
fn same_arrays_give_the_same_bytes() {
    let x = array(&[2, 2], Values::F64(vec![0.0, 1.0, 2.0, 3.0]));
    assert_eq!(write(&[("x", &x)]), write(&[("x", &x)]));
    assert!(write(&[("x", &x), ("x", &x)]).is_err());
}

#[test]
fn selected_rows_keep_their_order() {
    let x = array(&[3, 2], Values::I32(vec![0, 1, 10, 11, 20, 21]));
    assert_eq!(
        x.select(&[2, 0]).unwrap(),
        array(&[2, 2], Values::I32(vec![20, 21, 0, 1]))
    );
    assert_eq!(x.select(&[3]), Err(NpzError::NoRow { row: 3, rows: 3 }));
}

#[test]
fn fraction_is_no_integer() {
    let x = array(&[2], Values::F32(vec![1.0, 0.5]));
    assert_eq!(x.to_integers(), Err(NpzError::NotInteger { value: 0.5 }));
}

fn any_values(count: usize) -> impl Strategy<Value = Values> {
    use proptest::collection::vec;
    prop_oneof![
        vec(any::<u8>(), count).prop_map(Values::U8),
        vec(any::<i8>(), count).prop_map(Values::I8),
        vec(any::<u16>(), count).prop_map(Values::U16),
        vec(any::<i16>(), count).prop_map(Values::I16),
        vec(any::<i32>(), count).prop_map(Values::I32),
        vec(any::<i64>(), count).prop_map(Values::I64),
        vec(-1e30f32..1e30, count).prop_map(Values::F32),
        vec(-1e300f64..1e300, count).prop_map(Values::F64),
    ]
}

fn any_array() -> impl Strategy<Value = Array> {
    proptest::collection::vec(0usize..5, 0..4).prop_flat_map(|shape| {
        let count = shape.iter().product();
        any_values(count).prop_map(move |values| array(&shape, values))
    })
}

proptest! {
    #[test]
    fn written_arrays_are_read_back(x in any_array(), y in any_array()) {
        prop_assert_eq!(Array::parse(&x.encode().unwrap()).unwrap(), x.clone());
        let bytes = write(&[("x", &x), ("y", &y)]).unwrap();
        let archive = Archive::open(&bytes).unwrap();
        prop_assert_eq!(archive.names(), ["x", "y"]);
        prop_assert_eq!(archive.array("x").unwrap(), x);
        prop_assert_eq!(archive.array("y").unwrap(), y);
    }

    #[test]
    fn blocks_make_up_the_array(x in any_array(), rows in 1usize..5) {
        let bytes = x.encode().unwrap();
        let mut blocks = Blocks::begin(&bytes[..], bytes.len() as u64).unwrap();
        prop_assert_eq!(blocks.shape(), x.shape());
        let mut first = 0;
        while let Some(block) = blocks.next(rows, u64::MAX).unwrap() {
            if x.shape().is_empty() {
                prop_assert_eq!(&block, &x);
                return Ok(());
            }
            let own: Vec<usize> = (first..first + block.rows()).collect();
            prop_assert_eq!(&block, &x.select(&own).unwrap());
            first += block.rows();
        }
        prop_assert_eq!(first, x.rows());
    }

    #[test]
    fn written_data_starts_at_a_multiple_of_64(x in any_array()) {
        let bytes = x.encode().unwrap();
        let length = u16::from_le_bytes([bytes[8], bytes[9]]);
        prop_assert_eq!((10 + usize::from(length)) % 64, 0);
    }

    #[test]
    fn any_bytes_are_answered_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Array::parse(&bytes);
        let _ = Archive::open(&bytes).map(|archive| archive.names());
        let mut started = b"\x93NUMPY\x01\x00".to_vec();
        started.extend(&bytes);
        let _ = Array::parse(&started);
    }

    #[test]
    fn damaged_archives_are_answered_without_panic(x in any_array(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut bytes = write(&[("x", &x)]).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(archive) = Archive::open(&bytes) {
            let _ = archive.array("x");
        }
    }
}
