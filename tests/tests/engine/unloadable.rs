//! A plan that the host can't load.

use std::time::Duration;

use quipu::model::{Context, Digest, Timestamp, Version};
use quipu::store::Item;
use quipu::{Host, engine};
use quipu_tests::faults::{Faults, Injection};
use quipu_tests::{Place, build, examples, on_every_store};

on_every_store! {
    requests_that_need_a_plan_which_cannot_be_loaded_are_not_ready,
}

async fn requests_that_need_a_plan_which_cannot_be_loaded_are_not_ready(place: Place) {
    let store = place.open().await;
    let unloadable = Digest::of(b"x");
    let put = store.modules.put(unloadable, b"x", Timestamp(1));
    put.await.unwrap();
    let (store, faults) = Faults::before(store, Faults::listed([]));
    let options = engine::Options {
        deadline: Duration::from_millis(500),
        ..engine::Options::default()
    };
    let host = Host::builder()
        .cache_dir(quipu_tests::place::compiled())
        .engine(options)
        .opened_store(store)
        .build()
        .await
        .unwrap();
    examples::deploy(&host, examples::account()).await;
    let account = build::stream("account-1");
    for command in [build::open_account(), build::deposit(1)] {
        host.execute(&account, command).await.unwrap();
    }
    // Another host activates it. An inline projection of it receives events about streams.
    let mut activation = build::activation(unloadable, &["account"], 1);
    activation.projections.categories = vec!["$streams".to_owned()];
    let raise = Injection::Precede(vec![Item::Activate(Box::new(activation))]);
    faults.script(Faults::listed([raise]));
    let context = Context::default;
    for error in [
        host.truncate(&account, Version(2), context()).await,
        host.truncate(&account, Version(0), context()).await,
        host.archive(&account, context()).await,
        host.restore(&account, context()).await,
    ]
    .map(Result::unwrap_err)
    {
        assert_eq!(error.code(), "not-ready", "{error}");
        assert!(error.to_string().contains("roll back"), "{error}");
    }
    let refused = host.execute(&account, build::deposit(1)).await.unwrap_err();
    assert_eq!(refused.code(), "not-ready", "{refused}");
    assert_eq!(host.in_flight(), 0);
}
