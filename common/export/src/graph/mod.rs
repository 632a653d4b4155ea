//! A student as a graph of standard operators, from a raw input to
//! probabilities.

mod filters;
mod network;
mod normaliser;
mod spectrum;
mod window;

use protocol::features::{StageTables, TargetScale};
use protocol::model::Release;
use protocol::task::{NumberSpec, Target, Task};

use crate::error::{ExportError, whole};

/// Operators in an order in which each finds its inputs, and the constants
/// they need. Operators, attributes and their meaning are those of ONNX,
/// opset [`OPSET`]; [`OPERATORS`] lists the ones that occur.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Shape of one input.
    pub input: Vec<usize>,
    /// Class names, in the order of the probabilities, or names of the numbers.
    pub classes: Vec<String>,
    /// What comes out, in order.
    pub outputs: Vec<Output>,
    /// Operators.
    pub nodes: Vec<Node>,
    /// Constants.
    pub constants: Vec<Constant>,
}

/// A result, with any number of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Class probabilities, one a class; [`PROBABILITIES`].
    Probabilities,
    /// The most likely class's number; [`CLASS`].
    Class,
    /// Numbers in their units, one each; [`NUMBERS`].
    Numbers,
}

/// One operator with one result.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name, one of [`OPERATORS`].
    pub operator: &'static str,
    /// Names of its inputs.
    pub inputs: Vec<String>,
    /// Name of its result. Where an operator has several (`TopK`), the first.
    pub output: String,
    /// Attributes by name.
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// What an attribute says.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// An integer.
    Integer(i64),
    /// Integers.
    Integers(Vec<i64>),
}

/// A named constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: Numbers,
}

/// Values of a constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
    /// Integers.
    I64(Vec<i64>),
}

impl Graph {
    /// The graph of a release: input `input` (rows, sides of an input), results
    /// `probabilities` (rows, classes) and `class` (rows), the most likely class's number; of
    /// a student of numbers `numbers` (rows, numbers) in their units.
    ///
    /// # Errors
    /// A stage that is not known here, or a spectrum that cannot be expressed.
    pub fn of(release: &Release) -> Result<Self, ExportError> {
        whole(release)?;
        let definition = release.task().definition();
        let shape = release.task().input_shape();
        let mut builder = Builder::default();
        let stage = definition.features.tables(shape)?;
        let features = match &stage {
            StageTables::Raw => builder.reshape(INPUT, &[-1, shape.values() as i64]),
            StageTables::Lifted => {
                let flat = builder.reshape(INPUT, &[-1, shape.values() as i64]);
                zero_behind(&mut builder, &flat)
            }
            StageTables::Filters(tables) => filters::lower(&mut builder, tables),
            StageTables::Window(tables) => {
                let features = window::lower(&mut builder, tables)?;
                match tables.lifted {
                    true => zero_behind(&mut builder, &features),
                    false => features,
                }
            }
        };
        let parts = release.as_raw().normaliser.parts();
        let scaled = match release.task().input().fills_gaps() {
            true => normaliser::lower_with_gaps(&mut builder, &parts, &features),
            false => normaliser::lower(&mut builder, &parts, &features),
        };
        let logits = network::lower(&mut builder, release.student(), &scaled);
        let outputs = match release.as_raw().targets() {
            Some(scale) => {
                numbers(&mut builder, release.task().target(), scale, &logits);
                vec![Output::Numbers]
            }
            None => {
                classes(&mut builder, &logits);
                vec![Output::Probabilities, Output::Class]
            }
        };
        Ok(Self {
            input: shape.sides().to_vec(),
            classes: names(release.task()),
            outputs,
            nodes: builder.nodes,
            constants: builder.constants,
        })
    }
}

/// Names of what comes out: classes, or numbers.
pub(crate) fn names(task: &Task) -> Vec<String> {
    match task.target() {
        Target::Class => task.definition().classes.clone(),
        Target::Number(numbers) => numbers.iter().map(|one| one.name.clone()).collect(),
    }
}

/// Probabilities and the most likely class of logits.
fn classes(builder: &mut Builder, logits: &str) {
    builder.named(
        "Softmax",
        &[logits],
        &[("axis", Attribute::Integer(1))],
        PROBABILITIES,
    );
    let largest = [
        ("axis", Attribute::Integer(1)),
        ("keepdims", Attribute::Integer(0)),
    ];
    builder.named("ArgMax", &[PROBABILITIES], &largest, CLASS);
}

/// Scaled numbers in their units and within their limits.
fn numbers(builder: &mut Builder, target: &Target, scale: &TargetScale, scaled: &str) {
    let (mean, deviation) = scale.parts();
    let width = [mean.len()];
    let deviation = builder.keep(
        "numbers.deviation",
        &width,
        Numbers::F32(deviation.to_vec()),
    );
    let mean = builder.keep("numbers.mean", &width, Numbers::F32(mean.to_vec()));
    let limits = |limit: fn(&NumberSpec) -> f32| target.numbers().iter().map(limit).collect();
    let low = limits(|one| one.min.unwrap_or(f32::MIN));
    let high = limits(|one| one.max.unwrap_or(f32::MAX));
    let low = builder.keep("numbers.min", &width, Numbers::F32(low));
    let high = builder.keep("numbers.max", &width, Numbers::F32(high));
    let wide = builder.add("Mul", &[scaled, &deviation]);
    let moved = builder.add("Add", &[&wide, &mean]);
    let above = builder.add("Max", &[&moved, &low]);
    builder.named("Min", &[&above, &high], &[], NUMBERS);
}

