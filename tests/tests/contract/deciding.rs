//! Semantics 5: deciding.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::join_all;
use quipu::engine::{Error, Options};
use quipu::model::ExpectedVersion::{NoStream, StreamExists};
use quipu::model::{Clock, Context, ManualClock, Timestamp};
use quipu_tests::{Place, build, examples, guest, log, on_every_store};

on_every_store! {
    an_accepted_command_stores_its_events_and_the_command,
    a_rejection_has_a_code_a_message_and_details,
    a_command_is_decided_on_events_that_others_appended,
    a_version_conflict_reports_the_version_found,
    commands_for_one_stream_never_conflict,
    a_long_stream_is_folded_completely,
    commands_on_a_stream_that_is_too_long_are_refused,
    correlation_and_causation_ids_are_stored,
    reserved_names_are_refused_in_metadata,
    the_recorded_times_of_a_stream_never_decrease,
    a_command_that_cannot_be_read_is_invalid,
    a_category_without_a_decider_refuses_commands,
    the_view_shows_the_committed_state,
    an_overloaded_host_refuses_commands_immediately,
    a_host_that_was_shut_down_refuses_commands,
}

/// Semantics 3.1.
async fn an_accepted_command_stores_its_events_and_the_command(place: Place) {
    let host = place.host().await;
    let digest = examples::deploy(&host, examples::account()).await;
    let account = build::stream("account-1");
    let mut command = build::open_account().with_id("open-1").unwrap();
    command.metadata = Some(r#"{"source": "test"}"#.into());
    let executed = host.execute(&account, command).await.unwrap();
    assert_eq!((executed.version.0, executed.module), (1, Some(digest)));
    assert!(executed.fuel.unwrap() > 0 && !executed.replayed);

    let events = log::of(&host, &account).await;
    assert_eq!(events.len(), 1);
    let (event, answered) = (&events[0], &executed.events[0]);
    assert_eq!((event.id, event.position), (answered.id, answered.position));
    assert_eq!(
        (event.name.as_str(), event.body.as_json()),
        ("opened", Some(r#"{"owner":"ann"}"#))
    );
    assert_eq!(
        event.metadata.as_deref(),
        Some(&br#"{"source": "test"}"#[..])
    );
    assert_eq!(event.commit.command_id.as_ref().unwrap().as_str(), "open-1");
    assert_eq!((event.commit.module, event.commit.plan), (Some(digest), 1));
    assert_eq!(event.commit.fuel, executed.fuel);
}

/// Semantics 5.4.
async fn a_rejection_has_a_code_a_message_and_details(place: Place) {
    let host = place.host().await;
    let digest = examples::deploy(&host, examples::account()).await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    host.execute(&account, build::deposit(5)).await.unwrap();
    match host.execute(&account, build::withdraw(6)).await {
        Err(Error::Rejected { rejection, module }) => {
            assert_eq!(rejection.code, "insufficient-funds");
            assert_eq!(rejection.message, "balance 5, withdrawal 6");
            assert_eq!(
                rejection.details.unwrap().as_json(),
                Some(r#"{"balance":5}"#)
            );
            assert_eq!(module, digest);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(log::of(&host, &account).await.len(), 2);
}

/// Semantics 5.2.
async fn a_command_is_decided_on_events_that_others_appended(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    for (n, expected) in [build::exact(2), StreamExists, build::exact(6)]
        .into_iter()
        .enumerate()
    {
        // The warm state does not contain this event.
        let deposited = build::event("deposited", r#"{"amount":10}"#);
        host.append(&account, build::foreign(vec![deposited]))
            .await
            .unwrap();
        let withdrawal = build::withdraw(10).expecting(expected);
        let executed = host.execute(&account, withdrawal).await.unwrap();
        assert_eq!(executed.version.0, 3 + 2 * n as u64);
        // Nor that this command was rejected because of the old state.
        let answer = host.execute(&account, build::withdraw(1)).await;
        assert_eq!(answer.unwrap_err().code(), "rejected");
    }
}

/// Semantics 5.2.
async fn a_version_conflict_reports_the_version_found(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    let deposited = vec![build::event("deposited", r#"{"amount":10}"#)];
    host.append(&account, build::foreign(deposited))
        .await
        .unwrap();
    for wrong in [NoStream, build::exact(0), build::exact(1), build::exact(3)] {
        match host
            .execute(&account, build::deposit(1).expecting(wrong))
            .await
        {
            Err(Error::WrongExpectedVersion {
                expected, found, ..
            }) => {
                assert_eq!((expected, found.0), (wrong, 2));
            }
            other => panic!("{wrong}: {other:?}"),
        }
    }
    let answer = host
        .execute(
            &build::stream("account-2"),
            build::open_account().expecting(StreamExists),
        )
        .await;
    assert_eq!(answer.unwrap_err().code(), "wrong-expected-version");
    host.execute(&account, build::deposit(1).expecting(build::exact(2)))
        .await
        .unwrap();
}

/// Semantics 5.3.
async fn commands_for_one_stream_never_conflict(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    let deposits = (0..500).map(|_| host.execute(&account, build::deposit(1)));
    for executed in join_all(deposits).await {
        executed.unwrap();
    }
    let answer = host.execute(&account, build::withdraw(501)).await;
    assert_eq!(answer.unwrap_err().code(), "rejected");
    host.execute(&account, build::withdraw(500)).await.unwrap();
}

async fn a_long_stream_is_folded_completely(place: Place) {
    for load_page in [1, 7, 200, 251] {
        let engine = Options {
            load_page,
            warm_aggregates_max: 1,
            ..Options::default()
        };
        let place = place.another();
        let host = place.builder().engine(engine).build().await.unwrap();
        examples::deploy(&host, examples::account()).await;
        let account = build::stream("account-1");
        let mut events = vec![build::event("opened", r#"{"owner":"ann"}"#)];
        events.extend((0..250).map(|_| build::event("deposited", r#"{"amount":2}"#)));
        host.append(&account, build::foreign(events)).await.unwrap();
        let answer = host.execute(&account, build::withdraw(501)).await;
        assert_eq!(answer.unwrap_err().code(), "rejected");
        host.execute(&account, build::withdraw(500)).await.unwrap();
        let view = host.state(&account).await.unwrap();
        assert_eq!(
            (view.version.0, view.state.contains("\"balance\":0")),
            (252, true)
        );
    }
}

/// Semantics 2.7 and 5.6.
async fn commands_on_a_stream_that_is_too_long_are_refused(place: Place) {
    let engine = Options {
        stream_events_max: HashMap::from([("account".to_owned(), 3)]),
        ..Options::default()
    };
    let host = place.builder().engine(engine).build().await.unwrap();
    examples::deploy(&host, examples::account()).await;
    let (warm, cold) = (build::stream("account-1"), build::stream("account-2"));
    for command in [build::open_account(), build::deposit(1), build::deposit(1)] {
        host.execute(&warm, command).await.unwrap();
    }
    // A stream at the limit is accepted; one above it is refused.
    let fourth = || build::deposit(1).with_id("fourth").unwrap();
    host.execute(&warm, fourth()).await.unwrap();
    let mut events = vec![build::event("opened", r#"{"owner":"ann"}"#)];
    events.extend((0..3).map(|_| build::event("deposited", r#"{"amount":2}"#)));
    host.append(&cold, build::foreign(events)).await.unwrap();
    for stream in [&warm, &cold, &warm, &cold] {
        for id in ["a", "b"] {
            let command = build::withdraw(100).with_id(id).unwrap();
            match host.execute(stream, command).await {
                Err(Error::TooLong { events, max, .. }) => assert_eq!((events, max), (4, 3)),
                other => panic!("{other:?}"),
            }
        }
        let answer = host
            .execute(stream, build::deposit(1).expecting(NoStream))
            .await;
        assert_eq!(answer.unwrap_err().code(), "wrong-expected-version");
    }
    assert!(host.execute(&warm, fourth()).await.unwrap().replayed);
}

/// Semantics 5.7.
async fn correlation_and_causation_ids_are_stored(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    let mut command = build::open_account();
    command.context = Context {
        correlation_id: Some("conversation".into()),
        causation_id: Some("cause".into()),
        principal: Some("ann".into()),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
    };
    let context = command.context.clone();
    host.execute(&account, command).await.unwrap();
    let commit = log::of(&host, &account).await[0].commit.clone();
    assert_eq!(commit.correlation_id, context.correlation_id);
    assert_eq!(commit.causation_id, context.causation_id);
    assert_eq!(commit.principal, context.principal);
    assert_eq!(commit.traceparent, context.traceparent);
}

async fn reserved_names_are_refused_in_metadata(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    for (metadata, passes) in [
        (r#"{"quipu.principal":"eve"}"#, false),
        (r#"{"a":1,"\u0071uipu.x":2}"#, false),
        (r#"{"a":{"quipu.x":2}}"#, true),
    ] {
        let mut command = build::open_account();
        command.metadata = Some(metadata.into());
        let answer = host.execute(&account, command).await;
        match answer {
            Ok(_) => assert!(passes, "{metadata}"),
            Err(error) => assert_eq!((error.code(), passes), ("bad-request", false), "{metadata}"),
        }
    }
}

async fn the_recorded_times_of_a_stream_never_decrease(place: Place) {
    let clock = Arc::new(ManualClock::default());
    clock.set(Timestamp(5_000));
    let host = place.builder().clock(clock.clone()).build().await.unwrap();
    examples::deploy(&host, examples::account()).await;
    let (account, other) = (build::stream("account-1"), build::stream("account-2"));
    host.execute(&account, build::open_account()).await.unwrap();
    clock.set(Timestamp(1_000));
    host.execute(&account, build::deposit(1)).await.unwrap();
    let deposited = || vec![build::event("deposited", r#"{"amount":1}"#)];
    host.append(&account, build::foreign(deposited()))
        .await
        .unwrap();
    host.execute(&other, build::open_account()).await.unwrap();
    clock.set(Timestamp(9_000));
    host.append(
        &account,
        build::foreign([deposited(), deposited()].concat()),
    )
    .await
    .unwrap();
    let times = |events: Vec<quipu::model::RecordedEvent>| -> Vec<u64> {
        events.iter().map(|event| event.recorded_at.0).collect()
    };
    assert_eq!(
        times(log::of(&host, &account).await),
        [5_000, 5_000, 5_000, 9_000, 9_000]
    );
    assert_eq!(times(log::of(&host, &other).await), [1_000]);
    assert_eq!(clock.now(), Timestamp(9_000));
}

async fn a_command_that_cannot_be_read_is_invalid(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    for bad in [
        build::command("unheard-of", "{}"),
        build::command("open", "[]"),
        build::command("open", r#"{"owner":1}"#),
        build::command_as("a", "deposit", r#"{"amount":1.5}"#),
    ] {
        let answer = host.execute(&account, bad.clone()).await;
        assert_eq!(answer.unwrap_err().code(), "invalid-command", "{bad:?}");
    }
    assert!(log::of(&host, &account).await.is_empty());
}

async fn a_category_without_a_decider_refuses_commands(place: Place) {
    let host = place.bank().await;
    for name in ["accounts-1", "loan-1", "account_-1"] {
        let answer = host
            .execute(&build::stream(name), build::open_account())
            .await;
        assert_eq!(answer.unwrap_err().code(), "unknown-category");
    }
}

async fn the_view_shows_the_committed_state(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    let code = |answer: Result<_, Error>| answer.map(|_| ()).unwrap_err().code();
    assert_eq!(code(host.state(&account).await), "stream-not-found");
    assert_eq!(
        code(host.state(&build::stream("other-1")).await),
        "unknown-category"
    );
    host.execute(&account, build::open_account()).await.unwrap();
    host.execute(&account, build::deposit(5)).await.unwrap();
    let view = host.state(&account).await.unwrap();
    assert_eq!(view.state, r#"{"status":"open","owner":"ann","balance":5}"#);
    assert_eq!((view.version.0, &view.stream), (2, &account));
}

async fn an_overloaded_host_refuses_commands_immediately(place: Place) {
    let engine = Options {
        in_flight_max: 3,
        ..Options::default()
    };
    let host = place.builder().engine(engine).build().await.unwrap();
    examples::deploy(&host, guest::component("skeleton")).await;
    let streams: Vec<_> = (0..20)
        .map(|n| build::stream(&format!("probe-{n}")))
        .collect();
    let commands = streams
        .iter()
        .map(|stream| host.execute(stream, build::command("go", "{}")));
    let answers = join_all(commands).await;
    let passed = answers.iter().filter(|it| it.is_ok()).count();
    assert!(passed >= 3, "{passed}");
    for refused in answers.into_iter().filter_map(Result::err) {
        assert_eq!(refused.code(), "overloaded");
    }
    assert_eq!(host.in_flight(), 0);
    host.execute(&streams[0], build::command("go", "{}"))
        .await
        .unwrap();
}

async fn a_host_that_was_shut_down_refuses_commands(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    let deposits = (0..50).map(|_| host.execute(&account, build::open_account()));
    let (answers, closed) =
        futures::future::join(join_all(deposits), host.clone().shutdown()).await;
    closed.unwrap();
    assert_eq!(answers.iter().filter(|it| it.is_ok()).count(), 1);
    let answer = host.execute(&account, build::open_account()).await;
    assert_eq!(answer.unwrap_err().code(), "overloaded");
    let answer = host
        .append(&build::stream("note-1"), build::append(build::events(1)))
        .await;
    assert_eq!(answer.map(|_| ()).unwrap_err().code(), "overloaded");
}
