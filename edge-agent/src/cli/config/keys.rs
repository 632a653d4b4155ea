//! The agent's settings, one entry a key.

use std::path::Path;

use common::settings::{Key, NONE};

use crate::config::{Config, Flags, MQTT_MIB_MAX};
use crate::policy::Budget;
use crate::teacher::ModelChoice;
use crate::work::TeacherChoice;

pub(super) const KEYS: &[Key<Config, Flags>] = &[
    Key {
        name: "state",
        flag: Some(("--state", |flags| flags.state.is_some())),
        variable: Some("ALAMBIC_STATE"),
        allowed: "directory",
        purpose: "Key, certificate, students, outbox and ledger; one agent at a time uses it.",
        value: |config| shown(&config.state),
    },
    Key {
        name: "coordinator.address",
        flag: None,
        variable: Some("ALAMBIC_COORDINATOR"),
        allowed: "HOST:PORT, or several with commas",
        purpose: "The coordinator, if it has moved since this device enrolled; several where one stands by for another.",
        value: |config| config.coordinator.clone().unwrap_or_else(|| NONE.into()),
    },
    Key {
        name: "coordinator.copies_enrol",
        flag: None,
        variable: None,
        allowed: "true or false",
        purpose: "Whether a copy of another machine joins with a key of its own.",
        value: |config| config.copies_enrol.to_string(),
    },
    Key {
        name: "data.folder",
        flag: Some(("--data", |flags| flags.data.is_some())),
        variable: Some("ALAMBIC_DATA"),
        allowed: "directory",
        purpose: "CSV, NPZ and NPY files with the device's rows; without one it only receives students.",
        value: |config| config.data.as_deref().map_or_else(|| NONE.into(), shown),
    },
    Key {
        name: "data.label_column",
        flag: None,
        variable: Some("ALAMBIC_LABEL_COLUMN"),
        allowed: "a column's name",
        purpose: "The column (CSV) that holds the label.",
        value: |config| config.label_column.clone(),
    },
    Key {
        name: "data.files",
        flag: None,
        variable: None,
        allowed: "patterns from the folder on, with `*`, `?` and `**`",
        purpose: "Files that are read, also in folders inside; without patterns every CSV, TSV, NPZ, NPY and Parquet file of the folder, packed by gzip or zstd or not.",
        value: |config| listed(&config.mapping.files),
    },
    Key {
        name: "data.separator",
        flag: None,
        variable: None,
        allowed: "`\",\"`, `\";\"`, `\"\\t\"`, `\"|\"` or `\" \"` (any blanks)",
        purpose: "What stands between the cells of a table; without it what the first lines show.",
        value: |config| config.mapping.separator.map_or_else(|| NONE.into(), sign),
    },
    Key {
        name: "data.decimal",
        flag: None,
        variable: None,
        allowed: "`\".\"` or `\",\"`",
        purpose: "The decimal sign; without it what the cells show.",
        value: |config| config.mapping.decimal.map_or_else(|| NONE.into(), sign),
    },
    Key {
        name: "data.encoding",
        flag: None,
        variable: None,
        allowed: "utf-8, utf-16 or latin-1",
        purpose: "How text is encoded; without it UTF-8, or UTF-16 where that shows.",
        value: |config| {
            config
                .mapping
                .encoding
                .map_or_else(|| NONE.into(), |encoding| encoding.name().into())
        },
    },
    Key {
        name: "data.names",
        flag: None,
        variable: None,
        allowed: "a name for each column",
        purpose: "Names of the columns of tables without a header.",
        value: |config| {
            config
                .mapping
                .names
                .as_deref()
                .map_or_else(|| NONE.into(), listed)
        },
    },
    Key {
        name: "data.time_column",
        flag: None,
        variable: None,
        allowed: "a column's name, or those of the date and of the time of day: [\"date\", \"time\"]",
        purpose: "The column that says when a row was measured, for recordings and for labels as intervals; two are joined by a blank.",
        value: |config| match (&config.mapping.time_column, &config.mapping.clock_column) {
            (Some(date), Some(clock)) => format!("[{date:?}, {clock:?}]"),
            (Some(time), None) => time.clone(),
            (None, _) => NONE.into(),
        },
    },
    Key {
        name: "data.time_format",
        flag: None,
        variable: None,
        allowed: "auto, iso8601, s, ms, us, ns, spreadsheet or a pattern",
        purpose: "How times are written: a date and time, a number since 1970 or any other moment, a spreadsheet's days, or a pattern as of strptime: %m/%d/%Y %I:%M:%S %p.",
        value: |config| config.mapping.time_format.to_string(),
    },
    Key {
        name: "data.rate_hz",
        flag: None,
        variable: None,
        allowed: "rows a second",
        purpose: "The rate of recordings without times, or with many rows of one time (whole seconds), which are spread evenly; without it that of the task.",
        value: |config| {
            config
                .mapping
                .rate_hz
                .map_or_else(|| NONE.into(), |rate| rate.to_string())
        },
    },
    Key {
        name: "data.group_column",
        flag: None,
        variable: None,
        allowed: "a column's name",
        purpose: "The column that says whose row it is (machine, person, session); no window reaches across.",
        value: |config| {
            config
                .mapping
                .group_column
                .clone()
                .unwrap_or_else(|| NONE.into())
        },
    },
    Key {
        name: "data.labels",
        flag: None,
        variable: None,
        allowed: "a table of what is written and the class it means",
        purpose: "What labels mean; an empty class is no label.",
        value: |config| pairs(&config.mapping.labels),
    },
    Key {
        name: "data.labels_file",
        flag: None,
        variable: None,
        allowed: "a file, from the folder on",
        purpose: "A table of intervals with the columns start, end and label, beside `data.time_column`.",
        value: |config| {
            config
                .mapping
                .labels_file
                .clone()
                .unwrap_or_else(|| NONE.into())
        },
    },
    Key {
        name: "data.columns",
        flag: None,
        variable: None,
        allowed: "a table of the task's columns: `from`, and `scale` and `offset`, or `unit`",
        purpose: "Where the task's columns come from, and how their numbers become the task's unit.",
        value: |config| {
            listed(
                &config
                    .mapping
                    .columns
                    .iter()
                    .map(|column| column.name.clone())
                    .collect::<Vec<_>>(),
            )
        },
    },
    Key {
        name: "data.query",
        flag: None,
        variable: None,
        allowed: "a SELECT of SQLite",
        purpose: "The rows of databases (.sqlite, .sqlite3, .db) that are meant; without it those of the one table of a file that `files` names.",
        value: |config| config.mapping.query.clone().unwrap_or_else(|| NONE.into()),
    },
    Key {
        name: "data.bad_rows",
        flag: None,
        variable: None,
        allowed: "refuse or skip",
        purpose: "What a row costs that cannot be read: its file, or itself.",
        value: |config| config.mapping.bad_rows.name().into(),
    },
    Key {
        name: "data.memory_mib_max",
        flag: None,
        variable: None,
        allowed: "a number of MiB from 1 to 65536",
        purpose: "Most MiB of rows held, and 32,768 rows; of more rows a sample is.",
        value: |config| config.memory_mib_max.to_string(),
    },
    Key {
        name: "policy.kinds",
        flag: None,
        variable: None,
        allowed: "profile, summary, labels, moments, report, gradient",
        purpose: "Kinds of contributions that may leave the device.",
        value: |config| {
            let kinds = config.policy.kinds().iter();
            kinds.map(ToString::to_string).collect::<Vec<_>>().join(" ")
        },
    },
    Key {
        name: "policy.rows_min",
        flag: None,
        variable: None,
        allowed: "2 to 2^40",
        purpose: "Fewest rows that anything describes; two contributions differ by no row or by at least as many.",
        value: |config| config.policy.rows_min().to_string(),
    },
    Key {
        name: "policy.cluster_size_min",
        flag: None,
        variable: None,
        allowed: "2 to 2^32 - 1",
        purpose: "Fewest rows behind a distilled sample; the larger of this and the task's applies.",
        value: |config| config.policy.cluster_size_min().to_string(),
    },
    Key {
        name: "policy.rows_per_direction",
        flag: None,
        variable: None,
        allowed: "2 to 2^32 - 1",
        purpose: "Fewest rows for each direction (mean, virtual row) that a contribution tells of them.",
        value: |config| config.policy.rows_per_direction().to_string(),
    },
    Key {
        name: "policy.disclose",
        flag: None,
        variable: None,
        allowed: "reasons, codes or nothing",
        purpose: "What the operator is told where this device gives nothing: the reason with file, line and column; a word; nothing.",
        value: |config| config.policy.disclose().name().into(),
    },
    Key {
        name: "policy.bytes_per_day_max",
        flag: None,
        variable: None,
        allowed: "0 or more",
        purpose: "Most bytes that leave in one day (UTC).",
        value: |config| {
            let limit = config.policy.bytes_per_day_max();
            limit.map_or_else(|| "no limit".into(), |bytes| bytes.to_string())
        },
    },
    Key {
        name: "policy.model_bytes_max",
        flag: None,
        variable: None,
        allowed: "0 or more",
        purpose: "Most bytes of a model that a task sends its inputs through (features.stage = \"onnx\"); with a larger one the device has no part in the task, and is told.",
        value: |config| config.policy.model_bytes_max().to_string(),
    },
    Key {
        name: "privacy.epsilon",
        flag: None,
        variable: None,
        allowed: "0.1 to 50",
        purpose: "All that the device ever contributes is (ε, δ)-differentially private in a row and its copies; only row counts and distilled samples leave then, with noise.",
        value: |config| told(config, |budget| budget.epsilon().to_string()),
    },
    Key {
        name: "privacy.delta",
        flag: None,
        variable: None,
        allowed: "1e-12 to 0.001",
        purpose: "δ, for which 0.00001 is taken beside an ε.",
        value: |config| told(config, |budget| budget.delta().to_string()),
    },
    Key {
        name: "privacy.contributions",
        flag: None,
        variable: None,
        allowed: "1 to 1000",
        purpose: "Equal parts that ε is spent in: the first contribution takes all of it by default.",
        value: |config| told(config, |budget| budget.contributions().to_string()),
    },
    Key {
        name: "log.level",
        flag: None,
        variable: Some("ALAMBIC_LOG"),
        allowed: "error, warn, info, debug, trace, also by module",
        purpose: "What is logged.",
        value: |config| config.log.clone(),
    },
    Key {
        name: "teacher.kind",
        flag: None,
        variable: None,
        allowed: "\"kernel\", \"mlp\", \"onnx\"",
        purpose: "The local teacher: kernel ridge regression, a small network for many rows, or a model in ONNX that labels rows without a label, from which kernel ridge regression learns then.",
        value: |config| match config.teacher {
            TeacherChoice::Kernel => "kernel".into(),
            TeacherChoice::Network(_) => "mlp".into(),
            TeacherChoice::Model(_) => "onnx".into(),
        },
    },
    Key {
        name: "teacher.hidden",
        flag: None,
        variable: None,
        allowed: "at most 8 widths of 1 to 1024",
        purpose: "Widths of its hidden layers, for `mlp` only, where it is [32] by default.",
        value: |config| match &config.teacher {
            TeacherChoice::Kernel | TeacherChoice::Model(_) => NONE.into(),
            TeacherChoice::Network(widths) => {
                let widths = widths.iter().map(ToString::to_string);
                widths.collect::<Vec<_>>().join(" ")
            }
        },
    },
    Key {
        name: "teacher.file",
        flag: None,
        variable: None,
        allowed: "path; required for `onnx`, relative paths from the folder of this file on",
        purpose: "For `onnx` only. The model, with its weights inside.",
        value: |config| of_model(config, |model| model.file.clone()),
    },
    Key {
        name: "teacher.mib_max",
        flag: None,
        variable: None,
        allowed: "1 to 256",
        purpose: "For `onnx` only. Most MiB of the model's file, 32 unless said; work takes some three times it.",
        value: |config| of_model(config, |model| model.mib_max.to_string()),
    },
    Key {
        name: "teacher.classes",
        flag: None,
        variable: None,
        allowed: "one name for each output",
        purpose: "For `onnx` only. The model's classes, in the order of its outputs; without names they are the task's.",
        value: |config| setting(config, "classes"),
    },
    Key {
        name: "teacher.map",
        flag: None,
        variable: None,
        allowed: "names of the model's classes, each with the name of a class of the task",
        purpose: "For `onnx` only. Which class of the task a class of the model stands for where their names differ; a class of neither is one that the task has not.",
        value: |config| {
            of_model(config, |model| match model.map.is_empty() {
                true => NONE.into(),
                false => format!("{:?}", model.map),
            })
        },
    },
    Key {
        name: "teacher.answers",
        flag: None,
        variable: None,
        allowed: "\"logits\", \"probabilities\"",
        purpose: "For `onnx` only. What the model answers with; without it what its answers show.",
        value: |config| setting(config, "answers"),
    },
    Key {
        name: "teacher.input",
        flag: None,
        variable: None,
        allowed: "\"image\", \"sound\", \"values\"",
        purpose: "For `onnx` only. What the model looks at; without it what the shape of its input says.",
        value: |config| setting(config, "kind"),
    },
    Key {
        name: "teacher.scale",
        flag: None,
        variable: None,
        allowed: "a number above 0",
        purpose: "For `onnx` only. What inputs are multiplied with first; without it what brings pictures of a task with `normaliser.range` up to 1 to 255, else 1.",
        value: |config| {
            of_model(config, |model| {
                model
                    .scale
                    .map_or_else(|| NONE.into(), |scale| scale.to_string())
            })
        },
    },
    Key {
        name: "teacher.mean",
        flag: None,
        variable: None,
        allowed: "a number, or one for each channel",
        purpose: "For `onnx` only. Subtracted then: from pictures of 0 to 255, sound of -1 to 1, values as they are.",
        value: |config| setting(config, "mean"),
    },
    Key {
        name: "teacher.std",
        flag: None,
        variable: None,
        allowed: "a number other than 0, or one for each channel",
        purpose: "For `onnx` only. Divides what is left.",
        value: |config| setting(config, "std"),
    },
    Key {
        name: "teacher.layout",
        flag: None,
        variable: None,
        allowed: "\"nchw\", \"nhwc\"",
        purpose: "For `onnx` only. Where the channels of pictures are; without it what the model's shape says.",
        value: |config| setting(config, "layout"),
    },
    Key {
        name: "teacher.size",
        flag: None,
        variable: None,
        allowed: "one or two sides of 1 to 4096",
        purpose: "For `onnx` only. Height and width that pictures are brought to; without it the model's.",
        value: |config| setting(config, "size"),
    },
    Key {
        name: "teacher.colour",
        flag: None,
        variable: None,
        allowed: "\"rgb\", \"bgr\", \"grey\"",
        purpose: "For `onnx` only. The channels of pictures.",
        value: |config| setting(config, "colour"),
    },
    Key {
        name: "teacher.rate",
        flag: None,
        variable: None,
        allowed: "1000 to 384000",
        purpose: "For `onnx` only. Samples a second of a model of sound.",
        value: |config| setting(config, "rate"),
    },
    Key {
        name: "teacher.output",
        flag: None,
        variable: None,
        allowed: "a name, or several",
        purpose: "For `onnx` only. The outputs or nodes to take; without it the first output.",
        value: |config| setting(config, "output"),
    },
    Key {
        name: "predictions.socket",
        flag: None,
        variable: Some("ALAMBIC_PREDICTIONS"),
        allowed: "path",
        purpose: "Unix socket on which other programs query the student; a relative path lies in the state directory.",
        value: |config| {
            let socket = config.predictions.as_deref();
            socket.map_or_else(|| NONE.into(), shown)
        },
    },
    Key {
        name: "predictions.follow",
        flag: None,
        variable: None,
        allowed: "a file that grows, mqtt://HOST/TOPIC, or `mqtt` for the broker and topics of `[mqtt]`",
        purpose: "A stream whose rows or windows are each answered by the student in use, as by `predict --follow`; a relative path lies in the state directory.",
        value: |config| {
            let follow = config.follow.as_ref();
            follow.map_or_else(|| NONE.into(), |one| one.source.to_string())
        },
    },
    Key {
        name: "predictions.task",
        flag: None,
        variable: None,
        allowed: "a task's name or hash",
        purpose: "Whose student answers the stream, where several tasks have one.",
        value: |config| {
            let task = config.follow.as_ref().and_then(|one| one.task.clone());
            task.unwrap_or_else(|| NONE.into())
        },
    },
    Key {
        name: "predictions.hold",
        flag: None,
        variable: None,
        allowed: "1 to 1000",
        purpose: "Windows of the stream that a new class has to hold before it is said; 1 where nothing is set.",
        value: |config| {
            let follow = config.follow.as_ref();
            follow.map_or_else(|| NONE.into(), |one| one.hold.to_string())
        },
    },
    Key {
        name: "predictions.publish",
        flag: None,
        variable: None,
        allowed: "a topic",
        purpose: "Topic of the stream's broker that answers are published on, instead of being written to a file.",
        value: |config| {
            let topic = config.follow.as_ref().and_then(|one| one.publish.clone());
            topic.unwrap_or_else(|| NONE.into())
        },
    },
    Key {
        name: "predictions.output",
        flag: None,
        variable: None,
        allowed: "path",
        purpose: "File that answers are written to, a line of JSON each: `predictions.jsonl` in the state directory where nothing is set.",
        value: |config| {
            let follow = config.follow.as_ref().filter(|one| one.publish.is_none());
            follow.map_or_else(|| NONE.into(), |one| shown(&one.output))
        },
    },
    Key {
        name: "predictions.output_mib_max",
        flag: None,
        variable: None,
        allowed: "1 to 65536",
        purpose: "MiB after which that file is renamed to end in `.1` and another is begun; 16 where nothing is set.",
        value: |config| {
            let follow = config.follow.as_ref().filter(|one| one.publish.is_none());
            follow.map_or_else(
                || NONE.into(),
                |one| (one.output_bytes_max >> 20).to_string(),
            )
        },
    },
    Key {
        name: "metrics.listen",
        flag: None,
        variable: Some("ALAMBIC_METRICS"),
        allowed: "loopback address and port",
        purpose: "Where `/metrics` is served for Prometheus.",
        value: |config| {
            let listen = config.metrics.map(|listen| listen.to_string());
            listen.unwrap_or_else(|| NONE.into())
        },
    },
    Key {
        name: "mqtt.broker",
        flag: None,
        variable: None,
        allowed: "HOST:PORT",
        purpose: "An MQTT broker whose readings are recorded, without encryption; recordings lie in `data.folder`, or where none is set in the state directory.",
        value: |config| {
            let mqtt = config.mqtt.as_ref();
            mqtt.map_or_else(
                || NONE.into(),
                |mqtt| format!("{}:{}", mqtt.host, mqtt.port),
            )
        },
    },
    Key {
        name: "mqtt.topics",
        flag: None,
        variable: None,
        allowed: "topics, with `+` and `#`",
        purpose: "What is subscribed to: JSON objects, or one number a message.",
        value: |config| {
            let mqtt = config.mqtt.as_ref();
            mqtt.map_or_else(|| NONE.into(), |mqtt| listed(&mqtt.topics))
        },
    },
    Key {
        name: "mqtt.user",
        flag: None,
        variable: None,
        allowed: "a name",
        purpose: "Who the broker knows this device as.",
        value: |config| {
            let user = config.mqtt.as_ref().and_then(|mqtt| mqtt.user.as_ref());
            user.map_or_else(|| NONE.into(), |(name, _)| name.clone())
        },
    },
    Key {
        name: "mqtt.password_file",
        flag: None,
        variable: None,
        allowed: "a file",
        purpose: "Holds the password for `mqtt.user`.",
        value: |config| {
            let user = config.mqtt.as_ref().and_then(|mqtt| mqtt.user.as_ref());
            user.map_or_else(|| NONE.into(), |(_, path)| shown(path))
        },
    },
    Key {
        name: "mqtt.mib_max",
        flag: None,
        variable: None,
        allowed: "a number of MiB from 1 to 65536",
        purpose: "Most MiB of recordings that are kept; the oldest go.",
        value: |config| {
            let mqtt = config.mqtt.as_ref();
            mqtt.map_or(MQTT_MIB_MAX, |mqtt| mqtt.mib_max).to_string()
        },
    },
];

