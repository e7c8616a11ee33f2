//! Tools that prove: preflights and verifications, bounded in time.

use serde_json::value::RawValue;

use crate::arguments::Arguments;
use crate::members::{Members, array, json};
use crate::outcome::{Failed, Outcome, sent};
use crate::{Host, Method, Request};

/// Seconds that a run reads events by default.
const SECONDS: u64 = 10;
/// Most seconds that a run reads events: the answer has to come within the time of a request.
pub const SECONDS_MAX: u64 = 20;

/// Starts a run, and waits for its result.
pub async fn call(tool: &str, given: &Arguments, host: &dyn Host) -> Outcome {
    let millis = given.number("seconds").unwrap_or(SECONDS) * 1_000;
    let mut body = Members::default();
    body.set("time_ms", json(millis));
    if let Some(sample) = given.number("sample") {
        body.set("sample", json(sample));
    }
    let (path, member) = match tool {
        "preflight" => {
            let digests = given.texts("digests").into_iter();
            body.set("digests", array(&digests.map(json).collect::<Vec<_>>()));
            let allow = given.texts("allow").into_iter();
            body.set("allow", array(&allow.map(json).collect::<Vec<_>>()));
            ("preflights", "preflight")
        }
        _ => {
            if let Some(category) = given.text("category") {
                body.set("category", json(category));
            }
            if tool == "verify_digests" {
                body.set("digests", json(true));
            }
            ("verify", "verified")
        }
    };
    let request = Request {
        method: Method::Post,
        body: Some(body.into_raw().get().to_owned()),
        ..Request::get(&["v1", path])
    };
    result(&sent(host, request).await?, member)
}

/// The result of a run: a member of its last line. Lines of progress are before it.
fn result(lines: &str, member: &str) -> Outcome {
    let last = lines.lines().rfind(|line| !line.trim().is_empty());
    let last = last.and_then(|line| serde_json::from_str::<&RawValue>(line).ok());
    let line = last.and_then(Members::of).unwrap_or_default();
    if let Some(problem) = line.get("problem") {
        return Err(Failed::of(problem.to_owned()));
    }
    let result = line.get(member).map(ToOwned::to_owned);
    result.ok_or_else(|| Failed::new("the run was cut off before its result"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_result() {
        let lines = "{\"progress\":{\"position\":1,\"head\":2}}\n{\"verified\":{\"n\":1.50}}\n";
        assert_eq!(result(lines, "verified").unwrap().get(), "{\"n\":1.50}");
        let failed =
            "{\"progress\":{}}\n{\"problem\":{\"code\":\"overloaded\",\"detail\":\"full\"}}";
        let failed = result(failed, "verified").unwrap_err();
        assert_eq!(
            (&*failed.code, &*failed.why),
            ("overloaded", "full (overloaded)")
        );
        for cut in ["", "\n", "{\"progress\":{}}\n", "{\"verified\":", "[]"] {
            assert!(result(cut, "verified").is_err(), "{cut}");
        }
    }
}
