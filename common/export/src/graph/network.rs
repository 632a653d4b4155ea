//! The network: logits of scaled features.

use math::network::{CnnShape, Network, Padding, Student};

use super::{Attribute, Builder, Numbers};

/// Logits, rows × classes, of scaled features, rows × features. Weights and
/// biases are constants under their names in the release, of the shapes
/// they have there.
pub(super) fn lower(builder: &mut Builder, student: &Student, inputs: &str) -> String {
    let parameters = student.parameters();
    let tensors = student.tensors();
    for tensor in &tensors {
        let values = Numbers::F32(parameters[tensor.range.clone()].to_vec());
        builder.keep(&tensor.name, &tensor.shape, values);
    }
    let mut values = inputs.to_owned();
    if let Student::Cnn(network) = student {
        values = convolutions(builder, network.shape(), &values);
    }
    let layers = student_layers(student);
    for layer in 0..layers {
        let names = ["weight", "bias"].map(|part| format!("layers.{layer}.{part}"));
        let by_output = [("transB", Attribute::Integer(1))];
        values = builder.with("Gemm", &[&values, &names[0], &names[1]], &by_output);
        if layer + 1 < layers {
            values = builder.add("Relu", &[&values]);
        }
    }
    values
}

fn student_layers(student: &Student) -> usize {
    1 + match student {
        Student::Mlp(network) => network.shape().hidden.len(),
        Student::Cnn(network) => network.shape().hidden.len(),
    }
}

/// What the convolutions make of each row, flattened with channels last.
fn convolutions(builder: &mut Builder, shape: &CnnShape, inputs: &str) -> String {
    let [height, width, channels] = shape.input.map(|side| side as i64);
    let image = builder.reshape(inputs, &[-1, height, width, channels]);
    let mut values = builder.transpose(&image, &[0, 3, 1, 2]);
    let mut sides = [shape.input[0], shape.input[1]];
    let mut last = shape.input[2];
    for (index, layer) in shape.convolutions.iter().enumerate() {
        let kernel = layer.kernel;
        let pads = match layer.padding {
            Padding::Valid => [0; 4],
            Padding::Same => {
                let before = kernel.map(|side| (side - 1) / 2);
                let after = [0, 1].map(|axis| kernel[axis] - 1 - before[axis]);
                [before[0], before[1], after[0], after[1]]
            }
        };
        let names = ["weight", "bias"].map(|part| format!("convolutions.{index}.{part}"));
        // Stored by channel, height, width, input channel.
        let weight = builder.transpose(&names[0], &[0, 3, 1, 2]);
        let integers = |values: &[usize]| {
            Attribute::Integers(values.iter().map(|&value| value as i64).collect())
        };
        let window = [
            ("kernel_shape", integers(&kernel)),
            ("pads", integers(&pads)),
        ];
        values = builder.with("Conv", &[&values, &weight, &names[1]], &window);
        values = builder.add("Relu", &[&values]);
        for axis in [0, 1] {
            let response = sides[axis] + pads[axis] + pads[axis + 2] + 1 - kernel[axis];
            sides[axis] = response / layer.pool[axis];
        }
        if layer.pool != [1, 1] {
            let pool = [
                ("kernel_shape", integers(&layer.pool)),
                ("strides", integers(&layer.pool)),
            ];
            values = builder.with("MaxPool", &[&values], &pool);
        }
        last = layer.channels;
    }
    let values = builder.transpose(&values, &[0, 2, 3, 1]);
    builder.reshape(&values, &[-1, (sides[0] * sides[1] * last) as i64])
}
