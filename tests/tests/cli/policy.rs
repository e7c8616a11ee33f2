//! Policies and identities as an operator uses them.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Said, Served, run, text};

const POLICY: &str = r#"
@id("own loans")
permit (principal, action == Action::"command", resource is Stream in Category::"loan")
when { principal.hasTag("customer") && resource.key == principal.getTag("customer") };
@id("no appends")
forbid (principal, action == Action::"append", resource);
@id("account of ann")
permit (principal == Caller::"corp:ann", action == Action::"deploy", resource == Module::"account");
"#;

const CASES: &str = r#"
[[case]]
caller = "corp:ann"
attributes = { customer = "7" }
action = "command"
on = "stream/loan-7"
expect = "allow"

[[case]]
role = "admin"
action = "append"
on = "category/loan"
expect = "deny"

[[case]]
caller = "corp:ann"
action = "deploy"
on = "module/account"
expect = "allow"
"#;

#[test]
fn a_policy_is_checked_and_tested() {
    let dir = TempDir::new().unwrap();
    let write = |name: &str, content: &str| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        text(&path)
    };
    let (policy, cases) = (write("policy.cedar", POLICY), write("cases.toml", CASES));
    let checked = run(&["policy", "check", &policy]).ok();
    assert_eq!(checked, "the policy is valid: 3 rules\n");
    let broken = write("broken.cedar", "permit (principal");
    run(&["policy", "check", &broken]).fails_with_output(1, "the policy has 1 mistake\n");
    let tested = run(&["policy", "test", &policy, &cases]).ok();
    assert!(tested.contains("allowed by own loans"), "{tested}");
    assert!(
        tested.contains("the policy forbids it: no appends"),
        "{tested}"
    );
    let lines = run(&["policy", "test", &policy, &cases, "--json"]).ok();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(lines.into_iter().all(|line| line["passed"] == true));

    let wrong = write("wrong.toml", &CASES.replace("\"deny\"", "\"allow\""));
    let failed = run(&["policy", "test", &policy, &wrong]);
    assert!(failed.out.contains("FAILED"), "{}", failed.out);
    assert_eq!(failed.code, 1, "{}", failed.err);
    assert!(failed.err.contains("1 of 3 tests failed"), "{}", failed.err);
    let broken = write(
        "broken.cedar",
        "\npermit (principal, action == Action::\"reed\", resource);",
    );
    let failed = run(&["policy", "check", &broken]);
    assert!(
        failed.out.contains("line 2") && failed.out.contains("reed"),
        "{}",
        failed.out
    );
    assert_eq!(failed.code, 1, "{}", failed.err);
    run(&["policy", "test", &policy, &broken]).fails(2, "broken.cedar");
    run(&["policy", "check", "/nonexistent"]).fails(2, "/nonexistent");
    let schema = run(&["policy", "schema"]).ok();
    assert!(schema.contains("entity Stream in [Category]"), "{schema}");
    let roles = write("roles.cedar", &run(&["policy", "roles"]).ok());
    run(&["policy", "check", &roles]).ok();
}

#[tokio::test]
async fn a_policy_is_in_force_and_read_again() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("policy.cedar");
    fs::write(&path, POLICY).unwrap();
    let config = dir.path().join("quipu.toml");
    fs::write(&config, format!("[access]\npolicy = {path:?}\n")).unwrap();
    let store = format!("sqlite:{}", text(&dir.path().join("q.db")));
    let create = [
        "token", "create", "root", "--role", "admin", "--store", &store,
    ];
    let root = run(&create).ok().trim().to_owned();
    let config = text(&config);
    let token = text(&dir.path().join("root.token"));
    fs::write(&token, &root).unwrap();
    let host = Served::start_in(dir, &["--config", &config]);
    let with = |args: &[&str]| -> Said { host.run(&[args, &["--token-file", &token]].concat()) };
    assert_eq!(with(&["can", "me", "deploy"]).ok(), "yes: role admin\n");
    let denied = with(&["can", "me", "append", "category/loan"]);
    assert_eq!(denied.out, "no: the policy forbids it: no appends\n");
    assert_eq!((denied.code, &*denied.err), (1, ""));
    let denied = with(&["can", "role:viewer", "append", "--json"]);
    let answer: Value = serde_json::from_str(&denied.out).unwrap();
    assert_eq!(answer["rules"], serde_json::json!(["no appends"]));
    with(&["can", "me", "fly"]).fails(2, "is no action");
    let append = || with(&["append", "loan-1", "made", "1"]);
    append().fails(1, "no appends");

    // A file with a mistake changes nothing.
    fs::write(&path, "permit (principal").unwrap();
    let refused = run(&["config", "--config", &config, "--check"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    let url = format!("{}/v1/reload", host.url);
    let reload = async || {
        let request = reqwest::Client::new().post(&url).bearer_auth(&root);
        let answered = request.send().await.unwrap();
        (answered.status().as_u16(), answered.text().await.unwrap())
    };
    let (status, why) = reload().await;
    assert_eq!(status, 409, "{why}");
    assert!(why.contains("access.policy"), "{why}");
    append().fails(1, "no appends");
    fs::write(&path, "").unwrap();
    let (status, why) = reload().await;
    assert!(status == 409 && why.contains("no rule any more"), "{why}");
    append().fails(1, "no appends");
    fs::write(&path, "permit (principal, action, resource);").unwrap();
    let (status, what) = reload().await;
    assert_eq!(status, 200, "{what}");
    append().ok();
}
