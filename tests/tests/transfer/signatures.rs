//! Signatures go with the components.

use quipu_tests::signing::{public, signed};
use quipu_tests::{Place, build, examples, on_every_store};

use crate::{exported, import};

on_every_store! {
    an_import_needs_signatures_too,
    components_that_were_never_activated_stay_where_they_are,
}

async fn an_import_needs_signatures_too(place: Place) {
    let from = Place::memory();
    let host = from.host().await;
    let bytes = examples::account();
    let digest = examples::deploy(&host, bytes.clone()).await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    let unsigned = exported(&host).await;
    host.upload_signed(bytes.clone(), signed(2, &bytes))
        .await
        .unwrap();
    let file = exported(&host).await;
    let builder = place.builder().keys(vec![public(2)]);
    let target = builder.build().await.unwrap();
    let failed = import(&target, &unsigned).await.unwrap_err();
    assert!(failed.to_string().contains("is not signed"), "{failed}");
    assert_eq!(target.modules().await.unwrap().len(), 0);
    import(&target, &file).await.unwrap();
    assert_eq!(
        target.signatures(digest).await.unwrap(),
        [signed(2, &bytes)]
    );
    assert_eq!(exported(&target).await, file);
}

async fn components_that_were_never_activated_stay_where_they_are(place: Place) {
    let source = Place::memory();
    let host = source.host().await;
    examples::deploy(&host, examples::account()).await;
    let bytes = quipu_tests::guest::component("skeleton");
    let beside = host.upload(bytes.clone()).await.unwrap().module.digest();
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    let target = place.host().await;
    target.upload(bytes).await.unwrap();
    import(&target, &exported(&host).await).await.unwrap();
    assert_eq!(target.modules().await.unwrap().len(), 2);
    // Pruned at one of them, activated at the other: later exports fit all the same.
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    target.prune(std::time::Duration::ZERO, true).await.unwrap();
    host.activate(beside, None).await.unwrap();
    host.execute(&account, build::deposit(1)).await.unwrap();
    let later = crate::exported_after(&host, 1).await;
    import(&target, &later).await.unwrap();
    assert_eq!(target.deployments().await.unwrap().len(), 2);
    assert_eq!(exported(&target).await, exported(&host).await);
}
