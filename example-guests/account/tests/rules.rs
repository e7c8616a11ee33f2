//! Tests the rules of an account.

use std::collections::BTreeMap;

use account::{Account, BALANCE_MAX, Command, Event};
use quipu_guest::testing::{check_cuts, check_decides_again, check_guest, given};

fn opened() -> Event {
    Event::Opened {
        owner: "ada".to_owned(),
    }
}

fn open() -> Command {
    Command::Open {
        owner: "ada".to_owned(),
    }
}

#[test]
fn an_account_is_opened_once() {
    given::<Account>([]).when(open()).then([opened()]);
    given::<Account>([opened()])
        .when(open())
        .rejected("already-open");
}

#[test]
fn nothing_happens_before_opening() {
    given::<Account>([])
        .when(Command::Deposit { amount: 1 })
        .rejected("not-open");
    given::<Account>([])
        .when(Command::Withdraw { amount: 1 })
        .rejected("not-open");
    given::<Account>([])
        .when(Command::Close {})
        .rejected("not-open");
}

#[test]
fn nothing_happens_after_closing() {
    let closed = || given::<Account>([opened(), Event::Closed {}]);
    closed().when(open()).rejected("closed");
    closed()
        .when(Command::Deposit { amount: 1 })
        .rejected("closed");
    closed()
        .when(Command::Withdraw { amount: 1 })
        .rejected("closed");
    closed().when(Command::Close {}).rejected("closed");
    given::<Account>([opened()])
        .when(Command::Close {})
        .then([Event::Closed {}]);
}

#[test]
fn amounts_are_positive() {
    for amount in [0, -1, i64::MIN] {
        let account = || given::<Account>([opened(), Event::Deposited { amount: 5 }]);
        account()
            .when(Command::Deposit { amount })
            .rejected("invalid-amount");
        account()
            .when(Command::Withdraw { amount })
            .rejected("invalid-amount");
    }
}

#[test]
fn a_withdrawal_takes_at_most_the_balance() {
    let account = || {
        given::<Account>([
            opened(),
            Event::Deposited { amount: 5 },
            Event::Withdrawn { amount: 2 },
        ])
    };
    account()
        .when(Command::Withdraw { amount: 3 })
        .then([Event::Withdrawn { amount: 3 }]);
    account()
        .when(Command::Withdraw { amount: 4 })
        .rejected("insufficient-funds")
        .with_message("balance 3, withdrawal 4")
        .with_details(BTreeMap::from([("balance", 3)]));
}

#[test]
fn a_balance_has_a_limit() {
    let account = || {
        given::<Account>([
            opened(),
            Event::Deposited {
                amount: BALANCE_MAX - 1,
            },
        ])
    };
    account()
        .when(Command::Deposit { amount: 1 })
        .then([Event::Deposited { amount: 1 }]);
    account()
        .when(Command::Deposit { amount: 2 })
        .rejected("balance-limit");
    account()
        .when(Command::Deposit { amount: i64::MAX })
        .rejected("balance-limit");
}

#[test]
fn a_host_accepts_the_guest_and_folds_and_decides_as_it_likes() {
    let events = || {
        let deposits = (1..20).map(|amount| Event::Deposited { amount });
        std::iter::once(opened()).chain(deposits)
    };
    check_guest::<Account>();
    check_cuts::<Account>(events());
    check_decides_again::<Account>(events(), || Command::Withdraw { amount: 190 });
    check_decides_again::<Account>(events(), || Command::Withdraw { amount: 191 });
}

#[test]
fn foreign_events_never_overflow() {
    let account = given::<Account>([
        Event::Withdrawn { amount: 1 },
        Event::Deposited { amount: u64::MAX },
        Event::Deposited { amount: 1 },
    ]);
    assert_eq!(
        account.view(),
        format!(r#"{{"status":"none","owner":"","balance":{}}}"#, u64::MAX)
    );
}

#[test]
fn the_view_has_status_owner_and_balance() {
    let account = given::<Account>([opened(), Event::Deposited { amount: 5 }]);
    assert_eq!(
        account.view(),
        r#"{"status":"open","owner":"ada","balance":5}"#
    );
}
