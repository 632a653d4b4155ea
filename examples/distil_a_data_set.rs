//! Dataset distillation: replaces 1,438 images of digits by 10 synthetic ones a
//! class, and says how well kernel ridge regression on these classifies the
//! test set.
//!
//! ```sh
//! cargo run --release -p lab --example distil_a_data_set
//! ```

use std::error::Error;

use lab::data::Dataset;
use lab::distill::{self, DistilOptions, MethodName, Monitor, StepReport};

fn main() -> Result<(), Box<dyn Error>> {
    common::math::blas::pin_to_one_thread();
    let data = Dataset::open("digits")?;
    let options = DistilOptions {
        per_class: 10,
        method: MethodName::Kip,
        seed: 0,
        features: Some("raw".to_owned()),
        depth: Some(2),
        steps: Some(300),
        hidden: None,
        student_steps: 1,
    };
    // Features and kernel are given, so that nothing has to be chosen on
    // held-out rows.
    let session = distill::choose(&data, &options, |line| println!("{line}"))?;
    let method = options.method.method(options.steps());
    let distilled = method.distil(&session.problem, &mut Losses)?;

    let (points, features) = distilled.points.dim();
    println!("{points} distilled samples of {features} features");
    println!(
        "kernel ridge regression on them: {:.1} % of the test set",
        100.0 * session.krr_accuracy(&data, &distilled)?
    );
    Ok(())
}

/// Prints the loss now and then, and never stops early.
struct Losses;

impl Monitor for Losses {
    fn step(&mut self, report: StepReport) {
        if report.step.is_multiple_of(100) {
            println!("step {}: loss {:.4}", report.step, report.loss);
        }
    }

    fn stopped(&self) -> bool {
        false
    }
}
