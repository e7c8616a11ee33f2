//! Tenants, as an operator uses them.

use std::process::Stdio;
use std::time::Duration;

use quipu_tests::{Place, on_every_store, seed};
use rand::Rng;
use serde_json::Value;

use crate::program::{Said, Served, quipu, run, said};

on_every_store!(
    tenants_are_managed_at_run_time,
    a_host_that_is_killed_while_tenants_are_created_has_nothing_or_usable_ones,
);

/// A host with tenants.
fn start(place: &Place) -> Served {
    let mut command = quipu(&["serve", "--store", place.url(), "--listen", "127.0.0.1:0"]);
    command.env("QUIPU_TENANTS__PLACE", place.of_tenants());
    Served::ready(tempfile::tempdir().unwrap(), command)
}

/// An admin token of the main store.
fn root(place: &Place) -> String {
    let made = [
        "token",
        "create",
        "root",
        "--role",
        "admin",
        "--store",
        place.url(),
    ];
    run(&made).ok().trim_end().to_owned()
}

/// Runs a client command in a tenant.
fn inside(host: &Served, (tenant, token): (&str, &str), args: &[&str]) -> Said {
    let mut all = args.to_vec();
    all.extend(["--tenant", tenant, "--token", token]);
    host.run(&all)
}

async fn tenants_are_managed_at_run_time(place: Place) {
    let root = root(&place);
    let host = start(&place);
    let with_root = |args: &[&str]| {
        let mut all = args.to_vec();
        all.extend(["--token", &root]);
        host.run(&all)
    };
    let created = with_root(&["tenant", "create", "acme"]);
    assert!(
        created.err.contains("it is shown only now"),
        "{}",
        created.err
    );
    let acme = created.ok().trim_end().to_owned();
    let beta = with_root(&["tenant", "create", "beta", "--json"]).ok();
    let beta: Value = serde_json::from_str(&beta).unwrap();
    assert_eq!(beta["name"], "beta");
    let beta = beta["token"].as_str().unwrap().to_owned();
    with_root(&["tenant", "create", "acme"]).fails(1, "there is a tenant");
    with_root(&["tenant", "create", "Acme"]).fails(2, "a-z, 0-9 and -");

    let acme = ("acme", &*acme);
    inside(&host, acme, &["append", "note-1", "noted", "\"of acme\""]).ok();
    let reader = ["token", "create", "reader", "--role", "viewer"];
    let reader = inside(&host, acme, &reader).ok();
    let reader = ("acme", reader.trim_end());
    let events = inside(&host, reader, &["events", "--json"]).ok();
    assert!(events.contains("of acme"), "{events}");
    inside(&host, reader, &["append", "note-1", "noted", "1"]).fails(1, "does not allow append");
    let mut by_variable = quipu(&["whoami", "--token", acme.1]);
    by_variable
        .env("QUIPU_URL", &host.url)
        .env("QUIPU_TENANT", "acme");
    let whoami = said(&by_variable.output().unwrap()).ok();
    assert_eq!(whoami, "\"admin\": admin on everything\n");
    inside(&host, ("acme", &beta), &["events"]).fails(1, "there is no tenant acme, or");
    inside(&host, ("acme", &root), &["events"]).fails(1, "there is no tenant acme, or");
    inside(&host, ("nobody", acme.1), &["events"]).fails(1, "there is no tenant nobody, or");
    inside(&host, ("a/b", acme.1), &["events"]).fails(2, "a-z, 0-9 and -");
    inside(&host, acme, &["tenant", "list"]).fails(1, "in the main store");
    let main = with_root(&["events", "--json"]).ok();
    assert_eq!(main, "");

    let listed = with_root(&["tenant", "list"]).ok();
    let rows: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[1][..2], ["acme", "open"]);
    // The request with a token of acme did not open beta.
    assert_eq!(rows[2][..2], ["beta", "closed"]);
    with_root(&["tenant", "suspend", "acme"]).fails(2, "--reason");
    let why = ["--reason", "a trial"];
    let suspend = [&["tenant", "suspend", "acme"][..], &why].concat();
    assert_eq!(with_root(&suspend).ok(), "tenant acme is suspended\n");
    inside(&host, acme, &["events"]).fails(1, "tenant-suspended");
    let resume = ["tenant", "resume", "acme", "--json"];
    let resumed: Value = serde_json::from_str(&with_root(&resume).ok()).unwrap();
    assert_eq!(resumed["suspended_at"], Value::Null);
    inside(&host, acme, &["events"]).ok();
    let remove = [&["tenant", "remove", "acme"][..], &why].concat();
    let removed = with_root(&remove).ok();
    assert!(
        removed.starts_with("tenant acme is removed; its store stays: "),
        "{removed}"
    );
    inside(&host, acme, &["events"]).fails(1, "there is no tenant acme, or");
    with_root(&remove).fails(1, "tenant-not-found");

    host.signal("TERM");
    let (ended, _dir) = host.ended();
    assert_eq!(ended.code, 0, "{}", ended.err);
    for secret in [&acme.1[20..40], &beta[20..40], &reader.1[20..40]] {
        assert!(!ended.err.contains(secret), "a secret is in the log");
    }
}

