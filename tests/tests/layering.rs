//! Who may import whom. Reads every source file of the workspace, without its
//! comments and strings, and holds it to the rules of ARCHITECTURE.md.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_source_file_keeps_to_its_room() {
    let files = sources();
    assert!(files.len() > 100, "only {} files found", files.len());
    let broken: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let text = fs::read_to_string(root().join(path)).unwrap();
            check(path, &text)
        })
        .collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn no_manifest_lets_the_two_sides_see_each_other() {
    for (crate_folder, forbidden) in [
        ("common", &["coordinator", "edge-agent", "lab"][..]),
        ("coordinator", &["edge-agent", "lab"]),
        ("edge-agent", &["coordinator", "lab"]),
        ("lab", &["tests"]),
    ] {
        let manifest = fs::read_to_string(root().join(crate_folder).join("Cargo.toml")).unwrap();
        for (line, text) in manifest.lines().enumerate() {
            let name = text.split(['.', ' ', '=']).next().unwrap_or_default();
            assert!(
                !forbidden.contains(&name),
                "{crate_folder}/Cargo.toml:{}: {name} must not be a dependency here",
                line + 1
            );
        }
    }
}

#[test]
fn each_single_home_is_where_the_rules_say() {
    for home in HOMES {
        for file in home.files.iter().filter(|file| file.contains('/')) {
            assert!(
                root().join(file).is_file(),
                "{file} has moved: say where {} lives now",
                home.library
            );
        }
    }
}

/// A source file, a text planted in it, and what the report must say.
const PLANTED: &[(&str, &str, &str)] = &[
    (
        "edge-agent/src/work/mod.rs",
        "use std::io;\nuse coordinator::round;",
        "edge-agent/src/work/mod.rs:2: the two sides never import each other",
    ),
    (
        "coordinator/src/compute.rs",
        "fn f() { edge_agent::work::run() }",
        "coordinator/src/compute.rs:1: the two sides never import each other",
    ),
    (
        "common/src/math/linalg.rs",
        "use crate::{ids::Time,\n wire::codec};",
        "common/src/math/linalg.rs:2: common::math may not import common::wire",
    ),
    (
        "common/src/math/random.rs",
        "use super::super::summary::Summary;",
        "common/src/math/random.rs:1: common::math may not import common::summary",
    ),
    (
        "common/src/wire/frame.rs",
        "use crate::transport::Listener;",
        "common/src/wire/frame.rs:1: common::wire may not import common::transport",
    ),
    (
        "common/src/wire/codec.rs",
        "use crate::summary::Summary;",
        "common/src/wire/codec.rs:1: common::wire may not import common::summary",
    ),
    (
        "common/src/model.rs",
        "use crate::wire::messages::Message;",
        "common/src/model.rs:1: common::model may not import common::wire",
    ),
    (
        "coordinator/src/validation.rs",
        "let a = bincode::decode_from_slice(b, c);",
        "coordinator/src/intake.rs:1: bincode's functions belong in common/src/wire/codec.rs",
    ),
    (
        "coordinator/src/serve/store.rs",
        "/* a\n b */ use sled::{Db, Tree};",
        "coordinator/src/serve/store.rs:2: sled belongs in coordinator/src/store/sled_log.rs",
    ),
    (
        "common/src/teacher.rs",
        "use ndarray_linalg::Cholesky as _;",
        "common/src/teacher.rs:1: ndarray_linalg belongs in common/src/math/linalg.rs",
    ),
    (
        "lab/src/plan.rs",
        "use anyhow::Context as _;",
        "lab/src/plan.rs:1: anyhow belongs in main.rs",
    ),
    (
        "lab/src/plan.rs",
        "fn f() {\n unsafe { g() } }",
        "lab/src/plan.rs:2: unsafe belongs in common/src/math/blas.rs or common/src/math/kernel/simd.rs",
    ),
    (
        "coordinator/src/round/engine.rs",
        "use std::{fmt, time::Instant};",
        "coordinator/src/round/engine.rs:1: an engine does no I/O: std::time",
    ),
    (
        "edge-agent/src/session/engine.rs",
        "let t = tokio::time::Instant::now();",
        "edge-agent/src/session/engine.rs:1: an engine does no I/O: tokio",
    ),
    (
        "coordinator/src/round/engine.rs",
        "async fn f() {}",
        "coordinator/src/round/engine.rs:1: an engine does no I/O: async",
    ),
    (
        "tests/tests/end_to_end.rs",
        "std::thread::sleep(d);",
        "tests/tests/end_to_end.rs:1: a test that sleeps to wait is wrong",
    ),
    (
        "common/src/ids.rs",
        "#[cfg(test)]\nmod tests {\n fn f() { sleep (d) }\n}",
        "common/src/ids.rs:3: a test that sleeps to wait is wrong",
    ),
];

