//! A student as a graph of standard operators, from a raw input to
//! probabilities.

mod filters;
mod network;
mod normaliser;
mod spectrum;
mod window;

use protocol::features::StageTables;
use protocol::model::Release;

use crate::error::ExportError;

/// Operators in an order in which each finds its inputs, and the constants
/// they need. Operators, attributes and their meaning are those of ONNX,
/// opset [`OPSET`]; [`OPERATORS`] lists the ones that occur.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Shape of one input.
    pub input: Vec<usize>,
    /// Class names, in the order of the probabilities.
    pub classes: Vec<String>,
    /// Operators.
    pub nodes: Vec<Node>,
    /// Constants.
    pub constants: Vec<Constant>,
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
    /// `probabilities` (rows, classes) and `class` (rows), the most likely class's number.
    ///
    /// # Errors
    /// A stage that is not known here, or a spectrum that cannot be expressed.
    pub fn of(release: &Release) -> Result<Self, ExportError> {
        let definition = release.task().definition();
        let shape = release.task().input_shape();
        let mut builder = Builder::default();
        let stage = definition.features.tables(shape)?;
        let features = match &stage {
            StageTables::Raw => builder.reshape(INPUT, &[-1, shape.values() as i64]),
            StageTables::Lifted => {
                let flat = builder.reshape(INPUT, &[-1, shape.values() as i64]);
                let pads = builder.integers(&[0, 0, 0, 1]);
                builder.add("Pad", &[&flat, &pads])
            }
            StageTables::Filters(tables) => filters::lower(&mut builder, tables),
            StageTables::Window(tables) => window::lower(&mut builder, tables)?,
        };
        let parts = release.as_raw().normaliser.parts();
        let scaled = match release.task().input().fills_gaps() {
            true => normaliser::lower_with_gaps(&mut builder, &parts, &features),
            false => normaliser::lower(&mut builder, &parts, &features),
        };
        let logits = network::lower(&mut builder, release.student(), &scaled);
        builder.named(
            "Softmax",
            &[&logits],
            &[("axis", Attribute::Integer(1))],
            PROBABILITIES,
        );
        let largest = [
            ("axis", Attribute::Integer(1)),
            ("keepdims", Attribute::Integer(0)),
        ];
        builder.named("ArgMax", &[PROBABILITIES], &largest, CLASS);
        Ok(Self {
            input: shape.sides().to_vec(),
            classes: definition.classes.clone(),
            nodes: builder.nodes,
            constants: builder.constants,
        })
    }
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

    /// Whether there are none.
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
