//! What the request asks for: one path grammar in which nothing can be spelled in two ways.

use hyper::http::{StatusCode, Uri};
use verdict::reason::Reason;

use super::{StrictError, unique};

pub(super) fn check(uri: &Uri) -> Result<(), StrictError> {
    if uri.scheme_str().is_some_and(|scheme| scheme != "https" && scheme != "http") {
        return Err(path_invalid("target_scheme", "the target's scheme is not https"));
    }
    path(uri.path())?;
    uri.query().map_or(Ok(()), query)
}

/// Letters, digits, `. _ ~ - : @ + = ,` between single slashes; no `.` or `..` segment. Nothing is decoded, so a
/// `%` is refused whatever it would decode to.
fn path(path: &str) -> Result<(), StrictError> {
    if path.len() > PATH_BYTES_MAX {
        return Err(path_invalid("path_too_long", "the path is longer than 1,024 bytes"));
    }
    let Some(rest) = path.strip_prefix('/') else {
        return Err(path_invalid("path_not_absolute", "the path starts with `/`"));
    };
    if !rest.bytes().all(|byte| byte == b'/' || is_plain(byte)) {
        return Err(path_invalid(
            "path_characters",
            "the path may hold A-Z a-z 0-9 . _ ~ - : @ + = , and `/`; nothing may be percent-encoded",
        ));
    }
    // `/` alone is the root; a last empty segment is a trailing slash, which names another route
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "" if segments.peek().is_some() => {
                return Err(path_invalid("path_empty_segment", "the path has `//`"));
            }
            "." | ".." => {
                return Err(path_invalid("path_dot_segment", "the path has a dot segment"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// `key=value` pairs of plain characters, each key once.
fn query(query: &str) -> Result<(), StrictError> {
    let plain = |byte: u8| is_plain(byte) || matches!(byte, b'&' | b'/' | b'?');
    if query.len() > QUERY_BYTES_MAX || !query.bytes().all(plain) {
        return Err(path_invalid(
            "query_characters",
            "the query may hold A-Z a-z 0-9 . _ ~ - : @ + = , & / ? up to 1,024 bytes",
        ));
    }
    let keys = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(key, _)| key));
    if unique(keys) {
        Ok(())
    } else {
        Err(path_invalid("query_key_repeated", "a key of the query is there more than once"))
    }
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'.' | b'_' | b'~' | b'-' | b':' | b'@' | b'+' | b'=' | b',')
}

const fn path_invalid(rule: &'static str, message: &'static str) -> StrictError {
    StrictError { status: StatusCode::BAD_REQUEST, reason: Reason::PathInvalid, rule, message }
}

const PATH_BYTES_MAX: usize = 1_024;
const QUERY_BYTES_MAX: usize = 1_024;
