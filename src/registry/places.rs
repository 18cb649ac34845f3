//! Places: ISO 3166-1 alpha-2 for law, ISO 3166-2 for locations.

use verdict::place::{is_country, not_a_place};

/// A country (`KR`) or a subdivision of one (`KR-11`).
pub(super) fn place(text: &str) -> Result<String, String> {
    let country = text.split_once('-').map_or(text, |(country, _)| country);
    if !is_country(country) {
        return Err(not_a_place(text));
    }
    if text.contains('-') { subdivision(text) } else { Ok(text.to_owned()) }
}

/// A country, without subdivision.
pub(super) fn country(text: &str) -> Result<String, String> {
    if is_country(text) { Ok(text.to_owned()) } else { Err(not_a_place(text)) }
}

/// A subdivision. The code after the hyphen is held to its syntax only: the lists of ISO 3166-2 change too often to
/// be compiled in, and rules compare the country.
pub(super) fn subdivision(text: &str) -> Result<String, String> {
    let Some((country, code)) = text.split_once('-') else {
        return Err(format!("`{text}` is not a subdivision of ISO 3166-2: write it like `KR-11`"));
    };
    if !is_country(country) {
        return Err(not_a_place(text));
    }
    let well_formed = (1..=3).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if well_formed {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a subdivision of ISO 3166-2: write it like `KR-11`"))
    }
}

/// A place, or `*` for any.
pub(super) fn place_or_any(text: &str) -> Result<String, String> {
    if text == "*" { Ok(text.to_owned()) } else { place(text) }
}
