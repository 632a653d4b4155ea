//! Data as comma-separated text with a header.

use csv::{ReaderBuilder, StringRecord};

use super::Dataset;
use super::schema::{LabelSource, ParseError, Place, Problem, Schema, shortened};

/// Reads a CSV file: a header, then one input a line, its values in the
/// order of the columns. An empty label cell makes an unlabelled row.
///
/// # Errors
/// The first thing that is wrong, with its line and column.
pub(super) fn parse(bytes: &[u8], schema: &Schema) -> Result<Dataset, ParseError> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(bytes);
    let header = reader.headers().map_err(|error| text(&error, 1))?.clone();
    let label_column = check_header(&header, schema)?;
    let values = schema.values();
    let mut rows = Vec::new();
    let mut labels = Vec::new();
    let mut record = StringRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(text(&error, line)),
        }
        let line = record.position().map_or(line, csv::Position::line);
        if record.len() != header.len() {
            let problem = Problem::ColumnCount {
                expected: header.len(),
                found: record.len(),
            };
            return Err(ParseError::at(Place::Line(line), problem));
        }
        let mut label = None;
        for (column, cell) in record.iter().enumerate() {
            let outcome = if Some(column) == label_column {
                schema.label_of_text(cell).map(|class| label = class)
            } else {
                number(cell).map(|value| rows.push(value))
            };
            outcome.map_err(|problem| {
                let column = header.get(column).unwrap_or_default().to_owned();
                ParseError::at(Place::Cell { line, column }, problem)
            })?;
        }
        labels.push(label);
        common::pulse::beat();
    }
    let found = header.len() - usize::from(label_column.is_some());
    Dataset::from_rows(values, rows, labels).ok_or_else(|| value_columns(schema, found))
}

/// The place of the label column, if there is one.
fn check_header(header: &StringRecord, schema: &Schema) -> Result<Option<usize>, ParseError> {
    if header.iter().all(|name| name.trim().is_empty()) {
        return Err(ParseError::NoHeader);
    }
    let columns = || header.iter().map(str::trim).collect::<Vec<_>>().join(", ");
    if header.len() == 1 && columns().contains([';', '\t']) {
        return Err(ParseError::Separator {
            header: shortened(&columns()),
        });
    }
    let (name, required) = match schema.labels() {
        LabelSource::Column(name) => (name, true),
        LabelSource::OptionalColumn(name) => (name, false),
    };
    let mut places = (0..header.len()).filter(|&at| header[at].trim() == name.trim());
    let place = places.next();
    if places.next().is_some() {
        return Err(ParseError::TwoLabelColumns {
            name: name.clone(),
        });
    }
    // Numbers may name columns, but then the label's name stands among them.
    if place.is_none() && header.iter().all(|name| name.trim().parse::<f32>().is_ok()) {
        let fresh = header
            .iter()
            .enumerate()
            .all(|(at, name)| name.trim() == at.to_string());
        if !fresh {
            return Err(ParseError::NumericHeader);
        }
    }
    if place.is_none() && required {
        return Err(ParseError::NoLabelColumn {
            name: name.clone(),
            columns: header
                .iter()
                .take(12)
                .map(shortened)
                .collect::<Vec<_>>()
                .join(", "),
        });
    }
    let found = header.len() - usize::from(place.is_some());
    if found != schema.values() {
        return Err(value_columns(schema, found));
    }
    Ok(place)
}

fn value_columns(schema: &Schema, found: usize) -> ParseError {
    ParseError::ValueColumns {
        expected: schema.values(),
        shape: schema.shape().sides().to_vec(),
        found,
    }
}

fn number(cell: &str) -> Result<f32, Problem> {
    let value: f32 = cell.trim().parse().map_err(|_| Problem::NotANumber {
        found: shortened(cell),
    })?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Problem::NotFinite {
            found: shortened(cell.trim()),
        })
    }
}

fn text(error: &csv::Error, line: u64) -> ParseError {
    let line = error.position().map_or(line, csv::Position::line);
    let reason = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    ParseError::at(Place::Line(line), Problem::Text { reason })
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
