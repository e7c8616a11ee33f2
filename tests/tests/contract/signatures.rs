//! Signatures of modules: stored, checked, and mandatory where keys are configured.

use quipu::deploy::{Error, Signing};
use quipu::model::{Digest, Signature, Timestamp};
use quipu::store::SIGNATURES_MAX;
use quipu::{Host, Upload};
use quipu_tests::signing::{public, signed};
use quipu_tests::{Place, build, examples, guest, on_every_store};

on_every_store! {
    a_module_has_one_signature_per_key,
    a_module_has_a_bounded_number_of_signatures,
    a_signature_of_different_bytes_is_refused,
    with_keys_a_module_needs_a_signature_by_one_of_them,
    an_unsigned_module_is_not_activated_once_keys_are_configured,
    signatures_by_unknown_keys_do_not_hide_a_trusted_one,
    too_many_signatures_are_refused,
    active_modules_stay_active_when_keys_are_configured_later,
    a_key_that_is_removed_while_the_host_runs_activates_nothing_more,
}

async fn strict(place: &Place) -> Host {
    let builder = place.builder().keys(vec![public(1), public(2)]);
    builder.build().await.unwrap()
}

async fn a_module_has_one_signature_per_key(place: Place) {
    let host = place.host().await;
    let bytes = guest::component("skeleton");
    let module = host.upload(bytes.clone()).await.unwrap().module;
    assert_eq!(host.signatures(module.digest()).await.unwrap(), []);
    let mut expected = vec![signed(3, &bytes), signed(4, &bytes)];
    for signature in [expected[1], expected[0], expected[1]] {
        let uploaded = host
            .upload(Upload::new(bytes.clone()).signed(signature))
            .await
            .unwrap();
        assert!(!uploaded.is_new);
    }
    expected.sort_by_key(|signature| signature.key);
    assert_eq!(host.signatures(module.digest()).await.unwrap(), expected);
    let unknown = host.signatures(Digest([1; 32])).await.unwrap();
    assert_eq!(unknown, []);
}

async fn a_module_has_a_bounded_number_of_signatures(place: Place) {
    let store = place.open().await;
    let digest = Digest::of(b"module");
    let modules = &store.modules;
    modules.sign(digest, signed(1, b"module")).await.unwrap();
    assert_eq!(modules.signatures(digest).await.unwrap(), []);
    modules.put(digest, b"module", Timestamp(1)).await.unwrap();
    for number in 0..=SIGNATURES_MAX as u8 {
        modules
            .sign(digest, signed(number, b"module"))
            .await
            .unwrap();
    }
    let signatures = modules.signatures(digest).await.unwrap();
    assert_eq!(signatures.len(), SIGNATURES_MAX);
    // An existing signature can still be replaced.
    let again = Signature {
        bytes: [5; 64],
        ..signatures[3]
    };
    modules.sign(digest, again).await.unwrap();
    let signatures = modules.signatures(digest).await.unwrap();
    assert_eq!((signatures.len(), signatures[3]), (SIGNATURES_MAX, again));
}

async fn a_signature_of_different_bytes_is_refused(place: Place) {
    let host = place.host().await;
    let bytes = guest::component("skeleton");
    let answer = host
        .upload(Upload::new(bytes.clone()).signed(signed(3, b"other")))
        .await;
    assert!(
        matches!(answer, Err(Error::WrongSignature { .. })),
        "{answer:?}"
    );
    let other_key = Signature {
        key: public(4),
        ..signed(3, &bytes)
    };
    let answer = host.upload(Upload::new(bytes).signed(other_key)).await;
    assert!(
        matches!(answer, Err(Error::WrongSignature { .. })),
        "{answer:?}"
    );
    assert!(host.modules().await.unwrap().is_empty());
}

async fn with_keys_a_module_needs_a_signature_by_one_of_them(place: Place) {
    let host = strict(&place).await;
    let bytes = examples::account();
    let answer = host.upload(bytes.clone()).await;
    assert!(matches!(&answer, Err(Error::Unsigned { signed_by, .. }) if signed_by.is_empty()));
    let answer = host
        .upload(Upload::new(bytes.clone()).signed(signed(3, &bytes)))
        .await;
    let by_another = |error: &Error| matches!(error, Error::Unsigned { signed_by, .. } if *signed_by == [public(3)]);
    assert!(answer.as_ref().is_err_and(by_another), "{answer:?}");
    assert!(host.modules().await.unwrap().is_empty());
    let uploaded = host
        .upload(Upload::new(bytes.clone()).signed(signed(2, &bytes)))
        .await;
    let digest = uploaded.unwrap().module.digest();
    host.activate(digest, None).await.unwrap();
    // The module is signed already.
    assert!(!host.upload(bytes).await.unwrap().is_new);
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
}

