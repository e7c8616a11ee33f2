//! Failures injected at chosen moments.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use futures::future::join_all;
use quipu::Host;
use quipu::commit::{self, Run, Staged, Verdict};
use quipu::engine::{Error, Options};
use quipu::model::ExpectedVersion::Any;
use quipu::store::{self, Item, Outcome};
use quipu_tests::clock::{CountingClock, until};
use quipu_tests::faults::{Faults, Injection};
use quipu_tests::{PATIENCE, Place, build, examples, log, on_every_store, place};
use tokio::sync::oneshot;

on_every_store! {
    nothing_decided_on_a_failed_state_is_recorded_or_answered,
    a_rejection_waits_for_the_commit_that_it_depends_on,
    a_run_fails_with_its_first_append_in_one_batch,
    a_run_fails_with_its_first_append_across_batches,
    a_copy_whose_lookup_found_nothing_is_looked_up_a_second_time,
    one_bad_item_does_not_fail_the_rest_of_its_batch,
    an_unavailable_store_fails_the_batch_and_nothing_after_it,
    commands_for_one_stream_commit_together_in_order_of_arrival,
    a_caller_that_disconnects_does_not_cancel_its_command,
    items_staged_after_the_shutdown_fail_and_the_committer_ends,
}

fn away() -> store::Error {
    store::Error::Unavailable("injected".to_owned())
}

/// A host with one worker and a clock that counts reads.
async fn bank(place: &Place, batch_max: usize) -> (Host, Faults, Arc<CountingClock>) {
    let (store, faults) = Faults::before(place.open().await, Faults::listed([]));
    let clock = Arc::new(CountingClock::default());
    let host = Host::builder()
        .opened_store(store)
        .clock(clock.clone())
        .cache_dir(place::compiled())
        .engine(Options {
            workers: 1,
            ..Options::default()
        })
        .commit(commit::Options {
            batch_max,
            ..commit::Options::default()
        })
        .build()
        .await
        .unwrap();
    examples::deploy(&host, examples::account()).await;
    (host, faults, clock)
}

