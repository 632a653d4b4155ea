#![allow(clippy::unwrap_used)]
use super::*;
use common::features::InputShape;
use proptest::prelude::*;

fn schema(sides: &[usize]) -> Schema {
    let shape = InputShape::new(sides.to_vec()).unwrap();
    Schema::new(shape, vec!["cat".to_owned(), "dog".to_owned()]).unwrap()
}

fn png(width: usize, height: usize, colour: png::ColorType, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(pixels).unwrap();
    writer.finish().unwrap();
    bytes
}

fn row(name: &str, bytes: &[u8], sides: &[usize]) -> (Vec<f32>, Option<u16>) {
    let (data, _) = parse(Path::new(name), bytes, &schema(sides)).unwrap();
    (data.inputs().row(0).to_vec(), data.labels()[0])
}

#[test]
fn a_picture_of_the_tasks_size_is_its_pixels() {
    let pixels: Vec<u8> = (0..12).map(|at| at * 20).collect();
    let grey = png(4, 3, png::ColorType::Grayscale, &pixels);
    let (values, label) = row("Dog/a.png", &grey, &[3, 4]);
    let expected: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel)).collect();
    assert!(
        values
            .iter()
            .zip(&expected)
            .all(|(one, other)| (one - other).abs() < 1e-3)
    );
    assert_eq!(label, Some(1));
    let colour = png(2, 2, png::ColorType::Rgb, &pixels);
    let (values, label) = row("a.png", &colour, &[2, 2, 3]);
    assert_eq!(values, expected);
    assert_eq!(label, None, "in the data folder itself");
}

#[test]
fn a_larger_picture_is_cut_around_its_middle_and_averaged() {
    // 8 × 4: the outer quarters are cut off, then 2 × 2 become one.
    let at = |y: usize, x: usize| {
        if (2..6).contains(&x) {
            (y / 2 * 100 + x / 4 * 50) as u8
        } else {
            255
        }
    };
    let pixels: Vec<u8> = (0..32).map(|place| at(place / 8, place % 8)).collect();
    let wide = png(8, 4, png::ColorType::Grayscale, &pixels);
    let (values, _) = row("cat/a.png", &wide, &[2, 2]);
    let off = values
        .iter()
        .zip([0.0, 50.0, 100.0, 150.0])
        .map(|(one, other)| (one - other).abs());
    assert!(off.fold(0.0, f32::max) < 1e-3, "{values:?}");
    let (up, _) = row("cat/a.png", &wide, &[8, 8]);
    assert_eq!(up.len(), 64);
}

#[test]
fn what_is_no_picture_or_no_class_is_refused() {
    let grey = png(1, 1, png::ColorType::Grayscale, &[1]);
    let refused = |name: &str, bytes: &[u8], sides: &[usize]| {
        parse(Path::new(name), bytes, &schema(sides)).unwrap_err()
    };
    assert!(matches!(
        refused("cow/a.png", &grey, &[1, 1]),
        ParseError::At { .. }
    ));
    assert!(matches!(
        refused("cat/a.png", &grey, &[4]),
        ParseError::Picture { .. }
    ));
    for cut in 0..grey.len() - 12 {
        let error = refused("cat/a.png", &grey[..cut], &[1, 1]);
        assert!(
            matches!(error, ParseError::Picture { .. }),
            "{cut}: {error}"
        );
    }
}

#[test]
fn sixteen_bits_are_not_cut_to_eight() {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    let mut writer = encoder.write_header().unwrap();
    // A camera of 12 bits.
    writer.write_image_data(&[0x0f, 0xff, 0x08, 0x00]).unwrap();
    writer.finish().unwrap();
    let (values, _) = row("cat/a.png", &bytes, &[1, 2]);
    let expected = [4095.0 / 257.0, 2048.0 / 257.0];
    assert!(
        values
            .iter()
            .zip(expected)
            .all(|(one, other)| (one - other).abs() < 1e-3)
    );
}

#[test]
fn a_picture_is_turned_as_it_was_held() {
    let held = Picture {
        width: 3,
        height: 2,
        channels: 1,
        depth: 1,
        pixels: vec![1, 2, 3, 4, 5, 6],
    };
    for (way, sides, expected) in [
        (1, [2, 3], [1, 2, 3, 4, 5, 6]),
        (2, [2, 3], [3, 2, 1, 6, 5, 4]),
        (3, [2, 3], [6, 5, 4, 3, 2, 1]),
        (4, [2, 3], [4, 5, 6, 1, 2, 3]),
        (5, [3, 2], [1, 4, 2, 5, 3, 6]),
        (6, [3, 2], [4, 1, 5, 2, 6, 3]),
        (7, [3, 2], [6, 3, 5, 2, 4, 1]),
        (8, [3, 2], [3, 6, 2, 5, 1, 4]),
    ] {
        let turned = held.clone().turned(way);
        assert_eq!(
            (turned.sides(), &turned.pixels[..]),
            (sides, &expected[..]),
            "{way}"
        );
    }
    let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
    let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0";
    assert_eq!((orientation(little), orientation(big)), (Some(6), Some(8)));
    for cut in 0..little.len() - 3 {
        assert_eq!(orientation(&little[..cut]), None, "{cut}");
    }
}

#[test]
fn a_jpeg_that_is_cut_short_is_refused() {
    for cut in 2..GREY_JPEG.len() - 1 {
        let refused = parse(Path::new("cat/a.jpg"), &GREY_JPEG[..cut], &schema(&[8, 8]));
        assert!(
            refused.unwrap_err().to_string().contains("cut short"),
            "{cut}"
        );
    }
    let gif = Picture::decode(b"GIF89a").unwrap_err();
    assert!(gif.contains("a GIF"), "{gif}");
}

#[test]
fn a_jpeg_of_one_colour_is_that_colour() {
    let (values, label) = row("cat/a.jpg", GREY_JPEG, &[8, 8]);
    assert!(
        values.iter().all(|value| (value - 128.0).abs() < 3.0),
        "{values:?}"
    );
    assert_eq!(label, Some(0));
}

proptest! {
    #[test]
    fn any_bytes_are_answered_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..400, value in any::<u8>(),
    ) {
        let mut damaged = [png(3, 2, png::ColorType::Rgba, &[9; 24]), GREY_JPEG.to_vec()];
        for picture in &mut damaged {
            let place = at % picture.len();
            picture[place] = value;
            let _ = parse(Path::new("cat/a"), picture, &schema(&[2, 2]));
        }
        let _ = parse(Path::new("cat/a"), &bytes, &schema(&[2, 2, 3]));
    }
}

/// The smallest there is: one block of 8 × 8 whose every coefficient is 0,
/// which is the middle of the range.
#[rustfmt::skip]
const GREY_JPEG: &[u8] = &[
    0xff, 0xd8, 0xff, 0xdb, 0x00, 0x43, 0x00, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
    0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
    0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
    0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
    0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
    0x01, 0xff, 0xc0, 0x00, 0x0b, 0x08, 0x00, 0x08, 0x00, 0x08, 0x01, 0x01, 0x11, 0x00,
    0xff, 0xc4, 0x00, 0x14, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xc4, 0x00, 0x14, 0x10, 0x01,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0xff, 0xda, 0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x3f, 0x00, 0x3f, 0xff,
    0xd9,
];
