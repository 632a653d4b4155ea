//! `docs/json.md` against what the commands print, and help against what
//! there is.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use lab::demo::program;
use serde_json::Value;
use tests::rig::{Running, agent, agents, operator};

const PAGE: &str = include_str!("../../docs/json.md");

/// Commands whose output is not for scripts.
const SILENT: [&str; 8] = [
    "alambic-coordinator serve",
    "alambic-coordinator gateway run",
    "alambic-coordinator completions",
    "alambic-coordinator manual",
    "alambic-agent run",
    "alambic-agent task suggest",
    "alambic-agent completions",
    "alambic-agent manual",
];

/// The shapes of the page by their heading.
fn shapes() -> BTreeMap<String, Value> {
    let mut shapes = BTreeMap::new();
    for section in PAGE.split("\n### ").skip(1) {
        let name = section.lines().next().unwrap().trim_matches('`');
        let block = section.split("```json\n").nth(1).unwrap();
        let block = block.split("```").next().unwrap();
        let shape = serde_json::from_str(block).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(shapes.insert(name.to_owned(), shape).is_none(), "{name}");
    }
    shapes
}

/// What of a value does not fit a shape.
fn misfits(
    shapes: &BTreeMap<String, Value>,
    shape: &Value,
    value: &Value,
    at: &str,
) -> Vec<String> {
    match (shape, value) {
        (Value::String(word), value) => {
            let may_be_null = word.ends_with('?');
            let word = word.trim_end_matches('?');
            let fits = match (word, value) {
                ("any", _) => true,
                (_, Value::Null) => may_be_null,
                ("text", value) => value.is_string(),
                ("boolean", value) => value.is_boolean(),
                ("number", value) => value.is_number(),
                ("integer" | "time", value) => value.is_u64(),
                ("version", Value::String(text)) => text.parse::<common::ids::Version>().is_ok(),
                (word, value) if word.starts_with('@') => {
                    let shape = &shapes[word.trim_start_matches('@')];
                    return misfits(shapes, shape, value, at);
                }
                _ => false,
            };
            match fits {
                true => Vec::new(),
                false => vec![format!("{at}: expected {word}, got {value}")],
            }
        }
        (Value::Array(shape), Value::Array(values)) => {
            let each = values.iter().enumerate();
            each.flat_map(|(index, value)| {
                misfits(shapes, &shape[0], value, &format!("{at}[{index}]"))
            })
            .collect()
        }
        (Value::Object(shape), Value::Object(values)) => {
            let mut wrong = Vec::new();
            for (key, of) in shape {
                let name = key.trim_end_matches('?');
                match values.get(name) {
                    Some(value) => {
                        wrong.extend(misfits(shapes, of, value, &format!("{at}.{name}")));
                    }
                    None if key.ends_with('?') || key == "*" => {}
                    None => wrong.push(format!("{at}.{name} is missing")),
                }
            }
            for (key, value) in values {
                let optional = format!("{key}?");
                let known = shape.contains_key(key) || shape.contains_key(&optional);
                match (known, shape.get("*")) {
                    (true, _) => {}
                    (false, Some(of)) => {
                        wrong.extend(misfits(shapes, of, value, &format!("{at}.{key}")));
                    }
                    (false, None) => wrong.push(format!("{at}.{key} is not in docs/json.md")),
                }
            }
            wrong
        }
        _ => vec![format!("{at}: expected {shape}, got {value}")],
    }
}

/// Who runs a command: the operator, or one of the agents.
type Run<'a> = dyn Fn(&Running, &[&str]) -> (Option<i32>, String, String) + 'a;

/// Runs a command with `--json` and holds its output against its shape.
fn held(running: &Running, program: &str, run: &Run<'_>, command: &str, more: &[&str]) -> Value {
    let shapes = shapes();
    let mut arguments: Vec<&str> = command.split(' ').chain(more.iter().copied()).collect();
    arguments.push("--json");
    let (code, out, err) = run(running, &arguments);
    assert!(
        code == Some(0) || command == "doctor",
        "{program} {command}: {code:?} {err}"
    );
    let said: Value = serde_json::from_str(&out)
        .unwrap_or_else(|error| panic!("{program} {command}: {error} in {out:?}"));
    let name = format!("{program} {command}");
    let shape = shapes
        .get(&name)
        .unwrap_or_else(|| panic!("{name} is not documented"));
    let wrong = misfits(&shapes, shape, &said, &name);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    said
}

