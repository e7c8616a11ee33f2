//! Projections: documents, each a fold of the events that concern it.

mod catalogue;
mod indexes;
mod recorded;
mod sources;

pub use catalogue::{Definition, Projections, Work};
pub use indexes::{Index, Indexes, Kind};
pub use recorded::{Recorded, Stored, Untyped};
pub use sources::Sources;
pub(crate) use sources::version;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Folds events into documents, which the host stores and finds by key and by index.
///
/// For each event [`keys`](Self::keys) returns the documents that it concerns, and
/// [`apply`](Self::apply) the next content of each of them. Both depend on their arguments
/// only, so documents can be rebuilt at any time. The host passes every event once, in the
/// order of the log.
///
/// ```
/// use quipu_guest::testing::projected;
/// use quipu_guest::{Indexes, Message, Projection, Recorded, Sources, projections};
/// use serde::{Deserialize, Serialize};
///
/// /// The events of the category `book` that it reads.
/// #[derive(Message, Serialize, Deserialize)]
/// #[serde(rename_all = "kebab-case")]
/// pub enum Event {
///     Lent { to: String },
///     Returned,
/// }
///
/// #[derive(Serialize, Deserialize, PartialEq, Debug)]
/// pub struct Reader { books: Vec<String> }
///
/// pub struct Readers;
///
/// impl Projection for Readers {
///     const NAME: &'static str = "books-by-reader";
///     type Event = Event;
///     type Document = Reader;
///
///     fn sources() -> Sources<Event> {
///         Sources::of("book")
///     }
///
///     fn indexes() -> Indexes {
///         Indexes::none().text("book", "/books")
///     }
///
///     fn keys(event: &Recorded<Event>) -> Vec<String> {
///         match &event.event {
///             Event::Lent { to } => vec![to.clone()],
///             Event::Returned => vec![],
///         }
///     }
///
///     fn apply(reader: Option<Reader>, _: &str, event: &Recorded<Event>) -> Option<Reader> {
///         let mut reader = reader.unwrap_or(Reader { books: vec![] });
///         reader.books.push(event.key().to_owned());
///         Some(reader)
///     }
/// }
///
/// projections!("book-views", Readers);
///
/// let readers = projected::<Readers>()
///     .event("book-ethica", Event::Lent { to: "ann".into() })
///     .event("book-ethica", Event::Returned);
/// assert_eq!(readers.document("ann"), Some(Reader { books: vec!["ethica".into()] }));
/// ```
///
/// Projections are a component of their own ([`projections!`](crate::projections)), or are
/// exported with a decider: `decider!(Book, projections = (Readers))`.
///
/// An event whose body doesn't fit fails as a bad event, a document that can't be read as
/// an error of the guest. What the host does then is configured when they are deployed.
pub trait Projection: 'static {
    /// The name of the documents, unique in a store: 1 to 48 of `a-z 0-9 _ -`, beginning with a
    /// letter.
    const NAME: &'static str;

    /// The version of the documents. Raise it whenever their content or form changes. The
    /// host then rebuilds all documents next to the current ones, and switches when the new
    /// ones have caught up.
    const VERSION: u32 = 1;

    /// Whether it reads the events' [tags](Recorded::tags).
    const TAGS: bool = false;

    /// Whether it reads the events' metadata: [`Recorded::annotation`].
    const ANNOTATIONS: bool = false;

    /// The events that it reads.
    type Event;

    /// A document. The host stores its JSON form, of at most 1 MiB.
    type Document: Serialize + DeserializeOwned;

    /// The categories and types of the events that it reads.
    fn sources() -> Sources<Self::Event>;

    /// Values by which documents can be found in addition to their key.
    fn indexes() -> Indexes {
        Indexes::none()
    }

    /// Returns the keys of the documents that the event concerns, each key once. A key has 1 to 255
    /// bytes. An event has at most 256 keys. The event's position is not known yet: it is 0.
    fn keys(event: &Recorded<Self::Event>) -> Vec<String>;

    /// Returns the document of that key after the event; none when there is none, or no longer.
    fn apply(
        document: Option<Self::Document>,
        key: &str,
        event: &Recorded<Self::Event>,
    ) -> Option<Self::Document>;
}
