//! `alambic-lab attack`. Ctrl-C ends it after the seed in hand, at once if
//! there is but one; a second one ends it at once.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::Args;
use clap::builder::PossibleValuesParser;
use comfy_table::{Table, presets};

use lab::attack::{self, ATTACKS, Attack, AttackOptions, Claim, Finding, LIARS, Outcome};
use lab::data::Dataset;
use lab::progress::Progress;

use super::fleet::FleetArguments;
use super::{Failure, interrupt, is_stdout, write_json, write_text};

#[derive(Debug, Args)]
#[command(after_long_help = after_help(), after_help = EXAMPLES)]
pub(crate) struct AttackArguments {
    /// har, digits, or an NPZ file with X_train, y_train, X_test, y_test
    #[arg(long, value_name = "NAME|FILE")]
    data: String,
    /// The attack; `--help` describes each
    #[arg(long, value_parser = names())]
    attack: String,
    /// Share of the devices that lie, one at least [default: 0.2]
    #[arg(long, value_name = "SHARE")]
    liars: Option<f64>,
    /// Rows that liars claim: a number, or a factor like x5; or noise that they
    /// claim to have added: the certainty it leaves, like noise0.3
    #[arg(long, value_name = "ROWS|xFACTOR|noiseCERTAINTY")]
    claim: Option<Claim>,
    /// First round in which liars lie [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    from_round: Option<u32>,
    /// What `scale` multiplies moments with [default: 4]
    #[arg(long)]
    factor: Option<f64>,
    /// Class that `target` changes, by name or number [default: the first]
    #[arg(long, value_name = "CLASS")]
    from_class: Option<String>,
    /// Class that `target` and `backdoor` want [default: the next, and the last]
    #[arg(long, value_name = "CLASS")]
    to_class: Option<String>,
    /// Most devices whose rows `reconstruct` looks for [default: 4]
    #[arg(long, value_parser = super::at_least_one)]
    victims: Option<usize>,
    /// Most rows that a device learns from [default: all; for `difference` 60]
    #[arg(long, value_parser = super::at_least_one)]
    rows: Option<usize>,
    /// Seeds, like 0,1,2: means over them
    #[arg(long, value_delimiter = ',', default_value = "0,1,2")]
    seeds: Vec<u64>,
    #[command(flatten)]
    fleet: FleetArguments,
    /// Write the figures as JSON to a file, or to standard output with -
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Write a page with the figures of all seeds
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl AttackArguments {
    fn options(&self, attack: &'static Attack) -> AttackOptions {
        AttackOptions {
            attack,
            simulate: self.fleet.options(),
            rows: self.rows,
            liars: self.liars,
            claim: self.claim,
            from_round: self.from_round,
            factor: self.factor,
            from_class: self.from_class.clone(),
            to_class: self.to_class.clone(),
            victims: self.victims,
        }
    }
}

/// Runs every seed and shows what came of them.
pub(crate) fn run(arguments: AttackArguments) -> Result<(), Failure> {
    let Some(attack) = Attack::named(&arguments.attack) else {
        return Err(Failure::UnknownAttack(arguments.attack));
    };
    let options = arguments.options(attack);
    options.check()?;
    let data = Dataset::open(&arguments.data)?;
    let mut progress = Progress::new(false);
    let seeds = &arguments.seeds;
    let stop = match seeds.len() {
        1 => {
            interrupt::end_saying("a seed that is cut short has no figures, nothing was written");
            None
        }
        _ => Some(interrupt::watch("ending after this seed")),
    };
    let mut found: Vec<(u64, Finding)> = Vec::new();
    for &seed in seeds {
        let stopped = stop
            .as_ref()
            .is_some_and(|stop| stop.load(Ordering::Relaxed));
        if stopped {
            break;
        }
        found.push((seed, attack::run(&data, &options, seed, &mut progress)?));
    }
    progress.finish();
    let liars = attack.lies().then(|| options.liars.unwrap_or(LIARS));
    let outcome = Outcome::of(attack.name, liars, &found);
    if let Some(path) = &arguments.json {
        write_json(path, &outcome)?;
    }
    if let Some(path) = &arguments.report {
        let command = super::simulate::command();
        write_text(
            path,
            &attack::render(&outcome, &found, attack.about, &command),
        )?;
    }
    if !arguments.json.as_deref().is_some_and(is_stdout) {
        show(&outcome, &found);
    }
    if found.len() < seeds.len() {
        return Err(Failure::SeedsMissing {
            done: found.len(),
            seeds: seeds.len(),
        });
    }
    Ok(())
}

fn show(outcome: &Outcome, found: &[(u64, Finding)]) {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    let seeds: Vec<String> = outcome.seeds.iter().map(u64::to_string).collect();
    let heading = match seeds.len() {
        1 => format!("seed {}", seeds[0]),
        _ => format!("mean of seeds {}", seeds.join(", ")),
    };
    table.set_header([outcome.attack.clone(), heading]);
    for (name, value) in outcome.figures() {
        table.add_row([name.to_owned(), value]);
    }
    println!("{table}");
    for (seed, finding) in found {
        for (name, text) in &finding.notes {
            println!("seed {seed}: {name}: {text}");
        }
    }
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(ATTACKS.iter().map(|attack| attack.name))
}

fn after_help() -> String {
    let width = ATTACKS
        .iter()
        .map(|attack| attack.name.len())
        .max()
        .unwrap_or(0);
    let list: Vec<String> = { ATTACKS.iter() }
        .map(|attack| format!("  {:width$}  {}", attack.name, attack.about))
        .collect();
    format!("Attacks:\n{}\n\n{EXAMPLES}", list.join("\n"))
}

const EXAMPLES: &str = "Examples:
  alambic-lab attack --data har --attack membership
  alambic-lab attack --data har --attack shift --liars 0.2 --claim x5
  alambic-lab attack --data digits --attack reconstruct --partition shards:2 --rows 20 --rows-min 5
  alambic-lab attack --data har --attack backdoor --liars 0.04 --json -";
