//! The answer to one line of `POST /v1/commands`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::engine::Executed;

use crate::{Code, Problem};

/// The answer to one line. Answers are in order within a stream; across streams they come as soon
/// as they are ready.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LineAnswer {
    /// Number of the line, from 1. Empty lines are counted but have no answer.
    pub line: u64,
    /// 200, or the status of the problem.
    pub status: u16,
    /// The stream; absent with a problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The stream's version after the command; absent with a problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Position of the command's last event; absent if there are no events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// Whether the command created the stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub created: bool,
    /// Whether this is the recorded outcome of an earlier request.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// The problem's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Code>)]
    pub code: Option<String>,
    /// The problem document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Box<Problem>>,
}

impl LineAnswer {
    /// The answer to a line whose command was executed.
    pub fn executed(line: u64, executed: &Executed) -> Self {
        Self {
            line,
            status: 200,
            stream: Some(executed.stream.as_str().to_owned()),
            version: Some(executed.version.0),
            position: executed.position.map(|position| position.0),
            created: executed.has_created(),
            replayed: executed.replayed,
            code: None,
            problem: None,
        }
    }

    /// The answer to a line that failed.
    pub fn problem(line: u64, problem: Box<Problem>) -> Self {
        Self {
            line,
            status: problem.status,
            stream: None,
            version: None,
            position: None,
            created: false,
            replayed: false,
            code: Some(problem.code.clone()),
            problem: Some(problem),
        }
    }
}
