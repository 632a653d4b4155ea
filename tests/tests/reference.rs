//! The references of keys in docs/, which are made from the code, and the
//! tables they are made from, against what the programs accept.
//!
//! `ALAMBIC_UPDATE=1` writes the references anew.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use common::features::FeatureStage;
use common::task::{RawTask, TASK_KEYS, TaskDefault, task_reference};
use coordinator::config::{Config as CoordinatorConfig, Flags as CoordinatorFlags};
use edge_agent::config::{Config as AgentConfig, Flags as AgentFlags};

const TASK: &str = "# Reference: the task file

What `alambic-coordinator task create FILE` takes. Unknown keys are refused; a task is named by
the hash of what it means, so a changed task is another task.
[configs/task-har.toml](../configs/task-har.toml) is an annotated example,
[configs/task-minimal.toml](../configs/task-minimal.toml) the shortest. The terms are in the
[glossary](glossary.md).
";
const COORDINATOR: &str = "# Reference: the coordinator's configuration

`coordinator.toml` is looked for where `--config` says, else in the state directory that
`--state` names, else at `/etc/alambic/coordinator.toml`, else in the default state directory. A
flag takes precedence over an environment variable, and that over the file. Unknown keys are
refused. `alambic-coordinator config check --explain` shows each value and where it came from;
[configs/coordinator.toml](../configs/coordinator.toml) is the file with comments.
";
const AGENT: &str = "# Reference: the agent's configuration

`agent.toml` is looked for where `--config` says, else at `/etc/alambic/agent.toml`. A flag takes
precedence over an environment variable, and that over the file. Unknown keys are refused.
`alambic-agent config check --explain` shows each value and where it came from;
[configs/agent.toml](../configs/agent.toml) is the file with comments.
";
/// Names that task keys once had, which are still read.
const OLD_KEYS: [(&str, &str); 2] = [
    ("normaliser.curves", "normaliser.quantiles"),
    ("teacher.relevance", "teacher.feature_weights"),
];
/// Keys that only a task with a model may have, and such a model.
const OF_MODELS: [&str; 4] = [
    "features.kind",
    "features.layout",
    "features.colour",
    "features.pool",
];
const MODEL: &str = "features.stage = \"onnx\"\nfeatures.width = 3\nfeatures.bytes = 9\n\
                     features.model = \
                     \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"\n";
const MADE: &str = "\nMade from the code by `tests/tests/reference.rs`; do not edit by hand.\n";

#[test]
fn task_reference_is_current() {
    is_current("reference-task.md", TASK, &task_reference());
}

#[test]
fn coordinator_reference_is_current() {
    is_current("reference-coordinator.md", COORDINATOR, &coordinator_keys());
}

#[test]
fn agent_reference_is_current() {
    is_current("reference-agent.md", AGENT, &agent_keys());
}

#[test]
fn every_accepted_key_is_in_a_reference() {
    let mut task = accepted(&|text| match RawTask::parse(text) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    });
    let told: BTreeSet<String> = { TASK_KEYS.iter() }
        .map(|key| key.name.to_owned())
        .collect();
    for (old, new) in OLD_KEYS {
        assert!(task.remove(old) && told.contains(new), "{old}");
    }
    assert_eq!(task, told);

    let coordinator = accepted(&|text| refusal(with_file(text, &coordinator_config)));
    assert_eq!(coordinator, keys_of(&coordinator_keys()));

    let agent = accepted(&|text| refusal(with_file(text, &agent_config)));
    assert_eq!(agent, keys_of(&agent_keys()));
}

#[test]
fn task_defaults_are_as_told() {
    let plain = task("", "").unwrap();
    for key in TASK_KEYS {
        match key.default {
            TaskDefault::Value(value) => {
                let named = task(key.name, value);
                assert_eq!(named.as_ref(), Ok(&plain), "{} = {value}", key.name);
            }
            TaskDefault::Required => {}
            TaskDefault::Words(words) => assert!(words.len() > 5, "{}", key.name),
        }
    }
}

