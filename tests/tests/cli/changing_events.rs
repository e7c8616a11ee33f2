//! The page "Change an event": its commands are executed, and print the output that the page shows.

use std::path::Path;
use std::time::Duration;

use quipu_tests::PATIENCE;
use quipu_tests::probe::{Probe, probe};
use serde_json::{Value, json};

use crate::program::{Served, text};

/// A case of the page: its name, and the components that it deploys.
struct Case {
    name: &'static str,
    decider: Probe,
    views: Option<Probe>,
    /// The text of the document after three events of 5 each; none if the document is deleted.
    sum: Option<i64>,
}

fn stock() -> Probe {
    probe("stock").event("received", 1)
}

fn views(version: u32, types: &Value) -> Probe {
    let sources = json!([{"category": "stock", "events": types}]);
    probe("stock_views")
        .version(&format!("{version}.0.0"))
        .projection("levels", version, json!({"sources": sources}))
}

fn two() -> Probe {
    probe("stock").version("2.0.0").decides("rename")
}

fn cases() -> Vec<Case> {
    let renamed = || {
        let to = &[("goods-received", 1)];
        let two = two().event("goods-received", 1);
        two.step_that("stock", ("received", 1), to, "same")
    };
    let case = |name, decider, views, sum| Case {
        name,
        decider,
        views,
        sum,
    };
    let goods = || Some(views(2, &json!([["goods-received", 1]])));
    vec![
        case(
            "alias",
            two().event_once_called("goods-received", 1, &["received"]),
            None,
            Some(15),
        ),
        case("step", renamed(), goods(), Some(15)),
        case("step-only", renamed(), None, Some(15)),
        case(
            "form",
            two().event("received", 2).step_that(
                "stock",
                ("received", 1),
                &[("received", 2)],
                "same",
            ),
            Some(views(2, &json!([["received", 2]]))),
            Some(15),
        ),
        case(
            "form-without-step",
            two().event("received", 2),
            None,
            Some(15),
        ),
        case(
            "unchanged",
            two().event("received", 2).unchanged("received", 1),
            None,
            Some(15),
        ),
        case(
            "split",
            two().event("received", 2).event("labelled", 1).step_that(
                "stock",
                ("received", 1),
                &[("received", 2), ("labelled", 1)],
                "same",
            ),
            Some(views(2, &json!([["received", 2]]))),
            Some(15),
        ),
        case(
            "drop",
            two().event("moved", 1).step("stock", ("received", 1), &[]),
            Some(views(2, &json!([["moved", 1]]))),
            None,
        ),
        case("back", renamed(), goods(), Some(15)),
    ]
}

#[test]
fn the_commands_of_each_case_on_the_page_print_the_shown_output() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/guests/changing-events.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = page.matches("<!-- case: ").count();
    let cases = cases();
    assert_eq!(
        blocks,
        cases.len(),
        "the cases of the page and of this test differ"
    );
    for case in cases {
        go(&page, &case);
    }
}

/// Runs the commands of a case.
fn go(page: &str, case: &Case) {
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    // The first projection of the page's events is defined by the decider of version 1.
    let pinned = match case.name {
        "unchanged" => 0,
        _ => 1,
    };
    let one = views(1, &json!([["received", pinned]]));
    for (file, probe) in [
        ("stock-1.wasm", Some(&stock())),
        ("stock-views-1.wasm", Some(&one)),
        ("stock-2.wasm", Some(&case.decider)),
        ("stock-views-2.wasm", case.views.as_ref()),
    ] {
        if let Some(probe) = probe {
            std::fs::write(host.path(file), probe.component()).unwrap();
        }
    }
    for file in ["stock-1.wasm", "stock-views-1.wasm"] {
        host.run(&["deploy", &text(&host.path(file))]).ok();
    }
    for _ in 0..3 {
        let events = r#"[["received", {"n": 5}]]"#;
        host.run(&["execute", "stock-chair", "note", events]).ok();
    }
    await_sum(&host, case.name, Some(15));
    let start = format!("<!-- case: {} -->\n```console\n", case.name);
    let (_, rest) = page.split_once(&start).expect("the page has the case");
    let (block, _) = rest.split_once("```").unwrap();
    for command in block.split("$ quipu ").skip(1) {
        let (words, expected) = command.split_once('\n').unwrap_or((command, ""));
        let words: Vec<String> = words
            .split_whitespace()
            .map(|word| match word.ends_with(".wasm") {
                true => text(&host.path(word)),
                false => word.to_owned(),
            })
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = host.run(&words);
        if expected.trim().is_empty() {
            said.ok();
            continue;
        }
        let printed = format!("{}{}", said.out, said.err);
        for line in expected.lines() {
            let wanted = line.trim_end_matches('…').trim_end();
            let mut printed_lines = printed.lines();
            assert!(
                printed_lines.any(|line| line.starts_with(wanted)),
                "{}: {line}\n{printed}",
                case.name
            );
        }
    }
    await_sum(&host, case.name, case.sum);
}

/// Waits until the document has this text and is not stale.
fn await_sum(host: &Served, case: &str, expected: Option<i64>) {
    let mut last = String::new();
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        let said = host.run(&["view", "levels", "stock-chair", "--json"]);
        let found: Option<Value> = serde_json::from_str(said.out.trim()).ok();
        let is_stale = said.err.contains("is stale");
        let sum = found.and_then(|it| it["sum"].as_i64());
        if sum == expected && !is_stale {
            return;
        }
        last = format!("{}{}", said.out, said.err);
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("{case}: never {expected:?}: {last}");
}
