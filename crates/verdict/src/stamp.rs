//! Dates of facts: kept as written, compared in UTC seconds.

use alloc::{
    format,
    string::{String, ToString},
};
use core::fmt;
use serde::{Deserialize, Serialize};

/// A date (`2026-11-20`) or an instant with offset (`2025-09-16T00:00:00+09:00`, RFC 3339), kept as written.
///
/// As a start a bare date is 00:00 UTC of that day; as an end it includes the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Stamp {
    text: String,
    start: i64,
    date_only: bool,
}

impl Stamp {
    /// Reads a date or an RFC 3339 instant; a fraction of a second is cut off.
    ///
    /// # Errors
    /// When the text is neither, or names a day that does not exist.
    pub fn parse(text: &str) -> Result<Self, StampError> {
        let wrong = || StampError { text: text.to_string() };
        let (date, time) = match text.split_once(['T', 't']) {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let midnight = date_seconds(date).ok_or_else(wrong)?;
        let seconds = time.map_or(Some(0), time_seconds).ok_or_else(wrong)?;
        Ok(Self { text: text.to_string(), start: midnight + seconds, date_only: time.is_none() })
    }

    /// The instant of these Unix seconds, written in UTC; only years 1 to 9999 can be written.
    ///
    /// # Errors
    /// When the year is outside that range.
    pub fn at(seconds: i64) -> Result<Self, StampError> {
        let (year, month, day) = civil(seconds.div_euclid(DAY_S));
        let rest = seconds.rem_euclid(DAY_S);
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        Self::parse(&format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
    }

    /// First Unix second at which it has begun.
    #[must_use]
    pub const fn starts(&self) -> i64 {
        self.start
    }

    /// First Unix second at which it is over: the next midnight UTC for a bare date.
    #[must_use]
    pub const fn ends(&self) -> i64 {
        if self.date_only { self.start + DAY_S } else { self.start }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The text is not a date or an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampError {
    text: String,
}

impl fmt::Display for StampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no date: write `2026-11-20` or `2026-11-20T09:00:00+09:00`", self.text)
    }
}

impl core::error::Error for StampError {}

impl TryFrom<String> for Stamp {
    type Error = StampError;

    fn try_from(text: String) -> Result<Self, StampError> {
        Self::parse(&text)
    }
}

impl From<Stamp> for String {
    fn from(stamp: Stamp) -> Self {
        stamp.text
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `YYYY-MM-DD` as Unix seconds of its midnight in UTC.
fn date_seconds(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) =
        (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let days = days(year, month, day);
    (parts.next().is_none() && year > 0 && civil(days) == (year, month, day))
        .then_some(days * DAY_S)
}

/// `HH:MM:SS[.f](Z|+HH:MM|-HH:MM)` as seconds after midnight in UTC (below 0 and above a day when the offset says so).
fn time_seconds(text: &str) -> Option<i64> {
    let zone = text.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = text.split_at_checked(zone)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    digits(fraction, fraction.len())?;
    let mut parts = clock.split(':');
    let (hour, minute, second) =
        (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(hour * 3600 + minute * 60 + second - offset_seconds(zone)?)
}

/// `+08:00` as seconds; `None` when it is no offset.
#[must_use]
pub fn offset(zone: &str) -> Option<i64> {
    offset_seconds(zone).filter(|_| zone.starts_with(['+', '-']))
}

/// The first Unix second of the year in which `at` lies, where clocks are `offset_s` ahead of UTC.
#[must_use]
pub const fn year_began(at: i64, offset_s: i64) -> i64 {
    let (year, _, _) = civil(at.saturating_add(offset_s).div_euclid(DAY_S));
    days(year, 1, 1).saturating_mul(DAY_S).saturating_sub(offset_s)
}

fn offset_seconds(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone {
        "Z" | "z" => return Some(0),
        _ => match zone.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, zone.strip_prefix('+')?),
        },
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Exactly `count` ASCII digits (at least one).
fn digits(text: &str, count: usize) -> Option<i64> {
    let plain = !text.is_empty() && text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.get(..count.min(18))?.parse().ok() } else { None }
}

/// Days since 1970-01-01 of a proleptic Gregorian date (years run from March, so that the leap day comes last).
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

/// The date of a day since 1970-01-01: the inverse of [`days`].
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + (month <= 2) as i64, month, day)
}

const DAY_S: i64 = 86_400;

#[cfg(test)]
mod tests {
    //! Proves that dates begin and end where law says, and that nothing that is no date is read as one.

    use super::*;

    #[test]
    fn seoul_midnight_is_fifteen_hours_utc_of_the_day_before() {
        let seoul = Stamp::parse("2025-09-16T00:00:00+09:00").unwrap();
        assert_eq!(seoul.starts(), Stamp::parse("2025-09-15T15:00:00Z").unwrap().starts());
        assert_eq!(seoul.as_str(), "2025-09-16T00:00:00+09:00");
    }

    #[test]
    fn a_date_includes_its_day_as_an_end() {
        let day = Stamp::parse("2026-11-20").unwrap();
        assert_eq!((day.starts(), day.ends()), (1_795_132_800, 1_795_132_800 + 86_400));
        let instant = Stamp::parse("2026-11-20T00:00:00.999Z").unwrap();
        assert_eq!((instant.starts(), instant.ends()), (1_795_132_800, 1_795_132_800));
    }

    #[test]
    fn seconds_and_text_are_one() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2000-02-29T23:59:59Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
        ] {
            let stamp = Stamp::parse(text).unwrap();
            assert_eq!(Stamp::at(stamp.starts()).unwrap().as_str(), text);
        }
        assert!(Stamp::at(i64::MAX).is_err() && Stamp::at(i64::MIN).is_err());
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2026",
            "2026-11",
            "2026-02-29",
            "2026-13-01",
            "2026-1-1",
            "20261-01-01",
            "2026-11-20T",
            "2026-11-20 00:00:00Z",
            "2026-11-20T00:00:00",
            "2026-11-20T24:00:00Z",
            "2026-11-20T00:00:60Z",
            "2026-11-20T00:00:00+9",
            "2026-11-20T00:00:00+09:60",
            "2026-11-20T00:00:00.Z",
            "+026-11-20",
            "２026-11-20",
            "0000-01-01",
            "2026-11-20T00:00Z",
        ] {
            assert!(Stamp::parse(text).is_err(), "{text}");
        }
    }
}
