#![allow(clippy::unwrap_used)]
use super::*;
use crate::simulation::RoundResult;
use common::model::Lineage;
use common::task::{RawTask, Task};

fn options() -> SimulateOptions {
    SimulateOptions {
        partition: Some(Partition::Iid),
        agents: 3,
        rounds: 1,
        points: Some(60),
        bits: None,
        student: Some(StudentSpec::Mlp { hidden: vec![16] }),
        features: None,
        contribute: Kinds::Moments,
        consensus: ConsensusRule::Weighted,
        liars: 0.0,
        uplink_bytes_max: 100_000,
        rank_max: Some(20),
        landmarks: None,
        steps: 200,
        refinement_steps: Some(0),
        rows_min: None,
        // What is tried here is not what few rows may tell.
        rows_per_direction: Some(2),
        protection: None,
        novelty: false,
        leave_out: None,
        cluster_size_min: None,
        no_baselines: true,
        federated_rounds: None,
        labels: labelling::Asked::default(),
        project: false,
        standing: None,
        detail: false,
    }
}

/// Everything is chosen from what was transmitted: whatever can be
/// chosen, in each of these.
#[test]
fn corrupt_test_labels_give_the_same_student_bit_for_bit() {
    let data = Dataset::open("digits").unwrap();
    let mut corrupt = data.clone();
    for label in &mut corrupt.test.labels {
        *label = (*label + 3) % 10;
    }
    let planned = SimulateOptions {
        points: None,
        rank_max: None,
        landmarks: None,
        student: None,
        contribute: Kinds::Both,
        uplink_bytes_max: 30_000,
        ..options()
    };
    let convolving = SimulateOptions {
        student: Some(StudentSpec::Cnn {
            channels: vec![4],
            hidden: vec![8],
        }),
        features: Some("auto".to_owned()),
        ..planned.clone()
    };
    let labelled = SimulateOptions {
        rounds: 2,
        contribute: Kinds::Labels,
        consensus: ConsensusRule::Median,
        liars: 0.3,
        ..options()
    };
    for asked in [options(), planned, convolving, labelled] {
        let mut progress = Progress::new(true);
        let one = run(&data, &asked, 5, &mut progress).unwrap();
        let other = run(&corrupt, &asked, 5, &mut progress).unwrap();
        assert_eq!(one.release.as_raw(), other.release.as_raw(), "{asked:?}");
        assert_eq!(one.outcome["choices"], other.outcome["choices"]);
        let right = |found: &SimulateResult| {
            let last = found.outcome["rounds"]
                .as_array()
                .unwrap()
                .last()
                .unwrap()
                .clone();
            last["student_accuracy"].as_f64().unwrap()
        };
        assert!(right(&one) > right(&other), "the labels did change");
    }
}

#[test]
fn lying_labels_are_left_out_whatever_the_consensus() {
    let data = Dataset::open("digits").unwrap();
    let right = |consensus, liars| {
        let asked = SimulateOptions {
            agents: 10,
            contribute: Kinds::Labels,
            steps: 600,
            consensus,
            liars,
            ..options()
        };
        let found = run(&data, &asked, 2, &mut Progress::new(true)).unwrap();
        found.outcome["rounds"][0]["student_accuracy"]
            .as_f64()
            .unwrap()
    };
    let honest = right(ConsensusRule::Weighted, 0.0);
    assert!(honest > 0.8, "{honest}");
    for consensus in [ConsensusRule::Weighted, ConsensusRule::Median] {
        let borne = right(consensus, 0.2);
        assert!(borne > honest - 0.05, "{borne} against {honest}");
    }
}

#[test]
fn devices_of_one_class_each_make_one_student_of_all() {
    let data = Dataset::open("digits").unwrap();
    let options = SimulateOptions {
        partition: Some(Partition::Shards(1)),
        agents: 10,
        steps: 1_000,
        ..options()
    };
    let mut progress = Progress::new(true);
    let found = run(&data, &options, 3, &mut progress).unwrap();
    let right = &found.outcome["rounds"][0]["student_accuracy"];
    assert!(right.as_f64().unwrap() > 0.85, "{right}");
}

