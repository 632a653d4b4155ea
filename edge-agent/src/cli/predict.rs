//! `predict`: classes or numbers for the rows of a file, or of a stream, offline.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use common::model::{Answers, Release};
use common::novelty::NOVEL;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use serde_json::json;

use super::follow::{self, Out, Wanted};
use super::student::choose;
use super::{ExitCode, Failure};
use crate::backbone::{BackboneError, Opened};
use crate::config::Config;
use crate::data::{Account, Dataset, Ending, FileRows, Schema, Unused};
use crate::predictions::{Source, UNLIKE};
use crate::state::StateDir;

/// Predict the class of each row of a file, or the numbers that the task asks
/// for, with the installed student. Needs no network and no running agent. If
/// the file has labels, the accuracy or the error follows.
///
/// With --follow, a stream is read as it comes: a file that grows (one that is
/// replaced is read anew), standard input, or an MQTT broker. Recordings are cut
/// into windows as they are for training, and each window or row makes a line of
/// JSON as soon as its last sample is there, with all probabilities, the novelty
/// and the version of the student, which may change between two lines. Nothing
/// is read faster than it is answered. Rows that cannot be read are left out and
/// told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  alambic-agent predict --input new.csv
  alambic-agent predict --input windows.npz --json | jq .accuracy
  alambic-agent predict --follow /var/lib/pump/today.csv --hold 3
  my-sensor | alambic-agent predict --follow - | jq -r .class
  alambic-agent predict --follow mqtt://localhost/pump/# --publish pump/state")]
pub(super) struct Arguments {
    /// A CSV, NPZ or NPY file
    #[arg(long, value_name = "FILE", required_unless_present = "follow")]
    input: Option<PathBuf>,
    /// A stream: a CSV file that grows, - for standard input, mqtt://HOST[:PORT]/TOPIC, or mqtt
    /// for the broker of agent.toml
    #[arg(long, value_name = "SOURCE", conflicts_with_all = ["input", "json"])]
    follow: Option<Source>,
    /// Consecutive windows that must have the same class before it becomes the stream's class
    /// (`held`)
    #[arg(long, value_name = "WINDOWS", default_value_t = 1, requires = "follow",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    hold: u32,
    /// Publish predictions on this topic of the broker instead of printing them
    #[arg(long, value_name = "TOPIC", requires = "follow")]
    publish: Option<String>,
    /// The task, if students of several are installed
    #[arg(long, value_name = "NAME|HASH")]
    task: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    common::math::blas::pin_to_one_thread();
    if let Some(source) = &arguments.follow {
        let is_broker = matches!(source, Source::Configured | Source::Broker { .. });
        if arguments.publish.is_some() && !is_broker {
            let what = "--publish needs a broker: --follow mqtt or mqtt://HOST/TOPIC";
            return Err(Failure::new(ExitCode::Usage, what));
        }
        let wanted = Wanted {
            source: source.clone(),
            task: arguments.task.clone(),
            hold: arguments.hold,
            out: match &arguments.publish {
                Some(topic) => Out::Published(topic.clone()),
                None => Out::Printed,
            },
            from_end: false,
        };
        return follow::run(config, &wanted);
    }
    let path = arguments.input.as_deref().unwrap_or(Path::new("-"));
    let release = choose(config, arguments.task.as_deref())?;
    let (rows, left_out) = read(config, path, &release)?;
    let rows = through_model(config, &release, rows)?;
    let answers = release
        .answers(rows.stage_inputs())
        .map_err(|error| Failure::new(ExitCode::Usage, format!("{}: {error}", path.display())))?;
    let novelty = release.novelty(rows.stage_inputs());
    let novelty = novelty.map_err(|error| Failure::new(ExitCode::Failed, error.to_string()))?;
    let novelty = novelty.unwrap_or_default();
    let written = match answers {
        Answers::Classes(all) => {
            of_classes(arguments, &release, (&rows, left_out), (&all, &novelty))
        }
        Answers::Numbers(all) => {
            of_numbers(arguments, &release, (&rows, left_out), (&all, &novelty))
        }
    };
    match written {
        // Anyone who reads has seen enough, as in `… | head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| {
            Failure::new(
                ExitCode::Failed,
                format!("cannot write the answers: {error}"),
            )
        }),
    }
}

/// The rows as the student sees them: this process ends with its answers, so the model
/// of the task may be opened here.
fn through_model(config: &Config, release: &Release, rows: Dataset) -> Result<Dataset, Failure> {
    let opened = Opened::of(&StateDir::at(&config.state), release.task());
    let failed = |error: BackboneError| {
        Failure::new(ExitCode::Failed, error.to_string()).advise(error.advice())
    };
    match opened.map_err(failed)? {
        None => Ok(rows),
        Some(mut model) => {
            let seen = model.rows(rows.inputs()).map_err(failed)?;
            Ok(rows.with_seen(seen))
        }
    }
}

