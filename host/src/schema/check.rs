//! Checks data against a compiled schema.

use std::collections::HashSet;
use std::fmt::Write;

use serde_json::{Map, Value};

use super::compile::{shortened, size};
use super::number::Number;
use super::{Checked, Choices, Kind, Mismatch, Node, Place, STEPS_MAX, Schema};

/// Deepest nesting of schemas and data in one check.
const DEPTH_MAX: usize = 600;
/// Steps that a description of a mismatch counts as.
const MISMATCH_STEPS: usize = 20;
/// Longest name of a member, and longest path, in an error.
const NAME_CHARS_MAX: usize = 64;
const PATH_BYTES_MAX: usize = 500;

impl Schema {
    /// Checks a JSON text.
    ///
    /// # Errors
    /// At the first place that does not match. Data that take more than [`STEPS_MAX`] steps do not
    /// match either.
    pub fn check(&self, data: &[u8]) -> Result<(), Mismatch> {
        self.check_counted(data).mismatch.map_or(Ok(()), Err)
    }

    /// Checks a JSON text as [`check`](Self::check) does, and counts the steps.
    pub fn check_counted(&self, data: &[u8]) -> Checked {
        let mut checker = Checker {
            nodes: &self.nodes,
            steps: STEPS_MAX,
            depth: 0,
            path: Vec::new(),
        };
        let data: Value = match serde_json::from_slice(data) {
            Ok(data) => data,
            Err(error) => {
                let mismatch = checker.mismatch("type", format!("it can't be read: {error}"));
                return Checked {
                    mismatch: Some(mismatch),
                    steps: 1,
                };
            }
        };
        let mismatch = match checker.check(0, &data) {
            Ok(()) => None,
            Err(Stop::Mismatch(mismatch)) => Some(*mismatch),
            Err(Stop::Excess) => {
                checker.path.clear();
                checker.steps = 0;
                let text =
                    format!("its check takes more than {STEPS_MAX} steps or {DEPTH_MAX} levels");
                Some(checker.mismatch("size", text))
            }
        };
        Checked {
            mismatch,
            steps: STEPS_MAX - checker.steps,
        }
    }
}

/// Why a check ends.
enum Stop {
    Mismatch(Box<Mismatch>),
    /// It takes too many steps, or is nested too deep.
    Excess,
}

type Outcome = Result<(), Stop>;

/// A step from a value to one in it.
#[derive(Clone, Copy)]
enum Step<'a> {
    Member(&'a str),
    Element(usize),
}

struct Checker<'a> {
    nodes: &'a [Node],
    steps: usize,
    depth: usize,
    path: Vec<Step<'a>>,
}

impl<'a> Checker<'a> {
    /// Counts steps.
    fn take(&mut self, steps: usize) -> Outcome {
        self.steps = self.steps.checked_sub(steps).ok_or(Stop::Excess)?;
        Ok(())
    }

    fn check(&mut self, place: Place, value: &'a Value) -> Outcome {
        self.take(1)?;
        if self.depth == DEPTH_MAX {
            return Err(Stop::Excess);
        }
        self.depth += 1;
        let checked = self.check_node(&self.nodes[place], value);
        self.depth -= 1;
        checked
    }

    fn check_node(&mut self, node: &'a Node, value: &'a Value) -> Outcome {
        if node.is_never {
            return self.fails("false", || "nothing is allowed here".to_owned());
        }
        self.types(node, value)?;
        for choices in &node.choices {
            self.choice(choices, value)?;
        }
        match value {
            Value::Number(number) => self.number(node, Number::of(number))?,
            Value::String(text) => self.text(node, text)?,
            Value::Array(elements) => self.elements(node, elements)?,
            Value::Object(members) => self.members(node, members)?,
            Value::Null | Value::Bool(_) => {}
        }
        if let Some(place) = node.reference {
            self.check(place, value)?;
        }
        for place in &node.all {
            self.check(*place, value)?;
        }
        self.any(node, value)?;
        self.one(node, value)?;
        self.not(node, value)
    }

    fn types(&mut self, node: &Node, value: &Value) -> Outcome {
        let found = Kind::of(value);
        if node.types.is_empty() || node.types.iter().any(|wanted| found.is(*wanted)) {
            return Ok(());
        }
        self.fails("type", || {
            let names: Vec<_> = node.types.iter().map(|kind| kind.as_str()).collect();
            format!("expected {}, found {}", names.join(" or "), found.as_str())
        })
    }

