//! The console: every page, what it hides, and who signs in.

use std::sync::Arc;

use quipu::access::{Grant, Role};
use quipu_policy::Policy;
use quipu_server::{Console, ConsoleMode, ConsoleSetting, InForce, Options, Rules};
use quipu_tests::{PATIENCE, Place, build, on_every_store};
use reqwest::redirect;
use serde_json::json;

use crate::access::{admin, token};
use crate::projections::{deploy, note, notes, once};
use crate::server::{Answered, Server, send};

on_every_store!(
    every_page_answers_and_protects_itself,
    a_search_leads_to_what_it_names,
    hostile_text_is_inert,
    without_a_token_there_is_only_the_page_to_sign_in,
    a_session_ends_with_its_token_and_when_it_is_left,
    a_reader_sees_what_its_token_allows,
    an_action_names_its_effect_and_is_in_the_audit,
);

pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
pub const FORM: &str = "application/x-www-form-urlencoded";

/// Every page of a store as [`filled`] makes it.
const PAGES: [&str; 26] = [
    "/console",
    "/console/streams",
    "/console/streams?category=account",
    "/console/streams/account-1",
    "/console/streams/account-1?at=1",
    "/console/streams/account-1/diff?one=1&other=2",
    "/console/events/1",
    "/console/trace?id=d1",
    "/console/log",
    "/console/log?category=account&type=deposited",
    "/console/rejections",
    "/console/rejections?code=insufficient-funds",
    "/console/modules",
    "/console/deployments/1",
    "/console/shadow",
    "/console/projections",
    "/console/projections/notes",
    "/console/projections/notes/documents",
    "/console/subscriptions",
    "/console/preview",
    "/console/preview?stream=account-1&type=deposit",
    "/console/proposals",
    "/console/proposals?state=all",
    "/console/domain",
    "/console/operations",
    "/console/audit",
];

/// A host on which two deciders and a projection are active.
pub async fn filled(place: &Place, options: Options) -> Server {
    let server = Server::start(place.bank().await, options)
        .await
        .opened()
        .await;
    let deposit = server.command("account-1", "deposit", "{\"amount\":5}");
    let deposit = deposit.header("Idempotency-Key", "d1");
    send(deposit.header("Quipu-Correlation-Id", "visit-7"))
        .await
        .ok();
    let refused = server.command("account-1", "withdraw", "{\"amount\":7}");
    let refused = refused.header("Idempotency-Key", "w1");
    send(refused).await.problem(422, "rejected");
    deploy(&server, &notes(1, json!({})), json!({})).await.ok();
    note(&server, "note-1", &json!({"n": 1})).await;
    once(&server, |view| view["state"] == "caught-up").await;
    let stored = async {
        while server.get("/v1/rejections").await.ok()["rejections"] == json!([]) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, stored).await.unwrap();
    server
}

/// A browser: it stores no cookies by itself, and follows no redirects.
pub fn browser() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    client.redirect(redirect::Policy::none()).build().unwrap()
}

async fn sign_in(server: &Server, token: &str) -> Answered {
    let body = format!("token={token}&to=%2Fconsole%2Flog%3Ftype%3Da");
    let request = browser().post(format!("{}/console/sign-in", server.url));
    let request = request
        .header("Content-Type", FORM)
        .header("Origin", &server.url);
    send(request.body(body)).await
}

