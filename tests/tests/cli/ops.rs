//! The files of `ops` can be read, and agree with the program and with each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::program::{Served, quipu, said, text};
use crate::ships::{bank, segments};

type Variables = BTreeMap<String, String>;

/// The port in every file.
const PORT: u64 = 7_878;
/// What a host needs to end after `drain_delay_ms`: 10 s for requests in flight, 10 s for the store,
/// and something for the process.
const END_SECONDS: u64 = 25;
/// Where containers and services have the address of the store.
const SECRETS: [&str; 3] = ["/etc/quipu-store", "/run/secrets", "%d"];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).unwrap()
}

fn yaml(name: &str, text: &str) -> Vec<Value> {
    let documents: Result<Vec<Value>, _> = serde_saphyr::from_multiple(text);
    documents.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The files of a folder and of those in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let found = paths.flat_map(|path| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    });
    found.collect()
}

/// What `quipu config` shows for a file and variables. All variables are keys.
fn in_force(file: &str, variables: &Variables) -> Value {
    let dir = tempfile::tempdir().unwrap();
    for name in ["address", "store-address", "store.address"] {
        std::fs::write(dir.path().join(name), "sqlite:q.db").unwrap();
    }
    let here = text(dir.path());
    let placed = |text: &str| {
        SECRETS
            .iter()
            .fold(text.to_owned(), |text, place| text.replace(place, &here))
    };
    let path = dir.path().join("quipu.toml");
    std::fs::write(&path, placed(file)).unwrap();
    let mut command = quipu(&["config", "--json", "--config", &text(&path)]);
    for (name, value) in variables {
        command.env(name, placed(value));
    }
    let shown = said(&command.output().unwrap()).ok();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    for name in variables.keys() {
        let key = name.strip_prefix("QUIPU_").unwrap().to_lowercase();
        let key = format!("/{}", key.replace("__", "/"));
        assert!(shown.pointer(&key).is_some(), "{name} is not a key");
    }
    shown
}

/// Pairs of `NAME=value`.
fn variables<'a>(pairs: impl Iterator<Item = &'a str>) -> Variables {
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap());
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    pairs.collect()
}

/// The variables that the image sets.
fn of_image() -> Variables {
    let image = read("ops/container/Containerfile");
    let mut lines = image.lines();
    let line = lines.find_map(|line| line.strip_prefix("ENV ")).unwrap();
    variables(line.split_whitespace())
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    let found = documents.iter().find(|document| document["kind"] == kind);
    found.unwrap_or_else(|| panic!("there is no {kind}"))
}

fn listens_at_the_port(in_force: &Value) {
    assert_eq!(in_force["listen"], format!("0.0.0.0:{PORT}"));
}

/// Checks that a host is not killed before it has ended.
fn has_time_to_end(in_force: &Value, seconds: u64) {
    let delay = in_force["http"]["drain_delay_ms"].as_u64().unwrap() / 1_000;
    assert!(
        seconds >= delay + END_SECONDS,
        "the host is killed {seconds} s after SIGTERM, and may need {delay} + {END_SECONDS} s"
    );
}

/// A unit of systemd: sections, and keys with values.
fn check_unit(name: &str, text: &str) {
    let mut is_continued = false;
    for line in text.lines() {
        let is_empty = line.is_empty() || line.starts_with('#');
        let is_section = line.starts_with('[') && line.ends_with(']');
        let key = line.split_once('=').map_or("", |(key, _)| key);
        let is_key = !key.is_empty() && key.chars().all(|it| it.is_ascii_alphanumeric());
        assert!(
            is_continued || is_empty || is_section || is_key,
            "{name}: {line}"
        );
        is_continued = line.ends_with('\\');
    }
    assert!(!is_continued, "{name}");
}

#[test]
fn every_file_for_operators_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops");
    let mut count = 0;
    for path in files(&folder) {
        let (name, content) = (text(&path), std::fs::read_to_string(&path).unwrap());
        match path.extension().and_then(|it| it.to_str()) {
            Some("yaml" | "yml") => {
                let documents = yaml(&name, &content);
                assert!(!documents.is_empty(), "{name}");
                assert!(documents.iter().all(Value::is_object), "{name}");
            }
            Some("json") => _ = serde_json::from_str::<Value>(&content).unwrap(),
            Some("service" | "timer" | "conf") => check_unit(&name, &content),
            _ => continue,
        }
        count += 1;
    }
    assert!(count >= 15, "{count}");
}

#[test]
fn the_manifests_of_kubernetes_agree_with_the_program() {
    let manifests = [
        ("ops/kubernetes/quipu.yaml", "StatefulSet"),
        ("ops/kubernetes/quipu-postgresql.yaml", "Deployment"),
    ];
    for (name, kind) in manifests {
        let documents = yaml(name, &read(name));
        let file = &of_kind(&documents, "ConfigMap")["data"]["quipu.toml"];
        let pod = &of_kind(&documents, kind)["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let mut set = of_image();
        for variable in container["env"].as_array().unwrap() {
            let (name, value) = (&variable["name"], &variable["value"]);
            let (name, value) = (name.as_str().unwrap(), value.as_str().unwrap());
            set.insert(name.to_owned(), value.to_owned());
        }
        let in_force = in_force(file.as_str().unwrap(), &set);
        listens_at_the_port(&in_force);
        let open = &container["ports"][0];
        assert_eq!(open["containerPort"], PORT, "{name}");
        let service = &of_kind(&documents, "Service")["spec"]["ports"][0];
        assert_eq!(service["port"], PORT, "{name}");
        assert_eq!(service["targetPort"], open["name"], "{name}");
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert_eq!(container[probe]["httpGet"]["port"], open["name"], "{name}");
        }
        // A Service sends new connections for some seconds after SIGTERM.
        assert_ne!(in_force["http"]["drain_delay_ms"], 0, "{name}");
        let grace = pod["terminationGracePeriodSeconds"].as_u64();
        has_time_to_end(&in_force, grace.unwrap());
    }
}