/// Rows (rows, features) with one more feature, which is zero.
fn zero_behind(builder: &mut Builder, rows: &str) -> String {
    let pads = builder.integers(&[0, 0, 0, 1]);
    builder.add("Pad", &[rows, &pads])
}

/// Collects nodes and constants under fresh names.
#[derive(Debug, Default)]
struct Builder {
    nodes: Vec<Node>,
    constants: Vec<Constant>,
}

impl Builder {
    fn add(&mut self, operator: &'static str, inputs: &[&str]) -> String {
        self.with(operator, inputs, &[])
    }

    fn with(
        &mut self,
        operator: &'static str,
        inputs: &[&str],
        attributes: &[(&'static str, Attribute)],
    ) -> String {
        let output = format!("v{}", self.nodes.len());
        self.named(operator, inputs, attributes, &output);
        output
    }

    fn named(
        &mut self,
        operator: &'static str,
        inputs: &[&str],
        attributes: &[(&'static str, Attribute)],
        output: &str,
    ) {
        self.nodes.push(Node {
            operator,
            inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: output.to_owned(),
            attributes: attributes.to_vec(),
        });
    }

    /// A constant; equal unnamed ones are kept once.
    fn constant(&mut self, shape: &[usize], values: Numbers) -> String {
        let same = |one: &&Constant| {
            one.name.starts_with(UNNAMED) && one.shape == shape && one.values == values
        };
        if let Some(known) = self.constants.iter().find(same) {
            return known.name.clone();
        }
        let name = format!("{UNNAMED}{}", self.constants.len());
        self.keep(&name, shape, values)
    }

    fn keep(&mut self, name: &str, shape: &[usize], values: Numbers) -> String {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        self.constants.push(Constant {
            name: name.to_owned(),
            shape: shape.to_vec(),
            values,
        });
        name.to_owned()
    }

    fn integers(&mut self, values: &[i64]) -> String {
        self.constant(&[values.len()], Numbers::I64(values.to_vec()))
    }

    fn single(&mut self, value: f32) -> String {
        self.constant(&[], Numbers::F32(vec![value]))
    }

    fn double(&mut self, value: f64) -> String {
        self.constant(&[], Numbers::F64(vec![value]))
    }

    fn reshape(&mut self, input: &str, shape: &[i64]) -> String {
        let shape = self.integers(shape);
        self.add("Reshape", &[input, &shape])
    }

    fn transpose(&mut self, input: &str, order: &[i64]) -> String {
        let order = [("perm", Attribute::Integers(order.to_vec()))];
        self.with("Transpose", &[input], &order)
    }

    fn concat(&mut self, inputs: &[&str], axis: i64) -> String {
        match inputs {
            [one] => (*one).to_owned(),
            _ => self.with("Concat", inputs, &[("axis", Attribute::Integer(axis))]),
        }
    }

    fn gather(&mut self, input: &str, places: &[i64], axis: i64) -> String {
        let places = self.integers(places);
        self.with(
            "Gather",
            &[input, &places],
            &[("axis", Attribute::Integer(axis))],
        )
    }

    fn slice(&mut self, input: &str, [from, to]: [i64; 2], axis: i64) -> String {
        let [from, to, axis] = [from, to, axis].map(|one| self.integers(&[one]));
        self.add("Slice", &[input, &from, &to, &axis])
    }

    /// Sums along one axis, which stays with length 1.
    fn sum(&mut self, input: &str, axis: i64) -> String {
        let axis = self.integers(&[axis]);
        self.add("ReduceSum", &[input, &axis])
    }
}

impl Numbers {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Name of the input.
pub const INPUT: &str = "input";
/// Name of the class probabilities.
pub const PROBABILITIES: &str = "probabilities";
/// Name of the most likely class's number.
pub const CLASS: &str = "class";
/// Name of the numbers.
pub const NUMBERS: &str = "numbers";
/// The version of the operators.
pub const OPSET: i64 = 13;
/// Every operator that occurs.
pub const OPERATORS: [&str; 29] = [
    "Add",
    "ArgMax",
    "Cast",
    "Concat",
    "Conv",
    "Div",
    "Gather",
    "Gemm",
    "Less",
    "Log",
    "MatMul",
    "Max",
    "MaxPool",
    "Min",
    "Mul",
    "Neg",
    "Pad",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Slice",
    "Softmax",
    "Sqrt",
    "Sub",
    "TopK",
    "Transpose",
    "Abs",
    "IsNaN",
    "Where",
];
/// Most values of a matrix that stands for a transform.
pub const MATRIX_VALUES_MAX: usize = 1 << 21;
/// What names of constants that nobody named begin with.
const UNNAMED: &str = "c";
