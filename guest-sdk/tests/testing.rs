//! Tests what the test helpers accept and find.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;

use quipu_guest::testing::{
    check_cuts, check_decides_again, check_guest, check_lifts, given, lifted, projected,
};
use quipu_guest::{
    Context, Decider, Manifest, Message, Projection, Recorded, Rejection, Sources, Steps, Time,
    Upcaster, Uuid, decider,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Command {
    Buy { price: u64 },
    Close,
    Draw { names: Vec<String> },
}

#[derive(Message, Serialize, Deserialize, Debug, PartialEq, Clone)]
#[serde(rename_all = "kebab-case")]
enum Event {
    Bought { id: Uuid, price: u64 },
    Drawn { name: String, at: Time },
    Closed,
}

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Returns a number that depends on what ran before, as a guest must not have one.
fn count() -> u64 {
    COUNT.with(|count| count.replace(count.get() + 1))
}

/// A shop, and with a number other than 0 the same shop with a fault.
#[derive(Default, Serialize, Deserialize)]
struct Shop<const FAULT: u8> {
    paid: u64,
    closed: bool,
    #[serde(skip)]
    lost: u64,
    seen: u64,
    asked: Cell<u64>,
}

const SOUND: u8 = 0;
const LOSES_STATE: u8 = 1;
const SHARES_STATE: u8 = 2;
const DECIDES_OTHERWISE: u8 = 3;
const CHANGES_STATE: u8 = 4;
const TAGS_WITHOUT_NAME: u8 = 5;
const TAKES_A_RESERVED_NAME: u8 = 6;
const NAMES_AN_ANNOTATION_TWICE: u8 = 7;
const REJECTS_UNDECLARED: u8 = 8;
const DECLARES_TWICE: u8 = 9;
const DECLARES_WHITE_SPACE: u8 = 10;

impl<const FAULT: u8> Decider for Shop<FAULT> {
    const CATEGORY: &'static str = "shop";
    const REJECTIONS: &'static [&'static str] = match FAULT {
        REJECTS_UNDECLARED => &["closed"],
        DECLARES_TWICE => &["closed", "no-names", "closed"],
        DECLARES_WHITE_SPACE => &["closed", "no names"],
        _ => &["closed", "no-names"],
    };
    type Command = Command;
    type Event = Event;

    fn decide(&self, command: Command, context: &Context) -> Result<Vec<Event>, Rejection> {
        if FAULT == CHANGES_STATE {
            self.asked.set(self.asked.get() + 1);
        }
        if self.closed {
            let rejection = Rejection::new("closed", "the shop is closed");
            return Err(rejection.details(json!({"paid": self.paid})));
        }
        Ok(match command {
            Command::Buy { price } => {
                let id = context.uuid();
                let more = if FAULT == DECIDES_OTHERWISE {
                    count()
                } else {
                    0
                };
                let price = price + more;
                vec![Event::Bought { id, price }]
            }
            Command::Close => vec![Event::Closed],
            Command::Draw { names } => match context.random().pick(&names) {
                None => return Err(Rejection::new("no-names", "nobody takes part")),
                Some(name) => vec![Event::Drawn {
                    name: name.clone(),
                    at: context.accepted_at(),
                }],
            },
        })
    }

    fn evolve(mut self, event: Event) -> Self {
        match event {
            Event::Bought { price, .. } => {
                self.paid += price;
                self.lost += price;
            }
            Event::Drawn { .. } => {}
            Event::Closed => self.closed = true,
        }
        self.seen = match FAULT {
            LOSES_STATE => self.lost,
            SHARES_STATE => count(),
            _ => 0,
        };
        self
    }

    fn view(&self) -> impl Serialize {
        json!({"paid": self.paid})
    }

    fn tags(event: &Event) -> Vec<String> {
        match event {
            Event::Bought { .. } if FAULT == TAGS_WITHOUT_NAME => vec![":cheap".to_owned()],
            Event::Bought { price, .. } => vec![format!("price:{price}")],
            _ => Vec::new(),
        }
    }

    fn annotations(&self, _: &Event, context: &Context) -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let by = pair("sold-by", context.principal().unwrap_or("nobody"));
        match FAULT {
            TAKES_A_RESERVED_NAME => vec![pair("quipu.principal", "ann")],
            NAMES_AN_ANNOTATION_TWICE => vec![by.clone(), by],
            _ => vec![by, pair("command", context.command_id())],
        }
    }
}

