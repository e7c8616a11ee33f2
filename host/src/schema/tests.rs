use serde_json::{Map, Value, json};

use super::*;

fn schema(schema: &Value) -> Schema {
    Schema::new(&schema.to_string()).unwrap()
}

/// Checks data against a schema: nothing, or the mismatch.
#[track_caller]
fn check(rules: &Value, data: &Value, expected: &str) {
    let found = schema(rules).check(data.to_string().as_bytes());
    let found = found.err().map_or_else(String::new, |it| it.to_string());
    assert_eq!(found, expected, "{data}");
}

#[track_caller]
fn unsupported(rules: &Value, expected: &str) {
    let error = Schema::new(&rules.to_string()).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn each_rule_names_the_place_and_what_it_expects() {
    let rules = json!({
        "type": "object",
        "required": ["amount"],
        "additionalProperties": false,
        "properties": {
            "amount": {"type": "integer", "minimum": 0, "exclusiveMaximum": 10},
            "item": {"type": "string", "minLength": 2, "maxLength": 3},
            "lines": {"type": "array", "maxItems": 2, "uniqueItems": true,
                "items": {"enum": ["a", 1, null]}},
            "pair": {"prefixItems": [{"type": "string"}], "items": {"type": "null"}},
            "kind": {"const": "x"},
            "map": {"additionalProperties": {"type": "boolean"}, "minProperties": 1},
            "never": false,
            "not": {"not": {"type": "null"}},
        },
    });
    for (data, expected) in [
        (json!({"amount": 1}), ""),
        (json!({"amount": 1.0}), ""),
        (json!(1), "/: type: expected object, found integer"),
        (json!({}), "/: required: the member \"amount\" is missing"),
        (
            json!({"amount": "1"}),
            "/amount: type: expected integer, found string",
        ),
        (
            json!({"amount": 1.5}),
            "/amount: type: expected integer, found number",
        ),
        (
            json!({"amount": -1}),
            "/amount: minimum: expected at least 0, found -1",
        ),
        (
            json!({"amount": 10}),
            "/amount: exclusiveMaximum: expected less than 10, found 10",
        ),
        (
            json!({"amount": 1, "more": 1}),
            "/: additionalProperties: there is no member \"more\"",
        ),
        (
            json!({"amount": 1, "item": "x"}),
            "/item: minLength: expected at least 2 characters, found 1",
        ),
        (json!({"amount": 1, "item": "äöü"}), ""),
        (
            json!({"amount": 1, "item": "xxxx"}),
            "/item: maxLength: expected at most 3 characters, found 4",
        ),
        (json!({"amount": 1, "lines": ["a", 1.0]}), ""),
        (
            json!({"amount": 1, "lines": ["a", "b"]}),
            "/lines/1: enum: expected \"a\" or 1 or null, found another string",
        ),
        (
            json!({"amount": 1, "lines": [1, 1.0]}),
            "/lines: uniqueItems: an element occurs twice",
        ),
        (
            json!({"amount": 1, "lines": [1, "a", null]}),
            "/lines: maxItems: expected at most 2 elements, found 3",
        ),
        (json!({"amount": 1, "pair": ["x", null]}), ""),
        (
            json!({"amount": 1, "pair": ["x", 1]}),
            "/pair/1: type: expected null, found integer",
        ),
        (
            json!({"amount": 1, "kind": "y"}),
            "/kind: const: expected \"x\", found another string",
        ),
        (
            json!({"amount": 1, "map": {"a/b~c": 1}}),
            "/map/a~1b~0c: type: expected boolean, found integer",
        ),
        (
            json!({"amount": 1, "map": {}}),
            "/map: minProperties: expected at least 1 members, found 0",
        ),
        (
            json!({"amount": 1, "never": 1}),
            "/never: false: nothing is allowed here",
        ),
        (
            json!({"amount": 1, "not": null}),
            "/not: not: it fits what it must not fit",
        ),
    ] {
        check(&rules, &data, expected);
    }
}

#[test]
fn integers_are_compared_without_rounding() {
    let rules = json!({"minimum": 9_007_199_254_740_993_i64});
    check(&rules, &json!(9_007_199_254_740_993_i64), "");
    let expected = "/: minimum: expected at least 9007199254740993, found 9007199254740992";
    check(&rules, &json!(9_007_199_254_740_992_i64), expected);
    check(&json!({"maximum": 0}), &json!(-0.0), "");
    check(&json!({"type": "integer", "minimum": 0}), &json!(1e30), "");
}

#[test]
fn alternatives_name_the_mismatch_that_lies_deepest() {
    let form = |name: &str| {
        json!({"type": "object", "required": ["kind", "n"], "properties":
            {"kind": {"const": name}, "n": {"type": "integer"}}})
    };
    for keyword in ["oneOf", "anyOf"] {
        let rules = json!({keyword: [{"type": "null"}, form("a")]});
        check(&rules, &json!(null), "");
        check(&rules, &json!({"kind": "a", "n": 1}), "");
        let expected = "/n: type: expected integer, found string";
        check(&rules, &json!({"kind": "a", "n": "1"}), expected);
        let expected = format!("/: {keyword}: it fits none of 2 forms");
        check(&rules, &json!(1), &expected);
    }
    let twice = json!({"oneOf": [{"type": "integer"}, {"minimum": 3}]});
    check(&twice, &json!(2), "");
    check(&twice, &json!(4), "/: oneOf: it fits 2 forms, expected 1");
    check(
        &json!({"allOf": [{"minimum": 3}, {"maximum": 4}]}),
        &json!(5),
        "/: maximum: expected at most 4, found 5",
    );
}

#[test]
fn references_are_followed_within_the_schema_only() {
    let list = json!({"$ref": "#/$defs/Node%20of%20a%20list", "$defs": {"Node of a list": {
        "required": ["value"], "properties": {
            "value": {"type": "integer"}, "next": {"$ref": "#/$defs/Node%20of%20a%20list"}}}}});
    check(&list, &json!({"value": 1, "next": {"value": 2}}), "");
    let expected = "/next/next/value: type: expected integer, found boolean";
    check(
        &list,
        &json!({"value": 1, "next": {"value": 2, "next": {"value": true}}}),
        expected,
    );
    check(
        &json!({"items": {"$ref": "#"}, "type": "array"}),
        &json!([[], [[]]]),
        "",
    );
    for remote in [
        "https://example.com/schema.json",
        "other.json#/a",
        "file:///etc/passwd",
    ] {
        unsupported(&json!({"$ref": remote}), "leads out of the schema");
    }
    unsupported(&json!({"$ref": "#/$defs/x"}), "leads nowhere");
    unsupported(&json!({"$ref": "#anchor"}), "leads nowhere");
    unsupported(&json!({"$ref": "#/%zz"}), "leads nowhere");
    unsupported(
        &json!({"$dynamicRef": "#a"}),
        "$dynamicRef is not supported",
    );
}

#[test]
fn a_cycle_without_an_end_is_not_supported() {
    for round in [
        json!({"$ref": "#"}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"allOf":
            [{"$ref": "#/$defs/a"}]}}}),
        json!({"anyOf": [{"type": "null"}, {"not": {"$ref": "#"}}]}),
    ] {
        unsupported(&round, "refers to itself without an end");
    }
}

