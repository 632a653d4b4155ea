//! What a configuration says, for people: each value, and the layer that set
//! it, in one form for both programs.

use std::path::PathBuf;

use serde::Serialize;

/// What a configuration was put together from; a flag goes before the
/// environment, and that before the file.
pub struct Layers<'a, F> {
    /// The command's flags.
    pub flags: &'a F,
    /// The value of an environment variable.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
}

/// A key of a configuration `C`, who may set it, and its value for people.
pub struct Key<C, F> {
    /// Its name, with dots between tables: `page.listen`.
    pub name: &'static str,
    /// The flag that sets it, and whether it was given.
    pub flag: Option<Flag<F>>,
    /// The environment variable that sets it.
    pub variable: Option<&'static str>,
    /// The values that are accepted, for people.
    pub allowed: &'static str,
    /// What it is for, in a sentence.
    pub purpose: &'static str,
    /// Its value.
    pub value: fn(&C) -> String,
}

/// A flag, and whether it was given.
pub type Flag<F> = (&'static str, fn(&F) -> bool);

/// One value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key.
    pub key: &'static str,
    /// What it is.
    pub value: String,
    /// Where it came from: a flag, a variable, the file, or `default`.
    pub origin: String,
}

/// Stands for a value that is not set.
pub const NONE: &str = "-";

/// A longer key or value makes its column no wider.
const COLUMN_MAX: usize = 60;

/// All values of a configuration that was loaded from these layers.
pub fn explained<C, F>(keys: &[Key<C, F>], config: &C, layers: &Layers<'_, F>) -> Vec<Setting> {
    let read = |path: &PathBuf| std::fs::read_to_string(path).ok()?.parse().ok();
    let table: toml::Table = layers.file.as_ref().and_then(read).unwrap_or_default();
    keys.iter()
        .map(|key| Setting {
            key: key.name,
            value: (key.value)(config),
            origin: layers.origin(key, &table),
        })
        .collect()
}

/// `config check` of a configuration that was loaded from these layers: every
/// value with its origin, or that nothing is wrong.
pub fn check<C, F>(
    keys: &[Key<C, F>],
    config: &C,
    layers: &Layers<'_, F>,
    explain: bool,
    as_json: bool,
) {
    let settings = explained(keys, config, layers);
    match (explain, as_json, &layers.file) {
        (_, true, _) => println!("{:#}", serde_json::json!(settings)),
        (true, false, _) => print!("{}", columns(&settings)),
        (false, false, Some(file)) => println!("{}: nothing wrong", file.display()),
        (false, false, None) => {
            println!("no configuration file; defaults, environment and flags fit");
        }
    }
}

/// A line for each value. Columns are as wide as they have to be; a value that
/// is longer than most pushes only what is behind it.
fn columns(settings: &[Setting]) -> String {
    let widest = |of: &dyn Fn(&Setting) -> &str| {
        let widths = settings.iter().map(|setting| of(setting).chars().count());
        widths
            .filter(|width| *width <= COLUMN_MAX)
            .max()
            .unwrap_or(0)
    };
    let keys = widest(&|setting| setting.key);
    let values = widest(&|setting| &setting.value);
    let lines = settings.iter();
    let lines = lines
        .map(|Setting { key, value, origin }| format!("{key:keys$}  {value:values$}  {origin}\n"));
    lines.collect()
}

/// A span of time as a configuration writes it: in the largest unit that makes
/// it whole, such as `30d`, `90s` or, below a second, `250ms`.
pub fn duration(ms: u64) -> String {
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    let whole = units
        .iter()
        .find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit));
    match whole {
        Some((unit, letter)) => format!("{}{letter}", ms / unit),
        None if ms == 0 => "0s".to_owned(),
        None => format!("{ms}ms"),
    }
}

