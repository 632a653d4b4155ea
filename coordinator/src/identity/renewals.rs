//! An order to all devices to renew their certificates at once.

use std::path::Path;

use common::ids::Time;

use crate::identity::{IdentityError, replace};

/// Orders that every device renews what it was given before `now`. Followed
/// from the coordinator's next start on, until all have.
///
/// # Errors
/// If the file cannot be written.
pub fn order_renewals(state: &Path, now: Time) -> Result<(), IdentityError> {
    replace(&state.join(ORDER), &format!("{}\n", now.0), 0o644)
}

/// Since when certificates must be, if that was ever ordered. A damaged order
/// is none: devices renew by themselves anyway.
pub fn renewals_ordered(state: &Path) -> Option<Time> {
    let text = std::fs::read_to_string(state.join(ORDER)).ok()?;
    text.trim().parse().ok().map(Time)
}

const ORDER: &str = "renew-now";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_order_is_kept_and_a_later_one_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(renewals_ordered(folder.path()), None);
        for at in [Time(7), Time(1_800_000_000_000)] {
            order_renewals(folder.path(), at).unwrap();
            assert_eq!(renewals_ordered(folder.path()), Some(at));
        }
        std::fs::write(folder.path().join(ORDER), "soon").unwrap();
        assert_eq!(renewals_ordered(folder.path()), None);
    }
}
