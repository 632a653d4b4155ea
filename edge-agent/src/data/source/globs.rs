//! Patterns of file names: `*`, `?`, and `**` for any folders.

/// Whether a path with `/` between its parts is one that a pattern means. `*`
/// and `?` stay within a part; `**` as a part stands for any number of them.
pub(in super::super) fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let path: Vec<&str> = path.split('/').collect();
    parts(&pattern, &path)
}

/// Whether a pattern may mean a file in a folder inside.
pub(in super::super) fn reaches_inside(pattern: &str) -> bool {
    pattern.trim_matches('/').contains('/') || pattern.contains("**")
}

/// One row of the table of which prefixes match, a part of the pattern at a
/// time: linear in pattern and path, whatever the pattern.
fn parts(pattern: &[&str], path: &[&str]) -> bool {
    let mut reached = vec![false; path.len() + 1];
    reached[0] = true;
    for part in pattern {
        let before = reached.clone();
        for at in 0..reached.len() {
            reached[at] = match *part {
                "**" => before[at] || at > 0 && reached[at - 1],
                part => at > 0 && before[at - 1] && name(part, path[at - 1]),
            };
        }
    }
    reached[path.len()]
}

fn name(pattern: &str, name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for symbol in pattern.chars() {
        let before = reached.clone();
        for at in 0..reached.len() {
            reached[at] = match symbol {
                '*' => before[at] || at > 0 && reached[at - 1],
                '?' => at > 0 && before[at - 1],
                symbol => at > 0 && before[at - 1] && name[at - 1] == symbol,
            };
        }
    }
    reached[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_what_a_shell_would_say() {
        for (pattern, path, expected) in [
            ("*.csv", "a.csv", true),
            ("*.csv", "a/b.csv", false),
            ("**/*.csv", "a/b/c.csv", true),
            ("**/*.csv", "c.csv", true),
            ("pump-?/*.csv*", "pump-1/day.csv.gz", true),
            ("pump-?/*.csv*", "pump-12/day.csv.gz", false),
            ("raw/**", "raw/a/b", true),
            ("raw/**", "other/a", false),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "aXbYb", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
        assert!(reaches_inside("a/*.csv") && reaches_inside("**") && !reaches_inside("*.csv"));
    }
}