fn of_classes(
    arguments: &Arguments,
    release: &Release,
    (rows, left_out): (&Dataset, usize),
    (probabilities, novelty): (&Array2<f32>, &[f32]),
) -> std::io::Result<()> {
    let answers: Vec<Answer> = probabilities
        .rows()
        .into_iter()
        .zip(rows.labels())
        .map(|(row, label)| Answer::of(row, *label))
        .collect();
    let labelled = answers.iter().filter(|answer| answer.label.is_some());
    let score = (
        labelled.clone().filter(|answer| answer.is_right()).count(),
        labelled.count(),
    );
    let classes = &release.task().definition().classes;
    match arguments.json {
        true => write_json(release, (&answers, novelty), (score, left_out)),
        false => write_lines(classes, (&answers, novelty), score),
    }
}

fn of_numbers(
    arguments: &Arguments,
    release: &Release,
    (rows, left_out): (&Dataset, usize),
    (said, novelty): (&Array2<f32>, &[f32]),
) -> std::io::Result<()> {
    let specs = release.task().target().numbers();
    let off = rows.numbers().and_then(|truth| Off::of(said, truth, rows));
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if arguments.json {
        let named = said.rows().into_iter().enumerate().map(|(at, row)| {
            let numbers = specs.iter().zip(row);
            let numbers = numbers.map(|(spec, value)| (spec.name.clone(), json!(value)));
            let row = json!({"numbers": numbers.collect::<serde_json::Map<_, _>>()});
            with_novelty(row, novelty.get(at))
        });
        let text = json!({
            "task": release.task().hash(),
            "version": release.version(),
            "rows": named.collect::<Vec<_>>(),
            "left_out": left_out,
            "labelled": off.as_ref().map_or(0, |off| off.rows),
            "rmse": off.as_ref().map(|off| off.rmse),
            "mae": off.as_ref().map(|off| off.mae),
        });
        writeln!(out, "{text}")?;
        return out.flush();
    }
    for (at, row) in said.rows().into_iter().enumerate() {
        let shown = specs.iter().zip(row);
        let shown: Vec<String> = shown
            .map(|(spec, &value)| spec.shown(value.into()))
            .collect();
        writeln!(out, "{}{}", shown.join("\t"), unlike(novelty.get(at)))?;
    }
    out.flush()?;
    if let Some(off) = off {
        let Off { rows, rmse, mae } = off;
        eprintln!("RMSE {rmse:.4}, MAE {mae:.4} on {rows} labelled rows");
    }
    Ok(())
}

/// How far off numbers are on the labelled rows, all values together.
struct Off {
    rows: usize,
    rmse: f64,
    mae: f64,
}

impl Off {
    fn of(said: &Array2<f32>, truth: ArrayView2<'_, f32>, rows: &Dataset) -> Option<Self> {
        let labelled: Vec<usize> = (0..rows.rows())
            .filter(|&row| rows.labels()[row].is_some())
            .collect();
        let apart = &said.select(Axis(0), &labelled) - &truth.select(Axis(0), &labelled);
        let count = apart.len();
        let (squares, sizes) = apart.iter().fold((0.0, 0.0), |(squares, sizes), &one| {
            let one = f64::from(one);
            (squares + one * one, sizes + one.abs())
        });
        (count > 0).then(|| Self {
            rows: labelled.len(),
            rmse: (squares / count as f64).sqrt(),
            mae: sizes / count as f64,
        })
    }
}

struct Answer {
    class: usize,
    probability: f32,
    label: Option<u16>,
}

impl Answer {
    fn of(row: ArrayView1<'_, f32>, label: Option<u16>) -> Self {
        let larger = |best: usize, class: usize| if row[class] > row[best] { class } else { best };
        let class = (0..row.len()).fold(0, larger);
        Self {
            class,
            probability: row[class],
            label,
        }
    }

    fn is_right(&self) -> bool {
        self.label.map(usize::from) == Some(self.class)
    }
}

/// All rows of a file, whatever may be held to learn from, and how many there are
/// that no answer can be given to: they are told.
fn read(config: &Config, path: &Path, release: &Release) -> Result<(Dataset, usize), Failure> {
    let bad = |code, error: &dyn std::fmt::Display| {
        Failure::new(code, format!("{}: {error}", path.display()))
    };
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => bad(ExitCode::NotFound, &"no such file"),
        _ => bad(ExitCode::Usage, &error),
    })?;
    let task = release.task();
    let schema = config.reading().schema(task);
    let schema = schema.map_err(|error| bad(ExitCode::Failed, &error))?;
    let rows = every_row(path, &bytes, schema);
    let (data, unanswered) = rows.map_err(|error| bad(ExitCode::Usage, &error))?;
    let left_out = unanswered.unused.values().map(|(count, _)| count).sum();
    if left_out > 0 {
        eprintln!("no answer to {}", unanswered.explain());
    }
    Ok((data, left_out))
}

