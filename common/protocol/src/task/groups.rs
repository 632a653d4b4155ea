//! The groups of devices that a task is for.

use super::checked::{TaskError, allowed};

/// Most groups of one task.
const GROUPS_MAX: usize = 64;
/// Longest name of a group, in bytes, as tokens bound it.
const NAME_BYTES_MAX: usize = 64;

/// The groups of a task file in the order of their names, so that one set of groups
/// has one form; none where the task is for all devices.
///
/// # Errors
/// If the file names an empty list, which would be a task for nobody.
pub(super) fn checked(names: Option<Vec<String>>) -> Result<Vec<String>, TaskError> {
    let Some(mut names) = names else {
        return Ok(Vec::new());
    };
    allowed(
        !names.is_empty(),
        "groups",
        "[]",
        "names of groups; without the key, the task is for all devices",
    )?;
    names.sort_unstable();
    Ok(names)
}

/// Holds groups against their limits. They ascend.
///
/// # Errors
/// With what is allowed.
pub(super) fn check(groups: &[String]) -> Result<(), TaskError> {
    allowed(
        groups.len() <= GROUPS_MAX,
        "groups",
        format!("{} names", groups.len()),
        format!("1 to {GROUPS_MAX}"),
    )?;
    for (at, name) in groups.iter().enumerate() {
        let is_written = name.trim() == name && !name.chars().any(char::is_control);
        let fits = is_written && !name.is_empty() && name.len() <= NAME_BYTES_MAX;
        let ascends = at == 0 || groups[at - 1] < *name;
        allowed(
            fits && ascends,
            "groups",
            format!("{name:?}"),
            "distinct names of 1 to 64 bytes, with no space at either end and no control \
             characters",
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codec::encode;
    use crate::task::{RawTask, Task, TaskFileError};

    const REST: &str = "[input]\nshape = [4]\n[classes]\nnames = [\"off\", \"on\"]\n";

    fn text(groups: &str) -> String {
        format!("name = \"small\"\n{groups}\n{REST}")
    }

    #[test]
    fn a_task_for_all_keeps_its_bytes() {
        let all = RawTask::parse(&text("")).unwrap();
        assert!(all.definition().groups.is_empty());
        let some = RawTask::parse(&text("groups = [\"valves\", \"pumps\"]")).unwrap();
        assert_eq!(some.definition().groups, ["pumps", "valves"]);
        let section = [vec![7], encode(&some.definition().groups)].concat();
        assert_eq!(some.bytes(), [all.bytes(), &section].concat());
        assert_eq!(Task::from_bytes(some.bytes()).unwrap(), some);
        let turned = RawTask::parse(&text("groups = [\"pumps\", \"valves\"]")).unwrap();
        assert_eq!(turned.hash(), some.hash(), "one set has one name");
    }

    #[test]
    fn groups_that_no_token_can_name_are_refused() {
        let long = format!("groups = [\"{}\"]", "g".repeat(65));
        for groups in [
            "groups = []",
            "groups = [\"\"]",
            "groups = [\" pumps\"]",
            "groups = [\"pumps\", \"pumps\"]",
            "groups = [\"a\\tb\"]",
            &long,
        ] {
            match RawTask::parse(&text(groups)) {
                Err(TaskFileError::Task(TaskError::Value { key, .. })) => {
                    assert_eq!(key, "groups", "{groups}");
                }
                other => panic!("{groups}: {other:?}"),
            }
        }
    }

    #[test]
    fn bytes_of_groups_have_one_form() {
        let all = RawTask::parse(&text("")).unwrap();
        for groups in [vec![], vec!["b", "a"], vec!["a", "a"]] {
            let bytes = [all.bytes(), &[7], &encode(&groups)].concat();
            assert!(Task::from_bytes(&bytes).is_err(), "{groups:?}");
        }
    }
}
