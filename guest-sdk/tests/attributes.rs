//! Schema versions and older names from attributes.

#![allow(clippy::unwrap_used)]

use quipu_guest::driver::Driver;
use quipu_guest::testing::{check_guest, given};
use quipu_guest::{
    Aggregate, Context, Decider, Events, Manifest, Message, MessageType, Rejection, aggregate,
    decider,
};
use serde::{Deserialize, Serialize};

#[derive(Message, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Command {
    #[quipu(version = 4)]
    #[serde(alias = "turn-on")]
    SwitchOn,
    SwitchOff,
}

#[derive(Message, Serialize, Deserialize, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Event {
    #[quipu(alias = "lit", alias = "turned-on")]
    #[serde(alias = "lit")]
    SwitchedOn,
    #[quipu(version = 3)]
    #[serde(rename = "off", alias = "put-out")]
    SwitchedOff {},
    Broken,
}

#[derive(Default, Serialize, Deserialize)]
struct Lamp {
    on: bool,
}

impl Aggregate for Lamp {
    const CATEGORY: &'static str = "lamp";
    type Command = Command;
    type Event = Event;

    fn execute(
        &self,
        command: Command,
        _: &Context,
        events: &mut Events<Event>,
    ) -> Result<(), Rejection> {
        events.raise(match command {
            Command::SwitchOn => Event::SwitchedOn,
            Command::SwitchOff => Event::SwitchedOff {},
        });
        Ok(())
    }

    fn apply(&mut self, event: Event) {
        self.on = event == Event::SwitchedOn;
    }

    /// Applies where no attribute names a version.
    fn event_schema_version(event_type: &str) -> u32 {
        if event_type == "switched-on" { 7 } else { 9 }
    }
}

aggregate!(Lamp);

fn types(types: &[MessageType]) -> Vec<(&str, u32, &[&'static str])> {
    types
        .iter()
        .map(|it| (it.name, it.schema_version, &*it.aliases))
        .collect()
}

#[test]
fn versions_and_aliases_reach_the_manifest() {
    check_guest::<Lamp>();
    let manifest = Manifest::of::<Lamp>();
    assert_eq!(
        types(&manifest.commands),
        [("switch-on", 4, &["turn-on"][..]), ("switch-off", 1, &[])]
    );
    assert_eq!(
        types(&manifest.events),
        [
            ("switched-on", 7, &["lit", "turned-on"][..]),
            ("off", 3, &["put-out"]),
            ("broken", 9, &[]),
        ]
    );
    assert_eq!(manifest.event("lit").unwrap().name, "switched-on");
    assert_eq!(manifest.event("turn-on"), None);
}

#[test]
fn messages_are_read_and_written_at_the_version_in_the_attribute() {
    let mut lamp = Driver::<Lamp>::open("1", None).unwrap();
    assert!(
        lamp.decide("switch-on", 1, "{}", Context::default())
            .is_err()
    );
    let on = &lamp
        .decide("switch-on", 4, "{}", Context::default())
        .unwrap()[0];
    let off = &lamp
        .decide("switch-off", 1, "{}", Context::default())
        .unwrap()[0];
    assert_eq!((on.event_type, on.schema_version), ("switched-on", 7));
    assert_eq!((off.event_type, off.schema_version), ("off", 3));
    lamp.apply("switched-on", 7, "{}").unwrap();
    let error = lamp.apply("off", 9, "{}").unwrap_err().to_string();
    assert_eq!(
        error,
        "unknown event: event off: schema version 9, expected 3"
    );
    given::<Lamp>([Event::SwitchedOff {}, Event::SwitchedOn])
        .when(Command::SwitchOff)
        .then([Event::SwitchedOff {}]);
}

/// Without the derive an alias looks like a name.
#[derive(Deserialize)]
enum PlainCommand {
    #[serde(alias = "Run")]
    Go,
}

#[derive(Default, Serialize, Deserialize)]
struct Mixed;

impl Decider for Mixed {
    const CATEGORY: &'static str = "mixed";
    type Command = PlainCommand;
    type Event = Event;

    fn decide(&self, PlainCommand::Go: PlainCommand, _: &Context) -> Result<Vec<Event>, Rejection> {
        Ok(vec![])
    }

    fn evolve(self, _: Event) -> Self {
        self
    }
}

decider!(Mixed);

#[test]
fn an_enum_without_the_derive_is_as_it_was() {
    let manifest = Manifest::of::<Mixed>();
    assert_eq!(
        types(&manifest.commands),
        [("Go", 1, &[][..]), ("Run", 1, &[])]
    );
    let off = types(&manifest.events)[1];
    assert_eq!(off, ("off", 3, &["put-out"][..]));
}

/// `Manifest::of` panics when the derive and serde give a variant two names.
macro_rules! follows_serde {
    ($($module:ident $rule:literal $expected:literal;)*) => {$(
        mod $module {
            use super::*;

            #[derive(Message, Serialize, Deserialize)]
            #[serde(rename_all = $rule)]
            pub enum Event {
                #[quipu(version = 2)]
                OneTwoX3HTTPd,
            }

            #[derive(Default, Serialize, Deserialize)]
            pub struct State;

            impl Decider for State {
                const CATEGORY: &'static str = "state";
                type Command = Event;
                type Event = Event;

                fn decide(&self, _: Event, _: &Context) -> Result<Vec<Event>, Rejection> {
                    Ok(vec![])
                }

                fn evolve(self, _: Event) -> Self {
                    self
                }
            }

            decider!(State);

            #[test]
            fn names_are_those_of_serde() {
                let manifest = Manifest::of::<State>();
                assert_eq!(types(&manifest.events), [($expected, 2, &[][..])]);
            }
        }
    )*};
}

follows_serde! {
    pascal "PascalCase" "OneTwoX3HTTPd";
    lower "lowercase" "onetwox3httpd";
    upper "UPPERCASE" "ONETWOX3HTTPD";
    camel "camelCase" "oneTwoX3HTTPd";
    snake "snake_case" "one_two_x3_h_t_t_pd";
    screaming_snake "SCREAMING_SNAKE_CASE" "ONE_TWO_X3_H_T_T_PD";
    kebab "kebab-case" "one-two-x3-h-t-t-pd";
    screaming_kebab "SCREAMING-KEBAB-CASE" "ONE-TWO-X3-H-T-T-PD";
}
