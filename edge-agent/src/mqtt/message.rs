//! Messages as rows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A message that holds readings.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A JSON object: its fields are the cells of one row.
    Row {
        /// Where it was published.
        topic: String,
        /// Columns and cells; fields of fields are called `outer.inner`.
        cells: BTreeMap<String, String>,
    },
    /// One number: a cell of the column that the topic's last level names.
    Number {
        /// The levels before the last.
        topic: String,
        /// The last level.
        column: String,
        /// The number as it was written.
        cell: String,
    },
}

impl Message {
    /// What is said in a message, if it is a finite number or a JSON object
    /// with numbers, words or truth values. Lists and nulls in it are passed
    /// over, and so are names of more than 100 bytes and what goes beyond 256
    /// fields.
    pub fn of(topic: &str, payload: &[u8]) -> Option<Self> {
        // Small devices send a string's end along, and others a byte order mark.
        let text = std::str::from_utf8(payload).ok()?;
        let text = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\0' | '\u{feff}'));
        if !text.starts_with('{') {
            let number: f64 = text.parse().ok()?;
            let (before, last) = topic.rsplit_once('/').unwrap_or(("", topic));
            let fits = number.is_finite() && is_name(last) && before.len() <= TOPIC_BYTES_MAX;
            return fits.then(|| Self::Number {
                topic: before.to_owned(),
                column: last.to_owned(),
                cell: text.to_owned(),
            });
        }
        let fields: serde_json::Map<String, Value> = serde_json::from_str(text)
            .or_else(|_| serde_json::from_str(&without_nan(text)))
            .ok()?;
        let mut cells = BTreeMap::new();
        for (name, value) in fields {
            flatten(name, value, &mut cells);
        }
        let fits = !cells.is_empty() && topic.len() <= TOPIC_BYTES_MAX;
        fits.then(|| Self::Row {
            topic: topic.to_owned(),
            cells,
        })
    }
}

/// JSON with null for what Python and others write for no number, which JSON does
/// not know.
fn without_nan(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let (mut rest, mut quoted) = (text, false);
    while let Some(first) = rest.chars().next() {
        let words = ["NaN", "-Infinity", "Infinity", "nan", "-inf", "inf"];
        let word = words
            .iter()
            .find(|word| !quoted && rest.starts_with(**word));
        let length = match (word, quoted && first == '\\') {
            (Some(word), _) => {
                plain.push_str("null");
                rest = &rest[word.len()..];
                continue;
            }
            (None, true) => rest.chars().take(2).map(char::len_utf8).sum(),
            (None, false) => first.len_utf8(),
        };
        quoted ^= first == '"';
        plain.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    plain
}

fn flatten(name: String, value: Value, cells: &mut BTreeMap<String, String>) {
    if !is_name(&name) || cells.len() >= FIELDS_MAX {
        return;
    }
    let cell = match value {
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::String(text) if text.len() <= CELL_BYTES_MAX => text,
        Value::Object(fields) => {
            for (inner, value) in fields {
                flatten(format!("{name}.{inner}"), value, cells);
            }
            return;
        }
        Value::String(_) | Value::Null | Value::Array(_) => return,
    };
    cells.insert(name, cell);
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control)
}

/// Makes rows of messages. A JSON object is a row. Numbers alone are gathered:
/// those under one topic make a row when one of them comes again, with what was
/// heard last of the others. What the broker has kept, and sends again to whoever
/// subscribes, was measured nobody knows when: it stands for the last number of its
/// topic and makes no row.
#[derive(Debug, Default)]
pub struct Rows {
    open: BTreeMap<String, Open>,
}

/// A row that waits for more numbers.
#[derive(Debug, Default)]
struct Open {
    since_ms: u64,
    cells: BTreeMap<String, String>,
    fresh: BTreeSet<String>,
}

impl Rows {
    /// Takes a message in that came now; the row that it makes or ends, with
    /// the columns `time` (seconds since 1970, unless the message tells one)
    /// and `topic`.
    pub fn take(
        &mut self,
        message: Message,
        is_kept: bool,
        now_ms: u64,
    ) -> Option<BTreeMap<String, String>> {
        match message {
            Message::Row { .. } if is_kept => None,
            Message::Row { topic, cells } => Some(row(cells, now_ms, topic)),
            Message::Number {
                topic,
                column,
                cell,
            } => {
                if !self.open.contains_key(&topic) && self.open.len() >= OPEN_MAX {
                    return None;
                }
                let open = self.open.entry(topic.clone()).or_default();
                let mut ended = None;
                if is_kept {
                    if open.cells.len() < FIELDS_MAX && !open.fresh.contains(&column) {
                        open.cells.insert(column, cell);
                    }
                    return None;
                }
                if open.fresh.contains(&column) {
                    open.fresh.clear();
                    ended = Some(row(open.cells.clone(), open.since_ms, topic));
                }
                if open.fresh.is_empty() {
                    open.since_ms = now_ms;
                }
                if open.cells.len() < FIELDS_MAX || open.cells.contains_key(&column) {
                    open.fresh.insert(column.clone());
                    open.cells.insert(column, cell);
                }
                ended
            }
        }
    }
}