/// Sixteen units trained for few steps leave the labels of true rows much to say.
#[test]
fn a_student_is_refined_by_its_devices_and_they_pay_for_it() {
    let data = Dataset::open("digits").unwrap();
    let mut progress = Progress::new(true);
    let mut outcome = |steps: u32| {
        let options = SimulateOptions {
            refinement_steps: Some(steps),
            partition: Some(Partition::Dirichlet(0.5)),
            ..options()
        };
        let found = run(&data, &options, 0, &mut progress).unwrap();
        assert!(found.release.refined() <= steps);
        found.outcome["rounds"][0].clone()
    };
    let (plain, refined) = (outcome(0), outcome(2));
    let number = |of: &Value| of.as_f64().unwrap();
    let by_step: Vec<f64> = { refined["accuracy_by_refinement"].as_array().unwrap() }
        .iter()
        .map(number)
        .collect();
    assert!(plain.get("accuracy_by_refinement").is_none());
    // The last may be one that was taken back.
    assert!((2..=4).contains(&by_step.len()), "{by_step:?}");
    let last = by_step[by_step.len() - 1];
    assert_eq!(by_step[0], number(&plain["student_accuracy"]));
    assert_eq!(last, number(&refined["student_accuracy"]));
    assert!(last > by_step[0] + 0.01, "{by_step:?}");
    let up = |of: &Value| number(&of["uplink_bytes_mean"]);
    // Two gradients of 10 classes and 17 numbers, with what frames them.
    assert!((340.0..4_000.0).contains(&(up(&refined) - up(&plain))));
}

/// All of them come within two days, for two minutes each, and are in the last student.
#[test]
fn devices_that_sleep_make_a_student_of_all() {
    let data = Dataset::open("digits").unwrap();
    let day = 86_400_000;
    let options = SimulateOptions {
        partition: Some(Partition::Iid),
        agents: 12,
        steps: 500,
        contribute: Kinds::Points,
        standing: Some(Standing {
            awake_ms: 120_000,
            period_ms: day,
            periods: 3,
        }),
        ..options()
    };
    let mut progress = Progress::new(true);
    let told = |progress: &mut Progress| {
        let found = run(&data, &options, 3, progress).unwrap();
        found.outcome["standing"].clone()
    };
    let standing = told(&mut progress);
    let students = standing["students"].as_array().unwrap();
    let last = students.last().unwrap();
    assert!(students.len() > 1 && last["devices"] == 12, "{standing}");
    assert!(
        last["student_accuracy"].as_f64().unwrap() > 0.8,
        "{standing}"
    );
    // Hello, task, normaliser, offer, bytes; the two that are fetched are kept.
    assert_eq!(standing["round_trips_median"], 3, "{standing}");
    assert_eq!(told(&mut progress), standing);
}

/// Nothing is told of the few, and the others go on.
#[test]
fn devices_with_too_few_rows_are_done_without() {
    let mut data = Dataset::open("digits").unwrap();
    let rows = data.train.labels.len();
    // The first device has three rows, fewer than any cluster may have,
    // and the second one class of three.
    let owner = |row: usize| match row {
        0..3 => 0,
        3..203 => 1,
        _ => 2 + row as u32 % 3,
    };
    let train = std::sync::Arc::make_mut(&mut data.train);
    train.users = Some((0..rows).map(owner).collect());
    let options = SimulateOptions {
        partition: Some(Partition::Natural),
        steps: 1_000,
        detail: true,
        ..options()
    };
    let mut progress = Progress::new(true);
    let found = run(&data, &options, 3, &mut progress).unwrap();
    let lineage = &found.release.as_raw().lineage;
    assert!(matches!(lineage, Lineage::Named(devices) if devices.len() == 4));
    let right = &found.outcome["rounds"][0]["student_accuracy"];
    assert!(right.as_f64().unwrap() > 0.85, "{right}");
}

/// The figures are in `docs/results.md`; this guards their order.
#[test]
fn eight_bits_lose_next_to_nothing_against_sixteen() {
    let data = Dataset::open("digits").unwrap();
    let mut progress = Progress::new(true);
    let mut right = |bits: u8| -> f64 {
        let options = SimulateOptions {
            partition: Some(Partition::Dirichlet(0.1)),
            agents: 10,
            points: Some(200),
            rank_max: Some(64),
            uplink_bytes_max: 400_000,
            bits: Some(bits),
            steps: 1_000,
            ..options()
        };
        let seeds = 0..4;
        let many = seeds.end as f64;
        let of = |seed| {
            let found = run(&data, &options, seed, &mut progress).unwrap();
            found.outcome["rounds"][0]["student_accuracy"].as_f64()
        };
        seeds.map(of).map(Option::unwrap).sum::<f64>() / many
    };
    let (eight, sixteen) = (right(8), right(16));
    assert!(eight > sixteen - 0.005, "{eight} against {sixteen}");
    assert!(sixteen > 0.95, "{sixteen}");
}

