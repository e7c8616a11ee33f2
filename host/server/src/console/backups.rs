//! Backups and verifications: when they were last done, and how the newest verification is.

use maud::{Markup, html};

use super::layout;
use super::overview::seconds;
use super::rates::{self, Series};
use super::text::{self, Untrusted, quoted};
use super::visitor::Visitor;
use crate::failure::Result;
use crate::newest::{Kind, NewestRun};
use quipu::access::Action;
use quipu_api::{FindingView, RunLine, VerifiedView};

/// Findings that are shown.
const FINDINGS_MAX: usize = 30;
/// The most bytes of a finding.
const TEXT_MAX: usize = 2_048;
const BACKUP: &str = "quipu_backup_last_success_timestamp_seconds";
const VERIFY: &str = "quipu_verify_last_success_timestamp_seconds";

/// What is done to keep the store safe: name, series, label, and the command that does it.
type Job = (
    &'static str,
    &'static str,
    Option<(&'static str, &'static str)>,
    String,
);

pub async fn show(visitor: &Visitor) -> Markup {
    let last = match visitor.may(Action::Observe) {
        Ok(()) => layout::part("Backups are", last(visitor).await),
        Err(why) => layout::hidden("Backups are", &why),
    };
    let verification = match visitor.may(Action::Operate) {
        Ok(()) => newest(visitor),
        Err(why) => layout::hidden("The newest verification is", &why),
    };
    html! {
        h2 { "Backups" }
        button type="button" data-follow="2" hidden aria-pressed="false" { "Refresh every 2 s" }
        div #refreshed {
            (last)
            h2 { "Verification" }
            (verification)
        }
        @if visitor.may(Action::Observe).is_ok() { (layout::same_as(visitor, "status", "/metrics")) }
    }
}

/// When each job was last done, as the store knows it.
async fn last(visitor: &Visitor) -> Result<Markup> {
    let text = visitor.get_text("/metrics").await?;
    let metrics = rates::series(&text);
    let url = format!("--url {}", quoted(&visitor.base));
    let jobs: [Job; 3] = [
        (
            "Copy of the store",
            BACKUP,
            Some(("kind", "backup")),
            "quipu backup FOLDER --store STORE".to_owned(),
        ),
        (
            "Shipped log",
            BACKUP,
            Some(("kind", "ship")),
            format!("quipu ship FOLDER {url}"),
        ),
        (
            "Verification of the whole history",
            VERIFY,
            None,
            format!("quipu verify {url}"),
        ),
    ];
    let now = jiff::Timestamp::now().as_second() as f64;
    let rows = html! {
        @for (name, series, label, command) in &jobs {
            tr {
                td { (name) }
                td { (age(&metrics, series, *label, now)) }
                td.wide { code { (Untrusted(command)) } }
            }
        }
    };
    let is_safe = [BACKUP, VERIFY].map(|name| rates::last(&metrics, name).is_some());
    Ok(html! {
        (layout::table("Backups and verifications", &["Job", "Last begun", "Command"], &rows))
        @if !is_safe[0] { p { "The store knows of no backup. Make one with a command above, or report one of another tool: " code { "quipu backup --report" } } }
        @if !is_safe[1] { p { "The store knows of no verification of the whole history without a finding." } }
    })
}

