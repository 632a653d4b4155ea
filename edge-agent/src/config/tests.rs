#![allow(clippy::unwrap_used)]
use super::*;
use crate::predictions::Source;

fn with(text: &str, flags: &Flags, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, text).unwrap();
    let flags = Flags {
        config: Some(path),
        ..flags.clone()
    };
    let lookup = |name: &str| {
        let found = env.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Config::load(&flags, &lookup)
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let config = with("", &Flags::default(), &[]).unwrap();
    assert_eq!(config.state, PathBuf::from(DEFAULT_STATE));
    assert_eq!(config.label_column, "label");
    assert_eq!(config.memory_mib_max, 8);
    assert_eq!(config.data, None);
}

#[test]
fn flags_override_environment_and_file() {
    let file = "state = \"/file\"\n[data]\nfolder = \"/file-data\"\n";
    let flags = Flags {
        state: Some("/flag".into()),
        ..Flags::default()
    };
    let env = [("ALAMBIC_STATE", "/env"), ("ALAMBIC_DATA", "/env-data")];
    let config = with(file, &flags, &env).unwrap();
    assert_eq!(config.state, PathBuf::from("/flag"));
    assert_eq!(config.data, Some("/env-data".into()));
    for env in [&[][..], &[("ALAMBIC_STATE", "")]] {
        let config = with(file, &Flags::default(), env).unwrap();
        assert_eq!(config.state, PathBuf::from("/file"));
    }
}

#[test]
fn the_time_may_stand_in_two_columns() {
    let of = |value: &str| {
        with(
            &format!("[data]\ntime_column = {value}"),
            &Flags::default(),
            &[],
        )
    };
    let mapping = of("[\"day\", \"at\"]").unwrap().mapping;
    assert_eq!(mapping.time_column.as_deref(), Some("day"));
    assert_eq!(mapping.clock_column.as_deref(), Some("at"));
    assert_eq!(of("\"at\"").unwrap().mapping.clock_column, None);
    let refused = of("[\"a\", \"b\", \"c\"]").unwrap_err().to_string();
    assert!(
        refused.contains("of the date and of the time of day"),
        "{refused}"
    );
}

