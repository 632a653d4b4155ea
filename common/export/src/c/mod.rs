//! A student in C99, for machines without an operating system: no library, no
//! allocation, one header and one source.
//!
//! The code for each stage and layer lies in the `.c` files beside this one;
//! what differs from student to student are tables and sizes.

mod network;
mod stage;
mod writer;

use std::path::Path;

use protocol::features::{NormaliserParts, TargetScale};
use protocol::model::Release;
use protocol::task::{NumberSpec, Target};

use crate::error::{ExportError, whole};
use crate::exported::Exported;
use crate::graph::names;
use writer::Writer;

/// Source and header of a release, whose names begin with the stem of
/// `path`: `student.c` defines `student_predict`.
///
/// # Errors
/// A stem that is no name in C, or a stage that is not known here.
pub fn source(release: &Release, path: &Path) -> Result<Exported, ExportError> {
    whole(release)?;
    let name = name(path)?;
    let task = release.task();
    let definition = task.definition();
    let tables = definition.features.tables(task.input_shape())?;
    let mut writer = Writer::default();
    let features = task.features();
    writer.define("FEATURES", features);
    writer.define("VALUES", task.input_shape().values());
    writer.raw(include_str!("maths.c"));
    let stage_scratch = stage::write(&mut writer, &tables);
    if task.input().fills_gaps() {
        writer.raw("/* NaN is a missing value, and becomes the fleet's mean. */\n#define GAPS\n");
    }
    normaliser(&mut writer, &release.as_raw().normaliser.parts());
    let sizes = network::write(&mut writer, release.student());
    let kind = Kind::of(task.target());
    writer.define("ANSWERS", task.outputs());
    match release.as_raw().targets() {
        Some(scale) => numbers(&mut writer, task.target(), scale),
        None => {
            writer.raw(include_str!("exponential.c"));
            writer.raw(include_str!("classes.c"));
        }
    }
    let (returns, answer) = (kind.returns, kind.answer);
    writer.raw(&format!(
        "\n{returns} {name}_predict(const float *input, float *{answer}, float *scratch)\n{{\n"
    ));
    let head = include_str!("predict_head.c").replace("@ANSWER@", answer);
    writer.raw(&head.replace("@UNKNOWN@", kind.unknown));
    writer.raw(&sizes.calls.replace("@ANSWER@", answer));
    writer.raw(kind.ends);

    let upper = name.to_uppercase();
    let plain = features + stage_scratch.max(sizes.buffers);
    let coded = features + stage_scratch.max(sizes.buffers + sizes.codes.div_ceil(4));
    let version = release.version();
    let head = format!(
        "/* Student {version} of task {title}, {stage} features, {kind}.\n * {note} */\n",
        title = comment(&definition.name),
        stage = definition.features,
        kind = task.student(),
        note = "Generated; C99, no library, no allocation.",
    );
    let listed: Vec<String> = { names(task).into_iter() }
        .map(|one| format!("    {}", text(&one)))
        .collect();
    let (count, list) = (kind.count, kind.list);
    let listed = format!(
        "\nconst char *const {name}_{list}[{upper}_{count}] = {{\n{}\n}};\n",
        listed.join(",\n")
    );
    let source = format!(
        "{head}#include \"{name}.h\"\n#include <stdint.h>\n\n{}{listed}",
        writer.code
    );
    let header = include_str!("header.h")
        .replace("@HEAD@", &head)
        .replace("@NAME@", &name)
        .replace("@UPPER@", &upper)
        .replace("@INPUTS@", &task.input_shape().values().to_string())
        .replace("@CLASSES@", &task.outputs().to_string())
        .replace("@COUNT@", kind.count)
        .replace("@LIST@", kind.list)
        .replace("@RETURNS@", kind.returns)
        .replace("@ANSWER@", kind.answer)
        .replace("@DOES@", kind.does)
        .replace("@SCRATCH@", &plain.to_string())
        .replace("@SCRATCH_INT8@", &coded.to_string());
    let note = format!(
        "RAM: {} bytes of scratch ({} with STUDENT_INT8) beside input, answer and a few hundred \
         bytes of stack; flash: {} bytes of tables beside 2 to 8 KiB of code",
        4 * plain,
        4 * coded,
        writer.table_bytes
    );
    Ok(Exported {
        files: vec![("c", source.into_bytes()), ("h", header.into_bytes())],
        note: Some(note),
    })
}