async fn nothing_decided_on_a_failed_state_is_recorded_or_answered(place: Place) {
    // Given an account with a balance of 10, and a store that is paused
    let (host, faults, clock) = bank(&place, 1).await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    host.execute(&account, build::deposit(10)).await.unwrap();
    let mut arrivals = faults.hold();

    // When 100 are paid in, 100 are paid out because of that, 50 more deposits follow, and finally
    // 10 are paid out,
    let reads = clock.reads();
    let mut commands = vec![build::deposit(100).with_id("first").unwrap()];
    commands.push(build::withdraw(100).with_id("second").unwrap());
    commands.extend((0..50).map(|_| build::deposit(1)));
    commands.push(build::withdraw(10).with_id("last").unwrap());
    let decisions = 2 * commands.len() as u64;
    let asking: Vec<_> = commands
        .into_iter()
        .map(|command| {
            let (host, account) = (host.clone(), account.clone());
            async move { host.execute(&account, command).await }
        })
        .collect();
    let answering = tokio::spawn(join_all(asking));
    assert_eq!(arrivals.recv().await, Some(1));
    clock.wait_for_reads(reads + decisions).await;

    // and the first command fails, while a deposit by another writer takes its version
    let mut foreign = build::commit(None, vec![build::event("deposited", r#"{"amount":1}"#)]);
    foreign.plan = 1;
    let foreign = build::item(
        None,
        vec![build::write("account-1", build::exact(2), foreign)],
    );
    faults.script(Faults::listed([
        Injection::Fail(away()),
        Injection::Precede(vec![foreign]),
    ]));
    faults.open();

    // Then the withdrawal is decided on the events that are really stored
    let answers = answering.await.unwrap();
    assert!(
        matches!(&answers[0], Err(Error::Store(_))),
        "{:?}",
        answers[0]
    );
    match &answers[1] {
        Err(Error::Rejected { rejection, .. }) => {
            assert_eq!(rejection.code, "insufficient-funds");
        }
        other => panic!("{other:?}"),
    }
    assert!(answers[2..].iter().all(Result::is_ok), "{answers:?}");
    let events = log::of(&host, &account).await;
    log::check(&events);
    let of = |name: &str| events.iter().filter(|it| it.name.as_str() == name).count();
    assert_eq!((of("deposited"), of("withdrawn")), (1 + 1 + 50, 1));
    assert_eq!(events[2].body.as_json(), Some(r#"{"amount":1}"#));
    assert!(events[2].commit.module.is_none());
}

/// Semantics 5.5.
async fn a_rejection_waits_for_the_commit_that_it_depends_on(place: Place) {
    // Given an account that is being closed by a commit that will fail
    let (host, faults, clock) = bank(&place, 1).await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    let mut arrivals = faults.hold();
    let reads = clock.reads();
    let closing = tokio::spawn({
        let (host, account) = (host.clone(), account.clone());
        async move { host.execute(&account, build::command("close", "{}")).await }
    });
    assert_eq!(arrivals.recv().await, Some(1));

    // When a deposit arrives, which the closed account would reject
    let depositing = tokio::spawn({
        let (host, account) = (host.clone(), account.clone());
        async move { host.execute(&account, build::deposit(5)).await }
    });
    clock.wait_for_reads(reads + 3).await;
    assert!(!depositing.is_finished());
    faults.script(Faults::listed([Injection::Fail(away())]));
    faults.open();

    // Then it is accepted, because the account was never closed
    assert!(matches!(closing.await.unwrap(), Err(Error::Store(_))));
    assert_eq!(depositing.await.unwrap().unwrap().version.0, 2);
}

/// Stages an item and returns the receiver of its verdict.
fn stage(
    handle: &commit::Handle,
    item: Item,
    run: Option<&Arc<Run>>,
) -> oneshot::Receiver<Verdict> {
    let (sender, receiver) = oneshot::channel();
    handle.stage(Staged {
        item,
        run: run.cloned(),
        done: Box::new(move |_, verdict| _ = sender.send(verdict)),
    });
    receiver
}

fn of_run(run: &Run, version: u64) -> Item {
    let write = build::write(
        "note-1",
        build::exact(version),
        build::commit(None, build::events(1)),
    );
    build::item(Some(run.id()), vec![write])
}

async fn a_run_fails_with_its_first_append_in_one_batch(place: Place) {
    check_run(place, 1_024).await;
}

async fn a_run_fails_with_its_first_append_across_batches(place: Place) {
    check_run(place, 1).await;
}

/// Three appends of a run, and an append by another writer that takes the version of the first.
async fn check_run(place: Place, batch_max: usize) {
    let store = place.open().await;
    let (store, faults) = Faults::before(store, Faults::listed([]));
    let options = commit::Options {
        batch_max,
        ..commit::Options::default()
    };
    let (handle, closed) = commit::start(
        store.writer,
        options,
        commit::no_inline(),
        &store.supervisor,
    )
    .unwrap();
    let mut arrivals = faults.hold();

    // Given a batch in the store, followed by three appends of one run
    let ahead = stage(&handle, build::noted("other-1", Any, 1), None);
    arrivals.recv().await;
    let run = Arc::new(Run::begin());
    let first = stage(&handle, of_run(&run, 7), Some(&run));
    let foreign = stage(&handle, build::noted("note-1", Any, 1), None);
    let second = stage(&handle, of_run(&run, 1), Some(&run));
    let third = stage(&handle, of_run(&run, 2), Some(&run));

    // When the first append conflicts because another writer took its version
    faults.open();

    // Then the others fail, although their versions match
    let appended = |verdict| matches!(verdict, Verdict::Outcome(Outcome::Appended(_)));
    assert!(appended(ahead.await.unwrap()));
    assert!(matches!(
        first.await.unwrap(),
        Verdict::Outcome(Outcome::WrongVersion { found, .. }) if found.0 == 0
    ));
    assert!(appended(foreign.await.unwrap()));
    for later in [second, third] {
        let verdict = later.await.unwrap();
        assert!(
            matches!(verdict, Verdict::Outcome(Outcome::RunDead)),
            "{verdict:?}"
        );
    }
    assert!(run.is_dead());
    handle.close();
    closed.await.unwrap().unwrap();
}

async fn one_bad_item_does_not_fail_the_rest_of_its_batch(place: Place) {
    // Given a store that cannot commit one of 20 items, which are held together
    let bad = build::stream("note-13");
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let script = Box::new(move |items: &[Item]| {
        counted.fetch_add(1, Ordering::SeqCst);
        let is_bad =
            |item: &Item| matches!(item, Item::Append { writes, .. } if writes[0].stream == bad);
        if items.iter().any(is_bad) {
            Injection::Fail(store::Error::Unexpected("injected".to_owned()))
        } else {
            Injection::Pass
        }
    });
    let (store, faults) = Faults::before(place.open().await, script);
    let host = Host::builder().opened_store(store).build().await.unwrap();
    let mut arrivals = faults.hold();
    let first = tokio::spawn({
        let host = host.clone();
        async move {
            host.append(&build::stream("note-100"), build::append(build::events(1)))
                .await
        }
    });
    arrivals.recv().await;

    // When the items arrive in one batch
    let appends = (0..20).map(|n| {
        let host = host.clone();
        async move {
            host.append(
                &build::stream(&format!("note-{n}")),
                build::append(build::events(2)),
            )
            .await
        }
    });
    let mut appends = Box::pin(join_all(appends));
    assert!((&mut appends).now_or_never().is_none());
    faults.open();

    // Then the bad one is isolated, and the others are stored
    first.await.unwrap().unwrap();
    for (n, answer) in appends.await.into_iter().enumerate() {
        match answer {
            Ok(appended) => assert_eq!((appended.version.0, n != 13), (2, true)),
            Err(error) => assert_eq!((error.code(), n), ("store-damaged", 13)),
        }
    }
    assert!(log::of(&host, &build::stream("note-13")).await.is_empty());
    let tries = tries.load(Ordering::SeqCst);
    assert!(tries <= 1 + 2 * 6, "{tries} tries to find one of 20");
}

async fn an_unavailable_store_fails_the_batch_and_nothing_after_it(place: Place) {
    let (host, faults, _) = bank(&place, 1_024).await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    faults.script(Faults::listed([
        Injection::Fail(away()),
        Injection::Fail(store::Error::Full("injected".to_owned())),
    ]));
    for _ in 0..2 {
        let answer = host
            .execute(&account, build::deposit(1).with_id("a").unwrap())
            .await;
        assert!(matches!(answer, Err(Error::Store(_))), "{answer:?}");
    }
    let executed = host
        .execute(&account, build::deposit(1).with_id("a").unwrap())
        .await
        .unwrap();
    assert_eq!((executed.version.0, executed.replayed), (2, false));
}

/// Semantics 5.3.
async fn commands_for_one_stream_commit_together_in_order_of_arrival(place: Place) {
    let (host, faults, clock) = bank(&place, 1_024).await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    let mut arrivals = faults.hold();
    let ahead = tokio::spawn({
        let host = host.clone();
        async move {
            host.append(&build::stream("note-1"), build::append(build::events(1)))
                .await
        }
    });
    arrivals.recv().await;
    let reads = clock.reads();
    let commands = (1..=50).map(|amount| {
        let (host, account) = (host.clone(), account.clone());
        async move { host.execute(&account, build::deposit(amount)).await }
    });
    let mut commands = Box::pin(join_all(commands));
    assert!((&mut commands).now_or_never().is_none());
    clock.wait_for_reads(reads + 100).await;
    faults.let_through(1);
    until(|| !arrivals.is_empty()).await;
    let batch = arrivals.recv().await.unwrap();
    faults.open();

    ahead.await.unwrap().unwrap();
    let versions: Vec<u64> = commands
        .await
        .into_iter()
        .map(|it| it.unwrap().version.0)
        .collect();
    assert_eq!(versions, (2..=51).collect::<Vec<_>>());
    // The last of them may have been staged a moment later.
    assert!(batch >= 49, "{batch} in one batch");
}

async fn a_caller_that_disconnects_does_not_cancel_its_command(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    let mut going = Box::pin(host.execute(&account, build::deposit(3).with_id("gone").unwrap()));
    _ = (&mut going).now_or_never();
    drop(going);
    let executed = host
        .execute(&account, build::deposit(3).with_id("gone").unwrap())
        .await
        .unwrap();
    assert_eq!((executed.version.0, executed.replayed), (2, true));
}

async fn items_staged_after_the_shutdown_fail_and_the_committer_ends(place: Place) {
    let (store, faults) = Faults::before(place.open().await, Faults::listed([]));
    let (handle, closed) = commit::start(
        store.writer,
        commit::Options::default(),
        commit::no_inline(),
        &store.supervisor,
    )
    .unwrap();
    let mut arrivals = faults.hold();
    let ahead = stage(&handle, build::noted("note-1", Any, 1), None);
    arrivals.recv().await;
    handle.close();
    let later: Vec<_> = (0..200)
        .map(|_| stage(&handle, build::noted("note-1", Any, 1), None))
        .collect();
    faults.open();
    assert!(matches!(
        ahead.await.unwrap(),
        Verdict::Outcome(Outcome::Appended(_))
    ));
    let closing = tokio::time::timeout(PATIENCE, closed);
    closing.await.expect("it ends").unwrap().unwrap();
    for receiver in later {
        assert!(!matches!(receiver.await, Ok(Verdict::Outcome(_))));
    }
}

async fn a_copy_whose_lookup_found_nothing_is_looked_up_a_second_time(place: Place) {
    // Given a withdrawal of the whole balance, which is about to fail; after it a copy, three
    // hundred more withdrawals, whose lookups find nothing, and another copy
    let (host, faults, clock) = bank(&place, 1).await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    host.execute(&account, build::deposit(10)).await.unwrap();
    let mut arrivals = faults.hold();
    let execute = |id: String, amount: u64| {
        let (host, account) = (host.clone(), account.clone());
        let command = build::withdraw(amount).with_id(&id).unwrap();
        async move { host.execute(&account, command).await }
    };
    let mut first = Box::pin(execute("copied".to_owned(), 10));
    assert!((&mut first).now_or_never().is_none());
    arrivals.recv().await;
    let reads = clock.reads();
    let mut others = Box::pin(join_all((0..302).map(|n| match n {
        0 | 301 => execute("copied".to_owned(), 10),
        n => execute(format!("other-{n}"), 1),
    })));
    assert!((&mut others).now_or_never().is_none());
    let other = build::stream("account-2");
    let mut last = Box::pin(host.execute(&other, build::open_account()));
    assert!((&mut last).now_or_never().is_none());
    clock.wait_for_reads(reads + 302 + 2).await;

    // When the first has failed, and the balance is enough for all: now the others push the id of
    // the copies out of the worker's memory
    let deposited = vec![build::event("deposited", r#"{"amount":1000}"#)];
    let mut foreign = build::commit(None, deposited);
    foreign.plan = 1;
    let foreign = build::write("account-1", Any, foreign);
    faults.script(Faults::listed([
        Injection::Fail(away()),
        Injection::Precede(vec![build::item(None, vec![foreign])]),
    ]));
    faults.open();

    // Then one copy is recorded, and the other is answered from the record
    assert!(matches!(first.await, Err(Error::Store(_))));
    last.await.unwrap();
    let answers: Vec<_> = others.await.into_iter().map(Result::unwrap).collect();
    let replayed = |at: usize| answers[at].replayed;
    assert_eq!((replayed(0), replayed(301)), (false, true));
    assert_eq!(answers[0].version, answers[301].version);
    log::check(&log::whole(&host).await);
}
