//! The documents of the example `loan-views`, folded in the sandbox from the log of the
//! applications, compared with books that were kept of the accepted commands.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::{StreamExt, stream};
use quipu::Host;
use quipu::model::{Index, RecordedEvent};
use quipu::runtime::{Definition, Instance, Module, Options, Runtime, Work};
use quipu_tests::lines::{self, Line};
use quipu_tests::loan_books::{Documents, LoanBooks, PROJECTIONS};
use quipu_tests::{Place, examples, log, seed};
use serde_json::Value;

const SIMULATED: u64 = 5_000;

fn module() -> Arc<Module> {
    let runtime = Runtime::new(Options::default()).unwrap();
    runtime.load(&examples::loan_views()).unwrap()
}

/// Runs the commands, and keeps books of those that are accepted.
async fn run(host: &Host, lines: &[Line]) -> LoanBooks {
    let mut books = LoanBooks::default();
    let started = stream::iter(lines.iter().enumerate())
        .map(|(number, line)| lines::start(host, line, number));
    let mut answers = started.buffered(256).zip(stream::iter(lines));
    while let Some((answer, line)) = answers.next().await {
        match answer {
            Ok(_) => books.accept_line(line),
            Err(quipu::engine::Error::Rejected { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    books
}

/// Every document, folded in batches as a host would.
fn folded(instance: &mut Instance, definition: &Definition, events: &[RecordedEvent]) -> Documents {
    let mut documents: HashMap<Box<str>, String> = HashMap::new();
    for batch in events.chunks(700) {
        let events: Vec<_> = batch.iter().collect();
        let keys = instance.keys(definition, &events).unwrap();
        let mut touched: BTreeMap<Box<str>, Vec<&RecordedEvent>> = BTreeMap::new();
        for (event, keys) in events.iter().zip(keys) {
            for key in keys {
                touched.entry(key).or_default().push(event);
            }
        }
        let work: Vec<_> = touched
            .iter()
            .map(|(key, events)| Work {
                key,
                document: documents.get(key).map(String::as_str),
                events: events.clone(),
            })
            .collect();
        let answer = instance.apply_documents(definition, &work).unwrap();
        let keys: Vec<Box<str>> = touched.into_keys().collect();
        for (key, document) in keys.into_iter().zip(answer) {
            documents.insert(key, document.expect("nothing is deleted"));
        }
    }
    let parsed = documents.into_iter();
    parsed
        .map(|(key, text)| (key.into(), serde_json::from_str(&text).unwrap()))
        .collect()
}

fn check(found: &Documents, expected: &Documents, projection: &str) {
    let keys = |documents: &Documents| documents.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(found), keys(expected), "{projection}");
    for (key, document) in expected {
        assert_eq!(&found[key], document, "{projection} {key}");
    }
}

async fn compare(lines: &[Line]) {
    let host = Place::memory().host().await;
    examples::deploy(&host, examples::loan()).await;
    let books = run(&host, lines).await;
    let events = log::whole(&host).await;
    let module = module();
    let mut instance = Instance::new(&module).unwrap();
    for projection in PROJECTIONS {
        let definition = module.projection(projection).unwrap();
        let found = folded(&mut instance, definition, &events);
        eprintln!("{projection}: {} documents", found.len());
        check(&found, &books.documents(projection), projection);
    }
    host.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_of_simulated_applications_are_as_the_books_say() {
    for seed in seed::seeds(2) {
        eprintln!("replay with QUIPU_SEED={seed}");
        compare(&lines::simulated(seed, SIMULATED)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_of_the_published_log_are_as_the_books_say() {
    let Some(lines) = lines::published() else {
        eprintln!("left out: QUIPU_LOAN_LOG is not set");
        return;
    };
    compare(&lines).await;
}

#[test]
fn applications_are_found_by_status_and_amount() {
    let module = module();
    let projections = module.projections().iter();
    let names: Vec<_> = projections.map(|known| &*known.name).collect();
    assert_eq!(names, PROJECTIONS);
    let applications = module.projection("applications").unwrap();
    let document: Value = serde_json::json!({"status": "granted", "amount": 5});
    let entries = applications.indexes.iter().map(|it| it.entries(&document));
    assert!(entries.into_iter().all(|entries| entries.len() == 1));
    let names: Vec<_> = applications
        .indexes
        .iter()
        .map(|it: &Index| &*it.name)
        .collect();
    assert_eq!(names, ["status", "amount"]);
}