/// How a student of classes differs from one of numbers.
struct Kind {
    count: &'static str,
    list: &'static str,
    returns: &'static str,
    answer: &'static str,
    does: &'static str,
    /// What it does where a value of the input is no number.
    unknown: &'static str,
    /// The function's last lines.
    ends: &'static str,
}

impl Kind {
    fn of(target: &Target) -> Self {
        match target {
            Target::Class => Self {
                count: "CLASSES",
                list: "classes",
                returns: "int",
                answer: "probabilities",
                does: "Writes the probability of each class for one input and returns the number\n \
                       * of the most likely one; of an input with NaN, unless that is a missing\n \
                       * value, NaN and -1.",
                unknown: "return -1;",
                ends: "    return probabilities_of(probabilities);\n}\n",
            },
            Target::Number(_) => Self {
                count: "NUMBERS",
                list: "numbers",
                returns: "void",
                answer: "numbers",
                does: "Writes the numbers of one input, in their units; NaN of one with NaN, unless\n \
                       * that is a missing value.",
                unknown: "return;",
                ends: "    numbers_of(numbers);\n}\n",
            },
        }
    }
}

fn numbers(writer: &mut Writer, target: &Target, scale: &TargetScale) {
    let (mean, deviation) = scale.parts();
    let limits = |limit: fn(&NumberSpec) -> f32| -> Vec<f32> {
        target.numbers().iter().map(limit).collect()
    };
    writer.floats("number_mean", mean);
    writer.floats("number_deviation", deviation);
    writer.floats("number_min", &limits(|one| one.min.unwrap_or(f32::MIN)));
    writer.floats("number_max", &limits(|one| one.max.unwrap_or(f32::MAX)));
    writer.raw(include_str!("numbers.c"));
}

fn normaliser(writer: &mut Writer, parts: &NormaliserParts<'_>) {
    writer.floats("mean", parts.mean);
    writer.floats("scale", parts.scale);
    writer.define_float("CLIP", parts.clip);
    writer.define_float("FACTOR", parts.factor);
    if parts.unit_norm {
        writer.raw("#define UNIT_NORM\n");
    }
    if !parts.transforms.is_empty() {
        let mut starts = vec![0i64];
        let [mut knots, mut levels] = [const { Vec::new() }; 2];
        for transform in parts.transforms {
            knots.extend_from_slice(transform.points().0);
            levels.extend_from_slice(transform.points().1);
            starts.push(knots.len() as i64);
        }
        let bent: Vec<i64> = parts
            .transforms
            .iter()
            .map(|transform| transform.feature() as i64)
            .collect();
        writer.define("TRANSFORMS", bent.len());
        writer.integers("int", "transform_feature", &bent);
        writer.integers("int", "transform_start", &starts);
        writer.floats("transform_knots", &knots);
        writer.floats("transform_levels", &levels);
    }
    writer.raw(include_str!("normaliser.c"));
}

/// What the names in a file of this path begin with.
///
/// # Errors
/// A stem that is no name in C.
pub(crate) fn name(path: &Path) -> Result<String, ExportError> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    identifier(stem.unwrap_or_default())
}

/// A stem as a name in C.
fn identifier(stem: &str) -> Result<String, ExportError> {
    let letter = |c: char| c.is_ascii_alphabetic();
    let fits = stem.starts_with(letter)
        && stem.len() <= IDENTIFIER_CHARACTERS_MAX
        && stem.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if fits {
        Ok(stem.to_owned())
    } else {
        Err(ExportError::Identifier {
            name: stem.to_owned(),
        })
    }
}

/// A literal whose escapes no following digit can lengthen.
fn text(value: &str) -> String {
    let mut literal = String::from('"');
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' | b'?' => literal.extend(['\\', byte as char]),
            b' '..=b'~' => literal.push(byte as char),
            other => literal.push_str(&format!("\\{other:03o}")),
        }
    }
    literal + "\""
}

/// Text that ends no comment.
fn comment(value: &str) -> String {
    let plain = value
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_.".contains(*c));
    plain.collect()
}

/// Longest name: C99 tells 63 characters apart, and some are appended.
const IDENTIFIER_CHARACTERS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_and_texts_are_safe_in_c() {
        assert_eq!(identifier("student_2").unwrap(), "student_2");
        for stem in ["", "2x", "a-b", "a b", "é", &"a".repeat(41)] {
            assert!(matches!(
                identifier(stem),
                Err(ExportError::Identifier { .. })
            ));
        }
        assert_eq!(text("a\"b\\\n1é"), "\"a\\\"b\\\\\\0121\\303\\251\"");
        assert_eq!(comment("x */ y"), "x  y");
    }
}
