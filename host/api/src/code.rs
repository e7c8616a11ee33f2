//! The stable names of errors.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $code:literal $status:literal $title:literal;)*) => {
        /// The stable names of errors, each with its status and title.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* #[doc = concat!("`", $code, "`: ", $title, ".")] $name,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Code] = &[$(Self::$name),*];

            /// The code that the library calls so. A test compares its names with these.
            pub fn named(name: &str) -> Self {
                match name { $($code => Self::$name,)* _ => Self::Internal }
            }

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The status of the response.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The title of the code.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    BadRequest "bad-request" 400 "the request is malformed";
    InvalidCommand "invalid-command" 400 "the decider can't read the command";
    DuplicateInAppend "duplicate-in-append" 400 "an event occurs twice in the append";
    Unauthorized "unauthorized" 401 "the host does not know the caller";
    Forbidden "forbidden" 403 "the caller may not do this";
    TenantSuspended "tenant-suspended" 403 "the tenant is suspended";
    Unsigned "unsigned" 403 "the module has no signature that this host takes";
    NotFound "not-found" 404 "there is no such path";
    StreamNotFound "stream-not-found" 404 "there is no such stream";
    EventNotFound "event-not-found" 404 "there is no such event";
    UnknownCategory "unknown-category" 404 "no decider serves the category";
    ModuleNotFound "module-not-found" 404 "there is no such module";
    ProjectionNotFound "projection-not-found" 404 "there is no such projection";
    DocumentNotFound "document-not-found" 404 "the projection has no such document";
    FindingNotAcknowledged "finding-not-acknowledged" 404 "the finding is not acknowledged";
    TokenNotFound "token-not-found" 404 "there is no such valid token";
    TenantNotFound "tenant-not-found" 404 "there is no such tenant";
    SubscriptionNotFound "subscription-not-found" 404 "there is no such named subscription";
    ProposalNotFound "proposal-not-found" 404 "there is no such proposal";
    MethodNotAllowed "method-not-allowed" 405 "the path does not take this method";
    BodyTimeout "body-timeout" 408 "the body came too slowly";
    Conflict "conflict" 409 "other writers came first until the deadline";
    PartialDuplicate "partial-duplicate" 409 "some of the events were appended before";
    StreamArchived "stream-archived" 409 "the stream is archived";
    StreamTooLong "stream-too-long" 409 "the stream is longer than its category allows";
    ImportRefused "import-refused" 409 "the import does not fit the store";
    CategoryOwned "category-owned" 409 "a decider serves the category";
    UnreadableEvent "unreadable-event" 409 "an event of the stream can't be lifted or folded";
    SnapshotRefused "snapshot-refused" 409 "no snapshot of the stream can be taken";
    TruncateRefused "truncate-refused" 409 "the stream can't be truncated there";
    PreflightFailed "preflight-failed" 409 "a preflight found objections to the module";
    NotSettled "not-settled" 409 "a projection can't become inline now";
    ProjectionRefused "projection-refused" 409 "the projection is in the wrong state for this action";
    TooManyAcknowledged "too-many-acknowledged" 409 "no more findings may be acknowledged";
    TokenRefused "token-refused" 409 "the token can't be made";
    TenantRefused "tenant-refused" 409 "the tenant can't be created";
    SubscriptionHeld "subscription-held" 409 "another client holds the named subscription";
    ClaimLost "claim-lost" 409 "the claim of the named subscription is not valid any more";
    TooManySubscriptions "too-many-subscriptions" 409 "no more named subscriptions may be made";
    ProposalClosed "proposal-closed" 409 "the proposal can't be approved or denied any more";
    TooManyProposals "too-many-proposals" 409 "no more commands may be proposed";
    ReloadRefused "reload-refused" 409 "the configuration is wrong";
    StateNotShown "state-not-shown" 409 "the decider does not show its state";
    WrongExpectedVersion "wrong-expected-version" 412 "the stream is at another version";
    TooLarge "too-large" 413 "the request exceeds a bound";
    Rejected "rejected" 422 "the domain rejects the command";
    IdempotencyKeyReused "idempotency-key-reused" 422 "the id belongs to another command or event";
    ModuleRefused "module-refused" 422 "the module is refused";
    RateLimited "rate-limited" 429 "the caller has reached a limit";
    Internal "internal" 500 "the host made a mistake";
    GuestFault "guest-fault" 502 "the guest faulted";
    ProjectionFailing "projection-failing" 503 "an inline projection keeps failing";
    NotReady "not-ready" 503 "a part of the host does not work";
    Overloaded "overloaded" 503 "too much is in flight";
    StoreUnavailable "store-unavailable" 503 "the store is not available";
    EventsLost "events-lost" 503 "the store has lost acknowledged events";
    StoreDamaged "store-damaged" 500 "the store holds what can't be read";
    Timeout "timeout" 504 "the request took too long";
    NotFresh "not-fresh" 504 "the projection is not as fresh as asked for";
}
