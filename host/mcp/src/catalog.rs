//! The tools that read.

use serde_json::{Value, json};

use crate::arguments::{Kind, Parameter, optional, required, schema};
use crate::proofs::SECONDS_MAX;

/// A tool.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    pub name: &'static str,
    pub title: &'static str,
    pub about: &'static str,
    pub parameters: &'static [Parameter],
}

const EVENTS: Kind = Kind::UpTo(200);
const ENTRIES: Kind = Kind::UpTo(200);
const DIRECTION: Kind = Kind::Word(&["forward", "backward"]);
const FORM: Kind = Kind::Word(&["lifted", "stored"]);
const SAMPLE: Kind = Kind::UpTo(1_000_000);
const SECONDS: Kind = Kind::UpTo(SECONDS_MAX);
const LIMIT: &str = "Maximum number; by default 20";
const STREAM: &str = "The id of a stream, as account-1";
const MODULE: &str = "As the module with this digest decides, complete or its first digits; by default the active one";
const TIME: &str = "A time with its offset, as 2026-01-31T12:00:00Z";

/// The tools that read, in the order in which they are listed.
pub const TOOLS: &[Tool] = &[
    Tool {
        name: "status",
        title: "Status of the host",
        about: "Shows the version, the plan, commands in flight, subscriptions, snapshots and the lag of projections.",
        parameters: &[],
    },
    Tool {
        name: "find",
        title: "Find anything by its id",
        about: "Finds what a text names: the position or the id of an event, the id of a command or of a conversation, a stream or the beginning of its id, or the digest of a module.",
        parameters: &[required(
            "text",
            Kind::Text,
            "The id, or the beginning of the id of a stream",
        )],
    },
    Tool {
        name: "trace",
        title: "Causes and consequences",
        about: "Shows the tree of causes and consequences of an event, a command or a conversation, without data.",
        parameters: &[
            required(
                "id",
                Kind::Text,
                "A position, or the id of an event, of a command or of a conversation",
            ),
            optional(
                "stream",
                Kind::Text,
                "Search the id only in this stream, which takes less time",
            ),
            optional(
                "before",
                Kind::Number,
                "Search the id only before this position",
            ),
            optional("limit", ENTRIES, "Maximum number of events; by default 50"),
        ],
    },
    Tool {
        name: "read_stream",
        title: "Read a stream",
        about: "Reads events of one stream. `next` is the value of `from` for the next page.",
        parameters: &[
            required("stream", Kind::Text, STREAM),
            optional(
                "from",
                Kind::Number,
                "The first version to read; by default the oldest, or backward the newest",
            ),
            optional("to", Kind::Number, "No events after this version"),
            optional("direction", DIRECTION, "forward (the default) or backward"),
            optional(
                "form",
                FORM,
                "lifted to the current versions (the default), or as stored",
            ),
            optional("limit", EVENTS, LIMIT),
        ],
    },
    Tool {
        name: "read_log",
        title: "Read the log",
        about: "Reads events of all streams in the order of their commits. `next` is the value of `after` for the next page.",
        parameters: &[
            optional(
                "after",
                Kind::Number,
                "Events after this position, or before it when reading backward",
            ),
            optional("to", Kind::Number, "No events after this position"),
            optional("category", Kind::Texts, "Any of these categories"),
            optional("type", Kind::Texts, "Any of these types"),
            optional("tag", Kind::Texts, "Any of these tags"),
            optional(
                "prefix",
                Kind::Text,
                "Only streams whose id begins with this",
            ),
            optional("direction", DIRECTION, "forward (the default) or backward"),
            optional(
                "form",
                FORM,
                "lifted to the current versions (the default), or as stored",
            ),
            optional("limit", EVENTS, LIMIT),
        ],
    },
    Tool {
        name: "explain_event",
        title: "Explain an event",
        about: "Shows an event with the command that led to it, the module that decided, who sent it, the state of the stream before and after it, and its causes and consequences.",
        parameters: &[required(
            "id",
            Kind::Text,
            "The position or the id of the event",
        )],
    },
    Tool {
        name: "rejections",
        title: "List rejections",
        about: "Lists the last commands that the domain rejected, newest first. `next` is the value of `before` for the next page.",
        parameters: &[
            optional("category", Kind::Text, "Only streams of this category"),
            optional(
                "stream",
                Kind::Text,
                "Only this stream; excludes `category`",
            ),
            optional("before", Kind::Number, "Only rejections before this number"),
            optional("limit", Kind::UpTo(100), LIMIT),
        ],
    },
    Tool {
        name: "explain_rejection",
        title: "Explain a rejection",
        about: "Shows a rejected command, the code and the message of the rejection, the module that decided, and the state of the stream that it met. Takes the number of the rejection or the id of the command.",
        parameters: &[
            optional("number", Kind::Number, "The number of the rejection"),
            optional("command_id", Kind::Text, "The id of the command"),
            optional(
                "category",
                Kind::Text,
                "Search only streams of this category",
            ),
        ],
    },
    Tool {
        name: "state_at",
        title: "State of a stream",
        about: "Shows the state of a stream as its decider renders it: now, at a version, or at a time.",
        parameters: &[
            required("stream", Kind::Text, STREAM),
            optional(
                "version",
                Kind::Number,
                "The state at this version; 0: before the first event",
            ),
            optional("time", Kind::Text, TIME),
            optional("module", Kind::Text, MODULE),
        ],
    },
    Tool {
        name: "diff_state",
        title: "Compare two states of a stream",
        about: "Shows what differs between two states of a stream: at two versions, or at one version as two modules fold it. Each difference has its place as a JSON pointer.",
        parameters: &[
            required("stream", Kind::Text, STREAM),
            required(
                "from_version",
                Kind::Number,
                "The version of the first state",
            ),
            required(
                "to_version",
                Kind::Number,
                "The version of the second state",
            ),
            optional("from_module", Kind::Text, MODULE),
            optional("to_module", Kind::Text, MODULE),
        ],
    },
    Tool {
        name: "types",
        title: "Types of events",
        about: "Lists the types of events that are stored or that active modules name, and who reads them.",
        parameters: &[optional(
            "category",
            Kind::Text,
            "Only types of this category",
        )],
    },
    Tool {
        name: "documents",
        title: "Read documents",
        about: "Reads documents of a projection: one by its key, or a page by conditions. `next` is the value of `cursor` for the next page.",
        parameters: &[
            required("projection", Kind::Text, "The projection"),
            optional("key", Kind::Text, "The key of one document"),
            optional(
                "where",
                Kind::Texts,
                "Conditions on indexes, as status=open",
            ),
            optional(
                "order",
                Kind::Text,
                "The name of an index, or - and the name for descending order",
            ),
            optional("cursor", Kind::Text, "`next` of the page before"),
            optional("limit", ENTRIES, LIMIT),
        ],
    },
    Tool {
        name: "projections",
        title: "Projections",
        about: "Shows projections with their lifecycle, progress, lag, parked events and errors.",
        parameters: &[optional("name", Kind::Text, "Only this projection")],
    },
    Tool {
        name: "deployments",
        title: "Deployments",
        about: "Shows which modules are active and the history of activations.",
        parameters: &[optional(
            "name",
            Kind::Text,
            "Only deployments of this name",
        )],
    },
    Tool {
        name: "proposals",
        title: "Proposed commands",
        about: "Lists commands that wait for an approval, newest first, with the events that they would lead to; or shows one proposal with its state and result. `next` is the value of `before` for the next page.",
        parameters: &[
            optional("number", Kind::Number, "Only the proposal of this number"),
            optional("category", Kind::Text, "Only streams of this category"),
            optional(
                "state",
                Kind::Word(&["open", "all"]),
                "open (the default), or also those that were decided or have expired",
            ),
            optional("before", Kind::Number, "Only proposals before this number"),
            optional("limit", Kind::UpTo(100), LIMIT),
        ],
    },
    Tool {
        name: "preview",
        title: "Preview of a command",
        about: "Decides a command on the current state of its stream without executing it: the events that it would add, and the states before and after them. If the domain rejects the command, the result is the rejection. Stores nothing.",
        parameters: &[
            required("stream", Kind::Text, STREAM),
            required("type", Kind::Text, "The type of the command"),
            optional("data", Kind::Json, "The data of the command; by default {}"),
            optional(
                "schema_version",
                Kind::Number,
                "Schema version of the data; by default the decider's current one",
            ),
        ],
    },
    Tool {
        name: "preflight",
        title: "Preflight of modules",
        about: "Reports what would be decided differently if uploaded modules became active: recorded commands are decided by them and compared. Writes nothing. Reads events within a time; `until` is the position that was reached, `head` the end of the log.",
        parameters: &[
            required(
                "digests",
                Kind::Texts,
                "The digests of 1 to 64 modules that would become active together",
            ),
            optional(
                "sample",
                SAMPLE,
                "Only this number of streams, drawn at random",
            ),
            optional(
                "allow",
                Kind::Texts,
                "Kinds of objections that do not count, as decision",
            ),
            optional("seconds", SECONDS, "Maximum time; by default 10"),
        ],
    },
    Tool {
        name: "verify",
        title: "Verify the history",
        about: "Decides recorded commands a second time with the modules that decided them, and compares the results and the digests with the stored ones. Writes nothing. Reads events within a time; `until` is the position that was reached, `head` the end of the log.",
        parameters: &[
            optional("category", Kind::Text, "Only streams of this category"),
            optional(
                "sample",
                SAMPLE,
                "Only this number of streams, drawn at random",
            ),
            optional("seconds", SECONDS, "Maximum time; by default 10"),
        ],
    },
    Tool {
        name: "verify_digests",
        title: "Verify the digests",
        about: "Compares commits, modules and snapshots with their digests, and decides nothing. Writes nothing. Reads events within a time; `until` is the position that was reached, `head` the end of the log.",
        parameters: &[
            optional("category", Kind::Text, "Only streams of this category"),
            optional("seconds", SECONDS, "Maximum time; by default 10"),
        ],
    },
];

/// The tool with a name.
pub fn named(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

impl Tool {
    /// The tool as clients see it.
    pub fn described(&self) -> Value {
        json!({
            "name": self.name,
            "title": self.title,
            "description": self.about,
            "inputSchema": schema(self.parameters),
            "annotations": {
                "title": self.title,
                "readOnlyHint": true,
                "destructiveHint": false,
                "idempotentHint": true,
                "openWorldHint": false,
            },
        })
    }
}
