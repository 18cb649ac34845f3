//! What the service gets of a request's head: what the gateway sends along, what the leaf proves, and nothing else.

use std::convert::Infallible;

use haetae::forward::{self, Cutter, Forward, Outgoing};
use haetae::listen::{self, Factory, Listener, Peer, RequestBody, Stop};
use http::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};

use super::*;

/// Everything that a client, a proxy or somebody with ideas may send, and what a service may read as another request.
const ANYTHING: [&str; 34] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "content-encoding",
    "content-language",
    "content_type",
    "cookie",
    "expect",
    "forwarded",
    "haetae-datasets",
    "haetae-site",
    "idempotency-key",
    "openai-beta",
    "openai-organization",
    "openai-project",
    "priority",
    "proxy-authorization",
    "range",
    "te",
    "tracestate",
    "traceparent",
    "user-agent",
    "via",
    "x-api-key",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-gateway-destination-endpoint",
    "x-http-method-override",
    "x-original-url",
    "x-request-id",
    "x-rewrite-url",
    "x-slurm-user-name",
    "x-stainless-lang",
];

fn anything() -> HeaderMap {
    let name = |name: &&'static str| (HeaderName::from_static(name), HeaderValue::from_static("1"));
    ANYTHING.iter().map(name).collect()
}

/// Without what belongs to one connection, or names its end.
fn end_to_end(mut head: HeaderMap) -> HeaderMap {
    for name in ["host", "content-length", "connection"] {
        head.remove(name);
    }
    head
}

/// The site's own edge before its guard: its address, its CA, and the heads that came.
struct Edge {
    port: u16,
    ca: String,
    came: Arc<Mutex<Vec<HeaderMap>>>,
    _files: tempfile::TempDir,
}

impl Edge {
    async fn open(guard: &Arc<Guard>, identity: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let (certificate, key) = (files.path().join("site.pem"), files.path().join("site.key"));
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(identity.try_into().unwrap()));
        let own = KeyPair::generate().unwrap();
        std::fs::write(&certificate, params.signed_by(&own, &ca).unwrap().pem()).unwrap();
        std::fs::write(&key, own.serialize_pem()).unwrap();
        let text = format!(
            "address = '127.0.0.1:0'\ntls = {{ certificate = '{}', key = '{}' }}",
            certificate.display(),
            key.display()
        );
        let config: listen::Config = toml::from_str(&text).unwrap();
        let bound = Listener::bind("site", &config, &listen::Metrics::default()).await.unwrap();
        let port = bound.local_addr().port();
        let (came, tracker) = (Arc::new(Mutex::new(Vec::new())), TaskTracker::new());
        let factory = noting(Arc::clone(guard), Arc::clone(&came));
        tracker.spawn(bound.serve(factory, tracker.clone(), Stop::default()));
        Self { port, ca: ca.pem(), came, _files: files }
    }
}

fn noting(guard: Arc<Guard>, came: Arc<Mutex<Vec<HeaderMap>>>) -> impl Factory {
    move |_: Arc<Peer>| {
        let (guard, came) = (Arc::clone(&guard), Arc::clone(&came));
        service_fn(move |request: Request<RequestBody>| {
            came.lock().unwrap().push(request.headers().clone());
            let guard = Arc::clone(&guard);
            async move { Ok::<_, Infallible>(guard.handle("127.0.0.0/24", request).await) }
        })
    }
}

/// The list of the guard is the list of the gateway: a header that only one of them has fails here.
#[tokio::test(flavor = "multi_thread")]
async fn the_service_gets_the_head_that_the_gateway_sends() {
    let site = Site::open().await;
    let identity = "spiffe://kr-op.example/site/kr-seo-1";
    let edge = Edge::open(&site.guard, identity).await;
    let authority = format!("127.0.0.1:{}", edge.port);
    let forward = Forward::new(&forward::Config::default(), &TaskTracker::new(), site.stop.clone());
    let forward = forward.unwrap();
    forward.set_sites(vec![forward::Site {
        id: "kr-seo-1".into(),
        base_url: format!("https://{authority}"),
        ca_pem: edge.ca.clone(),
        identity: identity.into(),
    }]);
    let there = |draft: &mut Draft| draft.site.as_mut().unwrap().authority = authority.into();
    let Recorded::Permit(permit) = site.recorded(there, Outcome::Allow).await else { panic!() };
    let proof = permit.proof().clone();
    let outgoing = Outgoing {
        headers: anything(),
        body: Bytes::from_static(BODY.as_bytes()),
        stream: false,
        cutter: Cutter::default(),
    };
    let sent = forward.send(permit, outgoing, Box::new(drop), Box::new(drop)).await;
    let answer = sent.map_err(|error| error.code()).unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "{\"served\":true}");

    let came = end_to_end(edge.came.lock().unwrap()[0].clone());
    let seen = end_to_end(site.seen.lock().unwrap()[0].clone());
    assert_eq!(came["haetae-decision"], *proof.id);
    assert!(came.contains_key("accept") && came.contains_key("traceparent"), "{came:?}");
    assert_eq!(came, seen);

    // And from somebody who has a receipt and is not the gateway.
    let proof = site.allow().await;
    let mut request = request(&proof);
    for (name, value) in &anything() {
        request.headers_mut().append(name, value.clone());
    }
    assert_eq!(site.send(request).await.0, StatusCode::OK);
    let seen = end_to_end(site.seen.lock().unwrap()[1].clone());
    let names = |head: &HeaderMap| -> Vec<String> {
        let mut names: Vec<String> = head.keys().map(ToString::to_string).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(&seen), names(&came));
    site.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_leaf_names_is_the_leafs_to_say() {
    let site = Site::open().await;
    let (proof, other) = (site.allow().await, site.allow().await);
    let mut request = request(&proof);
    let takes_away = "content-type, haetae-decision, haetae-receipt, haetae-leaf, accept";
    let head = request.headers_mut();
    head.insert("connection", takes_away.parse().unwrap());
    head.insert("accept", "text/plain".parse().unwrap());
    head.insert("haetae-decision", other.id.parse().unwrap());
    head.append("haetae-decision", "another".parse().unwrap());
    assert_eq!(site.send(request).await.0, StatusCode::OK);
    let seen = end_to_end(site.seen.lock().unwrap()[0].clone());
    let expected: HeaderMap = [
        ("content-type", b"application/json".as_slice()),
        ("haetae-decision", proof.id.as_bytes()),
        ("haetae-receipt", &proof.receipt),
        ("haetae-leaf", &proof.leaf),
    ]
    .into_iter()
    .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap()))
    .collect();
    assert_eq!(seen, expected);
    site.lab.stop().await;
}
