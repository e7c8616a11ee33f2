//! Signatures go with the components.

use quipu_tests::signing::{public, signed};
use quipu_tests::{Place, build, examples, on_every_store};

use crate::{exported, import};

on_every_store! {
    an_import_needs_signatures_too,
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
