//! Values for tests, in one line each.

use std::sync::Arc;

use quipu::engine::Append;
use quipu::model::{
    Body, Command, CommandId, CommandRecord, Context, EventId, ExpectedVersion, Name, NewEvent,
    StreamId, Timestamp, Version,
};
use quipu::store::{Check, Commit, Item, RunId, Write};

/// A stream's id.
pub fn stream(id: &str) -> StreamId {
    id.parse().unwrap()
}

/// A version.
pub fn exact(version: u64) -> ExpectedVersion {
    ExpectedVersion::Exact(Version(version))
}

/// An event with a JSON body.
pub fn event(name: &str, json: &str) -> NewEvent {
    NewEvent {
        id: EventId::from_u128(rand::random()),
        name: Name::new(name).unwrap(),
        schema_version: 1,
        body: Body::json(json.to_owned()).unwrap(),
        metadata: None,
        tags: Vec::new(),
    }
}

/// So many events `noted`, numbered from 1.
pub fn events(count: usize) -> Vec<NewEvent> {
    let event = |n| event("noted", &format!("{{\"n\":{n}}}"));
    (1..=count).map(event).collect()
}

/// A raw append.
pub fn append(events: Vec<NewEvent>) -> Append {
    Append {
        events,
        ..Append::default()
    }
}

/// A raw append under an expected version.
pub fn append_at(expected_version: ExpectedVersion, events: Vec<NewEvent>) -> Append {
    Append {
        expected_version,
        ..append(events)
    }
}

/// A raw append to a category that a decider serves.
pub fn foreign(events: Vec<NewEvent>) -> Append {
    Append {
        into_owned_category: true,
        ..append(events)
    }
}

/// A command without an id.
pub fn command(name: &str, json: &str) -> Command {
    Command::new(name, json.to_owned()).unwrap()
}

/// A command with an id.
pub fn command_as(id: &str, name: &str, json: &str) -> Command {
    command(name, json).with_id(id).unwrap()
}

/// Opens an account.
pub fn open_account() -> Command {
    command("open", r#"{"owner":"ann"}"#)
}

/// Pays in.
pub fn deposit(amount: u64) -> Command {
    command("deposit", &format!("{{\"amount\":{amount}}}"))
}

/// Pays out.
pub fn withdraw(amount: u64) -> Command {
    command("withdraw", &format!("{{\"amount\":{amount}}}"))
}

/// A command as it is recorded.
pub fn record(id: &str) -> CommandRecord {
    CommandRecord {
        id: CommandId::new(id).unwrap(),
        name: Name::new("note").unwrap(),
        schema_version: 1,
        body: Body::empty(),
        metadata: None,
        context: Context::default(),
        accepted_at: Timestamp(1),
        seed: [1, 2, 3, 4],
    }
}

/// A raw commit.
pub fn commit(id: Option<&str>, events: Vec<NewEvent>) -> Commit {
    Commit {
        command: id.map(|id| Arc::new(record(id))),
        decided: None,
        plan: 0,
        recorded_at: Timestamp(1_000),
        events,
        id_is_new: false,
    }
}

/// A write to one stream.
pub fn write(to: &str, expected: ExpectedVersion, commit: Commit) -> Write {
    Write {
        stream: stream(to),
        expected,
        commit,
    }
}

/// An append of these writes.
pub fn item(run: Option<RunId>, writes: Vec<Write>) -> Item {
    Item::Append { run, writes }
}

/// An append of so many events to one stream.
pub fn noted(to: &str, expected: ExpectedVersion, count: usize) -> Item {
    item(None, vec![write(to, expected, commit(None, events(count)))])
}

/// Asks whether a stream stands at a version, or for the record of an id.
pub fn check(of: &str, version: Option<u64>, id: Option<&str>) -> Item {
    Item::Check(Check {
        run: None,
        stream: stream(of),
        version: version.map(Version),
        command_id: id.map(|id| CommandId::new(id).unwrap()),
        plan: u64::MAX,
    })
}
