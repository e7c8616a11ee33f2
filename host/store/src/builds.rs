//! What back-ends share of builds: their roles and how these change.

use std::borrow::Cow;

use super::{Build, BuildId, Error, Result, Role, Steer};

/// Roles that builds take one after the other, none for one that is dropped: at no time
/// have two of them the same.
pub type Roles = Vec<(BuildId, Option<Role>)>;

/// Why a build is stale that ceased to be inline before its rules were judged.
pub const UNJUDGED: &str =
    "it ceased to be inline while the plan changed; its documents are folded from scratch";

/// The role's name in a store; one that is dropped has a name, too.
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

/// The name of a projection's view, which stands between quotes in a statement.
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

/// The next build takes the active one's place; none when it can't.
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

/// The previous build and the active one change places; none when they can't.
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

/// The build of a role is dropped; none when there is none, or it is inline.
pub fn dropped(builds: &[Build], role: Role) -> Option<Roles> {
    let build = of_role(builds, role).filter(|build| !build.is_inline)?;
    Some(vec![(build.id, None)])
}

fn of_role(builds: &[Build], role: Role) -> Option<&Build> {
    builds.iter().find(|build| build.role == role)
}

/// What an operator's wish changes.
pub struct Steered {
    /// Of the projection, if it changes.
    pub paused: Option<bool>,
    /// Of the projection, if it changes.
    pub held: Option<bool>,
    /// How often more parked events are tried again.
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

/// A text for people, which may be a guest's: databases know no text with a NUL in it.
pub fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}