/// Every key as Markdown: a section for each table, a row for each key with its
/// default, what is allowed, and what sets it besides the file.
pub fn reference<C, F>(keys: &[Key<C, F>], defaults: &C) -> String {
    let mut text = String::new();
    let mut section = None;
    for key in keys {
        let (table, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        if section != Some(table) {
            section = Some(table);
            let heading = match table {
                "" => "Top level".to_owned(),
                table => format!("`[{table}]`"),
            };
            text += &format!(
                "\n## {heading}\n\n| key | default | allowed | also set by | purpose |\n\
                 |---|---|---|---|---|\n"
            );
        }
        let default = match (key.value)(defaults) {
            value if value == NONE => "–".to_owned(),
            value => format!("`{value}`"),
        };
        let flag = key.flag.map(|(flag, _)| flag);
        let setters: Vec<_> = { flag.into_iter().chain(key.variable) }
            .map(|setter| format!("`{setter}`"))
            .collect();
        let cells = [
            &format!("`{name}`"),
            &default,
            key.allowed,
            &setters.join(" "),
            key.purpose,
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        text += &format!("| {} |\n", cells.join(" | "));
    }
    text
}

impl<F> Layers<'_, F> {
    fn origin<C>(&self, key: &Key<C, F>, table: &toml::Table) -> String {
        if let Some((flag, _)) = key.flag.filter(|(_, given)| given(self.flags)) {
            return format!("flag {flag}");
        }
        let set = |name: &&str| (self.environment)(name).is_some_and(|value| !value.is_empty());
        if let Some(name) = key.variable.filter(set) {
            return format!("environment {name}");
        }
        match &self.file {
            Some(path) if holds(table, key.name) => path.display().to_string(),
            _ => "default".to_owned(),
        }
    }
}

/// Whether a file sets this dotted key.
fn holds(table: &toml::Table, key: &str) -> bool {
    match key.split_once('.') {
        None => table.contains_key(key),
        Some((outer, inner)) => table
            .get(outer)
            .and_then(toml::Value::as_table)
            .is_some_and(|table| holds(table, inner)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEYS: &[Key<u8, bool>] = &[
        Key {
            name: "table.number",
            flag: Some(("--number", |given| *given)),
            variable: Some("NUMBER"),
            allowed: "0 to 255",
            purpose: "A number.",
            value: |number| number.to_string(),
        },
        Key {
            name: "table.other",
            flag: None,
            variable: None,
            allowed: "left | right",
            purpose: "A side.",
            value: |_| NONE.into(),
        },
    ];

    #[test]
    fn columns_stand_one_under_another_however_long_a_key_is() {
        let setting = |key, value: &str| Setting {
            key,
            value: value.into(),
            origin: "default".into(),
        };
        let long = "x".repeat(COLUMN_MAX + 1);
        let shown = columns(&[
            setting("limits.connections_per_address", "4096"),
            setting("log", "warn,quinn=debug"),
            setting("state", &long),
        ]);
        let at = |line: &str, text| line.find(text);
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(at(lines[0], "4096"), at(lines[1], "warn"));
        assert_eq!(at(lines[1], "warn"), at(lines[2], "xx"));
        assert_eq!(at(lines[0], "default"), at(lines[1], "default"));
        assert!(lines[2].ends_with("x  default"));
    }

    #[test]
    fn reference_has_a_row_for_each_key() {
        let text = reference(KEYS, &7);
        let rows = [
            "## `[table]`",
            "| `number` | `7` | 0 to 255 | `--number` `NUMBER` | A number. |",
            "| `other` | – | left \\| right |  | A side. |",
        ];
        let at = rows.map(|row| text.find(row).unwrap());
        assert!(at.is_sorted() && text.matches("## ").count() == 1, "{text}");
    }

    #[test]
    fn a_duration_is_written_as_it_is_read() {
        const DAY: u64 = 86_400_000;
        for (ms, text) in [
            (180 * DAY, "180d"),
            (36 * 3_600_000, "36h"),
            (30 * 60_000, "30m"),
            (90_000, "90s"),
            (1_500, "1500ms"),
            (0, "0s"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }

    fn origin(flag: bool, variable: Option<&str>, text: &str) -> (String, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        std::fs::write(&path, text).unwrap();
        let variable = variable.map(str::to_owned);
        let layers = Layers {
            flags: &flag,
            environment: &|_| variable.clone(),
            file: Some(path.clone()),
        };
        let [number, other] = explained(KEYS, &7, &layers).try_into().unwrap();
        assert_eq!((number.value.as_str(), other.value.as_str()), ("7", NONE));
        let named = |origin: String| origin.replace(&path.display().to_string(), "file");
        (named(number.origin), named(other.origin))
    }

    #[test]
    fn the_first_layer_that_sets_a_value_is_named() {
        let file = "[table]\nnumber = 1\n";
        let default = || "default".to_owned();
        let of = |text: &str| (text.to_owned(), default());
        assert_eq!(origin(true, Some("1"), file), of("flag --number"));
        assert_eq!(origin(false, Some("1"), file), of("environment NUMBER"));
        assert_eq!(origin(false, Some(""), file), of("file"));
        assert_eq!(origin(false, None, "table = 1\n"), of("default"));
        let both = origin(false, None, "[table]\nother = 1\n");
        assert_eq!(both, (default(), "file".to_owned()));
    }
}
