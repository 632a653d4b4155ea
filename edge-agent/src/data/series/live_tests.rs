//! A stream is cut as the same recording is once it is whole.
#![allow(clippy::unwrap_used)]

use std::io;
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::super::schema::Schema;
use super::super::source::Mapping;
use super::super::{LiveEvent, LiveInput, follow_lines, follow_rows};
use super::tests::{grouped, read, schema, text};

/// What a stream of these lines brings, and what it leaves out.
fn followed(text: &str, schema: &Schema) -> (Vec<LiveInput>, usize) {
    let mut lines = text.split_inclusive('\n');
    let (mut inputs, mut bad) = (Vec::new(), 0);
    let schema = schema.clone().with_optional_labels();
    follow_lines(
        &mut || Ok::<_, io::Error>(lines.next().map(|line| line.as_bytes().to_vec())),
        &schema,
        &mut |event| {
            match event {
                LiveEvent::Input(input) => inputs.push(input),
                LiveEvent::Bad(_) => bad += 1,
                LiveEvent::Unreadable(error) => panic!("{error}"),
                LiveEvent::Note(_) => {}
            }
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    (inputs, bad)
}

fn values(inputs: &[LiveInput]) -> Vec<&[f32]> {
    inputs.iter().map(|input| &input.values[..]).collect()
}

#[test]
fn windows_of_a_stream_are_those_of_the_recording() {
    let schema = schema("");
    let text = text((0..105).map(|at| (f64::from(at) / 10.0, "on", "a")));
    let whole = read(&text, &schema).unwrap();
    let (inputs, bad) = followed(&text, &schema);
    assert_eq!((inputs.len(), bad), (4, 0));
    let rows = whole.data.inputs();
    let rows: Vec<&[f32]> = rows
        .rows()
        .into_iter()
        .map(|row| row.to_slice().unwrap())
        .collect();
    assert_eq!(values(&inputs), rows);
    // The first window is whole with its 40th sample, on the 41st line.
    assert_eq!(inputs[0].line, 41);
    assert_eq!(inputs[1].span, Some((2_000_000_000, 5_900_000_000)));
}

#[test]
fn groups_and_gaps_part_a_stream_like_a_recording() {
    let schema = schema("").with_mapping(grouped(Mapping::default()));
    let samples = (0..200).flat_map(|at| {
        // A gap of three seconds after the hundredth sample.
        let time = f64::from(at) / 10.0 + if at >= 100 { 3.0 } else { 0.0 };
        [(time, "on", "a"), (time, "off", "b")]
    });
    let text = text(samples);
    let whole = read(&text, &schema).unwrap();
    let (inputs, _) = followed(&text, &schema);
    assert_eq!(inputs.len(), whole.data.rows());
    for group in ["a", "b"] {
        let own: Vec<i64> = inputs
            .iter()
            .filter(|input| input.group == group)
            .map(|input| (input.values[0] * 5.0).round() as i64)
            .collect();
        assert_eq!(own, [0, 20, 40, 60, 130, 150, 170, 190], "{group}");
    }
    let broken = text.replacen("\n0.5000,a,1,", "\n0.5000,a,what,", 1);
    assert_ne!(broken, text);
    let (again, bad) = followed(&broken, &schema);
    assert_eq!((again.len(), bad), (inputs.len(), 1));
}

#[test]
fn a_slow_recording_is_reported() {
    let schema = schema("");
    let slow = text((0..60).map(|at| (f64::from(at), "on", "a")));
    let (inputs, bad) = followed(&slow, &schema);
    assert!(inputs.is_empty() && bad > 0);
    let (inputs, bad) = followed("time,machine,x,y,label\n", &schema);
    assert!(inputs.is_empty() && bad == 0);
}

#[test]
fn windows_begin_once_all_columns_are_known() {
    let schema = schema("").with_optional_labels();
    let mut at = 0;
    let mut next = || {
        at += 1;
        let mut cells = vec![("time", format!("{}", 1000.0 + f64::from(at) / 10.0))];
        cells.push(("x", at.to_string()));
        if at > 1 {
            cells.push(("y", "0.5".to_owned()));
        }
        cells.push(("topic", "pump".to_owned()));
        let row = cells
            .into_iter()
            .map(|(name, cell)| (name.to_owned(), cell));
        Ok((at <= 42).then(|| row.collect()))
    };
    let (mut inputs, mut bad) = (Vec::new(), 0);
    let mut tell = |event| {
        match event {
            LiveEvent::Input(input) => inputs.push(input),
            LiveEvent::Bad(_) => bad += 1,
            LiveEvent::Unreadable(_) | LiveEvent::Note(_) => {}
        }
        ControlFlow::Continue(())
    };
    follow_rows(&mut next, &schema, &mut tell).unwrap();
    assert_eq!((inputs.len(), bad), (1, 1));
    assert_eq!(inputs[0].values[..4], [2.0, 0.5, 3.0, 0.5]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// At another rate a window lacks only what comes after its end.
    #[test]
    fn a_faster_stream_gives_the_same_windows(
        rate in 12.0f64..60.0,
        jitter in 0.0f64..0.2,
    ) {
        let schema = schema("");
        let samples = (0..(20.0 * rate) as u32).map(|at| {
            let off = if at % 2 == 0 { jitter } else { -jitter };
            ((f64::from(at) + off).max(0.0) / rate, "on", "a")
        });
        let text = text(samples);
        let whole = read(&text, &schema).unwrap();
        let (inputs, _) = followed(&text, &schema);
        let rows = whole.data.inputs();
        prop_assert!(inputs.len() >= rows.nrows() - 1, "{} {}", inputs.len(), rows.nrows());
        for (input, row) in inputs.iter().zip(rows.rows()) {
            // The last second is where the filter looks ahead.
            for sample in 0..25 {
                let (own, there) = (input.values[2 * sample + 1], row[2 * sample + 1]);
                prop_assert!((own - there).abs() < 0.05, "sample {}: {} and {}", sample, own, there);
            }
        }
    }
}