#[test]
fn what_commands_print_is_what_the_page_says() {
    let configuration = "[rollout]\nreleases = \"held\"\n";
    let mut running = agents(3, 30.0, Some(configuration));
    let task = running.task.clone();
    running.client.run_round(Some(&task), |_| {}).unwrap();
    let folder = running.fleet.folder().to_owned();
    let path = |name: &str| folder.join(name).display().to_string();
    let on = |running: &Running, arguments: &[&str]| operator(running, arguments);
    let ask =
        |command: &str, more: &[&str]| held(&running, "alambic-coordinator", &on, command, more);

    let status = ask("status", &[]);
    let version = status["tasks"][0]["releases"][0]["version"]
        .as_str()
        .unwrap();
    let device = status["devices"][2]["device"].as_str().unwrap();
    ask("doctor", &[]);
    ask("config check", &[]);
    ask("task list", &[]);
    ask("task show", &[]);
    ask("device list", &[]);
    ask("device show", &[device]);
    ask("device label", &[device, "the third"]);
    ask("model list", &[]);
    ask("model lineage", &[]);
    ask("model influence", &[]);
    let student = path("student.npz");
    ask("model export", &["--out", &student]);
    ask("token create", &[]);
    let tokens = ask("token list", &[]);
    ask("token revoke", &[tokens[0]["token"].as_str().unwrap()]);
    let model = path("tiny.onnx");
    let relu = onnx::tiny::Tiny::of(&[None, Some(64)]).node("Relu", &["x"], "y");
    std::fs::write(&model, relu.bytes(&["y"])).unwrap();
    ask("backbone add", &[&model]);
    ask("backbone list", &[]);
    ask("backbone remove", &["tiny.onnx"]);
    ask("gateway token", &[]);
    ask("gateway list", &[]);
    ask("round watch", &["--once"]);

    ask(
        "rollout start",
        &[version, "--stages", "50,100", "--soak", "10m"],
    );
    ask("rollout pause", &[]);
    ask("rollout status", &[]);
    ask("rollout resume", &[]);
    ask("rollout abort", &[]);
    ask("rollout rollback", &[version]);

    ask("audit verify", &[]);
    let (_, lines, _) = operator(&running, &["audit", "export"]);
    let shapes = shapes();
    for line in lines.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let shape = &shapes["alambic-coordinator audit export"];
        assert_eq!(
            misfits(&shapes, shape, &record, "record"),
            Vec::<String>::new()
        );
    }

    ask("round start", &[]);
    ask("round cancel", &[]);
    ask("device pardon", &[device]);
    ask("device forget", &[device]);
    ask(
        "device revoke",
        &[status["devices"][1]["device"].as_str().unwrap()],
    );
    let backup = path("backup.tar");
    ask("backup", &["--out", &backup]);

    ask("ca show", &[]);
    ask("ca rotate", &[]);
    ask("ca retire", &["--force"]);
    ask("key show", &[]);
    let key = path("key.pem");
    ask("key create", &["--out", &key]);
    let rotated = ask("key rotate", &[]);
    ask("key revoke", &[rotated["before"].as_str().unwrap()]);
    ask("key renew", &[]);
    // Offline, the root key is a file that is named.
    let root = path("root.pem");
    ask("key offline", &["--out", &root]);
    ask("key rotate-root", &["--root-key", &root, "--next", &key]);
}

#[test]
fn what_an_agent_prints_is_what_the_page_says() {
    let mut running = agents(2, 30.0, None);
    let task = running.task.clone();
    running.client.run_round(Some(&task), |_| {}).unwrap();
    running.client.run_round(Some(&task), |_| {}).unwrap();
    let rows = running.fleet.agent_home(0).join("data").join("rows.npz");
    let rows = rows.display().to_string();
    let name = "alambic-agent";
    let of = |running: &Running, arguments: &[&str]| agent(running, 0, arguments);
    let ask =
        |running: &Running, command: &str, more: &[&str]| held(running, name, &of, command, more);
    ask(&running, "status", &[]);
    ask(&running, "doctor", &[]);
    ask(&running, "config check", &[]);
    let folder = running.fleet.agent_home(0).join("data");
    ask(&running, "data check", &[&folder.display().to_string()]);
    ask(&running, "data stages", &[&folder.display().to_string()]);
    ask(&running, "predict", &["--input", &rows]);
    let sent = ask(&running, "sent list", &[]);
    ask(&running, "sent show", &[sent[0]["blob"].as_str().unwrap()]);
    ask(&running, "student current", &[]);
    ask(&running, "student list", &[]);
    ask(&running, "student verify", &[]);
    let exported = running.fleet.agent_home(0).join("student.c");
    let exported = exported.display().to_string();
    ask(&running, "student export", &["--out", &exported]);
    ask(&running, "pull", &[]);

    // These want the agent's state for themselves.
    running.fleet.kill_agent(0).unwrap();
    ask(&running, "pull", &[]);
    ask(&running, "student rollback", &[]);
    ask(&running, "student pin", &[]);
    ask(&running, "student unpin", &[]);
}