decider!(Shop<SOUND>);
decider!(Shop<LOSES_STATE>);
decider!(Shop<SHARES_STATE>);
decider!(Shop<DECIDES_OTHERWISE>);
decider!(Shop<CHANGES_STATE>);
decider!(Shop<TAGS_WITHOUT_NAME>);
decider!(Shop<TAKES_A_RESERVED_NAME>);
decider!(Shop<NAMES_AN_ANNOTATION_TWICE>);
decider!(Shop<REJECTS_UNDECLARED>);
decider!(Shop<DECLARES_TWICE>);
decider!(Shop<DECLARES_WHITE_SPACE>);

fn bought(price: u64) -> Event {
    let id = Uuid::from_u128(7);
    Event::Bought { id, price }
}

fn buy(price: u64) -> Command {
    Command::Buy { price }
}

#[test]
fn a_test_goes_on_after_a_decision_with_its_state_tags_and_annotations() {
    let bought = given::<Shop<SOUND>>([])
        .by("ann")
        .with_id("order-7")
        .and_given(Command::Draw {
            names: vec!["eve".to_owned()],
        })
        .when(buy(5))
        .accepted()
        .then_state(json!({"paid": 5, "closed": false, "seen": 0, "asked": 0}))
        .then_view(json!({"paid": 5.0}));
    let event = &bought.new_events()[0];
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(event.tags, ["price:5"]);
    assert_eq!(
        event.annotations,
        [pair("sold-by", "ann"), pair("command", "command-2")]
    );
    bought
        .when(Command::Close)
        .then([Event::Closed])
        .when(buy(1))
        .rejected("closed")
        .with_message("the shop is closed")
        .with_details(json!({"paid": 5}));
}

#[test]
fn time_ids_and_random_numbers_are_those_of_the_test() {
    let names: Vec<_> = ["ann", "bob", "eve"].map(str::to_owned).into();
    let draw = || Command::Draw {
        names: names.clone(),
    };
    let seed = [1, 2, 3, 4];
    let context = Context::default().with_seed(seed);
    let name = context.random().pick(&names).unwrap().clone();
    let at: Time = "2026-01-01T12:00:00Z".parse().unwrap();
    let drawn = Event::Drawn { name, at };
    let shop = || given::<Shop<SOUND>>([]).with_seed(seed);
    shop().at(at).when(draw()).then([drawn.clone()]);
    shop().at("2026-01-01T12:00:00Z").when(draw()).then([drawn]);
    let id = context.uuid();
    shop().when(buy(2)).then([Event::Bought { id, price: 2 }]);
}

#[test]
fn each_command_of_a_test_has_an_id_and_a_seed_of_its_own() {
    let one = given::<Shop<SOUND>>([]).when(buy(1)).accepted();
    let first = one.new_events()[0].clone();
    let two = one.when(buy(1)).accepted();
    assert_ne!(two.new_events()[0].body, first.body);
    assert_eq!(first.annotations[1].1, "command-1");
    assert_eq!(two.new_events()[0].annotations[1].1, "command-2");
    let named = two.and().with_id("x").when(buy(1)).accepted();
    assert_eq!(named.new_events()[0].annotations[1].1, "x");
    let next = named.when(buy(1)).accepted();
    assert_eq!(next.new_events()[0].annotations[1].1, "command-4");
}

#[test]
#[should_panic(expected = "given command 2: rejected: closed: the shop is closed")]
fn a_given_command_that_is_rejected_is_named() {
    drop(
        given::<Shop<SOUND>>([])
            .and_given(Command::Close)
            .and_given(buy(1)),
    );
}

#[test]
#[should_panic(expected = "time \"noon\": expected a time as in RFC 3339")]
fn what_is_not_a_time_is_named() {
    drop(given::<Shop<SOUND>>([]).at("noon"));
}

#[test]
#[should_panic(expected = "events: not as expected (- expected, + found)
  [
      Bought {
          id: 00000000-0000-0000-0000-000000000000,
-         price: 1,
+         price: 2,
      },
  ]
")]
fn events_that_differ_are_shown_line_by_line() {
    let id = Uuid::default();
    let seed = [1; 4];
    let expected = Context::default().with_seed(seed).uuid();
    let found = std::panic::catch_unwind(|| {
        let event = Event::Bought {
            id: expected,
            price: 1,
        };
        given::<Shop<SOUND>>([])
            .with_seed(seed)
            .when(buy(2))
            .then([event]);
    });
    let text = found.unwrap_err().downcast::<String>().unwrap();
    panic!("{}", text.replace(&expected.to_string(), &id.to_string()));
}

