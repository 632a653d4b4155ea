#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

const DIRECTIONS: usize = 8;
const CLASSES: usize = 4;

/// A device whose rows of these classes lie around one centre a class, and
/// which labels them as `labels` says.
fn device(seed: u64, classes: &[usize], rows: usize, label: impl Fn(usize) -> usize) -> Evidence {
    let mut random = rng(seed, "rows");
    let mut evidence = Evidence {
        gram: Array2::zeros((DIRECTIONS, DIRECTIONS)),
        cross: Array2::zeros((DIRECTIONS, CLASSES)),
        target_square: 0.0,
        unanswered: 0.0,
        rows: rows as f64,
        class_rows: vec![0.0; CLASSES],
        certainty: 1.0,
    };
    // A person's own habit, as far as people differ.
    let habit: Vec<f64> = (0..DIRECTIONS)
        .map(|_| 0.15 * Distribution::<f64>::sample(&StandardNormal, &mut random))
        .collect();
    for _ in 0..rows {
        let class = classes[random.random_range(0..classes.len())];
        let phi = ndarray::Array1::from_shape_fn(DIRECTIONS, |at| {
            let noise: f64 = StandardNormal.sample(&mut random);
            f64::from(u8::from(at == class || at == class + 4)) + habit[at] + 0.25 * noise
        });
        let said = label(class);
        let target = ndarray::Array1::from_shape_fn(CLASSES, |at| {
            f64::from(u8::from(at == said)) - 1.0 / CLASSES as f64
        });
        for row in 0..DIRECTIONS {
            evidence.gram.row_mut(row).scaled_add(phi[row], &phi);
            evidence.cross.row_mut(row).scaled_add(phi[row], &target);
        }
        evidence.target_square += target.dot(&target);
        evidence.unanswered = evidence.target_square;
        evidence.class_rows[said] += 1.0;
    }
    evidence
}

fn found(devices: &[Evidence]) -> Vec<usize> {
    // The parts of φ add up to 2 for every row, nearly.
    let constant = Array1::from_elem(DIRECTIONS, 0.5);
    let trimmed = Trimmed::new(devices, None)
        .unwrap()
        .of_classes(constant.view());
    let found = trimmed.agreement().unwrap();
    let found = found.into_iter().flat_map(|one| one.contradictions);
    found.map(|one| one.device).collect()
}

fn honest(seed: u64, devices: u64, classes: impl Fn(u64) -> Vec<usize>) -> Vec<Evidence> {
    (0..devices)
        .map(|at| {
            device(
                1_000 * seed + at,
                &classes(at),
                60 + 13 * at as usize,
                |class| class,
            )
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn honest_fleets_lose_nobody(seed in 0u64..10_000, devices in 2u64..24, spread in 1usize..5) {
        // From one class a device to all of them.
        let classes = |at: u64| (0..spread).map(|one| (at as usize + one) % CLASSES).collect();
        prop_assert_eq!(found(&honest(seed, devices, classes)), Vec::<usize>::new());
    }

    #[test]
    fn four_in_ten_that_shift_their_labels_are_found(
        seed in 0u64..10_000,
        devices in 8usize..24,
        lie in 1usize..4,
        boast in 1u8..3,
    ) {
        let mut all = honest(seed, devices as u64, |_| (0..CLASSES).collect());
        let liars = devices * 2 / 5;
        for (at, one) in all.iter_mut().enumerate().take(liars) {
            *one = device(seed + at as u64, &[0, 1, 2, 3], 100, |class| (class + lie) % CLASSES);
            one.gram *= f64::from(boast);
            one.cross *= f64::from(boast);
            one.target_square *= f64::from(boast);
        }
        prop_assert_eq!(found(&all), (0..liars).collect::<Vec<_>>());
    }
}

#[test]
fn a_class_of_its_own_is_no_contradiction() {
    let mut all = honest(5, 9, |_| vec![0, 1, 2]);
    all.push(device(77, &[3], 200, |class| class));
    all.push(device(78, &[0, 3], 200, |class| class));
    assert_eq!(found(&all), Vec::<usize>::new());
}

#[test]
fn who_has_the_rarer_of_two_mixed_classes_is_no_liar() {
    // Both classes lie everywhere; most devices have much of the first.
    let mixed = |every: u32, class: usize| {
        let rows = std::cell::Cell::new(0u32);
        move |_: usize| {
            rows.set(rows.get() + 1);
            class ^ usize::from(rows.get().is_multiple_of(every))
        }
    };
    for seed in 0..8 {
        let mut all: Vec<Evidence> = (0..6)
            .map(|at| device(100 * seed + at, &[0, 1, 2, 3], 100, mixed(9, 0)))
            .collect();
        all.push(device(100 * seed + 7, &[0, 1, 2, 3], 80, mixed(3, 1)));
        all.push(device(100 * seed + 8, &[0, 1, 2, 3], 90, mixed(9, 1)));
        assert_eq!(found(&all), Vec::<usize>::new(), "seed {seed}");
    }
}

#[test]
fn three_devices_have_no_liar() {
    let mut all = honest(6, 3, |_| vec![0, 1, 2, 3]);
    all[1] = device(80, &[0, 1, 2, 3], 100, |class| (class + 1) % CLASSES);
    assert_eq!(found(&all), Vec::<usize>::new());
}

#[test]
fn the_same_fleet_is_judged_the_same() {
    let mut all = honest(8, 12, |_| vec![0, 1, 2, 3]);
    all[4] = device(81, &[0, 1, 2, 3], 100, |class| 3 - class);
    assert_eq!(found(&all), found(&all));
    assert_eq!(found(&all), [4]);
}

/// The class after their own for two rows of five.
fn partly() -> impl Fn(usize) -> usize {
    let rows = std::cell::Cell::new(0u32);
    move |class| {
        rows.set(rows.get() + 1);
        (class + usize::from(rows.get() % 5 < 2)) % CLASSES
    }
}

#[test]
fn devices_that_lie_about_two_rows_of_five_are_found() {
    let mut all = honest(9, 16, |_| vec![0, 1, 2, 3]);
    for (seed, at) in [2, 7, 11, 14].into_iter().enumerate() {
        all[at] = device(90 + seed as u64, &[0, 1, 2, 3], 120, partly());
    }
    assert_eq!(found(&all), [2, 7, 11, 14]);
    // Where noise explains what a device has of its own, it is no reason.
    for at in [2, 7, 11, 14] {
        all[at].certainty = 0.3;
    }
    assert_eq!(found(&all), Vec::<usize>::new());
    // Labels that do worse than no answer are one all the same.
    all[7] = device(95, &[0, 1, 2, 3], 120, |class| (class + 1) % CLASSES);
    all[7].certainty = 0.3;
    assert_eq!(found(&all), [7]);
}
