//! What a program adds to requests before they are checked, decided and staged.

use std::sync::Arc;

use super::AppendAll;
use crate::model::{Annotations, Command, Context, Invalid, StreamId, add_members};

/// A request as an enricher sees it: with what those before it added, not yet checked.
#[derive(Debug, Clone, Copy)]
pub enum Enrichment<'a> {
    /// A command for a stream.
    Command(&'a StreamId, &'a Command),
    /// A raw append, to one stream or to several.
    Append(&'a AppendAll),
    /// A stream is to be archived, restored or truncated.
    Archive(&'a StreamId, &'a Context),
}

impl<'a> Enrichment<'a> {
    /// Where the request comes from.
    pub fn context(&self) -> &'a Context {
        match self {
            Self::Command(_, command) => &command.context,
            Self::Append(append) => &append.context,
            Self::Archive(_, context) => context,
        }
    }
}

/// What an enricher adds to a request. The default adds nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Additions {
    /// Members of the metadata of the command, or of each event of a raw append. A name
    /// that is there already keeps its value; names in `quipu.` are left out.
    pub metadata: Annotations,
    /// Who asks, unless the request says it.
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

/// Enrichers, asked in the order in which they were added.
#[derive(Clone, Default)]
pub struct Enrichers(Vec<Arc<Enricher>>);

impl Enrichers {
    /// Adds one behind the others.
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

    /// The context and the metadata of the event that tells of a mark.
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