/// What is said of the device's own model, if there is one.
fn of_model(config: &Config, value: impl Fn(&ModelChoice) -> String) -> String {
    match &config.teacher {
        TeacherChoice::Model(model) => value(model),
        TeacherChoice::Kernel | TeacherChoice::Network(_) => NONE.into(),
    }
}

/// A setting of that model as it is written.
fn setting(config: &Config, name: &str) -> String {
    let line = format!("{name} = ");
    of_model(config, |model| {
        let written = model.settings.lines();
        let value = written.filter_map(|one| one.strip_prefix(&line)).next();
        value.unwrap_or(NONE).to_owned()
    })
}

/// A list on one line.
fn listed(names: &[String]) -> String {
    match names {
        [] => NONE.into(),
        names => names.join(" "),
    }
}

/// What a label is written as, and what it means.
fn pairs(labels: &[(String, String)]) -> String {
    let one = |(written, class): &(String, String)| format!("{written}={class}");
    listed(&labels.iter().map(one).collect::<Vec<_>>())
}

fn sign(sign: u8) -> String {
    format!("{:?}", char::from(sign))
}

pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Something of the privacy budget, if there is one.
fn told(config: &Config, what: impl Fn(Budget) -> String) -> String {
    config.policy.budget().map_or_else(|| NONE.into(), what)
}
