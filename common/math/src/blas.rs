//! The BLAS library's threads and its choice of kernels.
//!
//! One process of many on a host must not start a thread per core: they
//! fight. Parallelism belongs to the one who started the processes.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int};

/// Lets BLAS compute in the calling thread only, for the whole process.
///
/// Call it first thing in a program: it is not meant to be changed while
/// another thread is inside BLAS.
pub fn pin_to_one_thread() {
    // SAFETY: the library's documented entry point for exactly this; it takes
    // one integer by value, keeps no pointer, and accepts any positive count.
    unsafe { openblas_set_num_threads(1) }
}

/// Whether BLAS can have the buffer that it takes at its first computation.
/// Where it cannot (`ulimit -v`, `vm.overcommit_memory = 2`), it asks for ever.
pub fn has_room() -> bool {
    let mut buffer: Vec<u8> = Vec::new();
    let has_room = buffer.try_reserve_exact(BUFFER_BYTES).is_ok();
    // Otherwise the compiler may leave the allocation out.
    std::hint::black_box(&mut buffer);
    has_room
}

/// The library's buffer for one thread, 32 MiB, and what goes with it.
const BUFFER_BYTES: usize = 40 << 20;
/// Which processor's kernels the library chose, such as `Haswell` or
/// `SkylakeX`. An older name than the processor deserves costs up to half the
/// speed; the environment variable `OPENBLAS_CORETYPE` overrides the choice,
/// if it is set before the program starts.
pub fn kernel_name() -> String {
    // SAFETY: takes nothing and returns either null or a NUL-terminated
    // string in static memory, which lives and stays unchanged as long as the
    // process; null is checked before it is read.
    let name = unsafe {
        let name = openblas_get_corename();
        if name.is_null() {
            return "unknown".to_owned();
        }
        CStr::from_ptr(name)
    };
    name.to_string_lossy().into_owned()
}

unsafe extern "C" {
    fn openblas_set_num_threads(threads: c_int);
    fn openblas_get_corename() -> *const c_char;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_names_its_kernels() {
        pin_to_one_thread();
        assert!(!kernel_name().is_empty());
    }
}
