//! Words and signs of Rust code, and what surrounds each.

/// A word, `::`, or a single sign.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
    /// Whether it stands in an item marked `#[cfg(test)]`.
    pub(super) test: bool,
    /// How many inline modules it stands in.
    pub(super) depth: usize,
}

/// The tokens of code that has no comments and literals left.
pub(super) fn tokens(code: &str) -> Vec<Token> {
    let mut found = Vec::new();
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
                test: false,
                depth: 0,
            });
            rest = after.trim_start();
        }
    }
    mark_tests(&mut found);
    mark_depths(&mut found);
    found
}

/// Whether the texts from `at` on are these.
pub(super) fn reads(tokens: &[Token], at: usize, texts: &[&str]) -> bool {
    tokens.len() >= at + texts.len() && tokens[at..].iter().zip(texts).all(|(a, b)| a.text == *b)
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn mark_tests(tokens: &mut [Token]) {
    let mut at = 0;
    while at < tokens.len() {
        let end = if reads(tokens, at, &OUTER) {
            item_end(tokens, at + OUTER.len())
        } else if reads(tokens, at, &INNER) {
            tokens.len()
        } else {
            at += 1;
            continue;
        };
        for token in &mut tokens[at..end] {
            token.test = true;
        }
        at = end;
    }
}

/// Where the item ends that begins at `at`: behind its first `;`, or behind
/// its first block.
fn item_end(tokens: &[Token], at: usize) -> usize {
    let mut brackets = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" => brackets += 1,
            ")" | "]" => brackets = brackets.saturating_sub(1),
            ";" if brackets == 0 => return index + 1,
            "{" if brackets == 0 => return block_end(tokens, index),
            _ => {}
        }
    }
    tokens.len()
}

/// Where the block ends whose `{` is at `at`.
fn block_end(tokens: &[Token], at: usize) -> usize {
    let mut braces = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "{" => braces += 1,
            "}" => braces -= 1,
            _ => {}
        }
        if braces == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

fn mark_depths(tokens: &mut [Token]) {
    for at in 0..tokens.len() {
        let opens = tokens[at].text == "mod"
            && tokens
                .get(at + 1)
                .is_some_and(|name| name.text.starts_with(is_word))
            && tokens.get(at + 2).is_some_and(|sign| sign.text == "{");
        if opens {
            let end = block_end(tokens, at + 2);
            for token in &mut tokens[at + 3..end] {
                token.depth += 1;
            }
        }
    }
}

const OUTER: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
const INNER: [&str; 8] = ["#", "!", "[", "cfg", "(", "test", ")", "]"];

#[cfg(test)]
mod tests {
    use super::*;

    fn tested(code: &str) -> String {
        let tokens = tokens(code);
        let texts = tokens
            .iter()
            .filter(|token| token.test && token.text.starts_with(is_word));
        texts
            .map(|token| token.text.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn a_test_reaches_to_the_end_of_its_item() {
        assert_eq!(tested("#[cfg(test)] mod a; mod b;"), "cfg test mod a");
        assert_eq!(
            tested("#[cfg(test)] fn f(x: [u8; 2]) { { y } } fn g() {}")
                .matches(" g")
                .count(),
            0
        );
        assert!(tested("#[cfg(test)] fn f(x: [u8; 2]) { { y } } fn g() {}").ends_with('y'));
        assert_eq!(tested("#[cfg(not(test))] mod a;"), "");
        assert_eq!(tested("#![cfg(test)] a b"), "cfg test a b");
    }

    #[test]
    fn inline_modules_are_counted() {
        let tokens = tokens("a mod m { b mod n { c } d } e mod f;");
        let depth = |name: &str| {
            tokens
                .iter()
                .find(|token| token.text == name)
                .map(|t| t.depth)
        };
        let found = ["a", "b", "c", "d", "e", "f"].map(depth);
        assert_eq!(found, [0, 1, 2, 1, 0, 0].map(Some));
    }
}
