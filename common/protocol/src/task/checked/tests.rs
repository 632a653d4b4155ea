#![allow(clippy::unwrap_used)]
use super::*;
use crate::task::{RawTask, TaskFileError};

const SMALL: &str = r#"
name = "small"
[input]
shape = [4]
[classes]
names = ["off", "on"]
"#;

#[test]
fn a_short_file_gets_defaults_and_survives_the_wire() {
    let task = RawTask::parse(SMALL).unwrap();
    assert_eq!(task.features(), 5, "a list has a constant beside it");
    assert_eq!(task.classes(), 2);
    assert!(task.learns_normaliser());
    let again = Task::from_bytes(task.bytes()).unwrap();
    assert_eq!(again, task);
}

#[test]
fn a_planned_budget_refines_unless_the_file_says_otherwise() {
    let file = |target: &str, rest: &str| {
        format!("name = \"t\"\n[input]\nshape = [4]\n{target}\n[budget]\nplan = \"auto\"\n{rest}")
    };
    let classes = "[classes]\nnames = [\"a\", \"b\"]";
    let none = "[distillation]\nrefinement_steps = 0";
    for (target, rest, steps) in [
        (classes, "", 4),
        (classes, none, 0),
        ("[target]\nkind = \"number\"\nvalues = [\"load\"]", "", 4),
        ("[target]\nkind = \"none\"", "", 0),
    ] {
        let task = RawTask::parse(&file(target, rest)).unwrap();
        assert_eq!(task.definition().refinement_steps, steps, "{target}{rest}");
    }
}

#[test]
fn a_cnn_needs_features_in_cells() {
    let file = |stage: &str, student: &str| {
        format!(
            "name = \"i\"\n[input]\nshape = [28, 28]\n[classes]\nnames = [\"a\", \"b\"]\n\
             [features]\nstage = \"{stage}\"\n[student]\nkind = \"cnn\"\n{student}"
        )
    };
    let task = RawTask::parse(&file("patches", "channels = [8, 12]\nhidden = [20]")).unwrap();
    assert_eq!(task.student().to_string(), "cnn:8,12/20");
    let parameters = 8 * (9 * 16 + 1) + 12 * (9 * 8 + 1) + 20 * (9 * 12 + 1) + 2 * 21;
    assert_eq!(task.student().parameters(), parameters);
    for (student, key) in [
        ("channels = []", "student.channels"),
        ("channels = [0]", "student.channels"),
        ("hidden = [0]", "student.channels"),
    ] {
        match RawTask::parse(&file("raw", student)) {
            Err(TaskFileError::Task(TaskError::Value { key: named, .. })) => {
                assert_eq!(named, key);
            }
            other => panic!("{student}: {other:?}"),
        }
    }
}

#[test]
fn stage_that_nobody_names_suits_the_shape() {
    let stage = |shape: &str, more: &str| {
        let text = format!(
            "name = \"i\"\n[input]\nshape = {shape}\n[classes]\nnames = [\"a\", \"b\"]\n{more}"
        );
        let task = RawTask::parse(&text).unwrap();
        let measured = task.learns_quantiles() && task.definition().method.feature_weights;
        let stage = task.definition().features;
        assert_eq!(measured, stage.is_measured(), "{stage}");
        stage.to_string()
    };
    assert_eq!(stage("[4]", ""), "lifted/1");
    assert_eq!(stage("[128, 6]", ""), "window/1");
    assert_eq!(stage("[28, 28]", ""), "patches/1");
    let convolves = "[student]\nkind = \"cnn\"";
    assert_eq!(stage("[128, 6]", convolves), "series/1:16x6x8");
    let range = "[normaliser]\nrange = [0.0, 255.0]";
    assert_eq!(stage("[28, 28]", range), "patches/1");
    assert_eq!(stage("[4]", range), "raw");
}