#[test]
fn init_enrolment_and_restore_print_what_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let run = |name: &str, arguments: &[&str]| -> Value {
        let output = Command::new(program(name).unwrap())
            .args(arguments)
            .env_remove("ALAMBIC_STATE")
            .env_remove("ALAMBIC_CONFIG")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {text}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let shapes = shapes();
    let fits = |command: &str, said: &Value| {
        let wrong = misfits(&shapes, &shapes[command], said, command);
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    };
    let name = "alambic-coordinator";
    let (state, backup) = (path("state"), path("backup.tar"));
    let made = run(name, &["init", "--json", "--state", &state]);
    fits("alambic-coordinator init", &made);
    coordinator::store::SledStore::open(format!("{state}/store")).unwrap();
    run(
        name,
        &["backup", "--json", "--state", &state, "--out", &backup],
    );
    let restored = run(
        name,
        &[
            "restore",
            "--json",
            "--from",
            &backup,
            "--state",
            &path("other"),
            "--verify",
        ],
    );
    fits("alambic-coordinator restore", &restored);

    let mut running = agents(1, 30.0, None);
    let status = running.client.status().unwrap();
    // One coordinator's socket and another's state are told apart.
    let socket = running
        .fleet
        .folder()
        .join("coordinator")
        .join("admin.sock");
    let mixed = Command::new(program(name).unwrap())
        .args(["backup", "--state", &state, "--out", &path("mixed.tar")])
        .arg("--admin-socket")
        .arg(socket)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&mixed.stderr);
    assert_eq!(mixed.status.code(), Some(2), "{text}");
    assert!(text.contains("is not the one of"), "{text}");

    let token = running.client.create_token(60_000, 1).unwrap();
    let joined = run(
        "alambic-agent",
        &[
            "enrol",
            "--json",
            "--state",
            &path("device"),
            "--coordinator",
            &status.address.to_string(),
            "--token",
            &token,
        ],
    );
    fits("alambic-agent enrol", &joined);
}

#[test]
fn what_the_laboratory_prints_is_what_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let shapes = shapes();
    let ask = |command: &str, more: &[&str]| {
        let output = Command::new(program("alambic-lab").unwrap())
            .arg(command)
            .args(more)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {text}");
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let name = format!("alambic-lab {command}");
        let wrong = misfits(&shapes, &shapes[&name], &said, &name);
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    };
    let few = ["--points", "20", "--agents", "3"];
    let digits = |option| [&[option, "digits", "--json", "-"][..], &few].concat();
    ask("demo", &digits("--dataset"));
    let quick = [&digits("--data")[..], &["--steps", "50"]].concat();
    let (student, points) = (path("student.onnx"), path("points.csv"));
    let more = ["--student-out", &student, "--points-out", &points];
    let rivals = ["--baselines", "--baseline-rounds", "2"];
    ask("simulate", &[&quick[..], &more, &rivals].concat());
    assert!(fs::read(student).unwrap().len() > 1_000);
    assert!(fs::read_to_string(points).unwrap().lines().count() > 10);
    ask("simulate", &[&quick[..], &["--seeds", "0,1"]].concat());
    let attacked = [&quick[..], &["--seeds", "0", "--attack", "shift"]].concat();
    ask("attack", &attacked);
    let grid = path("grid.toml");
    let text = "seeds = [0]\n[fixed]\ndata = \"digits\"\npoints = 20\nagents = 3\nsteps = 50\n\
                [grid]\npartition = [\"iid\"]\n";
    fs::write(&grid, text).unwrap();
    ask("sweep", &[&grid, "--out", &path("grid"), "--json"]);
    let of = ["--data", "digits", "--per-class", "1", "--method", "kmeans"];
    let out = path("distilled.npz");
    let more = ["--out", &out, "--student-steps", "10", "--json", "-"];
    ask("distill", &[&of[..], &more].concat());
    ask("survive", &["--seeds", "1", "--json"]);
    ask(
        "split",
        &["--data", "digits", "--out", &path("split"), "--json"],
    );
    let load = ["--agents", "3", "--contributions", "3", "--json", "-"];
    ask("load", &load);
}

#[test]
fn a_device_that_waits_is_approved_and_denied_in_json() {
    // Both verbs say the same shape; who never applied is not found.
    let running = agents(1, 30.0, None);
    let nobody = "00000000000000000000000000000000";
    for verb in ["approve", "deny"] {
        let (code, out, _) = operator(&running, &["device", verb, nobody, "--json"]);
        assert_eq!((code, out.as_str()), (Some(5), ""), "{verb}");
    }
}

#[test]
fn every_command_takes_json_and_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = 0;
    let shapes = shapes();
    for name in ["alambic-coordinator", "alambic-agent"] {
        let pages = folder.path().join(name);
        let manual = Command::new(program(name).unwrap())
            .arg("manual")
            .arg(&pages)
            .status();
        assert!(manual.unwrap().success());
        for (command, page) in leaves(&pages) {
            seen += 1;
            assert!(page.contains("Example"), "{command} has no example");
            if SILENT
                .iter()
                .any(|silent| silent.replace(' ', "-") == command)
            {
                continue;
            }
            let is_documented = shapes.keys().any(|key| key.replace(' ', "-") == command);
            assert!(is_documented, "{command} is not in docs/json.md");
            let takes_json = page.contains("\\-\\-json");
            let always = command == "alambic-coordinator-audit-export";
            assert!(takes_json || always, "{command} takes no --json");
        }
    }
    assert!(seen > 40, "only {seen} commands were seen");
}

/// The pages of commands that have no commands of their own, by name.
fn leaves(folder: &Path) -> Vec<(String, String)> {
    let pages = fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    });
    let pages: Vec<_> = pages.collect();
    pages
        .into_iter()
        .filter(|(name, page)| !page.contains(".SH SUBCOMMANDS") && !name.ends_with("-manual"))
        .collect()
}