#[test]
fn keywords_that_are_not_supported_are_named() {
    for keyword in [
        "if",
        "dependentRequired",
        "contains",
        "multipleOf",
        "$anchor",
        "unknown",
    ] {
        unsupported(
            &json!({keyword: {}}),
            &format!("the keyword {keyword} is not supported"),
        );
        let inside = json!({"properties": {"a": {keyword: {}}}});
        unsupported(&inside, &format!("the keyword {keyword} is not supported"));
    }
    for (wrong, expected) in [
        (json!({"type": "text"}), "there is no type text"),
        (json!({"type": []}), "type is not a list of 1 to 7 types"),
        (json!({"minimum": "1"}), "minimum is not a number"),
        (json!({"maxItems": -1}), "maxItems is not a number from 0"),
        (json!({"anyOf": []}), "anyOf is not a list of schemas"),
        (json!({"properties": []}), "properties is not an object"),
        (json!({"required": [1]}), "is not a list of texts"),
        (json!([]), "a schema is an object or a boolean"),
    ] {
        unsupported(&wrong, expected);
    }
    let described = json!({"$schema": "x", "$id": "y", "title": "t", "format": "uint32",
        "examples": [1], "x-unit": "EUR", "default": 1});
    check(&described, &json!("anything"), "");
}

