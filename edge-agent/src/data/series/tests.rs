#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;

use common::task::RawTask;
use proptest::prelude::*;

use super::super::schema::Schema;
use super::super::source::{Mapping, TimeFormat};
use super::super::{Dataset, Ending, FileRows, ParseError};
use super::*;

/// Windows of 40 samples at 10 samples a second, a new one every 20.
pub(super) fn schema(more: &str) -> Schema {
    let task = RawTask::parse(&format!(
        "name = \"t\"\n[classes]\nnames = [\"off\", \"on\"]\n[input]\nkind = \"series\"\n\
         channels = [\"x\", \"y\"]\nrate_hz = 10\nwindow_s = 4\n{more}"
    ));
    let task = task.unwrap();
    let classes = task.definition().classes.clone();
    let schema = Schema::new(task.input_shape().clone(), classes).unwrap();
    schema.with_input(task.input().clone())
}

/// A recording as text: the time of each sample, its label and its group.
pub(super) fn text(samples: impl Iterator<Item = (f64, &'static str, &'static str)>) -> String {
    let mut text = "time,machine,x,y,label\n".to_owned();
    for (time, label, group) in samples {
        writeln!(
            text,
            "{time:.4},{group},{},{},{label}",
            time * 2.0,
            (time * 0.7).sin()
        )
        .unwrap();
    }
    text
}

pub(super) fn read(text: &str, schema: &Schema) -> Result<FileRows, ParseError> {
    Dataset::read(Path::new("a.csv"), text.as_bytes(), schema, Ending::Closed)
}

pub(super) fn grouped(mapping: Mapping) -> Mapping {
    Mapping {
        group_column: Some("machine".to_owned()),
        ..mapping
    }
}

/// Where each window starts, from its first channel.
fn starts(found: &FileRows) -> Vec<i64> {
    let rows = found.data.inputs();
    rows.rows()
        .into_iter()
        .map(|row| (row[0] * 5.0).round() as i64)
        .collect()
}

#[test]
fn a_recording_is_cut_from_its_start_on() {
    let found = read(
        &text((0..105).map(|at| (f64::from(at) / 10.0, "on", "a"))),
        &schema(""),
    );
    let found = found.unwrap();
    assert_eq!(starts(&found), [0, 20, 40, 60]);
    assert_eq!(found.data.labels(), [Some(1); 4]);
    let window = found.data.inputs().row(1).to_vec();
    let expected = (20..60).flat_map(|at| {
        let time = f64::from(at) / 10.0;
        [(time * 2.0) as f32, (time * 0.7).sin() as f32]
    });
    assert!(
        window
            .iter()
            .zip(expected)
            .all(|(one, other)| (one - other).abs() < 1e-5)
    );
    assert_eq!(found.account.unused[&Unused::Rest].0, 5);
    assert_eq!((found.account.rows, found.account.used), (105, 4));
}

#[test]
fn no_window_reaches_across_a_gap_a_group_or_a_label() {
    let time = |at: i32| f64::from(at) / 10.0;
    // 60 samples, a gap of a second, 60 more.
    let gap = text((0..120).map(|at| (time(at) + if at < 60 { 0.0 } else { 1.0 }, "on", "a")));
    let found = read(&gap, &schema("")).unwrap();
    assert_eq!(starts(&found), [0, 20, 70, 90]);
    let recordings = found.account.recordings.unwrap();
    assert_eq!((recordings.stretches, recordings.gaps), (2, 1));
    assert!((recordings.gap_s - 1.1).abs() < 1e-9);

    // Two machines that take turns, of one time.
    let turns = (0..120).map(|at| (time(at / 2), "on", if at % 2 == 0 { "a" } else { "b" }));
    let own = schema("").with_mapping(grouped(Mapping::default()));
    assert_eq!(starts(&read(&text(turns), &own).unwrap()), [0, 20, 0, 20]);

    let label = text((0..130).map(|at| (time(at), if at < 65 { "off" } else { "on" }, "a")));
    let found = read(&label, &schema("")).unwrap();
    assert_eq!(starts(&found), [0, 20, 65, 85]);
    assert_eq!(found.data.labels(), [Some(0), Some(0), Some(1), Some(1)]);
    let found = read(&label, &schema("label_share = 0.6")).unwrap();
    assert_eq!(starts(&found), [0, 20, 40, 60, 80]);
    assert_eq!(
        found.data.labels(),
        [Some(0), Some(0), Some(0), Some(1), Some(1)]
    );
    let found = read(&label, &schema("label_share = 0.9")).unwrap();
    assert_eq!(starts(&found), [0, 20, 80]);
    assert_eq!(found.account.unused[&Unused::MixedLabels].0, 2);
}

