//! The documents of `loan-views` after the commands of simulated applications: whatever the
//! lifecycle, they match the books, which know only the accepted commands.

use std::time::Duration;

use futures::{StreamExt, stream};
use quipu::Host;
use quipu::engine::Error;
use quipu::model::Lifecycle;
use quipu::projection::{Action, Options};
use quipu::runtime::{self, Runtime};
use quipu_tests::lines::{self, Line};
use quipu_tests::loan_books::{LoanBooks, PROJECTIONS};
use quipu_tests::loan_documents::{
    Everything, check_books, check_same, everything, keep, rebuild, until_inline,
};
use quipu_tests::{Place, examples, log, on_every_store, seed};

use super::support::quick;

on_every_store!(
    documents_match_the_books_in_every_lifecycle,
    a_change_of_lifecycle_under_load_changes_nothing,
    documents_stay_right_when_the_second_generation_takes_over,
);

fn commands() -> u64 {
    if seed::is_long() { 20_000 } else { 3_000 }
}

/// A host that gives inline folds more time, however busy the machine is.
async fn host(place: &Place) -> Host {
    let options = Options {
        inline_time: Duration::from_secs(5),
        ..quick()
    };
    place.builder().projections(options).build().await.unwrap()
}

/// Runs the commands, and enters the accepted ones in the books.
async fn run(host: &Host, lines: &[(usize, &Line)], books: &mut LoanBooks) {
    let started = stream::iter(lines).map(|(number, line)| lines::start(host, line, *number));
    let mut answers = started.buffered(64).zip(stream::iter(lines));
    while let Some((answer, (number, line))) = answers.next().await {
        match answer {
            Ok(_) => books.accept_line(line),
            Err(Error::Rejected { .. }) => {}
            Err(error) => panic!("line {number}: {error}"),
        }
    }
}

/// Checks that each application's commands are recorded in the order in which they were sent.
async fn check_order(host: &Host) {
    for (stream, events) in log::check(&log::whole(host).await) {
        let lines = events.iter().map(|event| {
            let id = event.commit.command_id.as_ref().unwrap().as_str();
            id.strip_prefix("line-").unwrap().parse::<u64>().unwrap()
        });
        let lines: Vec<u64> = lines.collect();
        assert!(lines.is_sorted(), "{stream}: {lines:?} {events:#?}");
    }
}

async fn documents_match_the_books_in_every_lifecycle(place: Place) {
    let seed = seed::seeds(1)[0];
    eprintln!("replay with QUIPU_SEED={seed}");
    let lines = lines::simulated(seed, commands());
    let numbered: Vec<_> = lines.iter().enumerate().collect();
    let mut results: Vec<Everything> = Vec::new();
    for (when, lifecycle) in [
        ("before", Lifecycle::Async),
        ("after", Lifecycle::Async),
        ("before", Lifecycle::Inline),
    ] {
        let place = place.another();
        let host = host(&place).await;
        let mut books = LoanBooks::default();
        examples::deploy(&host, examples::loan()).await;
        if when == "before" {
            keep(&host, lifecycle).await;
        }
        run(&host, &numbered, &mut books).await;
        if when == "after" {
            keep(&host, lifecycle).await;
        }
        let found = everything(&host).await;
        check_books(&found, &books);
        if lifecycle == Lifecycle::Inline {
            until_inline(&host).await;
        }
        rebuild(&host).await;
        check_same(&everything(&host).await, &found, "rebuilt");
        if let Some(first) = results.first() {
            check_same(&found, first, when);
        }
        results.push(found);
        host.shutdown().await.unwrap();
    }
}

async fn a_change_of_lifecycle_under_load_changes_nothing(place: Place) {
    let seed = seed::seeds(1)[0];
    eprintln!("replay with QUIPU_SEED={seed}");
    let lines = lines::simulated(seed, commands());
    let numbered: Vec<_> = lines.iter().enumerate().collect();
    let host = host(&place).await;
    examples::deploy(&host, examples::loan()).await;
    keep(&host, Lifecycle::Async).await;
    let mut books = LoanBooks::default();
    let changing = async {
        keep(&host, Lifecycle::Inline).await;
        until_inline(&host).await;
        for name in PROJECTIONS {
            host.control_projection(name, Action::Detach).await.unwrap();
        }
        keep(&host, Lifecycle::Inline).await;
        until_inline(&host).await;
        keep(&host, Lifecycle::Async).await;
    };
    let (first, second) = numbered.split_at(numbered.len() * 3 / 4);
    tokio::join!(run(&host, first, &mut books), changing);
    keep(&host, Lifecycle::Inline).await;
    until_inline(&host).await;
    run(&host, second, &mut books).await;
    check_order(&host).await;
    let found = everything(&host).await;
    check_books(&found, &books);
    rebuild(&host).await;
    check_same(&everything(&host).await, &found, "rebuilt");
    host.shutdown().await.unwrap();
}

async fn documents_stay_right_when_the_second_generation_takes_over(place: Place) {
    let seed = seed::seeds(1)[0];
    eprintln!("replay with QUIPU_SEED={seed}");
    let lines = lines::simulated(seed, commands());
    let numbered: Vec<_> = lines.iter().enumerate().collect();
    let (first, second) = numbered.split_at(numbered.len() / 2);
    for lifecycle in [Lifecycle::Async, Lifecycle::Inline] {
        let place = place.another();
        let host = host(&place).await;
        examples::deploy(&host, examples::loan()).await;
        keep(&host, lifecycle).await;
        let mut books = LoanBooks::default();
        run(&host, first, &mut books).await;
        let before = everything(&host).await;
        examples::deploy(&host, examples::loan_v2()).await;
        check_same(&everything(&host).await, &before, "second generation");
        run(&host, second, &mut books).await;
        let found = everything(&host).await;
        check_books(&found, &books);
        rebuild(&host).await;
        check_same(&everything(&host).await, &found, "rebuilt");
        host.shutdown().await.unwrap();
    }
}

#[test]
fn applications_are_found_by_status_and_amount() {
    let runtime = Runtime::new(runtime::Options::default()).unwrap();
    let module = runtime.load(&examples::loan_views()).unwrap();
    let names: Vec<_> = module.projections().iter().map(|it| &*it.name).collect();
    assert_eq!(names, PROJECTIONS);
    let applications = module.projection("applications").unwrap();
    let indexes: Vec<_> = applications.indexes.iter().map(|it| &*it.name).collect();
    assert_eq!(indexes, ["status", "amount"]);
    let document = serde_json::json!({"status": "granted", "amount": 5});
    let mut entries = applications.indexes.iter().map(|it| it.entries(&document));
    assert!(entries.all(|entries| entries.len() == 1));
}
