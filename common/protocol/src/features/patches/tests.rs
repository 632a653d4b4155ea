#![allow(clippy::unwrap_used)]

use ndarray::Array2;
use proptest::prelude::*;

use super::*;
use crate::features::FeatureStage;

fn patches(sides: &[usize], plan: Option<&str>) -> Patches {
    let shape = InputShape::new(sides.to_vec()).unwrap();
    Patches::new(&shape, plan.map(|plan| PatchPlan::parse(plan).unwrap())).unwrap()
}

/// The definition, pixel by pixel.
fn by_definition(patches: &Patches, image: &[f32]) -> Vec<f64> {
    let (size, grid) = (usize::from(patches.plan.size), patches.plan.grid as usize);
    let (filters, margin) = (patches.filters.nrows(), size as isize / 2);
    let at = |y: isize, x: isize, c: usize| {
        let within = |v: isize, side: usize| (0..side as isize).contains(&v);
        if within(y, patches.height) && within(x, patches.width) {
            let place = (y as usize * patches.width + x as usize) * patches.channels + c;
            f64::from(image[place])
        } else {
            0.0
        }
    };
    let edge = |i: usize, side: usize| (i as f64 * side as f64 / grid as f64).round() as usize;
    let mut out = Vec::new();
    for cell in 0..grid * grid {
        let (gy, gx) = (cell / grid, cell % grid);
        let ys = edge(gy, patches.height)..edge(gy + 1, patches.height);
        let xs = edge(gx, patches.width)..edge(gx + 1, patches.width);
        for c in 0..patches.channels {
            for sign in [1.0, -1.0] {
                for filter in 0..filters {
                    let mut sum = 0.0;
                    for (y, x) in ys.clone().flat_map(|y| xs.clone().map(move |x| (y, x))) {
                        let answer: f64 = (0..size * size)
                            .map(|i| {
                                let (dy, dx) = ((i / size) as isize, (i % size) as isize);
                                let value =
                                    at(y as isize + dy - margin, x as isize + dx - margin, c);
                                f64::from(patches.filters[(filter, i)]) * value
                            })
                            .sum();
                        sum += (sign * answer).max(0.0);
                    }
                    out.push((sum / (ys.len() * xs.len()) as f64).sqrt());
                }
            }
        }
    }
    out
}

#[test]
fn defaults_follow_the_size_of_the_image() {
    assert_eq!(patches(&[8, 8], None).features(), 90);
    assert_eq!(patches(&[28, 28], None).features(), 784);
    assert_eq!(patches(&[28, 28], Some("5x5x4")).features(), 160);
    assert_eq!(patches(&[32, 32, 3], None).features(), 2352);
    assert_eq!(patches(&[64, 48, 1], None).features(), 784);
}

#[test]
fn names_are_as_many_as_features_and_distinct() {
    for sides in [vec![8, 8], vec![28, 20, 3]] {
        let patches = patches(&sides, None);
        let mut names = patches.names();
        assert_eq!(names.len(), patches.features());
        names.sort();
        names.dedup();
        assert_eq!(names.len(), patches.features());
    }
}

#[test]
fn the_inside_of_a_flat_image_has_no_answers() {
    for plan in ["3x5x5", "5x8x7", "9x80x5"] {
        let patches = patches(&[64, 64], Some(plan));
        let grid = usize::from(patches.plan.grid);
        let each = patches.features() / (grid * grid);
        for level in [0.1, 0.7, 16.0, 255.0, -77.7] {
            let flat = patches.compute(Array2::from_elem((1, 64 * 64), level).view());
            for (at, &value) in flat.row(0).iter().enumerate() {
                let cell = at / each;
                let inside = [cell / grid, cell % grid].map(|side| side > 0 && side + 1 < grid);
                let answered = value != 0.0 && inside == [true, true];
                assert!(!answered, "{plan}, {level}: feature {at} is {value}");
            }
        }
    }
}

#[test]
fn shapes_that_are_no_images_are_refused() {
    for sides in [vec![784], vec![7, 28], vec![28, 7, 3]] {
        let shape = InputShape::new(sides.clone()).unwrap();
        assert!(matches!(
            Patches::new(&shape, None).err(),
            Some(FeatureError::Unfit { shape, .. }) if shape == sides
        ));
    }
}

#[test]
fn parameters_that_do_not_fit_are_refused() {
    for plan in [
        "4x5x3", "1x1x3", "11x5x3", "3x9x3", "3x0x3", "3x5x0", "3x5x9", "9x5x3",
    ] {
        let (shape, plan) = (
            InputShape::new(vec![8, 8]).unwrap(),
            PatchPlan::parse(plan).unwrap(),
        );
        let refused = Patches::new(&shape, Some(plan)).err();
        assert!(matches!(
            refused,
            Some(FeatureError::Unfit { stage, .. }) if stage == FeatureStage::patches(Some(plan))
        ));
    }
    let wide = InputShape::new(vec![8, 8, 10_000]).unwrap();
    assert!(matches!(
        Patches::new(&wide, None),
        Err(FeatureError::Unfit { .. })
    ));
}

