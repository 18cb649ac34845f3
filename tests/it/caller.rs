//! Who is believed: real keys, a real key server on loopback, and each way in which a credential can be wrong.
//!
//! Proves that a token is taken only from a configured issuer, with a configured algorithm, a published and unremoved
//! key, all required claims in time, and, when a certificate came too, only if both are of one party.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use haetae::caller::{CallerError, Callers, Config, ConfigError, Connection, CredentialKind};
use haetae::clock::Clock;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rcgen::{CertificateParams, KeyPair, SanType};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use verdict::question::ActorKind;

/// 2026-11-20T00:00:00Z.
const NOW: i64 = 1_795_132_800;
const ISSUER: &str = "https://id.kr-med.example";

struct Signer {
    kid: &'static str,
    alg: Algorithm,
    key: EncodingKey,
    public: Value,
}

impl Signer {
    fn ed(kid: &'static str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
        let public = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid});
        Self {
            kid,
            alg: Algorithm::EdDSA,
            key: EncodingKey::from_ed_der(pair.serialized_der()),
            public,
        }
    }

    fn ec(kid: &'static str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let (x, y) = pair.public_key_raw()[1..].split_at(32);
        let public = json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y), "kid": kid});
        Self {
            kid,
            alg: Algorithm::ES256,
            key: EncodingKey::from_ec_der(pair.serialized_der()),
            public,
        }
    }

    fn rsa(kid: &'static str) -> Self {
        let pair =
            KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap();
        let mut public = serde_json::to_value(jwk).unwrap();
        public["kid"] = kid.into();
        Self { kid, alg: Algorithm::RS256, key, public }
    }

    fn name(&self) -> &'static str {
        match self.alg {
            Algorithm::EdDSA => "EdDSA",
            Algorithm::ES256 => "ES256",
            _ => "RS256",
        }
    }

    fn head(&self) -> Value {
        json!({"alg": self.name(), "kid": self.kid, "typ": "JWT"})
    }

    /// A token with exactly these two parts, rightly signed.
    fn sign(&self, head: &str, claims: &str) -> String {
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
        let signature = crypto::sign(message.as_bytes(), &self.key, self.alg).unwrap();
        format!("{message}.{signature}")
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&self.head().to_string(), &claims.to_string())
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "haetae", "sub": "svc-train", "exp": NOW + 600, "nbf": NOW - 5, "org": "tenant-1", "roles": ["trainer", "nobody"]})
}

/// `claims` with one changed; `Null` takes it away.
fn but(key: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(key)),
        value => claims[key] = value,
    }
    claims
}

/// An issuer's key endpoint: what it answers can be changed, and it counts who asks.
struct KeyServer {
    url: String,
    shared: Arc<Shared>,
    _end: tokio_util::sync::DropGuard,
}

#[derive(Default)]
struct Shared {
    answer: std::sync::Mutex<(StatusCode, String)>,
    asked: AtomicUsize,
    /// Written while nobody is answered.
    silent: tokio::sync::RwLock<()>,
}

impl KeyServer {
    async fn start(keys: &[&Value]) -> Self {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", socket.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let router = axum::Router::new()
            .route(
                "/jwks",
                axum::routing::get(|State(shared): State<Arc<Shared>>| async move {
                    shared.asked.fetch_add(1, Ordering::SeqCst);
                    drop(shared.silent.read().await);
                    let (status, body) = shared.answer.lock().unwrap().clone();
                    (status, [("location", "/jwks")], body)
                }),
            )
            .with_state(Arc::clone(&shared));
        let end = CancellationToken::new();
        TaskTracker::new().spawn({
            let end = end.clone();
            async move {
                tokio::select! {
                    () = end.cancelled() => {}
                    _ = axum::serve(socket, router) => {}
                }
            }
        });
        let server = Self { url, shared, _end: end.drop_guard() };
        server.publish(keys);
        server
    }

    fn publish(&self, keys: &[&Value]) {
        *self.shared.answer.lock().unwrap() = (StatusCode::OK, json!({"keys": keys}).to_string());
    }

    fn answer(&self, status: StatusCode, body: &str) {
        *self.shared.answer.lock().unwrap() = (status, body.to_owned());
    }

    fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

fn config(source: &str) -> Config {
    let text = format!(
        r#"
        [[issuers]]
        issuer = "{ISSUER}"
        audiences = ["haetae", "haetae-eu"]
        algorithms = ["EdDSA", "ES256", "RS256"]
        {source}
        organisation = {{ claim = {{ claim = "org", values = {{ tenant-1 = "kr-med", "eu-*" = "=" }} }} }}
        roles = {{ claim = "roles", values = {{ trainer = "train" }}, always = ["infer"] }}
        actor_kind = {{ claim = "kind", human = ["user"] }}
        place_claim = "/address/country"

        [[certificates]]
        trust_domain = "kr-med.example"
        organisation = "kr-med"
        roles = ["infer"]
        place = "KR"
        token_subjects = ["svc-*"]

        [[certificates]]
        trust_domain = "kr-med.example"
        path_prefix = "/ns/research"
        organisation = "kr-med-research"

        [[certificates]]
        dns = "batch.de-bank.example"
        organisation = "de-bank"
        "#
    );
    toml::from_str(&text).unwrap()
}

struct Desk {
    callers: Callers,
    clock: Clock,
}

impl Desk {
    async fn new(source: &str) -> Self {
        let clock = Clock::fixed(NOW * 1_000_000_000);
        Self { callers: Callers::new(&config(source), clock.clone()).await.unwrap(), clock }
    }

    async fn of(server: &KeyServer) -> Self {
        Self::new(&format!("jwks_url = \"{}\"", server.url)).await
    }

    fn at(&self, seconds: i64) {
        self.clock.set((NOW + seconds) * 1_000_000_000);
    }

    async fn ask(&self, token: &str) -> Result<Arc<haetae::caller::Caller>, CallerError> {
        self.callers.identify(&bare(), &bearer(token)).await
    }

    async fn error(&self, token: &str) -> CallerError {
        self.ask(token).await.expect_err("this token is wrong")
    }
}

fn bare() -> Connection {
    Connection::new("203.0.113.9:5000".parse().unwrap(), None)
}

fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(axum::http::header::AUTHORIZATION, value)])
}

/// A connection whose client showed a certificate with these names.
fn with_certificate(names: &[SanType], end: (i32, u8)) -> (Connection, [u8; 32]) {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.to_vec();
    params.not_after = rcgen::date_time_ymd(end.0, end.1, 1);
    let leaf = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let digest = Sha256::digest(leaf.der()).into();
    (Connection::new("203.0.113.9:5000".parse().unwrap(), Some(leaf.der())), digest)
}

