use serde::ser::{
    Error as _, Impossible, Serialize, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleVariant, Serializer,
};
use serde_json::Error;

/// Splits an enum's value into the name of its variant and the variant's content as JSON, written
/// without a tree in between.
///
/// # Errors
///
/// When `message` is not a variant of an externally tagged enum, or its content has no JSON form (a
/// map whose keys are not strings).
pub(crate) fn encode<T: Serialize>(message: &T) -> Result<(&'static str, String), Error> {
    let mut body = Vec::with_capacity(128);
    let mut json = serde_json::Serializer::new(&mut body);
    let mut variant = None;
    message.serialize(Message {
        json: &mut json,
        variant: &mut variant,
    })?;
    let variant = variant.ok_or_else(no_variant)?;
    Ok((
        variant,
        String::from_utf8(body).expect("the serializer writes UTF-8"),
    ))
}

fn no_variant() -> Error {
    Error::custom("commands and events are externally tagged enums")
}

type Json<'a, 'w> = &'a mut serde_json::Serializer<&'w mut Vec<u8>>;

struct Message<'a, 'w> {
    json: Json<'a, 'w>,
    variant: &'a mut Option<&'static str>,
}

/// The content of a variant, which is a plain struct or tuple in JSON.
struct Content<C>(C);

impl<C: SerializeStruct> SerializeStructVariant for Content<C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_field<T: ?Sized + Serialize>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), C::Error> {
        self.0.serialize_field(key, value)
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.0.end()
    }
}

impl<C: SerializeTuple> SerializeTupleVariant for Content<C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_field<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), C::Error> {
        self.0.serialize_element(value)
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.0.end()
    }
}

/// Kinds of values that are not a variant of an enum.
macro_rules! refuse {
    ($($method:ident($($argument:ty),*) $(-> $compound:ident)?;)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<refuse!(@ $($compound)?), Error> {
            Err(no_variant())
        })*
    };
    (@) => { () };
    (@ $compound:ident) => { Self::$compound };
}

impl<'a, 'w> Serializer for Message<'a, 'w> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Impossible<(), Error>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Content<<Json<'a, 'w> as Serializer>::SerializeTuple>;
    type SerializeMap = Impossible<(), Error>;
    type SerializeStruct = Impossible<(), Error>;
    type SerializeStructVariant = Content<<Json<'a, 'w> as Serializer>::SerializeStruct>;

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<(), Error> {
        SerializeStructVariant::end(self.serialize_struct_variant(name, index, variant, 0)?)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        *self.variant = Some(variant);
        value.serialize(self.json)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        *self.variant = Some(variant);
        self.json.serialize_tuple(len).map(Content)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        *self.variant = Some(variant);
        self.json.serialize_struct(name, len).map(Content)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, _value: &T) -> Result<(), Error> {
        Err(no_variant())
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _name: &'static str,
        _value: &T,
    ) -> Result<(), Error> {
        Err(no_variant())
    }

    refuse! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_seq(Option<usize>) -> SerializeSeq;
        serialize_tuple(usize) -> SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> SerializeTupleStruct;
        serialize_map(Option<usize>) -> SerializeMap;
        serialize_struct(&'static str, usize) -> SerializeStruct;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(serde::Serialize)]
    #[serde(rename_all = "kebab-case")]
    enum Mixed {
        UnitOne,
        Empty {},
        Tuple(Option<u8>),
        Pair(u8, u8),
        Struct {
            text: &'static str,
            inner: Vec<Option<bool>>,
        },
    }

    #[test]
    fn a_variant_is_its_name_and_its_content() {
        let check = |value: Mixed, expected: (&str, &str)| {
            let (variant, body) = encode(&value).unwrap();
            assert_eq!((variant, body.as_str()), expected);
        };
        check(Mixed::UnitOne, ("unit-one", "{}"));
        check(Mixed::Empty {}, ("empty", "{}"));
        check(Mixed::Tuple(None), ("tuple", "null"));
        check(Mixed::Pair(1, 2), ("pair", "[1,2]"));
        check(
            Mixed::Struct {
                text: "\"é",
                inner: vec![None, Some(true)],
            },
            ("struct", r#"{"text":"\"é","inner":[null,true]}"#),
        );
    }

    #[test]
    fn what_is_no_variant_is_refused() {
        assert!(encode(&"text").is_err());
        assert!(encode(&Some(Mixed::UnitOne)).is_err());
        assert!(encode(&vec![1]).is_err());
    }
}
