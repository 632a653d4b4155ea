//! What a byte budget is best spent on: points, bits, rank and kinds of
//! contributions, from shapes and counts alone, each with its reason.

mod fleet;

use std::fmt;

use common::blocks::BLOCKS_MAX;
use common::landmarks::LANDMARKS_A_POINT;
use common::moments::factor_bits;

pub use self::fleet::planned_budget;

/// What a plan is made from. No value of any row is among it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Features of a row.
    pub features: usize,
    /// Classes.
    pub classes: usize,
    /// Devices.
    pub devices: usize,
    /// Rounds the points are spread over.
    pub rounds: u32,
    /// Rows of all devices.
    pub rows: usize,
    /// Directions of its rows that a device's policy lets moments tell.
    pub directions: usize,
    /// Rows that a point has to stand for by the device's policy.
    pub rows_a_point_min: usize,
    /// Whether inputs are lists of measurements, not images or windows.
    pub lists: bool,
    /// Whether devices send feature sums.
    pub learns_normaliser: bool,
    /// Whether they send block means beside them.
    pub learns_quantiles: bool,
    /// Parameters of the student that travels down.
    pub parameters: usize,
    /// Weights and biases of its last layer; none where that is not refined.
    pub last_layer: Option<usize>,
    /// Bytes a device may send in all rounds, everything counted.
    pub uplink_bytes: u64,
}

/// What the user fixed; the rest is planned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// Points of the transfer set in all.
    pub points: Option<u32>,
    /// Virtual rows of moments.
    pub rank: Option<u32>,
    /// Landmarks beside the points.
    pub landmarks: Option<u32>,
    /// Bits a value.
    pub bits: Option<u8>,
    /// What devices may contribute.
    pub contribute: Kinds,
}

/// What devices contribute beside their points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kinds {
    /// Nothing.
    Points,
    /// Soft labels.
    Labels,
    /// Moments.
    Moments,
    /// Labels and moments, or nothing where points are worth more.
    #[default]
    Both,
}

/// A plan and its reasons.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Points a device sends in a round.
    pub points_per_device: u32,
    /// Points of the transfer set.
    pub points_max: u32,
    /// Bits a value of points and moments.
    pub bits: u8,
    /// Virtual rows of a device's moments; 0 where none are sent.
    pub rank: u32,
    /// Most landmarks beside the points, on which moments stand as well.
    pub landmarks: u32,
    /// What devices contribute.
    pub contribute: Kinds,
    /// Most rounds that refine the student.
    pub refinement_steps: u32,
    /// Why so many points.
    pub points_reason: String,
    /// Why so many bits.
    pub bits_reason: String,
    /// Why this rank.
    pub rank_reason: String,
    /// Why so many landmarks.
    pub landmarks_reason: String,
    /// Why these contributions.
    pub contribute_reason: String,
    /// Why `refinement_steps` has this value.
    pub refinement_reason: String,
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Points => "points",
            Self::Labels => "labels",
            Self::Moments => "moments",
            Self::Both => "both",
        })
    }
}

impl Kinds {
    /// The kinds of this name; none for another text.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Points, Self::Labels, Self::Moments, Self::Both];
        all.into_iter().find(|kinds| kinds.to_string() == name)
    }
}

