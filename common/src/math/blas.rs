//! blas
