//! The rules of Prometheus in `ops/prometheus`: their series, their runbooks and their unit tests.

/// Every series of the rules exists, and every series is explained.
#[test]
fn the_rules_use_series_that_exist_and_pages_that_explain_them() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap();
    let rules = read("ops/prometheus/quipu.rules.yml");
    let names = read("tests/golden/metrics.txt");
    let docs = read("docs/src/operating/metrics.md");
    for word in rules.split(|it: char| !it.is_ascii_alphanumeric() && it != '_') {
        if word.starts_with("quipu_") {
            let base = word.trim_end_matches("_bucket").trim_end_matches("_count");
            assert!(names.contains(&format!("{base} ")), "{word}");
        }
    }
    for name in names.lines().filter_map(|line| line.strip_prefix("quipu_")) {
        let name = format!("`quipu_{}`", name.split(' ').next().unwrap());
        assert!(docs.contains(&name), "{name} is not documented");
    }
}

/// Every alert leads to its section on the page about alerts, and has a unit test with series that
/// fire it and series that do not.
#[test]
fn every_alert_has_a_runbook_and_a_unit_test() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap();
    let rules = read("ops/prometheus/quipu.rules.yml");
    let page = read("docs/src/operating/alerts.md");
    let tests = read("ops/prometheus/quipu.tests.yml");
    let groups: Vec<&str> = tests.split("\n  - name: ").skip(1).collect();
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    for alert in &alerts {
        let name = alert.lines().next().unwrap();
        let heading = format!("\n### {name}\n");
        assert!(page.contains(&heading), "{name} has no section");
        let link = format!("alerts.md#{}\n", name.to_lowercase());
        let link = format!("runbook_url: docs/src/operating/{link}");
        assert!(alert.contains(&link), "{name} does not lead to its section");
        let named = format!("alertname: {name}\n");
        let group = groups.iter().find(|group| group.contains(&named));
        let group = group.unwrap_or_else(|| panic!("{name} has no unit test"));
        for part in ["fires:7878", "quiet:7878", "exp_labels:"] {
            assert!(group.contains(part), "the test of {name} lacks {part}");
        }
    }
    let sections = page.matches("\n### Quipu").count();
    assert_eq!(sections, alerts.len(), "a section has no alert");
}
