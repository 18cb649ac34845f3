//! Places: ISO 3166-1 alpha-2 for law, ISO 3166-2 for locations. A place covers its subdivisions.
//!
//! *Invariant:* a country that ISO 3166-1 does not have is no place: an order about `UK` would otherwise never match.

use alloc::{format, string::String};

/// A country or subdivision code in upper case: `KR`, `KR-11`, `FR-IDF`. Of a subdivision the country must exist and the
/// rest be well formed: the lists of ISO 3166-2 change too often to be compiled in, and rules compare the country.
#[must_use]
pub fn is_place(text: &str) -> bool {
    let (country, rest) = text.split_once('-').map_or((text, None), |(c, r)| (c, Some(r)));
    is_country(country)
        && rest.is_none_or(|rest| {
            (1..=3).contains(&rest.len())
                && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        })
}

/// A country code of ISO 3166-1.
#[must_use]
pub fn is_country(text: &str) -> bool {
    COUNTRIES.binary_search(&text).is_ok()
}

/// What is wrong with a text that is no place, and which one was probably meant.
#[must_use]
pub fn not_a_place(text: &str) -> String {
    let upper = text.to_ascii_uppercase();
    let (country, rest) = upper.split_at_checked(2).unwrap_or((&upper, ""));
    let meant = OFTEN_MEANT
        .iter()
        .find_map(|(wrong, right)| (*wrong == country).then_some(*right))
        .or_else(|| is_country(country).then_some(country))
        .filter(|_| rest.is_empty() || rest.starts_with('-'));
    match meant {
        Some(meant) => {
            format!("`{text}` is not a place of ISO 3166: did you mean `{meant}{rest}`?")
        }
        None => format!("`{text}` is not a place of ISO 3166: write one such as `KR` or `KR-11`"),
    }
}

/// Is `place` inside `area`, or the same?
#[must_use]
pub fn covers(area: &str, place: &str) -> bool {
    let begins = |area: &str, place: &str| {
        place.strip_prefix(area).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    begins(own_code(area), own_code(place)) || begins(area, place) && is_part(place)
}

/// One of the two is inside the other.
pub(crate) fn meets(one: &str, other: &str) -> bool {
    covers(one, other) || covers(other, one)
}

/// Some subdivisions also have a country code of their own, and law mostly speaks of that one: Hong Kong as `CN-HK` must not
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

/// Parts with a code of their own that are inside their country all the same: where the law of the Union applies as in the
/// rest of it (TFEU 355(1) and (4)). Written with the code of their own they are another place.
fn is_part(place: &str) -> bool {
    PARTS.contains(&place)
}

/// Codes that people write and ISO 3166-1 does not have.
const OFTEN_MEANT: [(&str, &str); 2] = [("EL", "GR"), ("UK", "GB")];

/// ISO 3166-1 alpha-2, officially assigned, sorted.
#[rustfmt::skip]
const COUNTRIES: [&str; 249] = [
    "AD", "AE", "AF", "AG", "AI", "AL", "AM", "AO", "AQ", "AR", "AS", "AT", "AU", "AW", "AX", "AZ",
    "BA", "BB", "BD", "BE", "BF", "BG", "BH", "BI", "BJ", "BL", "BM", "BN", "BO", "BQ", "BR", "BS",
    "BT", "BV", "BW", "BY", "BZ", "CA", "CC", "CD", "CF", "CG", "CH", "CI", "CK", "CL", "CM", "CN",
    "CO", "CR", "CU", "CV", "CW", "CX", "CY", "CZ", "DE", "DJ", "DK", "DM", "DO", "DZ", "EC", "EE",
    "EG", "EH", "ER", "ES", "ET", "FI", "FJ", "FK", "FM", "FO", "FR", "GA", "GB", "GD", "GE", "GF",
    "GG", "GH", "GI", "GL", "GM", "GN", "GP", "GQ", "GR", "GS", "GT", "GU", "GW", "GY", "HK", "HM",
    "HN", "HR", "HT", "HU", "ID", "IE", "IL", "IM", "IN", "IO", "IQ", "IR", "IS", "IT", "JE", "JM",
    "JO", "JP", "KE", "KG", "KH", "KI", "KM", "KN", "KP", "KR", "KW", "KY", "KZ", "LA", "LB", "LC",
    "LI", "LK", "LR", "LS", "LT", "LU", "LV", "LY", "MA", "MC", "MD", "ME", "MF", "MG", "MH", "MK",
    "ML", "MM", "MN", "MO", "MP", "MQ", "MR", "MS", "MT", "MU", "MV", "MW", "MX", "MY", "MZ", "NA",
    "NC", "NE", "NF", "NG", "NI", "NL", "NO", "NP", "NR", "NU", "NZ", "OM", "PA", "PE", "PF", "PG",
    "PH", "PK", "PL", "PM", "PN", "PR", "PS", "PT", "PW", "PY", "QA", "RE", "RO", "RS", "RU", "RW",
    "SA", "SB", "SC", "SD", "SE", "SG", "SH", "SI", "SJ", "SK", "SL", "SM", "SN", "SO", "SR", "SS",
    "ST", "SV", "SX", "SY", "SZ", "TC", "TD", "TF", "TG", "TH", "TJ", "TK", "TL", "TM", "TN", "TO",
    "TR", "TT", "TV", "TW", "TZ", "UA", "UG", "UM", "US", "UY", "UZ", "VA", "VC", "VE", "VG", "VI",
    "VN", "VU", "WF", "WS", "YE", "YT", "ZA", "ZM", "ZW",
];

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

const PARTS: [&str; 7] = ["FI-01", "FR-971", "FR-972", "FR-973", "FR-974", "FR-976", "FR-MF"];

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
    fn the_outermost_regions_are_in_their_country_and_are_themselves() {
        for part in PARTS {
            let country = part.split('-').next().unwrap_or_default();
            let own = own_code(part);
            assert!(own != part && covers(country, part) && covers(own, part) && covers(part, own));
            assert!(!covers(country, own) && !covers(part, country), "{part}");
        }
        assert!(!covers("FR", "FR-NC") && !covers("FR", "FR-PF") && !covers("NO", "NO-21"));
    }

    #[test]
    fn codes_are_upper_case_iso() {
        for place in ["KR", "KR-11", "FR-IDF", "US-VA", "GB-ENG", "AT-9"] {
            assert!(is_place(place), "{place}");
        }
        for text in [
            "", "kr", "KOR", "K", "KR-", "KR-1111", "KR_11", "KR-a", "*", "EEA30", "ＫＲ", "ZZ",
            "UK", "EU", "ZZ-1",
        ] {
            assert!(!is_place(text), "{text}");
        }
        assert!(COUNTRIES.is_sorted(), "the list is searched by halves");
        assert_eq!(not_a_place("UK"), "`UK` is not a place of ISO 3166: did you mean `GB`?");
        assert_eq!(
            not_a_place("kr-11"),
            "`kr-11` is not a place of ISO 3166: did you mean `KR-11`?"
        );
    }
}