/// Plans what to spend the bytes on.
///
/// Points come first: up to one for [`rows_a_point`] of a device's rows. Where
/// all devices together can give [`POINTS_ENOUGH`], they are worth more than
/// kernel statistics on fewer, which cost the devices m³ operations besides.
/// So they are where a device's rows allow no more directions of moments than
/// it can send points, each of which is a direction with a label.
/// Otherwise what the points leave goes to moments. Values have 8 bits where
/// the points fit with them and 6 where a third more points are worth it.
pub fn plan(setting: &Setting, fixed: Fixed) -> Plan {
    let wide = points_alone(setting, fixed, fixed.bits.unwrap_or(8));
    let narrow = points_alone(setting, fixed, fixed.bits.unwrap_or(6));
    let alone = if wide.each * 10 >= narrow.each * 9 {
        wide
    } else {
        narrow
    };
    let everywhere = alone.each * setting.devices.max(1) * rounds(setting);
    let mut found = match fixed.contribute {
        Kinds::Points => alone_plan(setting, fixed, alone, "asked for".to_owned()),
        Kinds::Both if everywhere >= POINTS_ENOUGH => {
            let reason = format!(
                "{everywhere} points can be sent: from {POINTS_ENOUGH} on their classes say more \
                 for each byte than statistics on fewer"
            );
            alone_plan(setting, fixed, alone, reason)
        }
        Kinds::Both
            if alone.each * rounds(setting) >= setting.directions
                && !is_few_and_large(setting, everywhere) =>
        {
            let reason = format!(
                "a device's rows allow {} directions of moments (policy.rows_per_direction), no \
                 more than it can send points",
                setting.directions
            );
            alone_plan(setting, fixed, alone, reason)
        }
        kinds => with_contributions(setting, fixed, kinds).unwrap_or_else(|| {
            let reason = "the bytes that the points leave are too few for anything else";
            let kinds = Fixed {
                contribute: Kinds::Points,
                ..fixed
            };
            alone_plan(setting, kinds, alone, reason.to_owned())
        }),
    };
    (found.refinement_steps, found.refinement_reason) = refinement(setting, &found);
    found
}

/// Most steps that refine the student for which the plan leaves bytes, and why.
fn refinement(setting: &Setting, plan: &Plan) -> (u32, String) {
    let Some(numbers) = setting.last_layer else {
        return (0, "nothing that is asked for can be refined".to_owned());
    };
    let points = f64::from(plan.points_per_device) * point_bytes(setting, plan.bits);
    let support = (plan.points_max + plan.landmarks) as f64;
    let moments = WIRE * f64::from(plan.rank) * (support * f64::from(plan.bits) / 8.0 + 8.0);
    let left = spendable(setting) - points - moments;
    let step = WIRE * numbers as f64 + ACKNOWLEDGED * heard(setting) + STEP_BYTES;
    let afforded = (left / step).max(0.0) as u32;
    let reason = match afforded {
        0 => "the bytes that the plan leaves are too few for a step",
        few if few < REFINEMENT_STEPS => "what the bytes leave",
        _ => "devices' held-out rows say which step is the last",
    };
    (afforded.min(REFINEMENT_STEPS), reason.to_owned())
}

/// Whether devices are so few that all their points together tell little, and each has
/// rows enough to tell more directions than those of its classes.
fn is_few_and_large(setting: &Setting, everywhere: usize) -> bool {
    everywhere <= POINTS_TELLING && setting.directions >= setting.classes + RANK_SPARE
}

/// Points of one device in one round, and what bounds them.
#[derive(Clone, Copy, Debug)]
struct Points {
    each: usize,
    bits: u8,
    bound: &'static str,
}

fn points_alone(setting: &Setting, fixed: Fixed, bits: u8) -> Points {
    points_within(setting, fixed, bits, spendable(setting), POINTS_ALONE_MAX)
}

/// Where rows and nothing else keep points few, and nothing stands on them, they
/// stand for no more rows than they must.
fn closest(setting: &Setting, fixed: Fixed, points: Points) -> Points {
    if points.bound != BY_ROWS {
        return points;
    }
    let dense = Setting {
        rows: setting.rows * rows_a_point(setting.rows_a_point_min)
            / setting.rows_a_point_min.max(1),
        ..*setting
    };
    let found = points_alone(&dense, fixed, points.bits);
    Points {
        bound: if found.bound == BY_ROWS {
            "a point for the fewest rows that a device's policy lets one stand for"
        } else {
            found.bound
        },
        ..found
    }
}

