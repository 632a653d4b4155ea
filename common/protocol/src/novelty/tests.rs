#![allow(clippy::unwrap_used)]

use super::*;
use ndarray::array;

/// Points around the origin of two directions of three.
fn raw() -> RawNovelty {
    let points = Array2::from_shape_fn((25, 3), |(row, column)| match column {
        0 => (row % 5) as f32 - 2.0,
        1 => (row / 5) as f32 - 2.0,
        _ => 0.1,
    });
    let basis = array![[1.0f32, 0.0, 0.0], [0.0, 1.0, 0.0]];
    let surroundings =
        Surroundings::of(points.view(), basis.view(), 0.5, Lengths::Unknown).unwrap();
    RawNovelty {
        surroundings: surroundings.into_raw(),
        levels: vec![[1.0, 0.2, -3.0, 1.0]; 2],
        sparse: [0.0, 0.2],
        usual: 0.8,
        far: 2.5,
    }
}

#[test]
fn scores_rise_with_distance_and_with_a_torn_answer() {
    let novelty = Novelty::check(raw(), 3, 2).unwrap();
    let rows = array![[0.0f32, 0.0, 0.1], [0.0, 4.0, 0.1], [0.0, 0.0, 5.0]];
    // Logits of a pure class, at this temperature, are one apart from each other
    // by 1 / 0.5.
    let sure = array![[1.0f32, -1.0], [1.0, -1.0], [1.0, -1.0]];
    let scores = novelty.scores(rows.view(), Some(sure.view())).unwrap();
    assert!(scores[1] > scores[0] + 0.2, "{scores:?}");
    assert!(scores[2] > scores[0] + 0.2, "{scores:?}");
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
    let torn = array![[0.1f32, -0.1], [1.0, -1.0], [1.0, -1.0]];
    let other = novelty.scores(rows.view(), Some(torn.view())).unwrap();
    assert!(other[0] > scores[0]);
    assert_eq!(other[1], scores[1]);
    let narrow = array![[1.0f32]];
    assert!(novelty.scores(narrow.view(), Some(sure.view())).is_err());
    let few = sure.slice(ndarray::s![..2, ..]);
    assert!(novelty.scores(rows.view(), Some(few)).is_err());
}

#[test]
fn what_does_not_fit_is_refused() {
    for (usual, far) in [(1.0, 1.0), (2.0, 1.0), (f32::NAN, 1.0)] {
        let refused = RawNovelty {
            usual,
            far,
            ..raw()
        };
        let refused = Novelty::check(refused, 3, 2);
        assert!(matches!(refused, Err(NoveltyError::Levels { .. })));
    }
    assert!(matches!(
        Novelty::check(raw(), 4, 2),
        Err(NoveltyError::Shape(_))
    ));
    assert!(matches!(
        Novelty::check(raw(), 3, 3),
        Err(NoveltyError::Shape(_))
    ));
    let mut flat = raw();
    flat.levels[1][3] = 0.0;
    assert!(matches!(
        Novelty::check(flat, 3, 2),
        Err(NoveltyError::Value { got, .. }) if got == 0.0
    ));
    let mut cold = raw();
    cold.surroundings.temperature = 0.0;
    assert!(matches!(
        Novelty::check(cold, 3, 2),
        Err(NoveltyError::Value {
            what: "temperature",
            ..
        })
    ));
    let two = array![[1.0f32, 0.0], [0.0, 1.0]];
    assert!(matches!(
        Surroundings::of(two.view(), two.view(), 1.0, Lengths::Unknown),
        Err(NoveltyError::Few(2))
    ));
}

#[test]
fn points_without_themselves_look_like_rows_of_their_kind() {
    let surroundings = Surroundings::check(raw().surroundings, 3).unwrap();
    let points = Array2::zeros((25, 3));
    let looks = |spreads: &[f32]| surroundings.own_looks(points.view(), spreads, None);
    let (own, wider) = (looks(&[0.0; 25]).unwrap(), looks(&[1.0; 25]).unwrap());
    assert!(
        own.iter()
            .zip(&wider)
            .all(|(one, other)| other.away > one.away)
    );
    assert!(own.iter().all(|look| look.class == 0 && look.torn == 0.0));
    assert!(looks(&[0.0; 3]).is_err());
}

#[test]
fn rows_with_a_constant_have_their_length_again() {
    // (z, 2) at one length, for z of 1 and of 10.
    let unit = |z: f32| [z, 2.0].map(|value| value / z.hypot(2.0));
    let rows = Array2::from(vec![unit(1.0), unit(10.0)]);
    let long = lengthened(rows.view());
    assert!((long[[0, 0]] - 0.5).abs() < 1e-6, "{long}");
    assert!((long[[1, 0]] - 5.0).abs() < 1e-5, "{long}");
    // None that was a constant is so small; the result is finite all the same.
    assert!(lengthened(array![[1.0f32, 0.0]].view())[[0, 0]].is_finite());
}

#[test]
fn rows_further_out_always_score_more() {
    let levels = [[0.0f32, 0.1, 0.0, 1.0]];
    let at = |away: f64| {
        let look = Look {
            class: 0,
            away,
            sparse: 0.0,
            torn: 0.0,
            length: 0.0,
        };
        let usual = Usual {
            levels: &levels,
            sparse: [0.0, 1.0],
            lengths: &Lengths::Unknown,
        };
        usual.sum(&look)
    };
    assert!(at(0.5) < at(0.8) && at(0.8) < at(0.81) && at(2.0) < at(3.0));
    // Being nearer than usual takes hardly anything off.
    assert!(at(-1.0) < at(0.0) && at(0.0) - at(-1.0) < 1.0);
}

#[test]
fn a_row_of_another_length_scores_more() {
    let mut with_lengths = raw();
    with_lengths.surroundings.lengths = Lengths::Usual(vec![[0.5, 0.1]; 2]);
    let novelty = Novelty::check(with_lengths.clone(), 3, 2).unwrap();
    // The same direction, once as long as usual beside the constant, once longer.
    let usual = 0.5f32.exp().powi(2) - 1.0;
    let row = |square: f32| [0.0, square.sqrt(), 1.0];
    let rows = Array2::from(vec![row(usual), row(9.0 * usual)]);
    let sure = array![[1.0f32, -1.0], [1.0, -1.0]];
    let scores = novelty.scores(rows.view(), Some(sure.view())).unwrap();
    assert!(scores[1] > scores[0], "{scores:?}");
    with_lengths.surroundings.lengths = Lengths::Usual(vec![[0.5, 0.1]; 3]);
    assert!(matches!(
        Novelty::check(with_lengths, 3, 2),
        Err(NoveltyError::Shape(_))
    ));
}
