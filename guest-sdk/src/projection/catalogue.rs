use super::{Index, Projection, Sources, Stored};
use crate::driver::FoldError;

/// The projections of a component. Their events and documents are JSON.
#[doc(hidden)]
#[derive(Default)]
pub struct Projections(Vec<Box<dyn Run>>);

/// The definition of a projection, as a host receives it.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    pub name: &'static str,
    pub version: u32,
    /// Categories with their types. The empty name means every category.
    pub sources: Vec<(&'static str, Vec<(&'static str, u32)>)>,
    pub tags: bool,
    pub annotations: bool,
    pub indexes: Vec<Index>,
}

/// A document and the event that is to be folded into it.
#[doc(hidden)]
pub struct Work {
    pub key: String,
    pub document: Option<String>,
    pub events: Vec<Stored>,
}

impl Projections {
    /// Adds `P` after those that are there.
    #[must_use]
    pub fn with<P: Projection>(mut self) -> Self {
        let sources = P::sources();
        self.0.push(Box::new(Running::<P> { sources }));
        self
    }

    pub(crate) fn definitions(&self) -> Vec<Definition> {
        self.0.iter().map(|known| known.definition()).collect()
    }

    pub(crate) fn keys(
        &self,
        name: &str,
        events: Vec<Stored>,
    ) -> Result<Vec<Vec<String>>, FoldError> {
        let known = self.named(name)?;
        events.into_iter().map(|event| known.keys(event)).collect()
    }

    pub(crate) fn apply(
        &self,
        name: &str,
        work: Vec<Work>,
    ) -> Result<Vec<Option<String>>, FoldError> {
        let known = self.named(name)?;
        work.into_iter().map(|work| known.apply(work)).collect()
    }

    fn named(&self, name: &str) -> Result<&dyn Run, FoldError> {
        let mut known = self.0.iter();
        let known = known.find(|known| known.name() == name);
        known
            .map(|known| &**known)
            .ok_or_else(|| FoldError::Internal(format!("no projection {name}")))
    }
}

trait Run: Send + Sync {
    fn name(&self) -> &'static str;
    fn definition(&self) -> Definition;
    fn keys(&self, event: Stored) -> Result<Vec<String>, FoldError>;
    fn apply(&self, work: Work) -> Result<Option<String>, FoldError>;
}

struct Running<P: Projection> {
    sources: Sources<P::Event>,
}

impl<P: Projection> Run for Running<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn definition(&self) -> Definition {
        Definition {
            name: P::NAME,
            version: P::VERSION,
            sources: self.sources.named(),
            tags: P::TAGS,
            annotations: P::ANNOTATIONS,
            indexes: P::indexes().as_slice().to_vec(),
        }
    }

    fn keys(&self, event: Stored) -> Result<Vec<String>, FoldError> {
        Ok(P::keys(&self.sources.read(event)?))
    }

    fn apply(&self, work: Work) -> Result<Option<String>, FoldError> {
        let Work {
            key,
            document,
            events,
        } = work;
        let failed = |what: &str, error: serde_json::Error| {
            FoldError::Internal(format!("{} {key} {what}: {error}", P::NAME))
        };
        let mut document: Option<P::Document> = document
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| failed("can't be read", error))?;
        for event in events {
            document = P::apply(document, &key, &self.sources.read(event)?);
        }
        let document = document.map(|document| serde_json::to_string(&document));
        document
            .transpose()
            .map_err(|error| failed("has no JSON form", error))
    }
}
