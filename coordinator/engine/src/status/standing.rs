//! What the next student of a standing task waits for.

use protocol::ids::Time;
use serde::{Deserialize, Serialize};

use super::format;

/// What the next student of a standing task waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingStatus {
    /// Devices of which something stands.
    pub devices: usize,
    /// Devices that a student needs.
    pub devices_min: u32,
    /// Devices of which something is in no student yet.
    pub devices_new: usize,
    /// Rows that this describes.
    pub rows_new: u64,
    /// Rows that are enough.
    pub rows_new_min: u64,
    /// Whether the open phase takes contributions; otherwise the coordinator
    /// computes, and what comes counts for the next student.
    pub gathers: bool,
    /// When the open phase closes, as far as what is there says.
    pub due: Option<Time>,
    /// The same in words.
    pub text: String,
}

impl StandingStatus {
    /// What it waits for, in words.
    pub fn words(&self, now: Time) -> String {
        let rows = |rows: u64| format!("{} rows", format::number(rows));
        let (devices, new) = (self.devices, self.devices_new);
        let stands = format!("{} in", format::count(devices, "device"));
        let fresh = match new {
            0 => "nothing new".to_owned(),
            _ => format!(
                "{} new of {}",
                rows(self.rows_new),
                format::count(new, "device")
            ),
        };
        if !self.gathers {
            return format!("{stands}, {fresh} for the next student");
        }
        let missing = (self.devices_min as usize).saturating_sub(devices);
        if missing > 0 {
            let missing = format::count(missing, "more device");
            return format!("{stands}, waits for {missing}");
        }
        if new == 0 {
            return format!("{stands}, nothing new: waits for devices with rows");
        }
        let left = self.due.map(|due| due.since_ms(now));
        let wait = match left {
            Some(0) | None => "goes on now".to_owned(),
            Some(left) if self.rows_new >= self.rows_new_min => {
                format!("goes on in {}", format::span(left))
            }
            Some(left) => format!(
                "goes on at {} new, or in {}",
                rows(self.rows_new_min),
                format::span(left)
            ),
        };
        format!("{stands}, {fresh}; {wait}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_standing_task_waits_for_is_said() {
        let mut status = StandingStatus {
            devices: 1,
            devices_min: 3,
            devices_new: 1,
            rows_new: 40,
            rows_new_min: 1_000,
            gathers: true,
            due: None,
            text: String::new(),
        };
        let now = Time(1_000);
        assert_eq!(status.words(now), "1 device in, waits for 2 more devices");
        status.devices = 12;
        status.due = Some(Time(61_000));
        let words = status.words(now);
        assert!(
            words.starts_with("12 devices in, 40 rows new of 1 device; "),
            "{words}"
        );
        assert!(words.contains("rows new, or in "), "{words}");
        status.gathers = false;
        let words = status.words(now);
        assert_eq!(
            words,
            "12 devices in, 40 rows new of 1 device for the next student"
        );
        status = StandingStatus {
            gathers: true,
            devices_new: 0,
            rows_new: 0,
            due: None,
            ..status
        };
        let words = status.words(now);
        assert_eq!(
            words,
            "12 devices in, nothing new: waits for devices with rows"
        );
    }
}
