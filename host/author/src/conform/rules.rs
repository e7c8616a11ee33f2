use serde::Serialize;

/// A rule of the contract.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Its name.
    #[serde(rename = "rule")]
    pub name: &'static str,
    /// The rule in a sentence.
    pub text: &'static str,
    /// The page and the section of the documentation that explain it.
    pub page: &'static str,
}

macro_rules! rules {
    ($($constant:ident $name:literal $text:literal)*) => {
        $(pub(super) const $constant: Rule = Rule {
            name: $name,
            text: $text,
            page: concat!("docs/src/guests/conform.md#", $name),
        };)*
        /// Every rule, in the order in which they are tried.
        pub const RULES: &[Rule] = &[$($constant),*];
    };
}

rules! {
    LOADS "loads" "a host accepts the component: its imports, exports and manifest"
    EXPORTS "exports" "it exports nothing besides the contract"
    DESCRIBES "describes" "it describes itself in the same way at every call"
    PURE "pure" "a decision depends on events and command, not on earlier calls"
    UNCHANGED "unchanged" "a decision leaves the aggregate unchanged"
    ISOLATED "isolated" "the aggregates of an instance share nothing"
    BATCHING "batching" "the state does not depend on how events are divided into calls"
    SNAPSHOT "snapshot" "a state restored from its snapshot, at any event, is the same state"
    REPEATED "repeated" "the same state has the same snapshot and view"
    CLOSED "closed" "an aggregate that is closed returns its memory"
    FUEL "fuel" "a call leaves room in its fuel: at most half of the limit"
    UNKNOWN_COMMAND "unknown-command" "a command of an unknown type is answered as one that can't be read"
    GARBAGE_COMMAND "garbage-command" "a command that can't be read is no fault of the guest"
    UNKNOWN_EVENT "unknown-event" "an event of an unknown type is refused as such, not skipped"
    GARBAGE_EVENT "garbage-event" "an event that can't be read is no fault of the guest"
    GARBAGE_SNAPSHOT "garbage-snapshot" "a snapshot that can't be read is no fault of the guest"
    COMMAND_SCHEMAS "command-schemas" "a command that it accepts matches the JSON Schema of its type"
    EVENT_SCHEMAS "event-schemas" "an event that it writes matches the JSON Schema of its type"
    DOCUMENT_SCHEMAS "document-schemas" "a document matches the JSON Schema of its projection"
    LIFTING "lifting" "lifting depends only on the event, and results in what its step names"
    DOCUMENTS "documents" "documents do not depend on how events are divided into calls"
    PURE_DOCUMENTS "pure-documents" "keys and documents depend on the events, not on earlier calls"
}
