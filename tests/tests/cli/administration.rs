//! Administration on an address of its own, and limits of callers.

use std::io::BufRead;

use serde_json::Value;

use crate::program::{Served, run, text};

/// A host whose administration has an address of its own, and that address.
fn start(args: &[&str]) -> (Served, String) {
    let dir = tempfile::tempdir().unwrap();
    let args = [args, &["--admin-listen", "127.0.0.1:0"]].concat();
    let mut host = Served::start_in(dir, &args);
    let mut line = String::new();
    host.stdout.read_line(&mut line).unwrap();
    let admin = line.trim_end().strip_prefix("admin ").unwrap().to_owned();
    (host, admin)
}

#[test]
fn administration_has_an_address_of_its_own() {
    let (host, admin) = start(&[]);
    let root = host.run(&[
        "token", "create", "root", "--role", "admin", "--url", &admin,
    ]);
    let root = root.ok().trim_end().to_owned();
    let at =
        |url: &str, args: &[&str]| host.run(&[args, &["--url", url, "--token", &root]].concat());
    for administration in [
        &["status"][..],
        &["token", "list"],
        &["audit"],
        &["archive", "note-1"],
        &["prune", "--reason", "a trial"],
    ] {
        at(&host.url, administration).fails(1, "admin_listen");
    }
    // Applications are answered at both addresses.
    for url in [&host.url, &admin] {
        at(url, &["append", "note-1", "noted", "1"]).ok();
        at(url, &["events"]).ok();
        at(url, &["whoami"]).ok();
    }
    for administration in [&["status"][..], &["token", "list"], &["archive", "note-1"]] {
        at(&admin, administration).ok();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for url in [&host.url, &admin] {
            for path in ["healthz", "readyz", "openapi.json"] {
                let answer = client.get(format!("{url}/{path}")).send().await.unwrap();
                assert_eq!(answer.status(), 200, "{url}/{path}");
            }
        }
        // Nobody learns by it whether a token is valid.
        let status = client.get(format!("{}/v1/status", host.url));
        let answer = status.bearer_auth("qp_wrong").send().await.unwrap();
        assert_eq!(answer.status(), 403);
    });
    let audit = at(&admin, &["audit", "--json"]).ok();
    let denied = audit.lines().filter(|line| line.contains("\"forbidden\""));
    assert!(denied.count() >= 6, "{audit}");
    host.signal("TERM");
    let (ended, _dir) = host.ended();
    assert_eq!(ended.code, 0, "{}", ended.err);
}

#[test]
fn both_addresses_need_a_token_to_be_reached() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", text(&dir.path().join("q.db")));
    let refused = run(&[
        "serve",
        "--store",
        &store,
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "0.0.0.0:0",
    ]);
    refused.fails(2, "other machines can reach 0.0.0.0:");
    run(&[
        "token", "create", "root", "--role", "admin", "--store", &store,
    ])
    .ok();
    let host = Served::start_in(
        dir,
        &["--listen", "127.0.0.1:0", "--admin-listen", "0.0.0.0:0"],
    );
    host.run(&["events"]).fails(1, "no token");
}

#[test]
fn a_limit_changes_while_the_host_runs_and_a_file_of_commands_waits() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("quipu.toml");
    std::fs::write(&config, "[limits]\nrequests_per_second = 0\n").unwrap();
    let modules = dir.path().join("modules");
    std::fs::create_dir(&modules).unwrap();
    let account = quipu_tests::examples::account();
    std::fs::write(modules.join("account.wasm"), account).unwrap();
    let args = ["--config", &text(&config), "--modules", &text(&modules)];
    let host = Served::start_in(dir, &args);
    std::fs::write(
        &config,
        "[limits]\nrequests_per_second = 10\nevents_max = 7\ntenant_subscriptions = 9\n",
    )
    .unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let reload = || {
        runtime.block_on(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let answer = client.post(format!("{}/v1/reload", host.url)).send().await;
            answer.unwrap().json::<Value>().await.unwrap()
        })
    };
    let answer = reload();
    assert_eq!(
        answer["changed"],
        serde_json::json!(["limits.requests_per_second", "limits.tenant_subscriptions"])
    );
    assert_eq!(answer["restart"], serde_json::json!(["limits.events_max"]));
    let mut lines = String::new();
    for n in 0..40 {
        lines += &format!(
            "{{\"stream\":\"account-{n}\",\"type\":\"open\",\"data\":{{\"owner\":\"a\"}}}}\n"
        );
    }
    let said = host.run_with(&["execute", "--file", "-", "--json"], &lines);
    let summary: Value = serde_json::from_str(&said.ok()).unwrap();
    assert_eq!(summary["accepted"], 40, "{summary}");
}

#[test]
fn the_console_and_the_measurements_are_only_at_the_address_of_administration() {
    let (host, admin) = start(&[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let status = async |url: &str, path: &str| {
            let answer = client.get(format!("{url}{path}")).send().await.unwrap();
            answer.status().as_u16()
        };
        for path in [
            "/",
            "/console",
            "/console/log",
            "/console/log/live",
            "/console/proposals",
            "/console/sign-in",
            "/console/assets/a/console.js",
        ] {
            assert_eq!(status(&host.url, path).await, 404, "{path}");
        }
        // It is an operation, so the answer says where it is.
        assert_eq!(status(&host.url, "/metrics").await, 403);
        assert_eq!(status(&host.url, "/v1/logs").await, 403);
        for path in ["/", "/console", "/console/log", "/metrics"] {
            assert_eq!(status(&admin, path).await, 200, "{path}");
        }
    });
}
