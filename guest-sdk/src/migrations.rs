use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{EditError, Object};

/// Migrations of snapshots from older state schema versions to newer ones, so that snapshots stay
/// usable when the state's form changes.
///
/// Each migration leads from one version to a later one; together they are a chain without gaps up
/// to `STATE_SCHEMA_VERSION`. A migrated snapshot must equal the state that the stream's (lifted)
/// events fold to. One that can't be migrated is ignored: the stream is folded from its first
/// event.
///
/// ```
/// use quipu_guest::Migrations;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// struct V1 { open: bool }
/// #[derive(Serialize)]
/// struct V2 { status: &'static str }
///
/// let migrations = Migrations::none()
///     .map(1, 2, |old: V1| V2 { status: if old.open { "open" } else { "closed" } })
///     .edit(2, 3, |state| {
///         state.rename("status", "state");
///         state.set("since", 0)
///     });
/// assert_eq!(migrations.check(3), Ok(()));
/// assert!(migrations.check(4).is_err());
/// ```
#[derive(Default)]
pub struct Migrations(Vec<Migration>);

struct Migration {
    from: u32,
    to: u32,
    migrate: Box<Migrate>,
}

type Migrate = dyn Fn(&str) -> Result<String, EditError>;

impl Migrations {
    /// Snapshots of older versions are ignored.
    pub fn none() -> Self {
        Migrations::default()
    }

    /// Adds a migration: the state of version `from` in the form of version `to`. The old type
    /// keeps the serde attributes that it had at that time.
    #[must_use]
    pub fn map<Old: DeserializeOwned, New: Serialize>(
        self,
        from: u32,
        to: u32,
        migrate: impl Fn(Old) -> New + 'static,
    ) -> Self {
        self.with(from, to, move |old| {
            Ok(serde_json::to_string(&migrate(serde_json::from_str(old)?))?)
        })
    }

    /// Adds a migration that changes a state, which is a JSON object, field by field. On
    /// an error the snapshot is ignored, and the host's log says why.
    #[must_use]
    pub fn edit(
        self,
        from: u32,
        to: u32,
        edit: impl Fn(&mut Object) -> Result<(), EditError> + 'static,
    ) -> Self {
        self.with(from, to, move |old| {
            let mut state = serde_json::from_str(old)?;
            edit(&mut state)?;
            Ok(serde_json::to_string(&state)?)
        })
    }

    /// Finds natively what the host would refuse at upload. `current` is the
    /// `STATE_SCHEMA_VERSION`.
    ///
    /// # Errors
    ///
    /// A text that names the migration: one that does not lead to a later version, two from one
    /// version, or a gap in the chain.
    pub fn check(&self, current: u32) -> Result<(), String> {
        if current == 0 {
            return Err("state schema version 0: versions begin at 1".to_owned());
        }
        let chain = self.steps();
        for (index, (from, to)) in chain.iter().enumerate() {
            let next = chain.get(index + 1).map_or(current, |(next, _)| *next);
            if *from == 0 || from >= to {
                return Err(format!(
                    "migration from {from} to {to}: it has to lead to a later version, from 1 on"
                ));
            }
            if *from == next {
                return Err(format!("two migrations from state schema version {from}"));
            }
            if *to != next {
                return Err(format!(
                    "migration from {from} leads to {to}, where the chain goes on at {next}"
                ));
            }
        }
        Ok(())
    }

    /// Pairs of from and to, in order.
    pub(crate) fn steps(&self) -> Vec<(u32, u32)> {
        let mut steps: Vec<_> = self.0.iter().map(|step| (step.from, step.to)).collect();
        steps.sort_unstable();
        steps
    }

    /// Returns the state after one step, with its version; none when no step begins there.
    pub(crate) fn run(&self, from: u32, state: &str) -> Option<Result<(u32, String), EditError>> {
        let migration = self.0.iter().find(|step| step.from == from)?;
        Some((migration.migrate)(state).map(|state| (migration.to, state)))
    }

    fn with(
        mut self,
        from: u32,
        to: u32,
        migrate: impl Fn(&str) -> Result<String, EditError> + 'static,
    ) -> Self {
        let migrate = Box::new(migrate);
        self.0.push(Migration { from, to, migrate });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(steps: &[(u32, u32)], current: u32, expected: &str) {
        let mut migrations = Migrations::none();
        for (from, to) in steps {
            migrations = migrations.edit(*from, *to, |_| Ok(()));
        }
        let found = migrations.check(current).err().unwrap_or_default();
        assert_eq!(found, expected);
    }

    #[test]
    fn migrations_are_a_chain_without_gaps_up_to_the_current_version() {
        check(&[], 1, "");
        check(&[(3, 4), (1, 3)], 4, "");
        check(&[(2, 3)], 3, "");
        check(&[], 0, "state schema version 0: versions begin at 1");
        let gap = "migration from 1 leads to 2, where the chain goes on at 3";
        check(&[(1, 2), (3, 4)], 4, gap);
        check(&[(1, 2)], 3, gap);
        check(
            &[(1, 2), (1, 3)],
            3,
            "two migrations from state schema version 1",
        );
        for (from, to) in [(0, 1), (2, 2), (3, 2)] {
            let expected = format!(
                "migration from {from} to {to}: it has to lead to a later version, from 1 on"
            );
            check(&[(from, to)], 2, &expected);
        }
    }
}
