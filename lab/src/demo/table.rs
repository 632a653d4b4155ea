//! The demo's last words: what came of it, where things are, what to try.

use std::fmt::Write;

use comfy_table::{Table, presets};

use super::DemoResult;
use super::fleet::{Fleet, Memory};
use crate::outcome::{Baselines, Reached};

/// The table and the hints below it.
pub fn render(result: &DemoResult) -> String {
    let mut text = String::new();
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_header(header(result));
    if let Some(baselines) = &result.outcome.baselines {
        table.add_row([
            "a device alone, mean (range)".to_owned(),
            alone(baselines),
            String::new(),
        ]);
    }
    for round in &result.outcome.rounds {
        let [student, beside, teacher] = figures(&round.reached);
        table.add_row([
            format!("federated student, round {}", round.round),
            student,
            beside,
        ]);
        table.add_row([
            format!("  its kernel teacher, round {}", round.round),
            teacher,
            String::new(),
        ]);
    }
    if let Some(baselines) = &result.outcome.baselines {
        let pooled = match *baselines {
            Baselines::Classes { pooled_student, .. } => percent(pooled_student),
            Baselines::Numbers {
                pooled_student_rmse,
                ..
            } => figure(pooled_student_rmse),
        };
        table.add_row([
            "the same student, all data pooled".to_owned(),
            pooled,
            String::new(),
        ]);
    }
    let _ = writeln!(text, "{table}\n");
    let _ = writeln!(text, "{}\n", bytes(result));
    let phases: Vec<String> = result
        .phase_ms
        .iter()
        .map(|(phase, ms)| format!("{phase} {ms} ms"))
        .collect();
    let _ = writeln!(text, "phases      {}", phases.join(", "));
    let Memory {
        coordinator_peak,
        agent_peak,
        agent_idle,
    } = result.memory;
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let _ = writeln!(
        text,
        "memory      coordinator at most {}; an agent at most {}, {} when idle",
        mib(coordinator_peak),
        mib(agent_peak),
        mib(agent_idle),
    );
    let _ = writeln!(text, "student     {} bytes signed", result.release_bytes);
    let _ = write!(text, "{}", hints(result));
    text
}

fn bytes(result: &DemoResult) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_header(["bytes per device (UDP payload)", "mean", "most"]);
    if let Some(round) = result.outcome.rounds.last() {
        table.add_row([
            "up, profile and all rounds".to_owned(),
            format!("{:.0}", round.uplink_bytes_mean),
            round.uplink_bytes_max.to_string(),
        ]);
        let down = format!("{:.0}", round.downlink_bytes_mean);
        table.add_row(["down".to_owned(), down, String::new()]);
        let handshake = format!("{:.0}", round.handshake_bytes_mean);
        table.add_row([
            "enrolment and handshakes, both ways".to_owned(),
            handshake,
            String::new(),
        ]);
    }
    table
}

fn hints(result: &DemoResult) -> String {
    let folder = result.folder.display();
    match &result.fleet {
        None => "\nRun it again with --keep to look around in a running fleet.\n".to_owned(),
        Some(fleet) => format!(
            "\n{}The fleet is still running. Its state is in {folder}. Try:\n\
             \x20 alambic-coordinator --state {folder}/coordinator status\n\
             \x20 alambic-coordinator --state {folder}/coordinator round start --watch\n\
             \x20 alambic-coordinator --state {folder}/coordinator model export --format safetensors --out student.safetensors\n\
             \x20 alambic-agent --state {folder}/agents/00/state status\n\
             \x20 alambic-agent --state {folder}/agents/00/state predict --input {folder}/agents/00/data/rows.npz\n\
             \x20 alambic-agent --state {folder}/agents/00/state sent list\n\
             \x20 curl --unix-socket {folder}/agents/00/state/predict.sock http://localhost/v1/students\n\
             Ctrl-C stops it.\n",
            look(fleet)
        ),
    }
}

fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

fn figure(error: f64) -> String {
    format!("{error:.4}")
}

fn header(result: &DemoResult) -> [&'static str; 3] {
    let numbers = result.outcome.rounds.iter();
    let mut numbers = numbers.filter(|round| matches!(round.reached, Reached::Numbers { .. }));
    match numbers.next() {
        Some(_) => ["on inputs nobody trained on", "RMSE", "MAE"],
        None => [
            "on people and inputs nobody trained on",
            "accuracy",
            "macro-F1",
        ],
    }
}

fn alone(baselines: &Baselines) -> String {
    match *baselines {
        Baselines::Classes {
            alone_mean,
            alone_min,
            alone_max,
            ..
        } => format!(
            "{} ({} to {})",
            percent(alone_mean),
            percent(alone_min),
            percent(alone_max)
        ),
        Baselines::Numbers {
            alone_rmse_mean,
            alone_rmse_min,
            alone_rmse_max,
            ..
        } => format!(
            "{} ({} to {})",
            figure(alone_rmse_mean),
            figure(alone_rmse_min),
            figure(alone_rmse_max)
        ),
    }
}

/// Two of the student, one of the teacher.
fn figures(reached: &Reached) -> [String; 3] {
    match *reached {
        Reached::Classes {
            student_accuracy,
            student_macro_f1,
            teacher_accuracy,
            ..
        } => [student_accuracy, student_macro_f1, teacher_accuracy].map(percent),
        Reached::Numbers {
            student_rmse,
            student_mae,
            teacher_rmse,
            ..
        } => [student_rmse, student_mae, teacher_rmse].map(figure),
        Reached::Nothing {} => [const { String::new() }; 3],
    }
}

/// Where to look at the fleet in a browser.
fn look(fleet: &Fleet) -> String {
    match fleet.page() {
        Ok(Some(page)) => format!("Look at the fleet: http://{page}/\n\n"),
        _ => String::new(),
    }
}
