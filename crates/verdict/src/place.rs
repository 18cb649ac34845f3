//! Places: ISO 3166-1 alpha-2 for law, ISO 3166-2 for locations. A place covers its subdivisions.

/// A country or subdivision code in upper case: `KR`, `KR-11`, `FR-IDF`.
#[must_use]
pub fn is_place(text: &str) -> bool {
    let (country, rest) = text.split_once('-').map_or((text, None), |(c, r)| (c, Some(r)));
    country.len() == 2
        && country.bytes().all(|b| b.is_ascii_uppercase())
        && rest.is_none_or(|rest| {
            (1..=3).contains(&rest.len())
                && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        })
}

/// Is `place` inside `area`, or the same?
#[must_use]
pub fn covers(area: &str, place: &str) -> bool {
    let (area, place) = (own_code(area), own_code(place));
    place.strip_prefix(area).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Some subdivisions also have a country code of their own, and law speaks of that one: Hong Kong as `CN-HK` must not
/// pass for mainland China, nor Puerto Rico as `US-PR` for another code than `PR`.
fn own_code(place: &str) -> &str {
    // Asked for every pair of places of every cell: most are settled by their first bytes.
    match place.as_bytes() {
        [b'C', b'N', b'-', ..]
        | [b'F', b'I' | b'R', b'-', ..]
        | [b'N', b'L' | b'O', b'-', ..]
        | [b'U', b'S', b'-', ..] => {
            TWO_CODES.iter().find(|(part, _)| *part == place).map_or(place, |(_, own)| own)
        }
        _ => place,
    }
}

/// ISO 3166-2 entries that ISO 3166-1 lists as well.
/// The numbers are those that China used before 2017.
const TWO_CODES: [(&str, &str); 32] = [
    ("CN-71", "TW"),
    ("CN-91", "HK"),
    ("CN-92", "MO"),
    ("CN-HK", "HK"),
    ("CN-MO", "MO"),
    ("CN-TW", "TW"),
    ("FI-01", "AX"),
    ("FR-BL", "BL"),
    ("FR-971", "GP"),
    ("FR-972", "MQ"),
    ("FR-973", "GF"),
    ("FR-974", "RE"),
    ("FR-976", "YT"),
    ("FR-MF", "MF"),
    ("FR-NC", "NC"),
    ("FR-PF", "PF"),
    ("FR-PM", "PM"),
    ("FR-TF", "TF"),
    ("FR-WF", "WF"),
    ("NL-AW", "AW"),
    ("NL-BQ1", "BQ"),
    ("NL-BQ2", "BQ"),
    ("NL-BQ3", "BQ"),
    ("NL-CW", "CW"),
    ("NL-SX", "SX"),
    ("NO-21", "SJ"),
    ("NO-22", "SJ"),
    ("US-AS", "AS"),
    ("US-GU", "GU"),
    ("US-MP", "MP"),
    ("US-PR", "PR"),
    ("US-VI", "VI"),
];

#[cfg(test)]
mod tests {
    //! Proves that a place covers its subdivisions and nothing that only looks like one.

    use super::*;

    #[test]
    fn every_part_with_two_codes_is_known_by_its_own() {
        for (part, own) in TWO_CODES {
            assert_eq!(own_code(part), own);
        }
    }

    #[test]
    fn a_country_covers_its_subdivisions() {
        assert!(covers("KR", "KR") && covers("KR", "KR-11") && covers("KR-11", "KR-11"));
        assert!(
            !covers("KR-11", "KR")
                && !covers("KR-1", "KR-11")
                && !covers("K", "KR")
                && !covers("KP", "KR")
        );
    }

    #[test]
    fn a_part_with_a_code_of_its_own_is_not_the_country() {
        assert!(!covers("CN", "CN-HK") && covers("HK", "CN-HK") && covers("CN-HK", "HK"));
        assert!(!covers("CN", "CN-91") && covers("HK", "CN-91") && covers("CN", "CN-11"));
        assert!(!covers("US", "US-PR") && covers("US", "US-VA"));
    }

    #[test]
    fn codes_are_upper_case_iso() {
        for place in ["KR", "KR-11", "FR-IDF", "US-VA", "GB-ENG", "AT-9"] {
            assert!(is_place(place), "{place}");
        }
        for text in ["", "kr", "KOR", "K", "KR-", "KR-1111", "KR_11", "KR-a", "*", "EEA30", "ＫＲ"]
        {
            assert!(!is_place(text), "{text}");
        }
    }
}