fn age(metrics: &[Series<'_>], name: &str, label: Option<(&str, &str)>, now: f64) -> Markup {
    let at = rates::one(metrics, name, label);
    html! {
        @match at {
            Some(at) => { (seconds((now - at).max(0.0))) " ago" },
            None => span.none { "never, as far as the store knows" },
        }
    }
}

/// The newest verification of this host.
fn newest(visitor: &Visitor) -> Markup {
    let newest = visitor.app.newest.of(Kind::Verification);
    html! {
        @match &newest {
            Some(run) => (state(run)),
            None => p.note { "No verification has run on this host since it was started. " code { "quipu verify" } " shows its progress, and so does this page." },
        }
    }
}

fn state(run: &NewestRun) -> Markup {
    let word = match (&run.line, run.ended_at) {
        (_, None) => "running",
        (RunLine::Verified(it), _) if it.sound => "ok",
        (RunLine::Verified(_) | RunLine::Problem(_), _) => "failed",
        _ => "ended early",
    };
    let facts = [
        ("State", Some(layout::state(word))),
        ("Began at", Some(layout::time(&run.began_at.to_string()))),
        ("By", run.by.as_deref().map(|by| html! { (Untrusted(by)) })),
        (
            "Ended at",
            run.ended_at.map(|at| layout::time(&at.to_string())),
        ),
    ];
    html! {
        (layout::facts(&facts))
        @match &run.line {
            RunLine::Progress(it) => {
                p {
                    progress max=(it.head.max(1)) value=(it.position) aria-label="Events that were read" {}
                    " up to position " (it.position) " of " (it.head)
                }
            }
            RunLine::Verified(it) => (verified(it)),
            RunLine::Problem(problem) => (layout::problem(problem)),
            _ => {}
        }
    }
}

fn verified(it: &VerifiedView) -> Markup {
    let facts = [
        (
            "Checked",
            Some(
                html! { (layout::count(it.events, "event", "events")) ", up to position " (it.until) " of " (it.head) },
            ),
        ),
        (
            "Findings",
            Some(
                html! { (it.found) @if it.acknowledged > 0 { ", " (it.acknowledged) " of them acknowledged" } },
            ),
        ),
    ];
    html! {
        (layout::facts(&facts))
        @if !it.findings.is_empty() { (findings(&it.findings)) }
    }
}

fn findings(findings: &[FindingView]) -> Markup {
    let rows = html! {
        @for it in findings.iter().take(FINDINGS_MAX) {
            @let (begin, rest) = text::cut(&it.text, TEXT_MAX);
            tr {
                td { (Untrusted(&it.kind)) }
                td { (layout::or_dash(it.name.as_deref().map(Untrusted))) }
                td { (Untrusted(&it.weight)) }
                td { (layout::or_dash(it.position.map(layout::position))) }
                td.wide { code { (Untrusted(begin)) @if rest > 0 { "\u{2026}" } } }
            }
        }
    };
    let columns = ["Kind", "Name", "Weight", "Position", "Finding"];
    html! {
        (layout::table("Findings", &columns, &rows))
        @if findings.len() > FINDINGS_MAX { p.note { "Further findings are not shown; " code { "quipu verify --json" } " prints up to 100." } }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::newest::NewestRuns;
    use quipu_api::{Code, Problem, ProgressView};

    fn shown(runs: &NewestRuns) -> String {
        let run = runs.of(Kind::Verification).unwrap();
        state(&run).into_string()
    }

    #[test]
    fn a_verification_shows_its_progress_and_how_it_ended() {
        let runs = Arc::new(NewestRuns::default());
        let watch = runs.watch(Kind::Verification, Some("ann".into()));
        let progress = ProgressView {
            position: 4,
            head: 9,
        };
        watch.set(&RunLine::Progress(progress));
        let text = shown(&runs);
        for expected in [">running<", "max=\"9\" value=\"4\"", "ann"] {
            assert!(text.contains(expected), "{text}");
        }
        drop(watch);
        assert!(shown(&runs).contains(">ended early<"));
        let watch = runs.watch(Kind::Verification, None);
        let progress = ProgressView {
            position: 0,
            head: 9,
        };
        watch.set(&RunLine::Progress(progress));
        let problem = Problem::new(Code::Internal, "the store is away");
        watch.set(&RunLine::Problem(Box::new(problem)));
        drop(watch);
        let text = shown(&runs);
        assert!(text.contains(">failed<"), "{text}");
        assert!(text.contains("the store is away"), "{text}");
    }
}
