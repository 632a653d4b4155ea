//! Parquet files.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ::parquet::basic::{LogicalType, Repetition, TimeUnit};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use ::parquet::record::Field;
use ::parquet::schema::types::Type;

use super::account::Account;
use super::note::Note;
use super::schema::{ParseError, Schema};
use super::table::{CellType, TypedRecord, parse_records};
use super::{Dataset, FileRows};

/// Reads the columns of a Parquet file that are no lists and no structures, row
/// by row; memory holds a page of each. Uncompressed, Snappy, gzip, zstd and LZ4 are read.
///
/// # Errors
/// [`ParseError::Parquet`] for what is no such file, and as for a table of
/// text.
pub(super) fn read(file: File, schema: &Schema) -> Result<FileRows, ParseError> {
    let mut notes = Vec::new();
    let (data, account) = guarded(file, schema, &mut notes)?;
    Ok(FileRows {
        data,
        notes,
        account,
    })
}

/// The same of a file that is in memory.
///
/// # Errors
/// As [`read`].
pub(super) fn parse(
    bytes: &[u8],
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    guarded(bytes::Bytes::copy_from_slice(bytes), schema, notes)
}

/// The decoder takes some damage for a fault of its own: that costs the file
/// and not the device.
fn guarded<R: ChunkReader + 'static>(
    source: R,
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    let read = catch_unwind(AssertUnwindSafe(|| rows(source, schema, notes)));
    read.unwrap_or_else(|_| Err(refuse(&"it is damaged")))
}

fn refuse(reason: &dyn std::fmt::Display) -> ParseError {
    ParseError::Parquet {
        reason: reason.to_string(),
    }
}

fn broken(error: ParquetError) -> ParseError {
    let text = error.to_string();
    match text.contains("Disabled feature at compile time") {
        true => refuse(&format!(
            "{text}: write it with the compression zstd, snappy, gzip or none"
        )),
        false => refuse(&text),
    }
}

fn rows<R: ChunkReader + 'static>(
    source: R,
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    let reader = SerializedFileReader::new(source).map_err(broken)?;
    let metadata = reader.metadata();
    for group in metadata.row_groups() {
        // Of flat columns every row has a value, or a place for one.
        let fits = |values: i64| values == group.num_rows() && values >= 0;
        let flat =
            { group.columns().iter() }.filter(|column| column.column_path().parts().len() == 1);
        if let Some(column) = { flat }
            .find(|column| column.column_descr().max_rep_level() == 0 && !fits(column.num_values()))
        {
            let (values, rows) = (column.num_values(), group.num_rows());
            return Err(refuse(&format!("{values} values in {rows} rows")));
        }
    }
    let root = metadata.file_metadata().schema();
    let flat = |field: &&Arc<Type>| {
        let info = field.get_basic_info();
        let repeated = info.has_repetition() && info.repetition() == Repetition::REPEATED;
        field.is_primitive() && !repeated
    };
    let fields: Vec<Arc<Type>> = root.get_fields().iter().filter(flat).cloned().collect();
    if fields.is_empty() {
        return Err(refuse(&"none of its columns holds single values"));
    }
    let nested: Vec<String> = { root.get_fields().iter() }
        .filter(|field| !flat(field))
        .map(|field| field.name().to_owned())
        .collect();
    let names = fields.iter().map(|field| field.name().to_owned()).collect();
    let units: Vec<bool> = fields
        .iter()
        .map(|field| counts_nanoseconds(field))
        .collect();
    let projection = Type::group_type_builder(root.name())
        .with_fields(fields)
        .build()
        .map_err(broken)?;
    let mut found = reader.get_row_iter(Some(projection)).map_err(broken)?;
    let mut next = |record: &mut TypedRecord| {
        record.clear();
        let Some(row) = found.next() else {
            return Ok(false);
        };
        let row = row.map_err(broken)?;
        for ((_, field), &nanoseconds) in row.get_column_iter().zip(&units) {
            push(record, field, nanoseconds);
        }
        Ok(true)
    };
    let read = parse_records(names, &mut next, schema, notes);
    read.map_err(|error| match error {
        ParseError::NoColumn { name, .. } | ParseError::NoLabelColumn { name, .. }
            if nested.contains(&name) =>
        {
            refuse(&format!(
                "column {name:?} is a list or a structure; columns of single values are read, so \
                 write its values into columns of their own"
            ))
        }
        error => error,
    })
}

fn counts_nanoseconds(field: &Type) -> bool {
    let logical = field.get_basic_info().logical_type_ref();
    matches!(logical, Some(LogicalType::Timestamp(kind)) if matches!(kind.unit, TimeUnit::NANOS))
}

/// A value as a cell: times as ISO 8601 in UTC.
fn push(record: &mut TypedRecord, field: &Field, nanoseconds: bool) {
    let (text, cell_type) = match field {
        Field::Null => (String::new(), CellType::Text),
        Field::Bool(value) => (value.to_string(), CellType::Text),
        Field::Float(value) => (value.to_string(), CellType::Number),
        Field::Double(value) => (value.to_string(), CellType::Number),
        Field::Float16(value) => (value.to_f32().to_string(), CellType::Number),
        Field::Str(text) => return record.push(text, CellType::Text),
        Field::Bytes(bytes) => {
            return record.push(&String::from_utf8_lossy(bytes.data()), CellType::Text);
        }
        Field::Date(days) => (date(i64::from(*days)), CellType::Time),
        Field::TimestampMillis(value) => (moment(i128::from(*value) * 1_000_000), CellType::Time),
        Field::TimestampMicros(value) => (moment(i128::from(*value) * 1_000), CellType::Time),
        Field::Long(value) if nanoseconds => (moment(i128::from(*value)), CellType::Time),
        // A time of day has no date.
        other @ (Field::TimeMillis(_) | Field::TimeMicros(_)) => {
            (other.to_string(), CellType::Text)
        }
        other => (other.to_string(), CellType::Number),
    };
    record.push(&text, cell_type);
}

