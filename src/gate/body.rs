//! Reads a request body whole, within its route's limit, at no less than the slowest rate we serve.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt as _;
use verdict::reason::Reason;

use super::limits::Limits;
use crate::workload::NotUnderstood;

/// # Errors
/// 400 for bytes where none are allowed or a broken body, 408 for a slow one, 413 over `max_bytes`, 503 when there is
/// no room for another body now.
pub async fn read<B>(
    body: B,
    head: &HeaderMap,
    max_bytes: usize,
    limits: &Limits,
) -> Result<Bytes, NotUnderstood>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
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
    let _room = limits.body_room(room).ok_or_else(no_room)?;
    collect(body, max_bytes, limits, room).await
}

async fn collect<B>(
    mut body: B,
    max_bytes: usize,
    limits: &Limits,
    expected: usize,
) -> Result<Bytes, NotUnderstood>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let began = Instant::now();
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut length = 0_usize;
    while let Some(frame) = next_frame(&mut body, limits).await? {
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > max_bytes {
            return Err(too_large(max_bytes));
        }
        if is_too_slow(length, began.elapsed(), limits.body_rate_min) {
            return Err(too_slow());
        }
        match first.take() {
            // The usual body comes in one piece and is never copied.
            None if rest.is_empty() => first = Some(data),
            None => rest.extend_from_slice(&data),
            Some(begin) => {
                rest.reserve(expected.min(max_bytes));
                rest.extend_from_slice(&begin);
                rest.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| rest.freeze()))
}

async fn next_frame<B>(
    body: &mut B,
    limits: &Limits,
) -> Result<Option<http_body::Frame<Bytes>>, NotUnderstood>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    match tokio::time::timeout(limits.body_idle, body.frame()).await {
        Err(_) => Err(too_slow()),
        Ok(None) => Ok(None),
        Ok(Some(Ok(frame))) => Ok(Some(frame)),
        Ok(Some(Err(_))) => Err(NotUnderstood {
            status: 400,
            reason: Reason::BodyInvalid,
            message: "the body ended before its declared end: send it again whole".into(),
            param: None,
        }),
    }
}

fn declared_length(head: &HeaderMap) -> Option<u64> {
    head.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_too_slow(length: usize, elapsed: Duration, rate_min: u64) -> bool {
    let beyond_grace = elapsed.saturating_sub(RATE_GRACE).as_secs();
    beyond_grace > 0 && (length as u64) < beyond_grace.saturating_mul(rate_min)
}

fn too_large(max_bytes: usize) -> NotUnderstood {
    let message = if max_bytes == 0 {
        "this route takes no body".to_owned()
    } else {
        format!("the body is larger than {max_bytes} bytes, the limit of this route")
    };
    NotUnderstood { status: 413, reason: Reason::BodyTooLarge, message, param: None }
}

fn too_slow() -> NotUnderstood {
    NotUnderstood {
        status: 408,
        reason: Reason::BodyTooSlow,
        message: "the body came too slowly: send it again".into(),
        param: None,
    }
}

fn no_room() -> NotUnderstood {
    NotUnderstood {
        status: 503,
        reason: Reason::Overloaded,
        message: "too many large bodies are under way: send it again in a moment".into(),
        param: None,
    }
}

/// A new connection may be slow to begin; the rate counts after this.
const RATE_GRACE: Duration = Duration::from_secs(5);
