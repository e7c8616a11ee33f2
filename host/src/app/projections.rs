//! The status of a host's projections, and the operator's actions on them.

use futures::stream::BoxStream;

use super::Host;
use crate::model::{Position, StreamId, Version};
use crate::projection::{
    Action, Change, ChangePlace, Error, Freshness, Live, ParkedPage, Query, Status, Steps, View,
    ViewPage,
};
use crate::store::{ParkedFilter, Role, Subject};

impl Host {
    /// Returns every projection that is deployed or still has stored data, by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn projections(&self) -> Result<Vec<Status>, Error> {
        self.tenant.projections.all().await
    }

    /// Returns the status of a projection.
    ///
    /// # Errors
    /// When there is no such projection, or the store fails.
    pub async fn projection(&self, name: &str) -> Result<Status, Error> {
        self.tenant.projections.status(name).await
    }

    /// Performs an operator's action, and returns the status of the projection afterwards.
    ///
    /// # Errors
    /// When there is no such projection, it is in the wrong state for the action, or the store
    /// fails.
    pub async fn control_projection(&self, name: &str, action: Action) -> Result<Status, Error> {
        self.tenant.projections.control(name, action).await
    }

    /// Returns parked events of a projection, at most 1,000, after one of them.
    ///
    /// # Errors
    /// When there is no such projection, or the store fails.
    pub async fn parked(
        &self,
        name: &str,
        role: Role,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<ParkedPage, Error> {
        let projections = &self.tenant.projections;
        projections.parked(name, role, after, limit).await
    }

    /// Returns the parked events of one document or stream, or one such event.
    ///
    /// # Errors
    /// As [`parked`](Self::parked), and when a position is given without a subject.
    pub async fn parked_of(
        &self,
        name: &str,
        role: Role,
        which: &ParkedFilter,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<ParkedPage, Error> {
        let projections = &self.tenant.projections;
        projections.parked_of(name, role, which, after, limit).await
    }

    /// Returns events that a projection skipped or dropped, at most 1,000, after one of them.
    ///
    /// # Errors
    /// When there is no such projection, or the store fails.
    pub async fn skipped(
        &self,
        name: &str,
        role: Role,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<ParkedPage, Error> {
        let projections = &self.tenant.projections;
        projections.skipped(name, role, after, limit).await
    }

    /// Returns a document of a projection.
    ///
    /// # Errors
    /// When there is no such projection or document, the projection is live, is not as
    /// fresh as asked for in time, or the store fails.
    pub async fn view(&self, name: &str, key: &str, freshness: Freshness) -> Result<View, Error> {
        self.tenant.projections.view(name, key, freshness).await
    }

    /// Waits until a projection is fresh enough for [`views`](Self::views).
    ///
    /// # Errors
    /// As `views`.
    pub async fn until_fresh(&self, name: &str, freshness: Freshness) -> Result<(), Error> {
        self.tenant.projections.until_fresh(name, freshness).await
    }

    /// Returns documents of a projection, by indexes or by key.
    ///
    /// # Errors
    /// As [`view`](Self::view), and when the projection has no such index.
    pub async fn views(
        &self,
        name: &str,
        query: &Query,
        freshness: Freshness,
    ) -> Result<ViewPage, Error> {
        self.tenant.projections.views(name, query, freshness).await
    }

    /// Streams changes of a projection's documents: changes after a place, or without one all
    /// documents, then new changes, with a heartbeat every 15 s. When the active build is not the
    /// build of the place, the stream reports this first, then all documents of the active build.
    /// It ends with an error, or with the host.
    ///
    /// # Errors
    /// When there is no such projection, or it is live.
    pub async fn changes(
        &self,
        name: &str,
        after: Option<ChangePlace>,
    ) -> Result<BoxStream<'static, Result<Change, Error>>, Error> {
        self.tenant.projections.changes(name, after).await
    }

    /// Returns the documents that a projection makes from the events of one stream only, whatever
    /// its lifecycle.
    ///
    /// # Errors
    /// When there is no such projection or stream, or its events can't be folded.
    pub async fn live(&self, name: &str, stream: &StreamId) -> Result<Live, Error> {
        self.tenant.projections.live(name, stream).await
    }

    /// Returns what a projection makes of events of one stream, event by event from a version on,
    /// at most [`STEPS_MAX`](crate::projection::STEPS_MAX) of them. Nothing is stored.
    ///
    /// # Errors
    /// When there is no such projection or stream, or the events before can't be folded.
    pub async fn steps(
        &self,
        name: &str,
        stream: &StreamId,
        from: Version,
        limit: usize,
    ) -> Result<Steps, Error> {
        let projections = &self.tenant.projections;
        projections.steps(name, stream, from, limit).await
    }
}