#[test]
fn filters_are_orthonormal_and_blind_to_a_constant() {
    for (size, count) in [(3, 8), (5, 24), (9, 80)] {
        let filters = filters(size, count);
        let gram = filters.dot(&filters.t());
        assert!(
            gram.indexed_iter()
                .all(|((i, j), &value)| { (value - if i == j { 1.0 } else { 0.0 }).abs() < 1e-5 })
        );
        assert!(filters.sum_axis(Axis(1)).iter().all(|sum| sum.abs() < 1e-5));
    }
}

#[test]
fn first_filter_responds_to_a_horizontal_ramp() {
    let patches = patches(&[28, 28], None);
    let ramp = Array2::from_shape_fn((1, 784), |(_, pixel)| (pixel % 28) as f32);
    let features = patches.compute(ramp.view());
    let inner = &features.as_slice().unwrap()[24 * 16..25 * 16];
    // Along a rising ramp the falling cosine answers negatively, and the
    // other even and vertical filters hardly at all.
    assert_eq!(inner[0], 0.0);
    assert!(inner[8] > 1.0, "{inner:?}");
    assert!(inner[1] < 1e-2 && inner[9] < 1e-2, "{inner:?}");
}

#[test]
fn extreme_values_give_finite_features() {
    let patches = patches(&[8, 8], None);
    let mut rows = Array2::from_elem((1, 64), f32::MAX);
    rows[(0, 9)] = f32::MIN;
    assert!(patches.compute(rows.view()).iter().all(|x| x.is_finite()));
}

#[test]
fn another_version_is_refused() {
    let stage = FeatureStage::Patches {
        version: 2,
        plan: None,
    };
    let shape = InputShape::new(vec![8, 8]).unwrap();
    assert!(matches!(
        stage.features(&shape),
        Err(FeatureError::Unknown { .. })
    ));
}

fn images() -> impl Strategy<Value = (Patches, Vec<f32>)> {
    let plan = prop::sample::select(vec![None, Some("3x8x2"), Some("5x4x3"), Some("7x5x8")]);
    (8usize..20, 8usize..20, 1usize..4, plan).prop_flat_map(|(height, width, channels, plan)| {
        let patches = patches(&[height, width, channels], plan);
        let values = proptest::collection::vec(-255f32..255.0, height * width * channels);
        (Just(patches), values)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn features_are_those_of_the_definition((patches, image) in images()) {
        let rows = Array2::from_shape_vec((1, image.len()), image.clone()).unwrap();
        let expected = by_definition(&patches, &image);
        for (a, b) in patches.compute(rows.view()).iter().zip(&expected) {
            prop_assert!((f64::from(*a) - b).abs() < 1e-2, "{a} {b}");
        }
    }

    #[test]
    fn features_are_within_the_range_of_the_values((patches, image) in images()) {
        let rows = Array2::from_shape_vec((1, image.len()), image).unwrap();
        // The largest answers come from values at either end.
        for rows in [rows.mapv(|x| 255.0 * x.signum()), rows.clone(), rows.mapv(f32::abs)] {
            let low = rows.fold(0f32, |low, &x| low.min(x));
            let [zero, high] = patches.range(low, 255.0).unwrap();
            prop_assert!(patches.compute(rows.view()).iter().all(|x| (zero..=high).contains(x)));
        }
    }

    #[test]
    fn image_times_four_gives_features_times_two((patches, image) in images()) {
        let rows = Array2::from_shape_vec((1, image.len()), image).unwrap();
        let (one, four) = (patches.compute(rows.view()), patches.compute((&rows * 4.0).view()));
        prop_assert_eq!(four, one * 2.0);
    }

    #[test]
    fn a_row_alone_gives_the_same_as_among_others((patches, image) in images()) {
        let one = Array2::from_shape_vec((1, image.len()), image).unwrap();
        let mut three = Array2::from_elem((3, one.ncols()), 9.0);
        three.row_mut(1).assign(&one.row(0));
        let among = patches.compute(three.view());
        let alone = patches.compute(one.view());
        prop_assert_eq!(among.row(1), alone.row(0));
    }

    #[test]
    fn plan_is_read_as_it_is_written(size: u8, filters: u8, grid: u8) {
        let plan = PatchPlan { size, filters, grid };
        prop_assert_eq!(PatchPlan::parse(&plan.to_string()), Some(plan));
    }
}
