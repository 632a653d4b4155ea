//! `alambic-lab simulate`. Ctrl-C ends it after the seed in hand, at once if
//! there is but one; a second one ends it at once.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::Args;
use serde_json::Value;

use common::exit;
use common::export::{ExportError, Format};
use common::task::{ConsensusRule, StudentSpec};
use lab::backbone;
use lab::data::{ANOMALOUS, Asked, Dataset};
use lab::labelling;
use lab::points::PointTable;
use lab::progress::Progress;
use lab::report;
use lab::simulate::{self, SimulateOptions};

use super::fleet::FleetArguments;
use super::{Failure, interrupt, is_stdout, write_json, write_text};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  alambic-lab simulate --data har
  alambic-lab simulate --data digits --partition shards:2 --seeds 0,1,2 --json -
  alambic-lab simulate --data mnist.npz --uplink-bytes-max 100000 --partition shards:2
  alambic-lab simulate --data har --report har.html
  alambic-lab simulate --data har --epsilon 3
  alambic-lab simulate --data mnist.npz --agents 1000 --standing --awake 120s/day
  alambic-lab simulate --target number --data engines.npz --partition group
  alambic-lab simulate --target none --data pumps.npz
  alambic-lab simulate --data har --student-out har.onnx
  alambic-lab simulate --data digits --baselines
  alambic-lab simulate --data mnist.npz --student cnn:16,32/64 --partition shards:2")]
pub(crate) struct SimulateArguments {
    /// har, digits, an NPZ file with X_train, y_train, X_test, y_test (labels are integers or
    /// texts), or a folder with task.toml and a folder for each device, read as by agents
    #[arg(long, value_name = "NAME|FILE|FOLDER")]
    data: String,
    /// What rows are labelled with: class, number (y_train and y_test are then
    /// floats of n or n × numbers), or none (y_train is not read, y_test is 0 for usual
    /// and 1 for anomalous rows and judges the student's score: `novelty_auc`)
    #[arg(long, default_value = "class")]
    target: Asked,
    #[command(flatten)]
    fleet: FleetArguments,
    /// Seed of partition, task and baselines
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Several seeds, like 0,1,2: means, maxima and deviations
    #[arg(long, value_delimiter = ',', conflicts_with = "seed")]
    seeds: Vec<u64>,
    /// mlp:UNITS (mlp:200 or mlp:200,100) or cnn:CHANNELS/UNITS (cnn:16,32/64:
    /// two convolutions, then 64 hidden units) [default: mlp:64 to mlp:512 for up
    /// to 300 features, the fewer the wider; mlp:200 beyond and for images]
    #[arg(long, value_parser = student)]
    student: Option<Student>,
    /// raw, lifted, window, patches, series, trend, mel (mel/1:8000 for that rate) or auto: the one by shape, or another where
    /// simulated devices find it better on rows of their own; with a cnn, raw images and windows
    /// go through fixed filters first. onnx:FILE, onnx:FILE@SIZE or
    /// onnx:FILE@KEY=VALUE,... puts each input through a frozen model once, as
    /// FILE.toml beside it says (docs/onnx.md), and makes a projection of its outputs
    #[arg(long, default_value = "auto")]
    features: String,
    /// How soft labels are combined: weighted (by classes and nearness), mean, median (geometric)
    /// or trimmed
    #[arg(long, default_value = "weighted", value_parser = consensus)]
    consensus: ConsensusRule,
    /// Share of the devices that send adversarial labels, to test a consensus rule
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    liars: f64,
    /// Have the student also score novelty: how unlike its training rows an input is
    #[arg(long)]
    novelty: bool,
    /// A class, by name or number, to leave out of training; `novelty_auc` says how well its test rows are recognised
    /// as new
    #[arg(long, value_name = "CLASS", conflicts_with = "report")]
    leave_out: Option<String>,
    /// Rows that have a label on each device, 0 for none [default: all]
    #[arg(long, value_name = "ROWS")]
    labelled: Option<usize>,
    /// An ONNX classifier on each device, FILE, FILE@SIZE or FILE@KEY=VALUE,...:
    /// labels rows without a label where it is as good as the local teacher
    #[arg(long, value_name = "FILE")]
    device_teacher: Option<String>,
    /// The same at the coordinator: labels means of ten rows that devices send of
    /// theirs, in the inputs' own space
    #[arg(long, value_name = "FILE")]
    server_teacher: Option<String>,
    /// Have contributions count whenever they come, from devices that sleep, in place of
    /// rounds
    #[arg(long, conflicts_with_all = ["rounds", "epsilon", "report"])]
    standing: bool,
    /// How long a device is awake at a time, and how often, at a random time
    #[arg(long, value_name = "SPAN/PERIOD", default_value = "120s/day", requires = "standing", value_parser = simulate::parse_awake)]
    awake: (u64, u64),
    /// For how many such periods
    #[arg(long, default_value_t = 2, requires = "standing", value_parser = clap::value_parser!(u32).range(1..=1000))]
    periods: u32,
    /// Skip the baselines: pooled data, and each device alone
    #[arg(long)]
    no_baselines: bool,
    /// Add other federated methods to the baselines: FedAvg, FedProx, FedAvgM,
    /// FedDF and AFL, with the bytes that they send
    #[arg(long, conflicts_with = "no_baselines")]
    baselines: bool,
    /// Rounds of those of them that take several
    #[arg(long, default_value_t = 20, requires = "baselines", value_parser = clap::value_parser!(u32).range(1..=1000))]
    baseline_rounds: u32,
    /// Write the figures as JSON to a file, or to standard output with -
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Write a self-contained page with charts, devices, a confusion matrix and the distilled
    /// points
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write the student of the first seed, whole, from a raw input to
    /// probabilities, to a file that ends in .onnx, .npz, .safetensors or .c
    #[arg(long, value_name = "FILE")]
    student_out: Option<PathBuf>,
    /// Write the distilled points of the first seed, with labels, weights and
    /// spread, to a file that ends in .npz or .csv
    #[arg(long, value_name = "FILE")]
    points_out: Option<PathBuf>,
}

