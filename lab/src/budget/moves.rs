//! What bytes buy where later rounds move the points there are, instead of
//! sending more.

use common::task::Support;

use super::{
    ACKNOWLEDGED, BY_ROWS, Fixed, Kinds, POINTS_SHARED_MAX, Plan, RANK_MAX, RANK_SPARE,
    ROWS_A_POINT, Setting, WIRE, affordable_rank, bits_reason, point_bytes, rounds, spendable,
};

/// All points in the first round; in each later one a gradient of all of them
/// from each device, and statistics anew. Half of the bytes go to points and
/// their moves, the rest to statistics.
pub(super) fn plan(setting: &Setting, fixed: Fixed) -> Plan {
    let (devices, rounds) = (setting.devices.max(1), rounds(setting));
    let bits = fixed.bits.unwrap_or(8);
    let all = spendable(setting) * rounds as f64;
    let by_bytes = 0.5 * all / spent_on_a_point(setting, bits);
    let by_rows = setting.rows / ROWS_A_POINT;
    let (wanted, points_reason) = match fixed.points {
        Some(points) => (points as usize, "asked for"),
        None if by_bytes < by_rows.min(POINTS_SHARED_MAX) as f64 => (
            by_bytes.max(0.0) as usize,
            "as many as the bytes allow to move in every round",
        ),
        None if by_rows < POINTS_SHARED_MAX => (by_rows, BY_ROWS),
        None => (
            POINTS_SHARED_MAX,
            "more would cost the coordinator too much time",
        ),
    };
    let each = wanted.div_ceil(devices).max(1);
    let points = (each * devices).min(wanted.max(each));
    let left = all - points as f64 * spent_on_a_point(setting, bits);
    let affordable = affordable_rank(setting, points, bits, left / rounds as f64);
    let least = (setting.classes + RANK_SPARE).min(points);
    let rank = affordable.clamp(least, RANK_MAX.max(least)).min(points);
    Plan {
        points_per_device: each as u32,
        points_max: points as u32,
        bits,
        rank: fixed.rank.unwrap_or(rank as u32),
        landmarks: 0,
        landmarks_reason: "landmarks do not move".to_owned(),
        contribute: Kinds::Moments,
        support: Support::Gradient,
        points_reason: points_reason.to_owned(),
        bits_reason: bits_reason(fixed, bits),
        rank_reason: match fixed.rank {
            Some(_) => "asked for",
            None => "what the bytes leave beside the points and their moves",
        }
        .to_owned(),
        contribute_reason: "a gradient holds at the teacher that statistics are solved for"
            .to_owned(),
        support_reason: "asked for".to_owned(),
    }
}

/// Bytes that a device spends on one point of the transfer set in all rounds:
/// its share of sending it, and moving it, and hearing of it.
fn spent_on_a_point(setting: &Setting, bits: u8) -> f64 {
    let rounds = rounds(setting) as f64;
    let sent = point_bytes(setting, bits) / setting.devices.max(1) as f64;
    let heard = ACKNOWLEDGED * (setting.features + 13) as f64;
    sent + (rounds - 1.0) * (move_bytes(setting) + heard) + rounds * heard
}

/// Bytes of one point in a gradient.
fn move_bytes(setting: &Setting) -> f64 {
    WIRE * (setting.features as f64 + 4.0)
}

/// Why points are sent rather than moved.
pub(super) fn clusters_reason(setting: &Setting, points: usize, bits: u8) -> String {
    if setting.rounds <= 1 {
        return "there is no later round".to_owned();
    }
    format!(
        "a point more costs one device {:.0} bytes once; to move all {points} costs every \
         device {:.0} bytes a round",
        point_bytes(setting, bits),
        points as f64 * move_bytes(setting),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget;

    fn setting(uplink_bytes: u64) -> Setting {
        Setting {
            features: 400,
            classes: 10,
            devices: 10,
            rounds: 4,
            rows: 60_000,
            lists: false,
            learns_normaliser: false,
            directions: usize::MAX,
            learns_curves: false,
            parameters: 80_000,
            uplink_bytes,
        }
    }

    #[test]
    fn moves_of_every_round_fit_the_bytes() {
        let fixed = Fixed {
            support: Support::Gradient,
            ..Fixed::default()
        };
        for bytes in [200_000, 500_000, 2_000_000] {
            let found = budget::plan(&setting(bytes), fixed);
            assert_eq!(found.support, Support::Gradient);
            let points = f64::from(found.points_max);
            let moved = 3.0 * points * move_bytes(&setting(bytes));
            let told = 4.0 * f64::from(found.rank) * WIRE * (points + 8.0);
            assert!(moved + told < bytes as f64, "{found:?}");
            assert!(points >= 30.0 && found.rank >= 18, "{found:?}");
        }
    }

    #[test]
    fn what_is_chosen_says_what_a_move_would_cost() {
        let found = budget::plan(&setting(500_000), Fixed::default());
        assert_eq!(found.support, Support::Clusters);
        assert!(found.support_reason.contains("bytes a round"), "{found:?}");
    }
}
