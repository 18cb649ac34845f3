//! The OpenAI-compatible protocol (vLLM, NIM, `SGLang`, llama.cpp): chat completions, completions, embeddings and
//! stateless responses are carried; models are answered by the gate; everything else is refused by name.
//!
//! *Invariant:* nothing that a site would keep or look up later is carried: a request is whole in itself.

mod answer;
mod body;
mod elsewhere;
mod media;
mod onward;
mod routes;

pub use answer::{refuse, stream_error};
pub use routes::{is_model, method, route};

use bytes::Bytes;
use hyper::http::HeaderMap;
use verdict::{question::Workload, reason::Reason};

use super::{Claims, NotUnderstood, Operation, Route, declare};

/// Reads what a request claims. Pure.
///
/// # Errors
/// See [`super::read`].
pub fn read(route: &Route, head: &HeaderMap, bytes: &Bytes) -> Result<Claims, NotUnderstood> {
    let declared = declare::from_headers(head)?;
    if bytes.len() > route.body_max_bytes {
        return Err(too_large(route));
    }
    let read = match route.operation {
        Operation::Metadata | Operation::Admin => body::Read::default(),
        Operation::Submit => {
            media::check(head)?;
            body::read(route, bytes)?
        }
    };
    let declared = declared.agree(read.declared)?;
    Ok(Claims {
        protocol: route.protocol,
        operation: route.operation,
        name: route.name,
        model: read.model.or_else(|| route.model.clone()).unwrap_or_default(),
        workload: Workload::Infer,
        stream: read.stream,
        datasets: declared.datasets.unwrap_or_default(),
        purpose: declared.purpose,
        output: declared.output,
        no_data: declared.no_data.unwrap_or_default(),
        site: declared.site,
        onward: read.onward,
    })
}

fn too_large(route: &Route) -> NotUnderstood {
    let message = match route.body_max_bytes {
        0 => format!("`{}` takes no body", route.name),
        max => format!("a body of `{}` may have {max} bytes: send less", route.name),
    };
    NotUnderstood::new(413, Reason::BodyTooLarge, message)
}
