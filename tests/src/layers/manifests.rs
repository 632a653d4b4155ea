//! What a crate's manifest depends on.

use toml::{Table, Value};

/// The part of a `Cargo.toml` that the rules look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Manifest {
    /// Its package, if it has one.
    pub(super) package: Option<String>,
    /// What the program is built on, by the name it has in the registry.
    pub(super) built_on: Vec<String>,
    /// What only tests and builds need.
    pub(super) tested_with: Vec<String>,
}

impl Manifest {
    pub(super) fn read(text: &str) -> Result<Self, toml::de::Error> {
        let table: Table = text.parse()?;
        let package = table
            .get("package")
            .and_then(|package| package.get("name"))
            .and_then(Value::as_str)
            .map(str::to_owned);
        let mut manifest = Self {
            package,
            ..Self::default()
        };
        manifest.collect(&table);
        let targets = table.get("target").and_then(Value::as_table);
        for target in targets.into_iter().flat_map(|targets| targets.values()) {
            if let Some(table) = target.as_table() {
                manifest.collect(table);
            }
        }
        Ok(manifest)
    }

    fn collect(&mut self, table: &Table) {
        self.built_on.extend(dependencies(table, "dependencies"));
        for section in ["dev-dependencies", "build-dependencies"] {
            self.tested_with.extend(dependencies(table, section));
        }
    }
}

fn dependencies(table: &Table, section: &str) -> Vec<String> {
    let Some(section) = table.get(section).and_then(Value::as_table) else {
        return Vec::new();
    };
    let renamed = |value: &Value| {
        value
            .get("package")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    section
        .iter()
        .map(|(name, value)| renamed(value).unwrap_or_else(|| name.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_found_in_every_form() {
        let text = "[package]\nname = \"a\"\n[dependencies]\nb.workspace = true\n\
                    c = { package = \"d\", path = \"d\" }\n[dependencies.e]\nversion = \"1\"\n\
                    [target.'cfg(unix)'.dependencies]\nf = \"1\"\n[dev-dependencies]\ng = \"1\"\n";
        let manifest = Manifest::read(text).expect("the text above is TOML");
        assert_eq!(manifest.package.as_deref(), Some("a"));
        assert_eq!(manifest.built_on, ["b", "d", "e", "f"]);
        assert_eq!(manifest.tested_with, ["g"]);
    }
}
