//! An ONNX file, checked, and its graph made ready for inputs of one shape.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use ndarray::ArrayD;
use tract_onnx::pb;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::{InferenceFact, InferenceModel};

use crate::OnnxError;

/// Most bytes of a model unless its user says otherwise: a ResNet-101 fits.
pub const MODEL_BYTES_MAX: u64 = 256 << 20;

/// An ONNX file with one input, all of whose operators are known.
pub struct Graph {
    path: String,
    hash: [u8; 32],
    proto: pb::ModelProto,
    input: String,
    datum: DatumType,
    declared: Vec<Option<usize>>,
    outputs: Vec<String>,
    /// The first output of real numbers, or the first: classifiers of scikit-learn answer
    /// with the number of a class before its probability.
    first: Vec<String>,
}

/// A graph made ready for inputs of one shape.
pub struct Plan {
    path: String,
    shape: Vec<usize>,
    datum: DatumType,
    runnable: Arc<TypedRunnableModel>,
}

impl Graph {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is larger than `bytes_max`, or as [`Self::parse`].
    pub fn open(path: &Path, bytes_max: u64) -> Result<Self, OnnxError> {
        let name = path.display().to_string();
        let unreadable = |cause| OnnxError::Read {
            path: name.clone(),
            cause,
        };
        let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
        if bytes > bytes_max {
            return Err(OnnxError::TooLarge {
                path: name,
                bytes,
                bytes_max,
            });
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        Self::parse(&name, &bytes)
    }

    /// Reads a model's bytes; `name` is what errors call it.
    ///
    /// # Errors
    /// If they are no model, use an operator that cannot be run, keep weights
    /// in other files, or ask for other than one input of numbers.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, OnnxError> {
        let wrong = |problem: String| OnnxError::NotOnnx {
            path: name.to_owned(),
            problem,
        };
        let mut reader = bytes;
        let proto = tract_onnx::onnx().proto_model_for_read(&mut reader);
        let proto = proto.map_err(|error| wrong(format!("{error:#}")))?;
        let graph = proto.graph.as_ref();
        let graph = graph.ok_or_else(|| wrong("it holds no graph".to_owned()))?;
        if let Some(tensor) = graph.initializer.iter().find(|one| is_external(one)) {
            let name = &tensor.name;
            let problem = format!(
                "the weights {name:?} lie in another file; save the model as one file \
                 (save_as_external_data=False)"
            );
            return Err(wrong(problem));
        }
        let mut missing = BTreeMap::new();
        collect_missing(graph, &mut missing);
        if !missing.is_empty() {
            let each = missing.iter().map(|(operator, node)| match node.as_str() {
                "" => operator.clone(),
                node => format!("{operator} (node {node})"),
            });
            return Err(OnnxError::Operators {
                path: name.to_owned(),
                operators: each.collect::<Vec<_>>().join(", "),
            });
        }
        let (input, datum, declared) = only_input(name, graph)?;
        let outputs = graph.output.iter().map(|output| output.name.clone());
        let first = graph.output.iter().find(|output| is_real(output));
        let first = first.or(graph.output.first());
        Ok(Self {
            first: first
                .map(|output| output.name.clone())
                .into_iter()
                .collect(),
            path: name.to_owned(),
            hash: *blake3::hash(bytes).as_bytes(),
            outputs: outputs.collect(),
            input,
            datum,
            declared,
            proto,
        })
    }

    /// The file's name.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// BLAKE3 of the file.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// What the input is called.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// The sides of the input, the batch's included; none where any is taken.
    pub fn declared(&self) -> &[Option<usize>] {
        &self.declared
    }

    /// Names of the outputs, in order.
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// The graph optimised for inputs of `shape`, ending in `outputs` (outputs
    /// or nodes), or in its first output of real numbers where none is named.
    ///
    /// # Errors
    /// If there is no such output, or the graph refuses the shape.
    pub fn plan(&self, shape: &[usize], outputs: &[String]) -> Result<Plan, OnnxError> {
        let failed = |cause: String| OnnxError::Shape {
            path: self.path.clone(),
            shape: shape.to_vec(),
            cause,
        };
        let model = guarded(|| self.model(shape)).map_err(failed)?;
        let asked = if outputs.is_empty() {
            &self.first
        } else {
            outputs
        };
        let mut model = model;
        let mut outlets = Vec::new();
        for name in asked {
            let outlet = model.find_outlet_label(name).or_else(|| {
                let node = model.node_by_name(name).ok()?;
                Some(OutletId::new(node.id, 0))
            });
            outlets.push(outlet.ok_or_else(|| OnnxError::Output {
                path: self.path.clone(),
                asked: name.clone(),
                known: self.outputs.join(", "),
            })?);
        }
        let runnable = guarded(move || {
            model.select_output_outlets(&outlets)?;
            model.into_optimized()?.into_runnable()
        });
        Ok(Plan {
            path: self.path.clone(),
            shape: shape.to_vec(),
            datum: self.datum,
            runnable: runnable.map_err(failed)?,
        })
    }

    /// Lets go of the file's weights, of which plans have their own: no other plan can
    /// be made from here on.
    pub(crate) fn settle(&mut self) {
        self.proto = pb::ModelProto::default();
    }

