//! Callers with JSON web tokens and with client certificates, and policies.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quipu::access::{Grant, Role};
use quipu_identity::Identities;
use quipu_policy::Policy;
use quipu_server::{InForce, Limiter, Limits, Options, Rules};
use quipu_tests::issuer::{Issuer, Key, encoded, now_s};
use quipu_tests::{Place, on_every_store};
use serde_json::{Value, json};

use crate::access::{EVENT, get, token};
use crate::connections::bounded;
use crate::server::{Answered, Server, send};

on_every_store!(the_caller_of_a_token_is_named_in_what_it_did);

/// A file of identities with one issuer.
pub fn listing(issuer: &Issuer, more: &str) -> String {
    let algorithms = r#"["RS256", "ES256", "EdDSA"]"#;
    format!(
        "[[issuer]]\nname = \"corp\"\nissuer = {:?}\naudience = [\"quipu\"]\nalgorithms = {algorithms}\n{more}\n",
        issuer.url
    )
}

fn identities(text: &str) -> Identities {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identities.toml");
    std::fs::write(&path, text).unwrap();
    Identities::load(&path).unwrap()
}

pub fn rules(text: &str, policy: Option<&str>) -> InForce {
    let parsed = policy.map(|policy| {
        Policy::parse(policy)
            .map_err(|it| format!("{it:?}"))
            .unwrap()
            .0
    });
    InForce {
        identities: identities(text),
        policy: parsed,
    }
}

async fn server(place: &Place, rules: InForce) -> Server {
    let options = Options {
        rules: Arc::new(Rules::new(rules)),
        ..Options::default()
    };
    Server::start(place.host().await, options).await
}

pub fn header(key: &Key, id: &str) -> Value {
    json!({ "alg": key.algorithm(), "typ": "JWT", "kid": id })
}

pub const VIEWER: &str = "role = \"viewer\"";

async fn append(server: &Server, stream: &str, token: &str) -> Answered {
    let request = server.post(&format!("/v1/streams/{stream}/events"), EVENT);
    send(request.bearer_auth(token)).await
}

