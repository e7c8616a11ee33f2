//! Names of findings.

use std::fmt;
use std::str::FromStr;

use super::report::Kind;
use crate::model::{CommandId, Digest, Invalid, Mismatch, StreamId, Version};

/// The name of a finding. It is the same in every run, and operators acknowledge findings by it.
///
/// | form | used for |
/// | --- | --- |
/// | `KIND:STREAM@VERSION` | a recorded command or event: `decision`, `rejected`, `command`, `module`, `fault`, `fold`, `order` |
/// | `KIND:STREAM@VERSION#DIGEST` | a stored rejection (`accepted`, `rejection`, `command`, `module`, `fault`), with the digest of the command's id; a `snapshot`, with that of its fold |
/// | `digest:STREAM@VERSION` | a commit that does not have its digest, or a missing event; for a position that is missing in a log without holes, STREAM is `$log` and VERSION the position |
/// | `stored-module:DIGEST` | a module whose stored bytes were changed: DIGEST is its whole digest |
/// | `audit:NUMBER` | the first audit record that was changed, inserted or is missing |
/// | `document:PROJECTION/MISMATCH/KEY` | a document: `changed` if it does not have its digest; `different`, `only-stored`, `only-folded`, `unfoldable`; or `unreadable`, where KEY is a stream |
///
/// VERSION is the first version that the finding concerns. For `fold`, it is the first version that
/// can't be folded. DIGEST is the first 12 hexadecimal digits of a SHA-256 digest. The kind is part
/// of the name, so a finding of another kind has another name.
///
/// ```
/// let name: quipu::proof::FindingName = "decision:loan-17@42".parse().unwrap();
/// assert_eq!(name.as_str(), "decision:loan-17@42");
/// assert!("decision:loan-17".parse::<quipu::proof::FindingName>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FindingName(Box<str>);

/// Whether a name ends with a digest.
#[derive(PartialEq, Eq)]
enum Suffix {
    Never,
    May,
    Must,
}

impl FindingName {
    /// Longest name, in bytes.
    pub const BYTES_MAX: usize = 512;

    /// Creates the name of a finding about a recorded command or event.
    pub(super) fn at(kind: Kind, stream: &StreamId, version: Version) -> Self {
        Self(format!("{kind}:{stream}@{version}").into())
    }

    /// Creates the name of a finding about a stored rejection.
    pub(super) fn of_rejection(
        kind: Kind,
        (stream, version): (&StreamId, Version),
        command: &CommandId,
    ) -> Self {
        let digest = Digest::of(command.as_str().as_bytes()).short();
        Self(format!("{kind}:{stream}@{version}#{digest}").into())
    }

    /// Creates the name of a finding about a snapshot.
    pub(super) fn of_snapshot(stream: &StreamId, version: Version, fold: Digest) -> Self {
        let digest = fold.short();
        Self(format!("{}:{stream}@{version}#{digest}", Kind::Snapshot).into())
    }

    /// Creates the name of a finding about the bytes of a module.
    pub(super) fn of_stored_module(digest: Digest) -> Self {
        Self(format!("{}:{digest}", Kind::StoredModule).into())
    }

    /// Creates the name of a finding about a record of the audit.
    pub(super) fn of_audit(number: u64) -> Self {
        Self(format!("{}:{number}", Kind::Audit).into())
    }

