//! Small models, written node by node: for tests.

use tract_onnx::pb;

/// A model of one input, f32, under construction.
#[derive(Clone, Debug)]
pub struct Tiny(pb::GraphProto);

impl Tiny {
    /// A graph of the input `x` with these sides; none stands for any.
    pub fn of(sides: &[Option<usize>]) -> Self {
        Self(pb::GraphProto {
            name: "tiny".to_owned(),
            input: vec![value("x", sides)],
            ..pb::GraphProto::default()
        })
    }

    /// With a constant.
    #[must_use]
    pub fn constant(mut self, name: &str, sides: &[usize], values: &[f32]) -> Self {
        self.0.initializer.push(pb::TensorProto {
            name: name.to_owned(),
            dims: sides.iter().map(|&side| side as i64).collect(),
            data_type: FLOAT,
            float_data: values.to_vec(),
            ..pb::TensorProto::default()
        });
        self
    }

    /// With a node of the name of its output.
    #[must_use]
    pub fn node(mut self, operator: &str, inputs: &[&str], output: &str) -> Self {
        self.0.node.push(pb::NodeProto {
            name: output.to_owned(),
            op_type: operator.to_owned(),
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            ..pb::NodeProto::default()
        });
        self
    }

    /// The last node with an attribute of integers.
    #[must_use]
    pub fn with(mut self, attribute: &str, integers: &[i64]) -> Self {
        if let Some(node) = self.0.node.last_mut() {
            node.attribute.push(pb::AttributeProto {
                name: attribute.to_owned(),
                r#type: pb::attribute_proto::AttributeType::Ints as i32,
                ints: integers.to_vec(),
                ..pb::AttributeProto::default()
            });
        }
        self
    }

    /// With an output of integers before the others.
    #[must_use]
    pub fn number(mut self, name: &str) -> Self {
        let mut output = value(name, &[]);
        let kind = output.r#type.as_mut().and_then(|kind| kind.value.as_mut());
        if let Some(pb::type_proto::Value::TensorType(tensor)) = kind {
            tensor.elem_type = INT64;
        }
        self.0.output.push(output);
        self
    }

    /// Its bytes, ending in these outputs.
    pub fn bytes(mut self, outputs: &[&str]) -> Vec<u8> {
        self.0
            .output
            .extend(outputs.iter().map(|name| value(name, &[])));
        let model = pb::ModelProto {
            ir_version: 7,
            opset_import: vec![pb::OperatorSetIdProto {
                domain: String::new(),
                version: 13,
            }],
            graph: Some(self.0),
            ..pb::ModelProto::default()
        };
        prost::Message::encode_to_vec(&model)
    }
}

fn value(name: &str, sides: &[Option<usize>]) -> pb::ValueInfoProto {
    use pb::tensor_shape_proto::{Dimension, dimension::Value};
    let side = |(index, side): (usize, &Option<usize>)| Dimension {
        denotation: String::new(),
        value: Some(match side {
            Some(side) => Value::DimValue(*side as i64),
            None => Value::DimParam(format!("side{index}")),
        }),
    };
    let shape = pb::TensorShapeProto {
        dim: sides.iter().enumerate().map(side).collect(),
    };
    pb::ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(pb::TypeProto {
            denotation: String::new(),
            value: Some(pb::type_proto::Value::TensorType(pb::type_proto::Tensor {
                elem_type: FLOAT,
                shape: (!sides.is_empty()).then_some(shape),
            })),
        }),
        doc_string: String::new(),
    }
}

const FLOAT: i32 = 1;
const INT64: i32 = 7;
