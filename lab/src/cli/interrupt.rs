//! Ctrl-C, once to end in order and twice to end, or at once with a word.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set by the first Ctrl-C or SIGTERM, which says what happens now; the second
/// one ends the program.
pub(crate) fn watch(what_happens: &'static str) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    common::signals::on_interrupt(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("{what_happens}; once more to end at once");
    });
    stop
}

/// The first Ctrl-C or SIGTERM ends the program, and says what that means.
pub(crate) fn end_saying(what_it_means: &'static str) {
    common::signals::on_interrupt(move || {
        eprintln!("error: interrupted; {what_it_means}");
        std::process::exit(130);
    });
}
