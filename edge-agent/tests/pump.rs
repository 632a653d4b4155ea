//! Ten pumps that write the same rows in ten ways, one task, and five lines of
//! `[data]` at most for each.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use common::task::{RawTask, Task};
use edge_agent::config::{Config, Flags};
use edge_agent::data::{Dataset, Folder, FolderError, SplitRule};

const TASK: &str = r#"
name = "pump"
[input]
kind = "table"
columns = [
    { name = "flow", unit = "l/min" },
    { name = "pressure", unit = "bar" },
    { name = "temperature", unit = "°C" },
    "vibration",
]
[classes]
names = ["ok", "cavitating", "blocked"]
"#;

/// A reading of a pump.
#[derive(Clone, Copy)]
struct Reading {
    second: u32,
    values: [f64; 4],
    class: usize,
}

const CLASSES: [&str; 3] = ["ok", "cavitating", "blocked"];
const ROWS: u32 = 300;

/// Ten minutes of one class, then of the next; no two readings are alike.
fn readings() -> Vec<Reading> {
    let reading = |second: u32| {
        let class = (second / 50 % 3) as usize;
        let noise = |step: u32| f64::from(second * step % 997) / 997.0;
        let [flow, pressure, temperature, vibration] = [
            [90.0, 4.0, 41.0, 0.1],
            [60.0, 2.5, 44.0, 0.9],
            [12.0, 6.5, 52.0, 0.4],
        ][class];
        // What four decimals hold, as loggers write them.
        let round = |value: f64| (value * 1e4).round() / 1e4;
        Reading {
            second,
            values: [
                round(flow + 8.0 * noise(7)),
                round(pressure + noise(31)),
                round(temperature + 5.0 * noise(113)),
                round(vibration + 0.2 * noise(389)),
            ],
            class,
        }
    };
    (0..ROWS).map(reading).collect()
}