#[test]
fn jittered_samples_are_put_on_the_grid() {
    let jitter = |at: i32| f64::from((at * 7919) % 13 - 6) * 0.003;
    let kept = (0..100).filter(|at| at % 17 != 5);
    let samples = kept.map(|at| {
        (
            f64::from(at) / 10.0 + if at > 0 { jitter(at) } else { 0.0 },
            "on",
            "a",
        )
    });
    let found = read(&text(samples), &schema("")).unwrap();
    assert_eq!(found.data.rows(), 4);
    for (row, start) in found.data.inputs().rows().into_iter().zip([0, 20, 40, 60]) {
        for (at, pair) in row.to_vec().chunks(2).enumerate() {
            let time = (start + at) as f32 / 10.0;
            assert!((pair[0] - 2.0 * time).abs() < 0.12, "{pair:?} at {time}");
        }
    }
    let twice = text((0..80).map(|at| (f64::from(at / 2) / 10.0, "on", "a")));
    let found = read(&twice, &schema("")).unwrap();
    assert_eq!(
        (
            found.data.rows(),
            found.account.unused[&Unused::TimeAgain].0
        ),
        (1, 40)
    );
}

#[test]
fn another_rate_is_resampled_and_half_of_it_is_refused() {
    let at = |rate: f64| move |at: i32| (f64::from(at) / rate, "on", "a");
    let fast = read(&text((0..1000).map(at(100.0))), &schema("")).unwrap();
    assert_eq!(starts(&fast), [0, 20, 40, 60]);
    let recordings = fast.account.recordings.unwrap();
    assert!((recordings.rate_hz - 100.0).abs() < 1e-6);
    let slower = read(&text((0..80).map(at(8.0))), &schema("")).unwrap();
    assert!(
        slower
            .notes
            .iter()
            .any(|note| matches!(note, Note::Slower { .. }))
    );
    assert_eq!(slower.data.rows(), 4);
    let slow = read(&text((0..60).map(at(4.0))), &schema(""));
    assert!(matches!(slow, Err(ParseError::Rate { .. })), "{slow:?}");
}

#[test]
fn a_stray_stretch_costs_itself() {
    // Two samples at a third of the rate, a gap, and 105 good ones.
    let stray = [(0.0, "on", "a"), (0.3, "on", "a")];
    let good = || (0..105).map(|at| (60.0 + f64::from(at) / 10.0, "on", "a"));
    let found = read(&text(stray.into_iter().chain(good())), &schema("")).unwrap();
    assert_eq!(found.data.rows(), 4);
    assert_eq!(found.account.unused[&Unused::Rest].0, 2 + 5);
    assert!((found.account.recordings.unwrap().rate_hz - 10.0).abs() < 1e-6);
    // Thirty seconds of it are told as what they are.
    let slow = (0..90).map(|at| (f64::from(at) / 3.0, "on", "a"));
    let found = read(&text(slow.chain(good())), &schema("gap_s = 20")).unwrap();
    assert_eq!(found.data.rows(), 4);
    assert_eq!(found.account.unused[&Unused::Slow].0, 90);
}

#[test]
fn newest_first_is_read_from_its_end_on() {
    let at = |at: i32| {
        (
            f64::from(at) / 10.0,
            if at < 65 { "off" } else { "on" },
            "a",
        )
    };
    let rising = read(&text((0..130).map(at)), &schema("")).unwrap();
    let falling = read(&text((0..130).rev().map(at)), &schema("")).unwrap();
    assert_eq!(falling.data, rising.data);
    assert!(falling.notes.contains(&Note::NewestFirst));
    assert!(!rising.notes.contains(&Note::NewestFirst));
    // Two files that were joined: not strictly so.
    let twice = (0..65).rev().chain((65..130).rev()).map(at);
    let twice = read(&text(twice), &schema(""));
    assert_eq!(twice.unwrap_err(), ParseError::TimesFall);
}

#[test]
fn whole_seconds_are_spread_where_the_rate_is_told() {
    let mut written = "time,x,y,label\n".to_owned();
    for at in 0..105 {
        writeln!(written, "2026-11-29T10:00:{:02}Z,{at},0,on", at / 10).unwrap();
    }
    let refused = read(&written, &schema("")).unwrap_err();
    assert!(
        refused.to_string().contains("have no fraction"),
        "{refused}"
    );
    assert_eq!(refused.mend().unwrap(), "rate_hz = 10");
    let mapping = Mapping {
        time_column: Some("time".to_owned()),
        rate_hz: Some(10.0),
        ..Mapping::default()
    };
    let found = read(&written, &schema("").with_mapping(mapping)).unwrap();
    let inputs = found.data.inputs();
    let starts: Vec<f32> = inputs
        .rows()
        .into_iter()
        .map(|row| row[0].round())
        .collect();
    assert_eq!(starts, [0.0, 20.0, 40.0, 60.0]);
    assert_eq!(found.account.unused[&Unused::Rest].0, 5);
}

