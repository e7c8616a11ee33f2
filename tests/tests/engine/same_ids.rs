//! The same commands from many clients at once.

use std::collections::HashMap;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use quipu::Host;
use quipu::engine::Executed;
use quipu::model::{CommandId, EventId, StreamId};
use quipu_tests::{Place, build, log, on_every_store, seed};
use rand::seq::SliceRandom;

const CLIENTS: usize = 64;
const IDS: u64 = 1_000;
const IN_FLIGHT: usize = 16;

on_every_store! {
    clients_that_send_the_same_ids_to_one_stream_get_one_answer,
    clients_that_send_the_same_ids_to_many_streams_get_one_answer,
}

async fn clients_that_send_the_same_ids_to_one_stream_get_one_answer(place: Place) {
    check(place, 1).await;
}

async fn clients_that_send_the_same_ids_to_many_streams_get_one_answer(place: Place) {
    check(place, 50).await;
}

async fn check(place: Place, streams: u64) {
    let host = place.bank().await;
    let mut random = seed::random(seed::seeds(1)[0]);
    for number in 0..streams {
        let account = account(number, streams);
        host.execute(&account, build::open_account()).await.unwrap();
    }
    let clients = (0..CLIENTS).map(|_| {
        let mut ids: Vec<u64> = (0..IDS).collect();
        // Shuffled within parts of 100, so that copies meet both in flight and after each other.
        ids.chunks_mut(100)
            .for_each(|chunk| chunk.shuffle(&mut random));
        tokio::spawn(client(host.clone(), ids, streams))
    });
    let mut answers: HashMap<u64, Vec<Executed>> = HashMap::new();
    for answered in join_all(clients).await {
        for (id, executed) in answered.unwrap() {
            answers.entry(id).or_default().push(executed);
        }
    }

    for (id, copies) in &answers {
        let outcome = |it: &Executed| -> (u64, Vec<EventId>) {
            let ids = it.events.iter().map(|event| event.id).collect();
            (it.position.unwrap().0, ids)
        };
        assert_eq!(copies.len(), CLIENTS, "{id}");
        assert!(
            copies.iter().all(|it| outcome(it) == outcome(&copies[0])),
            "{id}: {copies:?}"
        );
        assert!(copies.iter().all(|it| it.version == copies[0].version));
        assert_eq!(copies.iter().filter(|it| !it.replayed).count(), 1, "{id}");
    }
    let log = log::whole(&host).await;
    log::check(&log);
    let callers = log.iter().filter(|event| {
        event
            .commit
            .command_id
            .as_ref()
            .is_some_and(CommandId::is_callers)
    });
    assert_eq!(callers.count() as u64, IDS);
}

async fn client(host: Host, ids: Vec<u64>, streams: u64) -> Vec<(u64, Executed)> {
    let asking = ids.into_iter().map(|id| {
        let host = host.clone();
        async move {
            let deposit = build::deposit(id + 1).with_id(&format!("id-{id}")).unwrap();
            (
                id,
                host.execute(&account(id, streams), deposit).await.unwrap(),
            )
        }
    });
    stream::iter(asking).buffered(IN_FLIGHT).collect().await
}

fn account(id: u64, streams: u64) -> StreamId {
    build::stream(&format!("account-{}", id % streams))
}
