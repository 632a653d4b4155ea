//! What the agent makes of the data folder: for `doctor` and `status`.

use std::path::{Path, PathBuf};

use common::health::{Finding, Verdict, worst};
use common::task::Task;

use crate::config::Config;
use crate::data::{Folder, FolderError, Scan, Split, SplitRule, Unused};
use crate::driver::local::known_tasks;
use crate::state::StateDir;

/// One finding for each task that the device was called for, and one for each
/// file that is not used or of which something was decided.
pub(super) fn findings(config: &Config, folder: Option<&Path>) -> Vec<Finding> {
    let Some(folder) = folder else {
        let found = "no folder: the device only receives students";
        return vec![Finding::skipped(CHECK, found)];
    };
    if let Some(awaited) = awaited(config, folder) {
        return vec![awaited];
    }
    let tasks = match known_tasks(&StateDir::at(&config.state)) {
        Ok(tasks) => tasks,
        Err(error) => {
            let advice = "run this as the agent's user";
            return vec![Finding::failed(CHECK, error.to_string(), advice)];
        }
    };
    if tasks.is_empty() {
        return vec![unread(config, folder)];
    }
    let mut findings: Vec<Vec<Finding>> = tasks
        .iter()
        .map(|task| examine(config, folder, task))
        .collect();
    let fails = |one: &Vec<Finding>| worst(one) == Verdict::Failed;
    if !findings.iter().all(fails) {
        // The device takes part in one task; another may be of long ago.
        let failed = findings.iter_mut().flatten();
        failed
            .filter(|finding| finding.verdict == Verdict::Failed)
            .for_each(|finding| finding.verdict = Verdict::Warning);
    }
    findings.concat()
}

/// Where readings of MQTT are to come and none has.
fn awaited(config: &Config, folder: &Path) -> Option<Finding> {
    let mqtt = config.mqtt.as_ref()?;
    let is_empty = match Folder::names(folder, &config.mapping) {
        Ok(names) => names.is_empty(),
        Err(_) => !folder.exists(),
    };
    let found = format!(
        "no readings yet: those of the MQTT broker {} under {} are awaited, and recorded in {}",
        mqtt.address(),
        mqtt.topics.join(", "),
        folder.display()
    );
    let advice = "see that the agent runs and that something is published on these topics";
    is_empty.then(|| Finding::warning(CHECK, found, advice))
}

/// Which files there are, while nothing says what they should hold.
fn unread(config: &Config, folder: &Path) -> Finding {
    let shown = folder.display();
    match Folder::names(folder, &config.mapping) {
        Ok(names) if names.is_empty() => Finding::warning(
            CHECK,
            format!("{shown} holds no data file"),
            "put files ending in .csv, .npz or .npy there",
        ),
        Ok(names) => Finding::skipped(
            CHECK,
            format!(
                "{shown} holds {}, not read: which columns and classes they should have is known \
                 once the coordinator has called for a task",
                counted(names.len(), "data file")
            ),
        ),
        Err(error) => Finding::failed(CHECK, error.to_string(), FOLDER_ADVICE),
    }
}

fn examine(config: &Config, folder: &Path, task: &Task) -> Vec<Finding> {
    let name = &task.definition().name;
    let schema = match config.reading().schema(task) {
        Ok(schema) => schema,
        Err(error) => {
            let found = format!("task {name}: {error}");
            return vec![Finding::failed(
                CHECK,
                found,
                "ask the operator to correct the task",
            )];
        }
    };
    let mut read = Folder::new(folder, schema);
    match read.scan() {
        Ok(scan) => {
            let mut findings = vec![summary(config, task, &scan, read)];
            findings.extend(files(&scan));
            findings
        }
        Err(FolderError::NoRows {
            path,
            reason,
            quarantined,
            ..
        }) => {
            let found = format!("task {name}: no rows in {}: {reason}", path.display());
            let advice = "until then this device contributes nothing";
            let mut findings = vec![Finding::failed(CHECK, found, advice)];
            let refused = quarantined.into_iter().skip(1);
            findings.extend(refused.map(|one| refusal(&one.path, &one.error)));
            findings
        }
        Err(error) => vec![Finding::failed(CHECK, error.to_string(), FOLDER_ADVICE)],
    }
}