/// One way to write them: files, and what the owner says of them.
struct Device {
    name: &'static str,
    files: Vec<(&'static str, Vec<u8>)>,
    /// The lines under `[data]`.
    data: &'static str,
    /// What a look at the files without those lines says to add.
    without: Option<&'static str>,
    /// Rows that are lost because a cell is empty.
    lost: usize,
}

/// A table of a header and a line for each reading.
fn table(header: &str, line: impl Fn(&Reading) -> String) -> String {
    let lines: Vec<String> = readings().iter().map(line).collect();
    format!("{header}\n{}\n", lines.join("\n"))
}

fn plain() -> String {
    table("flow,pressure,temperature,vibration,label", |reading| {
        let [flow, pressure, temperature, vibration] = reading.values;
        let label = CLASSES[reading.class];
        format!("{flow},{pressure},{temperature},{vibration},{label}")
    })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn devices() -> Vec<Device> {
    let device = |name, files: Vec<(&'static str, Vec<u8>)>| Device {
        name,
        files,
        data: "",
        without: None,
        lost: 0,
    };
    let epoch_ms = |reading: &Reading| 1_795_983_215_000u64 + 1_000 * u64::from(reading.second);
    let clock = |reading: &Reading| {
        let (minute, second) = (reading.second / 60, reading.second % 60);
        format!("2026-11-29T20:{minute:02}:{second:02}Z")
    };
    let stamped = table(
        "timestamp,id,flow,pressure,temperature,vibration,label",
        |reading| {
            let [flow, pressure, temperature, vibration] = reading.values;
            let (time, label) = (clock(reading), CLASSES[reading.class]);
            let id = reading.second + 7;
            format!("{time},{id},{flow},{pressure},{temperature},{vibration},{label}")
        },
    );
    let gaps = table("flow,pressure,temperature,vibration,label", |reading| {
        let [flow, pressure, temperature, vibration] = reading.values;
        let label = CLASSES[reading.class];
        match reading.second % 50 {
            9 => format!(",{pressure},{temperature},{vibration},{label}"),
            19 => format!("{flow},{pressure},NaN,{vibration},{label}"),
            _ => format!("{flow},{pressure},{temperature},{vibration},{label}"),
        }
    });
    let semicolons = table("flow;pressure;temperature;vibration;label", |reading| {
        let cells = reading
            .values
            .map(|value| value.to_string().replace('.', ","));
        format!("{};{}", cells.join(";"), CLASSES[reading.class])
    });
    let reordered = table(
        "label,Vibration,TEMPERATURE,pressure (bar),flow [l/min]",
        |reading| {
            let [flow, pressure, temperature, vibration] = reading.values;
            let label = CLASSES[reading.class].to_uppercase();
            format!("{label},{vibration},{temperature},{pressure},{flow}")
        },
    );
    let other_units = table(
        "flow (m3/h),pressure (kPa),temperature,vibration,label",
        |reading| {
            let [flow, pressure, temperature, vibration] = reading.values;
            let (flow, pressure) = (flow * 0.06, pressure * 100.0);
            let label = CLASSES[reading.class];
            format!("{flow:.6},{pressure:.4},{temperature},{vibration},{label}")
        },
    );
    // Fifty lines a second, and a number for each state.
    let mut long = "t;Q;p;T;a;state\n".to_owned();
    for reading in readings() {
        let [flow, pressure, temperature, vibration] = reading.values;
        let state = reading.class + 1;
        for step in 0..50 {
            let time = epoch_ms(&reading) + 20 * step;
            writeln!(
                long,
                "{time};{flow};{pressure};{temperature};{vibration};{state}"
            )
            .unwrap();
        }
    }
    let text = plain();
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let unlabelled = table("when\tflow\tpressure\ttemperature\tvibration", |reading| {
        let [flow, pressure, temperature, vibration] = reading.values;
        format!(
            "{}\t{flow}\t{pressure}\t{temperature}\t{vibration}",
            epoch_ms(reading)
        )
    });
    let mut intervals = "start,end,label\n".to_owned();
    for block in 0..ROWS / 50 {
        let at = |block: u32| 1_795_983_215_000u64 + 50_000 * u64::from(block);
        let label = CLASSES[(block % 3) as usize];
        writeln!(intervals, "{},{},{label}", at(block), at(block + 1)).unwrap();
    }
    vec![
        device("plain", vec![("a.csv", plain().into_bytes())]),
        device(
            "timestamps and numbers of rows",
            vec![("a.csv", stamped.into_bytes())],
        ),
        Device {
            data: "bad_rows = \"skip\"",
            without: Some("bad_rows = \"skip\""),
            lost: 12,
            ..device("empty cells", vec![("a.csv", gaps.into_bytes())])
        },
        device("decimal commas", vec![("a.csv", semicolons.into_bytes())]),
        device("another order", vec![("a.csv", reordered.into_bytes())]),
        Device {
            data: "columns.flow = { from = \"flow (m3/h)\", unit = \"m3/h\" }\n\
                   columns.pressure = { from = \"pressure (kPa)\", unit = \"kPa\" }",
            without: Some("columns.flow = { from = \"flow (m3/h)\", unit = \"m3/h\" }"),
            ..device("other units", vec![("a.csv", other_units.into_bytes())])
        },
        Device {
            data: "label_column = \"state\"\n\
                   labels = { 1 = \"ok\", 2 = \"cavitating\", 3 = \"blocked\" }\n\
                   columns = { flow = { from = \"Q\" }, pressure = { from = \"p\" }, \
                   temperature = { from = \"T\" }, vibration = { from = \"a\" } }",
            without: Some("label_column ="),
            ..device("a long recording", vec![("a.csv", long.into_bytes())])
        },
        device(
            "a mark before the first byte",
            vec![("a.csv", [b"\xef\xbb\xbf", plain().as_bytes()].concat())],
        ),
        Device {
            data: "files = [\"**/*.csv.gz\"]",
            without: Some("files = [\"**/*.csv.gz\"]"),
            ..device(
                "packed, in folders inside",
                vec![("2026/11/a.csv.gz", gzip(&wide))],
            )
        },
        Device {
            data: "time_column = \"when\"\nlabels_file = \"labels.txt\"",
            without: Some("labels_file ="),
            ..device(
                "intervals",
                vec![
                    ("a.tsv", unlabelled.into_bytes()),
                    ("labels.txt", intervals.into_bytes()),
                ],
            )
        },
    ]
}

/// What an agent with these lines reads of a folder.
fn read(folder: &Path, data: &str, task: &Task) -> Result<(Dataset, usize), FolderError> {
    let file = folder.with_extension("toml");
    fs::write(&file, format!("[data]\n{data}\n")).unwrap();
    let flags = Flags {
        config: Some(file),
        ..Flags::default()
    };
    let config = Config::load(&flags, &|_| None).unwrap();
    let mut folder = Folder::new(folder, config.reading().schema(task).unwrap());
    let refused = folder.scan()?.quarantined.len();
    let rule = SplitRule {
        one_in: 0,
        ..SplitRule::default()
    };
    let split = folder.into_split(rule).without_copies();
    Ok((split.training, refused))
}

#[test]
fn every_pump_format_gives_the_same_rows() {
    let task = RawTask::parse(TASK).unwrap();
    let root = tempfile::tempdir().unwrap();
    for (number, device) in devices().into_iter().enumerate() {
        let name = device.name;
        assert!(device.data.lines().count() <= 5, "{name}");
        let folder = root.path().join(format!("pump-{number}"));
        for (file, bytes) in &device.files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let (rows, refused) = read(&folder, device.data, &task).unwrap();
        assert_eq!(
            (rows.rows(), refused),
            (ROWS as usize - device.lost, 0),
            "{name}"
        );
        let kept = readings()
            .into_iter()
            .filter(|reading| device.lost == 0 || ![9, 19].contains(&(reading.second % 50)));
        let inputs = rows.inputs();
        let found = inputs.rows().into_iter().zip(rows.labels());
        for ((found, label), reading) in found.zip(kept) {
            assert_eq!(*label, Some(reading.class as u16), "{name}");
            for (found, expected) in found.iter().zip(reading.values) {
                let off = (f64::from(*found) - expected).abs();
                assert!(
                    off < 1e-4 * expected.abs().max(1.0),
                    "{name}: {found}, not {expected}"
                );
            }
        }
        match (read(&folder, "", &task), device.without) {
            (Ok((rows, 0)), None) => assert_eq!(rows.rows(), ROWS as usize, "{name}"),
            (
                Err(FolderError::NoRows {
                    reason,
                    quarantined,
                    ..
                }),
                Some(line),
            ) => {
                assert!(reason.contains(line), "{name}: {reason}");
                assert!(quarantined.len() <= 1, "{name}: one message, not several");
            }
            (other, line) => panic!("{name}: {other:?}, where {line:?} is to be said"),
        }
    }
}

/// The same files for a task that takes its inputs by place: nothing of them
/// is believed that stands in another order.
#[test]
fn a_task_of_named_values_reads_by_name_too() {
    let task = TASK.split("[classes]").last().unwrap();
    let names =
        "[input]\nshape = [4]\nnames = [\"flow\", \"pressure\", \"temperature\", \"vibration\"]";
    let task = RawTask::parse(&format!("name = \"pump\"\n{names}\n[classes]{task}")).unwrap();
    let root = tempfile::tempdir().unwrap();
    let read_of = |number: usize| {
        let device = &devices()[number];
        let folder = root.path().join(format!("pump-{number}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.csv"), &device.files[0].1).unwrap();
        read(&folder, "", &task).unwrap().0
    };
    let (plain, reordered) = (read_of(0), read_of(4));
    assert_eq!(plain, reordered);
}
