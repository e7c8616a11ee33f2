//! Structural rules, checked by reading the sources.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of `host/src` from the top down; a layer uses only those below it.
const LAYERS: &[&[&str]] = &[
    &["app"],
    &["propose"],
    &["engine", "subscribe", "transfer", "projection", "proof"],
    &["deploy"],
    &["fold"],
    &["upcast"],
    &["commit", "access"],
    &["log_context"],
    &["meters"],
    &["model", "runtime", "schema", "store", "supervise"],
];

/// A file must not have more lines than this.
const LINES_MAX: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn sources(below: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().unwrap() != "target" {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn rust(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    sources(&root().join(folder), &mut found);
    assert!(!found.is_empty(), "{folder} has no sources");
    found
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The top-level module that a file belongs to.
fn module(path: &Path) -> String {
    let below = path.strip_prefix(root().join("host/src")).unwrap();
    let first = below
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn a_layer_uses_only_layers_below_it() {
    for (path, text) in rust("host/src") {
        let name = module(&path);
        if name == "lib" {
            continue;
        }
        let own = layer(&name).unwrap_or_else(|| panic!("{name} does not belong to a layer"));
        for (place, _) in text.match_indices("crate::") {
            let rest = &text[place + "crate::".len()..];
            if let Some(list) = rest.strip_prefix('{') {
                let list = list.split_once("};").expect("a list of uses ends").0;
                for used in list
                    .split(',')
                    .map(str::trim)
                    .filter(|used| !used.is_empty())
                {
                    let used = used.split("::").next().unwrap();
                    let allowed = used == name || layer(used).is_none_or(|other| other > own);
                    assert!(
                        allowed,
                        "{} uses {used}, which is not below {name}",
                        path.display()
                    );
                }
                continue;
            }
            let used: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let Some(other) = layer(&used) else { continue };
            let allowed = used == name || other > own;
            assert!(
                allowed,
                "{} uses {used}, which is not below {name}",
                path.display()
            );
        }
    }
}

/// Dependencies, and the crates of the host that may use them. The compiler checks the rest.
const WALLS: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("wasmtime", &["runtime"]),
    ("axum", &["server"]),
    ("hyper", &["server"]),
    ("maud", &["server"]),
    ("utoipa", &["api", "server"]),
    ("quipu-server", &["bench", "cli"]),
    ("jsonwebtoken", &["identity"]),
    ("cedar-policy", &["policy"]),
    ("clap", &["bench", "cli"]),
    ("reqwest", &["cli", "identity"]),
    ("indicatif", &["cli"]),
    ("loan", &["bench", "cli"]),
    // Who installs `quipu` does not compile the benchmark.
    ("quipu-bench", &[]),
];

#[test]
fn each_dependency_is_used_only_by_its_allowed_crates() {
    let crates = fs::read_dir(root().join("host")).unwrap();
    let manifests = crates
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("Cargo.toml").is_file());
    let mut found = 0;
    for folder in manifests.chain([root().join("host")]) {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for (dependency, allowed) in WALLS {
            let has = manifest.contains(&format!("\n{dependency}.workspace"));
            assert!(
                !has || allowed.contains(&&*name),
                "{name} uses {dependency}"
            );
            found += usize::from(has);
        }
    }
    assert!(found >= WALLS.len(), "only {found} dependencies were found");
}

/// Files of the command line that start a server, or write its log. All others are its clients.
const STARTS_A_SERVER: &[&str] = &[
    "serve.rs",
    "dev.rs",
    "config.rs",
    "sections.rs",
    "log.rs",
    "log_format.rs",
    "reload.rs",
    "rules.rs",
    "tenant_file.rs",
    "tenant_rules.rs",
    "tls.rs",
];

#[test]
fn the_client_commands_do_not_use_the_server() {
    for (path, text) in rust("host/cli/src") {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            STARTS_A_SERVER.contains(&name) || !text.contains("quipu_server"),
            "{} uses quipu_server",
            path.display()
        );
    }
}

#[test]
fn unsafe_code_is_in_one_file_of_the_host() {
    let word = ["unsafe", " {"].concat();
    let mut files: Vec<_> = rust("host")
        .into_iter()
        .filter(|(_, text)| text.contains(&word))
        .map(|(path, _)| path)
        .collect();
    files.dedup();
    assert!(files.len() <= 1, "{files:?}");
    let runtime = root().join("host/runtime/src");
    assert!(
        files.iter().all(|path| path.starts_with(&runtime)),
        "{files:?}"
    );
}

#[test]
fn no_file_has_too_many_lines() {
    for folder in ["host", "guest-sdk", "example-guests", "tests", "xtask"] {
        for (path, text) in rust(folder) {
            // What wit-bindgen writes, nobody reads from its beginning to its end.
            if path
                .components()
                .any(|part| part.as_os_str() == "generated")
            {
                continue;
            }
            let lines = text.lines().count();
            assert!(lines <= LINES_MAX, "{} has {lines} lines", path.display());
        }
    }
}

/// Authors use the Rust of their distribution, which is older than the host's.
#[test]
fn every_place_names_the_same_oldest_rust_for_guests() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let checked = read("guest-sdk/build/src/toolchain.rs");
    let (_, after) = checked.split_once("RELEASE_MIN: &str = \"").unwrap();
    let (oldest, _) = after.split_once('"').unwrap();
    for (path, text) in [
        ("guest-sdk/Cargo.toml", "rust-version = \"OLDEST\""),
        ("guest-sdk/macros/Cargo.toml", "rust-version = \"OLDEST\""),
        (
            "host/author/templates/rust/sdk/quipu-guest.toml",
            "rust-version = \"OLDEST\"",
        ),
        (
            "host/author/templates/rust/sdk/quipu-guest-macros.toml",
            "rust-version = \"OLDEST\"",
        ),
        ("guest-sdk/src/lib.rs", "Rust OLDEST or newer"),
        ("README.md", "guests need Rust OLDEST"),
    ] {
        let text = text.replace("OLDEST", oldest);
        assert!(read(path).contains(&text), "{path}: not {text}");
    }
}

