//! A guest whose manifest, upcaster steps and projections are written by a test: see the package
//! `probe`.

use std::path::Path;
use std::sync::OnceLock;

use quipu_guest_build::{Options, build};
use serde_json::{Value, json};

static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();

/// A component under construction.
#[derive(Debug, Clone)]
pub struct Probe(Value);

/// A decider of a category, with version 1.0.0, which names no event.
pub fn probe(name: &str) -> Probe {
    Probe(json!({
        "name": name,
        "version": "1.0.0",
        "state": 1,
        "migrations": [],
        "events": [],
        "unchanged": [],
        "document_schemas": [],
        "steps": [],
        "projections": [],
        "snapshots": "as-it-is",
    }))
}

impl Probe {
    /// Declares that it writes and reads a type in a schema version.
    pub fn event(self, name: &str, version: u32) -> Self {
        self.event_once_called(name, version, &[])
    }

    /// Declares a type that had other names.
    pub fn event_once_called(mut self, name: &str, version: u32, aliases: &[&str]) -> Self {
        self.list("events").push(json!([name, version, aliases]));
        self
    }

    /// Declares the JSON Schema of the command `note`, which is a text, so that it may be none.
    pub fn schema(self, schema: &str) -> Self {
        self.with("schema", json!(schema))
    }

    /// Declares the JSON Schema of every event, which is a text, so that it may be none.
    pub fn event_schema(self, schema: &str) -> Self {
        self.with("event_schema", json!(schema))
    }

    /// Declares a step that lifts a type from a version to others.
    pub fn step(self, category: &str, from: (&str, u32), to: &[(&str, u32)]) -> Self {
        self.step_that(category, from, to, "lift")
    }

    /// The same, with an effect for a body that contains the word `bad`: `trap`, `bad-event`; or
    /// for any body: `same` (the event stays as it is), `twice` (the mark is written twice),
    /// `undeclared`, `too-few`.
    pub fn step_that(
        mut self,
        category: &str,
        (name, from): (&str, u32),
        to: &[(&str, u32)],
        does: &str,
    ) -> Self {
        let step =
            json!({"category": category, "type": name, "from": from, "to": to, "does": does});
        self.list("steps").push(step);
        self
    }

    /// Defines a projection: of every event of its own category, with one document per stream,
    /// unless `other` has other members: `sources` `[{"category", "events"?: [["type",
    /// version]]}]`, `tags`, `annotations`, `indexes` `[{"name", "pointer", "kind"}]`, `keys`
    /// (`stream`, `one`: the single key `all`, `body`: the keys that the bodies name), `does`
    /// (`fail`: every call fails, `heal`: ignores `bad`, `spell-otherwise`: writes the count 1 as
    /// 10e-1).
    pub fn projection(mut self, name: &str, version: u32, other: Value) -> Self {
        let own = json!([{"category": self.0["name"]}]);
        let mut projection = json!({"name": name, "version": version, "sources": own});
        let Value::Object(other) = other else {
            panic!("{other} is no object");
        };
        projection.as_object_mut().unwrap().extend(other);
        self.list("projections").push(projection);
        self
    }

    /// Declares since which version the bodies of a type have had their form.
    pub fn unchanged(mut self, name: &str, since: u32) -> Self {
        self.list("unchanged").push(json!([name, since]));
        self
    }

    /// Declares the JSON Schema of a projection's documents, which is a text, so that it may be none.
    pub fn document_schema(mut self, projection: &str, schema: &str) -> Self {
        self.list("document_schemas")
            .push(json!([projection, schema]));
        self
    }

    /// Whether it defines a projection.
    pub fn defines(&self, projection: &str) -> bool {
        let all = self.0["projections"].as_array().unwrap();
        all.iter().any(|it| it["name"] == projection)
    }

    /// Version of the component.
    pub fn version(self, version: &str) -> Self {
        self.with("version", json!(version))
    }

    /// The version of its snapshots, and the migrations that lead to it.
    pub fn state(self, version: u32, migrations: &[(u32, u32)]) -> Self {
        self.with("state", json!(version))
            .with("migrations", json!(migrations))
    }

    /// The effect on snapshots: `as-it-is`, `none`, `refuse`, `trap`, `lie`.
    pub fn snapshots(self, does: &str) -> Self {
        self.with("snapshots", json!(does))
    }

    /// The effect of deciding on a body with the word `odd`: `other`, `reject`, `bad-command`,
    /// `trap`; or on any body: `slow`, `moody`, `rename` (older names of types mean the newer
    /// ones).
    pub fn decides(self, does: &str) -> Self {
        self.with("decides", json!(does))
    }

    /// Traps on folding a body with the word `rare`.
    pub fn traps_on_rare(self) -> Self {
        self.with("folds", json!("trap"))
    }

    /// Keeps every rule of `quipu conform` but this one; with `none`, every rule.
    pub fn breaks(self, rule: &str) -> Self {
        self.with("breaks", json!(rule))
    }

    /// The component.
    pub fn component(&self) -> Vec<u8> {
        let mut component = COMPONENT.get_or_init(built).clone();
        let at = component
            .windows(probe::MARK.len())
            .position(|window| window == probe::MARK)
            .expect("the component has room for its configuration");
        let text = self.0.to_string();
        let room = &mut component[at + probe::MARK.len()..at + probe::BYTES];
        assert!(text.len() <= room.len(), "the configuration is too long");
        room.fill(b' ');
        room[..text.len()].copy_from_slice(text.as_bytes());
        component
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.0[name] = value;
        self
    }

    fn list(&mut self, name: &str) -> &mut Vec<Value> {
        self.0[name].as_array_mut().unwrap()
    }
}

fn built() -> Vec<u8> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("probe");
    let options = Options {
        locked: true,
        ..Options::default()
    };
    let built = build(&package, &options).unwrap();
    std::fs::read(built.component).unwrap()
}
