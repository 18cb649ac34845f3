//! Instants as leaves carry them: nanoseconds since 1970 <-> `2026-11-23T16:03:00.123456789Z`.

use time::{Date, Month, OffsetDateTime, Time};

/// RFC 3339 in UTC with nine digits of a second. What lies outside the years 0 to 9999 is written as 1970.
pub(super) fn text(unix_ns: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(unix_ns.into())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let mut text = String::with_capacity(30);
    let mut part = |mark: &str, value: u32, digits: u32| {
        text.push_str(mark);
        for place in (0..digits).rev() {
            let digit = value / 10_u32.pow(place) % 10;
            text.push(char::from_digit(digit, 10).unwrap_or('0'));
        }
    };
    part("", u32::try_from(at.year()).unwrap_or(1970), 4);
    part("-", u8::from(at.month()).into(), 2);
    part("-", at.day().into(), 2);
    part("T", at.hour().into(), 2);
    part(":", at.minute().into(), 2);
    part(":", at.second().into(), 2);
    part(".", at.nanosecond(), 9);
    text.push('Z');
    text
}

/// Reads exactly what [`text`] writes.
pub(super) fn read(value: &str) -> Option<i64> {
    let number = |from: usize, to: usize| value.get(from..to)?.parse::<u32>().ok();
    let small = |from, to| number(from, to).and_then(|n| u8::try_from(n).ok());
    let month = Month::try_from(small(5, 7)?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(number(0, 4)?).ok()?, month, small(8, 10)?);
    let time = Time::from_hms_nano(small(11, 13)?, small(14, 16)?, small(17, 19)?, number(20, 29)?);
    let at = OffsetDateTime::new_utc(date.ok()?, time.ok()?);
    let unix_ns = i64::try_from(at.unix_timestamp_nanos()).ok()?;
    (text(unix_ns) == value).then_some(unix_ns)
}

#[cfg(test)]
mod tests {
    //! An instant survives the round trip, and only its one spelling is read.

    use super::*;

    #[test]
    fn is_written_with_nine_digits() {
        assert_eq!(text(1_763_913_780_000_000_007), "2025-11-23T16:03:00.000000007Z");
        assert_eq!(text(0), "1970-01-01T00:00:00.000000000Z");
    }

    #[test]
    fn only_its_own_spelling_is_read() {
        for ns in [0, 1, 1_763_913_780_123_456_789] {
            assert_eq!(read(&text(ns)), Some(ns));
        }
        for other in [
            "2025-11-23T16:03:00Z",
            "2025-11-23t16:03:00.000000007Z",
            "2025-02-30T16:03:00.000000007Z",
            "",
        ] {
            assert_eq!(read(other), None);
        }
    }
}
