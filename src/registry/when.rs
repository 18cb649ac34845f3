//! Dates of registry entries, as seconds.
//!
//! A bare date as a start is 00:00 UTC of that day; as an end it includes the day.

use time::{
    Date, OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description,
};

/// Unix seconds at which something dated `text` begins; `None` when it is no date.
pub(super) fn start(text: &str) -> Option<i64> {
    match date(text) {
        Some(day) => Some(day.midnight().assume_utc().unix_timestamp()),
        None => instant(text),
    }
}

/// The first unix second at which something dated `text` is over; `None` when it is no date.
pub(super) fn end(text: &str) -> Option<i64> {
    match date(text) {
        Some(day) => Some(day.next_day()?.midnight().assume_utc().unix_timestamp()),
        None => instant(text),
    }
}

fn date(text: &str) -> Option<Date> {
    Date::parse(text, format_description!("[year]-[month]-[day]")).ok()
}

fn instant(text: &str) -> Option<i64> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}