#[test]
fn a_date_and_a_time_of_day_are_one_time() {
    let table = |header: &str| {
        let mut written = format!("{header},x,y,label\n");
        for at in 0..105 {
            let seconds = 55.0 + f64::from(at) / 10.0;
            let written_at = match seconds < 60.0 {
                true => format!("29.11.2026,23:59:{seconds:04.1}"),
                false => format!("30.11.2026,00:00:{:04.1}", seconds - 60.0),
            };
            writeln!(written, "{written_at},{at},0,on").unwrap();
        }
        written
    };
    let found = read(&table("date,time"), &schema("")).unwrap();
    assert_eq!(found.data.rows(), 4);
    let told: Vec<String> = found.notes.iter().map(ToString::to_string).collect();
    assert!(
        told[0].contains("columns \"date\" and \"time\""),
        "{told:?}"
    );
    let refused = read(&table("on,time"), &schema("")).unwrap_err();
    assert!(refused.to_string().contains("without a date"), "{refused}");
    assert_eq!(refused.mend().unwrap(), "time_column = [\"…\", \"time\"]");
    let mapping = Mapping {
        time_column: Some("on".to_owned()),
        clock_column: Some("time".to_owned()),
        ..Mapping::default()
    };
    let named = read(&table("on,time"), &schema("").with_mapping(mapping)).unwrap();
    assert_eq!(named.data, found.data);
}

#[test]
fn times_that_change_their_unit_are_named() {
    let mut written = "time,x,y,label\n".to_owned();
    for at in 0..100u64 {
        writeln!(written, "{},1,2,on", 1_795_983_215_000 + 100 * at).unwrap();
    }
    writeln!(written, "1795983225.0,1,2,on\n1795983225.1,1,2,on").unwrap();
    let refused = read(&written, &schema("")).unwrap_err().to_string();
    assert!(
        refused.starts_with("line 102, column \"time\""),
        "{refused}"
    );
    assert!(refused.contains("another unit"), "{refused}");
    let mut days = "time,x,y,label\n".to_owned();
    for at in 0..100 {
        writeln!(
            days,
            "{:.9},1,2,on",
            2_461_373.5 + f64::from(at) / 864_000.0
        )
        .unwrap();
    }
    let found = read(&days, &schema("")).unwrap();
    assert_eq!(found.data.rows(), 0);
    let told: Vec<String> = found.notes.iter().map(ToString::to_string).collect();
    assert!(
        told.iter().any(|note| note.contains("Julian days")),
        "{told:?}"
    );
}

#[test]
fn an_empty_time_costs_its_row_where_bad_rows_do() {
    let whole = text((0..45).map(|at| (f64::from(at) / 10.0, "on", "a")));
    let torn = whole.replace("\n1.5000,", "\n,");
    let refused = read(&torn, &schema("")).unwrap_err();
    assert_eq!(refused.mend().unwrap(), "bad_rows = \"skip\"");
    let mapping = Mapping {
        bad_rows: super::super::BadRows::Skip,
        ..Mapping::default()
    };
    let found = read(&torn, &schema("").with_mapping(mapping)).unwrap();
    assert_eq!(found.account.unused[&Unused::Missing].0, 1);
    assert_eq!(found.data.rows(), 1);
}

#[test]
fn without_times_rows_follow_one_another_at_a_rate() {
    let mut text = "x,y,label\n".to_owned();
    for at in 0..200 {
        writeln!(text, "{},{},on", f64::from(at) / 10.0, at).unwrap();
    }
    assert_eq!(read(&text, &schema("")).unwrap().data.rows(), 9);
    let told = Mapping {
        rate_hz: Some(20.0),
        ..Mapping::default()
    };
    assert_eq!(
        read(&text, &schema("").with_mapping(told))
            .unwrap()
            .data
            .rows(),
        4
    );
    // Four rows that cannot be read are a gap; the samples stay where they are.
    let torn = text.replace(
        "\n10,100,on\n10.1,101,on\n10.2,102,on\n10.3,103,on\n",
        "\n,,\n,,\n,,\n,,\n",
    );
    let found = read(&torn, &schema("")).unwrap();
    assert_eq!(found.account.unused[&Unused::Missing].0, 4);
    let inputs = found.data.inputs();
    let starts = inputs.rows().into_iter().map(|row| row[1].round() as i64);
    let starts: Vec<i64> = starts.collect();
    assert_eq!(starts, [0, 20, 40, 60, 104, 124, 144]);
}

