//! Deterministic answers in the shapes of the OpenAI API: each names the site and place that computed it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The four submit routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Chat,
    Completion,
    Embedding,
    Response,
}

impl Kind {
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/v1/chat/completions" => Some(Self::Chat),
            "/v1/completions" => Some(Self::Completion),
            "/v1/embeddings" => Some(Self::Embedding),
            "/v1/responses" => Some(Self::Response),
            _ => None,
        }
    }

    pub(super) fn streams(self) -> bool {
        self != Self::Embedding
    }
}

/// Where and when an answer is made, and the digest of what was asked (it seeds ids).
pub(super) struct Here<'a> {
    pub(super) site: &'a str,
    pub(super) place: &'a str,
    pub(super) created: i64,
    pub(super) digest: String,
}

impl Here<'_> {
    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.digest.chars().take(24).collect::<String>())
    }

    /// The whole answer in words.
    pub(super) fn sentence(&self, ask: &Value) -> String {
        let asked = words_in(ask);
        let (site, place) = (self.site, self.place);
        format!("This answer was computed at {site} in {place}. Your request held {asked} words.")
    }
}

/// The model as the caller named it.
pub(super) fn model(ask: &Value) -> &str {
    ask.get("model").and_then(Value::as_str).unwrap_or("unknown")
}

/// A whole answer, for a request that does not stream.
pub(super) fn whole(kind: Kind, here: &Here<'_>, ask: &Value) -> Value {
    let text = here.sentence(ask);
    match kind {
        Kind::Chat => json!({
            "id": here.id("chatcmpl-"), "object": "chat.completion", "created": here.created,
            "model": model(ask), "usage": usage(ask, &text),
            "choices": [{
                "index": 0, "finish_reason": "stop", "logprobs": null,
                "message": { "role": "assistant", "content": text, "refusal": null },
            }],
        }),
        Kind::Completion => json!({
            "id": here.id("cmpl-"), "object": "text_completion", "created": here.created,
            "model": model(ask), "usage": usage(ask, &text),
            "choices": [{ "index": 0, "finish_reason": "stop", "logprobs": null, "text": text }],
        }),
        Kind::Embedding => embeddings(ask),
        Kind::Response => response(here, ask, "completed", Some(&text)),
    }
}

/// The object of the responses API; without `text` it has only begun.
pub(super) fn response(here: &Here<'_>, ask: &Value, status: &str, text: Option<&str>) -> Value {
    let output = text.map_or_else(Vec::new, |text| vec![message(here, "completed", Some(text))]);
    let usage = text.map_or(Value::Null, |text| {
        let (input, output) = (words_in(ask), words(text));
        json!({
            "input_tokens": input, "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens": output, "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": input + output,
        })
    });
    json!({
        "id": here.id("resp_"), "object": "response", "created_at": here.created, "status": status,
        "model": model(ask), "output": output, "usage": usage, "error": null, "store": false,
        "incomplete_details": null, "instructions": null, "metadata": {}, "tools": [],
        "parallel_tool_calls": true, "tool_choice": "auto", "temperature": 1.0, "top_p": 1.0,
        "previous_response_id": null, "text": { "format": { "type": "text" } },
        "truncation": "disabled",
    })
}

/// One message of the responses API.
pub(super) fn message(here: &Here<'_>, status: &str, text: Option<&str>) -> Value {
    let content: Vec<Value> = text.iter().map(|text| part(text)).collect();
    json!({ "id": here.id("msg_"), "type": "message", "role": "assistant", "status": status, "content": content })
}

pub(super) fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [] })
}

/// Words stand for tokens: there is no tokenizer here.
pub(super) fn usage(ask: &Value, text: &str) -> Value {
    let (asked, answered) = (words_in(ask), words(text));
    json!({ "prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered })
}

/// One vector of eight numbers for each input, drawn from the input's digest. The SDKs ask for base64 unless told
/// otherwise: little-endian f32.
fn embeddings(ask: &Value) -> Value {
    let inputs = match ask.get("input") {
        Some(Value::Array(list)) if list.iter().any(|one| !one.is_number()) => list.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    let packed = ask.get("encoding_format").and_then(Value::as_str) == Some("base64");
    let entry = |(index, input): (usize, &Value)| {
        let numbers = numbers_of(&input.to_string());
        let vector = if packed {
            let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
            Value::from(BASE64.encode(bytes))
        } else {
            Value::from(numbers)
        };
        json!({ "object": "embedding", "index": index, "embedding": vector })
    };
    let data: Vec<Value> = inputs.iter().enumerate().map(entry).collect();
    let asked = words_in(ask);
    json!({ "object": "list", "model": model(ask), "data": data,
            "usage": { "prompt_tokens": asked, "total_tokens": asked } })
}

fn numbers_of(text: &str) -> Vec<f32> {
    Sha256::digest(text).iter().take(8).map(|byte| f32::from(*byte) / 127.5 - 1.0).collect()
}

/// Words in what was asked: of messages, prompt or input.
fn words_in(ask: &Value) -> usize {
    let asked = ["messages", "prompt", "input"].iter().filter_map(|key| ask.get(*key));
    asked.map(words_of).sum()
}

/// Depth is bounded by `serde_json`'s own limit of 128.
fn words_of(value: &Value) -> usize {
    match value {
        Value::String(text) => words(text),
        Value::Array(list) => list.iter().map(words_of).sum(),
        Value::Object(map) => {
            let texts = map.iter().filter(|(key, _)| *key != "role" && *key != "type");
            texts.map(|(_, value)| words_of(value)).sum()
        }
        _ => 0,
    }
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}