#[test]
#[should_panic(expected = "state: not as expected (- expected, + found)
  {
    \"asked\": 0,
    \"closed\": false,
-   \"paid\": 4,
+   \"paid\": 5,
    \"seen\": 0
  }
")]
fn a_state_that_differs_is_shown_line_by_line() {
    let expected = json!({"paid": 4, "closed": false, "seen": 0, "asked": 0});
    given::<Shop<SOUND>>([])
        .when(buy(5))
        .accepted()
        .then_state(expected);
}

#[test]
#[should_panic(
    expected = "rejected: closed: the shop is closed\ndetails: {\"paid\":0}\nexpected [\n"
)]
fn a_rejection_instead_of_events_is_shown_with_its_details() {
    given::<Shop<SOUND>>([Event::Closed])
        .when(buy(1))
        .then([bought(1)]);
}

#[test]
#[should_panic(expected = "details: not as expected")]
fn details_that_differ_are_found() {
    given::<Shop<SOUND>>([Event::Closed])
        .when(buy(1))
        .rejected("closed")
        .with_details(json!({"paid": 1}));
}

#[test]
#[should_panic(expected = "event bought: tag \":cheap\" is not a printable name:value")]
fn a_tag_that_a_host_refuses_is_found() {
    drop(given::<Shop<TAGS_WITHOUT_NAME>>([]).when(buy(1)));
}

#[test]
#[should_panic(expected = "annotation \"quipu.principal\" is empty or begins with quipu.")]
fn a_reserved_annotation_is_found() {
    drop(given::<Shop<TAKES_A_RESERVED_NAME>>([]).when(buy(1)));
}

#[test]
#[should_panic(expected = "annotation \"sold-by\" is given twice")]
fn an_annotation_that_is_given_twice_is_found() {
    drop(given::<Shop<NAMES_AN_ANNOTATION_TWICE>>([]).when(buy(1)));
}

fn draw_of_nobody() -> Command {
    let names = Vec::new();
    Command::Draw { names }
}

#[test]
fn declared_rejections_are_in_the_manifest() {
    check_guest::<Shop<SOUND>>();
    let annotations = Manifest::of::<Shop<SOUND>>().annotations();
    let expected = ("rejections".to_owned(), "closed no-names".to_owned());
    assert_eq!(annotations, [expected]);
    let rejected = given::<Shop<SOUND>>([]).when(draw_of_nobody());
    assert_eq!(rejected.rejected("no-names").message(), "nobody takes part");
}

#[test]
#[should_panic(expected = "the code no-names is not declared: add it to REJECTIONS of shop")]
fn a_rejection_that_is_not_declared_is_found() {
    drop(given::<Shop<REJECTS_UNDECLARED>>([]).when(draw_of_nobody()));
}

#[test]
#[should_panic(expected = "shop: the code closed is in REJECTIONS twice")]
fn a_code_that_is_declared_twice_is_found() {
    check_guest::<Shop<DECLARES_TWICE>>();
}

#[test]
#[should_panic(expected = "shop: the code \"no names\" in REJECTIONS is not 1 to 255 bytes")]
fn a_code_with_white_space_is_found() {
    check_guest::<Shop<DECLARES_WHITE_SPACE>>();
}

fn history(len: u64) -> impl Iterator<Item = Event> {
    (0..len).map(bought)
}

#[test]
fn a_sound_guest_passes_the_checks_of_its_folds_and_decisions() {
    for len in [0, 1, 2, 150] {
        check_cuts::<Shop<SOUND>>(history(len));
        check_decides_again::<Shop<SOUND>>(history(len), || buy(5));
    }
    check_decides_again::<Shop<SOUND>>([Event::Closed], || buy(5));
    given::<Shop<SOUND>>([])
        .at("2026-01-01T12:00:00Z")
        .check_decides_again(|| buy(5));
}

#[test]
#[should_panic(expected = "state with a snapshot after 2 events: not as expected")]
fn a_state_that_its_snapshot_loses_is_found() {
    check_cuts::<Shop<LOSES_STATE>>(history(3));
}

