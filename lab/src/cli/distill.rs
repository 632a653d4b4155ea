//! `alambic-lab distill`. Ctrl-C keeps the best so far and writes it; a second
//! one ends at once.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use common::exit;
use lab::data::{Asked, Dataset};
use lab::distill::{
    self, DistilOptions, DistilOutcome, DistilledSet, MethodName, Monitor, Session, StepReport,
};
use lab::points::PointTable;
use lab::progress::Progress;

use super::{Failure, interrupt, is_stdout, write_json};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  alambic-lab distill --data digits --per-class 10 --out digits10.npz
  alambic-lab distill --data mnist.npz --per-class 10 --method kip --out m10.npz --report m10.html
  alambic-lab distill --data har --per-class 20 --method label-solve --out har20.npz --json -

The archive holds X (points), y (soft labels less 1/classes), classes and
class_names, and what it takes to look at new inputs in the same way. Features
and kernel are chosen on held-out training rows; the test set only judges.
Ctrl-C keeps the best points so far and writes all outputs (exit code 130).")]
pub(crate) struct DistillArguments {
    /// har, digits, or an NPZ file with X_train, y_train, X_test, y_test
    #[arg(long, value_name = "NAME|FILE")]
    data: String,
    /// Distilled points of each class
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    per_class: u32,
    /// kip, kmeans or label-solve
    #[arg(long, default_value = "kip")]
    method: MethodName,
    /// Seed of every random choice
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the distilled points go
    #[arg(long, value_name = "FILE.npz")]
    out: PathBuf,
    /// Where the points go for other programs, in the inputs' own space where
    /// they have one
    #[arg(long, value_name = "FILE.npz|.csv")]
    points_out: Option<PathBuf>,
    /// raw, window, patches (with or without parameters) or auto
    #[arg(long, default_value = "auto")]
    features: String,
    /// Hidden layers of the kernel's network, 1 to 8 [default: chosen]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=8))]
    depth: Option<u8>,
    /// Optimiser steps of kip [default: 2000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    steps: Option<u32>,
    /// Optimiser steps of the student; 0 leaves it out
    #[arg(long, default_value_t = 3_000)]
    student_steps: u32,
    /// Write the figures as JSON to a file, or to standard output with -
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Write a page with a picture of every point
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// Distils, tries, writes.
pub(crate) fn run(arguments: DistillArguments) -> Result<(), Failure> {
    let options = DistilOptions {
        per_class: arguments.per_class as usize,
        method: arguments.method,
        seed: arguments.seed,
        features: Some(arguments.features).filter(|stage| stage != "auto"),
        depth: arguments.depth,
        steps: arguments.steps,
        hidden: None,
        student_steps: arguments.student_steps.max(1),
    };
    let data = super::open(&arguments.data, Asked::Class)?;
    let stop = interrupt::watch("ending with the best so far");
    if let Some(path) = &arguments.points_out {
        PointTable::check_ending(path).map_err(exit::Failure::from)?;
    }
    let mut progress = Progress::new(false);
    let begun = Instant::now();
    progress.stage(&format!(
        "{}: {} points a class by {}",
        data.name, options.per_class, options.method
    ));
    let session = distill::choose(&data, &options, |line| progress.stage(line))?;
    let mut watch = Watch::new(&mut progress, &stop);
    let method = options.method.method(options.steps());
    let distilled = method.distil(&session.problem, &mut watch)?;
    let losses = watch.losses;
    let archive = DistilledSet::of(&session, &distilled)
        .with_offset(data.offset.clone())
        .to_npz()?;
    write(&arguments.out, &archive)?;
    if let Some(path) = &arguments.points_out {
        let table = PointTable::of_distilled(&session, &distilled);
        let table = table
            .as_long_as(data.train.inputs.view())
            .moved_by(data.offset.as_deref());
        table.write(path).map_err(exit::Failure::from)?;
    }
    let mut found = DistilOutcome {
        krr_accuracy: session.krr_accuracy(&data, &distilled)?,
        student_accuracy: None,
        bytes: archive.len(),
        wall_ms: begun.elapsed().as_millis() as u64,
        student_wall_ms: 0,
        interrupted: stop.load(Ordering::Relaxed),
    };
    if arguments.student_steps > 0 && !found.interrupted {
        let (accuracy, wall_ms) = student(&data, &session, &distilled, &mut progress)?;
        found.student_accuracy = Some(accuracy);
        found.student_wall_ms = wall_ms;
    }
    progress.finish();
    let figures = distill::outcome(&data, &options, &session, &distilled, &found);
    if let Some(path) = &arguments.report {
        let page = distill::gallery(&data, &session, &distilled, &losses, &figures);
        write(path, page.as_bytes())?;
    }
    if let Some(path) = &arguments.json {
        write_json(path, &figures)?;
    }
    if !arguments.json.as_deref().is_some_and(is_stdout) {
        show(&figures, &arguments.out);
    }
    if found.interrupted {
        return Err(Failure::Interrupted {
            kept: arguments.out,
        });
    }
    Ok(())
}

fn student(
    data: &Dataset,
    session: &Session,
    distilled: &distill::Distilled,
    progress: &mut Progress,
) -> Result<(f64, u64), Failure> {
    progress.stage("  student");
    let mut last = Instant::now();
    let found = session.student_accuracy(data, distilled, |step, steps| {
        if last.elapsed() >= EVERY {
            last = Instant::now();
            progress.stage(&format!("  student: step {step} of {steps}"));
        }
    })?;
    Ok(found)
}

fn show(figures: &Value, out: &Path) {
    let percent = |value: &Value| match value.as_f64() {
        Some(value) => format!("{:.2} %", 100.0 * value),
        None => "not measured".to_owned(),
    };
    println!(
        "{} points, features {}, depth {}: kernel regression {}, student {}; {} bytes in {}, {:.1} s",
        figures["config"]["points"],
        figures["choices"]["features"]["value"]
            .as_str()
            .unwrap_or("raw"),
        figures["choices"]["depth"]["value"],
        percent(&figures["krr_accuracy"]),
        percent(&figures["student_accuracy"]),
        figures["bytes"],
        out.display(),
        figures["wall_ms"].as_f64().unwrap_or(f64::NAN) / 1e3,
    );
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|cause| Failure::Write {
        path: path.to_owned(),
        cause,
    })
}

/// Shows the loss now and then, and keeps it for the page.
struct Watch<'a> {
    progress: &'a mut Progress,
    stop: &'a AtomicBool,
    shown: Instant,
    losses: Vec<(u32, f64)>,
}

impl<'a> Watch<'a> {
    fn new(progress: &'a mut Progress, stop: &'a AtomicBool) -> Self {
        Self {
            progress,
            stop,
            shown: Instant::now(),
            losses: Vec::new(),
        }
    }
}

impl Monitor for Watch<'_> {
    fn step(&mut self, report: StepReport) {
        self.losses.push((report.step, report.loss));
        let held_out = report
            .held_out
            .map(|score| format!(", {:.2} % of held-out rows", 100.0 * score.accuracy));
        if held_out.is_none() && self.shown.elapsed() < EVERY {
            return;
        }
        self.shown = Instant::now();
        self.progress.stage(&format!(
            "  step {} of {}: loss {:.6}{}",
            report.step,
            report.steps,
            report.loss,
            held_out.unwrap_or_default()
        ));
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// How often progress is shown.
const EVERY: Duration = Duration::from_secs(2);
