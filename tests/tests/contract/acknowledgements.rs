//! Findings that an operator has acknowledged.

use quipu::model::Timestamp;
use quipu::store::{ACKNOWLEDGED_MAX, Acknowledgement, Store};
use quipu_tests::{Place, on_every_store};

on_every_store! {
    an_acknowledgement_is_stored_until_it_is_withdrawn,
    acknowledging_a_finding_a_second_time_replaces_the_reason,
    acknowledgements_are_listed_by_name,
    the_number_of_acknowledgements_is_bounded,
    acknowledgements_survive_a_restart,
}

fn acknowledged(finding: &str, reason: &str) -> Acknowledgement {
    Acknowledgement {
        finding: finding.into(),
        reason: reason.into(),
        at: Timestamp(1_700_000_000_000_001),
        by: None,
    }
}

async fn acknowledge(store: &Store, it: &Acknowledgement) -> bool {
    store.acknowledgements.acknowledge(it).await.unwrap()
}

async fn all(store: &Store) -> Vec<Acknowledgement> {
    let listing = store.acknowledgements.acknowledged(None, 1_000);
    listing.await.unwrap()
}

async fn an_acknowledgement_is_stored_until_it_is_withdrawn(place: Place) {
    let store = place.open().await;
    assert_eq!(all(&store).await, []);
    let one = Acknowledgement {
        by: Some("ann é".into()),
        ..acknowledged("decision:loan-1@4", "it is \"known\"; 'so'")
    };
    assert!(acknowledge(&store, &one).await);
    assert_eq!(all(&store).await, [one]);
    let withdraw = |finding| store.acknowledgements.withdraw(finding);
    assert!(!withdraw("decision:loan-1@5").await.unwrap());
    assert!(withdraw("decision:loan-1@4").await.unwrap());
    assert!(!withdraw("decision:loan-1@4").await.unwrap());
    assert_eq!(all(&store).await, []);
}

async fn acknowledging_a_finding_a_second_time_replaces_the_reason(place: Place) {
    let store = place.open().await;
    let by_ann = Acknowledgement {
        by: Some("ann".into()),
        ..acknowledged("fold:loan-1@4", "first")
    };
    assert!(acknowledge(&store, &by_ann).await);
    let second = acknowledged("fold:loan-1@4", "second");
    assert!(acknowledge(&store, &second).await);
    assert_eq!(all(&store).await, [second]);
}

async fn acknowledgements_are_listed_by_name(place: Place) {
    let store = place.open().await;
    let names = ["a:Z-1@1", "a:a-1@1", "a:a-1@10", "a:a-1@2", "a:é-1@1"];
    for name in [2, 4, 0, 3, 1].map(|at: usize| names[at]) {
        assert!(acknowledge(&store, &acknowledged(name, "known")).await);
    }
    for limit in [1, 2, 5, 6] {
        let (mut found, mut after) = (Vec::new(), None::<Box<str>>);
        loop {
            let page = store
                .acknowledgements
                .acknowledged(after.as_deref(), limit)
                .await
                .unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some(last.finding.clone());
            found.extend(page.into_iter().map(|it| it.finding));
        }
        assert_eq!(found, names.map(Box::from));
    }
}

async fn the_number_of_acknowledgements_is_bounded(place: Place) {
    let store = place.open().await;
    assert_eq!(ACKNOWLEDGED_MAX, 10_000);
    store.writer.close().await.unwrap();
    place
        .tamper(
            "INSERT INTO acknowledged_findings (finding, reason, at) \
             WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 9999) \
             SELECT 'fold:loan-' || n || '@1', 'known', 1 FROM n",
        )
        .await;
    let store = &place.open().await;
    let more = acknowledged("fold:more-1@1", "one more");
    assert!(!acknowledge(store, &more).await);
    // The reasons of stored acknowledgements can still be replaced.
    let known = acknowledged("fold:loan-7@1", "another");
    assert!(acknowledge(store, &known).await);
    let withdrawn = store.acknowledgements.withdraw("fold:loan-8@1");
    assert!(withdrawn.await.unwrap());
    assert!(acknowledge(store, &more).await);
}

async fn acknowledgements_survive_a_restart(place: Place) {
    let store = place.open().await;
    let one = acknowledged("order:loan-1@4", "known");
    assert!(acknowledge(&store, &one).await);
    store.writer.close().await.unwrap();
    assert_eq!(all(&place.open().await).await, [one]);
}
