//! Why a model cannot be used.

/// Why a model cannot be used, or an input not be put through it.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The file is larger than allowed.
    #[error("{path} has {bytes} bytes, models may have {bytes_max}")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        bytes: u64,
        /// The most that is allowed.
        bytes_max: u64,
    },
    /// The bytes are no ONNX model.
    #[error("{path} is no ONNX model: {problem}")]
    NotOnnx {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The graph uses operators that cannot be run here.
    #[error(
        "{path}: no implementation of {operators}; export the model without, or take an earlier \
         output (output=NAME) that does not depend on it"
    )]
    Operators {
        /// The file.
        path: String,
        /// Each operator with a node that uses it.
        operators: String,
    },
    /// The settings of a model are refused.
    #[error("{place}: {problem}")]
    Settings {
        /// The file or option.
        place: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// The graph asks for an input that is not understood.
    #[error("{path}: {problem}")]
    Input {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// There is no such output.
    #[error("{path} has no output or node {asked:?}; outputs are {known}")]
    Output {
        /// The file.
        path: String,
        /// What was asked for.
        asked: String,
        /// The graph's outputs.
        known: String,
    },
    /// The model's classes are not those that are asked for.
    #[error("{path}: {problem}; the task has the classes {classes}")]
    Classes {
        /// The file.
        path: String,
        /// What does not fit, and what to do about it.
        problem: String,
        /// The task's classes.
        classes: String,
    },
    /// The graph cannot be run on inputs of this shape.
    #[error("{path} does not take inputs of shape {shape:?}: {cause}")]
    Shape {
        /// The file.
        path: String,
        /// The shape.
        shape: Vec<usize>,
        /// Why.
        cause: String,
    },
    /// The graph failed on an input.
    #[error("{path} fails: {cause}")]
    Run {
        /// The file.
        path: String,
        /// Why.
        cause: String,
    },
}
