//! Signatures are exported and imported with their components.

use quipu::deploy::ProjectionChanges;
use quipu::model::Digest;
use quipu::proof::{Policy, Scope};
use quipu::{Deploy, Upload};
use quipu_tests::signing::{public, signed};
use quipu_tests::{Place, build, examples, on_every_store};

use crate::{exported, import};

on_every_store! {
    an_import_needs_trusted_signatures,
    components_that_were_never_activated_are_not_exported,
    invalid_data_about_a_component_or_an_activation_is_refused,
}

async fn an_import_needs_trusted_signatures(place: Place) {
    let from = Place::memory();
    let host = from.host().await;
    let bytes = examples::account();
    let digest = examples::deploy(&host, bytes.clone()).await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    let unsigned = exported(&host).await;
    host.upload(Upload::new(bytes.clone()).signed(signed(2, &bytes)))
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

async fn components_that_were_never_activated_are_not_exported(place: Place) {
    let source = Place::memory();
    let host = source.host().await;
    examples::deploy(&host, examples::account()).await;
    let bytes = quipu_tests::guest::component("skeleton");
    let other = host.upload(bytes.clone()).await.unwrap().module.digest();
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    let target = place.host().await;
    target.upload(bytes).await.unwrap();
    import(&target, &exported(&host).await).await.unwrap();
    assert_eq!(target.modules().await.unwrap().len(), 2);
    // Pruned at one host, activated at the other: later exports still match.
    target.prune(std::time::Duration::ZERO, true).await.unwrap();
    host.activate(other, None).await.unwrap();
    host.execute(&account, build::deposit(1)).await.unwrap();
    let later = crate::exported_after(&host, 1).await;
    import(&target, &later).await.unwrap();
    assert_eq!(target.deployments().await.unwrap().len(), 2);
    assert_eq!(exported(&target).await, exported(&host).await);
}

async fn invalid_data_about_a_component_or_an_activation_is_refused(place: Place) {
    let host = Place::memory().host().await;
    let bytes = examples::account();
    let mut signatures = [signed(1, &bytes), signed(2, &bytes)];
    signatures.sort_by_key(|signature| signature.key);
    for signature in signatures {
        host.upload(Upload::new(bytes.clone()).signed(signature))
            .await
            .unwrap();
    }
    let digest = Digest::of(&bytes);
    let (policy, scope) = (Policy::default(), Scope::default());
    let mut report = |_| {};
    let found = host.preflight(digest, &policy, &scope, &mut report);
    let found = found.await.unwrap();
    let keeping = ProjectionChanges::default();
    host.deploy(Deploy::checked(found.clone()).projections(keeping.clone()))
        .await
        .unwrap();
    let file = exported(&host).await;
    let file = std::str::from_utf8(&file).unwrap();
    let [one, other] = signatures.map(|signature| signature.to_string());
    let objections = vec![r#"{"kind":"fold","count":1,"blocks":true,"text":"x"}"#; 101];
    let objections = format!("\"same\":0,\"objections\":[{}]", objections.join(","));
    for (said, instead, why) in [
        (
            format!("{one}\\\",\\\"{other}"),
            format!("{other}\\\",\\\"{one}"),
            "order",
        ),
        (
            format!("{one}\\\",\\\"{other}"),
            format!("{one}\\\",\\\"{one}"),
            "order",
        ),
        (
            "\"same\":0".to_owned(),
            "\"same\":1".to_owned(),
            "preflight",
        ),
        ("\"same\":0".to_owned(), objections, "preflight"),
    ] {
        assert!(file.contains(&said), "{said}");
        let there = place.another();
        let target = there.host().await;
        let failed = import(&target, file.replacen(&said, &instead, 1).as_bytes()).await;
        let failed = failed.unwrap_err().to_string();
        assert!(failed.contains(why), "{failed}");
        assert_eq!(target.plan().number, 0);
    }
}
