#![allow(clippy::unwrap_used)]
use std::fs;

use super::*;

fn none(_: &str) -> Option<String> {
    None
}

fn with_file(text: &str) -> (tempfile::TempDir, Flags) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.toml");
    fs::write(&path, text).unwrap();
    let flags = Flags {
        config: Some(path),
        ..Flags::default()
    };
    (folder, flags)
}

#[test]
fn flags_overrule_the_environment_which_overrules_the_file() {
    let (_folder, mut flags) = with_file("listen = \"127.0.0.1:1\"\nlog = \"warn\"");
    let port = |flags: &Flags, environment: fn(&str) -> Option<String>| {
        Config::resolve(flags, environment).unwrap().listen.port()
    };
    let set = |name: &str| (name == "ALAMBIC_LISTEN").then(|| "127.0.0.1:2".to_owned());
    assert_eq!(port(&Flags::default(), none), 4433);
    assert_eq!(port(&flags, none), 1);
    assert_eq!(port(&flags, set), 2);
    flags.listen = Some("127.0.0.1:3".into());
    assert_eq!(port(&flags, set), 3);
    assert_eq!(Config::resolve(&flags, set).unwrap().log, "warn");
}

#[test]
fn the_shipped_file_says_what_the_defaults_are() {
    let text = include_str!("../../../configs/coordinator.toml");
    let (_folder, flags) = with_file(text);
    let mut shipped = Config::resolve(&flags, none).unwrap();
    assert_eq!(shipped.file.take(), flags.config);
    assert_eq!(shipped, Config::resolve(&Flags::default(), none).unwrap());
}

#[test]
fn an_unknown_key_is_refused_with_file_key_and_line() {
    let (_folder, flags) = with_file("\nlisen = \"127.0.0.1:1\"");
    let error = Config::resolve(&flags, none).unwrap_err();
    assert!(matches!(error, ConfigError::Syntax { .. }));
    let text = error.to_string();
    for part in ["some.toml", "lisen", "line 2", "listen"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_wrong_value_names_file_key_value_and_what_is_allowed() {
    for (text, key, value) in [
        ("listen = \"nowhere\"", "listen", "nowhere"),
        ("log = \"loud=very\"", "log", "loud=very"),
        ("[retention]\nrounds = 0", "retention.rounds", "0"),
        ("[retention]\nrounds = \"some\"", "retention.rounds", "some"),
        (
            "[retention]\nrounds = 3\nblob_rounds = 4",
            "retention.blob_rounds",
            "4",
        ),
        (
            "[certificate]\naddresses = [\"a.b\"]",
            "certificate.addresses",
            "a.b",
        ),
    ] {
        let (_folder, flags) = with_file(text);
        match Config::resolve(&flags, none).unwrap_err() {
            ConfigError::Value {
                origin,
                key: k,
                value: v,
                allowed,
            } => {
                assert!(origin.ends_with("some.toml"));
                assert_eq!((k, v.as_str()), (key, value));
                assert!(!allowed.is_empty());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_past_is_kept_for_as_many_rounds_as_the_file_says() {
    let kept = |text: &str| {
        let (_folder, flags) = with_file(text);
        Config::resolve(&flags, none).unwrap().retention
    };
    let with = |rounds, blob_rounds| Retention {
        rounds,
        blob_rounds,
    };
    assert_eq!(kept(""), with(Some(100), 4));
    assert_eq!(kept("[retention]\nrounds = 2"), with(Some(2), 2));
    let all = "[retention]\nrounds = \"all\"\nblob_rounds = 50";
    assert_eq!(kept(all), with(None, 50));
}

#[test]
fn the_page_stays_on_loopback_unless_the_file_says_public() {
    let page = |text: &str| {
        let (_folder, flags) = with_file(text);
        Config::resolve(&flags, none).map(|config| config.page)
    };
    assert_eq!(page("").unwrap().unwrap().listen, PAGE_DEFAULT);
    assert_eq!(page("[page]\nlisten = \"off\"").unwrap(), None);
    let open = "[page]\nlisten = \"0.0.0.0:4480\"";
    let error = page(open).unwrap_err();
    assert!(
        matches!(
            &error,
            ConfigError::Value {
                key: "page.listen",
                ..
            }
        ),
        "{error}"
    );
    let public = page(&format!("{open}\npublic = true")).unwrap().unwrap();
    assert_eq!(public.listen.port(), 4480);
    assert!(public.required);
}

#[test]
fn a_wrong_variable_is_named() {
    let set = |name: &str| (name == "ALAMBIC_LOG_JSON").then(|| "maybe".to_owned());
    let error = Config::resolve(&Flags::default(), set).unwrap_err();
    assert!(error.to_string().contains("ALAMBIC_LOG_JSON"), "{error}");
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let flags = Flags {
        config: Some("/nonexistent/x.toml".into()),
        ..Flags::default()
    };
    let error = Config::resolve(&flags, none).unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }));
}

#[test]
fn the_state_directory_holds_file_and_socket() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE_NAME), "listen = \"127.0.0.1:9\"").unwrap();
    let flags = Flags {
        state: Some(folder.path().into()),
        ..Flags::default()
    };
    let config = Config::resolve(&flags, none).unwrap();
    assert_eq!(config.listen.port(), 9);
    assert_eq!(config.state, folder.path());
    assert_eq!(config.admin_socket, folder.path().join("admin.sock"));
}

#[test]
fn a_coordinator_says_where_devices_reach_it() {
    let told = |text: &str| {
        let (_folder, flags) = with_file(text);
        let advertised = Config::resolve(&flags, none).unwrap().advertised();
        advertised.map(|address| address.to_string())
    };
    let store = "[store]\nkind = \"postgres\"\nurl = \"postgresql://one@db/fleet\"\n";
    let own = "[certificate]\naddresses = [\"2001:db8::1\", \"10.0.0.2\"]\n";
    assert_eq!(
        told(store),
        None,
        "an unspecified address is not advertised"
    );
    let one = "listen = \"10.0.0.1:7\"\n";
    assert_eq!(told(&format!("{one}{own}{store}")).unwrap(), "10.0.0.1:7");
    assert_eq!(
        told(&format!("{own}{store}")).unwrap(),
        "[2001:db8::1]:4433"
    );
    let said = format!("{one}{store}advertised = \"one.example:4433\"");
    assert_eq!(told(&said).unwrap(), "one.example:4433");
    for wrong in ["one.example", "0.0.0.0:1", "one:1,two:1"] {
        let (_folder, flags) = with_file(&format!("{store}advertised = {wrong:?}"));
        let error = Config::resolve(&flags, none).unwrap_err().to_string();
        assert!(
            error.contains("store.advertised") && error.contains(wrong),
            "{error}"
        );
    }
    let (_folder, flags) = with_file("[store]\nadvertised = \"one:1\"");
    assert!(
        Config::resolve(&flags, none).is_err(),
        "sled has no standby"
    );
}
