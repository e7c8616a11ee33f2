use std::fmt::Display;

use crate::context::PRINCIPAL;
use crate::driver::{self, DecideError, Driver, Snapshot};
use crate::message::{encode, event_version};
use crate::{Aggregate, Context, Guest, Time};

use super::determinism::check_determinism;
use super::outcome::Outcome;
use super::{Command, Event};

/// The key of the aggregate, unless a test sets another one.
const KEY: &str = "1";

/// Starts a test with an aggregate after `events`.
#[track_caller]
pub fn given<G: Guest>(events: impl IntoIterator<Item = Event<G>>) -> Given<G> {
    let mut driver = Driver::<G>::open(KEY, None).expect("without a snapshot nothing can fail");
    for event in events {
        let (event_type, body) = encode(&event).expect("an event must have a JSON form");
        let schema_version = event_version::<G>(event_type);
        if let Err(error) = driver.apply(event_type, schema_version, &body) {
            panic!("given event {event_type} {body}: {error}");
        }
    }
    Given::new(reopened(&driver, KEY), Request::default())
}

/// Starts a test with an aggregate that is opened from a snapshot of an older state schema version,
/// through its [`migrations`](Aggregate::migrations) up to the current one.
#[track_caller]
pub fn migrated<G: Guest>(state_schema_version: u32, state: &str) -> Given<G> {
    let mut snapshot = Snapshot {
        state_schema_version,
        body: state.to_owned(),
    };
    while snapshot.state_schema_version != <G::Aggregate as Aggregate>::STATE_SCHEMA_VERSION {
        let from = snapshot.state_schema_version;
        let Some(next) = driver::migrate::<G>(&snapshot) else {
            panic!(
                "state {} of version {from} can't be migrated",
                snapshot.body
            )
        };
        snapshot = next;
        assert!(
            snapshot.state_schema_version > from,
            "a migration from {from} leads back"
        );
    }
    match Driver::<G>::open(KEY, Some(&snapshot)) {
        Ok(driver) => Given::new(driver, Request::default()),
        Err(error) => panic!("migrated state {} can't be read: {error}", snapshot.body),
    }
}

/// An aggregate with its past, and what the next command will find in its [`Context`].
///
/// Unless a test sets them: the key is `1`, the time is 1970, there are no annotations, and the
/// commands have the ids `command-1`, `command-2` and so on, each with a seed of its own.
#[must_use = "say what happens: `when`"]
pub struct Given<G: Guest> {
    driver: Driver<G>,
    request: Request,
}

impl<G: Guest> Given<G> {
    pub(super) fn new(driver: Driver<G>, request: Request) -> Self {
        Given { driver, request }
    }

    /// Decides another command of the past, and folds its events.
    ///
    /// Panics when it is rejected.
    #[track_caller]
    pub fn and_given(mut self, command: Command<G>) -> Self {
        let number = self.request.number;
        match self.request.decide(&self.driver, command) {
            Ok(events) => {
                let driver = super::outcome::folded(self.driver, &events);
                let driver = reopened(&driver, &self.request.key);
                Given { driver, ..self }
            }
            Err(rejection) => panic!("given command {number}: rejected: {rejection}"),
        }
    }

    /// Sets the time at which the following commands are accepted, as a [`Time`] or as a text:
    /// `.at("2026-01-01T12:00:00Z")`.
    #[track_caller]
    pub fn at<T: TryInto<Time, Error: Display>>(mut self, time: T) -> Self {
        match time.try_into() {
            Ok(time) => self.request.accepted_at = time,
            Err(error) => panic!("time {error}"),
        }
        self
    }

    /// Sets who sends the following commands: see [`Context::principal`].
    pub fn by(self, principal: &str) -> Self {
        self.with_annotation(PRINCIPAL, principal)
    }

