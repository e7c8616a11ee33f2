//! The JSON Schemas that a component declares for its commands, events and documents.

use std::collections::{BTreeMap, HashMap};

use quipu::model::{Body, ContentType, MessageType, Name};
use quipu::runtime::Manifest;
use quipu::schema::{Mismatch, Schema, Unsupported};

/// Compiled schemas of message types, by canonical type. Types without a schema are not in it.
pub(crate) struct Schemas {
    compiled: HashMap<Name, (u32, Schema)>,
    /// The types with a schema that can't be checked, in the order of the manifest.
    unsupported: Vec<(Name, Unsupported)>,
}

impl Schemas {
    pub(crate) fn new(types: &[MessageType]) -> Self {
        let (mut compiled, mut unsupported) = (HashMap::new(), Vec::new());
        for declared in types.iter().filter(|it| is_declared(it)) {
            let name = declared.name.clone();
            match Schema::new(&declared.json_schema) {
                Ok(schema) => _ = compiled.insert(name, (declared.schema_version, schema)),
                Err(error) => unsupported.push((name, error)),
            }
        }
        Self {
            compiled,
            unsupported,
        }
    }

    /// Checks the data of a message. Data of another schema version than the declared one, data
    /// that is not JSON, and data of a type without a schema that can be checked match.
    ///
    /// # Errors
    /// At the first place that does not match.
    pub(crate) fn check(&self, name: &Name, version: u32, body: &Body) -> Result<(), Mismatch> {
        match self.compiled.get(name) {
            Some((declared, schema))
                if *declared == version && body.content_type() == &ContentType::Json =>
            {
                schema.check(body.bytes())
            }
            _ => Ok(()),
        }
    }

    /// Names each schema that can't be checked, with the reason. `kind` is `command` or `event`.
    /// The category of a decider is the name of its component.
    pub(crate) fn unsupported(&self, component: &str, kind: &str) -> Vec<String> {
        let all = self.unsupported.iter();
        let named = all.map(|(name, error)| {
            format!(
                "component {component}: the schema of {kind} {name} of category {component} can't \
                 be checked: {error}; see {PAGE}"
            )
        });
        named.collect()
    }
}

/// Compiled schemas of documents, by projection.
pub(crate) struct DocumentSchemas<'a> {
    compiled: Vec<(&'a str, Schema)>,
    /// Names each schema that can't be checked, with the reason.
    pub(crate) unsupported: Vec<String>,
}

impl<'a> DocumentSchemas<'a> {
    pub(crate) fn new(manifest: &'a Manifest) -> Self {
        let (mut compiled, mut unsupported) = (Vec::new(), Vec::new());
        for (projection, schema) in manifest.document_schemas() {
            match Schema::new(schema) {
                Ok(schema) => compiled.push((projection, schema)),
                Err(error) => unsupported.push(format!(
                    "component {}: the schema of the documents of projection {projection} can't be \
                     checked: {error}; see {PAGE}",
                    manifest.name
                )),
            }
        }
        Self {
            compiled,
            unsupported,
        }
    }

    /// Checks documents, by projection and key.
    ///
    /// # Errors
    /// At the first place that does not match.
    pub(crate) fn check(
        &self,
        documents: &BTreeMap<String, BTreeMap<String, String>>,
    ) -> Result<(), String> {
        for (projection, schema) in &self.compiled {
            for (key, document) in documents.get(*projection).into_iter().flatten() {
                schema.check(document.as_bytes()).map_err(|mismatch| {
                    format!(
                        "document {key:?} of projection {projection} does not match its schema: \
                         {mismatch}"
                    )
                })?;
            }
        }
        Ok(())
    }
}

/// The page that lists what can be checked.
const PAGE: &str = "docs/src/guests/schemas.md#validation";

/// Names each JSON Schema of a component that can't be checked, with the reason. A host accepts the
/// component, and does not compare data with such a schema.
pub fn unsupported_schemas(manifest: &Manifest) -> Vec<String> {
    let commands = Schemas::new(&manifest.commands);
    let events = Schemas::new(&manifest.events);
    let mut all = commands.unsupported(&manifest.name, "command");
    all.extend(events.unsupported(&manifest.name, "event"));
    all.extend(DocumentSchemas::new(manifest).unsupported);
    all
}

/// Whether a type has a schema.
pub(crate) fn is_declared(message: &MessageType) -> bool {
    !message.json_schema.is_empty() && message.content_type == ContentType::Json
}
