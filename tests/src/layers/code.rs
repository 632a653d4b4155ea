//! Rust without its comments, strings and character literals.

use super::tokens::is_word;

/// The text with every comment and literal replaced by a space; lines stay.
pub(super) fn code(text: &str) -> String {
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
            let close = chars.iter().skip(at + 3).position(|c| *c == '\'');
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_go_and_lines_stay() {
        for (text, kept) in [
            ("a // b\nc", "a  \nc"),
            ("a /* b\n /* c */ d */ e", "a  \n e"),
            ("f(\"x // y\", '\"', '\\'')", "f( ,  ,  )"),
            ("r#\"unsafe \" {\"# b", "  b"),
            ("br\"\\\" c", "b  c"),
            ("fn f<'a>(x: &'a u8)", "fn f<'a>(x: &'a u8)"),
        ] {
            assert_eq!(code(text), kept, "{text}");
        }
    }
}
