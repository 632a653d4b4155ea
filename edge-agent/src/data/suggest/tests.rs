#![allow(clippy::unwrap_used)]
use super::*;
use common::task::{InputKind, RawTask};

fn suggested(text: &str) -> Result<String, SuggestError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.csv"), text).unwrap();
    suggest(folder.path(), &Mapping::default(), "label")
}

#[test]
fn what_is_no_good_table_suggests_no_task() {
    let rows = "1.5,2,ok\n3.5,4,blocked\n".repeat(30);
    let told = |text: &str| suggested(text).unwrap_err().to_string();
    assert!(told(&rows).contains("no header"));
    assert!(told(&format!("a,a,label\n{rows}")).contains("twice"));
    let twice = format!("a,b,label\n{rows}a,b,label\n{rows}");
    let once = suggested(&format!("a,b,label\n{rows}")).unwrap();
    assert_eq!(
        suggested(&twice).unwrap().replace("120 rows", "60 rows"),
        once
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("0.csv"), "PK\x03\x04").unwrap();
    std::fs::write(folder.path().join("1.csv"), format!("a,b,label\n{rows}")).unwrap();
    let beside = suggest(folder.path(), &Mapping::default(), "label").unwrap();
    assert!(RawTask::parse(&beside).is_ok(), "{beside}");
}

#[test]
fn a_table_becomes_a_task_of_its_columns() {
    let mut text = "id;when;Flow (l/min);mode;note;State\n".to_owned();
    for row in 0..60 {
        let (mode, state) = (["auto", "manual"][row % 2], ["ok", "blocked"][row / 7 % 2]);
        let flow = if row == 5 {
            String::new()
        } else {
            format!("{},5", row % 9)
        };
        let _ = writeln!(
            text,
            "{row};2026-01-01 00:{row:02}:00;{flow};{mode};text {row};{state}"
        );
    }
    let text = suggested(&text).unwrap();
    let task = RawTask::parse(&text).unwrap();
    let InputKind::Table(table) = task.input() else {
        panic!("{text}");
    };
    assert_eq!(table.columns.len(), 2, "{text}");
    assert_eq!(
        (&*table.columns[0].name, &*table.columns[0].unit),
        ("Flow", "l/min")
    );
    assert_eq!(table.columns[1].values, ["auto", "manual"]);
    assert_eq!(task.definition().classes, ["blocked", "ok"]);
    assert!(
        text.contains("skip-row") && text.contains("label_column = \"State\""),
        "{text}"
    );
}

#[test]
fn rows_that_come_fast_become_a_series() {
    let mut text = "timestamp,ax,ay,label\n".to_owned();
    for row in 0..400u64 {
        let _ = writeln!(
            text,
            "{},{},1,{}",
            1_796_000_000_000 + 20 * row,
            row % 17,
            ["walk", "sit"][(row / 200) as usize]
        );
    }
    let text = suggested(&text).unwrap();
    let task = RawTask::parse(&text).unwrap();
    assert_eq!(task.input_shape().sides(), [128, 2], "{text}");
    assert!(text.contains("rate_hz = 50 "), "{text}");
}

#[test]
fn what_cannot_be_learnt_from_is_said() {
    assert!(matches!(
        suggested("a,b\n1,2\n3,4\n"),
        Err(SuggestError::NoLabel { .. })
    ));
    assert!(matches!(
        suggested("id,label\n1,a\n2,b\n3,a\n"),
        Err(SuggestError::NoColumns { .. })
    ));
    let folder = tempfile::tempdir().unwrap();
    let none = suggest(folder.path(), &Mapping::default(), "label");
    assert!(matches!(none, Err(SuggestError::NoTable { .. })));
}
