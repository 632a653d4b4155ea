//! Rooms that import one another in a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::rooms::imports;
use super::tree::Tree;

/// The strongly connected components of the rooms of all crates that are more
/// than one room, each in order. Between crates there are none: cargo refuses
/// them.
pub fn circles(tree: &Tree) -> Vec<Vec<String>> {
    let mut graph: Graph = BTreeMap::new();
    for import in imports(tree).0 {
        let name = |room: &str| format!("{}::{room}", import.folder);
        graph.entry(name(&import.to)).or_default();
        graph
            .entry(name(&import.from))
            .or_default()
            .insert(name(&import.to));
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> = graph
        .keys()
        .map(|room| (room.as_str(), reach(&graph, room)))
        .collect();
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    for (room, others) in &reached {
        let circle: Vec<String> = others
            .iter()
            .filter(|other| reached[**other].contains(room))
            .map(|other| (*other).to_owned())
            .collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

type Graph = BTreeMap<String, BTreeSet<String>>;

/// The room itself and all it imports, directly or not.
fn reach<'a>(graph: &'a Graph, from: &'a str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(room) = open.pop() {
        for next in graph.get(room).into_iter().flatten() {
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    seen
}
