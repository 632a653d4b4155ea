//! Tables as devices write them, for one task.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::Path;

use common::task::RawTask;
use proptest::prelude::*;

use super::super::schema::{LabelSource, ParseError, Place, Problem, Schema};
use super::super::source::{BadRows, ColumnSource, Encoding, Mapping};
use super::super::{Dataset, Ending, FileRows, Note, Unused};

/// What the pump's task wants.
const TASK: &str = "name = \"pump\"\n[classes]\nnames = [\"ok\", \"blocked\"]\n[input]\n\
    kind = \"table\"\ncolumns = [{ name = \"flow\", unit = \"l/min\" }, \
    { name = \"pressure\", unit = \"bar\" }, { name = \"mode\", values = [\"auto\", \"manual\"] }]\n";

/// How two rows of it are read.
const ROWS: [[f32; 4]; 2] = [[2.5, 4.0, 1.0, 0.0], [1.25, 5.5, 0.0, 1.0]];

fn schema(more: &str) -> Schema {
    let task = RawTask::parse(&format!("{TASK}{more}")).unwrap();
    let classes = task.definition().classes.clone();
    let schema = Schema::new(task.input_shape().clone(), classes).unwrap();
    schema.with_input(task.input().clone())
}

fn read(bytes: &[u8], schema: &Schema) -> Result<FileRows, ParseError> {
    Dataset::read(Path::new("a.csv"), bytes, schema, Ending::Closed)
}

fn column(name: &str, from: Option<&str>) -> ColumnSource {
    ColumnSource {
        name: name.to_owned(),
        from: from.map(str::to_owned),
        ..ColumnSource::default()
    }
}

fn is_the_pump(found: &FileRows) -> bool {
    let rows: Vec<f32> = ROWS.concat();
    let values = found.data.inputs().iter().copied().collect::<Vec<_>>();
    values == rows && found.data.labels() == [Some(0), Some(1)]
}

