//! Checks that what a guest answers depends on nothing but its arguments.

use crate::Guest;
use crate::driver::{DecideError, Driver, NewEvent};
use crate::message::{encode, event_version};

use super::diff::{assert_same, assert_same_json};
use super::given::{given, reopened, state, view};
use super::{Command, Event};

/// Panics unless a command is decided in the same way twice, on the same state and on a copy of it,
/// and leaves the state as it was. A host decides a command more than once: after a conflict, in a
/// preflight, and to verify the log.
///
/// The command is a function, because each decision consumes one:
/// `check_decides_again::<Account>([], || Command::Deposit { amount: 5 })`. With a time, a seed or
/// a caller: `given::<Account>([]).by("ann").check_decides_again(|| …)`.
#[track_caller]
pub fn check_decides_again<G: Guest>(
    events: impl IntoIterator<Item = Event<G>>,
    command: impl Fn() -> Command<G>,
) {
    given::<G>(events).check_decides_again(command);
}

type Decision = Result<Vec<NewEvent>, DecideError>;

#[track_caller]
pub(super) fn check_determinism<G: Guest>(
    driver: &Driver<G>,
    copy: &Driver<G>,
    decide: &dyn Fn(&Driver<G>) -> Decision,
) {
    let before = (state(driver), view(driver));
    let first = decide(driver);
    assert_same("second decision", &first, &decide(driver));
    assert_same("decision on a copy of the state", &first, &decide(copy));
    let what = "state after a decision, which must not change it";
    assert_same_json(what, &before.0, &state(driver));
    assert_same_json(&what.replace("state", "view"), &before.1, &view(driver));
}

/// Panics unless the state after the events is the same however they are folded: with a snapshot
/// after any number of them, in batches with a snapshot after each, and between the events of
/// another aggregate.
///
/// Snapshots are tried after each event; of more than 100 events, at 100 places.
#[track_caller]
pub fn check_cuts<G: Guest>(events: impl IntoIterator<Item = Event<G>>) {
    let events: Vec<_> = events
        .into_iter()
        .map(|event| stored::<G>(&event))
        .collect();
    let whole = fold(opened::<G>(), &events);
    let check = |what: &str, found: &Driver<G>| {
        assert_same_json(&format!("state {what}"), &state(&whole), &state(found));
        assert_same_json(&format!("view {what}"), &view(&whole), &view(found));
    };
    for cut in cuts(events.len()) {
        let (head, tail) = events.split_at(cut);
        let resumed = fold(reopened(&fold(opened::<G>(), head), KEY), tail);
        check(&format!("with a snapshot after {cut} events"), &resumed);
    }
    for size in sizes(events.len()) {
        let mut driver = opened::<G>();
        for batch in events.chunks(size) {
            driver = reopened(&fold(driver, batch), KEY);
        }
        check(
            &format!("with a snapshot after every {size} events"),
            &driver,
        );
    }
    let (mut driver, mut other) = (opened::<G>(), opened::<G>());
    for event in &events {
        other = fold(other, std::slice::from_ref(event));
        driver = fold(driver, std::slice::from_ref(event));
    }
    check("between the events of another aggregate", &driver);
}

const KEY: &str = "1";
const CUTS_MAX: usize = 100;

/// Where to cut a list: everywhere, or at some places of a long one.
pub(super) fn cuts(len: usize) -> impl Iterator<Item = usize> {
    let count = len.min(CUTS_MAX);
    (0..=count).map(move |index| index * len / count.max(1))
}

/// The sizes of batches to try: the numbers of Fibonacci up to the whole list.
pub(super) fn sizes(len: usize) -> impl Iterator<Item = usize> {
    let numbers = std::iter::successors(Some((1, 2)), |(a, b)| Some((*b, a + b)));
    numbers
        .map(|(size, _)| size)
        .take_while(move |it| *it <= len)
}

/// An event as a host stores it: type, schema version, body.
type StoredEvent = (&'static str, u32, String);

fn stored<G: Guest>(event: &Event<G>) -> StoredEvent {
    let (event_type, body) = encode(event).expect("an event must have a JSON form");
    (event_type, event_version::<G>(event_type), body)
}

fn opened<G: Guest>() -> Driver<G> {
    Driver::open(KEY, None).expect("without a snapshot nothing can fail")
}

#[track_caller]
fn fold<G: Guest>(mut driver: Driver<G>, events: &[StoredEvent]) -> Driver<G> {
    for (event_type, schema_version, body) in events {
        if let Err(error) = driver.apply(event_type, *schema_version, body) {
            panic!("event {event_type} {body}: {error}");
        }
    }
    driver
}
