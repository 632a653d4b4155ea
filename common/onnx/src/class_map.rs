//! Which of a classifier's outputs stands for which class of a task.

use std::collections::BTreeMap;

use crate::OnnxError;

/// For each output of a classifier the class of a task, or none for a class
/// that the task has not. Several outputs may stand for one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassMap {
    to: Vec<Option<u16>>,
    classes: usize,
}

impl ClassMap {
    /// A map from `outputs` outputs of the model at `path` to the classes of a
    /// task. `names` are the model's classes in its order; without them the
    /// task's are, if they are as many. `renamed` says which class of the task
    /// a class of the model stands for where their names differ.
    ///
    /// # Errors
    /// If outputs and names differ in number, `renamed` names a class that the
    /// model or the task has not, or no class of the task is among the model's.
    pub fn of(
        path: &str,
        outputs: usize,
        names: &[String],
        renamed: &BTreeMap<String, String>,
        task: &[String],
    ) -> Result<Self, OnnxError> {
        let refused = |problem: String| OnnxError::Classes {
            path: path.to_owned(),
            problem,
            classes: task.join(", "),
        };
        let place = |name: &str| task.iter().position(|known| known == name);
        let named = if names.is_empty() { task } else { names };
        if named.len() != outputs {
            return Err(refused(match names.is_empty() {
                true => format!(
                    "it answers with {outputs} values; name the model's classes, in its order \
                     (classes)"
                ),
                false => format!(
                    "it answers with {outputs} values, and {} classes of it are named",
                    names.len()
                ),
            }));
        }
        for (from, to) in renamed {
            if !named.contains(from) {
                return Err(refused(format!(
                    "the map names {from:?}, which is not among the model's classes"
                )));
            }
            if place(to).is_none() {
                return Err(refused(format!(
                    "the map makes {from:?} the class {to:?}, which the task has not"
                )));
            }
        }
        let class = |name: &String| place(renamed.get(name).unwrap_or(name)).map(|at| at as u16);
        let to: Vec<Option<u16>> = named.iter().map(class).collect();
        if to.iter().all(Option::is_none) {
            return Err(refused(
                "none of its classes is one of the task's".to_owned(),
            ));
        }
        Ok(Self {
            to,
            classes: task.len(),
        })
    }

    /// What a row of the model's probabilities says of the task's classes: the
    /// likeliest, and the probability of each among them; none where a class
    /// that the task has not is likelier than each of them.
    pub fn answer(&self, probabilities: &[f32]) -> Option<(u16, Vec<f32>)> {
        let mut merged = vec![0.0f32; self.classes];
        let mut other = 0.0f32;
        for (&probability, to) in probabilities.iter().zip(&self.to) {
            match to.and_then(|class| merged.get_mut(usize::from(class))) {
                Some(sum) => *sum += probability,
                None => other = other.max(probability),
            }
        }
        let better = |best: usize, at: usize| if merged[at] > merged[best] { at } else { best };
        let best = (0..merged.len()).fold(0, better);
        let sum: f32 = merged.iter().sum();
        if sum <= 0.0 || merged[best] < other {
            return None;
        }
        let shares = merged.iter().map(|probability| probability / sum);
        Some((best as u16, shares.collect()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn map(
        outputs: usize,
        model: &[&str],
        renamed: &[(&str, &str)],
    ) -> Result<ClassMap, OnnxError> {
        let renamed = renamed
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
            .collect();
        let task = names(&["cat", "dog", "fox"]);
        ClassMap::of("net.onnx", outputs, &names(model), &renamed, &task)
    }

    #[test]
    fn classes_are_those_of_the_task_unless_named() {
        let plain = map(3, &[], &[]).unwrap();
        assert_eq!(plain.answer(&[0.25, 0.5, 0.25]).unwrap().0, 1);
        let turned = map(3, &["fox", "cat", "dog"], &[]).unwrap();
        let (class, shares) = turned.answer(&[0.25, 0.5, 0.25]).unwrap();
        assert_eq!((class, shares), (0, vec![0.5, 0.25, 0.25]));
    }

    #[test]
    fn classes_of_one_name_count_together() {
        let model = ["tabby", "siamese", "dog", "car"];
        let two = map(4, &model, &[("tabby", "cat"), ("siamese", "cat")]).unwrap();
        let (class, shares) = two.answer(&[0.25, 0.25, 0.3, 0.2]).unwrap();
        assert_eq!(class, 0);
        assert!((shares[0] - 0.625).abs() < 1e-6 && shares[2] == 0.0);
        assert_eq!(two.answer(&[0.1, 0.1, 0.1, 0.7]), None);
    }

    #[test]
    fn what_does_not_fit_is_said_with_the_task_s_classes() {
        for (found, told) in [
            (map(2, &[], &[]), "2 values; name"),
            (map(3, &["cat", "dog"], &[]), "3 values, and 2 classes"),
            (
                map(3, &[], &[("cat", "wolf")]),
                "\"wolf\", which the task has not",
            ),
            (
                map(3, &[], &[("cow", "cat")]),
                "\"cow\", which is not among",
            ),
            (map(2, &["car", "bus"], &[]), "none of its classes"),
        ] {
            let text = found.unwrap_err().to_string();
            assert!(text.contains(told), "{told} in {text}");
            assert!(text.contains("cat, dog, fox"), "{text}");
        }
    }
}
