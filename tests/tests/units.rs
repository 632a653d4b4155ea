//! The units hold what they promise, as systemd itself reads them.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The most that `systemd-analyze security` may find exposed (0 to 10).
const EXPOSURE_MAX: f32 = 2.0;

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    if !has_systemd() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let copies: Vec<PathBuf> = units("")
        .iter()
        .map(|unit| copy(unit, folder.path()))
        .collect();
    let output = Command::new("systemd-analyze")
        .args([
            "verify",
            "--man=no",
            "--generators=no",
            "--recursive-errors=no",
        ])
        .args(&copies)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn no_service_is_more_exposed_than_allowed() {
    if !has_systemd() {
        return;
    }
    let threshold = (EXPOSURE_MAX * 10.0) as u32;
    for unit in units(".service") {
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(format!("--threshold={threshold}"))
            .arg(&unit)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let verdict = said.lines().last().unwrap_or_default();
        println!("{verdict}");
        assert!(output.status.success(), "{}: {verdict}", unit.display());
    }
}

#[test]
fn services_restart_and_are_bounded() {
    for name in ["alambic-agent.service", "alambic-coordinator.service"] {
        let text = fs::read_to_string(root().join("systemd").join(name)).unwrap();
        for line in [
            "Type=notify",
            "Restart=always",
            "StartLimitIntervalSec=0",
            "StateDirectoryMode=0700",
        ] {
            assert!(text.lines().any(|found| found == line), "{name}: {line}");
        }
        for key in [
            "WatchdogSec",
            "RuntimeDirectory",
            "MemoryMax",
            "CPUWeight",
            "IOWeight",
            "TasksMax",
        ] {
            let set = |line: &str| line.split_once('=').is_some_and(|(found, _)| found == key);
            assert!(text.lines().any(set), "{name}: {key}");
        }
    }
}

/// A copy whose program is one that every system has: the units name
/// programs that only their packages install.
fn copy(unit: &Path, folder: &Path) -> PathBuf {
    let text = fs::read_to_string(unit).unwrap();
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.strip_prefix("ExecStart=") {
            Some(command) => {
                let arguments = command.split_once(' ').map_or("", |(_, rest)| rest);
                format!("ExecStart=/bin/true {arguments}")
            }
            None => line.to_owned(),
        })
        .collect();
    let to = folder.join(unit.file_name().unwrap());
    fs::write(&to, lines.join("\n")).unwrap();
    to
}

fn units(ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("systemd")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_unit = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.ends_with(ending) && (name.ends_with(".service") || name.ends_with(".timer"))
    };
    let mut found: Vec<PathBuf> = paths.filter(is_unit).collect();
    found.sort();
    assert!(found.len() >= 3, "{found:?}");
    found
}

fn has_systemd() -> bool {
    let found = Command::new("systemd-analyze").arg("--version").output();
    if found.is_err() {
        println!("SKIPPED: there is no systemd-analyze here");
    }
    found.is_ok()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