#[test]
fn a_folder_that_can_be_none_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (line, said) in [
        ("folder = \"$HOME/data\"".to_owned(), "which only a shell"),
        ("folder = \"/srv/${NAME}\"".to_owned(), "which only a shell"),
        (format!("folder = {path:?}"), "this is a file"),
        ("query = \"\"".to_owned(), "a query such as"),
        (
            "labels_file = \"l.csv\"".to_owned(),
            "beside data.time_column",
        ),
    ] {
        let refused = with(&format!("[data]\n{line}"), &Flags::default(), &[]);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn an_unknown_key_is_named() {
    let error = with("[data]\nfoldr = \"/x\"\n", &Flags::default(), &[]).unwrap_err();
    assert!(matches!(error, ConfigError::Syntax { .. }));
    let text = error.to_string();
    for part in ["agent.toml", "foldr", "folder", "label_column"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_bad_value_is_named() {
    let file = "[coordinator]\naddress = \"no port\"\n";
    let text = with(file, &Flags::default(), &[]).unwrap_err().to_string();
    for part in ["agent.toml", "coordinator.address", "no port", "HOST:PORT"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let env = [("ALAMBIC_LOG", "loud=very")];
    let text = with("", &Flags::default(), &env).unwrap_err().to_string();
    assert!(text.contains("ALAMBIC_LOG"), "{text}");
}

#[test]
fn metrics_are_told_on_loopback_addresses_only() {
    let listen = |text: &str| {
        let file = format!("[metrics]\nlisten = {text:?}\n");
        with(&file, &Flags::default(), &[]).map(|config| config.metrics)
    };
    assert_eq!(with("", &Flags::default(), &[]).unwrap().metrics, None);
    for good in ["127.0.0.1:4481", "[::1]:0"] {
        assert_eq!(listen(good).unwrap(), Some(good.parse().unwrap()));
    }
    for bad in [
        "0.0.0.0:4481",
        "192.0.2.1:4481",
        "localhost:4481",
        "4481",
        "",
    ] {
        let text = listen(bad).unwrap_err().to_string();
        assert!(
            text.contains("metrics.listen") && text.contains("loopback"),
            "{text}"
        );
    }
    let env = [("ALAMBIC_METRICS", "127.0.0.1:7")];
    let config = with("[metrics]\nlisten = \"[::1]:1\"\n", &Flags::default(), &env);
    assert_eq!(
        config.unwrap().metrics,
        Some("127.0.0.1:7".parse().unwrap())
    );
}

#[test]
fn a_policy_that_allows_too_much_is_named_with_its_file() {
    let text = with("[policy]\nrows_min = 1\n", &Flags::default(), &[]);
    let text = text.unwrap_err().to_string();
    for part in ["agent.toml", "policy.rows_min", "\"1\"", "2 to"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn the_local_teacher_is_chosen_and_checked() {
    let teacher = |text: &str| {
        let config = with(&format!("[teacher]\n{text}\n"), &Flags::default(), &[]);
        config.map(|config| config.teacher)
    };
    assert_eq!(teacher("").unwrap(), TeacherChoice::Kernel);
    assert_eq!(teacher("kind = \"kernel\"").unwrap(), TeacherChoice::Kernel);
    let small = TeacherChoice::Network(vec![32]);
    assert_eq!(teacher("kind = \"mlp\"").unwrap(), small);
    let deep = teacher("kind = \"mlp\"\nhidden = [64, 16]").unwrap();
    assert_eq!(deep, TeacherChoice::Network(vec![64, 16]));
    let model = teacher("kind = \"onnx\"\nfile = \"m.onnx\"\nsize = [32, 48]\ninput = \"image\"");
    let Ok(TeacherChoice::Model(model)) = model else {
        panic!("{model:?}");
    };
    assert!(Path::new(&model.file).ends_with("m.onnx"));
    assert_eq!(model.settings, "kind = \"image\"\nsize = [32, 48]\n");
    assert_eq!((model.mib_max, model.scale), (32, None));
    for (text, part) in [
        ("kind = \"forest\"", "kernel, mlp or onnx"),
        ("kind = \"onnx\"", "path of a model"),
        ("kind = \"onnx\"\nfile = \"m\"\nmib_max = 999", "1 to 256"),
        ("kind = \"onnx\"\nfile = \"m\"\nscale = 0.0", "above 0"),
        ("kind = \"mlp\"\nmean = 1.0", "absent unless"),
        ("hidden = [8]", "absent unless"),
        ("kind = \"mlp\"\nhidden = [0]", "1 to 1024"),
        ("width = 3", "hidden"),
    ] {
        let text = teacher(text).unwrap_err().to_string();
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn the_annotated_example_holds_what_it_says() {
    let example = include_str!("../../../configs/agent.toml");
    let plain = with(example, &Flags::default(), &[]).unwrap();
    let empty = with("", &Flags::default(), &[]).unwrap();
    let file = plain.file.clone();
    assert_eq!(plain, Config { file, ..empty });
    let uncommented: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let all = with(&uncommented, &Flags::default(), &[]).unwrap();
    assert_eq!(all.state, plain.state);
    assert_eq!(all.label_column, plain.label_column);
    assert_eq!(all.policy.rows_min(), plain.policy.rows_min());
    assert_eq!(all.policy.kinds(), plain.policy.kinds());
    assert_eq!(all.log, plain.log);
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let flags = Flags {
        config: Some("/nowhere/agent.toml".into()),
        ..Flags::default()
    };
    let error = Config::load(&flags, &|_| None).unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }));
}

#[test]
fn addresses_have_a_host_and_a_port() {
    for good in ["host:4433", "10.0.0.1:1", "[::1]:4433", "[fe80::1%eth0]:1"] {
        assert!(is_host_and_port(good), "{good}");
    }
    for bad in [
        "host",
        "host:",
        ":4433",
        "host:0",
        "host:99999",
        "::1:44 33",
        "a b:1",
    ] {
        assert!(!is_host_and_port(bad), "{bad}");
    }
}

#[test]
fn a_stream_is_answered_only_where_it_is_named() {
    let of = |text: &str| with(&format!("[predictions]\n{text}"), &Flags::default(), &[]);
    assert_eq!(of("").unwrap().follow, None);
    let file = of("follow = \"live.csv\"\nhold = 3\noutput_mib_max = 2").unwrap();
    let file = file.follow.unwrap();
    let state = PathBuf::from(DEFAULT_STATE);
    assert_eq!(file.source, Source::File(state.join("live.csv")));
    assert_eq!(file.output, state.join("predictions.jsonl"));
    assert_eq!((file.hold, file.output_bytes_max), (3, 2 << 20));
    let broker = of("follow = \"mqtt://pi/pump/#\"\npublish = \"pump/state\"").unwrap();
    assert_eq!(
        broker.follow.unwrap().publish.as_deref(),
        Some("pump/state")
    );
    for (text, key) in [
        ("hold = 2", "predictions.hold"),
        ("output = \"x\"", "predictions.output"),
        ("follow = \"-\"", "predictions.follow"),
        ("follow = \"mqtt\"", "predictions.follow"),
        ("follow = \"~/x.csv\"", "predictions.follow"),
        ("follow = \"mqtt://pi\"", "predictions.follow"),
        (
            "follow = \"mqtt://pi/pump#\"",
            "# only alone in the last level of a topic",
        ),
        ("follow = \"x.csv\"\nhold = 0", "predictions.hold"),
        ("follow = \"x.csv\"\npublish = \"y\"", "predictions.publish"),
        (
            "follow = \"mqtt://pi/x\"\npublish = \"y/#\"",
            "predictions.publish",
        ),
        (
            "follow = \"x.csv\"\noutput_mib_max = 0",
            "predictions.output_mib_max",
        ),
    ] {
        let error = of(text).unwrap_err().to_string();
        assert!(error.contains(key), "{key} in {error}");
    }
}

#[test]
fn topics_that_no_broker_takes_are_refused() {
    let of = |topics: &str| {
        let text = format!("[mqtt]\nbroker = \"pi:1883\"\ntopics = {topics}");
        with(&text, &Flags::default(), &[])
    };
    assert!(of("[\"pump/#\", \"+/flow\"]").is_ok());
    for (topics, named, rule) in [
        ("[]", "mqtt.topics", "subscribe to"),
        ("[\"a\", \"\"]", "mqtt.topics", "not empty"),
        (
            "[\"a\", \"pump#\"]",
            "\"pump#\"",
            "# only alone in the last",
        ),
        ("[\"a/#/b\"]", "\"a/#/b\"", "# only alone in the last"),
        ("[\"a/b+\"]", "\"a/b+\"", "+ only alone in a level"),
    ] {
        let error = of(topics).unwrap_err().to_string();
        assert!(error.contains(named) && error.contains(rule), "{error}");
    }
}
