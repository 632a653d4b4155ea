#![allow(clippy::unwrap_used)]

use ndarray::{Array2, array};

use super::*;
use crate::limits::INPUT_VALUES_MAX;

fn shape(sides: &[usize]) -> InputShape {
    InputShape::new(sides.to_vec()).unwrap()
}

#[test]
fn shape_without_values_or_with_too_many_is_refused() {
    for sides in [
        vec![],
        vec![0],
        vec![3, 0],
        vec![1, 1, 1, 1],
        vec![usize::MAX, 2],
        vec![INPUT_VALUES_MAX + 1],
    ] {
        assert_eq!(
            InputShape::new(sides.clone()),
            Err(FeatureError::Shape { shape: sides })
        );
    }
    assert_eq!(shape(&[28, 28, 1]).values(), 784);
}

#[test]
fn stage_is_read_as_it_is_written() {
    let plan = PatchPlan {
        size: 5,
        filters: 12,
        grid: 7,
    };
    assert_eq!(
        FeatureStage::patches(Some(plan)).to_string(),
        "patches/1:5x12x7"
    );
    for stage in [
        FeatureStage::Raw,
        FeatureStage::window(),
        FeatureStage::patches(None),
        FeatureStage::patches(Some(plan)),
    ] {
        assert_eq!(stage.to_string().parse(), Ok(stage));
        let json = serde_json::to_string(&stage).unwrap();
        assert_eq!(serde_json::from_str::<FeatureStage>(&json).unwrap(), stage);
    }
    let plan = SeriesPlan {
        size: 32,
        filters: 12,
        grid: 2,
    };
    for stage in [FeatureStage::series(None), FeatureStage::series(Some(plan))] {
        assert_eq!(stage.to_string().parse(), Ok(stage));
    }
    assert_eq!("series".parse(), Ok(FeatureStage::series(None)));
    assert_eq!("window".parse(), Ok(FeatureStage::window()));
    assert_eq!("patches".parse(), Ok(FeatureStage::patches(None)));
    for name in [
        "",
        "Raw",
        "window/0",
        "window/2",
        "window/01",
        "patches/2",
        "patches/1:",
        "patches/1:5x8",
        "patches/1:5x8x7x1",
        "patches/1:05x8x7",
        "patches/1:5x8x999",
        "patches:5x8x7",
    ] {
        assert!(matches!(
            name.parse::<FeatureStage>(),
            Err(FeatureError::Unknown { .. })
        ));
    }
}

#[test]
fn another_programs_version_is_refused() {
    let stage = FeatureStage::Window { version: 2 };
    let refused = stage.features(&shape(&[128, 6]));
    assert_eq!(
        refused,
        Err(FeatureError::Unknown {
            name: "window/2".to_owned()
        })
    );
}

#[test]
fn raw_features_are_the_values() {
    let rows = array![[1.0, 2.0], [3.0, 4.0]];
    let stage = FeatureStage::Raw;
    let shape = shape(&[2, 1]);
    assert_eq!(stage.features(&shape), Ok(2));
    assert_eq!(stage.names(&shape).unwrap().len(), 2);
    assert_eq!(stage.compute(&shape, rows.view()).unwrap(), rows);
    // A transposed view gives the same values in standard layout.
    let transposed = stage.compute(&shape, rows.t()).unwrap();
    assert!(transposed.is_standard_layout());
    assert_eq!(transposed, array![[1.0, 3.0], [2.0, 4.0]]);
}

#[test]
fn rows_of_another_length_are_refused() {
    assert_eq!(
        FeatureStage::Raw.compute(&shape(&[3]), Array2::zeros((1, 2)).view()),
        Err(FeatureError::RowValues {
            expected: 3,
            got: 2
        })
    );
}

#[test]
fn value_that_is_not_finite_is_named() {
    for stage in [FeatureStage::Raw, FeatureStage::window()] {
        let mut rows = Array2::zeros((2, 8));
        rows[(1, 3)] = f32::INFINITY;
        assert_eq!(
            stage.compute(&shape(&[8, 1]), rows.view()),
            Err(FeatureError::NotFinite {
                row: 1,
                column: 3,
                value: f32::INFINITY
            })
        );
    }
}