fn uri(id: &str) -> SanType {
    SanType::URI(id.try_into().unwrap())
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

#[tokio::test]
async fn a_token_of_each_algorithm_becomes_its_caller() {
    let signers = [Signer::ed("ed"), Signer::ec("ec"), Signer::rsa("rsa")];
    let server = KeyServer::start(&signers.each_ref().map(|signer| &signer.public)).await;
    let desk = Desk::of(&server).await;
    for signer in &signers {
        let caller = desk.ask(&signer.token(&claims())).await.unwrap();
        assert_eq!(&*caller.org, "kr-med");
        assert_eq!(&*caller.actor, "svc-train");
        assert_eq!(caller.actor_kind, ActorKind::Service);
        assert_eq!(caller.roles.iter().map(|role| &**role).collect::<Vec<_>>(), ["infer", "train"]);
        assert_eq!(caller.place, None);
        assert_eq!(caller.expires_at, NOW + 600 + 30);
        assert_eq!(caller.credential.kind, CredentialKind::Token);
        assert_eq!(caller.credential.issuer.as_deref(), Some(ISSUER));
    }
    assert_eq!(server.asked(), 1);
    let ok = (ISSUER.to_owned(), true, "3 keys, 0 not usable".to_owned());
    assert_eq!(desk.callers.health(), [ok]);
}

#[tokio::test]
async fn claims_become_organisation_kind_and_place_by_configuration() {
    let signer = Signer::ed("a");
    let server = KeyServer::start(&[&signer.public]).await;
    let desk = Desk::of(&server).await;
    let mut person = but("org", json!("eu-bank"));
    person["kind"] = json!("user");
    person["address"] = json!({"country": "DE"});
    person["aud"] = json!(["other", "haetae-eu"]);
    person["roles"] = json!("nobody trainer");
    person["jti"] = json!("t-1");
    let caller = desk.ask(&signer.token(&person)).await.unwrap();
    assert_eq!((&*caller.org, caller.actor_kind), ("eu-bank", ActorKind::Human));
    assert_eq!(caller.place.as_deref(), Some("DE"));
    assert_eq!(caller.roles.len(), 2);
    let jti = hex::encode(Sha256::digest(b"t-1"));
    assert_eq!(caller.credential.token_digest.as_deref(), Some(jti.as_str()));
}

#[tokio::test]
async fn each_wrong_claim_is_refused() {
    use CallerError::{Audience, Binding, Claims, Expired, NotYetValid, UnknownIssuer};
    let signer = Signer::ec("a");
    let server = KeyServer::start(&[&signer.public]).await;
    let desk = Desk::of(&server).await;
    let cases = [
        ("exp", Value::Null, Expired),
        ("exp", json!(NOW - 30), Expired),
        ("exp", json!((NOW + 600).to_string()), Expired),
        ("exp", json!(1e300), Expired),
        ("exp", json!(-1), Expired),
        ("nbf", json!(NOW + 31), NotYetValid),
        ("nbf", json!("0"), Claims),
        ("aud", Value::Null, Claims),
        ("aud", json!("other"), Audience),
        ("aud", json!([]), Audience),
        ("aud", json!({"haetae": 1}), Claims),
        ("iss", Value::Null, Claims),
        ("iss", json!("https://id.kr-med.example/"), UnknownIssuer),
        ("iss", json!([ISSUER]), Claims),
        ("sub", Value::Null, Claims),
        ("sub", json!(""), Claims),
        ("sub", json!(7), Claims),
        ("sub", json!("svc\u{2010}train"), Claims),
        ("org", Value::Null, Claims),
        ("org", json!("tenant-2"), Claims),
        ("org", json!(["tenant-1"]), Claims),
        ("roles", json!({"trainer": true}), Claims),
        ("roles", json!(["trainer", 1]), Claims),
        ("address", json!({"country": 82}), Claims),
        ("cnf", json!({"x5t#S256": "short"}), Binding),
        ("cnf", json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}), Binding),
    ];
    for (key, value, error) in cases {
        assert_eq!(
            desk.error(&signer.token(&but(key, value.clone()))).await,
            error,
            "{key}: {value}"
        );
    }
    let twice = claims().to_string().replacen('{', r#"{"org":"eu-bank","#, 1);
    assert_eq!(desk.error(&signer.sign(&signer.head().to_string(), &twice)).await, Claims);
    // within the leeway a token still and already holds
    for (key, value) in
        [("exp", json!(NOW - 29)), ("nbf", json!(NOW + 30)), ("exp", json!(1_795_132_800.5))]
    {
        assert!(desk.ask(&signer.token(&but(key, value))).await.is_ok(), "{key}");
    }
}

