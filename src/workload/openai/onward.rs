//! Calls that the workload itself would make: addresses in the content that a site fetches, and tools that run on the
//! server's side. Each is a flow of its own for the decision.
//!
//! A reader of another make may find an address where OpenAI's API has none, so the keys decide, not the place: in
//! everything but schemas, a string under `url`, `*_url`, `image`, `video` or `audio` is an address.

use std::sync::Arc;

use super::body::{invalid, kept, name};
use crate::workload::{
    NotUnderstood, Outside,
    json::{Kind, Value},
};

/// Notes every address below the member `key` of the body.
///
/// # Errors
/// 400 a key that folds to one of ours, 403 a reference to a stored file.
pub fn media(key: &str, value: Value<'_>, onward: &mut Vec<Outside>) -> Result<(), NotUnderstood> {
    if is_reference(key) && value.kind() == Kind::String {
        return Err(kept("file_id"));
    }
    if is_address(key) {
        address(key, value, onward);
    }
    for (below, value) in value.members() {
        let below = name(below, is_address)?;
        if below == "type" && value.as_str().is_some_and(|kind| kind == "item_reference") {
            return Err(kept("item_reference"));
        }
        if key == "audio" && below == "id" {
            return Err(kept("audio"));
        }
        // `{"image_url": {"url": ".."}}`: the outer key says what it is.
        let key = if below == "url" && is_address(key) { key } else { &below };
        media(key, value, onward)?;
    }
    for value in value.elements() {
        media(key, value, onward)?;
    }
    Ok(())
}

/// Notes the addresses in the `input` of an embedding whose `modality` (Infinity) is not text: its strings are what the server fetches.
///
/// # Errors
/// 400 where the modality is no plain word, and as [`media`].
pub fn input(
    modality: Value<'_>,
    input: Value<'_>,
    onward: &mut Vec<Outside>,
) -> Result<(), NotUnderstood> {
    if modality.is_null() {
        return Ok(());
    }
    let kind = modality.as_str().filter(|kind| kind == "text" || MEDIA.contains(&kind.as_ref()));
    let kind = kind
        .ok_or_else(|| invalid("`modality` must be text, image, video or audio").of("modality"))?;
    if kind == "text" { Ok(()) } else { media(&kind, input, onward) }
}

/// Notes every tool that does not run at the client.
///
/// # Errors
/// 400 where a tool has no plain type.
pub fn tools(value: Value<'_>, onward: &mut Vec<Outside>) -> Result<(), NotUnderstood> {
    if !matches!(value.kind(), Kind::Array | Kind::Null) {
        return Err(invalid("`tools` must be an array").of("tools"));
    }
    for tool in value.elements() {
        let mut kind = None;
        let mut host = None;
        for (key, value) in tool.members() {
            match name(key, |key| matches!(key, "type" | "server_url"))?.as_ref() {
                "type" => kind = value.as_str(),
                "server_url" => host = value.as_str().and_then(|url| host_of(&url)),
                _ => {}
            }
        }
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let kind = kind
            .filter(|kind| kind.len() <= TOOL_MAX && kind.bytes().all(plain))
            .ok_or_else(|| invalid("every tool needs a `type` such as `function`").of("tools"))?;
        if !AT_THE_CLIENT.contains(&kind.as_ref()) {
            onward.push(Outside { what: format!("tool:{kind}").into(), host });
        }
    }
    Ok(())
}

/// Keys whose string a site may fetch, or that refer to a stored file.
pub fn is_address(key: &str) -> bool {
    key == "url" || key.ends_with("_url") || MEDIA.contains(&key) || is_reference(key)
}

fn is_reference(key: &str) -> bool {
    key == "file_id"
}

fn address(key: &str, value: Value<'_>, onward: &mut Vec<Outside>) {
    let Some(text) = value.as_str() else { return };
    let inline = text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    // Under the bare names `image` and `audio` a string may be base64 or an id; what has no `:` is no address.
    let bare = MEDIA.contains(&key) && !text.contains(':') && !text.starts_with(['/', '.']);
    if !inline && !bare {
        onward.push(Outside { what: what(key), host: host_of(&text) });
    }
}

/// The key, if it is a plain short name; keys are the client's words and go into the record.
fn what(key: &str) -> Arc<str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    if key.len() <= TOOL_MAX && key.bytes().all(plain) { key.into() } else { "url".into() }
}

/// The host of an absolute http(s) URL, lower case; `None` where it is not plain, which leaves the place unknown.
fn host_of(url: &str) -> Option<Arc<str>> {
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) => return None,
        None => authority,
    };
    let host = host.to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    let fits = !host.is_empty() && host.len() <= HOST_MAX && host.bytes().all(plain);
    fits.then(|| host.into())
}

const MEDIA: [&str; 3] = ["image", "video", "audio"];

/// Tools that the client runs: the site only proposes a call.
const AT_THE_CLIENT: [&str; 4] = ["function", "custom", "local_shell", "apply_patch"];

/// Bytes of a tool's type; the longest of OpenAI's has 31.
const TOOL_MAX: usize = 48;

/// RFC 1035: a host name has at most 253 bytes.
const HOST_MAX: usize = 253;
