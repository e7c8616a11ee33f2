use std::time::Instant;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::JSON_DEPTH_MAX;

#[track_caller]
fn check(one: &str, other: &str, is_same: bool) {
    let (ones, others) = (one.as_bytes(), other.as_bytes());
    assert_eq!(is_same_json(ones, others), is_same, "{one} and {other}");
    assert_eq!(is_same_json(others, ones), is_same, "{other} and {one}");
}

#[test]
fn a_number_is_the_same_however_it_is_spelled() {
    for other in [
        "1.0",
        "1E0",
        "1e+0",
        "1e-0",
        "10e-1",
        "0.1e1",
        "0.00001e5",
        "100.00e-2",
        "1e00000000000000000000000000000000000000000000",
    ] {
        check("1", other, true);
        check(&format!("-{other}"), "-1", true);
        check("-1", other, false);
        check("1.1", other, false);
    }
    for other in [
        "-0",
        "0.0",
        "-0.000e7",
        "0e999999999999999999999999999999999999999999",
    ] {
        check("0", other, true);
        check("1", other, false);
    }
    check("1200", "12e2", true);
    check("0.0012", "1.2e-3", true);
    check(
        "1000000000000000000000000000001.50",
        "10000000000000000000000000000015e-1",
        true,
    );
}

#[test]
fn every_digit_of_a_number_counts() {
    check("12345678901234567890", "12345678901234567891", false);
    check("0.12345678901234567890", "0.12345678901234567891", false);
    check("18446744073709551616", "18446744073709551617", false);
    check("1e400", "1e401", false);
    check("1e400", "10e399", true);
    check("1", "10", false);
    check("101", "11", false);
    check("1.01", "1.1", false);
    let long = "7".repeat(100_000);
    check(&format!("{long}1"), &format!("{long}2"), false);
    check(&format!("{long}1"), &format!("{long}1.0"), true);
}

#[test]
fn the_size_of_an_exponent_costs_nothing() {
    let begun = Instant::now();
    check("1e999999999", "10e999999998", true);
    check("1e999999999", "1e999999998", false);
    check("1e-999999999", "0.1e-999999998", true);
    check("1e-999999999", "0", false);
    let nines = "9".repeat(37);
    let one = format!("1{}", "0".repeat(37));
    // Cases in which an exponent gains a digit.
    check(&format!("1e{one}"), &format!("10e{nines}"), true);
    check(&format!("1e{one}"), &format!("1e{nines}"), false);
    check(&format!("1e-{one}"), &format!("0.1e-{nines}"), true);
    check(&format!("0.1e{one}"), &format!("1e{nines}"), true);
    check(&format!("1e{one}"), &format!("1e-{one}"), false);
    let nines = "9".repeat(50);
    let one = format!("1{}", "0".repeat(50));
    check(&format!("1e{one}"), &format!("10e{nines}"), true);
    check(&format!("1e-{nines}"), &format!("10e-{one}"), true);
    check(&format!("1e{nines}"), &format!("10e{nines}"), false);
    let long = "9".repeat(1_000_000);
    check(&format!("1e{long}"), &format!("10e{long}"), false);
    check(&format!("1e{long}"), &format!("1.0e0{long}"), true);
    assert!(begun.elapsed().as_secs() < 20);
}

