//! Contributions that no data makes, and the reason each has to be refused
//! with.

use common::labels::Labels;
use common::limits::ROWS_MAX;
use common::moments::RawMoments;
use common::profile::{RawFeatureMoments, RawProfile};
use common::round::{Kind, Reason};
use common::summary::{Points, RawPoints};
use common::task::Task;
use common::wire::codec::encode;
use ndarray::Array2;

/// One lie.
pub struct Lie {
    /// What is wrong with it.
    pub what: &'static str,
    /// What it says it is.
    pub kind: Kind,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Why it is refused.
    pub reason: Reason,
}

/// Rows that a device may be believed to hold.
const ROWS: u64 = 200;
/// More than any device is believed to hold.
const TOO_MANY_ROWS: u64 = 1_000_000_000;

/// A profile that fits the task and says little.
pub fn profile(task: &Task) -> RawProfile {
    let features = task.stage_features();
    let moments = RawFeatureMoments {
        mean: vec![0.5; features],
        variance: vec![1.0; features],
    };
    RawProfile {
        rows: ROWS,
        class_counts: vec![ROWS / task.classes() as u64; task.classes()],
        moments: task.learns_normaliser().then_some(moments),
    }
}

/// Profiles that are not valid.
pub fn profiles(task: &Task) -> Vec<Lie> {
    let lie = |what, reason, change: &dyn Fn(&mut RawProfile)| {
        let mut raw = profile(task);
        change(&mut raw);
        lie(what, Kind::Profile, encode(&raw), reason)
    };
    let mut lies = vec![
        lie("a thousand million rows", Reason::OutOfBounds, &|raw| {
            raw.rows = TOO_MANY_ROWS;
        }),
        lie("more labels than rows", Reason::OutOfBounds, &|raw| {
            raw.class_counts[0] = u64::MAX;
        }),
        lie("a class too few", Reason::WrongShape, &|raw| {
            raw.class_counts.pop();
        }),
        bomb(Kind::Profile),
    ];
    if task.learns_normaliser() {
        let moments = |raw: &mut RawProfile, mean: f32| {
            raw.moments.as_mut().unwrap().mean[0] = mean;
        };
        lies.push(lie(
            "a mean that is not a number",
            Reason::NotFinite,
            &|raw| {
                moments(raw, f32::NAN);
            },
        ));
        lies.push(lie(
            "a mean beyond all scales",
            Reason::OutOfBounds,
            &|raw| {
                moments(raw, 3e38);
            },
        ));
    }
    lies
}

/// Points that are not valid.
pub fn summaries(task: &Task) -> Vec<Lie> {
    let at = |value: f32, features: usize| Points {
        inputs: Array2::from_elem((1, features), value),
        classes: vec![0],
        counts: vec![ROWS as u32],
        spreads: vec![0.1],
        targets: None,
    };
    let features = task.features();
    let lie = |what, reason, points: Points, change: &dyn Fn(&mut RawPoints)| {
        let mut raw = points.to_raw(8).unwrap();
        change(&mut raw);
        lie(what, Kind::Summary, encode(&raw), reason)
    };
    vec![
        lie(
            "far outside the clip",
            Reason::OutOfBounds,
            at(1e6, features),
            &|_| {},
        ),
        lie(
            "a feature too few",
            Reason::WrongShape,
            at(0.5, features - 1),
            &|_| {},
        ),
        lie(
            "a thousand million rows",
            Reason::OutOfBounds,
            at(0.5, features),
            &|raw| {
                raw.counts[0] = TOO_MANY_ROWS as u32;
            },
        ),
        lie(
            "an unknown class",
            Reason::OutOfBounds,
            at(0.5, features),
            &|raw| {
                raw.classes[0] = u16::MAX;
            },
        ),
        lie(
            "not a number",
            Reason::NotFinite,
            at(0.5, features),
            &|raw| {
                raw.inputs.scales[0] = f32::NAN;
            },
        ),
        bomb(Kind::Summary),
    ]
}

/// Labels and moments on a transfer set of this many points that are not valid.
pub fn on_support(task: &Task, points: usize) -> Vec<Lie> {
    let (classes, mut lies) = (task.classes(), Vec::new());
    let labels = |points: usize| {
        let labels = Labels {
            rows: ROWS,
            class_counts: vec![1; classes],
            probabilities: Array2::from_elem((points, classes), 1.0 / classes as f32),
            nearness: vec![1.0; points],
        };
        labels.to_raw(8).unwrap()
    };
    let mut push = |what, kind, bytes, reason| lies.push(lie(what, kind, bytes, reason));
    let mut off = labels(points);
    off.probabilities.packed.fill(0xff);
    push(
        "labels off the simplex",
        Kind::Labels,
        encode(&off),
        Reason::Malformed,
    );
    let few = labels(points - 1);
    push(
        "a point too few",
        Kind::Labels,
        encode(&few),
        Reason::WrongShape,
    );
    let huge = encode(&moments(points, classes, ROWS, 1e6));
    push(
        "a trace beyond its rows",
        Kind::Moments,
        huge,
        Reason::OutOfBounds,
    );
    let nan = encode(&moments(points, classes, ROWS, f32::NAN));
    push("not a number", Kind::Moments, nan, Reason::NotFinite);
    let many = encode(&moments(points, classes, TOO_MANY_ROWS, 1.0));
    push(
        "a thousand million rows",
        Kind::Moments,
        many,
        Reason::OutOfBounds,
    );
    let all = encode(&moments(points, classes, ROWS_MAX + 1, 1.0));
    push(
        "more rows than there are",
        Kind::Moments,
        all,
        Reason::OutOfBounds,
    );
    lies
}

/// Moments of one virtual row whose every entry is `scale`.
fn moments(points: usize, classes: usize, rows: u64, scale: f32) -> RawMoments {
    use common::math::quantise::{Layout, QuantisedMatrix, Scheme};
    let matrix = |rows: usize, columns: usize, value: f32| {
        let values = Array2::from_elem((rows, columns), value);
        let encoded = QuantisedMatrix::encode(values.view(), 8, Layout::Row, Scheme::Symmetric);
        encoded.unwrap().into_raw()
    };
    let mut raw = RawMoments {
        rows,
        target_square: 1.0,
        carried: matrix(1, points, 1.0),
        targets: matrix(1, classes, 0.0),
        factor: matrix(0, points, 0.0),
        remainder: 0.0,
    };
    for one in &mut raw.carried.scales {
        *one *= scale;
    }
    raw
}

/// A few bytes that declare a list of more entries than there are bytes in
/// the world.
fn bomb(kind: Kind) -> Lie {
    let mut bytes = vec![0xfd];
    bytes.extend_from_slice(&(1u64 << 60).to_le_bytes());
    let bytes = bytes.repeat(4);
    lie("a list of 2^60 entries", kind, bytes, Reason::Malformed)
}

fn lie(what: &'static str, kind: Kind, bytes: Vec<u8>, reason: Reason) -> Lie {
    Lie {
        what,
        kind,
        bytes,
        reason,
    }
}