#[tokio::test]
async fn forged_and_confused_tokens_are_refused() {
    use CallerError::{Algorithm as Alg, Malformed, Signature};
    let (rsa, ec, stranger) = (Signer::rsa("rsa"), Signer::ec("ec"), Signer::ec("ec"));
    let server = KeyServer::start(&[&rsa.public, &ec.public]).await;
    let desk = Desk::of(&server).await;
    let good = ec.token(&claims());
    assert!(desk.ask(&good).await.is_ok());

    assert_eq!(desk.error(&stranger.token(&claims())).await, Signature);
    let parts: Vec<&str> = good.split('.').collect();
    let other = URL_SAFE_NO_PAD.encode(but("sub", json!("root")).to_string());
    assert_eq!(desk.error(&format!("{}.{other}.{}", parts[0], parts[2])).await, Signature);
    assert_eq!(desk.error(&format!("{}.{}.", parts[0], parts[1])).await, Signature);

    // the public key as an HMAC secret, in the two forms attackers use
    let n = URL_SAFE_NO_PAD.decode(rsa.public["n"].as_str().unwrap()).unwrap();
    for secret in [rsa.public.to_string().into_bytes(), n] {
        let hmac = Signer {
            kid: "rsa",
            alg: Algorithm::HS256,
            key: EncodingKey::from_secret(&secret),
            public: Value::Null,
        };
        let head = json!({"alg": "HS256", "kid": "rsa"}).to_string();
        assert_eq!(desk.error(&hmac.sign(&head, &claims().to_string())).await, Alg);
    }
    for alg in ["none", "None", "NONE", "HS256", "RS512", "ES384", "eddsa", ""] {
        let head = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "kid": "ec"}).to_string());
        let body = URL_SAFE_NO_PAD.encode(claims().to_string());
        assert_eq!(desk.error(&format!("{head}.{body}.")).await, Alg, "{alg}");
    }
    // a key of one kind under the name of another algorithm of the same issuer
    let head = json!({"alg": "RS256", "kid": "ec"}).to_string();
    assert_eq!(desk.error(&ec.sign(&head, &claims().to_string())).await, CallerError::UnknownKey);

    let mut crit = ec.head();
    crit["crit"] = json!(["exp"]);
    assert_eq!(desk.error(&ec.sign(&crit.to_string(), &claims().to_string())).await, Malformed);
    // the attacker's own key, offered in the header in every way there is
    let mut offered = stranger.head();
    offered["jwk"] = stranger.public.clone();
    offered["jku"] = json!(server.url.clone());
    offered["x5u"] = json!("http://127.0.0.1:9/");
    offered["x5c"] = json!([STANDARD.encode("x")]);
    let asked = server.asked();
    assert_eq!(
        desk.error(&stranger.sign(&offered.to_string(), &claims().to_string())).await,
        Signature
    );
    assert_eq!(server.asked(), asked);
}

