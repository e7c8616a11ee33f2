//! Tests what a host sees of projections: sources, details, errors.
#![allow(clippy::unwrap_used)]

use quipu_guest::driver::FoldError;
use quipu_guest::testing::{check_projection, projected};
use quipu_guest::{Indexes, Message, Projection, Recorded, Sources, Untyped};
use serde::{Deserialize, Serialize};

#[derive(Message, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Account {
    #[quipu(alias = "created")]
    Opened { owner: String },
    #[quipu(version = 2)]
    Deposited { cents: u64 },
}

#[derive(Message, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Loan {
    Granted { cents: u64 },
}

enum Either {
    Account(Account),
    Loan(Loan),
    Other(Untyped),
}

/// One document of all events, as a list of words.
struct Words;

impl Projection for Words {
    const NAME: &'static str = "words";
    const VERSION: u32 = 3;
    const TAGS: bool = true;
    type Event = Either;
    type Document = Vec<String>;

    fn sources() -> Sources<Either> {
        Sources::none()
            .and("account", Either::Account)
            .and("loan", Either::Loan)
            .and_every(Either::Other)
    }

    fn keys(event: &Recorded<Either>) -> Vec<String> {
        assert_eq!(event.position, 0);
        vec!["all".to_owned()]
    }

    fn apply(words: Option<Vec<String>>, _: &str, event: &Recorded<Either>) -> Option<Vec<String>> {
        let word = match &event.event {
            Either::Account(Account::Opened { owner }) => owner.clone(),
            Either::Account(Account::Deposited { cents }) => format!("+{cents}"),
            Either::Loan(Loan::Granted { cents: 0 }) => return None,
            Either::Loan(Loan::Granted { cents }) => format!("!{cents}"),
            Either::Other(other) => format!("{}/{}", event.category(), other.event_type),
        };
        let mut words = words.unwrap_or_default();
        words.push(format!("{word}@{}", event.position));
        words.extend(event.tags.iter().cloned());
        words.extend(event.annotation("actor").map(str::to_owned));
        Some(words)
    }
}

#[test]
fn events_of_several_categories_are_read_as_their_own() {
    let words = projected::<Words>()
        .tag("a:b")
        .annotation("actor", Some("unasked"))
        .event(
            "account-1",
            Account::Opened {
                owner: "ann".to_owned(),
            },
        )
        .event("account-1", Account::Deposited { cents: 5 })
        .event("loan-1", Loan::Granted { cents: 7 })
        .stored("loan_offer-1", "made", 9, "[1]");
    assert_eq!(
        words.document("all").unwrap(),
        [
            "ann@1",
            "a:b",
            "+5@2",
            "a:b",
            "!7@3",
            "a:b",
            "loan_offer/made@4",
            "a:b"
        ]
    );
    let none = words.event("loan-1", Loan::Granted { cents: 0 });
    assert!(none.document("all").is_none() && none.documents().is_empty());
}

#[test]
fn unreadable_events_are_distinguished() {
    let of = |event_type: &str, version: u32, body: &str| {
        let tried = projected::<Words>().try_stored("account-1", event_type, version, body);
        tried.err().unwrap()
    };
    let bad = |found: FoldError| matches!(found, FoldError::BadEvent(_));
    let unknown = |found: FoldError| matches!(found, FoldError::UnknownEvent(_));
    assert!(bad(of("opened", 1, "{}")));
    assert!(bad(of("deposited", 2, "7")));
    assert!(unknown(of("deposited", 1, r#"{"cents":1}"#)));
    assert!(unknown(of("closed", 1, "{}")));
    // The decider declares older names.
    assert!(unknown(of("created", 1, r#"{"owner":"ann"}"#)));
}

struct Wrong<const N: usize>;

impl<const N: usize> Projection for Wrong<N> {
    const NAME: &'static str = ["Wrong", "wrong", "wrong", "wrong", "wrong"][N];
    const VERSION: u32 = [1, 0, 1, 1, 1][N];
    type Event = Account;
    type Document = ();

    fn sources() -> Sources<Account> {
        match N {
            2 => Sources::none(),
            3 => Sources::of("account").and("account", |event| event),
            _ => Sources::of("account"),
        }
    }

    fn indexes() -> Indexes {
        Indexes::none().text("owner", "owner")
    }

    fn keys(_: &Recorded<Account>) -> Vec<String> {
        Vec::new()
    }

    fn apply(_: Option<()>, _: &str, _: &Recorded<Account>) -> Option<()> {
        None
    }
}

#[test]
#[should_panic(expected = "is not 1 to 48")]
fn a_name_that_is_none_is_found() {
    check_projection::<Wrong<0>>();
}

#[test]
#[should_panic(expected = "versions begin at 1")]
fn a_version_zero_is_found() {
    check_projection::<Wrong<1>>();
}

#[test]
#[should_panic(expected = "no source")]
fn a_projection_of_nothing_is_found() {
    check_projection::<Wrong<2>>();
}

#[test]
#[should_panic(expected = "two sources")]
fn two_sources_of_one_category_are_found() {
    check_projection::<Wrong<3>>();
}

#[test]
#[should_panic(expected = "is no JSON pointer")]
fn a_pointer_that_is_none_is_found() {
    check_projection::<Wrong<4>>();
}