    fn choice(&mut self, choices: &Choices, value: &Value) -> Outcome {
        let is_one = match value {
            Value::String(text) => {
                self.take(text.len() / 16)?;
                choices.texts.contains(text.as_str())
            }
            other => {
                self.take(choices.steps)?;
                choices.others.iter().any(|choice| is_same(choice, other))
            }
        };
        if is_one {
            return Ok(());
        }
        let found = match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
            other => format!("another {}", Kind::of(other).as_str()),
        };
        self.fails(choices.rule, || {
            format!("expected {}, found {found}", choices.expected)
        })
    }

    fn number(&mut self, node: &Node, found: Number) -> Outcome {
        for (rule, bound, limit) in &node.numbers {
            if !bound.admits(found.compare(*limit)) {
                let bound = bound.as_str();
                return self.fails(rule, || format!("expected {bound} {limit}, found {found}"));
            }
        }
        Ok(())
    }

    fn text(&mut self, node: &Node, text: &str) -> Outcome {
        if node
            .lengths
            .iter()
            .all(|(_, kind, ..)| *kind != Kind::String)
        {
            return Ok(());
        }
        self.take(text.len() / 16)?;
        self.length(node, Kind::String, text.chars().count(), "characters")
    }

    fn length(&mut self, node: &Node, of: Kind, found: usize, unit: &str) -> Outcome {
        for (rule, kind, bound, limit) in &node.lengths {
            if *kind == of && !bound.admits((found as u64).cmp(limit)) {
                let bound = bound.as_str();
                let text = || format!("expected {bound} {limit} {unit}, found {found}");
                return self.fails(rule, text);
            }
        }
        Ok(())
    }

    fn elements(&mut self, node: &'a Node, elements: &'a [Value]) -> Outcome {
        self.length(node, Kind::Array, elements.len(), "elements")?;
        let places = node.prefix.iter().map(|place| Some(*place));
        let places = places.chain(std::iter::repeat(node.items));
        if node.items.is_some() || !node.prefix.is_empty() {
            for (index, (element, place)) in elements.iter().zip(places).enumerate() {
                let Some(place) = place else { break };
                self.inside(Step::Element(index), place, element)?;
            }
        }
        if node.is_unique {
            self.unique(elements)?;
        }
        Ok(())
    }

    fn unique(&mut self, elements: &[Value]) -> Outcome {
        let mut seen = HashSet::with_capacity(elements.len());
        for element in elements {
            self.take(1 + size(element))?;
            let mut text = String::new();
            write_canonical(element, &mut text);
            if !seen.insert(text) {
                return self.fails("uniqueItems", || "an element occurs twice".to_owned());
            }
        }
        Ok(())
    }

    fn members(&mut self, node: &'a Node, members: &'a Map<String, Value>) -> Outcome {
        self.length(node, Kind::Object, members.len(), "members")?;
        self.take(node.required.len())?;
        for name in &node.required {
            if !members.contains_key(&**name) {
                let name = shortened(name);
                return self.fails("required", || format!("the member {name:?} is missing"));
            }
        }
        if node.properties.is_empty() && node.others.is_none() {
            return Ok(());
        }
        for (name, value) in members {
            self.take(1 + name.len() / 16)?;
            let named = node.properties.get(name.as_str()).copied();
            let Some(place) = named.or(node.others) else {
                continue;
            };
            if named.is_none() && self.nodes[place].is_never {
                let name = shortened(name);
                let text = || format!("there is no member {name:?}");
                return self.fails("additionalProperties", text);
            }
            self.inside(Step::Member(name), place, value)?;
        }
        Ok(())
    }

    fn inside(&mut self, step: Step<'a>, place: Place, value: &'a Value) -> Outcome {
        self.path.push(step);
        let checked = self.check(place, value);
        self.path.pop();
        checked
    }

    fn any(&mut self, node: &'a Node, value: &'a Value) -> Outcome {
        let mut nearest: Option<Box<Mismatch>> = None;
        for place in &node.any {
            match self.attempt(*place, value)? {
                None => return Ok(()),
                Some(found) => nearest = nearer(nearest, found),
            }
        }
        match nearest {
            None => Ok(()),
            nearest => self.none_fits("anyOf", node.any.len(), nearest),
        }
    }

    fn one(&mut self, node: &'a Node, value: &'a Value) -> Outcome {
        let (mut nearest, mut fitting) = (None, 0_usize);
        for place in &node.one {
            match self.attempt(*place, value)? {
                None => fitting += 1,
                Some(found) => nearest = nearer(nearest, found),
            }
        }
        match (fitting, node.one.len()) {
            (1, _) | (_, 0) => Ok(()),
            (0, forms) => self.none_fits("oneOf", forms, nearest),
            _ => self.fails("oneOf", || format!("it fits {fitting} forms, expected 1")),
        }
    }

    fn not(&mut self, node: &'a Node, value: &'a Value) -> Outcome {
        match node.not {
            Some(place) if self.attempt(place, value)?.is_none() => {
                self.fails("not", || "it fits what it must not fit".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Checks one of several forms. Returns why it does not fit.
    fn attempt(&mut self, place: Place, value: &'a Value) -> Result<Option<Box<Mismatch>>, Stop> {
        match self.check(place, value) {
            Ok(()) => Ok(None),
            Err(Stop::Mismatch(mismatch)) => Ok(Some(mismatch)),
            Err(Stop::Excess) => Err(Stop::Excess),
        }
    }

    /// Reports that no form fits; the reason of the one that fits best if the mismatch is within
    /// the value.
    fn none_fits(
        &mut self,
        rule: &'static str,
        forms: usize,
        nearest: Option<Box<Mismatch>>,
    ) -> Outcome {
        if let Some(mismatch) = nearest
            && (mismatch.depth > self.path.len() || forms == 1)
        {
            return Err(Stop::Mismatch(mismatch));
        }
        self.fails(rule, || format!("it fits none of {forms} forms"))
    }

    fn fails(&mut self, rule: &'static str, text: impl FnOnce() -> String) -> Outcome {
        self.take(MISMATCH_STEPS)?;
        Err(Stop::Mismatch(Box::new(self.mismatch(rule, text()))))
    }

    fn mismatch(&self, rule: &'static str, text: String) -> Mismatch {
        let mut path = String::new();
        for step in &self.path {
            if path.len() > PATH_BYTES_MAX {
                path.push_str("/…");
                break;
            }
            path.push('/');
            match step {
                Step::Element(index) => _ = write!(path, "{index}"),
                Step::Member(name) => {
                    for character in name.chars().take(NAME_CHARS_MAX) {
                        match character {
                            '~' => path.push_str("~0"),
                            '/' => path.push_str("~1"),
                            other => path.push(other),
                        }
                    }
                }
            }
        }
        if path.is_empty() {
            path.push('/');
        }
        Mismatch {
            path,
            rule,
            text,
            depth: self.path.len(),
        }
    }
}

/// The mismatch that lies deeper, the first of two equal ones.
fn nearer(known: Option<Box<Mismatch>>, found: Box<Mismatch>) -> Option<Box<Mismatch>> {
    match known {
        Some(known) if known.depth >= found.depth => Some(known),
        _ => Some(found),
    }
}

/// Whether two values are equal: `1` is `1.0`.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            Number::of(one).compare(Number::of(other)).is_eq()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(one), Value::Object(other)) => {
            let is_in = |(name, value): (&String, &Value)| {
                other.get(name).is_some_and(|found| is_same(value, found))
            };
            one.len() == other.len() && one.iter().all(is_in)
        }
        (one, other) => one == other,
    }
}

/// Writes a value so that equal values have equal texts.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Number(number) => match Number::of(number) {
            Number::Double(double) if double.fract() == 0.0 && double.abs() < 1e18 => {
                _ = write!(out, "{}", double as i64);
            }
            number => _ = write!(out, "{number}"),
        },
        Value::Array(elements) => {
            out.push('[');
            for element in elements {
                write_canonical(element, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (name, value) in members {
                _ = write!(out, "{name:?}:");
                write_canonical(value, out);
                out.push(',');
            }
            out.push('}');
        }
        other => _ = write!(out, "{other}"),
    }
}