    /// Creates the name of a finding about a document.
    pub(super) fn of_document(projection: &str, mismatch: Mismatch, key: &str) -> Self {
        Self(format!("{}:{projection}/{mismatch}/{key}", Kind::Document).into())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FindingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FindingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for FindingName {
    type Err = Invalid;

    /// Checks only the form of the name. The finding need not exist.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = text.len();
        if found > Self::BYTES_MAX {
            let max = Self::BYTES_MAX;
            return Err(Invalid(format!(
                "a finding's name has at most {max} bytes, this one has {found}"
            )));
        }
        let wrong = |why: &str| {
            Invalid(format!(
                "finding {text:?}: {why}; names are as decision:loan-17@42 or \
                 document:applications/different/17, and `quipu verify` prints them"
            ))
        };
        if text.chars().any(char::is_control) {
            return Err(wrong("it holds a control character"));
        }
        let (kind, rest) = text
            .split_once(':')
            .ok_or_else(|| wrong("there is no kind before a colon"))?;
        let kind: Kind = kind.parse()?;
        let suffix = match kind {
            Kind::Document => {
                check_document(rest).map_err(|why| wrong(&why))?;
                return Ok(Self(text.into()));
            }
            Kind::StoredModule => {
                let digest = rest.parse::<Digest>().map_err(|why| wrong(&why.0))?;
                return match digest.to_string() == rest {
                    true => Ok(Self(text.into())),
                    false => Err(wrong("the digest has upper case letters")),
                };
            }
            Kind::Audit => {
                return match number(rest) {
                    Some(_) => Ok(Self(text.into())),
                    None => Err(wrong("it is not the number of an audit record")),
                };
            }
            Kind::Decision | Kind::Rejected | Kind::Fold | Kind::Order | Kind::Digest => {
                Suffix::Never
            }
            Kind::Command | Kind::Module | Kind::Fault => Suffix::May,
            Kind::Accepted | Kind::Rejection | Kind::Snapshot => Suffix::Must,
            Kind::EventType
            | Kind::Impure
            | Kind::Projection
            | Kind::Unwritten
            | Kind::Unlifted
            | Kind::Rebuild
            | Kind::Fuel => {
                let why = format!("a verification finds no {kind}; a preflight takes --allow");
                return Err(wrong(&why));
            }
        };
        check_place(rest, &suffix).map_err(|why| wrong(&why))?;
        Ok(Self(text.into()))
    }
}

/// Checks `STREAM@VERSION` or `STREAM@VERSION#DIGEST`.
fn check_place(place: &str, suffix: &Suffix) -> Result<(), String> {
    let is_digest = |text: &str| {
        text.len() == 12 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    // A version has no #, so the last one belongs to a digest or to the stream.
    let (place, has_digest) = match place.rsplit_once('#') {
        Some((before, digest)) if is_digest(digest) && version(before).is_some() => (before, true),
        _ => (place, false),
    };
    let Some((stream, _)) = version(place) else {
        return Err("there is no @ and version after the stream".to_owned());
    };
    if has_digest && *suffix == Suffix::Never {
        return Err("this kind has no # and digest".to_owned());
    }
    if !has_digest && *suffix == Suffix::Must {
        return Err("this kind has a # and 12 hexadecimal digits after the version".to_owned());
    }
    stream.parse::<StreamId>().map_err(|why| why.0)?;
    Ok(())
}

/// Splits a place into its stream and its version, which must be in canonical form.
fn version(place: &str) -> Option<(&str, u64)> {
    let (stream, version) = place.rsplit_once('@')?;
    number(version).map(|number| (stream, number))
}

/// Reads a number in canonical form.
fn number(text: &str) -> Option<u64> {
    let number = text.parse::<u64>().ok()?;
    let is_canonical = number.to_string() == text && i64::try_from(number).is_ok();
    is_canonical.then_some(number)
}

/// Checks `PROJECTION/MISMATCH/KEY`.
fn check_document(place: &str) -> Result<(), String> {
    let mut parts = place.splitn(3, '/');
    let (Some(projection), Some(mismatch), Some(key)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err("it is not a projection, what is wrong, and a key".to_owned());
    };
    if !is_projection(projection) {
        return Err(format!("{projection:?} is not the name of a projection"));
    }
    mismatch.parse::<Mismatch>().map_err(|why| why.0)?;
    match key.is_empty() {
        true => Err("the key is empty".to_owned()),
        false => Ok(()),
    }
}

fn is_projection(name: &str) -> bool {
    let is_plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    (1..=48).contains(&name.len()) && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<FindingName, Invalid> {
        text.parse()
    }

    #[test]
    fn a_name_is_read_as_it_was_made() {
        let stream: StreamId = "loan-17@3#0123456789ab".parse().unwrap();
        let id = CommandId::new("a/b @ c").unwrap();
        for name in [
            FindingName::at(Kind::Decision, &stream, Version(42)),
            FindingName::of_rejection(Kind::Accepted, (&stream, Version(0)), &id),
            FindingName::of_rejection(Kind::Fault, (&stream, Version(1)), &id),
            FindingName::of_snapshot(&stream, Version(7), Digest([3; 32])),
            FindingName::at(Kind::Digest, &stream, Version(3)),
            FindingName::of_stored_module(Digest([0xAB; 32])),
            FindingName::of_audit(17),
            FindingName::of_document("notes-2", Mismatch::OnlyFolded, "a/b@1#é"),
        ] {
            assert_eq!(check(name.as_str()).unwrap(), name);
        }
    }

    #[test]
    fn the_longest_name_is_taken() {
        let stream: StreamId = "é".repeat(127).parse().unwrap();
        let id = CommandId::new("x").unwrap();
        let place = (&stream, Version(i64::MAX.unsigned_abs()));
        let name = FindingName::of_rejection(Kind::Rejection, place, &id);
        assert_eq!(check(name.as_str()).unwrap(), name);
        let projection = "p".repeat(48);
        let key = "é".repeat(127);
        let name = FindingName::of_document(&projection, Mismatch::OnlyStored, &key);
        assert_eq!(check(name.as_str()).unwrap(), name);
    }

    #[test]
    fn anything_else_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "no kind"),
            ("loan-17@42", "no kind"),
            ("nonsense:loan-17@42", "no kind of finding"),
            ("fuel:loan-17@42", "finds no fuel"),
            ("decision:loan-17", "no @ and version"),
            ("decision:loan-17@", "no @ and version"),
            ("decision:loan-17@042", "no @ and version"),
            ("decision:loan-17@-1", "no @ and version"),
            ("decision:loan-17@9223372036854775808", "no @ and version"),
            ("decision:@1", "stream"),
            ("decision:loan-17@1#0123456789ab", "no # and digest"),
            ("accepted:loan-17@1", "has a # and 12"),
            ("snapshot:loan-17@1#0123456789AB", "no @ and version"),
            ("decision:loan\n17@1", "control character"),
            ("digest:loan-17", "no @ and version"),
            ("stored-module:loan-17", "64 hexadecimal digits"),
            ("audit:07", "not the number of an audit record"),
            ("document:notes", "not a projection, what is wrong"),
            ("document:notes/different/", "key is empty"),
            ("document:No/different/a", "not the name of a projection"),
            ("document:notes/wrong/a", "mismatch"),
        ] {
            let error = check(text).unwrap_err().0;
            assert!(error.contains(why), "{text}: {error}");
        }
        let long = format!("document:notes/different/{}", "x".repeat(500));
        assert!(check(&long).unwrap_err().0.contains("at most 512 bytes"));
    }
}