impl SimulateArguments {
    /// What they ask of one seed's run.
    pub(crate) fn options(&self) -> SimulateOptions {
        SimulateOptions {
            student: self.student.clone().map(|student| student.0),
            features: Some(match self.backbone() {
                // Discriminants and components are not to be weighed or bent.
                Some(_) => "raw".to_owned(),
                None => self.features.clone(),
            }),
            consensus: self.consensus,
            liars: self.liars,
            novelty: self.novelty,
            leave_out: match self.target {
                Asked::None => Some(ANOMALOUS.to_owned()),
                Asked::Class | Asked::Number => self.leave_out.clone(),
            },
            // Nothing else is trained on rows without labels.
            no_baselines: self.no_baselines || self.target == Asked::None,
            federated_rounds: self.baselines.then_some(self.baseline_rounds),
            labels: labelling::Asked {
                labelled: self.labelled,
                device_teacher: self.device_teacher.clone(),
                server_teacher: self.server_teacher.clone(),
            },
            project: self.backbone().is_some(),
            standing: self.standing.then_some(simulate::Standing {
                awake_ms: self.awake.0,
                period_ms: self.awake.1,
                periods: self.periods,
            }),
            ..self.fleet.options()
        }
    }

    /// The model that inputs go through first.
    fn backbone(&self) -> Option<&str> {
        backbone::named(&self.features)
    }

    /// The data set, through the model if there is one.
    pub(crate) fn open(&self, progress: &mut Progress) -> Result<Dataset, Failure> {
        match self.backbone() {
            Some(option) => Ok(backbone::seen_through(
                &self.data,
                self.target,
                option,
                progress,
            )?),
            None => super::open(&self.data, self.target),
        }
    }

    /// What names the data set, the model included.
    pub(crate) fn data_key(&self) -> String {
        match self.backbone() {
            Some(option) => format!("{} through {option}", self.data),
            None => self.data.clone(),
        }
    }