#[test]
fn a_planted_breach_is_named_with_file_line_and_rule() {
    for (path, text, said) in PLANTED {
        assert_eq!(check(path, text), [(*said).to_owned()], "{path}: {text}");
    }
}

#[test]
fn what_is_allowed_is_not_reported() {
    for (path, text) in [
        (
            "coordinator/src/store/mod.rs",
            "//! sled::Db\nconst A: &str = \"sled::Db\";",
        ),
        ("common/src/ids.rs", "use bincode::{Decode, Encode};"),
        ("common/src/model.rs", "use crate::wire::codec;"),
        (
            "common/src/wire/codec.rs",
            "use bincode::config::standard; fn f<'a>() { r#\"\"unsafe\"\"#; '\"'; }",
        ),
        (
            "common/src/math/linalg.rs",
            "use crate::limits::FRAME_BYTES_MAX;\n#[cfg(test)]\nmod tests { use super::super::blas; }",
        ),
        (
            "coordinator/src/serve/driver.rs",
            "tokio::time::sleep(wait).await",
        ),
        (
            "coordinator/src/round/state.rs",
            "#[cfg(test)]\nmod tests { use std::time::Instant; }",
        ),
        ("lab/src/main.rs", "fn main() -> anyhow::Result<()> {}"),
        (
            "lab/src/simulation.rs",
            "use coordinator::round; use edge_agent::work;",
        ),
        (
            "edge-agent/src/enrol.rs",
            "let coordinator = config.coordinator;",
        ),
    ] {
        assert_eq!(check(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

/// A library that is named in few files only.
struct Home {
    library: &'static str,
    files: &'static [&'static str],
    /// Names that are free everywhere: derives and the traits they implement.
    free: &'static [&'static str],
    rule: &'static str,
}

const HOMES: &[Home] = &[
    Home {
        library: "bincode",
        files: &["common/src/wire/codec.rs"],
        free: &["Encode", "Decode"],
        rule: "bincode's functions belong in common/src/wire/codec.rs",
    },
    Home {
        library: "sled",
        files: &["coordinator/src/store/sled_log.rs"],
        free: &[],
        rule: "sled belongs in coordinator/src/store/sled_log.rs",
    },
    Home {
        library: "ndarray_linalg",
        files: &["common/src/math/linalg.rs"],
        free: &[],
        rule: "ndarray_linalg belongs in common/src/math/linalg.rs",
    },
    Home {
        library: "anyhow",
        files: &["main.rs"],
        free: &[],
        rule: "anyhow belongs in main.rs",
    },
];

const UNSAFE_FILES: [&str; 2] = ["common/src/math/blas.rs", "common/src/math/kernel/simd.rs"];

const ENGINES: [&str; 2] = ["coordinator/src/round/", "edge-agent/src/session/"];

/// What an engine may not name: a clock, randomness, a socket, a disk, async.
const ENGINE_FORBIDDEN: &[&[&str]] = &[
    &["tokio"],
    &["quinn"],
    &["rand"],
    &["std", "time"],
    &["std", "fs"],
    &["std", "net"],
    &["std", "thread"],
    &["std", "process"],
    &["std", "env"],
    &["common", "transport"],
    &["common", "math", "random"],
];

/// Rooms of `common`, lowest first; a room sees its own floor and those below.
/// The codec lies deeper than the rest of the wire: what is named by the hash
/// of its bytes (tasks, releases) has to become bytes first.
const FLOORS: &[&[&str]] = &[
    &["ids", "limits", "error", "pulse"],
    &["math"],
    &["wire/codec"],
    &[
        "features", "gradient", "labels", "model", "moments", "npz", "profile", "report", "round",
        "summary", "task", "teacher", "transfer",
    ],
    &["wire", "trust"],
    &[
        "transport",
        "service",
        "health",
        "http",
        "ownership",
        "pipe",
    ],
];

/// All breaches of one file, each as `file:line: rule`.
fn check(path: &str, text: &str) -> Vec<String> {
    let source = Source::read(path, text);
    let mut breaches: Vec<(usize, String)> = Vec::new();
    for found in &source.paths {
        sides(&source, found, &mut breaches);
        floors(&source, found, &mut breaches);
        homes(&source, found, &mut breaches);
        engines(&source, found, &mut breaches);
    }
    words(&source, &mut breaches);
    breaches.sort();
    breaches.dedup();
    breaches
        .into_iter()
        .map(|(line, rule)| format!("{path}:{line}: {rule}"))
        .collect()
}

fn sides(source: &Source, found: &Found, breaches: &mut Vec<(usize, String)>) {
    let others: &[&str] = match source.path.split('/').next() {
        Some("common") => &["coordinator", "edge_agent", "lab"],
        Some("coordinator") => &["edge_agent", "lab"],
        Some("edge-agent") => &["coordinator", "lab"],
        _ => return,
    };
    if found.named() && others.contains(&found.segments[0].as_str()) {
        let rule = match found.segments[0].as_str() {
            "lab" => "nothing imports the laboratory",
            _ => "the two sides never import each other",
        };
        breaches.push((found.line, rule.to_owned()));
    }
}

fn floors(source: &Source, found: &Found, breaches: &mut Vec<(usize, String)>) {
    let Some(inside) = source.path.strip_prefix("common/src/") else {
        return;
    };
    let module: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
    let Some(own) = floor(&module) else { return };
    let seen = source.inside_common(found);
    let Some(other) = floor(&seen) else { return };
    // A room's tests may look at what is above it.
    if other > own && !source.is_test(found.line) {
        let rule = format!("common::{} may not import common::{}", module[0], seen[0]);
        breaches.push((found.line, rule));
    }
}

fn floor(module: &[&str]) -> Option<usize> {
    FLOORS
        .iter()
        .position(|rooms| rooms.iter().any(|room| module.join("/").starts_with(room)))
        .filter(|_| !module.is_empty())
}

fn homes(source: &Source, found: &Found, breaches: &mut Vec<(usize, String)>) {
    let name = found.segments[0].as_str();
    let Some(home) = HOMES.iter().find(|home| home.library == name) else {
        return;
    };
    let free = found
        .segments
        .get(1)
        .is_some_and(|second| home.free.contains(&second.as_str()));
    let at_home = home
        .files
        .iter()
        .any(|file| source.path == *file || source.path.ends_with(&format!("/{file}")));
    if found.named() && !free && !at_home {
        breaches.push((found.line, home.rule.to_owned()));
    }
}

fn engines(source: &Source, found: &Found, breaches: &mut Vec<(usize, String)>) {
    if !source.is_engine() || source.is_test(found.line) {
        return;
    }
    for forbidden in ENGINE_FORBIDDEN {
        let starts = found.segments.len() >= forbidden.len()
            && found.segments.iter().zip(*forbidden).all(|(a, b)| a == b);
        if found.named() && starts {
            let what = forbidden.join("::");
            breaches.push((found.line, format!("an engine does no I/O: {what}")));
        }
    }
}

/// Rules about words that are not paths.
fn words(source: &Source, breaches: &mut Vec<(usize, String)>) {
    for (index, token) in source.tokens.iter().enumerate() {
        let calls = source
            .tokens
            .get(index + 1)
            .is_some_and(|next| next.text == "(");
        let test = source.is_test(token.line);
        match token.text.as_str() {
            "unsafe" | "unsafe_code" if !UNSAFE_FILES.contains(&source.path.as_str()) => {
                let rule = format!(
                    "unsafe belongs in {} or {}",
                    UNSAFE_FILES[0], UNSAFE_FILES[1]
                );
                breaches.push((token.line, rule));
            }
            "async" | "await" if source.is_engine() && !test => {
                let rule = format!("an engine does no I/O: {}", token.text);
                breaches.push((token.line, rule));
            }
            "sleep" if test && calls => {
                breaches.push((token.line, "a test that sleeps to wait is wrong".to_owned()));
            }
            _ => {}
        }
    }
}

/// A file's words and paths, and where its tests begin.
struct Source {
    path: String,
    tokens: Vec<Token>,
    paths: Vec<Found>,
    /// First line of the test module that ends the file.
    tests_from: usize,
}

struct Token {
    text: String,
    line: usize,
}

/// A path as written, one for each leaf of a `use` tree.
struct Found {
    segments: Vec<String>,
    line: usize,
    imported: bool,
}

impl Found {
    /// Whether the first segment names a crate or module: a lone word does
    /// only in a `use`.
    fn named(&self) -> bool {
        self.imported || self.segments.len() > 1
    }
}

impl Source {
    fn read(path: &str, text: &str) -> Self {
        let tokens = tokens(&code(text));
        let whole_file_is_a_test = path.starts_with("tests/")
            || path.contains("/tests/")
            || path.ends_with("tests.rs")
            || path == "edge-agent/src/fleet.rs";
        let tests_from = if whole_file_is_a_test {
            0
        } else {
            tests_from(&tokens)
        };
        Self {
            path: path.to_owned(),
            paths: paths(&tokens),
            tokens,
            tests_from,
        }
    }

    fn is_test(&self, line: usize) -> bool {
        line >= self.tests_from
    }

    fn is_engine(&self) -> bool {
        ENGINES.iter().any(|engine| self.path.starts_with(engine))
    }

    /// Where in `common` a path leads to, through `crate` or `super`; empty
    /// if it stays in its room or leaves the crate.
    fn inside_common<'a>(&self, found: &'a Found) -> Vec<&'a str> {
        let segments: Vec<&str> = found.segments.iter().map(String::as_str).collect();
        if segments[0] == "crate" {
            return segments[1..].to_vec();
        }
        let inside = self.path.strip_prefix("common/src/").unwrap_or_default();
        let module = inside.trim_end_matches(".rs").trim_end_matches("/mod");
        let depth = module.split('/').count() + usize::from(self.is_test(found.line));
        let supers = segments.iter().take_while(|s| **s == "super").count();
        if supers > 0 && supers >= depth {
            return segments[supers..].to_vec();
        }
        Vec::new()
    }
}

