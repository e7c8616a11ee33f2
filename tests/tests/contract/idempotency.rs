//! Semantics 3: idempotency.

use futures::future::join_all;
use quipu::Host;
use quipu::engine::{Append, Error, Executed};
use quipu::model::ExpectedVersion::{NoStream, StreamExists};
use quipu::model::{Command, CommandId, StreamId};
use quipu_tests::{Place, build, examples, guest, log, on_every_store};

on_every_store! {
    the_same_id_a_second_time_returns_the_first_outcome,
    a_replay_is_returned_for_every_expected_version,
    a_replay_is_returned_after_other_commands_and_raw_events,
    the_same_id_with_another_body_or_type_is_refused,
    each_stream_has_its_own_command_ids,
    a_copy_that_would_now_be_rejected_returns_the_first_outcome,
    a_copy_returns_the_first_outcome_after_activating_a_guest_that_rejects,
    a_copy_returns_the_first_outcome_after_activating_a_guest_that_traps,
    concurrent_copies_have_one_effect,
    a_rejection_stores_nothing_and_a_retry_is_decided_from_scratch,
    the_id_of_a_raw_append_follows_the_same_rules,
    the_id_of_a_raw_append_is_known_after_a_decider_is_deployed,
    a_command_cannot_reuse_the_id_of_a_raw_append,
    an_id_is_bounded_and_not_a_reserved_name,
    a_replay_is_returned_after_a_restart,
    a_copy_returns_the_first_outcome_without_a_decider,
}

fn first() -> Command {
    build::deposit(7).with_id("first").unwrap()
}

/// A bank with an open account, into which 7 have been paid under an id.
async fn paid(place: &Place) -> (Host, StreamId, Executed) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    let executed = host.execute(&account, first()).await.unwrap();
    assert!(!executed.replayed);
    (host, account, executed)
}

/// Sends a copy and expects the first outcome, and nothing new in the log.
async fn check_replay(host: &Host, stream: &StreamId, copy: Command, first: &Executed) {
    let head = host.log_head().await.unwrap();
    let context = format!("{copy:?}");
    let again = host.execute(stream, copy).await.unwrap();
    assert!(again.replayed, "{context}");
    assert_eq!(
        (again.version, again.position),
        (first.version, first.position),
        "{context}"
    );
    assert_eq!(
        (again.module, again.fuel),
        (first.module, first.fuel),
        "{context}"
    );
    assert_eq!(again.events.len(), first.events.len());
    for (again, first) in again.events.iter().zip(&first.events) {
        assert_eq!((again.id, again.version), (first.id, first.version));
        assert_eq!((again.position, &again.name), (first.position, &first.name));
        assert_eq!(again.body, first.body);
    }
    assert_eq!(host.log_head().await.unwrap(), head, "{context}");
}

/// Semantics 3.2.
async fn the_same_id_a_second_time_returns_the_first_outcome(place: Place) {
    let (host, account, executed) = paid(&place).await;
    for _ in 0..3 {
        check_replay(&host, &account, first(), &executed).await;
    }
}

/// Semantics 3.2.
async fn a_replay_is_returned_for_every_expected_version(place: Place) {
    let (host, account, executed) = paid(&place).await;
    for expected in [
        NoStream,
        StreamExists,
        build::exact(1),
        build::exact(2),
        build::exact(99),
    ] {
        check_replay(&host, &account, first().expecting(expected), &executed).await;
    }
}

