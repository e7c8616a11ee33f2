//! The types of values, and how they are read and shown.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value as Toml};

use super::super::policies::Policies;
use super::super::secret::{Secret, masked};
use super::key::Kind;
use quipu::engine;
use quipu::model::Category;

/// The value of a key.
pub trait Value: Sized {
    /// The type of the option that it sets.
    type Option;
    /// What its values are.
    const KIND: Kind;

    /// Reads a value; `None` if it is not of the kind.
    ///
    /// # Errors
    /// When it is of the kind but wrong.
    fn parse(given: &Toml) -> Result<Option<Self>, String>;

    /// The number that the range of the key bounds; none for a value that is not a number.
    fn number(&self) -> Option<u64> {
        None
    }

    /// The value of the option.
    fn option(&self) -> Self::Option;

    /// The value of an option, for people; none if it is not set.
    fn shown(option: &Self::Option) -> Option<Toml>;
}

/// A number as TOML has it.
fn number(number: u64) -> Toml {
    Toml::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

macro_rules! numbers {
    ($($number:ident)*) => {
        $(impl Value for $number {
            type Option = Self;
            const KIND: Kind = Kind::Number;

            fn parse(given: &Toml) -> Result<Option<Self>, String> {
                let Some(given) = given.as_integer() else { return Ok(None) };
                let wrong = |_| format!("{given} is not a number from 0 to {}", Self::MAX);
                given.try_into().map(Some).map_err(wrong)
            }

            fn number(&self) -> Option<u64> {
                u64::try_from(*self).ok()
            }

            fn option(&self) -> Self {
                *self
            }

            fn shown(option: &Self) -> Option<Toml> {
                u64::try_from(*option).ok().map(number)
            }
        })*
    };
}

numbers! { u32 u64 usize }

impl Value for bool {
    type Option = Self;
    const KIND: Kind = Kind::Boolean;

    fn parse(given: &Toml) -> Result<Option<Self>, String> {
        Ok(given.as_bool())
    }

    fn option(&self) -> Self {
        *self
    }

    fn shown(option: &Self) -> Option<Toml> {
        Some(Toml::Boolean(*option))
    }
}

/// A time in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Millis(u64);

impl Value for Millis {
    type Option = Duration;
    const KIND: Kind = Kind::Number;

    fn parse(given: &Toml) -> Result<Option<Self>, String> {
        Ok(u64::parse(given)?.map(Self))
    }

    fn number(&self) -> Option<u64> {
        Some(self.0)
    }

    fn option(&self) -> Duration {
        Duration::from_millis(self.0)
    }

    fn shown(option: &Duration) -> Option<Toml> {
        let millis = u64::try_from(option.as_millis()).unwrap_or(u64::MAX);
        Some(number(millis))
    }
}

/// A text.
pub type Text = String;

impl Value for Text {
    type Option = Self;
    const KIND: Kind = Kind::Text;

    fn parse(given: &Toml) -> Result<Option<Self>, String> {
        Ok(given.as_str().map(str::to_owned))
    }

    fn option(&self) -> Self {
        self.clone()
    }

    fn shown(option: &Self) -> Option<Toml> {
        Some(Toml::String(option.clone()))
    }
}

/// An address to listen on, which may be unset.
#[derive(Debug, Clone)]
pub struct Listen(String);

impl Value for Listen {
    type Option = Option<String>;
    const KIND: Kind = Kind::Text;

    fn parse(given: &Toml) -> Result<Option<Self>, String> {
        match given.as_str() {
            Some("") => Err("the address is empty; leave the key out instead".to_owned()),
            given => Ok(given.map(|it| Self(it.to_owned()))),
        }
    }

    fn option(&self) -> Option<String> {
        Some(self.0.clone())
    }

    fn shown(option: &Option<String>) -> Option<Toml> {
        Some(Toml::String(option.clone()?))
    }
}

/// The address of a store, which may have a password.
pub type Address = Secret;

impl Value for Address {
    type Option = Self;
    const KIND: Kind = Kind::Secret;

    fn parse(given: &Toml) -> Result<Option<Self>, String> {
        Ok(given.as_str().map(Self::from))
    }

    fn option(&self) -> Self {
        self.clone()
    }

    fn shown(option: &Self) -> Option<Toml> {
        Some(Toml::String(masked(option.reveal())))
    }
}

/// A path that may be unset.
pub type Path = PathBuf;

impl Value for Path {
    type Option = Option<Self>;
    const KIND: Kind = Kind::Path;

    fn parse(given: &Toml) -> Result<Option<Self>, String> {
        match given.as_str() {
            Some("") => Err("the path is empty; leave the key out instead".to_owned()),
            given => Ok(given.map(Self::from)),
        }
    }

    fn option(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn shown(option: &Option<Self>) -> Option<Toml> {
        let path = option.as_ref()?;
        Some(Toml::String(path.display().to_string()))
    }
}

/// A list of names.
pub type Names = Vec<String>;

impl Value for Names {
    type Option = Self;
    const KIND: Kind = Kind::Names;

    fn parse(given: &Toml) -> Result<Option<Self>, String> {
        let Some(given) = given.as_array() else {
            return Ok(None);
        };
        let names = given.iter().map(|it| it.as_str().map(str::to_owned));
        Ok(names.collect())
    }

    fn option(&self) -> Self {
        self.clone()
    }

    fn shown(option: &Self) -> Option<Toml> {
        let names = option.iter().map(|name| Toml::String(name.clone()));
        Some(Toml::Array(names.collect()))
    }
}

/// A table of texts.
pub type Texts = BTreeMap<String, String>;

impl Value for Texts {
    type Option = Self;
    const KIND: Kind = Kind::Texts;

    fn parse(given: &Toml) -> Result<Option<Self>, String> {
        let Some(given) = given.as_table() else {
            return Ok(None);
        };
        let texts = given.iter();
        let texts = texts.map(|(name, it)| Some((name.clone(), it.as_str()?.to_owned())));
        Ok(texts.collect())
    }

    fn option(&self) -> Self {
        self.clone()
    }

    fn shown(option: &Self) -> Option<Toml> {
        let texts = option.iter();
        let texts = texts.map(|(name, text)| (name.clone(), Toml::String(text.clone())));
        Some(Toml::Table(texts.collect()))
    }
}

/// A number for each category.
pub type ByCategory = HashMap<String, u64>;

impl Value for ByCategory {
    type Option = Self;
    const KIND: Kind = Kind::Numbers;

    fn parse(given: &Toml) -> Result<Option<Self>, String> {
        let Some(given) = given.as_table() else {
            return Ok(None);
        };
        let mut numbers = Self::new();
        for (name, it) in given {
            let Some(number) = u64::parse(it).map_err(|why| format!("{name}: {why}"))? else {
                return Ok(None);
            };
            numbers.insert(name.clone(), number);
        }
        Ok(Some(numbers))
    }

    fn option(&self) -> Self {
        self.clone()
    }

    fn shown(option: &Self) -> Option<Toml> {
        let numbers = option.iter().map(|(name, it)| (name.clone(), number(*it)));
        Some(Toml::Table(numbers.collect()))
    }
}

/// Whether commands are validated, for each category.
pub type Validations = HashMap<String, engine::Validation>;

impl Value for Validations {
    type Option = Self;
    const KIND: Kind = Kind::Validations;

    fn parse(given: &Toml) -> Result<Option<Self>, String> {
        let Some(given) = given.as_table() else {
            return Ok(None);
        };
        let mut validations = Self::new();
        for (name, it) in given {
            let Some(word) = it.as_str() else {
                return Ok(None);
            };
            Category::new(name).map_err(|error| error.to_string())?;
            let validation = word.parse().map_err(|error| format!("{name}: {error}"))?;
            validations.insert(name.clone(), validation);
        }
        Ok(Some(validations))
    }

    fn option(&self) -> Self {
        self.clone()
    }

    fn shown(option: &Self) -> Option<Toml> {
        let words = option.iter();
        let words = words.map(|(name, it)| (name.clone(), Toml::String(it.as_str().to_owned())));
        Some(Toml::Table(words.collect()))
    }
}

impl Value for Policies {
    type Option = engine::Policies;
    const KIND: Kind = Kind::Policies;

    fn parse(given: &Toml) -> Result<Option<Self>, String> {
        if !given.is_table() {
            return Ok(None);
        }
        let wrong = |error: toml::de::Error| error.message().to_owned();
        given.clone().try_into().map(Some).map_err(wrong)
    }

    fn option(&self) -> engine::Policies {
        self.options()
    }

    fn shown(option: &engine::Policies) -> Option<Toml> {
        let policy = |policy: &engine::Policy| match policy {
            engine::Policy::Off => Toml::String("off".to_owned()),
            engine::Policy::Every(events) => {
                Table::from_iter([("every".to_owned(), number(*events))]).into()
            }
            engine::Policy::SlowerThan(time) => {
                let millis = Millis::shown(time).unwrap_or(Toml::Integer(0));
                Table::from_iter([("load_ms".to_owned(), millis)]).into()
            }
        };
        let named = option.by_category.iter();
        let named = named.map(|(name, it)| (name.clone(), policy(it)));
        let others = ("others".to_owned(), policy(&option.others));
        Some(Toml::Table(named.chain([others]).collect()))
    }
}