async fn the_caller_of_a_token_is_named_in_what_it_did(place: Place) {
    let key = Key::curve();
    let issuer = Issuer::start(json!({ "keys": [key.public("1")] })).await;
    let more = "roles_claim = \"realm.roles\"\nroles = [{ value = \"devs\", role = \"client\" }]\nattributes = [\"customer\"]";
    let server = server(&place, rules(&listing(&issuer, more), None)).await;

    let mut claims = issuer.claims("ann");
    claims["realm"] = json!({ "roles": ["others", "devs"] });
    claims["customer"] = 7.into();
    let ann = key.sign(&header(&key, "1"), &claims);
    let who = get(&server, "/v1/whoami", &ann).await.ok();
    assert_eq!(who["name"], "corp:ann");
    assert_eq!(who["grant"]["role"], "client");
    assert_eq!(who["attributes"]["customer"], "7");
    assert!(who["expires_at"].is_string(), "{who}");

    append(&server, "sensor-1", &ann).await.ok();
    let events = get(&server, "/v1/streams/sensor-1/events", &ann).await.ok();
    let event = &events["events"][0];
    let principal = event
        .pointer("/commit/principal")
        .or(event.get("principal"));
    assert_eq!(principal, Some(&json!("corp:ann")), "{event}");

    // A caller without a mapped role may do nothing.
    let bob = key.sign(&header(&key, "1"), &issuer.claims("bob"));
    append(&server, "sensor-1", &bob)
        .await
        .problem(403, "forbidden");
    // Nobody is let in without saying who it is, although the store has no tokens.
    server.get("/v1/events").await.problem(401, "unauthorized");
    // Tokens of the store go on working.
    let own = token(&server, "own", Grant::of(Role::Viewer)).await;
    get(&server, "/v1/events", &own).await.ok();
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn every_algorithm_with_a_public_key_is_taken() {
    for key in [Key::curve(), Key::edwards(), Key::rsa()] {
        let issuer = Issuer::start(json!({ "keys": [key.public("1")] })).await;
        let server = server(&Place::memory(), rules(&listing(&issuer, VIEWER), None)).await;
        let signed = key.sign(&header(&key, "1"), &issuer.claims("ann"));
        let who = get(&server, "/v1/whoami", &signed).await.ok();
        assert_eq!(who["name"], "corp:ann");
        // A token without the id of its key fits the only key.
        let plain = json!({ "alg": key.algorithm() });
        let signed = key.sign(&plain, &issuer.claims("bob"));
        get(&server, "/v1/whoami", &signed).await.ok();
    }
}

/// A hostile token, and what the answer says.
fn hostile(key: &Key, other: &Key, issuer: &Issuer) -> Vec<(&'static str, String, &'static str)> {
    let claims = issuer.claims("ann");
    let head = header(key, "1");
    let now = now_s();
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        key.sign(&head, &claims)
    };
    let without = |name: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        key.sign(&head, &claims)
    };
    let headed = |name: &str, value: Value| {
        let mut head = head.clone();
        head[name] = value;
        key.sign(&head, &claims)
    };
    let good = key.sign(&head, &claims);
    let parts: Vec<&str> = good.split('.').collect();
    let (first, body) = (parts[0], parts[1]);
    let unsigned = json!({ "alg": "none" }).to_string();
    let shared = json!({ "alg": "HS256", "kid": "1" }).to_string();
    let public = key.public("1").to_string();
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, public.as_bytes());
    let message = format!("{}.{body}", encoded(&shared));
    let tag = ring::hmac::sign(&secret, message.as_bytes());
    let claims_text = claims.to_string();
    let twice = claims_text.replacen('{', "{\"aud\":\"other\",", 1);
    vec![
        (
            "no signature",
            format!("{}.{body}.", encoded(&unsigned)),
            "malformed",
        ),
        (
            "the public key as a secret",
            format!("{message}.{}", encoded(tag)),
            "algorithm",
        ),
        (
            "an algorithm that is not listed",
            headed("alg", "PS256".into()),
            "algorithm",
        ),
        (
            "another's signature",
            other.sign(&head, &claims),
            "signature",
        ),
        (
            "an empty signature",
            format!("{first}.{body}."),
            "signature",
        ),
        (
            "changed claims",
            format!(
                "{first}.{}.{}",
                encoded(claims_text.replace("ann", "eve")),
                parts[2]
            ),
            "signature",
        ),
        (
            "another audience",
            with("aud", "billing".into()),
            "another service",
        ),
        ("no audience", without("aud"), "aud"),
        (
            "audience of a wrong form",
            with("aud", json!({ "quipu": true })),
            "aud",
        ),
        (
            "another issuer",
            with("iss", "https://evil.example".into()),
            "issuer",
        ),
        (
            "an issuer with a slash",
            with("iss", format!("{}/", issuer.url).into()),
            "issuer",
        ),
        ("expired", with("exp", (now - 120).into()), "expired"),
        ("no expiry", without("exp"), "exp"),
        ("an expiry in words", with("exp", "never".into()), "exp"),
        ("a negative expiry", with("exp", (-1).into()), "exp"),
        (
            "an expiry that is too far",
            with("exp", (now + 10_000_000).into()),
            "valid for more than",
        ),
        (
            "not valid yet",
            with("nbf", (now + 600).into()),
            "not valid yet",
        ),
        (
            "issued in the future",
            with("iat", (now + 600).into()),
            "not valid yet",
        ),
        (
            "an extension that must be understood",
            headed("crit", json!(["exp"])),
            "malformed",
        ),
        (
            "an unencoded payload",
            headed("b64", false.into()),
            "malformed",
        ),
        (
            "a key id as a path",
            headed("kid", "../../etc/passwd".into()),
            "no key",
        ),
        ("an unknown key id", headed("kid", "2".into()), "no key"),
        (
            "a key in the header",
            {
                let mut head = header(other, "1");
                head["jwk"] = other.public("1");
                other.sign(&head, &claims)
            },
            "signature",
        ),
        (
            "an address of keys in the header",
            {
                let mut head = header(other, "2");
                head["jku"] = "https://evil.example/keys".into();
                other.sign(&head, &claims)
            },
            "no key",
        ),
        (
            "another type",
            headed("typ", "logout+jwt".into()),
            "malformed",
        ),
        ("no name", without("sub"), "sub"),
        ("a name that is a number", with("sub", 7.into()), "sub"),
        (
            "a name with a line break",
            with("sub", "ann\nroot".into()),
            "sub",
        ),
        (
            "a name that is too long",
            with("sub", "a".repeat(300).into()),
            "sub",
        ),
        ("five parts", format!("{good}.{body}.{body}"), "malformed"),
        (
            "two claims of a name",
            key.sign_text(&head.to_string(), &twice),
            "malformed",
        ),
        (
            "padding",
            format!("{first}=.{body}.{}", parts[2]),
            "malformed",
        ),
        (
            "huge",
            key.sign(
                &head,
                &json!({ "iss": issuer.url, "pad": "x".repeat(9_000) }),
            ),
            "longer than",
        ),
        (
            "deep",
            key.sign_text(
                &head.to_string(),
                &format!("{{\"iss\":{:?},\"a\":{}", issuer.url, "[".repeat(2_000)),
            ),
            "malformed",
        ),
    ]
}

