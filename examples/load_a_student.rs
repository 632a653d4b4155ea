//! Loads a student and asks it for the classes of some rows.
//!
//! The file is one that the example `simulated_round` wrote. What an agent
//! receives is the same in a signed envelope: `common::trust::release` opens it
//! with the keys of the trust root, and nothing unverified should be loaded.
//!
//! ```sh
//! cargo run --release -p lab --example load_a_student student.bin
//! ```

use std::error::Error;

use common::model::Release;
use lab::data::Dataset;
use ndarray::s;

fn main() -> Result<(), Box<dyn Error>> {
    common::math::blas::pin_to_one_thread();
    let path = std::env::args_os()
        .nth(1)
        .ok_or("name the file of a student, such as simulated_round writes")?;
    let release = Release::from_bytes(&std::fs::read(path)?)?;
    let definition = release.task().definition();
    println!(
        "{} {}: inputs of {:?}, {} classes",
        definition.name,
        release.version(),
        definition.input_shape,
        definition.classes.len()
    );

    // Features and normaliser are part of the release: rows go in raw.
    let test = Dataset::open("digits")?.test;
    let rows = test.inputs.slice(s![..5, ..]);
    let probabilities = release.probabilities(rows)?;
    for (row, label) in probabilities.rows().into_iter().zip(&test.labels) {
        let best = (0..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best });
        println!(
            "{} with {:.3}, labelled {}",
            definition.classes[best],
            row[best],
            definition.classes[usize::from(*label)]
        );
    }
    Ok(())
}