    fn model(&self, shape: &[usize]) -> TractResult<InferenceModel> {
        let onnx = tract_onnx::onnx()
            .with_ignore_output_shapes(true)
            .with_ignore_output_types(true)
            .with_ignore_value_info(true);
        let mut model = onnx.model_for_proto_model(&self.proto)?;
        let fact = InferenceFact::dt_shape(self.datum, shape);
        model.set_input_fact(0, fact)?;
        Ok(model)
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph")
            .field("path", &self.path)
            .field("declared", &self.declared)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("path", &self.path)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// The shape of its input, the batch's side first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Outputs, as f32, of an input in row-major order.
    ///
    /// # Errors
    /// If there are more or fewer values than the shape has, or the graph
    /// fails.
    pub fn run(&self, values: &[f32]) -> Result<Vec<ArrayD<f32>>, OnnxError> {
        let failed = |cause: String| OnnxError::Run {
            path: self.path.clone(),
            cause,
        };
        let expected: usize = self.shape.iter().product();
        if values.len() != expected {
            let found = values.len();
            return Err(failed(format!("expected {expected} values, got {found}")));
        }
        let run = || -> TractResult<Vec<ArrayD<f32>>> {
            let input = Tensor::from_shape(&self.shape, values)?;
            let input = input.cast_to_dt(self.datum)?.into_owned();
            let outputs = self.runnable.run(tvec!(input.into()))?;
            let wide = outputs.iter().map(|output| {
                let output = output.cast_to::<f32>()?;
                Ok(output.to_plain_array_view::<f32>()?.to_owned())
            });
            wide.collect()
        };
        let outputs = guarded(run).map_err(failed);
        math::liveness::heartbeat();
        outputs
    }
}

/// What goes wrong in the runtime, panics included: a model comes from others.
fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| {
            let mut causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            causes.dedup();
            // What a runtime tells of its innards may fill pages.
            let text: String = causes.join(": ").chars().take(CAUSE_CHARS_MAX).collect();
            text
        }),
        Err(panic) => Err(said(panic.as_ref())),
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the runtime gave up").to_owned()
}

/// Whether an output is declared as a tensor of real numbers.
fn is_real(output: &pb::ValueInfoProto) -> bool {
    let kind = output.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    let Some(pb::type_proto::Value::TensorType(tensor)) = kind else {
        return false;
    };
    let elements = pb::tensor_proto::DataType::try_from(tensor.elem_type).ok();
    let datum = elements.and_then(|kind| DatumType::try_from(kind).ok());
    datum.is_some_and(|datum| datum.is_float())
}

fn is_external(tensor: &pb::TensorProto) -> bool {
    tensor.data_location == Some(pb::tensor_proto::DataLocation::External as i32)
        || !tensor.external_data.is_empty()
}

/// Operators of a graph and of those within it that have no implementation,
/// each with one node that uses it.
fn collect_missing(graph: &pb::GraphProto, missing: &mut BTreeMap<String, String>) {
    let known = tract_onnx::onnx().op_register.0;
    let mut graphs = vec![graph];
    while let Some(graph) = graphs.pop() {
        for node in &graph.node {
            if !known.contains_key(&node.op_type) {
                let operator = match node.domain.as_str() {
                    "" | "ai.onnx" => node.op_type.clone(),
                    domain => format!("{domain}.{}", node.op_type),
                };
                missing.entry(operator).or_insert_with(|| node.name.clone());
            }
            for attribute in &node.attribute {
                graphs.extend(attribute.g.as_ref());
                graphs.extend(&attribute.graphs);
            }
        }
    }
}

type InputFacts = (String, DatumType, Vec<Option<usize>>);

fn only_input(path: &str, graph: &pb::GraphProto) -> Result<InputFacts, OnnxError> {
    let refused = |problem: String| OnnxError::Input {
        path: path.to_owned(),
        problem,
    };
    let weights: Vec<&str> = graph
        .initializer
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    let mut inputs = graph.input.iter();
    let inputs: Vec<_> = inputs
        .by_ref()
        .filter(|input| !weights.contains(&input.name.as_str()))
        .collect();
    let [input] = inputs[..] else {
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        return Err(refused(format!(
            "it has {} inputs ({}); models with one are understood",
            names.len(),
            names.join(", ")
        )));
    };
    let kind = input.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    let Some(pb::type_proto::Value::TensorType(tensor)) = kind else {
        return Err(refused(format!("its input {:?} is no tensor", input.name)));
    };
    let elements = pb::tensor_proto::DataType::try_from(tensor.elem_type).ok();
    let datum = elements.and_then(|kind| DatumType::try_from(kind).ok());
    let datum = datum.filter(|datum| datum.is_number()).ok_or_else(|| {
        let name = &input.name;
        refused(format!("its input {name:?} does not hold numbers"))
    })?;
    let Some(shape) = &tensor.shape else {
        let name = &input.name;
        return Err(refused(format!("its input {name:?} has no declared shape")));
    };
    let side = |dim: &pb::tensor_shape_proto::Dimension| match &dim.value {
        Some(pb::tensor_shape_proto::dimension::Value::DimValue(side)) => {
            usize::try_from(*side).ok().filter(|side| *side > 0)
        }
        _ => None,
    };
    Ok((
        input.name.clone(),
        datum,
        shape.dim.iter().map(side).collect(),
    ))
}

/// How much of a runtime's explanation is told.
const CAUSE_CHARS_MAX: usize = 600;