#[tokio::test]
async fn hostile_tokens_are_refused_with_their_reason() {
    let (key, other) = (Key::curve(), Key::curve());
    let issuer = Issuer::start(json!({ "keys": [key.public("1")] })).await;
    let server = server(&Place::memory(), rules(&listing(&issuer, VIEWER), None)).await;
    let tokens = hostile(&key, &other, &issuer);
    assert!(tokens.len() >= 20);
    for (what, text, expected) in tokens {
        let answered = get(&server, "/v1/whoami", &text).await;
        assert_eq!(answered.status, 401, "{what}: {}", answered.text);
        let detail = answered.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(expected), "{what}: {detail}");
        assert!(!answered.text.contains(&text), "{what}");
    }
    let good = key.sign(&header(&key, "1"), &issuer.claims("ann"));
    get(&server, "/v1/whoami", &good).await.ok();
    // Unknown keys did not make the host ask again and again.
    assert!(issuer.requests() <= 2, "{} requests", issuer.requests());
}

#[tokio::test]
async fn a_new_key_is_taken_without_a_restart_and_the_old_one_is_not() {
    let (old, new) = (Key::curve(), Key::edwards());
    let issuer = Issuer::start(json!({ "keys": [old.public("old")] })).await;
    let server = server(&Place::memory(), rules(&listing(&issuer, VIEWER), None)).await;
    let first = old.sign(&header(&old, "old"), &issuer.claims("ann"));
    get(&server, "/v1/whoami", &first).await.ok();
    issuer.rotate(json!({ "keys": [new.public("new")] }));
    let second = new.sign(&header(&new, "new"), &issuer.claims("bob"));
    // The host asked just now; a short pause passes before it asks again.
    bounded(async {
        while get(&server, "/v1/whoami", &second).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let third = old.sign(&header(&old, "old"), &issuer.claims("eve"));
    get(&server, "/v1/whoami", &third)
        .await
        .problem(401, "unauthorized");
}

#[tokio::test]
async fn without_its_keys_the_host_is_not_ready_to_judge() {
    let key = Key::curve();
    let issuer = Issuer::start(json!({ "keys": [] })).await;
    let server = server(&Place::memory(), rules(&listing(&issuer, VIEWER), None)).await;
    let signed = key.sign(&header(&key, "1"), &issuer.claims("ann"));
    get(&server, "/v1/whoami", &signed)
        .await
        .problem(503, "not-ready");
}

#[tokio::test]
async fn claims_limit_what_a_caller_reaches() {
    let key = Key::curve();
    let issuer = Issuer::start(json!({ "keys": [key.public("1")] })).await;
    let more =
        "role = \"client\"\ncategories = [\"sensor\", \"meter\"]\ncategories_claim = \"reach\"";
    let server = server(&Place::memory(), rules(&listing(&issuer, more), None)).await;
    let with = |reach: Value| {
        let mut claims = issuer.claims("ann");
        claims["reach"] = reach;
        key.sign(&header(&key, "1"), &claims)
    };
    let ann = with(json!(["sensor", "vault"]));
    append(&server, "sensor-1", &ann).await.ok();
    append(&server, "meter-1", &ann)
        .await
        .problem(403, "forbidden");
    // What the file does not list is not reached either.
    append(&server, "vault-1", &ann)
        .await
        .problem(403, "forbidden");
    for refused in [json!([]), json!(["vault"]), json!({}), Value::Null] {
        let text = with(refused.clone());
        let answered = append(&server, "sensor-1", &text).await;
        assert_eq!(answered.status, 401, "{refused}: {}", answered.text);
    }
}

#[tokio::test]
async fn a_policy_permits_and_forbids() {
    let key = Key::curve();
    let issuer = Issuer::start(json!({ "keys": [key.public("1")] })).await;
    let policy = r#"
        @id("own sensor")
        permit (principal, action in [Action::"append", Action::"read", Action::"read-payload"], resource is Stream)
        when { principal.hasTag("customer") && resource.key == principal.getTag("customer") };
        @id("frozen")
        forbid (principal, action == Action::"append", resource in Category::"frozen");
    "#;
    let rules = rules(
        &listing(&issuer, "attributes = [\"customer\"]"),
        Some(policy),
    );
    let server = server(&Place::memory(), rules).await;
    let mut claims = issuer.claims("ann");
    claims["customer"] = "7".into();
    let ann = key.sign(&header(&key, "1"), &claims);
    append(&server, "sensor-7", &ann).await.ok();
    get(&server, "/v1/streams/sensor-7/events", &ann).await.ok();
    append(&server, "sensor-8", &ann)
        .await
        .problem(403, "forbidden");
    get(&server, "/v1/events", &ann)
        .await
        .problem(403, "forbidden");
    // Each stream of a body is checked.
    let both = json!({ "streams": [
        { "stream": "sensor-7", "expected_version": "any", "events": [{ "type": "measured", "data": {} }] },
        { "stream": "sensor-8", "expected_version": "any", "events": [{ "type": "measured", "data": {} }] },
    ] });
    let request = server.post("/v1/appends", &both.to_string());
    send(request.bearer_auth(&ann))
        .await
        .problem(403, "forbidden");

    let root = token(&server, "root", Grant::of(Role::Admin)).await;
    append(&server, "sensor-8", &root).await.ok();
    let denied = append(&server, "frozen-1", &root).await;
    let detail = denied.problem(403, "forbidden")["detail"].to_string();
    assert!(detail.contains("frozen"), "{detail}");

    let can =
        |who: &str, action: &str, on: &str| format!("/v1/can?who={who}&action={action}&on={on}");
    let own = get(&server, &can("me", "append", "stream/sensor-7"), &ann)
        .await
        .ok();
    assert_eq!(
        own,
        json!({ "allowed": true, "rules": ["own sensor"], "why": null })
    );
    let other = get(&server, &can("me", "append", "stream/sensor-8"), &ann)
        .await
        .ok();
    assert_eq!(other["allowed"], false, "{other}");
    get(&server, &can("root", "append", "store"), &ann)
        .await
        .problem(403, "forbidden");
    let root_frozen = get(&server, &can("root", "append", "category/frozen"), &root)
        .await
        .ok();
    assert_eq!(root_frozen["rules"], json!(["frozen"]));
    let role = get(
        &server,
        &can("role:client", "append", "category/sensor"),
        &root,
    )
    .await
    .ok();
    assert_eq!(role["rules"], json!(["role client"]));
    get(&server, &can("nobody-knows", "append", "store"), &root)
        .await
        .problem(404, "token-not-found");
    for wrong in [
        "/v1/can?action=fly",
        "/v1/can?action=read&on=moon",
        "/v1/can",
    ] {
        get(&server, wrong, &root).await.problem(400, "bad-request");
    }
}

#[tokio::test]
async fn rules_are_replaced_while_the_host_runs() {
    let key = Key::curve();
    let issuer = Issuer::start(json!({ "keys": [key.public("1")] })).await;
    let shared = Arc::new(Rules::new(rules(&listing(&issuer, VIEWER), None)));
    let options = Options {
        rules: Arc::clone(&shared),
        ..Options::default()
    };
    let server = Server::start(Place::memory().host().await, options).await;
    let ann = key.sign(&header(&key, "1"), &issuer.claims("ann"));
    get(&server, "/v1/events", &ann).await.ok();
    let all = "forbid (principal, action, resource);";
    shared.replace(rules(&listing(&issuer, VIEWER), Some(all)));
    get(&server, "/v1/events", &ann)
        .await
        .problem(403, "forbidden");
    // Its issuer is not taken any more.
    let elsewhere = Issuer::start(json!({ "keys": [key.public("1")] })).await;
    shared.replace(rules(&listing(&elsewhere, VIEWER), None));
    get(&server, "/v1/events", &ann)
        .await
        .problem(401, "unauthorized");
}

#[tokio::test]
async fn wrong_credentials_of_others_keep_nobody_out() {
    let key = Key::curve();
    let issuer = Issuer::start(json!({ "keys": [key.public("1")] })).await;
    let options = Options {
        rules: Arc::new(Rules::new(rules(&listing(&issuer, VIEWER), None))),
        limits: Arc::new(Limiter::new(Limits {
            failed_logins_per_minute: 3,
            ..Limits::default()
        })),
        ..Options::default()
    };
    let server = Server::start(Place::memory().host().await, options).await;
    for _ in 0..5 {
        get(&server, "/v1/whoami", "junk").await;
    }
    get(&server, "/v1/whoami", "junk")
        .await
        .problem(429, "rate-limited");
    let ann = key.sign(&header(&key, "1"), &issuer.claims("ann"));
    get(&server, "/v1/whoami", &ann).await.ok();
}

#[tokio::test]
async fn a_reload_goes_on_with_the_keys_that_are_known() {
    let key = Key::curve();
    let issuer = Issuer::start(json!({ "keys": [key.public("1")] })).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identities.toml");
    std::fs::write(&path, listing(&issuer, VIEWER)).unwrap();
    let before = Identities::load(&path).unwrap();
    let [ann, bob] = ["ann", "bob"].map(|name| key.sign(&header(&key, "1"), &issuer.claims(name)));
    before.verify(&ann).await.unwrap();
    drop(issuer);
    let after = Identities::reload(&path, Some(&before)).unwrap();
    assert!(after.is_same(&before));
    after.verify(&bob).await.unwrap();
}

#[test]
fn a_wrong_file_is_named_with_its_mistake() {
    let missing = Identities::load(Path::new("/nonexistent/identities.toml"));
    assert!(missing.err().unwrap().contains("/nonexistent"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identities.toml");
    for (text, expected) in [
        ("[[issuer]]\nname = 1", "invalid type"),
        ("[[isuer]]", "unknown field"),
        (
            "[[issuer]]\nname = \"a\"\nissuer = \"https://a\"\naudience = [\"b\"]\nkeys_file = \"keys.json\"",
            "keys.json",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let why = Identities::load(&path).err().unwrap();
        assert!(why.contains(expected), "{why}");
    }
}
