//! Results of bounded length.
//!
//! A page ends early, with the place where the next one begins. Anything else loses its largest
//! members, and says which.

use serde_json::value::RawValue;

use crate::members::{Members, array, json, null};

/// Longest result of a tool in bytes.
pub const RESULT_BYTES_MAX: usize = 96 << 10;
/// Levels of a value in which something is left out; what is deeper is left out as a whole.
const LEVELS: usize = 4;
/// The member that says what is left out.
const LEFT_OUT: &str = "left_out";

/// How to continue after the last event of a page that ended early.
#[derive(Debug, Clone, Copy)]
pub enum Next {
    /// From the next version on.
    Version { is_backward: bool },
    /// After its position.
    Position,
}

/// Cuts the events of a page to the bound, and names the next page.
pub fn page(page: Box<RawValue>, next: Next) -> Box<RawValue> {
    if page.get().len() <= RESULT_BYTES_MAX {
        return page;
    }
    let Some(mut members) = Members::of(&page) else {
        return page;
    };
    let Some(mut events) = members.elements("events") else {
        return page;
    };
    // The other members are a few numbers and the name of a stream.
    let max = RESULT_BYTES_MAX - (4 << 10);
    let mut used = 0;
    let fitting = events.iter().take_while(|event| {
        used += event.get().len() + 1;
        used <= max
    });
    let fitting = fitting.count();
    if fitting == 0
        && let Some(first) = events.first_mut()
    {
        *first = fit(first, max);
    }
    let mut count = fitting.max(1);
    if count < events.len() {
        // An upcaster may have split an event: its parts have one place, and the next page begins
        // after them.
        let places = events[..=count].iter().map(|event| place(event));
        let places: Vec<_> = places.collect();
        let whole = places.iter().take_while(|it| **it != places[count]);
        match whole.count() {
            0 => {
                let left_out = "events: further parts of the last event";
                members.set(LEFT_OUT, array(&[json(left_out)]));
            }
            whole => count = whole,
        }
        events.truncate(count);
        let last = events.last().and_then(|last| Members::of(last));
        let number = |name| last.as_ref().and_then(|last| last.number(name));
        let next = match next {
            Next::Version { is_backward: true } => number("version").map(|it| it.saturating_sub(1)),
            Next::Version { is_backward: false } => number("version").map(|it| it + 1),
            Next::Position => number("position"),
        };
        members.set("next", next.map_or_else(null, json));
    }
    members.set("events", array(&events));
    members.into_raw()
}

/// The place of an event.
fn place(event: &RawValue) -> Option<u64> {
    let event = Members::of(event)?;
    event.number("position").or_else(|| event.number("version"))
}

/// Leaves out what does not fit: the largest members first, of arrays the last elements.
pub fn fit(value: &RawValue, max: usize) -> Box<RawValue> {
    fit_within(value, max, LEVELS)
}

fn fit_within(value: &RawValue, max: usize, levels: usize) -> Box<RawValue> {
    if value.get().len() <= max {
        return value.to_owned();
    }
    if levels == 0 {
        return null();
    }
    if let Some(members) = Members::of(value) {
        return fit_members(members, max, levels);
    }
    match serde_json::from_str::<Vec<Box<RawValue>>>(value.get()) {
        Ok(elements) => array(&leading(elements, max, levels)),
        Err(_) => null(),
    }
}

/// The leading elements that fit, of which at least a part of the first.
fn leading(mut elements: Vec<Box<RawValue>>, max: usize, levels: usize) -> Vec<Box<RawValue>> {
    let mut used = 2;
    let fitting = elements.iter().take_while(|element| {
        used += element.get().len() + 1;
        used <= max
    });
    let fitting = fitting.count();
    if fitting == 0
        && let Some(first) = elements.first_mut()
    {
        *first = fit_within(first, max.saturating_sub(2), levels - 1);
    }
    elements.truncate(fitting.max(1));
    elements
}

