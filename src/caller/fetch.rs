//! Where an issuer's keys come from: a configured address or a file. No redirects, bounded size and time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::http::{StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;

use super::config::IssuerConfig;
use crate::dial;

pub(super) enum Source {
    File(PathBuf),
    Url(Box<Address>),
}

/// A key set on the network, and the client that asks for it.
pub(super) struct Address {
    uri: Uri,
    client: KeyClient,
}

type KeyClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

impl Source {
    pub fn new(config: &IssuerConfig) -> Result<Self, String> {
        match (&config.jwks_url, &config.jwks_file) {
            (None, Some(file)) => Ok(Self::File(file.clone())),
            (Some(url), None) => {
                let uri = address(url)?;
                let client = client(&uri, config.jwks_ca.as_deref())?;
                Ok(Self::Url(Box::new(Address { uri, client })))
            }
            _ => Err("give either `jwks_url` or `jwks_file`".to_owned()),
        }
    }

    pub const fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// The bytes of the key set, or in words why not.
    pub async fn read(&self) -> Result<Bytes, String> {
        match self {
            Self::File(path) => {
                let size = tokio::fs::metadata(path).await.map(|file| file.len());
                if size.is_ok_and(|size| size > SET_BYTES_MAX as u64) {
                    return Err(format!("`{}` is larger than 256 KiB", path.display()));
                }
                let read = tokio::fs::read(path).await;
                read.map(Bytes::from).map_err(|cause| format!("`{}`: {cause}", path.display()))
            }
            Self::Url(address) => {
                let (address, client) = (&address.uri, &address.client);
                let fetching = get(client, address.clone());
                match tokio::time::timeout(FETCH_TIME_MAX, fetching).await {
                    Ok(fetched) => fetched.map_err(|cause| format!("`{address}`: {cause}")),
                    Err(_) => Err(format!("`{address}`: no whole answer within 5 s")),
                }
            }
        }
    }
}

async fn get(client: &KeyClient, address: Uri) -> Result<Bytes, String> {
    // the outer error says only "client error": the cause is what helps
    let answer = client.get(address).await.map_err(|error| {
        std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
    })?;
    if answer.status() != StatusCode::OK {
        return Err(format!("the answer was {} (redirects are not followed)", answer.status()));
    }
    let body = Limited::new(answer.into_body(), SET_BYTES_MAX).collect().await;
    body.map(http_body_util::Collected::to_bytes)
        .map_err(|_| "the answer broke off or is larger than 256 KiB".to_owned())
}

fn address(url: &str) -> Result<Uri, String> {
    let address: Uri = url.parse().map_err(|_| format!("`{url}` is not an address"))?;
    let host = address.host().unwrap_or_default();
    match address.scheme_str() {
        Some("https") if !host.is_empty() => Ok(address),
        Some("http") if dial::is_here(host) => Ok(address),
        _ => Err(format!("`{url}` must be https (http only on a loopback address)")),
    }
}

fn client(address: &Uri, ca: Option<&Path>) -> Result<KeyClient, String> {
    let builder = HttpsConnectorBuilder::new();
    let plain = address.scheme_str() == Some("http");
    let builder = if plain || ca.is_some() {
        let roots = ca.map_or_else(|| Ok(RootCertStore::empty()), dial::roots)?;
        let tls = dial::tls(roots).map_err(|cause| cause.to_string())?;
        builder.with_tls_config(tls.with_no_client_auth())
    } else {
        builder
            .with_provider_and_native_roots(dial::provider())
            .map_err(|cause| format!("the system's CAs cannot be read: {cause}"))?
    };
    let builder = if plain { builder.https_or_http() } else { builder.https_only() };
    // a fetch every 30 s: a kept connection would be dead half the time
    Ok(Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(builder.enable_http1().build()))
}

/// 64 RSA keys with certificate chains stay below it.
const SET_BYTES_MAX: usize = 256 * 1_024;
/// Refresh and fetch together stay below the 60 s after which a removed key must be refused.
const FETCH_TIME_MAX: Duration = Duration::from_secs(5);