/// Nanoseconds since 1970 as date and time.
fn moment(nanoseconds: i128) -> String {
    const SECOND: i128 = 1_000_000_000;
    const DAY: i128 = 86_400 * SECOND;
    let (days, rest) = (nanoseconds.div_euclid(DAY), nanoseconds.rem_euclid(DAY));
    let (seconds, fraction) = (rest / SECOND, rest % SECOND);
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let date = date(days as i64);
    format!(
        "{date}T{hours:02}:{minutes:02}:{:02}.{fraction:09}Z",
        seconds % 60
    )
}

/// Days since 1970 as a date of the Gregorian calendar. The year is counted
/// from March on, so that a leap day is its last, and 400 years are 146,097
/// days.
fn date(days: i64) -> String {
    let shifted = days.saturating_add(719_468);
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = match month {
        0..=9 => (month + 3, 0),
        _ => (month - 9, 1),
    };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + next)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::features::InputShape;
    use common::task::RawTask;
    use proptest::prelude::*;

    /// Made by pyarrow, see `edge-agent/tests/files/README.md`.
    const SNAPPY: &[u8] = include_bytes!("../../tests/files/pump-snappy.parquet");
    const GZIP: &[u8] = include_bytes!("../../tests/files/pump-gzip.parquet");
    const PLAIN: &[u8] = include_bytes!("../../tests/files/pump-plain.parquet");
    const ZSTD: &[u8] = include_bytes!("../../tests/files/pump-zstd.parquet");

    fn schema(input: &str) -> Schema {
        let task = RawTask::parse(&format!(
            "name = \"t\"\n[classes]\nnames = [\"ok\", \"blocked\"]\n[input]\n{input}\n\
             [features]\nstage = \"raw\""
        ));
        let task = task.unwrap();
        let classes = task.definition().classes.clone();
        let schema = Schema::new(task.input_shape().clone(), classes).unwrap();
        schema.with_input(task.input().clone())
    }

    const TABLE: &str = "kind = \"table\"\nmissing = \"skip-row\"\ncolumns = [{ name = \"flow_lpm\" }, \
                         { name = \"pressure_bar\" }, { name = \"valve\" }]";

    #[test]
    fn every_compression_gives_the_same_rows() {
        let schema = schema(TABLE);
        let read = |bytes| parse(bytes, &schema, &mut Vec::new()).unwrap();
        let (data, account) = read(SNAPPY);
        // Of 40 rows one has no flow.
        assert_eq!((account.rows, account.used), (40, 39));
        assert_eq!(data.class_counts(2), [29, 10]);
        assert_eq!(data.inputs().row(1).to_vec(), [13.0, 1.25, 1.0]);
        assert_eq!(read(GZIP).0, data);
        assert_eq!(read(PLAIN).0, data);
        assert_eq!(read(ZSTD).0, data);
        let refused = broken(ParquetError::General(
            "Disabled feature at compile time: brotli".to_owned(),
        ));
        assert!(refused.to_string().contains("zstd, snappy"), "{refused}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        std::fs::write(&path, SNAPPY).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(super::read(file, &schema).unwrap().data, data);
    }

    #[test]
    fn times_of_any_unit_are_times() {
        let series = "kind = \"series\"\nchannels = [\"pressure_bar\"]\nrate_hz = 2\nwindow_s = 2\n\
                      hop_s = 2\nlabel_share = 0.7";
        for column in ["at_ns", "at_us", "at_ms"] {
            let schema = schema(series).with_mapping(crate::data::Mapping {
                time_column: Some(column.to_owned()),
                ..Default::default()
            });
            let (data, account) = parse(SNAPPY, &schema, &mut Vec::new()).unwrap();
            assert_eq!(account.recordings.unwrap().rate_hz, 2.0, "{column}");
            assert!(data.rows() > 5, "{column}");
        }
        // A format that the owner gives for texts of other files changes nothing.
        let schema = schema(series).with_mapping(crate::data::Mapping {
            time_column: Some("at_us".to_owned()),
            time_format: crate::data::TimeFormat::Own("%m/%d/%Y %H:%M:%S".parse().unwrap()),
            decimal: Some(b','),
            ..Default::default()
        });
        let (data, _) = parse(SNAPPY, &schema, &mut Vec::new()).unwrap();
        assert!(data.rows() > 5);
        assert_eq!(moment(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(
            moment(1_709_210_096_000_000_000),
            "2024-02-29T12:34:56.000000000Z"
        );
        assert_eq!(date(-719_468), "0000-03-01");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damage_costs_the_file_and_nothing_else(
            at in 0usize..10_000, flip in 1u8.., cut in 0usize..10_000,
        ) {
            let schema = schema(TABLE);
            let mut bytes = SNAPPY.to_vec();
            let place = at % bytes.len();
            bytes[place] ^= flip;
            let _ = parse(&bytes, &schema, &mut Vec::new());
            let _ = parse(&SNAPPY[..cut % SNAPPY.len()], &schema, &mut Vec::new());
        }
    }

    #[test]
    fn what_is_no_parquet_file_is_refused() {
        let shape = InputShape::new(vec![2]).unwrap();
        let schema = Schema::new(shape, vec!["ok".to_owned()]).unwrap();
        let refused = parse(b"a,b,label\n", &schema, &mut Vec::new());
        assert!(matches!(refused, Err(ParseError::Parquet { .. })));
    }
}
