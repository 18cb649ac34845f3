//! `add-checkpoint` as the log calls it. No redirects, bounded size and time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::http::Uri;
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client as Http, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use tlog::Hash;
use tokio::time::timeout;

use super::{ConfigError, WitnessConfig};
use crate::dial;

pub(super) struct Client {
    address: Uri,
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What a witness says, other than that it will not.
pub(super) enum Answer {
    /// Signature lines.
    Lines(String),
    /// The size that it has cosigned.
    Conflict(u64),
}

impl Client {
    pub fn new(config: &WitnessConfig) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::Url(config.url.clone());
        let address: Uri = format!("{}/add-checkpoint", config.url.trim_end_matches('/'))
            .parse()
            .map_err(|_| wrong())?;
        let host = address.host().unwrap_or_default();
        let plain = match address.scheme_str() {
            Some("https") if !host.is_empty() => false,
            Some("http") if dial::is_here(host) => true,
            _ => return Err(wrong()),
        };
        let wrong = |cause: String| ConfigError::Ca { url: config.url.clone(), cause };
        let builder = HttpsConnectorBuilder::new();
        let builder = if plain || config.ca.is_some() {
            let ca = config.ca.as_deref();
            let roots =
                ca.map_or_else(|| Ok(RootCertStore::empty()), dial::roots).map_err(wrong)?;
            let tls = dial::tls(roots).map_err(|cause| wrong(cause.to_string()))?;
            builder.with_tls_config(tls.with_no_client_auth())
        } else {
            builder
                .with_provider_and_native_roots(dial::provider())
                .map_err(|cause| wrong(cause.to_string()))?
        };
        let connector = builder.https_or_http().enable_all_versions().build();
        let http = Http::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        Ok(Self { address, http })
    }

    /// An error says in words what the witness answered, or that it did not.
    pub async fn add_checkpoint(
        &self,
        old: u64,
        proof: &[Hash],
        note: &str,
    ) -> Result<Answer, String> {
        let mut body = format!("old {old}\n");
        for hash in proof {
            hash.push_base64(&mut body);
            body.push('\n');
        }
        body.push('\n');
        body.push_str(note);
        let request = Request::post(self.address.clone())
            .body(Full::from(body))
            .map_err(|cause| cause.to_string())?;
        let (status, text) = timeout(WAIT_MAX, self.send(request))
            .await
            .map_err(|_| "the witness did not answer in time".to_owned())??;
        match status {
            StatusCode::OK => Ok(Answer::Lines(text)),
            StatusCode::CONFLICT => {
                let size = text.trim_end().parse();
                size.map(Answer::Conflict).map_err(|_| "the witness names no size".to_owned())
            }
            status => Err(format!("the witness answered {status}: {}", text.trim_end())),
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, String), String> {
        let answer = self.http.request(request).await.map_err(|error| {
            // The outer error says only "client error".
            std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
        })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| "the witness's answer broke off or is too long".to_owned())?;
        let text = String::from_utf8(body.to_bytes().into());
        Ok((status, text.map_err(|_| "the witness's answer is not text".to_owned())?))
    }
}

const WAIT_MAX: Duration = Duration::from_secs(5);
/// 16 signature lines of 5 kB.
const ANSWER_BYTES_MAX: usize = 80 * 1024;