#[test]
fn what_is_unambiguous_is_read_without_a_word_of_the_owner() {
    let plain = "flow,pressure,mode,label\n2.5,4,auto,ok\n1.25,5.5,manual,blocked\n";
    let utf16: Vec<u8> = [0xfeff]
        .into_iter()
        .chain(plain.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    for bytes in [
        plain.as_bytes(),
        b"timestamp,id,label,mode,Pressure,FLOW\n2026-01-01,7,ok,auto,4,2.5\n2026-01-02,8,blocked,manual,5.5,1.25\n",
        b"flow (L/min);pressure [bar];mode;label\n2,5;4;AUTO;OK\n1,25;5,5;manual;Blocked\n",
        b"flow\tpressure\tmode\tlabel\n2.5\t4\tauto\tok\n1.25\t5.5\tmanual\tblocked\n",
        "\u{feff}flow,pressure,mode,label\n2.5,4,auto,ok\n1.25,5.5,manual,blocked\n".as_bytes(),
        b"# pump 7\nflow,pressure,mode,label,\n2.5,4,auto,ok,\n1.25,5.5,manual,blocked,\n",
        &utf16,
    ] {
        let found = read(bytes, &schema("")).unwrap();
        assert!(is_the_pump(&found), "{}: {found:?}", String::from_utf8_lossy(bytes));
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    packed.write_all(plain.as_bytes()).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(
        plain.as_bytes(),
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    for (name, bytes) in [("a.csv.gz", packed.finish().unwrap()), ("a.csv.zst", zstd)] {
        let found = Dataset::read(Path::new(name), &bytes, &schema(""), Ending::Open);
        assert!(is_the_pump(&found.unwrap()), "{name}");
    }
}

#[test]
fn what_the_owner_says_is_done() {
    let mapped = Mapping {
        columns: vec![
            ColumnSource {
                unit: Some("m3/h".to_owned()),
                ..column("flow", Some("Durchfluß"))
            },
            ColumnSource {
                scale: Some(0.01),
                offset: Some(0.5),
                ..column("pressure", Some("p"))
            },
        ],
        labels: vec![
            ("läuft".to_owned(), "ok".to_owned()),
            ("1".to_owned(), "blocked".to_owned()),
        ],
        encoding: Some(Encoding::Latin1),
        ..Mapping::default()
    };
    let text = "Durchfluß;p;mode;Zustand\n0,15;350;auto;Läuft\n0,075;500;manual;1\n";
    let latin: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    let own = schema("").with_mapping(mapped);
    let own = own.with_labels(LabelSource::Column("Zustand".to_owned()));
    let found = read(&latin, &own).unwrap();
    assert!(is_the_pump(&found), "{found:?}");
    assert_eq!(found.notes, [Note::DecimalComma]);

    let names = ["flow", "pressure", "x", "mode", "label"].map(str::to_owned);
    let headless = Mapping {
        names: Some(names.to_vec()),
        separator: Some(b' '),
        ..Mapping::default()
    };
    let bytes = b"2.5   4 9 auto ok\n 1.25 5.5  9 manual blocked\n";
    let found = read(bytes, &schema("").with_mapping(headless)).unwrap();
    assert!(is_the_pump(&found), "{found:?}");
}

#[test]
fn what_is_not_understood_says_the_line_to_add() {
    for (text, said) in [
        (
            "flow_lpm,pressure,mode,label\n1,2,auto,ok\n",
            "columns.flow = { from = \"flow_lpm\" }",
        ),
        (
            "flow (m3/h),pressure,mode,label\n1,2,auto,ok\n",
            "columns.flow = { from = \"flow (m3/h)\", unit = \"m3/h\" }",
        ),
        (
            "flow [furlong],pressure,mode,label\n1,2,auto,ok\n",
            "columns.flow = { from = \"flow [furlong]\", scale = …, offset = … }",
        ),
        (
            "flow,pressure,mode,state\n1,2,auto,ok\n",
            "label_column = \"state\"",
        ),
        (
            "flow,pressure,mode,state\n1,2,auto,7\n",
            "labels_file = \"labels.csv\"",
        ),
        (
            "flow,pressure,mode,label\n1,2,auto,fine\n",
            "labels = { \"fine\" = \"CLASS\" }",
        ),
        (
            "flow,pressure,mode,label\n1,,auto,ok\n",
            "bad_rows = \"skip\"",
        ),
        (
            "flow;pressure;mode;label\n1,234;2;auto;ok\n",
            "decimal = \",\"",
        ),
        ("1,2,3,4\n1,2,3,4\n", "names = ["),
        (
            "flow Flow,pressure,mode,label,flow-flow\n1,2,auto,ok,3\n",
            "columns.flow",
        ),
    ] {
        let said_of = read(text.as_bytes(), &schema("")).unwrap_err().to_string();
        assert!(said_of.contains(said), "{text}: {said_of}");
    }
    let latin = read(b"flow,pressure,mode,label\n1,2,auto,\xe4\n", &schema("")).unwrap_err();
    assert!(
        latin.to_string().contains("encoding = \"latin-1\""),
        "{latin}"
    );
}

#[test]
fn two_columns_of_one_name_are_not_chosen_from() {
    let twice = read(
        b"Flow,FLOW,pressure,mode,label\n1,2,3,auto,ok\n",
        &schema(""),
    );
    assert!(
        matches!(twice, Err(ParseError::TwoColumns { .. })),
        "{twice:?}"
    );
}

const GAPS: &[u8] = b"flow,pressure,mode,label\n2.5,4,auto,ok\n,1,auto,ok\n3,NaN,auto,ok\n4,4,,ok\n1.25,5.5,manual,blocked\n";

#[test]
fn a_missing_value_costs_what_the_task_says() {
    let refused = read(GAPS, &schema("")).unwrap_err();
    let place = Place::Cell {
        line: 3,
        column: "flow".to_owned(),
    };
    let problem = Problem::Missing;
    assert_eq!(refused, ParseError::At { place, problem });

    let found = read(GAPS, &schema("missing = \"skip-row\"")).unwrap();
    assert!(is_the_pump(&found), "{found:?}");
    assert_eq!((found.account.rows, found.account.used), (5, 2));
    let (count, places) = &found.account.unused[&Unused::Missing];
    assert_eq!(*count, 3);
    assert!(
        places[0].contains("line 3") && places[0].contains("flow"),
        "{places:?}"
    );

    let found = read(GAPS, &schema("missing = \"mean\"")).unwrap();
    assert_eq!(found.data.rows(), 5);
    let row = |row: usize| found.data.inputs().row(row).to_vec();
    assert!(row(1)[0].is_nan() && row(1)[1] == 1.0);
    assert!(row(3)[2].is_nan() && row(3)[3].is_nan() && row(3)[0] == 4.0);
    assert_eq!(found.account.columns[1].missing, 1);
}

#[test]
fn a_bad_row_costs_itself_where_the_owner_says_so() {
    let text = b"flow,pressure,mode,label\n2.5,4,auto,ok\nx,4,auto,ok\n1,2\n1,2,auto,fine\n9e36,1,auto,ok\n1,1,turbo,ok\n1.25,5.5,manual,blocked\n";
    assert!(read(text, &schema("")).is_err());
    let skips = Mapping {
        bad_rows: BadRows::Skip,
        ..Mapping::default()
    };
    let own = schema("").with_mapping(skips);
    let found = read(text, &own).unwrap();
    assert!(is_the_pump(&found), "{found:?}");
    let reasons: Vec<Unused> = found.account.unused.keys().copied().collect();
    assert_eq!(
        reasons,
        [
            Unused::NotANumber,
            Unused::OutOfRange,
            Unused::UnknownClass,
            Unused::UnknownValue,
            Unused::Columns,
        ]
    );
    // Where no row can be read, it is the file that is not understood.
    let none = b"flow,pressure,mode,label\nx,4,auto,ok\ny,4,auto,ok\n";
    assert!(matches!(read(none, &own), Err(ParseError::At { .. })));
}

#[test]
fn labels_of_arrays_stand_in_the_column_that_is_named() {
    use common::npz::{self, Array, Values};
    let array = |shape: &[usize], values| Array::new(shape.to_vec(), values).unwrap();
    let x = array(&[2, 4], Values::F32(ROWS.concat()));
    let (y, state) = (
        array(&[2], Values::I64(vec![1, 0])),
        array(
            &[2],
            Values::Text(vec!["OK".to_owned(), "stuck".to_owned()]),
        ),
    );
    let bytes = npz::write(&[("X", &x), ("y", &y), ("state", &state)]).unwrap();
    let words = Mapping {
        labels: vec![("stuck".to_owned(), "blocked".to_owned())],
        ..Mapping::default()
    };
    let named = schema("").with_labels(LabelSource::Column("state".to_owned()));
    let named = named.with_mapping(words);
    let found = Dataset::read(Path::new("a.npz"), &bytes, &named, Ending::Closed).unwrap();
    assert!(is_the_pump(&found), "{found:?}");
    let usual = Dataset::parse(Path::new("a.npz"), &bytes, &schema("")).unwrap();
    assert_eq!(usual.labels(), [Some(1), Some(0)]);
}

#[test]
fn lines_before_the_header_are_left_out() {
    let table = "flow;pressure;mode;label\n1,5;2;auto;ok\n2,5;3;manual;blocked\n";
    let whole = read(table.as_bytes(), &schema("")).unwrap();
    let logged = format!("Logger XYZ;v1\nSerial: 123, made in 2026\n\n{table}");
    let found = read(logged.as_bytes(), &schema("")).unwrap();
    assert_eq!(found.data, whole.data);
    assert!(found.notes.contains(&Note::Preamble { lines: 3 }));
    let torn = logged.replace("2,5;", "x;");
    let refused = read(torn.as_bytes(), &schema("")).unwrap_err().to_string();
    assert!(refused.starts_with("line 6,"), "{refused}");
    // A header that lacks the label is still the header.
    let other = table.replace("label", "state");
    let refused = read(other.as_bytes(), &schema("")).unwrap_err();
    assert!(
        matches!(refused, ParseError::NoLabelColumn { .. }),
        "{refused}"
    );
    assert!(
        !whole
            .notes
            .iter()
            .any(|note| matches!(note, Note::Preamble { .. }))
    );
}

#[test]
fn a_blank_before_a_quote_is_no_part_of_a_name() {
    let plain = "flow,pressure,mode,label\n1.5,2,auto,ok\n2.5,3,manual,blocked\n";
    let quoted = "\"flow\", \"pressure\", \"mode\", \"label\"\n\"1.5\", \"2\", \"auto\", \"ok\"\n\
                  2.5, 3, \"manual\", \"blocked\"\n";
    let read = |text: &str| read(text.as_bytes(), &schema("")).unwrap().data;
    assert_eq!(read(quoted), read(plain));
}

proptest! {
    #[test]
    fn any_text_and_mapping_are_answered_without_panic(
        text in "([a-z0-9.,;|\t\" -]|\n){0,120}",
        separator in prop::option::of(prop::sample::select(vec![b',', b';', b'\t', b' ', b'|'])),
        comma in any::<bool>(),
        skip in any::<bool>(),
        names in prop::option::of(prop::collection::vec("[a-c]{1,2}", 1..5)),
        time in prop::option::of("[ab]"),
    ) {
        let mapping = Mapping {
            separator,
            decimal: comma.then_some(b','),
            names,
            bad_rows: if skip { BadRows::Skip } else { BadRows::Refuse },
            group_column: time.clone(),
            time_column: time,
            columns: vec![column("flow", Some("a"))],
            ..Mapping::default()
        };
        for more in ["", "missing = \"mean\"", "missing = \"skip-row\""] {
            let own = schema(more).with_mapping(mapping.clone());
            let _ = read(text.as_bytes(), &own);
            let _ = read(format!("flow,pressure,mode,label\n{text}").as_bytes(), &own);
        }
    }

    #[test]
    fn a_table_means_the_same_in_any_order_of_its_columns(
        rows in prop::collection::vec((-1e6f32..1e6, -1e3f32..1e3, any::<bool>(), 0usize..2), 1..20),
        order in Just([0usize, 1, 2, 3, 4]).prop_shuffle(),
        separator in prop::sample::select(vec![',', ';', '\t', '|']),
    ) {
        let line = |cells: [String; 5]| {
            let cells: Vec<&str> = order.iter().map(|&at| cells[at].as_str()).collect();
            cells.join(&separator.to_string()) + "\n"
        };
        let mut text = line(["flow", "pressure", "mode", "label", "id"].map(str::to_owned));
        for (row, (flow, pressure, manual, class)) in rows.iter().enumerate() {
            let mode = if *manual { "manual" } else { "auto" };
            let class = ["ok", "blocked"][*class];
            text.push_str(&line([flow.to_string(), pressure.to_string(), mode.into(), class.into(), row.to_string()]));
        }
        let data = read(text.as_bytes(), &schema("")).unwrap().data;
        for (row, (flow, pressure, manual, class)) in rows.into_iter().enumerate() {
            let manual = f32::from(u8::from(manual));
            prop_assert_eq!(data.inputs().row(row).to_vec(), vec![flow, pressure, 1.0 - manual, manual]);
            prop_assert_eq!(data.labels()[row], Some(class as u16));
        }
    }
}
