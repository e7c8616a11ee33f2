//! Dashboards for Grafana.

use std::collections::BTreeSet;

use serde_json::Value;

/// How names of series begin.
const PREFIXES: [&str; 3] = ["quipu_", "http_", "process_"];

fn read(path: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    std::fs::read_to_string(format!("{root}/{path}")).unwrap()
}

/// Collects the queries within a value.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(value["expr"].as_str().map(str::to_owned));
            members.values().for_each(|it| queries(it, found));
        }
        Value::Array(elements) => elements.iter().for_each(|it| queries(it, found)),
        _ => {}
    }
}

/// The series and the labels of the page of metrics.
fn known() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut series, mut labels) = (BTreeSet::new(), BTreeSet::new());
    for line in read("tests/golden/metrics.txt").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (line.starts_with(' '), &words[..]) {
            (true, words) => labels.extend(words.iter().map(|&it| it.to_owned())),
            (false, [name, "histogram"]) => {
                for end in ["bucket", "count", "sum"] {
                    series.insert(format!("{name}_{end}"));
                }
            }
            (false, [name, _]) => _ = series.insert((*name).to_owned()),
            _ => panic!("{line}"),
        }
    }
    // Those of Prometheus.
    labels.extend(["job", "instance", "le"].map(str::to_owned));
    (series, labels)
}

#[test]
fn every_query_of_a_dashboard_uses_series_and_labels_that_exist() {
    let (series, labels) = known();
    let mut used = BTreeSet::new();
    for board in ["quipu-overview", "quipu-internals"] {
        let text = read(&format!("ops/grafana/{board}.json"));
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["uid"], board);
        let mut found = Vec::new();
        queries(&json, &mut found);
        assert!(found.len() > 15, "{board}");
        for query in found {
            let is_part = |it: char| it.is_ascii_alphanumeric() || it == '_';
            let words = query.split(|it: char| !is_part(it));
            let is_name = |word: &&str| PREFIXES.iter().any(|prefix| word.starts_with(prefix));
            let names: Vec<&str> = words.filter(is_name).collect();
            assert!(!names.is_empty(), "{query}");
            for name in names {
                assert!(series.contains(name), "{board}: {name} in {query}");
                used.insert(name.to_owned());
            }
            for grouped in query.split("by (").skip(1) {
                let (grouped, _) = grouped.split_once(')').unwrap();
                for label in grouped.split(',').map(str::trim) {
                    assert!(labels.contains(label), "{board}: {label} in {query}");
                }
            }
        }
        // Ids of panels, and places, are not used twice.
        let panels = json["panels"].as_array().unwrap();
        let ids: BTreeSet<u64> = panels.iter().map(|it| it["id"].as_u64().unwrap()).collect();
        let places: BTreeSet<String> = panels.iter().map(|it| it["gridPos"].to_string()).collect();
        assert_eq!((ids.len(), places.len()), (panels.len(), panels.len()));
    }
    let base = |name: &str| {
        let name = name.trim_end_matches("_bucket").trim_end_matches("_count");
        name.trim_end_matches("_sum").to_owned()
    };
    let used: BTreeSet<String> = used.iter().map(|name| base(name)).collect();
    let all: BTreeSet<String> = series.iter().map(|name| base(name)).collect();
    let unused: Vec<&String> = all.difference(&used).collect();
    assert_eq!(unused, ["quipu_build_info"], "on no dashboard");
}
