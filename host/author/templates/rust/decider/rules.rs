use quipu_guest::testing::{check_guest, given};

use {{name}}::{Command, Event, State};

#[test]
fn a_host_accepts_the_guest() {
    check_guest::<State>();
}

#[test]
fn an_amount_is_added() {
    given::<State>([Event::Opened {
        title: "first".into(),
    }])
    .when(Command::Add { amount: 5 })
    .then([Event::Added { amount: 5 }]);
}

#[test]
fn the_total_has_a_limit() {
    given::<State>([
        Event::Opened {
            title: "first".into(),
        },
        Event::Added { amount: 999 },
    ])
    .when(Command::Add { amount: 2 })
    .rejected("limit-exceeded");
}
