//! Compares JSON texts as values, with every digit of their numbers.

use std::borrow::Cow;

use super::check_json;

/// Whether two JSON texts are the same value.
///
/// White space, the order of an object's members, and the spelling of strings and numbers make no
/// difference: `"\u0041"` is `"A"`, and `1`, `1.0`, `10e-1` and `1E0` are the same number. `-0` is
/// `0`. Numbers are compared as decimals of any length, never as doubles, so a difference in the
/// twentieth digit counts. The size of an exponent has no influence on the cost.
///
/// An object may have several members with the same name. Two such objects are equal only if each
/// name has the same values in the same order.
///
/// A surrogate without its partner, as in `"\ud800"`, is equal only to itself. A text that is not
/// well-formed, or nested deeper than [`JSON_DEPTH_MAX`](super::JSON_DEPTH_MAX), is equal only to
/// the same bytes.
///
/// ```
/// use quipu_model::is_same_json;
/// assert!(is_same_json(br#"{"a":1,"b":[2.50]}"#, br#"{ "b": [25e-1], "a": 1.0 }"#));
/// assert!(!is_same_json(b"12345678901234567890", b"12345678901234567891"));
/// ```
pub fn is_same_json(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    let (mut ones, mut others) = (Cursor::new(one), Cursor::new(other));
    check_json(one).is_ok() && check_json(other).is_ok() && is_same_value(&mut ones, &mut others)
}

/// Compares the next values of two well-formed texts. If they are equal, moves past both.
fn is_same_value(ones: &mut Cursor<'_>, others: &mut Cursor<'_>) -> bool {
    match (ones.next(), others.next()) {
        (Token::Array, Token::Array) => is_same_array(ones, others),
        (Token::Object, Token::Object) => is_same_object(ones, others),
        (Token::String(one), Token::String(other)) => {
            one == other || unescaped(one) == unescaped(other)
        }
        (Token::Number(one), Token::Number(other)) => {
            one == other || Number::new(one) == Number::new(other)
        }
        (Token::Word(one), Token::Word(other)) => one == other,
        _ => false,
    }
}

fn is_same_array(ones: &mut Cursor<'_>, others: &mut Cursor<'_>) -> bool {
    loop {
        match (ones.ends(), others.ends()) {
            (true, true) => return true,
            (false, false) if is_same_value(ones, others) => {}
            _ => return false,
        }
    }
}

fn is_same_object(ones: &mut Cursor<'_>, others: &mut Cursor<'_>) -> bool {
    // Texts written by the same program usually have their members in the same order.
    loop {
        let (mut one, mut other) = (*ones, *others);
        match (one.ends(), other.ends()) {
            (true, true) => {
                (*ones, *others) = (one, other);
                return true;
            }
            (false, false) => {}
            _ => return false,
        }
        if one.name() != other.name() {
            break;
        }
        (*ones, *others) = (one, other);
        if !is_same_value(ones, others) {
            return false;
        }
    }
    let (one, other) = (ones.members(), others.members());
    let mut pairs = one.iter().zip(&other);
    one.len() == other.len()
        && pairs.all(|((name, value), (other_name, other_value))| {
            name == other_name
                && is_same_value(&mut Cursor::new(value), &mut Cursor::new(other_value))
        })
}

