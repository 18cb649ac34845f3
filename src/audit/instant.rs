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
    let bytes: &[u8; LENGTH] = value.as_bytes().try_into().ok()?;
    let mut numbers = [0_u32; 7];
    let mut at = 0;
    for (number, (digits, mark)) in numbers.iter_mut().zip(PARTS) {
        for byte in bytes.get(at..at + digits)? {
            *number = *number * 10 + u32::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?);
        }
        at += digits;
        if bytes.get(at) != Some(&mark) {
            return None;
        }
        at += 1;
    }
    let [year, month, day, hour, minute, second, nanosecond] = numbers;
    let small = |number: u32| u8::try_from(number).ok();
    let month = Month::try_from(small(month)?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, small(day)?).ok()?;
    let time =
        Time::from_hms_nano(small(hour)?, small(minute)?, small(second)?, nanosecond).ok()?;
    i64::try_from(OffsetDateTime::new_utc(date, time).unix_timestamp_nanos()).ok()
}

/// Digits of each part, and what follows it.
const PARTS: [(usize, u8); 7] =
    [(4, b'-'), (2, b'-'), (2, b'T'), (2, b':'), (2, b':'), (2, b'.'), (9, b'Z')];
const LENGTH: usize = 30;

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
