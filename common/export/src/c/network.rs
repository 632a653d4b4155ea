//! Tables of the network, and the calls that run it.

use math::network::{Cnn, Network, Padding, Student, Tensor};

use super::writer::Writer;

/// What the network needs, and what runs it.
#[derive(Debug)]
pub(super) struct Sizes {
    /// Floats between layers.
    pub(super) buffers: usize,
    /// Bytes for the codes of one layer's inputs.
    pub(super) codes: usize,
    /// From `features` to `@ANSWER@`, which holds what the network says then.
    pub(super) calls: String,
}

/// One layer's call, without its ends.
struct Layer {
    inputs: usize,
    outputs: usize,
    call: String,
}

/// Writes weights, as eight-bit codes with a scale for each unit, and biases.
pub(super) fn write(writer: &mut Writer, student: &Student) -> Sizes {
    let parameters = student.parameters();
    for tensor in student.tensors() {
        let name = tensor.name.replace('.', "_");
        let values = &parameters[tensor.range.clone()];
        if tensor.shape.len() == 1 {
            writer.floats(&name, values);
        } else {
            let (codes, scales) = coded(&tensor, values);
            writer.integers("int8_t", &name, &codes);
            writer.floats(&name.replace("_weight", "_scale"), &scales);
        }
    }
    writer.raw(include_str!("network.c"));
    let mut layers = Vec::new();
    if let Student::Cnn(network) = student {
        writer.raw(include_str!("convolution.c"));
        convolutions(writer, network, &mut layers);
    }
    dense(student, &mut layers);
    let last = layers.len() - 1;
    // Outputs alternate between two buffers; the last are the caller's.
    let widest = |odd: usize| {
        let own = layers.iter().take(last).skip(odd).step_by(2);
        own.map(|layer| layer.outputs).max().unwrap_or(0)
    };
    let (first, second) = (widest(0), widest(1));
    let mut calls = String::new();
    for (index, layer) in layers.iter().enumerate() {
        let side = |index: usize| match index % 2 {
            0 => "work".to_owned(),
            _ => format!("work + {first}"),
        };
        let from = index.checked_sub(1).map_or("features".to_owned(), side);
        let to = if index == last {
            "@ANSWER@".to_owned()
        } else {
            side(index)
        };
        calls.push_str(&layer.call.replace("@FROM@", &from).replace("@TO@", &to));
    }
    writer.define("BUFFERS", first + second);
    Sizes {
        buffers: first + second,
        codes: layers.iter().map(|layer| layer.inputs).max().unwrap_or(0),
        calls,
    }
}

fn dense(student: &Student, layers: &mut Vec<Layer>) {
    let of_head = |tensor: &Tensor| tensor.name.starts_with("layers.") && tensor.shape.len() == 2;
    let weights: Vec<Tensor> = student.tensors().into_iter().filter(of_head).collect();
    for (index, tensor) in weights.iter().enumerate() {
        let (units, width) = (tensor.shape[0], tensor.shape[1]);
        let rectified = i32::from(index + 1 < weights.len());
        let name = format!("layers_{index}");
        layers.push(Layer {
            inputs: width,
            outputs: units,
            call: format!(
                "    dense(@FROM@, {width}, {units}, {name}_weight, {name}_scale, {name}_bias, \
                 {rectified}, @TO@, codes);\n"
            ),
        });
    }
}

fn convolutions(writer: &mut Writer, network: &Cnn<f32>, layers: &mut Vec<Layer>) {
    let [mut height, mut width, mut channels] = network.shape().input;
    for (index, layer) in network.shape().convolutions.iter().enumerate() {
        let [tall, wide] = layer.kernel;
        let ([above, left], response) = match layer.padding {
            Padding::Valid => ([0, 0], [height - tall + 1, width - wide + 1]),
            Padding::Same => ([(tall - 1) / 2, (wide - 1) / 2], [height, width]),
        };
        let [pool_y, pool_x] = layer.pool;
        let (out_y, out_x) = (response[0] / pool_y, response[1] / pool_x);
        let units = layer.channels;
        let numbers = [
            height, width, channels, tall, wide, above, left, units, pool_y, pool_x, out_y, out_x,
        ];
        let numbers = numbers.map(|number| number.to_string()).join(", ");
        writer.raw(&format!(
            "static const plan plan_{index} = {{{numbers}}};\n"
        ));
        let name = format!("convolutions_{index}");
        layers.push(Layer {
            inputs: height * width * channels,
            outputs: out_y * out_x * units,
            call: format!(
                "    convolve(&plan_{index}, @FROM@, {name}_weight, {name}_scale, {name}_bias, \
                 @TO@, codes);\n"
            ),
        });
        (height, width, channels) = (out_y, out_x, units);
    }
}

/// The codes −127 to 127 of a weight and each unit's scale. A release's weights are
/// such codes already, so nothing is lost.
fn coded(tensor: &Tensor, values: &[f32]) -> (Vec<i64>, Vec<f32>) {
    let window: usize = tensor.shape[1..].iter().product();
    let (mut codes, mut scales) = (Vec::new(), Vec::new());
    for unit in values.chunks(window.max(1)) {
        let most = unit.iter().fold(0f32, |most, value| most.max(value.abs()));
        let scale = f64::from(most) / 127.0;
        let code = |&value: &f32| match scale > 0.0 {
            true => (f64::from(value) / scale).round() as i64,
            false => 0,
        };
        codes.extend(unit.iter().map(code));
        scales.push(scale as f32);
    }
    (codes, scales)
}
