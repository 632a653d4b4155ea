//! One thread for the linear algebra, from the very start of a program.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Begins this program again with one thread for BLAS, unless its environment
/// says how many. To be called first: the library starts its threads when it
/// is loaded, before `main`, and one that gets no memory for its buffer asks
/// for it for ever, also while the program tries to end.
pub fn begin_with_one_thread() {
    if THREADS.iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| OWN_PROGRAM.into());
    let error = Command::new(OWN_PROGRAM)
        .arg0(name)
        .args(arguments)
        .env(THREADS[0], "1")
        .exec();
    // Where the file cannot be run again, its threads are only a waste.
    tracing::debug!(%error, "BLAS keeps its threads");
}

/// How many threads, by name of the variable; the first is the library's own.
const THREADS: [&str; 3] = [
    "OPENBLAS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "OMP_NUM_THREADS",
];
/// The file this process was started from, wherever it is by now.
const OWN_PROGRAM: &str = "/proc/self/exe";