#[test]
fn every_item_of_the_contract_is_documented() {
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(root().join("wit")).unwrap();
    let mut bare = Vec::new();
    let mut check = |name: String, docs: &wit_parser::Docs| {
        if docs
            .contents
            .as_ref()
            .is_none_or(|text| text.trim().is_empty())
        {
            bare.push(name);
        }
    };
    check("package".to_owned(), &resolve.packages[package].docs);
    for (_, interface) in &resolve.interfaces {
        let name = interface.name.clone().unwrap_or_default();
        check(name.clone(), &interface.docs);
        for (function, item) in &interface.functions {
            check(format!("{name}.{function}"), &item.docs);
        }
        for (own, id) in &interface.types {
            let item = &resolve.types[*id];
            let of = |part: &str| format!("{name}.{own}.{part}");
            match &item.kind {
                wit_parser::TypeDefKind::Record(it) => {
                    it.fields
                        .iter()
                        .for_each(|field| check(of(&field.name), &field.docs));
                }
                wit_parser::TypeDefKind::Variant(it) => {
                    it.cases
                        .iter()
                        .for_each(|case| check(of(&case.name), &case.docs));
                }
                wit_parser::TypeDefKind::Enum(it) => {
                    it.cases
                        .iter()
                        .for_each(|case| check(of(&case.name), &case.docs));
                }
                wit_parser::TypeDefKind::Flags(it) => {
                    it.flags
                        .iter()
                        .for_each(|flag| check(of(&flag.name), &flag.docs));
                }
                // A type that comes from another interface is documented there.
                wit_parser::TypeDefKind::Type(wit_parser::Type::Id(_)) => continue,
                _ => {}
            }
            check(format!("{name}.{own}"), &item.docs);
        }
    }
    for (_, world) in &resolve.worlds {
        check(world.name.clone(), &world.docs);
    }
    assert!(bare.is_empty(), "without documentation: {bare:?}");
}

