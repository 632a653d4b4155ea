//! The rooms of every crate, and what each imports.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::Found;
use super::source::Source;
use super::tree::Tree;

/// A crate's rooms as the tree has them.
#[derive(Default)]
pub(super) struct Rooms {
    /// Each with the place that shows it.
    pub(super) names: BTreeMap<String, Place>,
    /// Names that the root re-exports, with the first segment they come from.
    exported: BTreeMap<String, String>,
}

/// A file and a line of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) line: usize,
}

/// One room imports another of its crate.
pub(super) struct Import {
    pub(super) folder: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) at: Place,
}

/// Rooms by crate folder. Modules that are compiled for tests only are no rooms.
pub(super) fn rooms(tree: &Tree) -> BTreeMap<String, Rooms> {
    let tests = TestModules::of(tree);
    let mut found: BTreeMap<String, Rooms> = BTreeMap::new();
    for source in tree.sources.values() {
        let Some((folder, modules)) = source.place() else {
            continue;
        };
        if tests.has(folder, &modules) {
            continue;
        }
        let rooms = found.entry(folder.to_owned()).or_default();
        let place = |line: usize| Place {
            path: source.path.clone(),
            line,
        };
        if let Some(room) = modules.first() {
            rooms
                .names
                .entry((*room).to_owned())
                .or_insert_with(|| place(1));
            continue;
        }
        for module in source.modules.iter().filter(|module| !module.test) {
            rooms
                .names
                .entry(module.name.clone())
                .or_insert_with(|| place(module.line));
        }
        for found in source.paths.iter().filter(|found| found.imported) {
            let leaf = found.alias.as_ref().or(found.segments.last());
            if let (Some(leaf), Some(first)) = (leaf, found.segments.first()) {
                rooms.exported.insert(leaf.clone(), first.clone());
            }
        }
    }
    found
}

/// Every import of a room by another, outside of tests; or, as a breach, a
/// path through the crate's root that leads to no module.
pub(super) fn imports(tree: &Tree) -> (Vec<Import>, Vec<(Place, String)>) {
    let all = rooms(tree);
    let tests = TestModules::of(tree);
    let (mut imports, mut lost) = (Vec::new(), Vec::new());
    for source in tree.sources.values() {
        let Some((folder, modules)) = source.place() else {
            continue;
        };
        let (Some(own), Some(rooms)) = (modules.first(), all.get(folder)) else {
            continue;
        };
        if tests.has(folder, &modules) {
            continue;
        }
        for found in source
            .paths
            .iter()
            .filter(|found| found.named() && !found.test)
        {
            let Some(behind) = behind_root(found, modules.len()) else {
                continue;
            };
            let at = Place {
                path: source.path.clone(),
                line: found.line,
            };
            match rooms.leads_to(behind) {
                Goal::Room(room) if room == *own => {}
                Goal::OtherCrate => {}
                Goal::Room(room) => imports.push(Import {
                    folder: folder.to_owned(),
                    from: (*own).to_owned(),
                    to: room.to_owned(),
                    at,
                }),
                Goal::Nothing => lost.push((at, behind.join("::"))),
            }
        }
    }
    (imports, lost)
}

impl Rooms {
    /// Where the part of a path behind the root leads.
    fn leads_to(&self, behind: &[String]) -> Goal<'_> {
        let Some(first) = behind.first() else {
            return Goal::Nothing;
        };
        if let Some((room, _)) = self.names.get_key_value(first) {
            return Goal::Room(room);
        }
        match self.exported.get(first) {
            None => Goal::Nothing,
            Some(from) => match self.names.get_key_value(from) {
                Some((room, _)) => Goal::Room(room),
                None => Goal::OtherCrate,
            },
        }
    }
}

enum Goal<'a> {
    Room(&'a str),
    /// What the root re-exports from elsewhere: cargo refuses circles there.
    OtherCrate,
    Nothing,
}

/// What follows the crate's root in a path that goes through it, by `crate`
/// or by as many `super` as it takes; none if the path stays in its room or
/// leaves the crate.
fn behind_root(found: &Found, modules: usize) -> Option<&[String]> {
    if found.segments[0] == "crate" {
        return Some(&found.segments[1..]);
    }
    let own = usize::from(found.segments[0] == "self");
    let supers = found.segments[own..]
        .iter()
        .take_while(|one| *one == "super")
        .count();
    (supers > 0 && supers >= modules + found.depth).then(|| &found.segments[own + supers..])
}

/// Modules that their parents declare for tests only.
struct TestModules(BTreeSet<(String, Vec<String>)>);

impl TestModules {
    fn of(tree: &Tree) -> Self {
        let mut found = BTreeSet::new();
        for source in tree.sources.values() {
            let Some((folder, modules)) = source.place() else {
                continue;
            };
            for module in source.modules.iter().filter(|module| module.test) {
                let mut path: Vec<String> = modules.iter().map(|one| (*one).to_owned()).collect();
                path.push(module.name.clone());
                found.insert((folder.to_owned(), path));
            }
        }
        Self(found)
    }

    /// Whether a module, or one that it lies in, is for tests only.
    fn has(&self, folder: &str, modules: &[&str]) -> bool {
        let path: Vec<String> = modules.iter().map(|one| (*one).to_owned()).collect();
        (1..=path.len()).any(|length| {
            self.0
                .contains(&(folder.to_owned(), path[..length].to_vec()))
        })
    }
}

/// Whether a file is compiled for tests only: by its declaration, or because
/// it lies in a folder of tests.
pub(super) fn test_files(tree: &Tree) -> BTreeSet<&str> {
    let modules = TestModules::of(tree);
    let is_test = |source: &Source| match source.place() {
        Some((folder, path)) => folder == "tests" || modules.has(folder, &path),
        None => source.path.split('/').any(|part| part == "tests"),
    };
    let tests = tree.sources.values().filter(|source| is_test(source));
    tests.map(|source| source.path.as_str()).collect()
}