#[test]
fn the_lifted_stage_tells_a_row_from_its_double() {
    let (stage, shape) = (FeatureStage::lifted(), shape(&[2]));
    assert_eq!("lifted".parse(), Ok(stage));
    assert_eq!(stage.to_string().parse(), Ok(stage));
    assert_eq!(stage.features(&shape), Ok(3));
    assert_eq!(stage.names(&shape).unwrap().len(), 3);
    assert_eq!(stage.layout(&shape), Ok(None));
    let rows = array![[1.0, 2.0], [2.0, 4.0], [-3.0, -6.0]];
    let seen = stage.compute(&shape, rows.view()).unwrap();
    assert_eq!(
        seen,
        array![[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [-3.0, -6.0, 0.0]]
    );
    let normaliser = |stage: FeatureStage, features: usize| {
        let (mean, variance) = (vec![0.0; features], vec![4.0; 2]);
        let variance = [variance, vec![0.0; features - 2]].concat();
        stage.normaliser(&mean, &variance, 5.0, Vec::new()).unwrap()
    };
    let lifted = normaliser(stage, 3).apply(seen.view()).unwrap();
    let apart = &lifted.row(0) - &lifted.row(1);
    assert!(apart.dot(&apart) > 0.1, "{lifted}");
    for row in lifted.rows() {
        assert!((row.dot(&row) - 3.0).abs() < 1e-5, "{lifted}");
    }
    let raw = normaliser(FeatureStage::Raw, 2).apply(rows.view()).unwrap();
    assert_eq!(raw.row(0), raw.row(1), "which is what the constant is for");
}

#[test]
fn the_shape_alone_decides_the_default() {
    let fine = "series/1:16x6x8".parse().unwrap();
    let (window, lifted) = (FeatureStage::window(), FeatureStage::lifted());
    let patches = FeatureStage::patches(None);
    for (sides, stage, convolved) in [
        (&[128, 6][..], window, Some(fine)),
        (&[100, 52], window, Some(fine)),
        (&[96, 48], window, Some(fine)),
        (&[96, 48, 1], patches, Some(patches)),
        (&[28, 28], patches, Some(patches)),
        (&[62, 47], patches, Some(patches)),
        (&[28, 28, 3], patches, Some(patches)),
        (&[24, 1], lifted, Some(fine)),
        (&[25, 12], lifted, Some(fine)),
        (&[8, 2], lifted, None),
        (&[3, 8], lifted, None),
        (&[7, 5], lifted, None),
        (&[30], lifted, None),
        // More channels than a window has features for.
        (&[600, 400], lifted, Some(fine)),
    ] {
        let shape = shape(sides);
        let modality = shape.modality();
        let found = FeatureStage::default_for(&shape, modality);
        assert_eq!(found, stage, "{sides:?}");
        let under = FeatureStage::default_under_convolution(&shape, modality);
        assert_eq!(under, convolved, "{sides:?}");
        assert!(!stage.default_reason(modality).is_empty());
        for narrower in stage.narrower(&shape) {
            let features = |stage: FeatureStage| stage.features(&shape).unwrap();
            assert!(features(narrower) < features(stage), "{narrower}");
        }
    }
}

#[test]
fn what_an_input_is_said_to_be_goes_before_its_shape() {
    let by = |sides: &[usize], modality| FeatureStage::default_for(&shape(sides), modality);
    let many_channels = [40, 60];
    assert_eq!(by(&many_channels, Modality::Series), FeatureStage::window());
    assert_eq!(by(&[20, 30], Modality::Series), FeatureStage::lifted());
    assert_eq!(by(&[96, 48], Modality::Image), FeatureStage::patches(None));
    assert_eq!(by(&[28, 28], Modality::List), FeatureStage::lifted());
}

/// What every stage owes to the programs, whichever it is.
#[test]
fn every_stage_keeps_its_contract() {
    let shapes = [&[12][..], &[64, 3], &[16, 16], &[16, 16, 3], &[800]];
    for stage in FeatureStage::all() {
        assert_eq!(stage.to_string().parse(), Ok(stage));
        let name = stage.to_string();
        let plain = name.split('/').next().unwrap();
        assert_eq!(plain.parse(), Ok(stage));
        let refused = "no such".parse::<FeatureStage>().unwrap_err().to_string();
        assert!(refused.contains(&name), "{refused}");
        let mut taken = 0;
        for shape in shapes.map(shape) {
            let Ok(features) = stage.features(&shape) else {
                continue;
            };
            taken += 1;
            assert_eq!(stage.names(&shape).unwrap().len(), features);
            let (values, rows) = (shape.values(), 3);
            let inputs =
                Array2::from_shape_fn((rows, values), |(row, at)| ((7 * at + 3 * row) % 11) as f32);
            let computed = stage.compute(&shape, inputs.view()).unwrap();
            assert_eq!(computed.dim(), (rows, features));
            if let Some(layout) = stage.layout(&shape).unwrap() {
                assert_eq!(layout.iter().product::<usize>(), features);
            }
            if let Some([low, high]) = stage.range(&shape, [0.0, 10.0]).unwrap() {
                let inside = |value: &f32| (low..=high).contains(value);
                assert!(computed.iter().all(inside), "{stage} of {shape:?}");
            }
            if let Drawing::Filters(filters) = stage.drawing(&shape).unwrap() {
                let [height, width] = filters.sides;
                assert_eq!(filters.weights.ncols(), height * width);
                let maps = stage.layout(&shape).unwrap().unwrap()[2];
                assert!(maps.is_multiple_of(filters.together));
            }
            let constant = computed
                .column(features - 1)
                .iter()
                .all(|value| *value == 0.0);
            assert!(stage.varying(features) == features || constant);
        }
        assert!(taken > 0, "{stage} takes no shape");
    }
}

#[test]
fn candidates_are_what_takes_the_shape() {
    let names = |stage: FeatureStage, sides: &[usize]| -> Vec<String> {
        let all = stage.candidates(&shape(sides)).into_iter();
        all.map(|stage| stage.to_string()).collect()
    };
    let window = names(FeatureStage::window(), &[80, 1]);
    assert_eq!(
        window,
        ["window/1", "series/1", "trend/1", "lifted/1", "raw"]
    );
    assert_eq!(names(FeatureStage::lifted(), &[30]), ["lifted/1", "raw"]);
    let image = names(FeatureStage::patches(None), &[12, 30, 3]);
    assert_eq!(image, ["patches/1", "lifted/1", "raw"]);
    assert_eq!(
        names(FeatureStage::mel(None), &[16_000]),
        ["mel/1"],
        "knows a rate"
    );
}
