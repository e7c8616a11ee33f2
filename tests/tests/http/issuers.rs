//! Two issuers of JSON web tokens at the same time.

use std::sync::Arc;

use quipu::access::{Grant, Role};
use quipu_server::{Options, Rules};
use quipu_tests::issuer::{Issuer, Key};
use quipu_tests::{Place, on_every_store};
use serde_json::{Value, json};

use crate::access::{append, get, token};
use crate::identity::{header, rules};
use crate::server::{Server, send};

on_every_store!(callers_of_two_issuers_with_one_subject_have_two_names);

/// An issuer, its key and the audience of its tokens.
struct Side {
    issuer: Issuer,
    key: Key,
    audience: &'static str,
}

impl Side {
    async fn start(audience: &'static str) -> Self {
        let key = Key::curve();
        // Both issuers give their keys the same id.
        let issuer = Issuer::start(json!({ "keys": [key.public("1")] })).await;
        Self {
            issuer,
            key,
            audience,
        }
    }

    /// Claims that are well-formed for both issuers.
    fn claims(&self, name: &str) -> Value {
        let mut claims = self.issuer.claims(name);
        claims["aud"] = self.audience.into();
        claims["login"] = name.into();
        claims["realm"] = json!({ "roles": ["devs"] });
        claims["groups"] = json!(["devs"]);
        claims
    }

    fn sign(&self, claims: &Value) -> String {
        self.key.sign(&header(&self.key, "1"), claims)
    }
}

/// A host that takes the tokens of two issuers, and maps their claims differently.
async fn start(place: &Place) -> (Server, Side, Side) {
    let (corp, shop) = (Side::start("quipu").await, Side::start("orders").await);
    let listing = format!(
        r#"
        [[issuer]]
        name = "corp"
        issuer = {:?}
        audience = ["quipu"]
        roles_claim = "realm.roles"
        roles = [{{ value = "devs", role = "client" }}]

        [[issuer]]
        name = "shop"
        issuer = {:?}
        audience = ["orders"]
        name_claim = "login"
        roles_claim = "groups"
        roles = [{{ value = "clerks", role = "client" }}, {{ value = "devs", role = "viewer" }}]
        "#,
        corp.issuer.url, shop.issuer.url
    );
    let options = Options {
        rules: Arc::new(Rules::new(rules(&listing, None))),
        ..Options::default()
    };
    let server = Server::start(place.host().await, options).await;
    (server, corp, shop)
}

#[tokio::test]
async fn a_token_of_one_issuer_is_never_one_of_another() {
    let (server, corp, shop) = start(&Place::memory()).await;
    let sides = [&corp, &shop];
    // The second time the host knows both issuers' keys and callers.
    for round in 0..2 {
        for number in 0..8 {
            let [by, of, to] = [1, 2, 4].map(|bit| usize::from(number & bit != 0));
            let mut claims = sides[of].claims("ann");
            claims["aud"] = sides[to].audience.into();
            let key = &sides[by].key;
            let heads = [header(key, "1"), json!({ "alg": key.algorithm() })];
            for head in heads {
                let what = format!("{round}: signed by {by}, issued by {of}, for {to}: {head}");
                let signed = key.sign(&head, &claims);
                let answered = get(&server, "/v1/whoami", &signed).await;
                if (by, to) == (of, of) {
                    let who = answered.ok();
                    let (name, role) = [("corp:ann", "client"), ("shop:ann", "viewer")][of];
                    assert_eq!(who["name"], name, "{what}");
                    assert_eq!(who["grant"]["role"], role, "{what}");
                    continue;
                }
                let detail = answered.problem(401, "unauthorized")["detail"].to_string();
                let expected = match by == of {
                    true => "another service",
                    false => "the signature of the token is wrong",
                };
                assert!(detail.contains(expected), "{what}: {detail}");
            }
        }
    }
    // A token that names both issuers is one of neither; for both services it is its issuer's.
    let mut claims = corp.claims("ann");
    claims["iss"] = json!([corp.issuer.url, shop.issuer.url]);
    for side in sides {
        let answered = get(&server, "/v1/whoami", &side.sign(&claims)).await;
        answered.problem(401, "unauthorized");
    }
    let mut claims = shop.claims("ann");
    claims["aud"] = json!(["quipu", "orders"]);
    let who = get(&server, "/v1/whoami", &shop.sign(&claims)).await.ok();
    assert_eq!(who["name"], "shop:ann");
}

#[tokio::test]
async fn a_key_that_an_issuer_takes_from_another_makes_no_caller_of_the_other() {
    let (server, corp, shop) = start(&Place::memory()).await;
    // From now on shop shows the key of corp as its own, under the same id.
    shop.issuer
        .rotate(json!({ "keys": [corp.key.public("1")] }));
    let own = get(&server, "/v1/whoami", &corp.sign(&corp.claims("ann"))).await;
    assert_eq!(own.ok()["name"], "corp:ann");
    let of_shop = get(&server, "/v1/whoami", &corp.sign(&shop.claims("ann"))).await;
    assert_eq!(of_shop.ok()["name"], "shop:ann");
    // What corp signs for its own service opens nothing as shop, and the key of shop nothing as corp.
    let mut claims = corp.claims("ann");
    claims["iss"] = shop.issuer.url.clone().into();
    get(&server, "/v1/whoami", &corp.sign(&claims))
        .await
        .problem(401, "unauthorized");
    get(&server, "/v1/whoami", &shop.sign(&corp.claims("ann")))
        .await
        .problem(401, "unauthorized");
}

async fn callers_of_two_issuers_with_one_subject_have_two_names(place: Place) {
    let (server, corp, shop) = start(&place).await;
    let clerk = |name: &str| {
        let mut claims = shop.claims(name);
        claims["groups"] = json!(["clerks"]);
        shop.sign(&claims)
    };
    let callers = [
        ("ann", token(&server, "ann", Grant::of(Role::Client)).await),
        ("corp:ann", corp.sign(&corp.claims("ann"))),
        ("shop:ann", clerk("ann")),
        // A name that is made to be another's keeps that of its issuer in front of it.
        ("shop:corp:ann", clerk("corp:ann")),
        ("corp:shop:ann", corp.sign(&corp.claims("shop:ann"))),
    ];
    for (number, (name, signed)) in callers.iter().enumerate() {
        let who = get(&server, "/v1/whoami", signed).await.ok();
        assert_eq!(who["name"], *name);
        let request = append(&server, &format!("note-{number}"));
        send(request.bearer_auth(signed)).await.ok();
    }
    let read = get(&server, "/v1/events", &callers[0].1).await.ok();
    let events = read["events"].as_array().unwrap().iter();
    let principals: Vec<_> = events.map(|it| it["commit"]["principal"].clone()).collect();
    let names: Vec<_> = callers.iter().map(|(name, _)| Value::from(*name)).collect();
    assert_eq!(principals, names);
    // The groups of shop give nothing at corp, and the roles of corp nothing at shop.
    let mut claims = corp.claims("bob");
    claims["realm"] = json!({});
    claims["groups"] = json!(["clerks"]);
    let mut others = shop.claims("bob");
    others["groups"] = json!([]);
    for signed in [corp.sign(&claims), shop.sign(&others)] {
        let who = get(&server, "/v1/whoami", &signed).await.ok();
        assert_eq!(who["grant"]["role"], "none", "{who}");
        let request = append(&server, "note-9").bearer_auth(&signed);
        send(request).await.problem(403, "forbidden");
    }
}
