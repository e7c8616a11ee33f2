use std::io::{self, Write};

use crate::execute::one_lined;
use crate::projections::spoken;
use crate::table::{Table, counted, grouped};
use quipu_api::{BuildView, ComparisonView, ProjectionView, TroubleView};

/// Prints a projection's status for people.
pub fn print(view: &ProjectionView, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{} is {}", view.name, view.state)?;
    let mut table = Table::bare();
    let deployed = match &view.deployed {
        Some(it) => format!("version {} of {}, {}", it.version, it.component, it.module),
        None => "no active component has it".to_owned(),
    };
    let mut facts = vec![
        ("deployed", deployed),
        ("lifecycle", view.lifecycle.clone()),
        ("on error", view.on_error.clone()),
        ("log", format!("up to position {}", grouped(view.log_head))),
    ];
    if view.paused {
        let value = format!("yes; `quipu projection {} resume` resumes it", view.name);
        facts.push(("paused", value));
    }
    if view.held {
        let value = "a rebuild waits for `switch` when it has caught up";
        facts.push(("held", value.to_owned()));
    }
    for (name, value) in facts {
        table.row([name.to_owned(), value]);
    }
    table.write(out)?;
    if !view.builds.is_empty() {
        writeln!(out)?;
        of_builds(&view.builds).write(out)?;
    }
    for build in &view.builds {
        if let Some(trouble) = &build.trouble {
            writeln!(out)?;
            let is_replaced = view
                .builds
                .iter()
                .any(|it| it.role == "next" && it.state == "ready");
            of_trouble((&view.name, &build.role), trouble, is_replaced, out)?;
        }
        if let Some(stale) = &build.stale {
            let role = &build.role;
            writeln!(out, "\nthe {role} build is stale: {}", one_lined(stale))?;
        }
        if let Some(waits) = &build.waits {
            writeln!(out, "\nthe rebuild waits: {}", one_lined(waits))?;
        }
        if let Some(comparison) = &build.comparison {
            writeln!(out)?;
            of_comparison(comparison, out)?;
        }
    }
    for hint in hints(view) {
        writeln!(out, "\n{hint}")?;
    }
    Ok(())
}

/// One column for each build.
fn of_builds(builds: &[BuildView]) -> Table {
    let mut table = Table::bare();
    let mut row = |name: &str, cell: &dyn Fn(&BuildView) -> String| {
        let cells = builds.iter().map(cell);
        table.cells(std::iter::once(name.to_owned()).chain(cells));
    };
    row("build", &|build| build.role.clone());
    row("version", &|build| build.version.to_string());
    // A digest may consist of digits only.
    row("module", &|build| {
        format!("{} ", build.module.get(..12).unwrap_or(&build.module))
    });
    row("state", &|build| build.state.clone());
    row("position", &|build| grouped(build.position));
    row("lag", &|build| grouped(build.lag));
    row("time left", &|build| {
        build.remaining_ms.map_or_else(|| "-".to_owned(), spoken)
    });
    row("documents", &|build| grouped(build.documents));
    row("parked", &|build| grouped(build.parked));
    row("skipped", &|build| grouped(build.skipped));
    row("begun", &|build| build.started_at.clone());
    row("folded now", &|build| {
        match (build.state.as_str(), build.owned) {
            ("inline" | "failing", _) => "with the appends",
            (_, true) => "yes",
            (_, false) => "no",
        }
        .to_owned()
    });
    table
}

fn of_trouble(
    (name, role): (&str, &str),
    trouble: &TroubleView,
    is_replaced: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let doing = match trouble.stopped {
        true => "has stopped",
        false => "tries again",
    };
    let since = &trouble.since;
    let attempts = counted(u64::from(trouble.attempts), "time", "times");
    writeln!(
        out,
        "the {role} build {doing}: in trouble since {since}, tried {attempts}"
    )?;
    let mut table = Table::bare();
    let position = trouble.position.map(|position| position.to_string());
    let facts = [
        (
            "event",
            position.map(|position| format!("{position} (`quipu event {position}`)")),
        ),
        ("stream", trouble.stream.clone()),
        ("document", trouble.document.clone()),
        ("error", Some(trouble.error.clone())),
    ];
    for (fact, value) in facts {
        if let Some(value) = value {
            table.row([format!("  {fact}"), one_lined(&value)]);
        }
    }
    table.write(out)?;
    if trouble.stopped && is_replaced {
        writeln!(
            out,
            "  another version is there: `quipu projection {name} switch` lets it take over"
        )?;
    } else if trouble.stopped {
        writeln!(
            out,
            "  deploy what can fold it, or another policy (`quipu deploy FILE --on-error {name}=park`), \
             then `quipu projection {name} resume`"
        )?;
    }
    Ok(())
}

