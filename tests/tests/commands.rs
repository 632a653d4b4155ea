//! The command line of both programs: exit codes, and output for scripts.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use coordinator::identity::TRUST_ROOT;
use lab::demo::program;
use serde_json::Value;

fn call(name: &str, arguments: &[&str]) -> Output {
    Command::new(program(name).unwrap())
        .args(arguments)
        .env_remove("ALAMBIC_STATE")
        .env_remove("ALAMBIC_CONFIG")
        .output()
        .unwrap()
}

fn code(name: &str, arguments: &[&str]) -> i32 {
    call(name, arguments).status.code().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

#[test]
fn a_command_whose_reader_is_gone_ends_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(program("alambic-agent").unwrap())
        .args(["status", "--state", &path(folder.path(), "state")])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(141), "as after SIGPIPE");
}

#[test]
fn a_command_whose_output_has_no_room_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["alambic-agent", "alambic-coordinator", "alambic-lab"] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let arguments = match name {
            "alambic-agent" => vec!["status", "--state", "missing"],
            "alambic-coordinator" => vec!["config", "check", "--explain"],
            _ => vec![
                "simulate",
                "--data",
                "digits",
                "--steps",
                "10",
                "--no-baselines",
            ],
        };
        let output = Command::new(program(name).unwrap())
            .args(arguments)
            .current_dir(folder.path())
            .stdout(full)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("cannot write to standard output"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        assert_eq!(output.status.code(), Some(1), "{name}");
    }
}

#[test]
fn each_failure_has_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let state = path(folder.path(), "state");
    let broken = path(folder.path(), "broken.toml");
    fs::write(&broken, "nonsense = 1\n").unwrap();
    let (agent, coordinator) = ("alambic-agent", "alambic-coordinator");
    let status = ["status", "--state", &state];
    for (name, arguments, wanted) in [
        (agent, &["--version"][..], 0),
        (coordinator, &["--version"], 0),
        (agent, &["dance"], 2),
        (coordinator, &["dance"], 2),
        (agent, &["status", "--config", &broken], 2),
        (coordinator, &["config", "check", "--config", &broken], 2),
        // Nothing listens there.
        (coordinator, &status, 3),
        (agent, &["run", "--state", &state], 5),
        (coordinator, &["serve", "--state", &state], 5),
    ] {
        assert_eq!(code(name, arguments), wanted, "{name} {arguments:?}");
    }
}

#[test]
fn a_configuration_is_checked_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    for (name, file, key) in [
        ("alambic-agent", "log = { level = \"warn\" }\n", "log.level"),
        ("alambic-coordinator", "log = \"warn\"\n", "log"),
    ] {
        let config = path(folder.path(), name);
        fs::write(&config, file).unwrap();
        let check = ["config", "check", "--config", &config, "--state", "/flag"];
        let said = text(&call(name, &check));
        assert!(said.contains("nothing wrong"), "{said}");
        let said = text(&call(name, &[&check[..], &["--json"]].concat()));
        let settings: Vec<Value> = serde_json::from_str(&said).unwrap();
        let of = |key: &str| settings.iter().find(|one| one["key"] == key).unwrap();
        assert_eq!(of(key)["value"], "warn");
        assert_eq!(of(key)["origin"], config.as_str());
        assert_eq!(of("state")["origin"], "flag --state");
        let said = text(&call(name, &[&check[..], &["--explain"]].concat()));
        assert_eq!(said.lines().count(), settings.len(), "{said}");
    }
}

#[test]
fn completions_and_manual_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    for (name, commands) in [
        ("alambic-agent", ["enrol", "predict", "doctor"]),
        ("alambic-coordinator", ["token", "round", "doctor"]),
    ] {
        for shell in ["bash", "zsh", "fish"] {
            let script = text(&call(name, &["completions", shell]));
            for command in commands {
                assert!(script.contains(command), "{name} {shell} {command}");
            }
        }
        let pages = path(folder.path(), name);
        assert_eq!(code(name, &["manual", &pages]), 0);
        let page = fs::read_to_string(format!("{pages}/{name}.1")).unwrap();
        assert!(page.contains("Exit codes"), "{page}");
        for command in commands {
            assert!(Path::new(&format!("{pages}/{name}-{command}.1")).exists());
        }
    }
}

