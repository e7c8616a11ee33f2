//! Rules of tenants, as an operator gives them.

use std::fs;
use std::path::PathBuf;

use quipu_tests::issuer::{Issuer, Key, now_s};
use quipu_tests::signing::{public, signed};
use quipu_tests::{Place, on_every_store};
use reqwest::Response;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{Said, Served, quipu, run, said, text};
use crate::proving::{decider, file};

on_every_store!(
    a_tenant_has_rules_of_its_own,
    the_keys_of_a_tenant_are_reloaded,
    the_limits_of_a_tenant_are_reloaded,
);

const NO_APPENDS: &str = r#"
@id("no appends")
forbid (principal, action == Action::"append", resource in Category::"closed");
"#;

/// The folder with the rules of tenants.
struct Folder(PathBuf);

impl Folder {
    fn write(&self, tenant: &str, name: &str, content: &str) {
        fs::create_dir_all(self.0.join(tenant)).unwrap();
        fs::write(self.0.join(tenant).join(name), content).unwrap();
    }
}

/// A host with tenants and rules, and an admin token of its main store.
fn start(place: &Place, folder: &Folder) -> (Served, String) {
    let made = ["token", "create", "root", "--role", "admin", "--store"];
    let root = run(&[&made[..], &[place.url()]].concat()).ok();
    fs::create_dir_all(&folder.0).unwrap();
    let mut command = quipu(&["serve", "--store", place.url(), "--listen", "127.0.0.1:0"]);
    command.env("QUIPU_TENANTS__PLACE", place.of_tenants());
    command.env("QUIPU_TENANTS__RULES", &folder.0);
    command.env("QUIPU_LIMITS__TENANT_SUBSCRIPTIONS", "2");
    let host = Served::ready(TempDir::new().unwrap(), command);
    (host, root.trim_end().to_owned())
}

/// Appends an event as a caller of a tenant.
fn append(host: &Served, (tenant, token): (&str, &str), stream: &str) -> Said {
    let append = ["append", stream, "noted", "1", "--tenant", tenant];
    host.run(&[&append[..], &["--token", token]].concat())
}

/// Asks the host to reload, and returns the body of the answer.
async fn reload(host: &Served, root: &str) -> String {
    let sent = reqwest::Client::new().post(format!("{}/v1/reload", host.url));
    let answer = sent.bearer_auth(root).send().await.unwrap();
    answer.text().await.unwrap()
}

