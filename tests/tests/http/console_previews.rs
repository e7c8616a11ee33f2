//! The page of the console that shows what a command would lead to.

use quipu::access::{Grant, Role};
use quipu_server::Options;
use quipu_tests::coin::coin;
use quipu_tests::{Place, examples, on_every_store};
use serde_json::json;

use crate::access::token;
use crate::console::{FORM, browser, check_page, page, session};
use crate::server::{Answered, Server, send};

on_every_store!(a_command_is_previewed_on_a_page_and_nothing_is_stored);

/// The types are offered; a type with a schema begins with an example that the decider takes.
#[tokio::test]
async fn a_form_offers_the_types_and_an_example_of_the_data() {
    let host = Place::memory().host().await;
    examples::deploy(&host, coin()).await;
    let server = Server::start(host, Options::default()).await;
    let form = page(&server, "/console/preview?stream=coin-1", "").await;
    check_page(PATH, &form);
    for name in ["check", "deposit", "spend"] {
        let link = format!("/console/preview?stream=coin-1&amp;type={name}");
        assert!(form.text.contains(&link), "{name}: {}", form.text);
    }
    assert!(!form.text.contains("made from the schema"), "{}", form.text);
    let form = page(&server, "/console/preview?stream=coin-1&type=deposit", "").await;
    check_page(PATH, &form);
    for text in [
        "{\n  &quot;wei&quot;: 1\n}</textarea>",
        "made from the schema of deposit",
        "&quot;required&quot;",
    ] {
        assert!(form.text.contains(text), "{text}: {}", form.text);
    }
    let given = [
        ("stream", "coin-1"),
        ("type", "deposit"),
        ("data", "{\n  \"wei\": 1\n}"),
    ];
    let answer = preview(&server, "", &server.url, &given).await;
    for text in ["deposited", "stream=coin-1&amp;type=spend"] {
        assert!(answer.text.contains(text), "{text}: {}", answer.text);
    }
    let other = page(&server, "/console/preview?stream=other-1&type=deposit", "").await;
    assert!(!other.text.contains("Types of command"), "{}", other.text);
}

const PATH: &str = "/console/preview";

async fn preview(server: &Server, cookie: &str, origin: &str, form: &[(&str, &str)]) -> Answered {
    let body = reqwest::Url::parse_with_params("http://host/", form).unwrap();
    let body = body.query().unwrap().to_owned();
    let request = browser().post(format!("{}{PATH}", server.url));
    let request = request
        .header("Content-Type", FORM)
        .header("Cookie", cookie)
        .header("Origin", origin);
    send(request.body(body)).await
}

async fn a_command_is_previewed_on_a_page_and_nothing_is_stored(place: Place) {
    let server = Server::start(place.bank().await, Options::default()).await;
    let server = server.opened().await;
    let shop = token(&server, "shop", Grant::of(Role::Client)).await;
    let scraper = token(&server, "scraper", Grant::of(Role::Scraper)).await;
    let cookie = session(&server, &shop).await;
    let stream = page(&server, "/console/streams/account-1", &cookie).await;
    let link = "/console/preview?stream=account-1&amp;type=";
    assert!(stream.text.contains(link), "{}", stream.text);
    let domain = page(&server, "/console/domain", &cookie).await;
    let link = "/console/preview?stream=account-&amp;type=deposit";
    assert!(domain.text.contains(link), "{}", domain.text);
    let form = page(
        &server,
        "/console/preview?stream=account-1&type=a\"<b>",
        &cookie,
    )
    .await;
    assert_eq!(form.status, 200, "{}", form.text);
    check_page(PATH, &form);
    assert!(
        form.text.contains("value=\"a&quot;&lt;b&gt;\""),
        "{}",
        form.text
    );

    let given = |name: &'static str, data: &'static str| {
        [("stream", "account-1"), ("type", name), ("data", data)]
    };
    for (form, texts) in [
        // The digits of the data stay as they are.
        (
            given("deposit", "{\"amount\": 7}"),
            vec![
                "deposited",
                "/balance",
                "on version 1",
                "Nothing was stored",
                "--dry-run",
                "-H &#39;Content-Type: application/json&#39; -d &#39;{&quot;type&quot;:&quot;deposit&quot;,",
                "/v1/streams/account-1/preview",
            ],
        ),
        (
            given("withdraw", "{\"amount\": 1000000}"),
            vec!["It would not be executed", "rejected", "insufficient-funds"],
        ),
        (
            given("withdraw", "{"),
            vec!["It would not be executed", "data:"],
        ),
        (
            given("none", ""),
            vec![
                "It would not be executed",
                "invalid-command",
                "no command none",
            ],
        ),
        (
            given(
                "</textarea><script>alert(1)</script>",
                "</textarea><script>alert(1)</script>",
            ),
            vec!["It would not be executed"],
        ),
        (
            [("stream", "no stream"), ("type", "deposit"), ("data", "{}")],
            vec!["It would not be executed"],
        ),
    ] {
        let answer = preview(&server, &cookie, &server.url, &form).await;
        assert_eq!(answer.status, 200, "{form:?}: {}", answer.text);
        check_page(PATH, &answer);
        assert_eq!(answer.text.matches("<script").count(), 1, "{form:?}");
        for text in texts {
            assert!(
                answer.text.contains(text),
                "{form:?} lacks {text}: {}",
                answer.text
            );
        }
    }
    let other = preview(
        &server,
        &cookie,
        "https://evil.example",
        &given("deposit", "{}"),
    )
    .await;
    other.problem(403, "forbidden");
    let without = preview(&server, "", &server.url, &given("deposit", "{}")).await;
    assert_eq!(without.status, 401, "{}", without.text);
    let cookie = session(&server, &scraper).await;
    let denied = preview(
        &server,
        &cookie,
        &server.url,
        &given("deposit", "{\"amount\": 7}"),
    )
    .await;
    let text = "It would not be executed: <code>forbidden</code>";
    assert!(denied.text.contains(text), "{}", denied.text);
    let request = server.request("GET", "/v1/streams/account-1/events");
    let events = send(request.bearer_auth(&shop)).await.ok();
    assert_eq!(events["version"], json!(1));
}
