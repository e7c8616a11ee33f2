//! Callers, actions and what they are about, as policies see them.

use std::fmt;
use std::str::FromStr;

use cedar_policy::{Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use quipu::access::{Action, Caller, Object, Role};
use quipu::model::{Category, Invalid, StreamId};

/// The types that a policy can use, as a Cedar schema.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// The name of the whole store.
const STORE: &str = "store";

/// What an action is about, in the form `stream/loan-1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `store`: the whole store.
    Store,
    /// `category/NAME`: the streams of a category.
    Category(String),
    /// `stream/ID`: a stream.
    Stream(StreamId),
    /// `projection/NAME`: a projection and its documents.
    Projection(String),
    /// `module/NAME`: a component that is uploaded or activated.
    Module(String),
}

impl Target {
    /// What the action is about.
    pub fn object(&self) -> Object<'_> {
        match self {
            Self::Store => Object::Store,
            Self::Category(name) => Object::Category(name),
            Self::Stream(stream) => Object::Stream(stream),
            Self::Projection(name) => Object::Projection(name),
            Self::Module(name) => Object::Module(name),
        }
    }
}

impl FromStr for Target {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let name = |name: &str| Category::new(name).map(|_| name.to_owned());
        match text.split_once('/') {
            None if text == STORE => Ok(Self::Store),
            Some(("category", given)) => name(given).map(Self::Category),
            Some(("stream", given)) => StreamId::new(given).map(Self::Stream),
            Some(("projection", given)) => name(given).map(Self::Projection),
            Some(("module", given)) => module_name(given).map(Self::Module),
            _ => Err(Invalid(format!(
                "{text:?} is none of store, category/NAME, stream/ID, projection/NAME and \
                 module/NAME"
            ))),
        }
    }
}

/// The name of a module, if its manifest can have it.
fn module_name(name: &str) -> Result<String, Invalid> {
    let is_taken =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
    let is_name = (1..=64).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(is_taken);
    is_name.then(|| name.to_owned()).ok_or_else(|| {
        Invalid(format!(
            "{name:?} is no name of a module: 1 to 64 of a-z, 0-9, _, - and ., beginning with a \
             letter"
        ))
    })
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str(STORE),
            Self::Category(name) => write!(f, "category/{name}"),
            Self::Stream(stream) => write!(f, "stream/{}", stream.as_str()),
            Self::Projection(name) => write!(f, "projection/{name}"),
            Self::Module(name) => write!(f, "module/{name}"),
        }
    }
}

/// Names of types; a mistake in them is a mistake of this file, and a test shows it.
fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind: EntityTypeName = kind.parse().map_err(|error| format!("{error}"))?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

/// An action.
pub fn action(action: Action) -> Result<EntityUid, String> {
    uid("Action", action.as_str())
}

/// A role.
pub fn role(role: Role) -> Result<EntityUid, String> {
    uid("Role", role.as_str())
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

/// A caller and an object, with everything that policies can ask of them.
pub struct Pair {
    /// The caller.
    pub caller: EntityUid,
    /// The object.
    pub object: EntityUid,
    /// Both, and what they belong to.
    pub entities: Entities,
}

impl Pair {
    /// A caller and an object.
    ///
    /// # Errors
    /// When Cedar does not take them.
    pub fn of(caller: &Caller, object: Object<'_>) -> Result<Self, String> {
        let name = caller.name().unwrap_or_default();
        let of_role = caller.grant().map_or(Role::Nobody, |grant| grant.role);
        let who = uid("Caller", &name)?;
        let attributes = caller.attributes();
        let tags = attributes.map(|(name, value)| (name.to_owned(), text(value)));
        let who_entity = entity(
            &who,
            vec![("name".to_owned(), text(&name))],
            vec![role(of_role)?],
            tags.collect(),
        )?;
        let mut all = vec![who_entity, Entity::with_uid(role(of_role)?)];
        let object = Self::add(object, &mut all)?;
        let entities = Entities::from_entities(all, None).map_err(|error| error.to_string())?;
        Ok(Self {
            caller: who,
            object,
            entities,
        })
    }

    fn add(object: Object<'_>, all: &mut Vec<Entity>) -> Result<EntityUid, String> {
        let store = uid("Store", STORE)?;
        all.push(Entity::with_uid(store.clone()));
        let named = |kind: &str, name: &str, store: EntityUid| {
            let own = uid(kind, name)?;
            let attributes = vec![("name".to_owned(), text(name))];
            Ok::<_, String>((own.clone(), entity(&own, attributes, vec![store], vec![])?))
        };
        let (own, entity) = match object {
            Object::Store => return Ok(store),
            Object::Category(name) => named("Category", name, store)?,
            Object::Projection(name) => named("Projection", name, store)?,
            Object::Module(name) => named("Module", name, store)?,
            Object::Stream(stream) => {
                let (of, category) = named("Category", stream.category(), store)?;
                all.push(category);
                let own = uid("Stream", stream.as_str())?;
                let attributes = vec![
                    ("category".to_owned(), text(stream.category())),
                    ("key".to_owned(), text(stream.key())),
                ];
                (own.clone(), entity(&own, attributes, vec![of], vec![])?)
            }
        };
        all.push(entity);
        Ok(own)
    }
}

type Pairs = Vec<(String, RestrictedExpression)>;

fn entity(
    own: &EntityUid,
    attributes: Pairs,
    parents: Vec<EntityUid>,
    tags: Pairs,
) -> Result<Entity, String> {
    let made = Entity::new_with_tags(own.clone(), attributes, parents, tags);
    made.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_back() {
        for text in [
            "store",
            "category/loan",
            "stream/loan-1",
            "projection/sums",
            "module/loan",
            "module/loan-views.v2",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "loan",
            "stream/",
            "category/a b",
            "module/",
            "module/Loan",
            "module/a/b",
            "store/x",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
