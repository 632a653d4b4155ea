//! A grid of simulations, as a TOML file describes it.
//!
//! ```toml
//! title = "digits, by bytes and skew"
//! seeds = [0, 1, 2]
//!
//! [fixed]                    # as the options of `simulate`, without the dashes
//! data = "digits"
//! agents = 10
//!
//! [grid]                     # every combination is a cell
//! uplink_bytes_max = [4_000, 12_000]
//! partition = ["iid", "dirichlet:0.1"]
//! ```

use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Json;
use toml::Value;

/// Most cells of a grid.
const CELLS_MAX: usize = 10_000;

/// What a sweep varies and what it keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Its name, for the report.
    pub title: String,
    /// Seeds each cell is run with.
    pub seeds: Vec<u64>,
    /// Every combination, the last key varied fastest.
    pub cells: Vec<GridCell>,
}

/// One combination.
#[derive(Clone, Debug, PartialEq)]
pub struct GridCell {
    /// What was varied, in the file's order, as text.
    pub varied: Vec<(String, String)>,
    /// The options of `simulate`, but for the seed.
    pub arguments: Vec<String>,
}

/// Why a grid is refused.
#[derive(Debug, thiserror::Error)]
pub enum GridError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// It is not TOML, or has keys no sweep has.
    #[error("{path}: {cause}")]
    Syntax {
        /// The file.
        path: String,
        /// Why, with its line.
        cause: Box<toml::de::Error>,
    },
    /// A key's value makes no option.
    #[error("{path}: {key}: {what}")]
    Value {
        /// The file.
        path: String,
        /// The key.
        key: String,
        /// What is wrong, and what may stand there.
        what: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGrid {
    title: Option<String>,
    #[serde(default)]
    seeds: Vec<u64>,
    #[serde(default)]
    fixed: toml::Table,
    #[serde(default)]
    grid: toml::Table,
}

impl Grid {
    /// Reads a file.
    ///
    /// # Errors
    /// [`GridError`], which names the file and the key.
    pub fn open(path: &Path) -> Result<Self, GridError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|cause| GridError::Read {
            path: shown.clone(),
            cause,
        })?;
        Self::parse(&text, &shown)
    }

    fn parse(text: &str, path: &str) -> Result<Self, GridError> {
        let raw: RawGrid = toml::from_str(text).map_err(|cause| GridError::Syntax {
            path: path.to_owned(),
            cause: Box::new(cause),
        })?;
        let refuse = |key: &str, what: &str| GridError::Value {
            path: path.to_owned(),
            key: key.to_owned(),
            what: what.to_owned(),
        };
        for key in raw.fixed.keys().chain(raw.grid.keys()) {
            if OWN.contains(&option(key).as_str()) {
                return Err(refuse(
                    key,
                    "a sweep sets this itself; `seeds` stands at the top of the file, \
                     outputs go where --out says",
                ));
            }
        }
        if let Some(key) = raw.grid.keys().find(|key| raw.fixed.contains_key(*key)) {
            return Err(refuse(key, "it stands in [fixed] and in [grid]; keep one"));
        }
        let mut fixed = Vec::new();
        for (key, value) in &raw.fixed {
            let value = written(value).map_err(|what| refuse(key, &what))?;
            fixed.extend(argument(key, &value));
        }
        let mut cells = vec![GridCell {
            varied: Vec::new(),
            arguments: fixed,
        }];
        for (key, values) in &raw.grid {
            let Some(values) = values.as_array().filter(|values| !values.is_empty()) else {
                return Err(refuse(key, "a list of values to try, as [1, 2]"));
            };
            let values: Result<Vec<String>, String> = values.iter().map(written).collect();
            let values = values.map_err(|what| refuse(key, &what))?;
            if cells.len().saturating_mul(values.len()) > CELLS_MAX {
                return Err(refuse(key, "with it the grid has more than 10,000 cells"));
            }
            cells = cells
                .iter()
                .flat_map(|cell| values.iter().map(|value| cell.with(key, value)))
                .collect();
        }
        let seeds = if raw.seeds.is_empty() {
            vec![0]
        } else {
            raw.seeds
        };
        Ok(Self {
            title: raw.title.unwrap_or_else(|| path.to_owned()),
            seeds,
            cells,
        })
    }
}

impl GridCell {
    fn with(&self, key: &str, value: &str) -> Self {
        let mut cell = self.clone();
        cell.varied.push((key.to_owned(), value.to_owned()));
        cell.arguments.extend(argument(key, value));
        cell
    }

    /// What was varied, in words.
    pub fn name(&self) -> String {
        let words: Vec<String> = self
            .varied
            .iter()
            .map(|(key, value)| format!("{key} = {value}"))
            .collect();
        if words.is_empty() {
            "the only cell".to_owned()
        } else {
            words.join(", ")
        }
    }
}