/// As many points as `bytes`, the rows and the memory for `most` allow.
fn points_within(setting: &Setting, fixed: Fixed, bits: u8, bytes: f64, most: usize) -> Points {
    let senders = setting.devices.max(1) * rounds(setting);
    if let Some(points) = fixed.points {
        let each = (points as usize).div_ceil(senders).max(1);
        let bound = "asked for";
        return Points { each, bits, bound };
    }
    let by_bytes = (bytes / point_bytes(setting, bits)).max(0.0) as usize;
    let by_rows = setting.rows / senders / rows_a_point(setting.rows_a_point_min);
    let by_memory = most / senders;
    let bounds = [
        (by_bytes, "as many as the bytes allow"),
        (by_rows, BY_ROWS),
        (by_memory, "more would cost the coordinator too much time"),
    ];
    let least = bounds.into_iter().min_by_key(|(points, _)| *points);
    let (each, bound) = least.unwrap_or((1, ""));
    // Two classes a device are common; bytes go before that.
    let each = each.max(POINTS_EACH_MIN.min(by_bytes)).max(1);
    Points { each, bits, bound }
}

fn alone_plan(setting: &Setting, fixed: Fixed, points: Points, reason: String) -> Plan {
    let points = closest(setting, fixed, points);
    let senders = setting.devices.max(1) * rounds(setting);
    let most = fixed
        .points
        .map_or(POINTS_ALONE_MAX, |points| points as usize);
    Plan {
        points_per_device: points.each as u32,
        points_max: (points.each * senders).min(most.max(points.each)) as u32,
        bits: points.bits,
        rank: 0,
        contribute: Kinds::Points,
        points_reason: points.bound.to_owned(),
        bits_reason: bits_reason(fixed, points.bits),
        rank_reason: "no moments are sent".to_owned(),
        landmarks: 0,
        landmarks_reason: "no moments are sent".to_owned(),
        contribute_reason: reason,
        refinement_steps: 0,
        refinement_reason: String::new(),
    }
}

/// Points and what stands on them, if the bytes suffice for it.
fn with_contributions(setting: &Setting, fixed: Fixed, kinds: Kinds) -> Option<Plan> {
    let senders = setting.devices.max(1) * rounds(setting);
    let tries = fixed.bits.map_or(vec![FINE_BITS, 8, 6], |bits| vec![bits]);
    let mut last = None;
    for bits in tries {
        let share = 0.5 * spendable(setting);
        let points = points_within(setting, fixed, bits, share, POINTS_SHARED_MAX);
        // Beyond this the coordinator merges them.
        let most = fixed
            .points
            .map_or(POINTS_SHARED_MAX, |points| points as usize);
        let total = (points.each * senders).min(most.max(points.each));
        // Statistics hold every row: labels beside them would change nothing.
        let sent = match kinds {
            Kinds::Both => Kinds::Moments,
            kinds => kinds,
        };
        let labels = match sent {
            Kinds::Labels => (total * (setting.classes + 2)) as f64,
            _ => 0.0,
        };
        // The transfer set comes down, and its packets are acknowledged.
        let heard = ACKNOWLEDGED * total as f64 * (setting.features + 13) as f64;
        let spent = points.each as f64 * point_bytes(setting, bits) + WIRE * labels + heard;
        let left = spendable(setting) - spent - total as f64;
        let (landmarks, landmarks_reason) = match (kinds, fixed.landmarks) {
            (Kinds::Labels, _) => (0, "no moments are sent"),
            (_, Some(asked)) => (asked as usize, "asked for"),
            _ => landmarks_beside(setting, &points, total, bits, left),
        };
        // Long virtual rows of few rows are worth finer numbers, if all fit.
        let most = landmarks_max(total);
        if bits == FINE_BITS && fixed.bits.is_none() && (landmarks == 0 || landmarks < most) {
            continue;
        }
        let support = total + landmarks.min(LANDMARKS_A_POINT * total);
        // What virtual rows leave takes a byte of each.
        let left = left - (support - total) as f64;
        let affordable = affordable_rank(setting, support, bits, left);
        let rank = match kinds {
            Kinds::Labels => 0,
            _ => affordable.min(RANK_MAX).min(support),
        };
        let enough = kinds == Kinds::Labels && left > 0.0
            || rank >= (setting.classes + RANK_SPARE).min(total)
            || fixed.rank.is_some();
        last = Some(Plan {
            points_per_device: points.each as u32,
            points_max: total as u32,
            bits,
            rank: fixed.rank.unwrap_or(rank as u32),
            landmarks: landmarks as u32,
            landmarks_reason: landmarks_reason.to_owned(),
            contribute: sent,
            points_reason: points.bound.to_owned(),
            bits_reason: bits_reason(fixed, bits),
            rank_reason: match (fixed.rank, rank) {
                (Some(_), _) => "asked for".to_owned(),
                (_, RANK_MAX) => "more would add next to nothing".to_owned(),
                _ => "what the bytes leave beside the points".to_owned(),
            },
            contribute_reason: match kinds {
                Kinds::Both => "there are few points, and statistics on them hold every row",
                _ => "asked for",
            }
            .to_owned(),
            refinement_steps: 0,
            refinement_reason: String::new(),
        });
        if enough {
            return last;
        }
    }
    last.filter(|_| kinds != Kinds::Both)
}

