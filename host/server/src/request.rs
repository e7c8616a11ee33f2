//! Request bodies: of one content type, limited in size, read to their end.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::thread::LocalKey;

use axum::body::{BodyDataStream, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::OwnedSemaphorePermit;

use super::App;
use super::answering::Visit;
use super::budget::BodyHeld;
use super::failure::{Failure, Result};
use super::headers::BYTES;
use super::pace::Paced;
use quipu::engine::STREAMS_MAX;
use quipu::model::without_mark;
use quipu_api::{Code, body};

/// The bytes of a body of `application/json`.
pub struct JsonBytes(BodyBytes);

impl JsonBytes {
    /// Parses it as `T`, which may borrow. Unknown members are rejected by name.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        Ok(self.away(|bytes| body::parse(bytes))?)
    }

    /// Converts the bytes without a byte order mark; when there are many, on a thread that serves no connections.
    pub fn away<'a, T>(&'a self, work: impl FnOnce(&'a [u8]) -> T) -> T {
        let bytes = without_mark(&self.0.bytes);
        away(bytes.len(), || work(bytes))
    }
}

impl FromRequest<App> for JsonBytes {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self> {
        check_content_type(&request, &["application/json"])?;
        let max = app.options.body_bytes_max;
        Ok(Self(read(request, max, app).await?))
    }
}

/// A body of `application/json`, or no body.
pub struct OptionalJson(Option<JsonBytes>);

impl OptionalJson {
    /// Parses it as `T`; without a body returns the default.
    pub fn parse<'a, T: Deserialize<'a> + Default>(&'a self) -> Result<T> {
        self.0
            .as_ref()
            .map_or_else(|| Ok(T::default()), JsonBytes::parse)
    }
}

impl FromRequest<App> for OptionalJson {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self> {
        let is_typed = request.headers().contains_key(header::CONTENT_TYPE);
        if !is_typed && request.body().is_end_stream() {
            return Ok(Self(None));
        }
        let json = JsonBytes::from_request(request, app).await?;
        Ok(Self(Some(json).filter(|json| !json.0.bytes.is_empty())))
    }
}

/// The bytes of a component.
pub struct WasmBytes(BodyBytes);

impl WasmBytes {
    /// The same bytes.
    pub fn bytes(&self) -> Bytes {
        self.0.bytes.clone()
    }
}

impl FromRequest<App> for WasmBytes {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self> {
        check_content_type(&request, &["application/wasm", BYTES])?;
        let max = app.options.module_bytes_max;
        Ok(Self(read(request, max, app).await?))
    }
}

/// The lines of a body of `application/x-ndjson`, not yet read.
pub struct NdjsonBody(Paced<BodyDataStream>);

impl NdjsonBody {
    /// The chunks of a body that has to continue without long pauses.
    pub fn steady(self) -> Paced<BodyDataStream> {
        self.0
    }

    /// The chunks of a body of lines, with longer pauses between lines.
    pub fn with_pauses(self, app: &App) -> Paced<BodyDataStream> {
        let held = app.bodies.nothing();
        self.0.with_lines(app.options.lines_wait_max, held)
    }
}

impl FromRequest<App> for NdjsonBody {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self> {
        check_content_type(&request, &["application/x-ndjson", BYTES])?;
        Ok(Self(paced(request, app)))
    }
}

thread_local! {
    /// How many more streams and events the body may have that this thread parses; `None` after it
    /// had more. serde passes no such limit to the types that it reads.
    static STREAMS_LEFT: Cell<Option<usize>> = const { Cell::new(Some(STREAMS_MAX)) };
    static EVENTS_LEFT: Cell<Option<usize>> = const { Cell::new(Some(0)) };
}

/// Parses the body of an append. Parsing ends at the first event above the limit, so a body of very
/// many small events takes no memory for them.
pub fn parse_append<'a, T: Deserialize<'a>>(bytes: &'a [u8], events_max: usize) -> Result<T> {
    STREAMS_LEFT.set(Some(STREAMS_MAX));
    EVENTS_LEFT.set(Some(events_max));
    let parsed = body::parse(bytes);
    for (what, left, max) in [
        ("streams", &STREAMS_LEFT, STREAMS_MAX),
        ("events", &EVENTS_LEFT, events_max),
    ] {
        if left.get().is_none() {
            let detail = format!("{what} per append: the body has more than {max}");
            return Err(Failure::new(Code::TooLarge, detail));
        }
    }
    Ok(parsed?)
}

/// Reads the streams of an append, within [`parse_append`].
pub fn streams<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(Objects(&STREAMS_LEFT, PhantomData))
}

/// Reads events of an append, within [`parse_append`].
pub fn events<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(Objects(&EVENTS_LEFT, PhantomData))
}

