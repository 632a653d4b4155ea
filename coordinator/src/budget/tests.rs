use super::*;

fn images(uplink_bytes: u64, devices: usize, features: usize) -> Setting {
    Setting {
        features,
        classes: 10,
        devices,
        rounds: 1,
        rows: 60_000,
        directions: usize::MAX,
        rows_a_point_min: 5,
        lists: false,
        learns_normaliser: false,
        learns_quantiles: false,
        parameters: 200 * (features + 10),
        last_layer: None,
        uplink_bytes,
    }
}

#[test]
fn many_points_go_alone_and_few_are_joined_by_moments() {
    let alone = plan(&images(100_000, 10, 400), Fixed::default());
    assert_eq!(alone.contribute, Kinds::Points);
    assert!(alone.points_max >= 2_000, "{alone:?}");
    let few = Setting {
        rows: 1_000,
        ..images(100_000, 10, 30)
    };
    let joined = plan(&few, Fixed::default());
    assert_eq!(joined.contribute, Kinds::Moments);
    assert!(joined.rank >= 20, "{joined:?}");
    let tight = Setting {
        directions: 4,
        ..few
    };
    assert_eq!(plan(&tight, Fixed::default()).contribute, Kinds::Points);
    let asked = Fixed {
        contribute: Kinds::Moments,
        ..Fixed::default()
    };
    assert_eq!(plan(&tight, asked).contribute, Kinds::Moments);
}

#[test]
fn steps_that_refine_take_what_the_points_leave() {
    let refined = |rows, uplink_bytes, numbers| {
        let setting = Setting {
            rows,
            last_layer: Some(numbers),
            ..images(uplink_bytes, 10, 30)
        };
        let fixed = Fixed {
            contribute: Kinds::Points,
            ..Fixed::default()
        };
        let found = plan(&setting, fixed);
        (found.refinement_steps, found.refinement_reason)
    };
    assert_eq!(refined(4_000, 100_000, 2_000).0, 4);
    let (few, reason) = refined(4_000, 100_000, 25_000);
    assert!((1..4).contains(&few), "{few}");
    assert_eq!(reason, "what the bytes leave");
    assert_eq!(refined(4_000, 20_000, 25_000).0, 0);
    // Where rows are many, points take all bytes.
    assert_eq!(refined(600_000, 20_000, 2_000).0, 0);
    let never = plan(&images(100_000, 10, 30), Fixed::default());
    assert_eq!(never.refinement_steps, 0);
}

#[test]
fn points_are_capped_for_the_solver() {
    let fixed = Fixed {
        contribute: Kinds::Moments,
        ..Fixed::default()
    };
    let found = plan(&images(20_000, 1_000, 400), fixed);
    assert_eq!((found.points_per_device, found.points_max), (2, 600));
    assert!(found.rank >= 8, "{found:?}");
}

#[test]
fn what_was_asked_for_is_kept() {
    let fixed = Fixed {
        points: Some(300),
        rank: Some(60),
        landmarks: Some(0),
        bits: Some(8),
        contribute: Kinds::Moments,
    };
    let found = plan(&images(100_000, 10, 400), fixed);
    assert_eq!((found.points_per_device, found.points_max), (30, 300));
    assert_eq!((found.rank, found.bits), (60, 8));
    assert_eq!(found.contribute, Kinds::Moments);
}

#[test]
fn points_alone_use_the_smallest_clusters() {
    let letters = Setting {
        rows: 12_000,
        lists: true,
        ..images(100_000, 10, 17)
    };
    let found = plan(&letters, Fixed::default());
    assert_eq!(found.contribute, Kinds::Points);
    assert_eq!((found.points_per_device, found.points_max), (240, 2_400));
    assert!(found.points_reason.contains("fewest rows"), "{found:?}");
    // Where statistics hold every row, or bytes are scarce, nothing changes.
    let joined = Setting {
        rows: 3_000,
        ..letters
    };
    assert_eq!(plan(&joined, Fixed::default()).points_per_device, 50);
    let scarce = Setting {
        uplink_bytes: 7_000,
        ..letters
    };
    let found = plan(&scarce, Fixed::default());
    assert!(found.points_per_device < 200, "{found:?}");
    assert_eq!(found.points_reason, "as many as the bytes allow");
}

#[test]
fn few_points_are_topped_up_with_landmarks() {
    let small = Setting {
        rows: 600,
        lists: true,
        ..images(100_000, 10, 10)
    };
    let found = plan(&small, Fixed::default());
    assert_eq!((found.points_max, found.landmarks), (100, 300));
    assert!(found.rank >= 180 && found.bits == 12, "{found:?}");
    let image = Setting {
        lists: false,
        ..small
    };
    assert_eq!(plan(&image, Fixed::default()).landmarks, 300);
    let images = Setting {
        rows: 1_200,
        ..image
    };
    assert_eq!(plan(&images, Fixed::default()).landmarks, 0);
    let scarce = Setting {
        uplink_bytes: 8_000,
        ..small
    };
    let found = plan(&scarce, Fixed::default());
    assert!(found.landmarks < 300 && found.rank > 18, "{found:?}");
    let full = Setting {
        rows: 7_000,
        ..small
    };
    assert_eq!(plan(&full, Fixed::default()).landmarks, 0);
    let asked = Fixed {
        landmarks: Some(0),
        ..Fixed::default()
    };
    assert_eq!(plan(&small, asked).landmarks, 0);
}

#[test]
fn scarce_bytes_are_spent_on_more_points_of_fewer_bits() {
    let fixed = Fixed {
        contribute: Kinds::Points,
        ..Fixed::default()
    };
    assert_eq!(plan(&images(30_000, 10, 400), fixed).bits, 6);
    assert_eq!(plan(&images(900_000, 10, 160), fixed).bits, 8);
}

#[test]
fn points_fit_the_bytes_and_the_rows() {
    for uplink in [3_000, 20_000, 100_000, 1_000_000] {
        for devices in [1, 7, 100, 1_000] {
            for features in [2, 64, 784, 3_000] {
                let setting = images(uplink, devices, features);
                let found = plan(&setting, Fixed::default());
                let each = found.points_per_device as usize;
                assert!((1..=found.points_max as usize).contains(&each), "{found:?}");
                if each > POINTS_EACH_MIN {
                    let bytes = each as f64 * point_bytes(&setting, found.bits);
                    assert!(bytes <= uplink as f64, "{found:?}");
                    assert!(each * rows_a_point(5) <= 60_000 / devices, "{found:?}");
                }
            }
        }
    }
}
