//! Labels in a file of their own: intervals of time, as annotators write them.

use std::collections::BTreeMap;

use super::classes::ClassNames;
use super::note::Note;
use super::schema::{ParseError, Place, Problem, Schema};
use super::source::{BadRows, TimeFormat};
use super::table::{Cells, place_of};
use super::text::{Ending, Text};

/// Which class was when.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Intervals {
    /// By group, and each sorted by start; those without a group hold for all.
    groups: BTreeMap<String, Vec<Interval>>,
    /// How many lines were left out, and why the first of them was.
    left_out: Option<(usize, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    start: i64,
    end: i64,
    class: u16,
    line: u64,
}

impl Intervals {
    /// Reads a table with the columns `start`, `end` and the label's, and the
    /// group's where it has one. An interval holds its start and not its end;
    /// one without a label says nothing. Where bad rows cost themselves alone, so do
    /// lines that cannot be read.
    ///
    /// # Errors
    /// [`ParseError::Intervals`], with the line.
    pub(super) fn parse(bytes: &[u8], schema: &Schema) -> Result<Self, ParseError> {
        let text = Text::of(
            bytes,
            schema.mapping().encoding,
            Ending::Closed,
            &mut Vec::new(),
        );
        let text = text.map_err(told)?;
        // The header of recordings says nothing of this file.
        let mut mapping = schema.mapping().clone();
        mapping.names = None;
        mapping.separator = None;
        let own = schema.clone().with_mapping(mapping);
        let mut cells = Cells::of(text, &own);
        let header = cells.header(&own).map_err(told)?;
        let names: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        let columns = Columns::of(&names, &own)?;
        let skips = own.mapping().bad_rows == BadRows::Skip;
        let mut intervals = Self::default();
        let (mut records, mut record) = (cells.records(), ::csv::StringRecord::new());
        let mut format = own.mapping().time_format.clone();
        while let Some((line, read)) = records.next(&mut record) {
            format.settle(columns.cell(&record, columns.start));
            let found = read.map_err(told);
            let found = found.and_then(|_| columns.interval(&record, line, &format, &own));
            match found {
                Ok(Some(interval)) => {
                    let group = columns.group.map_or("", |at| columns.cell(&record, at));
                    let own = intervals.groups.entry(group.to_owned()).or_default();
                    own.push(interval);
                }
                Ok(None) => {}
                Err(error) if skips => {
                    let left_out = &mut intervals.left_out;
                    left_out.get_or_insert((0, error.to_string())).0 += 1;
                }
                Err(error) => return Err(error),
            }
        }
        intervals.sort()?;
        Ok(intervals)
    }

    /// That lines were left out, if so it is.
    pub(super) fn left_out(&self) -> Option<Note> {
        let (lines, first) = self.left_out.clone()?;
        Some(Note::IntervalsLeftOut { lines, first })
    }

    fn sort(&mut self) -> Result<(), ParseError> {
        for own in self.groups.values_mut() {
            own.sort_by_key(|interval| interval.start);
            for pair in own.windows(2) {
                if pair[1].start < pair[0].end && pair[0].class != pair[1].class {
                    let reason = format!(
                        "the intervals of lines {} and {} overlap and have different labels; \
                         correct one of them",
                        pair[0].line, pair[1].line
                    );
                    return Err(ParseError::Intervals { reason });
                }
            }
        }
        Ok(())
    }

    /// The class of a group at a time, if an interval says one.
    pub(super) fn at(&self, group: &str, time: i64) -> Option<u16> {
        let found = |group: &str| {
            let own = self.groups.get(group)?;
            // Intervals of one class may overlap; those that started last are
            // looked at first, and there are few that reach this far.
            let after = own.partition_point(|interval| interval.start <= time);
            let before = own[..after].iter().rev().take(OVERLAPS_MAX);
            before
                .clone()
                .find(|interval| time < interval.end)
                .map(|interval| interval.class)
        };
        found(group).or_else(|| found(""))
    }

    /// From when to when there are intervals, in nanoseconds.
    pub(super) fn span(&self) -> Option<[i64; 2]> {
        let all = || self.groups.values().flatten();
        let start = all().map(|interval| interval.start).min()?;
        let end = all().map(|interval| interval.end).max()?;
        Some([start, end])
    }

    /// How many there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.groups.values().map(Vec::len).sum()
    }
}

/// Where the columns are.
struct Columns<'a> {
    names: &'a [String],
    start: usize,
    end: usize,
    label: usize,
    group: Option<usize>,
}

impl<'a> Columns<'a> {
    fn of(names: &'a [String], schema: &Schema) -> Result<Self, ParseError> {
        let column = |wanted: &[&str]| -> Result<usize, ParseError> {
            let found = wanted.iter().find_map(|name| place_of(names, name));
            found.ok_or_else(|| ParseError::Intervals {
                reason: format!(
                    "no column {:?} among {}; a file of intervals has the columns start, end and {}",
                    wanted[0],
                    names.join(", "),
                    schema.label_column().unwrap_or("label"),
                ),
            })
        };
        let group = schema.mapping().group_column.as_ref();
        Ok(Self {
            start: column(&["start", "begin", "from"])?,
            end: column(&["end", "stop", "to"])?,
            label: column(&[schema.label_column().unwrap_or("label"), "label", "class"])?,
            group: group.and_then(|name| place_of(names, name)),
            names,
        })
    }

