use quipu_tests::golden;

use crate::program::run;

#[test]
fn help_is_as_published() {
    let mut text = run(&["--help"]).ok();
    for command in [
        "serve",
        "demo",
        "build",
        "inspect",
        "deploy",
        "preflight",
        "rollback",
        "deployments",
        "execute",
        "append",
        "events",
        "event",
        "streams",
        "stream",
        "types",
        "archive",
        "restore",
        "truncate",
        "projections",
        "projection",
        "view",
        "snapshot",
        "verify",
        "status",
        "export",
        "import",
        "backup",
        "migrate",
        "bench",
    ] {
        text += &format!("\n\n$ quipu {command} --help\n");
        text += &run(&[command, "--help"]).ok();
    }
    golden::check("help.txt", &text);
}

#[test]
fn wrong_use_ends_with_2() {
    run(&[]).fails(2, "Usage");
    run(&["no-such"]).fails(2, "no-such");
    run(&["execute", "account-1"]).fails(2, "<TYPE>");
    run(&["execute", "--file", "f", "account-1", "open"]).fails(2, "cannot be used");
    run(&["execute", "account-1", "open", "{"]).fails(2, "not well-formed JSON");
    run(&["serve", "--store", "mysql:x"]).fails(2, "sqlite:PATH");
    run(&["projection", "notes", "explode"]).fails(2, "drop-parked");
    run(&["projection", "notes", "pause", "--hold"]).fails(2, "go with rebuild");
    run(&["projection", "notes", "drop-parked"]).fails(2, "needs --reason");
    run(&["projection", "notes", "resume", "--reason", "x"]).fails(2, "goes with drop-parked");
    run(&["projection", "notes", "--build", "next"]).fails(2, "parked and skipped");
    run(&["view", "notes", "a", "--limit", "1"]).fails(2, "cannot be used");
    run(&["view", "notes", "a", "--timeout", "1"]).fails(2, "--after");
    run(&["view", "notes", ""]).fails(2, "not empty");
    run(&["deploy", "x.wasm", "--projection", "notes"]).fails(2, "NAME=VALUE");
    run(&["deploy", "x.wasm", "--projection", "notes=eager"]).fails(2, "async, inline or live");
    run(&["deploy", "x.wasm", "--on-error", "notes=hope"]).fails(2, "stop, skip or park");
    run(&["events", "--url", "nonsense"]).fails(2, "no address of a host");
}
