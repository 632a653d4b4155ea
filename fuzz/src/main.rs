//! One target of `tests::fuzz` under libFuzzer; `ALAMBIC_FUZZ_TARGET` names
//! it. `make fuzz TARGET=npz` builds and runs this.
#![no_main]

use std::sync::LazyLock;

use tests::fuzz::{TARGETS, Target};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("ALAMBIC_FUZZ_TARGET").unwrap_or_default();
    let named = TARGETS.iter().find(|target| target.name == name);
    named.unwrap_or_else(|| {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!(
            "ALAMBIC_FUZZ_TARGET is {name:?}, there are {}",
            names.join(", ")
        );
        std::process::exit(2);
    })
});