fn fit_members(mut members: Members, max: usize, levels: usize) -> Box<RawValue> {
    // Each member takes its name, quotes, a colon, a comma, and a note if it is left out.
    let names: usize = members.0.iter().map(|(name, _)| name.len() + 8).sum();
    let notes = members.0.len().min(20) * 80;
    let Some(mut room) = max.checked_sub(names * 2 + notes + 32) else {
        return null();
    };
    let mut order: Vec<usize> = (0..members.0.len()).collect();
    order.sort_by_key(|index| members.0[*index].1.get().len());
    let mut left_out = Vec::new();
    for (done, index) in order.iter().enumerate() {
        let share = room / (order.len() - done);
        let (name, value) = &mut members.0[*index];
        let length = value.get().len();
        if length > share {
            let cut = fit_within(value, share, levels - 1);
            if left_out.len() < 20 {
                left_out.push(json(format!(
                    "{name}: shown are {} of {length} bytes",
                    cut.get().len()
                )));
            }
            *value = cut;
        }
        room = room.saturating_sub(value.get().len());
    }
    members.set(LEFT_OUT, array(&left_out));
    members.into_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::raw;

    fn events(count: u64, bytes: usize) -> Box<RawValue> {
        let data = "x".repeat(bytes);
        let event = |n| {
            format!(
                "{{\"version\":{n},\"position\":{},\"data\":\"{data}\"}}",
                n * 10
            )
        };
        let all: Vec<String> = (1..=count).map(event).collect();
        raw(format!(
            "{{\"stream\":\"a-1\",\"events\":[{}],\"next\":null}}",
            all.join(",")
        ))
    }

    #[test]
    fn a_page_that_is_too_long_ends_early_and_names_the_next_one() {
        let short = events(3, 10);
        let same = page(short.clone(), Next::Position);
        assert_eq!(same.get(), short.get());
        for (next, expected) in [
            (Next::Version { is_backward: false }, 10),
            (Next::Version { is_backward: true }, 8),
            (Next::Position, 90),
        ] {
            let cut = page(events(100, 10_000), next);
            assert!(cut.get().len() <= RESULT_BYTES_MAX);
            let cut = Members::of(&cut).unwrap();
            assert_eq!(cut.elements("events").unwrap().len(), 9);
            assert_eq!(cut.number("next"), Some(expected));
        }
    }

    #[test]
    fn a_page_never_ends_between_the_parts_of_an_event_unless_it_says_so() {
        let data = "x".repeat(10_000);
        let part = |n: u64| format!("{{\"version\":{n},\"position\":{n},\"data\":\"{data}\"}}");
        let of = |places: &[u64]| {
            let all: Vec<String> = places.iter().map(|place| part(*place)).collect();
            let cut = raw(format!("{{\"events\":[{}],\"next\":null}}", all.join(",")));
            let cut = page(cut, Next::Position);
            let cut = Members::of(&cut).unwrap();
            let left_out = cut.get(LEFT_OUT).map(|it| it.get().to_owned());
            let events = cut.elements("events").unwrap().len();
            (events, cut.number("next"), left_out)
        };
        // The eighth to the tenth are parts of one event, and nine fit.
        let places = [1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 9];
        assert_eq!(of(&places), (7, Some(7), None));
        let left_out = "[\"events: further parts of the last event\"]";
        assert_eq!(of(&[5; 12]), (9, Some(5), Some(left_out.to_owned())));
    }

    #[test]
    fn an_event_that_is_too_large_is_shown_without_its_data() {
        let cut = page(events(2, 1 << 20), Next::Position);
        assert!(cut.get().len() <= RESULT_BYTES_MAX);
        let cut = Members::of(&cut).unwrap();
        let events = cut.elements("events").unwrap();
        assert_eq!(events.len(), 1);
        let event = Members::of(&events[0]).unwrap();
        assert_eq!(event.number("version"), Some(1));
        assert_eq!(event.get("data").unwrap().get(), "null");
        assert!(
            event
                .get("left_out")
                .unwrap()
                .get()
                .contains("data: shown are 4 of")
        );
        assert_eq!(cut.number("next"), Some(10));
    }

    #[test]
    fn whatever_is_too_large_fits_and_small_values_keep_every_digit() {
        let deep = "[".repeat(100) + &"1,".repeat(100_000) + "1" + &"]".repeat(100);
        let long_name = format!("{{\"{}\":1}}", "n".repeat(200_000));
        let many: Vec<String> = (0..50_000).map(|n| format!("\"n{n}\":1")).collect();
        let many = format!("{{{}}}", many.join(","));
        let mixed = format!(
            "{{\"exact\":1.00000000000000000000001,\"list\":[{}1],\"text\":\"{}\"}}",
            "123456,".repeat(50_000),
            "t".repeat(200_000)
        );
        for text in [deep, long_name, many, mixed.clone()] {
            let fitted = fit(&raw(text), RESULT_BYTES_MAX);
            assert!(fitted.get().len() <= RESULT_BYTES_MAX);
            serde_json::from_str::<serde_json::Value>(fitted.get()).unwrap();
        }
        let fitted = fit(&raw(mixed), RESULT_BYTES_MAX);
        let fitted = Members::of(&fitted).unwrap();
        let exact = fitted.get("exact").unwrap();
        assert_eq!(exact.get(), "1.00000000000000000000001");
        assert!(fitted.elements("list").unwrap().len() > 1_000);
    }
}
