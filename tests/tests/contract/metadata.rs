//! Semantics 2.6 and 5.7: metadata, and the context of a request.

use quipu::Host;
use quipu::engine::{Additions, Append, AppendAll, Error, StreamAppend};
use quipu::model::{Command, Context, ExpectedVersion, RecordedEvent};
use quipu_tests::{Place, build, examples, log, on_every_store};

on_every_store! {
    a_context_is_stored_with_each_commit,
    a_context_that_cannot_be_stored_is_refused,
    metadata_added_by_enrichers_is_stored_and_bounded,
    a_later_enricher_cannot_replace_metadata_of_an_earlier_one,
    a_context_survives_a_restart,
}

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn context() -> Context {
    Context {
        correlation_id: Some("visit-7".into()),
        causation_id: Some("click-9".into()),
        principal: Some("ann".into()),
        traceparent: Some(TRACEPARENT.into()),
    }
}

/// Six events in all: a decided commit, a raw commit of two events, one over two streams, and an
/// archiving.
async fn fill(host: &Host) {
    let open = Command {
        context: context(),
        ..build::open_account()
    };
    let account = build::stream("account-1");
    host.execute(&account, open).await.unwrap();
    let append = Append {
        context: context(),
        ..build::append(build::events(2))
    };
    let note = build::stream("note-1");
    host.append(&note, append).await.unwrap();
    let part = |stream: &str| StreamAppend {
        stream: build::stream(stream),
        expected_version: ExpectedVersion::Any,
        events: build::events(1),
    };
    let append = AppendAll {
        streams: vec![part("note-2"), part("note-3")],
        context: context(),
        ..AppendAll::default()
    };
    host.append_all(append).await.unwrap();
    host.archive(&note, context()).await.unwrap();
}

async fn check_contexts(host: &Host) {
    let whole = log::whole(host).await;
    assert_eq!(whole.len(), 6);
    for event in &whole {
        check_context(event);
        let one = host.event(event.position).await.unwrap().unwrap();
        assert_eq!(one.commit, event.commit);
    }
    for stream in ["account-1", "note-1", "note-2", "note-3", "$streams"] {
        for event in log::of(host, &build::stream(stream)).await {
            check_context(&event);
        }
    }
}

fn check_context(event: &RecordedEvent) {
    let (commit, expected) = (&event.commit, context());
    assert_eq!(commit.correlation_id, expected.correlation_id, "{event:?}");
    assert_eq!(commit.causation_id, expected.causation_id, "{event:?}");
    assert_eq!(commit.principal, expected.principal, "{event:?}");
    assert_eq!(commit.traceparent, expected.traceparent, "{event:?}");
}

async fn a_context_is_stored_with_each_commit(place: Place) {
    let host = place.bank().await;
    fill(&host).await;
    check_contexts(&host).await;
}

async fn a_context_survives_a_restart(place: Place) {
    let host = place.bank().await;
    fill(&host).await;
    host.shutdown().await.unwrap();
    check_contexts(&place.host().await).await;
}

async fn a_context_that_cannot_be_stored_is_refused(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    let long = "x".repeat(256);
    for bad in ["", "a\nb", &long] {
        for context in [
            Context {
                correlation_id: Some(bad.into()),
                ..Context::default()
            },
            Context {
                principal: Some(bad.into()),
                ..Context::default()
            },
        ] {
            let open = Command {
                context: context.clone(),
                ..build::open_account()
            };
            let refused = host.execute(&account, open).await;
            assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
            let append = Append {
                context: context.clone(),
                ..build::append(build::events(1))
            };
            let refused = host.append(&build::stream("note-1"), append).await;
            assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
            let refused = host.archive(&account, context).await;
            assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
        }
    }
    assert!(log::whole(&host).await.is_empty());
    // An invalid traceparent is not an error, as its specification demands.
    let open = Command {
        context: Context {
            traceparent: Some(long.into()),
            ..Context::default()
        },
        ..build::open_account()
    };
    host.execute(&account, open).await.unwrap();
    assert_eq!(log::whole(&host).await[0].commit.traceparent, None);
}

fn additions(name: &str, value: &str, principal: &str) -> Additions {
    Additions {
        metadata: vec![(name.to_owned(), value.to_owned())],
        principal: Some(principal.into()),
    }
}

async fn metadata_added_by_enrichers_is_stored_and_bounded(place: Place) {
    let builder = place.builder();
    let host = builder
        .enrich(|request| {
            let size = match request.context().correlation_id.as_deref() {
                Some(size) => size.parse().unwrap(),
                None => 1,
            };
            additions("m", &"x".repeat(size), "batch")
        })
        .build()
        .await
        .unwrap();
    examples::deploy(&host, examples::account()).await;
    let sized = |size: usize| Context {
        correlation_id: Some(size.to_string().into()),
        ..Context::default()
    };
    let most = (64 << 10) - "{\"m\":\"\"}".len();
    let (account, note) = (build::stream("account-1"), build::stream("note-1"));
    for (size, is_fit) in [(most + 1, false), (most, true)] {
        let open = Command {
            context: sized(size),
            ..build::open_account()
        };
        let append = Append {
            context: sized(size),
            ..build::append(build::events(1))
        };
        let executed = host.execute(&account, open).await;
        let appended = host.append(&note, append).await;
        for answer in [executed, appended] {
            match is_fit {
                true => _ = answer.unwrap(),
                false => assert!(matches!(answer, Err(Error::TooLarge(_))), "{answer:?}"),
            }
        }
    }
    let too_large = host.archive(&note, sized(most + 1)).await;
    assert!(
        matches!(too_large, Err(Error::TooLarge(_))),
        "{too_large:?}"
    );
    host.archive(&note, sized(most)).await.unwrap();
    let whole = log::whole(&host).await;
    assert_eq!(whole.len(), 3);
    for event in whole {
        assert_eq!(
            event.metadata.as_ref().map(|bytes| bytes.len()),
            Some(64 << 10)
        );
        assert_eq!(event.commit.principal.as_deref(), Some("batch"));
    }
}

async fn a_later_enricher_cannot_replace_metadata_of_an_earlier_one(place: Place) {
    let builder = place.builder().enrich(|_| additions("a", "first", "one"));
    let builder = builder.enrich(|request| {
        let principal = request.context().principal.as_deref();
        additions("seen", principal.unwrap_or("none"), "two")
    });
    let builder = builder.enrich(|_| additions("a", "third", "three"));
    let host = builder.build().await.unwrap();
    let note = build::stream("note-1");
    host.append(&note, build::append(build::events(1)))
        .await
        .unwrap();
    let given = Append {
        context: Context {
            principal: Some("ann".into()),
            ..Context::default()
        },
        ..build::append(build::events(1))
    };
    host.append(&note, given).await.unwrap();
    let whole = log::whole(&host).await;
    for (event, principal) in whole.iter().zip(["one", "ann"]) {
        let expected = format!("{{\"a\":\"first\",\"seen\":\"{principal}\"}}");
        assert_eq!(event.metadata.as_deref(), Some(expected.as_bytes()));
        assert_eq!(event.commit.principal.as_deref(), Some(principal));
    }
}