/// The line of `#[cfg(test)]` before an inline `mod`; past the end if none.
fn tests_from(tokens: &[Token]) -> usize {
    let opening = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let after = opening.len() + 1;
    tokens
        .windows(after + 1)
        .find(|window| {
            window[after].text == "{" && window.iter().zip(opening).all(|(a, b)| a.text == b)
        })
        .map_or(usize::MAX, |window| window[0].line)
}

/// The text without comments, strings and character literals; lines stay.
fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skipped(&chars, at);
        if end == at {
            kept.push(chars[at]);
            at += 1;
        } else {
            kept.push(' ');
            kept.extend(chars[at..end].iter().filter(|c| **c == '\n'));
            at = end;
        }
    }
    kept
}

/// Where the comment or literal that starts at `at` ends; `at` if none does.
fn skipped(chars: &[char], at: usize) -> usize {
    let next = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    let word_before = at > 0 && is_word(chars[at - 1]);
    match chars[at] {
        '/' if next(1) == '/' => at + chars[at..].iter().take_while(|c| **c != '\n').count(),
        '/' if next(1) == '*' => block_comment_end(chars, at),
        '"' => string_end(chars, at + 1),
        'r' if !word_before || (at > 0 && chars[at - 1] == 'b') => raw_string_end(chars, at),
        '\'' if next(1) == '\\' => {
            let close = chars[at + 3..].iter().position(|c| *c == '\'');
            close.map_or(chars.len(), |offset| at + 4 + offset)
        }
        '\'' if next(2) == '\'' => at + 3,
        _ => at,
    }
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut here = at;
    while here + 1 < chars.len() {
        match (chars[here], chars[here + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                here += 1;
                continue;
            }
        }
        here += 2;
        if depth == 0 {
            return here;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], from: usize) -> usize {
    let mut here = from;
    while here < chars.len() && chars[here] != '"' {
        here += if chars[here] == '\\' { 2 } else { 1 };
    }
    (here + 1).min(chars.len())
}

fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let mut close = vec!['"'];
    close.resize(1 + hashes, '#');
    let from = at + 2 + hashes;
    chars[from..]
        .windows(close.len())
        .position(|window| window == close)
        .map_or(chars.len(), |offset| from + offset + close.len())
}