/// Signs in, and returns the cookie.
pub async fn session(server: &Server, token: &str) -> String {
    let answer = sign_in(server, token).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert_eq!(answer.header("location"), "/console/log?type=a");
    let cookie = answer.header("set-cookie");
    let (cookie, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
    cookie.to_owned()
}

pub async fn page(server: &Server, path: &str, cookie: &str) -> Answered {
    let request = browser().get(format!("{}{path}", server.url));
    send(request.header("Cookie", cookie)).await
}

pub fn check_page(path: &str, answer: &Answered) {
    assert_eq!(answer.header("content-security-policy"), POLICY, "{path}");
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert_eq!(answer.text.matches("<h1>").count(), 1, "{path}");
    assert_eq!(answer.text.matches("<main ").count(), 1, "{path}");
    for inline in ["style=", " onclick", "javascript:", "<style"] {
        assert!(!answer.text.contains(inline), "{path} has {inline}");
    }
}

async fn every_page_answers_and_protects_itself(place: Place) {
    let setting = ConsoleSetting {
        key: "listen".to_owned(),
        value: Some("\"127.0.0.1:7878\"".to_owned()),
        source: "quipu.toml:3".to_owned(),
    };
    let console = Console {
        settings: Arc::new([setting]),
        ..Console::default()
    };
    let options = Options {
        console,
        ..Options::default()
    };
    let server = filled(&place, options).await;
    for path in PAGES {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        check_page(path, &answer);
        assert!(
            !answer.text.contains("class=\"problem\""),
            "{path}: {}",
            answer.text
        );
    }
    let says = async |path: &str, texts: &[&str]| {
        let text = server.get(path).await.text;
        for expected in texts {
            assert!(text.contains(expected), "{path} lacks {expected}: {text}");
        }
    };
    says("/console", &["All is well.", "caught-up", "account-1"]).await;
    says(
        "/console/streams/account-1?at=1",
        &["At version 1", "Changed by event 1", "insufficient-funds"],
    )
    .await;
    let module = server.get("/v1/deployments/account").await.ok();
    let module = module["deployments"][0]["digest"].as_str().unwrap();
    says(
        &format!(
            "/console/streams/account-1?time=2100-01-01T00:00:00Z&module={}",
            &module[..12]
        ),
        &["At version ", "Changed by event ", "2100-01-01T00:00:00Z"],
    )
    .await;
    for wrong in ["time=soon", "time=2001-01-01T00:00:00Z&module=00000000"] {
        let path = format!("/console/streams/account-1?{wrong}");
        says(&path, &["class=\"problem\""]).await;
    }
    says(
        "/console/streams/account-1/diff?one=1&other=2",
        &[
            "balance",
            "<del>",
            "<ins>",
            "As rendered by module",
            "quipu stream account-1 --state --at-version 1",
            "curl",
            "/v1/streams/account-1/state?at_version=2",
        ],
    )
    .await;
    says(
        "/console/events/2",
        &["d1", "visit-7", "Command", "State that its command met"],
    )
    .await;
    says("/console/trace?id=visit-7", &["deposited"]).await;
    says(
        "/console/projections/notes/documents?key=note-1",
        &["Includes events up to"],
    )
    .await;
    says(
        "/console/domain",
        &["deposit", "insufficient-funds", "notes"],
    )
    .await;
    says(
        "/console/operations",
        &[
            "quipu.toml:3",
            "There are no tokens",
            "quipu config --sources",
            "quipu token list --url",
            "/v1/tokens",
            "quipu tenant list --url",
            "/v1/tenants",
        ],
    )
    .await;
    for (path, status) in [
        ("/console/events/999", 404),
        ("/console/streams/account-none", 404),
        ("/console/projections/none", 404),
        ("/console/modules/00000000", 404),
        ("/console/events/x", 400),
        ("/console/streams/account-1?at=x", 400),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        check_page(path, &answer);
    }
    server
        .get("/console/nothing")
        .await
        .problem(404, "not-found");
    server.get("/console/act").await.problem(404, "not-found");
    let first = send(browser().get(&server.url)).await;
    assert_eq!((first.status, first.header("location")), (303, "/console"));
}

async fn a_search_leads_to_what_it_names(place: Place) {
    let server = filled(&place, Options::default()).await;
    let event = server.get("/v1/events/2").await.ok();
    let modules = server.get("/v1/modules").await.ok();
    let digest = modules["modules"][0]["digest"].as_str().unwrap();
    for (query, location) in [
        ("2", "/console/events/2"),
        ("account-1", "/console/streams/account-1"),
        ("account%2F1", "/console/streams/account-1"),
        ("accou", "/console/streams/account-1"),
        ("notes", "/console/projections/notes"),
        (&digest[..10], &format!("/console/modules/{digest}")),
    ] {
        let answer = send(browser().get(format!("{}/console/search?q={query}", server.url))).await;
        let found = (answer.status, answer.header("location"));
        assert!(
            found == (303, location) || answer.text.contains(location),
            "{query}: {found:?} {}",
            answer.text
        );
    }
    for (query, expected) in [
        (event["id"].as_str().unwrap(), "deposited"),
        ("d1", "deposited"),
        ("d1%20", "deposited"),
        ("w1", "insufficient-funds"),
        ("visit-7", "deposited"),
        ("zz", "Nothing."),
        ("zzzz", "Nothing."),
    ] {
        let answer = server.get(&format!("/console/search?q={query}")).await;
        assert!(answer.text.contains(expected), "{query}: {}", answer.text);
    }
}

async fn hostile_text_is_inert(place: Place) {
    let server = Server::start(place.host().await, Options::default()).await;
    let script = "</code><script>alert(1)</script><img src=x onerror=alert(1)>'\"&";
    let long = "x".repeat((1 << 20) - 512);
    let data = json!({"script": script, "bidi": "a\u{202e}b\u{2066}c\u{200b}d", "long": long});
    let mut event = build::event("<b>bold</b>\u{202e}", &data.to_string());
    event.tags = vec![Arc::from("a:<i>")];
    let stream = "evil-<script>alert(2)</script>\u{202e}";
    let stream = build::stream(stream);
    server
        .host
        .append(&stream, build::append(vec![event]))
        .await
        .unwrap();
    let name = "evil-%3Cscript%3Ealert(2)%3C%2Fscript%3E%E2%80%AE";
    for path in [
        "/console",
        "/console/streams",
        "/console/log",
        "/console/log?type=%3Cscript%3E%E2%80%AE",
        "/console/events/1",
        &format!("/console/streams/{name}"),
        &format!("/console/search?q=%3Cscript%3E{name}"),
        &format!("/console/trace?id={name}"),
        &format!("/console/projections/{name}"),
        "/console/domain",
    ] {
        let answer = server.get(path).await;
        check_page(path, &answer);
        // The only script is that of the console.
        assert_eq!(answer.text.matches("<script").count(), 1, "{path}");
        assert!(!answer.text.contains("<img"), "{path}");
        assert!(!answer.text.contains("<b>bold"), "{path}");
        // A field has what its reader typed.
        let is_hidden = ['\u{202e}', '\u{2066}', '\u{200b}'];
        let mut rest = answer.text.clone();
        while let Some(begin) = rest.find(" value=\"") {
            let end = rest[begin + 8..].find('"').unwrap() + begin + 9;
            rest.replace_range(begin..end, "");
        }
        assert!(!rest.contains(is_hidden), "{path}");
        assert!(
            answer.text.len() < 400 << 10,
            "{path}: {}",
            answer.text.len()
        );
    }
    let event = server.get("/console/events/1").await.text;
    assert!(event.contains("\u{27e8}U+202E\u{27e9}"), "{event}");
    assert!(event.contains("more bytes are not shown"));
    assert!(event.contains("quipu event 1 --json"));
}

async fn without_a_token_there_is_only_the_page_to_sign_in(place: Place) {
    let server = filled(&place, Options::default()).await;
    let root = admin(&server).await;
    for path in PAGES {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 401, "{path}");
        check_page(path, &answer);
        assert!(answer.text.contains("<h1>Sign in</h1>"), "{path}");
        assert!(!answer.text.contains("account-1</a>"), "{path}");
    }
    for wrong in ["", "qp_garbage", "%00", "%C3%A4%0A"] {
        let answer = sign_in(&server, wrong).await;
        assert_eq!(answer.status, 401, "{wrong}: {}", answer.text);
        assert_eq!(answer.header("set-cookie"), "");
    }
    // Other pages neither sign anybody in nor out, nor lead a browser to where they like.
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        for path in ["sign-in", "sign-out"] {
            let request = browser().post(format!("{}/console/{path}", server.url));
            let request = request.header("Content-Type", FORM).header(name, value);
            let answer = send(request.body(format!("token={root}"))).await;
            answer.problem(403, "forbidden");
            assert_eq!(answer.header("set-cookie"), "");
        }
    }
    let request = browser().post(format!("{}/console/sign-in", server.url));
    let request = request.header("Content-Type", FORM);
    let answer = send(request.body(format!("token={root}&to=//evil.example"))).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/console")
    );
    // A cookie is nothing to the interface.
    let cookie = session(&server, &root).await;
    page(&server, "/v1/whoami", &cookie)
        .await
        .problem(401, "unauthorized");
    page(&server, "/v1/events", &cookie)
        .await
        .problem(401, "unauthorized");
    let page = page(&server, "/console/operations", &cookie).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("root (admin)"), "{}", page.text);
    assert!(!page.text.contains(&root));
}

