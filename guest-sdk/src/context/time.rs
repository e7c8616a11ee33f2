use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use super::ParseError;
use super::parse::as_string;

/// A moment from 1970 to 9999, in microseconds and UTC.
///
/// Its text is that of RFC 3339, always with six digits after the second and `Z`, so texts sort as
/// the moments do. JSON has the same text. Reading also accepts other offsets and up to nine
/// digits, of which it drops those after the sixth.
///
/// ```
/// use std::time::Duration;
/// use quipu_guest::Time;
///
/// let noon: Time = "2026-01-01T13:00:00+01:00".parse()?;
/// assert_eq!(noon.to_string(), "2026-01-01T12:00:00.000000Z");
/// assert_eq!(noon.as_us(), 1_767_268_800_000_000);
/// let due = noon + Duration::from_secs(90);
/// assert!(due > noon);
/// assert_eq!(due.since(noon), Duration::from_secs(90));
/// # Ok::<(), quipu_guest::ParseError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

const US_PER_SECOND: u64 = 1_000_000;
const US_PER_DAY: u64 = 86_400 * US_PER_SECOND;

const EXPECTED: &str = "a time as in RFC 3339, from 1970 to 9999, such as 2026-01-01T12:00:00Z";

impl Time {
    /// The first moment of 1970, which is also the default.
    pub const UNIX_EPOCH: Time = Time(0);

    /// The last microsecond of the year 9999.
    pub const MAX: Time = Time(253_402_300_799_999_999);

    /// Makes a time of microseconds since 1970. A number after [`MAX`](Self::MAX) becomes `MAX`.
    pub const fn from_us(us: u64) -> Self {
        if us > Time::MAX.0 {
            Time::MAX
        } else {
            Time(us)
        }
    }

    /// Returns the microseconds since 1970.
    pub const fn as_us(self) -> u64 {
        self.0
    }

    /// Returns how much later it is than another time; zero when it is not later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Adds a duration, without its nanoseconds. The sum is at most [`Time::MAX`].
impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        Time::from_us(self.0.saturating_add(us(duration)))
    }
}

/// Subtracts a duration, without its nanoseconds. The difference is at least [`Time::UNIX_EPOCH`].
impl Sub<Duration> for Time {
    type Output = Time;

    fn sub(self, duration: Duration) -> Time {
        Time(self.0.saturating_sub(us(duration)))
    }
}

fn us(duration: Duration) -> u64 {
    duration.as_micros().try_into().unwrap_or(u64::MAX)
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0 / US_PER_DAY);
        let us = self.0 % US_PER_DAY;
        let seconds = us / US_PER_SECOND;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            us % US_PER_SECOND
        )
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Time {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        read(text.as_bytes()).ok_or_else(|| ParseError::new(text, EXPECTED))
    }
}

impl TryFrom<&str> for Time {
    type Error = ParseError;

    fn try_from(text: &str) -> Result<Self, ParseError> {
        text.parse()
    }
}

as_string!(Time, "a time as in RFC 3339");

/// Reads `YYYY-MM-DDThh:mm:ss`, an optional fraction, and the offset.
fn read(text: &[u8]) -> Option<Time> {
    let (head, rest) = text.split_at_checked(19)?;
    let is_separated = head[4] == b'-'
        && head[7] == b'-'
        && head[10].eq_ignore_ascii_case(&b'T')
        && head[13] == b':'
        && head[16] == b':';
    let (year, month, day) = (
        number(&head[..4])?,
        number(&head[5..7])?,
        number(&head[8..10])?,
    );
    let (hour, minute, second) = (
        number(&head[11..13])?,
        number(&head[14..16])?,
        number(&head[17..19])?,
    );
    let is_in_range = year >= 1970
        && (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !is_separated || !is_in_range {
        return None;
    }
    let (us, rest) = fraction(rest)?;
    let days = days_before(year) + days_of_year_before(year, month) + day - 1;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let us = i128::from(seconds * US_PER_SECOND + us) - offset(rest)?;
    let us = u64::try_from(us).ok()?;
    (us <= Time::MAX.0).then_some(Time(us))
}

/// Reads the digits after the second, if there are any. Returns microseconds and the rest.
fn fraction(text: &[u8]) -> Option<(u64, &[u8])> {
    let Some(digits) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let count = digits.iter().take_while(|it| it.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    let (digits, rest) = digits.split_at(count);
    let used = &digits[..count.min(6)];
    Some((number(used)? * 10_u64.pow(6 - used.len() as u32), rest))
}

/// Reads `Z` or `+hh:mm`. Returns microseconds to the east of UTC.
fn offset(text: &[u8]) -> Option<i128> {
    let (sign, hours, minutes) = match text {
        b"Z" | b"z" => return Some(0),
        [b'+', h, i, b':', m, n] => (1, number(&[*h, *i])?, number(&[*m, *n])?),
        [b'-', h, i, b':', m, n] => (-1, number(&[*h, *i])?, number(&[*m, *n])?),
        _ => return None,
    };
    let seconds = hours * 3600 + minutes * 60;
    let is_in_range = hours < 24 && minutes < 60;
    is_in_range.then(|| sign * i128::from(seconds * US_PER_SECOND))
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u64::from(digit - b'0'))
    })
}

