//! A reader whose checkpoint is after the end of the log: it has read another history.

use std::time::Duration;

use quipu::model::{Position, Version};
use quipu::store::Filter;
use quipu::subscribe::{Error, Options, Start, Subscribe};
use quipu_tests::build::stream;
use quipu_tests::{Place, on_every_store};

use super::follow::{host, note};

on_every_store!(
    a_start_position_that_does_not_exist_is_refused,
    a_name_that_is_ahead_of_the_log_is_refused,
);

/// The checkpoints came from another copy of the store than the log.
async fn a_name_that_is_ahead_of_the_log_is_refused(place: Place) {
    let host = host(&place, Options::default()).await;
    note(&host, "note-1", 3).await;
    let lease = Duration::from_secs(60);
    let claimed = host.claim("mailer", None, lease).await.unwrap();
    host.release("mailer", claimed.token).await.unwrap();
    place.tamper("UPDATE checkpoints SET position = 9").await;
    let said = "position 9 of the log does not exist, the last one is 3";
    let claim = host.claim("mailer", None, lease).await.unwrap_err();
    assert!(claim.to_string().contains(said), "{claim}");
    let named = host.subscription("mailer").unwrap();
    let run = named.run(async |_: &[_]| Ok::<_, std::io::Error>(()));
    let ended = run.await.unwrap_err();
    assert!(ended.to_string().contains(said), "{ended}");
    // An operator sets the position to continue from.
    let moved = host.seek("mailer", Start::After(Position(2))).await;
    assert_eq!(moved.unwrap().position, Position(2));
    host.claim("mailer", None, lease).await.unwrap();
    host.shutdown().await.unwrap();
}

async fn a_start_position_that_does_not_exist_is_refused(place: Place) {
    let host = host(&place, Options::default()).await;
    note(&host, "note-1", 3).await;
    // Both before and after somebody follows the log.
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
            let error = host.subscribe(ahead).await.err().expect("an error");
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
