//! `alambic-lab survive`. Ctrl-C ends it: it leaves nothing behind.

use clap::Args;

use lab::survive::{Planted, Run, Survived};

use super::Failure;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  alambic-lab survive --seeds 500
  alambic-lab survive --seed 123
  alambic-lab survive --seeds 500 --shared
  alambic-lab survive --seed 500 --seeds 1000 --json")]
pub(crate) struct SurviveArguments {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many seeds to run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Let two or three coordinators take turns on one store, by a lease
    #[arg(long)]
    shared: bool,
    /// Plant a fault in the harness or in the core, to see that it is found:
    /// acknowledge-before-flush, count-resend-twice, forget-timeout,
    /// sweep-in-flight, trim-too-far, unfenced-lease (with --shared),
    /// core-answers-at-once or core-keeps-state-ahead
    #[arg(long, value_parser = planted, value_name = "FAULT")]
    plant: Option<Planted>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: SurviveArguments) -> Result<(), Failure> {
    let mut total = Survived::default();
    let begun = std::time::Instant::now();
    let mut told = begun;
    for done in 0..arguments.seeds {
        let of = Run {
            seed: arguments.seed.wrapping_add(done),
            shared: arguments.shared,
            planted: arguments.plant,
        };
        total = total.plus(of.survive()?);
        if told.elapsed().as_secs() >= PROGRESS_S {
            told = std::time::Instant::now();
            eprintln!("{} of {} seeds", done + 1, arguments.seeds);
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&total)?);
        return Ok(());
    }
    if arguments.shared {
        println!(
            "{} times a coordinator took the lead, {} pauses of the one that led,\n\
             {} appends refused that came after another had taken it",
            total.turns, total.pauses, total.fenced
        );
    }
    println!(
        "{} seeds in {:.1} s, none broke a promise\n\
         {} devices, {} rounds with a student, {} contributions settled, {} steps, {} simulated hours\n\
         {} coordinator crashes, {} device crashes, {} store outages, {} partitions,\n\
         {} clock jumps, {} transfers that came twice, {} resent and counted once,\n\
         {} snapshots ({} damaged, {} compactions cut off), {} records and {} blobs gone,\n\
         {} rollouts to everyone, {} halted, {} students gone back from,\n\
         {} tasks beyond the first, {} devices revoked",
        arguments.seeds,
        begun.elapsed().as_secs_f64(),
        total.devices,
        total.completed,
        total.settled,
        total.steps,
        total.simulated_ms / 3_600_000,
        total.coordinator_crashes,
        total.device_crashes,
        total.outages,
        total.partitions,
        total.clock_jumps,
        total.duplicates,
        total.resent,
        total.snapshots,
        total.damaged,
        total.cut,
        total.trimmed,
        total.swept,
        total.rolled_out,
        total.halted,
        total.rolled_back,
        total.further_tasks,
        total.revoked,
    );
    Ok(())
}

fn planted(name: &str) -> Result<Planted, String> {
    match name {
        "acknowledge-before-flush" => Ok(Planted::AcknowledgeBeforeFlush),
        "count-resend-twice" => Ok(Planted::CountResendTwice),
        "forget-timeout" => Ok(Planted::ForgetTimeout),
        "sweep-in-flight" => Ok(Planted::SweepInFlight),
        "trim-too-far" => Ok(Planted::TrimTooFar),
        "unfenced-lease" => Ok(Planted::UnfencedLease),
        "core-answers-at-once" => Ok(Planted::CoreAnswersAtOnce),
        "core-keeps-state-ahead" => Ok(Planted::CoreKeepsStateAhead),
        _ => Err(
            "expected acknowledge-before-flush, count-resend-twice, forget-timeout, \
             sweep-in-flight, trim-too-far, unfenced-lease, core-answers-at-once or \
             core-keeps-state-ahead"
                .to_owned(),
        ),
    }
}

/// Seconds between two lines of progress.
const PROGRESS_S: u64 = 5;