    /// What rows are labelled with.
    pub(crate) fn asked(&self) -> Asked {
        self.target
    }
}

/// Runs every seed and shows what came of them.
pub(crate) fn run(arguments: SimulateArguments) -> Result<(), Failure> {
    if arguments.asked() != Asked::Class && arguments.report.is_some() {
        return Err(Failure::ReportOfNumbers);
    }
    let mut options = arguments.options();
    let format = arguments.student_out.as_deref().map(Format::of_new_file);
    let format = format.transpose().map_err(exit::Failure::from)?;
    if arguments.student_out.is_some() && arguments.backbone().is_some() {
        return Err(Failure::StudentOfBackbone);
    }
    if let Some(path) = &arguments.points_out {
        PointTable::check_ending(path).map_err(exit::Failure::from)?;
    }
    let mut progress = Progress::new(false);
    let data = arguments.open(&mut progress)?;
    if arguments.student_out.is_some()
        && let Some(moved) = data.moved()
    {
        return Err(Failure::StudentOfMovedInputs(moved));
    }
    let seeds = match arguments.seeds.as_slice() {
        [] => vec![arguments.seed],
        several => several.to_vec(),
    };
    let stop = match seeds.len() {
        1 => {
            interrupt::end_saying("a seed that is cut short has no figures, nothing was written");
            None
        }
        _ => Some(interrupt::watch("ending after this seed")),
    };
    let mut outcomes = Vec::new();
    let mut detail = None;
    let mut student = None;
    let mut points = None;
    for (at, &seed) in seeds.iter().enumerate() {
        if stop
            .as_ref()
            .is_some_and(|stop| stop.load(Ordering::Relaxed))
        {
            break;
        }
        // A report looks at the first seed closely.
        options.detail = at == 0 && arguments.report.is_some();
        let result = simulate::run(&data, &options, seed, &mut progress)?;
        outcomes.push(result.outcome);
        detail = detail.or(result.detail);
        student = student.or(Some(result.release));
        points = points.or(Some(result.points));
    }
    let outcome = match (arguments.seeds.as_slice(), outcomes.as_slice()) {
        ([], [one]) => one.clone(),
        _ => simulate::summarise(&outcomes),
    };
    progress.finish();
    if let Some(path) = &arguments.json {
        write_json(path, &outcome)?;
    }
    if let (Some(path), Some(detail)) = (&arguments.report, &detail) {
        let page = report::render(&outcome, detail, &command())?;
        write_text(path, &page)?;
    }
    if !arguments.json.as_deref().is_some_and(is_stdout) {
        show(&outcome);
    }
    let points = points.map(|points| points.moved_by(data.offset.as_deref()));
    if let (Some(path), Some(points)) = (&arguments.points_out, &points) {
        points.write(path).map_err(exit::Failure::from)?;
    }
    if let (Some(path), Some(format), Some(release)) = (&arguments.student_out, format, &student) {
        let write = || {
            let exported = common::export::export(release, format, path)?;
            exported.write(path, true)?;
            Ok(exported.note)
        };
        let note = write().map_err(|error: ExportError| exit::Failure::from(error))?;
        if let Some(note) = note {
            eprintln!("{note}");
        }
    }
    if outcomes.len() < seeds.len() {
        return Err(Failure::SeedsMissing {
            done: outcomes.len(),
            seeds: seeds.len(),
        });
    }
    Ok(())
}

/// What was typed, for anyone who reads the report later.
pub(super) fn command() -> String {
    let mut words = vec!["alambic-lab".to_owned()];
    words.extend(std::env::args().skip(1));
    words.join(" ")
}

/// Points from which on a macro-F1 below the accuracy is told beside it.
const MACRO_F1_APART: f64 = 3.0;

