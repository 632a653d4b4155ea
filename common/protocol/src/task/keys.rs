//! The keys of a task file, for people: what each is for, what it is when it is
//! left out, and what it may be.

use crate::features::FeatureStage;

/// A key of a task file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskKey {
    /// Its name, with dots between tables: `input.shape`.
    pub name: &'static str,
    /// What a task gets that does not name it.
    pub default: TaskDefault,
    /// The values that are accepted, for people; words stand in quotes.
    pub allowed: &'static str,
    /// What it is for, in a sentence.
    pub purpose: &'static str,
}

/// What a task gets that does not name a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskDefault {
    /// Nothing: the key is required.
    Required,
    /// This value, as TOML.
    Value(&'static str),
    /// What these words say.
    Words(&'static str),
}

use TaskDefault::{Required, Value, Words};

/// Every key, table by table.
pub const TASK_KEYS: &[TaskKey] = &[
    key(
        "name",
        Required,
        "1 to 64 letters, digits, `-`, `_` or `.`",
        "What people call the task.",
    ),
    key(
        "groups",
        Words("all devices"),
        "1 to 64 distinct names of groups",
        "Groups of devices that the task is for, as `token create --group` puts devices into them: no other device hears of it, counts for its quorum, or gets its students.",
    ),
    key(
        "contribute",
        Words("`\"points\"`, and `\"moments\"` without classes"),
        "\"labels\", \"moments\", \"both\", \"points\"; without classes \"moments\" or \"points\"",
        "What devices send beside distilled samples: soft labels, moments, both, or nothing more.",
    ),
    key(
        "input.kind",
        Value("\"array\""),
        "one of \"array\", \"table\", \"series\"",
        "What one input is: values in the order of `input.shape`; a row of a table, its columns found by name; a window of a recording, its channels found by name.",
    ),
    key(
        "input.shape",
        Words("required for kind `array`; other kinds make it"),
        "1 to 3 sides",
        "Shape of one input: values; samples × channels, or height × width; height × width × channels.",
    ),
    key(
        "input.names",
        Words("tables are read by place"),
        "one name for each value; kind `array`",
        "Names of the values, by which columns of CSV files are found in any order.",
    ),
    key(
        "input.columns",
        Words("required for kind `table`"),
        "names, or tables of `name`, `unit` and `values`",
        "Columns of the table; others in a file are left out. `unit` is the unit of a number in words; `values` lists the words of a categorical column, one feature each.",
    ),
    key(
        "input.missing",
        Words("`\"refuse\"`, for kind `table`"),
        "one of \"refuse\", \"mean\", \"skip-row\"",
        "What becomes of a row in which a value is missing: its file is refused; the fleet's mean takes its place; the row is left out.",
    ),
    key(
        "input.channels",
        Words("required for kind `series`"),
        "names, or tables of `name` and `unit`",
        "Channels of the recordings; other columns are left out.",
    ),
    key(
        "input.rate_hz",
        Words("required for kind `series`"),
        "1e-6 to 1e6",
        "Samples a second of a window; recordings of another rate are resampled.",
    ),
    key(
        "input.window_s",
        Words("required for kind `series`"),
        "2 to 65536 samples",
        "Seconds of a window.",
    ),
    key(
        "input.hop_s",
        Words("half of `input.window_s`"),
        "one sample or more",
        "Seconds from the start of a window to that of the next.",
    ),
    key(
        "input.label_share",
        Words("1, for kind `series`"),
        "above 0.5, at most 1",
        "Share of a window that one label covers at least; at 1, windows begin anew where the label changes.",
    ),
    key(
        "input.gap_s",
        Words("3.5 samples of `input.rate_hz`"),
        "1e-6 to 1e9",
        "Seconds without a sample that end a recording; no window reaches across. In a slower recording, 3.5 of its own samples if that is longer.",
    ),
    key(
        "classes.names",
        Words("required where `target.kind` is \"class\""),
        "2 to 1000 distinct names of 1 to 64 bytes",
        "Names of the classes. A number as a label is the class of that name, or counts them from 0 if no name is a number.",
    ),
    key(
        "target.kind",
        Value("\"class\""),
        "one of \"class\", \"number\", \"none\"",
        "What is asked of a row: which class it is, how much of something, or, of rows without labels, only how unlike the others it is.",
    ),
    key(
        "target.values",
        Words("`[\"value\"]` where `target.kind` is \"number\""),
        "1 to 64 distinct names; for \"number\" only",
        "Names of the numbers that are asked for, and of their columns in CSV files.",
    ),
    key(
        "target.units",
        Words("not told"),
        "a text for each of `target.values`",
        "Their units, for people.",
    ),
    key(
        "target.min",
        Words("no bound"),
        "a number, or one for each of `target.values`",
        "What is less counts as this, in training and in predictions.",
    ),
    key(
        "target.max",
        Words("no bound"),
        "a number, or one for each of `target.values`",
        "What is more counts as this, in training and in predictions.",
    ),
    key(
        STAGE,
        Words("as `input.kind` and `input.shape` suggest"),
        "a stage of the table below, with or without its version and parameters, or \"onnx\"",
        "What an input is turned into. By default series of 32 samples or more get `window` (`series` under a convolution), images of 8 × 8 or more `patches`, everything else `lifted` (where numbers are asked, series of 256 values or more `trend`), where an array of two sides is a series if the first is at least half as long again; beside `normaliser.range` only stages that a range can scale, else `raw`. `onnx` sends inputs through a frozen model first, and what it gives is a list of measurements ([A frozen model before the features](onnx.md#a-frozen-model-before-the-features)).",
    ),
    key(
        "features.model",
        Words("required for \"onnx\""),
        "64 hexadecimal digits; for \"onnx\" only",
        "The model, by the hash that `alambic-coordinator backbone add` prints. Its other keys are for \"onnx\" only too.",
    ),
    key(
        "features.width",
        Words("found by `task create`"),
        "1 to 65536",
        "Values that the model makes of an input; held against the model where it is said.",
    ),
    key(
        "features.bytes",
        Words("found by `task create`"),
        "1 to 67108864 for each file",
        "Bytes of the model, and of `front` if there is one; a device whose owner allows fewer has no part in the task.",
    ),
    key(
        "features.scale",
        Words("1 (nothing)"),
        "a number other than 0",
        "What inputs are multiplied with first: 255 for pictures of 0 to 1.",
    ),
    key(
        "features.square_root",
        Words("`false`"),
        "true, false",
        "Whether each value of the model is replaced by the square root of its size, with its sign.",
    ),
    key(
        "features.directions",
        Words("0, which keeps all"),
        "0 to `features.width`",
        "Orthonormal directions, drawn by `distillation.seed` alike on every device, that the model's values are projected onto: as many values are sent for a point instead.",
    ),
    key(
        "features.learn_directions",
        Words("`false`"),
        "true, false",
        "Whether these directions are learnt instead, from what devices say in their profiles: means of classes, and products of their covariance with directions that are drawn. Profiles are larger for it, by up to half of `budget.uplink_bytes_max` ([Directions that are learnt](onnx.md#directions-that-are-learnt)).",
    ),
    key(
        "features.kind",
        Words("as the model's input suggests"),
        "\"image\", \"sound\", \"values\"",
        "What the model looks at; this and what follows is said in [How inputs are made](onnx.md#how-inputs-are-made).",
    ),
    key(
        "features.layout",
        Words("as the model's input suggests"),
        "\"nchw\", \"nhwc\"",
        "Where the channels of pictures are.",
    ),
    key(
        "features.size",
        Words("the model's, else 224"),
        "one or two sides of 1 to 4096",
        "Height and width that pictures are brought to.",
    ),
    key(
        "features.colour",
        Words("RGB, or grey for one channel"),
        "\"rgb\", \"bgr\", \"grey\"",
        "The channels of pictures.",
    ),
    key(
        "features.mean",
        Words("127 for pictures in colour, else 0"),
        "a number, or one for each channel",
        "Subtracted from pictures of 0 to 255, sound of -1 to 1, values as they are.",
    ),
    key(
        "features.std",
        Words("128 for pictures in colour, 255 for grey ones, else 1"),
        "a number other than 0, or one for each channel",
        "Divides what is left.",
    ),
    key(
        "features.rate",
        Words("16,000 Hz"),
        "1000 to 384000",
        "Samples a second of a model of sound.",
    ),
    key(
        "features.front",
        Words("no such model"),
        "64 hexadecimal digits",
        "A model that makes frames × bins of samples, such as a mel spectrum, by its hash.",
    ),
    key(
        "features.front_mean",
        Words("0 (nothing)"),
        "a number",
        "Subtracted from the front's output.",
    ),
    key(
        "features.front_std",
        Words("1 (nothing)"),
        "a number other than 0",
        "Divides what is left.",
    ),
    key(
        "features.step",
        Words("8 frames, or half a window"),
        "1 or more",
        "Frames, or samples without a front, from one window to the next.",
    ),
    key(
        "features.output",
        Words("the first output"),
        "a name, or several",
        "The outputs or nodes to take.",
    ),
    key(
        "features.pool",
        Words("`\"mean\"`"),
        "\"mean\", \"max\", \"both\", \"first\", \"flatten\"",
        "What becomes of places in space or time.",
    ),
    key(
        "normaliser.range",
        Words("learnt in the profile phase"),
        "two numbers, the smaller first",
        "The range of all values, if it is known; devices then send no sums of features.",
    ),
    key(
        "normaliser.clip",
        Value("5.0"),
        "1 to 100",
        "Standard deviations beyond which a learnt feature is cut.",
    ),
    key(
        "normaliser.quantiles",
        Words("`true` for stages `lifted` and `trend`, else `false`"),
        "true, false; not beside `normaliser.range`",
        "Whether a feature with heavy tails is transformed by the fleet's quantiles before it is scaled.",
    ),
    key(
        "teacher.depth",
        Value("2"),
        "1 to 8",
        "Hidden layers of the network whose neural tangent kernel the teachers use.",
    ),
    key(
        "teacher.feature_weights",
        Words("`true` for stages `lifted` and `trend`, else `false`"),
        "true, false",
        "Whether features are weighted by what the distilled samples say of them.",
    ),
    key(
        "teacher.landmarks_max",
        Words("300 for stages `lifted` and `trend` with moments, else 0"),
        "0 to 2000; 0 without moments",
        "Most landmarks beside the transfer set on which moments stand as well; three a point at most.",
    ),
    key(
        "student.kind",
        Value("\"mlp\""),
        "\"mlp\", \"cnn\"",
        "The student: a fully connected network, or one with convolutions, for features with neighbours (\"patches\", \"series\", or \"raw\" images and windows).",
    ),
    key(
        "student.hidden",
        Value("[64]"),
        "widths of hidden layers",
        "Hidden layers, after the convolutions if there are any; `[]` for none.",
    ),
    key(
        "student.channels",
        Words("`[16, 32]` for \"cnn\""),
        "channels of each convolution; for \"cnn\" only",
        "Convolutions of 3 × 3, each followed by pooling of 2 along every side of 4 cells or more.",
    ),
    key(
        "student.novelty",
        Value("false"),
        "true, false",
        "Whether students also say how unlike their training a row is, by the points along their principal directions, which a release then carries (some 20 KB for 500 points).",
    ),
    key(
        "budget.plan",
        Value("\"fixed\""),
        "\"fixed\", or \"auto\" unless in mode `standing`; `budget = \"auto\"` is the same in a word",
        "Who says what the bytes of `budget.uplink_bytes_max` are spent on: this file, or the coordinator once devices said how many rows they hold: points, bits, rank, landmarks and `contribute`, which are left out then.",
    ),
    key(
        "budget.points_per_device",
        Value("30"),
        "1 to `budget.points_max`",
        "Distilled samples that a device is asked for.",
    ),
    key(
        "budget.points_max",
        Value("1000"),
        "1 to 10000",
        "Most points of the transfer set.",
    ),
    key(
        "budget.uplink_bytes_max",
        Value("100000"),
        "1000 to 67108864",
        "Most bytes that a device may send in one round.",
    ),
    key(
        "budget.rank_max",
        Value("0"),
        "0 or more",
        "Most virtual rows of a device's moments; 0 lets the bytes decide.",
    ),
    key(
        "budget.bits",
        Value("8"),
        "4 to 16",
        "Bits of each value of points and moments.",
    ),
    key(
        "budget.label_bits",
        Value("8"),
        "2 to 16",
        "Bits of each soft label.",
    ),
    key(
        "budget.cluster_size_min",
        Value("5"),
        "2 or more",
        "Fewest rows behind a distilled sample; a device's policy may ask for more.",
    ),
    key(
        "distillation.temperature",
        Value("0.0"),
        "0 (chosen), or 0.01 to 100",
        "Temperature of the teacher's labels for the student.",
    ),
    key(
        "distillation.steps",
        Value("4000"),
        "1 to 10000000",
        "Optimiser steps of the student's training.",
    ),
    key(
        "distillation.batch",
        Value("256"),
        "1 to 65536",
        "Synthetic inputs in each step.",
    ),
    key(
        "distillation.learning_rate",
        Value("0.004"),
        "above 0, at most 1",
        "Learning rate of the student's training.",
    ),
    key(
        "distillation.seed",
        Value("0"),
        "0 or more",
        "Seed of every random choice that both sides make.",
    ),
    key(
        "distillation.consensus",
        Value("\"weighted\""),
        "\"weighted\", \"mean\", \"median\", \"trimmed\"",
        "How soft labels of devices without moments are combined; the last two tolerate adversarial labels.",
    ),
    key(
        "distillation.sharpening",
        Value("1.5"),
        "0.1 to 10",
        "Power to which combined labels are raised; 1 leaves them as they are.",
    ),
    key(
        "distillation.refinement_steps",
        Value("0"),
        "0 to 8, and 0 unless the task has several classes or asks for numbers, and in mode `standing`; 4 by default with budget.plan = \"auto\"",
        "Most rounds after each round, by which devices' gradients move the student's last layer towards their own rows' labels or numbers; the first that makes it no better on held-out rows is taken back, and is the last.",
    ),
    key(
        "rounds.mode",
        Value("\"synchronous\""),
        "\"synchronous\", \"standing\"",
        "Whether a round waits for the devices that are there, or contributions count whenever they come and stand until their device replaces them; then `quorum`, `deadline_s` and `new_data_devices_min` say nothing.",
    ),
    key(
        "rounds.rows_new",
        Words("1000, for mode `standing`"),
        "1 or more; for \"standing\" only",
        "Rows of contributions that no student stands on yet, which are enough for the next one.",
    ),
    key(
        "rounds.devices_min",
        Value("2"),
        "1 or more",
        "Fewest devices of a round; of a standing task's profile and student.",
    ),
    key(
        "rounds.quorum",
        Value("0.8"),
        "above 0, at most 1",
        "Share of the devices called for a phase whose contributions are enough for it; those that \
         abstain, are refused, or do not come back after a restart of the coordinator are not counted.",
    ),
    key(
        "rounds.grace_s",
        Value("10.0"),
        "0 or more",
        "Seconds that a phase stays open for the others once the quorum is met.",
    ),
    key(
        "rounds.interval_s",
        Words("rounds are started by hand; 3600 for mode `standing`"),
        "0.1 or more",
        "Seconds between rounds that start by themselves when there are new rows; in mode `standing`, seconds after which fewer than `rows_new` are enough for a student.",
    ),
    key(
        "rounds.new_data_devices_min",
        Value("1"),
        "0 or more",
        "Devices with new rows that such a round needs.",
    ),
    key(
        "rounds.deadline_s.profile",
        Value("600.0"),
        "0.1 to 604800",
        "Seconds after which the profile phase ends in any case.",
    ),
    key(
        "rounds.deadline_s.summarise",
        Value("600.0"),
        "0.1 to 604800",
        "The same for the summarise phase.",
    ),
    key(
        "rounds.deadline_s.contribute",
        Value("600.0"),
        "0.1 to 604800",
        "The same for the contribute phase.",
    ),
    key(
        "rounds.deadline_s.report",
        Value("600.0"),
        "0.1 to 604800",
        "The same for the report phase.",
    ),
];

/// The key under which the reference lists the feature stages.
const STAGE: &str = "features.stage";

const fn key(
    name: &'static str,
    default: TaskDefault,
    allowed: &'static str,
    purpose: &'static str,
) -> TaskKey {
    TaskKey {
        name,
        default,
        allowed,
        purpose,
    }
}

/// Every key as Markdown: a section for each table, a row for each key.
pub fn task_reference() -> String {
    let mut text = String::new();
    let mut section = None;
    let mut stages = false;
    for key in TASK_KEYS {
        let (table, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        if section != Some(table) {
            section = Some(table);
            if std::mem::take(&mut stages) {
                text += &format!("\n{}", FeatureStage::reference());
            }
            let heading = match table {
                "" => "Top level".to_owned(),
                table => format!("`[{table}]`"),
            };
            text += &format!(
                "\n## {heading}\n\n| key | default | allowed | purpose |\n|---|---|---|---|\n"
            );
        }
        let default = match key.default {
            Required => "required".to_owned(),
            Value(toml) => format!("`{toml}`"),
            Words(words) => words.to_owned(),
        };
        let TaskKey {
            allowed, purpose, ..
        } = key;
        text += &format!("| `{name}` | {default} | {allowed} | {purpose} |\n");
        stages |= key.name == STAGE;
    }
    text
}
