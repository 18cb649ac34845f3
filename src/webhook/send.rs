//! One attempt: a signed POST, its status, nothing more. No redirect is followed, no proxy is asked, no answer is read.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use uuid::Uuid;

use super::address::{FORBIDDEN, Guard, check_url};
use super::{Config, Secret, WebhookError, sign};
use crate::dial;

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub id: Uuid,
    pub body: String,
    /// That failed before this one.
    pub attempts: u32,
}

/// How an attempt went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With this HTTP status.
    Answered(u16),
    /// Why there was no answer, in words that say nothing of the network behind the address.
    Failed(&'static str),
}

pub struct Sender {
    client: Client<HttpsConnector<HttpConnector<Guard>>, Full<Bytes>>,
    guard: Guard,
    limit: Duration,
}

impl Sender {
    pub fn new(config: &Config) -> Result<Self, WebhookError> {
        let guard = Guard::new(&config.allow);
        let mut http = HttpConnector::new_with_resolver(guard.clone());
        http.enforce_http(false);
        let https = HttpsConnectorBuilder::new();
        let https = match &config.ca {
            Some(path) => {
                let roots = dial::roots(path).map_err(WebhookError::Config)?;
                https.with_tls_config(tls(roots)?)
            }
            None => match https.with_provider_and_native_roots(dial::provider()) {
                Ok(https) => https,
                Err(error) => {
                    // No receiver can be verified, and each notice says so; the gateway serves all the same.
                    tracing::warn!(%error, "the system's CAs cannot be read: no notice can be sent by https");
                    HttpsConnectorBuilder::new().with_tls_config(tls(RootCertStore::empty())?)
                }
            },
        };
        let connector = https.https_or_http().enable_http1().wrap_connector(http);
        // A kept connection would be one whose address was looked at long ago.
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client, guard, limit: Duration::from_millis(config.answer_ms) })
    }

    /// Sends it. `at` is the instant that is signed, in unix seconds.
    pub async fn send(
        &self,
        url: &str,
        delivery: &Delivery,
        secrets: &[Secret],
        at: i64,
    ) -> Outcome {
        let Ok(uri) = check_url(url) else { return Outcome::Failed("the address is not usable") };
        if !self.guard.permits_host(&uri) {
            return Outcome::Failed(FORBIDDEN);
        }
        let Ok(request) = request(uri, delivery, secrets, at) else {
            return Outcome::Failed("the notice cannot be written as a request");
        };
        match tokio::time::timeout(self.limit, self.client.request(request)).await {
            Ok(Ok(answer)) => Outcome::Answered(answer.status().as_u16()),
            Ok(Err(error)) if is_forbidden(&error) => Outcome::Failed(FORBIDDEN),
            Ok(Err(error)) if error.is_connect() => Outcome::Failed("no connection, or no TLS"),
            Ok(Err(_)) => Outcome::Failed("the connection broke before an answer"),
            Err(_) => Outcome::Failed("no answer in time"),
        }
    }
}

fn tls(roots: RootCertStore) -> Result<ClientConfig, WebhookError> {
    let tls = dial::tls(roots).map_err(|error| WebhookError::Config(error.to_string()))?;
    Ok(tls.with_no_client_auth())
}

fn request(
    uri: Uri,
    delivery: &Delivery,
    secrets: &[Secret],
    at: i64,
) -> http::Result<Request<Full<Bytes>>> {
    let id = delivery.id.to_string();
    let signature = sign::signature(secrets, &id, at, &delivery.body);
    Request::post(uri)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("haetae/", env!("CARGO_PKG_VERSION")))
        .header("webhook-id", id)
        .header("webhook-timestamp", at)
        .header("webhook-signature", signature)
        .body(Full::new(Bytes::from(delivery.body.clone())))
}

/// The guard's refusal lies under the connector's and the client's own errors.
fn is_forbidden(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied) {
            return true;
        }
        next = error.source();
    }
    false
}