fn show(outcome: &Value) {
    let percent = |value: &Value| 100.0 * value.as_f64().unwrap_or(f64::NAN);
    for round in outcome["rounds"].as_array().into_iter().flatten() {
        if round["student_rmse"].is_number() {
            show_numbers(round);
            continue;
        }
        if !round["student_accuracy"].is_number() {
            show_novelty(round);
            continue;
        }
        let macro_f1 = percent(&round["student_macro_f1"]);
        let uneven = percent(&round["student_accuracy"]) - macro_f1 > MACRO_F1_APART;
        println!(
            "round {}: student {:.2} %{}, teacher {:.2} % ({:.2} % alike), {:.0} bytes up ({:.0} at most), {:.0} down",
            round["round"],
            percent(&round["student_accuracy"]),
            match uneven {
                true => format!(" (macro-F1 {macro_f1:.2} %: some classes fare worse)"),
                false => String::new(),
            },
            percent(&round["teacher_accuracy"]),
            percent(&round["student_teacher_agreement"]),
            round["uplink_bytes_mean"].as_f64().unwrap_or(f64::NAN),
            round["uplink_bytes_max"].as_f64().unwrap_or(f64::NAN),
            round["downlink_bytes_mean"].as_f64().unwrap_or(f64::NAN),
        );
        if let Some(auc) = round["novelty_auc"].as_f64() {
            println!("  rows of the class that was left out: area under the ROC curve {auc:.3}");
        }
    }
    let baselines = &outcome["baselines"];
    if baselines["pooled_student_rmse"].is_number() {
        println!(
            "alone RMSE {:.4} (mean), pooled {:.4}",
            figure(&baselines["alone_rmse_mean"]),
            figure(&baselines["pooled_student_rmse"])
        );
    } else if baselines.is_object() {
        println!(
            "alone {:.2} % (mean), pooled {:.2} %",
            percent(&baselines["alone_mean"]),
            percent(&baselines["pooled_student"])
        );
        for rival in baselines["federated"].as_array().into_iter().flatten() {
            println!(
                "{}: {:.2} % after {} rounds, {:.0} bytes up, {:.0} down{}",
                rival["name"].as_str().unwrap_or_default(),
                percent(&rival["accuracy"]),
                rival["rounds"],
                rival["uplink_bytes"].as_f64().unwrap_or(f64::NAN),
                rival["downlink_bytes"].as_f64().unwrap_or(f64::NAN),
                match rival["chosen"].as_str() {
                    None | Some("") => String::new(),
                    Some(chosen) => format!(" ({chosen})"),
                },
            );
        }
    }
}

fn show_novelty(round: &Value) {
    println!(
        "round {}: anomalous rows are told from usual ones with an area under the ROC curve of {:.3}, {:.0} bytes up ({:.0} at most), {:.0} down",
        round["round"],
        figure(&round["novelty_auc"]),
        figure(&round["uplink_bytes_mean"]),
        figure(&round["uplink_bytes_max"]),
        figure(&round["downlink_bytes_mean"]),
    );
}

fn show_numbers(round: &Value) {
    println!(
        "round {}: student RMSE {:.4} (MAE {:.4}), teacher {:.4} ({:.4} apart), {:.0} bytes up ({:.0} at most), {:.0} down",
        round["round"],
        figure(&round["student_rmse"]),
        figure(&round["student_mae"]),
        figure(&round["teacher_rmse"]),
        figure(&round["student_teacher_rmse"]),
        figure(&round["uplink_bytes_mean"]),
        figure(&round["uplink_bytes_max"]),
        figure(&round["downlink_bytes_mean"]),
    );
}

fn figure(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

#[derive(Clone, Debug)]
struct Student(StudentSpec);

fn student(text: &str) -> Result<Student, String> {
    simulate::parse_student(text).map(Student)
}

fn consensus(text: &str) -> Result<ConsensusRule, String> {
    let found = ConsensusRule::ALL
        .into_iter()
        .find(|one| one.name() == text);
    found.ok_or_else(|| format!("{text:?} is not one of weighted, mean, median, trimmed"))
}

fn share(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a share, 0 to 1".to_owned())
}
