//! Reads a request body whole, within its route's limit. How slow it may be is the listener's to say.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt as _;
use verdict::reason::Reason;

use super::limits::{Limits, Room};
use crate::workload::NotUnderstood;

/// The bytes keep their room until they are dropped: when they have gone to a site, or nowhere.
///
/// # Errors
/// 400 for bytes where none are allowed or a broken body, 408 for a slow one, 413 over `max_bytes`, 503 when there is
/// no room for another body now.
pub async fn read<B>(
    body: B,
    head: &HeaderMap,
    max_bytes: usize,
    (limits, org): (&Limits, &Arc<str>),
) -> Result<Bytes, NotUnderstood>
where
    B: http_body::Body<Data = Bytes, Error = io::Error> + Unpin,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let declared = declared_length(head);
    if declared.is_some_and(|length| length > max_bytes as u64) {
        return Err(too_large(max_bytes));
    }
    // A body of unknown length reserves its route's limit: memory is bounded before the first byte is read.
    let room = declared.and_then(|length| usize::try_from(length).ok()).unwrap_or(max_bytes);
    let mut taken = limits.body_room(org, room).ok_or_else(no_room)?;
    let bytes = collect(body, max_bytes, room).await?;
    taken.shrink(bytes.len());
    Ok(Bytes::from_owner(Held { bytes, _room: taken }))
}

/// A body and the room it takes.
struct Held {
    bytes: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

async fn collect<B>(mut body: B, max_bytes: usize, expected: usize) -> Result<Bytes, NotUnderstood>
where
    B: http_body::Body<Data = Bytes, Error = io::Error> + Unpin,
{
    let mut whole = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > max_bytes {
            return Err(too_large(max_bytes));
        }
        // The usual body comes in one piece and is never copied.
        if whole.is_empty() && rest.is_empty() {
            whole = data;
            continue;
        }
        if rest.is_empty() {
            rest.reserve(expected.min(max_bytes));
            rest.extend_from_slice(&std::mem::take(&mut whole));
        }
        rest.extend_from_slice(&data);
    }
    Ok(if rest.is_empty() { whole } else { rest.freeze() })
}

fn broken(error: &io::Error) -> NotUnderstood {
    let (status, reason, message) = if error.kind() == io::ErrorKind::TimedOut {
        (408, Reason::BodyTooSlow, "the body came too slowly: send it again")
    } else {
        let message = "the body ended before its declared end: send it again whole";
        (400, Reason::BodyInvalid, message)
    };
    NotUnderstood { status, reason, message: message.into(), param: None }
}

fn declared_length(head: &HeaderMap) -> Option<u64> {
    head.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(max_bytes: usize) -> NotUnderstood {
    let message = if max_bytes == 0 {
        "this route takes no body".to_owned()
    } else {
        format!("the body is larger than {max_bytes} bytes, the limit of this route")
    };
    NotUnderstood { status: 413, reason: Reason::BodyTooLarge, message, param: None }
}

fn no_room() -> NotUnderstood {
    NotUnderstood {
        status: 503,
        reason: Reason::Overloaded,
        message: "too many large bodies are under way: send it again in a moment".into(),
        param: None,
    }
}
