//! What would be sent, told beforehand: the body of `POST /v1/decide` becomes the claims that the request itself would make.
//!
//! *Invariant:* the same words in the same grammar as on the data path; a header and a body that differ are never merged.

use std::sync::Arc;

use bytes::Bytes;
use hyper::http::HeaderMap;
use serde::Deserialize;
use verdict::{question::Workload, reason::Reason};

use crate::workload::declare::{self, Declared, Field};
use crate::workload::{Claims, NotUnderstood, Operation, Outside, Protocol};

/// What of a request matters for its decision.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// The model that would be asked for.
    service: String,
    #[serde(default)]
    datasets: Vec<String>,
    purpose: Option<String>,
    output: Option<String>,
    no_data: Option<bool>,
    site: Option<String>,
    /// Calls that the workload itself would make.
    #[serde(default)]
    onward: Vec<Call>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    what: String,
    host: Option<String>,
}

/// Reads what would be sent, from the headers that declare data and from the body.
///
/// # Errors
/// 400 with the key at fault.
pub fn asked(head: &HeaderMap, body: &Bytes) -> Result<Claims, NotUnderstood> {
    let asked: Asked = super::read(body)?;
    if !crate::workload::openai::is_model(&asked.service) {
        let message = "`service` is the name of a model such as `llama-3.3-70b`";
        return Err(NotUnderstood::new(400, Reason::DeclarationInvalid, message).of("service"));
    }
    let declared = declare::from_headers(head)?.agree(declared(&asked)?)?;
    Ok(Claims {
        protocol: Protocol::Haetae,
        operation: Operation::Submit,
        name: "decide",
        model: asked.service.as_str().into(),
        workload: Workload::Infer,
        stream: false,
        datasets: declared.datasets.unwrap_or_default(),
        purpose: declared.purpose,
        output: declared.output,
        no_data: declared.no_data.unwrap_or_default(),
        site: declared.site,
        onward: onward(&asked.onward)?,
    })
}

fn declared(asked: &Asked) -> Result<Declared, NotUnderstood> {
    let mut declared = Declared::default();
    if !asked.datasets.is_empty() {
        declared.put(Field::Datasets, &asked.datasets.join(","), "datasets")?;
    }
    if let Some(no_data) = asked.no_data {
        declared.put(Field::NoData, if no_data { "true" } else { "false" }, "no_data")?;
    }
    let others = [
        (Field::Purpose, &asked.purpose, "purpose"),
        (Field::Output, &asked.output, "output"),
        (Field::Site, &asked.site, "site"),
    ];
    for (field, text, key) in others {
        if let Some(text) = text {
            declared.put(field, text, key)?;
        }
    }
    Ok(declared)
}

fn onward(calls: &[Call]) -> Result<Vec<Outside>, NotUnderstood> {
    let invalid = || {
        let message = "a call is `{\"what\": \"tool:web_search\", \"host\": \"example.com\"}`, `host` where one is known";
        NotUnderstood::new(400, Reason::DeclarationInvalid, message).of("onward")
    };
    if calls.len() > CALLS_MAX {
        return Err(invalid());
    }
    let mut outside = Vec::new();
    for call in calls {
        let host = call.host.as_deref();
        let plain = declare::is_name(&call.what, b"_:-", NAME_MAX)
            && host.is_none_or(|host| {
                declare::is_name(host, b".-", HOST_MAX) && host.to_ascii_lowercase() == host
            });
        if !plain {
            return Err(invalid());
        }
        outside.push(Outside { what: call.what.as_str().into(), host: host.map(Arc::from) });
    }
    outside.sort_unstable();
    outside.dedup();
    Ok(outside)
}

/// As many hosts as a request of the data path may name; each is a place that is judged.
const CALLS_MAX: usize = 16;
const NAME_MAX: usize = 64;
/// RFC 1035, section 2.3.4.
const HOST_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Claims, (u16, Option<&'static str>)> {
        let asked = asked(&HeaderMap::new(), &Bytes::from(body.to_owned()));
        asked.map_err(|why| (why.status, why.param))
    }

    #[test]
    fn what_would_be_sent_is_read_as_it_would_be_when_sent() {
        let claims = read(
            r#"{"service":"llama-3.3-70b","datasets":["b/x@1","a/y@2"],"purpose":"dpv:CustomerCare","site":"kr-seo-1",
                "onward":[{"what":"tool:web_search"},{"what":"image_url","host":"example.com"}]}"#,
        )
        .unwrap();
        assert_eq!(claims.datasets, [Arc::from("a/y@2"), Arc::from("b/x@1")]);
        assert_eq!((claims.operation, claims.onward.len()), (Operation::Submit, 2));
        for (body, param) in [
            ("{}", None),
            (r#"{"service":"m","model":"m"}"#, None),
            (r#"{"service":"m","service":"n"}"#, None),
            (r#"{"service":"m m"}"#, Some("service")),
            (r#"{"service":"m","datasets":["a,b"]}"#, None),
            (r#"{"service":"m","datasets":["A"]}"#, Some("datasets")),
            (r#"{"service":"m","datasets":["a","a"]}"#, Some("datasets")),
            (r#"{"service":"m","site":"KR"}"#, Some("site")),
            (r#"{"service":"m","onward":[{"what":"x","host":"Example.com"}]}"#, Some("onward")),
        ] {
            let refused = read(body);
            if body.contains("a,b") {
                // a comma is the separator of the header: two datasets, as there
                assert_eq!(refused.unwrap().datasets.len(), 2);
            } else {
                assert_eq!(refused, Err((400, param)), "{body}");
            }
        }
    }
}
