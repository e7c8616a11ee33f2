//! From the text of a schema to what is checked.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::{Map, Value};

use super::keywords::{DESCRIPTIONS, UNCHECKED};
use super::number::Number;
use super::{BYTES_MAX, Bound, Choices, Kind, NODES_MAX, Node, Place, Schema, Unsupported};

/// Highest number of values that an error lists.
const LISTED_MAX: usize = 8;
/// Longest text of a value in an error, in bytes.
const LISTED_BYTES_MAX: usize = 100;

type Result<T> = std::result::Result<T, Unsupported>;

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// When it is not a JSON Schema, is too long, has a keyword that is not supported, refers to
    /// something outside, or refers to itself without an end.
    pub fn new(text: &str) -> Result<Self> {
        if text.len() > BYTES_MAX {
            let bytes = text.len();
            return Err(Unsupported(format!("{bytes} bytes, more than {BYTES_MAX}")));
        }
        let root: Value = serde_json::from_str(text)
            .map_err(|error| Unsupported(format!("it is not JSON: {error}")))?;
        let mut compiler = Compiler {
            root: &root,
            nodes: Vec::new(),
            referred: HashMap::new(),
            waiting: VecDeque::new(),
            is_partial: false,
        };
        compiler.later(&root)?;
        // References are compiled later instead of in place, so that a chain of them takes no
        // stack.
        while let Some((place, schema)) = compiler.waiting.pop_front() {
            compiler.nodes[place] = compiler.node(schema, place == 0)?;
        }
        let mut schema = Self {
            nodes: compiler.nodes,
            is_partial: compiler.is_partial,
        };
        schema.check_ends()?;
        if schema.is_partial {
            schema.loosen();
        }
        Ok(schema)
    }

    /// Checks that no schema leads to itself at the same place of the data, which would never end.
    fn check_ends(&self) -> Result<()> {
        let mut incoming = vec![0_usize; self.nodes.len()];
        for place in self.nodes.iter().flat_map(Node::in_place) {
            incoming[place] += 1;
        }
        let places = 0..self.nodes.len();
        let mut free: Vec<Place> = places.filter(|place| incoming[*place] == 0).collect();
        let mut ended = 0;
        while let Some(place) = free.pop() {
            ended += 1;
            for next in self.nodes[place].in_place() {
                incoming[next] -= 1;
                if incoming[next] == 0 {
                    free.push(next);
                }
            }
        }
        if ended < self.nodes.len() {
            return Err(Unsupported("it refers to itself without an end".to_owned()));
        }
        Ok(())
    }

    /// Makes a schema with unchecked keywords accept more, never less, than it says: what matches
    /// only because a keyword was left out must not count against the data.
    fn loosen(&mut self) {
        for node in &mut self.nodes {
            node.not = None;
            if !node.one.is_empty() && node.any.is_empty() {
                node.any = std::mem::take(&mut node.one);
            }
            node.one.clear();
        }
    }
}

impl Node {
    /// The schemas that are checked on the same value.
    fn in_place(&self) -> impl Iterator<Item = Place> {
        let lists = [&self.all, &self.any, &self.one];
        let all = lists.into_iter().flatten().copied();
        all.chain(self.reference).chain(self.not)
    }
}

struct Compiler<'a> {
    root: &'a Value,
    nodes: Vec<Node>,
    /// The places of schemas to which references lead.
    referred: HashMap<&'a str, Place>,
    waiting: VecDeque<(Place, &'a Value)>,
    is_partial: bool,
}

impl<'a> Compiler<'a> {
    /// Reserves a place for a schema that is compiled later.
    fn later(&mut self, schema: &'a Value) -> Result<Place> {
        let place = self.nodes.len();
        if place == NODES_MAX {
            return Err(Unsupported(format!("it has more than {NODES_MAX} parts")));
        }
        self.nodes.push(Node::default());
        self.waiting.push_back((place, schema));
        Ok(place)
    }

    fn all_later(&mut self, keyword: &str, schemas: &'a Value) -> Result<Vec<Place>> {
        let Some(schemas) = schemas.as_array().filter(|all| !all.is_empty()) else {
            return Err(wrong(keyword, "a list of schemas"));
        };
        schemas.iter().map(|schema| self.later(schema)).collect()
    }

    fn referred(&mut self, reference: &'a Value) -> Result<Place> {
        let Some(reference) = reference.as_str() else {
            return Err(wrong("$ref", "a text"));
        };
        if let Some(place) = self.referred.get(reference) {
            return Ok(*place);
        }
        let shown = shortened(reference);
        let Some(pointer) = reference.strip_prefix('#') else {
            return Err(Unsupported(format!(
                "$ref {shown} leads out of the schema; copy the definition into $defs"
            )));
        };
        let target = decoded(pointer).and_then(|pointer| self.root.pointer(&pointer));
        let Some(target) = target else {
            return Err(Unsupported(format!("$ref {shown} leads nowhere")));
        };
        let place = match pointer.is_empty() {
            true => 0,
            false => self.later(target)?,
        };
        self.referred.insert(reference, place);
        Ok(place)
    }

    fn node(&mut self, schema: &'a Value, is_root: bool) -> Result<Node> {
        let mut node = Node::default();
        let schema = match schema {
            Value::Bool(is_all) => {
                node.is_never = !is_all;
                return Ok(node);
            }
            Value::Object(schema) => schema,
            _ => return Err(Unsupported("a schema is an object or a boolean".to_owned())),
        };
        for (keyword, value) in schema {
            self.keyword(&mut node, keyword, value, is_root)?;
        }
        if schema.contains_key("patternProperties") {
            // Which members it concerns is not known.
            node.others = None;
        }
        Ok(node)
    }

