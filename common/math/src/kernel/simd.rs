//! Picks the widest vector instructions the processor has.
//!
//! The work itself is ordinary Rust with no intrinsics; compiled once more
//! with AVX2 allowed, its loops run eight `f32` lanes at a time instead of
//! four. Nothing here fuses or reorders arithmetic, so both copies give the
//! same bits. On other architectures the plain copy runs (on aarch64 that
//! already is NEON, part of the base instruction set).
#![allow(unsafe_code)]

/// Work to be compiled for several instruction sets. Implementations mark
/// `run`, and all it calls in a loop, `#[inline(always)]`: only inlined code
/// takes on the caller's instruction set.
pub(super) trait Work {
    /// Does the work.
    fn run(self);
}

/// Runs `work` with AVX2 where the processor has it.
pub(super) fn run<W: Work>(work: W) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: `run_avx2` is an ordinary safe function but for needing
        // AVX2, and the line above has just found that this processor (and
        // its operating system) supports it.
        return unsafe { run_avx2(work) };
    }
    work.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2<W: Work>(work: W) {
    work.run();
}
