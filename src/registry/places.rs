//! Places: ISO 3166-1 alpha-2 for law, ISO 3166-2 for locations.

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

fn is_country(text: &str) -> bool {
    COUNTRIES.binary_search(&text).is_ok()
}

fn not_a_place(text: &str) -> String {
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
        None => format!("`{text}` is not a place of ISO 3166"),
    }
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