/// The rows of a file in its order, and an account of those that are not among them.
fn every_row(path: &Path, bytes: &[u8], schema: Schema) -> Result<(Dataset, Account), String> {
    let schema = schema.with_optional_labels();
    let schema = schema.with_held_max(ANSWERED_VALUES_MAX, ANSWERED_VALUES_MAX);
    let read = Dataset::read(path, bytes, &schema, Ending::Closed);
    let FileRows { data, account, .. } = read.map_err(|error| error.to_string())?;
    if data.rows_read() > data.rows() as u64 {
        return Err(format!(
            "holds {} rows, and at most {} are answered at once; split it, or stream it (--follow)",
            data.rows_read(),
            schema.rows_max()
        ));
    }
    let mut unanswered = account;
    // What is left at the end of a recording is no row, and neither is a header.
    let is_row = |why: &Unused| {
        !matches!(
            why,
            Unused::Rest | Unused::MixedLabels | Unused::HeaderAgain
        )
    };
    unanswered.unused.retain(|why, _| is_row(why));
    Ok((data, unanswered))
}

/// Most values that are answered at once: 256 MiB.
const ANSWERED_VALUES_MAX: usize = 1 << 26;

/// What stands behind a row that is unlike anything the student was trained on.
fn unlike(novelty: Option<&f32>) -> String {
    match novelty {
        Some(&score) if score >= NOVEL => format!("\t{score:.2}: {UNLIKE}"),
        Some(score) => format!("\t{score:.2}"),
        None => String::new(),
    }
}

fn with_novelty(mut row: serde_json::Value, novelty: Option<&f32>) -> serde_json::Value {
    if let Some(score) = novelty {
        row["novelty"] = json!(score);
    }
    row
}

fn write_lines(
    classes: &[String],
    (answers, novelty): (&[Answer], &[f32]),
    (right, labelled): (usize, usize),
) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for (at, answer) in answers.iter().enumerate() {
        let (class, unlike) = (&classes[answer.class], unlike(novelty.get(at)));
        writeln!(out, "{class}\t{:.4}{unlike}", answer.probability)?;
    }
    out.flush()?;
    if labelled > 0 {
        let share = 100.0 * right as f64 / labelled as f64;
        eprintln!("{right} of {labelled} labelled rows right ({share:.1} %)");
    }
    Ok(())
}

fn write_json(
    release: &Release,
    (answers, novelty): (&[Answer], &[f32]),
    ((right, labelled), left_out): ((usize, usize), usize),
) -> std::io::Result<()> {
    let classes = &release.task().definition().classes;
    let row = |(at, answer): (usize, &Answer)| {
        let row = json!({"class": classes[answer.class], "probability": answer.probability});
        with_novelty(row, novelty.get(at))
    };
    let rows: Vec<_> = answers.iter().enumerate().map(row).collect();
    let accuracy = (labelled > 0).then(|| right as f64 / labelled as f64);
    let text = json!({
        "task": release.task().hash(),
        "version": release.version(),
        "rows": rows,
        "left_out": left_out,
        "labelled": labelled,
        "accuracy": accuracy,
    });
    writeln!(std::io::stdout().lock(), "{text}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::{BadRows, Mapping, SAMPLE_ROWS_MAX};
    use common::features::InputShape;

    #[test]
    fn more_rows_than_are_learnt_from_are_all_answered() {
        let shape = InputShape::new(vec![1]).unwrap();
        let schema = Schema::new(shape, vec!["ok".to_owned()]).unwrap();
        let skip = Mapping {
            bad_rows: BadRows::Skip,
            ..Mapping::default()
        };
        let rows = SAMPLE_ROWS_MAX + 1_000;
        let mut text = "a\nx\n".to_owned();
        (0..rows).for_each(|row| text.push_str(&format!("{row}\n")));
        let schema = schema.with_held_max(1_000, 100).with_mapping(skip);
        let (data, left_out) = every_row(Path::new("a.csv"), text.as_bytes(), schema).unwrap();
        let expected: Vec<f32> = (0..rows).map(|row| row as f32).collect();
        assert_eq!(data.inputs().iter().copied().collect::<Vec<_>>(), expected);
        assert_eq!(left_out.unused[&Unused::NotANumber].0, 1);
    }
}