/// Lines of the host that start a task or a thread which the supervisor neither restarts nor reports,
/// by file: how many, and what happens after a panic.
const SPAWNS: &[(&str, usize, &str)] = &[
    ("cli/src/file/http.rs", 1, "a client: the command ends"),
    (
        "cli/src/otlp/mod.rs",
        1,
        "traces are lost, and the end awaits it",
    ),
    (
        "cli/src/serve.rs",
        3,
        "the start, reloads and a second signal: awaited, logged, the end",
    ),
    ("cli/src/top/mod.rs", 1, "a client: the command ends"),
    (
        "identity/src/keys.rs",
        2,
        "the next request fetches the keys",
    ),
    (
        "runtime/src/compiler.rs",
        3,
        "the scope awaits them, and the compilation fails",
    ),
    (
        "runtime/src/ticker.rs",
        1,
        "it counts and sleeps, and can't panic",
    ),
    ("server/src/connections.rs", 1, "the connection is closed"),
    (
        "server/src/console/charts.rs",
        1,
        "the next view starts another one",
    ),
    (
        "server/src/console/recent.rs",
        1,
        "the overview judges a longer time than five minutes",
    ),
    ("server/src/console/shadows.rs", 1, "the shadow ends"),
    (
        "server/src/lines.rs",
        1,
        "one record of the audit is missing",
    ),
    (
        "server/src/metrics/sample.rs",
        1,
        "the next scrape starts another one",
    ),
    (
        "server/src/pending.rs",
        1,
        "awaited: the caller gets an error",
    ),
    (
        "server/src/runs.rs",
        1,
        "the answer ends without its last line",
    ),
    (
        "server/src/server.rs",
        1,
        "its drop begins the end of the host",
    ),
    (
        "server/src/tenants/mod.rs",
        2,
        "awaited: the caller gets an error",
    ),
    (
        "server/src/tenants/operations.rs",
        2,
        "awaited: the caller gets an error",
    ),
    ("server/src/tenants/slots.rs", 1, "awaited, and logged"),
    ("src/commit/committer.rs", 1, "essential: the host ends"),
    (
        "src/engine/command.rs",
        1,
        "a seat notices it, and the caller gets an error",
    ),
    (
        "src/engine/load.rs",
        2,
        "a seat notices it, and the caller gets an error",
    ),
    (
        "src/engine/retry.rs",
        1,
        "the caller is answered that it was not decided",
    ),
    (
        "src/engine/snapshot_policy.rs",
        1,
        "a seat notices it, and no snapshot is used",
    ),
    (
        "src/engine/snapshots.rs",
        1,
        "a seat notices it, and the next snapshot is taken",
    ),
    (
        "src/engine/worker.rs",
        1,
        "a seat notices it, and the worker continues",
    ),
    (
        "src/projection/flush.rs",
        1,
        "awaited by a part that is restarted",
    ),
    (
        "src/projection/page_cache.rs",
        1,
        "awaited by a part that is restarted",
    ),
    (
        "src/subscribe/commits.rs",
        1,
        "the caller's own handler ends",
    ),
    ("src/subscribe/lease.rs", 2, "awaited, or the lease expires"),
    (
        "store/src/postgres/connection.rs",
        1,
        "the connection is closed",
    ),
];

/// Whether a line starts a task or a thread that the supervisor does not know.
fn is_bare_spawn(line: &str, text: &str) -> bool {
    let line = line.trim_start();
    let starts = ["tokio::spawn(", "thread::spawn(", ".spawn("];
    let Some(after) = starts
        .iter()
        .find_map(|start| line.split_once(start).map(|(_, after)| after))
    else {
        return false;
    };
    // A process, a method of the same type, a comment, or a part.
    if after.starts_with(')') || line.contains("self.spawn(") || line.starts_with("//") {
        return false;
    }
    let name = after.split(')').next().unwrap_or_default();
    let is_part = ["supervisor", "self.supervisor"]
        .iter()
        .any(|it| text.contains(&format!("let {name} = {it}.restarting(")));
    !is_part
        && !line.contains("supervisor.restarting(")
        && !line.contains("supervisor().restarting(")
}

#[test]
fn every_task_of_the_host_is_supervised_or_has_a_reason() {
    let mut listed = 0;
    for (path, text) in rust("host") {
        let name = path.strip_prefix(root().join("host")).unwrap();
        let name = name.to_str().unwrap();
        let is_other = ["bench/", "examples/"]
            .iter()
            .any(|it| name.starts_with(it));
        if is_other || name.ends_with("tests.rs") {
            continue;
        }
        // Unit tests are at the end of a file.
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let found = code
            .lines()
            .filter(|line| is_bare_spawn(line, code))
            .count();
        let known = SPAWNS.iter().find(|(file, ..)| *file == name);
        let expected = known.map_or(0, |(_, number, _)| *number);
        assert_eq!(
            found, expected,
            "{name}: supervise the task with `Supervisor`, or say in SPAWNS what happens after a panic"
        );
        listed += usize::from(known.is_some());
    }
    assert_eq!(
        listed,
        SPAWNS.len(),
        "a file of SPAWNS is not there any more"
    );
}
