use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;

use crate::Client;
use crate::projections::spoken;
use quipu_api::{BuildView, ProjectionView};

/// Pause between two checks.
const PAUSE: Duration = Duration::from_millis(200);

/// The result of a check.
#[derive(Debug, PartialEq, Eq)]
enum Check {
    /// It continues.
    UnderWay,
    /// It has reached its goal, in words.
    Done(String),
    /// It will not reach its goal by itself, in words.
    Failed(String),
}

/// Shows the progress of a rebuild, or of the active build if there is none, until it has taken
/// over, is ready, or has caught up. Starts with the given status; returns the final status and a
/// sentence.
///
/// # Errors
/// When it can't continue by itself.
pub async fn to_the_end(client: &Client, name: &str, first: String) -> Result<(String, String)> {
    let bar = bar();
    let mut body = first;
    let watched = Watched::of(&serde_json::from_str(&body)?);
    loop {
        let view: ProjectionView = serde_json::from_str(&body)?;
        let (seen, build) = watched.check(&view);
        match seen {
            Check::UnderWay => {}
            Check::Done(text) => {
                bar.finish_and_clear();
                return Ok((body, text));
            }
            Check::Failed(why) => {
                bar.finish_and_clear();
                bail!(why);
            }
        }
        if let Some(build) = build {
            bar.set_length(view.log_head);
            bar.set_position(build.position);
            let left = build.remaining_ms.map(spoken);
            bar.set_message(left.map_or_else(String::new, |left| format!("{left} left")));
        }
        tokio::time::sleep(PAUSE).await;
        let request = client.request(Method::GET, &["v1", "projections", name]);
        body = client.send(request).await?.text().await?;
    }
}

/// A progress bar on stderr; none if stderr is not a terminal.
fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:20} {human_pos}/{human_len}  {msg}");
    let bar = ProgressBar::no_length();
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// The watched build, identified by its start time.
struct Watched {
    started_at: Option<String>,
    is_rebuild: bool,
}

impl Watched {
    fn of(view: &ProjectionView) -> Self {
        let next = view.builds.iter().find(|build| build.role == "next");
        let build = next.or(view.main_build());
        Self {
            started_at: build.map(|build| build.started_at.clone()),
            is_rebuild: next.is_some(),
        }
    }

    fn check<'a>(&self, view: &'a ProjectionView) -> (Check, Option<&'a BuildView>) {
        let name = &view.name;
        let mut builds = view.builds.iter();
        let build = builds.find(|build| Some(&build.started_at) == self.started_at.as_ref());
        let Some(build) = build.filter(|build| build.role != "previous") else {
            let why = match view.state.as_str() {
                "live" => format!("projection {name} is live: it has no builds"),
                _ if self.is_rebuild => format!("the rebuild of {name} was cancelled"),
                _ => format!("projection {name} has no build yet"),
            };
            return (Check::Failed(why), None);
        };
        let version = build.version;
        let seen = match (build.state.as_str(), build.role.as_str()) {
            ("ready", _) if build.waits.is_some() => {
                let waits = build.waits.as_deref().unwrap_or_default();
                Check::Failed(format!("the rebuild of {name} waits: {waits}"))
            }
            ("ready", _) => Check::Done(format!(
                "version {version} of {name} is ready; `quipu projection {name} switch` lets it \
                 take over"
            )),
            ("stopped" | "failing", _) => {
                let trouble = build.trouble.as_ref();
                let why = trouble.map_or("it has stopped", |trouble| &trouble.error);
                Check::Failed(format!(
                    "version {version} of {name} has stopped: {why}; `quipu projection {name}` \
                     says more"
                ))
            }
            ("paused", _) => Check::Failed(format!(
                "{name} is paused; `quipu projection {name} resume` resumes it"
            )),
            ("orphaned", _) => Check::Failed(format!("no active component has {name}")),
            (_, "active") if self.is_rebuild => {
                Check::Done(format!("version {version} of {name} has taken over"))
            }
            ("caught-up" | "inline", "active") => {
                Check::Done(format!("version {version} of {name} has caught up"))
            }
            _ => Check::UnderWay,
        };
        (seen, Some(build))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn view(builds: &[(&str, &str, &str)]) -> ProjectionView {
        let build = |(role, state, started_at): &(&str, &str, &str)| {
            json!({
                "role": role, "version": 2, "module": "d", "state": state, "position": 7,
                "lag": 0, "documents": 0, "parked": 0, "skipped": 0, "started_at": started_at,
                "owned": true,
            })
        };
        let builds: Vec<Value> = builds.iter().map(build).collect();
        let view = json!({
            "name": "notes", "deployed": null, "lifecycle": "async", "on_error": "stop",
            "state": "", "paused": false, "held": false, "log_head": 7, "builds": builds,
        });
        serde_json::from_value(view).unwrap()
    }

    fn seen(watched: &Watched, builds: &[(&str, &str, &str)]) -> Check {
        watched.check(&view(builds)).0
    }

    #[test]
    fn a_rebuild_is_watched_until_it_has_taken_over_or_is_ready() {
        let active = ("active", "caught-up", "t1");
        let rebuild = Watched::of(&view(&[active, ("next", "catching-up", "t2")]));
        let next = |state| [active, ("next", state, "t2")];
        assert_eq!(seen(&rebuild, &next("catching-up")), Check::UnderWay);
        assert_eq!(seen(&rebuild, &next("retrying")), Check::UnderWay);
        assert!(matches!(seen(&rebuild, &next("ready")), Check::Done(_)));
        assert!(matches!(seen(&rebuild, &next("stopped")), Check::Failed(_)));
        assert!(matches!(seen(&rebuild, &next("paused")), Check::Failed(_)));
        let switched = [("active", "catching-up", "t2"), ("previous", "kept", "t1")];
        assert!(matches!(seen(&rebuild, &switched), Check::Done(_)));
        assert!(matches!(seen(&rebuild, &[active]), Check::Failed(_)));
    }

    #[test]
    fn without_a_rebuild_the_active_build_is_watched() {
        let active = |state| [("active", state, "t1")];
        let watched = Watched::of(&view(&active("catching-up")));
        assert_eq!(seen(&watched, &active("catching-up")), Check::UnderWay);
        assert!(matches!(
            seen(&watched, &active("caught-up")),
            Check::Done(_)
        ));
        assert!(matches!(seen(&watched, &active("inline")), Check::Done(_)));
        assert!(matches!(seen(&watched, &[]), Check::Failed(_)));
    }
}