/// A list of JSON objects whose number is bounded. By default, serde also accepts arrays that have
/// the members as elements in order.
struct Objects<T>(&'static LocalKey<Cell<Option<usize>>>, PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Objects<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of JSON objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Vec<T>, A::Error> {
        let mut objects = Vec::new();
        while let Some(object) = list.next_element::<Object<T>>()? {
            let left = self.0.get().and_then(|left| left.checked_sub(1));
            self.0.set(left);
            if left.is_none() {
                return Err(A::Error::custom("too many elements"));
            }
            objects.push(object.0);
        }
        Ok(objects)
    }
}

/// Reads JSON objects by name, which may not be arrays either.
pub fn named_objects<'de, T, D>(
    deserializer: D,
) -> std::result::Result<BTreeMap<String, T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let objects: BTreeMap<String, Object<T>> = BTreeMap::deserialize(deserializer)?;
    let objects = objects.into_iter();
    Ok(objects.map(|(name, object)| (name, object.0)).collect())
}

struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// Rejects a body whose type is not one of these; the error asks for the first one. A parameter
/// such as `charset=utf-8` may follow.
fn check_content_type(request: &Request, wanted: &[&str]) -> Result<()> {
    let given = request.headers().get(header::CONTENT_TYPE);
    let given = given.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let essence = given
        .as_deref()
        .and_then(|given| given.split(';').next())
        .unwrap_or_default()
        .trim();
    let is_wanted = |wanted: &&str| essence.eq_ignore_ascii_case(wanted);
    if wanted.iter().any(is_wanted) {
        return check_encoding(request);
    }
    let given = match &given {
        Some(given) => format!("{given:?}"),
        None => "none".to_owned(),
    };
    let wanted = wanted.first().unwrap_or(&BYTES);
    let detail = format!("the body must have Content-Type {wanted}, not {given}");
    Err(Failure::unsupported_body(detail))
}

/// Only bodies without a content encoding are accepted.
fn check_encoding(request: &Request) -> Result<()> {
    let mut given = request.headers().get_all(header::CONTENT_ENCODING).iter();
    let encoded = given.find(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    let Some(encoded) = encoded else {
        return Ok(());
    };
    let encoded = String::from_utf8_lossy(encoded.as_bytes());
    let detail = format!("the body has Content-Encoding {encoded:?}; send it as it is");
    Err(Failure::unsupported_body(detail))
}

fn paced(request: Request, app: &App) -> Paced<BodyDataStream> {
    let visit = Visit::of(&request);
    let chunks = request.into_body().into_data_stream();
    Paced::new(chunks, app.options.body_wait_max, &visit)
}

/// The bytes of a body, which count in the budget while they exist.
struct BodyBytes {
    bytes: Bytes,
    _held: BodyHeld,
    /// The permit of a large body.
    _turn: Option<OwnedSemaphorePermit>,
}

/// Bodies of at least this size are parsed on a thread that serves no connections.
const LARGE_BYTES: usize = 256 << 10;

/// Number of large bodies that are read and executed at the same time.
pub const LARGE_MAX: usize = 2;

/// Reads a body. If it is too long or has no room, reading continues for a while, so that the
/// client receives the answer.
async fn read(request: Request, max: usize, app: &App) -> Result<BodyBytes> {
    // A client that sends a little too much gets its answer after it has sent it; no other one is
    // waited for.
    let read_max = max.saturating_mul(4);
    if request.body().size_hint().lower() > read_max as u64 {
        return Err(too_large(max));
    }
    let mut stream = paced(request, app);
    let mut held = app.bodies.nothing();
    let (mut bytes, mut total) = (BytesMut::new(), 0usize);
    let mut has_room = true;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        total = total.saturating_add(chunk.len());
        if total > read_max {
            break;
        }
        if total > max || !has_room {
            continue;
        }
        bytes.extend_from_slice(&chunk);
        has_room = held.resize(bytes.capacity());
        if !has_room {
            (bytes, held) = (BytesMut::new(), app.bodies.nothing());
        }
    }
    if total > max {
        return Err(too_large(max));
    }
    if !has_room {
        let detail = "the bodies of all requests take as much memory as they may; try again";
        return Err(Failure::new(Code::Overloaded, detail));
    }
    let turn = match total > LARGE_BYTES {
        true => Arc::clone(&app.readings).acquire_owned().await.ok(),
        false => None,
    };
    Ok(BodyBytes {
        bytes: bytes.freeze(),
        _held: held,
        _turn: turn,
    })
}

fn too_large(max: usize) -> Failure {
    let detail = format!("the body has more than {max} bytes");
    Failure::new(Code::TooLarge, detail)
}

/// Processes bytes; when there are many, on a thread that serves no connections.
pub fn away<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    let has_others = matches!(flavor, Ok(RuntimeFlavor::MultiThread));
    match bytes > LARGE_BYTES && has_others {
        true => tokio::task::block_in_place(work),
        false => work(),
    }
}
