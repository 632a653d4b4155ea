//! Tables of SQLite databases: the rows of a query.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::account::Account;
use super::note::Note;
use super::schema::{ParseError, Schema};
use super::table::{CellType, TypedRecord, parse_records};
use super::{Dataset, FileRows};

/// Reads the rows of `[data] query`, or of the one table that there is, out of
/// a database, which is not written to. Rows are made as they are asked for, so
/// memory does not grow with them. What a program that has it open has not
/// checkpointed yet is read as well, where the folder can be written to.
///
/// # Errors
/// [`ParseError::Database`] for what is no database or no query,
/// [`ParseError::NoQuery`] where several tables need one, and as for a table
/// of text.
pub(super) fn read(path: &Path, schema: &Schema) -> Result<FileRows, ParseError> {
    let mut notes = Vec::new();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).map_err(refused)?;
    let read = match rows(&opened, schema, &mut notes) {
        // In a folder that cannot be written to there is no place for what
        // programs that read and write at the same time agree by.
        Err(Refusal::Sqlite(error)) if is_unopened(&error) => {
            let uri = immutable(path);
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            let opened = Connection::open_with_flags(uri, flags).map_err(refused)?;
            notes.clear();
            rows(&opened, schema, &mut notes)
        }
        read => read,
    };
    let (data, account) = read.map_err(ParseError::from)?;
    Ok(FileRows {
        data,
        notes,
        account,
    })
}

/// The same of a database that is in memory.
///
/// # Errors
/// As [`read`].
pub(super) fn parse(
    bytes: &[u8],
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), ParseError> {
    if !bytes.starts_with(MAGIC) {
        let reason = "it is no SQLite database".to_owned();
        return Err(ParseError::Database { reason });
    }
    let mut connection = Connection::open_in_memory().map_err(refused)?;
    connection
        .deserialize_read_exact("main", bytes, bytes.len(), true)
        .map_err(refused)?;
    Ok(rows(&connection, schema, notes)?)
}

/// Why no rows come.
enum Refusal {
    Sqlite(rusqlite::Error),
    Parse(ParseError),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Refusal> for ParseError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Sqlite(error) => refused(error),
            Refusal::Parse(error) => error,
        }
    }
}

fn refused(error: rusqlite::Error) -> ParseError {
    ParseError::Database {
        reason: error.to_string(),
    }
}

fn is_unopened(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

fn rows(
    connection: &Connection,
    schema: &Schema,
    notes: &mut Vec<Note>,
) -> Result<(Dataset, Account), Refusal> {
    connection.busy_timeout(BUSY)?;
    // Nothing that stands in a file is run, and large sorts go to the disk.
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA temp_store = FILE;")?;
    let moved = || {
        common::liveness::heartbeat();
        false
    };
    connection.progress_handler(STEPS, Some(moved));
    let query = match &schema.mapping().query {
        Some(query) => query.clone(),
        None => only_table(connection)?,
    };
    let mut statement = connection.prepare(&query)?;
    if !statement.readonly() {
        let reason = "data.query changes the database; it must only read".to_owned();
        return Err(Refusal::Parse(ParseError::Database { reason }));
    }
    let names = statement.column_names();
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let columns = names.len();
    let mut found = statement.query([])?;
    let mut next = |record: &mut TypedRecord| {
        record.clear();
        let Some(row) = found.next().map_err(refused)? else {
            return Ok(false);
        };
        for column in 0..columns {
            match row.get_ref(column).map_err(refused)? {
                ValueRef::Null => record.push("", CellType::Text),
                ValueRef::Integer(value) => record.push(&value.to_string(), CellType::Number),
                ValueRef::Real(value) => record.push(&value.to_string(), CellType::Number),
                ValueRef::Text(text) => {
                    record.push(&String::from_utf8_lossy(text), CellType::Text);
                }
                ValueRef::Blob(bytes) => {
                    record.push(&format!("{} bytes of a blob", bytes.len()), CellType::Text);
                }
            }
        }
        Ok(true)
    };
    parse_records(names, &mut next, schema, notes).map_err(Refusal::Parse)
}

/// A query of the one table or view that there is.
fn only_table(connection: &Connection) -> Result<String, Refusal> {
    let query = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') \
                 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name LIMIT 20";
    let mut statement = connection.prepare(query)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let names: Vec<String> = names.collect::<Result<_, _>>()?;
    match names.as_slice() {
        [] => Err(Refusal::Parse(ParseError::Database {
            reason: "it has no table yet; wait until the program that writes it has made one, or \
                     name another file (data.files)"
                .to_owned(),
        })),
        [only] => Ok(format!("SELECT * FROM \"{}\"", only.replace('"', "\"\""))),
        _ => Err(Refusal::Parse(ParseError::NoQuery { tables: names })),
    }
}

/// The address of a file that nobody writes to meanwhile.
fn immutable(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(byte));
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri + "?immutable=1"
}

