//! Proves what the OpenAI adapter carries, what it refuses and with which words, which claims it reads, and that no
//! spelling of a body makes a site read another model, dataset or address than we did.

use std::fmt::Write as _;

use bytes::Bytes;
use haetae::workload::{
    Claims, NotUnderstood, Operation, Output, Protocol, Refusal, Route, read, refuse, route,
    stream_error,
};
use hyper::http::{HeaderMap, HeaderName, HeaderValue, Method};
use verdict::{question::Workload, reason::Reason};

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";

/// What is reached, and the host where one is known.
type Flow = (&'static str, Option<&'static str>);

fn at(path: &str) -> Route {
    route(&Method::POST, path, None).unwrap()
}

fn head(extra: &[(&str, &str)]) -> HeaderMap {
    let json = [("content-type", "application/json")];
    let pair = |(name, value): &(&str, &str)| {
        (HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    let mut head = HeaderMap::new();
    for (name, value) in json.iter().chain(extra).map(pair) {
        head.append(name, value);
    }
    head
}

fn ask(path: &str, extra: &[(&str, &str)], body: &str) -> Result<Claims, NotUnderstood> {
    read(&at(path), &head(extra), &Bytes::copy_from_slice(body.as_bytes()))
}

fn chat(members: &str) -> Result<Claims, NotUnderstood> {
    ask(CHAT, &[], &format!(r#"{{"model":"m","messages":[]{members}}}"#))
}

fn refused(result: Result<Claims, NotUnderstood>) -> (u16, Reason, Option<&'static str>) {
    let error = result.unwrap_err();
    (error.status, error.reason, error.param)
}

fn onward(claims: &Claims) -> Vec<(&str, Option<&str>)> {
    claims.onward.iter().map(|outside| (outside.what.as_ref(), outside.host.as_deref())).collect()
}

#[test]
fn the_carried_routes_are_matched_literally() {
    let carried = [
        ("POST", "/v1/chat/completions", "chat.completions", Operation::Submit),
        ("POST", "/v1/completions", "completions", Operation::Submit),
        ("POST", "/v1/embeddings", "embeddings", Operation::Submit),
        ("POST", "/v1/responses", "responses", Operation::Submit),
        ("GET", "/v1/models", "models.list", Operation::Metadata),
    ];
    for (method, path, name, operation) in carried {
        let route = route(&method.parse().unwrap(), path, None).unwrap();
        assert_eq!((route.name, route.operation, route.upstream_path), (name, operation, path));
        assert_eq!(route.body_max_bytes == 0, operation == Operation::Metadata, "{path}");
    }
    let one = route(&Method::GET, "/v1/models/meta-llama/Llama-3.1-8B", None).unwrap();
    assert_eq!(
        (one.name, one.model.as_deref()),
        ("models.retrieve", Some("meta-llama/Llama-3.1-8B"))
    );
    assert_eq!(one.upstream_path, "/v1/models/{model}");
}

#[test]
fn every_other_path_and_method_is_refused_with_what_is_carried() {
    let refused = [
        ("POST", "/v1/chat/completions/", 403, Reason::OperationUnsupported),
        ("POST", "/v1/chat/completions/id/messages", 403, Reason::OperationUnsupported),
        ("GET", "/v1/responses/resp_1", 403, Reason::OperationUnsupported),
        ("POST", "/v1/files", 403, Reason::OperationUnsupported),
        ("GET", "/v1/files/file-1/content", 403, Reason::OperationUnsupported),
        ("POST", "/v1/batches", 403, Reason::OperationUnsupported),
        ("POST", "/v1/fine_tuning/jobs", 403, Reason::OperationUnsupported),
        ("POST", "/v1/audio/transcriptions", 403, Reason::OperationUnsupported),
        ("POST", "/v1/images/generations", 403, Reason::OperationUnsupported),
        ("GET", "/v1/realtime", 403, Reason::OperationUnsupported),
        ("POST", "/v1/vector_stores", 403, Reason::OperationUnsupported),
        ("POST", "/v1/assistants", 403, Reason::OperationUnsupported),
        ("POST", "/v1/threads/runs", 403, Reason::OperationUnsupported),
        ("POST", "/v1/filesystem", 404, Reason::RouteUnknown),
        ("POST", "/chat/completions", 404, Reason::RouteUnknown),
        ("POST", "/v1/chat//completions", 404, Reason::RouteUnknown),
        ("POST", "/v1/%63hat/completions", 404, Reason::RouteUnknown),
        ("POST", "/v1/chat/completion%73", 404, Reason::RouteUnknown),
        ("POST", "/V1/chat/completions", 404, Reason::RouteUnknown),
        ("POST", "/v1/embeddings/", 404, Reason::RouteUnknown),
        ("POST", "/v1/rerank", 404, Reason::RouteUnknown),
        ("POST", "/invocations", 404, Reason::RouteUnknown),
        ("GET", "/v1/models/", 404, Reason::RouteUnknown),
        ("GET", "/v1/models/a%2Fb", 404, Reason::RouteUnknown),
        ("GET", "/v1/models/../files", 404, Reason::RouteUnknown),
        ("GET", "/metrics", 404, Reason::RouteUnknown),
        ("GET", "*", 404, Reason::RouteUnknown),
        ("GET", "", 404, Reason::RouteUnknown),
        ("GET", "/v1/chat/completions", 405, Reason::MethodRefused),
        ("HEAD", "/v1/models", 405, Reason::MethodRefused),
        ("OPTIONS", "/v1/models", 405, Reason::MethodRefused),
        ("DELETE", "/v1/models/m", 405, Reason::MethodRefused),
        ("POST", "/v1/models", 405, Reason::MethodRefused),
        ("PUT", "/v1/embeddings", 405, Reason::MethodRefused),
        ("post", "/v1/embeddings", 405, Reason::MethodRefused),
    ];
    for (method, path, status, reason) in refused {
        let error = route(&method.parse().unwrap(), path, None).unwrap_err();
        assert_eq!((error.status, error.reason), (status, reason), "{method} {path}");
    }
    let error = route(&Method::POST, CHAT, Some("api-version=1")).unwrap_err();
    assert_eq!((error.status, error.reason), (400, Reason::PathInvalid));
    insta::assert_snapshot!(
        route(&Method::POST, "/v1/files", None).unwrap_err().message,
        @"`/v1/files` is not carried by this gateway: it carries POST /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/responses (with `store` false), GET /v1/models"
    );
}

#[test]
fn a_plain_request_claims_what_it_says_and_nothing_more() {
    let body = r#"{"model":"meta-llama/Llama-3.1-8B","stream":true,"temperature":0.2,"n":null,
        "messages":[{"role":"user","content":"see https://example.org/a"}],"a_key_of_next_year":{"x":[1]}}"#;
    let claims = ask(CHAT, &[], body).unwrap();
    let expected = Claims {
        protocol: Protocol::OpenAi,
        operation: Operation::Submit,
        name: "chat.completions",
        model: "meta-llama/Llama-3.1-8B".into(),
        workload: Workload::Infer,
        stream: true,
        datasets: vec![],
        purpose: None,
        output: None,
        no_data: false,
        site: None,
        onward: vec![],
    };
    assert_eq!(claims, expected);
}

#[test]
fn metadata_requests_have_no_body_and_claim_their_model() {
    let list = route(&Method::GET, "/v1/models", None).unwrap();
    let claims = read(&list, &HeaderMap::new(), &Bytes::new()).unwrap();
    assert_eq!((claims.operation, claims.model.as_ref()), (Operation::Metadata, ""));
    let one = route(&Method::GET, "/v1/models/gpt-oss-120b", None).unwrap();
    let claims = read(&one, &HeaderMap::new(), &Bytes::new()).unwrap();
    assert_eq!(claims.model.as_ref(), "gpt-oss-120b");
    let error = read(&list, &HeaderMap::new(), &Bytes::from_static(b"{}")).unwrap_err();
    assert_eq!((error.status, error.reason), (413, Reason::BodyTooLarge));
}

#[test]
fn declarations_are_read_from_headers_and_from_metadata() {
    let headers = [
        ("haetae-datasets", "orders@2, kr-med/ct-2026"),
        ("haetae-purpose", "dpv:ServiceProvision"),
        ("haetae-output", "aggregate"),
        ("haetae-no-data", "false"),
        ("haetae-site", "kr-seo-1"),
        ("haetae-receipt", "an answer of ours, worth nothing here"),
    ];
    let metadata = r#"{"model":"m","metadata":{"haetae.datasets":"kr-med/ct-2026,orders@2",
        "haetae.purpose":"dpv:ServiceProvision","haetae.output":"aggregate","haetae.no_data":"false",
        "haetae.site":"kr-seo-1","team":"a"}}"#;
    let from_headers = ask(CHAT, &headers, r#"{"model":"m"}"#).unwrap();
    assert_eq!(ask(CHAT, &[], metadata).unwrap(), from_headers);
    assert_eq!(
        ask(CHAT, &headers, metadata).unwrap(),
        from_headers,
        "the same in both is no conflict"
    );
    let datasets: Vec<&str> = from_headers.datasets.iter().map(AsRef::as_ref).collect();
    assert_eq!(datasets, ["kr-med/ct-2026", "orders@2"]);
    assert_eq!(from_headers.purpose.as_deref(), Some("dpv:ServiceProvision"));
    assert_eq!(from_headers.output, Some(Output::Aggregate));
    assert_eq!(from_headers.site.as_deref(), Some("kr-seo-1"));
    let none = ask(CHAT, &[("haetae-no-data", "true")], r#"{"model":"m"}"#).unwrap();
    assert!(none.no_data);
}

#[test]
fn a_header_and_a_body_that_differ_are_refused_not_merged() {
    let pairs = [
        ("haetae-datasets", "a", "haetae.datasets", "a,b", "Haetae-Datasets"),
        ("haetae-purpose", "dpv:A", "haetae.purpose", "dpv:B", "Haetae-Purpose"),
        ("haetae-output", "raw", "haetae.output", "model", "Haetae-Output"),
        ("haetae-no-data", "true", "haetae.no_data", "false", "Haetae-No-Data"),
        ("haetae-site", "kr-1", "haetae.site", "kr-2", "Haetae-Site"),
    ];
    for (header, value, key, other, param) in pairs {
        let body = format!(r#"{{"model":"m","metadata":{{"{key}":"{other}"}}}}"#);
        let result = ask(CHAT, &[(header, value)], &body);
        assert_eq!(refused(result), (400, Reason::DeclarationConflict, Some(param)));
    }
    let both = [("haetae-datasets", "a"), ("haetae-no-data", "true")];
    let result = ask(CHAT, &both, r#"{"model":"m"}"#);
    assert_eq!(refused(result), (400, Reason::DeclarationConflict, Some("Haetae-No-Data")));
}

#[test]
fn a_declaration_that_does_not_fit_its_grammar_is_refused() {
    let seventeen: Vec<String> = (0..17).map(|at| format!("d{at}")).collect();
    let seventeen = seventeen.join(",");
    let headers: [(&str, &str); 19] = [
        ("haetae-datasets", ""),
        ("haetae-datasets", "a,"),
        ("haetae-datasets", "a,,b"),
        ("haetae-datasets", "a,a"),
        ("haetae-datasets", "A"),
        ("haetae-datasets", "-a"),
        ("haetae-datasets", "a//b"),
        ("haetae-datasets", "a/../b"),
        ("haetae-datasets", "a@"),
        ("haetae-datasets", "a@1@2"),
        ("haetae-datasets", "a b"),
        ("haetae-datasets", &seventeen),
        ("haetae-purpose", "a b"),
        ("haetae-output", "Raw"),
        ("haetae-no-data", "1"),
        ("haetae-no-data", "TRUE"),
        ("haetae-site", "kr/1"),
        ("haetae-site", "KR-1"),
        ("haetae-dataset", "a"),
    ];
    for (name, value) in headers {
        let (status, reason, _) = refused(ask(CHAT, &[(name, value)], r#"{"model":"m"}"#));
        assert_eq!((status, reason), (400, Reason::DeclarationInvalid), "{name}: {value}");
    }
    let twice = [("haetae-site", "kr-1"), ("haetae-site", "kr-1")];
    let result = ask(CHAT, &twice, r#"{"model":"m"}"#);
    assert_eq!(refused(result), (400, Reason::DeclarationInvalid, Some("Haetae-Site")));
    for metadata in [
        r#"{"haetae.dataset":"a"}"#,
        r#"{"haetae.datasets":["a"]}"#,
        r#"{"haetae.no_data":true}"#,
        r#"{"haetae.datasets":"a, A"}"#,
    ] {
        let (status, reason, _) = refused(chat(&format!(r#","metadata":{metadata}"#)));
        assert_eq!((status, reason), (400, Reason::DeclarationInvalid), "{metadata}");
    }
}

#[test]
fn a_body_that_readers_could_take_differently_is_refused() {
    let ambiguous = [
        r#"{"model":"a","model":"b"}"#,
        r#"{"model":"a","mod\u0065l":"b"}"#,
        r#"{"model":"a","Model":"b"}"#,
        "{\"model\":\"a\",\"task\":1,\"tas\u{212A}\":2}",
        r#"{"Model":"a"}"#,
        r#"{"model":"a","Stream":true}"#,
        r#"{"model":"a","MetaData":{"haetae.datasets":"a"}}"#,
        r#"{"model":"a","metadata":{"Haetae.Datasets":"a"}}"#,
        "{\"model\":\"a\",\"metadata\":{\"haetae.dataset\u{17F}\":\"a\"}}",
        r#"{"model":"a","messages":[{"content":[{"Image_URL":"http://h/"}]}]}"#,
        r#"{"model":"a","messages":[{"content":[{"image_url":{"URL":"http://h/"}}]}]}"#,
        r#"{"model":"a","Tools":[{"type":"web_search"}]}"#,
        r#"{"model":"a","STORE":true}"#,
        r#"{"model":"a","Webhook_URL":"https://w.example/"}"#,
        r#"{"model":"a","KV_transfer_params":{}}"#,
        r#"{"model":"a","tools":[{"Type":"function","type":"mcp"}]}"#,
        "{\"model\":\"a\",\"bac\u{212A}ground\":true}",
    ];
    for body in ambiguous {
        let (status, reason, _) = refused(ask(CHAT, &[], body));
        assert_eq!((status, reason), (400, Reason::BodyAmbiguous), "{body}");
    }
    let escaped = ask(CHAT, &[], r#"{"mod\u0065l":"\u0061"}"#).unwrap();
    assert_eq!(escaped.model.as_ref(), "a", "an escape that all readers decode is no ambiguity");
}

#[test]
fn a_body_of_the_wrong_shape_is_refused() {
    let invalid = [
        ("", None),
        ("[]", None),
        ("\"m\"", None),
        ("{", None),
        (r#"{"model":"m"} x"#, None),
        ("{}", Some("model")),
        (r#"{"model":null}"#, Some("model")),
        (r#"{"model":["m"]}"#, Some("model")),
        (r#"{"model":""}"#, Some("model")),
        (r#"{"model":"a b"}"#, Some("model")),
        (r#"{"model":"a/../b"}"#, Some("model")),
        ("{\"model\":\"\u{ff41}\"}", Some("model")),
        (r#"{"model":"m","stream":1}"#, Some("stream")),
        (r#"{"model":"m","stream":"true"}"#, Some("stream")),
        (r#"{"model":"m","store":"no"}"#, Some("store")),
        (r#"{"model":"m","metadata":[]}"#, Some("metadata")),
        (r#"{"model":"m","tools":{}}"#, Some("tools")),
        (r#"{"model":"m","tools":[{}]}"#, Some("tools")),
        (r#"{"model":"m","tools":[{"type":"Web Search"}]}"#, Some("tools")),
    ];
    for (body, param) in invalid {
        assert_eq!(refused(ask(CHAT, &[], body)), (400, Reason::BodyInvalid, param), "{body}");
    }
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(129));
    assert_eq!(refused(ask(CHAT, &[], &long)), (400, Reason::BodyInvalid, Some("model")));
}

#[test]
fn only_plain_json_is_read() {
    let types = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; v=1",
        "application/json;",
        "application/jsonp",
        "application/yaml",
    ];
    let json = Bytes::from_static(br#"{"model":"m"}"#);
    for media in types {
        let mut head = HeaderMap::new();
        head.insert("content-type", HeaderValue::from_static(media));
        let error = read(&at(CHAT), &head, &json).unwrap_err();
        assert_eq!((error.status, error.reason), (415, Reason::MediaTypeRefused), "{media}");
    }
    let none = read(&at(CHAT), &HeaderMap::new(), &json).unwrap_err();
    assert_eq!(none.status, 415);
    let twice = read(&at(CHAT), &head(&[("content-type", "application/json")]), &json).unwrap_err();
    assert_eq!(twice.status, 415);
    for coding in ["gzip", "identity"] {
        let error = read(&at(CHAT), &head(&[("content-encoding", coding)]), &json).unwrap_err();
        assert_eq!((error.status, error.reason), (415, Reason::ContentEncodingRefused));
    }
    let mut head = HeaderMap::new();
    head.insert("content-type", HeaderValue::from_static("Application/JSON ; charset=\"UTF-8\""));
    assert_eq!(read(&at(CHAT), &head, &json).unwrap().model.as_ref(), "m");
}

#[test]
fn a_body_over_the_limit_of_its_route_is_refused() {
    let mut route = at(CHAT);
    route.body_max_bytes = 12;
    let body = Bytes::from_static(br#"{"model":"m"}"#);
    let error = read(&route, &head(&[]), &body).unwrap_err();
    assert_eq!((error.status, error.reason), (413, Reason::BodyTooLarge));
}

#[test]
fn what_a_site_would_keep_or_look_up_is_refused() {
    let unsupported = [
        (r#","store":true"#, "store"),
        (r#","previous_response_id":"resp_1""#, "previous_response_id"),
        (r#","conversation":{"id":"c"}"#, "conversation"),
        (r#","background":true"#, "background"),
        (r#","prompt_cache_retention":"24h""#, "prompt_cache_retention"),
        (r#","kv_transfer_params":{"remote_host":"h"}"#, "kv_transfer_params"),
        (r#","bootstrap_host":"h""#, "bootstrap_host"),
        (r#","session_params":{"id":"s"}"#, "session_params"),
        (r#","x":[{"type":"file","file":{"file_id":"file-1"}}]"#, "file_id"),
        (r#","x":[{"type":"item_reference","id":"msg_1"}]"#, "item_reference"),
        (r#","x":[{"role":"assistant","audio":{"id":"audio_1"}}]"#, "audio"),
    ];
    for (members, param) in unsupported {
        let expected = (403, Reason::OperationUnsupported, Some(param));
        assert_eq!(refused(chat(members)), expected, "{members}");
    }
    for harmless in [
        r#","store":false"#,
        r#","store":null"#,
        r#","background":false"#,
        r#","previous_response_id":null"#,
        r#","prompt_cache_retention":"in-memory""#,
        r#","prompt":"text""#,
    ] {
        assert!(chat(harmless).is_ok(), "{harmless}");
    }
}

#[test]
fn what_would_send_a_request_elsewhere_after_the_decision_is_refused() {
    let elsewhere = [
        (r#","fallbacks":["gpt-5"]"#, "fallbacks"),
        (r#","models":["a","b"]"#, "models"),
        (r#","api_base":"https://o.example/""#, "api_base"),
        (r#","provider":{"order":["x"]}"#, "provider"),
        (r#","mock_response":"yes""#, "mock_*"),
        (r#","mock_testing_fallbacks":true"#, "mock_*"),
        (r#","vertex_location":"us-central1""#, "vertex_*"),
        (r#","extra_body":{"fallbacks":["a"]}"#, "extra_body"),
    ];
    for (members, param) in elsewhere {
        let expected = (403, Reason::OperationUnsupported, Some(param));
        assert_eq!(refused(chat(members)), expected, "{members}");
    }
    let (status, reason, _) = refused(chat(r#","Fallbacks":["a"]"#));
    assert_eq!((status, reason), (400, Reason::BodyAmbiguous));
    for harmless in [r#","fallbacks":null"#, r#","top_k":4,"guided_json":{"provider":"x"}"#] {
        assert!(chat(harmless).is_ok(), "{harmless}");
    }
}

#[test]
fn an_embedding_of_images_names_what_the_site_fetches() {
    let of = |members: &str| chat(&format!(r#","input":["https://i.example/x"],{members}"#));
    assert_eq!(onward(&of(r#""modality":"text""#).unwrap()), []);
    assert_eq!(onward(&of(r#""modality":null"#).unwrap()), []);
    for kind in ["image", "audio", "video"] {
        let claims = of(&format!(r#""modality":"{kind}""#)).unwrap();
        assert_eq!(onward(&claims), [(kind, Some("i.example"))], "{kind}");
    }
    let inline = chat(r#","input":"data:image/png;base64,AA==","modality":"image""#).unwrap();
    assert_eq!(onward(&inline), []);
    for other in [r#""modality":"Image""#, r#""modality":["image"]"#] {
        let expected = (400, Reason::BodyInvalid, Some("modality"));
        assert_eq!(refused(of(other)), expected, "{other}");
    }
}

#[test]
fn responses_are_carried_only_when_they_say_that_nothing_is_kept() {
    let ok = ask(RESPONSES, &[], r#"{"model":"m","input":"hi","store":false}"#).unwrap();
    assert_eq!((ok.name, ok.onward.len()), ("responses", 0));
    let kept = (403, Reason::OperationUnsupported, Some("store"));
    assert_eq!(refused(ask(RESPONSES, &[], r#"{"model":"m","input":"hi"}"#)), kept);
    assert_eq!(refused(ask(RESPONSES, &[], r#"{"model":"m","store":true}"#)), kept);
    let stored_prompt = r#"{"model":"m","store":false,"prompt":{"id":"pmpt_1"}}"#;
    let expected = (403, Reason::OperationUnsupported, Some("prompt"));
    assert_eq!(refused(ask(RESPONSES, &[], stored_prompt)), expected);
}

#[test]
fn addresses_that_a_site_would_fetch_are_onward_flows() {
    let part = |part: &str| format!(r#","x":[{{"role":"user","content":[{part}]}}]"#);
    let cases: [(&str, Option<Flow>); 16] = [
        (r#"{"type":"text","text":"https://h.example/"}"#, None),
        (
            r#"{"image_url":{"url":"https://Img.Example:8443/a?b#c"}}"#,
            Some(("image_url", Some("img.example"))),
        ),
        (r#"{"image_url":"http://h.example"}"#, Some(("image_url", Some("h.example")))),
        (r#"{"image_url":{"url":"data:image/png;base64,AA=="}}"#, None),
        (r#"{"image_url":{"url":"DATA:image/png;base64,AA=="}}"#, None),
        (r#"{"image_url":{"url":" data:image/png;base64,AA=="}}"#, Some(("image_url", None))),
        (r#"{"image_url":{"url":"https://user@h.example/"}}"#, Some(("image_url", None))),
        (r#"{"image_url":{"url":"https://h.example\\@o.example/"}}"#, Some(("image_url", None))),
        (r#"{"image_url":{"url":"file:///etc/passwd"}}"#, Some(("image_url", None))),
        (r#"{"image_url":{"url":"//h.example/a"}}"#, Some(("image_url", None))),
        (
            r#"{"audio_url":{"url":"https://a.example/x.wav"}}"#,
            Some(("audio_url", Some("a.example"))),
        ),
        (r#"{"video_url":{"url":"https://v.example/x"}}"#, Some(("video_url", Some("v.example")))),
        (
            r#"{"type":"input_file","file_url":"https://f.example/x"}"#,
            Some(("file_url", Some("f.example"))),
        ),
        (r#"{"type":"image","image":"https://i.example/x"}"#, Some(("image", Some("i.example")))),
        (r#"{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}"#, None),
        (r#"{"type":"file","file":{"file_data":"data:application/pdf;base64,AA=="}}"#, None),
    ];
    for (text, expected) in cases {
        let claims = chat(&part(text)).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(onward(&claims), Vec::from_iter(expected), "{text}");
    }
    let hook = chat(r#","webhook_url":"https://w.example/""#).unwrap();
    assert_eq!(onward(&hook), [("webhook_url", Some("w.example"))]);
}

#[test]
fn tools_that_do_not_run_at_the_client_are_onward_flows() {
    let tools = r#","tools":[
        {"type":"function","function":{"name":"f","parameters":{"properties":{"image_url":{"default":"http://x/"}}}}},
        {"type":"custom","name":"c"},
        {"type":"web_search"},{"type":"web_search"},
        {"type":"file_search","vector_store_ids":["vs_1"]},
        {"type":"code_interpreter","container":{"type":"auto"}},
        {"type":"computer_use_preview"},
        {"type":"mcp","server_label":"l","server_url":"https://mcp.example/sse"}]"#;
    let claims = chat(tools).unwrap();
    let expected = [
        ("tool:code_interpreter", None),
        ("tool:computer_use_preview", None),
        ("tool:file_search", None),
        ("tool:mcp", Some("mcp.example")),
        ("tool:web_search", None),
    ];
    assert_eq!(onward(&claims), expected);
    let options = chat(r#","web_search_options":{}"#).unwrap();
    assert_eq!(onward(&options), [("tool:web_search", None)]);
}

fn shown(status: u16, code: &str, message: &str, param: Option<&str>) -> String {
    let native = refuse(Protocol::OpenAi, &Refusal { status, code, message, param });
    assert_eq!(native.content_type, "application/json");
    let mut text = format!("{}\n", native.status);
    for (name, value) in &native.headers {
        writeln!(text, "{name}: {value}").unwrap();
    }
    let body = String::from_utf8(native.body.to_vec()).unwrap();
    text + "\n" + body.as_str() + "\n"
}

#[test]
fn refusals_have_the_shape_that_the_sdks_show() {
    let denied = shown(
        403,
        "data_residency_denied",
        "rule R04 refuses: staff in IN can log in; use site `kr-gj-01` (\u{acb0}\u{c815} 0190)\n\"x\"",
        None,
    );
    assert_eq!(denied, include_str!("wire/openai/denied.txt"));
    let held = shown(403, "held_for_review", "a person must review this: see /v1/holds/0190", None);
    assert_eq!(held, include_str!("wire/openai/held.txt"));
    let stranger = shown(401, "unauthenticated", "give a valid token", None);
    assert_eq!(stranger, include_str!("wire/openai/unauthenticated.txt"));
    let away = shown(503, "audit_unavailable", "no record can be made now: try again", None);
    assert_eq!(away, include_str!("wire/openai/unavailable.txt"));
    let invalid = shown(400, "body_ambiguous", "two keys are the same", Some("model"));
    assert_eq!(invalid, include_str!("wire/openai/invalid.txt"));
    for (status, kind, retry) in [
        (404, "invalid_request_error", "false"),
        (413, "invalid_request_error", "false"),
        (415, "invalid_request_error", "false"),
        (421, "invalid_request_error", "false"),
        (429, "rate_limit_error", "true"),
        (502, "server_error", "false"),
        (504, "server_error", "false"),
    ] {
        let text = shown(status, "code", "message", None);
        assert!(text.contains(&format!("\"type\":\"{kind}\"")), "{text}");
        assert!(text.contains(&format!("x-should-retry: {retry}")), "{text}");
        assert_eq!(text.contains("retry-after: 1"), retry == "true", "{text}");
    }
}

#[test]
fn a_cut_stream_ends_with_one_event_that_the_sdks_raise() {
    let refusal = Refusal {
        status: 504,
        code: "site_timeout",
        message: "the site went silent\nat last",
        param: None,
    };
    let event = stream_error(Protocol::OpenAi, &refusal, "01990000-0000-7000-8000-000000000000");
    assert_eq!(event, include_str!("wire/openai/stream_error.txt"));
}
