//! Semantics 9.1: commands, appends and archiving whose events an inline projection cannot fold.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use quipu::commit::{self, Staged, Verdict};
use quipu::engine::Error;
use quipu::model::ExpectedVersion::Any;
use quipu::model::{Context, Digest, Timestamp};
use quipu::store::{BuildId, Item, Outcome, Role, Turn};
use quipu::{Host, store};
use quipu_tests::counting::{Counting, counts, stored};
use quipu_tests::faults::{Faults, Injection};
use quipu_tests::{Place, build, examples, log, on_every_store};
use tokio::sync::oneshot;

on_every_store! {
    a_command_that_cannot_be_folded_does_not_affect_others,
    appends_that_cannot_be_folded_get_an_error,
    archiving_that_cannot_be_folded_gets_an_error,
    archiving_is_retried_under_the_new_plan,
    turns_are_committed_after_items_that_were_staged_before_them,
}

/// A host on which `account` is active, whose events are counted.
struct Bank {
    host: Host,
    faults: Faults,
    documents: Arc<dyn store::DocumentStore>,
    build: BuildId,
    account: Digest,
}

impl Bank {
    async fn open(place: &Place, unfolded: &'static str) -> Self {
        let (store, faults) = Faults::before(place.open().await, Faults::listed([]));
        let documents = Arc::clone(&store.documents);
        let host = Host::builder()
            .cache_dir(quipu_tests::place::compiled())
            .opened_store(store)
            .build()
            .await
            .unwrap();
        let digest = examples::deploy(&host, examples::account()).await;
        let begun = documents.begin("counting", Role::Active, 1, digest, (Timestamp(1), 1));
        let build = begun.await.unwrap().unwrap().id;
        faults.inline(Arc::new(
            Counting::new(build, |_| true).failing_at(unfolded),
        ));
        Self {
            host,
            faults,
            documents,
            build,
            account: digest,
        }
    }

    /// Checks that the documents match the log.
    async fn check(&self) {
        let events = log::whole(&self.host).await;
        log::check(&events);
        let documents = stored(&*self.documents, self.build).await;
        assert_eq!(documents, counts(BTreeMap::new(), &events));
    }
}

async fn a_command_that_cannot_be_folded_does_not_affect_others(place: Place) {
    let bank = Bank::open(&place, "\"amount\":13").await;
    let account = build::stream("account-1");
    let open = bank.host.execute(&account, build::open_account());
    open.await.unwrap();
    // All of them are decided on states with events that may fail to commit.
    let mut arrivals = bank.faults.hold();
    let deposits = (0..60).map(|n| {
        let amount = if n % 10 == 3 { 13 } else { 1 };
        let deposit = build::deposit(amount).with_id(&format!("k-{n}")).unwrap();
        let (host, account) = (bank.host.clone(), account.clone());
        tokio::spawn(async move { host.execute(&account, deposit).await })
    });
    let deposits: Vec<_> = deposits.collect();
    arrivals.recv().await;
    bank.faults.open();
    for (n, deposit) in join_all(deposits).await.into_iter().enumerate() {
        match deposit.unwrap() {
            Ok(_) if n % 10 != 3 => {}
            Err(error @ Error::Unprojected(_)) if n % 10 == 3 => {
                assert_eq!(error.code(), "guest-fault");
                assert!(error.to_string().contains("counting"), "{error}");
            }
            other => panic!("deposit {n}: {other:?}"),
        }
    }
    bank.check().await;
    let all = build::withdraw(54);
    bank.host.execute(&account, all).await.unwrap();
    // The id of a failed command is not recorded: a different amount under this id is not a reuse.
    let again = build::deposit(2).with_id("k-3").unwrap();
    let executed = bank.host.execute(&account, again).await.unwrap();
    assert!(!executed.replayed);
    bank.check().await;
}

