//! The roles of builds and how they change, shared by the back-ends.

use std::borrow::Cow;

use super::{Build, BuildId, Error, Result, Role, Steer};

/// Role changes, to be applied in order; no role for a build that is dropped. No two builds have
/// the same role at any time.
pub type Roles = Vec<(BuildId, Option<Role>)>;

/// The reason for a stale build that ceased to be inline before its rules were judged.
pub const UNJUDGED: &str =
    "it ceased to be inline while the plan changed; its documents are folded from scratch";

/// Returns the role's name in a store. A dropped build has a name, too.
pub fn role_name(role: Option<Role>) -> &'static str {
    match role {
        Some(Role::Active) => "active",
        Some(Role::Next) => "next",
        Some(Role::Previous) => "previous",
        None => "dropped",
    }
}

/// The role of this name.
pub fn role(name: &str) -> Result<Role> {
    match name {
        "active" => Ok(Role::Active),
        "next" => Ok(Role::Next),
        "previous" => Ok(Role::Previous),
        other => Err(Error::Damaged(format!("a build with the role {other:?}"))),
    }
}

/// Returns the name of a projection's view, which statements put between quotes.
pub fn view_name(projection: &str) -> Result<String> {
    let is_plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
    };
    if projection.is_empty() || projection.len() > 48 || !projection.bytes().all(is_plain) {
        let text = format!("projection {projection:?}: 1 to 48 of a-z, 0-9, _ and -");
        return Err(Error::Unexpected(text));
    }
    Ok(format!("view_{projection}"))
}

/// Makes the next build the active one; none when that is not possible.
pub fn switch(builds: &[Build], next: BuildId) -> Option<Roles> {
    let next = of_role(builds, Role::Next).filter(|build| build.id == next && !build.is_inline)?;
    let mut roles = Roles::new();
    if let Some(previous) = of_role(builds, Role::Previous) {
        roles.push((previous.id, None));
    }
    if let Some(active) = of_role(builds, Role::Active) {
        if active.is_inline || next.position < active.position {
            return None;
        }
        roles.push((active.id, Some(Role::Previous)));
    }
    roles.push((next.id, Some(Role::Active)));
    Some(roles)
}

/// Swaps the previous build and the active one; none when that is not possible.
pub fn roll_back(builds: &[Build]) -> Option<Roles> {
    let previous = of_role(builds, Role::Previous).filter(|build| !build.is_inline)?;
    let to_active = (previous.id, Some(Role::Active));
    match of_role(builds, Role::Active) {
        Some(active) if active.is_inline => None,
        Some(active) => Some(vec![
            (active.id, None),
            to_active,
            (active.id, Some(Role::Previous)),
        ]),
        None => Some(vec![to_active]),
    }
}

/// Drops the build of a role; none when there is none, or it is inline.
pub fn dropped(builds: &[Build], role: Role) -> Option<Roles> {
    let build = of_role(builds, role).filter(|build| !build.is_inline)?;
    Some(vec![(build.id, None)])
}

fn of_role(builds: &[Build], role: Role) -> Option<&Build> {
    builds.iter().find(|build| build.role == role)
}

/// The changes that an operator's action makes.
pub struct Steered {
    /// The projection's new value, if it changes.
    pub paused: Option<bool>,
    /// The projection's new value, if it changes.
    pub held: Option<bool>,
    /// How many more retries of parked events are requested.
    pub retries: u64,
    /// Whether builds forget why they stopped.
    pub forgets: bool,
}

impl From<Steer> for Steered {
    fn from(steer: Steer) -> Self {
        let nothing = Self {
            paused: None,
            held: None,
            retries: 0,
            forgets: false,
        };
        match steer {
            Steer::Paused(paused) => Self {
                paused: Some(paused),
                forgets: true,
                ..nothing
            },
            Steer::Held(held) => Self {
                held: Some(held),
                ..nothing
            },
            Steer::Retry => Self {
                retries: 1,
                ..nothing
            },
            Steer::Resume => Self {
                forgets: true,
                ..nothing
            },
        }
    }
}

/// A text for people, without NUL characters: a guest may have written it, and databases store no
/// text with a NUL.
pub fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}