/// Words, `::` and single signs, each with its line.
fn tokens(code: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    for (index, text) in code.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (token, after) = rest.split_at(length);
            found.push(Token {
                text: token.to_owned(),
                line: index + 1,
            });
            rest = after.trim_start();
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every path of the file; a `use` tree gives one for each of its leaves.
fn paths(tokens: &[Token]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text == "use" {
            at = tree(tokens, at + 1, &[], &mut found);
        } else if tokens[at].text.starts_with(is_word) {
            let (segments, end) = straight(tokens, at);
            found.push(Found {
                segments,
                line: tokens[at].line,
                imported: false,
            });
            at = end;
        } else {
            at += 1;
        }
    }
    found
}

/// The words joined by `::` from `at` on, and where they end.
fn straight(tokens: &[Token], at: usize) -> (Vec<String>, usize) {
    let mut segments = vec![tokens[at].text.clone()];
    let mut end = at + 1;
    while end + 1 < tokens.len()
        && tokens[end].text == "::"
        && tokens[end + 1].text.starts_with(is_word)
    {
        segments.push(tokens[end + 1].text.clone());
        end += 2;
    }
    (segments, end)
}

/// One branch of a `use` tree below `prefix`; returns where it ends.
fn tree(tokens: &[Token], from: usize, prefix: &[String], found: &mut Vec<Found>) -> usize {
    let mut at = from;
    if tokens.get(at).is_some_and(|token| token.text == "::") {
        at += 1;
    }
    let Some(token) = tokens.get(at) else {
        return at;
    };
    let mut path = prefix.to_vec();
    let line = token.line;
    if token.text.starts_with(is_word) {
        let (segments, end) = straight(tokens, at);
        path.extend(segments);
        at = end;
    }
    let opens = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    if opens(at, "::") && opens(at + 1, "{") {
        at += 1;
    }
    if opens(at, "{") {
        at += 1;
        while at < tokens.len() && !opens(at, "}") {
            let end = if opens(at, ",") {
                at + 1
            } else {
                tree(tokens, at, &path, found)
            };
            at = end.max(at + 1);
        }
        return at + 1;
    }
    if !path.is_empty() {
        found.push(Found {
            segments: path,
            line,
            imported: true,
        });
    }
    while at < tokens.len() && !matches!(tokens[at].text.as_str(), "," | "}" | ";") {
        at += 1;
    }
    at
}

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// All Rust files of the workspace, relative to its folder, in order.
fn sources() -> Vec<String> {
    let mut open: Vec<PathBuf> = ["common", "coordinator", "edge-agent", "lab", "tests"]
        .map(|name| root().join(name))
        .into();
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(root()).unwrap().to_owned();
                files.push(inside.into_os_string().into_string().unwrap());
            }
        }
    }
    files.sort();
    files
}
