//! Activations and rollbacks from the console: the effect first, then the act.

use std::sync::Arc;

use quipu::access::{Grant, Role};
use quipu_policy::Policy;
use quipu_server::{Console, ConsoleMode, InForce, Options, Rules};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, build, examples, on_every_store};
use serde_json::json;

use crate::access::{admin, token};
use crate::console::{FORM, browser, check_page, page, session};
use crate::server::{Answered, Server, send};

on_every_store!(
    an_activation_shows_the_preflight_and_happens_only_if_it_may_pass,
    an_activation_without_a_preflight_needs_a_reason,
    a_rollback_shows_what_becomes_active_and_needs_a_reason,
    a_console_that_only_reads_offers_no_activation,
    a_reader_deploys_only_what_the_policy_permits,
);

fn decider() -> Probe {
    probe("note").event("noted", 1)
}

fn options(mode: ConsoleMode) -> Options {
    let console = Console {
        mode,
        ..Console::default()
    };
    Options {
        console,
        ..Options::default()
    }
}

/// A host on which a decider has decided two commands, one of them odd.
async fn notes(place: &Place, mode: ConsoleMode) -> Server {
    let server = Server::start(place.host().await, options(mode)).await;
    examples::deploy(&server.host, decider().component()).await;
    for word in ["plain", "odd"] {
        let events = json!([["noted", {"word": word}]]);
        let command = build::command("note", &events.to_string());
        let stream = build::stream("note-1");
        server.host.execute(&stream, command).await.unwrap();
    }
    server
}

async fn uploaded(server: &Server, candidate: &Probe) -> String {
    let uploaded = server.host.upload(candidate.component()).await.unwrap();
    uploaded.module.digest().to_string()
}

async fn act(server: &Server, cookie: &str, body: &str) -> Answered {
    let request = browser().post(format!("{}/console/act", server.url));
    let request = request
        .header("Content-Type", FORM)
        .header("Cookie", cookie)
        .header("Origin", &server.url);
    send(request.body(body.to_owned())).await
}

fn has(answer: &Answered, expected: &[&str]) {
    assert_eq!(answer.status, 200, "{}", answer.text);
    for text in expected {
        assert!(answer.text.contains(text), "lacks {text}: {}", answer.text);
    }
}

const OFFER: &str = "class=\"confirm\"";

async fn an_activation_shows_the_preflight_and_happens_only_if_it_may_pass(place: Place) {
    let server = notes(&place, ConsoleMode::Full).await;
    let first = server.host.plan().active("note").unwrap().to_string();
    let digest = uploaded(&server, &decider().decides("other")).await;
    let root = admin(&server).await;
    let cookie = session(&server, &root).await;
    let link = format!("/console/act?what=module&amp;name={digest}&amp;action=activate");
    for path in ["/console/modules", &format!("/console/modules/{digest}")] {
        has(&page(&server, path, &cookie).await, &[&link]);
    }

    let path = format!("/console/act?what=module&name={digest}&action=activate");
    let blocked = page(&server, &path, &cookie).await;
    check_page(&path, &blocked);
    has(
        &blocked,
        &[
            &format!("title=\"{first}\""),
            &format!("title=\"{digest}\""),
            "The preflight does not pass",
            "1 of 2 come to other events",
            // Both decisions, side by side.
            "<td class=\"wide\"><del><p><code>noted 1 ",
            "<td class=\"wide\"><ins><p><code>",
            "&amp;allow=decision",
            "action=activate-unchecked",
            "quipu deploy note.wasm --url",
            "/v1/deployments",
        ],
    );
    assert!(!blocked.text.contains(OFFER), "{}", blocked.text);
    // The host decides, whatever a page offers.
    let form = format!("what=module&name={digest}&action=activate");
    let refused = act(&server, &cookie, &form).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert_eq!(server.host.plan().number, 1);

    let allowed = page(&server, &format!("{path}&allow=decision"), &cookie).await;
    has(
        &allowed,
        &[
            OFFER,
            "The preflight passes",
            "name=\"allow\" value=\"decision\"",
            "--allow decision",
        ],
    );
    let ann = token(&server, "ann", Grant::of(Role::Viewer)).await;
    let of_ann = session(&server, &ann).await;
    let form = format!("{form}&allow=decision&reason=checked");
    for denied in [
        page(&server, &path, &of_ann).await,
        act(&server, &of_ann, &form).await,
    ] {
        assert_eq!(denied.status, 403, "{}", denied.text);
    }
    let done = act(&server, &cookie, &form).await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, "/console/modules"),
        "{}",
        done.text
    );
    let active = server.host.plan().active("note").unwrap().to_string();
    assert_eq!((server.host.plan().number, active), (2, digest));
    let audit = page(&server, "/console/audit", &cookie).await;
    has(&audit, &["checked"]);
    for wrong in ["allow=everything", "action=destroy"] {
        let path = format!("/console/act?what=module&name={first}&{wrong}&action=activate");
        let answer = page(&server, &path, &cookie).await;
        assert!(!answer.text.contains(OFFER), "{wrong}: {}", answer.text);
    }
}

