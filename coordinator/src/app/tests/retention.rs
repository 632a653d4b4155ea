use super::rig::{PAIR, Rig};
use crate::admin::{Request, Response};
use crate::journal::Retention;
use crate::journal::replay;
use crate::store::Store;

#[tokio::test]
async fn the_log_is_kept_short_while_it_is_served() {
    let rig = Rig::begin(|parts| {
        parts.retention = Retention {
            rounds: Some(2),
            blob_rounds: 1,
        };
    });
    let task = rig.task(PAIR).await;
    let orphan = rig.store.put_blob(b"its event never came").unwrap();
    let mut rounds = 0;
    let store = loop {
        let cancelled = rig.operate(|client| {
            client.start_round(None, false)?;
            client.ask(&Request::CancelRound { task: None })
        });
        cancelled.await.unwrap();
        rounds += 1;
        let store = rig.status().await.store.unwrap();
        if store.first > 0 {
            break store;
        }
        assert!(rounds < 5_000, "no record went in {rounds} rounds");
    };
    assert!(store.snapshot.is_some_and(|at| at > store.first));
    assert!(store.bytes.is_some());
    let checked = rig.operate(|client| client.ask(&Request::VerifyAudit));
    let Response::Audit(span) = checked.await.unwrap() else {
        panic!("no audit")
    };
    assert!(span.first >= store.first && span.next > span.first);
    assert!(span.snapshot.is_some());
    let before = rig.store.begin().unwrap();
    assert!(before.next.0 >= span.first);
    // The sweep is the last thing that an compaction does.
    let mut asked = 0;
    while rig.store.has_blob(orphan).unwrap() {
        rig.status().await;
        asked += 1;
        assert!(asked < 100_000, "the orphan stays");
    }

    let (store, _) = rig.stop().await;
    let replayed = replay(store.as_ref()).unwrap();
    assert_eq!(replayed.tasks[0].0.hash(), task);
    assert_eq!(replayed.tasks[0].1.last_round.0, rounds);
    assert!(replayed.snapshot.is_some());
}