/// Landmarks beside this many points for which the bytes suffice: as many as the
/// solver bears, unless virtual rows that long were fewer than a device's rows
/// fill.
fn landmarks_beside(
    setting: &Setting,
    found: &Points,
    points: usize,
    bits: u8,
    bytes: f64,
) -> (usize, &'static str) {
    let most = landmarks_max(points);
    if !setting.lists && (found.bound != BY_ROWS || points > POINTS_FEW) {
        return (0, "landmarks tell little beside so many images or windows");
    }
    if most == 0 {
        return (0, "there are as many points as the solver bears");
    }
    let filled = ROWS_OF_MANY * setting.rows / setting.devices.max(1);
    let halves = std::iter::successors(Some(most), |count| Some(count / 2));
    for landmarks in halves.take_while(|landmarks| 4 * landmarks >= points) {
        let support = points + landmarks;
        let wanted = filled.min(support).min(RANK_MAX);
        let bytes = bytes - landmarks as f64;
        if affordable_rank(setting, support, bits, bytes) >= wanted {
            let reason = "points are few, and the bytes suffice for statistics on more";
            return (landmarks, reason);
        }
    }
    (0, "the bytes suffice for statistics on the points")
}

/// Landmarks beside this many points that the solver bears.
fn landmarks_max(points: usize) -> usize {
    let room = POINTS_SHARED_MAX.saturating_sub(points);
    room.min(LANDMARKS_A_POINT * points)
}

fn bits_reason(fixed: Fixed, bits: u8) -> String {
    match (fixed.bits, bits) {
        (Some(_), _) => "asked for",
        (None, FINE_BITS) => "the bytes suffice for finer statistics on landmarks",
        (None, 8) => "the bytes suffice",
        _ => "a third more points are worth more than two more bits",
    }
    .to_owned()
}

/// Virtual rows on this many points that fit into this many bytes. Those of the
/// labels have more bits than the others.
fn affordable_rank(setting: &Setting, points: usize, bits: u8, bytes: f64) -> usize {
    let row = |bits: u8| WIRE * (points as f64 * f64::from(bits) / 8.0 + 8.0);
    let carried = setting.classes.min(points) as f64;
    let others = bytes - carried * row(bits);
    if others > 0.0 {
        (carried + others / row(factor_bits(bits))) as usize
    } else {
        (bytes / row(bits)).max(0.0) as usize
    }
}