async fn a_session_ends_with_its_token_and_when_it_is_left(place: Place) {
    let server = filled(&place, Options::default()).await;
    let root = admin(&server).await;
    let ann = token(&server, "ann", Grant::of(Role::Viewer)).await;
    let (of_ann, of_root) = (session(&server, &ann).await, session(&server, &root).await);
    assert_ne!(of_ann, of_root);
    for cookie in [&of_ann, &of_root] {
        assert_eq!(page(&server, "/console/log", cookie).await.status, 200);
    }
    server.host.tokens().revoke("ann").await.unwrap();
    let answer = page(&server, "/console/log", &of_ann).await;
    assert_eq!(answer.status, 401, "{}", answer.text);
    assert!(
        answer.text.contains("the token is revoked"),
        "{}",
        answer.text
    );
    // It is not there any more.
    let answer = page(&server, "/console/log", &of_ann).await;
    assert!(!answer.text.contains("the token is revoked"));

    let leave = browser().post(format!("{}/console/sign-out", server.url));
    let left = send(
        leave
            .header("Cookie", &of_root)
            .header("Origin", &server.url),
    )
    .await;
    assert_eq!(left.status, 303);
    assert!(left.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(page(&server, "/console/log", &of_root).await.status, 401);
}

async fn a_reader_sees_what_its_token_allows(place: Place) {
    let policy = r#"
        @id("no payloads") forbid (principal == Caller::"ann", action == Action::"read-payload", resource);
    "#;
    let policy = Policy::parse(policy)
        .map_err(|it| format!("{it:?}"))
        .unwrap()
        .0;
    let rules = InForce {
        policy: Some(policy),
        ..InForce::default()
    };
    let options = Options {
        rules: Arc::new(Rules::new(rules)),
        ..Options::default()
    };
    let server = filled(&place, options).await;
    admin(&server).await;
    let ann = token(&server, "ann", Grant::of(Role::Viewer)).await;
    let cookie = session(&server, &ann).await;
    let denied = page(&server, "/console/rejections", &cookie).await;
    assert!(denied.text.contains("no payloads"), "{}", denied.text);
    let before = server.host.audit().last().await.unwrap();
    for path in [
        "/console/log",
        "/console/streams/account-1",
        "/console/streams/account-1/diff?one=1&other=2",
        "/console/events/1",
    ] {
        let answer = page(&server, path, &cookie).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let words = ["string", "Masked values are not compared"];
        for part in [
            "<code>read-payload</code>",
            words[usize::from(path.contains("/diff?"))],
        ] {
            assert!(answer.text.contains(part), "{path}: {}", answer.text);
        }
        // The owner of the account.
        let is_shown = answer.text.contains("&quot;ann&quot;");
        assert!(!is_shown, "{path}: {}", answer.text);
    }
    assert_eq!(server.host.audit().last().await.unwrap(), before);
    // A tree has no payloads.
    let tree = page(&server, "/console/trace?id=d1", &cookie).await;
    assert!(tree.text.contains("deposited"), "{}", tree.text);
    let streams = page(&server, "/console/streams", &cookie).await;
    assert!(streams.text.contains("account-1"), "{}", streams.text);
    let operations = page(&server, "/console/operations", &cookie).await;
    assert!(operations.text.contains("admin"), "{}", operations.text);
    assert!(!operations.text.contains("Configuration</h2>"));
    // Parts that are not shown were not requested, so nothing was denied.
    let before = server.host.audit().last().await.unwrap();
    page(&server, "/console", &cookie).await;
    page(&server, "/console/operations", &cookie).await;
    assert_eq!(server.host.audit().last().await.unwrap(), before);

    let limited = Grant {
        categories: vec!["note".to_owned()],
        ..Grant::of(Role::Viewer)
    };
    let bob = token(&server, "bob", limited).await;
    let cookie = session(&server, &bob).await;
    let note = page(&server, "/console/streams/note-1", &cookie).await;
    assert_eq!(note.status, 200, "{}", note.text);
    let account = page(&server, "/console/streams/account-1", &cookie).await;
    assert_eq!(account.status, 403, "{}", account.text);
    assert!(!account.text.contains("opened"));
}

async fn an_action_names_its_effect_and_is_in_the_audit(place: Place) {
    let console = Console {
        mode: ConsoleMode::Full,
        ..Console::default()
    };
    let options = Options {
        console,
        ..Options::default()
    };
    let server = filled(&place, options).await;
    let root = admin(&server).await;
    let ann = token(&server, "ann", Grant::of(Role::Viewer)).await;
    let cookie = session(&server, &root).await;
    let path = "/console/act?what=projection&name=notes&action=pause";
    let before = page(&server, path, &cookie).await;
    check_page(path, &before);
    for expected in [
        "It folds nothing until it is resumed",
        "1 document",
        "quipu projection notes pause",
        "curl -X POST",
    ] {
        assert!(
            before.text.contains(expected),
            "{expected}: {}",
            before.text
        );
    }
    let act = |cookie: &str, origin: &str| {
        let request = browser().post(format!("{}/console/act", server.url));
        let request = request
            .header("Content-Type", FORM)
            .header("Cookie", cookie);
        let body = "what=projection&name=notes&action=pause&reason=maintenance";
        send(request.header("Origin", origin).body(body))
    };
    act(&cookie, "https://evil.example")
        .await
        .problem(403, "forbidden");
    let of_ann = session(&server, &ann).await;
    let denied = act(&of_ann, &server.url).await;
    assert_eq!(denied.status, 403, "{}", denied.text);
    let is_paused = async || server.host.projection("notes").await.unwrap().is_paused;
    assert!(!is_paused().await);
    let done = act(&cookie, &server.url).await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, "/console/projections/notes"),
        "{}",
        done.text
    );
    assert!(is_paused().await);
    let audit = page(&server, "/console/audit", &cookie).await;
    for expected in ["order_projection", "maintenance", "root"] {
        assert!(audit.text.contains(expected), "{expected}: {}", audit.text);
    }
}

