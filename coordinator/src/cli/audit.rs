//! `audit`: the log as a record for others.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use super::failure::Failure;
use super::operate::{print_json, unexpected};
use crate::admin::{Client, Request, Response};
use crate::journal::audit::{AuditRecord, AuditSpan};

/// Checks the running coordinator's log, or an export of one.
pub(super) fn verify(
    client: impl FnOnce() -> Result<Client, crate::admin::AdminError>,
    file: Option<&Path>,
    as_json: bool,
) -> Result<(), Failure> {
    let span = match file {
        Some(file) => verify_file(file)?,
        None => match client()?.ask(&Request::VerifyAudit)? {
            Response::Audit(span) => span,
            other => return Err(unexpected(&other)),
        },
    };
    if as_json {
        print_json(&span);
    } else {
        println!(
            "{} records, {} to {}, each tied to the one before",
            span.next - span.first,
            span.first,
            span.next.saturating_sub(1),
        );
        println!("last hash {}", span.hash);
        if span.first > 0 {
            println!(
                "records before {} are no longer kept; the last of them had the hash {}",
                span.first,
                span.previous.as_deref().unwrap_or("unknown"),
            );
        }
        if let Some(at) = span.snapshot {
            println!("a snapshot stands for all records before {at}, on this chain");
        }
    }
    Ok(())
}

/// Writes the log, one JSON object a line, checked on the way.
pub(super) fn export(
    client: &mut Client,
    from: Option<u64>,
    out: Option<&Path>,
) -> Result<(), Failure> {
    match out {
        None => copy(
            client,
            from,
            &mut io::stdout().lock(),
            Path::new("standard output"),
        ),
        Some(path) => {
            let mut options = OpenOptions::new();
            let opened = options.write(true).create_new(true).open(path);
            let file = opened.map_err(|source| failed("create", path, source))?;
            copy(client, from, &mut BufWriter::new(file), path)
        }
    }
}

fn copy(
    client: &mut Client,
    from: Option<u64>,
    out: &mut dyn Write,
    path: &Path,
) -> Result<(), Failure> {
    let mut from = from;
    let mut span: Option<AuditSpan> = None;
    loop {
        let records = match client.ask(&Request::ReadAudit { from })? {
            Response::AuditRecords(records) => records,
            other => return Err(unexpected(&other)),
        };
        if records.is_empty() {
            break;
        }
        for record in &records {
            let checked = record.follow(span.as_ref());
            span = Some(checked.map_err(|error| Failure::Audit(error.to_string()))?);
            let line = serde_json::to_string(record)
                .map_err(|error| failed("write", path, error.into()))?;
            match writeln!(out, "{line}") {
                // Anyone who read the lines has had enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written.map_err(|source| failed("write", path, source))?,
            }
        }
        from = span.as_ref().map(|span| span.next);
    }
    out.flush().map_err(|source| failed("write", path, source))
}

fn verify_file(path: &Path) -> Result<AuditSpan, Failure> {
    let file = File::open(path).map_err(|source| failed("read", path, source))?;
    let mut span: Option<AuditSpan> = None;
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|source| failed("read", path, source))?;
        let record: AuditRecord = serde_json::from_str(&line).map_err(|error| {
            Failure::Audit(format!("line {} is no record: {error}", number + 1))
        })?;
        let checked = record.follow(span.as_ref());
        span = Some(checked.map_err(|error| Failure::Audit(error.to_string()))?);
    }
    span.ok_or_else(|| Failure::Audit("the file holds no record".to_owned()))
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> Failure {
    Failure::File {
        action,
        path: path.to_owned(),
        source,
    }
}