fn of_comparison(comparison: &ComparisonView, out: &mut impl Write) -> io::Result<()> {
    let note = match comparison.complete {
        true => "",
        false => "; the time limit was reached before all were compared",
    };
    writeln!(
        out,
        "compared at {}: {} the same, {} differ, {} only before, {} only after the \
         rebuild{note}",
        comparison.at,
        counted(comparison.same, "document is", "documents are"),
        grouped(comparison.different),
        grouped(comparison.only_active),
        grouped(comparison.only_next),
    )?;
    for example in &comparison.examples {
        let side = |text: &Option<String>| match text {
            Some(text) => one_lined(text),
            None => "not there".to_owned(),
        };
        writeln!(out, "  {}", one_lined(&example.key))?;
        writeln!(out, "    before  {}", side(&example.active))?;
        writeln!(out, "    after   {}", side(&example.next))?;
    }
    Ok(())
}

/// The suggested next action.
fn hints(view: &ProjectionView) -> Vec<String> {
    let name = &view.name;
    let mut hints = Vec::new();
    let next = view.builds.iter().find(|build| build.role == "next");
    if next.is_some_and(|next| next.state == "ready" && next.waits.is_none()) {
        hints.push(format!(
            "the rebuild is ready: `quipu projection {name} switch` lets it take over, `cancel` \
             gives it up"
        ));
    }
    if view.state == "failing" {
        hints.push(format!(
            "appends that it wants are refused: deploy what can fold them, or make it \
             asynchronous with `quipu projection {name} detach`"
        ));
    }
    let mut parked = view.builds.iter().filter(|build| build.parked > 0);
    if let Some(build) = parked.find(|build| build.role != "previous") {
        let of = match &*build.role {
            "next" => " --build next",
            _ => "",
        };
        hints.push(format!(
            "events wait: `quipu projection {name} parked{of}` lists them; after a fix \
             `retry-parked` tries them again"
        ));
    }
    if (view.deployed.is_none() || view.state == "live") && !view.builds.is_empty() {
        hints.push(format!("`quipu projection {name} drop` removes its builds"));
    }
    if view.state == "live" {
        hints.push(format!(
            "nothing of it is stored: `quipu view {name} --live STREAM` folds it"
        ));
    }
    hints
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn details_say_how_far_builds_are_and_what_to_do() {
        let build = json!({
            "role": "active", "version": 2, "module": "0123456789abcdef", "state": "stopped",
            "position": 1_200, "lag": 34, "documents": 5, "parked": 1, "skipped": 0,
            "started_at": "t", "owned": true,
            "trouble": {
                "stopped": true, "position": 1_201, "stream": "note-1", "document": null,
                "error": "it traps", "since": "t1", "attempts": 5,
            },
        });
        let next = json!({
            "role": "next", "version": 3, "module": "fedcba9876543210", "state": "ready",
            "position": 1_234, "lag": 0, "documents": 6, "parked": 0, "skipped": 0,
            "started_at": "t", "owned": true, "remaining_ms": 0,
            "comparison": {
                "at": "t2", "active_position": 1, "next_position": 1, "same": 4, "different": 1,
                "only_active": 0, "only_next": 1, "complete": true,
                "examples": [{"key": "a", "active": "{}", "next": null}],
            },
        });
        let view = json!({
            "name": "notes", "deployed": {"component": "note", "module": "d", "version": 3},
            "lifecycle": "async", "on_error": "stop", "state": "stopped", "paused": false,
            "held": true, "log_head": 1_234, "builds": [build, next],
        });
        let mut out = Vec::new();
        print(&serde_json::from_value(view).unwrap(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        let text = words.join(" ");
        for expected in [
            "notes is stopped deployed version 3 of note, d",
            "build active next version 2 3 module 0123456789ab fedcba987654 state",
            "position 1,200 1,234 lag 34 0",
            "the active build has stopped: in trouble since t1, tried 5 times",
            "event 1201 (`quipu event 1201`)",
            "error it traps",
            "another version is there: `quipu projection notes switch`",
            "compared at t2: 4 documents are the same, 1 differ, 0 only before, 1 only after",
            "before {} after not there",
            "`quipu projection notes switch` lets it take over",
            "`quipu projection notes parked` lists them",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }
}
