//! The documents against the tree: every link leads somewhere, every path
//! exists, and the tour of the README works as it is typed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders whose files documents name from the root of the tree.
const ROOTS: [&str; 13] = [
    "common/",
    "coordinator/",
    "edge-agent/",
    "lab/",
    "tests/",
    "configs/",
    "docs/",
    "scripts/",
    "systemd/",
    "packaging/",
    "examples/",
    "deploy/",
    "fuzz/",
];

/// Paths that exist only once something has been made or run.
const MADE: [&str; 4] = [
    "fuzz/corpus",
    "fuzz/artifacts",
    "tests/golden/VERSION",
    "common::x::y",
];

#[test]
fn links_lead_somewhere() {
    let documents = documents();
    assert!(documents.len() > 10, "only {} documents", documents.len());
    let broken: Vec<String> = documents
        .iter()
        .flat_map(|document| broken_links(document, &read(document)))
        .collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn paths_in_documents_exist() {
    let missing: Vec<String> = documents()
        .iter()
        .filter(|document| !document.ends_with("CHANGELOG.md"))
        .flat_map(|document| missing_paths(document, &read(document)))
        .collect();
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

#[test]
fn the_architecture_is_short() {
    let words = read(&root().join("ARCHITECTURE.md"))
        .split_whitespace()
        .count();
    assert!(words <= 2_500, "{words} words; move detail to docs/");
}

#[test]
fn changes_are_one_line_each() {
    let text = read(&root().join("CHANGELOG.md"));
    let entries = text.lines().skip_while(|line| !line.starts_with("## "));
    let stray: Vec<&str> = entries.filter(|line| line.starts_with(' ')).collect();
    assert!(stray.is_empty(), "put each entry on one line: {stray:#?}");
}

#[test]
fn the_walkthrough_counts_its_files() {
    let text = read(&root().join("docs/walkthrough.md"));
    let mut files = named(&text);
    files.retain(|name| name.ends_with(".rs") || name.contains("::") && !name.contains("x::y"));
    let files: BTreeSet<String> = files.into_iter().collect();
    let told = format!("the row passes, {} of them", files.len());
    assert!(text.contains(&told), "write: {told}");
}

#[test]
fn every_document_is_in_the_book() {
    let summary = read(&root().join("docs/SUMMARY.md"));
    let listed: BTreeSet<PathBuf> = links(&summary)
        .map(|link| fs::canonicalize(root().join("docs").join(link)).unwrap())
        .collect();
    let missing: Vec<String> = documents()
        .iter()
        .filter(|document| !document.ends_with("SUMMARY.md"))
        .filter(|document| !listed.contains(&fs::canonicalize(document).unwrap()))
        .map(|document| shown(document))
        .collect();
    assert!(missing.is_empty(), "not in docs/SUMMARY.md: {missing:?}");
}

#[test]
fn broken_links_and_missing_paths_are_found() {
    let document = root().join("README.md");
    let planted = "# One\n\n## A tour, `typed`\n[a](docs/none.md) [b](#two) [c](docs/json.md#none) \
        [d](#a-tour-typed) [e](docs/json.md#shapes) [f](https://example.org/none)\n\
        `common/src/none.rs` `configs/task-*.toml` `tests/none-*.rs` `common::math::exact`\n\
        `common::math::none` `common::wire::frame` `common::task::RawTask`\n\
        ```sh\n[g](docs/none.md) cat common/src/none.rs\n```\n";
    let broken = broken_links(&document, planted);
    assert_eq!(
        broken,
        [
            "README.md: docs/none.md",
            "README.md: #two",
            "README.md: docs/json.md#none"
        ]
    );
    assert_eq!(
        missing_paths(&document, planted),
        [
            "README.md: common/src/none.rs",
            "README.md: tests/none-*.rs",
            "README.md: common::math::none"
        ]
    );
}

fn broken_links(document: &Path, text: &str) -> Vec<String> {
    let prose = without_code_blocks(text);
    let mut broken = Vec::new();
    for link in links(&prose).filter(|link| !link.contains("://")) {
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = match path {
            "" => document.to_path_buf(),
            path => document.parent().unwrap().join(path),
        };
        let holds = match anchor {
            "" => target.exists(),
            anchor if target == document => has_anchor(text, anchor),
            anchor => fs::read_to_string(&target).is_ok_and(|text| has_anchor(&text, anchor)),
        };
        if !holds {
            broken.push(format!("{}: {link}", shown(document)));
        }
    }
    broken
}

/// Targets of `[text](target)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let ends = text.split("](").skip(1);
    ends.filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

/// Whether a heading makes this anchor: lower case, words joined by hyphens,
/// other characters left out.
fn has_anchor(text: &str, anchor: &str) -> bool {
    let prose = without_code_blocks(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .any(|heading| {
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c })
                .eq(anchor.chars())
        })
}

/// Paths and modules in `code` that nothing in the tree stands for.
fn missing_paths(document: &Path, text: &str) -> Vec<String> {
    let named = named(&without_code_blocks(text));
    let missing = named
        .iter()
        .filter(|name| match name.strip_prefix("common::") {
            Some(module) => !is_module(module),
            None => !exists(name),
        });
    missing
        .map(|name| format!("{}: {name}", shown(document)))
        .collect()
}

/// Paths of the tree and modules of `common` in `code`, in order.
fn named(prose: &str) -> Vec<String> {
    let spans = prose.split('`').skip(1).step_by(2);
    let words = spans.flat_map(str::split_whitespace).filter(|span| {
        let rooted = |root: &&str| span.starts_with(*root);
        ROOTS.iter().chain(&["common::"]).any(rooted) && !MADE.contains(span)
    });
    words.map(str::to_owned).collect()
}

/// Whether a crate of `common` has this module, such as `math::exact`. Types
/// and functions, in the last place, are taken on trust.
fn is_module(module: &str) -> bool {
    let (first, rest) = module.split_once("::").unwrap_or((module, ""));
    let (folders, rest): (&[&str], &str) = match first {
        "math" => (&["common/math/src"], rest),
        "transport" => (&["common/net/src"], rest),
        _ => (
            &["common/protocol/src", "common/host/src", "common/math/src"],
            module,
        ),
    };
    let modules = rest.split("::").filter(|part| !part.is_empty());
    let path: PathBuf = modules
        .take_while(|part| part.starts_with(char::is_lowercase))
        .collect();
    folders.iter().any(|folder| {
        let place = root().join(folder).join(&path);
        place.is_dir() || place.with_extension("rs").is_file()
    })
}

/// Whether a path is there; in a file's name a star stands for anything.
fn exists(path: &str) -> bool {
    let path = path.split("::").next().unwrap();
    let Some((before, after)) = path.split_once('*') else {
        return root().join(path).exists();
    };
    let (folder, start) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = fs::read_dir(root().join(folder)) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name().into_string().unwrap_or_default();
        name.starts_with(start) && name.ends_with(after)
    })
}

fn without_code_blocks(text: &str) -> String {
    let mut inside = false;
    let prose = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    prose.collect::<Vec<_>>().join("\n")
}

/// Every Markdown file of the root and of docs.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("docs")];
    let markdown = |path: &Path| path.extension().is_some_and(|ending| ending == "md");
    let files = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    found.extend(files(root()).into_iter().filter(|path| markdown(path)));
    while let Some(folder) = folders.pop() {
        for path in files(&folder) {
            if path.is_dir() {
                folders.push(path);
            } else if markdown(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn shown(path: &Path) -> String {
    let path = path.strip_prefix(root()).unwrap_or(path);
    path.display().to_string()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
