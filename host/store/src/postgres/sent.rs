//! A batch that was sent, and how its result is found when the answer is lost.

use std::collections::HashMap;

use super::cell::Cells;
use super::connection::Connection;
use super::error::Failure;
use super::tables::signed;
use crate::classify::Classified;
use crate::{Appended, Deployment, Outcome, Result};
use quipu_model::{EventId, Position};

const EVENTS: &str =
    "SELECT event_id, position FROM events WHERE position > $1 AND event_id = ANY ($2)";
const ACTIVATION: &str = "SELECT EXISTS (SELECT FROM deployments AS d \
    JOIN modules AS m ON m.module_id = d.module_id WHERE d.plan = $1 AND m.digest = $2 \
    AND d.activated_at = $3 AND d.activated_by IS NOT DISTINCT FROM $4)";

/// A batch that was sent. Any part of it shows whether it was committed: its events, or its
/// activation. Each mark comes with an event.
#[derive(Debug)]
pub struct SentBatch {
    /// Of the events, in order.
    event_ids: Vec<EventId>,
    activated: Option<Deployment>,
    /// With positions that count the events, from 1.
    outcomes: Vec<Draft>,
}

/// An outcome of which only the positions are missing.
#[derive(Debug)]
enum Draft {
    Appended(Vec<Appended>),
    Marked(Option<Position>),
    Activated(u64),
    /// The request must be repeated, because it depended on a state that has changed.
    Again,
}

impl SentBatch {
    /// A batch before it is sent.
    pub fn new(classified: &Classified<'_>, activated: Option<Deployment>) -> Self {
        let accepted = classified.accepted.iter();
        let event_ids = accepted.flat_map(|it| it.write.commit.events.iter().map(|event| event.id));
        let outcomes = classified.outcomes.iter().map(|outcome| match outcome {
            Outcome::Appended(appended) => Draft::Appended(appended.clone()),
            Outcome::Marked(position) => Draft::Marked(*position),
            Outcome::Activated(plan) => Draft::Activated(*plan),
            _ => Draft::Again,
        });
        Self {
            event_ids: event_ids.collect(),
            activated,
            outcomes: outcomes.collect(),
        }
    }

    /// Returns its outcomes, if it was committed. `floor` is a position before its events. Called
    /// after the back-end that had the batch has ended, so that the answer does not change any
    /// more.
    pub async fn outcomes(
        &self,
        connection: &mut Connection,
        floor: i64,
    ) -> std::result::Result<Option<Vec<Outcome>>, Failure> {
        let drawn = if self.event_ids.is_empty() {
            let is_there = self.is_activated(connection).await?;
            is_there.then(Vec::new)
        } else {
            self.positions(connection, floor).await?
        };
        Ok(drawn.map(|drawn| {
            let mut outcomes = self.drafted();
            place(&mut outcomes, &drawn);
            outcomes
        }))
    }

    /// The positions of the events, if they are in the log.
    async fn positions(
        &self,
        connection: &mut Connection,
        floor: i64,
    ) -> std::result::Result<Option<Vec<i64>>, Failure> {
        let query = sqlx::query(EVENTS).bind(floor).bind(&self.event_ids);
        let rows = query.fetch_all(connection).await?;
        let positions = rows.iter().map(|row| Ok((row.cell(0)?, row.cell(1)?)));
        let positions: HashMap<EventId, i64> = positions.collect::<Result<_>>()?;
        let drawn = self.event_ids.iter().map(|id| positions.get(id).copied());
        Ok(drawn.collect())
    }

    async fn is_activated(
        &self,
        connection: &mut Connection,
    ) -> std::result::Result<bool, Failure> {
        let Some(activated) = &self.activated else {
            return Ok(false);
        };
        let row = sqlx::query(ACTIVATION)
            .bind(signed(activated.plan))
            .bind(&activated.digest.0[..])
            .bind(signed(activated.activated_at.0))
            .bind(&activated.activated_by)
            .fetch_one(connection)
            .await?;
        Ok(row.cell(0)?)
    }

    fn drafted(&self) -> Vec<Outcome> {
        let outcomes = self.outcomes.iter().map(|draft| match draft {
            Draft::Appended(appended) => Outcome::Appended(appended.clone()),
            Draft::Marked(position) => Outcome::Marked(*position),
            Draft::Activated(plan) => Outcome::Activated(*plan),
            Draft::Again => Outcome::Again,
        });
        outcomes.collect()
    }
}

/// Replaces positions that count the events of a batch by those that were drawn.
pub fn place(outcomes: &mut [Outcome], drawn: &[i64]) {
    let place = |position: &mut Position| {
        let index = usize::try_from(position.0).unwrap_or_default();
        if let Some(drawn) = index.checked_sub(1).and_then(|index| drawn.get(index)) {
            *position = Position(drawn.unsigned_abs());
        }
    };
    for outcome in outcomes {
        match outcome {
            Outcome::Appended(appended) => appended
                .iter_mut()
                .flat_map(|appended| &mut appended.positions)
                .for_each(place),
            Outcome::Marked(Some(position)) => place(position),
            _ => {}
        }
    }
}