/// What a database begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// How long another program may hold a lock.
const BUSY: Duration = Duration::from_secs(5);
/// Steps of a query between two signs of life.
const STEPS: std::ffi::c_int = 100_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::Mapping;
    use common::features::InputShape;

    /// Made by `sqlite3`, see `edge-agent/tests/files/README.md`.
    const PUMP: &[u8] = include_bytes!("../../tests/files/pump.sqlite");

    fn schema(query: Option<&str>) -> Schema {
        let classes = vec!["ok".to_owned(), "blocked".to_owned()];
        let schema = Schema::new(InputShape::new(vec![2]).unwrap(), classes).unwrap();
        schema.with_mapping(Mapping {
            query: query.map(str::to_owned),
            ..Mapping::default()
        })
    }

    const QUERY: &str = "SELECT flow_lpm, pressure_bar, state AS label FROM readings \
                         JOIN states USING (id) WHERE flow_lpm IS NOT NULL ORDER BY id";

    #[test]
    fn a_query_reads_from_memory_and_disk() {
        let schema = schema(Some(QUERY));
        let (data, account) = parse(PUMP, &schema, &mut Vec::new()).unwrap();
        assert_eq!((account.rows, data.class_counts(2)), (40, vec![30, 10]));
        assert_eq!(data.inputs().row(0).to_vec(), [12.5, 1.25]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b%.sqlite");
        std::fs::write(&path, PUMP).unwrap();
        assert_eq!(read(&path, &schema).unwrap().data, data);
        let uri = immutable(&path);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let opened = Connection::open_with_flags(uri, flags).unwrap();
        let again = rows(&opened, &schema, &mut Vec::new());
        assert_eq!(again.map_err(ParseError::from).unwrap().0, data);
    }

    #[test]
    fn the_decimal_sign_holds_for_texts_and_not_for_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sqlite");
        let made = "CREATE TABLE t (a TEXT, b REAL, label TEXT);
                    INSERT INTO t VALUES ('2,345', 4.125, 'ok'), ('3,100', 5, 'ok');";
        Connection::open(&path)
            .unwrap()
            .execute_batch(made)
            .unwrap();
        let decimal = |decimal| {
            let mapping = Mapping {
                decimal,
                ..Mapping::default()
            };
            read(&path, &schema(None).with_mapping(mapping))
        };
        let rows = |found: FileRows| found.data.inputs().iter().copied().collect::<Vec<_>>();
        assert_eq!(rows(decimal(Some(b',')).unwrap()), [2.345, 4.125, 3.1, 5.0]);
        assert_eq!(
            rows(decimal(Some(b'.')).unwrap()),
            [2345.0, 4.125, 3100.0, 5.0]
        );
        assert!(matches!(decimal(None), Err(ParseError::Decimal { .. })));
        let more = "INSERT INTO t VALUES ('1,5', 1.5, 'ok');";
        Connection::open(&path)
            .unwrap()
            .execute_batch(more)
            .unwrap();
        assert_eq!(rows(decimal(None).unwrap())[..2], [2.345, 4.125]);
    }

    #[test]
    fn what_another_program_has_not_checkpointed_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sqlite");
        let writer = Connection::open(&path).unwrap();
        let made = "PRAGMA journal_mode = WAL; CREATE TABLE t (a REAL, b REAL, label TEXT);
                    INSERT INTO t VALUES (1, 2, 'ok'), (3, 4, 'blocked');";
        writer.execute_batch(made).unwrap();
        let found = read(&path, &schema(None)).unwrap();
        assert_eq!(found.data.class_counts(2), [1, 1]);
    }

    #[test]
    fn refusals_say_what_to_write() {
        let refusal = |query| parse(PUMP, &schema(query), &mut Vec::new()).unwrap_err();
        let several = refusal(None);
        assert!(
            several.to_string().contains("readings, states"),
            "{several}"
        );
        assert_eq!(
            several.mend().unwrap(),
            "query = \"SELECT … FROM readings\""
        );
        for (query, said) in [
            ("SELECT nonsense FROM readings", "no such column: nonsense"),
            ("DELETE FROM readings", "must only read"),
        ] {
            let text = refusal(Some(query)).to_string();
            assert!(text.contains(said), "{text}");
        }
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.db");
        std::fs::write(&empty, b"").unwrap();
        let refused = read(&empty, &schema(None)).unwrap_err().to_string();
        assert!(refused.contains("has no table yet"), "{refused}");
        let damaged = parse(&PUMP[..5_000], &schema(Some(QUERY)), &mut Vec::new());
        assert!(matches!(damaged, Err(ParseError::Database { .. })));
        let other = parse(b"a,b,label\n", &schema(None), &mut Vec::new());
        assert!(matches!(other, Err(ParseError::Database { .. })));
    }
}
