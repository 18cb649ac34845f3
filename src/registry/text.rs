//! What a text in the registry may be: each reader takes what was written and gives what is kept, or says what is wrong.
//!
//! *Invariant:* nothing is folded or repaired: what is not written as it must be is refused. What a reader of access entries
//! says is wrong does not repeat the text: it may be somebody's name, and a refused request stands in the log for good.

use verdict::stamp::Stamp;

use super::access::MANAGEMENT;

pub(super) type Reader = fn(&str) -> Result<String, String>;

/// An id: what organisations, sites, grounds and the like are called.
pub(super) fn id(text: &str) -> Result<String, String> {
    named(text, ID_BYTES_MAX, "-._", "an id", "letters, digits, `-`, `.` and `_`")
}

/// The name of a service: the model, as callers ask for it. Those of the gateway itself are nobody's to register.
pub(super) fn service(text: &str) -> Result<String, String> {
    if text.starts_with("haetae:") {
        return Err(format!("`{text}` is a service of the gateway itself: call a model otherwise"));
    }
    service_or_own(text)
}

/// The same, or a service of the gateway itself such as `haetae:access`.
pub(super) fn service_or_own(text: &str) -> Result<String, String> {
    if text.starts_with("haetae:") && !MANAGEMENT.contains(&text) {
        return Err(format!("this is none of {}", MANAGEMENT.join(", ")));
    }
    named(text, NAME_BYTES_MAX, "-._/:@+", "a name of a service", "letters, digits and `-._/:@+`")
}

/// The id of what belongs to one organisation: `organisation/name`.
pub(super) fn own_id(text: &str) -> Result<String, String> {
    let (org, name) = text
        .split_once('/')
        .ok_or("this does not say whose it is: write it as `organisation/name`")?;
    id(org)?;
    id(name)?;
    Ok(text.to_owned())
}

/// The name of a role.
pub(super) fn role(text: &str) -> Result<String, String> {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if first && text.bytes().all(plain) && text.len() <= ID_BYTES_MAX {
        return Ok(text.to_owned());
    }
    let what = format!("up to {ID_BYTES_MAX} lower-case letters, digits, `-`, `_` and `.`");
    Err(format!("this is not the name of a role: {what}, a letter first"))
}

/// A person or service as its issuer calls it: the `sub` of a token, or a SPIFFE id.
pub(super) fn actor(text: &str) -> Result<String, String> {
    plain_name(text, "the name of a person or service")
}

/// The issuer of tokens, or `certificate`.
pub(super) fn issuer(text: &str) -> Result<String, String> {
    plain_name(text, "an issuer")
}

/// A name that somebody else gives, held to characters that mean nothing to any reader of ours.
fn plain_name(text: &str, what: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/@+".contains(&byte);
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && text.bytes().all(plain) && !text.contains("::") && text.len() <= ACTOR_BYTES_MAX {
        return Ok(text.to_owned());
    }
    let of = format!("up to {ACTOR_BYTES_MAX} letters, digits and `-._:/@+`, no `::`");
    Err(format!("this is not {what}: {of}, a letter or digit first"))
}

/// `name@version`, as the catalogue calls a dataset.
pub(super) fn dataset(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is not a dataset id: write it as `name@version`");
    let (name, version) = text.split_once('@').ok_or_else(wrong)?;
    let rule = "letters, digits and `-._/`";
    named(name, NAME_BYTES_MAX, "-._/", "a name of a dataset", rule)?;
    named(version, ID_BYTES_MAX, "-._", "a version of a dataset", "letters, digits and `-._`")?;
    Ok(text.to_owned())
}

/// An export control classification number, as `haetae decide` reads it: of one that is misspelt no rule would speak.
pub(super) fn eccn(text: &str) -> Result<String, String> {
    if verdict::is_eccn(text) { Ok(text.to_owned()) } else { Err(verdict::not_an_eccn(text)) }
}

/// A sentence or reference for people.
pub(super) fn plain(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("the text is empty: leave the key out instead".into());
    }
    if text.len() > PLAIN_BYTES_MAX {
        return Err(format!("the text is longer than {PLAIN_BYTES_MAX} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("the text has a control character in it".into());
    }
    Ok(text.to_owned())
}

/// A purpose, as a term with a prefix.
pub(super) fn term(text: &str) -> Result<String, String> {
    let well_formed = text.split_once(':').is_some_and(|(prefix, name)| {
        named(prefix, ID_BYTES_MAX, "-", "", "").is_ok()
            && named(name, ID_BYTES_MAX, "-_.", "", "").is_ok()
    });
    if well_formed {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is not a term: write it with its prefix, like `dpv:ServiceProvision`"
        ))
    }
}

/// A date or an instant at which something begins.
pub(super) fn stamp(text: &str) -> Result<String, String> {
    Stamp::parse(text).map(String::from).map_err(|fault| fault.to_string())
}