/// The table of all cells with their outcomes as CSV: a line each and round,
/// what was varied first, as `grid.KEY`.
///
/// # Errors
/// If a line cannot be written, which memory always can.
pub fn table(cells: &[(&GridCell, &Json)]) -> Result<String, csv::Error> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    let varied = cells.first().map(|(cell, _)| cell.varied.as_slice());
    let varied = varied.unwrap_or_default().iter();
    // What was asked for may have the name of what was measured.
    let varied: Vec<String> = varied.map(|(key, _)| format!("grid.{key}")).collect();
    let header = varied.iter().map(String::as_str).chain(["round"]);
    lines.write_record(header.chain(ROUND).chain(BASELINES))?;
    for (cell, outcome) in cells {
        for round in outcome["rounds"].as_array().into_iter().flatten() {
            let mut line: Vec<String> = cell.varied.iter().map(|(_, v)| v.clone()).collect();
            line.push(round["round"].to_string());
            line.extend(ROUND.iter().map(|key| figure(&round[*key])));
            let baselines = &outcome["baselines"];
            line.extend(BASELINES.iter().map(|key| figure(&baselines[*key])));
            lines.write_record(&line)?;
        }
    }
    let bytes = lines.into_inner().map_err(|error| error.into_error())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Empty where there is none.
fn figure(value: &Json) -> String {
    value
        .as_f64()
        .map(|_| value.to_string())
        .unwrap_or_default()
}

const ROUND: [&str; 11] = [
    "student_accuracy",
    "student_accuracy_std",
    "student_macro_f1",
    "student_macro_f1_std",
    "teacher_accuracy",
    "student_teacher_agreement",
    "uplink_bytes_mean",
    "uplink_bytes_max",
    "downlink_bytes_mean",
    "handshake_bytes_mean",
    "wall_ms",
];
const BASELINES: [&str; 4] = ["alone_mean", "alone_min", "alone_max", "pooled_student"];

/// Options that a sweep gives itself.
const OWN: [&str; 4] = ["--seed", "--seeds", "--json", "--report"];

fn option(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

/// A switch stands alone where it is true and is left out where it is not.
fn argument(key: &str, value: &str) -> Vec<String> {
    match value {
        "true" => vec![option(key)],
        "false" => Vec::new(),
        value => vec![format!("{}={value}", option(key))],
    }
}

fn written(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        other => Err(format!(
            "{} is no value; write a text, a number, true or false",
            other.type_str()
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn grid(text: &str) -> Result<Grid, GridError> {
        Grid::parse(text, "s.toml")
    }

    #[test]
    fn a_grid_is_every_combination() {
        let grid = grid(
            "seeds = [3, 4]\n[fixed]\ndata = \"digits\"\nno_baselines = true\n\
             [grid]\nbits = [4, 8]\npartition = [\"iid\", \"shards:2\"]\n",
        )
        .unwrap();
        assert_eq!(grid.seeds, [3, 4]);
        let names: Vec<String> = grid.cells.iter().map(GridCell::name).collect();
        assert_eq!(names[1], "bits = 4, partition = shards:2");
        assert_eq!(names.len(), 4);
        let expected = [
            "--data=digits",
            "--no-baselines",
            "--bits=8",
            "--partition=iid",
        ];
        assert_eq!(grid.cells[2].arguments, expected);
    }

    #[test]
    fn misplaced_keys_and_bare_values_are_refused() {
        for (text, part) in [
            ("[grid]\nseed = [1]\n", "seed: a sweep sets this itself"),
            ("[fixed]\njson = \"x\"\n", "json: a sweep sets this itself"),
            ("[grid]\nbits = 8\n", "bits: a list of values"),
            ("[grid]\nbits = []\n", "bits: a list of values"),
            ("[grid]\nbits = [[8]]\n", "bits: array is no value"),
            (
                "[fixed]\nbits = 8\n[grid]\nbits = [8]\n",
                "bits: it stands in",
            ),
            ("cells = 3\n", "unknown field `cells`"),
            ("[grid", "s.toml: "),
        ] {
            let error = grid(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_cell_and_round() {
        let grid = grid("[grid]\npartition = [\"iid\", \"a,b\"]\n").unwrap();
        let outcome = json!({ "baselines": null, "rounds": [
            { "round": 1, "student_accuracy": 0.5 }, { "round": 2, "student_accuracy": 0.75 } ] });
        let cells: Vec<_> = grid.cells.iter().map(|cell| (cell, &outcome)).collect();
        let table = table(&cells).unwrap();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[0].starts_with("grid.partition,round,student_accuracy,"));
        assert_eq!(lines[4], "\"a,b\",2,0.75,,,,,,,,,,,,,,");
    }
}
