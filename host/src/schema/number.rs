//! Numbers, compared without rounding where both are integers.

use std::cmp::Ordering;
use std::fmt;

/// A number of JSON.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    Integer(i128),
    Double(f64),
}

impl Number {
    pub fn of(number: &serde_json::Number) -> Self {
        let unsigned = number.as_u64().map(i128::from);
        match unsigned.or(number.as_i64().map(i128::from)) {
            Some(integer) => Self::Integer(integer),
            None => Self::Double(number.as_f64().unwrap_or_default()),
        }
    }

    /// Whether it has no fraction: `1.0` is an integer.
    pub fn is_integer(self) -> bool {
        match self {
            Self::Integer(_) => true,
            Self::Double(double) => double.fract() == 0.0,
        }
    }

    pub fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Integer(one), Self::Integer(other)) => one.cmp(&other),
            (one, other) => one.double().total_cmp(&other.double()),
        }
    }

    fn double(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            // Without the sign of zero.
            Self::Double(double) => double + 0.0,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => integer.fmt(f),
            Self::Double(double) => write!(f, "{double:?}"),
        }
    }
}