#[test]
#[should_panic(expected = ": not as expected (- expected, + found)")]
fn a_state_that_aggregates_share_is_found() {
    check_cuts::<Shop<SHARES_STATE>>(history(2));
}

#[test]
#[should_panic(expected = "second decision: not as expected")]
fn a_decision_that_differs_the_second_time_is_found() {
    check_decides_again::<Shop<DECIDES_OTHERWISE>>([], || buy(5));
}

#[test]
#[should_panic(expected = "state after a decision, which must not change it: not as expected")]
fn a_decision_that_changes_the_state_is_found() {
    check_decides_again::<Shop<CHANGES_STATE>>([], || buy(5));
}

#[derive(Default, Serialize, Deserialize)]
struct Total {
    paid: u64,
    #[serde(skip)]
    lost: u64,
}

/// Totals by price, of which the unsound ones hold what their JSON form loses.
struct Totals<const SOUND: bool>;

impl<const SOUND: bool> Projection for Totals<SOUND> {
    const NAME: &'static str = "totals";
    type Event = Event;
    type Document = Total;

    fn sources() -> Sources<Event> {
        Sources::of("shop")
    }

    fn keys(event: &Recorded<Event>) -> Vec<String> {
        match &event.event {
            Event::Bought { price, .. } => vec!["all".to_owned(), (price % 3).to_string()],
            Event::Drawn { .. } => Vec::new(),
            Event::Closed => vec!["0".to_owned()],
        }
    }

    fn apply(total: Option<Total>, _: &str, event: &Recorded<Event>) -> Option<Total> {
        let mut total = total.unwrap_or_default();
        let Event::Bought { price, .. } = event.event else {
            return None;
        };
        total.lost += price;
        total.paid = if SOUND {
            total.paid + price
        } else {
            total.lost
        };
        Some(total)
    }
}

fn totals<const SOUND: bool>() -> quipu_guest::testing::Projected<Totals<SOUND>> {
    let all = history(8).fold(projected(), |all, event| all.event("shop-1", event));
    all.event("shop-1", Event::Closed)
        .event("shop-1", bought(9))
}

#[test]
fn documents_are_the_same_for_every_cut_and_batch() {
    let sound = totals::<true>();
    assert_eq!(sound.document("all").unwrap().paid, 37);
    sound.check_cuts();
}

#[test]
#[should_panic(expected = "document 1, cut after 0 events: not as expected")]
fn a_document_that_its_json_form_changes_is_found() {
    totals::<false>().check_cuts();
}

#[test]
fn a_projection_reads_the_time_of_its_test() {
    struct Last;
    impl Projection for Last {
        const NAME: &'static str = "last";
        type Event = Event;
        type Document = Time;

        fn sources() -> Sources<Event> {
            Sources::of("shop")
        }

        fn keys(_: &Recorded<Event>) -> Vec<String> {
            vec!["all".to_owned()]
        }

        fn apply(_: Option<Time>, _: &str, event: &Recorded<Event>) -> Option<Time> {
            Some(event.recorded_at)
        }
    }
    let last = projected::<Last>()
        .at("2026-01-01T12:00:00Z")
        .event("shop-1", Event::Closed);
    assert_eq!(last.documents()["all"], r#""2026-01-01T12:00:00.000000Z""#);
}

struct Lifts<const SOUND: bool>;

impl<const SOUND: bool> Upcaster for Lifts<SOUND> {
    const CATEGORY: &'static str = "shop";

    fn steps() -> Steps {
        let edit = |body: &mut quipu_guest::Object| {
            let price: u64 = body.take("euros")?.unwrap_or_default();
            body.set("price", price * 100 + if SOUND { 0 } else { count() })
        };
        Steps::new().lift("bought", 1).edit(edit).to(2)
    }
}

const OLD: [(&str, u32, &str); 2] = [("bought", 1, r#"{"euros":2}"#), ("closed", 1, "{}")];

#[test]
fn steps_that_depend_on_the_event_only_pass_the_check() {
    check_lifts::<Lifts<true>>(&OLD);
    lifted::<Lifts<true>>("bought", 1, r#"{"euros":2}"#).to([("bought", 2, r#"{"price":200}"#)]);
}

#[test]
#[should_panic(expected = "result of lifting bought {\"euros\":2} after other events")]
fn a_step_that_depends_on_what_was_lifted_before_is_found() {
    check_lifts::<Lifts<false>>(&OLD);
}
