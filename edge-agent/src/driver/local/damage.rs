//! Files of the state directory that are not what was written, for `doctor`.

use std::fmt::Display;

use super::in_process::{REPORTED, ROWS};
use super::{LEDGER, SPENT, STUDENTS};
use crate::ledger;
use crate::policy::{RowHistory, Spent};
use crate::slots::{POINTER_FILE, Slots};
use crate::state::StateDir;
use crate::trust::Trust;

/// Something that the agent opens and cannot use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What is wrong, and with which file.
    pub found: String,
    /// What a person can do about it.
    pub advice: String,
    /// Whether the agent works as it should meanwhile.
    pub is_harmless: bool,
}

impl Damage {
    fn of(error: &dyn Display, advice: String) -> Self {
        Self {
            found: error.to_string(),
            advice,
            is_harmless: false,
        }
    }
}

/// What is damaged of what the agent opens; `has_budget` if it is under
/// differential privacy. Changes nothing.
pub fn damages(state: &StateDir, has_budget: bool) -> Vec<Damage> {
    let mut found = Vec::new();
    if let Err(error) = Trust::load(state) {
        found.push(Damage::of(&error, error.advice()));
    }
    for name in [ROWS, REPORTED] {
        let folder = state.file(name);
        // Opening makes a folder that is missing.
        if folder.is_dir()
            && let Err(error) = RowHistory::open(&folder)
        {
            found.push(Damage::of(&error, error.advice()));
        }
    }
    match ledger::damage_in(&state.file(LEDGER)) {
        Ok(None) => {}
        Ok(Some((what, advice))) => found.push(Damage::of(&what, advice)),
        Err(error) => found.push(Damage::of(&error, error.advice())),
    }
    if has_budget && let Err(error) = Spent::read(&state.file(SPENT)) {
        found.push(Damage::of(&error, error.advice()));
    }
    let students = std::fs::read_dir(state.file(STUDENTS))
        .into_iter()
        .flatten();
    for folder in students.flatten().map(|entry| entry.path()) {
        match Slots::look(&folder) {
            Ok(true) => {}
            Ok(false) => found.push(Damage {
                found: format!("{} is damaged", folder.join(POINTER_FILE).display()),
                advice: "nothing: its copy serves and replaces it when the agent opens it; check \
                         the disk if it comes again"
                    .to_owned(),
                is_harmless: true,
            }),
            Err(error) => found.push(Damage::of(&error, error.advice())),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn empty_files_are_named_with_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::create(&root.path().join("state")).unwrap();
        assert_eq!(damages(&state, false), []);
        let one = format!("{STUDENTS}/{}", "01".repeat(32));
        for folder in [ROWS, LEDGER, &one] {
            std::fs::create_dir_all(state.file(folder)).unwrap();
        }
        assert_eq!(damages(&state, false), []);
        let files = [
            "trust.json".to_owned(),
            format!("{ROWS}/device.rows"),
            format!("{LEDGER}/ledger.mark"),
            format!("{one}/current"),
        ];
        for file in &files {
            std::fs::write(state.file(file), "").unwrap();
        }
        let found = damages(&state, false);
        assert_eq!(found.len(), files.len(), "{found:?}");
        for (damage, file) in found
            .iter()
            .zip(["trust.json", "device.rows", "ledger", "current"])
        {
            assert!(damage.found.contains(file), "{damage:?}");
            assert!(
                !damage.advice.is_empty() && !damage.is_harmless,
                "{damage:?}"
            );
        }
        // Nothing was repaired on the way.
        assert_eq!(damages(&state, false), found);
    }
}
