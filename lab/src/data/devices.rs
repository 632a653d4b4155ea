//! A data set out of the folders of devices, read as their agents would.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::{Array2, Axis, concatenate};

use common::task::{RawTask, Task};
use edge_agent::config::{Config, Flags};
use edge_agent::data::{Dataset as Rows, Folder, SplitRule};

use super::dataset::{Dataset, DatasetError, Part, image_range, sane};

/// The task file in the folder of all devices.
const TASK: &str = "task.toml";
/// The configuration of an agent, in a device's folder or in that of all.
const AGENT: &str = "agent.toml";
/// The folder whose rows nobody learns from.
const TEST: &str = "test";

impl Dataset {
    /// A folder with `task.toml` and a folder for each device, whose files are
    /// read as an agent reads them: by the `[data]` of an `agent.toml` beside
    /// them, or else of one for all. The rows of a folder `test` are for
    /// testing; without one, the rows are that each device holds out, whole
    /// blocks of a file and nothing beside them. Rows without a label are left
    /// out.
    ///
    /// # Errors
    /// A task or configuration that does not fit, and devices of which no row
    /// is read.
    pub fn of_devices(folder: &Path) -> Result<Self, DatasetError> {
        let refuse = |path: &Path, problem: String| DatasetError::Device {
            path: path.display().to_string(),
            problem,
        };
        let path = folder.join(TASK);
        let text = std::fs::read_to_string(&path).map_err(|cause| DatasetError::Read {
            path: path.display().to_string(),
            cause,
        })?;
        let task = RawTask::parse(&text).map_err(|error| refuse(&path, error.to_string()))?;
        if task.input().fills_gaps() {
            let problem = "input.missing is \"mean\", which is not simulated; take \"skip-row\"";
            return Err(refuse(&path, problem.to_owned()));
        }
        let mut devices = folders(folder).map_err(|cause| DatasetError::Read {
            path: folder.display().to_string(),
            cause,
        })?;
        let test = devices.iter().position(|path| path.ends_with(TEST));
        let test = test.map(|at| devices.remove(at));
        let (mut train, mut held_out) = (Vec::new(), Vec::new());
        for device in &devices {
            let (rows, rest) = read(folder, device, &task, test.is_none())?;
            train.push(rows);
            held_out.push(rest);
        }
        if train.is_empty() {
            return Err(refuse(folder, "holds no folder of a device".to_owned()));
        }
        let test = match &test {
            Some(path) => joined(&task, vec![read(folder, path, &task, false)?.0]),
            None => joined(&task, held_out),
        };
        if test.is_empty() {
            let problem = format!("holds nothing to test on; give it a folder {TEST:?}");
            return Err(refuse(folder, problem));
        }
        let shape = task.definition().input_shape.clone();
        let train = joined(&task, train);
        let name = folder.file_name().map(|name| name.to_string_lossy());
        Ok(Self {
            name: sane(&name.unwrap_or_default()),
            range: image_range(&shape, &train.inputs),
            shape,
            classes: task.definition().classes.clone(),
            numbers: Vec::new(),
            offset: None,
            sound_rate: None,
            train: Arc::new(train),
            test,
        })
    }
}

