//! What a section of the configuration is made of.

use toml::Value as Toml;

use super::key::{Key, Kind};
use super::value::Value;

/// A section that sets options of type `O`.
pub trait Section<O> {
    /// Sets the options whose keys are given. All others keep their values.
    fn apply(&self, options: &mut O);

    /// The values of options, by the names of their keys; none for those that are not set.
    fn values(options: &O) -> Vec<(&'static str, Option<Toml>)>;
}

/// Reads the value of a key.
///
/// # Errors
/// When it is not of the kind, or not within the range of the key.
pub fn parse<V: Value>(key: &Key, given: &Toml) -> Result<V, String> {
    let wrong = |why| format!("{}: {why}", key.path());
    match V::parse(given).map_err(wrong)? {
        Some(value) => {
            key.check(value.number())?;
            Ok(value)
        }
        None => Err(format!(
            "{}: expected {}, found {}",
            key.path(),
            key.kind.expected(),
            match given.type_str() {
                "string" => "a text",
                "array" if key.kind == Kind::Names => "a list of something else",
                "array" => "a list",
                "table" => "a table of something else",
                "integer" => "a whole number",
                "float" => "a number with a decimal point",
                "boolean" => "true or false",
                _ => "a time",
            }
        )),
    }
}

macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

/// Declares a section. Each key has its description and one line: its type, the range of its number,
/// and the option that it sets. The default of a key is that of its option; if that depends on the
/// machine or is nothing, an example and words follow.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $section:ident $name:literal
        $($options:ty {
            $(
                $(#[doc = $doc:literal])+
                $key:ident: $value:ident $(in $range:expr)? => $option:ident $(. $part:tt)*
                $(($example:literal, $default:literal))?;
            )*
        })*
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Default, Clone)]
        pub struct $section {
            $($($(#[doc = $doc])+ pub $key: Option<$value>,)*)*
        }

        impl $section {
            /// What it is about.
            pub const ABOUT: &str = [$($about),+][0];

            /// Every key.
            pub const KEYS: &[super::key::Key] = &[$($(super::key::Key {
                section: $name,
                name: stringify!($key),
                doc: &[$($doc),+],
                kind: <$value as super::value::Value>::KIND,
                range: super::section::optional!($($range)?),
                default: super::section::optional!($(($example, $default))?),
            },)*)*];

            /// Sets the value of a key.
            pub fn set(
                &mut self,
                key: &super::key::Key,
                given: &toml::Value,
            ) -> Result<(), String> {
                match key.name {
                    $($(stringify!($key) => {
                        self.$key = Some(super::section::parse(key, given)?);
                    })*)*
                    _ => return Err(format!("there is no key {}", key.path())),
                }
                Ok(())
            }
        }

        $(impl super::section::Section<$options> for $section {
            fn apply(&self, options: &mut $options) {
                $(if let Some(given) = &self.$key {
                    options.$option$(.$part)* = super::value::Value::option(given);
                })*
            }

            fn values(options: &$options) -> Vec<(&'static str, Option<toml::Value>)> {
                vec![$((
                    stringify!($key),
                    <$value as super::value::Value>::shown(&options.$option$(.$part)*),
                ),)*]
            }
        })*
    };
}

pub(super) use {optional, section};
