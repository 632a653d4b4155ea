#![allow(clippy::unwrap_used)]
use super::*;

const RULE: SplitRule = SplitRule {
    one_in: 10,
    first_one_in: 5,
    block_rows: 10,
    guard_rows: 1,
};

#[test]
fn rows_that_a_model_labels_stand_for_unlabelled_ones() {
    let sample = StandsFor {
        labels: BTreeMap::from([(None, (900, 300)), (Some(1), (40, 20))]),
        uniform_below: 0,
    };
    assert_eq!(sample.told(Some(0), 50), 150);
    assert_eq!(sample.told(Some(1), 10), 20);
    assert_eq!(sample.told(None, 10), 30);
}

/// Row `at` of a stream of two classes, of which the second has one row in
/// fifty.
fn row(at: usize) -> ([f32; 2], Option<u16>) {
    let class = u16::from(at.is_multiple_of(50));
    ([at as f32, (at * 7 % 1000) as f32], Some(class))
}

fn sample(rows: impl Iterator<Item = usize>, rows_max: usize) -> Dataset {
    let mut kept = Kept::new(2, 0, rows_max, RULE);
    for at in rows {
        let (values, label) = row(at);
        kept.push(values.into_iter(), label, &[]);
    }
    kept.finish().unwrap()
}

fn training(data: &Dataset) -> Vec<f32> {
    let sides = data.sample.as_ref().unwrap().sides();
    let inputs = data.inputs();
    let rows = sides.zip(inputs.column(0));
    let rows = rows.filter(|(side, _)| *side == Side::Training);
    rows.map(|(_, &first)| first).collect::<Vec<f32>>()
}

#[test]
fn few_rows_are_all_held() {
    let data = sample(0..400, 400);
    assert_eq!((data.rows(), data.sample.is_none()), (400, true));
}

#[test]
fn many_rows_become_a_sample_that_counts_them_all() {
    let data = sample(0..50_000, 1_000);
    assert!((990..=1_000).contains(&data.rows()), "{}", data.rows());
    assert_eq!(data.sample.as_ref().unwrap().read(), 50_000);
    let training = stands_for([&data].into_iter(), Side::Training).unwrap();
    let held_out = stands_for([&data].into_iter(), Side::HeldOut).unwrap();
    let sides = SplitRule::rows(&RULE, &whole(50_000));
    assert_eq!(training.rows(), sides.training.len() as u64);
    assert_eq!(held_out.rows(), sides.held_out.len() as u64);
    // The rare class has a quarter of an even share and not one in fifty.
    let counts = data.class_counts(2);
    assert!(counts[1] >= 100, "{counts:?}");
    let rows = held(&data, 1);
    let rare = sides.training.iter().filter(|at| *at % 50 == 0).count();
    assert_eq!(training.told(Some(1), rows), rare as u64);
}

fn held(data: &Dataset, class: u16) -> u64 {
    let sides = data.sample.as_ref().unwrap().sides().zip(data.labels());
    sides
        .filter(|(side, label)| *side == Side::Training && **label == Some(class))
        .count() as u64
}

fn whole(rows: usize) -> Dataset {
    sample(0..rows, rows)
}

#[test]
fn the_sample_does_not_depend_on_how_rows_come() {
    // One side only: which rows are held out depends on their places.
    let all = SplitRule { one_in: 0, ..RULE };
    let sample = |rows: &mut dyn Iterator<Item = usize>| {
        let mut kept = Kept::new(2, 0, 500, all);
        rows.for_each(|at| {
            let (values, label) = row(at);
            kept.push(values.into_iter(), label, &[]);
        });
        kept.finish().unwrap()
    };
    let mut forward = training(&sample(&mut (0..9_000)));
    let mut backward = training(&sample(&mut (0..9_000).rev()));
    let parts = [0..2_000, 2_000..2_050, 2_050..9_000];
    let parts = parts.map(|mut part| sample(&mut part));
    let parts = sampled_together(parts.into(), 500, all);
    let mut joined: Vec<f32> = parts.iter().flat_map(training).collect();
    for rows in [&mut forward, &mut backward, &mut joined] {
        rows.sort_by(f32::total_cmp);
    }
    assert_eq!(forward, backward);
    assert_eq!(forward, joined);
    let told = stands_for(parts.iter(), Side::Training).unwrap();
    assert_eq!(told.rows(), 9_000);
}

#[test]
fn copies_are_one_row_and_lower_the_count() {
    let twice = (0..40_000).map(|at| at / 2);
    let all = SplitRule { one_in: 0, ..RULE };
    let mut kept = Kept::new(2, 0, 800, all);
    for at in twice {
        let (values, label) = row(at);
        kept.push(values.into_iter(), label, &[]);
    }
    let data = kept.finish().unwrap();
    let mut rows = training(&data);
    rows.sort_by(f32::total_cmp);
    rows.dedup();
    assert_eq!(rows.len(), data.rows());
    let told = stands_for([&data].into_iter(), Side::Training).unwrap();
    assert_eq!(told.told(Some(0), held(&data, 0)), 19_600);
}

#[test]
fn the_uniform_part_has_every_class_in_proportion() {
    let data = sample(0..60_000, 2_000);
    let told = stands_for([&data].into_iter(), Side::Training).unwrap();
    let inputs = data.inputs();
    let rows = inputs.rows().into_iter().zip(data.labels());
    let uniform: Vec<_> = rows
        .filter(|(row, _)| told.is_uniform(row.iter().copied()))
        .collect();
    let rare = uniform
        .iter()
        .filter(|(_, label)| **label == Some(1))
        .count();
    let share = rare as f64 / uniform.len() as f64;
    assert!((0.008..0.035).contains(&share), "{share}");
    let mean = uniform
        .iter()
        .map(|(row, _)| f64::from(row[0]))
        .sum::<f64>();
    let mean = mean / uniform.len() as f64;
    // Four standard errors of a uniform sample.
    assert!((mean - 30_000.0).abs() < 4.0 * 17_320.0 / (uniform.len() as f64).sqrt());
}
