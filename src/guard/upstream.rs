//! The service behind the guard, and the way to it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::http::{HeaderMap, Uri, Version};
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use super::{Admitted, Config, GuardError};
use crate::dial;

pub(super) struct Upstream {
    scheme: Scheme,
    authority: Authority,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Upstream {
    pub fn new(config: &Config) -> Result<Self, GuardError> {
        let wrong = || GuardError::Upstream(config.upstream.clone());
        let uri: Uri = config.upstream.parse().map_err(|_| wrong())?;
        let parts = uri.into_parts();
        let bare = parts.path_and_query.is_none_or(|path| path == "/");
        let (Some(scheme), Some(authority), true) = (parts.scheme, parts.authority, bare) else {
            return Err(wrong());
        };
        if scheme != Scheme::HTTPS && scheme != Scheme::HTTP {
            return Err(wrong());
        }
        if scheme == Scheme::HTTP && !dial::is_here(authority.host()) {
            return Err(GuardError::PlainUpstream(config.upstream.clone()));
        }
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_MAX));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(config)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            // One receipt, one attempt.
            .retry_canceled_requests(false)
            .build(connector);
        Ok(Self { scheme, authority, client })
    }

    /// Sends it, once. An error says what is wrong with the service.
    pub async fn send(&self, admitted: Admitted) -> Result<Response<Incoming>, String> {
        let Admitted { method, uri, headers, body } = admitted;
        let path = uri.path_and_query().cloned();
        // The service's own name; the recorded one is in the leaf.
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build()
            .map_err(|cause| cause.to_string())?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let mut response =
            self.client.request(request).await.map_err(|cause| format!("{cause}: {cause:?}"))?;
        // Of that connection too: an answer of HTTP/1.0 must not make ours end where nobody sees whether it is whole.
        *response.version_mut() = Version::HTTP_11;
        of_one_connection(response.headers_mut());
        Ok(response)
    }
}

/// Takes out what RFC 9110 section 7.6.1 says must not be passed on.
fn of_one_connection(headers: &mut HeaderMap) {
    // A length beside chunks does not count (RFC 9112 section 6.3): with it the answer would be cut there and taken for whole.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    for name in named_by_connection(headers).iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}

pub(super) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect()
}

fn tls(config: &Config) -> Result<ClientConfig, GuardError> {
    let roots = match &config.upstream_ca {
        Some(path) => dial::roots(path).map_err(GuardError::UpstreamCa)?,
        None if config.upstream.starts_with("https") => {
            let cause = "an https service needs the CA that vouches for it".to_owned();
            return Err(GuardError::UpstreamCa(cause));
        }
        None => RootCertStore::empty(),
    };
    let tls = dial::tls(roots).map_err(|cause| GuardError::UpstreamCa(cause.to_string()))?;
    let own = match (&config.upstream_certificate, &config.upstream_key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(dial::Own { certificate, key }),
        _ => return Err(GuardError::UpstreamCertificate("give both or none".to_owned())),
    };
    dial::showing(tls, own).map_err(GuardError::UpstreamCertificate)
}

const HOP_BY_HOP: [HeaderName; 7] =
    [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Below what services usually keep an idle connection for.
const IDLE_MAX: Duration = Duration::from_secs(30);