/// How many rows count, and whether they are enough.
fn summary(config: &Config, task: &Task, scan: &Scan, folder: Folder) -> Finding {
    let definition = task.definition();
    let read: usize = scan.files.iter().map(|file| file.rows).sum();
    let split = folder.into_split(SplitRule::default().for_input(task.input()));
    let guards = read - rows(&split);
    let split = split.without_copies();
    let copies = read - guards - rows(&split);
    let counts = split.training.class_counts(task.classes());
    let rows_min = config.policy.rows_min();
    let mut few = Vec::new();
    let mut told = Vec::new();
    for (class, &count) in definition.classes.iter().zip(&counts) {
        told.push(format!("{class} {count}"));
        if (1..rows_min).contains(&count) {
            few.push(class.as_str());
        }
    }
    told.truncate(CLASSES_SHOWN);
    let unlabelled = split
        .training
        .labels()
        .iter()
        .filter(|label| label.is_none())
        .count();
    let mut found = format!(
        "task {}: {} to learn from in {} ({}; {unlabelled} unlabelled), {} held out",
        definition.name,
        counted(split.training.rows(), "row"),
        counted(scan.files.len(), "file"),
        told.join(", "),
        split.held_out.rows(),
    );
    if copies > 0 {
        found.push_str(&format!(
            "; {} of rows left out, which count once",
            counted_as(copies, "copy", "copies")
        ));
    }
    if !scan.duplicates.is_empty() {
        let files = counted(scan.duplicates.len(), "file");
        found.push_str(&format!("; {files} with the content of another left out"));
    }
    let speaking = counts.iter().filter(|&&count| count >= rows_min).count();
    if speaking == 0 && (unlabelled as u64) < rows_min {
        let advice = format!(
            "too few: no class has the {rows_min} distinct rows that policy.rows_min asks for, so \
             nothing leaves this device; wait for more data"
        );
        return Finding::failed(CHECK, found, advice);
    }
    if !few.is_empty() {
        few.truncate(CLASSES_SHOWN);
        let advice = format!(
            "nothing is told of {}, of which there are fewer than policy.rows_min ({rows_min}) \
             rows; wait for more data",
            few.join(", ")
        );
        return Finding::warning(CHECK, found, advice);
    }
    Finding::ok(CHECK, found)
}

