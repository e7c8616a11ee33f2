//! Lets a program add data to requests before they are checked, decided and staged.

use std::sync::Arc;

use super::AppendAll;
use crate::model::{Annotations, Command, Context, Invalid, StreamId, add_members};

/// A request as an enricher sees it: with the additions of earlier enrichers, not yet checked.
#[derive(Debug, Clone, Copy)]
pub enum Enrichment<'a> {
    /// A command for a stream.
    Command(&'a StreamId, &'a Command),
    /// A direct append to one or several streams.
    Append(&'a AppendAll),
    /// A stream to be archived, restored or truncated.
    Archive(&'a StreamId, &'a Context),
}

impl<'a> Enrichment<'a> {
    /// Origin of the request.
    pub fn context(&self) -> &'a Context {
        match self {
            Self::Command(_, command) => &command.context,
            Self::Append(append) => &append.context,
            Self::Archive(_, context) => context,
        }
    }
}

/// The additions of an enricher to a request. The default adds nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Additions {
    /// Members for the metadata of the command, or of each event of a direct append. An existing
    /// member keeps its value. Names that begin with `quipu.` are left out.
    pub metadata: Annotations,
    /// Identity of the caller, unless the request contains it.
    pub principal: Option<Arc<str>>,
}

impl Additions {
    fn name_principal(&mut self, context: &mut Context) {
        if context.principal.is_none() {
            context.principal = self.principal.take();
        }
    }
}

type Enricher = dyn Fn(&Enrichment<'_>) -> Additions + Send + Sync;

/// Enrichers, called in the order in which they were added.
#[derive(Clone, Default)]
pub struct Enrichers(Vec<Arc<Enricher>>);

impl Enrichers {
    /// Adds an enricher after the others.
    pub fn add(&mut self, enricher: impl Fn(&Enrichment<'_>) -> Additions + Send + Sync + 'static) {
        self.0.push(Arc::new(enricher));
    }

    pub(super) fn command(&self, stream: &StreamId, command: &mut Command) {
        for enricher in &self.0 {
            let mut additions = enricher(&Enrichment::Command(stream, command));
            additions.name_principal(&mut command.context);
            add_members(&mut command.metadata, &additions.metadata);
        }
    }

    pub(super) fn append(&self, append: &mut AppendAll) {
        for enricher in &self.0 {
            let mut additions = enricher(&Enrichment::Append(append));
            additions.name_principal(&mut append.context);
            let parts = append.streams.iter_mut();
            for event in parts.flat_map(|part| &mut part.events) {
                add_members(&mut event.metadata, &additions.metadata);
            }
        }
    }

    /// Returns the context and the metadata of the event about a truncation.
    pub(super) fn mark(
        &self,
        stream: &StreamId,
        mut context: Context,
    ) -> Result<(Context, Option<bytes::Bytes>), Invalid> {
        let mut metadata = None;
        for enricher in &self.0 {
            let mut additions = enricher(&Enrichment::Archive(stream, &context));
            additions.name_principal(&mut context);
            add_members(&mut metadata, &additions.metadata);
        }
        Ok((context.checked()?, metadata))
    }
}