#[tokio::test]
async fn the_bearer_header_is_read_strictly() {
    let signer = Signer::ed("a");
    let server = KeyServer::start(&[&signer.public]).await;
    let desk = Desk::of(&server).await;
    let token = signer.token(&claims());
    let ask = async |values: &[String]| {
        let mut head = HeaderMap::new();
        for value in values {
            head.append("authorization", HeaderValue::from_str(value).unwrap());
        }
        desk.callers.identify(&bare(), &head).await.map(|_| ())
    };
    assert_eq!(ask(&[]).await, Err(CallerError::Missing));
    assert_eq!(ask(&[format!("bearer {token}")]).await, Ok(()));
    for value in [
        token.clone(),
        format!("Bearer  {token}"),
        format!("Bearer\t{token}"),
        format!("Bearer {token},"),
        format!("Bearer {token} {token}"),
        format!("Bearer \"{token}\""),
        format!("Bearer {token}="),
        format!("Basic {token}"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer a.b".to_owned(),
        "Bearer a.b.c.d".to_owned(),
        "Bearer a.b.c".to_owned(),
        "Bearer ..".to_owned(),
        format!("Bearer {}", "a".repeat(8_193)),
    ] {
        assert_eq!(ask(std::slice::from_ref(&value)).await, Err(CallerError::Malformed), "{value}");
    }
    let good = format!("Bearer {token}");
    assert_eq!(ask(&[good.clone(), good]).await, Err(CallerError::Malformed));
}

#[tokio::test]
async fn an_unknown_key_is_fetched_once_and_then_cooled_down() {
    let (old, new, next) = (Signer::ed("1"), Signer::ed("2"), Signer::ed("3"));
    let server = KeyServer::start(&[&old.public]).await;
    let desk = Desk::of(&server).await;
    assert_eq!(server.asked(), 1);

    // garbage ids: one fetch, however many ask, until the cool-down is over
    for kid in ["x", "y", "z"] {
        let token =
            new.sign(&json!({"alg": "EdDSA", "kid": kid}).to_string(), &claims().to_string());
        assert_eq!(desk.error(&token).await, CallerError::UnknownKey);
    }
    assert_eq!(server.asked(), 2);
    desk.at(5);
    server.publish(&[&old.public, &new.public]);
    let token = new.token(&claims());
    let (one, two) = tokio::join!(desk.ask(&token), desk.ask(&token));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(server.asked(), 3);

    // the fetch brought the key, so the next rotation is followed a second later
    desk.at(6);
    server.publish(&[&new.public, &next.public]);
    assert!(desk.ask(&next.token(&claims())).await.is_ok());
    assert_eq!(server.asked(), 4);
}

/// An unknown key id needs no credential: while the issuer does not answer, few wait for it, and one read is all they buy.
#[tokio::test]
async fn while_an_issuer_is_silent_few_wait_for_its_keys_and_ask_it_once() {
    let (known, new) = (Signer::ed("1"), Signer::ed("2"));
    let server = KeyServer::start(&[&known.public]).await;
    let desk = Arc::new(Desk::of(&server).await);
    let silence = server.shared.silent.write().await;
    let (tracker, (done, mut ends)) = (TaskTracker::new(), tokio::sync::mpsc::channel(300));
    for number in 0..300 {
        let head = json!({"alg": "EdDSA", "kid": format!("x{number}")}).to_string();
        let token = new.sign(&head, &claims().to_string());
        let (desk, done) = (Arc::clone(&desk), done.clone());
        tracker.spawn(async move { done.send(desk.error(&token).await).await });
    }
    drop(done);
    let mut told = 0;
    while let Ok(Some(error)) = tokio::time::timeout(Duration::from_secs(1), ends.recv()).await {
        assert_eq!(error, CallerError::KeysUnavailable, "to be asked again, not to be thrown away");
        told += 1;
    }
    assert!(told >= 200, "only {told} of 300 were told at once");
    assert!(
        desk.ask(&known.token(&claims())).await.is_ok(),
        "a key that is known waits for nobody"
    );
    // The answer, a failure, comes when the cool-down since its question is over.
    desk.at(6);
    server.answer(StatusCode::INTERNAL_SERVER_ERROR, "");
    drop(silence);
    while let Some(error) = ends.recv().await {
        assert_eq!(error, CallerError::UnknownKey);
        told += 1;
    }
    assert_eq!((told, server.asked()), (300, 2), "who waited started no read of its own");
}

#[tokio::test]
async fn a_removed_key_is_refused_also_from_the_cache() {
    let (old, new) = (Signer::ed("1"), Signer::ed("2"));
    let server = KeyServer::start(&[&old.public, &new.public]).await;
    let source = format!("jwks_url = \"{}\"\nrefresh_s = 1", server.url);
    let desk = Desk::new(&source).await;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    desk.callers.keep_fresh(&tracker, &stop);
    let (gone, stays) = (old.token(&claims()), new.token(&claims()));
    assert!(desk.ask(&gone).await.is_ok() && desk.ask(&stays).await.is_ok());
    server.publish(&[&new.public]);
    let refused = async {
        while desk.ask(&gone).await.is_ok() {
            assert!(desk.ask(&stays).await.is_ok());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), refused).await.unwrap();
    assert_eq!(desk.error(&gone).await, CallerError::UnknownKey);
    assert!(desk.ask(&stays).await.is_ok());
    // the same id with another key behind it
    let swapped = Signer::ed("2");
    server.publish(&[&swapped.public]);
    let refused = async {
        while desk.ask(&stays).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), refused).await.unwrap();
    assert_eq!(desk.error(&stays).await, CallerError::Signature);
    stop.cancel();
    tracker.close();
    tracker.wait().await;
}

#[tokio::test]
async fn keys_outlive_an_outage_but_not_for_ever() {
    let signer = Signer::ed("1");
    let server = KeyServer::start(&[&signer.public]).await;
    let desk = Desk::new(&format!("jwks_url = \"{}\"\nstale_max_s = 100", server.url)).await;
    let token = signer.token(&claims());
    assert!(desk.ask(&token).await.is_ok());
    for (status, body) in [
        (StatusCode::SERVICE_UNAVAILABLE, "{}".to_owned()),
        (StatusCode::FOUND, json!({"keys": [signer.public]}).to_string()),
        (StatusCode::OK, "not a key set".to_owned()),
        (StatusCode::OK, json!({"keys": []}).to_string()),
        (StatusCode::OK, json!({"keys": [signer.public], "pad": "x".repeat(300_000)}).to_string()),
    ] {
        server.answer(status, &body);
        desk.at(100);
        assert!(desk.ask(&token).await.is_ok());
        desk.at(101 + 5 * i64::try_from(server.asked()).unwrap());
        assert_eq!(desk.error(&token).await, CallerError::KeysUnavailable, "{status}");
        assert!(!desk.callers.health()[0].1);
    }
    desk.at(300);
    server.publish(&[&signer.public]);
    assert!(desk.ask(&token).await.is_ok());
    assert!(desk.callers.health()[0].1);
}

