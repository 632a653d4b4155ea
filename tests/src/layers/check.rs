//! All rules, held against a tree.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::Found;
use super::rooms::{imports, rooms, test_files};
use super::rules::{
    CRATES, Crate, FUNCTION_NAME_CHARS_MAX, HOMES, Home, IO_LIBRARIES, PURE, Pure, UNSAFE_FILES,
};
use super::source::Source;
use super::tree::Tree;

/// Every breach of a rule as `file:line: rule`, in order; whole files and
/// manifests without a line.
pub fn breaches(tree: &Tree) -> Vec<String> {
    let mut found = BTreeSet::new();
    manifests(tree, &mut found);
    listings(tree, &mut found);
    layers(tree, &mut found);
    let tests = test_files(tree);
    for source in tree.sources.values() {
        let whole = tests.contains(source.path.as_str());
        for path in &source.paths {
            homes(source, path, &mut found);
            if !whole && !path.test {
                pure(source, path, &mut found);
            }
        }
        words(source, whole, &mut found);
    }
    found.into_iter().collect()
}

type Breaches = BTreeSet<String>;

fn manifests(tree: &Tree, breaches: &mut Breaches) {
    let packages: BTreeMap<&str, &str> = tree
        .manifests
        .iter()
        .filter_map(|(folder, manifest)| Some((manifest.package.as_deref()?, folder.as_str())))
        .collect();
    for (folder, manifest) in &tree.manifests {
        let file = format!("{folder}/Cargo.toml");
        if manifest.package.is_none() {
            continue;
        }
        let Some(rule) = rule(folder) else {
            breaches.insert(format!(
                "{file}: no rule names this crate: add it to {RULES}"
            ));
            continue;
        };
        for name in manifest.built_on.iter().chain(&manifest.tested_with) {
            if packages.contains_key(name.as_str()) && !rule.builds_on.contains(&name.as_str()) {
                breaches.insert(format!("{file}: {name} must not be a dependency here"));
            }
        }
        for name in manifest.built_on.iter().filter(|_| !rule.does_io) {
            let does_io = packages
                .get(name.as_str())
                .and_then(|folder| self::rule(folder))
                .is_some_and(|other| other.does_io);
            if does_io || IO_LIBRARIES.contains(&name.as_str()) {
                breaches.insert(format!(
                    "{file}: {name} does I/O, which this crate does not"
                ));
            }
        }
    }
}

/// Rooms without a rule, and rules without a room or a file.
fn listings(tree: &Tree, breaches: &mut Breaches) {
    let all = rooms(tree);
    for rule in CRATES {
        let listed: BTreeSet<&str> = rule.layers.iter().copied().flatten().copied().collect();
        let found = all.get(rule.folder);
        for (room, place) in found.into_iter().flat_map(|rooms| &rooms.names) {
            if !listed.contains(room.as_str()) {
                let (path, line) = (&place.path, place.line);
                breaches.insert(format!(
                    "{path}:{line}: no layer names the module {room}: add it to {RULES}"
                ));
            }
        }
        for room in listed {
            if !found.is_some_and(|rooms| rooms.names.contains_key(room)) {
                breaches.insert(format!("{RULES}: {} has no module {room}", rule.folder));
            }
        }
    }
    let homes = HOMES.iter().map(|home| home.file);
    for file in homes.chain(UNSAFE_FILES) {
        let is_there = match file.ends_with('/') {
            true => tree.sources.keys().any(|path| path.starts_with(file)),
            false => tree.sources.contains_key(file),
        };
        if !is_there {
            breaches.insert(format!("{RULES}: {file} has moved"));
        }
    }
    for folder in PURE.iter().map(|pure| pure.folder) {
        if !tree.sources.keys().any(|path| path.starts_with(folder)) {
            breaches.insert(format!("{RULES}: {folder} has moved"));
        }
    }
}

fn layers(tree: &Tree, breaches: &mut Breaches) {
    let (imports, lost) = imports(tree);
    for import in imports {
        let Some(rule) = rule(&import.folder) else {
            continue;
        };
        let layer = |room: &str| rule.layers.iter().position(|rooms| rooms.contains(&room));
        // A room that no layer names is reported as that.
        let (Some(from), Some(to)) = (layer(&import.from), layer(&import.to)) else {
            continue;
        };
        if to >= from {
            let (path, line) = (&import.at.path, import.at.line);
            breaches.insert(format!(
                "{path}:{line}: {} may not import {}",
                import.from, import.to
            ));
        }
    }
    for (place, behind) in lost {
        let (path, line) = (place.path, place.line);
        breaches.insert(format!(
            "{path}:{line}: `crate::{behind}` leads to no module"
        ));
    }
}

fn homes(source: &Source, path: &Found, breaches: &mut Breaches) {
    let is_free = |home: &Home| {
        path.segments
            .get(1)
            .is_some_and(|second| home.free.contains(&second.as_str()))
    };
    for home in HOMES
        .iter()
        .filter(|home| path.starts_with(&[home.library]))
    {
        let is_home = source.path == home.file
            || home.file.ends_with('/') && source.path.starts_with(home.file);
        if !is_home && !is_free(home) {
            let (file, line) = (&source.path, path.line);
            breaches.insert(format!(
                "{file}:{line}: {} belongs in {}",
                home.library, home.file
            ));
        }
    }
}

fn pure(source: &Source, path: &Found, breaches: &mut Breaches) {
    let Some(pure) = pure_of(source) else {
        return;
    };
    for forbidden in pure
        .forbidden
        .iter()
        .filter(|forbidden| path.starts_with(forbidden))
    {
        let (file, line, name) = (&source.path, path.line, forbidden.join("::"));
        breaches.insert(format!("{file}:{line}: {} does no I/O: {name}", pure.what));
    }
}

fn pure_of(source: &Source) -> Option<&'static Pure> {
    PURE.iter()
        .find(|pure| source.path.starts_with(pure.folder))
}

/// Rules about words that are not paths.
fn words(source: &Source, whole_file_is_a_test: bool, breaches: &mut Breaches) {
    let next_is = |at: usize, text: &str| source.tokens.get(at + 1).is_some_and(|t| t.text == text);
    let names_more = |at: usize| {
        let name = source.tokens.get(at + 1);
        name.is_some_and(|name| name.text.len() > FUNCTION_NAME_CHARS_MAX)
    };
    for (at, token) in source.tokens.iter().enumerate() {
        let test = whole_file_is_a_test || token.test;
        let rule = match token.text.as_str() {
            "unsafe" | "unsafe_code" if !UNSAFE_FILES.contains(&source.path.as_str()) => {
                format!("unsafe belongs in {}", UNSAFE_FILES.join(" or "))
            }
            "async" | "await" if !test => match pure_of(source) {
                Some(pure) => format!("{} does no I/O: {}", pure.what, token.text),
                None => continue,
            },
            "sleep" if test && next_is(at, "(") => "a test that sleeps to wait is wrong".to_owned(),
            "fn" if names_more(at) => {
                format!("a function's name has at most {FUNCTION_NAME_CHARS_MAX} characters")
            }
            "path" if at > 0 && source.tokens[at - 1].text == "[" && next_is(at, "=") => {
                "a module lies where its name says".to_owned()
            }
            _ => continue,
        };
        breaches.insert(format!("{}:{}: {rule}", source.path, token.line));
    }
}

fn rule(folder: &str) -> Option<&'static Crate> {
    CRATES.iter().find(|rule| rule.folder == folder)
}

const RULES: &str = "tests/src/layers/rules.rs";