#[test]
fn a_schema_with_a_pattern_refuses_nothing_because_of_it() {
    let rules = json!({"properties": {
        "code": {"type": "string", "pattern": "^(a+)+$"},
        "map": {"patternProperties": {"^[0-9]+$": {"type": "integer"}},
            "additionalProperties": false},
        "either": {"oneOf": [{"pattern": "^a"}, {"pattern": "^b"}]},
        "no": {"not": {"pattern": "^a"}},
    }});
    assert!(schema(&rules).is_partial());
    let fits = json!({"code": "b", "map": {"1": 2}, "either": "a", "no": "b"});
    check(&rules, &fits, "");
    check(
        &rules,
        &json!({"code": 1}),
        "/code: type: expected string, found integer",
    );
    assert!(!schema(&json!({"type": "string"})).is_partial());
}

#[test]
fn the_size_of_a_schema_is_bounded() {
    let title = |bytes: usize| json!({"title": "x".repeat(bytes)});
    schema(&title(60_000));
    unsupported(&title(BYTES_MAX), "bytes, more than 65536");
    let parts = |count: usize| json!({"prefixItems": vec![json!({}); count]});
    schema(&parts(NODES_MAX - 1));
    unsupported(&parts(NODES_MAX), "more than 2000 parts");
    let deep = format!("{}{}", "{\"items\":".repeat(1_000), "}".repeat(1_000));
    let error = Schema::new(&deep).unwrap_err().to_string();
    assert!(error.contains("it is not JSON"), "{error}");
    let mut chain: Map<String, Value> = (0..1_900)
        .map(|n| {
            (
                format!("d{n}"),
                json!({"$ref": format!("#/$defs/d{}", n + 1)}),
            )
        })
        .collect();
    chain.insert("d1900".to_owned(), json!({"type": "null"}));
    let chain = json!({"$ref": "#/$defs/d0", "$defs": chain});
    let expected = "/: size: its check takes more than 1000000 steps or 600 levels";
    check(&chain, &json!(null), expected);
}

/// The number of checks would double with each level.
#[test]
fn the_work_of_a_check_is_bounded() {
    let mut defs: Map<String, Value> = (0..60)
        .map(|n| {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            (format!("d{n}"), json!({"anyOf": [next, next]}))
        })
        .collect();
    defs.insert("d60".to_owned(), json!({"type": "string"}));
    let expected = "/: size: its check takes more than 1000000 steps or 600 levels";
    let wide = json!({"$ref": "#/$defs/d0", "$defs": defs});
    check(&wide, &json!("x"), "");
    check(&wide, &json!(1), expected);
    let recursive = json!({"properties": {"a": {"oneOf": [{"$ref": "#"}, {"$ref": "#"}]}}});
    let data = (0..60).fold(json!({}), |inner, _| json!({"a": inner}));
    check(&recursive, &data, expected);
    let values: Vec<Value> = (0..10_000).map(|n| json!(n)).collect();
    let all = json!({"items": {"enum": values}});
    let data = json!((0..10_000).rev().collect::<Vec<i32>>());
    check(&all, &data, expected);
}

#[test]
fn large_data_that_match_are_checked() {
    let rules = json!({"items": {"type": "object", "required": ["n"],
        "properties": {"n": {"type": "integer"}}}});
    let data: Vec<Value> = (0..100_000).map(|n| json!({"n": n})).collect();
    check(&rules, &json!(data), "");
    let twice = json!({"uniqueItems": true, "items": {"type": "integer"}});
    let data: Vec<i32> = (0..100_000).collect();
    check(&twice, &json!(data), "");
    check(
        &twice,
        &json!([data, vec![5]].concat()),
        "/: uniqueItems: an element occurs twice",
    );
}

#[test]
fn data_that_cannot_be_read_do_not_match() {
    for data in ["{", "", "1e400"] {
        let mismatch = schema(&json!({})).check(data.as_bytes()).unwrap_err();
        assert_eq!((&*mismatch.path, mismatch.rule), ("/", "type"), "{data}");
    }
}