/// Bytes of one round for points and what stands on them.
fn spendable(setting: &Setting) -> f64 {
    let profile = match (setting.learns_normaliser, setting.learns_quantiles) {
        (false, _) => 0,
        (true, false) => 8 * setting.features,
        (true, true) => (12 + 2 * BLOCKS_MAX) * setting.features,
    };
    let once = WIRE * (profile + 2 * setting.classes) as f64;
    let each = (setting.uplink_bytes as f64 * SAFE - once) / rounds(setting) as f64;
    each - ROUND_BYTES - ACKNOWLEDGED * heard(setting)
}

/// Bytes of a release that comes down.
fn heard(setting: &Setting) -> f64 {
    (setting.parameters * WEIGHT_BYTES + 16 * setting.features + 24 * setting.devices) as f64
}

/// Bytes of one point on the wire: values, the scale of its row, class, count
/// and spread.
fn point_bytes(setting: &Setting, bits: u8) -> f64 {
    WIRE * ((setting.features * usize::from(bits)).div_ceil(8) as f64 + 14.0)
}

fn rounds(setting: &Setting) -> usize {
    setting.rounds.max(1) as usize
}

/// Why a device sends no more points where its rows are few.
const BY_ROWS: &str = "as many as the rows of a device allow";
/// Points in all up to which devices with many rows rather tell moments: of spoken
/// digits on four devices 148 points alone gave 85.5 %, moments on them and on landmarks
/// 97.5.
const POINTS_TELLING: usize = 200;
/// Most points beside which images and windows take landmarks. On five devices
/// students of 50, 100 and 200 windows of movement answered 0.8, 1.3 and 0.1 %
/// more for them, of 50, 100 and 200 digits of 28 × 28 2.0, 0.5 and -0.3, of 65
/// and 130 digits of 8 × 8 0.3 and -0.7.
const POINTS_FEW: usize = 150;
/// Rows that a point should stand for where it may stand for `least`: a fifth
/// more, so that clusters need not be forced.
///
/// Where points go alone, and nothing but rows keeps them few, they stand for
/// the fewest: they hold what a device knows (letters of 12,000 rows on ten
/// devices 91.4 and 91.8 % with a point for five, 90.7 and 91.4 for six).
/// Statistics hold every row, and gain nothing by it.
pub fn rows_a_point(least: usize) -> usize {
    (least + least / 5).max(1)
}

/// Points in all from which on they are worth more by themselves.
pub const POINTS_ENOUGH: usize = 1_500;
/// Most points of a teacher solved from points: m³/3 and the student's
/// 150,000 questions stay within two minutes.
const POINTS_ALONE_MAX: usize = 5_000;
/// Most points where devices send statistics on them: 9m³ operations each.
const POINTS_SHARED_MAX: usize = 600;
/// Fewest points a device is asked for, where the bytes suffice for them.
const POINTS_EACH_MIN: usize = 2;
/// Bits where statistics on landmarks leave bytes: small fleets of vowels 84.1 %
/// with 8 and 86.4 % with 12.
const FINE_BITS: u8 = 12;
/// A device that has many rows has this many times the mean.
const ROWS_OF_MANY: usize = 3;
/// Virtual rows beyond these hold less than their rounding.
const RANK_MAX: usize = 200;
/// Virtual rows beside those of the labels without which moments say little.
const RANK_SPARE: usize = 8;
/// Share of the budget that is planned; counts and scales vary a little.
const SAFE: f64 = 0.985;
/// Packets and their frames, for each byte of a message.
const WIRE: f64 = 1.035;
/// Bytes that acknowledge one byte that comes down.
const ACKNOWLEDGED: f64 = 0.0165;
/// What a round's greetings, offers and report cost a device.
const ROUND_BYTES: f64 = 1_900.0;
/// The same of a round that refines.
const STEP_BYTES: f64 = 1_200.0;
/// Most steps that are planned: of fifteen tables, most gained by the first three.
const REFINEMENT_STEPS: u32 = 4;
/// Bytes of a weight that comes down.
const WEIGHT_BYTES: usize = 1;

#[cfg(test)]
mod tests;