#[test]
fn class_names_that_no_label_can_write_are_refused() {
    for (names, named) in [
        (r#""off ", "on""#, "off "),
        (r#""off", "\ton""#, "ton"),
        (r#""1", "1.0""#, "1.0"),
        (r#""off", "off""#, "off"),
    ] {
        let text = SMALL.replace(r#""off", "on""#, names);
        match RawTask::parse(&text) {
            Err(TaskFileError::Task(TaskError::Value { key, value, .. })) => {
                assert_eq!(key, "classes.names");
                assert!(value.contains(named), "{value}");
            }
            other => panic!("{names}: {other:?}"),
        }
    }
    let numbers = SMALL.replace(r#""off", "on""#, r#""1", "2", "-1""#);
    assert_eq!(RawTask::parse(&numbers).unwrap().classes(), 3);
}

#[test]
fn any_difference_gives_another_hash() {
    let one = RawTask::parse(SMALL).unwrap();
    let other = RawTask::parse(&format!("{SMALL}\n[distillation]\nseed = 1")).unwrap();
    assert_ne!(one.hash(), other.hash());
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let error = RawTask::parse(&format!("{SMALL}\n[student]\nhiden = [3]")).unwrap_err();
    assert!(matches!(error, TaskFileError::Syntax(_)));
    assert!(error.to_string().contains("hiden"), "{error}");
}

#[test]
fn values_outside_their_range_name_their_key() {
    for (extra, key) in [
        ("[student]\nhidden = [0]", "student.hidden"),
        ("[student]\nhidden = [9000000]", "student.hidden"),
        ("[budget]\npoints_max = 0", "budget.points_max"),
        ("[budget]\ncluster_size_min = 1", "budget.cluster_size_min"),
        ("[normaliser]\nrange = [1.0, 0.0]", "normaliser.range"),
        ("[rounds]\nquorum = 1.5", "rounds.quorum"),
        ("[teacher]\ndepth = 0", "teacher.depth"),
        ("[features]\nstage = \"window\"", "features.stage"),
        ("[student]\nkind = \"cnn\"", "student.kind"),
        ("[student]\nchannels = [8]", "student.channels"),
        (
            "[distillation]\nsharpening = 0.0",
            "distillation.sharpening",
        ),
    ] {
        match RawTask::parse(&format!("{SMALL}\n{extra}")) {
            Err(TaskFileError::Task(TaskError::Value { key: named, .. })) => {
                assert_eq!(named, key);
            }
            other => panic!("{extra}: {other:?}"),
        }
    }
}

#[test]
fn a_standing_task_round_trips() {
    let file = |rounds: &str| format!("{SMALL}\n[rounds]\n{rounds}");
    let plain = RawTask::parse(SMALL).unwrap();
    let named = RawTask::parse(&file("mode = \"synchronous\"")).unwrap();
    assert_eq!(named.bytes(), plain.bytes());
    let task = RawTask::parse(&file("mode = \"standing\"")).unwrap();
    let standing = task.definition().standing.unwrap();
    assert_eq!(
        (standing.rows_new, standing.interval_ms),
        (1_000, 3_600_000)
    );
    assert!(task.bytes().starts_with(plain.bytes()));
    assert_eq!(Task::from_bytes(task.bytes()).unwrap(), task);
    for (rounds, key) in [
        ("rows_new = 5", "rounds.rows_new"),
        ("mode = \"standing\"\nrows_new = 0", "rounds.rows_new"),
        (
            "mode = \"standing\"\ninterval_s = 0.01",
            "rounds.interval_s",
        ),
        (
            "mode = \"standing\"\n[budget]\nplan = \"auto\"",
            "budget.plan",
        ),
    ] {
        match RawTask::parse(&file(rounds)) {
            Err(TaskFileError::Task(TaskError::Value { key: named, .. })) => {
                assert_eq!(named, key);
            }
            other => panic!("{rounds}: {other:?}"),
        }
    }
}

#[test]
fn a_method_survives_the_wire() {
    let method = "[teacher]
feature_weights = true
landmarks_max = 300
\
                  [distillation]
consensus = \"median\"
sharpening = 2.0";
    let task = RawTask::parse(&format!("contribute = \"moments\"\n{SMALL}{method}")).unwrap();
    assert_eq!(task.definition().method.landmarks_max, 300);
    assert_ne!(task.hash(), RawTask::parse(SMALL).unwrap().hash());
    assert_eq!(Task::from_bytes(task.bytes()).unwrap(), task);
    let error = Task::from_bytes(&[task.bytes(), &[0]].concat()).unwrap_err();
    assert!(matches!(error, TaskError::Decode(DecodeError::Trailing(1))));
}

#[test]
fn landmarks_are_for_moments() {
    let refused = |text: &str| match RawTask::parse(text) {
        Err(TaskFileError::Task(TaskError::Value { key, .. })) => {
            assert_eq!(key, "teacher.landmarks_max");
        }
        other => panic!("{text}: {other:?}"),
    };
    refused(&format!(
        "{SMALL}[teacher]
landmarks_max = 2001"
    ));
    let points = SMALL.replace(
        "[input]",
        "contribute = \"points\"
[input]",
    );
    refused(&format!(
        "{points}[teacher]
landmarks_max = 10"
    ));
}
