//! Values that are typed.

use common::ids::Version;
use common::trust::keys::{KeyError, KeyId};

/// `90s`, `15m`, `1h`, `7d`, in milliseconds.
pub(super) fn duration_ms(text: &str) -> Result<u64, String> {
    crate::config_layers::duration_ms(text)
        .filter(|ms| *ms > 0)
        .ok_or_else(|| {
            format!("expected a number and s, m, h or d, such as 90s or 1h, got {text:?}")
        })
}

/// The same, or none at all.
pub(super) fn soak_ms(text: &str) -> Result<u64, String> {
    crate::config_layers::duration_ms(text)
        .ok_or_else(|| format!("expected a number and s, m, h or d, such as 30m, got {text:?}"))
}

pub(super) fn permille(text: &str) -> Result<u16, String> {
    crate::config::permille(text)
        .ok_or_else(|| format!("expected a share of the devices such as 2%, got {text:?}"))
}

pub(super) fn key_id(text: &str) -> Result<KeyId, String> {
    text.parse().map_err(|error: KeyError| error.to_string())
}

pub(super) fn version(text: &str) -> Result<Version, String> {
    text.parse()
        .map_err(|error| format!("{error}, got {text:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration_ms("90s"), Ok(90_000));
        assert_eq!(duration_ms("1h"), Ok(3_600_000));
        assert_eq!(duration_ms("7d"), Ok(7 * 86_400_000));
        for wrong in ["", "5", "h", "-1h", "1w", "0s", "1é"] {
            assert!(duration_ms(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn versions_are_epoch_and_number() {
        assert_eq!(
            version("2.7"),
            Ok(Version {
                epoch: 2,
                number: 7
            })
        );
        assert!(version("2").is_err());
        assert!(version("2.x").is_err());
    }
}
