//! A client for one address: https, or http on this machine. No redirects, every answer bounded in size and time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::http::Uri;
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use tokio::time::timeout;

use super::Own;

#[derive(Debug, Clone)]
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What an answer may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub bytes: usize,
    pub wait: Duration,
}

/// Why an address cannot be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpError {
    /// Neither https nor http on this machine.
    Address,
    Ca(String),
    Certificate(String),
}

impl Http {
    /// `ca` is a PEM file; without one those that the machine trusts.
    ///
    /// # Errors
    /// When the address or a file cannot be used.
    pub fn new(
        address: &Uri,
        ca: Option<&std::path::Path>,
        own: Option<Own<'_>>,
    ) -> Result<Self, HttpError> {
        let host = address.host().unwrap_or_default();
        let plain = match address.scheme_str() {
            Some("https") if !host.is_empty() => false,
            Some("http") if super::is_here(host) => true,
            _ => return Err(HttpError::Address),
        };
        let builder = HttpsConnectorBuilder::new();
        let builder = if plain || ca.is_some() || own.is_some() {
            let roots = match ca {
                Some(ca) => super::roots(ca).map_err(HttpError::Ca)?,
                None if plain => RootCertStore::empty(),
                None => {
                    let cause = "who shows a certificate names the CA that it believes".to_owned();
                    return Err(HttpError::Ca(cause));
                }
            };
            let tls = super::tls(roots).map_err(|cause| HttpError::Ca(cause.to_string()))?;
            builder.with_tls_config(super::showing(tls, own).map_err(HttpError::Certificate)?)
        } else {
            builder
                .with_provider_and_native_roots(super::provider())
                .map_err(|cause| HttpError::Ca(cause.to_string()))?
        };
        let connector = builder.https_or_http().enable_all_versions().build();
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(IDLE_MAX).build(connector);
        Ok(Self { client })
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// In words, what kept the answer away.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        limits: Limits,
    ) -> Result<(StatusCode, Bytes), String> {
        let answer = async {
            let answer = self.client.request(request).await.map_err(|error| {
                // The outer error says only "client error".
                std::error::Error::source(&error)
                    .map_or_else(|| error.to_string(), ToString::to_string)
            })?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), limits.bytes).collect().await;
            let body = body.map_err(|_| "the answer broke off or is too long".to_owned())?;
            Ok((status, body.to_bytes()))
        };
        timeout(limits.wait, answer).await.map_err(|_| "no answer in time".to_owned())?
    }
}

/// Of one address.
const IDLE_MAX: usize = 8;
