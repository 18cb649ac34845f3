//! Instants of records: `YYYY-MM-DDTHH:MM:SS.nnnnnnnnnZ`, always nine digits, to nanoseconds since 1970.

/// `None` for any other form. Years 1970 to 2262.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let shape = text.bytes().zip(SHAPE.bytes());
    let fits =
        |(byte, shape): (u8, u8)| if shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    if text.len() != SHAPE.len() || !shape.into_iter().all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) || year < 1970 {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = ((days_before(year, month) + day - 1) * 24 + hour) * 3600 + minute * 60 + second;
    seconds.checked_mul(1_000_000_000)?.checked_add(number(20, 29)?)
}

/// Days from 1970-01-01 to the first of this month.
fn days_before(year: i64, month: i64) -> i64 {
    let leaps = |year: i64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    years + (1..month).map(|month| days_in(year, month)).sum::<i64>()
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

const SHAPE: &str = "0000-00-00T00:00:00.000000000Z";

#[cfg(test)]
mod tests {
    //! One form, read exactly.

    use super::*;

    #[test]
    fn known_instants_are_read() {
        for (text, ns) in [
            ("1970-01-01T00:00:00.000000000Z", 0),
            ("2000-02-29T23:59:59.999999999Z", 951_868_799_999_999_999),
            ("2001-03-01T00:00:00.000000000Z", 983_404_800_000_000_000),
            ("2026-11-23T16:30:01.000000007Z", 1_795_451_401_000_000_007),
        ] {
            assert_eq!(parse(text), Some(ns), "{text}");
        }
    }

    #[test]
    fn any_other_form_is_refused() {
        for text in [
            "",
            "2026-11-23T16:30:01Z",
            "2026-11-23T16:30:01.00000000Z",
            "2026-11-23 16:30:01.000000000Z",
            "2026-13-01T00:00:00.000000000Z",
            "2026-02-29T00:00:00.000000000Z",
            "2026-01-01T24:00:00.000000000Z",
            "2026-01-01T00:00:60.000000000Z",
            "+026-01-01T00:00:00.000000000Z",
            "1969-12-31T23:59:59.000000000Z",
            "9999-01-01T00:00:00.000000000Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