#[tokio::test]
async fn an_issuer_that_is_away_at_the_start_is_found_later() {
    let signer = Signer::ed("1");
    let server = KeyServer::start(&[&signer.public]).await;
    server.answer(StatusCode::INTERNAL_SERVER_ERROR, "");
    let desk = Desk::of(&server).await;
    assert!(!desk.callers.health()[0].1);
    assert_eq!(desk.error(&signer.token(&claims())).await, CallerError::KeysUnavailable);
    server.publish(&[&signer.public]);
    desk.at(5);
    assert!(desk.ask(&signer.token(&claims())).await.is_ok());
}

#[tokio::test]
async fn keys_that_are_not_for_verifying_are_not_used() {
    let signer = Signer::ed("good");
    let cases = [
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("key_ops", json!([])),
        ("alg", json!("ES256")),
        ("d", json!("AAAA")),
        ("kty", json!("oct")),
        ("crv", json!("Ed448")),
        ("x", json!("AAAA")),
    ];
    for (member, value) in cases {
        let bad = Signer::ed("bad");
        let mut public = bad.public.clone();
        public[member] = value;
        let server = KeyServer::start(&[&signer.public, &public]).await;
        let desk = Desk::of(&server).await;
        assert_eq!(desk.error(&bad.token(&claims())).await, CallerError::UnknownKey, "{member}");
        assert_eq!(desk.callers.health()[0].2, "1 keys, 1 not usable", "{member}");
        assert!(desk.ask(&signer.token(&claims())).await.is_ok());
    }
    let mut both = signer.public.clone();
    both["use"] = json!("sig");
    both["key_ops"] = json!(["verify", "sign"]);
    both["alg"] = json!("EdDSA");
    let server = KeyServer::start(&[&both]).await;
    assert!(Desk::of(&server).await.ask(&signer.token(&claims())).await.is_ok());
}

#[tokio::test]
async fn without_a_key_id_only_a_single_key_is_tried() {
    let (one, two) = (Signer::ed("1"), Signer::ed("2"));
    let token = one.sign(r#"{"alg":"EdDSA"}"#, &claims().to_string());
    let server = KeyServer::start(&[&one.public]).await;
    assert!(Desk::of(&server).await.ask(&token).await.is_ok());
    server.publish(&[&one.public, &two.public]);
    assert_eq!(Desk::of(&server).await.error(&token).await, CallerError::UnknownKey);
    let mut same = two.public.clone();
    same["kid"] = json!("1");
    server.publish(&[&one.public, &same]);
    assert!(!Desk::of(&server).await.callers.health()[0].1);
}

#[tokio::test]
async fn the_cache_never_outlives_exp() {
    let signer = Signer::ed("1");
    let server = KeyServer::start(&[&signer.public]).await;
    let desk = Desk::of(&server).await;
    let token = signer.token(&claims());
    let first = desk.ask(&token).await.unwrap();
    desk.at(599);
    assert!(Arc::ptr_eq(&first, &desk.ask(&token).await.unwrap()));
    desk.at(600);
    // within the leeway it is verified anew each time
    let second = desk.ask(&token).await.unwrap();
    assert!(
        !Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&second, &desk.ask(&token).await.unwrap())
    );
    desk.at(630);
    assert_eq!(desk.error(&token).await, CallerError::Expired);
}

