//! Tasks that are put away, deleted, or have a namesake.

use super::*;

/// Another task of the same name.
fn namesake() -> Arc<Task> {
    Arc::new(RawTask::parse(&format!("{TASK}\n[teacher]\ndepth = 3")).unwrap())
}

fn archive(driven: &mut Driven, name: Option<&str>, away: bool) -> Result<(), Fault> {
    let name = name.map(str::to_owned);
    let id = driven.admin(|reply| AdminCommand::ArchiveTask { name, away, reply });
    driven.commit();
    driven.answer(id).unwrap()
}

fn delete(driven: &mut Driven, name: &str) -> Result<(), Fault> {
    let name = name.to_owned();
    let id = driven.admin(|reply| AdminCommand::DeleteTask { name, reply });
    driven.commit();
    driven.answer(id).unwrap()
}

fn start(driven: &mut Driven) -> Result<(TaskHash, RoundId), Fault> {
    let id = driven.start_round();
    driven.commit();
    driven.answer(id).unwrap()
}

fn calls(driven: &mut Driven) -> usize {
    let is_call = |one: &Effect| {
        matches!(
            one,
            Effect::Send {
                message: ToDevice::Call(_),
                ..
            }
        )
    };
    let calls = driven.done.iter().filter(|one| is_call(one)).count();
    driven.done.clear();
    calls
}

#[test]
fn an_archived_task_has_no_round_until_it_is_taken_out() {
    let (mut driven, ContributionKey { task, .. }) = in_round();
    driven.commit();
    archive(&mut driven, None, true).unwrap();
    let state = driven.core.engine(task).unwrap().state().clone();
    assert!(state.round.is_none() && state.archived.is_some());
    let ended = state.history.last().unwrap();
    assert_eq!(ended.outcome, Outcome::Cancelled);
    driven.done.clear();

    let refused = start(&mut driven).unwrap_err();
    assert!(refused.message.contains("unarchive"), "{refused:?}");
    driven.connect(77);
    driven.core.tick(Time(NOW.0 + 1_000_000_000));
    driven.perform();
    assert_eq!(calls(&mut driven), 0);
    assert_eq!(driven.core.timeout(), None);
    let twice = archive(&mut driven, None, true).unwrap_err();
    assert!(twice.message.contains("already"), "{twice:?}");

    archive(&mut driven, None, false).unwrap();
    let (of, round) = start(&mut driven).unwrap();
    assert_eq!((of, round), (task, RoundId(2)));
    assert_eq!(calls(&mut driven), 1);
}

#[test]
fn an_archived_tasks_students_are_still_offered() {
    let (mut driven, task) = with_two_students();
    archive(&mut driven, None, true).unwrap();
    let engine = driven.core.engine(task).unwrap();
    let offered = engine.announcement(DEVICE).map(|one| one.version);
    // The second is held.
    assert_eq!(offered, Some(version(1)));
}

#[test]
fn a_task_is_deleted_only_once_it_is_archived() {
    let (mut driven, task) = with_two_students();
    let name = task.to_string();
    let refused = delete(&mut driven, &name).unwrap_err();
    assert!(refused.message.contains("archive it first"), "{refused:?}");
    archive(&mut driven, None, true).unwrap();
    delete(&mut driven, &name).unwrap();
    assert!(driven.core.engine(task).is_none());
    let gone = delete(&mut driven, &name).unwrap_err();
    assert_eq!(gone.kind, FaultKind::NotFound);
    // The same file again is a task without a past.
    assert_eq!(driven.add_task(), task);
    assert_eq!(
        driven.core.engine(task).unwrap().state().last_round,
        RoundId(0)
    );
}

/// Devices have its students, under their versions, whether they are there or
/// not when the task is made anew.
#[test]
fn a_task_made_anew_does_not_repeat_versions() {
    let (mut driven, task) = with_two_students();
    for _ in 0..2 {
        archive(&mut driven, None, true).unwrap();
        delete(&mut driven, &task.to_string()).unwrap();
        driven.add_task();
        driven.commit();
        let next = driven.core.engine(task).unwrap().next_version();
        assert_eq!(next, version(3));
    }
    // After an outage the epoch is another, or the log's alone.
    let (definition, state) = {
        let runner = &driven.core.tasks[0];
        (runner.task.clone(), runner.engine.state().clone())
    };
    for (epoch, number) in [(1, 3), (2, 1)] {
        let tasks = vec![(definition.clone(), state.clone())];
        driven.core.restore(NOW, epoch, Registry::default(), tasks);
        let next = driven.core.engine(task).unwrap().next_version();
        assert_eq!(next, Version { epoch, number });
    }
}

#[test]
fn a_second_task_of_one_name_is_refused_unless_asked_for() {
    let mut driven = Driven::new();
    driven.core.restore(NOW, 1, Registry::default(), Vec::new());
    let first = driven.add_task();
    driven.commit();
    driven.done.clear();
    let second = namesake();
    let made = |driven: &mut Driven, how| -> Result<TaskSummary, Fault> {
        let id = driven.create(second.clone(), how);
        driven.commit();
        driven.answer(id).unwrap()
    };
    let refused = made(&mut driven, Namesake::Refuse).unwrap_err();
    assert!(refused.message.contains("--replace"), "{refused:?}");
    let kept = made(&mut driven, Namesake::Archive).unwrap();
    assert!(kept.created);
    assert!(driven.core.engine(first).unwrap().is_archived());
    // Without a name, the one at work is meant.
    assert_eq!(start(&mut driven).unwrap().0, kept.task);
    // The same file again is the same task, whatever its name.
    assert!(!made(&mut driven, Namesake::Refuse).unwrap().created);
    archive(&mut driven, Some(&first.to_string()), false).unwrap();
    let several = start(&mut driven).unwrap_err();
    assert!(several.message.contains("2 tasks"), "{several:?}");
}
