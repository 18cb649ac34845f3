//! `add-checkpoint` as the log calls it. No redirects, bounded size and time.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::http::Uri;
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client as Http, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tlog::Hash;
use tokio::time::timeout;

use super::{ConfigError, WitnessConfig};

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
        let host = address.host().unwrap_or_default().trim_matches(['[', ']']);
        let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match address.scheme_str() {
            Some("https") if !host.is_empty() => {}
            Some("http") if here => {}
            _ => return Err(wrong()),
        }
        let builder = match tls(config)? {
            Some(tls) => HttpsConnectorBuilder::new().with_tls_config(tls),
            None => HttpsConnectorBuilder::new().with_native_roots().map_err(|cause| {
                ConfigError::Ca { url: config.url.clone(), cause: cause.to_string() }
            })?,
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

/// None: the roots of the machine.
fn tls(config: &WitnessConfig) -> Result<Option<ClientConfig>, ConfigError> {
    let wrong = |cause: String| ConfigError::Ca { url: config.url.clone(), cause };
    let mut roots = RootCertStore::empty();
    let Some(path) = &config.ca else {
        // Plain http on this machine needs none.
        let plain = config.url.starts_with("http:");
        return Ok(plain
            .then(|| ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()));
    };
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|cause| wrong(cause.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|cause| wrong(cause.to_string()))?;
        roots.add(certificate).map_err(|cause| wrong(cause.to_string()))?;
    }
    Ok(Some(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

const WAIT_MAX: Duration = Duration::from_secs(5);
/// 16 signature lines of 5 kB.
const ANSWER_BYTES_MAX: usize = 80 * 1024;