#[tokio::test]
async fn a_certificate_alone_is_its_workload() {
    let server = KeyServer::start(&[&Signer::ed("1").public]).await;
    let desk = Desk::of(&server).await;
    let ask = async |names: &[SanType]| {
        let (connection, _) = with_certificate(names, (2027, 1));
        desk.callers.identify(&connection, &HeaderMap::new()).await
    };
    let caller =
        ask(&[uri("spiffe://kr-med.example/ns/prod/sa/api"), dns("x.example")]).await.unwrap();
    assert_eq!(&*caller.org, "kr-med");
    assert_eq!(&*caller.actor, "spiffe://kr-med.example/ns/prod/sa/api");
    assert_eq!(caller.roles.iter().map(|role| &**role).collect::<Vec<_>>(), ["infer"]);
    assert_eq!(caller.place.as_deref(), Some("KR"));
    assert_eq!(caller.credential.kind, CredentialKind::Certificate);
    assert_eq!(caller.expires_at, 1_798_761_600);
    assert_eq!(
        &*ask(&[uri("spiffe://kr-med.example/ns/research/x")]).await.unwrap().org,
        "kr-med-research"
    );
    // a prefix ends at a segment
    assert_eq!(&*ask(&[uri("spiffe://kr-med.example/ns/research2")]).await.unwrap().org, "kr-med");
    assert_eq!(&*ask(&[dns("Batch.de-bank.example")]).await.unwrap().org, "de-bank");

    for names in [
        vec![],
        vec![dns("api.de-bank.example")],
        vec![dns("a.example"), dns("batch.de-bank.example")],
        vec![uri("spiffe://kr-med.example.evil/ns")],
        vec![uri("spiffe://KR-MED.example/ns")],
        vec![uri("spiffe://kr-med.example/ns/../prod")],
        vec![uri("spiffe://kr-med.example/ns%2fprod")],
        vec![uri("spiffe://kr-med.example//ns")],
        vec![uri("spiffe://kr-med.example/ns/")],
        vec![uri("spiffe://kr-med.example:443/ns")],
        vec![uri("https://kr-med.example/ns")],
        vec![uri("spiffe://kr-med.example/a"), uri("spiffe://kr-med.example/b")],
        vec![uri("https://kr-med.example/ns"), dns("batch.de-bank.example")],
    ] {
        assert_eq!(ask(&names).await.unwrap_err(), CallerError::Certificate, "{names:?}");
    }
    let (expired, _) = with_certificate(&[uri("spiffe://kr-med.example/ns")], (2026, 11));
    let expired = desk.callers.identify(&expired, &HeaderMap::new()).await;
    assert_eq!(expired.unwrap_err(), CallerError::Certificate);
    let garbage =
        Connection::new("203.0.113.9:5000".parse().unwrap(), Some(&vec![0x30, 0x03].into()));
    assert_eq!(
        desk.callers.identify(&garbage, &HeaderMap::new()).await.unwrap_err(),
        CallerError::Certificate
    );
}

#[tokio::test]
async fn a_certificate_expires_on_an_open_connection() {
    let server = KeyServer::start(&[&Signer::ed("1").public]).await;
    let desk = Desk::of(&server).await;
    let (connection, _) = with_certificate(&[uri("spiffe://kr-med.example/ns")], (2026, 12));
    assert!(desk.callers.identify(&connection, &HeaderMap::new()).await.is_ok());
    desk.at(11 * 86_400 + 1);
    let late = desk.callers.identify(&connection, &HeaderMap::new()).await;
    assert_eq!(late.unwrap_err(), CallerError::Certificate);
}

#[tokio::test]
async fn token_and_certificate_must_be_of_one_party() {
    use CallerError::{Binding, Certificate, Disagreement};
    let signer = Signer::ed("1");
    let server = KeyServer::start(&[&signer.public]).await;
    let desk = Desk::of(&server).await;
    let id = "spiffe://kr-med.example/ns/prod";
    let (ours, digest) = with_certificate(&[uri(id)], (2027, 1));
    let (theirs, _) = with_certificate(&[dns("batch.de-bank.example")], (2027, 1));
    let (nobody, nobody_digest) = with_certificate(&[dns("who.example")], (2027, 1));
    let bound = |digest: [u8; 32]| json!({"x5t#S256": URL_SAFE_NO_PAD.encode(digest)});
    let ask = async |claims: &Value, connection: &Connection| {
        desk.callers.identify(connection, &bearer(&signer.token(claims))).await
    };

    let both = ask(&claims(), &ours).await.unwrap();
    assert_eq!(both.credential.kind, CredentialKind::TokenAndCertificate);
    assert_eq!((&*both.actor, both.credential.certificate_id.as_deref()), ("svc-train", Some(id)));
    assert_eq!(both.expires_at, NOW + 630);
    assert!(ask(&but("sub", json!(id)), &ours).await.is_ok());
    assert_eq!(ask(&but("sub", json!("kim")), &ours).await.unwrap_err(), Disagreement);
    assert_eq!(ask(&but("org", json!("eu-bank")), &ours).await.unwrap_err(), Disagreement);
    // the same token, verified and cached a moment ago, over another party's connection
    assert_eq!(ask(&claims(), &theirs).await.unwrap_err(), Disagreement);
    assert_eq!(ask(&claims(), &nobody).await.unwrap_err(), Certificate);

    let person = |digest| {
        let mut claims = but("sub", json!("kim"));
        claims["cnf"] = bound(digest);
        claims
    };
    assert!(ask(&person(digest), &ours).await.is_ok());
    assert_eq!(ask(&person(digest), &bare()).await.unwrap_err(), Binding);
    assert_eq!(ask(&person(nobody_digest), &ours).await.unwrap_err(), Binding);
    assert!(ask(&person(nobody_digest), &nobody).await.is_ok());
    let mut elsewhere = person(digest);
    elsewhere["org"] = json!("eu-bank");
    assert_eq!(ask(&elsewhere, &ours).await.unwrap_err(), Disagreement);
}

