//! A reader that is ahead of what there is: it has read another history.

use quipu::model::{Position, Version};
use quipu::store::Filter;
use quipu::subscribe::{Error, Options, Subscribe};
use quipu_tests::build::stream;
use quipu_tests::{Place, on_every_store};

use super::follow::{host, note};

on_every_store!(a_place_that_nobody_can_have_seen_is_refused);

async fn a_place_that_nobody_can_have_seen_is_refused(place: Place) {
    let host = host(&place, Options::default()).await;
    note(&host, "note-1", 3).await;
    // Both before and after the log is followed.
    for _ in 0..2 {
        let log = |after| Subscribe::log(Position(after), Filter::default()).seen();
        let of_stream = |from| Subscribe::stream(stream("note-1"), Version(from)).seen();
        for (ahead, said) in [
            (
                log(4),
                "position 4 of the log does not exist, the last one is 3",
            ),
            (log(u64::MAX >> 1), "of the log does not exist"),
            (
                of_stream(5),
                "version 4 of stream note-1 does not exist, the last one is 3",
            ),
            (of_stream(u64::MAX), "of stream note-1 does not exist"),
            (
                Subscribe::stream(stream("note-2"), Version(2)).seen(),
                "version 1 of stream note-2",
            ),
        ] {
            let error = host.subscribe(ahead).await.err().expect("it is refused");
            assert!(matches!(error, Error::Invalid(_)), "{error:?}");
            assert!(error.to_string().contains(said), "{error}");
        }
        let end = (log(3), of_stream(4));
        host.subscribe(end.0).await.unwrap();
        host.subscribe(end.1).await.unwrap();
        host.subscribe(Subscribe::stream(stream("note-2"), Version(1)).seen())
            .await
            .unwrap();
    }
    host.shutdown().await.unwrap();
}