fn row(mut cells: BTreeMap<String, String>, ms: u64, topic: String) -> BTreeMap<String, String> {
    let time = format!("{}.{:03}", ms / 1_000, ms % 1_000);
    cells.entry(TIME.to_owned()).or_insert(time);
    cells.entry(TOPIC.to_owned()).or_insert(topic);
    cells
}

const TIME: &str = "time";
const TOPIC: &str = "topic";
const NAME_BYTES_MAX: usize = 100;
const TOPIC_BYTES_MAX: usize = 1_000;
const CELL_BYTES_MAX: usize = 1_000;
const FIELDS_MAX: usize = 256;
/// Most topics whose numbers are gathered at a time.
const OPEN_MAX: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn take(rows: &mut Rows, topic: &str, payload: &str, ms: u64) -> Option<String> {
        let row = rows.take(Message::of(topic, payload.as_bytes()).unwrap(), false, ms)?;
        let cells = row.iter().map(|(name, cell)| format!("{name}={cell}"));
        Some(cells.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn an_object_is_a_row_with_a_time() {
        let mut rows = Rows::default();
        let text = r#"{"flow": 12.5, "pump": {"on": true, "mode": "eco"}, "raw": [1], "x": null}"#;
        assert_eq!(
            take(&mut rows, "site/a", text, 1_764_500_000_123).unwrap(),
            "flow=12.5 pump.mode=eco pump.on=true time=1764500000.123 topic=site/a"
        );
        let told = take(&mut rows, "a", r#"{"time": 7, "topic": "b"}"#, 5).unwrap();
        assert_eq!(told, "time=7 topic=b");
    }

    #[test]
    fn numbers_alone_are_gathered_until_one_comes_again() {
        let mut rows = Rows::default();
        let mut say = |topic: &str, number: &str, ms| take(&mut rows, topic, number, ms);
        assert_eq!(say("p/1/flow", "1", 1_000), None);
        assert_eq!(say("p/1/bar", "2", 1_200), None);
        assert_eq!(say("p/2/flow", "9", 1_300), None);
        let first = say("p/1/flow", "3", 2_000).unwrap();
        assert_eq!(first, "bar=2 flow=1 time=1.000 topic=p/1");
        // What did not come again is what it was.
        let second = say("p/1/flow", "4", 3_000).unwrap();
        assert_eq!(second, "bar=2 flow=3 time=2.000 topic=p/1");
    }

    #[test]
    fn what_the_broker_has_kept_is_no_new_row() {
        let mut rows = Rows::default();
        let mut kept = |topic: &str, payload: &str| {
            let message = Message::of(topic, payload.as_bytes()).unwrap();
            rows.take(message, true, 1_000)
        };
        assert_eq!(kept("p", r#"{"flow": 1}"#), None);
        assert_eq!(kept("p/mode", "7"), None);
        assert_eq!(kept("p/mode", "8"), None);
        assert_eq!(take(&mut rows, "p/flow", "1", 2_000), None);
        let row = take(&mut rows, "p/flow", "2", 3_000).unwrap();
        assert_eq!(row, "flow=1 mode=8 time=2.000 topic=p");
    }

    #[test]
    fn what_python_and_small_devices_write_is_read() {
        let mut rows = Rows::default();
        let text = r#"{"flow": NaN, "note": "NaN \" -Infinity", "bar": -Infinity, "t": 2}"#;
        assert_eq!(
            take(&mut rows, "a", text, 5).unwrap(),
            r#"note=NaN " -Infinity t=2 time=0.005 topic=a"#
        );
        let number = Message::of("a/b", b"\xef\xbb\xbf2.5\0");
        assert!(matches!(number, Some(Message::Number { cell, .. }) if cell == "2.5"));
    }

    #[test]
    fn what_is_no_reading_is_none() {
        for payload in [
            "",
            "on",
            "nan",
            "1e999",
            "[1]",
            "{}",
            "{\"a\":[1]}",
            "{\"a\":",
        ] {
            assert_eq!(Message::of("a/b", payload.as_bytes()), None, "{payload}");
        }
        assert_eq!(Message::of("a/b", &[0xff]), None);
        assert_eq!(Message::of("a/", b"1"), None);
    }

    proptest! {
        #[test]
        fn any_message_is_bounded(topic in ".{0,40}", payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut rows = Rows::default();
            for _ in 0..2 {
                if let Some(message) = Message::of(&topic, &payload)
                    && let Some(row) = rows.take(message, false, 1)
                {
                    prop_assert!(row.len() <= FIELDS_MAX + 2);
                }
            }
        }
    }
}