    fn keyword(
        &mut self,
        node: &mut Node,
        keyword: &'a str,
        value: &'a Value,
        is_root: bool,
    ) -> Result<()> {
        match keyword {
            "$ref" => node.reference = Some(self.referred(value)?),
            "type" => node.types = types(value)?,
            "const" => node
                .choices
                .push(choices("const", std::slice::from_ref(value))),
            "enum" => match value.as_array() {
                Some(values) => node.choices.push(choices("enum", values)),
                None => return Err(wrong(keyword, "a list")),
            },
            "required" => node.required = texts(value)?,
            "properties" => {
                for (name, schema) in object(keyword, value)? {
                    let place = self.later(schema)?;
                    node.properties.insert(name.as_str().into(), place);
                }
            }
            "additionalProperties" => node.others = Some(self.later(value)?),
            "prefixItems" => node.prefix = self.all_later(keyword, value)?,
            "items" => node.items = Some(self.later(value)?),
            "uniqueItems" => node.is_unique = value == &Value::Bool(true),
            "allOf" => node.all = self.all_later(keyword, value)?,
            "anyOf" => node.any = self.all_later(keyword, value)?,
            "oneOf" => node.one = self.all_later(keyword, value)?,
            "not" => node.not = Some(self.later(value)?),
            "$id" if is_root => {}
            _ if UNCHECKED.contains(&keyword) => self.is_partial = true,
            _ if DESCRIPTIONS.contains(&keyword) || keyword.starts_with("x-") => {}
            _ => return bound(node, keyword, value),
        }
        Ok(())
    }
}

/// A keyword that bounds numbers or lengths.
fn bound(node: &mut Node, keyword: &str, value: &Value) -> Result<()> {
    use Bound::{AtLeast, AtMost, LessThan, MoreThan};
    const NUMBERS: [(&str, Bound); 4] = [
        ("minimum", AtLeast),
        ("maximum", AtMost),
        ("exclusiveMinimum", MoreThan),
        ("exclusiveMaximum", LessThan),
    ];
    const LENGTHS: [(&str, Kind, Bound); 6] = [
        ("minLength", Kind::String, AtLeast),
        ("maxLength", Kind::String, AtMost),
        ("minItems", Kind::Array, AtLeast),
        ("maxItems", Kind::Array, AtMost),
        ("minProperties", Kind::Object, AtLeast),
        ("maxProperties", Kind::Object, AtMost),
    ];
    if let Some((rule, bound)) = NUMBERS.into_iter().find(|it| it.0 == keyword) {
        let Value::Number(number) = value else {
            return Err(wrong(keyword, "a number"));
        };
        node.numbers.push((rule, bound, Number::of(number)));
        return Ok(());
    }
    if let Some((rule, kind, bound)) = LENGTHS.into_iter().find(|it| it.0 == keyword) {
        let Some(length) = value.as_u64() else {
            return Err(wrong(keyword, "a number from 0"));
        };
        node.lengths.push((rule, kind, bound, length));
        return Ok(());
    }
    let keyword = shortened(keyword);
    Err(Unsupported(format!(
        "the keyword {keyword} is not supported"
    )))
}

fn types(value: &Value) -> Result<Vec<Kind>> {
    let names = match value {
        Value::String(name) => vec![name.as_str().into()],
        _ => texts(value)?,
    };
    let kinds = names.iter().map(|name| {
        let kind = Kind::named(name);
        kind.ok_or_else(|| Unsupported(format!("there is no type {}", shortened(name))))
    });
    let kinds = kinds.collect::<Result<Vec<_>>>()?;
    match kinds.len() {
        1..=7 => Ok(kinds),
        _ => Err(wrong("type", "a list of 1 to 7 types")),
    }
}

fn choices(rule: &'static str, values: &[Value]) -> Choices {
    let (texts, others): (Vec<_>, Vec<_>) = values.iter().partition(|value| value.is_string());
    let listed = values.iter().take(LISTED_MAX);
    let listed: Vec<String> = listed.map(|value| shortened(&value.to_string())).collect();
    let expected = match values.len() {
        count if count > LISTED_MAX => format!("one of {count} values"),
        _ => listed.join(" or "),
    };
    Choices {
        rule,
        texts: texts
            .iter()
            .filter_map(|it| it.as_str())
            .map(Into::into)
            .collect(),
        steps: others.iter().map(|value| size(value)).sum(),
        others: others.into_iter().cloned().collect(),
        expected,
    }
}

/// Number of values in a value. As deep as the parser goes.
pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(size).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(size).sum::<usize>(),
        Value::String(text) => 1 + text.len() / 16,
        _ => 1,
    }
}

fn texts(value: &Value) -> Result<Vec<Box<str>>> {
    let texts = value.as_array().into_iter().flatten();
    let texts: Option<HashSet<&str>> = texts.map(Value::as_str).collect();
    match texts {
        Some(texts) if value.is_array() => {
            let mut texts: Vec<Box<str>> = texts.into_iter().map(Into::into).collect();
            texts.sort();
            Ok(texts)
        }
        _ => Err(wrong("a list of names", "a list of texts")),
    }
}

fn object<'a>(keyword: &str, value: &'a Value) -> Result<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| wrong(keyword, "an object"))
}

fn wrong(keyword: &str, expected: &str) -> Unsupported {
    Unsupported(format!("{keyword} is not {expected}"))
}

pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LISTED_BYTES_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Decodes the percent signs of a fragment. None if it is not well-formed.
fn decoded(fragment: &str) -> Option<String> {
    if !fragment.contains('%') {
        return Some(fragment.to_owned());
    }
    let mut bytes = fragment.bytes();
    let mut decoded = Vec::with_capacity(fragment.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(decoded).ok()
}