/// The same in an access entry.
pub(super) fn date(text: &str) -> Result<String, String> {
    Stamp::parse(text).map(String::from).map_err(|_| NO_DATE.to_owned())
}

/// A public key with the name under which its owner signs (C2SP signed-note, "vkey"): Ed25519.
pub(super) fn vkey(text: &str) -> Result<String, String> {
    let wrong = |fault: &str| format!("`{text}` is not a public key `name+id+base64`: {fault}");
    let key: tlog::VerifierKey =
        text.parse().map_err(|fault: tlog::key::KeyError| wrong(&fault.to_string()))?;
    match key.kind() {
        tlog::key::Kind::Ed25519 => Ok(text.to_owned()),
        tlog::key::Kind::Cosignature => Err(wrong("it is the key of a witness")),
    }
}

/// A site's address: `https`, a host, perhaps a port and a path, no slash at the end.
pub(super) fn base_url(text: &str) -> Result<String, String> {
    let fault = match text.strip_prefix("https://") {
        None => Some("it must begin with `https://`"),
        Some(rest) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, "."));
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
            let (host, port) = match authority.rsplit_once(':') {
                Some((host, port)) if !authority.ends_with(']') => (host, Some(port)),
                _ => (authority, None),
            };
            let bracketed = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
            let host_fits = match bracketed {
                Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
                None => self::host(host).is_ok(),
            };
            if !host_fits {
                Some("it has no well-formed host in lower case")
            } else if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
                Some("its port is not a number from 1 to 65535")
            } else if path.is_empty() || path.ends_with('/') || !path.bytes().all(plain) {
                Some("its path must be plain and must not end in `/`")
            } else {
                None
            }
        }
    };
    match fault {
        None => Ok(text.to_owned()),
        Some(fault) => Err(format!("`{text}` is not the address of a site: {fault}")),
    }
}

/// A host name in lower case.
pub(super) fn host(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a host name in lower case"))
    }
}

/// Who a site proves to be in TLS: a SPIFFE id, or the digest of its public key (RFC 7469, 2.4).
pub(super) fn identity(text: &str) -> Result<String, String> {
    let pin = text.strip_prefix("spki:sha256/").map(|digest| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.decode(digest).is_ok_and(|raw| raw.len() == 32)
    });
    let spiffe = text.strip_prefix("spiffe://").map(|rest| {
        rest.split_once('/').is_some_and(|(domain, path)| {
            host(domain).is_ok()
                && path.split('/').all(|segment| named(segment, 128, "-._", "", "").is_ok())
        })
    });
    if pin.or(spiffe).unwrap_or(false) {
        return Ok(text.to_owned());
    }
    let forms = "`spiffe://domain/path` or `spki:sha256/` and the base64 of 32 bytes";
    Err(format!("`{text}` is not an identity: write {forms}"))
}

/// A storage address without anything that two readers could read differently: a known scheme, a bucket in lower
/// case, plain path segments. One slash at the end is dropped.
pub(super) fn uri(text: &str) -> Result<String, String> {
    let wrong = |fault: &str| Err(format!("`{text}` is not a storage address: {fault}"));
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong("it has no scheme, like `s3://`");
    };
    if !URI_SCHEMES.contains(&scheme) {
        return wrong(&format!("its scheme must be one of {}", URI_SCHEMES.join(", ")));
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let segment = |segment: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._=+@:~".contains(&byte);
        !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(plain)
    };
    let bucket = rest.split('/').next().unwrap_or_default();
    if bucket.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return wrong("its bucket or host must be in lower case");
    }
    if text.len() > URI_BYTES_MAX || !rest.split('/').all(segment) {
        return wrong("its path must be plain segments without `..`, `//`, `%` or a query");
    }
    Ok(format!("{scheme}://{rest}"))
}

fn named(text: &str, bytes_max: usize, also: &str, what: &str, of: &str) -> Result<String, String> {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest =
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.as_bytes().contains(&byte));
    if first && rest && text.len() <= bytes_max {
        Ok(text.to_owned())
    } else {
        Err(format!("this is not {what}: up to {bytes_max} {of}, a letter or digit first"))
    }
}

const NO_DATE: &str = "this is no date: write `2026-11-20` or `2026-11-20T09:00:00+09:00`";
/// Ids stand in every record: 64 bytes of the 1,200 of a leaf.
const ID_BYTES_MAX: usize = 64;
/// SPIFFE ids may have 2,048 bytes, and have about 60.
const ACTOR_BYTES_MAX: usize = 256;
/// Model names such as `meta-llama/Llama-3.3-70B-Instruct` are 20 to 60 bytes.
const NAME_BYTES_MAX: usize = 128;
const PLAIN_BYTES_MAX: usize = 1_000;
/// S3 allows keys of 1,024 bytes behind a bucket of 63.
const URI_BYTES_MAX: usize = 1_100;
const URI_SCHEMES: [&str; 10] =
    ["s3", "gs", "az", "abfss", "hf", "hdfs", "nfs", "swift", "r2", "https"];