/// A part of a well-formed text.
enum Token<'a> {
    /// An array begins.
    Array,
    /// An object begins.
    Object,
    /// A string, as written between its quotes.
    String(&'a [u8]),
    /// A number, as written.
    Number(&'a [u8]),
    /// `true`, `false` or `null`.
    Word(&'a [u8]),
}

/// A position in a well-formed text. Commas and colons are skipped like white space, because
/// nothing depends on them in such a text.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    fn skip_space(&mut self) {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':');
        let end = self.rest.iter().position(|byte| !is_space(byte));
        self.rest = &self.rest[end.unwrap_or(self.rest.len())..];
    }

    /// Takes at most `len` bytes.
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Returns the next part. At the end of the text, this is an empty word.
    fn next(&mut self) -> Token<'a> {
        self.skip_space();
        match self.rest.first() {
            Some(b'[') => {
                self.take(1);
                Token::Array
            }
            Some(b'{') => {
                self.take(1);
                Token::Object
            }
            Some(b'"') => Token::String(self.string()),
            Some(b'-' | b'0'..=b'9') => Token::Number(self.scalar()),
            _ => Token::Word(self.scalar()),
        }
    }

    /// Whether the array or object ends here. If so, moves past its end.
    fn ends(&mut self) -> bool {
        self.skip_space();
        let ends = matches!(self.rest.first(), Some(b']' | b'}') | None);
        if ends {
            self.take(1);
        }
        ends
    }

    /// Returns the content of the string that begins here.
    fn string(&mut self) -> &'a [u8] {
        self.take(1);
        let mut len = 0;
        while let Some(byte) = self.rest.get(len) {
            match byte {
                b'"' => break,
                b'\\' => len += 2,
                _ => len += 1,
            }
        }
        let inside = self.take(len);
        self.take(1);
        inside
    }

    fn scalar(&mut self) -> &'a [u8] {
        let is_inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let end = self.rest.iter().position(|byte| !is_inside(byte));
        self.take(end.unwrap_or(self.rest.len()))
    }

    /// Returns the name of the member that begins here.
    fn name(&mut self) -> Cow<'a, [u8]> {
        self.skip_space();
        unescaped(self.string())
    }

    /// Returns the text of the next value.
    fn value(&mut self) -> &'a [u8] {
        self.skip_space();
        let (start, mut depth) = (self.rest, 0_usize);
        loop {
            match self.next() {
                Token::Array | Token::Object => depth += 1,
                _ => {}
            }
            while depth > 0 && self.ends() {
                depth -= 1;
            }
            if depth == 0 {
                return &start[..start.len() - self.rest.len()];
            }
        }
    }

    /// Returns the remaining members of the object, sorted by name. Members with the same name keep
    /// their order.
    fn members(&mut self) -> Vec<(Cow<'a, [u8]>, &'a [u8])> {
        let mut members = Vec::new();
        while !self.ends() {
            members.push((self.name(), self.value()));
        }
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        members
    }
}

/// Returns the characters of a string in UTF-8. A surrogate without a partner is encoded as if it
/// were a character.
fn unescaped(inside: &[u8]) -> Cow<'_, [u8]> {
    if !inside.contains(&b'\\') {
        return Cow::Borrowed(inside);
    }
    let mut text = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            text.push(*byte);
            continue;
        }
        let Some((escape, after)) = rest.split_first() else {
            break;
        };
        rest = after;
        match escape {
            b'b' => text.push(8),
            b'f' => text.push(12),
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'u' => {
                let unit = code_unit(&mut rest);
                push_character(&mut text, character(unit, &mut rest));
            }
            itself => text.push(*itself),
        }
    }
    Cow::Owned(text)
}

/// Reads the four hexadecimal digits of an escape.
fn code_unit(rest: &mut &[u8]) -> u32 {
    let (digits, after) = rest.split_at(rest.len().min(4));
    *rest = after;
    digits.iter().fold(0, |unit, digit| {
        unit * 16 + char::from(*digit).to_digit(16).unwrap_or_default()
    })
}

/// Returns the character of an escaped code unit. For a surrogate pair, the second half is consumed
/// as well.
fn character(unit: u32, rest: &mut &[u8]) -> u32 {
    if !(0xD800..0xDC00).contains(&unit) {
        return unit;
    }
    let Some(mut after) = rest.strip_prefix(b"\\u") else {
        return unit;
    };
    let second = code_unit(&mut after);
    if !(0xDC00..0xE000).contains(&second) {
        return unit;
    }
    *rest = after;
    0x1_0000 + ((unit - 0xD800) << 10) + (second - 0xDC00)
}

fn push_character(text: &mut Vec<u8>, character: u32) {
    if let Some(character) = char::from_u32(character) {
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        return;
    }
    let low = |shift: u32| 0x80 | (character >> shift & 0x3F) as u8;
    text.extend_from_slice(&[0xE0 | (character >> 12 & 0x0F) as u8, low(6), low(0)]);
}

/// A number in a canonical form that all its spellings share.
#[derive(Debug, PartialEq, Eq)]
enum Number<'a> {
    Zero,
    /// 0.DIGITS times ten to the exponent. The first and the last digit are not 0.
    Other {
        is_negative: bool,
        digits: Cow<'a, [u8]>,
        exponent: Exponent,
    },
}