#[test]
fn labels_may_stand_in_a_file_of_intervals() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = "t;x;y\n".to_owned();
    for at in 0..200 {
        writeln!(rows, "{};{at};0", 1_795_983_215_000i64 + 100 * at).unwrap();
    }
    std::fs::write(folder.path().join("a.csv"), rows).unwrap();
    let labels = "start,end,label\n2026-11-29T20:13:35Z,2026-11-29T20:13:41Z,OFF\n\
                  2026-11-29T20:13:41Z,2026-11-29T20:13:51Z,on\n";
    std::fs::write(folder.path().join("labels.csv"), labels).unwrap();
    let mapping = Mapping {
        time_column: Some("t".to_owned()),
        labels_file: Some("labels.csv".to_owned()),
        ..Mapping::default()
    };
    let own = schema("").with_mapping(mapping);
    let mut read = super::super::Folder::new(folder.path(), own);
    let scan = read.scan().unwrap();
    assert_eq!(scan.files.len(), 1, "labels are no rows");
    let data = read.dataset();
    assert_eq!(data.labels()[..2], [Some(0); 2]);
    assert_eq!(data.labels()[2..6], [Some(1); 4]);
    assert_eq!(data.labels()[6..], [None], "what no interval covers");
    // A label that is corrected later counts as corrected.
    std::fs::write(
        folder.path().join("labels.csv"),
        labels.replace(",OFF", ",on"),
    )
    .unwrap();
    assert!(read.scan().unwrap().changed);
    assert_eq!(read.dataset().labels()[..2], [Some(1); 2]);
}

proptest! {
    #[test]
    fn any_times_are_answered_and_windows_are_whole(
        times in prop::collection::vec((any::<i64>(), 0u8..3, 0u8..3), 0..200),
        small in prop::collection::vec((0i64..30_000_000_000, 0u8..3, 0u8..2), 0..400),
        share in 0.51f64..1.0,
    ) {
        for times in [times, small] {
            let mut text = "t,machine,x,y,label\n".to_owned();
            for (time, label, group) in &times {
                let label = ["off", "on", ""][usize::from(*label)];
                writeln!(text, "{time},{group},1,2,{label}").unwrap();
            }
            let mapping = grouped(Mapping {
                time_column: Some("t".to_owned()),
                time_format: TimeFormat::Nanoseconds,
                ..Mapping::default()
            });
            let own = schema(&format!("label_share = {share}")).with_values_max(80_000);
            match read(&text, &own.with_mapping(mapping)) {
                Ok(found) => {
                    let flat = found.data.inputs().iter().enumerate().all(|(at, &value)| {
                        (value - [1.0, 2.0][at % 2]).abs() < 1e-4
                    });
                    prop_assert!(flat);
                    prop_assert_eq!(found.data.rows(), found.account.used);
                }
                Err(error) => prop_assert!(matches!(error, ParseError::Rate { .. } | ParseError::Size { .. } | ParseError::TimesFall | ParseError::CoarseTimes { .. } | ParseError::At { .. }), "{error}"),
            }
        }
    }
}

#[test]
fn a_time_column_of_another_name_is_asked_for() {
    let timed = text((0..90).map(|at| (f64::from(at) / 20.0, "on", "a")));
    let notes = |text: &str, mapping: Mapping| {
        let found = read(text, &schema("").with_mapping(mapping)).unwrap();
        let is_told = |note: &&Note| matches!(note, Note::NoTimeColumn { .. });
        found.notes.iter().find(is_told).map(ToString::to_string)
    };
    assert_eq!(notes(&timed, Mapping::default()), None);
    for name in ["t", "Zeit", "t [s]"] {
        let told = notes(&timed.replacen("time", name, 1), Mapping::default()).unwrap();
        assert!(told.contains("the task's 10 a second"), "{told}");
        assert!(told.contains("data.time_column"), "{told}");
        assert!(told.contains(&format!("column {name:?}")), "{told}");
        let named = Mapping {
            time_column: Some(name.to_owned()),
            ..Mapping::default()
        };
        assert_eq!(notes(&timed.replacen("time", name, 1), named), None);
    }
    let rated = Mapping {
        rate_hz: Some(20.0),
        ..Mapping::default()
    };
    assert_eq!(notes(&timed.replacen("time", "t", 1), rated), None);
    // Dates of its own form, and nothing that goes up.
    let mut own = "at,x,y,label\n".to_owned();
    let mut none = "x,y,label\n".to_owned();
    for at in 0..90 {
        writeln!(own, "01.12.2026 10:{:02}:{:02},1,{at},on", at / 60, at % 60).unwrap();
        writeln!(none, "1,{at},on").unwrap();
    }
    let told = notes(&own, Mapping::default()).unwrap();
    assert!(told.contains("column \"at\""), "{told}");
    let told = notes(&none, Mapping::default()).unwrap();
    assert!(!told.contains("increases"), "{told}");
}