#[tokio::test]
async fn keys_come_from_a_file_too() {
    let signer = Signer::ed("1");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({"keys": [signer.public]}).to_string()).unwrap();
    let desk = Desk::new(&format!("jwks_file = \"{}\"", file.path().display())).await;
    assert!(desk.ask(&signer.token(&claims())).await.is_ok());
    desk.at(400);
    assert!(desk.ask(&signer.token(&claims())).await.is_ok());
    let next = Signer::ed("2");
    std::fs::write(file.path(), json!({"keys": [next.public]}).to_string()).unwrap();
    assert!(desk.ask(&next.token(&claims())).await.is_ok());
    assert_eq!(desk.error(&signer.token(&claims())).await, CallerError::UnknownKey);
}

#[tokio::test]
async fn a_configuration_that_would_believe_too_much_does_not_start() {
    let start = async |config: Config| {
        let clock = Clock::fixed(NOW * 1_000_000_000);
        Callers::new(&config, clock).await.err().map(|error| error.to_string())
    };
    let url = "jwks_url = \"https://id.kr-med.example/jwks\"";
    let far = start(config("jwks_url = \"http://192.0.2.1/jwks\"")).await.unwrap();
    assert!(
        far.ends_with("`http://192.0.2.1/jwks` must be https (http only on a loopback address)"),
        "{far}"
    );
    assert!(start(config("")).await.unwrap().ends_with("give either `jwks_url` or `jwks_file`"));
    assert!(
        start(config(&format!("{url}\nrefresh_s = 90"))).await.unwrap().contains("`refresh_s`")
    );
    assert!(
        start(config("jwks_file = \"/nonexistent/jwks\""))
            .await
            .unwrap()
            .contains("/nonexistent/jwks")
    );
    let mut twice = config(url);
    twice.issuers.push(twice.issuers[0].clone());
    assert_eq!(start(twice).await.unwrap(), format!("issuer `{ISSUER}` is there twice"));
    let mut twice = config(url);
    twice.issuers.clear();
    twice.certificates.push(twice.certificates[0].clone());
    assert!(start(twice).await.unwrap().contains("another rule is for the same certificates"));
    assert_eq!(start(Config::default()).await.unwrap(), ConfigError::Nobody.to_string());
    for alg in ["HS256", "none", "RS1"] {
        let text = format!(
            "[[issuers]]\nissuer = \"a\"\naudiences = [\"b\"]\nalgorithms = [\"{alg}\"]\norganisation = {{ fixed = \"c\" }}"
        );
        assert!(toml::from_str::<Config>(&text).is_err(), "{alg}");
    }
}

#[tokio::test]
async fn the_type_of_a_token_is_held_to_when_configured() {
    let signer = Signer::ed("1");
    let server = KeyServer::start(&[&signer.public]).await;
    let desk = Desk::new(&format!("jwks_url = \"{}\"\ntyp = [\"at+jwt\"]", server.url)).await;
    let ask = async |typ: Value| {
        let mut head = signer.head();
        head["typ"] = typ;
        desk.ask(&signer.sign(&head.to_string(), &claims().to_string())).await.map(|_| ())
    };
    assert_eq!(ask(json!("at+jwt")).await, Ok(()));
    assert_eq!(ask(json!("application/AT+JWT")).await, Ok(()));
    assert_eq!(ask(json!("JWT")).await, Err(CallerError::Malformed));
    assert_eq!(ask(Value::Null).await, Err(CallerError::Malformed));
}