async fn an_unsigned_module_is_not_activated_once_keys_are_configured(place: Place) {
    let bytes = examples::account();
    let digest = Digest::of(&bytes);
    // As another host without keys, or somebody with access to the database, may do.
    let store = place.open().await;
    let put = store.modules.clone();
    put.put(digest, &bytes, Timestamp(1)).await.unwrap();
    let builder = place.builder().opened_store(store);
    let host = builder.keys(vec![public(1)]).build().await.unwrap();
    let answer = host.activate(digest, None).await;
    assert!(matches!(answer, Err(Error::Unsigned { .. })), "{answer:?}");
    let (policy, scope) = (
        quipu::proof::Policy::default(),
        quipu::proof::Scope::default(),
    );
    let preflight = host.preflight(digest, &policy, &scope, &mut |_| {}).await;
    assert!(preflight.unwrap_err().to_string().contains("is not signed"));
    put.sign(
        digest,
        Signature {
            bytes: [1; 64],
            ..signed(1, &bytes)
        },
    )
    .await
    .unwrap();
    let answer = host.activate(digest, None).await;
    assert!(
        matches!(answer, Err(Error::WrongSignature { .. })),
        "{answer:?}"
    );
    assert_eq!(host.plan().number, 0);
    put.sign(digest, signed(1, &bytes)).await.unwrap();
    host.activate(digest, None).await.unwrap();
}

async fn active_modules_stay_active_when_keys_are_configured_later(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    host.shutdown().await.unwrap();
    let host = strict(&place).await;
    host.execute(&account, build::deposit(1)).await.unwrap();
    let digest = host.plan().active("account").unwrap();
    let answer = host.activate(digest, None).await;
    assert!(matches!(answer, Err(Error::Unsigned { .. })), "{answer:?}");
}

async fn a_key_that_is_removed_while_the_host_runs_activates_nothing_more(place: Place) {
    let signing = Signing::by(vec![public(1), public(2)]);
    let builder = place.builder().signing(signing.clone());
    let host = builder.build().await.unwrap();
    let bytes = examples::account();
    let upload = |number| {
        let upload = Upload::new(bytes.clone()).signed(signed(number, &bytes));
        host.upload(upload)
    };
    let digest = upload(1).await.unwrap().module.digest();
    host.activate(digest, None).await.unwrap();
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    assert!(!signing.replace(&[public(1), public(2)]));
    assert!(signing.replace(&[public(2)]));
    // What is active goes on deciding.
    host.execute(&account, build::deposit(1)).await.unwrap();
    let by_removed = |error: &Error| matches!(error, Error::Unsigned { signed_by, .. } if *signed_by == [public(1)]);
    let answer = upload(1).await;
    assert!(answer.as_ref().is_err_and(by_removed), "{answer:?}");
    let answer = host.activate(digest, None).await;
    assert!(answer.as_ref().is_err_and(by_removed), "{answer:?}");
    let (policy, scope) = (
        quipu::proof::Policy::default(),
        quipu::proof::Scope::default(),
    );
    let preflight = host.preflight(digest, &policy, &scope, &mut |_| {}).await;
    assert!(preflight.unwrap_err().to_string().contains("signed only"));
    assert_eq!(host.plan().number, 1);
    // A second signature by a key that is left is enough.
    upload(2).await.unwrap();
    host.activate(digest, None).await.unwrap();
    host.execute(&account, build::deposit(1)).await.unwrap();
}

async fn signatures_by_unknown_keys_do_not_hide_a_trusted_one(place: Place) {
    let bytes = examples::account();
    let digest = Digest::of(&bytes);
    let store = place.open().await;
    let modules = store.modules.clone();
    modules.put(digest, &bytes, Timestamp(1)).await.unwrap();
    for number in 10..10 + SIGNATURES_MAX as u8 {
        modules.sign(digest, signed(number, &bytes)).await.unwrap();
    }
    let builder = place.builder().opened_store(store);
    let host = builder.keys(vec![public(1)]).build().await.unwrap();
    let another = host
        .upload(Upload::new(bytes.clone()).signed(signed(2, &bytes)))
        .await;
    assert!(
        matches!(another, Err(Error::Unsigned { .. })),
        "{another:?}"
    );
    host.upload(Upload::new(bytes.clone()).signed(signed(1, &bytes)))
        .await
        .unwrap();
    let signatures = host.signatures(digest).await.unwrap();
    assert_eq!(signatures.len(), SIGNATURES_MAX);
    assert!(signatures.contains(&signed(1, &bytes)));
    host.activate(digest, None).await.unwrap();
}

async fn too_many_signatures_are_refused(place: Place) {
    let host = place.host().await;
    let bytes = guest::component("skeleton");
    for number in 0..SIGNATURES_MAX as u8 {
        host.upload(Upload::new(bytes.clone()).signed(signed(number, &bytes)))
            .await
            .unwrap();
    }
    let more = host
        .upload(Upload::new(bytes.clone()).signed(signed(200, &bytes)))
        .await;
    assert!(matches!(more, Err(Error::TooManySignatures(_))), "{more:?}");
    host.upload(Upload::new(bytes.clone()).signed(signed(3, &bytes)))
        .await
        .unwrap();
}
