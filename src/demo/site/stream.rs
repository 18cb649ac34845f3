//! The same answers token by token, as server-sent events (WHATWG HTML, 9.2).

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{Response, header, header::HeaderValue};
use serde_json::{Value, json};

use super::answers::{self, Here, Kind, model, usage};
use crate::demo::door::Answer;

/// A body that sends `events` with a pause between them, and then says whether the reader took them all.
pub(super) fn answer(
    events: Vec<Bytes>,
    pause: Duration,
    ended: impl FnOnce(bool) + Send + 'static,
) -> Answer {
    let state = (events.into_iter(), Ended { whole: false, tell: Some(ended) }, true);
    let frames = stream::unfold(state, move |(mut events, mut ended, first)| async move {
        let event = events.next()?;
        if !first {
            tokio::time::sleep(pause).await;
        }
        // the last event counts as taken once it is handed over: HTTP/1 readers may not ask again
        ended.whole = events.len() == 0;
        Some((Ok(Frame::data(event)), (events, ended, false)))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

struct Ended<F: FnOnce(bool)> {
    whole: bool,
    tell: Option<F>,
}

impl<F: FnOnce(bool)> Drop for Ended<F> {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(self.whole);
        }
    }
}

/// Every event of the answer, in order.
pub(super) fn events(kind: Kind, here: &Here<'_>, ask: &Value) -> Vec<Bytes> {
    let text = here.sentence(ask);
    match kind {
        Kind::Response => response_events(here, ask, &text),
        Kind::Chat => chunks(ask, &text, |delta, usage| {
            let choices = delta.map_or_else(Vec::new, |(text, last)| {
                let delta = if last { json!({}) } else { json!({ "role": "assistant", "content": text }) };
                vec![json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": stop(last) })]
            });
            json!({ "id": here.id("chatcmpl-"), "object": "chat.completion.chunk",
                    "created": here.created, "model": model(ask), "choices": choices, "usage": usage })
        }),
        Kind::Completion | Kind::Embedding => chunks(ask, &text, |delta, usage| {
            let choices = delta.map_or_else(Vec::new, |(text, last)| {
                vec![json!({ "index": 0, "text": text, "logprobs": null, "finish_reason": stop(last) })]
            });
            json!({ "id": here.id("cmpl-"), "object": "text_completion", "created": here.created,
                    "model": model(ask), "choices": choices, "usage": usage })
        }),
    }
}

fn stop(last: bool) -> Value {
    if last { "stop".into() } else { Value::Null }
}

/// One event for each token, one that says it is over, one with the usage if that was asked for, and `[DONE]`.
fn chunks(
    ask: &Value,
    text: &str,
    chunk: impl Fn(Option<(&str, bool)>, Value) -> Value,
) -> Vec<Bytes> {
    let wants_usage = ask.pointer("/stream_options/include_usage") == Some(&Value::Bool(true));
    let mut events: Vec<Bytes> =
        tokens(text).map(|token| data(&chunk(Some((token, false)), Value::Null))).collect();
    events.push(data(&chunk(Some(("", true)), Value::Null)));
    if wants_usage {
        events.push(data(&chunk(None, usage(ask, text))));
    }
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events
}

/// The typed events of the responses API, numbered.
fn response_events(here: &Here<'_>, ask: &Value, text: &str) -> Vec<Bytes> {
    let (begun, id) = (answers::response(here, ask, "in_progress", None), here.id("msg_"));
    let place = json!({ "item_id": id, "output_index": 0, "content_index": 0 });
    let at = |value: Value| joined(value, &place);
    let mut list = vec![
        ("response.created", json!({ "response": begun })),
        ("response.in_progress", json!({ "response": begun })),
        (
            "response.output_item.added",
            json!({ "output_index": 0, "item": answers::message(here, "in_progress", None) }),
        ),
        ("response.content_part.added", at(json!({ "part": answers::part("") }))),
    ];
    let delta =
        |token| ("response.output_text.delta", at(json!({ "delta": token, "logprobs": [] })));
    list.extend(tokens(text).map(delta));
    list.extend([
        ("response.output_text.done", at(json!({ "text": text, "logprobs": [] }))),
        ("response.content_part.done", at(json!({ "part": answers::part(text) }))),
        (
            "response.output_item.done",
            json!({ "output_index": 0, "item": answers::message(here, "completed", Some(text)) }),
        ),
        (
            "response.completed",
            json!({ "response": answers::response(here, ask, "completed", Some(text)) }),
        ),
    ]);
    list.into_iter().enumerate().map(|(number, (kind, event))| typed(kind, number, event)).collect()
}

fn typed(kind: &str, number: usize, event: Value) -> Bytes {
    let event = joined(event, &json!({ "type": kind, "sequence_number": number }));
    Bytes::from(format!("event: {kind}\ndata: {event}\n\n"))
}

fn data(event: &Value) -> Bytes {
    Bytes::from(format!("data: {event}\n\n"))
}

/// The object with the keys of `more` added.
fn joined(mut object: Value, more: &Value) -> Value {
    if let (Some(into), Some(more)) = (object.as_object_mut(), more.as_object()) {
        into.extend(more.clone());
    }
    object
}

/// Words with the space that follows them: joined they are the text.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}
