//! Wrong labels.

use rand::Rng;

use common::math::random::rng;
use ndarray::Axis;

use super::super::{Aim, Attack, AttackError, Kind, Plot, Scene};
use crate::data::Part;
use crate::simulation::Lie;

pub(in super::super) const FLIP: Attack = Attack {
    name: "flip",
    about: "every label of a liar is another one, drawn at random",
    kind: Kind::Lying(|scene| plot(scene, Change::Random)),
};

pub(in super::super) const SWAP: Attack = Attack {
    name: "swap",
    about: "liars exchange classes in pairs, first with last and so on",
    kind: Kind::Lying(|scene| plot(scene, Change::Pairs)),
};

pub(in super::super) const SHIFT: Attack = Attack {
    name: "shift",
    about: "liars give every row the class after its own, all the same",
    kind: Kind::Lying(|scene| plot(scene, Change::Next)),
};

pub(in super::super) const PARTLY: Attack = Attack {
    name: "partly",
    about: "liars give two rows of five the class after their own, to pass for honest",
    kind: Kind::Lying(|scene| plot(scene, Change::NextOfSome)),
};

pub(in super::super) const TARGET: Attack = Attack {
    name: "target",
    about: "liars give the rows of one class (--from-class) to another (--to-class)",
    kind: Kind::Lying(|scene| {
        let asked = scene.options;
        let from = scene.class("--from-class", asked.from_class.as_deref(), 0)?;
        let otherwise = (from + 1) % scene.data.classes.len() as u16;
        let to = scene.class("--to-class", asked.to_class.as_deref(), otherwise)?;
        if from == to {
            let problem = "is the class that the rows have; name another".to_owned();
            return Err(scene.option("--to-class", problem));
        }
        let test = &scene.data.test;
        let of_class = |&row: &usize| test.labels[row] == from;
        let rows: Vec<usize> = (0..test.len()).filter(of_class).collect();
        if rows.is_empty() {
            let problem = "has no row in the test set to measure by; name another".to_owned();
            return Err(scene.option("--from-class", problem));
        }
        let mut plot = plot(scene, Change::One { from, to })?;
        plot.aim = Some(Aim {
            inputs: test.inputs.select(Axis(0), &rows),
            class: to,
        });
        Ok(plot)
    }),
};

#[derive(Clone, Copy)]
enum Change {
    Random,
    Pairs,
    Next,
    NextOfSome,
    One { from: u16, to: u16 },
}

struct WrongLabels {
    change: Change,
    classes: u16,
    seed: u64,
}

fn plot(scene: &Scene<'_>, change: Change) -> Result<Plot, AttackError> {
    let lie = WrongLabels {
        change,
        classes: scene.data.classes.len() as u16,
        seed: scene.seed,
    };
    Ok(Plot {
        lie: Box::new(lie),
        aim: None,
    })
}

impl Lie for WrongLabels {
    fn holds(&self, device: usize, mut rows: Part) -> Part {
        let classes = self.classes;
        let mut random = rng(self.seed, &format!("wrong labels of {device}"));
        for label in &mut rows.labels {
            *label = match self.change {
                Change::Random => (*label + random.random_range(1..classes)) % classes,
                Change::Pairs => classes - 1 - *label,
                Change::Next => (*label + 1) % classes,
                Change::NextOfSome if random.random_bool(0.4) => (*label + 1) % classes,
                Change::NextOfSome => *label,
                Change::One { from, to } if *label == from => to,
                Change::One { .. } => *label,
            };
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn labels(change: Change) -> Vec<u16> {
        let lie = WrongLabels {
            change,
            classes: 4,
            seed: 1,
        };
        let rows = Part {
            inputs: Array2::zeros((8, 1)),
            labels: vec![0, 1, 2, 3, 0, 1, 2, 3],
            numbers: None,
            users: None,
            groups: None,
        };
        lie.holds(3, rows).labels
    }

    #[test]
    fn labels_become_those_that_the_lie_says() {
        assert_eq!(labels(Change::Next), [1, 2, 3, 0, 1, 2, 3, 0]);
        assert_eq!(labels(Change::Pairs), [3, 2, 1, 0, 3, 2, 1, 0]);
        let one = Change::One { from: 2, to: 0 };
        assert_eq!(labels(one), [0, 1, 0, 3, 0, 1, 0, 3]);
        let some = labels(Change::NextOfSome);
        let right = some
            .iter()
            .enumerate()
            .filter(|(at, label)| **label == (at % 4) as u16);
        assert!((1..8).contains(&right.count()), "{some:?}");
        let flipped = labels(Change::Random);
        let wrong = |(at, label): (usize, &u16)| *label < 4 && *label != (at % 4) as u16;
        assert!(flipped.iter().enumerate().all(wrong), "{flipped:?}");
        assert_eq!(flipped, labels(Change::Random), "the same each time");
    }
}