/// Returns year, month and day of a number of days since 1970.
fn date(days: u64) -> (u64, u64, u64) {
    // 400 years have 146,097 days. The estimate is at most one year too high or too low.
    let mut year = 1970 + days * 400 / 146_097;
    while days_before(year) > days {
        year -= 1;
    }
    while days_before(year + 1) <= days {
        year += 1;
    }
    let day_of_year = days - days_before(year);
    let month = (1..=12)
        .rev()
        .find(|month| days_of_year_before(year, *month) <= day_of_year)
        .unwrap_or(1);
    let day = day_of_year - days_of_year_before(year, month) + 1;
    (year, month, day)
}

/// Returns the number of days from 1970 to the first day of a year.
fn days_before(year: u64) -> u64 {
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969)
}

fn days_of_year_before(year: u64, month: u64) -> u64 {
    (1..month).map(|month| days_of_month(year, month)).sum()
}

fn days_of_month(year: u64, month: u64) -> u64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, us: u64, shown: &str) {
        let time: Time = text.parse().unwrap();
        assert_eq!((time.as_us(), time.to_string()), (us, shown.to_owned()));
        let json = serde_json::to_string(&time).unwrap();
        assert_eq!(json, format!("\"{shown}\""));
        assert_eq!(serde_json::from_str::<Time>(&json).unwrap(), time);
    }

    #[test]
    fn a_time_is_read_and_written_as_in_rfc_3339() {
        check("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000000Z");
        check(
            "2000-02-29t23:59:59.5z",
            951_868_799_500_000,
            "2000-02-29T23:59:59.500000Z",
        );
        check(
            "2026-12-31T23:30:00.123456789-01:00",
            1_798_763_400_123_456,
            "2027-01-01T00:30:00.123456Z",
        );
        check(
            "9999-12-31T23:59:59.999999Z",
            Time::MAX.as_us(),
            "9999-12-31T23:59:59.999999Z",
        );
        check(
            "1970-01-01T01:00:00+01:00",
            0,
            "1970-01-01T00:00:00.000000Z",
        );
    }

    #[test]
    fn what_is_not_a_time_is_named() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01 12:00:00Z",
            "2026-01-01T12:00:00",
            "2026-01-01T12:00:00.Z",
            "2026-01-01T12:00:00.1234567890Z",
            "2026-01-01T12:00:00+24:00",
            "2026-01-01T12:00:00+0100",
            "2026-01-01T12:00:00ZZ",
            "2026-13-01T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "2100-02-29T12:00:00Z",
            "2026-00-01T12:00:00Z",
            "2026-01-00T12:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T12:60:00Z",
            "2026-01-01T12:00:60Z",
            "+026-01-01T12:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "2026-01-01T12:00:0éZ",
        ] {
            let error = text.parse::<Time>().unwrap_err().to_string();
            assert_eq!(error, format!("{text:?}: expected {EXPECTED}"));
        }
        let long = "x".repeat(100_000).parse::<Time>().unwrap_err();
        assert!(long.to_string().len() < 200);
        let error = serde_json::from_str::<Time>("1").unwrap_err().to_string();
        assert!(error.contains("expected a time as in RFC 3339"), "{error}");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = (1970, 1, 1);
        for days in 0..=Time::MAX.as_us() / US_PER_DAY {
            assert_eq!(date(days), expected);
            let (year, month, day) = expected;
            let text = format!("{year:04}-{month:02}-{day:02}T00:00:00Z");
            assert_eq!(read(text.as_bytes()), Some(Time(days * US_PER_DAY)));
            expected = if day < days_of_month(year, month) {
                (year, month, day + 1)
            } else if month < 12 {
                (year, month + 1, 1)
            } else {
                (year + 1, 1, 1)
            };
        }
        assert_eq!(expected, (10_000, 1, 1));
    }

    #[test]
    fn sums_and_differences_stay_within_the_range() {
        let second = Duration::from_secs(1);
        assert_eq!(Time::UNIX_EPOCH - second, Time::UNIX_EPOCH);
        assert_eq!(Time::MAX + second, Time::MAX);
        assert_eq!(Time::UNIX_EPOCH + Duration::MAX, Time::MAX);
        assert_eq!(Time::from_us(u64::MAX), Time::MAX);
        assert_eq!(Time::UNIX_EPOCH.since(Time::MAX), Duration::ZERO);
        assert_eq!((Time::UNIX_EPOCH + second).as_us(), 1_000_000);
        assert_eq!(Time::UNIX_EPOCH + Duration::from_nanos(1_999), Time(1));
    }
}