async fn an_activation_without_a_preflight_needs_a_reason(place: Place) {
    let server = notes(&place, ConsoleMode::Full).await;
    let digest = uploaded(&server, &decider().decides("other")).await;
    let root = admin(&server).await;
    let cookie = session(&server, &root).await;
    let form = format!("what=module&name={digest}&action=activate-unchecked");
    let before = page(&server, &format!("/console/act?{form}"), &cookie).await;
    has(
        &before,
        &[
            OFFER,
            "required",
            "--no-preflight --reason WHY",
            "Quipu-Reason: WHY",
        ],
    );
    let without = act(&server, &cookie, &form).await;
    assert_eq!(without.status, 400, "{}", without.text);
    assert_eq!(server.host.plan().number, 1);
    for (plan, status) in [("7", 409), ("x", 400), ("1", 303)] {
        let form = format!("{form}&reason=urgent&plan={plan}");
        let done = act(&server, &cookie, &form).await;
        assert_eq!(done.status, status, "{plan}: {}", done.text);
    }
    assert_eq!(server.host.plan().number, 2);
}

async fn a_rollback_shows_what_becomes_active_and_needs_a_reason(place: Place) {
    let server = notes(&place, ConsoleMode::Full).await;
    let first = server.host.plan().active("note").unwrap().to_string();
    let root = admin(&server).await;
    let cookie = session(&server, &root).await;
    let form = "what=deployment&name=note&action=rollback";
    let path = format!("/console/act?{form}");
    let nothing = page(&server, &path, &cookie).await;
    assert_eq!(nothing.status, 404, "{}", nothing.text);
    let second = decider().event("added", 1);
    let second = examples::deploy(&server.host, second.component()).await;
    let before = page(&server, &path, &cookie).await;
    check_page(&path, &before);
    has(
        &before,
        &[
            OFFER,
            "required",
            &format!("title=\"{first}\""),
            &format!("title=\"{second}\""),
            "The preflight passes",
            "quipu rollback note --reason WHY",
            "name=\"plan\" value=\"2\"",
        ],
    );
    let without = act(&server, &cookie, form).await;
    assert_eq!(without.status, 400, "{}", without.text);
    let form = format!("{form}&reason=slow&plan=2");
    let done = act(&server, &cookie, &form).await;
    assert_eq!(done.status, 303, "{}", done.text);
    // The same form sent a second time would activate what was just rolled back.
    let replayed = act(&server, &cookie, &form).await;
    assert_eq!(replayed.status, 409, "{}", replayed.text);
    assert!(replayed.text.contains("under plan 2"), "{}", replayed.text);
    let active = server.host.plan().active("note").unwrap().to_string();
    assert_eq!((server.host.plan().number, active), (3, first));
}

async fn a_console_that_only_reads_offers_no_activation(place: Place) {
    let server = notes(&place, ConsoleMode::Read).await;
    let digest = uploaded(&server, &decider().version("2.0.0")).await;
    for path in ["/console/modules", &format!("/console/modules/{digest}")] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(!answer.text.contains("/console/act"), "{}", answer.text);
    }
}

async fn a_reader_deploys_only_what_the_policy_permits(place: Place) {
    let policy = "permit (principal, action == Action::\"deploy\", resource == Module::\"note\");";
    let (policy, _) = Policy::parse(policy)
        .map_err(|it| format!("{it:?}"))
        .unwrap();
    let rules = InForce {
        policy: Some(policy),
        ..InForce::default()
    };
    let options = Options {
        rules: Arc::new(Rules::new(rules)),
        ..options(ConsoleMode::Full)
    };
    let server = Server::start(place.host().await, options).await;
    let note = uploaded(&server, &decider()).await;
    let other = uploaded(&server, &probe("other").event("noted", 1)).await;
    let reader = token(&server, "reader", Grant::of(Role::Viewer)).await;
    let cookie = session(&server, &reader).await;
    for (what, action) in [("module", "activate-unchecked"), ("shadow", "start")] {
        let path = |name: &str| format!("/console/act?what={what}&name={name}&action={action}");
        has(&page(&server, &path(&note), &cookie).await, &[OFFER]);
        let refused = page(&server, &path(&other), &cookie).await;
        assert!(refused.text.contains("module other: "), "{}", refused.text);
        assert!(!refused.text.contains(OFFER), "{}", refused.text);
    }
    let form = format!("what=module&name={other}&action=activate-unchecked&reason=why");
    let refused = act(&server, &cookie, &form).await;
    assert!(refused.text.contains("module other: "), "{}", refused.text);
    assert_eq!(server.host.plan().number, 0);
    let form = format!("what=module&name={note}&action=activate-unchecked&reason=why");
    let done = act(&server, &cookie, &form).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert_eq!(server.host.plan().number, 1);
}