/// The folders inside, in the order of their names.
fn folders(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.is_dir() && !hidden {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What a device learns from, and what it holds out if it does.
fn read(
    all: &Path,
    device: &Path,
    task: &Task,
    holds_out: bool,
) -> Result<(Rows, Rows), DatasetError> {
    let refuse = |problem: String| DatasetError::Device {
        path: device.display().to_string(),
        problem,
    };
    let own = device.join(AGENT);
    let file = match own.exists() {
        true => Some(own),
        false => Some(all.join(AGENT)).filter(|path| path.exists()),
    };
    let flags = Flags {
        config: file,
        ..Flags::default()
    };
    // Nothing of this machine's own agent.
    let config = match &flags.config {
        Some(_) => Config::load(&flags, &|_| None).map_err(|error| refuse(error.to_string()))?,
        None => Config::plain(),
    };
    let mut reading = config.reading();
    reading.memory_mib_max = MEMORY_MIB_MAX;
    let rule = match holds_out {
        true => SplitRule::default().for_input(task.input()),
        false => SplitRule {
            one_in: 0,
            ..SplitRule::default()
        },
    };
    let schema = reading
        .schema(task)
        .map_err(|error| refuse(error.to_string()))?
        .with_split(rule)
        .with_held_max(usize::MAX, usize::MAX);
    let mut folder = Folder::new(device, schema);
    let scan = folder.scan().map_err(|error| refuse(error.to_string()))?;
    if let Some(first) = scan.quarantined.first() {
        return Err(refuse(format!("{}: {}", first.path.display(), first.error)));
    }
    let split = folder.into_split(rule).without_copies();
    Ok((split.training, split.held_out))
}

/// The labelled rows of all, each with the number of its device.
fn joined(task: &Task, devices: Vec<Rows>) -> Part {
    let (mut parts, mut labels, mut users) = (Vec::new(), Vec::new(), Vec::new());
    for (device, rows) in (0u32..).zip(devices) {
        let known: Vec<usize> = { 0..rows.rows() }
            .filter(|&row| rows.labels()[row].is_some())
            .collect();
        let rows = rows.select(&known);
        labels.extend(rows.labels().iter().flatten());
        users.extend(known.iter().map(|_| device));
        parts.push(rows);
    }
    let views: Vec<_> = parts.iter().map(Rows::inputs).collect();
    let none = || Array2::zeros((0, task.input_shape().values()));
    Part {
        // Rows of one task are of one length.
        inputs: concatenate(Axis(0), &views).unwrap_or_else(|_| none()),
        labels,
        users: Some(users),
        numbers: None,
        groups: None,
    }
}

/// Rows of one device that the laboratory holds at once.
const MEMORY_MIB_MAX: u32 = 4_096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fmt::Write as _;
    use std::fs;

    /// Windows of HAR overlap by half: where one begins as the one before it
    /// ends, both are of one recording.
    fn recordings(part: &Part, user: u32, classes: &[String]) -> (String, usize) {
        const HALF: usize = 64 * 6;
        let users = part.users.as_ref().unwrap();
        let rows: Vec<usize> = (0..part.len()).filter(|&row| users[row] == user).collect();
        let mut text = "t_ms,ax,ay,az,gx,gy,gz,activity\n".to_owned();
        let (mut time, mut recordings) = (0u64, 0);
        let mut write = |values: &[f32], label: &str, time: &mut u64| {
            for sample in values.chunks(6) {
                let cells: Vec<String> = sample.iter().map(f32::to_string).collect();
                writeln!(text, "{time},{},{label}", cells.join(",")).unwrap();
                *time += 20;
            }
        };
        for (at, &row) in rows.iter().enumerate() {
            let values = part.inputs.row(row).to_vec();
            let label = &classes[usize::from(part.labels[row])];
            let goes_on = at > 0 && {
                let before = rows[at - 1];
                part.labels[before] == part.labels[row]
                    && part.inputs.row(before).to_vec()[HALF..] == values[..HALF]
            };
            if goes_on {
                write(&values[HALF..], label, &mut time);
            } else {
                // Ten seconds in which nothing was recorded.
                time += 10_000;
                recordings += 1;
                write(&values, label, &mut time);
            }
        }
        (text, recordings)
    }

    /// Each person's windows, put together to the recordings that they were
    /// cut from.
    fn write_har(folder: &Path, people: usize) -> Dataset {
        let har = Dataset::open("har").unwrap();
        let mut task = "name = \"har\"\n[input]\nkind = \"series\"\n\
            channels = [\"ax\", \"ay\", \"az\", \"gx\", \"gy\", \"gz\"]\nrate_hz = 50\n\
            window_s = 2.56\n[classes]\n"
            .to_owned();
        writeln!(task, "names = {:?}", har.classes).unwrap();
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("task.toml"), task).unwrap();
        let agent =
            "[data]\ntime_column = \"t_ms\"\ntime_format = \"ms\"\nlabel_column = \"activity\"\n";
        fs::write(folder.join("agent.toml"), agent).unwrap();
        let people_of = |part: &Part| {
            let mut people = part.users.clone().unwrap();
            people.sort_unstable();
            people.dedup();
            people
        };
        for user in people_of(&har.train).into_iter().take(people) {
            let device = folder.join(format!("person-{user:02}"));
            fs::create_dir(&device).unwrap();
            let (text, _) = recordings(&har.train, user, &har.classes);
            fs::write(device.join("recording.csv"), text).unwrap();
        }
        fs::create_dir(folder.join("test")).unwrap();
        for user in people_of(&har.test) {
            let (text, _) = recordings(&har.test, user, &har.classes);
            fs::write(folder.join("test").join(format!("{user:02}.csv")), text).unwrap();
        }
        har
    }

    /// Rows as sets: their order is another.
    fn sorted(part: &Part, users: Option<&[u32]>) -> Vec<(Vec<u32>, u16)> {
        let own = part.users.as_ref().unwrap();
        let kept =
            (0..part.len()).filter(|&row| users.is_none_or(|users| users.contains(&own[row])));
        let bits = |row: usize| {
            part.inputs
                .row(row)
                .iter()
                .map(|value| value.to_bits())
                .collect()
        };
        let mut rows: Vec<(Vec<u32>, u16)> =
            kept.map(|row| (bits(row), part.labels[row])).collect();
        rows.sort();
        rows.dedup();
        rows
    }

    #[test]
    fn recordings_as_csv_give_the_published_windows() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("har-raw");
        let har = write_har(&folder, 2);
        let raw = Dataset::open(folder.to_str().unwrap()).unwrap();
        assert_eq!((&raw.shape, &raw.classes), (&har.shape, &har.classes));
        let mut people = har.train.users.clone().unwrap();
        people.sort_unstable();
        people.dedup();
        for (ours, theirs, users) in [
            (&*raw.train, &*har.train, Some(&people[..2])),
            (&raw.test, &har.test, None),
        ] {
            let (ours, theirs) = (sorted(ours, None), sorted(theirs, users));
            let same = ours
                .iter()
                .filter(|row| theirs.binary_search(row).is_ok())
                .count();
            // What was cut is what is published; a few of the published are
            // near copies of one another, which count once.
            assert_eq!(same, ours.len());
            assert!(
                same * 100 >= theirs.len() * 97,
                "{same} of {}",
                theirs.len()
            );
        }
    }

    /// `ALAMBIC_HAR_RAW=FOLDER cargo test --release -p lab --lib --
    /// --ignored write_the_recordings` for `alambic-lab simulate --data FOLDER`.
    #[test]
    #[ignore = "writes 60 MB of CSV"]
    fn write_the_recordings_of_har() {
        let folder = std::env::var("ALAMBIC_HAR_RAW").unwrap();
        write_har(Path::new(&folder), usize::MAX);
    }

    #[test]
    fn devices_without_a_test_folder_hold_out_rows() {
        let root = tempfile::tempdir().unwrap();
        let task = "name = \"t\"\n[input]\nkind = \"table\"\ncolumns = [\"x\", \"y\"]\n\
                    [classes]\nnames = [\"off\", \"on\"]\n";
        fs::write(root.path().join("task.toml"), task).unwrap();
        for device in 0..3 {
            let mut text = "y;x;state\n".to_owned();
            for row in 0..200 {
                writeln!(
                    text,
                    "{},5;{device};{}",
                    row * row % 383,
                    ["off", "on"][row % 2]
                )
                .unwrap();
            }
            let folder = root.path().join(format!("device-{device}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("a.csv"), text).unwrap();
            fs::write(
                folder.join("agent.toml"),
                "[data]\nlabel_column = \"state\"\n",
            )
            .unwrap();
        }
        let data = Dataset::open(root.path().to_str().unwrap()).unwrap();
        let users = data.train.users.as_ref().unwrap();
        assert!((0..3).all(|device| users.contains(&device)), "{users:?}");
        assert!(
            data.test.len() >= 30 && data.train.len() > 400,
            "{}",
            data.test.len()
        );
        let refused = |file: &str, text: &str| {
            fs::write(root.path().join(file), text).unwrap();
            Dataset::open(root.path().to_str().unwrap())
                .unwrap_err()
                .to_string()
        };
        let said = refused("device-1/a.csv", "z,state\n1,on\n");
        assert!(
            said.contains("device-1") && said.contains("columns.x"),
            "{said}"
        );
    }
}