#[tokio::test]
async fn a_console_that_is_off_is_an_unknown_path() {
    let console = Console {
        mode: ConsoleMode::Off,
        ..Console::default()
    };
    let options = Options {
        console,
        ..Options::default()
    };
    let server = Server::start(Place::memory().host().await, options).await;
    for path in [
        "/",
        "/console",
        "/console/log",
        "/console/assets/a/console.css",
    ] {
        server.get(path).await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn an_empty_store_shows_the_next_command() {
    let server = Server::empty().await;
    let text = server.get("/console").await.text;
    assert!(
        text.contains("The store is empty") && text.contains("quipu deploy"),
        "{text}"
    );
}

#[tokio::test]
async fn a_link_on_another_site_leads_to_a_link_and_nothing_else() {
    let server = Server::empty().await;
    let led = |path: &str, dest: &str| {
        let request = browser().get(format!("{}{path}", server.url));
        let request = request
            .header("Sec-Fetch-Site", "cross-site")
            .header("Sec-Fetch-Mode", "navigate");
        send(request.header("Sec-Fetch-Dest", dest.to_owned()))
    };
    let answer = led("/console/log?type=a", "document").await;
    assert_eq!(answer.status, 200);
    check_page("/console/log", &answer);
    assert!(
        answer.text.contains("href=\"/console/log?type=a\""),
        "{}",
        answer.text
    );
    led("/console/log", "iframe")
        .await
        .problem(403, "forbidden");
    led("/v1/events", "document")
        .await
        .problem(403, "forbidden");
    let renamed = browser().get(format!("{}/console", server.url));
    let renamed = renamed.header("Host", "evil.example");
    send(renamed).await.problem(403, "forbidden");
}