async fn a_tenant_has_rules_of_its_own(place: Place) {
    let key = Key::curve();
    let issuer = Issuer::start(json!({ "keys": [key.public("1")] })).await;
    let dir = TempDir::new().unwrap();
    let folder = Folder(dir.path().join("rules"));
    let identities = format!(
        "[[issuer]]\nname = \"corp\"\nissuer = {:?}\naudience = [\"quipu\"]\nalgorithms = [\"ES256\"]\nrole = \"author\"\n",
        issuer.url
    );
    folder.write("acme", "identities.toml", &identities);
    folder.write("acme", "policy.cedar", NO_APPENDS);
    let (host, root) = start(&place, &folder);
    let manage = |args: &[&str]| host.run(&[args, &["--token", &root]].concat());
    let create = |name: &str| {
        let token = manage(&["tenant", "create", name]).ok();
        token.trim_end().to_owned()
    };
    let (acme, beta) = (create("acme"), create("beta"));
    let claims = json!({
        "iss": issuer.url, "aud": "quipu", "sub": "ann", "iat": now_s(), "exp": now_s() + 600,
    });
    let ann = key.sign(
        &json!({ "alg": "ES256", "typ": "JWT", "kid": "1" }),
        &claims,
    );

    // A caller of the issuer is one of acme only.
    append(&host, ("acme", &ann), "note-1").ok();
    append(&host, ("beta", &ann), "note-1").fails(1, "there is no tenant beta, or");
    manage(&["append", "note-1", "noted", "1"]).ok();
    host.run(&["events", "--token", &ann])
        .fails(1, "unauthorized");
    let forged = Key::curve().sign(&json!({ "alg": "ES256", "kid": "1" }), &claims);
    append(&host, ("acme", &forged), "note-1").fails(1, "there is no tenant acme, or");
    let whoami = ["whoami", "--tenant", "acme", "--token", &ann];
    let known = host.run(&whoami).ok();
    assert!(
        known.starts_with("\"corp:ann\": author on everything"),
        "{known}"
    );

    // So is its policy, which tokens of its store follow, too.
    append(&host, ("acme", &ann), "closed-1").fails(1, "no appends");
    append(&host, ("acme", &acme), "closed-1").fails(1, "no appends");
    append(&host, ("beta", &beta), "closed-1").ok();

    // A mistake is named, and changes nothing.
    folder.write(
        "acme",
        "policy.cedar",
        "forbid (principal, action, resource",
    );
    let refused = reload(&host, &root).await;
    assert!(refused.contains("tenants.rules: acme: policy"), "{refused}");
    append(&host, ("acme", &acme), "closed-1").fails(1, "no appends");
    folder.write("acme", "policy.cedar", "");
    let refused = reload(&host, &root).await;
    assert!(refused.contains("has no rule any more"), "{refused}");
    folder.write(
        "acme",
        "policy.cedar",
        &NO_APPENDS.replace("closed", "note"),
    );
    let changed = reload(&host, &root).await;
    assert!(
        changed.contains(r#""changed":["tenants.rules"]"#),
        "{changed}"
    );
    append(&host, ("acme", &ann), "closed-1").ok();
    append(&host, ("acme", &ann), "note-1").fails(1, "no appends");

    // Whose modules a tenant accepts is read when it is opened.
    let pem = text(&dir.path().join("key.pem"));
    let public = run(&["key", &pem]).ok();
    folder.write(
        "beta",
        "keys.txt",
        &format!("# the author of beta\n{public}"),
    );
    for change in ["suspend", "resume"] {
        manage(&["tenant", change, "beta", "--reason", "a test"]).ok();
    }
    let component = file(dir.path(), "note", &decider());
    let deploy = |(tenant, token): (&str, &str)| {
        host.run(&["deploy", &component, "--tenant", tenant, "--token", token])
    };
    deploy(("beta", &beta)).fails(1, "is not signed");
    deploy(("acme", &acme)).ok();
    run(&["sign", &component, "--key", &pem]).ok();
    deploy(("beta", &beta)).ok();
}

async fn the_keys_of_a_tenant_are_reloaded(place: Place) {
    let dir = TempDir::new().unwrap();
    let folder = Folder(dir.path().join("rules"));
    let accept = |key: u8| folder.write("beta", "keys.txt", &format!("\u{feff}{}\n", public(key)));
    accept(1);
    let (host, root) = start(&place, &folder);
    let create = |name: &str| {
        let create = ["tenant", "create", name, "--token", &root];
        host.run(&create).ok().trim_end().to_owned()
    };
    let (acme, beta) = (create("acme"), create("beta"));
    // Deploys a version of a component, signed with the key of a number.
    let deploy = |(tenant, token): (&str, &str), version: &str, key: u8| {
        let component = decider().version(version);
        let path = file(dir.path(), "note", &component);
        let signature = signed(key, &component.component());
        fs::write(format!("{path}.sig"), format!("{signature}\n")).unwrap();
        host.run(&["deploy", &path, "--tenant", tenant, "--token", token])
    };
    let note = |(tenant, token): (&str, &str)| {
        let execute = [
            "execute",
            "note-1",
            "note",
            r#"[["noted", {"word": "plain"}]]"#,
        ];
        host.run(&[&execute[..], &["--tenant", tenant, "--token", token]].concat())
    };
    let (acme, beta) = (("acme", &*acme), ("beta", &*beta));
    deploy(beta, "1.0.0", 2).fails(1, "signed only by");
    deploy(beta, "1.0.0", 1).ok();
    note(beta).ok();

    accept(2);
    let changed = reload(&host, &root).await;
    assert!(
        changed.contains(r#""changed":["tenants.rules"],"restart":[]"#),
        "{changed}"
    );
    deploy(beta, "2.0.0", 1).fails(1, "signed only by");
    // What is active goes on deciding, and other tenants have other keys.
    note(beta).ok();
    deploy(acme, "2.0.0", 1).ok();

    // A mistake changes nothing.
    folder.write("beta", "keys.txt", "abc\n");
    let refused = reload(&host, &root).await;
    assert!(refused.contains("tenants.rules: beta: keys"), "{refused}");
    deploy(beta, "2.0.0", 1).fails(1, "signed only by");
    fs::remove_file(folder.0.join("beta/keys.txt")).unwrap();
    let refused = reload(&host, &root).await;
    assert!(
        refused.contains("beta: keys has no key any more"),
        "{refused}"
    );
    deploy(beta, "2.0.0", 1).fails(1, "signed only by");
    deploy(beta, "2.0.0", 2).ok();
    note(beta).ok();
}

/// Opens subscriptions until one is refused: those that are open, and the limit.
async fn subscriptions(host: &Served, (tenant, token): (&str, &str)) -> (Vec<Response>, Value) {
    let mut open = Vec::new();
    while open.len() < 10 {
        let follow = reqwest::Client::new().get(format!("{}/v1/events/subscribe", host.url));
        let follow = follow.header("Quipu-Tenant", tenant).bearer_auth(token);
        let answer = follow.send().await.unwrap();
        if answer.status() != 200 {
            let refused: Value = answer.json().await.unwrap();
            return (open, refused["limit"].clone());
        }
        open.push(answer);
    }
    panic!("no subscription of {tenant} is refused");
}

async fn the_limits_of_a_tenant_are_reloaded(place: Place) {
    let dir = TempDir::new().unwrap();
    let folder = Folder(dir.path().join("rules"));
    folder.write("acme", "limits.toml", "tenant_subscriptions = 1\n");
    let (host, root) = start(&place, &folder);
    let create = |name: &str| {
        let create = ["tenant", "create", name, "--token", &root];
        host.run(&create).ok().trim_end().to_owned()
    };
    let (acme, beta) = (create("acme"), create("beta"));
    let (acme, beta) = (("acme", &*acme), ("beta", &*beta));
    let limit = |value: u32| json!({ "name": "tenant_subscriptions", "value": value });
    let (of_acme, reached) = subscriptions(&host, acme).await;
    assert_eq!((of_acme.len(), reached), (1, limit(1)));
    let (of_beta, reached) = subscriptions(&host, beta).await;
    assert_eq!((of_beta.len(), reached), (2, limit(2)));

    // A mistake is named, and changes nothing.
    for (content, why) in [
        (
            "\nsubscriptions = 3\n",
            "limits.toml:2: there is no key subscriptions; the nearest is tenant_subscriptions",
        ),
        ("share = 0\n", "share is 0; it must be 1 to 1024"),
    ] {
        folder.write("acme", "limits.toml", content);
        let refused = reload(&host, &root).await;
        assert!(
            refused.contains("tenants.rules: acme: limits: "),
            "{refused}"
        );
        assert!(refused.contains(why), "{refused}");
    }
    let (more, reached) = subscriptions(&host, acme).await;
    assert_eq!((more.len(), reached), (0, limit(1)));

    // A limit applies at once, a share when the tenant is opened next.
    folder.write(
        "acme",
        "limits.toml",
        "tenant_subscriptions = 3\nshare = 2\n",
    );
    let changed = reload(&host, &root).await;
    let expected = r#""changed":["tenants.rules"],"restart":["tenants.rules.acme.share"]"#;
    assert!(changed.contains(expected), "{changed}");
    let (more, reached) = subscriptions(&host, acme).await;
    assert_eq!((more.len(), reached), (2, limit(3)));
    let (more, reached) = subscriptions(&host, beta).await;
    assert_eq!((more.len(), reached), (0, limit(2)));
    drop((of_acme, of_beta));
    for change in ["suspend", "resume"] {
        let change = ["tenant", change, "acme", "--reason", "a test"];
        host.run(&[&change[..], &["--token", &root]].concat()).ok();
    }
    append(&host, acme, "note-1").ok();
    let changed = reload(&host, &root).await;
    assert!(
        changed.contains(r#""changed":[],"restart":[]"#),
        "{changed}"
    );
}

#[test]
fn a_mistake_in_the_rules_of_a_tenant_is_found_before_the_start() {
    let dir = TempDir::new().unwrap();
    let folder = Folder(dir.path().join("rules"));
    let check = || {
        let mut command = quipu(&["config", "--check"]);
        command.env("QUIPU_TENANTS__PLACE", "tenants");
        command.env("QUIPU_TENANTS__RULES", &folder.0);
        said(&command.output().unwrap())
    };
    check().fails(2, "tenants.rules");
    folder.write("acme", "keys.txt", "# of the author\nabc\n");
    check().fails(2, "tenants.rules: acme: keys");
    folder.write("acme", "keys.txt", "# nobody\n");
    check().fails(2, "it has no key");
    fs::remove_file(folder.0.join("acme/keys.txt")).unwrap();
    folder.write("acme", "limits.toml", "shares = 2\n");
    check().fails(2, "tenants.rules: acme: limits: ");
    folder.write("acme", "limits.toml", "share = 2\n");
    folder.write("acme", "identities.toml", "[[issuers]]\n");
    check().fails(2, "tenants.rules: acme: identities");
    fs::remove_file(folder.0.join("acme/identities.toml")).unwrap();
    folder.write("beta", "policy.cedar", "permit");
    check().fails(2, "tenants.rules: beta: policy");
    folder.write("beta", "policy.cedar", NO_APPENDS);
    check().ok();
}
