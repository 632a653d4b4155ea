//! The graph as an ONNX model.
//!
//! Message and field numbers are those of `onnx.proto` (ONNX 1.8 and later).

use protocol::model::Release;

use crate::error::ExportError;
use crate::graph::{
    Attribute, CLASS, Constant, Graph, INPUT, NUMBERS, Node, Numbers, OPSET, Output, PROBABILITIES,
};
use crate::protobuf::Message;

/// A release as an ONNX model of opset [`OPSET`]: `input` (rows, sides of an input) of
/// f32 to `probabilities` (rows, classes) of f32 and `class` (rows) of
/// i64, or to `numbers` (rows, numbers) of f32. Class names and the release's task and version are in its metadata.
///
/// # Errors
/// As [`Graph::of`].
pub fn model(release: &Release) -> Result<Vec<u8>, ExportError> {
    let graph = Graph::of(release)?;
    let mut model = Message::default();
    model
        .integer(1, IR_VERSION)
        .bytes(2, b"alambic")
        .bytes(3, env!("CARGO_PKG_VERSION").as_bytes())
        .message(7, &graph_message(&graph, release));
    let mut opset = Message::default();
    opset.bytes(1, b"").integer(2, OPSET);
    model.message(8, &opset);
    for (key, value) in crate::archive::about(release) {
        let mut entry = Message::default();
        entry.bytes(1, key.as_bytes()).bytes(2, value.as_bytes());
        model.message(14, &entry);
    }
    Ok(model.into_bytes())
}

fn graph_message(graph: &Graph, release: &Release) -> Message {
    let mut message = Message::default();
    for node in &graph.nodes {
        message.message(1, &node_message(node));
    }
    message.bytes(2, release.task().definition().name.as_bytes());
    for constant in &graph.constants {
        message.message(5, &tensor(constant));
    }
    let sides: Vec<i64> = graph.input.iter().map(|&side| side as i64).collect();
    let classes = [graph.classes.len() as i64];
    message.message(11, &value(INPUT, FLOAT, &sides));
    for output in &graph.outputs {
        let output = match output {
            Output::Probabilities => value(PROBABILITIES, FLOAT, &classes),
            Output::Class => value(CLASS, INT64, &[]),
            Output::Numbers => value(NUMBERS, FLOAT, &classes),
        };
        message.message(12, &output);
    }
    message
}

fn node_message(node: &Node) -> Message {
    let mut message = Message::default();
    for input in &node.inputs {
        message.bytes(1, input.as_bytes());
    }
    message.bytes(2, node.output.as_bytes());
    if node.operator == "TopK" {
        // It has to name both its results.
        message.bytes(2, format!("{}_places", node.output).as_bytes());
    }
    message.bytes(3, node.output.as_bytes());
    message.bytes(4, node.operator.as_bytes());
    for (name, attribute) in &node.attributes {
        let mut one = Message::default();
        one.bytes(1, name.as_bytes());
        match attribute {
            Attribute::Integer(value) => one.integer(3, *value).integer(20, ATTRIBUTE_INTEGER),
            Attribute::Integers(values) => {
                for value in values {
                    one.integer(8, *value);
                }
                one.integer(20, ATTRIBUTE_INTEGERS)
            }
        };
        message.message(5, &one);
    }
    message
}

fn tensor(constant: &Constant) -> Message {
    let mut message = Message::default();
    for &side in &constant.shape {
        message.integer(1, side as i64);
    }
    let (kind, bytes) = match &constant.values {
        Numbers::F32(values) => (FLOAT, little_endian(values, |value| value.to_le_bytes())),
        Numbers::F64(values) => (DOUBLE, little_endian(values, |value| value.to_le_bytes())),
        Numbers::I64(values) => (INT64, little_endian(values, |value| value.to_le_bytes())),
    };
    message
        .integer(2, kind)
        .bytes(8, constant.name.as_bytes())
        .bytes(9, &bytes);
    message
}

fn little_endian<T, const N: usize>(values: &[T], bytes: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(bytes).collect()
}

/// A value of any number of rows.
fn value(name: &str, kind: i64, sides: &[i64]) -> Message {
    let mut shape = Message::default();
    let mut rows = Message::default();
    rows.bytes(2, b"rows");
    shape.message(1, &rows);
    for &side in sides {
        let mut one = Message::default();
        one.integer(1, side);
        shape.message(1, &one);
    }
    let mut tensor = Message::default();
    tensor.integer(1, kind).message(2, &shape);
    let mut of = Message::default();
    of.message(1, &tensor);
    let mut message = Message::default();
    message.bytes(1, name.as_bytes()).message(2, &of);
    message
}

/// The version of the file format that came with opset 13.
const IR_VERSION: i64 = 7;
const FLOAT: i64 = 1;
const INT64: i64 = 7;
const DOUBLE: i64 = 11;
const ATTRIBUTE_INTEGER: i64 = 2;
const ATTRIBUTE_INTEGERS: i64 = 7;
