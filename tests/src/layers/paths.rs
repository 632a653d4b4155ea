//! The paths that code names.

use super::tokens::{Token, is_word};

/// A path as written; a `use` tree gives one for each of its leaves.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) segments: Vec<String>,
    /// The name after `as`.
    pub(super) alias: Option<String>,
    pub(super) imported: bool,
    pub(super) line: usize,
    pub(super) test: bool,
    /// How many inline modules of the file it stands in.
    pub(super) depth: usize,
}

impl Found {
    /// Whether the first segment names a crate or module: a lone word does
    /// only in a `use`.
    pub(super) fn named(&self) -> bool {
        self.imported || self.segments.len() > 1
    }

    /// Whether the path begins with these segments.
    pub(super) fn starts_with(&self, segments: &[&str]) -> bool {
        self.named()
            && self.segments.len() >= segments.len()
            && self.segments.iter().zip(segments).all(|(a, b)| a == b)
    }

    fn new(segments: Vec<String>, imported: bool, first: &Token) -> Self {
        Self {
            segments,
            alias: None,
            imported,
            line: first.line,
            test: first.test,
            depth: first.depth,
        }
    }
}

/// Every path of a file.
pub(super) fn paths(tokens: &[Token]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text == "use" {
            at = tree(tokens, at + 1, &[], &mut found);
        } else if tokens[at].text.starts_with(is_word) {
            let (segments, end) = straight(tokens, at);
            found.push(Found::new(segments, false, &tokens[at]));
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
    let opens = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    let mut at = from + usize::from(opens(from, "::"));
    let Some(first) = tokens.get(at) else {
        return at;
    };
    let mut path = prefix.to_vec();
    if first.text.starts_with(is_word) {
        let (segments, end) = straight(tokens, at);
        path.extend(segments);
        at = end;
    }
    at += usize::from(opens(at, "::") && opens(at + 1, "{"));
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
        let mut leaf = Found::new(path, true, first);
        if opens(at, "as") {
            leaf.alias = tokens.get(at + 1).map(|token| token.text.clone());
        }
        found.push(leaf);
    }
    while at < tokens.len() && !matches!(tokens[at].text.as_str(), "," | "}" | ";") {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::super::tokens::tokens;
    use super::*;

    #[test]
    fn a_use_tree_gives_a_path_for_each_leaf() {
        let tokens = tokens("use a::{b, c::{self, d as e}, f::*}; g::h(i)");
        let found: Vec<String> = paths(&tokens)
            .iter()
            .map(|found| found.segments.join("::") + found.alias.as_deref().unwrap_or(""))
            .collect();
        assert_eq!(
            found,
            ["a::b", "a::c::self", "a::c::de", "a::f", "g::h", "i"]
        );
    }
}