#[test]
fn forgetting_a_device_is_exact() {
    let data = Dataset::open("digits").unwrap();
    let options = SimulateOptions {
        partition: Some(Partition::Dirichlet(0.5)),
        agents: 5,
        contribute: Kinds::Both,
        rows_min: Some(2),
        ..options()
    };
    let parts = partition(&data.train, 10, Partition::Dirichlet(0.5), 5, 2).unwrap();
    let (task, _) = checked_task(&data, &options, &parts, None, 2).unwrap();
    forgets_exactly(&data, &task, &parts, &options);
}

#[test]
fn forgetting_takes_a_device_out_of_a_projection() {
    let data = Dataset::open("digits").unwrap();
    let names: Vec<String> = data
        .classes
        .iter()
        .map(|name| format!("{name:?}"))
        .collect();
    // What devices hold stands for what a model made of it.
    let text = format!(
        "name = \"t\"\ncontribute = \"both\"\n[input]\nshape = [8, 8]\n[classes]\nnames = [{}]\n\
         [features]\nstage = \"onnx\"\nmodel = \"{}\"\nwidth = 64\nbytes = 9\ndirections = 12\n\
         learn_directions = true\n[student]\nhidden = [16]\n[budget]\npoints_per_device = 12\n\
         points_max = 60\n[distillation]\nsteps = 200\n",
        names.join(", "),
        "ab".repeat(32),
    );
    let task = RawTask::parse(&text).unwrap();
    let options = SimulateOptions {
        rows_min: Some(2),
        ..options()
    };
    let parts = partition(&data.train, 10, Partition::Dirichlet(0.5), 5, 2).unwrap();
    forgets_exactly(&data, &task, &parts, &options);
}

/// After two rounds with everyone, the last device is forgotten; another
/// fleet never had it.
fn forgets_exactly(data: &Dataset, task: &Task, parts: &[Vec<usize>], options: &SimulateOptions) {
    let fleet = |parts: &[Vec<usize>]| {
        let (privacy, _) = privacy::choose(
            (data.train.inputs.view(), &data.train.labels),
            parts,
            options.privacy(),
        );
        let train = data.train.clone();
        let mut fleet = Simulation::new(task.clone(), train, parts.to_vec(), privacy, 2).unwrap();
        fleet.connect().unwrap();
        fleet
    };
    let mut whole = fleet(parts);
    let with = whole.round().unwrap();
    whole.round().unwrap();
    whole.forget(4);
    let after = whole.round().unwrap();
    let without = fleet(&parts[..4]).round().unwrap();
    let raw = |result: &RoundResult| result.release.as_raw().clone();
    assert_eq!(raw(&after).weights, raw(&without).weights, "bit for bit");
    assert_eq!(raw(&after).normaliser, raw(&without).normaliser);
    assert_eq!(raw(&after).lineage, raw(&without).lineage);
    assert_eq!(after.teacher, without.teacher, "so are the teachers");
    assert_ne!(raw(&after).weights, raw(&with).weights);
}

/// The figures are in `docs/privacy.md`; this guards that they come from noise,
/// and that everything but samples and row counts stays at home.
#[test]
fn smaller_epsilon_costs_accuracy() {
    let data = Dataset::open("digits").unwrap();
    let right = |epsilon: f64| {
        let options = SimulateOptions {
            contribute: Kinds::Both,
            points: None,
            rank_max: None,
            steps: 500,
            protection: Some(Asked {
                budget: edge_agent::policy::Budget::once(epsilon, 1e-5),
                pilots: None,
            }),
            ..options()
        };
        let found = run(&data, &options, 1, &mut Progress::new(true)).unwrap();
        let privacy = &found.outcome["privacy"];
        assert_eq!(privacy["devices_protected"], 3, "{privacy}");
        let up = found.outcome["rounds"][0]["uplink_bytes_max"]
            .as_f64()
            .unwrap();
        // One sample a class and device, and what a session takes.
        assert!(up < 4_000.0, "{up}");
        found.outcome["rounds"][0]["student_accuracy"]
            .as_f64()
            .unwrap()
    };
    let (much, little) = (right(8.0), right(0.3));
    assert!(much > 0.8, "{much}");
    assert!(little < much - 0.05, "{little} against {much}");
}