    /// Sets an annotation of the following commands.
    pub fn with_annotation(mut self, name: &str, value: &str) -> Self {
        let annotations = &mut self.request.annotations;
        annotations.retain(|(known, _)| known != name);
        annotations.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the id of the next command.
    pub fn with_id(mut self, command_id: &str) -> Self {
        self.request.id = Some(command_id.to_owned());
        self
    }

    /// Sets the seed of the next command. Later ones get seeds of their own, which depend on it.
    pub fn with_seed(mut self, seed: [u64; 4]) -> Self {
        self.request.seed = seed;
        self
    }

    /// Sets the key of the aggregate, which is the stream's id without its category.
    #[track_caller]
    pub fn with_key(self, key: &str) -> Self {
        let mut request = self.request;
        key.clone_into(&mut request.key);
        Given::new(reopened(&self.driver, key), request)
    }

    /// Decides a command.
    ///
    /// Panics when a host would not accept the answer: an invalid tag or annotation, or a
    /// rejection whose code is not declared.
    #[track_caller]
    pub fn when(mut self, command: Command<G>) -> Outcome<G> {
        let result = self.request.decide(&self.driver, command);
        Outcome::new(result, self.driver, self.request)
    }

    /// Decides a command several times: see [`check_decides_again`](super::check_decides_again).
    #[track_caller]
    pub fn check_decides_again(&self, command: impl Fn() -> Command<G>) {
        let other = reopened(&self.driver, &self.request.key);
        check_determinism(&self.driver, &other, &|driver| {
            driver.decide_read(command(), self.request.context(&self.request.next_id()))
        });
    }

    /// The state in its JSON form.
    pub fn state(&self) -> String {
        state(&self.driver)
    }

    /// Returns the state as people see it, as JSON; `null` when it is not shown.
    pub fn view(&self) -> String {
        view(&self.driver)
    }
}

/// What commands are sent with.
pub(super) struct Request {
    key: String,
    /// None: derived from the number.
    id: Option<String>,
    accepted_at: Time,
    seed: [u64; 4],
    annotations: Vec<(String, String)>,
    /// The number of the next command, from 1.
    number: u64,
}

impl Default for Request {
    fn default() -> Self {
        Request {
            key: KEY.to_owned(),
            id: None,
            accepted_at: Time::UNIX_EPOCH,
            seed: [1, 0, 0, 0],
            annotations: Vec::new(),
            number: 1,
        }
    }
}

impl Request {
    /// Decides the next command, and checks the answer.
    #[track_caller]
    pub(super) fn decide<G: Guest>(
        &mut self,
        driver: &Driver<G>,
        command: Command<G>,
    ) -> Result<Vec<driver::NewEvent>, crate::Rejection> {
        let result = driver.decide_read(command, self.context(&self.next_id()));
        self.id = None;
        self.number += 1;
        self.seed[0] = self.seed[0].wrapping_add(1);
        match result {
            Ok(events) => {
                super::answer::check_events(&events);
                Ok(events)
            }
            Err(DecideError::Rejected(rejection)) => {
                super::answer::check_rejection::<G>(&rejection);
                Err(rejection)
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn next_id(&self) -> String {
        let number = self.number;
        self.id
            .clone()
            .unwrap_or_else(|| format!("command-{number}"))
    }

    fn context<'a>(&'a self, id: &'a str) -> Context<'a> {
        Context::default()
            .with_key(&self.key)
            .with_command_id(id)
            .with_accepted_at(self.accepted_at)
            .with_seed(self.seed)
            .with_annotations(&self.annotations)
    }
}

/// Returns the aggregate after its state was stored in a snapshot and opened from it.
#[track_caller]
pub(super) fn reopened<G: Guest>(driver: &Driver<G>, key: &str) -> Driver<G> {
    let snapshot = driver.snapshot().expect("the state must have a JSON form");
    match Driver::<G>::open(key, Some(&snapshot)) {
        Ok(driver) => driver,
        Err(error) => panic!("state {} can't be read back: {error}", snapshot.body),
    }
}

pub(super) fn state<G: Guest>(driver: &Driver<G>) -> String {
    let snapshot = driver.snapshot();
    snapshot.expect("the state must have a JSON form").body
}

pub(super) fn view<G: Guest>(driver: &Driver<G>) -> String {
    driver.view().unwrap_or_else(|| "null".to_owned())
}
