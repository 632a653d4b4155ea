#![allow(clippy::unwrap_used)]
use super::*;
use crate::data::Partition;
use common::task::StudentSpec;
use coordinator::budget::Kinds;

fn options(attack: &str) -> AttackOptions {
    AttackOptions {
        attack: Attack::named(attack).unwrap(),
        simulate: SimulateOptions {
            partition: Some(Partition::Iid),
            agents: 5,
            points: Some(60),
            student: Some(StudentSpec::Mlp { hidden: vec![16] }),
            rank_max: Some(60),
            contribute: Kinds::Moments,
            steps: 600,
            ..SimulateOptions::default()
        },
        rows: None,
        liars: None,
        claim: None,
        from_round: None,
        factor: None,
        from_class: None,
        to_class: None,
        victims: None,
    }
}

fn found(options: &AttackOptions) -> Finding {
    let data = Dataset::open("digits").unwrap();
    run(&data, options, 1, &mut Progress::new(true)).unwrap()
}

#[test]
fn attacks_have_names_of_their_own() {
    let names: BTreeSet<&str> = ATTACKS.iter().map(|attack| attack.name).collect();
    assert_eq!(names.len(), ATTACKS.len());
    assert!(Attack::named("kindness").is_none());
}

#[test]
fn options_without_a_use_are_refused() {
    let refused = |asked: AttackOptions, option: &str| match asked.check() {
        Err(AttackError::Option { option: named, .. }) => assert_eq!(named, option),
        other => panic!("{option}: {other:?}"),
    };
    let asked = |attack: &str| options(attack);
    let mut one = asked("membership");
    one.liars = Some(0.2);
    refused(one, "--liars");
    let mut one = asked("membership");
    one.claim = Some(Claim::Times(5.0));
    refused(one, "--claim");
    let mut one = asked("shift");
    one.from_round = Some(2);
    refused(one, "--from-round");
    let mut one = asked("shift");
    one.liars = Some(0.0);
    refused(one, "--liars");
    let mut one = asked("shift");
    one.factor = Some(2.0);
    refused(one, "--factor");
    let mut one = asked("flip");
    one.from_class = Some("0".to_owned());
    refused(one, "--from-class");
    let mut one = asked("flip");
    one.to_class = Some("0".to_owned());
    refused(one, "--to-class");
    let mut one = asked("flip");
    one.victims = Some(1);
    refused(one, "--victims");
}

#[test]
fn an_unknown_class_is_named_with_those_there_are() {
    let mut asked = options("backdoor");
    asked.to_class = Some("eleven".to_owned());
    let data = Dataset::open("digits").unwrap();
    let error = run(&data, &asked, 1, &mut Progress::new(true)).unwrap_err();
    assert!(
        matches!(
            &error,
            AttackError::Option {
                option: "--to-class",
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains(&data.classes[3]), "{error}");
}

/// Every lie reaches the coordinator: the student is another one than that of
/// the honest fleet.
#[test]
fn every_lie_changes_the_student() {
    let data = Dataset::open("digits").unwrap();
    let mut honest = None;
    for attack in ATTACKS {
        // Bytes have neither a profile's means nor units.
        if ["profile", "units"].contains(&attack.name) {
            continue;
        }
        let mut asked = options(attack.name);
        asked.simulate.steps = 100;
        let scene = Scene {
            data: &data,
            options: &asked,
            seed: 1,
        };
        let released = |lie: Option<Box<dyn Lie>>| {
            let mut fleet = fleet::Fleet::of(&scene, fleet::parts(&scene).unwrap(), 1).unwrap();
            if let Some(lie) = lie {
                fleet.simulation.lie(liars(5, 0.4, 1), 1, lie);
            }
            let ran = fleet.run(&scene, &mut Progress::new(true)).unwrap();
            ran.release.map(|release| release.as_raw().weights.clone())
        };
        let Kind::Lying(plot) = attack.kind else {
            continue;
        };
        let honest = honest.get_or_insert_with(|| released(None).unwrap());
        let lied = released(Some(plot(&scene).unwrap().lie));
        assert_ne!(lied.as_ref(), Some(&*honest), "{}", attack.name);
    }
}

#[test]
fn a_later_lie_leaves_the_first_round_alone() {
    let data = Dataset::open("digits").unwrap();
    let mut asked = options("shift");
    asked.simulate.rounds = 2;
    asked.simulate.steps = 100;
    let scene = Scene {
        data: &data,
        options: &asked,
        seed: 1,
    };
    let Kind::Lying(plot) = asked.attack.kind else {
        panic!("devices lie in it")
    };
    let mut fleets: Vec<_> = (0..2)
        .map(|_| fleet::Fleet::of(&scene, fleet::parts(&scene).unwrap(), 1).unwrap())
        .map(|fleet| fleet.simulation)
        .collect();
    let lie = plot(&scene).unwrap().lie;
    fleets[1].lie(liars(5, 0.4, 1), 2, lie);
    for round in 1..=2 {
        let released: Vec<_> = { fleets.iter_mut() }
            .map(|fleet| {
                if round == 1 {
                    fleet.connect().unwrap();
                }
                fleet.round().unwrap().release.as_raw().weights.clone()
            })
            .collect();
        assert_eq!(released[0] == released[1], round == 1, "round {round}");
    }
}

#[test]
fn a_backdoor_of_every_device_opens() {
    let mut asked = options("backdoor");
    asked.liars = Some(1.0);
    let finding = found(&asked);
    assert!(finding.success > Some(0.3), "{finding:?}");
}

#[test]
fn rows_that_nothing_protects_are_found() {
    let mut asked = options("membership");
    asked.simulate.agents = 20;
    asked.simulate.bits = Some(12);
    asked.simulate.contribute = Kinds::Moments;
    asked.simulate.rows_per_direction = Some(2);
    let bare = found(&asked);
    assert!(bare.auc > Some(0.8), "{bare:?}");
    asked.simulate.agents = 10;
    asked.simulate.rows_per_direction = None;
    let bounded = found(&asked);
    assert!(bounded.auc < Some(0.75), "{bounded:?}");
}

#[test]
fn a_profile_of_bytes_has_nothing_to_lie_about() {
    let data = Dataset::open("digits").unwrap();
    for attack in ["profile", "units"] {
        let error = run(&data, &options(attack), 1, &mut Progress::new(true)).unwrap_err();
        let of_data = matches!(
            error,
            AttackError::Option {
                option: "--data",
                ..
            }
        );
        assert!(of_data, "{error}");
    }
}
