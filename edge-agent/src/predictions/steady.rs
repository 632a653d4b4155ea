//! Which class a stream is held to be of.

use std::collections::HashMap;

/// A class is taken for a group's once so many predictions in a row have said
/// it; until then the one before stays.
#[derive(Debug)]
pub(super) struct Steady {
    needed: u32,
    groups: HashMap<String, Held>,
}

#[derive(Debug, Default)]
struct Held {
    held: Option<String>,
    newest: String,
    times: u32,
}

impl Steady {
    /// With 1 every prediction counts at once.
    pub(super) fn new(needed: u32) -> Self {
        Self {
            needed,
            groups: HashMap::new(),
        }
    }

    /// Takes a prediction in; the class that the group is held to be of, if any
    /// has been told often enough yet.
    pub(super) fn take(&mut self, group: &str, class: &str) -> Option<&str> {
        if !self.groups.contains_key(group) {
            if self.groups.len() >= GROUPS_MAX {
                self.groups.clear();
            }
            self.groups.insert(group.to_owned(), Held::default());
        }
        let held = self.groups.get_mut(group)?;
        if held.newest != class {
            class.clone_into(&mut held.newest);
            held.times = 0;
        }
        held.times = held.times.saturating_add(1);
        if held.times >= self.needed {
            held.held = Some(class.to_owned());
        }
        held.held.as_deref()
    }

    /// Forgets all: another recording begins.
    pub(super) fn begin(&mut self) {
        self.groups.clear();
    }
}

/// Groups that are remembered; with more, all begin anew.
const GROUPS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_after_so_many_in_a_row() {
        let mut steady = Steady::new(2);
        let said = ["a", "b", "b", "a", "b", "a", "a"];
        let held: Vec<Option<String>> = said
            .iter()
            .map(|class| steady.take("", class).map(str::to_owned))
            .collect();
        let expected = [
            None,
            None,
            Some("b"),
            Some("b"),
            Some("b"),
            Some("b"),
            Some("a"),
        ];
        assert_eq!(held, expected.map(|class| class.map(str::to_owned)));
        assert_eq!(steady.take("another", "b"), None);
        steady.begin();
        assert_eq!(steady.take("", "a"), None);
    }
}
