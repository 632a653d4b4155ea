#![allow(clippy::unwrap_used)]
use super::*;
use crate::report::{DeviceRow, Influence, PointPicture};
use serde_json::json;

fn outcome() -> Value {
    json!({
        "config": { "dataset": "<b>odd</b>", "seed": 0, "rounds": 2 },
        "rounds": [
            { "round": 1, "student_accuracy": 0.9, "teacher_accuracy": 0.91,
              "uplink_bytes_max": 10_000, "downlink_bytes_mean": 1_234_567.0 },
            { "round": 2, "student_accuracy": 0.92, "teacher_accuracy": 0.93,
              "uplink_bytes_max": 20_000, "downlink_bytes_mean": 1_234_567.0 },
        ],
        "baselines": { "alone_mean": 0.5, "pooled_student": 0.95 },
        "choices": { "lambda": { "value": 1e-5, "reason": "cross-validation" } },
    })
}

fn detail() -> Detail {
    Detail {
        classes: vec!["a".to_owned(), "<i>".to_owned()],
        devices: vec![DeviceRow {
            device: 0,
            rows: vec![10, 0],
            points: 3,
            bytes: [1, 2],
            influence: Some(Influence {
                of_moments: coordinator::aggregate::Influence {
                    rows: 10,
                    own_with: 0.1,
                    own_without: 0.4,
                    others_with: 0.1,
                    others_without: 0.2,
                },
                accuracy_lost: 0.02,
            }),
        }],
        confusion: vec![vec![5, 1], vec![0, 6]],
        points: vec![PointPicture {
            class: 0,
            count: 7,
            html: "<svg></svg>".to_owned(),
        }],
        pictured: "Pictures.",
    }
}

#[test]
fn a_page_is_whole_fetches_nothing_and_runs_nothing() {
    let page = render(&outcome(), &detail(), "alambic-lab simulate --data <x>").unwrap();
    for part in [
        "92.00\u{a0}%",
        "1\u{202f}234\u{202f}567",
        "cross-validation",
        "+2.00 %",
        "0.4000",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for part in [
        "<b>odd",
        "<script",
        "src=\"http",
        "href=",
        "@import",
        "url(",
        "--data <x>",
    ] {
        assert!(!page.contains(part), "{part}");
    }
}

#[test]
fn a_sweep_lists_every_cell() {
    let cells: Vec<Cell> = (0..8)
        .map(|at| Cell {
            name: format!("points = {at}"),
            outcome: outcome(),
        })
        .collect();
    let page = render_sweep(&SweepPage {
        title: "sweep",
        command: "alambic-lab sweep s.toml",
        cells: &cells,
    })
    .unwrap();
    assert_eq!(page.matches("<tr><th>points = ").count(), 8);
}
