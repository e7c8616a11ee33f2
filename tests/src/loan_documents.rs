//! The documents of `loan-views` in a host, to be compared with the books.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use quipu::deploy::ProjectionChanges;
use quipu::model::{Digest, Lifecycle, SettingsChange};
use quipu::projection::{
    Action, BuildStatus, Error, Freshness, NotFreshReason, Query, State, Status, WAIT_MAX,
};
use quipu::store::Role;
use quipu::{Demand, Deploy, Host};

use crate::loan_books::{Documents, LoanBooks, PROJECTIONS};
use crate::{PATIENCE, examples};

/// Activates `loan-views` with this lifecycle for all of its projections.
pub async fn keep(host: &Host, lifecycle: Lifecycle) -> Digest {
    let digest = host.upload(examples::loan_views()).await.unwrap();
    let digest = digest.module.digest();
    let change = SettingsChange {
        lifecycle: Some(lifecycle),
        on_error: None,
    };
    let changes: BTreeMap<_, _> = PROJECTIONS
        .into_iter()
        .map(|name| (name.to_owned(), change))
        .collect();
    host.deploy(
        Deploy::new(digest)
            .preflight(Demand::Skip)
            .projections(ProjectionChanges {
                changes: changes.clone(),
                ..ProjectionChanges::default()
            }),
    )
    .await
    .unwrap();
    digest
}

/// Documents of every projection, by their keys.
pub type Everything = BTreeMap<&'static str, BTreeMap<String, String>>;

/// Every document, byte for byte, as current as the log.
pub async fn everything(host: &Host) -> Everything {
    let mut all = Everything::new();
    for name in PROJECTIONS {
        all.insert(name, documents(host, name).await);
    }
    all
}

/// Checks that the documents match the books.
pub fn check_books(found: &Everything, books: &LoanBooks) {
    for (name, found) in found {
        let expected: Documents = books.documents(name);
        let keys = |documents: &Documents| documents.keys().cloned().collect::<Vec<_>>();
        let parsed = found.iter();
        let parsed: Documents = parsed
            .map(|(key, text)| (key.clone(), serde_json::from_str(text).unwrap()))
            .collect();
        assert_eq!(keys(&parsed), keys(&expected), "{name}");
        for (key, document) in &expected {
            assert_eq!(&parsed[key], document, "{name} {key}");
        }
    }
}

/// Checks that the documents are the same, byte for byte.
pub fn check_same(found: &Everything, expected: &Everything, what: &str) {
    for (name, expected) in expected {
        for (key, document) in expected {
            assert_eq!(found[name].get(key), Some(document), "{what}: {name} {key}");
        }
        assert_eq!(found[name].len(), expected.len(), "{what}: {name}");
    }
}

/// Rebuilds every projection from the first event.
pub async fn rebuild(host: &Host) {
    for name in PROJECTIONS {
        match host
            .control_projection(name, Action::Rebuild { hold: false })
            .await
        {
            // It is stale, and a rebuild is running already.
            Ok(_) | Err(Error::Refused { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    for name in PROJECTIONS {
        settle(host, name, |status| build_of(status, Role::Next).is_none()).await;
    }
}

/// Waits until a projection's status satisfies this condition.
pub async fn settle(host: &Host, name: &str, is_so: impl Fn(&Status) -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if is_so(&host.projection(name).await.unwrap()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{:?}", host.projection(name).await);
}

/// Waits until all of them are inline.
pub async fn until_inline(host: &Host) {
    for name in PROJECTIONS {
        settle(host, name, |status| {
            build_of(status, Role::Active).is_some_and(|build| build.state == State::Inline)
        })
        .await;
    }
}

/// A build of a projection.
pub fn build_of(status: &Status, role: Role) -> Option<BuildStatus> {
    let mut builds = status.builds.iter();
    builds.find(|build| build.role == role).cloned()
}

/// As current as the log, or as current as possible where events are parked: their documents are
/// never fresh.
pub async fn fresh(host: &Host, name: &str) -> Freshness {
    let after = host.log_head().await.unwrap();
    let fresh = Freshness {
        after,
        wait: WAIT_MAX,
    };
    let query = Query {
        limit: 1,
        ..Query::default()
    };
    let begun = Instant::now();
    // On a busy machine it may take longer than one read waits.
    let answer = loop {
        match host.views(name, &query, fresh).await {
            Err(Error::NotFresh {
                reason: NotFreshReason::Lagging,
                ..
            }) if begun.elapsed() < PATIENCE => {}
            answer => break answer,
        }
    };
    match answer {
        Err(Error::NotFresh {
            reason: NotFreshReason::Parked,
            ..
        }) => {
            settle(host, name, |status| {
                let build = build_of(status, Role::Active);
                build.is_some_and(|build| build.position >= after)
            })
            .await;
            Freshness::default()
        }
        // It is rebuilt from scratch, and switches by itself.
        Err(Error::NotFresh {
            reason: NotFreshReason::Stale,
            ..
        }) => {
            settle(host, name, |status| {
                build_of(status, Role::Active).is_some_and(|build| build.stale.is_none())
            })
            .await;
            fresh
        }
        _ => fresh,
    }
}

/// Every document of a projection by key, byte for byte: see [`fresh`].
pub async fn documents(host: &Host, name: &str) -> BTreeMap<String, String> {
    let fresh = fresh(host, name).await;
    let mut all = BTreeMap::new();
    let mut query = Query {
        limit: 1_000,
        ..Query::default()
    };
    loop {
        let page = host.views(name, &query, fresh).await.unwrap();
        let documents = page.documents.into_iter();
        all.extend(documents.map(|view| (view.key.to_string(), view.document.to_string())));
        match page.cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => return all,
        }
    }
}