    fn cell<'r>(&self, record: &'r ::csv::StringRecord, column: usize) -> &'r str {
        record.get(column).unwrap_or_default().trim()
    }

    /// The interval of a line, if it has a label.
    fn interval(
        &self,
        record: &::csv::StringRecord,
        line: u64,
        format: &TimeFormat,
        schema: &Schema,
    ) -> Result<Option<Interval>, ParseError> {
        let cell = |column| self.cell(record, column);
        let at = |column: usize, problem: Problem| {
            let column = self.names[column].clone();
            told(ParseError::at(Place::Cell { line, column }, problem))
        };
        let time = |column| {
            let time = format.parse(cell(column));
            time.map_err(|problem| at(column, problem))
        };
        if cell(self.end).is_empty() && !cell(self.start).is_empty() {
            let reason = format!(
                "line {line}: no end; write when it ends: where the next begins, or where the \
                 recording does"
            );
            return Err(ParseError::Intervals { reason });
        }
        let (start, end) = (time(self.start)?, time(self.end)?);
        if end <= start {
            let reason = format!(
                "line {line}: ends where it starts, or before; correct it or remove the line"
            );
            return Err(ParseError::Intervals { reason });
        }
        let class = class(schema.classes(), cell(self.label));
        let class = class.map_err(|problem| at(self.label, problem))?;
        Ok(class.map(|class| Interval {
            start,
            end,
            class,
            line,
        }))
    }
}

fn told(error: ParseError) -> ParseError {
    ParseError::Intervals {
        reason: error.to_string(),
    }
}

fn class(classes: &ClassNames, text: &str) -> Result<Option<u16>, Problem> {
    classes.of_text(text).map(|meaning| meaning.class())
}

/// Intervals of one class that lie over one another at one time, at most.
const OVERLAPS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::schema;
    use super::super::{Dataset, Mapping, Note};
    use super::*;
    use std::path::Path;
    use std::sync::Arc;

    const S: i64 = 1_000_000_000;

    fn parse(text: &str) -> Result<Intervals, ParseError> {
        Intervals::parse(text.as_bytes(), &schema())
    }

    #[test]
    fn an_interval_holds_from_its_start_up_to_its_end() {
        let text = "start;end;label\n10;20;dog\n0;10;cat\n30;40;\n50;60;DOG\n";
        let intervals = parse(text).unwrap();
        assert_eq!(intervals.len(), 3);
        for (second, expected) in [
            (-1, None),
            (0, Some(0)),
            (9, Some(0)),
            (10, Some(1)),
            (20, None),
            (35, None),
            (59, Some(1)),
        ] {
            assert_eq!(intervals.at("", second * S), expected, "{second}");
        }
    }

    #[test]
    fn intervals_of_another_clock_are_told() {
        let mapping = Mapping {
            time_column: Some("t".to_owned()),
            ..Mapping::default()
        };
        let text = b"t,a,b\n1790000000,1,2\n1790000001,3,4\n";
        let read = |intervals: &str| {
            let schema = schema().with_mapping(mapping.clone());
            let schema = schema.with_intervals(Some(Arc::new(parse(intervals).unwrap())));
            let found = Dataset::read(Path::new("a.csv"), text, &schema, Ending::Closed).unwrap();
            (found.data.labels().to_vec(), found.notes)
        };
        let (labels, notes) = read("start,end,label\n0,10,cat\n");
        assert_eq!(labels, [None, None]);
        let rows = [1_790_000_000 * S, 1_790_000_001 * S];
        let intervals = [0, 10 * S];
        assert_eq!(notes, [Note::OutsideIntervals { rows, intervals }]);
        let (labels, notes) = read("start,end,label\n1790000001,1790000002,dog\n");
        assert_eq!((labels, notes), (vec![None, Some(1)], vec![]));
    }

    #[test]
    fn a_bad_line_costs_itself_where_bad_rows_do() {
        let text =
            "start,end,label\nabc,10,cat\n0,10,cat\n20,10,cat\n20,,cat\n20,30,bird\n40,50,dog\n";
        assert!(
            parse(text).is_err(),
            "without a word from the owner it costs all"
        );
        let schema = schema().with_mapping(Mapping {
            bad_rows: BadRows::Skip,
            ..Mapping::default()
        });
        let intervals = Intervals::parse(text.as_bytes(), &schema).unwrap();
        let found = [5, 25, 45].map(|second| intervals.at("", second * S));
        assert_eq!(found, [Some(0), None, Some(1)]);
        let Some(Note::IntervalsLeftOut { lines: 4, first }) = intervals.left_out() else {
            panic!("{:?}", intervals.left_out());
        };
        assert!(first.contains("line 2"), "{first}");
        assert_eq!(
            parse("start,end,label\n0,10,cat\n").unwrap().left_out(),
            None
        );
    }

    #[test]
    fn what_is_no_list_of_intervals_is_refused_with_the_place() {
        for (text, said) in [
            ("begin,label\n1,cat\n", "\"end\""),
            ("start,end,label\n1,2,cow\n", "line 2"),
            ("start,end,label\n1,2,cat\n5,4,cat\n", "line 3"),
            ("start,end,label\n1,x,cat\n", "line 2"),
            (
                "start,end,label\n1,5,cat\n4,6,dog\n",
                "lines 2 and 3 overlap",
            ),
            ("start,end,label\n1,5,cat\n5,,dog\n", "line 3: no end"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text:?}: {error}");
        }
    }
}