/// An integer of any size, in canonical form.
#[derive(Debug, PartialEq, Eq)]
enum Exponent {
    /// At most [`Exponent::SMALL_DIGITS`] digits.
    Small(i128),
    /// More digits. The first digit is not 0.
    Large { is_negative: bool, digits: Vec<u8> },
}

impl<'a> Number<'a> {
    /// Reads a well-formed number.
    fn new(text: &'a [u8]) -> Self {
        let (is_negative, text) = match text.strip_prefix(b"-") {
            Some(text) => (true, text),
            None => (false, text),
        };
        let is_mark = |byte: &u8| matches!(byte, b'e' | b'E');
        let mark = text.iter().position(is_mark).unwrap_or(text.len());
        let (mantissa, exponent) = text.split_at(mark);
        let point = mantissa.iter().position(|byte| *byte == b'.');
        let (whole, fraction) = mantissa.split_at(point.unwrap_or(mantissa.len()));
        let fraction = fraction.strip_prefix(b".").unwrap_or(fraction);
        let (whole, fraction) = (without_leading(whole), without_trailing(fraction));
        let (digits, scale) = if whole.is_empty() {
            let digits = without_leading(fraction);
            let zeros = length(fraction) - length(digits);
            (Cow::Borrowed(digits), -zeros)
        } else if fraction.is_empty() {
            (Cow::Borrowed(without_trailing(whole)), length(whole))
        } else {
            (Cow::Owned([whole, fraction].concat()), length(whole))
        };
        if digits.is_empty() {
            return Self::Zero;
        }
        Self::Other {
            is_negative,
            digits,
            exponent: Exponent::new(exponent.get(1..).unwrap_or_default(), scale),
        }
    }
}

impl Exponent {
    /// Number of digits that always fit an `i128` together with a scale.
    const SMALL_DIGITS: usize = 37;

    /// Parses a written exponent and adds a scale.
    fn new(text: &[u8], scale: i128) -> Self {
        let (is_negative, digits) = match text.split_first() {
            Some((b'-', digits)) => (true, digits),
            Some((b'+', digits)) => (false, digits),
            _ => (false, text),
        };
        let digits = without_leading(digits);
        if digits.len() <= Self::SMALL_DIGITS {
            let size = digits.iter().fold(0, |size, digit| {
                size * 10 + i128::from(digit.saturating_sub(b'0'))
            });
            let size = if is_negative { -size } else { size };
            return Self::small(size + scale);
        }
        // The scale is shorter than the text, so it can't change the sign.
        let mut digits = digits.to_vec();
        let mut carry = if is_negative { -scale } else { scale };
        for digit in digits.iter_mut().rev() {
            let sum = i128::from(digit.saturating_sub(b'0')) + carry;
            *digit = b'0' + u8::try_from(sum.rem_euclid(10)).unwrap_or_default();
            carry = sum.div_euclid(10);
        }
        while carry > 0 {
            digits.insert(0, b'0' + u8::try_from(carry % 10).unwrap_or_default());
            carry /= 10;
        }
        let start = digits.len() - without_leading(&digits).len();
        digits.drain(..start);
        if digits.len() <= Self::SMALL_DIGITS {
            let text = [if is_negative { b"-" } else { b"+" }, &digits[..]].concat();
            return Self::new(&text, 0);
        }
        Self::Large {
            is_negative,
            digits,
        }
    }

    fn small(value: i128) -> Self {
        let digits = value.unsigned_abs().to_string().into_bytes();
        if digits.len() <= Self::SMALL_DIGITS {
            return Self::Small(value);
        }
        Self::Large {
            is_negative: value < 0,
            digits,
        }
    }
}

/// Converts a length to a scale. No text is longer than an `i128` can count.
fn length(digits: &[u8]) -> i128 {
    i128::try_from(digits.len()).unwrap_or(i128::MAX)
}

fn without_leading(digits: &[u8]) -> &[u8] {
    let start = digits.iter().position(|digit| *digit != b'0');
    &digits[start.unwrap_or(digits.len())..]
}

fn without_trailing(digits: &[u8]) -> &[u8] {
    let last = digits.iter().rposition(|digit| *digit != b'0');
    &digits[..last.map_or(0, |last| last + 1)]
}

#[cfg(test)]
mod tests;
