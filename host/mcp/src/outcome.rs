//! Results of tools.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::bounded;
use crate::members::{Members, json};
use crate::{Answer, Host, Request};

/// The result of a tool: JSON, or why there is none.
pub type Outcome = Result<Box<RawValue>, Failed>;

/// Why a tool has no result.
#[derive(Debug)]
pub struct Failed {
    /// A sentence for the agent.
    pub why: String,
    /// The code of the problem; empty when the host did not answer.
    pub code: String,
    /// The problem document.
    pub problem: Option<Box<RawValue>>,
}

impl Failed {
    pub fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            code: String::new(),
            problem: None,
        }
    }

    /// The failure that a problem document describes.
    pub fn of(problem: Box<RawValue>) -> Self {
        let members = Members::of(&problem).unwrap_or_default();
        let (detail, code) = (members.text("detail"), members.text("code"));
        let code = code.unwrap_or_default();
        let detail = detail.unwrap_or_else(|| "the host answered with an error".to_owned());
        Self {
            why: format!("{detail} ({code})"),
            code,
            problem: Some(problem),
        }
    }

    /// Whether what was asked for does not exist, or can't be named so.
    pub fn is_nothing(&self) -> bool {
        self.code.ends_with("-not-found") || self.code == "bad-request"
    }

    /// A note in place of a part of a result.
    pub fn note(&self) -> Box<RawValue> {
        let mut note = Members::default();
        note.set("not_available", json(self.why.as_str()));
        note.set("code", json(self.code.as_str()));
        note.into_raw()
    }
}

/// Sends a request, and reads the JSON of its answer.
pub async fn ask(host: &dyn Host, request: Request) -> Outcome {
    let text = sent(host, request).await?;
    RawValue::from_string(text).map_err(|_| Failed::new("the answer is not JSON"))
}

/// Sends a request, and returns the text of its answer, unless the answer is a problem.
pub async fn sent(host: &dyn Host, request: Request) -> Result<String, Failed> {
    // An address can't name them: `..` would lead to another path.
    if let Some(segment) = request
        .path
        .iter()
        .find(|it| matches!(&***it, "" | "." | ".."))
    {
        return Err(Failed::new(format!("{segment:?} names nothing")));
    }
    let Answer { status, body } = host.send(request).await.map_err(Failed::new)?;
    let text = String::from_utf8(body).map_err(|_| Failed::new("the answer is not UTF-8"))?;
    if (200..300).contains(&status) {
        return Ok(text);
    }
    let problem = RawValue::from_string(text)
        .map_err(|_| Failed::new(format!("the answer with status {status} is not JSON")))?;
    Err(Failed::of(problem))
}

/// The result of `tools/call`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Called<'a> {
    content: [Content<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<&'a RawValue>,
    is_error: bool,
}

#[derive(Serialize)]
struct Content<'a> {
    r#type: &'static str,
    text: &'a str,
}

/// The outcome as the result of `tools/call`. Clients without structured content read its text.
pub fn called(outcome: &Outcome) -> Box<RawValue> {
    let bounded;
    let (text, structured, is_error) = match outcome {
        Ok(result) => {
            bounded = bounded::fit(result, bounded::RESULT_BYTES_MAX);
            (bounded.get(), Some(&*bounded), false)
        }
        Err(failed) => {
            let problem = failed.problem.as_deref();
            let problem = problem.filter(|it| it.get().len() <= bounded::RESULT_BYTES_MAX);
            (failed.why.as_str(), problem, true)
        }
    };
    let called = Called {
        content: [Content {
            r#type: "text",
            text,
        }],
        structured_content: structured.filter(|it| it.get().starts_with('{')),
        is_error,
    };
    let text = serde_json::to_string(&called).unwrap_or_default();
    crate::members::raw(text)
}
