//! The outcomes of several seeds as one.

use serde_json::{Map, Value, json};

/// The outcomes of several seeds as one: means under the same keys, maxima
/// under those that end in `_max`, and beside each its standard deviation
/// (of the sample) under the key with `_std`. Lists of as many numbers are
/// means of each. What is not a number is the first one's.
pub fn summarise(outcomes: &[Value]) -> Value {
    let Some(first) = outcomes.first() else {
        return Value::Null;
    };
    match first {
        Value::Object(fields) => {
            let mut out = Map::new();
            for (key, value) in fields {
                let all: Vec<Value> = outcomes.iter().map(|one| one[key].clone()).collect();
                match numbers(&all) {
                    Some(_) if FIXED.contains(&key.as_str()) => {
                        out.insert(key.clone(), value.clone());
                    }
                    Some(numbers) => {
                        let (mean, deviation) = spread(&numbers);
                        let highest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                        let shown = if key.ends_with("_max") { highest } else { mean };
                        out.insert(key.clone(), json!(shown));
                        out.insert(format!("{key}_std"), json!(deviation));
                    }
                    None if key == "config" => {
                        let mut config = value.clone();
                        let seeds = outcomes.iter().map(|one| one[key]["seed"].clone());
                        config["seeds"] = seeds.collect();
                        out.insert(key.clone(), config);
                    }
                    None => {
                        out.insert(key.clone(), summarise(&all));
                    }
                }
            }
            Value::Object(out)
        }
        Value::Array(items) if items.iter().any(Value::is_object) => (0..items.len())
            .map(|at| {
                summarise(
                    &outcomes
                        .iter()
                        .map(|one| one[at].clone())
                        .collect::<Vec<_>>(),
                )
            })
            .collect(),
        Value::Array(items) => match lists(outcomes, items.len()) {
            Some(lists) if !items.is_empty() => (0..items.len())
                .map(|at| json!(spread(&lists.iter().map(|one| one[at]).collect::<Vec<_>>()).0))
                .collect(),
            _ => first.clone(),
        },
        other => other.clone(),
    }
}

/// Lists of so many numbers each.
fn lists(outcomes: &[Value], length: usize) -> Option<Vec<Vec<f64>>> {
    let of = |one: &Value| numbers(one.as_array().filter(|items| items.len() == length)?);
    outcomes.iter().map(of).collect()
}

fn numbers(values: &[Value]) -> Option<Vec<f64>> {
    values.iter().map(Value::as_f64).collect()
}

fn spread(values: &[f64]) -> (f64, f64) {
    let many = values.len() as f64;
    let mean = values.iter().sum::<f64>() / many;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (many - 1.0).max(1.0)).sqrt())
}

/// Numbers that name something.
const FIXED: [&str; 2] = ["round", "seed"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn several_seeds_become_means_maxima_and_deviations() {
        let of = |seed: u64, mean: f64, max: u64| {
            json!({ "config": { "seed": seed }, "baselines": null,
                "rounds": [{ "round": 1, "a_mean": mean, "b_max": max, "by": [mean, 1.0] }] })
        };
        let all = summarise(&[of(0, 1.0, 5), of(1, 3.0, 4)]);
        let round = &all["rounds"][0];
        assert_eq!(
            (&round["round"], &round["a_mean"]),
            (&json!(1), &json!(2.0))
        );
        assert_eq!(round["b_max"], json!(5.0));
        assert_eq!(round["by"], json!([2.0, 1.0]));
        assert!((round["a_mean_std"].as_f64().unwrap() - 2f64.sqrt()).abs() < 1e-12);
        assert_eq!(all["config"]["seeds"], json!([0, 1]));
    }
}
