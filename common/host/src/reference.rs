//! What is made from a command line's own definition: manual pages and
//! completions.

use std::path::Path;

use clap::Command;
use clap_complete::Shell;

use crate::exit::{ExitCode, Failure};

/// Prints the completions of a program for a shell.
pub fn completions(mut command: Command, shell: Shell) {
    let name = command.get_name().to_owned();
    // Printed as all else is: a reader that is gone is no panic.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print!("{}", String::from_utf8_lossy(&script));
}

/// Writes one page for the program and one for each of its commands.
///
/// # Errors
/// If the folder cannot be made or written.
pub fn manual(command: Command, folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command, folder))
        .map_err(|error| {
            let message = format!("cannot write the manual into {}: {error}", folder.display());
            Failure::new(ExitCode::of_file(&error), message)
        })
}
