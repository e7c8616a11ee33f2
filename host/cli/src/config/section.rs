//! What a section of the configuration file is made of.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

use super::super::policies::Policies;
use quipu::engine;

/// A section of the file that sets options of type `O`.
pub trait Section<O> {
    /// Sets the options whose keys are given. All others keep their values.
    fn apply(&self, options: &mut O);
}

/// The value of a key.
pub trait Value {
    /// The type of the option that it sets.
    type Option;

    /// The number that the range of the key bounds; none for a value that is not a number.
    fn number(&self) -> Option<u64> {
        None
    }

    /// The value of the option.
    fn option(&self) -> Self::Option;
}

macro_rules! numbers {
    ($($number:ident)*) => {
        $(impl Value for $number {
            type Option = Self;

            fn number(&self) -> Option<u64> {
                u64::try_from(*self).ok()
            }

            fn option(&self) -> Self {
                *self
            }
        })*
    };
}

numbers! { u32 u64 usize }

impl Value for bool {
    type Option = Self;

    fn option(&self) -> Self {
        *self
    }
}

/// A time in milliseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Millis(u64);

impl Value for Millis {
    type Option = Duration;

    fn number(&self) -> Option<u64> {
        Some(self.0)
    }

    fn option(&self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// A list of names.
pub type Names = Vec<String>;

impl Value for Names {
    type Option = Self;

    fn option(&self) -> Self {
        self.clone()
    }
}

/// A number for each category.
pub type ByCategory = HashMap<String, u64>;

impl Value for ByCategory {
    type Option = Self;

    fn option(&self) -> Self {
        self.clone()
    }
}

impl Value for Policies {
    type Option = engine::Policies;

    fn option(&self) -> engine::Policies {
        self.options()
    }
}

/// Rejects a number that is not within the range of its key.
pub fn check<V: Value>(
    key: &str,
    given: Option<&V>,
    range: RangeInclusive<u64>,
) -> Result<(), String> {
    let Some(given) = given.and_then(V::number) else {
        return Ok(());
    };
    if range.contains(&given) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    let allowed = match most {
        u64::MAX => format!("{least} or more"),
        most => format!("{least} to {most}"),
    };
    Err(format!("{key} is {given}; it must be {allowed}"))
}

/// Declares a section. Each key has one line: its type, the range of its number, and the option that
/// it sets. The default of a key is that of its option.
macro_rules! section {
    (
        $(#[$attribute:meta])*
        $section:ident $name:literal
        $($options:ty {
            $(
                $(#[$doc:meta])*
                $key:ident: $value:ident $(in $range:expr)? => $option:ident $(. $part:tt)*;
            )*
        })*
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $section {
            $($($(#[$doc])* pub $key: Option<$value>,)*)*
        }

        impl $section {
            /// Rejects numbers with which the host could not work.
            pub fn check(&self) -> Result<(), String> {
                $($($(
                    let key = concat!($name, ".", stringify!($key));
                    super::section::check(key, self.$key.as_ref(), $range)?;
                )?)*)*
                Ok(())
            }

            /// Every key.
            #[cfg(test)]
            pub const KEYS: &[&str] = &[$($(stringify!($key),)*)*];
        }

        $(impl super::section::Section<$options> for $section {
            fn apply(&self, options: &mut $options) {
                $(if let Some(given) = &self.$key {
                    options.$option$(.$part)* = super::section::Value::option(given);
                })*
            }
        })*
    };
}

pub(super) use section;