#[test]
fn a_doctor_names_what_is_wrong_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let state = path(folder.path(), "state");
    let said = call("alambic-agent", &["doctor", "--json", "--state", &state]);
    assert_eq!(said.status.code(), Some(1));
    let findings: Vec<Value> = serde_json::from_str(&text(&said)).unwrap();
    let enrolment = findings
        .iter()
        .find(|one| one["check"] == "enrolment")
        .unwrap();
    assert_eq!(enrolment["verdict"], "failed");
    assert!(!enrolment["advice"].as_str().unwrap().is_empty());
    assert!(findings.iter().any(|one| one["check"] == "blas"));

    assert_eq!(code("alambic-coordinator", &["init", "--state", &state]), 0);
    let said = call(
        "alambic-coordinator",
        &["doctor", "--json", "--state", &state],
    );
    let findings: Vec<Value> = serde_json::from_str(&text(&said)).unwrap();
    for check in ["clock", "certificate", "permissions"] {
        let finding = findings.iter().find(|one| one["check"] == check).unwrap();
        assert_eq!(finding["verdict"], "ok", "{finding}");
    }
}

#[test]
fn failures_have_exit_codes_and_advice() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let said = |program: &str, arguments: &[&str]| {
        let output = call(program, arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), text)
    };
    fs::write(path("torn.npz"), b"PK\x03\x04torn").unwrap();
    let (torn, away, out) = (path("torn.npz"), path("away.npz"), path("out"));
    let lab = "alambic-lab";
    for (arguments, code, word) in [
        (&["simulate", "--data", "hra"][..], 5, "`har` and `digits`"),
        (&["simulate", "--data", &away], 5, "away.npz"),
        (&["demo", "--dataset", &torn], 2, "torn"),
        (
            &["split", "--data", &path(""), "--out", &out],
            5,
            "a folder of devices has a task.toml",
        ),
        (
            &["split", "--data", "har", "--agents", "0", "--out", &out],
            2,
            "1 or more",
        ),
        (
            &[
                "split",
                "--data",
                "digits",
                "--partition",
                "dirichlet:0",
                "--out",
                &out,
            ],
            2,
            "above 0",
        ),
        (
            &[
                "split",
                "--data",
                "digits",
                "--partition",
                "natural",
                "--out",
                &out,
            ],
            2,
            "dirichlet",
        ),
        (
            &["split", "--data", "digits", "--out", &path("")],
            2,
            "is there already",
        ),
        (&["sweep", &away], 5, "away.npz"),
    ] {
        let (found, text) = said(lab, arguments);
        assert_eq!(found, code, "{arguments:?}: {text}");
        assert!(text.contains(word), "{arguments:?}: {text}");
    }
    let state = path("state");
    assert_eq!(
        said("alambic-coordinator", &["init", "--state", &state]).0,
        0
    );
    let (again, text) = said("alambic-coordinator", &["init", "--state", &state]);
    assert_eq!(again, 2, "{text}");
    let trust_root = Path::new(&state).join(TRUST_ROOT);
    let authority = fs::read(Path::new(&state).join("ca.pem")).unwrap();
    let again = ["init", "--if-missing", "--state", &state];
    let (code, text) = said("alambic-coordinator", &again);
    assert_eq!(code, 0, "{text}");
    assert_eq!(
        fs::read(Path::new(&state).join("ca.pem")).unwrap(),
        authority
    );
    fs::remove_file(&trust_root).unwrap();
    let (code, text) = said("alambic-coordinator", &again);
    assert!(code == 2 && text.contains("ca.pem exists"), "{text}");
    let joins = [
        "enrol",
        "--coordinator",
        "fleet.example",
        "--token",
        "x",
        "--state",
        &state,
    ];
    let (code, text) = said("alambic-agent", &joins);
    assert!(code == 2 && text.contains("fleet.example:4433"), "{text}");
}
