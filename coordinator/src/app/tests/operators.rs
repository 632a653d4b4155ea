use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use super::rig::{PAIR, Rig};
use crate::admin::{AdminError, Client, LINE_BYTES_MAX, Request, Response};
use crate::backup::PieceName;
use crate::status::{Fault, FaultKind, OutcomeStatus, Progress};
use crate::store::{Position, Store, unpack};

/// Nobody joins in time.
const LONELY: &str = r#"
name = "lonely"
[input]
shape = [2]
[classes]
names = ["off", "on"]
[rounds.deadline_s]
profile = 0.1
"#;

fn fault(error: AdminError) -> Fault {
    match error {
        AdminError::Fault(fault) => fault,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_watched_round_without_devices_ends_at_its_deadline() {
    let rig = Rig::start();
    rig.task(LONELY).await;
    let ended = rig.operate(|client| client.run_round(None, |_| {})).await;
    let Progress::Ended { outcome, .. } = ended.unwrap() else {
        panic!("not an end")
    };
    let OutcomeStatus::QuorumNotMet { got, needed, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((got, needed), (0, 2));
}

#[tokio::test]
async fn creating_the_same_task_twice_makes_one() {
    let rig = Rig::start();
    let task = rig.task(PAIR).await;
    let again = rig
        .operate(|client| client.create_task(PAIR))
        .await
        .unwrap();
    assert_eq!((again.task, again.created), (task, false));
    let wrong = format!("{PAIR}\n[budget]\npoints_max = 0");
    let refused = rig.operate(move |client| client.create_task(&wrong)).await;
    let refused = fault(refused.unwrap_err());
    assert_eq!(refused.kind, FaultKind::Invalid);
    assert!(refused.message.contains("budget.points_max"), "{refused}");
    let rig = rig.restart().await;
    assert_eq!(rig.status().await.tasks.len(), 1);
}

#[tokio::test]
async fn what_is_missing_or_busy_is_said_so() {
    let rig = Rig::start();
    let start =
        |name: Option<&'static str>| rig.operate(move |client| client.start_round(name, false));
    let kind = |outcome: Result<_, AdminError>| fault(outcome.unwrap_err()).kind;
    assert_eq!(kind(start(None).await), FaultKind::NotFound);
    rig.task(PAIR).await;
    assert_eq!(kind(start(Some("other")).await), FaultKind::NotFound);
    start(Some("pair")).await.unwrap();
    assert_eq!(kind(start(None).await), FaultKind::Busy);
    let cancel = || rig.operate(|client| client.ask(&Request::CancelRound { task: None }));
    assert_eq!(cancel().await.unwrap(), Response::Done);
    assert_eq!(fault(cancel().await.unwrap_err()).kind, FaultKind::NotFound);
    rig.task(LONELY).await;
    assert_eq!(kind(start(None).await), FaultKind::Invalid, "which of two?");
    let release = rig
        .operate(|client| client.release(Some("pair"), None))
        .await;
    assert_eq!(fault(release.unwrap_err()).kind, FaultKind::NotFound);
}

#[tokio::test]
async fn a_malformed_request_leaves_the_connection_usable() {
    let rig = Rig::start();
    let socket = rig.socket.clone();
    let (first, second, long) = tokio::task::spawn_blocking(move || {
        let mut stream = BufReader::new(UnixStream::connect(&socket).unwrap());
        let mut lines = [String::new(), String::new()];
        for (request, line) in ["{\"fly\":{}}\n", "\"status\"\n"].iter().zip(&mut lines) {
            stream.get_mut().write_all(request.as_bytes()).unwrap();
            stream.read_line(line).unwrap();
        }
        let [first, second] = lines;
        let mut long = String::new();
        // The server may hang up before all of it is written.
        let _ = stream.get_mut().write_all(&vec![b' '; LINE_BYTES_MAX + 1]);
        let _ = stream.read_line(&mut long);
        (first, second, long)
    })
    .await
    .unwrap();
    assert!(first.contains("invalid"), "{first}");
    assert!(matches!(
        serde_json::from_str(&second).unwrap(),
        Response::Status(_)
    ));
    assert_eq!(long, "");
}

#[tokio::test]
async fn only_its_owner_may_use_the_socket() {
    let rig = Rig::start();
    let mode = std::fs::metadata(&rig.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn nobody_at_the_socket_says_how_to_start() {
    let rig = Rig::start();
    let socket = rig.socket.clone();
    rig.stop().await;
    let error = crate::admin::Client::connect(&socket).unwrap_err();
    assert!(matches!(error, AdminError::Unreachable { .. }));
    assert!(error.to_string().contains("alambic-coordinator serve"));
}

#[test]
fn requests_and_answers_survive_their_lines() {
    let request = Request::StartRound {
        task: Some("har".into()),
        watch: true,
    };
    let line = serde_json::to_string(&request).unwrap();
    assert_eq!(line, r#"{"start_round":{"task":"har","watch":true}}"#);
    assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
    let progress = Response::Progress(Progress::Ended {
        task: common::ids::TaskHash([1; 32]),
        round: common::ids::RoundId(3),
        outcome: OutcomeStatus::Cancelled,
        phase_ms: common::round::Phase::ALL.map(|phase| (phase, 7)).into(),
        wall_ms: 49,
        at: common::ids::Time(5),
    });
    let line = serde_json::to_string(&progress).unwrap();
    assert!(line.contains(r#""summarise":7"#), "{line}");
    assert_eq!(serde_json::from_str::<Response>(&line).unwrap(), progress);
}

#[tokio::test]
async fn the_log_is_a_record_that_checks_itself() {
    let rig = Rig::start();
    let device = rig.device().await;
    let reason = "sold".to_owned();
    rig.done(Request::RevokeDevice {
        device: device.id,
        reason,
    })
    .await
    .unwrap();
    let records = rig
        .operate(|client| client.ask(&Request::ReadAudit { from: None }))
        .await;
    let Response::AuditRecords(records) = records.unwrap() else {
        panic!("not records")
    };
    let kinds: Vec<_> = records
        .iter()
        .map(|record| {
            record.event["registry"]
                .as_object()
                .unwrap()
                .keys()
                .next()
                .unwrap()
                .clone()
        })
        .collect();
    assert_eq!(kinds, ["token_created", "admitted", "revoked"]);
    let mut span = None;
    for record in &records {
        span = Some(record.follow(span.as_ref()).unwrap());
    }
    let checked = rig
        .operate(|client| client.ask(&Request::VerifyAudit))
        .await
        .unwrap();
    assert_eq!(checked, Response::Audit(span.unwrap()));
    let beyond = rig
        .operate(|client| client.ask(&Request::ReadAudit { from: Some(99) }))
        .await
        .unwrap();
    assert_eq!(beyond, Response::AuditRecords(Vec::new()));
}

#[tokio::test]
async fn the_store_is_copied_while_it_is_written() {
    let rig = Rig::start();
    rig.task(PAIR).await;
    let large = rig.store.put_blob(&vec![3; 8 << 20]).unwrap();
    let socket = rig.socket.clone();
    let mut copying = tokio::task::spawn_blocking(move || {
        let mut client = Client::connect(socket).unwrap();
        (client.copy_store().unwrap(), client)
    })
    .await
    .unwrap();
    let second = rig.operate(|client| client.copy_store()).await;
    assert_eq!(fault(second.unwrap_err()).kind, FaultKind::Busy);
    // Stored after the copy began, and none of it.
    rig.token(1).await;
    let pieces = tokio::task::spawn_blocking(move || {
        let mut pieces = Vec::new();
        while let Some(piece) = copying.1.next_piece().unwrap() {
            pieces.push(piece);
        }
        // The connection is as good as before.
        copying.1.status().unwrap();
        (copying.0, pieces)
    });
    let (contents, pieces) = pieces.await.unwrap();
    assert_eq!((contents.records(), contents.blobs), (1, 2));
    assert_eq!(rig.store.head().unwrap().next, Position(2));
    let (name, bytes) = &pieces[0];
    assert_eq!(*name, PieceName::Log(Position(0)));
    let records = unpack(Position(0), bytes).unwrap();
    assert_eq!(records[0].hash().to_string(), contents.hash);
    assert!(
        pieces
            .iter()
            .any(|(name, bytes)| { *name == PieceName::Blob(large) && bytes.len() == 8 << 20 })
    );
    // Anyone who comes next may copy again, once the server has seen the end.
    rig.operate(|client| {
        client.status()?;
        client.copy_store()
    })
    .await
    .unwrap();
}