/// A series of 80 steps whose class is where a bump is, or how fast it swings.
fn series_of(swings: bool) -> Dataset {
    use common::math::random::rng;
    use rand::Rng;
    let mut random = rng(9, "series");
    let mut part = |rows: usize| {
        let labels: Vec<u16> = (0..rows).map(|row| (row % 4) as u16).collect();
        let mut inputs = ndarray::Array2::zeros((rows, 80));
        for (mut input, &label) in inputs.rows_mut().into_iter().zip(&labels) {
            let phase: f32 = random.random_range(0.0..6.2);
            let at = 13.0 + 18.0 * f32::from(label) + random.random_range(-2.0..2.0);
            for (step, value) in input.iter_mut().enumerate() {
                let step = step as f32;
                let noise: f32 = random.random_range(-0.5..0.5);
                *value = noise
                    + match swings {
                        true => (phase + 0.2 * (2.0 + f32::from(label)) * step).sin(),
                        false => (-((step - at) / 4.0).powi(2)).exp(),
                    };
            }
        }
        crate::data::Part {
            inputs,
            labels,
            numbers: None,
            users: None,
            groups: None,
        }
    };
    let (train, test) = (part(600), part(200));
    Dataset {
        name: "series".to_owned(),
        shape: vec![80, 1],
        classes: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
        range: None,
        train: std::sync::Arc::new(train),
        test,
        ..Dataset::open("digits").unwrap()
    }
}

#[test]
fn devices_mend_a_stage_that_the_shape_gets_wrong() {
    let data = series_of(false);
    let accuracy = |features: Option<&str>| {
        let asked = SimulateOptions {
            features: features.map(str::to_owned),
            ..options()
        };
        let found = run(&data, &asked, 1, &mut Progress::new(true)).unwrap();
        let right = found.outcome["rounds"][0]["student_accuracy"].as_f64();
        (right.unwrap(), found.outcome["choices"].clone())
    };
    let (by_shape, asked) = accuracy(Some("window"));
    let (by_devices, chosen) = accuracy(None);
    assert!(
        by_shape < 0.7 && by_devices > 0.9,
        "{by_shape}, {by_devices}"
    );
    assert!(asked.get("features_by_devices").is_none());
    let told = &chosen["features_by_devices"];
    assert_eq!(told["devices"], 3);
    assert_eq!(told["candidates"][0]["stage"], "window/1");
    assert_ne!(chosen["features"]["value"], "window/1");
    assert_eq!(told["value"], chosen["features"]["value"]);
    assert_eq!(told["reason"], chosen["features"]["reason"]);
}

#[test]
fn devices_keep_a_stage_that_suits() {
    let data = series_of(true);
    let found = run(&data, &options(), 1, &mut Progress::new(true)).unwrap();
    let choices = &found.outcome["choices"];
    assert_eq!(choices["features"]["value"], "window/1");
    assert_eq!(choices["features_by_devices"]["value"], "window/1");
    let reason = choices["features"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("a long series"), "{reason}");
}

#[test]
fn devices_of_one_class_leave_the_default() {
    let data = series_of(false);
    let parts = (0..4).map(|class| (class..600).step_by(4).collect());
    let parts: Vec<Vec<usize>> = parts.collect();
    let (privacy, _) = privacy::choose(
        (data.train.inputs.view(), &data.train.labels),
        &parts,
        options().privacy(),
    );
    let mut progress = Progress::new(true);
    let held = (parts.as_slice(), privacy);
    let chosen = chosen_stage(&data, &options(), held, 1, &mut progress).unwrap();
    let chosen = chosen.unwrap();
    assert_eq!(chosen.other(), None);
    assert_eq!(
        (chosen.sent_max(), chosen.told()["devices"].clone()),
        (0, json!(0))
    );
}