async fn a_replay_is_returned_after_other_commands_and_raw_events(place: Place) {
    let (host, account, executed) = paid(&place).await;
    for amount in 1..=300 {
        let id = format!("other-{amount}");
        host.execute(&account, build::deposit(amount).with_id(&id).unwrap())
            .await
            .unwrap();
    }
    let foreign = vec![build::event("withdrawn", r#"{"amount":1}"#)];
    host.append(&account, build::foreign(foreign))
        .await
        .unwrap();
    check_replay(&host, &account, first(), &executed).await;
    host.execute(&account, build::deposit(1)).await.unwrap();
    check_replay(&host, &account, first().expecting(NoStream), &executed).await;
}

/// Semantics 3.3.
async fn the_same_id_with_another_body_or_type_is_refused(place: Place) {
    let (host, account, executed) = paid(&place).await;
    let head = host.log_head().await.unwrap();
    for other in [
        build::deposit(8),
        build::withdraw(7),
        build::command("close", "{}"),
        build::command("unheard-of", r#"{"amount":7}"#),
        build::deposit(8).expecting(NoStream),
    ] {
        let context = format!("{other:?}");
        let answer = host
            .execute(&account, other.with_id("first").unwrap())
            .await;
        match answer {
            Err(Error::IdempotencyKeyReused { stream, id }) => {
                assert_eq!((stream, id.as_str()), (account.clone(), "first"));
            }
            other => panic!("{context}: {other:?}"),
        }
    }
    assert_eq!(host.log_head().await.unwrap(), head);
    check_replay(&host, &account, first(), &executed).await;
}

async fn each_stream_has_its_own_command_ids(place: Place) {
    let (host, _, executed) = paid(&place).await;
    let other = build::stream("account-2");
    host.execute(&other, build::open_account()).await.unwrap();
    let again = host.execute(&other, first()).await.unwrap();
    assert!(!again.replayed);
    assert_ne!(again.position, executed.position);
}

/// Semantics 3.4.
async fn a_copy_that_would_now_be_rejected_returns_the_first_outcome(place: Place) {
    let (host, account, executed) = paid(&place).await;
    host.execute(&account, build::command("close", "{}"))
        .await
        .unwrap();
    check_replay(&host, &account, first(), &executed).await;
    check_replay(
        &host,
        &account,
        first().expecting(build::exact(1)),
        &executed,
    )
    .await;
    let answer = host
        .execute(&account, build::deposit(7).with_id("second").unwrap())
        .await;
    assert_eq!(answer.unwrap_err().code(), "rejected");
}

async fn a_copy_returns_the_first_outcome_after_activating_a_guest_that_rejects(place: Place) {
    check_swap(place, "rejects", "rejected").await;
}

async fn a_copy_returns_the_first_outcome_after_activating_a_guest_that_traps(place: Place) {
    check_swap(place, "trap", "guest-fault").await;
}

async fn check_swap(place: Place, to: &str, code: &str) {
    let host = place.host().await;
    examples::deploy(&host, guest::component("skeleton")).await;
    let stream = build::stream("probe-1");
    let go = |id: &str| build::command_as(id, "go", "{}");
    let executed = host.execute(&stream, go("first")).await.unwrap();
    host.execute(&stream, go("second")).await.unwrap();

    examples::deploy(&host, guest::component(to)).await;
    for expected in [build::exact(0), build::exact(2), StreamExists] {
        check_replay(&host, &stream, go("first").expecting(expected), &executed).await;
    }
    let answer = host.execute(&stream, go("third")).await;
    assert_eq!(answer.unwrap_err().code(), code);
    check_replay(&host, &stream, go("first").expecting(NoStream), &executed).await;
    assert_eq!(log::whole(&host).await.len(), 2);
}

/// Semantics 3.2.
async fn concurrent_copies_have_one_effect(place: Place) {
    let (host, account, _) = paid(&place).await;
    for round in 0..20 {
        let copies = (0..30).map(|_| {
            let (host, account) = (host.clone(), account.clone());
            let copy = build::deposit(1)
                .with_id(&format!("round-{round}"))
                .unwrap();
            tokio::spawn(async move { host.execute(&account, copy).await.unwrap() })
        });
        let copies: Vec<Executed> = join_all(copies)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(copies.iter().filter(|it| !it.replayed).count(), 1);
        assert!(copies.iter().all(|it| it.position == copies[0].position));
    }
    assert_eq!(log::of(&host, &account).await.len(), 22);
}

/// Semantics 3.5.
async fn a_rejection_stores_nothing_and_a_retry_is_decided_from_scratch(place: Place) {
    let (host, account, _) = paid(&place).await;
    let head = host.log_head().await.unwrap();
    let withdrawal = || build::withdraw(10).with_id("withdrawal").unwrap();
    for _ in 0..2 {
        let answer = host.execute(&account, withdrawal()).await;
        assert_eq!(answer.unwrap_err().code(), "rejected");
        assert_eq!(host.log_head().await.unwrap(), head);
    }
    host.execute(&account, build::deposit(3)).await.unwrap();
    let executed = host.execute(&account, withdrawal()).await.unwrap();
    assert!(!executed.replayed);
    check_replay(&host, &account, withdrawal(), &executed).await;
}

fn noted(id: &str, json: &str) -> Append {
    Append {
        id: Some(CommandId::new(id).unwrap()),
        ..build::append(vec![
            build::event("noted", json),
            build::event("noted", json),
        ])
    }
}

/// Semantics 3.6.
async fn the_id_of_a_raw_append_follows_the_same_rules(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    let first = host.append(&stream, noted("a", "1")).await.unwrap();
    host.append(&stream, build::append(build::events(1)))
        .await
        .unwrap();
    for expected in [NoStream, build::exact(0), build::exact(7), StreamExists] {
        let copy = Append {
            expected_version: expected,
            ..noted("a", "1")
        };
        let again = host.append(&stream, copy).await.unwrap();
        assert!(again.replayed);
        assert_eq!(
            (again.version, again.position),
            (first.version, first.position)
        );
        let ids = |it: &Executed| it.events.iter().map(|e| e.id).collect::<Vec<_>>();
        assert_eq!(ids(&again), ids(&first));
    }
    let answer = host.append(&stream, noted("a", "2")).await;
    assert_eq!(
        answer.map(|_| ()).unwrap_err().code(),
        "idempotency-key-reused"
    );
    assert_eq!(log::of(&host, &stream).await.len(), 3);
}

async fn the_id_of_a_raw_append_is_known_after_a_decider_is_deployed(place: Place) {
    let host = place.host().await;
    let stream = build::stream("account-1");
    let append = || Append {
        id: Some(CommandId::new("a").unwrap()),
        ..build::append(vec![build::event("opened", r#"{"owner":"ann"}"#)])
    };
    let first = host.append(&stream, append()).await.unwrap();
    examples::deploy(&host, examples::account()).await;
    let again = host.append(&stream, append()).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.position, first.position);
    let unknown = Append {
        id: Some(CommandId::new("b").unwrap()),
        ..append()
    };
    let answer = host.append(&stream, unknown).await;
    assert_eq!(answer.map(|_| ()).unwrap_err().code(), "category-owned");
}

async fn a_command_cannot_reuse_the_id_of_a_raw_append(place: Place) {
    let (host, account, _) = paid(&place).await;
    let append = Append {
        id: Some(CommandId::new("first").unwrap()),
        ..build::foreign(vec![build::event("deposited", r#"{"amount":7}"#)])
    };
    let answer = host.append(&account, append.clone()).await;
    assert_eq!(
        answer.map(|_| ()).unwrap_err().code(),
        "idempotency-key-reused"
    );
    let append = Append {
        id: Some(CommandId::new("raw").unwrap()),
        ..append
    };
    host.append(&account, append).await.unwrap();
    let answer = host
        .execute(&account, build::deposit(7).with_id("raw").unwrap())
        .await;
    assert_eq!(answer.unwrap_err().code(), "idempotency-key-reused");
}

async fn an_id_is_bounded_and_not_a_reserved_name(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    let longest = "é".repeat(127);
    let open = build::open_account().with_id(&longest).unwrap();
    let executed = host.execute(&account, open.clone()).await.unwrap();
    check_replay(&host, &account, open, &executed).await;
    for bad in ["", "a\nb", "quipu.1", &"x".repeat(256)] {
        assert!(CommandId::new(bad).is_err(), "{bad}");
    }
}

/// Semantics 3.2.
async fn a_replay_is_returned_after_a_restart(place: Place) {
    let (host, account, executed) = paid(&place).await;
    host.shutdown().await.unwrap();
    let host = place.host().await;
    check_replay(&host, &account, first(), &executed).await;
    check_replay(&host, &account, first().expecting(NoStream), &executed).await;
}

/// Semantics 3.4.
async fn a_copy_returns_the_first_outcome_without_a_decider(place: Place) {
    let (host, account, executed) = paid(&place).await;
    host.shutdown().await.unwrap();
    // As if the events of another store had been imported: the log without its plan.
    place.tamper("DELETE FROM deployments").await;
    let host = place.host().await;
    check_replay(&host, &account, first(), &executed).await;
    let answer = host
        .execute(&account, build::deposit(1).with_id("second").unwrap())
        .await;
    assert_eq!(answer.unwrap_err().code(), "unknown-category");
}