async fn appends_that_cannot_be_folded_get_an_error(place: Place) {
    let bank = Bank::open(&place, "failing").await;
    let note = build::stream("note-1");
    let failing = || vec![build::event("noted", "\"failing\"")];
    let append = bank.host.append(&note, build::append_as("k", failing()));
    let error = append.await.unwrap_err();
    assert_eq!(error.code(), "projection-failing");
    assert!(error.to_string().contains("detach"), "{error}");
    let parts = vec![("note-2", Any, failing()), ("note-3", Any, failing())];
    let error = bank.host.append_all(build::append_all(parts)).await;
    assert_eq!(error.unwrap_err().code(), "projection-failing");
    assert!(log::whole(&bank.host).await.is_empty());
    // A known id gets its first outcome, even if the projection would fail now.
    let noted = vec![build::event("noted", "1")];
    let first = bank
        .host
        .append(&note, build::append_as("k", noted.clone()));
    let first = first.await.unwrap();
    let counting = Counting::new(bank.build, |_| true).failing_at("1");
    bank.faults.inline(Arc::new(counting));
    let again = bank.host.append(&note, build::append_as("k", noted));
    let again = again.await.unwrap();
    assert_eq!((again.version, again.replayed), (first.version, true));
    bank.check().await;
}

async fn archiving_that_cannot_be_folded_gets_an_error(place: Place) {
    let bank = Bank::open(&place, "note-2").await;
    for id in ["note-1", "note-2"] {
        let noted = build::append(build::events(1));
        bank.host.append(&build::stream(id), noted).await.unwrap();
    }
    let archive = |id: &str| {
        let (host, stream) = (bank.host.clone(), build::stream(id));
        async move { host.archive(&stream, Context::default()).await }
    };
    archive("note-1").await.unwrap();
    let error = archive("note-2").await.unwrap_err();
    assert!(matches!(error, Error::Unprojected(_)), "{error:?}");
    bank.check().await;
}

async fn archiving_is_retried_under_the_new_plan(place: Place) {
    let bank = Bank::open(&place, "unfolded").await;
    let note = build::stream("note-1");
    let noted = build::append(build::events(1));
    bank.host.append(&note, noted).await.unwrap();
    let mut activation = build::activation(bank.account, &[], 1);
    activation.name = "account".to_owned();
    activation.projections.categories = vec!["$streams".to_owned()];
    let raise = Injection::Precede(vec![Item::Activate(Box::new(activation))]);
    bank.faults.script(Faults::listed([raise]));
    let archived = bank.host.archive(&note, Context::default()).await;
    assert!(archived.unwrap().is_some());
    assert_eq!(log::whole(&bank.host).await[1].commit.plan, 2);
    bank.check().await;
}

async fn turns_are_committed_after_items_that_were_staged_before_them(place: Place) {
    let store = place.open().await;
    let digest = Digest([7; 32]);
    store.modules.put(digest, b"x", Timestamp(1)).await.unwrap();
    let (store, faults) = Faults::before(store, Faults::listed([]));
    let options = commit::Options::default();
    let (handle, closed) = commit::start(
        store.writer,
        options,
        commit::no_inline(),
        &store.supervisor,
    )
    .unwrap();
    let stage = |item| {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |_, verdict| _ = sender.send(verdict));
        let run = None;
        handle.stage(Staged { item, run, done });
        receiver
    };
    let mut arrivals = faults.hold();
    let ahead = stage(build::noted("note-1", Any, 1));
    arrivals.recv().await;
    let turn = |plan| {
        let mut activation = build::activation(digest, &["some"], plan);
        activation.turns = vec![Turn::Async(BuildId(1))];
        Item::Activate(Box::new(activation))
    };
    let noted = |version| build::noted("note-1", build::exact(version), 1);
    let items = [
        noted(1),
        noted(2),
        turn(0),
        turn(1),
        noted(3),
        turn(2),
        noted(4),
    ];
    let staged = items.map(stage);
    let mut sizes = Vec::new();
    faults.let_through(1);
    ahead.await.unwrap();
    for _ in 0..6 {
        sizes.push(arrivals.recv().await.unwrap());
        faults.let_through(1);
    }
    assert_eq!(sizes, [2, 1, 1, 1, 1, 1]);
    for receiver in staged {
        let verdict = receiver.await.unwrap();
        assert!(
            matches!(
                verdict,
                Verdict::Outcome(Outcome::Appended(_) | Outcome::Activated(_))
            ),
            "{verdict:?}"
        );
    }
    handle.close();
    closed.await.unwrap().unwrap();
}
