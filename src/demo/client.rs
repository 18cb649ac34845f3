//! The demo's own traffic: real sockets, real TLS, and what came back put on one line.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;

use super::door;
use super::pki::Identity;

/// A client that trusts one authority and may show a certificate.
pub struct Client(Http<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Pieces that the body arrived in: more than one shows that it was streamed.
    pub pieces: usize,
}

impl Client {
    pub fn new(authority: &Path, identity: Option<&Identity>) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(door::roots(authority)?);
        let tls = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_file(&identity.key)
                    .with_context(|| format!("`{}`", identity.key.display()))?;
                builder.with_client_auth_cert(door::certificates(&identity.certificate)?, key)?
            }
        };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions();
        let client = Http::builder(TokioExecutor::new())
            .pool_max_idle_per_host(1)
            .retry_canceled_requests(false)
            .build(connector.build());
        Ok(Self(client))
    }

    pub async fn get(&self, url: &str) -> Result<Reply> {
        self.send(Request::get(url).body(Full::default())?).await
    }

    /// Posts JSON with further headers.
    pub async fn post(&self, url: &str, headers: &[(&str, &str)], body: &Value) -> Result<Reply> {
        let mut request = Request::builder().method(Method::POST).uri(url);
        request = request.header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::from(serde_json::to_vec(body)?))?).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Reply> {
        let url = request.uri().clone();
        let answered = tokio::time::timeout(REPLY_WAIT_MAX, self.collect(request)).await;
        answered.with_context(|| format!("no answer from {url} in time"))?.with_context(|| url)
    }

    async fn collect(&self, request: Request<Full<Bytes>>) -> Result<Reply> {
        let (head, mut body) = self.0.request(request).await?.into_parts();
        let (mut bytes, mut pieces) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                bytes.extend_from_slice(&data);
                pieces += 1;
            }
        }
        Ok(Reply { status: head.status, headers: head.headers, body: bytes.into(), pieces })
    }
}

impl Reply {
    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The code of an error in the OpenAI shape.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        self.json().pointer("/error/code")?.as_str().map(str::to_owned)
    }

    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A stream of the demo lasts about a second; a refusal while Postgres is away at most the gateway's own deadline.
const REPLY_WAIT_MAX: Duration = Duration::from_secs(30);
