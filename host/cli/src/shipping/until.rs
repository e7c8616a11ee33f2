//! The point up to which a log is recovered.

use std::str::FromStr;

use quipu::model::Timestamp;

/// The point up to which a log is recovered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Until {
    /// Everything that was shipped.
    #[default]
    End,
    /// Commits whose last event is at or before this position.
    Position(u64),
    /// Commits before the first one that was recorded after this time.
    Time(String),
}

impl Until {
    /// Whether a commit is included, by its last position and the time of its last event.
    pub fn includes(&self, position: u64, time: &str) -> bool {
        match self {
            Self::End => true,
            Self::Position(until) => position <= *until,
            // Both have the same number of digits.
            Self::Time(until) => time <= until.as_str(),
        }
    }
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let position = text.parse().map_err(|error| format!("position: {error}"))?;
            return Ok(Self::Position(position));
        }
        let time: Option<jiff::Timestamp> = text.parse().ok();
        let micros = time.and_then(|time| u64::try_from(time.as_microsecond()).ok());
        match micros {
            Some(micros) => Ok(Self::Time(Timestamp(micros).to_string())),
            None => Err("expected a position, or a time as 2026-05-04T12:00:00Z".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_position_or_a_time() {
        assert_eq!("17".parse(), Ok(Until::Position(17)));
        let time = Until::Time("2026-05-04T10:00:00.000000Z".to_owned());
        assert_eq!("2026-05-04T12:00:00+02:00".parse(), Ok(time.clone()));
        assert!(time.includes(9, "2026-05-04T10:00:00.000000Z"));
        assert!(!time.includes(1, "2026-05-04T10:00:00.000001Z"));
        for wrong in [
            "",
            "-1",
            "now",
            "2026-05-04",
            "99999999999999999999",
            "1960-01-01T00:00:00Z",
        ] {
            assert!(wrong.parse::<Until>().is_err(), "{wrong}");
        }
    }
}