#[test]
fn the_image_and_its_compose_file_agree_with_the_program() {
    listens_at_the_port(&in_force("", &of_image()));
    let image = read("ops/container/Containerfile");
    assert!(image.contains(&format!("\nEXPOSE {PORT}\n")));
    let healthy = read("ops/container/healthy");
    assert!(healthy.contains(&format!("${{1:-{PORT}}}")));

    let name = "ops/container/compose.yaml";
    let documents = yaml(name, &read(name));
    for host in ["one", "two"] {
        let service = &documents[0]["services"][host];
        let mut set = of_image();
        for (name, value) in service["environment"].as_object().unwrap() {
            set.insert(name.clone(), value.as_str().unwrap().to_owned());
        }
        let in_force = in_force("", &set);
        listens_at_the_port(&in_force);
        let published = service["ports"][0].as_str().unwrap();
        assert!(published.ends_with(&format!(":{PORT}")), "{published}");
        let grace = service["stop_grace_period"].as_str().unwrap();
        let seconds = grace.strip_suffix('s').unwrap().parse().unwrap();
        has_time_to_end(&in_force, seconds);
    }
}

#[test]
fn the_unit_of_systemd_agrees_with_the_program_and_the_page_about_it() {
    let page = read("docs/src/operating/install.md");
    let (_, file) = page.split_once("```toml\n").unwrap();
    let (file, _) = file.split_once("```").unwrap();
    listens_at_the_port(&in_force(file, &Variables::new()));

    // Examples that are commented out count as well. They take the place of the file's store.
    let credentials = read("ops/systemd/quipu.service.d/credentials.conf");
    let lines = credentials.lines().map(|line| line.trim_start_matches('#'));
    let set = variables(lines.filter_map(|line| line.strip_prefix("Environment=")));
    assert_eq!(set.len(), 3, "{set:?}");
    let without_store = file.lines().filter(|line| !line.starts_with("store "));
    let without_store: Vec<_> = without_store.collect();
    let in_force = in_force(&without_store.join("\n"), &set);
    listens_at_the_port(&in_force);

    let unit = read("ops/systemd/quipu.service");
    assert!(unit.contains("quipu serve --config /etc/quipu/quipu.toml\n"));
    let mut lines = unit.lines();
    let stop = lines.find_map(|line| line.strip_prefix("TimeoutStopSec="));
    has_time_to_end(&in_force, stop.unwrap().parse().unwrap());
}

/// The arguments of the command of a unit. Paths and addresses of the service are replaced, and each
/// of them must be there.
fn arguments(unit: &str, replaced: &[(&str, &str)]) -> Vec<String> {
    let unit = read(&format!("ops/systemd/{unit}"));
    let mut lines = unit.lines();
    let line = lines.find_map(|line| line.strip_prefix("ExecStart=/usr/bin/quipu "));
    let mut line = line.unwrap().to_owned();
    for (from, to) in replaced {
        assert!(line.contains(from), "{line}: {from}");
        line = line.replace(from, to);
    }
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_units_for_backups_shipping_and_drills_agree_with_the_program() {
    let host = Served::start();
    bank(&host);
    let root = host.run(&["token", "create", "root", "--role", "admin"]);
    let root = root.ok().trim_end().to_owned();
    let create = [
        "token", "create", "ship", "--role", "operator", "--token", &root,
    ];
    let token = host.run(&create).ok();
    std::fs::write(host.path("ship.token"), token).unwrap();
    let folder = text(host.dir.path());
    let (copies, log) = (text(&host.path("copies")), text(&host.path("log")));
    let store = text(&host.path("q.db"));
    // The address in the units is the one at which a host listens without a configuration.
    let address = format!("http://127.0.0.1:{PORT}");
    let run = |arguments: &[String]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        said(&quipu(&arguments).output().unwrap())
    };

    let copies_and_space = format!("{copies} ");
    let places = [
        ("/var/backups/quipu ", &*copies_and_space),
        ("/var/lib/quipu/quipu.db", &*store),
    ];
    let backup = arguments("quipu-backup.service", &places);
    run(&backup).ok();
    run(&backup).ok();
    assert_eq!(std::fs::read_dir(&copies).unwrap().count(), 2);

    let places = [
        ("/var/backups/quipu-log", &*log),
        (&*address, &*host.url),
        ("%d", &*folder),
    ];
    let mut ship = arguments("quipu-ship.service", &places);
    assert!(!ship.iter().any(|it| it == "--once"), "{ship:?}");
    ship.push("--once".to_owned());
    run(&ship).ok();
    assert_eq!(segments(&host.path("log")).len(), 1);
    let report = run(&arguments("quipu-drill.service", &places)).ok();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["passed"], true, "{report}");
    assert_eq!(report["position"], report["host_position"], "{report}");

    // Each folder that they write to is made at the installation.
    let made = read("ops/systemd/quipu.tmpfiles");
    for folder in ["/var/backups/quipu", "/var/backups/quipu-log"] {
        assert!(made.contains(&format!("\nd {folder} 0700 quipu quipu")));
    }
}