/// What is to say of single files.
fn files(scan: &Scan) -> Vec<Finding> {
    let mut findings: Vec<Finding> = scan
        .quarantined
        .iter()
        .map(|one| refusal(&one.path, &one.error))
        .collect();
    for file in &scan.files {
        // What is left of recordings is no fault of theirs.
        let odd = file.account.unused.keys().any(|why| *why != Unused::Rest);
        if odd {
            let found = format!("{}: {}", file.path.display(), file.account.explain());
            let advice = "`alambic-agent data check` says more";
            findings.push(Finding::warning(CHECK, found, advice));
        }
        for note in &file.notes {
            let found = format!("{}: {note}", file.path.display());
            findings.push(match note.is_warning() {
                true => Finding::warning(CHECK, found, ""),
                false => Finding::ok(CHECK, found),
            });
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
    if findings.len() > FILES_SHOWN {
        let more = findings.split_off(FILES_SHOWN);
        let found = format!("and {} more of files", counted(more.len(), "finding"));
        findings.push(match worst(&more) {
            Verdict::Ok => Finding::ok(CHECK, found),
            _ => Finding::warning(CHECK, found, "mend those named first"),
        });
    }
    findings
}

fn refusal(path: &Path, error: &crate::data::FileError) -> Finding {
    let found = format!("{} is not used: {error}", path.display());
    Finding::warning(CHECK, found, "the other files are used meanwhile")
}

fn rows(split: &Split) -> usize {
    split.training.rows() + split.held_out.rows()
}

fn counted(count: usize, one: &str) -> String {
    counted_as(count, one, &format!("{one}s"))
}

fn counted_as(count: usize, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    }
}

/// For `status`: the folder, and how many of its files are not used.
pub(super) fn unused(config: &Config, folder: &Path) -> Vec<PathBuf> {
    let tasks = known_tasks(&StateDir::at(&config.state)).unwrap_or_default();
    let mut unused = Vec::new();
    for task in &tasks {
        let Ok(schema) = config.reading().schema(task) else {
            continue;
        };
        let refused = match Folder::new(folder, schema).scan() {
            Ok(scan) => scan.quarantined,
            Err(FolderError::NoRows { quarantined, .. }) => quarantined,
            Err(_) => Vec::new(),
        };
        unused.extend(refused.into_iter().map(|one| one.path));
    }
    unused.sort();
    unused.dedup();
    unused
}

const CHECK: &str = "data";
const FOLDER_ADVICE: &str = "check data.folder, and that the agent's user may read it";
const CLASSES_SHOWN: usize = 20;
const FILES_SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Flags;
    use common::task::RawTask;

    struct Bench {
        root: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let text = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"off\", \"on\"]\n[features]\nstage = \"raw\"";
            let task = RawTask::parse(text).unwrap();
            let tasks = StateDir::create(&root.path().join("state/tasks")).unwrap();
            tasks.write(&task.hash().to_string(), task.bytes()).unwrap();
            std::fs::create_dir(root.path().join("data")).unwrap();
            Self { root }
        }

        /// Rows that differ, each so many times over.
        fn write(&self, name: &str, rows: usize, copies: usize) {
            let mut text = "a,b,label\n".to_owned();
            for row in 0..rows {
                let label = ["off", "on"][row % 2];
                for _ in 0..copies {
                    text.push_str(&format!("{},{},{label}\n", row * row % 97, row * 31 % 89));
                }
            }
            std::fs::write(self.root.path().join("data").join(name), text).unwrap();
        }

        fn findings(&self) -> Vec<Finding> {
            let flags = Flags {
                state: Some(self.root.path().join("state")),
                data: Some(self.root.path().join("data")),
                ..Flags::default()
            };
            let config = Config::load(&flags, &|_| None).unwrap();
            findings(&config, config.data.as_deref())
        }
    }

    #[test]
    fn enough_rows_are_fine_and_counted() {
        let bench = Bench::new();
        bench.write("a.csv", 80, 1);
        let findings = bench.findings();
        assert_eq!(worst(&findings), Verdict::Ok, "{findings:?}");
        assert!(findings[0].found.contains("in 1 file"), "{findings:?}");
    }

    #[test]
    fn a_refused_file_is_named_beside_those_that_are_used() {
        let bench = Bench::new();
        bench.write("a.csv", 80, 1);
        let path = bench.root.path().join("data/b.csv");
        std::fs::write(path, "a,b,label\n1,9.96921e36,on\n").unwrap();
        let findings = bench.findings();
        assert_eq!(worst(&findings), Verdict::Warning);
        let named = &findings[1].found;
        assert!(
            named.contains("b.csv") && named.contains("line 2, column \"b\""),
            "{named}"
        );
    }

    #[test]
    fn too_few_rows_and_their_copies_are_no_data() {
        let bench = Bench::new();
        bench.write("a.csv", 10, 40);
        let findings = bench.findings();
        assert_eq!(worst(&findings), Verdict::Failed);
        assert!(findings[0].found.contains("copies"), "{findings:?}");
        assert!(findings[0].advice.contains("rows_min"), "{findings:?}");
    }

    #[test]
    fn half_read_files_are_said_to_be_so() {
        let bench = Bench::new();
        bench.write("a.csv", 80, 1);
        let path = bench.root.path().join("data/a.csv");
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("4,5");
        std::fs::write(&path, text).unwrap();
        let findings = bench.findings();
        assert!(
            findings[1].found.contains("line 82 has no line end yet"),
            "{findings:?}"
        );
    }

    #[test]
    fn readings_of_a_broker_are_awaited() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("agent.toml");
        let text = "[mqtt]\nbroker = \"pi:1883\"\ntopics = [\"pump/#\"]\n";
        std::fs::write(&file, text).unwrap();
        let flags = Flags {
            config: Some(file),
            state: Some(root.path().join("state")),
            ..Flags::default()
        };
        let config = Config::load(&flags, &|_| None).unwrap();
        let found = findings(&config, config.data.as_deref());
        assert_eq!(worst(&found), Verdict::Warning, "{found:?}");
        let text = &found[0].found;
        assert!(
            text.contains("pi:1883") && text.contains("pump/#"),
            "{text}"
        );
        assert!(!found[0].advice.contains(".csv"), "{found:?}");
    }

    #[test]
    fn before_a_task_is_known_nothing_is_called_fine() {
        let bench = Bench::new();
        std::fs::remove_dir_all(bench.root.path().join("state/tasks")).unwrap();
        assert_eq!(worst(&bench.findings()), Verdict::Warning, "no file");
        bench.write("a.csv", 80, 1);
        assert_eq!(bench.findings()[0].verdict, Verdict::Skipped);
    }
}
