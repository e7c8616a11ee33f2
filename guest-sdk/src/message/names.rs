use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// Returns the names of an enum's variants, as serde derives them; none when `T` isn't an
/// externally tagged enum.
pub(crate) fn names<'de, T: Deserialize<'de>>() -> Option<&'static [&'static str]> {
    let mut names = None;
    // It always fails: it only records what the enum asks for.
    let _ = T::deserialize(Listener(&mut names));
    names
}

struct Listener<'a>(&'a mut Option<&'static [&'static str]>);

impl<'de> Deserializer<'de> for Listener<'_> {
    type Error = Error;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = Some(variants);
        Err(Error::custom("no value here"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("no value here"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    #[allow(dead_code)]
    enum Mixed {
        UnitOne,
        Tuple(u8),
        Pair(u8, u8),
        Struct { field: u8 },
    }

    #[test]
    fn every_kind_of_variant_is_named_in_order() {
        assert_eq!(
            names::<Mixed>(),
            Some(&["unit-one", "tuple", "pair", "struct"][..])
        );
    }

    #[test]
    fn what_is_no_enum_has_no_names() {
        assert_eq!(names::<String>(), None);
        assert_eq!(names::<Vec<Mixed>>(), None);
    }
}
