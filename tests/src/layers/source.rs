//! One source file as the rules see it.

use super::code::code;
use super::paths::{Found, paths};
use super::tokens::{Token, is_word, reads, tokens};

/// A file's tokens and paths, and the modules it declares.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) tokens: Vec<Token>,
    pub(super) paths: Vec<Found>,
    /// Modules declared outside of other inline modules.
    pub(super) modules: Vec<Module>,
}

/// `mod name;` or `mod name { … }`.
pub(super) struct Module {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) test: bool,
}

impl Source {
    pub(super) fn read(path: &str, text: &str) -> Self {
        let tokens = tokens(&code(text));
        Self {
            path: path.to_owned(),
            paths: paths(&tokens),
            modules: modules(&tokens),
            tokens,
        }
    }

    /// The folder of the crate whose `src` the file lies in, and the modules
    /// that lead to it there, none for the root itself.
    pub(super) fn place(&self) -> Option<(&str, Vec<&str>)> {
        let (folder, inside) = self.path.split_once("/src/")?;
        let module = inside.trim_end_matches(".rs").trim_end_matches("/mod");
        let modules = match module {
            "lib" | "main" => Vec::new(),
            _ => module.split('/').collect(),
        };
        Some((folder, modules))
    }
}

fn modules(tokens: &[Token]) -> Vec<Module> {
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        let ends = reads(tokens, at + 2, &[";"]) || reads(tokens, at + 2, &["{"]);
        let declared = pair[0].text == "mod" && pair[1].text.starts_with(is_word) && ends;
        if declared && pair[0].depth == 0 {
            found.push(Module {
                name: pair[1].text.clone(),
                line: pair[0].line,
                test: pair[0].test,
            });
        }
    }
    found
}
