//! The graph as arrays and a program, for NumPy and whatever reads NPZ or
//! safetensors.
//!
//! | entry | what |
//! |---|---|
//! | `program` | JSON: `input` (sides of an input), `classes` (names of classes or numbers), `outputs` (what comes out), `nodes` (each `op`, `in`, `out` and its attributes), and what the release says of itself |
//! | `release` | the release's own bytes, `u1`, from which [`read`] makes a student again |
//! | all others | constants under the names that `nodes` call them by; `layers.N.weight` (outputs, inputs) and `layers.N.bias` are the network's |
//!
//! In NPZ `program` is an array of UTF-8 bytes, in safetensors an entry of
//! the header's metadata.

use std::collections::HashMap;

use host::npz::{self, Array, Values};
use protocol::model::{Release, ReleaseError};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};

use crate::error::ExportError;
use crate::graph::{
    Attribute, CLASS, Graph, NUMBERS, Numbers, OPSET, Output, PROBABILITIES, names,
};

/// Why a file is not read as a student.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Neither format, or cut short.
    #[error(
        "not a student: {reason}; give what `--student-out FILE.npz` or FILE.safetensors wrote"
    )]
    NotOne {
        /// What is wrong.
        reason: String,
    },
    /// The release in it does not hold together.
    #[error(transparent)]
    Release(#[from] ReleaseError),
}

/// What a release says of itself, as texts by name.
pub fn about(release: &Release) -> Vec<(&'static str, String)> {
    let definition = release.task().definition();
    let shape = release.task().input_shape();
    let values = release.task().input().value_names(shape.values());
    let of_outputs = match release.task().target().is_class() {
        true => "classes",
        false => "numbers",
    };
    let mut about = vec![
        ("task", release.task().hash().to_string()),
        ("name", definition.name.clone()),
        ("version", release.version().to_string()),
        ("features", definition.features.to_string()),
        ("student", release.task().student().to_string()),
        (of_outputs, json!(names(release.task())).to_string()),
        ("opset", OPSET.to_string()),
    ];
    about.extend(values.map(|names| ("values", json!(names).to_string())));
    about
}

/// A release as an NPZ archive.
///
/// # Errors
/// As [`Graph::of`].
pub fn npz(release: &Release) -> Result<Vec<u8>, ExportError> {
    let graph = Graph::of(release)?;
    let bytes = |bytes: Vec<u8>| Array::new(vec![bytes.len()], Values::U8(bytes));
    let program = program(&graph, release).to_string().into_bytes();
    let mut arrays = vec![
        (PROGRAM.to_owned(), bytes(program)?),
        (RELEASE.to_owned(), bytes(release.to_bytes())?),
    ];
    for constant in graph.constants {
        let values = match constant.values {
            Numbers::F32(values) => Values::F32(values),
            Numbers::F64(values) => Values::F64(values),
            Numbers::I64(values) => Values::I64(values),
        };
        arrays.push((constant.name, Array::new(constant.shape, values)?));
    }
    let named: Vec<(&str, &Array)> = arrays
        .iter()
        .map(|(name, array)| (&name[..], array))
        .collect();
    Ok(npz::write(&named)?)
}

/// A release as a safetensors file.
///
/// # Errors
/// As [`Graph::of`].
pub fn safetensors(release: &Release) -> Result<Vec<u8>, ExportError> {
    let graph = Graph::of(release)?;
    let program = program(&graph, release).to_string();
    let mut tensors: Vec<(String, Vec<usize>, Dtype, Vec<u8>)> = Vec::new();
    let bytes = release.to_bytes();
    tensors.push((RELEASE.to_owned(), vec![bytes.len()], Dtype::U8, bytes));
    for constant in graph.constants {
        let (kind, bytes) = match &constant.values {
            Numbers::F32(values) => (
                Dtype::F32,
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ),
            Numbers::F64(values) => (
                Dtype::F64,
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ),
            Numbers::I64(values) => (
                Dtype::I64,
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ),
        };
        tensors.push((constant.name, constant.shape, kind, bytes));
    }
    let views = { tensors.iter() }
        .map(|(name, shape, kind, bytes)| {
            Ok((name.as_str(), TensorView::new(*kind, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>, ExportError>>()?;
    let mut metadata: HashMap<String, String> = { about(release).into_iter() }
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    metadata.insert(PROGRAM.to_owned(), program);
    Ok(serialize(views, Some(metadata))?)
}

/// The release in a file of either format. Nobody vouches for it: its
/// signature stayed behind.
///
/// # Errors
/// Bytes of neither format, or a release that does not hold together.
pub fn read(bytes: &[u8]) -> Result<Release, ReadError> {
    let refused = |reason: String| ReadError::NotOne { reason };
    let release = if bytes.starts_with(b"PK") {
        let archive = npz::Archive::open(bytes).map_err(|error| refused(error.to_string()))?;
        let array = archive.array_within(RELEASE, RELEASE_BYTES_MAX);
        match array.map_err(|error| refused(error.to_string()))?.values() {
            Values::U8(bytes) => bytes.clone(),
            _ => return Err(refused("its release is no array of bytes".to_owned())),
        }
    } else {
        let tensors =
            SafeTensors::deserialize(bytes).map_err(|error| refused(error.to_string()))?;
        let tensor = tensors
            .tensor(RELEASE)
            .map_err(|error| refused(error.to_string()))?;
        tensor.data().to_vec()
    };
    Ok(Release::from_bytes(&release)?)
}

fn program(graph: &Graph, release: &Release) -> Value {
    let nodes = graph.nodes.iter().map(|node| {
        let mut one = json!({ "op": node.operator, "in": node.inputs, "out": node.output });
        for (name, attribute) in &node.attributes {
            one[*name] = match attribute {
                Attribute::Integer(value) => json!(value),
                Attribute::Integers(values) => json!(values),
            };
        }
        one
    });
    let outputs: Vec<&str> = { graph.outputs.iter() }
        .map(|output| match output {
            Output::Probabilities => PROBABILITIES,
            Output::Class => CLASS,
            Output::Numbers => NUMBERS,
        })
        .collect();
    let mut program = json!({
        "input": graph.input,
        "classes": graph.classes,
        "outputs": outputs,
        "nodes": nodes.collect::<Vec<_>>(),
    });
    for (key, value) in about(release) {
        if key != "classes" && key != "values" {
            program[key] = json!(value);
        }
    }
    program
}

const PROGRAM: &str = "program";
const RELEASE: &str = "release";
/// Longest release that is read: twice the largest network's, a byte a weight.
const RELEASE_BYTES_MAX: u64 = 2 * math::network::PARAMETERS_MAX as u64;