#[test]
fn a_place_that_is_not_possible_is_refused_at_the_start() {
    let serve = |store: &str, place: &str| {
        let mut command = quipu(&["serve", "--listen", "127.0.0.1:0", "--store", store]);
        said(&command.env("QUIPU_TENANTS__PLACE", place).output().unwrap())
    };
    serve("memory:", "tenants").fails(2, "the list of tenants");
    serve("postgres://localhost/none", "Tenants-").fails(2, "store schema");
}

/// Kills hosts at random moments while they create tenants.
async fn a_host_that_is_killed_while_tenants_are_created_has_nothing_or_usable_ones(place: Place) {
    let root = root(&place);
    let mut random = seed::random(seed::seeds(1)[0]);
    let rounds = if seed::is_long() { 60 } else { 6 };
    let mut answered: Vec<(String, String)> = Vec::new();
    for round in 0..rounds {
        let mut host = start(&place);
        let mut clients = Vec::new();
        for number in 0..4 {
            let name = format!("t{round}-{number}");
            let mut command = quipu(&["tenant", "create", &name, "--token", &root]);
            command.env("QUIPU_URL", &host.url);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            clients.push((name, command.spawn().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(random.random_range(0..600)));
        host.child.kill().unwrap();
        host.child.wait().unwrap();
        let mut lost = Vec::new();
        for (name, client) in clients {
            let said = said(&client.wait_with_output().unwrap());
            match said.code {
                0 => answered.push((name, said.out.trim_end().to_owned())),
                _ => lost.push(name),
            }
        }
        let host = start(&place);
        let listed = host
            .run(&["tenant", "list", "--json", "--token", &root])
            .ok();
        for name in lost {
            if listed.contains(&format!("\"{name}\"")) {
                let remove = [
                    "tenant", "remove", &name, "--reason", "lost", "--token", &root,
                ];
                host.run(&remove).ok();
            }
            let created = host
                .run(&["tenant", "create", &name, "--token", &root])
                .ok();
            answered.push((name, created.trim_end().to_owned()));
        }
        for (name, token) in &answered[answered.len() - 4..] {
            inside(&host, (name, token), &["append", "note-1", "noted", "1"]).ok();
        }
    }
    let host = start(&place);
    let listed = host
        .run(&["tenant", "list", "--json", "--token", &root])
        .ok();
    assert_eq!(listed.lines().count(), answered.len());
    for (name, token) in &answered {
        let events = inside(&host, (name, token), &["events", "--json"]).ok();
        assert_eq!(events.lines().count(), 1, "{name}");
    }
}
