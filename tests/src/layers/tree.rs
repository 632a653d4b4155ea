//! The sources and manifests of the workspace, or of a copy with changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use super::manifests::Manifest;
use super::source::Source;

/// Sources and manifests by their path in the workspace.
#[derive(Clone)]
pub struct Tree {
    pub(super) sources: BTreeMap<String, Arc<Source>>,
    /// By folder; the workspace's own, which is no crate, by `""`.
    pub(super) manifests: BTreeMap<String, Manifest>,
    texts: BTreeMap<String, Arc<str>>,
}

impl Tree {
    /// What lies in the workspace this was built from.
    ///
    /// # Errors
    /// Whatever keeps a file from being read, or a manifest from being TOML.
    pub fn of_workspace() -> io::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .ok_or_else(|| io::Error::other("the crate lies in no workspace"))?;
        let mut tree = Self {
            sources: BTreeMap::new(),
            manifests: BTreeMap::new(),
            texts: BTreeMap::new(),
        };
        let mut open: Vec<PathBuf> = vec![root.to_owned()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    if !is_outside(&path) {
                        open.push(path);
                    }
                } else if is_read(&path) {
                    let inside = path.strip_prefix(root).unwrap_or(&path);
                    tree.put(&inside.to_string_lossy(), &fs::read_to_string(&path)?)?;
                }
            }
        }
        Ok(tree)
    }

    /// A copy in which this text was added at the end of a file, which is new
    /// if there is none.
    ///
    /// # Errors
    /// A manifest that is no TOML.
    pub fn with(&self, path: &str, text: &str) -> io::Result<Self> {
        let mut copy = self.clone();
        let before = copy.texts.get(path).map_or("", |text| text);
        let after = format!("{before}{text}\n");
        copy.put(path, &after)?;
        Ok(copy)
    }

    /// How many lines a file has.
    pub fn lines(&self, path: &str) -> usize {
        self.texts.get(path).map_or(0, |text| text.lines().count())
    }

    fn put(&mut self, path: &str, text: &str) -> io::Result<()> {
        if let Some(folder) = path.strip_suffix("Cargo.toml") {
            let manifest = Manifest::read(text)
                .map_err(|error| io::Error::other(format!("{path}: {error}")))?;
            self.manifests
                .insert(folder.trim_end_matches('/').to_owned(), manifest);
        } else {
            self.sources
                .insert(path.to_owned(), Arc::new(Source::read(path, text)));
        }
        self.texts.insert(path.to_owned(), text.into());
        Ok(())
    }
}

fn is_read(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs") || path.ends_with("Cargo.toml")
}

/// What is built, what is git's, and the fuzz targets and the Python package, workspaces of their
/// own.
fn is_outside(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        ["target", "fuzz", "python"]
            .iter()
            .any(|outside| name == *outside)
            || name.to_string_lossy().starts_with('.')
    })
}
