#![allow(clippy::unwrap_used)]
use super::keys::shown;
use super::*;
use common::settings::explained;

#[test]
fn each_value_is_explained_by_the_layer_that_set_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    let text = "[data]\nlabel_column = \"y\"\nfolder = \"/file\"\n[policy]\nrows_min = 30\n";
    std::fs::write(&path, text).unwrap();
    let flags = Flags {
        config: Some(path.clone()),
        state: Some("/flag".into()),
        ..Flags::default()
    };
    let environment = |name: &str| (name == "ALAMBIC_DATA").then(|| "/env".to_owned());
    let config = Config::load(&flags, &environment).unwrap();
    let layers = Layers {
        flags: &flags,
        environment: &environment,
        file: config.file.clone(),
    };
    let settings = explained(KEYS, &config, &layers);
    let of = |key: &str| {
        let setting = settings.iter().find(|setting| setting.key == key).unwrap();
        (setting.value.clone(), setting.origin.clone())
    };
    assert_eq!(of("state"), ("/flag".into(), "flag --state".into()));
    assert_eq!(
        of("data.folder"),
        ("/env".into(), "environment ALAMBIC_DATA".into())
    );
    assert_eq!(of("data.label_column"), ("y".into(), shown(&path)));
    assert_eq!(of("policy.rows_min"), ("30".into(), shown(&path)));
    assert_eq!(of("log.level"), ("info".into(), "default".into()));
}

#[test]
fn every_key_of_the_annotated_example_is_explained() {
    let example = include_str!("../../../../configs/agent.toml");
    let uncommented: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let table: toml::Table = uncommented.parse().unwrap();
    let mut keys = Vec::new();
    for (name, value) in &table {
        match value.as_table() {
            Some(inner) => keys.extend(inner.keys().map(|key| format!("{name}.{key}"))),
            None => keys.push(name.clone()),
        }
    }
    for key in keys {
        assert!(KEYS.iter().any(|known| known.name == key), "{key}");
    }
}