#[test]
fn strings_are_compared_as_their_characters() {
    check(r#""\u0041""#, r#""A""#, true);
    check(r#""\u00e9\/""#, "\"é/\"", true);
    check(r#""\ud83d\ude00""#, "\"😀\"", true);
    check(r#""\uD83D\uDE00""#, r#""\ud83d\ude00""#, true);
    check(
        r#""\b\f\n\r\t\"\\""#,
        r#""\u0008\u000C\u000a\u000D\u0009\u0022\u005c""#,
        true,
    );
    check(r#""\\u0041""#, r#""A""#, false);
    check(r#""a""#, r#""A""#, false);
    check(r#""1""#, "1", false);
    check(r#""null""#, "null", false);
    check(r#""\u00e9""#, "\"e\u{301}\"", false);
}

#[test]
fn a_surrogate_without_a_partner_is_the_same_only_as_itself() {
    for lone in [
        r#"\ud800"#,
        r#"\udfff"#,
        r#"\ude00\ud83d"#,
        r#"\ud83d\ud83d"#,
        r#"\ud83dx"#,
    ] {
        check(&format!("\"{lone}\""), &format!("\"\\u0041{lone}\""), false);
        check(
            &format!("\"{lone}\""),
            &format!(" \"{}\"", lone.replace("\\ud", "\\uD")),
            true,
        );
        check(&format!("\"{lone}\""), "\"\u{fffd}\"", false);
        check(
            &format!("{{\"{lone}\":1}}"),
            &format!("{{ \"{lone}\":1.0}}"),
            true,
        );
    }
    check(r#""\ud800""#, r#""\ud801""#, false);
    check(r#""\ud83d\ude00""#, r#""\ude00\ud83d""#, false);
}

#[test]
fn the_order_of_members_makes_no_difference_that_of_elements_does() {
    check(
        r#"{"a":1,"b":{"c":[],"d":null}}"#,
        r#"{"b":{"d":null,"c":[]},"a":1e0}"#,
        true,
    );
    check(r#"{"\u0061":1,"b":2}"#, r#"{"b":2,"a":1}"#, true);
    check("[1,2]", "[ 1.0 , 2 ]", true);
    check("[1,2]", "[2,1]", false);
    check("[1,2]", "[1,2,3]", false);
    check("[[1],2]", "[[1,2]]", false);
    check("[]", "{}", false);
    check("[]", "[[]]", false);
    check(r#"{"a":1}"#, r#"{"a":1,"b":2}"#, false);
    check(r#"{"a":1,"b":2}"#, r#"{"b":1,"a":2}"#, false);
    check(r#"{"a":1,"c":2}"#, r#"{"b":2,"a":1}"#, false);
    check(r#"{"a":null}"#, "{}", false);
    check("true", "false", false);
    check("null", "false", false);
}

#[test]
fn members_of_one_name_count_one_by_one_in_their_order() {
    check(r#"{"a":1,"a":2}"#, r#"{"a":2}"#, false);
    check(r#"{"a":1,"a":2}"#, r#"{"a":1}"#, false);
    check(r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#, false);
    check(r#"{"a":1,"a":1}"#, r#"{"a":1}"#, false);
    check(
        r#"{"a":1,"b":3,"a":2}"#,
        r#"{"b":3,"\u0061":1.0,"a":2}"#,
        true,
    );
    check(r#"{"a":1,"b":3,"a":2}"#, r#"{"a":2,"b":3,"a":1}"#, false);
    check(r#"{"a":1,"a":2,"b":3}"#, r#"{"a":1,"b":3,"b":3}"#, false);
}

#[test]
fn what_is_not_json_is_the_same_only_as_the_same_bytes() {
    let deep = "[".repeat(JSON_DEPTH_MAX + 1) + &"]".repeat(JSON_DEPTH_MAX + 1);
    let highest = "[".repeat(JSON_DEPTH_MAX) + &"]".repeat(JSON_DEPTH_MAX);
    check(&highest, &format!(" {highest}"), true);
    for text in ["", "{", "nul", "\"\\", "\"\\u12", "[1,", "1e", "-", &deep] {
        check(text, text, true);
        check(text, &format!(" {text}"), false);
        check(text, "1", false);
    }
    assert!(!is_same_json(b"\"\xff\"", b" \"\xff\""));
}

fn random() -> StdRng {
    let seed = std::env::var("QUIPU_SEED").ok();
    let seed = seed.map_or_else(rand::random, |seed| {
        seed.parse().expect("QUIPU_SEED is a number")
    });
    eprintln!("replay with QUIPU_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Returns a number with few digits, so that equal numbers occur often.
fn any_number(random: &mut StdRng) -> String {
    let mut text = String::new();
    if random.random_bool(0.3) {
        text.push('-');
    }
    let digits = |random: &mut StdRng, least: usize| {
        let len = random.random_range(least..=5);
        let digit = |_| char::from(b'0' + [0, 0, 0, 1, 9][random.random_range(0..5)]);
        (0..len).map(digit).collect::<String>()
    };
    let whole = digits(random, 1);
    let whole = whole.trim_start_matches('0');
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if random.random_bool(0.5) {
        text.push('.');
        text.push_str(&digits(random, 1));
    }
    if random.random_bool(0.5) {
        let sign = ["", "+", "-"][random.random_range(0..3)];
        text.push_str(&format!("e{sign}{}", random.random_range(0..7)));
    }
    text
}

/// Returns the number times ten to the 20th, digit by digit.
fn decimal(text: &str) -> (bool, String) {
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i32 = exponent.parse().unwrap();
    let zeros = 20 + exponent - i32::try_from(fraction.len()).unwrap();
    let digits = format!(
        "{whole}{fraction}{}",
        "0".repeat(usize::try_from(zeros).unwrap())
    );
    let digits = digits.trim_start_matches('0').to_owned();
    (is_negative && !digits.is_empty(), digits)
}

#[test]
fn numbers_agree_with_a_comparison_digit_by_digit() {
    let mut random = random();
    let mut same = 0;
    for _ in 0..200_000 {
        let (one, other) = (any_number(&mut random), any_number(&mut random));
        let is_same = decimal(&one) == decimal(&other);
        same += usize::from(is_same);
        check(&one, &other, is_same);
    }
    assert!(same > 1_000, "{same}");
}

/// A value that each call of `spelled` writes differently.
#[derive(Clone)]
enum Value {
    Word(&'static str),
    /// Digits, and the position of the decimal point.
    Number(String, i32),
    String(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

fn any_value(random: &mut StdRng, depth: usize) -> Value {
    let kinds = if depth == 0 { 3 } else { 5 };
    match random.random_range(0..kinds) {
        0 => Value::Word(["null", "true", "false"][random.random_range(0..3)]),
        1 => {
            let digits: String = (0..random.random_range(1..25))
                .map(|_| char::from(b'1' + random.random_range(0..9)))
                .collect();
            Value::Number(digits, random.random_range(-30..30))
        }
        2 => Value::String(any_string(random)),
        3 => Value::Array(
            (0..random.random_range(0..4))
                .map(|_| any_value(random, depth - 1))
                .collect(),
        ),
        _ => Value::Object(
            (0..random.random_range(0..5))
                .map(|_| (any_string(random), any_value(random, depth - 1)))
                .collect(),
        ),
    }
}

fn any_string(random: &mut StdRng) -> String {
    let characters = ['a', 'b', '"', '\\', '\n', 'é', '😀', '}', ',', ':'];
    (0..random.random_range(0..3))
        .map(|_| characters[random.random_range(0..characters.len())])
        .collect()
}

fn spelled(random: &mut StdRng, value: &Value) -> String {
    let text = match value {
        Value::Word(word) => (*word).to_owned(),
        Value::Number(digits, exponent) => {
            let shift = random.random_range(0..=digits.len());
            let (whole, fraction) = digits.split_at(shift);
            let whole = if whole.is_empty() { "0" } else { whole };
            let zeros = "0".repeat(random.random_range(0..4));
            let exponent = exponent + i32::try_from(digits.len() - shift).unwrap();
            let sign = if exponent < 0 {
                ""
            } else {
                ["", "+"][random.random_range(0..2)]
            };
            format!("{whole}.{fraction}0{zeros}E{sign}{exponent}")
        }
        Value::String(text) => spelled_string(random, text),
        Value::Array(elements) => {
            let elements: Vec<_> = elements.iter().map(|it| spelled(random, it)).collect();
            format!("[{}]", elements.join(","))
        }
        Value::Object(members) => {
            let mut order: Vec<usize> = (0..members.len()).collect();
            order.shuffle(random);
            let mut written = Vec::new();
            let mut is_taken = vec![false; members.len()];
            for name in order.into_iter().map(|at| &members[at].0) {
                // Members with the same name keep their order.
                let is_next =
                    |(at, other): &(usize, &(String, Value))| !is_taken[*at] && other.0 == *name;
                let (at, (_, value)) = members.iter().enumerate().find(is_next).unwrap();
                is_taken[at] = true;
                let name = spelled_string(random, name);
                written.push(format!("{name}:{}", spelled(random, value)));
            }
            format!("{{{}}}", written.join(","))
        }
    };
    let space = |random: &mut StdRng| ["", " ", "\n\t"][random.random_range(0..3)];
    format!("{}{text}{}", space(random), space(random))
}

fn spelled_string(random: &mut StdRng, text: &str) -> String {
    let mut written = String::from("\"");
    for character in text.chars() {
        if random.random_bool(0.5) || matches!(character, '"' | '\\' | '\n') {
            for unit in character.encode_utf16(&mut [0; 2]) {
                written.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            written.push(character);
        }
    }
    written + "\""
}

/// Changes the value into a different one.
fn change(random: &mut StdRng, value: &mut Value) {
    match value {
        Value::Word(word) => *word = if *word == "null" { "true" } else { "null" },
        Value::Number(digits, exponent) => {
            if random.random_bool(0.2) {
                *exponent += 1;
            } else {
                let at = random.random_range(0..digits.len());
                let other = if &digits[at..=at] == "9" { "8" } else { "9" };
                digits.replace_range(at..=at, other);
            }
        }
        Value::String(text) => text.push('x'),
        Value::Array(elements) => match elements.len() {
            0 => elements.push(Value::Word("null")),
            len => {
                let at = random.random_range(0..len);
                change(random, &mut elements[at]);
            }
        },
        Value::Object(members) => match members.len() {
            0 => members.push((String::new(), Value::Word("null"))),
            len => {
                let at = random.random_range(0..len);
                change(random, &mut members[at].1);
            }
        },
    }
}

#[test]
fn a_value_is_the_same_in_every_spelling_and_no_other_is() {
    let mut random = random();
    for _ in 0..20_000 {
        let value = any_value(&mut random, 4);
        let (one, other) = (spelled(&mut random, &value), spelled(&mut random, &value));
        check(&one, &other, true);
        let mut changed = value.clone();
        change(&mut random, &mut changed);
        let changed = spelled(&mut random, &changed);
        check(&one, &changed, false);
    }
}
