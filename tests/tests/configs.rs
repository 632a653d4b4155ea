//! Every example configuration is one that the programs accept as it stands.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::task::RawTask;
use coordinator::config::{Config as CoordinatorConfig, Flags as CoordinatorFlags};
use coordinator::gateway::config::{GatewayConfig, GatewayFlags};
use edge_agent::config::{Config as AgentConfig, Flags as AgentFlags};

#[test]
fn every_example_task_is_accepted() {
    let tasks = examples("task-");
    for path in &tasks {
        let text = fs::read_to_string(path).unwrap();
        if let Err(error) = RawTask::parse(&text) {
            panic!("{}: {error}", path.display());
        }
    }
    println!("{} example tasks checked", tasks.len());
}

#[test]
fn every_example_sweep_is_accepted() {
    for path in examples("sweep-") {
        let grid = lab::sweep::Grid::open(&path).unwrap();
        assert!(grid.cells.len() > 1, "{}", path.display());
    }
}

#[test]
fn example_agent_configs_load() {
    for_each_form("agent", |file| {
        let flags = AgentFlags {
            config: Some(file),
            ..AgentFlags::default()
        };
        AgentConfig::load(&flags, &|_| None)
            .map(drop)
            .map_err(|error| error.to_string())
    });
}

#[test]
fn example_coordinator_configs_load() {
    for_each_form("coordinator", |file| {
        let flags = CoordinatorFlags {
            config: Some(file),
            ..CoordinatorFlags::default()
        };
        CoordinatorConfig::resolve(&flags, |_| None)
            .map(drop)
            .map_err(|error| error.to_string())
    });
}

#[test]
fn example_gateway_configs_load() {
    for_each_form("gateway", |file| {
        let flags = GatewayFlags {
            config: Some(file),
            ..GatewayFlags::default()
        };
        GatewayConfig::resolve(&flags, |_| None)
            .map(drop)
            .map_err(|error| error.to_string())
    });
}

#[test]
fn the_alert_rules_are_ones_that_prometheus_takes() {
    let rules = ["prometheus-alerts.yml", "prometheus-device-alerts.yml"];
    let rules = rules.map(|name| root().join("configs").join(name));
    let mut promtool = Command::new("promtool");
    match promtool.args(["check", "rules"]).args(&rules).output() {
        Err(error) => println!("SKIPPED: no promtool to check the alert rules with ({error})"),
        Ok(output) => assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

#[test]
fn every_example_is_of_a_kind_that_is_checked_here() {
    let folder = root().join("configs");
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("SKIPPED: there is no {}", folder.display());
        return;
    };
    for entry in entries {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = [
            "task-",
            "sweep-",
            "agent",
            "coordinator",
            "gateway",
            "prometheus",
            "grafana",
        ]
        .iter()
        .any(|kind| name.starts_with(kind));
        assert!(known, "configs/{name} is checked by no test");
    }
}

/// Loads each example as it stands and with its commented values made real.
fn for_each_form(prefix: &str, load: impl Fn(PathBuf) -> Result<(), String>) {
    for path in examples(prefix) {
        let folder = tempfile::tempdir().unwrap();
        let bare = folder.path().join("bare.toml");
        fs::write(&bare, uncommented(&fs::read_to_string(&path).unwrap())).unwrap();
        for (form, file) in [("as it stands", path.clone()), ("uncommented", bare)] {
            if let Err(error) = load(file) {
                panic!("{}, {form}: {error}", path.display());
            }
        }
    }
}

/// The same file with every `#key = value` line made a real one: so the
/// commented defaults are checked too.
fn uncommented(text: &str) -> String {
    let assigns = |line: &str| {
        line.split_once('=').is_some_and(|(key, _)| {
            let key = key.trim_end();
            !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        })
    };
    text.lines()
        .map(|line| match line.strip_prefix('#').map(str::trim_start) {
            Some(hidden) if assigns(hidden) => hidden,
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect()
}

/// The files of `configs/` whose names start so, in order.
fn examples(prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root().join("configs")) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(prefix)
        })
        .collect();
    found.sort();
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