#[test]
fn every_word_that_a_task_may_use_is_accepted() {
    let keys = TASK_KEYS.iter().filter(|key| key.allowed.starts_with('"'));
    let mut words = 0;
    for key in keys {
        for word in key.allowed.split('"').skip(1).step_by(2) {
            words += 1;
            let named = task(key.name, &format!("\"{word}\""));
            assert!(named.is_ok(), "{} = {word}: {named:?}", key.name);
        }
    }
    for stage in FeatureStage::all() {
        words += 1;
        let named = task("features.stage", &format!("\"{stage}\""));
        // Sounds have a length and nothing beside it.
        let named = named.or_else(|_| task_of("[8000]", "features.stage", &format!("\"{stage}\"")));
        assert!(named.is_ok(), "{stage}: {named:?}");
    }
    assert!(words > 10, "only {words} words");
    let unknown = task("contribute", "\"rows\"").unwrap_err();
    assert!(unknown.contains("unknown variant `rows`"), "{unknown}");
}

/// The hash of a task of images with one key more, or why there is none.
fn task(key: &str, value: &str) -> Result<String, String> {
    task_of("[64, 8]", key, value)
}

fn task_of(shape: &str, key: &str, value: &str) -> Result<String, String> {
    let required = format!("name = \"t\"\ninput.shape = {shape}\nclasses.names = [\"a\", \"b\"]\n");
    let more = match key {
        "" => String::new(),
        key if OF_MODELS.contains(&key) => format!("{MODEL}{key} = {value}\n"),
        key => format!("{key} = {value}\n"),
    };
    let text = format!("{more}{required}");
    let task = RawTask::parse(&text).map_err(|error| error.to_string())?;
    Ok(task.hash().to_string())
}

/// Every key that a parser of TOML accepts, found by what it says of one that
/// it does not know.
fn accepted(refuse: &dyn Fn(&str) -> String) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut tables = vec![String::new()];
    while let Some(table) = tables.pop() {
        let probe = format!("{table}.planted = 1\n");
        let said = refuse(probe.trim_start_matches('.'));
        let known = said
            .split_once("unknown field `planted`, expected ")
            .map(|(_, known)| known);
        match known {
            None => {
                keys.insert(table);
            }
            Some(known) => {
                let names = known.lines().next().unwrap().split('`');
                let names = names.skip(1).step_by(2);
                tables.extend(names.map(|name| match table.as_str() {
                    "" => name.to_owned(),
                    table => format!("{table}.{name}"),
                }));
            }
        }
    }
    keys
}

/// The keys of a reference, with their tables.
fn keys_of(reference: &str) -> BTreeSet<String> {
    let mut table = String::new();
    let mut keys = BTreeSet::new();
    for line in reference.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            table = match heading.trim_matches(['`', '[', ']']) {
                "Top level" => String::new(),
                name => format!("{name}."),
            };
        } else if let Some((name, _)) = line
            .strip_prefix("| `")
            .and_then(|rest| rest.split_once('`'))
        {
            keys.insert(format!("{table}{name}"));
        }
    }
    keys
}

fn coordinator_keys() -> String {
    let defaults = with_file("", &coordinator_config).unwrap();
    coordinator::cli::configuration_reference(&defaults)
}

fn agent_keys() -> String {
    let defaults = with_file("", &agent_config).unwrap();
    edge_agent::cli::configuration_reference(&defaults)
}

fn coordinator_config(file: PathBuf) -> Result<CoordinatorConfig, String> {
    let flags = CoordinatorFlags {
        config: Some(file),
        ..CoordinatorFlags::default()
    };
    CoordinatorConfig::resolve(&flags, |_| None).map_err(|error| error.to_string())
}

fn agent_config(file: PathBuf) -> Result<AgentConfig, String> {
    let flags = AgentFlags {
        config: Some(file),
        ..AgentFlags::default()
    };
    AgentConfig::load(&flags, &|_| None).map_err(|error| error.to_string())
}

fn with_file<C>(text: &str, load: &dyn Fn(PathBuf) -> Result<C, String>) -> Result<C, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program.toml");
    fs::write(&path, text).unwrap();
    load(path)
}

fn refusal<C>(loaded: Result<C, String>) -> String {
    loaded.err().unwrap_or_default()
}

fn is_current(name: &str, head: &str, keys: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    let made = format!("{head}{MADE}{keys}");
    if std::env::var_os("ALAMBIC_UPDATE").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/{name} is not what the code says: run ALAMBIC_UPDATE=1 cargo test --release -p tests \
         --test reference"
    );
}
